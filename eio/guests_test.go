package eio

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/loop/notice"
)

// statuses returns the statuses of the responses in b.
func statuses(b []byte) (all []string) {
	for _, line := range strings.Split(string(b), "\r\n") {
		if _, status, ok := strings.Cut(line, "HTTP/1.1 "); ok {
			all = append(all, status[:3])
		}
	}
	return all
}

func number(all []string, what string) (n int) {
	for _, s := range all {
		if s == what {
			n++
		}
	}
	return n
}

// TestSessionsAreBounded: of all transports together there are MaxSessions; one
// more is refused before anything is made for it, until one has gone.
func TestSessionsAreBounded(t *testing.T) {
	var log bytes.Buffer
	srv, sim := newSim(t, &hooks{}, Options{MaxSessions: 3}, loop.Options{})
	srv.notice = newNotice(&log)
	poll, ws := getRequest("EIO=4&transport=polling"), wsRequest("EIO=4&transport=websocket")
	a, b, c := sim.Connect(0), sim.Connect(0), sim.Connect(0)
	a.Send(poll)
	a.Send(poll)
	b.Send(ws)
	sim.Turn()
	if got := append(statuses(a.Received()), statuses(b.Received())...); number(got, "200") != 2 || number(got, "101") != 1 {
		t.Fatalf("statuses %v, want three sessions", got)
	}
	for range 5 {
		d, e := sim.Connect(0), sim.Connect(0)
		d.Send(poll)
		e.Send(ws)
		sim.Turn()
		for _, got := range [][]byte{d.Received(), e.Received()} {
			if !bytes.HasPrefix(got, []byte("HTTP/1.1 503 ")) || !bytes.Contains(got, []byte("Retry-After: ")) {
				t.Errorf("one session more is answered %q, want 503", got)
			}
		}
	}
	if st := srv.Stats(); st.Full != 10 || srv.sessions.Load() != 3 {
		t.Errorf("Full = %d with %d sessions, want 10 and 3", st.Full, srv.sessions.Load())
	}
	if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.Contains(log.String(), "--max-sessions") {
		t.Errorf("the log is %q, want one line that names the flag", log.String())
	}
	b.Close()
	sim.Turn()
	c.Send(poll)
	sim.Turn()
	if got := statuses(c.Received()); number(got, "200") != 1 {
		t.Errorf("after one has gone: %v, want 200", got)
	}
	for _, p := range []*loop.Peer{a, c} {
		p.Close()
	}
	sim.Advance(time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

// TestGuestsAreBounded: of one address and of one connection there are only so
// many sessions that have joined nothing.
func TestGuestsAreBounded(t *testing.T) {
	var log bytes.Buffer
	var opened []Session
	srv, sim := newSim(t, &hooks{open: func(s Session, _ *http1.Request) { opened = append(opened, s) }},
		Options{MaxSessionsPerIP: 32}, loop.Options{Loops: 2})
	srv.notice = newNotice(&log)
	poll := getRequest("EIO=4&transport=polling")
	flood := func(p *loop.Peer, n int) (ok, refused int) {
		for range n {
			p.Send(poll)
		}
		sim.Turn()
		got := statuses(p.Received())
		return number(got, "200"), number(got, "503")
	}
	if ok, refused := flood(sim.Connect(0), 1000); ok != 2 || refused != 1 {
		t.Fatalf("one connection opened %d sessions and was refused %d, want 2 and then the end", ok, refused)
	}
	total := 2
	for i := range 40 {
		ok, _ := flood(sim.Connect(i%2), 2)
		total += ok
	}
	if total != 32 {
		t.Errorf("one address opened %d sessions, want 32", total)
	}
	for i, s := range opened[:10] {
		s.SetJoined(true)
		s.SetJoined(true)
		if i == 0 {
			s.SetJoined(false) // again a guest
		}
	}
	total = 0
	for i := range 40 {
		ok, _ := flood(sim.Connect(i%2), 2)
		total += ok
	}
	if total != 9 {
		t.Errorf("when nine had joined something, %d could come, want 9", total)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "--max-sessions-per-ip") {
		t.Errorf("the log is %q, want one line that names the flag", log.String())
	}
	if srv.Stats().Guests == 0 {
		t.Error("Guests was not counted")
	}
	w := sim.Connect(0) // needs a descriptor, which MaxConns bounds
	w.Send(wsRequest("EIO=4&transport=websocket"))
	sim.Turn()
	if got := statuses(w.Received()); number(got, "101") != 1 {
		t.Errorf("a WebSocket is answered %v, want 101", got)
	}
	w.Close()
	sim.Advance(2 * time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

// TestWhoNeverPollsIsNotWaitedFor as long as who does.
func TestWhoNeverPollsIsNotWaitedFor(t *testing.T) {
	closed := map[string]int64{}
	var srv *Server
	var sim *loop.Sim
	name := map[Session]string{}
	srv, sim = newSim(t, &hooks{
		open:  func(s Session, r *http1.Request) { name[s], _ = r.Query("name") },
		close: func(s Session, _ Reason) { closed[name[s]] = s.Loop().Now() },
	}, Options{}, loop.Options{})
	a := sim.Connect(0)
	for _, n := range []string{"never", "polls"} {
		a.Send(getRequest("EIO=4&transport=polling&name=" + n))
	}
	sim.Turn()
	for s, n := range name {
		if n == "polls" {
			b := sim.Connect(0)
			b.Send(getRequest("EIO=4&transport=polling&sid=" + s.ID()))
			sim.Turn()
		}
	}
	sim.Advance(2 * time.Minute)
	if never, polls := closed["never"], closed["polls"]; never < 20_000 || never > 21_000 || polls < 45_000 || polls > 46_000 {
		t.Errorf("closed at %v ms, want 20 s for who never polled and 45 s for who did", closed)
	}
	checkEmpty(t, srv, sim.Engine())
}

func newNotice(to *bytes.Buffer) *notice.Log {
	return notice.New(slog.New(slog.NewTextHandler(to, nil)), 0)
}

// TestRefusalsAreSeenByTheOperator: one line for each kind within the interval,
// which names what was refused and the flag that decides it, however many there are.
func TestRefusalsAreSeenByTheOperator(t *testing.T) {
	for name, c := range map[string]struct {
		request string
		want    []string
	}{
		"origin":  {"GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: site\r\nOrigin: http://site:8080\r\n\r\n", []string{"--origins", "origin=http://site:8080", "host=site"}},
		"fields":  {"GET /engine.io/ HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("A: b\r\n", 300) + "\r\n", []string{"--max-header-fields"}},
		"head":    {"GET /engine.io/ HTTP/1.1\r\nHost: h\r\nCookie: " + strings.Repeat("a", 33<<10), []string{"--max-header-bytes"}},
		"body":    {"POST /engine.io/?EIO=4&transport=polling&sid=$sid HTTP/1.1\r\nHost: h\r\nContent-Length: 1000001\r\n\r\n", []string{"--max-payload"}},
		"version": {"GET /engine.io/?EIO=3&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n", []string{"--eio3"}},
		"id":      {"GET /engine.io/?EIO=4&transport=polling&sid=nobody HTTP/1.1\r\nHost: h\r\n\r\n", []string{"not known"}},
	} {
		var log bytes.Buffer
		var s Session
		srv, sim := newSim(t, &hooks{open: func(o Session, _ *http1.Request) { s = o }}, Options{CORS: &CORS{Origins: []string{"https://app"}}}, loop.Options{})
		srv.notice = newNotice(&log)
		a := sim.Connect(0)
		a.Send(getRequest("EIO=4&transport=polling"))
		for range 50 {
			p := sim.Connect(0)
			p.Send([]byte(strings.Replace(c.request, "$sid", s.ID(), 1)))
			if got := statuses(p.Received()); len(got) != 1 || got[0] < "400" {
				t.Fatalf("%s: %v, want a refusal", name, got)
			}
			p.Close()
		}
		if n := strings.Count(log.String(), "\n"); n != 1 {
			t.Errorf("%s: %d lines for 50 refusals, want 1: %s", name, n, log.String())
		}
		for _, w := range c.want {
			if !strings.Contains(log.String(), w) {
				t.Errorf("%s: the log is %q, want %q in it", name, log.String(), w)
			}
		}
		sim.Advance(2 * time.Minute)
	}
}
