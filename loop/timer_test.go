package loop

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestTimersFireInOrderAndInTime(t *testing.T) {
	s := newSim(&hooks{}, Options{})
	l := s.e.loops[0]
	rng := rand.New(rand.NewPCG(3, 4))
	type entry struct {
		Timer
		due int64
		seq int
	}
	timers := make([]entry, 2000)
	var fired []*entry
	arm := func(i, seq int) {
		e := &timers[i]
		d := time.Duration(rng.IntN(500)+1) * time.Millisecond
		e.due, e.seq = s.clock.Load()/1e6+d.Milliseconds(), seq
		l.Schedule(&e.Timer, d, func() {
			if l.Now() != e.due {
				t.Errorf("timer %d fired at %d ms, want %d", i, l.Now(), e.due)
			}
			fired = append(fired, e)
		})
	}
	for i := range timers {
		arm(i, i)
	}
	s.Advance(100 * time.Millisecond)
	early := len(fired)
	canceled := 0
	for i := range timers {
		if timers[i].Armed() && i%3 == 0 {
			arm(i, 2000+i)
		} else if timers[i].Armed() && i%3 == 1 {
			l.Cancel(&timers[i].Timer)
			canceled++
		}
	}
	s.Advance(time.Second)
	if got, want := len(fired), len(timers)-canceled; got != want || early == 0 {
		t.Fatalf("%d timers fired, %d of them early, want %d", got, early, want)
	}
	if !slices.IsSortedFunc(fired, func(a, b *entry) int {
		if a.due != b.due {
			return int(a.due - b.due)
		}
		return a.seq - b.seq
	}) {
		t.Fatal("timers fired out of order")
	}
	for i := range timers {
		if timers[i].Armed() {
			t.Fatalf("timer %d is armed after it fired", i)
		}
	}
}

func TestTimerThatRearmsItself(t *testing.T) {
	s := newSim(&hooks{}, Options{})
	l := s.e.loops[0]
	var tm Timer
	n := 0
	var again func()
	again = func() { n++; l.Schedule(&tm, 0, again) }
	l.Schedule(&tm, 0, again)
	s.Advance(10 * time.Millisecond)
	if n != 10 {
		t.Fatalf("a timer of 0 fired %d times in 10 ms, want once each millisecond", n)
	}
	l.Cancel(&tm)
	l.Cancel(&tm)
	s.Advance(10 * time.Millisecond)
	if n != 10 || tm.Armed() {
		t.Fatalf("fired %d times after Cancel, want 10", n)
	}
}

func TestTimerPanicIsSurvived(t *testing.T) {
	s := newSim(&hooks{}, Options{})
	l := s.e.loops[0]
	var a, b Timer
	ran := false
	l.Schedule(&a, time.Millisecond, func() { panic("boom") })
	l.Schedule(&b, time.Millisecond, func() { ran = true })
	s.Advance(time.Millisecond)
	if !ran || s.e.Stats().Panics != 1 {
		t.Fatalf("ran %v, %d panics, want true and 1", ran, s.e.Stats().Panics)
	}
}

func TestTimersOfRealLoops(t *testing.T) {
	e, _ := start(t, &hooks{}, Options{Loops: 1}, "127.0.0.1:0")
	l := e.Loops()[0]
	begun := time.Now()
	fired := make(chan int64, 3)
	var timers [3]Timer
	l.Ask(func() {
		for i, d := range []time.Duration{30, 10, 20} {
			l.Schedule(&timers[i], d*time.Millisecond, func() {
				if since := time.Since(begun); since < d*time.Millisecond {
					t.Errorf("a timer of %d ms fired after %v", d, since)
				}
				fired <- int64(d)
			})
		}
	})
	for _, want := range []int64{10, 20, 30} {
		select {
		case got := <-fired:
			if got != want {
				t.Fatalf("the timer of %d ms fired, want that of %d", got, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("the timer of %d ms did not fire", want)
		}
	}
}

func TestSchedulingAllocatesNothing(t *testing.T) {
	s := newSim(&hooks{}, Options{})
	l := s.e.loops[0]
	timers := make([]Timer, 1000)
	f := func() {}
	n := testing.AllocsPerRun(10, func() {
		for i := range timers {
			l.Schedule(&timers[i], time.Duration(i)*time.Microsecond*997, f)
		}
		for i := range timers {
			l.Cancel(&timers[i])
		}
	})
	if n != 0 {
		t.Fatalf("arming and cancelling allocates %v times, want 0", n)
	}
}
