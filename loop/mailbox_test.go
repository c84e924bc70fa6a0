package loop

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestOrderOfTasksAndMail has eight goroutines post tasks, quiet tasks and mail
// of all sizes, and checks that each goroutine's come in its order and whole.
func TestOrderOfTasksAndMail(t *testing.T) {
	const each = 3000
	var next [8]uint32
	var bad, seen int
	see := func(from, n uint32) {
		if seen++; n != next[from] {
			bad++
		}
		next[from] = n + 1
	}
	e, _ := start(t, &hooks{}, Options{Loops: 1}, "127.0.0.1:0")
	l := e.Loops()[0]
	l.Ask(func() {
		l.OnMail(func(to uint64, kind uint32, p []byte) {
			see(uint32(to), kind)
			if want := bytes.Repeat([]byte{byte(kind)}, len(p)); !bytes.Equal(p, want) {
				bad++
			}
		})
	})
	var wg sync.WaitGroup
	for g := range uint32(8) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := range uint32(each) {
				switch n % 3 {
				case 0:
					l.Post(TaskFunc(func(*Loop) { see(g, n) }))
				case 1:
					if l.PostQuiet(TaskFunc(func(*Loop) { see(g, n) })) {
						l.Wake()
					}
				case 2:
					size := int(n) * 7 % 500
					if n%999 == 2 {
						size = mailInArena
					}
					b := bytes.Repeat([]byte{byte(n)}, size)
					l.Mail(uint64(g), n, b, b[:size/2])
				}
			}
		}()
	}
	wg.Wait()
	l.Ask(func() {
		if bad != 0 || seen != 8*each {
			t.Errorf("%d of %d messages seen, %d wrong, want all and 0", seen, 8*each, bad)
		}
	})
}

// TestNoWakeIsLost posts one task at a time and waits for it: a lost wake-up
// would wait for ever.
func TestNoWakeIsLost(t *testing.T) {
	e, a := start(t, &hooks{data: echo}, Options{Loops: 1}, "127.0.0.1:0")
	l := e.Loops()[0]
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(1)
	c := dial(t, a)
	go func() { // other events, so that steps of all kinds are hit
		defer wg.Done()
		b := make([]byte, 1)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = c.Write(b)
				_, _ = c.Read(b)
			}
		}
	}()
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			ran := make(chan struct{})
			task := TaskFunc(func(*Loop) { ran <- struct{}{} })
			for range n / 4 {
				go l.Post(task)
				select {
				case <-ran:
				case <-time.After(30 * time.Second):
					t.Error("a task was not run")
					return
				}
			}
		}()
	}
	wg.Add(1)
	go func() {
		defer wg.Done()
		for range 200 { // alarms ring into all that
			done := make(chan struct{})
			var tm Timer
			l.Post(TaskFunc(func(l *Loop) { l.Schedule(&tm, time.Millisecond, func() { close(done) }) }))
			select {
			case <-done:
			case <-time.After(30 * time.Second):
				t.Error("a timer did not fire")
				return
			}
		}
		close(stop)
	}()
	wg.Wait()
}

func TestAskFromWithinATaskRunsWhatWasPostedBefore(t *testing.T) {
	var j journal
	s := newSim(&hooks{}, Options{})
	l := s.e.loops[0]
	l.OnMail(func(to uint64, _ uint32, p []byte) {
		before := string(p)
		if to == 1 {
			l.Mail(2, 0, []byte("second"), nil)
			l.Ask(func() { j.add("asked") })
			l.Mail(3, 0, []byte("OVERWRITES"), nil)
			l.Ask(func() {})
		}
		j.add(before)
		if string(p) != before {
			t.Errorf("mail changed from %q to %q while it was looked at", before, p)
		}
	})
	l.Mail(1, 0, []byte("fir"), []byte("st"))
	s.Turn()
	if got, want := j.take(), []string{"second", "asked", "OVERWRITES", "first"}; !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
}

func TestAskWaitsAndSurvivesAPanic(t *testing.T) {
	e, _ := start(t, &hooks{}, Options{Loops: 2}, "127.0.0.1:0")
	for _, l := range e.Loops() {
		ran := false
		if !l.Ask(func() {
			ran = l.OnLoop()
			l.Ask(func() { ran = ran && true })
		}) || !ran {
			t.Errorf("Ask on loop %d did not run on it", l.Index())
		}
		if l.OnLoop() {
			t.Errorf("OnLoop() = true on the test's goroutine")
		}
		l.Ask(func() { panic("boom") })
	}
	eventually(t, "two panics are counted", func() bool { return e.Stats().Panics == 2 })
}

func TestNothingCanBePostedAfterTheEnd(t *testing.T) {
	e, err := New(&hooks{}, Options{Loops: 1, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	l := e.Loops()[0]
	ran := false
	l.Post(TaskFunc(func(*Loop) { ran = true }))
	if err := e.Shutdown(context.Background()); err != nil || !ran {
		t.Fatalf("Shutdown() = %v, ran %v, want what was posted before to be run", err, ran)
	}
	f := TaskFunc(func(*Loop) { t.Error("ran after the end") })
	if l.Post(f) || l.PostQuiet(f) || l.Mail(0, 0, []byte("x"), nil) || l.Mail(0, 0, make([]byte, mailInArena+1), nil) || l.Ask(func() {}) {
		t.Error("something was posted to a loop that has ended")
	}
	l.Wake()
	if err := e.Run(context.Background()); err != ErrClosed {
		t.Errorf("Run() = %v after Shutdown, want ErrClosed", err)
	}
}

// TestTasksThatPostThemselvesDoNotStarveReads and the next test have work that
// never ends, and clients that are served meanwhile.
func TestTasksThatPostThemselvesDoNotStarveReads(t *testing.T) {
	e, a := start(t, &hooks{data: echo}, Options{Loops: 1}, "127.0.0.1:0")
	var stop atomic.Bool
	var task TaskFunc
	task = func(l *Loop) {
		if !stop.Load() {
			l.Post(task)
		}
	}
	e.Loops()[0].Post(task)
	pingPong(t, a)
	stop.Store(true)
}

func TestLongWorkDoesNotStarveReads(t *testing.T) {
	e, a := start(t, &hooks{data: echo}, Options{Loops: 1}, "127.0.0.1:0")
	l := e.Loops()[0]
	var stop atomic.Bool
	var slices atomic.Int64
	l.Ask(func() {
		l.OnWork(func() bool {
			slices.Add(1)
			return !stop.Load()
		})
		l.NeedWork()
	})
	pingPong(t, a)
	stop.Store(true)
	if slices.Load() < 10 {
		t.Errorf("%d slices of work beside 100 echoes, want more", slices.Load())
	}
	l.Ask(func() {})
	n := slices.Load()
	l.Ask(func() {})
	if slices.Load() > n+1 {
		t.Errorf("work went on after it had said that there is no more")
	}
}

func pingPong(t *testing.T, a interface {
	Network() string
	String() string
}) {
	t.Helper()
	c := dial(t, a)
	for i := range uint32(100) {
		b := binary.BigEndian.AppendUint32(nil, i)
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if got := readN(t, c, 4); !bytes.Equal(got, b) {
			t.Fatalf("echo %d = %x, want %x", i, got, b)
		}
	}
}

func TestOrderOfAStepsEnd(t *testing.T) {
	var j journal
	var l *Loop
	s := newSim(&hooks{
		data: func(c Conn, b []byte) int {
			l.Post(TaskFunc(func(*Loop) { j.add("task"); c.Write([]byte("task ")) }))
			j.add("data")
			c.Close()
			return len(b)
		},
		close: func(Conn, error) { j.add("close") },
	}, Options{})
	l = s.e.loops[0]
	l.OnTurn(func() { j.add("turn") })
	p := s.Connect(0)
	j.take()
	p.Send([]byte("x"))
	got := j.take()
	if want := []string{"data", "task", "turn", "close"}; !slices.Equal(got[:4], want) {
		t.Fatalf("%q, want %q first", got, want)
	}
}

func TestOnTurnMayWrite(t *testing.T) {
	var conn Conn
	s := newSim(&hooks{open: func(c Conn) { conn = c }}, Options{})
	l := s.e.loops[0]
	n := 0
	l.OnTurn(func() {
		if n > 0 {
			conn.Write(fmt.Append(nil, n))
			n--
		}
	})
	p := s.Connect(0)
	n = 1
	p.Send([]byte("x"))
	if got := string(p.Received()); got != "1" {
		t.Fatalf("Received() = %q, want 1", got)
	}
}

func BenchmarkPost(b *testing.B) {
	e, err := New(&hooks{}, Options{Loops: 1, Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := e.Listen("127.0.0.1:0"); err != nil {
		b.Fatal(err)
	}
	go func() { _ = e.Run(context.Background()) }()
	l := e.Loops()[0]
	task := TaskFunc(func(*Loop) {})
	b.ReportAllocs()
	for b.Loop() {
		l.Post(task)
	}
	l.Ask(func() {})
	_ = e.Shutdown(context.Background())
}

// Loops that ask each other, from their handlers, all get their answers: each runs
// what the others ask of it while it waits, in order, also when they ask within
// that.
func TestLoopsMayAskEachOther(t *testing.T) {
	const n, rounds = 4, 50
	e, _ := start(t, &hooks{}, Options{Loops: n}, "127.0.0.1:0")
	var gate, finished sync.WaitGroup
	gate.Add(n)
	finished.Add(n)
	answers := make([]int, n)
	orders := make([][]int, n)
	for i, l := range e.Loops() {
		l.Post(TaskFunc(func(l *Loop) {
			defer finished.Done()
			gate.Done()
			gate.Wait() // all loops are within a task now
			for k := range rounds {
				next := e.Loops()[(i+1)%n]
				next.Post(TaskFunc(func(*Loop) { orders[(i+1)%n] = append(orders[(i+1)%n], k) }))
				next.Ask(func() {
					answers[i]++
					if orders[(i+1)%n][len(orders[(i+1)%n])-1] != k {
						t.Errorf("asked before what had been posted")
					}
					e.Loops()[(i+2)%n].Ask(func() { answers[i]++ })
				})
			}
		}))
	}
	done := make(chan struct{})
	// ends when all loops have their answers
	go func() { finished.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the loops wait for each other")
	}
	for i, got := range answers {
		if got != 2*rounds {
			t.Errorf("loop %d got %d answers, want %d", i, got, 2*rounds)
		}
	}
}

// A task that holds the mailbox keeps its place in the order, and sockets are
// served between its slices; Ask on the loop runs it to its end.
func TestHold(t *testing.T) {
	var j journal
	h := &hooks{data: func(c Conn, b []byte) int { j.add(string(b)); return len(b) }}
	s := newSim(h, Options{})
	l := s.e.loops[0]
	p := s.Connect(0)
	slices3 := func(name string) Task {
		n := 0
		var task TaskFunc
		task = func(l *Loop) {
			if n++; n < 3 {
				l.Hold(task)
				if name == "a" {
					p.Send([]byte(fmt.Sprint("read ", n)))
				}
			}
			j.add(fmt.Sprint(name, n))
		}
		return task
	}
	l.Post(slices3("a"))
	l.Post(TaskFunc(func(*Loop) { j.add("behind") }))
	l.Mail(1, 0, []byte("x"), nil)
	l.OnMail(func(uint64, uint32, []byte) { j.add("mail") })
	s.Turn()
	if got, want := j.take(), []string{"a1", "read 1", "a2", "read 2", "a3", "behind", "mail"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	l.Post(slices3("b"))
	l.Post(slices3("c"))
	l.Ask(func() { j.add("asked") })
	if got, want := j.take(), []string{"b1", "b2", "b3", "c1", "c2", "c3", "asked"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Nothing is lost around a task that holds the mailbox, on real loops.
func TestHoldLosesNothing(t *testing.T) {
	e, _ := start(t, &hooks{}, Options{Loops: 2}, "127.0.0.1:0")
	const n = 200
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			l, last := e.Loops()[g%2], -1
			for i := range n {
				left := 5
				var task TaskFunc
				task = func(l *Loop) {
					if left--; left > 0 {
						l.Hold(task)
						return
					}
					if last != i-1 {
						t.Errorf("task %d ran behind %d", i, last)
					}
					last = i
				}
				l.Post(task)
			}
			got := -1
			l.Ask(func() { got = last })
			if got != n-1 {
				t.Errorf("asked behind %d tasks, %d were done", n, got+1)
			}
		})
	}
	wg.Wait()
}
