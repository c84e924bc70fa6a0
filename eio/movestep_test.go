package eio

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// TestServersGoOnWithinAStep: what has been done in the step in which all goes elsewhere
// is seen as if nothing had gone.
func TestServersGoOnWithinAStep(t *testing.T) {
	poll := func(w *world) {
		w.peers[0].Send(getRequest("EIO=4&transport=polling"))
		w.get(0, "")
	}
	ws := func(w *world) { w.peers[0].Send(wsRequest("EIO=4&transport=websocket")) }
	conn := func(w *world, i int) loop.Conn { return w.sim.Engine().Loops()[0].Conn(w.keys[i]) }
	large := strings.Repeat("x", 1500)
	for name, x := range map[string]struct {
		o             Options
		before, do    func(w *world)
		after         func(w *world)
		stays, passes int // sessions that stay; want
	}{
		"a message for a poll that waits": {before: poll, do: func(w *world) { w.send("x") }, passes: 1},
		"too many messages": {o: Options{MaxQueue: 1000, MaxQueueHard: 2000}, before: func(w *world) { w.peers[0].Send(getRequest("EIO=4&transport=polling")) },
			do: func(w *world) { w.send(large); w.send(large); w.send(large) }, after: func(w *world) { w.get(1, "") }, passes: 1},
		"a message over a WebSocket":   {before: ws, do: func(w *world) { w.send("x") }, passes: 1},
		"the end of a WebSocket":       {before: ws, do: func(w *world) { conn(w, 0).Abort() }, stays: 1},
		"the end of a poll":            {before: poll, do: func(w *world) { conn(w, 0).Abort() }, after: func(w *world) { w.get(1, "") }, stays: 1},
		"the end of a session":         {before: poll, do: func(w *world) { w.s.Close() }},
		"the end of a WebSocket by us": {before: ws, do: func(w *world) { w.s.Close() }},
		"a poll behind a close": {before: func(w *world) { w.peers[0].Send(getRequest("EIO=4&transport=polling")) },
			do: func(w *world) { w.s.Close() }, after: func(w *world) { w.get(1, "") }, passes: 1},
	} {
		play := func(move bool) []string {
			w := newMovingWorld(t, x.o)
			x.before(w)
			w.look()
			old := w.srv
			w.do(func() {
				x.do(w)
				if !move {
					return
				}
				if w.s.Stays() != (x.stays > 0) {
					t.Errorf("%s: it is said to stay: %t", name, w.s.Stays())
				}
				if went := w.moveSome(); len(went.sessions) != x.passes || old.shards[0].sessions.Len() != x.stays {
					t.Errorf("%s: %d sessions go and %d stay, want %d and %d", name, len(went.sessions), old.shards[0].sessions.Len(), x.passes, x.stays)
				}
			})
			if x.after != nil && w.s.at() != nil {
				x.after(w)
			}
			w.look()
			if w.s.at() != nil {
				w.do(w.s.Cut)
			}
			w.look()
			w.gone(old)
			return w.out
		}
		if want, got := play(false), play(true); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestWhatIsBeingHandledGoesOn: a session that is in the middle of more than one step may
// do, of a body or of what has come over a WebSocket, goes on behind what was handled.
func TestWhatIsBeingHandledGoesOn(t *testing.T) {
	const n = 3*stepPackets + 7
	var packets, frames []byte
	for i := range n {
		packets = fmt.Appendf(packets, "4%d\x1e", i)
		frames = append(frames, textFrame(fmt.Sprintf("4%d", i))...)
	}
	for name, open := range map[string]func(w *world){
		"a body": func(w *world) {
			w.peers[0].Send(getRequest("EIO=4&transport=polling"))
			w.post(1, strings.TrimSuffix(string(packets), "\x1e"))
		},
		"a WebSocket": func(w *world) {
			w.peers[0].Send(wsRequest("EIO=4&transport=websocket"))
			w.peers[0].Send(frames)
		},
	} {
		w := &world{t: t, o: Options{Node: NewNode()}}
		var got []string
		h := &hooks{}
		h.open = func(s Session, _ *http1.Request) { w.s = s; s.SetUser(7) }
		h.message = func(_ Session, b []byte, _ bool) {
			if got = append(got, string(b)); len(got)%30 == 0 { // in the middle of steps, and between
				w.sim.Engine().Loops()[0].Post(loop.TaskFunc(func(l *loop.Loop) {
					x := w.seat.leave(t, l)
					checkForgotten(t, w.seat.now)
					w.s = w.seat.come(t, h, w.o, l, x)[0]
				}))
			}
		}
		w.seat, w.sim = newSeat(t, h, w.o)
		w.srv = w.seat.now
		w.connect()
		open(w)
		for i := range min(n, len(got)) {
			if got[i] != fmt.Sprint(i) {
				t.Fatalf("%s: message %d is %s", name, i, got[i])
			}
		}
		if b := string(w.peers[1].Received()); len(got) != n || name == "a body" && !strings.HasSuffix(b, "ok") {
			t.Errorf("%s: %d messages, want %d, and the answer %q", name, len(got), n, b)
		}
		w.do(w.s.Cut)
		for _, p := range w.peers {
			p.Close()
		}
		w.sim.Advance(2 * time.Minute)
		checkForgotten(t, w.seat.now)
	}
}

// TestBoundsOfAddressesGoOn: what is counted for an address is counted by the successor
// too, and no longer when it has gone.
func TestBoundsOfAddressesGoOn(t *testing.T) {
	for name, x := range map[string]struct {
		o      Options
		before func(w *world)
		more   func(w *world, i int)
		room   int // for how many more there is
		want   string
	}{
		"connections": {o: Options{MaxConnsPerIP: 5}, before: func(w *world) {}, more: func(w *world, i int) { w.peers[i].Send([]byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n")) },
			room: 2, want: "429"},
		"connections that ask": {o: Options{MaxConnsPerIP: 3, Via: forwardedFor}, before: func(w *world) {
			for _, p := range w.peers {
				p.Send([]byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
			}
		}, more: func(w *world, i int) { w.peers[i].Send([]byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n")) }, room: 0, want: "429"},
		"sessions without a connection": {o: Options{MaxConnsPerIP: 5}, before: func(w *world) {
			for range 3 {
				w.peers[0].Send(getRequest("EIO=4&transport=polling"))
			}
			w.peers[0].Close()
		}, more: func(w *world, i int) { w.peers[i].Send(getRequest("EIO=4&transport=polling")) }, room: 2, want: "429"},
		"sessions": {o: Options{MaxConnsPerIP: 2, Via: forwardedFor}, before: func(w *world) {
			w.peers[0].Send(from(wsRequest("EIO=4&transport=websocket"), "203.0.113.1:5"))
		}, more: func(w *world, i int) {
			w.peers[i].Send(from(getRequest("EIO=4&transport=polling"), "203.0.113.1:6"))
		}, room: 1, want: "429"},
		"guests": {o: Options{MaxSessionsPerIP: 3, Via: forwardedFor}, before: func(w *world) {
			w.peers[0].Send(from(getRequest("EIO=4&transport=polling"), "203.0.113.1:5"))
		}, more: func(w *world, i int) {
			w.peers[i].Send(from(getRequest("EIO=4&transport=polling"), "203.0.113.1:6"))
		}, room: 2, want: "503"},
		"guests of a connection": {o: Options{MaxSessionsPerIP: 3 * guestsPerConn}, before: func(w *world) {
			w.peers[0].Send(getRequest("EIO=4&transport=polling"))
		}, more: func(w *world, i int) {
			w.peers[0].Send(getRequest("EIO=4&transport=polling"))
		}, room: 2, want: "503"},
		"sessions of all": {o: Options{MaxSessions: 3}, before: func(w *world) {
			w.peers[0].Send(getRequest("EIO=4&transport=polling"))
		}, more: func(w *world, i int) {
			w.peers[i].Send(getRequest("EIO=4&transport=polling"))
		}, room: 2, want: "503"},
	} {
		w := newMovingWorld(t, x.o)
		x.before(w)
		for range 3 {
			w.moveAll()
		}
		w.look()
		w.out = nil
		for i := range x.room + 1 {
			w.connectOne()
			x.more(w, frozenClients+i)
			w.look()
			if refused := strings.Contains(strings.Join(w.out, "\n"), "HTTP/1.1 "+x.want); refused != (i == x.room) {
				t.Errorf("%s: of %d, refused: %t\n%s", name, i, refused, strings.Join(w.out, "\n"))
			}
		}
		for _, slot := range w.srv.shards[0].live() {
			w.do(w.srv.shards[0].handle(slot).Cut)
		}
		w.gone(w.srv)
	}
}

// TestOneTooManyIsSoElsewhere: a connection of an address that has too many, and that was
// let in as its request may be another server's, is refused by the successor.
func TestOneTooManyIsSoElsewhere(t *testing.T) {
	w := newMovingWorld(t, Options{MaxConnsPerIP: 2, Proven: func(*http1.Request, []byte) bool { return false }})
	w.moveAll()
	w.peers[2].Send([]byte("GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n"))
	w.peers[1].Send([]byte("GET /none HTTP/1.1\r\nHost: h\r\n\r\n"))
	w.look()
	if s := strings.Join(w.out, "\n"); !strings.Contains(s, `2 "HTTP/1.1 429`) || !strings.Contains(s, `1 "HTTP/1.1 404`) {
		t.Errorf("seen was\n%s", s)
	}
	w.gone(w.srv)
}

// TestAClientsAddressGoesOn: that which a proxy says, whatever connection there is.
func TestAClientsAddressGoesOn(t *testing.T) {
	w := newMovingWorld(t, Options{Via: forwardedFor})
	w.peers[0].Send(from(getRequest("EIO=4&transport=polling"), "203.0.113.1:5\r\nX-Proto: https"))
	w.moveAll()
	if a := w.s.RemoteAddr(); a != netip.MustParseAddrPort("203.0.113.1:5") || !w.s.Secure() || w.s.PeerAddr().Addr() != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("the client is %v, of %v, and secure: %t", a, w.s.PeerAddr(), w.s.Secure())
	}
	w.peers[0].Close()
	w.moveAll()
	if a := w.s.PeerAddr(); a.IsValid() {
		t.Errorf("the peer is %v, though the connection has gone", a)
	}
	w.do(w.s.Cut)
	w.gone(w.srv)
}

// TestRTTGoesOn: how long a ping took is known elsewhere, and how long one has taken that
// is out.
func TestRTTGoesOn(t *testing.T) {
	var want time.Duration
	var proven int64
	for _, moves := range []bool{false, true} {
		w := newMovingWorld(t, Options{})
		move := func() {
			if moves {
				w.moveAll()
			}
		}
		w.peers[0].Send(wsRequest("EIO=4&transport=websocket"))
		move()
		if d := w.s.RTT(); d != 0 {
			t.Errorf("RTT() = %v before a ping", d)
		}
		w.sim.Advance(25*time.Second + 300*time.Millisecond)
		move()
		w.sim.Advance(200 * time.Millisecond)
		w.peers[0].Send(textFrame("3"))
		w.sim.Advance(5 * time.Second)
		move()
		if !moves {
			want, proven = w.s.RTT(), w.s.Proven()
		}
		if d := w.s.RTT(); d != want || d < 200*time.Millisecond || !w.s.Answered() || w.s.Proven() != proven || proven == 0 {
			t.Errorf("RTT() = %v, want %v, answered: %t, proven: %d, want %d", d, want, w.s.Answered(), w.s.Proven(), proven)
		}
		w.do(w.s.Cut)
		w.gone(w.srv)
	}
}

// TestNobodyIsLateWhoIsNotReadFrom: what has come in time counts, also when it is read
// later, as before a handover.
func TestNobodyIsLateWhoIsNotReadFrom(t *testing.T) {
	open := func(w *world) { w.peers[0].Send(getRequest("EIO=4&transport=polling")) }
	o := Options{HeadTimeout: 40 * time.Second, IdleTimeout: 40 * time.Second, BodyTimeout: 40 * time.Second, UpgradeTimeout: 40 * time.Second, PingInterval: 20 * time.Second, PingTimeout: 20 * time.Second,
		MaxQueue: 1000, SlowAfter: 15 * time.Second}
	for name, x := range map[string]struct {
		before, late func(w *world)
		want         string
	}{
		"a pong":                {func(w *world) { w.peers[0].Send(wsRequest("EIO=4&transport=websocket")) }, func(w *world) { w.peers[0].Send(textFrame("3")) }, ""},
		"a poll":                {open, func(w *world) { w.get(0, ""); w.post(1, "3") }, `1 ` + okayed},
		"the first poll of all": {func(w *world) { w.srv.o.PingInterval, w.srv.o.PingTimeout = time.Hour, 40*time.Second; open(w) }, func(w *world) { w.get(0, "") }, ""},
		"a request":             {func(*world) {}, func(w *world) { w.peers[1].Send([]byte("GET /none HTTP/1.1\r\nHost: h\r\n\r\n")) }, `1 "HTTP/1.1 404 Not Found|Content-Length: 0||"`},
		"the rest of a head": {func(w *world) { w.peers[1].Send([]byte("GET /none HTTP")) }, func(w *world) { w.peers[1].Send([]byte("/1.1\r\nHost: h\r\n\r\n")) },
			`1 "HTTP/1.1 404 Not Found|Content-Length: 0||"`},
		"the end of an upgrade": {func(w *world) {
			w.srv.o.PingInterval = time.Hour
			open(w)
			w.peers[1].Send(wsRequest("EIO=4&transport=websocket&sid=" + w.s.ID()))
		}, func(w *world) { w.peers[1].Send(append(textFrame("5"), textFrame("4x")...)) }, "message x false"},
		"who asks for what waits": {func(w *world) {
			w.srv.o.PingInterval = time.Hour
			open(w)
			w.sim.Advance(25 * time.Second) // it has 14 s more than the others
			w.do(func() { w.send(strings.Repeat("x", 1500)); w.send(strings.Repeat("x", 1500)) })
		}, func(w *world) { w.get(0, "") }, ""},
	} {
		w := newMovingWorld(t, o)
		x.before(w)
		w.sim.Advance(39*time.Second - w.sim.Now())
		w.look()
		w.out = nil
		if err := w.sim.Engine().Quiet(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		x.late(w)
		w.sim.Advance(10 * time.Second)
		if err := w.sim.Engine().Quiet(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		w.sim.Turn()
		w.look()
		if s := strings.Join(w.out, "\n"); strings.Contains(s, "close") || !strings.Contains(s, x.want) || w.s.sh != nil && !w.s.Valid() {
			t.Errorf("%s: seen was\n%s", name, s)
		}
		if w.s.at() != nil {
			w.do(w.s.Cut)
		}
		w.gone(w.srv)
	}
}
