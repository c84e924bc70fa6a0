package eio

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/wsframe"
)

func TestOptions(t *testing.T) {
	for _, o := range []Options{
		{Transports: []string{"webtransport"}}, {Transports: []string{}}, {PingInterval: time.Microsecond}, {PingTimeout: -1},
		{PingInterval: 25 * 24 * time.Hour}, {PingTimeout: 25 * 24 * time.Hour},
	} {
		if _, err := NewServer(&hooks{}, o); err == nil {
			t.Errorf("NewServer(%+v) = nil error, want one", o)
		}
	}
	for path, want := range map[string]string{"": "/engine.io/", "/a": "/a/", "a/b/": "/a/b/", "/": "/", "//a//": "/a/"} {
		s, err := NewServer(&hooks{}, Options{Path: path})
		if err != nil || s.o.Path != want {
			t.Errorf("NewServer(path %q) = path %q, %v, want %q", path, s.o.Path, err, want)
		}
	}
}

// TestFirstPingIsSpread: clients that arrive together are not pinged together,
// and none later than PingInterval.
func TestFirstPingIsSpread(t *testing.T) {
	early, late := 0, 0
	for range 1000 {
		switch d := spreadFirst(20 * time.Second); {
		case d < 10*time.Second || d > 20*time.Second:
			t.Fatalf("spreadFirst(20s) = %v, want 10s to 20s", d)
		case d < 15*time.Second:
			early++
		default:
			late++
		}
	}
	if early < 300 || late < 300 {
		t.Errorf("%d in the first half and %d in the second, want about as many", early, late)
	}
	if d := spreadFirst(300 * time.Millisecond); d != 300*time.Millisecond {
		t.Errorf("spreadFirst(300ms) = %v, want 300ms", d)
	}
}

// TestOverdueToTheMillisecond opens sessions at any offset to the turns of the
// heartbeat's wheel: PingInterval and PingTimeout after the opening each is
// gone, for a request that comes at that moment.
func TestOverdueToTheMillisecond(t *testing.T) {
	for offset := range 20 {
		var now Session
		srv, sim := newSim(t, &hooks{
			open:    func(s Session, _ *http1.Request) { now = s },
			message: func(_ Session, data []byte, _ bool) { t.Errorf("offset %d: message %q", offset, data) },
		}, Options{PingInterval: 300 * time.Millisecond, PingTimeout: 200 * time.Millisecond}, loop.Options{})
		first, c := sim.Connect(0), sim.Connect(0)
		first.Send(wsRequest("EIO=4&transport=websocket"))
		sim.Advance(time.Duration(offset) * time.Millisecond)
		c.Send(getRequest("EIO=4&transport=polling"))
		c.Received()
		sim.Advance(499 * time.Millisecond)
		if !now.Valid() {
			t.Errorf("offset %d: the session is gone after 499 ms, want it open", offset)
		}
		sim.Advance(time.Millisecond)
		c.Send(getRequest("EIO=4&transport=polling&sid=" + now.ID()))
		if got := string(c.Received()); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
			t.Errorf("offset %d: a poll after 500 ms is answered %q, want 400", offset, got)
		}
		w := sim.Connect(0)
		w.Send(wsRequest("EIO=4&transport=websocket"))
		sim.Advance(500 * time.Millisecond)
		w.Send(textFrame("4too late"))
		c.Send(getRequest("EIO=4&transport=polling"))
		p := sim.Connect(0)
		p.Send(wsRequest("EIO=4&transport=websocket&sid=" + now.ID()))
		sim.Advance(500 * time.Millisecond)
		p.Send(append(textFrame("5"), textFrame("4too late")...))
		p.Close()
		first.Close()
		c.Close()
		w.Close()
		sim.Advance(time.Minute)
		checkEmpty(t, srv, sim.Engine())
	}
}

// TestManyPings has more sessions due at once than are served in one turn.
func TestManyPings(t *testing.T) {
	reasons := map[Reason]int{}
	srv, sim := newSim(t, &hooks{close: func(_ Session, r Reason) { reasons[r]++ }}, Options{}, loop.Options{})
	const n = 3*pingsPerTurn + 5
	peers := make([]*loop.Peer, n)
	for i := range peers {
		peers[i] = sim.Connect(0)
		peers[i].Send(wsRequest("EIO=4&transport=websocket"))
		peers[i].Received()
	}
	if got := srv.Count(sim.Engine().Loops()[0]); got != n {
		t.Errorf("Count() = %d, want %d", got, n)
	}
	sim.Advance(25*time.Second + 100*time.Millisecond)
	for i, p := range peers {
		if got := string(p.Received()); got != string(pingFrame) {
			t.Fatalf("client %d received %q, want one ping", i, got)
		}
		if i%2 == 0 {
			p.Send(textFrame("3"))
		}
	}
	sim.Advance(20 * time.Second)
	if reasons[PingTimeout] != n/2 {
		t.Errorf("%v sessions were closed, want %d for their pings", reasons, n/2)
	}
	for _, p := range peers {
		p.Close()
	}
	sim.Advance(time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

func TestDrain(t *testing.T) {
	var now Session
	srv, sim := newSim(t, &hooks{open: func(s Session, _ *http1.Request) { now = s }}, Options{}, loop.Options{})
	c, d, w := sim.Connect(0), sim.Connect(0), sim.Connect(0)
	c.Send(getRequest("EIO=4&transport=polling"))
	c.Received()
	srv.Drain()
	for _, request := range [][]byte{getRequest("EIO=4&transport=polling"), wsRequest("EIO=4&transport=websocket")} {
		d.Send(request)
		if got := string(d.Received()); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !d.Closed() {
			t.Errorf("a handshake while draining is answered %q, want 503 and the end", got)
		}
		d = sim.Connect(0)
	}
	// A session that is open goes on, and may upgrade.
	w.Send(wsRequest("EIO=4&transport=websocket&sid=" + now.ID()))
	w.Send(textFrame("5"))
	if !now.Valid() || now.Transport() != "websocket" {
		t.Errorf("Valid() = %t, Transport() = %s, want true, websocket", now.Valid(), now.Transport())
	}
}

// TestHandle: what a handle answers while its session lives and afterwards, and
// when another session has taken its place.
func TestHandle(t *testing.T) {
	var opened []Session
	var addr []string
	srv, sim := newSim(t, &hooks{open: func(s Session, _ *http1.Request) {
		opened = append(opened, s)
		addr = append(addr, s.RemoteAddr().String())
	}}, Options{}, loop.Options{Loops: 2})
	loops := sim.Engine().Loops()
	connect := func() *loop.Peer {
		c := sim.Connect(1)
		c.Send(getRequest("EIO=4&transport=polling"))
		return c
	}
	c := connect()
	s := opened[0]
	if addr[0] != "192.0.2.1:1" || s.RemoteAddr().String() != addr[0] {
		t.Errorf("RemoteAddr() = %s in Open and %v later, want 192.0.2.1:1", addr[0], s.RemoteAddr())
	}
	if s.Loop() != loops[1] || s.Transport() != "polling" || s.Writable() || !s.Valid() || s.User() != 0 {
		t.Errorf("a new session: %v, %s, Writable %t, Valid %t, User %d", s.Loop().Index(), s.Transport(), s.Writable(), s.Valid(), s.User())
	}
	s.SetUser(7)
	if got, ok := srv.Lookup(loops[1], s.Ref()); !ok || got != s || got.User() != 7 {
		t.Errorf("Lookup(%x) = %v, %t, want %v", s.Ref(), got, ok, s)
	}
	for _, ref := range []uint64{0, s.Ref() + 1, s.Ref() + 1<<32, s.Ref() & (1<<56 - 1)} {
		if got, ok := srv.Lookup(loops[1], ref); ok {
			t.Errorf("Lookup(%x) = %v, want none", ref, got)
		}
	}
	c.Close()
	if s.RemoteAddr().IsValid() {
		t.Errorf("RemoteAddr() = %v without a connection, want none", s.RemoteAddr())
	}
	sim.Advance(time.Minute)
	again := connect()
	if opened[1].slot != s.slot {
		t.Fatalf("%v is not where %v was", opened[1], s)
	}
	s.Send(AppendText(nil, []byte("x")))
	s.SendPrepared(Prepare(nil, false), true)
	s.Close()
	s.SetUser(8)
	s.PauseRead()
	s.ResumeRead()
	if s.Valid() || s.Writable() || s.User() != 0 || s.RemoteAddr().IsValid() || opened[1].User() != 0 || !opened[1].Valid() {
		t.Errorf("a handle to what is gone acts on what is there now")
	}
	var none Session
	if none.Valid() || none.User() != 0 {
		t.Error("the zero Session is valid, want it gone")
	}
	again.Close()
	sim.Advance(time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

// TestPollThatIsEnding: what is sent in the very step in which the connection
// of the waiting poll ends is not given to it, and the session ends.
func TestPollThatIsEnding(t *testing.T) {
	var now Session
	var reason Reason
	srv, sim := newSim(t, &hooks{open: func(s Session, _ *http1.Request) { now = s }, close: func(_ Session, r Reason) { reason = r }}, Options{}, loop.Options{})
	c := sim.Connect(0)
	c.Send(getRequest("EIO=4&transport=polling"))
	c.Send(getRequest("EIO=4&transport=polling&sid=" + now.ID()))
	if !now.Writable() {
		t.Fatal("a session with a poll is not writable")
	}
	writable, sent := false, false
	sim.Engine().Loops()[0].OnTurn(func() {
		if !sent {
			sent, writable = true, now.Writable()
			now.Send(AppendText(nil, []byte("x")))
		}
		srv.shards[0].flushPollers()
	})
	c.CloseWrite()
	if reason != TransportError || writable {
		t.Errorf("closed for %q, writable before: %t, want %q, false", reason, writable, TransportError)
	}
	c.Close()
	sim.Advance(time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

// TestCloseWithinClose has the handler close sessions while others are being
// closed, also by CloseAll.
func TestCloseWithinClose(t *testing.T) {
	var all []Session
	closes := map[Session]int{}
	srv, sim := newSim(t, &hooks{
		open: func(s Session, _ *http1.Request) { all = append(all, s) },
		close: func(s Session, _ Reason) {
			closes[s]++
			for _, other := range all {
				other.Close()
			}
		},
	}, Options{}, loop.Options{})
	for i := range 10 {
		c := sim.Connect(0)
		if i%2 == 0 {
			c.Send(getRequest("EIO=4&transport=polling"))
		} else {
			c.Send(wsRequest("EIO=4&transport=websocket"))
		}
	}
	l := sim.Engine().Loops()[0]
	srv.CloseAll(l)
	sim.Turn()
	for s, n := range closes {
		if n != 1 {
			t.Errorf("%v was closed %d times, want once", s, n)
		}
	}
	if len(closes) != 10 || srv.Count(l) != 0 {
		t.Errorf("%d sessions were closed and %d are left, want 10 and none", len(closes), srv.Count(l))
	}
	sim.Advance(2 * time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

// TestPanicOfTheHandler: one session's handler panics, the others do not
// notice, and nothing is left behind.
func TestPanicOfTheHandler(t *testing.T) {
	closed := 0
	srv, sim := newSim(t, &hooks{
		message: func(s Session, data []byte, _ bool) {
			if string(data) == "panic" {
				panic("on demand")
			}
			s.Send(AppendText(nil, data))
		},
		close: func(Session, Reason) { closed++ },
	}, Options{}, loop.Options{})
	var peers []*loop.Peer
	for range 3 {
		c := sim.Connect(0)
		c.Send(wsRequest("EIO=4&transport=websocket"))
		c.Received()
		peers = append(peers, c)
	}
	peers[0].Send(textFrame("4panic"))
	pieces := textFrame("4panic")
	peers[1].Send(pieces[:7])
	peers[1].Send(pieces[7:])
	peers[2].Send(textFrame("4x"))
	if got := string(peers[2].Received()); got != "\x81\x024x" || closed != 2 {
		t.Errorf("another session received %q and %d were closed, want an echo, and 2", got, closed)
	}
	for _, c := range peers {
		c.Close()
	}
	sim.Advance(time.Minute)
	if n := sim.Engine().Stats().Panics; n != 2 {
		t.Errorf("%d panics, want 2", n)
	}
	if srv.shards[0].sessions.Len() != 0 || closed != 3 {
		t.Errorf("%d sessions are left and %d were closed, want none and 3", srv.shards[0].sessions.Len(), closed)
	}
}

// TestWritable: of two messages of one step, the second would not be sent at
// once if it were volatile.
func TestWritable(t *testing.T) {
	var now Session
	_, sim := newSim(t, &hooks{open: func(s Session, _ *http1.Request) { now = s }}, Options{}, loop.Options{})
	check := func(want ...bool) {
		t.Helper()
		now.Loop().Post(loop.TaskFunc(func(*loop.Loop) {
			for i, want := range want {
				if got := now.Writable(); got != want {
					t.Errorf("Writable() = %t after %d messages, want %t", got, i, want)
				}
				now.Send(AppendText(nil, []byte("x")))
			}
		}))
		sim.Turn()
	}
	c := sim.Connect(0)
	c.Send(getRequest("EIO=4&transport=polling"))
	c.Send(getRequest("EIO=4&transport=polling&sid=" + now.ID()))
	check(true, false, false)
	check(false)
	w := sim.Connect(0)
	w.Send(wsRequest("EIO=4&transport=websocket"))
	check(true, false, false)
	check(true)
	w.Stall(true)
	check(true, false)
	check(false)
}

// TestSendCopies: what was given to Send is the caller's again.
func TestSendCopies(t *testing.T) {
	var now Session
	_, sim := newSim(t, &hooks{open: func(s Session, _ *http1.Request) { now = s }}, Options{}, loop.Options{})
	c, w := sim.Connect(0), sim.Connect(0)
	for _, open := range []func(){
		func() { c.Send(getRequest("EIO=4&transport=polling")) },
		func() { w.Send(wsRequest("EIO=4&transport=websocket")); w.Received(); w.Stall(true) },
	} {
		open()
		frames := AppendText(nil, []byte("good"))
		now.Send(frames)
		sim.Turn()
		copy(frames[3:], "evil")
		if now.Transport() == "polling" {
			c.Received()
			c.Send(getRequest("EIO=4&transport=polling&sid=" + now.ID()))
			if got := string(c.Received()); !strings.HasSuffix(got, "4good") {
				t.Errorf("over polling: %q, want 4good at its end", got)
			}
		}
	}
	w.Stall(false)
	if got := string(w.Received()); got != "\x81\x054good" {
		t.Errorf("over WebSocket: %q, want 4good", got)
	}
}

// TestManyFragments: as many pieces of a message as conformance tests send.
func TestManyFragments(t *testing.T) {
	got := 0
	srv, sim := newSim(t, &hooks{message: func(_ Session, data []byte, _ bool) { got += len(data) }}, Options{MaxPayload: 5 << 20}, loop.Options{})
	c := sim.Connect(0)
	c.Send(wsRequest("EIO=4&transport=websocket"))
	piece := wsframe.AppendMaskedFrame(nil, wsframe.Binary, make([]byte, 64), testKey)
	piece[0] &^= 0x80
	for i := range 1 << 16 {
		if i == 1<<16-1 {
			piece[0] |= 0x80
		}
		c.Send(piece)
		piece[0] &^= byte(wsframe.Binary) // a continuation
	}
	if got != 4<<20 {
		t.Errorf("%d bytes were received in 65,536 pieces, want 4 MiB", got)
	}
	c.Close()
	sim.Advance(time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

// TestPausedReading: a client of which nothing is read is read again later, and
// nothing is lost.
func TestPausedReading(t *testing.T) {
	var now Session
	var got []string
	_, sim := newSim(t, &hooks{
		open: func(s Session, _ *http1.Request) { now = s },
		message: func(s Session, data []byte, _ bool) {
			got = append(got, string(data))
			s.PauseRead()
		},
	}, Options{}, loop.Options{})
	c := sim.Connect(0)
	c.Send(wsRequest("EIO=4&transport=websocket"))
	for i := range 5 {
		c.Send(textFrame(fmt.Sprintf("4%d", i)))
	}
	if len(got) != 1 {
		t.Errorf("%q were read while reading is paused, want one", got)
	}
	for range 5 {
		now.ResumeRead()
		sim.Turn()
	}
	if strings.Join(got, "") != "01234" {
		t.Errorf("%q were read, want 0 to 4", got)
	}
}

// TestSlowWebSocket: what a client does not take is bounded, and it is closed.
func TestSlowWebSocket(t *testing.T) {
	var now Session
	var reason Reason
	srv, sim := newSim(t, &hooks{open: func(s Session, _ *http1.Request) { now = s }, close: func(_ Session, r Reason) { reason = r }},
		Options{}, loop.Options{MaxOutbound: 1000})
	c := sim.Connect(0)
	c.Send(wsRequest("EIO=4&transport=websocket"))
	c.Stall(true)
	for range 3 {
		now.SendPrepared(Prepare(make([]byte, 400), true), true)
	}
	sim.Turn()
	if reason != TransportError || now.Valid() {
		t.Errorf("closed for %q, want %q", reason, TransportError)
	}
	c.Close()
	sim.Advance(time.Minute)
	checkEmpty(t, srv, sim.Engine())
}
