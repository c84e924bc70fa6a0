package loop

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"
)

// Gathering reads what belongs to the loops, which only they write: the race
// detector watches.
func TestGatherComesToEveryLoopOnce(t *testing.T) {
	e, a := start(t, &hooks{data: echo}, Options{Loops: 3}, "127.0.0.1:0")
	roundTrip(t, dial(t, a))
	var seen []int
	var sum Stats
	if late := e.Gather(time.Minute, func(l *Loop) {
		seen = append(seen, l.Index())
		sum.Add(l.Stats())
	}); late != nil {
		t.Fatalf("Gather() = %v, want nobody late", late)
	}
	slices.Sort(seen)
	if !slices.Equal(seen, []int{0, 1, 2}) || sum.Open != 1 || sum.BytesIn != 1 {
		t.Errorf("collect was called on %v and says %+v, want each loop once, 1 open and 1 byte in", seen, sum)
	}
}

func TestGatherOfAnEngineThatDoesNotRun(t *testing.T) {
	e, err := New(&hooks{}, Options{Loops: 2, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	count := func() (n int) {
		if late := e.Gather(time.Minute, func(*Loop) { n++ }); late != nil {
			t.Errorf("Gather() = %v, want nobody late", late)
		}
		return n
	}
	if n := count(); n != 2 {
		t.Errorf("collect was called %d times before Run, want 2", n)
	}
	// A task that is run by Shutdown, on nobody's loop, may ask too.
	e.Loops()[0].Post(TaskFunc(func(*Loop) { e.Stats() }))
	_ = e.Shutdown(context.Background())
	if n := count(); n != 2 {
		t.Errorf("collect was called %d times after the end, want 2", n)
	}
	n := 0
	s := newSim(&hooks{}, Options{Loops: 2})
	s.Engine().Gather(0, func(*Loop) { n++ })
	if n != 2 {
		t.Errorf("collect was called %d times in a Sim, want 2", n)
	}
}

// A loop that does not come is late, with what it said before, and nothing is
// collected of it afterwards.
func TestALateLoopIsReportedWithItsLastValues(t *testing.T) {
	e, a := start(t, &hooks{data: echo}, Options{Loops: 2}, "127.0.0.1:0")
	for range 8 {
		roundTrip(t, dial(t, a))
	}
	before := e.Stats()
	stuck, goOn := make(chan struct{}), make(chan struct{})
	e.Loops()[1].Post(TaskFunc(func(*Loop) { close(stuck); <-goOn }))
	<-stuck
	n := 0
	if late := e.Gather(0, func(l *Loop) { n++ }); !slices.Contains(late, 1) {
		t.Errorf("Gather() = %v, want loop 1 among the late", late)
	}
	if after := e.Stats(); after.Accepted != before.Accepted || after.BytesIn != before.BytesIn {
		t.Errorf("Stats() = %+v, want %+v", after, before)
	}
	if late := e.Late(0); !slices.ContainsFunc(late, func(l LateLoop) bool { return l.Loop == 1 && l.For > 0 }) {
		t.Errorf("Late() = %v, want loop 1", late)
	}
	for range 3 * maxGathers { // does not pile up
		e.Gather(0, func(*Loop) {})
	}
	if n := len(e.Loops()[1].mailbox.gathers); n != maxGathers {
		t.Errorf("%d gatherings wait for a stuck loop, want %d", n, maxGathers)
	}
	called := n
	close(goOn)
	e.Gather(time.Minute, func(*Loop) {})
	if n != called {
		t.Errorf("collect was called %d times after Gather had returned", n-called)
	}
	if late := e.Late(0); len(late) != 0 {
		t.Errorf("Late() = %v afterwards, want nobody", late)
	}
}

// A task that holds the mailbox for long does not make its loop late.
func TestLongWorkDoesNotMakeALoopLate(t *testing.T) {
	e, _ := start(t, &hooks{}, Options{Loops: 1}, "127.0.0.1:0")
	l := e.Loops()[0]
	stop := false
	var work TaskFunc
	work = func(l *Loop) {
		if !stop {
			l.Hold(work)
		}
	}
	l.Post(work)
	if late := e.Gather(time.Minute, func(*Loop) { stop = true }); late != nil {
		t.Errorf("Gather() = %v, want nobody late", late)
	}
}

func TestLoopsMayGatherFromEachOther(t *testing.T) {
	e, _ := start(t, &hooks{}, Options{Loops: 2}, "127.0.0.1:0")
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Add(1)
		e.Loops()[i%2].Post(TaskFunc(func(*Loop) {
			defer wg.Done()
			n := 0
			if late := e.Gather(time.Minute, func(*Loop) { n++ }); late != nil || n != 2 {
				t.Errorf("Gather() = %v after %d loops, want none late and 2", late, n)
			}
		}))
		if i%10 == 0 {
			e.Stats()
		}
	}
	wg.Wait()
}

func TestAPanicOfCollectIsSurvived(t *testing.T) {
	e, _ := start(t, &hooks{}, Options{Loops: 2}, "127.0.0.1:0")
	if late := e.Gather(time.Minute, func(*Loop) { panic("collect") }); late != nil {
		t.Errorf("Gather() = %v, want nobody late", late)
	}
	if n := e.Stats().Panics; n != 2 {
		t.Errorf("%d panics are counted, want 2", n)
	}
}

func TestClosesAreCountedByTheirReason(t *testing.T) {
	s := newSim(&hooks{data: func(c Conn, b []byte) int {
		switch string(b) {
		case "close":
			c.Close()
		case "panic":
			panic(1)
		}
		return len(b)
	}}, Options{})
	s.Connect(0).Send([]byte("close"))
	s.Connect(0).Send([]byte("panic"))
	s.Connect(0).CloseWrite()
	s.Connect(0).Reset()
	st := s.Engine().Stats()
	if want := (Closes{Ended: 1, Handler: 1, Failed: 1, Panicked: 1}); st.Closes != want || st.Closed != 4 {
		t.Errorf("Stats() = %+v, want 4 closed and %+v", st, want)
	}
}

func TestBacklogsAreGauges(t *testing.T) {
	var conn Conn
	s := newSim(&hooks{open: func(c Conn) { conn = c }}, Options{})
	p := s.Connect(0)
	p.Stall(true)
	piece := make([]byte, 1000)
	for range 5 {
		conn.WriteShared(piece)
	}
	s.Turn()
	s.e.loops[0].Post(TaskFunc(func(*Loop) {}))
	if st := s.e.Stats(); st.Entries != 5 || st.Queued != 5000 || st.Mail != 1 || st.MailBytes != messageSize {
		t.Errorf("Stats() = %+v, want 5 pieces of 5000 bytes queued, and one message", st)
	}
	p.Take(2500)
	if st := s.e.Stats(); st.Entries != 3 || st.Queued != 2500 {
		t.Errorf("Stats() = %+v, want 3 pieces and 2500 bytes", st)
	}
	conn.Abort()
	s.Turn()
	if st := s.e.Stats(); st.Entries != 0 || st.Queued != 0 {
		t.Errorf("Stats() = %+v, want nothing queued", st)
	}
}
