package sio_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// The tests called TestEdge hold the finer points of Node's server, socket.io
// 4.8, that applications come to rely on; and where ours differs on purpose, the
// difference. Their numbers only tell them apart.

func TestEdge1TheClientSeesTheAnswerFirst(t *testing.T) {
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		srv.Of("/").OnConnect(func(s sio.Socket) error {
			if !s.Connected() || !slices.Equal(s.Rooms(), []string{s.ID()}) {
				t.Errorf("in OnConnect Connected() = %v and Rooms() = %v, want true and its id", s.Connected(), s.Rooms())
			}
			if !slices.Contains(srv.Of("/").All().Sockets(), s) {
				t.Error("in OnConnect Sockets() lacks the socket")
			}
			if err := srv.Of("/").To(s.ID()).Emit("broadcast"); err != nil {
				return err
			}
			return s.Emit("direct")
		})
	})
	for range 20 {
		srv.join("40").expect(`42["broadcast"]`, `42["direct"]`)
	}
}

func TestEdge2And50WithinAMiddleware(t *testing.T) {
	var joined chan sio.Socket
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		echo(ns)
		joined = sockets(ns)
		ns.Use(func(s sio.Socket) error {
			if s.Connected() || len(s.Rooms()) > 0 || len(ns.All().Sockets()) > 0 {
				t.Errorf("Connected() = %v, Rooms() = %v, Sockets() = %v, want none of it", s.Connected(), s.Rooms(), ns.All().Sockets())
			}
			s.Join("early")
			if got := s.Rooms(); !slices.Equal(got, []string{"early"}) {
				t.Errorf("Rooms() = %v, want early", got)
			}
			if err := s.Emit("before", 1); err != nil {
				return err
			}
			for _, to := range []sio.BroadcastOperator{ns.All(), ns.To("early"), ns.To(s.ID())} {
				if err := to.Emit("not me"); err != nil {
					return err
				}
				if n := len(to.Sockets()); n > 0 {
					t.Errorf("%d sockets are addressed, want none", n)
				}
			}
			return nil
		})
	})
	c := srv.dial()
	c.send("40")
	c.expect(`42["before",1]`, `40{"sid":"$sid"}`)
	if got, want := take(t, joined).Rooms(), []string{c.id, "early"}; !slices.Equal(got, want) {
		t.Errorf("Rooms() = %v, want %v", got, want)
	}
	if err := srv.Of("/").To("early").Emit("now"); err != nil {
		t.Fatal(err)
	}
	c.expect(`42["now"]`)
}

func TestEdge3AfterARefusal(t *testing.T) {
	var refuse atomic.Bool
	refuse.Store(true)
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		srv.Of("/").Use(func(s sio.Socket) error {
			s.Join("r", "q")
			s.SetData("something")
			if refuse.Load() {
				return &sio.Error{Message: "not yet"}
			}
			return nil
		})
	})
	c := srv.dial()
	c.send("40")
	c.expect(`44{"message":"not yet"}`)
	eventually(t, "the end of the refused socket", func() bool { h := srv.Held(); return h["sockets"]+h["rooms"]+h["details"] == 0 })
	refuse.Store(false)
	c.join("40")
}

func TestEdge4AnswersToARefusedClient(t *testing.T) {
	for _, x := range []struct {
		err  error
		want string
	}{
		{&sio.Error{Message: "text"}, `44{"message":"text"}`},
		{&sio.Error{Message: "text", Data: map[string]any{"code": 401}}, `44{"message":"text","data":{"code":401}}`},
		{&sio.Error{Message: "text", Data: []int{1}}, `44{"message":"text","data":[1]}`},
		{&sio.Error{Message: "text", Data: func() {}}, `44{"message":"text"}`},
		{errors.New("database password is 1234"), `44{"message":"internal error"}`},
		{errors.Join(errors.New("x"), &sio.Error{Message: "wrapped"}), `44{"message":"wrapped"}`},
	} {
		srv := simulate(t, sio.Options{}, func(srv *sio.Server) { srv.Of("/").Use(func(sio.Socket) error { return x.err }) })
		srv.dial().play(say("40").hear(x.want))
	}
}

func TestEdge5APanicInAMiddleware(t *testing.T) {
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		srv.Of("/").Use(func(sio.Socket) error { panic("bug") }, func(sio.Socket) error { t.Error("the next one ran"); return nil })
	})
	c := srv.dial()
	c.send("40")
	c.expect(`44{"message":"internal error"}`)
	if got := take(t, srv.log.new); got != "connect: sio: panic: bug" {
		t.Errorf("OnError got %q", got)
	}
	c.send("40/none,")
	c.expect(`44/none,{"message":"Invalid namespace"}`)
}

// A client that leaves while its middleware runs: nothing of it stays, no
// handler is called.
func TestEdge7And8GoneDuringTheMiddleware(t *testing.T) {
	in, out, result := make(chan sio.Socket), make(chan struct{}), make(chan error)
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		ns.Use(func(s sio.Socket) error {
			s.Join("room")
			s.SetData(1)
			in <- s
			<-out
			s.Join("late")
			s.SetData(2)
			result <- s.Emit("hello")
			return nil
		})
		ns.OnConnect(func(sio.Socket) error { t.Error("OnConnect ran"); return nil })
		ns.OnDisconnecting(func(sio.Socket, sio.Reason) { t.Error("OnDisconnecting ran") })
		ns.OnDisconnect(func(sio.Socket, sio.Reason) { t.Error("OnDisconnect ran") })
	})
	for _, leave := range []func(c *client){
		func(c *client) { c.conn.Close() },
		func(c *client) { c.send("41"); c.send("1") }, // cancels the attempt
	} {
		c := srv.dial()
		c.send("40")
		s := take(t, in)
		leave(c)
		eventually(t, "the end of the session", func() bool { return srv.Held()["sessions"] == 0 })
		wantNothingHeld(t, srv.Held())
		if ctx := s.Context(); ctx.Err() == nil {
			t.Error("the context is not done")
		}
		out <- struct{}{}
		if err := take(t, result); err != sio.ErrClosed {
			t.Errorf("Emit = %v, want %v", err, sio.ErrClosed)
		}
	}
}

// A CONNECT that is pending can be taken back; the connection goes on.
func TestEdge8LeavingAPendingNamespace(t *testing.T) {
	in, out := make(chan sio.Socket), make(chan struct{})
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		echo(srv.Of("/"))
		srv.Of("/slow").Use(func(s sio.Socket) error { in <- s; <-out; return nil })
	})
	c := srv.join("40")
	c.send("40/slow,")
	take(t, in)
	c.send("41/slow,")
	c.quiet("")
	close(out)
	c.quiet("")
}

// Nothing but CONNECT may come before the answer to it.
func TestPacketsBeforeTheAnswer(t *testing.T) {
	in, out := make(chan sio.Socket, 10), make(chan struct{})
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		srv.Of("/").Use(func(s sio.Socket) error { in <- s; <-out; return nil })
	})
	for _, packet := range []string{`42["x"]`, "431[]"} {
		c := srv.dial()
		c.send("40")
		take(t, in)
		c.send(packet)
		c.ended("close -")
	}
	close(out)
}

// A client that gives up and asks again (connect, disconnect, connect, of which the
// JavaScript client says nothing in between) has one socket, the later one, and
// its other namespaces go on: with middlewares and without.
func TestASecondConnectReplacesThePending(t *testing.T) {
	in, out := make(chan sio.Socket, 10), make(chan struct{})
	var joined, free chan sio.Socket
	srv := simulate(t, sio.Options{KeepHandshake: sio.KeepAlways}, func(srv *sio.Server) {
		echo(srv.Of("/"))
		echo(srv.Of("/slow"))
		echo(srv.Of("/free"))
		srv.Of("/slow").Use(func(s sio.Socket) error { in <- s; <-out; return nil })
		joined, free = sockets(srv.Of("/slow")), sockets(srv.Of("/free"))
	})
	c := srv.join("40")
	c.send(`40/slow,{"n":1}`)
	first := take(t, in)
	c.send(`40/slow,{"n":2}`)
	second := take(t, in)
	c.quiet("")
	close(out)
	c.expect(`40/slow,{"sid":"$sid"}`)
	var auth struct{ N int }
	if s := take(t, joined); s != second || s.ID() != c.id || s.Auth(&auth) != nil || auth.N != 2 {
		t.Errorf("the socket is %s with %v, want the second", s.ID(), auth)
	}
	c.quiet("/slow,")
	eventually(t, "the end of the first", first.Gone)

	c.send("40/free,", "40/free,", `42/free,7["fence"]`) // accepted before it gave up
	c.expect(`40/free,{"sid":"$sid"}`, `40/free,{"sid":"$sid"}`, "43/free,7[]")
	take(t, free)
	take(t, free)
	if live := srv.Of("/free").All().Sockets(); len(live) != 1 || live[0].ID() != c.id || srv.Stats().Violations != 0 {
		t.Errorf("the sockets are %v and Stats() = %+v, want %s alone and no violation", live, srv.Stats(), c.id)
	}
	c.quiet("")
}

func TestEdge9DisconnectWithinAMiddleware(t *testing.T) {
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		ns.Use(func(s sio.Socket) error { s.Disconnect(sio.DisconnectOptions{}); return nil })
		ns.OnConnect(func(sio.Socket) error { t.Error("OnConnect ran"); return nil })
		srv.Of("/close").Use(func(s sio.Socket) error { s.Disconnect(sio.DisconnectOptions{Conn: true}); return nil })
		echo(srv.Of("/other"))
	})
	c := srv.join("40/other,")
	c.send("40")
	c.expect(`44{"message":"disconnected"}`)
	c.quiet("/other,")
	c.send("40/close,")
	c.ended("41/other,", "close -")
}

func TestEdge10MiddlewaresBelongToTheirNamespace(t *testing.T) {
	var mu sync.Mutex
	var ran []string
	use := func(name string) sio.Middleware {
		return func(sio.Socket) error {
			mu.Lock()
			defer mu.Unlock()
			ran = append(ran, name)
			return nil
		}
	}
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		srv.Of("/").Use(use("root 1"), use("root 2"))
		srv.Of("/").Use(use("root 3"))
		srv.Of("/chat").Use(use("chat"))
	})
	srv.join("40/chat,").join("40")
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"chat", "root 1", "root 2", "root 3"}; !slices.Equal(ran, want) {
		t.Errorf("middlewares ran as %v, want %v", ran, want)
	}
}

func TestEdge12AuthAndHandshake(t *testing.T) {
	type login struct{ Token string }
	for _, keep := range []sio.KeepHandshake{sio.KeepAlways, sio.KeepUntilJoined, sio.KeepForFirst} {
		drop := keep != sio.KeepAlways
		var joined chan sio.Socket
		checked := make(chan string, 10)
		srv := serve(t, sio.Options{KeepHandshake: keep}, func(srv *sio.Server) {
			ns := srv.Of("/")
			echo(ns)
			ns.Use(func(s sio.Socket) error {
				var l login
				if err := s.Auth(&l); err != nil {
					return &sio.Error{Message: "malformed"}
				}
				s.SetData(l.Token)
				h := s.Handshake()
				checked <- l.Token + " " + h.Query().Get("q") + " " + h.Header().Get("Host")
				return nil
			})
			joined = sockets(ns)
		})
		c := srv.dialQuery("q=1&EIO=4&transport=websocket")
		c.join(`40{"token":"secret"}`)
		if got, want := take(t, checked), "secret 1 "+srv.addr; got != want {
			t.Errorf("the middleware saw %q, want %q", got, want)
		}
		s := take(t, joined)
		c.quiet("")
		srv.Of("/").All().Sockets() // behind what OnConnect has posted
		h := s.Handshake()
		var l login
		if err := s.Auth(&l); err != nil {
			t.Error(err)
		}
		if kept := l.Token == "secret" && h.Query().Get("q") == "1"; kept == drop {
			t.Errorf("KeepHandshake %v: later auth is %+v and the URL %q", keep, l, h.URL())
		}
		if s.Data() != "secret" {
			t.Errorf("Data() = %v, want secret", s.Data())
		}
		c2 := srv.dial()
		c2.send(`40{"token":5}`)
		c2.expect(`44{"message":"malformed"}`)
	}
}

// Without KeepHandshake, and with a client that leaves while OnConnect runs.
func TestHandshakeOfAClientThatLeaves(t *testing.T) {
	in, out := make(chan sio.Socket), make(chan struct{})
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		srv.Of("/").OnConnect(func(s sio.Socket) error { in <- s; <-out; return nil })
		srv.Of("/").OnDisconnecting(func(sio.Socket, sio.Reason) { <-out })
	})
	c := srv.join("40")
	take(t, in)
	c.conn.Close()
	eventually(t, "the end of the session", func() bool { return srv.Held()["sessions"] == 0 })
	close(out)
}

// An error, or a panic, of OnConnect disconnects.
func TestOnConnectFails(t *testing.T) {
	for _, f := range []func() error{func() error { return errors.New("no") }, func() error { panic("no") }} {
		reasons := make(chan sio.Reason, 1)
		srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
			srv.Of("/").OnConnect(func(sio.Socket) error { return f() })
			srv.Of("/").OnConnect(func(sio.Socket) error { t.Error("the next one ran"); return nil })
			srv.Of("/").OnDisconnect(func(_ sio.Socket, r sio.Reason) { reasons <- r })
		})
		srv.join("40").expect("41")
		if r := take(t, reasons); r != sio.ServerDisconnect {
			t.Errorf("the reason is %q, want %q", r, sio.ServerDisconnect)
		}
		if got := take(t, srv.log.new); !strings.HasPrefix(got, "connect: ") {
			t.Errorf("OnError got %q, want it of connect", got)
		}
	}
}

func TestEdge13NoTwoSocketsHaveTheSameID(t *testing.T) {
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) { echo(srv.Of("/")); echo(srv.Of("/a")) })
	seen := map[string]bool{}
	c := srv.dial()
	for range 50 {
		c.join("40")
		c.send("41")
		seen[c.id] = true
		c.join("40/a,")
		c.send("41/a,")
		seen[c.id] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d different ids, want 100", len(seen))
	}
	for id := range seen {
		if strings.Contains(c.open, id) {
			t.Errorf("a socket's id, which others may see, is the session's in %s", c.open)
		}
	}
}

func TestConnectTimeout(t *testing.T) {
	srv := serve(t, sio.Options{ConnectTimeout: 150 * time.Millisecond}, func(srv *sio.Server) {
		echo(srv.Of("/"))
		srv.Of("/no").Use(func(sio.Socket) error { return &sio.Error{Message: "no"} })
	})
	stays := srv.join("40")
	stays.send("41") // it has joined once, which is enough
	refused, p := srv.dial(), srv.poll()
	refused.send("40/no,")
	refused.ended(`44/no,{"message":"no"}`, "close -")       // a refusal is not enough
	if _, body := p.get(); body != "1" && body != "6\x1e1" { // it polls as it happens, or behind it
		t.Errorf("GET = %q, want the close", body)
	}
	stays.join("40")
	stays.quiet("")
}
