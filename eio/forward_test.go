package eio

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
)

const foreignSID = "nearAAAAAAAAAAAAAAAA"

// near is a way to the node of foreignSID, which answers with what it was asked.
func near(node Node) http.Handler {
	if node != "near" {
		return nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Asked", r.Method+" "+r.RequestURI)
		w.Header().Set("Content-Type", "text/near")
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write(b)
	})
}

func TestForward(t *testing.T) {
	const path = "/engine.io/?EIO=4&transport=polling&sid=" + foreignSID
	for _, c := range []struct {
		name, request string
		status        int
		body, asked   string
		end           bool
	}{
		{"a poll", "GET " + path + "&t=%7E HTTP/1.1\r\nHost: h\r\n\r\n", 202, "", "GET " + path + "&t=%7E", false},
		{"a post", "POST " + path + " HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n4\x00\xfffo", 202, "4\x00\xfffo", "POST " + path, false},
		{"a post in chunks", "POST " + path + " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n4x\r\n1\r\ny\r\n0\r\n\r\n", 202, "4xy", "POST " + path, false},
		{"a poll with a body", "GET " + path + " HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx", 202, "x", "GET " + path, false},
		{"HEAD", "HEAD " + path + " HTTP/1.1\r\nHost: h\r\n\r\n", 202, "", "HEAD " + path, false},
		{"JSONP", "GET " + path + "&j=0 HTTP/1.1\r\nHost: h\r\n\r\n", 202, "", "GET " + path + "&j=0", false},
		{"Engine.IO 3, whether it is allowed here or not", "GET /engine.io?EIO=3&transport=polling&sid=" + foreignSID + " HTTP/1.1\r\nHost: h\r\n\r\n",
			202, "", "GET /engine.io?EIO=3&transport=polling&sid=" + foreignSID, false},
		{"a WebSocket without an upgrade", "GET /engine.io/?EIO=4&transport=websocket&sid=" + foreignSID + " HTTP/1.1\r\nHost: h\r\n\r\n",
			202, "", "GET /engine.io/?EIO=4&transport=websocket&sid=" + foreignSID, false},
		{"as much as MaxPayload", "POST " + path + " HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n0123456789", 202, "0123456789", "POST " + path, false},
		{"more than MaxPayload", "POST " + path + " HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n0123456789a", 413, "", "", true},
		{"more than MaxPayload in chunks", "POST " + path + " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n", 413, "", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv, sim := newSim(t, &hooks{}, Options{Forward: near, MaxPayload: 10}, loop.Options{})
			peer := sim.Connect(0)
			peer.Send([]byte(c.request))
			method, _, _ := strings.Cut(c.request, " ")
			r := answers(t, sim, peer, 1, method)[0]
			if body := bodyOf(r); r.StatusCode != c.status || body != c.body {
				t.Errorf("answer = %d %q, want %d %q", r.StatusCode, body, c.status, c.body)
			}
			if got := r.Header.Get("X-Asked"); got != c.asked {
				t.Errorf("the node was asked %q, want %q", got, c.asked)
			}
			if peer.Closed() != c.end {
				t.Errorf("closed: %t, want %t", peer.Closed(), c.end)
			}
			peer.Close()
			sim.Advance(time.Minute)
			checkEmpty(t, srv, sim.Engine())
		})
	}
}

// The other node has the same CORS and the same middleware: no field of theirs is
// in the answer twice, and what only this node adds is there.
func TestForwardedAnswerHasEachFieldOnce(t *testing.T) {
	forward := func(Node) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("access-control-allow-origin", r.Header.Get("Origin"))
			w.Header()["Vary"] = []string{"Accept-Encoding", "Origin"}
			w.Header().Set("X-Node", "theirs")
			w.Header().Set("Set-Cookie", "theirs=1")
		})
	}
	middleware := func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("X-Node", "ours")
		w.Header().Set("Set-Cookie", "ours=1")
		w.Header().Set("X-Ours", "1")
		w.Header().Set("Vary", "Cookie")
		return true
	}
	srv, sim := newSim(t, &hooks{}, Options{Forward: forward, Middleware: middleware,
		CORS: &CORS{Origins: []string{"https://a.example"}, Credentials: true}}, loop.Options{})
	peer := sim.Connect(0)
	for range 2 { // what is taken out of one answer is not missing in the next
		peer.Send([]byte("GET /engine.io/?EIO=4&transport=polling&sid=" + foreignSID + " HTTP/1.1\r\nHost: h\r\nOrigin: https://a.example\r\n\r\n"))
		r := answers(t, sim, peer, 1)[0]
		for name, want := range map[string]string{
			"Access-Control-Allow-Origin": "[https://a.example]", "Access-Control-Allow-Credentials": "[true]",
			"Vary": "[Accept-Encoding Origin Cookie]", "X-Node": "[theirs]", "Set-Cookie": "[theirs=1]", "X-Ours": "[1]",
		} {
			if got := fmt.Sprint(r.Header[name]); got != want {
				t.Errorf("%s = %s, want %s", name, got, want)
			}
		}
	}
	peer.Send(getRequest("EIO=4&transport=polling&sid=" + strings.Repeat("A", IDLen)))
	if r := answers(t, sim, peer, 1)[0]; fmt.Sprint(r.Header["Vary"]) != "[Accept-Encoding Origin Cookie]" {
		t.Errorf("Vary without an Origin = %s, want each value once", r.Header["Vary"])
	}
	peer.Close()
	sim.Advance(time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

// The other node learns that a client does not wait any more, as it does of its
// own clients, and nobody else gets the answer.
func TestForwardEndsWithItsClient(t *testing.T) {
	asked, left := make(chan *http.Request), make(chan error, 1)
	srv, sim := newSim(t, &hooks{}, Options{Forward: func(Node) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked <- r
			<-r.Context().Done()
			left <- r.Context().Err()
		})
	}}, loop.Options{})
	gone := sim.Connect(0)
	gone.Send(postRequest("EIO=4&transport=polling&sid="+foreignSID, "4x"))
	r := <-asked
	sim.Advance(time.Hour) // the loop has no deadline for it
	if err := r.Context().Err(); err != nil {
		t.Errorf("the context of a client that waits: %v, want none", err)
	}
	gone.Close()
	waitFor(t, sim, func() bool { return len(left) == 1 })
	next := sim.Connect(0) // on the record of the one that has gone
	next.Send(getRequest("EIO=4&transport=polling"))
	if r := answers(t, sim, next, 1)[0]; r.StatusCode != 200 || !strings.HasPrefix(bodyOf(r), `0{"sid":`) {
		t.Errorf("the next client is answered %d, want an open packet alone", r.StatusCode)
	}
	next.Close()
	sim.Advance(2 * time.Minute)
	checkEmpty(t, srv, sim.Engine())
}
