package loop

import (
	"net"
	"testing"
	"time"
)

// held keeps a loop from its work for d, and calls f meanwhile.
func held(l *Loop, d time.Duration, f func()) {
	l.Ask(func() {
		f()
		time.Sleep(d)
	})
}

// What came in time is read before a timer that is due says that it did not.
func TestBytesComeBeforeTheClock(t *testing.T) {
	order := make(chan string, 10)
	opened := make(chan Conn, 1)
	e, a := start(t, &hooks{
		open: func(c Conn) { opened <- c },
		data: func(_ Conn, b []byte) int { order <- string(b); return len(b) },
	}, Options{Loops: 1}, "127.0.0.1:0")
	conns := []net.Conn{dial(t, a), dial(t, a), dial(t, a)}
	for range conns {
		<-opened
	}
	l := e.Loops()[0]
	var tm Timer
	held(l, 100*time.Millisecond, func() {
		l.Schedule(&tm, 20*time.Millisecond, func() { order <- "late" })
		for _, c := range conns {
			_, _ = c.Write([]byte("in time"))
		}
	})
	for i, want := range []string{"in time", "in time", "in time", "late"} {
		if got := <-order; got != want {
			t.Errorf("%q was number %d, want what was sent before the timer", got, i)
		}
	}
}

// A loop that was away for long gives everybody the time that it was away.
func TestTheClockStandsStillWhileTheLoopIsAway(t *testing.T) {
	fired := make(chan int64, 1)
	e, _ := start(t, &hooks{}, Options{Loops: 1}, "127.0.0.1:0")
	l := e.Loops()[0]
	var tm Timer
	var before, after, at int64
	began := time.Now()
	held(l, 1700*time.Millisecond, func() {
		before = l.Now()
		l.Schedule(&tm, time.Second, func() { fired <- l.Now() })
	})
	var lag int64
	l.Ask(func() { after = l.Now() })
	was := time.Since(began).Milliseconds()
	for range 1000 { // it is known when the loop has asked the poller again
		if l.Ask(func() { lag = max(lag, l.Lag()) }); lag >= 1699 {
			break
		}
	}
	if most := time.Since(began).Milliseconds() + 1; lag < 1699 || lag > most {
		t.Errorf("the loop was late by %d ms, by its own count, want from 1699 to %d", lag, most)
	}
	if at = <-fired; at < before+1000 {
		t.Errorf("a timer of a second fired after %d ms of the loop's clock", at-before)
	}
	if after-before > was/2 || e.Stats().Away < was/2 {
		t.Errorf("the clock went on by %d ms while the loop was away for %d, of which it counts %d", after-before, was, e.Stats().Away)
	}
}

// Timers fire although there is always something to read.
func TestTimersFireUnderLoad(t *testing.T) {
	e, a := start(t, &hooks{data: echo}, Options{Loops: 1}, "127.0.0.1:0")
	c := dial(t, a)
	fired := make(chan struct{})
	l := e.Loops()[0]
	var tm Timer
	l.Ask(func() { l.Schedule(&tm, 10*time.Millisecond, func() { close(fired) }) })
	b := make([]byte, 1)
	for {
		_, _ = c.Write(b)
		if _, err := c.Read(b); err != nil {
			t.Fatal(err)
		}
		select {
		case <-fired:
			return
		default:
		}
	}
}

// A loop is as late as what came had to wait, for all that came together, and forgets it.
func TestLag(t *testing.T) {
	var s *Sim
	work := map[byte]time.Duration{'a': 10 * time.Millisecond, 'b': 300 * time.Millisecond, 'c': 0}
	s = NewSim(&hooks{data: func(_ Conn, b []byte) int {
		s.Work(work[b[0]])
		return len(b)
	}}, Options{Loops: 2})
	l, other := s.Engine().Loops()[0], s.Engine().Loops()[1]
	peers := []*Peer{s.Connect(0), s.Connect(0), s.Connect(0)}
	check := func(want int64) {
		t.Helper()
		if got := l.Lag(); got != want || other.Lag() != 0 && want == 0 {
			t.Errorf("Lag() = %d, and of another loop %d, want %d", got, other.Lag(), want)
		}
	}
	check(0)
	peers[0].Send([]byte("a"))
	check(10)
	s.Engine().Loops()[0].Post(TaskFunc(func(*Loop) { // all three in one round
		for _, p := range peers {
			p.Send([]byte("a"))
		}
	}))
	s.Turn()
	check(30)
	s.Advance(2 * lagWindow * time.Millisecond)
	check(0)
	for range 5 { // one after the other is no lag: nobody waited
		peers[1].Send([]byte("a"))
	}
	check(10)
	peers[2].Send([]byte("b"))
	peers[2].Send([]byte("c"))
	check(300)
	if got := s.Engine().Stats().Lag; got != 300 {
		t.Errorf("Stats().Lag = %d, want that of the loop that is the latest", got)
	}
	s.Advance(lagWindow * time.Millisecond)
	peers[2].Send([]byte("c"))
	check(300)
	s.Advance(lagWindow * time.Millisecond)
	peers[2].Send([]byte("c"))
	check(0)
}
