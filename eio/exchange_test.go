package eio

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// TestExchangeKeepsItsRequest: a function of the application that has the loop do
// other work meanwhile, as one that asks it for something does, still sees its own
// request, and the answer is to that.
func TestExchangeKeepsItsRequest(t *testing.T) {
	asked, allow := make(chan struct{}), make(chan struct{})
	var opened atomic.Bool
	var server atomic.Pointer[moves]
	var before, after string // of the loop
	m, addr := start(t, &hooks{open: func(_ Session, r *http1.Request) {
		opened.Store(true)
		if q := string(r.RawQuery); !strings.HasSuffix(q, "n=first") {
			t.Errorf("opened by %q, want the request of the first client", q)
		}
	}}, Options{
		AllowRequest: func(*http.Request) error { close(asked); <-allow; return nil },
		OnConnectionError: func(e ConnectionError) {
			before = string(e.Request.Target)
			close(allow)
			for range 2000 {
				if server.Load().shards[0].loop.Ask(func() {}); opened.Load() { // it is done within
					break
				}
				time.Sleep(time.Millisecond)
			}
			after = string(e.Request.Target)
		},
	}, 1)
	server.Store(m)
	first, second := dial(t, addr), dial(t, addr)
	if _, err := first.Write(getRequest("EIO=4&transport=polling&n=first")); err != nil {
		t.Fatal(err)
	}
	<-asked
	if got := second.must(getRequest("EIO=4&transport=none&n=second"), 400); !strings.Contains(got, "Transport unknown") {
		t.Errorf("the second client got %q, want Transport unknown", got)
	}
	sid := strings.TrimPrefix(first.must(nil, 200), `0{"sid":"`)[:IDLen]
	first.must(postRequest("EIO=4&transport=polling&sid="+sid, "1"), 200)
	if !opened.Load() {
		t.Fatal("the session was not opened while the other request was looked at")
	}
	m.shards[0].loop.Ask(func() {}) // so that what it wrote is seen
	if before != after || !strings.HasSuffix(after, "n=second") {
		t.Errorf("the request was %q and became %q", before, after)
	}
}

// TestQueryIsReadOnce: of a query only what we use is decoded, however long it is.
func TestQueryIsReadOnce(t *testing.T) {
	for name, filler := range map[string]string{"short": "&a", "encoded": "&%61", "empty": "&", "alike": "&sid=%61"} {
		var r http1.Request
		head := "GET /?sid=first" + strings.Repeat(filler, (16<<10)/len(filler)) + "&s%69d=l%61st&tr%61nsport=x&EIO=4&j HTTP/1.1\r\nHost: h\r\n\r\n"
		if n, err := (http1.Limits{}).Parse([]byte(head), &r); n == 0 || err != nil {
			t.Fatal(n, err)
		}
		var q query
		if n := testing.AllocsPerRun(10, func() { q = queryOf(&r) }); n > 2 {
			t.Errorf("%s: %v allocations, want at most two, those of what is decoded", name, n)
		}
		if string(q.sid) != "last" || string(q.transport) != "x" || string(q.revision) != "4" || !q.jsonp || len(q.j) > 0 || q.b64 != nil {
			t.Errorf("%s: %+v", name, q)
		}
	}
}

// TestHookEndsTheSession: what the application does while it is asked for header
// fields does not leave the request with a session that has gone.
func TestHookEndsTheSession(t *testing.T) {
	for name, request := range map[string]func(query string) []byte{
		"poll": getRequest, "post": func(query string) []byte { return postRequest(query, "4x") },
		"upgrade": func(query string) []byte { return wsRequest(strings.Replace(query, "polling", "websocket", 1)) },
	} {
		var now Session
		var srv *Server
		var sim *loop.Sim
		srv, sim = newSim(t, &hooks{open: func(s Session, _ *http1.Request) { now = s }}, Options{
			Headers: func(_ http.Header, r *http1.Request) {
				if sid, _ := r.Query("sid"); sid != "" {
					srv.CloseAll(sim.Engine().Loops()[0])
				}
			},
		}, loop.Options{})
		a := sim.Connect(0)
		a.Send(getRequest("EIO=4&transport=polling"))
		a.Received()
		a.Send(request("EIO=4&transport=polling&sid=" + now.ID()))
		if got := string(a.Received()); !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.Contains(got, "Session ID unknown") {
			t.Errorf("%s: %q, want that the session is unknown", name, got)
		}
		a.Close()
		sim.Advance(time.Minute)
		checkEmpty(t, srv, sim.Engine())
	}
}

// A large body on a slow link may take longer than BodyTimeout, which is for each
// part of it.
func TestLargeBodyOnASlowLink(t *testing.T) {
	for _, rate := range []int{8 << 10, 4 << 10} { // bytes a second
		var now Session
		got := 0
		srv, sim := newSim(t, &hooks{
			open:    func(s Session, _ *http1.Request) { now = s },
			message: func(_ Session, data []byte, _ bool) { got = len(data) },
		}, Options{BodyTimeout: 10 * time.Second}, loop.Options{})
		c := sim.Connect(0)
		c.Send(getRequest("EIO=4&transport=polling"))
		c.Received()
		poll := sim.Connect(0)
		poll.Send(getRequest("EIO=4&transport=polling&sid=" + now.ID()))
		request := postRequest("EIO=4&transport=polling&sid="+now.ID(), "4"+strings.Repeat("x", 500_000))
		for b := request; len(b) > 0 && !c.Closed(); b = b[min(rate, len(b)):] {
			c.Send(b[:min(rate, len(b))])
			sim.Advance(time.Second)
			if strings.HasSuffix(string(poll.Received()), "\r\n\r\n2") { // asked for a pong: it comes behind the body
				poll.Send(getRequest("EIO=4&transport=polling&sid=" + now.ID()))
			}
		}
		if want := map[int]int{8 << 10: 500_000}[rate]; got != want {
			t.Errorf("at %d bytes a second a message of %d bytes came, want %d", rate, got, want)
		}
		c.Close()
		poll.Close()
		sim.Advance(2 * time.Minute)
		checkEmpty(t, srv, sim.Engine())
	}
}
