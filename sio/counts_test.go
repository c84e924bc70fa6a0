package sio_test

import (
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/histogram"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/parser"
	"github.com/sioedge/sioedge/wsframe"
)

// root returns the counts of the main namespace.
func (st *stage) root() sio.NamespaceStats { return st.Stats().Namespaces[0] }

// sendBytes sends a packet with an attachment.
func (x *extra) sendBytes(text string) {
	x.send(text)
	x.peer.Send(wsframe.AppendMaskedFrame(nil, wsframe.Binary, []byte("b"), [4]byte{1}))
}

// Events and acknowledgements are counted by their kinds in both directions, by whatever
// way they go.
func TestPacketsAreCountedByKind(t *testing.T) {
	for name, o := range map[string]sio.Options{"": {}, "recovery": {Recovery: sio.Recovery{Window: time.Minute}}} {
		t.Run(name, func(t *testing.T) {
			st := newStage(t, o)
			st.ns.HandleInline("ack", func(_ sio.Socket, m *sio.Msg) error { return m.Ack("text") })
			st.ns.HandleInline("bytes", func(_ sio.Socket, m *sio.Msg) error { return m.Ack([]byte{1}) })
			a, b := st.enter(0), st.enter(0)
			a.s.Join("room")
			b.s.Join("room")
			st.sim.Turn()
			var in, out parser.Packets
			check := func(what string) {
				t.Helper()
				n := st.root()
				if n.In != in || n.Out != out || n.Events != in.Events+in.Binary || n.Emits != out.Sum() {
					t.Errorf("%s: %+v in and %+v out (%d events, %d emits), want %+v and %+v", what, n.In, n.Out, n.Events, n.Emits, in, out)
				}
			}
			emit := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			a.send(`42["x"]`, `421["ack"]`, `422["bytes"]`)
			a.sendBytes(`451-["x",{"_placeholder":true,"num":0}]`)
			a.sendBytes(`451-3["ack",{"_placeholder":true,"num":0}]`)
			in, out = parser.Packets{Events: 3, Binary: 2}, parser.Packets{Acks: 3}
			check("events, of which three are acknowledged")
			a.send("4399[]") // that nobody waits for
			in.Acks++
			check("an acknowledgement")

			emit(a.s.Emit("x", 1))
			emit(a.s.Emit("x", []byte{1}))
			emit(a.s.Volatile().Emit("x", make([]byte, 200)))
			st.sim.Turn()
			out.Events, out.Binary = out.Events+1, out.Binary+2
			check("to one")
			long := string(make([]byte, 200)) // needs more of a frame's head
			emit(a.s.Emit(long, 1))
			emit(a.s.Emit("x", string(make([]byte, 70_000))))
			st.sim.Turn()
			out.Events += 2
			check("long ones")
			emit(st.ns.Emit("x", 1))
			st.sim.Turn()
			emit(st.ns.Emit("x", []byte{1}))
			st.sim.Turn()
			out.Events, out.Binary = out.Events+2, out.Binary+2
			check("to all")
			for i := range 5 { // as one
				emit(st.ns.To("room").Emit("x", i))
				emit(st.ns.To("room").Emit("x", []byte{1}))
				if i == 2 {
					emit(b.s.Emit("x", 1)) // it catches up
				}
			}
			st.sim.Turn()
			out.Events, out.Binary = out.Events+11, out.Binary+10
			check("to a room, in a row")
			if n := st.root().Broadcasts; n != 12 {
				t.Errorf("%d broadcasts, want 12", n)
			}
			emit(a.s.EmitAckFunc(time.Second, func(sio.Args, error) {}, "x", 1))
			st.sim.Turn()
			out.Events++
			check("with an acknowledgement")
		})
	}
}

// What became of acknowledgements is counted for each client that was asked.
func TestAcksAreCounted(t *testing.T) {
	st := newStage(t, sio.Options{})
	a, b := st.enter(0), st.enter(0)
	check := func(what string, want sio.AckStats) {
		t.Helper()
		if got := st.Stats().Acks; got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	ask := func(x *extra) {
		t.Helper()
		if err := x.s.EmitAckFunc(time.Second, func(sio.Args, error) {}, "x"); err != nil {
			t.Fatal(err)
		}
		st.sim.Turn()
	}
	ask(a)
	a.send("430[]", "430[]", "435[]") // once is enough, and the last is none
	check("answered", sio.AckStats{Answered: 1})
	ask(a)
	st.sim.Advance(time.Second)
	a.send("431[]")
	check("too late", sio.AckStats{Answered: 1, Late: 1})
	ask(a)
	ask(b)
	ask(b)
	b.send("41")
	check("left", sio.AckStats{Answered: 1, Late: 1, Left: 2})
}

// Connected sockets that leave are counted by why.
func TestDeparturesAreCounted(t *testing.T) {
	st := newStage(t, sio.Options{Loop: loop.Options{Loops: 2}})
	var want sio.Departures
	check := func(what string) {
		t.Helper()
		if got := st.root().Left; got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	st.enter(0).send("41")
	want.Client++
	check("the client")
	if err := st.enter(1).s.Disconnect(sio.DisconnectOptions{}); err != nil {
		t.Fatal(err)
	}
	st.sim.Turn()
	want.Server++
	check("the server")
	st.enter(0).peer.Close()
	want.TransportClose++
	check("the connection")
	st.enter(1).peer.Send([]byte{0xff, 0xff})
	want.TransportError++
	check("a broken frame")
	st.enter(0).peer.Send(wsframe.AppendMaskedFrame(nil, wsframe.Text, []byte("x"), [4]byte{1}))
	want.ParseError++
	check("no packet of Engine.IO")
	st.enter(1).send("4x")
	want.ForcedClose++
	check("no packet of Socket.IO")
	st.enter(0)
	st.sim.Advance(2 * time.Minute)
	want.PingTimeout++
	check("a silent client")
	if n := st.root(); n.Sockets != 0 {
		t.Errorf("%d sockets are left", n.Sockets)
	}
	st.enter(0)
	if err := st.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	want.Shutdown++
	check("the end")
}

// Recipients of a broadcast are counted whatever loop they are of, and times from when it
// is emitted: to all loops at once, here.
func TestSpreadIsMeasured(t *testing.T) {
	st := newStage(t, sio.Options{Loop: loop.Options{Loops: 2}})
	const took = 5 * time.Millisecond
	st.ns.HandleInline("tell", func(s sio.Socket, _ *sio.Msg) error {
		err := st.ns.To("room").Emit("x")
		st.sim.Work(took)
		return err
	})
	for i := range 5 {
		st.enter(i % 2).s.Join("room")
	}
	x := st.enter(1)
	st.sim.Advance(time.Second)
	before := st.Stats()
	x.send(`42["tell"]`)
	st.sim.Turn()
	after := st.Stats()
	var five, each histogram.Histogram
	five.Add(5)
	each.Add(took.Microseconds())
	if x := after.Spread; x.Recipients != five || x.Took != each || x.Waited.Count() != 2 || x.Waited.Total < took.Microseconds() || before.Spread.Recipients.Count() != 0 {
		t.Errorf("Spread = %+v, want 5 recipients within 5 ms, on two loops", x)
	}
	if n := after.Namespaces[0].Broadcasts; n != 1 {
		t.Errorf("%d broadcasts, want 1", n)
	}
	if n := after.Namespaces[0].Rooms; n != 1 {
		t.Errorf("%d rooms, want 1", n)
	}
	if err := x.s.Volatile().Emit("x"); err != nil { // to itself: no broadcast
		t.Fatal(err)
	}
	if err := st.ns.To("nobody").Emit("x"); err != nil {
		t.Fatal(err)
	}
	st.sim.Turn()
	if now := st.Stats(); now.Spread != after.Spread || now.Namespaces[0].Broadcasts != 1 {
		t.Errorf("Spread = %+v, want %+v as before", now.Spread, after.Spread)
	}
	busy := time.Duration(0)
	for i, l := range after.Loops {
		busy += time.Duration(l.Busy)
		if l.Open != after.Loop.Open/2 || l.Turns == 0 {
			t.Errorf("loop %d has %d connections and %d turns, want %d and some", i, l.Open, l.Turns, after.Loop.Open/2)
		}
	}
	if busy != took || len(after.Loops) != 2 {
		t.Errorf("%d loops are busy for %v, want two for %v", len(after.Loops), busy, took)
	}
}
