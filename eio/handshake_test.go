package eio

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// withFields returns a request with further fields.
func withFields(request []byte, fields ...string) []byte {
	return bytes.Replace(request, []byte("Host: h\r\n"), []byte("Host: h\r\n"+strings.Join(fields, "\r\n")+"\r\n"), 1)
}

// TestOpenHasTheFirstRequest: the handler sees the query, the fields and the
// address of the request that opened the session, also when it was decided on
// while the loop read another request.
func TestOpenHasTheFirstRequest(t *testing.T) {
	release := make(chan struct{}, 1)
	asking := Options{AllowRequest: func(*http.Request) error { <-release; return nil }}
	for _, c := range []struct {
		transport string
		request   []byte
		o         Options
	}{
		{"polling", getRequest("a=b%20c&EIO=4&transport=polling&a[]=d"), Options{}},
		{"websocket", wsRequest("a=b%20c&EIO=4&transport=websocket&a[]=d"), Options{}},
		{"polling", getRequest("a=b%20c&EIO=4&transport=polling&a[]=d"), asking},
		{"websocket", wsRequest("a=b%20c&EIO=4&transport=websocket&a[]=d"), asking},
	} {
		var srv *Server
		var told []string
		srv, sim := newSim(t, &hooks{open: func(s Session, r *http1.Request) {
			a, _ := r.Query("a")
			list, _ := r.Query("a[]")
			told = append(told, fmt.Sprintf("%s %s %s %s %s %s from %s, %d open",
				s.Transport(), r.Method, r.Path, a, list, r.Get("x-extra"), s.RemoteAddr(), srv.Count(s.Loop())))
		}}, c.o, loop.Options{})
		peer := sim.Connect(0)
		peer.Send(withFields(c.request, "X-Extra: more"))
		other := sim.Connect(0)
		other.Send([]byte("GET /elsewhere?a=x HTTP/1.1\r\nHost: other\r\nX-Extra: other\r\n\r\n"))
		if c.o.AllowRequest != nil {
			release <- struct{}{}
		}
		waitFor(t, sim, func() bool { return len(told) > 0 })
		if want := []string{c.transport + " GET /engine.io/ b c d more from 192.0.2.1:1, 1 open"}; !slices.Equal(told, want) {
			t.Errorf("Open was told %q, want %q", told, want)
		}
		peer.Close()
		other.Close()
		sim.Advance(2 * time.Minute)
		checkEmpty(t, srv, sim.Engine())
	}
}

// TestSendAndCloseWithinOpen: the client gets the open packet first, then what
// was sent, then the end; what it sent behind its handshake is nobody's.
func TestSendAndCloseWithinOpen(t *testing.T) {
	var seen []string
	srv, sim := newSim(t, &hooks{
		open: func(s Session, _ *http1.Request) {
			seen = append(seen, "open")
			s.Send(AppendText(nil, []byte("bye")))
			s.Close()
			s.Send(AppendText(nil, []byte("lost")))
		},
		message: func(_ Session, data []byte, _ bool) { seen = append(seen, string(data)) },
		close:   func(_ Session, r Reason) { seen = append(seen, string(r)) },
	}, Options{}, loop.Options{})
	poller, ws := sim.Connect(0), sim.Connect(0)
	poller.Send(getRequest("EIO=4&transport=polling"))
	_, rest, _ := strings.Cut(bodyOf(answers(t, sim, poller, 1)[0]), `0{"sid":"`)
	query := "EIO=4&transport=polling&sid=" + rest[:IDLen]
	for _, want := range []string{"4bye", "6\x1e1", `{"code":1,"message":"Session ID unknown"}`} {
		poller.Send(getRequest(query))
		if got := bodyOf(answers(t, sim, poller, 1)[0]); got != want {
			t.Errorf("poll = %q, want %q", got, want)
		}
	}
	ws.Send(append(wsRequest("EIO=4&transport=websocket"), textFrame("4behind")...))
	frames := upgraded(t, ws.Received())
	if want := "\x81\x044bye\x88\x00"; !bytes.HasPrefix(frames[2:], []byte(`0{"sid":"`)) || !bytes.HasSuffix(frames, []byte(want)) || !ws.Closed() {
		t.Errorf("frames = %q, closed %t, want the open packet, %q and the end", frames, ws.Closed(), want)
	}
	if want := []string{"open", string(ForcedClose), "open", string(ForcedClose)}; !slices.Equal(seen, want) {
		t.Errorf("the handler saw %q, want %q", seen, want)
	}
	poller.Close()
	ws.Close()
	sim.Advance(2 * time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

// TestClientLeavesWithItsHandshake: the end of the connection comes with the
// request. Over polling nobody can tell that it is more than the end of that
// connection, so the session waits for its ping time-out.
func TestClientLeavesWithItsHandshake(t *testing.T) {
	for _, c := range []struct {
		request []byte
		now     []string // what is seen at once
		later   []string
	}{
		{getRequest("EIO=4&transport=polling"), []string{"open"}, []string{"open", string(PingTimeout)}},
		{wsRequest("EIO=4&transport=websocket"), []string{"open", string(TransportClose)}, []string{"open", string(TransportClose)}},
		{wsRequest("EIO=4&transport=websocket")[:40], nil, nil},
	} {
		for name, leave := range map[string]func(*loop.Peer){"ends its direction": (*loop.Peer).CloseWrite, "goes": (*loop.Peer).Close} {
			var seen []string
			srv, sim := newSim(t, &hooks{
				open:  func(Session, *http1.Request) { seen = append(seen, "open") },
				close: func(_ Session, r Reason) { seen = append(seen, string(r)) },
			}, Options{}, loop.Options{})
			peer := sim.Connect(0)
			sim.Engine().Loops()[0].Post(loop.TaskFunc(func(*loop.Loop) { // so that both are there at once
				peer.Send(c.request)
				leave(peer)
			}))
			sim.Turn()
			if !slices.Equal(seen, c.now) {
				t.Errorf("a client that %s behind %.40q: seen %q, want %q", name, c.request, seen, c.now)
			}
			sim.Advance(2 * time.Minute)
			if !slices.Equal(seen, c.later) || !peer.Closed() {
				t.Errorf("a client that %s behind %.40q: seen %q later, closed %t, want %q and closed", name, c.request, seen, peer.Closed(), c.later)
			}
			peer.Close()
			sim.Turn()
			checkEmpty(t, srv, sim.Engine())
		}
	}
}

// TestRefusalsAreToldAsAnswered: code and message of OnConnectionError are those
// that the client gets, and the request is the one that was refused.
func TestRefusalsAreToldAsAnswered(t *testing.T) {
	var told []string
	srv, sim := newSim(t, &hooks{}, Options{CORS: &CORS{}, OnConnectionError: func(e ConnectionError) {
		told = append(told, fmt.Sprintf("%d %s %s", e.Code, e.Message, e.Request.RawQuery))
	}}, loop.Options{})
	for _, c := range []struct {
		code    int
		query   string
		upgrade bool
		field   string
	}{
		{CodeUnknownTransport, "EIO=4&transport=constructor", false, "X: y"},
		{CodeUnknownTransport, "EIO=4&transport=constructor", true, "X: y"},
		{CodeUnknownSID, "EIO=4&transport=polling&sid=__proto__", false, "X: y"},
		{CodeUnknownSID, "EIO=4&transport=websocket&sid=__proto__", true, "X: y"},
		{CodeBadRequest, "EIO=4&transport=websocket", false, "X: y"},
		{CodeBadRequest, "EIO=4&transport=polling", true, "X: y"},
		{CodeForbidden, "EIO=4&transport=polling", false, "Origin: https://evil.example"},
		{CodeForbidden, "EIO=4&transport=websocket", true, "Origin: https://evil.example"},
		{CodeUnsupportedVersion, "EIO=3&transport=polling", false, "X: y"},
		{CodeUnsupportedVersion, "EIO=3&transport=websocket", true, "X: y"},
	} {
		told = nil
		peer := sim.Connect(0)
		request := getRequest(c.query)
		if c.upgrade {
			request = wsRequest(c.query)
		}
		peer.Send(withFields(request, c.field))
		r := answers(t, sim, peer, 1)[0]
		var answer struct {
			Code    int
			Message string
		}
		body := bodyOf(r)
		if r.Header.Get("Content-Type") == "application/json" {
			if err := json.Unmarshal([]byte(body), &answer); err != nil {
				t.Fatalf("%s: body = %q: %v", c.query, body, err)
			}
		} else { // a handshake is told in plain words
			answer.Code, answer.Message = c.code, body
		}
		want := []string{strconv.Itoa(c.code) + " " + answer.Message + " " + c.query}
		if answer.Code != c.code || answer.Message == "" || !slices.Equal(told, want) || peer.Closed() != c.upgrade {
			t.Errorf("%s, upgrade %t: answered %q, closed %t, told %q, want code %d and %q", c.query, c.upgrade, body, peer.Closed(), told, c.code, want)
		}
		peer.Close()
	}
	sim.Advance(time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

// TestSessionsEndWithTheirServer: the next server does not know the ids of the
// one before it, and takes their clients as new ones.
func TestSessionsEndWithTheirServer(t *testing.T) {
	open := func() (*Server, *loop.Sim, *loop.Peer, string) {
		srv, sim := newSim(t, &hooks{}, Options{}, loop.Options{})
		c := sim.Connect(0)
		c.Send(getRequest("EIO=4&transport=polling"))
		_, rest, _ := strings.Cut(bodyOf(answers(t, sim, c, 1)[0]), `0{"sid":"`)
		return srv, sim, c, rest[:IDLen]
	}
	_, _, _, before := open()
	srv, sim, c, now := open()
	w := sim.Connect(0)
	w.Send(wsRequest("EIO=4&transport=websocket&sid=" + before))
	if r := answers(t, sim, w, 1)[0]; r.StatusCode != 400 || bodyOf(r) != "Session ID unknown" {
		t.Errorf("an upgrade of the old session is answered %d, want 400", r.StatusCode)
	}
	for sid, want := range map[string]string{before: `{"code":1,"message":"Session ID unknown"}`, now: "ok"} {
		post := sim.Connect(0)
		post.Send(postRequest("EIO=4&transport=polling&sid="+sid, "4x"))
		if got := bodyOf(answers(t, sim, post, 1)[0]); got != want {
			t.Errorf("POST with id %s = %q, want %q", sid, got, want)
		}
		post.Close()
	}
	c.Close()
	sim.Advance(2 * time.Minute)
	checkEmpty(t, srv, sim.Engine())
}
