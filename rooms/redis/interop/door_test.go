//go:build interop

package interop

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"testing"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis"
	"github.com/sioedge/sioedge/sio"
)

// A doorServer is one behind the door.
type doorServer struct {
	srv     *sio.Server
	adapter rooms.Adapter
	url     *url.URL
	left    chan sio.Reason
}

// startDoorServer starts one that says where it is reached, and answers what
// door.mjs sends.
func startDoorServer(t *testing.T, name, redisAddr string) *doorServer {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	addr := freeAddr(t)
	d := &doorServer{adapter: redis.PubSub(redisAddr, redis.Options{Name: name, Logger: quiet}),
		url: &url.URL{Scheme: "http", Host: addr}, left: make(chan sio.Reason, 100)}
	var err error
	if d.srv, err = sio.New(sio.Options{Adapter: d.adapter, Advertise: d.url.String(), Logger: quiet,
		Engine: eio.Options{AllowEIO3: true, MaxPayload: 4 << 20}}); err != nil {
		t.Fatal(err)
	}
	ns := d.srv.Of("/")
	ns.OnConnect(func(s sio.Socket) error { s.SetData(new(int)); return nil })
	ns.OnDisconnect(func(_ sio.Socket, r sio.Reason) { d.left <- r })
	ns.Handle("up", func(s sio.Socket, m *sio.Msg) error {
		next := s.Data().(*int) // a socket's handlers run one at a time
		var i int
		var b any
		if err := m.Decode(&i, &b); err != nil || i != *next {
			t.Errorf("%s: %d, %v was received as number %d", name, i, err, *next)
		}
		*next++
		if err := s.Emit("down", i, b); err != nil {
			return err
		}
		return m.Ack(i, b)
	})
	ns.Handle("big", func(_ sio.Socket, m *sio.Msg) error {
		var text string
		var b []byte
		if err := m.Decode(&text, &b); err != nil {
			return err
		}
		return m.Ack(text, b)
	})
	if _, err := d.srv.Listen(addr); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	// ends when the server is shut down
	go func() { served <- d.srv.Serve(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := d.srv.Shutdown(ctx); err != nil {
			t.Errorf("%s: Shutdown: %v", name, err)
		}
		if err := <-served; err != nil {
			t.Errorf("%s: Serve: %v", name, err)
		}
	})
	return d
}

// A door sends the requests of each session to its servers in turn, and upgrades
// to WebSocket, counted over all sessions, in turn to a wrong one and to the right
// one.
type door struct {
	servers []*doorServer

	mu       sync.Mutex
	opened   int              // requests without a session
	requests map[string][]int // of a session, by server
	upgrades int
	astray   []int64 // upgrades that reached a server as a wrong one
}

// pick returns where a request goes.
func (d *door) pick(r *http.Request) *doorServer {
	d.mu.Lock()
	defer d.mu.Unlock()
	sid := r.URL.Query().Get("sid")
	if sid == "" {
		d.opened++
		return d.servers[d.opened%len(d.servers)]
	}
	home := d.home(sid)
	if d.requests[sid] == nil {
		d.requests[sid] = make([]int, len(d.servers))
	}
	n := 0
	for _, of := range d.requests[sid] {
		n += of
	}
	to := (home + 1 + n) % len(d.servers)
	if r.Header.Get("Upgrade") != "" {
		d.upgrades++
		to = (home + d.upgrades) % len(d.servers)
		if to != home {
			d.astray[to]++
		}
	}
	d.requests[sid][to]++
	return d.servers[to]
}

// home returns which server has a session.
func (d *door) home(sid string) int {
	return slices.IndexFunc(d.servers, func(s *doorServer) bool { return s.srv.Node() == string(eio.NodeOf([]byte(sid))) })
}

// open opens the door and returns its URL.
func (d *door) open(t *testing.T) string {
	d.requests, d.astray = map[string][]int{}, make([]int64, len(d.servers))
	s := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(d.pick(p.In).url)
			p.Out.Host = p.In.Host
		},
		Transport:    &http.Transport{DisableKeepAlives: true},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }, // of clients that leave
	})
	t.Cleanup(s.Close)
	return s.URL
}

// A doorClient is a client of door.mjs.
type doorClient struct {
	name       string
	version    string
	transports []any
	ends       string // its transport in the end
}

// Without sticky sessions clients of every kind work as if they had one server:
// they end on the transport that they want, and nothing is lost, doubled or out
// of order, around the upgrade either.
func TestDoorWithoutStickySessions(t *testing.T) {
	r := startRedis(t)
	d := &door{servers: []*doorServer{startDoorServer(t, "a", r.addr), startDoorServer(t, "b", r.addr)}}
	for i, s := range d.servers {
		eventually(t, "the servers knowing each other", func() bool {
			p, ok := s.adapter.Peer(d.servers[1-i].srv.Node())
			return ok && p.Addr != ""
		})
	}
	url, browser := d.open(t), startProcess(t, "clients", nil, "node", "door.mjs")
	browser.ready()

	var clients []doorClient
	for i := range 4 {
		for _, version := range []string{"4", "2"} {
			clients = append(clients,
				doorClient{fmt.Sprint("default ", version, " ", i), version, nil, "websocket"},
				doorClient{fmt.Sprint("polling ", version, " ", i), version, []any{"polling"}, "polling"},
				doorClient{fmt.Sprint("websocket ", version, " ", i), version, []any{"websocket"}, "websocket"})
		}
	}
	var connecting []<-chan answer
	for _, c := range clients {
		connecting = append(connecting, browser.send(command{Op: "connect", Name: c.name, URL: url, What: c.version, Names: c.transports, Event: c.ends}))
	}
	for i, a := range connecting {
		if err := browser.wait(a).decode(nil); err != nil {
			t.Fatalf("%s: %v", clients[i].name, err)
		}
	}
	wrong := int64(0)
	for i, s := range d.servers {
		st := s.srv.Stats()
		if st.Tunnelled != d.astray[i] || st.Tunnels != d.astray[i] || st.TunnelFailed+st.ForwardFailed != 0 || st.Forwarded == 0 {
			t.Errorf("server %d: Stats() = %+v, want %d tunnels, which are open, some requests forwarded, and none failed", i, st, d.astray[i])
		}
		wrong += d.astray[i]
	}
	if d.upgrades != 8 || wrong != 4 {
		t.Errorf("%d upgrades, %d of them at a wrong server, want 8 and 4", d.upgrades, wrong)
	}
	if len(d.requests) != 16 {
		t.Errorf("%d sessions have polled, want 16", len(d.requests))
	}
	for sid, n := range d.requests {
		if n[1-d.home(sid)] == 0 {
			t.Errorf("the requests of session %s went to the servers %v, want some at the wrong one", sid, n)
		}
	}
	d.broadcast(t, browser, clients)
	for _, c := range clients {
		var ok bool
		if browser.do(t, command{Op: "send", Name: c.name, Number: 1 << 20}, &ok); !ok {
			t.Errorf("%s: a large message did not come back as it was", c.name)
		}
		browser.do(t, command{Op: "close", Name: c.name}, nil)
	}
	for _, s := range d.servers {
		eventually(t, "the end of the sessions", func() bool { return len(s.left) >= len(clients)/len(d.servers) })
		eventually(t, "the end of the tunnels", func() bool { return s.srv.Stats().Tunnels == 0 })
	}
}

// broadcast has both servers broadcast and compares what the clients have.
func (d *door) broadcast(t *testing.T, browser *peer, clients []doorClient) {
	t.Helper()
	const each = 50
	for i := range each {
		for n, s := range d.servers {
			if err := s.srv.Of("/").Emit("all", n, i); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range clients {
		var got struct {
			Sent, Acked, Down int
			All, Wrong        []string
			Transport         string
		}
		eventually(t, "the broadcasts reaching "+c.name, func() bool {
			browser.do(t, command{Op: "report", Name: c.name}, &got)
			return len(got.All) >= each*len(d.servers) && got.Down >= got.Sent || len(got.Wrong) > 0
		})
		if got.Acked != got.Sent || got.Down != got.Sent || got.Sent < 100 || len(got.Wrong) > 0 || got.Transport != c.ends {
			t.Errorf("%s sent %d, had %d acknowledged and received %d, over %s; wrong: %q; want equal numbers, over %s, and nothing wrong",
				c.name, got.Sent, got.Acked, got.Down, got.Transport, got.Wrong, c.ends)
		}
		for n := range d.servers {
			var of []string
			for i := range each {
				of = append(of, fmt.Sprint(n, " ", i))
			}
			from := slices.DeleteFunc(slices.Clone(got.All), func(s string) bool { return s[0] != '0'+byte(n) })
			if !slices.Equal(from, of) {
				t.Errorf("%s received of server %d %q, want %d broadcasts in order, each once", c.name, n, from, each)
			}
		}
	}
}
