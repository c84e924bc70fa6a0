package sio_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
)

// In Node a middleware that calls next twice connects twice. A return value
// comes once, and only the last middleware's admits.
func TestEdge6AMiddlewareAnswersOnce(t *testing.T) {
	var asked atomic.Int32
	var joined chan sio.Socket
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		echo(ns)
		pass := func(sio.Socket) error { asked.Add(1); return nil }
		ns.Use(pass, pass)
		ns.Use(pass)
		joined = sockets(ns)
	})
	c := srv.join("40")
	take(t, joined)
	c.quiet("")
	if n := len(joined); n > 0 || asked.Load() != 3 {
		t.Errorf("three middlewares were asked %d times, and OnConnect was called %d times more; want 3 and 0", asked.Load(), n)
	}
}

// A middleware that never returns: its client is not kept for longer than one
// that joins nothing, and nothing of it is.
func TestEdge7AMiddlewareThatNeverAnswers(t *testing.T) {
	in, out := make(chan sio.Socket), make(chan struct{})
	srv := serve(t, sio.Options{ConnectTimeout: 50 * time.Millisecond}, func(srv *sio.Server) {
		srv.Of("/").Use(func(s sio.Socket) error { s.Join("r"); in <- s; <-out; return nil })
	})
	c := srv.dial()
	c.send("40")
	s := take(t, in)
	c.ended("close -")
	eventually(t, "the end of the session", func() bool { return srv.Held()["sessions"] == 0 })
	wantNothingHeld(t, srv.Held())
	if s.Context().Err() == nil {
		t.Error("the context of the middleware's socket is not done")
	}
	if n := srv.Stats().Timeouts; n != 1 {
		t.Errorf("Stats().Timeouts = %d, want 1", n)
	}
	close(out)
}

// OnConnect follows the middlewares, however long they take, and the answer.
func TestOnConnectWaitsForSlowMiddlewares(t *testing.T) {
	in, out := make(chan struct{}), make(chan struct{})
	var joined chan sio.Socket
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		echo(srv.Of("/a"))
		for range 2 {
			srv.Of("/").Use(func(sio.Socket) error { in <- struct{}{}; <-out; return nil })
		}
		joined = sockets(srv.Of("/"))
	})
	c := srv.join("40/a,")
	c.send("40")
	for range 2 {
		take(t, in)
		c.quiet("/a,") // no answer yet
		if len(joined) > 0 {
			t.Error("OnConnect ran while a middleware did")
		}
		out <- struct{}{}
	}
	c.expect(`40{"sid":"$sid"}`)
	take(t, joined)
}

// What a client sends behind the answer is not handled if OnConnect refuses it.
func TestNoHandlerRunsAfterOnConnectFailed(t *testing.T) {
	gate, left := make(chan struct{}), make(chan sio.Reason, 1)
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		ns.OnConnect(func(sio.Socket) error { <-gate; return errors.New("no") })
		never := func(_ sio.Socket, m *sio.Msg) error { t.Errorf("the handler of %s ran", m.Event()); return nil }
		ns.Handle("x", never)
		ns.HandleInline("inline", never)
		ns.OnDisconnect(func(_ sio.Socket, r sio.Reason) { left <- r })
		echo(srv.Of("/a"))
	})
	for range 20 {
		c := srv.join("40/a,")
		c.join("40")
		c.send(`42["x"]`, `42["inline"]`, `421["x"]`)
		c.quiet("/a,") // they wait for OnConnect
		gate <- struct{}{}
		c.expect("41")
		if r := take(t, left); r != sio.ServerDisconnect {
			t.Errorf("the reason is %q, want %q", r, sio.ServerDisconnect)
		}
	}
}

func TestEdge11MiddlewaresAreSkippedByRecovery(t *testing.T) {
	left := make(chan string, 8)
	var ran, ranRecovered atomic.Int32
	_, dial, _ := recoverers(t, sio.Options{}, func(ns *sio.Namespace) {
		ns.Use(func(s sio.Socket) error {
			ran.Add(1)
			if s.Recovered() {
				ranRecovered.Add(1)
			}
			return nil
		})
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { left <- s.ID() })
	})
	r := dial()
	r.cut()
	gone(t, left, r.sid)
	r.connect()
	if r.recoveredAs != r.sid || ran.Load() != 1 {
		t.Errorf("recovered as %s with %d runs of the middleware, want %s with 1", r.recoveredAs, ran.Load(), r.sid)
	}
	r.cut()
	gone(t, left, r.sid)
	r.pid = "of nobody"
	r.connect()
	if r.recoveredAs == r.sid || ran.Load() != 2 || ranRecovered.Load() > 0 {
		t.Errorf("a new socket has id %s and the middleware ran %d times, %d for a recovered one; want another id, 2 and 0",
			r.recoveredAs, ran.Load(), ranRecovered.Load())
	}
}

// Each attempt brings its own auth, and each namespace; the request is that of
// the session.
func TestEdge12AuthOfEachAttempt(t *testing.T) {
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		for _, name := range []string{"/", "/a"} {
			ns := srv.Of(name)
			ns.Use(func(s sio.Socket) error {
				var l struct{ Token string }
				if err := s.Auth(&l); err != nil || l.Token != "good" {
					return &sio.Error{Message: "bad token " + l.Token}
				}
				s.SetData(l.Token)
				return nil
			})
			ns.OnConnect(func(s sio.Socket) error { return s.Emit("you", s.Data(), s.Handshake().Query().Get("q")) })
		}
	})
	c := srv.dialQuery("EIO=4&transport=websocket&q=1")
	c.play(
		say(`40{"token":"old"}`).hear(`44{"message":"bad token old"}`),
		say(`40/a,{"token":"good"}`).hear(`40/a,{"sid":"$sid"}`, `42/a,["you","good","1"]`),
		say("40").hear(`44{"message":"bad token "}`),
		say(`40{"token":"good"}`).hear(`40{"sid":"$sid"}`, `42["you","good","1"]`),
	)
}

// A second connection with the same private id takes the socket over: there are
// never two with one id. All come at once, from everywhere.
func TestEdge13TakeOver(t *testing.T) {
	_, dial, ns := recoverers(t, sio.Options{Loop: loops(3)}, func(*sio.Namespace) {})
	r := dial()
	var all []*client
	for range 12 {
		c := r.srv.dial()
		c.send(fmt.Sprintf(`40{"pid":%q}`, r.pid))
		all = append(all, c)
	}
	holders := 0
	for _, c := range all {
		if p := c.next(); strings.HasPrefix(p, "40{") && strings.Contains(p, r.sid) {
			holders++ // at some moment
		}
	}
	if holders == 0 {
		t.Fatal("nobody has the socket")
	}
	eventually(t, "the end of all but one", func() bool { return len(ns.To(r.sid).Sockets()) == 1 })
	ids := map[string]bool{}
	for _, s := range ns.All().Sockets() {
		if ids[s.ID()] {
			t.Errorf("two sockets have the id %s", s.ID())
		}
		ids[s.ID()] = true
	}
	if !ids[r.sid] {
		t.Errorf("no socket has the id %s", r.sid)
	}
}

// Without recovery a private id and an offset are auth like any other, and no
// event carries an offset.
func TestRecoveryThatIsOff(t *testing.T) {
	seen := make(chan map[string]string, 1)
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		srv.Of("/").OnConnect(func(s sio.Socket) error {
			auth := map[string]string{}
			err := s.Auth(&auth)
			seen <- auth
			return errors.Join(err, s.Emit("recovered", s.Recovered(), "text"))
		})
	})
	srv.dial().play(say(`40{"pid":"p","offset":"o"}`).hear(`40{"sid":"$sid"}`, `42["recovered",false,"text"]`))
	if auth := take(t, seen); auth["pid"] != "p" || auth["offset"] != "o" {
		t.Errorf("Auth = %v, want what was sent", auth)
	}
	if got := srv.Recoveries(); got != (sio.Recoveries{}) {
		t.Errorf("Recoveries() = %+v, want none", got)
	}
}

// A session belongs to the server that made it: another one, without knowing
// where it is, has the client begin anew.
func TestEdge63SessionsAreOfOneServer(t *testing.T) {
	register := func(srv *sio.Server) { echo(srv.Of("/")) }
	one, two := serve(t, sio.Options{}, register), serve(t, sio.Options{}, register)
	p := one.joinPolling()
	lost := *p
	lost.url = strings.Replace(p.url, one.addr, two.addr, 1)
	const unknown = `{"code":1,"message":"Session ID unknown"}`
	if status, body := lost.get(); status != 400 || body != unknown {
		t.Errorf("GET of another server's session = %d %q, want 400 %s", status, body, unknown)
	}
	if status, body := lost.post(`42["echo"]`); status != 400 || body != unknown {
		t.Errorf("POST of another server's session = %d %q, want 400 %s", status, body, unknown)
	}
	p.send(`421["echo"]`) // it is still there
	p.expect("431[]")
	if n := two.Stats().Engine.Refused[eio.CodeUnknownSID]; n != 2 {
		t.Errorf("Stats().Engine = %+v, want 2 refused for an unknown session", two.Stats().Engine)
	}
}

// The end of a session is that of all its sockets, each seen once.
func TestEdge55EachSocketLeavesOnce(t *testing.T) {
	left := make(chan string, 100)
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		note := func(what string) func(sio.Socket, sio.Reason) {
			return func(s sio.Socket, r sio.Reason) { left <- fmt.Sprint(what, " ", s.Name(), " ", r) }
		}
		for _, name := range []string{"/", "/a", "/b"} {
			srv.Of(name).OnDisconnecting(note("disconnecting"))
			srv.Of(name).OnDisconnect(note("disconnect"))
		}
	})
	c := srv.join("40")
	c.join("40/a,")
	c.join("40/b,")
	c.send("41/a,")
	c.send("1")
	c.ended("close -")
	var got []string
	for range 6 {
		got = append(got, take(t, left))
	}
	eventually(t, "the end of the session", func() bool { return srv.Held()["sessions"] == 0 })
	slices.Sort(got)
	want := []string{
		"disconnect / transport close", "disconnect /a client namespace disconnect", "disconnect /b transport close",
		"disconnecting / transport close", "disconnecting /a client namespace disconnect", "disconnecting /b transport close",
	}
	if !slices.Equal(got, want) || len(left) > 0 {
		t.Errorf("seen %q and %d more, want %q", got, len(left), want)
	}
}
