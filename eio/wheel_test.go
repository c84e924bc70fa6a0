package eio

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestWheelAgainstModel compares a wheel with a list of deadlines: what is due
// fires at the first turn that is not before it, once, with its lateness, and
// nothing fires early.
func TestWheelAgainstModel(t *testing.T) {
	starts := []int64{0, 1, 1<<31 - 3000, 1<<32 - 3000, 3<<32 - 1}
	for _, start := range starts {
		for _, tick := range []int64{1, 8, 64} {
			rnd := rand.New(rand.NewPCG(uint64(start), uint64(tick)))
			w := &wheel{tick: tick, done: start / tick}
			model := map[uint32]int64{} // slot: deadline
			now := start
			for range 3000 {
				switch slot := uint32(1 + rnd.IntN(50)); rnd.IntN(4) {
				case 0, 1:
					// Now, near, and further than the wheel goes round.
					at := now + []int64{0, rnd.Int64N(100), rnd.Int64N(tick * 2000)}[rnd.IntN(3)]
					w.set(slot, at)
					if uint32(at) == 0 {
						at++ // means unarmed
					}
					model[slot] = at
				case 2:
					w.clear(slot)
					delete(model, slot)
				case 3:
					now += []int64{0, 1, rnd.Int64N(3 * tick), rnd.Int64N(1000 * tick)}[rnd.IntN(4)]
					checkAdvance(t, w, model, now)
				}
				if w.armed != len(model) {
					t.Fatalf("%d are armed, want %d", w.armed, len(model))
				}
				for slot := uint32(1); slot <= 50; slot++ {
					at, ok := model[slot]
					if got := w.due(slot, now); got != (ok && at <= now) {
						t.Fatalf("due(%d) at %d = %t, deadline %d", slot, now, got, at)
					}
				}
			}
			now += 5000 * tick
			checkAdvance(t, w, model, now)
			if w.armed != 0 {
				t.Errorf("%d are armed at the end, want none", w.armed)
			}
		}
	}
}

// checkAdvance turns w to now and checks what fires against the model.
func checkAdvance(t *testing.T, w *wheel, model map[uint32]int64, now int64) {
	t.Helper()
	w.advance(now, 1000, func(slot uint32, late int64) {
		at, ok := model[slot]
		if !ok || at > now {
			t.Fatalf("%d fires at %d, deadline %d (%t)", slot, now, at, ok)
		}
		if late != now-at {
			t.Fatalf("%d fires at %d with lateness %d, deadline %d", slot, now, late, at)
		}
		delete(model, slot)
	})
	for slot, at := range model {
		if at <= now-w.tick {
			t.Fatalf("%d has not fired at %d, deadline %d", slot, now, at)
		}
	}
}

func TestWheelFiresAtMostSoMany(t *testing.T) {
	w := &wheel{tick: 8}
	for slot := uint32(1); slot <= 1000; slot++ {
		w.set(slot, 100+int64(slot)%30)
	}
	var fired []uint32
	turns := 0
	for more := true; more; turns++ {
		before := len(fired)
		more = w.advance(200, 64, func(slot uint32, late int64) { fired = append(fired, slot) })
		if n := len(fired) - before; n > 64 {
			t.Fatalf("%d fired in one turn, want at most 64", n)
		}
	}
	slices.Sort(fired)
	if len(fired) != 1000 || len(slices.Compact(fired)) != 1000 || turns != 1000/64+1 {
		t.Errorf("%d fired in %d turns, want 1000 different ones in %d", len(fired), turns, 1000/64+1)
	}
}

// TestWheelFireChangesTheWheel has what fires clear and set others, and itself.
func TestWheelFireChangesTheWheel(t *testing.T) {
	w := &wheel{tick: 8}
	for slot := uint32(1); slot <= 9; slot++ {
		w.set(slot, 10)
	}
	var fired []uint32
	fire := func(slot uint32, _ int64) {
		fired = append(fired, slot)
		for other := uint32(1); other <= 9; other++ {
			if other%3 == slot%3 {
				w.clear(other)
			}
		}
		if slot < 10 {
			w.set(slot+10, 16) // due at once
		}
		w.set(slot, 30) // again
	}
	w.advance(16, 100, fire)
	if len(fired) != 6 || fired[3]/10 != 1 {
		t.Errorf("%v fired, want one of each three, and what those have set", fired)
	}
	fired = nil
	w.advance(29, 100, fire)
	if len(fired) != 0 {
		t.Errorf("%v fired, want nobody", fired)
	}
	w.advance(30, 100, func(slot uint32, _ int64) { fired = append(fired, slot) })
	if len(fired) != 3 || fired[0]/10 != 1 || fired[2]/10 != 1 {
		t.Errorf("%v fired, want the three that cleared the others and set themselves again", fired)
	}
}

// TestWheelWrapsAround keeps deadlines exact where 32 bits of milliseconds end,
// after 49.7 days.
func TestWheelWrapsAround(t *testing.T) {
	for _, tick := range []int64{2, 16, 64} {
		now := int64(1)<<32 - 10*tick + 1
		w := &wheel{tick: tick, done: now / tick}
		for i := range int64(20) {
			w.set(uint32(i+1), now+i*tick)
		}
		for i := range int64(20) {
			var fired []uint32
			w.advance(now+i*tick, 10, func(slot uint32, _ int64) { fired = append(fired, slot) })
			if !slices.Equal(fired, []uint32{uint32(i + 1)}) {
				t.Errorf("tick %d: %v fired after %d, want %d", tick, fired, i, i+1)
			}
		}
	}
}

func TestHeartbeatTick(t *testing.T) {
	for _, c := range []struct {
		interval, timeout time.Duration
		want              int64
	}{
		{25 * time.Second, 20 * time.Second, 512}, {300 * time.Millisecond, 200 * time.Millisecond, 8},
		{time.Millisecond, time.Hour, 1}, {time.Second, 100 * time.Millisecond, 4},
	} {
		if got := heartbeatTick(c.interval, c.timeout); got != c.want {
			t.Errorf("heartbeatTick(%v, %v) = %d, want %d", c.interval, c.timeout, got, c.want)
		}
	}
}
