package sio_test

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
)

// A wakeful stage counts how often loops are woken. A member of "room" is on each loop
// but the last, one of "one" on the second.
func newWakefulStage(t *testing.T, o sio.Options) (st *stage, wakes *atomic.Int64, on []*extra) {
	t.Helper()
	const loops = 4
	o.Loop = loop.Options{Loops: loops}
	st, wakes = newStage(t, o), new(atomic.Int64)
	st.sim.Share(func() { wakes.Add(1) })
	for i := range loops {
		x := st.enter(i)
		if i < loops-1 {
			x.s.Join("room")
		}
		if i == 1 {
			x.s.Join("one")
		}
		on = append(on, x)
	}
	st.sim.Turn()
	return st, wakes, on
}

// However many messages there are, each loop that has members is woken once, and no other.
func TestABroadcastWakesEachLoopWithMembersOnce(t *testing.T) {
	for name, o := range map[string]sio.Options{"": {}, "recovery": {Recovery: sio.Recovery{Window: time.Minute}}} {
		t.Run(name, func(t *testing.T) {
			st, wakes, _ := newWakefulStage(t, o)
			for _, tt := range []struct {
				name string
				emit func() error
				want int64
			}{
				{"a room on three loops", func() error { return st.ns.To("room").Emit("x", 1) }, 3},
				{"a room on one loop", func() error { return st.ns.To("one").Emit("x", 1) }, 1},
				{"a room of nobody", func() error { return st.ns.To("none").Emit("x", 1) }, 0},
				{"everybody", func() error { return st.ns.Emit("x", 1) }, 4},
				{"two rooms", func() error { return st.ns.To("room", "one").Emit("x", 1) }, 3},
			} {
				st.sim.Turn()
				before := wakes.Load()
				for range 10 {
					if err := tt.emit(); err != nil {
						t.Fatal(err)
					}
				}
				if n := wakes.Load() - before; n != tt.want {
					t.Errorf("ten messages to %s: %d wakes, want %d", tt.name, n, tt.want)
				}
			}
		})
	}
}

// What a loop has for its own sockets wakes nobody, what it has for others' wakes those.
func TestALoopWakesOnlyOthers(t *testing.T) {
	for name, o := range map[string]sio.Options{"": {}, "recovery": {Recovery: sio.Recovery{Window: time.Minute}}} {
		t.Run(name, func(t *testing.T) {
			st, wakes, on := newWakefulStage(t, o)
			beside := st.enter(0)
			var emit func(s sio.Socket, m *sio.Msg) error
			st.ns.HandleInline("do", func(s sio.Socket, m *sio.Msg) error { return emit(s, m) })
			for _, tt := range []struct {
				name     string
				emit     func(s sio.Socket, m *sio.Msg) error
				min, max int64
			}{
				{"an acknowledgement", func(_ sio.Socket, m *sio.Msg) error { return m.Ack(1) }, 0, 0},
				{"an emit to itself", func(s sio.Socket, _ *sio.Msg) error { return s.Emit("x", 1) }, 0, 0},
				{"an emit to a socket of the same loop", func(sio.Socket, *sio.Msg) error { return beside.s.Emit("x", 1) }, 0, 0},
				{"a join", func(s sio.Socket, _ *sio.Msg) error { s.Join("more"); return nil }, 0, 0},
				{"an emit to a socket of another loop", func(sio.Socket, *sio.Msg) error { return on[1].s.Emit("x", 1) }, 1, 1},
				// One is of the loop itself, which goes on with what it has enqueued.
				{"a broadcast to the room of another loop", func(s sio.Socket, _ *sio.Msg) error { return s.To("one").Emit("x", 1) }, 1, 1},
				{"a broadcast to itself alone", func(s sio.Socket, _ *sio.Msg) error { return st.ns.To("more").Emit("x", 1) }, 0, 1},
				{"a broadcast to three loops", func(s sio.Socket, _ *sio.Msg) error { return st.ns.To("room").Emit("x", 1) }, 2, 3},
			} {
				emit = tt.emit
				before := wakes.Load()
				on[0].send(`421["do"]`)
				if n := wakes.Load() - before; n < tt.min || n > tt.max {
					t.Errorf("%s: %d wakes, want %d to %d", tt.name, n, tt.min, tt.max)
				}
			}
		})
	}
}

// What an operator does to many sockets of a room is found out without a list of those that
// have been found: so many bytes for each, and no more.
func TestOperatorsListEachSocketOnce(t *testing.T) {
	if raceEnabled {
		t.Skip("allocates more under the race detector")
	}
	const n = 20_000
	st := newStage(t, sio.Options{})
	for range n {
		x := &extra{t: t, peer: st.sim.Connect(0)}
		x.begin()
		x.peer.Discard(true)
	}
	st.ns.All().Join("room")
	st.sim.Turn()
	for name, b := range map[string]sio.BroadcastOperator{"a room": st.ns.To("room"), "all": st.ns.All()} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b.Leave("none")
		st.sim.Turn()
		runtime.ReadMemStats(&after)
		if bytes := float64(after.TotalAlloc-before.TotalAlloc) / n; bytes > 60 {
			t.Errorf("an operator of %s takes %.1f bytes for each of %d sockets, want at most 60", name, bytes, n)
		} else {
			t.Logf("%s: %.1f bytes", name, bytes)
		}
	}
}
