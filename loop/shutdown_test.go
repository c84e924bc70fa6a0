package loop

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"
)

// finisher is hooks whose connections say "finish" when they have an answer to
// give.
type finisher struct {
	hooks
	asked chan Conn
}

func (f *finisher) Finish(c Conn) bool {
	if c.Tag() == 0 {
		return false
	}
	f.asked <- c
	return true
}

// A graceful stop leaves those connections to the handler that are about to be
// answered, and closes all others.
func TestShutdownLetsAnswersFinish(t *testing.T) {
	f := &finisher{asked: make(chan Conn, 1)}
	opened := make(chan struct{}, 2)
	f.open = func(Conn) { opened <- struct{}{} }
	f.data = func(c Conn, b []byte) int { c.SetTag(1); opened <- struct{}{}; return len(b) }
	e, a := start(t, f, Options{Loops: 1}, "127.0.0.1:0")
	asks, idle := dial(t, a), dial(t, a)
	_, _ = asks.Write([]byte("x"))
	for range 3 {
		<-opened
	}
	done := make(chan error, 1)
	go func() { done <- e.Shutdown(context.Background()) }()
	c := <-f.asked
	if n, err := idle.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("an idle connection got %d bytes, %v, want the end", n, err)
	}
	e.Loops()[0].Post(TaskFunc(func(l *Loop) {
		if !l.Draining() || !c.Valid() {
			t.Errorf("draining %v, valid %v, want both", l.Draining(), c.Valid())
		}
		c.Write([]byte("the answer"))
		c.Close()
	}))
	if got := string(readN(t, asks, 10)); got != "the answer" {
		t.Errorf("received %q, want the answer", got)
	}
	_ = asks.Close()
	if err := <-done; err != nil {
		t.Errorf("Shutdown() = %v", err)
	}
}

// Neither call waits for longer than its context says, though a handler does not
// return.
func TestStoppingHonoursItsContext(t *testing.T) {
	e, _ := start(t, &hooks{}, Options{Loops: 2}, "127.0.0.1:0")
	release, blocked := make(chan struct{}), make(chan struct{})
	e.Loops()[1].Post(TaskFunc(func(*Loop) { close(blocked); <-release }))
	<-blocked
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := e.StopAccepting(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("StopAccepting() = %v while a loop is kept, want the context's error", err)
	}
	if err := e.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown() = %v while a loop is kept, want the context's error", err)
	}
	close(release)
}

// A loop that is told to end before it has begun ends.
func TestCutBeforeTheLoopRuns(t *testing.T) {
	e, err := New(&hooks{}, Options{Loops: 2, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range e.loops {
		l.running.Store(true) // as in its first step: nobody wakes it
	}
	e.cut()
	ran := make(chan error, 1)
	// ends with the engine
	go func() { ran <- e.Run(context.Background()) }()
	select {
	case err := <-ran:
		if err != nil {
			t.Errorf("Run() = %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the loops go on")
	}
}

// A shutdown closes connections in slices, between which sockets are served.
func TestShutdownClosesInSlices(t *testing.T) {
	closed, most := 0, 0
	s := newSim(&hooks{close: func(Conn, error) { closed++ }}, Options{})
	l := s.e.loops[0]
	l.OnTurn(func() { most, closed = max(most, closed), 0 })
	for range 10 * closeSlice {
		s.Connect(0)
	}
	_ = s.e.Shutdown(context.Background())
	if most == 0 || most > closeSlice {
		t.Errorf("%d connections were closed in one step, want at most %d", most, closeSlice)
	}
}
