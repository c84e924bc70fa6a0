package eio

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// Balancers ask in many ways whether a server is well: each gets a status and nothing
// more, on a connection that stays, whatever else is not served.
func TestHealth(t *testing.T) {
	well := true
	for _, o := range []struct {
		name string
		Options
		ok, not []string
	}{
		{"with a path", Options{HealthPath: "/healthz"}, []string{
			"GET /healthz HTTP/1.1|Host: h", "HEAD /healthz HTTP/1.1|Host: 10.0.0.7:3000", "GET /healthz?x=1 HTTP/1.1|Host: evil.example|Origin: http://evil.example",
			"OPTIONS / HTTP/1.0", "OPTIONS * HTTP/1.1|Host: h", "OPTIONS /healthz HTTP/1.1|Host: h", "HEAD / HTTP/1.0", "GET / HTTP/1.1|Host: h", "GET /healthz HTTP/1.0|Connection: keep-alive",
		}, []string{"POST /healthz HTTP/1.1|Host: h|Content-Length: 0", "GET /healthz/ HTTP/1.1|Host: h", "GET /engine.io/ HTTP/1.1|Host: h", "OPTIONS /engine.io/ HTTP/1.1|Host: h", "GET /healthzz HTTP/1.1|Host: h"}},
		{"without", Options{}, []string{"OPTIONS / HTTP/1.0", "OPTIONS * HTTP/1.1|Host: h"}, []string{"GET / HTTP/1.1|Host: h", "HEAD / HTTP/1.1|Host: h", "GET /healthz HTTP/1.1|Host: h"}},
		{"beside a page", Options{HealthPath: "/up", Route: func(string) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") })
		}}, []string{"GET /up HTTP/1.1|Host: h", "HEAD / HTTP/1.1|Host: h", "OPTIONS / HTTP/1.0"}, []string{"GET / HTTP/1.1|Host: h"}},
		{"below a path that has everything", Options{Path: "/", HealthPath: "/healthz"}, []string{"GET /healthz HTTP/1.1|Host: h"},
			[]string{"GET / HTTP/1.1|Host: h", "OPTIONS / HTTP/1.1|Host: h", "HEAD / HTTP/1.1|Host: h"}},
	} {
		opt := o.Options
		opt.Health, opt.CORS = func() bool { return well }, &CORS{Origins: []string{"https://a.example"}}
		opt.Middleware = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(418); return false }
		srv, sim := newSim(t, &hooks{}, opt, loop.Options{})
		ask := func(p *loop.Peer, request string) string {
			p.Send([]byte(strings.ReplaceAll(request, "|", "\r\n") + "\r\n\r\n"))
			var got string
			waitFor(t, sim, func() bool { got += string(p.Received()); return got != "" })
			return got
		}
		for _, well = range []bool{true, false} {
			status, body := "HTTP/1.1 200 ", "ok\n"
			if !well {
				status, body = "HTTP/1.1 503 ", "unavailable\n"
			}
			for _, r := range o.ok {
				p := sim.Connect(0)
				for range 2 { // it is kept alive, if that is asked for
					got := ask(p, r)
					if strings.HasPrefix(r, "GET") != strings.HasSuffix(got, "\r\n\r\n"+body) || !strings.HasPrefix(got, status) || !strings.Contains(got, "Cache-Control: no-store\r\n") {
						t.Errorf("%s, well %t: %s is answered %q", o.name, well, r, got)
					}
					if strings.Contains(r, "HTTP/1.0") && !strings.Contains(r, "keep-alive") {
						break
					}
				}
			}
			for _, r := range o.not {
				if got := ask(sim.Connect(0), r); strings.HasSuffix(got, "\r\n\r\n"+body) || strings.HasPrefix(got, status) && strings.Contains(got, "no-store") {
					t.Errorf("%s, well %t: %s is answered %q", o.name, well, r, got)
				}
			}
		}
		_ = sim.Engine().Shutdown(context.Background())
		checkEmpty(t, srv, sim.Engine())
	}
	for _, path := range []string{"healthz", "/engine.io", "/engine.io/"} {
		if _, err := NewServer(&hooks{}, Options{HealthPath: path}); err == nil {
			t.Errorf("%q can be the HealthPath", path)
		}
	}
}

// Who asks for nothing but health has no more connections than others: one too many ends
// behind its answer, which it gets.
func TestHealthIsNoWayAroundTheBoundOfAnAddress(t *testing.T) {
	srv, sim := newSim(t, &hooks{}, Options{HealthPath: "/healthz", Health: func() bool { return true }, MaxConnsPerIP: 2}, loop.Options{})
	var peers []*loop.Peer
	for range 3 {
		p := sim.Connect(0)
		p.Send([]byte("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"))
		if got := string(p.Received()); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
			t.Errorf("it is answered %q", got)
		}
		peers = append(peers, p)
	}
	for i, p := range peers {
		if p.Closed() != (i == 2) {
			t.Errorf("connection %d is closed: %t", i, p.Closed())
		}
	}
	_ = sim.Engine().Shutdown(context.Background())
	checkEmpty(t, srv, sim.Engine())
}

// CloseFew ends as many sessions as it is told, those that open meanwhile too, and all in
// the end; answers end their connections, until Resume.
func TestCloseFew(t *testing.T) {
	closed := 0
	srv, sim := newSim(t, &hooks{close: func(Session, Reason) { closed++ }}, Options{CloseCodes: true}, loop.Options{})
	l := sim.Engine().Loops()[0]
	open := func() *loop.Peer {
		w := sim.Connect(0)
		w.Send(wsRequest("EIO=4&transport=websocket"))
		w.Received()
		return w
	}
	sockets := []*loop.Peer{}
	for range 10 {
		sockets = append(sockets, open())
	}
	at, left := srv.CloseFew(l, 0, 3)
	if closed != 3 || left != 7 {
		t.Errorf("%d are closed, %d left, want 3 and 7", closed, left)
	}
	sim.Turn()
	if got := string(sockets[0].Received()); !strings.Contains(got, "\x0f\xa0server shutting down") {
		t.Errorf("a client is told %q, want the code 4000", got)
	}
	open()
	srv.Drain()
	p := sim.Connect(0)
	p.Send([]byte("GET /x HTTP/1.1\r\nHost: h\r\n\r\n"))
	if got := string(p.Received()); !strings.HasPrefix(got, "HTTP/1.1 404 ") || !strings.Contains(got, "Connection: close\r\n") || !p.Closed() {
		t.Errorf("while it drains, an answer is %q", got)
	}
	p = sim.Connect(0)
	p.Send(getRequest("EIO=4&transport=polling"))
	if got := string(p.Received()); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.Contains(got, "Retry-After: ") || !strings.Contains(got, "Connection: close\r\n") {
		t.Errorf("while it drains, a new session is answered %q", got)
	}
	for range 10 {
		at, left = srv.CloseFew(l, at, 1)
	}
	if closed != 11 || left != 0 {
		t.Errorf("%d are closed, %d left, want 11 and 0", closed, left)
	}
	srv.Resume()
	open()
	if n := srv.Count(l); n != 1 {
		t.Errorf("%d sessions behind Resume, want 1", n)
	}
	if _, left = srv.CloseFew(l, at, 5); left != 0 {
		t.Errorf("%d are left", left)
	}
	sim.Turn()
	_ = sim.Engine().Shutdown(context.Background())
	checkEmpty(t, srv, sim.Engine())
}

// Other nodes' connections stay while a server drains: their clients' sessions are here
// until they are ended, and a link that is closed has to prove itself again.
func TestLinksOfOtherNodesOutliveDrain(t *testing.T) {
	o := Options{
		Proven: func(*http1.Request, []byte) bool { return true },
		Route: func(path string) http.Handler {
			if path != "/engine.io/link" {
				return nil
			}
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
		},
	}
	srv, sim := newSim(t, &hooks{}, o, loop.Options{})
	srv.Drain()
	for _, c := range []struct {
		path, field string
		status      int
	}{
		{"/engine.io/link", "X: y", 200},
		{"/engine.io/?EIO=4&transport=polling&sid=" + foreignSID, ForwardedHeader + ": proof", 400},
	} {
		p := sim.Connect(0)
		p.Send([]byte("GET " + c.path + " HTTP/1.1\r\nHost: h\r\n" + c.field + "\r\n\r\n"))
		r := answers(t, sim, p, 1, "GET")[0]
		if r.StatusCode != c.status || r.Close || p.Closed() {
			t.Errorf("%s: %s, and it is closed", c.path, r.Status)
		}
		p.Close()
	}
	sim.Advance(time.Minute)
	checkEmpty(t, srv, sim.Engine())
}
