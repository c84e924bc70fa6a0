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

// An abandonment is an exchange in some state, in which something ends it.
type abandonment struct {
	t       *testing.T
	srv     *Server
	sim     *loop.Sim
	peer    *loop.Peer // has the exchange
	session Session
	reasons []Reason
	entered chan *http.Request // by a function on a goroutine
	release chan struct{}      // lets it return
}

func (a *abandonment) wait(r *http.Request) {
	a.entered <- r
	<-a.release
}

func (a *abandonment) RoundTrip(r *http.Request) (*http.Response, error) {
	a.wait(r)
	return nil, io.ErrUnexpectedEOF
}

// reach brings a new server to an exchange in a state.
func reach(t *testing.T, s state) *abandonment {
	a := &abandonment{t: t, entered: make(chan *http.Request, 1), release: make(chan struct{})}
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { a.wait(r) })
	away := string(NewNode()) + "0123456789abcdef"
	o := Options{
		Route: func(path string) http.Handler {
			if path == "/route" {
				return handler
			}
			return nil
		},
		Forward: func(Node) http.Handler {
			if s == stateSeek {
				return nil
			}
			return handler
		},
		BodyTimeout: 5 * time.Second, HeadTimeout: 5 * time.Second, IdleTimeout: 5 * time.Second,
	}
	switch s {
	case stateMiddleware:
		o.Middleware = func(_ http.ResponseWriter, r *http.Request) bool { a.wait(r); return true }
	case stateAllow:
		o.AllowRequest = func(r *http.Request) error { a.wait(r); return nil }
	case stateSeek:
		o.Seek = func(r *http.Request, _ Node) error { a.wait(r); return nil }
	case stateTunnel:
		o.Tunnel = func(Node) http.RoundTripper { return a }
	}
	a.srv, a.sim = newSim(t, &hooks{
		open:  func(s Session, _ *http1.Request) { a.session = s },
		close: func(_ Session, r Reason) { a.reasons = append(a.reasons, r) },
	}, o, loop.Options{LingerTimeout: time.Second})
	a.peer = a.sim.Connect(0)
	query := "EIO=4&transport=polling"
	switch s {
	case statePayload, statePoll, stateUnacked:
		a.peer.Send(getRequest(query))
		a.peer.Received()
		query += "&sid=" + a.session.ID()
	}
	post := func(path string, rest string) []byte {
		return []byte("POST " + path + " HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n" + rest)
	}
	a.peer.Send(map[state]func() []byte{
		stateIdle:        func() []byte { return nil },
		stateHead:        func() []byte { return []byte("GET /") },
		stateDropping:    func() []byte { return post("/none", "part") },
		statePayload:     func() []byte { return post("/engine.io/?"+query, "part") },
		stateRouteBody:   func() []byte { return post("/route", "part") },
		stateForwardBody: func() []byte { return post("/engine.io/?"+query+"&sid="+away, "part") },
		statePoll:        func() []byte { return getRequest(query) },
		stateUnacked:     func() []byte { a.session.PauseRead(); return postRequest(query, "4x") },
		stateMiddleware:  func() []byte { return getRequest(query) },
		stateAllow:       func() []byte { return getRequest(query) },
		stateSeek:        func() []byte { return getRequest(query + "&sid=" + away) },
		stateRoute:       func() []byte { return []byte("GET /route HTTP/1.1\r\nHost: h\r\n\r\n") },
		stateForward:     func() []byte { return getRequest(query + "&sid=" + away) },
		stateTunnel:      func() []byte { return wsRequest("EIO=4&transport=websocket&sid=" + away) },
	}[s]())
	if got := a.state(); got != s {
		t.Fatalf("state = %d, want %d", got, s)
	}
	if s == stateDropping {
		a.peer.Received() // it has been answered
	}
	return a
}

// state returns that of the exchange, stateIdle if there is none.
func (a *abandonment) state() state {
	for _, h := range a.srv.shards[0].https {
		if h != nil {
			return h.state
		}
	}
	return stateIdle
}

// TestAbandon goes through all states of an exchange and all that may end one before
// its answer. What the client gets is the first line of its answer and, of a poll,
// its body; behind ":" is why its session was closed.
func TestAbandon(t *testing.T) {
	const (
		none    = ""         // nothing is said
		late    = "408"      // it was too slow
		unknown = "400 {"    // its session is not there any more
		busy    = "503"      // elsewhere, or later
		done    = "answered" // what it waited for comes, and is the answer
		errored = ":transport error"
	)
	all := []cause{peerEnded, peerReset, serverStops, timedOut, malformed, tooLarge, sessionEnded}
	if len(all) != causes {
		t.Fatal("a cause is not in the table")
	}
	table := map[state]map[cause]string{
		stateIdle:        {},
		stateHead:        {timedOut: late, malformed: "400"},
		stateDeciding:    nil, // lasts for no longer than a call of Data
		stateDropping:    {},
		statePayload:     {peerEnded: errored, peerReset: errored, serverStops: unknown + ":forced close", timedOut: late + errored, malformed: "400" + errored, tooLarge: "413", sessionEnded: "200 ok:forced close"},
		stateRouteBody:   {serverStops: done, timedOut: late, malformed: "400", tooLarge: "413", sessionEnded: done},
		stateForwardBody: {serverStops: done, timedOut: late, malformed: "400", tooLarge: "413", sessionEnded: done},
		statePoll:        {peerEnded: errored, peerReset: errored, serverStops: busy + ":forced close", sessionEnded: "200 1:forced close"},
		stateUnacked:     {serverStops: "200 ok:forced close", sessionEnded: "200 ok:forced close"},
		stateMiddleware:  {serverStops: busy, sessionEnded: "200 0"},
		stateAllow:       {serverStops: busy, sessionEnded: "200 0"},
		stateSeek:        {serverStops: unknown, sessionEnded: unknown},
		stateRoute:       {serverStops: done, sessionEnded: done},
		stateForward:     {serverStops: done, sessionEnded: done},
		stateTunnel:      {serverStops: "400 Session", sessionEnded: "400 Session"},
	}
	for s := range state(states) {
		want, known := table[s]
		if !known {
			t.Errorf("state %d is not in the table", s)
		}
		for _, why := range all {
			if want == nil || !canEnd(s, why) {
				continue
			}
			a := reach(t, s)
			got := a.end(s, why)
			w := strings.Replace(want[why], done, "200", 1)
			if !strings.HasPrefix(got, w) || (w == none) != (got == none) {
				t.Errorf("state %d, cause %d: the client got %q, want %q", s, why, got, w)
			}
			a.peer.Close()
			a.sim.Advance(2 * time.Minute)
			checkEmpty(t, a.srv, a.sim.Engine())
		}
	}
}

// canEnd tells whether a cause can meet a state: only of a request that is being
// received can the rest be late or wrong.
func canEnd(s state, why cause) bool {
	switch why {
	case timedOut:
		return !s.waits()
	case malformed:
		return s == stateHead || s.receives()
	case tooLarge:
		return s.receives()
	}
	return true
}

// end has the cause come about and returns what the client got.
func (a *abandonment) end(s state, why cause) string {
	var r *http.Request
	if s.apart() {
		r = <-a.entered
	}
	switch why {
	case peerEnded:
		a.peer.Close()
	case peerReset:
		a.peer.Reset()
	case serverStops:
		a.srv.Drain()
		a.sim.Engine().Loops()[0].Post(loop.TaskFunc(a.srv.CloseAll))
		a.sim.Turn()
	case timedOut:
		a.sim.Advance(6 * time.Second)
	case malformed, tooLarge:
		a.spoil(s, why)
	case sessionEnded:
		if a.session.Valid() {
			a.session.Close()
		}
		a.sim.Turn()
	}
	if s.receives() && (why == serverStops || why == sessionEnded) {
		a.peer.Send(make([]byte, 96)) // the rest of the body
	}
	if s.apart() || (s == stateRouteBody || s == stateForwardBody) && (why == serverStops || why == sessionEnded) {
		if r == nil {
			r = <-a.entered
		}
		gone := why == peerEnded || why == peerReset
		if ended := r.Context().Err() == context.Canceled; ended != gone {
			a.t.Errorf("state %d, cause %d: the request's context has ended: %t", s, why, ended)
		}
		close(a.release)
		waitFor(a.t, a.sim, func() bool { return !a.state().apart() })
	}
	a.sim.Turn()
	head, body, _ := strings.Cut(string(a.peer.Received()), "\r\n\r\n")
	got := ""
	if head != "" {
		got = strings.TrimSpace(strings.Fields(head)[1] + " " + body)
	}
	if len(a.reasons) > 0 {
		got, _, _ = strings.Cut(got, `"`)
		if len(a.reasons) > 1 {
			a.t.Errorf("state %d, cause %d: the handler was told %q", s, why, a.reasons)
		}
		if strings.HasPrefix(got, "400 {") {
			got = "400 {"
		}
		got += ":" + string(a.reasons[0])
	}
	return got
}

// spoil sends a request whose rest is no HTTP, or too large, in place of the one that
// is being received.
func (a *abandonment) spoil(s state, why cause) {
	if s == stateHead {
		a.peer.Send([]byte("\r\n\r\n"))
		return
	}
	// The length of a body is known from the start, unless it comes in chunks.
	old := a.peer
	h := a.srv.shards[0].https
	target := ""
	for _, x := range h {
		if x != nil && x.state == s {
			target = map[state]string{stateRouteBody: "/route"}[s]
		}
	}
	if target == "" {
		query := "EIO=4&transport=polling&sid="
		if s == statePayload {
			target = "/engine.io/?" + query + a.session.ID()
		} else {
			target = "/engine.io/?" + query + string(NewNode()) + "0123456789abcdef"
		}
	}
	if s == statePayload { // one body at a time
		old.Send(make([]byte, 96))
		old.Received()
		a.reasons = nil
		old.Send(getRequest("EIO=4&transport=polling"))
		old.Received()
		target = "/engine.io/?EIO=4&transport=polling&sid=" + a.session.ID()
	}
	a.peer = a.sim.Connect(0)
	a.peer.Send([]byte("POST " + target + " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"))
	if why == malformed {
		a.peer.Send([]byte("zzz\r\n"))
	} else {
		a.peer.Send([]byte("7fffffff\r\n"))
	}
	a.sim.Turn()
	old.Close()
	a.sim.Turn()
}

// TestRequestWithinARequest: a request that is looked at while an application's
// function is asked about another one, on the same loop, leaves that as it was.
func TestRequestWithinARequest(t *testing.T) {
	var srv *Server
	var sim *loop.Sim
	var other loop.Conn
	depth := 0
	var seen []string
	srv, sim = newSim(t, &hooks{}, Options{OnConnectionError: func(e ConnectionError) {
		before := string(e.Request.Target)
		if depth++; depth == 1 {
			b := getRequest("transport=none&n=inner")
			srv.Data(other, b)
			clear(b)
		}
		if after := string(e.Request.Target); after != before || string(e.Request.Path) != "/engine.io/" {
			t.Errorf("the request was %q and became %q", before, after)
		}
		seen = append(seen, before[strings.LastIndex(before, "n="):])
	}}, loop.Options{})
	sim.Connect(0)
	other = srv.shards[0].https[1].conn
	a := sim.Connect(0)
	a.Send(getRequest("transport=none&n=outer"))
	if got := strings.Join(seen, " "); got != "n=inner n=outer" {
		t.Errorf("refused: %s, want n=inner n=outer", got)
	}
}
