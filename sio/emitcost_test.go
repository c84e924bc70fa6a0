package sio_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// An emit is a way of sending an event, to ten clients in a room or to one of them.
var emits = map[string]func(ns *sio.Namespace, s sio.Socket) error{
	"room":     func(ns *sio.Namespace, _ sio.Socket) error { return ns.To("room").Emit("news", "text") },
	"sender":   func(_ *sio.Namespace, s sio.Socket) error { return s.To("room").Emit("news", "text") },
	"all":      func(ns *sio.Namespace, _ sio.Socket) error { return ns.Emit("news", "text") },
	"volatile": func(ns *sio.Namespace, _ sio.Socket) error { return ns.To("room").Volatile().Emit("news", 1) },
	"one":      func(_ *sio.Namespace, s sio.Socket) error { return s.Emit("news", "text") },
	"join":     func(_ *sio.Namespace, s sio.Socket) error { s.Join("room"); return nil },
}

func emitStage(t testing.TB, recovery bool) (*stage, []*extra) {
	o := sio.Options{}
	if recovery {
		o.Recovery = sio.Recovery{Window: time.Minute, MaxBytes: 1 << 20}
	}
	st := newStage(t, o)
	var all []*extra
	for range 10 {
		x := st.enter(0)
		x.s.Join("room")
		all = append(all, x)
	}
	st.sim.Turn()
	return st, all
}

func BenchmarkEmit(b *testing.B) {
	for name, emit := range emits {
		for _, recovery := range []bool{false, true} {
			b.Run(fmt.Sprintf("to=%s/recovery=%t", name, recovery), func(b *testing.B) {
				st, all := emitStage(b, recovery)
				b.ReportAllocs()
				for b.Loop() {
					if err := emit(st.ns, all[0].s); err != nil {
						b.Fatal(err)
					}
					st.sim.Turn()
				}
			})
		}
	}
}

// BenchmarkAnswer is an event that an inline handler acknowledges.
func BenchmarkAnswer(b *testing.B) {
	st, all := emitStage(b, false)
	st.ns.HandleInline("ask", func(_ sio.Socket, m *sio.Msg) error { return m.Ack("text") })
	packet := appendPacket(nil, `421["ask","text"]`)
	peer := all[0].peer
	peer.Received()
	peer.Send(packet)
	if n := len(peer.Received()); n == 0 {
		b.Fatal("there is no answer")
	}
	peer.Discard(true)
	b.ReportAllocs()
	for b.Loop() {
		peer.Send(packet)
	}
}

// BenchmarkConnect is a client that comes over a WebSocket, joins the main namespace and
// goes.
func BenchmarkConnect(b *testing.B) {
	st := newStage(b, sio.Options{})
	b.ReportAllocs()
	for b.Loop() {
		x := &extra{t: b, peer: st.sim.Connect(0)}
		if got := x.begin(); len(got) != 1 {
			b.Fatalf("the answer to CONNECT is %q", got)
		}
		x.peer.Close()
		st.sim.Turn()
	}
}

// What an emit allocates is for the message, and not for its recipients: so much, from
// its arguments to ten sockets, and to one.
func TestEmitsAllocateLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the pools lose buffers on purpose under the race detector")
	}
	for _, recovery := range []bool{false, true} {
		st, all := emitStage(t, recovery)
		for _, x := range all {
			x.peer.Discard(true)
		}
		for name, most := range map[string][2]float64{ // without recovery, and with it
			"room": {7, 8}, "sender": {8, 9}, "all": {6, 7}, "volatile": {7, 8}, "one": {1, 4}, "join": {4, 4},
		} {
			emit, bound := emits[name], most[0]
			if recovery {
				bound = most[1]
			}
			n := testing.AllocsPerRun(500, func() {
				if err := emit(st.ns, all[0].s); err != nil {
					t.Error(err)
				}
				st.sim.Turn()
			})
			if n > bound {
				t.Errorf("to %s, recovery %t: %.0f allocations, want at most %.0f", name, recovery, n, bound)
			}
		}
	}
}

// What a client takes that comes over a WebSocket, joins the main namespace and goes: so many
// allocations, with what the test's own end needs, and two system calls that send.
func TestAConnectCostsLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the pools lose buffers on purpose under the race detector")
	}
	st := newStage(t, sio.Options{})
	come := func() {
		x := &extra{t: t, peer: st.sim.Connect(0)}
		if got := x.begin(); len(got) != 1 {
			t.Fatalf("the answer to CONNECT is %q", got)
		}
		x.peer.Close()
		st.sim.Turn()
	}
	come()
	const runs = 200
	before := st.Engine().Stats().Writes
	n := testing.AllocsPerRun(runs, come)
	writes := st.Engine().Stats().Writes - before
	if n > 19 || writes > 2*(runs+1) {
		t.Errorf("a client takes %.0f allocations and %.2f writes, want at most 19 and 2", n, float64(writes)/(runs+1))
	}
}
