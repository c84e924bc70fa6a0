package eio

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// stopInSteps closes all sessions of a simulation and returns how many were closed in
// each step.
func stopInSteps(srv *Server, sim *loop.Sim, closed *int) (steps []int) {
	l := sim.Engine().Loops()[0]
	for at, first := uint32(0), true; at != 0 || first; first = false {
		before := *closed
		at = srv.CloseSome(l, at)
		steps = append(steps, *closed-before)
	}
	return steps
}

// TestStopIsPaced: however many sessions there are, a step ends a bounded number; each
// client is told in its way, and whoever had asked for something gets an answer.
func TestStopIsPaced(t *testing.T) {
	const each = 300
	closed, done := 0, make(chan struct{})
	var now Session
	srv, sim := newSim(t, &hooks{
		open:  func(s Session, _ *http1.Request) { now = s },
		close: func(Session, Reason) { closed++ },
	}, Options{Route: func(string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { <-done; _, _ = io.WriteString(w, "here") })
	}}, loop.Options{})
	var polls, sockets, posts, held, routes, probes []*loop.Peer
	open := func() (*loop.Peer, string) {
		p := sim.Connect(0)
		p.Send(getRequest("EIO=4&transport=polling"))
		p.Received()
		return p, "EIO=4&transport=polling&sid=" + now.ID()
	}
	for range each {
		p, query := open()
		p.Send(getRequest(query))
		polls = append(polls, p)
		w := sim.Connect(0)
		w.Send(wsRequest("EIO=4&transport=websocket"))
		w.Received()
		sockets = append(sockets, w)
		p, query = open()
		b := postRequest(query, "4whole")
		p.Send(b[:len(b)-3])
		posts = append(posts, p)
		p, query = open()
		now.PauseRead()
		p.Send(postRequest(query, "4x"))
		held = append(held, p)
		_, query = open()
		w = sim.Connect(0)
		w.Send(wsRequest(strings.Replace(query, "polling", "websocket", 1)))
		w.Received()
		probes = append(probes, w)
	}
	for range 5 {
		p := sim.Connect(0)
		p.Send([]byte("GET /route HTTP/1.1\r\nHost: h\r\n\r\n"))
		routes = append(routes, p)
	}
	srv.Drain()
	steps := stopInSteps(srv, sim, &closed)
	if closed != 5*each || len(steps) < closed/closeStep {
		t.Errorf("%d sessions were closed in %d steps, want %d", closed, len(steps), 5*each)
	}
	for _, n := range steps {
		if n > closeStep {
			t.Errorf("a step closed %d sessions, want at most %d", n, closeStep)
		}
	}
	sim.Turn()
	for _, p := range posts {
		p.Send([]byte("ole"))
	}
	close(done)
	waitFor(t, sim, func() bool { return srv.Stats().Apart == 0 })
	if err := sim.Engine().Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown() = %v", err)
	}
	for _, c := range []struct {
		name, want string
		of         []*loop.Peer
	}{
		{"a poll that waits", "HTTP/1.1 503 ", polls},
		{"a WebSocket", "\x88\x00", sockets},
		{"a post", "HTTP/1.1 400 ", posts},
		{"a post that was not acknowledged", "HTTP/1.1 200 ", held},
		{"an upgrade", "\x88\x00", probes},
		{"a handler", "HTTP/1.1 200 ", routes},
	} {
		for _, p := range c.of {
			if got := string(p.Received()); !strings.HasPrefix(got, c.want) || !p.Closed() {
				t.Fatalf("%s: %q, want %q and the end", c.name, got, c.want)
			}
		}
	}
	checkEmpty(t, srv, sim.Engine())
}

// TestStopEndsTunnelsInSteps as it does sessions.
func TestStopEndsTunnelsInSteps(t *testing.T) {
	var nodes []net.Conn
	srv, sim := newSim(t, &hooks{}, Options{Tunnel: toNode(func(*http.Request) (*http.Response, error) {
		here, there := net.Pipe()
		nodes = append(nodes, there)
		return switching(here), nil
	})}, loop.Options{})
	const n = closeStep + 10
	for range n {
		before := srv.Stats().Tunnels
		sim.Connect(0).Send(wsRequest(upgradeQuery))
		waitFor(t, sim, func() bool { return srv.Stats().Tunnels > before })
	}
	l, ending := sim.Engine().Loops()[0], []int{}
	for at, first := uint32(0), true; at != 0 || first; first = false {
		at = srv.CloseSome(l, at)
		k := 0
		for _, t := range srv.shards[0].tunnels {
			if t.ending {
				k++
			}
		}
		ending = append(ending, k)
	}
	if len(ending) < 2 || ending[0] != closeStep || ending[len(ending)-1] != n {
		t.Errorf("after each step %v tunnels end, want %d and then all of %d", ending, closeStep, n)
	}
	sim.Advance(time.Minute)
	for _, c := range nodes {
		_ = c.Close()
	}
}

// TestShutdownWithoutCloseAll: a poll that waits gets its answer also when nobody has
// closed its session before the engine shuts down.
func TestShutdownWithoutCloseAll(t *testing.T) {
	var reason Reason
	var now Session
	srv, sim := newSim(t, &hooks{
		open:  func(s Session, _ *http1.Request) { now = s },
		close: func(_ Session, r Reason) { reason = r },
	}, Options{}, loop.Options{})
	p := sim.Connect(0)
	p.Send(getRequest("EIO=4&transport=polling"))
	p.Received()
	p.Send(getRequest("EIO=4&transport=polling&sid=" + now.ID()))
	if err := sim.Engine().Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := string(p.Received()); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !p.Closed() {
		t.Errorf("the poll got %q, want 503 and the end", got)
	}
	if reason != ForcedClose {
		t.Errorf("the session was closed for %q, want %q", reason, ForcedClose)
	}
	checkEmpty(t, srv, sim.Engine())
}
