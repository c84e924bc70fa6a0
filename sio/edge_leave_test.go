package sio_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
)

func TestEdge51Disconnect(t *testing.T) {
	var joined chan sio.Socket
	reasons := make(chan sio.Reason, 10)
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		echo(srv.Of("/"))
		joined = sockets(srv.Of("/"))
		srv.Of("/").OnDisconnect(func(_ sio.Socket, r sio.Reason) { reasons <- r })
		echo(srv.Of("/a"))
	})
	c := srv.join("40")
	c.join("40/a,")
	for range 3 {
		s := take(t, joined)
		s.Disconnect(sio.DisconnectOptions{})
		s.Disconnect(sio.DisconnectOptions{})
		s.Disconnect(sio.DisconnectOptions{Conn: true})
		c.expect("41")
		if r := take(t, reasons); r != sio.ServerDisconnect {
			t.Errorf("the reason is %q, want %q", r, sio.ServerDisconnect)
		}
		c.join("40")
		c.quiet("")
		c.quiet("/a,")
	}
}

func TestEdge53ClosingTheConnection(t *testing.T) {
	var joined chan sio.Socket
	reasons := make(chan sio.Reason, 10)
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		joined = sockets(srv.Of("/"))
		srv.Of("/").OnDisconnect(func(_ sio.Socket, r sio.Reason) { reasons <- r })
	})
	c := srv.join("40")
	take(t, joined).CloseConn()
	c.ended("close -")
	if r := take(t, reasons); r != eio.ForcedClose {
		t.Errorf("the reason is %q, want %q", r, eio.ForcedClose)
	}
}

// All sockets of a connection leave for the same reason.
func TestEdge55AllSocketsOfAConnection(t *testing.T) {
	names := []string{"/", "/a", "/b", "/c"}
	left := make(chan string, 10)
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		for _, name := range names {
			srv.Of(name).OnDisconnecting(func(s sio.Socket, r sio.Reason) {})
			srv.Of(name).OnDisconnect(func(s sio.Socket, r sio.Reason) { left <- s.Name() + " " + string(r) })
		}
	})
	c := srv.join("40")
	for _, name := range names[1:] {
		c.join("40" + name + ",")
	}
	c.conn.Close()
	var got []string
	for range names {
		got = append(got, take(t, left))
	}
	slices.Sort(got)
	for i, name := range names {
		if want := name + " transport close"; got[i] != want {
			t.Errorf("seen %q, want %q", got[i], want)
		}
	}
}

// The handlers of one socket: its events, then OnDisconnecting, OnDisconnect.
func TestEdge46OrderOfTheEnd(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	done := make(chan struct{})
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		note := func(what string, s sio.Socket) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, fmt.Sprint(what, " ", s.Connected(), " ", len(s.Rooms()), " ", s.Data()))
		}
		ns.OnConnect(func(s sio.Socket) error { s.Join("r"); s.SetData("data"); return nil })
		ns.Handle("x", func(s sio.Socket, _ *sio.Msg) error { note("x", s); return nil })
		ns.OnDisconnecting(func(s sio.Socket, _ sio.Reason) { note("disconnecting", s) })
		ns.OnDisconnecting(func(s sio.Socket, _ sio.Reason) { panic("bug") })
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) {
			note("disconnect", s)
			if err := s.Emit("x"); err != sio.ErrClosed {
				t.Errorf("in OnDisconnect Emit = %v, want %v", err, sio.ErrClosed)
			}
			s.SetData("new")
		})
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { note("disconnect", s); close(done) })
	})
	c := srv.join("40")
	c.send(`42["x"]`)
	eventually(t, "x", func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == 1 })
	c.send("41")
	take(t, done)
	want := []string{"x true 2 data", "disconnecting false 2 data", "disconnect false 0 data", "disconnect false 0 data"}
	if !slices.Equal(seen, want) {
		t.Errorf("seen %q, want %q", seen, want)
	}
}

// What is emitted after Disconnect is dropped; what was emitted before is not.
func TestEdge56EmittedAfterDisconnect(t *testing.T) {
	p := newParty(t, 2)
	for i := range 100 {
		s, c := p.sockets[0], p.clients[0]
		for _, to := range []sio.Emitter{s, p.ns, p.ns.To(s.ID())} {
			if err := to.Emit("before", i); err != nil {
				t.Fatal(err)
			}
		}
		s.Disconnect(sio.DisconnectOptions{})
		for _, to := range []sio.Emitter{s, p.ns, p.ns.To(s.ID())} {
			if err := to.Emit("after"); err != nil && err != sio.ErrClosed {
				t.Fatal(err)
			}
		}
		before := fmt.Sprintf(`42["before",%d]`, i)
		c.expect(before, before, before, "41")
		c.join("40")
		p.clients[1].expect(before, `42["after"]`)
		for _, now := range p.ns.All().Sockets() {
			if now != p.sockets[1] {
				p.sockets[0] = now
			}
		}
	}
}

// Why sockets are disconnected, in Node's words.
func TestEdge59Reasons(t *testing.T) {
	for _, x := range []struct {
		want sio.Reason
		do   func(c *client, s sio.Socket)
	}{
		{"client namespace disconnect", func(c *client, _ sio.Socket) { c.send("41") }},
		{"server namespace disconnect", func(_ *client, s sio.Socket) { s.Disconnect(sio.DisconnectOptions{}) }},
		{"server namespace disconnect", func(_ *client, s sio.Socket) { s.Disconnect(sio.DisconnectOptions{Conn: true}) }},
		{"server namespace disconnect", func(_ *client, s sio.Socket) { s.Namespace().All().Disconnect(sio.DisconnectOptions{Conn: true}) }},
		{"ping timeout", func(*client, sio.Socket) {}},
		{"transport close", func(c *client, _ sio.Socket) { c.conn.Close() }},
		{"transport close", func(c *client, _ sio.Socket) { c.conn.(*net.TCPConn).SetLinger(0); c.conn.Close() }},
		{"transport close", func(c *client, _ sio.Socket) { c.send("1") }},
		{"transport close", func(c *client, _ sio.Socket) { c.write([]byte("\x88\x80\x00\x00\x00\x00")) }},
		{"transport error", func(c *client, _ sio.Socket) { c.write([]byte("\x81\x0240")) }},
		{"parse error", func(c *client, _ sio.Socket) { c.send("x") }},
		{"forced close", func(_ *client, s sio.Socket) { s.CloseConn() }},
		{"forced close", func(c *client, _ sio.Socket) { c.send("4abc") }},
		{"forced close", func(c *client, _ sio.Socket) { c.send(`42["x"]`, "40") }},
	} {
		reasons := make(chan sio.Reason, 2)
		o := sio.Options{}
		if x.want == eio.PingTimeout {
			o.Engine = eio.Options{PingInterval: time.Second, PingTimeout: 30 * time.Millisecond} // it has joined before the first ping
		}
		var joined chan sio.Socket
		srv := serve(t, o, func(srv *sio.Server) {
			joined = sockets(srv.Of("/"))
			srv.Of("/").OnDisconnect(func(_ sio.Socket, r sio.Reason) { reasons <- r })
		})
		c := srv.join("40")
		x.do(c, take(t, joined))
		if r := take(t, reasons); r != x.want {
			t.Errorf("the reason is %q, want %q", r, x.want)
		}
	}
}

// Everything that was emitted before it leaves the server, and every handler
// has run when it returns.
func TestEdge57Shutdown(t *testing.T) {
	var joined chan sio.Socket
	var mu sync.Mutex
	var seen []string
	srv := serve(t, sio.Options{Loop: loops(3)}, func(srv *sio.Server) {
		ns := srv.Of("/")
		joined = sockets(ns)
		note := func(s sio.Socket, r sio.Reason) {
			time.Sleep(5 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, string(r))
		}
		ns.OnDisconnecting(note)
		ns.OnDisconnect(note)
	})
	const n = 10
	var clients []*client
	for range n {
		clients = append(clients, srv.join("40"))
	}
	p, waits := srv.joinPolling(), srv.joinPolling()
	get := waits.pending()
	for range n + 2 {
		s := take(t, joined)
		if s.Transport() == "polling" && s.ID() == waits.id {
			eventually(t, "the poll", s.Writable)
		}
	}
	waited := make(chan error, 1)
	if err := srv.Of("/").Emit("last", strings.Repeat("x", 10_000)); err != nil {
		t.Fatal(err)
	}
	// ends when the server is down
	go func() { waited <- srv.Shutdown(within(patience)) }()
	for _, c := range clients {
		if got := c.next(); !strings.HasPrefix(got, `42["last"`) {
			t.Errorf("received %.40s, want last", got)
		}
		c.ended("close -")
	}
	if got := take(t, get); !strings.HasPrefix(got, `42["last"`) {
		t.Errorf("the poll = %.40s, want last", got)
	}
	if err := take(t, waited); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	if len(seen) != 2*(n+2) || slices.ContainsFunc(seen, func(r string) bool { return r != "server shutting down" }) {
		t.Errorf("%d disconnect handlers ran: %v, want %d for server shutting down", len(seen), seen, 2*(n+2))
	}
	if _, _, err := p.do("GET", ""); err == nil {
		t.Error("a request is still answered")
	}
	if err := srv.Of("/").Emit("nobody"); err != nil {
		t.Error(err)
	}
}

// A context cuts what does not end by itself.
func TestShutdownThatIsCut(t *testing.T) {
	in, out := make(chan struct{}), make(chan struct{})
	left := make(chan sio.Reason, 10)
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		srv.Of("/").Handle("x", func(sio.Socket, *sio.Msg) error { close(in); <-out; return nil })
		srv.Of("/").OnDisconnect(func(_ sio.Socket, r sio.Reason) { left <- r })
	})
	srv.join("40").send(`42["x"]`)
	take(t, in)
	if err := srv.Shutdown(within(50 * time.Millisecond)); err == nil {
		t.Error("Shutdown = nil while a handler runs, want an error")
	}
	close(out)
	if r := take(t, left); r != sio.ServerShuttingDown {
		t.Errorf("the reason is %q, want %q", r, sio.ServerShuttingDown)
	}
	eventually(t, "the end", func() bool { return srv.Held()["details"] == 0 })
}

// Functions of OnShutdown are called once, with its context, between the handlers of those
// who leave and the end of the cluster.
func TestOnShutdown(t *testing.T) {
	s, order := new(bus).stop(), make(chan string, 10)
	srv := serve(t, sio.Options{Adapter: s}, func(srv *sio.Server) {
		srv.Of("/").OnDisconnect(func(sio.Socket, sio.Reason) { time.Sleep(50 * time.Millisecond); order <- "left" })
		srv.OnShutdown(farewell(s, order))
	})
	srv.join("40")
	if err := srv.Shutdown(within(patience)); err != nil {
		t.Error(err)
	}
	close(order)
	if got, want := slices.Collect(all(order)), []string{"left", "ended false, ctx <nil>"}; !slices.Equal(got, want) {
		t.Errorf("called %q, want %q", got, want)
	}
}

// When Serve is cut they are called with a context that is done.
func TestOnShutdownWhenServeIsCut(t *testing.T) {
	s, order := new(bus).stop(), make(chan string, 10)
	srv, err := sio.New(sio.Options{Loop: loops(1), Adapter: s})
	if err != nil {
		t.Fatal(err)
	}
	srv.OnShutdown(farewell(s, order))
	if _, err := srv.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if err := srv.Serve(within(50 * time.Millisecond)); err != nil {
		t.Error(err)
	}
	if err := srv.Shutdown(within(patience)); err != nil {
		t.Error(err)
	}
	close(order)
	if got, want := slices.Collect(all(order)), []string{"ended false, ctx context canceled"}; !slices.Equal(got, want) {
		t.Errorf("called %q, want %q", got, want)
	}
}

func farewell(s *stop, order chan<- string) func(ctx context.Context) {
	return func(ctx context.Context) {
		s.mu.Lock()
		defer s.mu.Unlock()
		order <- fmt.Sprintf("ended %v, ctx %v", s.ended, ctx.Err())
	}
}

func all(c <-chan string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for s := range c {
			if !yield(s) {
				return
			}
		}
	}
}

// The context of Serve cuts all, those that poll included.
func TestServeThatIsCut(t *testing.T) {
	left := make(chan sio.Reason, 10)
	srv, err := sio.New(sio.Options{Loop: loops(2)})
	if err != nil {
		t.Fatal(err)
	}
	srv.Of("/").OnDisconnecting(func(sio.Socket, sio.Reason) {})
	srv.Of("/").OnDisconnect(func(_ sio.Socket, r sio.Reason) { left <- r })
	joined := sockets(srv.Of("/"))
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	// ends when ctx is done
	go func() { served <- srv.Serve(ctx) }()
	s := &server{Server: srv, t: t, addr: addr.String()}
	s.join("40")
	s.joinPolling()
	asked := ask(take(t, joined), context.Background(), "x")
	asked2 := ask(take(t, joined), context.Background(), "x")
	eventually(t, "the questions", func() bool { return srv.Held()["extensions"] == 2 })
	cancel()
	if err := take(t, served); err != nil {
		t.Errorf("Serve = %v", err)
	}
	for range 2 {
		take(t, left)
	}
	for _, c := range []chan answer{asked, asked2} {
		if a := take(t, c); a.err != sio.ErrClosed {
			t.Errorf("EmitAck = %v, want %v", a.err, sio.ErrClosed)
		}
	}
	if err := srv.Shutdown(within(patience)); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	if err := srv.Serve(context.Background()); err == nil {
		t.Error("Serve again = nil, want an error")
	}
}

func TestShutdownBeforeServe(t *testing.T) {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
	}
	if err := srv.Serve(context.Background()); err == nil {
		t.Error("Serve after Shutdown = nil, want an error")
	}
	ln, err := net.Listen("tcp", addr.String()) // the port is free
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
}

// A connection is closed with a code and a reason, whoever is asked to end it; what
// cannot be said is refused, and nobody is disconnected.
func TestDisconnectOptions(t *testing.T) {
	var joined, admin chan sio.Socket
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		joined, admin = sockets(srv.Of("/")), sockets(srv.Of("/admin"))
	})
	for name, disconnect := range map[string]func(s sio.Socket, o sio.DisconnectOptions) error{
		"Socket":       sio.Socket.Disconnect,
		"Self":         func(s sio.Socket, o sio.DisconnectOptions) error { return s.Self().Disconnect(o) },
		"a room":       func(s sio.Socket, o sio.DisconnectOptions) error { return s.Namespace().To(s.ID()).Disconnect(o) },
		"RemoteSocket": func(s sio.Socket, o sio.DisconnectOptions) error { return fetched(t, s).Disconnect(o) },
	} {
		c := srv.join("40")
		s := take(t, joined)
		c.join("40/admin,")
		other := take(t, admin)
		for _, o := range []sio.DisconnectOptions{
			{Code: 4000}, {Reason: "why"}, {Conn: true, Code: 1001}, {Conn: true, Reason: "\xff"}, {Conn: true, Code: 4000, Reason: strings.Repeat("x", 124)},
		} {
			if err := disconnect(s, o); err == nil || err == sio.ErrClosed {
				t.Errorf("%s: Disconnect(%+v) = %v, want an error about it", name, o, err)
			}
		}
		if !s.Connected() {
			t.Fatalf("%s: it is disconnected after an error", name)
		}
		if err := disconnect(s, sio.DisconnectOptions{Conn: true, Code: 4401, Reason: "token expired"}); err != nil {
			t.Errorf("%s: Disconnect = %v", name, err)
		}
		c.ended("41", "41/admin,", "close 4401")
		eventually(t, "the end", func() bool { return s.Gone() && other.Gone() })
	}
	c := srv.join("40")
	s := take(t, joined)
	if err := s.Disconnect(sio.DisconnectOptions{Conn: true, Reason: "bye"}); err != nil {
		t.Errorf("Disconnect with a reason alone = %v", err)
	}
	c.ended("41", "close 1000")
}

// fetched is s as a RemoteSocket.
func fetched(t testing.TB, s sio.Socket) sio.RemoteSocket {
	t.Helper()
	all, err := s.Namespace().To(s.ID()).FetchSockets(context.Background())
	if err != nil || len(all) != 1 {
		t.Fatalf("FetchSockets = %v, %v, want the one", all, err)
	}
	return all[0]
}
