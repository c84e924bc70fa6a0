package loop

import (
	"context"
	"testing"
	"time"
)

// What a loop is busy with is the time between waiting and waiting, to the nanosecond;
// time that passes meanwhile is not in it.
func TestBusyIsWhatALoopDoes(t *testing.T) {
	var s *Sim
	work := time.Duration(0)
	s = newSim(&hooks{data: func(c Conn, b []byte) int { s.Work(work); return echo(c, b) }}, Options{Loops: 2})
	stats := func() Stats {
		a, b := s.e.loops[0].Stats(), s.e.loops[1].Stats()
		if b.Busy != 0 {
			t.Errorf("the other loop is busy for %d ns, want 0", b.Busy)
		}
		return a
	}
	p := s.Connect(0)
	for i, d := range []time.Duration{0, time.Nanosecond, 7 * time.Millisecond, 3 * time.Second} {
		before := stats()
		work = d
		p.Send([]byte("x"))
		after := stats()
		if got := time.Duration(after.Busy - before.Busy); got != d {
			t.Errorf("%d: busy for %v, want %v", i, got, d)
		}
		if n := after.Turns - before.Turns; n != 1 {
			t.Errorf("%d: %d turns, want 1", i, n)
		}
		s.Advance(time.Hour)
		if now := stats(); now.Busy != after.Busy {
			t.Errorf("%d: while nothing was done, busy went from %d to %d", i, after.Busy, now.Busy)
		}
	}
}

// With real sockets a loop that sleeps is not busy, and one that works is.
func TestBusyOfRealLoops(t *testing.T) {
	e, err := New(&hooks{data: echo}, Options{Loops: 1, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	// ends with the engine
	go func() { ran <- e.Run(context.Background()) }()
	l := e.Loops()[0]
	l.Ask(func() {})
	before := e.Stats()
	const work = 5 * time.Millisecond
	l.Ask(func() {
		for began := time.Now(); time.Since(began) < work; {
		}
	})
	after := e.Stats()
	for end := time.Now().Add(time.Minute); time.Duration(after.Busy-before.Busy) < work || after.Turns <= before.Turns; after = e.Stats() {
		if time.Now().After(end) { // the turn is over long since
			t.Fatalf("busy for %v in %d turns, want %v at least", time.Duration(after.Busy-before.Busy), after.Turns-before.Turns, work)
		}
		l.Ask(func() {}) // may be in the same turn still
	}
	if err := e.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	if st := e.Stats(); time.Duration(st.Busy) > time.Duration(e.nowNs()) {
		t.Errorf("busy for %v of %v", time.Duration(st.Busy), time.Duration(e.nowNs()))
	}
}

// Bytes are counted by what their connection was when they were read, and when they were
// taken.
func TestTrafficIsCountedByKind(t *testing.T) {
	const kind = 29
	s := newSim(&hooks{
		open: func(c Conn) { c.SetTag(1<<kind | 99) },
		data: func(c Conn, b []byte) int {
			c.Write(b)
			c.SetTag(7<<kind | 1)
			return len(b)
		},
	}, Options{})
	p := s.Connect(0)
	p.Send([]byte("abc"))
	p.Send([]byte("defgh"))
	st := s.e.Stats()
	if want := [8]Traffic{1: {In: 3}, 7: {In: 5, Out: 8}}; st.Traffic != want {
		t.Errorf("Traffic = %v, want %v", st.Traffic, want)
	}
	var sum Traffic
	for _, x := range st.Traffic {
		sum.Add(x)
	}
	if sum != (Traffic{st.BytesIn, st.BytesOut}) {
		t.Errorf("the sum is %v, want %d and %d", sum, st.BytesIn, st.BytesOut)
	}
}

// The largest queue is remembered for a minute at least, the number of those that are slow
// while they are.
func TestLargestQueueAndSlowPeers(t *testing.T) {
	var c Conn
	s := newSim(&hooks{open: func(x Conn) { c = x }}, Options{SoftOutbound: 1000, MaxOutbound: 1 << 20, SlowAfter: time.Hour})
	p := s.Connect(0)
	check := func(when string, largest, slow int64) {
		t.Helper()
		st := s.e.Stats()
		if st.Slow != slow || st.Largest < largest || st.Largest > largest+largest/4 {
			t.Errorf("%s: %d slow, the largest %d, want %d and %d or a little more", when, st.Slow, st.Largest, slow, largest)
		}
	}
	c.Write(noise(500))
	s.Turn()
	check("what was sent at once", 0, 0)
	p.Stall(true)
	c.Write(noise(5000))
	s.Turn()
	check("while it takes nothing", 5000, 1)
	p.Stall(false)
	s.Advance(2 * time.Second)
	check("when it has taken all", 5000, 0)
	s.Advance(50 * time.Second)
	check("less than a minute later", 5000, 0)
	s.Advance(2 * time.Minute)
	check("later", 0, 0)
	if st := s.e.Stats(); st.Pooled < 3*(32<<10) {
		t.Errorf("%d bytes of buffers, want those for reads, copies and bursts", st.Pooled)
	}
}

// A loop that sleeps is woken by one signal, whoever else has something for it; one that
// is at work is by none, also by itself.
func TestWakesAreCounted(t *testing.T) {
	e := newRunning(t, Options{Loops: 2})
	a, b := e.Loops()[0], e.Loops()[1]
	wakes := func(l *Loop) int64 { return l.wake.sent.Load() }
	nothing := TaskFunc(func(*Loop) {})
	a.Ask(func() {
		before := wakes(a)
		for range 10 {
			a.Post(nothing)
		}
		if n := wakes(a) - before; n != 0 {
			t.Errorf("a loop has woken itself %d times for what it posts to itself, want 0", n)
		}
	})
	b.Ask(func() {
		for end := time.Now().Add(time.Minute); ; { // until it sleeps
			before := wakes(a)
			for range 10 {
				a.Post(nothing)
			}
			if wakes(a) > before || time.Now().After(end) {
				break
			}
		}
	})
	if before := e.Stats().Wakes; before < 2 {
		t.Errorf("%d wakes, want at least the one of each loop", before)
	}
}

// Who signals a loop does not wait for another who does.
func TestSignalsDoNotWaitForEachOther(t *testing.T) {
	e := newRunning(t, Options{Loops: 1})
	w := &e.Loops()[0].wake
	w.mu.RLock() // as one that was put off its processor
	defer w.mu.RUnlock()
	before := w.sent.Load()
	w.signal()
	if w.sent.Load() == before {
		t.Error("no signal was sent")
	}
}

func newRunning(t *testing.T, o Options) *Engine {
	t.Helper()
	o.Logger = quiet
	e, err := New(&hooks{data: echo}, o)
	if err != nil {
		t.Fatal(err)
	}
	run(t, e)
	return e
}
