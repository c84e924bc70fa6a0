package sio_test

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/sio"
)

func TestSocketsAreValues(t *testing.T) {
	p := newParty(t, 2)
	a := p.sockets[0]
	if a == p.sockets[1] || a != p.sockets[0] || a.ID() != p.clients[0].id || len(a.ID()) != 20 || a.Namespace() != p.ns || a.Name() != "/" {
		t.Errorf("the socket %s of %s is not what its client knows as %s", a.ID(), a.Name(), p.clients[0].id)
	}
	m := map[sio.Socket]int{a: 1}
	if found := p.ns.To(a.ID()).Sockets(); len(found) != 1 || m[found[0]] != 1 {
		t.Errorf("Sockets() = %v, want the same value", found)
	}
}

func TestData(t *testing.T) {
	p := newParty(t, 2)
	a, b := p.sockets[0], p.sockets[1]
	if a.Data() != nil {
		t.Errorf("Data() = %v, want nil", a.Data())
	}
	a.SetData("a")
	b.SetData(2)
	if a.Data() != "a" || b.Data() != 2 {
		t.Errorf("Data() = %v, %v, want a, 2", a.Data(), b.Data())
	}
	a.SetData(nil)
	if a.Data() != nil {
		t.Errorf("Data() = %v, want nil", a.Data())
	}
}

func TestContext(t *testing.T) {
	p := newParty(t, 3)
	for i, s := range p.sockets {
		ctx := s.Context()
		if ctx != s.Context() || ctx.Err() != nil {
			t.Error("Context() is another one, or done already")
		}
		asked := ask(s, ctx, "x")
		p.clients[i].question("x")
		switch i {
		case 0:
			p.clients[i].send("41")
		case 1:
			p.clients[i].conn.Close()
		default:
			s.Disconnect(sio.DisconnectOptions{Conn: true})
		}
		take(t, ctx.Done())
		if a := take(t, asked); !errors.Is(a.err, context.Canceled) && a.err != sio.ErrClosed {
			t.Errorf("EmitAck = %v", a.err)
		}
		eventually(t, "the end", func() bool { return s.Context().Err() != nil })
	}
}

// A context that is asked for while the socket leaves is done: a handler that
// waited for it would hold up the end that it waits for.
func TestContextOfWhoLeaves(t *testing.T) {
	began, ended, errs := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		echo(srv.Of("/"))
		srv.Of("/").Handle("wait", func(s sio.Socket, _ *sio.Msg) error {
			began <- struct{}{}
			<-ended
			errs <- s.Context().Err()
			return nil
		})
	})
	c := srv.join("40")
	c.send(`42["wait"]`)
	take(t, began)
	c.conn.Close()
	eventually(t, "the end of the session", func() bool { return srv.Held()["sessions"] == 0 })
	close(ended)
	if err := take(t, errs); err == nil {
		t.Error("Context() of a socket that leaves is not done")
	}
}

// The values that outlive their clients do nothing, and reach nobody else.
func TestStaleSockets(t *testing.T) {
	var joined chan sio.Socket
	srv := simulate(t, sio.Options{KeepHandshake: sio.KeepAlways, Loop: loops(1)}, func(srv *sio.Server) { echo(srv.Of("/")); joined = sockets(srv.Of("/")) })
	var stale []sio.Socket
	for range 5 {
		c := srv.join("40")
		stale = append(stale, take(t, joined))
		c.send("41", "1")
		c.ended("close -")
	}
	c := srv.join("40") // in the place of one of them
	s := take(t, joined)
	for _, old := range stale {
		if old == s || old.ID() == s.ID() || len(old.ID()) != 20 {
			t.Errorf("%s is another's id", old.ID())
		}
		old.Join("r")
		old.Leave("r")
		old.SetData(1)
		old.Disconnect(sio.DisconnectOptions{})
		old.Disconnect(sio.DisconnectOptions{Conn: true})
		old.CloseConn()
		if old.Connected() || old.Data() != nil || old.Rooms() != nil || old.Transport() != "" || old.Context().Err() == nil {
			t.Error("a socket that has left answers as if it were there")
		}
		if h := old.Handshake(); h.URL() != "" || h.Address().IsValid() {
			t.Errorf("Handshake() = %+v, want nothing", h)
		}
		var auth any
		if err := old.Auth(&auth); err != sio.ErrClosed || auth != nil {
			t.Errorf("Auth = %v, %v, want %v", auth, err, sio.ErrClosed)
		}
		if err := old.Emit("x"); err != sio.ErrClosed {
			t.Errorf("Emit = %v, want %v", err, sio.ErrClosed)
		}
		for _, to := range []sio.BroadcastOperator{old.To("r"), srv.Of("/").To(old.ID()), srv.Of("/").To("r")} {
			if err := to.Emit("x"); err != nil {
				t.Error(err)
			}
		}
		if err := old.Broadcast().Emit("others"); err != nil {
			t.Error(err)
		}
		c.expect(`42["others"]`) // nobody is left out
		if err := srv.Of("/").Except(old.ID()).Emit("others"); err != nil {
			t.Error(err)
		}
		c.expect(`42["others"]`)
	}
	c.quiet("")
	if held := srv.Held(); held["details"] != 1 || held["rooms"] != 0 {
		t.Errorf("held %v, want one detail and no room", held)
	}
}

// Data that is set while the client leaves is not kept for ever.
func TestSetDataWhileLeaving(t *testing.T) {
	var joined chan sio.Socket
	srv := serve(t, sio.Options{}, func(srv *sio.Server) { joined = sockets(srv.Of("/")) })
	c := srv.dial()
	for range 100 {
		c.join("40")
		s := take(t, joined)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for !s.Gone() {
					s.SetData(1)
					s.Context()
					runtime.Gosched()
				}
			})
		}
		c.send("41")
		wg.Wait()
	}
	eventually(t, "the end of all details", func() bool { return srv.Held()["details"] == 0 })
}

func TestEmitErrors(t *testing.T) {
	p := newParty(t, 1)
	for what, args := range map[string][]any{
		"a function": {func() {}}, "a channel": {1, make(chan int)},
	} {
		for _, to := range []sio.Emitter{p.sockets[0], p.ns, p.ns.To("x")} {
			err := to.Emit("x", args...)
			var e *sio.EncodeError
			if !errors.As(err, &e) || e.Arg != len(args)-1 || e.Unwrap() == nil {
				t.Errorf("%s: Emit = %v, want an EncodeError of the last argument", what, err)
			}
		}
	}
	// Current JavaScript clients refuse more than ten attachments.
	for n, want := range []string{10: "", 11: "too many attachments"} {
		if n < 10 {
			continue
		}
		err := p.ns.Emit("x", slices.Repeat([][]byte{{1}}, n))
		if err != nil && !strings.HasSuffix(err.Error(), want) || (err == nil) != (want == "") {
			t.Errorf("Emit of %d attachments = %v, want %q", n, err, want)
		}
	}
	if got := p.clients[0].next(); !strings.HasPrefix(got, `4510-["x",[`) {
		t.Errorf("received %s, want ten attachments", got)
	}
}

func TestDecode(t *testing.T) {
	got := make(chan error, 1)
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		srv.Of("/").Handle("x", func(_ sio.Socket, m *sio.Msg) error {
			var i int
			var s, more string
			more = "as it was"
			err := m.Decode(&i, &s, &more)
			if err == nil && (i != 1 || s != "a" || more != "as it was" || m.Len() != 2 || string(m.Raw(1)) != `"a"` || m.Raw(2) != nil || m.Raw(-1) != nil || m.Binary() != nil) {
				err = errors.New("the arguments are others")
			}
			got <- err
			return nil
		})
	})
	c := srv.join("40")
	c.send(`42["x",1,"a"]`)
	if err := take(t, got); err != nil {
		t.Error(err)
	}
	c.send(`42["x",1,2]`)
	err := take(t, got)
	var e *sio.DecodeError
	if !errors.As(err, &e) || e.Arg != 1 || e.Unwrap() == nil || !strings.HasPrefix(err.Error(), "sio: argument 1: ") {
		t.Errorf("Decode = %v, want a DecodeError of argument 1", err)
	}
}

func TestNamespaces(t *testing.T) {
	srv, err := sio.New(sio.Options{Loop: loops(1)})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown(context.Background())
	if srv.Of("") != srv.Of("/") || srv.Of("chat") != srv.Of("/chat") || srv.Of("/chat") == srv.Of("/") || srv.Of("chat").Name() != "/chat" {
		t.Error("Of does not give one namespace for one name")
	}
	defer func() {
		if recover() == nil {
			t.Error("Of of a name with a comma returned, want a panic")
		}
	}()
	srv.Of("/a,b")
}

// TestAddressOfAClientBehindAProxy: what Engine.Via says of a request is the
// handshake's address; its peer is the proxy, and nobody when it is not known any more.
func TestAddressOfAClientBehindAProxy(t *testing.T) {
	var joined chan sio.Socket
	client := netip.MustParseAddr("203.0.113.9")
	srv := serve(t, sio.Options{Engine: eio.Options{Via: func(v eio.Via, _ *http1.Request) eio.Via {
		v.Client = netip.AddrPortFrom(client, v.Client.Port())
		v.Secure = true
		return v
	}}}, func(srv *sio.Server) {
		srv.Of("/").Use(func(s sio.Socket) error {
			s.SetData(s.Handshake().Peer())
			return nil
		})
		joined = sockets(srv.Of("/"))
	})
	srv.join("40")
	for _, transport := range []string{"websocket", "polling"} {
		if transport == "polling" {
			srv.joinPolling()
		}
		if s := take(t, joined); s.Transport() != transport || s.Handshake().Address().Addr() != client || !s.Handshake().Secure() {
			t.Errorf("over %s the address is %v, secure: %v, want %v", s.Transport(), s.Handshake().Address(), s.Handshake().Secure(), client)
		} else if peer, _ := sio.DataOf[netip.AddrPort](s); !peer.Addr().IsLoopback() || peer.Port() != s.Handshake().Address().Port() {
			t.Errorf("over %s the peer is %v, want one of loopback", s.Transport(), peer)
		}
	}
	srv = serve(t, sio.Options{}, func(srv *sio.Server) { joined = sockets(srv.Of("/")) })
	c := srv.join("40")
	s := take(t, joined)
	c.send(`42["e"]`)
	for s.Handshake().URL() != "" {
		runtime.Gosched() // the connect handlers return
	}
	if a, peer := s.Handshake().Address(), s.Handshake().Peer(); !a.IsValid() || peer.IsValid() {
		t.Errorf("of a request that is gone the address is %v, and the peer %v, want none", a, peer)
	}
}

func TestEdge64TransportsAndAddresses(t *testing.T) {
	var joined chan sio.Socket
	srv := serve(t, sio.Options{}, func(srv *sio.Server) { joined = sockets(srv.Of("/")) })
	c := srv.join("40")
	s := take(t, joined)
	if got := s.Transport(); got != "websocket" {
		t.Errorf("Transport() = %q, want websocket", got)
	}
	if got, want := s.Handshake().Address().String(), c.conn.LocalAddr().String(); got != want {
		t.Errorf("the address is %s, want %s", got, want)
	}
	srv.joinPolling()
	s = take(t, joined)
	if got := s.Transport(); got != "polling" {
		t.Errorf("Transport() = %q, want polling", got)
	}
	if a := s.Handshake().Address(); !a.Addr().IsLoopback() || a.Port() == 0 {
		t.Errorf("the address is %s, want one of loopback", a)
	}
}

// Inline handlers on several loops, all of them at the same time, ask sockets of
// each other's loops, which answer: nobody waits for ever. What would wait for a
// client is refused.
func TestInlineHandlersAskEachOther(t *testing.T) {
	const n = 3
	var joined chan sio.Socket
	var arrived atomic.Int32
	ready := make(chan struct{})
	var all []sio.Socket
	srv := serve(t, sio.Options{Loop: loops(n)}, func(srv *sio.Server) {
		ns := srv.Of("/")
		joined = sockets(ns)
		ns.HandleInline("ask", func(s sio.Socket, m *sio.Msg) error {
			<-ready
			for arrived.Add(1); arrived.Load() < n; { // all loops are in the handler
				runtime.Gosched()
			}
			seen := 0
			for range 20 {
				for _, other := range all {
					if !other.Connected() || other.Transport() != "websocket" || len(other.Rooms()) != 2 || !other.Handshake().Address().IsValid() {
						t.Errorf("a socket of another loop answers %t %q %q", other.Connected(), other.Transport(), other.Rooms())
					}
					other.Join("r")
				}
				remote, err := ns.All().FetchSockets(s.Context())
				if err != nil {
					return err
				}
				seen = len(remote) + len(ns.All().Sockets())
			}
			_, err1 := s.EmitAck(s.Context(), "q")
			_, err2 := ns.All().EmitAck(s.Context(), "q")
			_, err3 := sio.Ask[int](s.Context(), s, "q")
			if err1 != sio.ErrInline || err2 != sio.ErrInline || err3 != sio.ErrInline || srv.Shutdown(s.Context()) != sio.ErrInline {
				t.Errorf("asking a client in an inline handler = %v, %v, %v, want %v", err1, err2, err3, sio.ErrInline)
			}
			return m.Ack(seen)
		})
	})
	var clients []*client
	on := map[string]bool{}
	for len(all) < n {
		c := srv.join("40")
		s := take(t, joined)
		if loop := s.LoopIndex(); !on[loop] {
			on[loop] = true
			s.Join("r")
			clients, all = append(clients, c), append(all, s)
		} else {
			c.send("41", "1")
		}
	}
	eventually(t, "the end of the others", func() bool { return len(srv.Of("/").All().Sockets()) == n })
	close(ready)
	for _, c := range clients {
		c.send(`421["ask"]`)
	}
	for _, c := range clients {
		c.expect(`431[6]`)
	}
}

// What is known of the first request is what Node's socket.handshake says of it.
func TestHandshakeOfNode(t *testing.T) {
	seen := make(chan [2]sio.Handshake, 1)
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		srv.Of("/").OnConnect(func(s sio.Socket) error {
			all, err := srv.Of("/").To(s.ID()).FetchSockets(context.Background())
			if err == nil {
				seen <- [2]sio.Handshake{s.Handshake(), all[0].Handshake()}
			}
			return err
		})
	})
	for _, origin := range []string{"", "Origin: https://a.example\r\n"} {
		begin := time.Now().Truncate(time.Millisecond)
		c := srv.handshakeWith("EIO=4&transport=websocket&x=1&x=2", origin+"X-Thing: a: b\r\nx-thing: c\r\n")
		c.next()
		c.join(`40{"token":"t"}`)
		both := take(t, seen)
		for i, h := range both {
			var auth struct{ Token string }
			if err := h.Auth(&auth); err != nil || auth.Token != "t" {
				t.Errorf("%d: Auth = %+v, %v, want t", i, auth, err)
			}
			if h.XDomain() != (origin != "") || h.Secure() {
				t.Errorf("%d: XDomain() = %v with %q, Secure() = %v", i, h.XDomain(), origin, h.Secure())
			}
			if at := h.Issued(); at.Before(begin) || at.After(time.Now()) || at.Nanosecond()%1e6 != 0 {
				t.Errorf("%d: Issued() = %v, want a time in ms from %v on", i, at, begin)
			}
			if q := h.Query(); q.Get("EIO") != "4" || q.Get("transport") != "websocket" || !slices.Equal(q["x"], []string{"1", "2"}) {
				t.Errorf("%d: Query() = %v", i, q)
			}
			if got := h.Header(); !slices.Equal(got["X-Thing"], []string{"a: b", "c"}) || got.Get("Host") != srv.addr {
				t.Errorf("%d: Header() = %q", i, got)
			}
			if h.URL() != "/socket.io/?EIO=4&transport=websocket&x=1&x=2" || !h.Address().Addr().IsLoopback() {
				t.Errorf("%d: URL and Address are %q and %v", i, h.URL(), h.Address())
			}
		}
	}
	var none sio.Handshake
	if none.URL() != "" || len(none.Query())+len(none.Header()) > 0 || none.XDomain() || none.Secure() || !none.Issued().IsZero() || none.Address().IsValid() || none.Auth(nil) != nil {
		t.Error("the zero Handshake knows something")
	}
}

// A session's first request is kept for middlewares of the namespaces that it may
// join yet, and no longer.
func TestHandshakeIsKeptForFurtherNamespaces(t *testing.T) {
	seen := make(chan string, 1)
	ask := func(s sio.Socket) error { seen <- s.Name() + " " + s.Handshake().Query().Get("q"); return nil }
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		echo(srv.Of("/"))
		srv.Of("/").OnConnect(ask)
		srv.Of("/admin").Use(ask)
		srv.Of("/plain")
	})
	c := srv.dialQuery("EIO=4&transport=websocket&q=1")
	for _, name := range []string{"/", "/admin"} {
		if held := srv.Held()["handshakes"]; held != 1 {
			t.Errorf("%d requests are held before %s is joined, want 1", held, name)
		}
		packet := "40" + name + ","
		if name == "/" {
			packet = "40"
		}
		c.join(packet)
		if got, want := take(t, seen), name+" 1"; got != want {
			t.Errorf("a handler saw %q, want %q", got, want)
		}
	}
	eventually(t, "dropping the request", func() bool { h := srv.Held(); return h["handshakes"] == 0 && h["details"] == 0 })
	c.join("40/plain,")
}
