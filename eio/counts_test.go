package eio

import (
	"bytes"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/handle"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/wsframe"
)

// A handshake is from the first byte of its request to its open packet, however long the
// connection was there before; a session's age is from then on; and pings are answered.
func TestTimesAreCounted(t *testing.T) {
	srv, sim := newSim(t, &hooks{}, Options{}, loop.Options{})
	var want Times
	check := func(what string) {
		t.Helper()
		if got := srv.Stats().Times; got != want {
			t.Errorf("%s: Times = %+v, want %+v", what, got, want)
		}
	}
	for _, request := range [][]byte{wsRequest("EIO=4&transport=websocket"), getRequest("EIO=4&transport=polling")} {
		c := sim.Connect(0)
		sim.Advance(5 * time.Second)
		c.Send(request[:20])
		sim.Advance(300 * time.Millisecond)
		c.Send(request[20:])
		want.Handshakes.Add(300_000)
		want.Ages = srv.Stats().Times.Ages // of the one before
		check("open")
		sim.Advance(36 * time.Second)
		for c.Close(); srv.Stats().Open.Sum() > 0; { // over polling its end is not noticed
			sim.Advance(time.Second)
		}
	}
	want.Ages = srv.Stats().Times.Ages
	if n := want.Ages.Total; n < 36+20 || want.Ages.Count() != 2 {
		t.Errorf("Ages = %+v, want 36 s, and those that nobody came back in", want.Ages)
	}
	ws := sim.Connect(0)
	ws.Send(wsRequest("EIO=4&transport=websocket"))
	want.Handshakes.Add(0)
	ws.Received()
	opened := sim.Now()
	for len(ws.Received()) == 0 {
		sim.Advance(time.Millisecond)
	}
	sim.Advance(70 * time.Millisecond)
	ws.Send(textFrame("3"))
	want.RTT.Add(70)
	sim.Advance(time.Second)
	ws.Send(textFrame("3")) // of no ping
	check("a pong")
	sim.Advance(opened + 36*time.Second - sim.Now())
	ws.Close()
	want.Ages.Add(36)
	check("closed")
	sim.Advance(2 * time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

// Frames of WebSockets are counted in both directions, however they are sent.
func TestFramesAreCounted(t *testing.T) {
	var now Session
	srv, sim := newSim(t, &hooks{open: func(s Session, _ *http1.Request) { now = s }}, Options{Compression: &Compression{}}, loop.Options{})
	c := sim.Connect(0)
	c.Send(wsRequest("EIO=4&transport=websocket"))
	in, out := Frames{}, Frames{Text: 1} // the open packet
	check := func(what string) {
		t.Helper()
		if st := srv.Stats(); st.In != in || st.Out != out {
			t.Errorf("%s: %+v in and %+v out, want %+v and %+v", what, st.In, st.Out, in, out)
		}
	}
	check("open")
	mask := func(op wsframe.Op, data string) []byte {
		return wsframe.AppendMaskedFrame(nil, op, []byte(data), testKey)
	}
	c.Send(bytes.Join([][]byte{mask(wsframe.Text, "4a"), mask(wsframe.Binary, "b"), mask(wsframe.Ping, "p"), mask(wsframe.Pong, ""), mask(wsframe.Text, "4c")}, nil))
	in = Frames{Text: 2, Binary: 1, Ping: 1, Pong: 1}
	out.Pong++
	check("five came")
	for _, n := range []int{0, 1, 124, 125, 126, 65534, 65535, 65536, 70000} { // every length of a header, and its bounds
		now.Send(AppendBinary(AppendText(nil, make([]byte, n)), make([]byte, n)))
	}
	out.Text, out.Binary = out.Text+9, out.Binary+9
	check("text and bytes")
	p, q := Prepare([]byte("x"), false), PrepareFrames(AppendBinary(AppendText(nil, []byte("y")), []byte("z")))
	now.SendPrepared(p, true)
	now.SendPrepared(q, false)
	now.SendWhole(q, true)
	now.SendPrepared(srv.Concat([]*Prepared{p, q, Prepare(nil, true)}), false)
	now.SendPlain(q.Frames())
	out.Text, out.Binary = out.Text+1+1+1+2+1, out.Binary+1+1+2+1
	check("prepared")
	sim.Advance(26 * time.Second) // a ping
	out.Text++
	check("a ping of Engine.IO")
	c.Send(mask(wsframe.Close, "\x03\xe8"))
	in.Close++
	out.Close++
	check("closed")
	if st := srv.Stats(); st.Codes.Of(1000) != 1 {
		t.Errorf("Codes = %v, want one 1000", st.Codes)
	}
	c.Close()
	sim.Advance(2 * time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

// Close frames are counted by their codes, in whatever way a WebSocket ends.
func TestCodesAreCounted(t *testing.T) {
	var now Session
	srv, sim := newSim(t, &hooks{open: func(s Session, _ *http1.Request) { now = s }},
		Options{CloseCodes: true, MaxPayload: 100, SlowAfter: time.Second}, loop.Options{SoftOutbound: 1000, SlowAfter: time.Second})
	want := map[uint16]int64{}
	for _, x := range []struct {
		code uint16
		end  func(p *loop.Peer)
	}{
		{0, func(*loop.Peer) { now.Close() }},
		{1000, func(*loop.Peer) { _ = now.CloseWith(1000, "bye") }},
		{CloseExpired, func(*loop.Peer) { _ = now.CloseWith(CloseExpired, "") }},
		{CloseReplaced, func(*loop.Peer) { now.CloseFor(CloseReplaced, "") }},
		{OtherCode, func(*loop.Peer) { _ = now.CloseWith(4999, "") }},
		{OtherCode, func(*loop.Peer) { _ = now.CloseWith(3000, "") }},
		{1002, func(p *loop.Peer) { p.Send([]byte{0xff, 0xff}) }},
		{CloseTooBig, func(p *loop.Peer) { p.Send(textFrame("4" + string(make([]byte, 200)))) }},
		{CloseSlow, func(p *loop.Peer) {
			p.Stall(true)
			now.Send(AppendText(nil, make([]byte, 5000)))
			sim.Advance(time.Minute)
		}},
	} {
		c := sim.Connect(0)
		c.Send(wsRequest("EIO=4&transport=websocket"))
		x.end(c)
		want[x.code]++
		st := srv.Stats()
		st.Codes.Each(func(code uint16, n int64) {
			if n != want[code] {
				t.Errorf("after %d: %d of %d, want %d", x.code, n, code, want[code])
			}
		})
		c.Stall(false)
		c.Close()
	}
	sim.Advance(2 * time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

// Upgrades that fail are told apart, bytes are counted by the transport, and clients that
// do not come for what waits are.
func TestUpgradesTrafficAndSwampedSessions(t *testing.T) {
	var now Session
	srv, sim := newSim(t, &hooks{open: func(s Session, _ *http1.Request) { now = s }}, Options{MaxQueue: 1000}, loop.Options{})
	a, b, other := sim.Connect(0), sim.Connect(0), sim.Connect(0)
	request := getRequest("EIO=4&transport=polling")
	a.Send(request)
	answer := a.Received()
	traffic := Traffic{Polling: loop.Traffic{In: int64(len(request)), Out: int64(len(answer))}}
	check := func(what string, upgrades [4]int64) {
		t.Helper()
		st := srv.Stats()
		if got := [4]int64{st.Probed, st.Upgraded, st.Expired, st.Barred}; got != upgrades || st.Traffic != traffic {
			t.Errorf("%s: upgrades %v, %+v, want %v and %+v", what, got, st.Traffic, upgrades, traffic)
		}
	}
	check("a poll", [4]int64{})
	upgrade := wsRequest("EIO=4&transport=websocket&sid=" + now.ID())
	ws := func(p *loop.Peer, sent []byte) {
		p.Send(sent)
		traffic.WebSocket.In += int64(len(sent))
		traffic.WebSocket.Out += int64(len(p.Received()))
	}
	handshake := func(p *loop.Peer) {
		ws(p, upgrade)
		traffic.WebSocket.In -= int64(len(upgrade))
		traffic.Polling.In += int64(len(upgrade))
	}
	handshake(b)
	handshake(other) // while another is in progress
	check("two upgrades", [4]int64{1, 0, 0, 1})
	sim.Advance(srv.o.UpgradeTimeout)
	traffic.WebSocket.Out += int64(len(b.Received()))
	check("it was too slow", [4]int64{1, 0, 1, 1})

	now.Send(AppendText(nil, make([]byte, 5000)))
	sim.Turn()
	if st := srv.Stats(); st.Swamped != 1 || st.Largest < 5000 || st.Largest > 6000 {
		t.Errorf("%d sessions are swamped, the largest queue is %d, want one of 5000 and a little", st.Swamped, st.Largest)
	}
	poll := getRequest("EIO=4&transport=polling&sid=" + now.ID())
	a.Send(poll)
	answer = a.Received()
	traffic.Polling.Add(loop.Traffic{In: int64(len(poll)), Out: int64(len(answer))})
	check("it has come", [4]int64{1, 0, 1, 1})
	if st := srv.Stats(); st.Swamped != 0 || st.Largest < 5000 {
		t.Errorf("%d sessions are swamped, the largest queue was %d, want none any more", st.Swamped, st.Largest)
	}
	c := sim.Connect(0)
	handshake(c)
	ws(c, textFrame("2probe"))
	ws(c, textFrame("5"))
	check("another upgrade", [4]int64{2, 1, 1, 1})
	now.Close()
	traffic.WebSocket.Out += int64(len(c.Received()))
	check("the end", [4]int64{2, 1, 1, 1})
	for _, p := range []*loop.Peer{a, b, c, other} {
		p.Close()
	}
	sim.Advance(3 * time.Minute)
	if st := srv.Stats(); st.Largest != 0 {
		t.Errorf("minutes later the largest queue is %d", st.Largest)
	}
	checkEmpty(t, srv, sim.Engine())
}

// A session that another process had is as old as it was there, and no older than it can be.
func TestAgesOutliveProcesses(t *testing.T) {
	for _, c := range []struct{ age, want time.Duration }{{36 * time.Hour, 36 * time.Hour}, {0, 0}, {-time.Hour, 0}, {1<<63 - 1, 1 << 30 * time.Second}} {
		srv, sim := newSim(t, &hooks{}, Options{}, loop.Options{})
		l := sim.Engine().Loops()[0]
		sim.Advance(time.Second)
		s, err := srv.Restore(l, &SessionState{Slot: 1, Gen: 1, Revision: 4, Pinged: -1, Proved: -1, Age: c.age, Deadline: time.Minute},
			func(handle.Key) loop.Conn { return loop.Conn{} })
		if err != nil {
			t.Fatal(err)
		}
		st, err := s.Snapshot()
		if err != nil || st.Age != c.want {
			t.Errorf("of %v its age is %v, want %v (%v)", c.age, st.Age, c.want, err)
		}
		s.Close()
		if x := srv.Stats().Times.Ages; x.Count() != 1 || x.Total != int64(c.want/time.Second) {
			t.Errorf("of %v it was closed at an age of %d s, want %v", c.age, x.Total, c.want)
		}
	}
}
