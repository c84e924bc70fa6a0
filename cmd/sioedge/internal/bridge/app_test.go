package bridge

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/ioclient"
	"github.com/sioedge/sioedge/sio"
)

func settings() config.Bridge {
	return config.Bridge{
		Takeover: 30 * time.Second, Timeout: 30 * time.Second, Grace: 10 * time.Millisecond, Data: "drain",
		MaxData: 1 << 10, Window: 4 << 20, MaxMessage: 4 << 20, MaxWaiting: 256 << 10, MaxLinks: 8,
	}
}

// An edge is a server with a bridge and a listener for clients and one for processes. Its
// namespaces are / and /rooms/:id; /other is not of the bridge.
type edge struct {
	*Bridge
	t      testing.TB
	srv    *sio.Server
	addr   string // for clients
	link   *httptest.Server
	served sync.WaitGroup
}

func newEdge(t testing.TB, change func(*config.Bridge, *sio.Options)) *edge {
	x, o := settings(), sio.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if change != nil {
		change(&x, &o)
	}
	srv, err := sio.New(o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(srv, "main", x, Options{Recovery: o.Recovery.Window, Logger: o.Logger, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	e := &edge{Bridge: b, t: t, srv: srv}
	e.serve("/")
	e.serve("/rooms/:id")
	srv.Of("/other")
	a, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.addr = a.String()
	e.link = httptest.NewServer(b)
	e.served.Add(1)
	go func() { // ends with Shutdown
		defer e.served.Done()
		_ = srv.Serve(context.Background())
	}()
	t.Cleanup(e.stop)
	return e
}

// serve has a namespace be of the bridge.
func (e *edge) serve(pattern string) {
	ns := e.srv.Of(pattern)
	e.Add(ns)
	ns.Use(func(s sio.Socket) error {
		return e.Connect(s, action.Entry{Namespace: s.Name(), Route: pattern, Recovered: s.Recovered()})
	})
	ns.OnConnect(e.Came)
	ns.HandleAnyInline(e.Event)
	ns.OnDisconnecting(e.Left)
}

func (e *edge) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := e.srv.Shutdown(ctx); err != nil {
		e.t.Error("Shutdown:", err)
	}
	e.Close(ctx)
	eventually(e.t, "links to end", func() bool { return e.Stats().Links == 0 })
	e.link.Close()
	e.served.Wait()
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// An app is a process of an application, or one link of it. It works off a batch as soon as
// it has it, and what its handler appends goes in one batch with that.
type app struct {
	e    *edge
	uid  string
	conn net.Conn
	r    *bufio.Reader
	done chan struct{} // closed when it reads no more

	mu     sync.Mutex
	got    uint64
	out    []byte
	n      int
	lines  []string                      // what came, as text
	socks  []uint64                      // in the order of coming
	handle func(a *app, m *wire.Message) // called with mu held
	deaf   bool                          // it does not ack
	stall  chan struct{}                 // not nil: it does not read until this is closed
}

// attach has a process attach. Handle is called with each message; nil accepts sockets.
func (e *edge) attach(uid string, handle func(a *app, m *wire.Message)) *app {
	e.t.Helper()
	if handle == nil {
		handle = func(*app, *wire.Message) {}
	}
	c, br, _, err := ws.Dialer{Protocols: []string{wire.Subprotocol}}.Dial(context.Background(), "ws://"+e.link.Listener.Addr().String()+"/bridge")
	if err != nil {
		e.t.Fatal(err)
	}
	if br == nil {
		br = bufio.NewReader(c)
	}
	a := &app{e: e, uid: uid, conn: c, r: br, handle: handle, done: make(chan struct{})}
	hello := wire.AppendHello(wire.AppendBatch(nil, 0, 1), &wire.Hello{Version: 1, UID: uid, Window: 1 << 20, Namespaces: []string{"/"}})
	a.write(hello)
	go a.read() // ends with the connection
	e.t.Cleanup(a.kill)
	a.wait("welcome")
	return a
}

func (a *app) write(b []byte) {
	_ = ws.WriteFrame(a.conn, ws.MaskFrame(ws.NewFrame(ws.OpBinary, true, b))) // or it was killed
}

// kill ends the process without a word.
func (a *app) kill() {
	_ = a.conn.Close()
	<-a.done
}

func (a *app) read() {
	defer close(a.done)
	for {
		a.mu.Lock()
		stall := a.stall
		a.mu.Unlock()
		if stall != nil {
			<-stall
		}
		h, err := ws.ReadHeader(a.r)
		var payload []byte
		if err == nil {
			payload = make([]byte, h.Length) // an edge's, which is believed here
			_, err = io.ReadFull(a.r, payload)
		}
		if err != nil {
			return
		}
		switch h.OpCode {
		case ws.OpPing:
			_ = ws.WriteFrame(a.conn, ws.MaskFrame(ws.NewPongFrame(payload)))
		case ws.OpClose:
			_ = a.conn.Close()
			return
		case ws.OpBinary:
			a.batch(payload)
		}
	}
}

func (a *app) batch(b []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, r, err := wire.ParseBatch(b, wire.Edge)
	if err != nil {
		a.e.t.Error(err)
		return
	}
	counted := r.Len() > 0
	var m wire.Message
	for ok, err := r.Next(&m); ok || err != nil; ok, err = r.Next(&m) {
		if err != nil {
			a.e.t.Error(err)
			return
		}
		if m.Kind == wire.KindWelcome {
			counted = false
		}
		a.lines = append(a.lines, text(&m))
		if m.Kind == wire.KindSocket {
			a.socks = append(a.socks, m.Sock)
		}
		a.handle(a, &m)
	}
	if counted {
		a.got++
	}
	if !a.deaf && counted {
		a.flush()
	}
}

// put appends a message to the next batch; mu is held.
func (a *app) put(f func(dst []byte) []byte) {
	a.out = f(a.out)
	a.n++
}

// flush sends the batch, which says what was worked off; mu is held.
func (a *app) flush() {
	a.write(append(wire.AppendBatch(nil, a.got, a.n), a.out...))
	a.out, a.n = nil, 0
}

// send sends messages of one batch.
func (a *app) send(all ...[]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range all {
		a.put(func(dst []byte) []byte { return append(dst, x...) })
	}
	a.flush()
}

// wait waits for a line that begins with a text, and returns it; each only once.
func (a *app) wait(begin string) (line string) {
	a.e.t.Helper()
	end := time.Now().Add(30 * time.Second)
	for time.Now().Before(end) {
		a.mu.Lock()
		i := slices.IndexFunc(a.lines, func(l string) bool { return strings.HasPrefix(l, begin) })
		if i >= 0 {
			line = a.lines[i]
			a.lines = slices.Delete(a.lines, i, i+1)
			a.mu.Unlock()
			return line
		}
		a.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.e.t.Fatalf("%s has not got %q, but %q", a.uid, begin, a.lines)
	return ""
}

// sock waits for the i-th socket, and returns its number.
func (a *app) sock(i int) (n uint64) {
	a.e.t.Helper()
	eventually(a.e.t, fmt.Sprint("socket ", i), func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		if i < len(a.socks) {
			n = a.socks[i]
		}
		return n > 0
	})
	return n
}

// text is a message of the edge.
func text(m *wire.Message) string {
	switch m.Kind {
	case wire.KindSocket:
		line := fmt.Sprintf("socket %d of %d in %s auth %s", m.Sock, m.Conn, m.Nsp, m.Auth)
		if m.State != nil {
			line += fmt.Sprintf(" rooms %v data %s taken %t", m.State.Rooms, m.State.Data, m.State.Taken)
		}
		return line
	case wire.KindConnection:
		return fmt.Sprintf("connection %d %s %d %s", m.Conn, m.Handshake.Transport, m.Handshake.Protocol, m.Handshake.URL)
	case wire.KindEvent, wire.KindAnswer:
		return fmt.Sprintf("%s %d %d %s %x", m.Kind, m.Sock, m.ID, m.JSON, m.Bins.Views())
	case wire.KindLeft:
		return fmt.Sprintf("left %d %s %t", m.Sock, m.Text, m.Kept)
	case wire.KindConnectionEnded:
		return fmt.Sprintf("connection ended %d %s", m.Conn, m.Text)
	case wire.KindAnswers:
		all := ""
		for _, r := range m.Answers {
			all += " " + string(r.JSON)
		}
		return fmt.Sprintf("answers %d %t %d%s", m.ID, m.Done, m.Count, all)
	case wire.KindPeers:
		all := ""
		for _, p := range m.Peers {
			all += " " + p.UID
		}
		return "peers" + all
	case wire.KindRelayed:
		return fmt.Sprintf("relayed %s %s %s", m.UID, m.Nsp, m.Payload)
	case wire.KindUpgraded:
		return fmt.Sprintf("upgraded %d %s", m.Conn, m.Text)
	case wire.KindEnding:
		return fmt.Sprintf("ending %s %s", m.Code, m.Text)
	}
	return m.Kind.String()
}

// accepting accepts sockets, and closes those that have left.
func accepting(a *app, m *wire.Message) {
	switch m.Kind {
	case wire.KindSocket:
		a.put(func(dst []byte) []byte { return wire.AppendAccept(dst, m.Sock) })
	case wire.KindLeft:
		a.put(func(dst []byte) []byte { return wire.AppendClosed(dst, m.Sock, nil) })
	}
}

// A client is a Socket.IO client.
type client struct {
	*ioclient.Client
	t    testing.TB
	mute atomic.Bool // it answers nothing
	mu   sync.Mutex
	// Guarded by mu.
	lines []string
}

// connect has a client connect to a namespace.
func (e *edge) connect(namespace string, change func(*ioclient.Options)) *client {
	e.t.Helper()
	target, err := ioclient.ParseTarget("http://" + e.addr + namespace)
	if err != nil {
		e.t.Fatal(err)
	}
	c := &client{t: e.t}
	o := ioclient.Options{Target: target, Transports: []string{ioclient.WebSocket}, Notify: c.notify, Backoff: ioclient.Backoff{Min: 10 * time.Millisecond, Max: 20 * time.Millisecond}}
	if change != nil {
		change(&o)
	}
	if c.Client, err = ioclient.New(o); err != nil {
		e.t.Fatal(err)
	}
	ran := make(chan struct{})
	go func() { // ends with Close
		defer close(ran)
		_ = c.Run()
	}()
	e.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c.Close(ctx)
		<-ran
	})
	return c
}

func (c *client) notify(n ioclient.Notice) {
	line := string(n.Kind) + " " + n.Namespace
	switch n.Kind {
	case ioclient.Arrived:
		line = fmt.Sprintf("event %s %s %x", n.Event, n.Args, n.Attachments)
		if n.Asks && !c.mute.Load() {
			_ = c.Answer(n.Namespace, n.ID, "answer to "+n.Event) // or it has left
		}
	case ioclient.Refused:
		line += fmt.Sprintf(" %s %s", n.Message, n.Data)
	case ioclient.Disconnected:
		line += " " + n.Reason
	case ioclient.Connected:
		line += fmt.Sprint(" ", n.Recovered)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, line)
}

// wait is that of app.
func (c *client) wait(begin string) (line string) {
	c.t.Helper()
	eventually(c.t, "a client waits for "+begin, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		i := slices.IndexFunc(c.lines, func(l string) bool { return strings.HasPrefix(l, begin) })
		if i >= 0 {
			line = c.lines[i]
			c.lines = slices.Delete(c.lines, i, i+1)
		}
		return i >= 0
	})
	return line
}
