package loop

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// idle runs an engine without listeners.
func idleEngine(t *testing.T, loops int) *Engine {
	t.Helper()
	e, err := New(&hooks{}, Options{Loops: loops, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	run(t, e)
	return e
}

// frozen freezes an engine, and thaws it when the test ends.
func frozen(t *testing.T, e *Engine) *Frozen {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	f, err := e.Freeze(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Thaw)
	return f
}

// What was posted before, and what follows from it on any loop, is done; what is posted
// afterwards is done behind Thaw, mail and tasks in their order.
func TestFrozenLoopsDoWhatWasPostedBeforeAndNothingElse(t *testing.T) {
	e := idleEngine(t, 3)
	const hops = 40
	var done int // by the loops in turn
	var hop func(l *Loop)
	hop = func(l *Loop) {
		if done++; done%hops != 0 {
			e.loops[done%3].Post(TaskFunc(hop))
		}
	}
	var order []string
	e.loops[0].Ask(func() {
		e.loops[0].OnMail(func(to uint64, _ uint32, p []byte) { order = append(order, fmt.Sprint(to, string(p))) })
	})
	for round := 1; round <= 50; round++ {
		e.loops[done%3].Post(TaskFunc(hop))
		f := frozen(t, e)
		if done != hops*round {
			t.Fatalf("round %d: %d steps are done, want %d", round, done, hops*round)
		}
		order = nil
		e.loops[0].Mail(1, 0, []byte("mail"), nil)
		e.loops[0].Post(TaskFunc(func(*Loop) { order = append(order, "task") }))
		e.loops[0].Mail(2, 0, []byte("mail"), nil)
		f.Each(func(l *Loop) {
			asked := false
			l.Ask(func() { asked = true }) // of itself
			l.RunPosted()
			if !asked {
				t.Error("a loop has not asked itself")
			}
		})
		if len(order) != 0 {
			t.Fatalf("%v was done while the loops were frozen", order)
		}
		f.Thaw()
		f.Thaw() // does nothing
		e.loops[0].Ask(func() {})
		if got := fmt.Sprint(order); got != "[1mail task 2mail]" {
			t.Fatalf("behind Thaw came %s", got)
		}
	}
}

// Each runs on all loops' goroutines at once.
func TestEachIsOnAllLoopsAtOnce(t *testing.T) {
	e := idleEngine(t, 4)
	f := frozen(t, e)
	for range 3 {
		var here sync.WaitGroup
		here.Add(4)
		var on [4]atomic.Bool
		f.Each(func(l *Loop) {
			here.Done()
			here.Wait() // for the others
			on[l.Index()].Store(e.current() == l)
			l.Check()
		})
		for i := range on {
			if !on[i].Load() {
				t.Errorf("loop %d was not asked on its goroutine", i)
			}
		}
	}
}

// A loop that waits for another one within a handler has its answer, though that stands
// still already.
func TestALoopThatAsksIsAnsweredBeforeAllAreFrozen(t *testing.T) {
	e := idleEngine(t, 2)
	a, b := e.loops[0], e.loops[1]
	began, answered := make(chan struct{}), false
	a.Post(TaskFunc(func(*Loop) {
		close(began)
		for b.standing() == nil { // until it stands still
			runtime.Gosched()
		}
		for range 3 {
			b.Ask(func() { answered = true })
		}
	}))
	<-began
	frozen(t, e)
	if !answered {
		t.Error("a loop was frozen that had asked, and was not answered")
	}
}

// standing returns what the loop stands still for, from any goroutine.
func (l *Loop) standing() *Frozen {
	if l.asking.Load() {
		return l.freezing // it was set before
	}
	return nil
}

// Work in slices that was begun is done.
func TestSlicesAreDoneBeforeLoopsAreFrozen(t *testing.T) {
	e := idleEngine(t, 2)
	l := e.loops[0]
	held, worked := 0, 0
	l.Ask(func() {
		l.OnWork(func() bool { worked++; return worked < 50 })
	})
	var slice TaskFunc
	slice = func(l *Loop) {
		if held++; held < 50 {
			l.Hold(slice)
		} else {
			l.NeedWork()
		}
	}
	l.Post(slice)
	frozen(t, e)
	if held != 50 || worked != 50 {
		t.Errorf("%d and %d slices are done, want 50 and 50", held, worked)
	}
}

// Those who post all the time do not keep the loops from it.
func TestWhoPostsAllTheTimeDoesNotKeepLoopsFromBeingFrozen(t *testing.T) {
	e := idleEngine(t, 2)
	var n [2]atomic.Int64
	for _, l := range e.loops {
		var again TaskFunc
		again = func(*Loop) { n[l.index].Add(1); l.Post(again) }
		l.Post(again)
		var work TaskFunc
		work = func(*Loop) { l.Hold(TaskFunc(func(*Loop) { n[l.index].Add(1); l.Post(work) })) }
		l.Post(work)
	}
	for range 3 {
		f := frozen(t, e)
		before := n[0].Load() + n[1].Load()
		f.Each(func(*Loop) {})
		if after := n[0].Load() + n[1].Load(); after != before {
			t.Errorf("%d tasks were run while the loops were frozen", after-before)
		}
		f.Thaw()
		eventually(t, "they go on", func() bool { return n[0].Load()+n[1].Load() > before+100 })
	}
}

func TestALoopThatDoesNotComeIsNotWaitedForForEver(t *testing.T) {
	e := idleEngine(t, 2)
	stuck, let := make(chan struct{}), make(chan struct{})
	e.loops[0].Post(TaskFunc(func(*Loop) { close(stuck); <-let }))
	<-stuck
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if f, err := e.Freeze(ctx); f != nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Freeze() = %v, %v, want that its context is done", f, err)
	}
	e.loops[1].Ask(func() {}) // it goes on
	close(let)
	e.loops[0].Ask(func() {})
	frozen(t, e).Each(func(*Loop) {})
}

func TestOneFreezesAtATime(t *testing.T) {
	e := idleEngine(t, 3)
	var frozenNow, most atomic.Int32
	var left sync.WaitGroup
	for range 8 {
		left.Go(func() {
			f, err := e.Freeze(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			most.Store(max(most.Load(), frozenNow.Add(1)))
			f.Each(func(*Loop) {})
			frozenNow.Add(-1)
			f.Thaw()
		})
	}
	left.Wait()
	if most.Load() != 1 {
		t.Errorf("%d had the engine frozen at once", most.Load())
	}
	f := frozen(t, e)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Freeze(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a second Freeze: %v, want context.Canceled", err)
	}
	f.Thaw()
}

func TestOnlyAnEngineThatRunsIsFrozen(t *testing.T) {
	made := func() *Engine {
		e, err := New(&hooks{}, Options{Loops: 2, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := made()
	early, over := context.WithCancel(t.Context())
	over()
	if _, err := e.Freeze(early); !errors.Is(err, context.Canceled) {
		t.Errorf("before Run: %v, want ctx's error", err)
	}
	waited := make(chan error, 2)
	go func() { _, err := e.Freeze(context.Background()); waited <- err }()
	_ = e.Shutdown(t.Context())
	if err := <-waited; !errors.Is(err, ErrClosed) {
		t.Errorf("of one that is never run: %v, want ErrClosed", err)
	}
	if _, err := e.Freeze(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("behind Shutdown: %v, want ErrClosed", err)
	}
	e = made()
	go func() {
		f, err := e.Freeze(context.Background())
		if err == nil {
			f.Thaw()
		}
		waited <- err
	}()
	go func() { waited <- e.Run(t.Context()) }()
	if err := <-waited; err != nil {
		t.Errorf("one that waits for Run: %v", err)
	}
	_ = e.Shutdown(context.Background())
	if err := <-waited; err != nil {
		t.Errorf("Run() = %v", err)
	}
	e = idleEngine(t, 2)
	e.loops[0].Ask(func() {
		if _, err := e.Freeze(t.Context()); err == nil {
			t.Error("a loop has frozen its engine")
		}
	})
}

// An engine that ends while one of its loops does not come has the others end.
func TestAnEngineThatEndsIsNotFrozen(t *testing.T) {
	e, err := New(&hooks{}, Options{Loops: 3, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- e.Run(ctx) }()
	e.loops[0].Ask(func() {})
	stuck, let := make(chan struct{}), make(chan struct{})
	e.loops[0].Post(TaskFunc(func(*Loop) { close(stuck); <-let }))
	<-stuck
	frozen := make(chan error, 1)
	go func() { _, err := e.Freeze(context.Background()); frozen <- err }()
	eventually(t, "the others stand still", func() bool { return e.loops[1].standing() != nil && e.loops[2].standing() != nil })
	end()
	if err := <-frozen; !errors.Is(err, ErrClosed) {
		t.Errorf("Freeze() = %v, want ErrClosed", err)
	}
	close(let)
	if err := <-ran; err != nil {
		t.Errorf("Run() = %v", err)
	}
}

// An engine that is to end while it is frozen ends behind Thaw.
func TestAFrozenEngineEndsBehindThaw(t *testing.T) {
	e, err := New(&hooks{}, Options{Loops: 2, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- e.Run(ctx) }()
	e.loops[0].Ask(func() {})
	f := frozen(t, e)
	end()
	f.Each(func(*Loop) {})
	f.Thaw()
	if err := <-ran; err != nil {
		t.Errorf("Run() = %v", err)
	}
}

// A panic is the caller's, and the loops go on.
func TestAPanicInEachIsTheCallers(t *testing.T) {
	e := idleEngine(t, 3)
	f := frozen(t, e)
	var called atomic.Int32
	func() {
		defer func() {
			if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "on purpose") {
				t.Errorf("Each panicked with %v, want what was on purpose", v)
			}
		}()
		f.Each(func(l *Loop) {
			called.Add(1)
			if l.Index() == 1 {
				panic("on purpose")
			}
		})
	}()
	if called.Load() != 3 {
		t.Errorf("%d loops were asked, want 3", called.Load())
	}
	for _, l := range e.loops {
		l.Ask(func() {})
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("Each of an engine that is not frozen has returned")
			}
		}()
		f.Each(func(*Loop) {})
	}()
	frozen(t, e).Each(func(*Loop) {})
}

// One who ends a loop's goroutine ends the engine, and nobody waits for it.
func TestExitInEachEndsTheEngine(t *testing.T) {
	e, err := New(&hooks{}, Options{Loops: 2, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- e.Run(context.Background()) }()
	e.loops[0].Ask(func() {})
	f := frozen(t, e)
	func() {
		defer func() {
			if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "Goexit") {
				t.Errorf("Each panicked with %v, want that a loop has ended", v)
			}
		}()
		f.Each(func(l *Loop) {
			if l.Index() == 0 {
				runtime.Goexit()
			}
		})
	}()
	if err := <-ran; !errors.Is(err, ErrExited) {
		t.Errorf("Run() = %v, want ErrExited", err)
	}
	if _, err := e.Freeze(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Freeze() = %v, want ErrClosed", err)
	}
}
