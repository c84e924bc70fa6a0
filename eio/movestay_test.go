package eio

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
)

// newEncrypted is a world whose first clients have connections that cannot go.
func newEncrypted(t *testing.T, o Options) *world {
	w := &world{t: t, o: o}
	w.o.Node, w.o.AllowEIO3 = NewNode(), true
	w.seat, w.sim = newSeat(t, w, w.o)
	w.srv = w.seat.now
	w.sim.Listen(loop.ListenOptions{Opener: &encrypted{}})
	w.connect()
	w.sim.Listen(loop.ListenOptions{})
	return w
}

// moveSome has go on elsewhere what can, and returns what went of it.
func (w *world) moveSome() travel {
	l := w.sim.Engine().Loops()[0]
	x := w.seat.leave(w.t, l)
	was := w.s
	for _, es := range w.seat.come(w.t, w, w.o, l, x) {
		if was.sh != nil && es.Ref() == was.Ref() {
			w.s = es
		}
	}
	w.srv = w.seat.now
	w.sim.Turn()
	return x
}

// expect checks what has been seen since the last call.
func (w *world) expect(want ...string) {
	w.t.Helper()
	w.look()
	if got := strings.Join(w.out, "\n"); got != strings.Join(want, "\n") {
		w.t.Errorf("seen was\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	w.out = nil
}

// gone checks that the old server has nothing more when all clients have gone, and the
// new one too.
func (w *world) gone(old *Server) {
	w.t.Helper()
	for _, p := range w.peers {
		p.Close()
	}
	w.sim.Advance(2 * time.Minute)
	checkForgotten(w.t, old)
	checkForgotten(w.t, w.srv)
}

const (
	answered = `"HTTP/1.1 200 OK|Content-Type: text/plain; charset=UTF-8|Cache-Control: no-store|`
	noopped  = answered + `Connection: close|Content-Length: 1||6"`
	okayed   = `"HTTP/1.1 200 OK|Content-Type: text/html|Cache-Control: no-store|Content-Length: 2||ok"`
	tryAgain = `"HTTP/1.1 503 Service Unavailable|Retry-After: 5|Connection: close|Content-Length: 0||"`
)

func TestAWebSocketOverTLSStaysWithItsSession(t *testing.T) {
	w := newEncrypted(t, Options{})
	w.peers[0].Send(wsRequest("EIO=4&transport=websocket"))
	w.look()
	w.out = nil
	old, was := w.srv, w.s
	if x := w.moveSome(); x.stays != (Stays{TLS: 1}) || len(x.conns) != 0 || len(x.sessions) != 0 {
		t.Errorf("%+v stays, and %d connections and %d sessions go", x.stays, len(x.conns), len(x.sessions))
	}
	w.peers[0].Send(textFrame("4x"))
	w.do(func() { w.send("y") })
	w.expect("message x false", `0 "81023479"`)
	w.connectOne()
	w.peers[3].Send(wsRequest("EIO=4&transport=websocket"))
	if r, is := was.Ref(), w.s.Ref(); r == is || uint32(r) != uint32(is) {
		t.Errorf("a new session is %x, in the place of %x", is, r)
	}
	w.gone(old)
}

func TestAPollOverTLSIsAnsweredAndItsSessionGoes(t *testing.T) {
	for _, revision := range []string{"4", "3", "3&j=5"} {
		w := newEncrypted(t, Options{})
		query := "EIO=" + revision + "&transport=polling"
		w.peers[0].Send(getRequest(query))
		w.peers[0].Send(getRequest(query + "&sid=" + w.s.ID()))
		w.look()
		w.out = nil
		old := w.srv
		if x := w.moveSome(); x.stays != (Stays{}) || len(x.sessions) != 1 {
			t.Errorf("%+v stays, and %d sessions go", x.stays, len(x.sessions))
		}
		noop := map[string]string{"4": noopped, "3": strings.Replace(noopped, "1||6", "3||1:6", 1),
			"3&j=5": strings.Replace(strings.Replace(noopped, "text/plain", "text/javascript", 1), "1||6", `17||___eio[5](\"1:6\");`, 1)}[revision]
		w.expect("0 "+noop, "0 ends")
		w.peers[1].Send(getRequest(query + "&sid=" + w.s.ID())) // on the way when it went
		w.expect("1 "+noop, "1 ends")
		w.connectOne()
		w.peers[3].Send(getRequest(query + "&sid=" + w.s.ID()))
		w.do(func() { w.send("x") })
		if b := string(w.peers[3].Received()); !strings.Contains(b, "4x") {
			t.Errorf("the next poll is answered %q", b)
		}
		w.gone(old)
	}
}

func TestWhoAsksForASessionThatWent(t *testing.T) {
	w := newEncrypted(t, Options{})
	w.peers[0].Send(getRequest("EIO=4&transport=polling"))
	w.look()
	w.out = nil
	old, id := w.srv, w.s.ID()
	w.moveSome()
	w.post(0, "4x")
	w.peers[1].Send(wsRequest("EIO=4&transport=websocket&sid=" + id))
	w.peers[2].Send(getRequest("EIO=4&transport=polling"))
	w.expect("0 "+tryAgain, "0 ends", "1 "+tryAgain, "1 ends", "2 "+tryAgain, "2 ends")
	w.gone(old)
}

// TestIdleConnectionsOverTLSEnd: nothing can be asked for on them any more.
func TestIdleConnectionsOverTLSEnd(t *testing.T) {
	w := newEncrypted(t, Options{})
	w.peers[0].Send([]byte("GET /engine"))
	old := w.srv
	if x := w.moveSome(); x.stays != (Stays{TLS: 1}) {
		t.Errorf("%+v stays, want the one with half a head", x.stays)
	}
	w.expect()
	w.sim.Advance(goesSoon)
	w.expect("1 ends", "2 ends")
	w.peers[0].Send([]byte(".io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n"))
	w.expect("0 "+tryAgain, "0 ends")
	w.gone(old)
}

// TestAPostOverTLSStaysWithItsSession: what a client sends is not to be lost, so its
// session stays whole, and its connections go on.
func TestAPostOverTLSStaysWithItsSession(t *testing.T) {
	for name, paused := range map[string]bool{"a body that has come half": false, "a post that is not acknowledged": true} {
		w := newEncrypted(t, Options{})
		w.peers[0].Send(getRequest("EIO=4&transport=polling"))
		w.get(0, "")
		b := string(postRequest("EIO=4&transport=polling&sid="+w.s.ID(), "4pause\x1e4two"))
		cut := len(b) - 3
		if paused {
			cut = len(b)
		}
		w.peers[1].Send([]byte(b[:cut]))
		w.look()
		w.out = nil
		old := w.srv
		if x := w.moveSome(); x.stays != (Stays{TLS: 2}) || len(x.sessions) != 0 {
			t.Errorf("%s: %+v stays and %d sessions go", name, x.stays, len(x.sessions))
		}
		w.peers[1].Send([]byte(b[cut:]))
		w.do(w.s.ResumeRead)
		w.do(func() { w.send("x") })
		want := []string{"message two false", "0 " + answered + `Content-Length: 2||4x"`, "1 " + okayed}
		if !paused {
			want = append([]string{"message pause false"}, want...)
		}
		w.expect(want...)
		w.get(0, "")
		w.do(func() { w.send("y") })
		w.expect("0 " + answered + `Content-Length: 2||4y"`)
		w.gone(old)
	}
}

func TestAnUpgradeOverTLSStaysWithItsSession(t *testing.T) {
	w := newEncrypted(t, Options{})
	w.peers[0].Send(getRequest("EIO=4&transport=polling"))
	w.peers[2].Send(wsRequest("EIO=4&transport=websocket&sid=" + w.s.ID()))
	w.peers[2].Send(textFrame("2probe"))
	w.look()
	w.out = nil
	old := w.srv
	if x := w.moveSome(); x.stays != (Stays{TLS: 1}) || len(x.sessions) != 0 {
		t.Errorf("%+v stays and %d sessions go", x.stays, len(x.sessions))
	}
	w.peers[2].Send(append(textFrame("5"), textFrame("4x")...))
	w.do(func() { w.send("y") })
	w.expect("message x false", `2 "81023479"`)
	w.gone(old)
}

// TestMountsAnswerBehindAHandover: what runs on a goroutine stays where it runs. Nobody
// gets an id that is nobody's.
func TestMountsAnswerBehindAHandover(t *testing.T) {
	wait, begun := make(chan struct{}), make(chan struct{}, 10)
	hold := func() { begun <- struct{}{}; <-wait }
	w := newMovingWorld(t, Options{
		AllowRequest: func(r *http.Request) error { hold(); return nil },
		Route: func(path string) http.Handler {
			if path != "/mount" {
				return nil
			}
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { hold(); _, _ = w.Write([]byte("done")) })
		},
	})
	old := w.srv
	w.peers[0].Send(getRequest("EIO=4&transport=polling"))
	w.peers[1].Send([]byte("GET /mount HTTP/1.1\r\nHost: h\r\n\r\n"))
	w.peers[2].Send([]byte("POST /mount HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nhal"))
	<-begun
	<-begun
	if x := w.moveSome(); x.stays != (Stays{Mounted: 3}) || len(x.conns) != 0 {
		t.Errorf("%+v stays, and %d connections go", x.stays, len(x.conns))
	}
	w.peers[2].Send([]byte("f"))
	<-begun
	close(wait)
	const done = `"HTTP/1.1 200 OK|Content-Type: text/plain; charset=utf-8|Connection: close|Content-Length: 4||done"`
	waitFor(t, w.sim, func() bool { return w.peers[0].Closed() && w.peers[1].Closed() && w.peers[2].Closed() })
	w.expect("0 "+tryAgain, "0 ends", "1 "+done, "1 ends", "2 "+done, "2 ends")
	w.gone(old)
}

// TestMiddlewareBehindAHandover: a request that a middleware looks at when its session goes
// is answered so that the client finds it.
func TestMiddlewareBehindAHandover(t *testing.T) {
	var wait chan struct{}
	begun := make(chan struct{}, 10)
	w := newMovingWorld(t, Options{Middleware: func(http.ResponseWriter, *http.Request) bool {
		if wait != nil {
			begun <- struct{}{}
			<-wait
		}
		return true
	}})
	old := w.srv
	w.peers[0].Send(getRequest("EIO=4&transport=polling"))
	waitFor(t, w.sim, func() bool { return w.s.sh != nil })
	w.look()
	w.out = nil
	wait = make(chan struct{})
	w.get(0, "")
	<-begun
	if x := w.moveSome(); x.stays != (Stays{Mounted: 1}) || len(x.sessions) != 1 || len(x.conns) != 2 {
		t.Errorf("%+v stays, and %d connections and %d sessions go", x.stays, len(x.conns), len(x.sessions))
	}
	close(wait)
	waitFor(t, w.sim, func() bool { return w.peers[0].Closed() })
	w.expect("0 "+noopped, "0 ends")
	w.gone(old)
}

// TestExportEndsWithAnError: it is that of who gets the states, and nothing has changed.
func TestExportEndsWithAnError(t *testing.T) {
	w := newMovingWorld(t, Options{})
	w.peers[0].Send(getRequest("EIO=4&transport=polling"))
	w.get(0, "")
	w.look()
	w.out = nil
	sh := w.srv.shards[0]
	state := func(c loop.Conn) (loop.ConnState, error) { return loop.ConnState{Key: c.Key()}, nil }
	full := errors.New("full")
	for _, at := range []string{"state", "conn", "session"} {
		fail := func(what string) error {
			if what == at {
				return full
			}
			return nil
		}
		_, err := sh.export(sh.all(), func(c loop.Conn) (loop.ConnState, error) {
			st, _ := state(c)
			return st, fail("state")
		}, func(*ConnState) error { return fail("conn") }, func(Session, *SessionState) error { return fail("session") })
		if !errors.Is(err, full) {
			t.Errorf("%s: export() = %v, want %v", at, err, full)
		}
	}
	w.do(func() { w.send("x") })
	w.expect("0 " + answered + `Content-Length: 2||4x"`)
	old := w.srv
	w.moveAll()
	w.gone(old)
}

// TestWhatOtherServersAnswerStays: a tunnel goes on, and a request that another server is
// asked for is answered, with the end of its connection.
func TestWhatOtherServersAnswerStays(t *testing.T) {
	here, there := net.Pipe()
	asked, answer := make(chan struct{}), make(chan struct{})
	w := newMovingWorld(t, Options{
		Tunnel: toNode(func(*http.Request) (*http.Response, error) { return switching(here), nil }),
		Forward: func(node Node) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				close(asked)
				<-answer
				near(node).ServeHTTP(rw, r)
			})
		},
	})
	old := w.srv
	w.peers[0].Send(wsRequest(upgradeQuery))
	waitFor(t, w.sim, func() bool { return len(w.srv.shards[0].tunnels) == 1 })
	w.peers[1].Send(getRequest("EIO=4&transport=polling&sid=" + foreignSID))
	<-asked
	b := postRequest("EIO=4&transport=polling&sid="+foreignSID, "4x")
	w.peers[2].Send(b[:len(b)-1])
	w.look()
	w.out = nil
	if x := w.moveSome(); x.stays != (Stays{Tunnels: 3}) || len(x.conns) != 0 {
		t.Errorf("%+v stays, and %d connections go", x.stays, len(x.conns))
	}
	close(answer)
	waitFor(t, w.sim, w.peers[1].Closed)
	if b := string(w.peers[1].Received()); !strings.Contains(b, " 202 ") || !strings.Contains(b, "Connection: close") {
		t.Errorf("the answer is %q", b)
	}
	x := &tunnelled{t: t, sim: w.sim, node: there}
	w.peers[0].Send([]byte("to the node"))
	if b := string(x.reads(11)); b != "to the node" {
		t.Errorf("the node received %q", b)
	}
	x.apart(func() { _, _ = there.Write([]byte("to the client")) })
	if b := string(w.peers[0].Received()); b != "to the client" {
		t.Errorf("the client received %q", b)
	}
	w.peers[0].Close()
	x.nodeEnded()
	w.gone(old)
}

// TestStatsBehindAHandover: gauges say what there is on either side, and counters what has
// been.
func TestStatsBehindAHandover(t *testing.T) {
	w := newMovingWorld(t, Options{})
	w.peers[0].Send(wsRequest("EIO=4&transport=websocket"))
	w.peers[1].Send(getRequest("EIO=4&transport=polling"))
	w.peers[2].Send(getRequest("EIO=4&transport=polling&sid=" + w.s.ID()))
	old := w.srv
	w.moveSome()
	l := w.sim.Engine().Loops()[0]
	before, now := old.LoopStats(l), w.srv.LoopStats(l)
	if before.Open.Sum() != 0 || before.Polls != 0 || before.Opened.Sum() != 2 || old.Count(l) != 0 {
		t.Errorf("the old server counts %+v", before)
	}
	if now.Open != (Sessions{Polling: 1, WebSocket: 1}) || now.Polls != 1 || w.srv.Count(l) != 2 {
		t.Errorf("the new server counts %+v", now)
	}
	b := getRequest("EIO=4&transport=polling")
	w.connectOne()
	w.peers[3].Send(b[:9])
	w.sim.Advance(3 * time.Second)
	w.moveSome()
	w.sim.Advance(2 * time.Second)
	w.peers[3].Send(b[9:])
	for _, slot := range w.srv.shards[0].live() {
		w.do(w.srv.shards[0].handle(slot).Cut)
	}
	if x := w.srv.LoopStats(l).Times; x.Handshakes.Count() != 1 || x.Handshakes.Total != 5_000_000 || x.Ages.Count() != 3 || x.Ages.Total != 10 {
		t.Errorf("%d handshakes took %d µs, and %d sessions %d s, want 5 s and 10 s", x.Handshakes.Count(), x.Handshakes.Total, x.Ages.Count(), x.Ages.Total)
	}
	w.gone(old)
}
