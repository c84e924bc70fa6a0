package eio

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/wsframe"
)

// A roundTrip is a way to a node.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// toNode returns a way to the node of foreignSID.
func toNode(f roundTrip) func(Node) http.RoundTripper {
	return func(node Node) http.RoundTripper {
		if node != "near" {
			return nil
		}
		return f
	}
}

// switching is the answer that begins a tunnel.
func switching(conn io.ReadWriteCloser) *http.Response {
	return &http.Response{StatusCode: http.StatusSwitchingProtocols, Body: conn,
		Header: http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Accept": {"theirs"}}}
}

// A tunnelled is a client whose upgrade is another node's business.
type tunnelled struct {
	t    *testing.T
	srv  *Server
	sim  *loop.Sim
	peer *loop.Peer
	node net.Conn
}

const upgradeQuery = "EIO=4&transport=websocket&sid=" + foreignSID

func newTunnelled(t *testing.T, lo loop.Options) *tunnelled {
	t.Helper()
	here, there := net.Pipe()
	x := &tunnelled{t: t, node: there}
	x.srv, x.sim = newSim(t, &hooks{}, Options{Tunnel: toNode(func(*http.Request) (*http.Response, error) { return switching(here), nil })}, lo)
	x.peer = x.sim.Connect(0)
	x.peer.Send(wsRequest(upgradeQuery))
	var head []byte
	waitFor(t, x.sim, func() bool {
		head = append(head, x.peer.Received()...)
		return bytes.HasSuffix(head, []byte("\r\n\r\n"))
	})
	if frames := upgraded(t, head); len(frames) > 0 {
		t.Fatalf("behind the head came %q, want nothing yet", frames)
	}
	return x
}

// apart does f on a goroutine while the loops run.
func (x *tunnelled) apart(f func()) {
	x.t.Helper()
	done := make(chan struct{})
	// ends with f
	go func() { defer close(done); f() }()
	waitFor(x.t, x.sim, func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
}

// reads reads n bytes at the node.
func (x *tunnelled) reads(n int) (b []byte) {
	x.t.Helper()
	x.apart(func() {
		b = make([]byte, n)
		if n, err := io.ReadFull(x.node, b); err != nil {
			x.t.Errorf("the node received %d bytes and %v, want %d", n, err, len(b))
		}
	})
	return b
}

// nodeEnded asserts that the node's connection has been closed.
func (x *tunnelled) nodeEnded() {
	x.t.Helper()
	x.apart(func() {
		if n, err := x.node.Read(make([]byte, 1)); err != io.EOF {
			x.t.Errorf("the node received %d bytes and %v, want the end", n, err)
		}
	})
}

// nothingIsLeft ends the client and looks for what it left.
func (x *tunnelled) nothingIsLeft() {
	x.t.Helper()
	x.peer.Close()
	x.nodeEnded()
	x.sim.Advance(time.Hour)
	if n := len(x.srv.shards[0].tunnels); n != 0 {
		x.t.Errorf("%d tunnels are left, want none", n)
	}
	checkEmpty(x.t, x.srv, x.sim.Engine())
}

// noise returns n bytes that do not repeat.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// What is sent behind the heads, before the tunnel is there and after, arrives in
// both directions, whole and in order, in whatever pieces it goes.
func TestTunnelPassesBytesOnAsTheyAre(t *testing.T) {
	for _, limit := range []int{0, 1000, 70_000} {
		here, there := net.Pipe()
		x := &tunnelled{t: t, node: there}
		asked, answer := make(chan *http.Request), make(chan struct{})
		x.srv, x.sim = newSim(t, &hooks{}, Options{Tunnel: toNode(func(r *http.Request) (*http.Response, error) {
			asked <- r
			<-answer
			return switching(here), nil
		})}, loop.Options{})
		x.peer = x.sim.Connect(0)
		x.peer.Limit(limit)
		up, down := noise(1<<20), noise(3 << 20)[2<<20:]
		x.peer.Send(append(wsRequest(upgradeQuery), up[:10]...))
		r := <-asked
		if got := r.Method + " " + r.RequestURI + " " + r.Header.Get("Upgrade") + " " + r.Header.Get("Sec-WebSocket-Key"); got != "GET /engine.io/?"+upgradeQuery+" websocket dGhlIHNhbXBsZSBub25jZQ==" {
			t.Errorf("the node was asked %q, want what the client asked", got)
		}
		x.peer.Send(up[10:20])
		close(answer)
		if got := x.reads(20); !bytes.Equal(got, up[:20]) {
			t.Fatalf("the node received %x, want %x", got, up[:20])
		}
		var wrote atomic.Bool
		// ends when the client has received all
		go func() {
			for b := down; len(b) > 0; {
				n, _ := there.Write(b[:min(len(b), 1+rand.IntN(200_000))])
				b = b[n:]
			}
			wrote.Store(true)
		}()
		for b := up[20:]; len(b) > 0; {
			n := min(len(b), 1+rand.IntN(100_000))
			x.peer.Send(b[:n])
			if got := x.reads(n); !bytes.Equal(got, b[:n]) {
				t.Fatalf("limit %d: the node received other bytes than were sent", limit)
			}
			b = b[n:]
		}
		var got []byte
		waitFor(t, x.sim, func() bool {
			got = append(got, x.peer.Received()...)
			return wrote.Load() && bytes.HasSuffix(got, down[len(down)-100:])
		})
		if !bytes.Equal(upgraded(t, got), down) {
			t.Errorf("limit %d: the client received other bytes than were sent", limit)
		}
		x.nothingIsLeft()
	}
}

// No deadline of this server's is the tunnel's.
func TestTunnelMayBeIdle(t *testing.T) {
	x := newTunnelled(t, loop.Options{})
	x.sim.Advance(24 * time.Hour)
	x.peer.Send([]byte("up"))
	if got := x.reads(2); string(got) != "up" {
		t.Errorf("the node received %q, want up", got)
	}
	x.apart(func() { _, _ = x.node.Write([]byte("down")) })
	waitFor(t, x.sim, func() bool { return string(x.peer.Received()) == "down" })
	x.sim.Advance(24 * time.Hour)
	if x.peer.Closed() {
		t.Error("the client's connection was closed, want it open")
	}
	x.nothingIsLeft()
}

// When the node does not read, the client is not read from; nothing is lost when
// it goes on.
func TestTunnelWaitsForTheNode(t *testing.T) {
	const most = 64<<10 + 64<<10 // and one read of the loop
	x := newTunnelled(t, loop.Options{})
	before := x.sim.Engine().Stats().BytesIn
	up := noise(1 << 20)
	for b := range len(up) / 1000 {
		x.peer.Send(up[b*1000 : (b+1)*1000])
	}
	x.peer.Send(up[len(up)/1000*1000:])
	if n := x.sim.Engine().Stats().BytesIn - before; n > most || n < 60_000 {
		t.Errorf("%d bytes were read for a node that reads nothing, want about %d and at most %d", n, 64<<10, most)
	}
	if got := x.reads(len(up)); !bytes.Equal(got, up) {
		t.Error("the node received other bytes than were sent")
	}
	x.peer.Send([]byte("more"))
	if got := x.reads(4); string(got) != "more" {
		t.Errorf("the node received %q, want more", got)
	}
	x.nothingIsLeft()
}

// When the client does not read, the node is not read from; one that takes
// nothing for as long as a session may be silent is given up, one that takes a
// little is not.
func TestTunnelWaitsForTheClient(t *testing.T) {
	const silence = DefaultPingInterval + DefaultPingTimeout
	for _, dead := range []bool{false, true} {
		x := newTunnelled(t, loop.Options{})
		down := noise(1 << 20)
		wrote := 0
		x.peer.Stall(true)
		x.apart(func() {
			_ = x.node.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)) // far more than it takes
			var err error
			if wrote, err = x.node.Write(down); !errors.Is(err, os.ErrDeadlineExceeded) || wrote > tunnelMost {
				t.Errorf("a node wrote %d bytes and %v to a client that reads nothing, want at most %d", wrote, err, tunnelMost)
			}
		})
		if n := x.sim.Engine().Stats().Queued; n == 0 || n > tunnelMost {
			t.Errorf("%d bytes are queued, want some and at most %d", n, tunnelMost)
		}
		if dead {
			for _, u := range x.srv.shards[0].tunnels {
				u.queued++ // as if the client had taken one byte since
			}
			x.sim.Advance(2*silence - time.Millisecond)
			if x.peer.Closed() {
				t.Error("the client was given up too soon")
			}
			x.sim.Advance(time.Millisecond)
			if !x.peer.Closed() {
				t.Error("the client was not given up")
			}
			x.nothingIsLeft()
			continue
		}
		x.sim.Advance(silence - time.Millisecond)
		x.peer.Stall(false)
		x.sim.Advance(silence)
		x.apart(func() {
			_ = x.node.SetWriteDeadline(time.Time{})
			_, _ = x.node.Write(down[wrote:])
		})
		var got []byte
		waitFor(t, x.sim, func() bool { got = append(got, x.peer.Received()...); return len(got) >= len(down) })
		if !bytes.Equal(got, down) {
			t.Error("the client received other bytes than were sent")
		}
		x.nothingIsLeft()
	}
}

// Who leaves has said something before, which still arrives.
func TestTunnelEndsWithEitherSide(t *testing.T) {
	t.Run("the client leaves", func(t *testing.T) {
		x := newTunnelled(t, loop.Options{})
		x.peer.Send([]byte("first "))
		x.peer.Send([]byte("last"))
		x.peer.CloseWrite()
		if got := x.reads(10); string(got) != "first last" {
			t.Errorf("the node received %q, want what the client sent", got)
		}
		x.nodeEnded()
		x.nothingIsLeft()
	})
	t.Run("the node leaves", func(t *testing.T) {
		x := newTunnelled(t, loop.Options{})
		x.apart(func() {
			_, _ = x.node.Write([]byte("last"))
			_ = x.node.Close()
		})
		waitFor(t, x.sim, x.peer.Closed)
		if got := x.peer.Received(); string(got) != "last" {
			t.Errorf("the client received %q, want last", got)
		}
		x.peer.Close()
		x.sim.Advance(time.Hour)
		checkEmpty(t, x.srv, x.sim.Engine())
	})
	t.Run("the node leaves while the client sends", func(t *testing.T) {
		x := newTunnelled(t, loop.Options{})
		x.peer.Send(noise(200_000))
		_ = x.node.Close()
		waitFor(t, x.sim, x.peer.Closed)
		x.peer.Close()
		x.sim.Advance(time.Hour)
		checkEmpty(t, x.srv, x.sim.Engine())
	})
	t.Run("the server ends", func(t *testing.T) {
		x := newTunnelled(t, loop.Options{})
		_ = x.sim.Engine().Shutdown(t.Context())
		if !x.peer.Closed() {
			t.Error("the client's connection is open, want it closed")
		}
		if n, err := x.node.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the node received %d bytes and %v, want the end", n, err)
		}
		checkEmpty(t, x.srv, x.sim.Engine())
	})
}

// A node that does not read what is left has a moment for it.
func TestTunnelDoesNotWaitForANodeThatDoesNotRead(t *testing.T) {
	t.Parallel()
	x := newTunnelled(t, loop.Options{})
	x.peer.Send([]byte("x"))
	x.peer.Close()
	closed := make(chan struct{})
	// ends with the connection: writing to it fails then
	go func() {
		for {
			if _, err := x.node.Write([]byte("x")); err != nil {
				close(closed)
				return
			}
		}
	}()
	<-closed
	x.sim.Turn()
	x.nothingIsLeft()
}

// What does not become a tunnel is an answer like that to a forwarded request, or
// the refusal that has the client go on polling.
func TestTunnelRefused(t *testing.T) {
	const unknown = "Session ID unknown"
	var stop func()
	for _, c := range []struct {
		name   string
		open   func(*http.Request) (*http.Response, error)
		drain  bool
		status int
		body   string
		reason string
		event  string // of OnConnectionError
	}{
		{"the node refuses", func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 403, Header: http.Header{"Content-Type": {"application/json"}, "X-Node": {"theirs"}},
				Body: io.NopCloser(strings.NewReader(`{"code":4}`))}, nil
		}, false, 403, `{"code":4}`, "", ""},
		{"the node cannot be reached", func(*http.Request) (*http.Response, error) { return nil, errors.New("out of reach") },
			false, 400, unknown, "out of reach", "1 FOREIGN_UPGRADE " + foreignSID},
		{"its answer is cut", func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 403, Header: http.Header{}, Body: io.NopCloser(io.MultiReader(strings.NewReader("x"), failing{}))}, nil
		}, false, 400, unknown, "cut", "1 FOREIGN_UPGRADE " + foreignSID},
		{"a Body that cannot be written to", func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 101, Header: http.Header{}, Body: http.NoBody}, nil
		}, false, 400, unknown, errNoAnswer.Error(), "1 FOREIGN_UPGRADE " + foreignSID},
		{"an interim answer", func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 103, Header: http.Header{}, Body: http.NoBody}, nil
		}, false, 400, unknown, errNoAnswer.Error(), "1 FOREIGN_UPGRADE " + foreignSID},
		{"a panic", func(*http.Request) (*http.Response, error) { panic("oh") },
			false, 400, unknown, errNoAnswer.Error(), "1 FOREIGN_UPGRADE " + foreignSID},
		{"a server that stops", func(*http.Request) (*http.Response, error) {
			here, _ := net.Pipe()
			return switching(here), nil
		}, true, 503, "", "the server is stopping", ""},
		{"a server that stops meanwhile", func(*http.Request) (*http.Response, error) {
			here, _ := net.Pipe()
			stop()
			return switching(here), nil
		}, false, 503, "", "the server is stopping", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			event := ""
			srv, sim := newSim(t, &hooks{}, Options{Tunnel: toNode(c.open), OnConnectionError: func(e ConnectionError) {
				event = fmt.Sprint(e.Code, " ", e.Context.Name, " ", e.Context.SID)
			}}, loop.Options{})
			if stop = srv.Drain; c.drain {
				stop()
			}
			peer := sim.Connect(0)
			peer.Send(wsRequest(upgradeQuery))
			r := answers(t, sim, peer, 1)[0]
			if body := bodyOf(r); r.StatusCode != c.status || body != c.body || r.Header.Get(ReasonHeader) != c.reason || event != c.event {
				t.Errorf("answer = %d %q, reason %q, told %q; want %d %q, %q, %q",
					r.StatusCode, body, r.Header.Get(ReasonHeader), event, c.status, c.body, c.reason, c.event)
			}
			if !peer.Closed() {
				t.Error("the connection stays, want its end")
			}
			peer.Close()
			sim.Advance(time.Minute)
			checkEmpty(t, srv, sim.Engine())
		})
	}
}

// failing is an answer that is cut.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("cut") }

// Who is not asked at all: a node that is not known, and any node for a request
// that was passed on already. Forward does the rest.
func TestTunnelIsForUpgradesOfOtherNodes(t *testing.T) {
	srv, sim := newSim(t, &hooks{}, Options{Forward: near, Tunnel: toNode(func(r *http.Request) (*http.Response, error) {
		t.Errorf("the node was asked %s", r.RequestURI)
		return nil, io.EOF
	})}, loop.Options{})
	for _, c := range []struct {
		request []byte
		status  int
		reason  string
	}{
		{wsRequest(strings.Replace(upgradeQuery, "near", "far_", 1)), 400, "the session is of node far_, which cannot be asked"},
		{bytes.Replace(wsRequest(upgradeQuery), []byte("Host:"), []byte(ForwardedHeader+": 1\r\nHost:"), 1), 400,
			"the session is of node near and the request was forwarded to another one"},
		{getRequest("EIO=4&transport=polling&sid=" + foreignSID), 202, ""},
		{wsRequest("EIO=4&transport=websocket"), 101, ""},
	} {
		peer := sim.Connect(0)
		peer.Send(c.request)
		waitFor(t, sim, func() bool { return peer.Count() > 0 })
		got := string(peer.Received())
		if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", c.status)) || !strings.Contains(got, c.reason) {
			t.Errorf("%q is answered %q, want %d and %q", c.request, got, c.status, c.reason)
		}
		peer.Close()
	}
	sim.Advance(2 * time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

// A client that does not wait for the node's answer has its request cancelled,
// and an answer that comes all the same is closed.
func TestTunnelToAClientThatHasGone(t *testing.T) {
	here, there := net.Pipe()
	asked, left := make(chan *http.Request), make(chan error, 1)
	srv, sim := newSim(t, &hooks{}, Options{Tunnel: toNode(func(r *http.Request) (*http.Response, error) {
		asked <- r
		<-r.Context().Done()
		left <- r.Context().Err()
		return switching(here), nil
	})}, loop.Options{})
	peer := sim.Connect(0)
	peer.Send(wsRequest(upgradeQuery))
	<-asked
	sim.Advance(time.Hour) // the loop has no deadline for it
	if len(left) != 0 {
		t.Error("the request was cancelled while its client waits")
	}
	peer.Close()
	waitFor(t, sim, func() bool { return len(left) == 1 })
	(&tunnelled{t: t, sim: sim, node: there}).nodeEnded()
	sim.Advance(time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

// The head of the answer is the node's, with what only this server adds.
func TestTunnelledHeadHasEachFieldOnce(t *testing.T) {
	here, there := net.Pipe()
	srv, sim := newSim(t, &hooks{}, Options{
		CORS:       &CORS{Origins: []string{"https://a.example"}},
		Middleware: func(w http.ResponseWriter, _ *http.Request) bool { w.Header().Set("X-Ours", "1"); return true },
		Tunnel: toNode(func(*http.Request) (*http.Response, error) {
			resp := switching(here)
			resp.Header.Set("Access-Control-Allow-Origin", "https://a.example")
			resp.Header.Set("Vary", "Origin")
			resp.Header.Set("Sec-Websocket-Extensions", "permessage-deflate")
			return resp, nil
		}),
	}, loop.Options{})
	x := &tunnelled{t: t, srv: srv, sim: sim, peer: sim.Connect(0), node: there}
	x.peer.Send(bytes.Replace(wsRequest(upgradeQuery), []byte("Host:"), []byte("Origin: https://a.example\r\nHost:"), 1))
	waitFor(t, sim, func() bool { return x.peer.Count() > 0 })
	h := headOf(t, x.peer)
	for name, want := range map[string]string{"Connection": "[Upgrade]", "Upgrade": "[websocket]", "Sec-Websocket-Accept": "[theirs]",
		"Sec-Websocket-Extensions": "[permessage-deflate]", "Access-Control-Allow-Origin": "[https://a.example]", "Vary": "[Origin]", "X-Ours": "[1]",
		"Content-Length": "[]", "Content-Type": "[]"} {
		if got := fmt.Sprint(h[name]); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	x.nothingIsLeft()
}

// When this server stops, the client is told so by a close frame, where one may
// stand: behind what the node has sent, and not inside a frame of it.
func TestTunnelEndsWithAClose(t *testing.T) {
	frame := wsframe.AppendFrame(nil, wsframe.Binary, noise(300))
	closing := wsframe.AppendClose(nil, 0, "")
	for cut := 0; cut <= len(frame); cut += 50 {
		x := newTunnelled(t, loop.Options{})
		x.apart(func() { _, _ = x.node.Write(slices.Concat(frame, frame[:cut])) })
		x.sim.Engine().Loops()[0].Ask(func() { x.srv.CloseAll(x.sim.Engine().Loops()[0]) })
		want := slices.Concat(frame, closing)
		if cut%len(frame) > 0 {
			if x.peer.Closed() {
				t.Errorf("%d bytes into a frame: the client's connection has ended before its end", cut)
			}
			x.apart(func() { _, _ = x.node.Write(frame[cut:]) })
		}
		if cut > 0 {
			want = slices.Concat(frame, frame, closing)
		}
		var got []byte
		waitFor(t, x.sim, func() bool { got = append(got, x.peer.Received()...); return len(got) >= len(want) })
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes into a frame: the client received %d bytes, want the node's %d whole and a close frame behind them", cut, len(got), len(want)-len(closing))
		}
		x.nothingIsLeft()
	}
}

func TestFrameEdge(t *testing.T) {
	var all []byte
	ends := map[int]bool{0: true}
	for _, n := range []int{0, 1, 125, 126, 200, 65535, 65536, 70_000} {
		all = wsframe.AppendFrame(all, wsframe.Binary, make([]byte, n))
		ends[len(all)] = true
	}
	for _, size := range []int{1, 2, 3, 7, 100, 4096, len(all)} {
		var e frameEdge
		for at := 0; at < len(all); {
			n := min(size, len(all)-at)
			e.advance(all[at : at+n])
			if at += n; e.between() != ends[at] {
				t.Fatalf("in pieces of %d, between frames at %d: %t, want %t", size, at, e.between(), ends[at])
			}
		}
	}
	e := frameEdge{}
	if e.advance([]byte{0xff, 0xff, 0xff}); e.between() {
		t.Error("behind what is no frame a close may stand, want not")
	}
}
