package siotest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/internal/quiet"
)

// A TB is what a Server needs of a *testing.T, or of anything like it.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// A Server is a sio.Server without a network: namespaces and handlers are
// registered on it as on any other, and clients come by Connect.
//
// Its methods, and those of clients, may be called from any goroutine but those of
// handlers; one at a time has its way.
type Server struct {
	*sio.Server

	// Patience is how long, in real time, anything is waited for that does not
	// happen by itself: handlers that wait in something else than calls of package
	// sio, and what Await and Until wait for. It may be changed before the first
	// client comes. New sets 10 s.
	Patience time.Duration

	t     TB
	path  string
	sim   *loop.Sim
	watch *quiet.Watch

	// Guarded by mu, which the goroutine holds that drives the server.
	mu    sync.Mutex
	conns []*Conn
	loops int // of the connections so far
	names int // of the clients so far
	left  map[string]sio.Reason

	// Guarded by told.
	told   sync.Mutex
	emits  []*quiet.Emit
	errors []HandlerError
}

// A HandlerError is what a handler returned, or a *sio.PanicError of one that
// panicked.
type HandlerError struct {
	Socket sio.Socket
	Event  string // "connect" of middlewares and connect handlers, "disconnect"
	Err    error
}

// Error names the event.
func (e HandlerError) Error() string { return fmt.Sprintf("handler of %q: %v", e.Event, e.Err) }

// Unwrap returns Err.
func (e HandlerError) Unwrap() error { return e.Err }

// New returns a Server with these options, which ends with the test: at its end
// clients are disconnected, and the test fails if a handler does not return, or has
// returned an error that ExpectError has not taken. Without t, nil, failures panic,
// and Close is to be called.
//
// Of the options, Loop.Loops is 1 if it is not set, OnError is the Server's unless
// it is set, and a nil Logger discards. Options.Adapter fails: a cluster is more
// than one server.
func New(t TB, o sio.Options) *Server {
	if t == nil {
		t = panics{}
	}
	t.Helper()
	s := &Server{Patience: 10 * time.Second, t: t, left: map[string]sio.Reason{}}
	if o.Loop.Loops == 0 {
		o.Loop.Loops = 1
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.OnError == nil {
		o.OnError = s.failed
	}
	s.watch = quiet.New()
	s.watch.Now = func() time.Duration { return s.sim.Now() }
	s.watch.Drive = func() { _ = s.drive() }
	s.watch.Emitted = s.emitted
	s.watch.Left = func(id, reason string) { s.left[id] = sio.Reason(reason) }
	var err error
	if s.Server, s.sim, err = sio.NewWatched(o, s.watch); err != nil {
		s.fatal("%v", err)
	}
	s.path = "/" + strings.Trim(s.watch.Path, "/") + "/"
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("siotest: %v", err)
		}
	})
	return s
}

// fatal ends the test.
func (s *Server) fatal(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("siotest: "+format, args...)
}

// panics is the TB where there is none.
type panics struct{}

func (panics) Helper()                           {}
func (panics) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (panics) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (panics) Cleanup(func())                    {}

// Close disconnects all clients as Shutdown does, and waits for the handlers. The
// error is that of handlers that do not return, or what they returned that
// ExpectError has not taken. New has a test do so at its end.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	defer cancel()
	s.watch.Recall()
	err := s.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.Join(err, s.drive()) // which says why
	}
	s.told.Lock()
	defer s.told.Unlock()
	for _, e := range s.errors {
		err = errors.Join(err, e)
	}
	s.errors = nil
	return err
}

// Shutdown shuts the server down: see [sio.Server.Shutdown].
func (s *Server) Shutdown(ctx context.Context) error {
	done := make(chan error, 1)
	// ends with Shutdown
	go func() { done <- s.Server.Shutdown(ctx) }()
	for {
		if err := s.drive(); err != nil {
			return err
		}
		select {
		case err := <-done:
			return errors.Join(err, s.drive())
		case <-s.watch.Changed():
		case <-time.After(lookEvery):
		}
	}
}

// lookEvery is how often what is waited for in real time is looked for.
const lookEvery = 2 * time.Millisecond

// drive runs the server until it is quiet.
func (s *Server) drive() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settle()
}

// settle is drive with mu held.
func (s *Server) settle() error { return s.watch.Settle(s.turn, s.Patience) }

// turn runs the loops, and has clients take what they are sent, until there is
// nothing left to do.
func (s *Server) turn() { s.sim.Do(s.turnAll) }

// turnAll is turn with the Sim locked.
func (s *Server) turnAll() {
	for busy := true; busy; {
		s.sim.Turn()
		busy = false
		for _, c := range s.conns {
			busy = c.receive() || busy
		}
	}
}

// do calls f, which acts for a client, and runs the server until it is quiet.
func (s *Server) do(f func()) {
	s.t.Helper()
	s.doUntil(s.watch.Settle, f)
}

// doUntil is do with another end.
func (s *Server) doUntil(settle func(turn func(), limit time.Duration) error, f func()) {
	s.t.Helper()
	s.mu.Lock()
	s.sim.Do(f)
	err := settle(s.turn, s.Patience)
	s.mu.Unlock()
	if err != nil {
		s.fatal("%v", err)
	}
}

// Settle runs the server until it is quiet: its loops have nothing to do, and each
// handler has ended or waits for what only the test can give. Every method of a
// client does so. A test needs it before it looks at what handlers have done because
// of what the test did by itself, such as to emit.
func (s *Server) Settle() {
	s.t.Helper()
	s.do(func() {})
}

// Until runs the server until ok, which is asked again and again as long as it is
// not, in real time up to Patience, for what goroutines do that no handler waits
// for. What is said in a failure.
func (s *Server) Until(what string, ok func() bool) {
	s.t.Helper()
	if !s.await(ok) {
		s.fatal("waiting for %s: it did not happen in %v", what, s.Patience)
	}
}

// await is Until; it is false if that is over.
func (s *Server) await(ok func() bool) bool {
	s.t.Helper()
	for end := time.Now().Add(s.Patience); ; {
		s.Settle()
		switch {
		case ok():
			return true
		case time.Now().After(end):
			return false
		}
		select {
		case <-s.watch.Changed():
		case <-time.After(lookEvery):
		}
	}
}

// Advance moves the server's clock, and with it that of the clients: heartbeats go
// on, and what is due by then happens, in order and at once. The clock of the
// machine has no part in it: deadlines of a context that a handler gives to EmitAck,
// Ask and the like are met by this clock too, but time.Sleep and timers of the
// program are not (see package testing/synctest for those).
func (s *Server) Advance(d time.Duration) {
	s.t.Helper()
	s.mu.Lock()
	err := s.settle()
	for err == nil && d > 0 {
		s.sim.Do(func() {
			for ok := true; ok && d > 0; ok = s.watch.Idle() {
				d -= s.sim.Step(min(d, s.step()))
				s.turnAll()
			}
		})
		err = s.settle()
	}
	s.mu.Unlock()
	if err != nil {
		s.fatal("%v", err)
	}
}

// step is how far the clock may be moved before anybody but the loops has something
// to do.
func (s *Server) step() time.Duration {
	step := time.Duration(1 << 62)
	if at, ok := s.watch.Deadline(); ok {
		step = max(at-s.sim.Now(), time.Millisecond)
	}
	for _, c := range s.conns {
		step = min(step, c.untilPing())
	}
	return step
}

// failed is Options.OnError.
func (s *Server) failed(socket sio.Socket, event string, err error) {
	if errors.Is(err, sio.ErrClosed) {
		return // its client has gone, and sio does not log it either
	}
	s.told.Lock()
	defer s.told.Unlock()
	s.errors = append(s.errors, HandlerError{socket, event, err})
}

// ExpectError returns the first error that a handler of this event has returned and
// that was not taken yet; there must be one.
func (s *Server) ExpectError(event string) error {
	s.t.Helper()
	s.Settle()
	s.told.Lock()
	var others []string
	for i, e := range s.errors {
		if e.Event == event {
			s.errors = append(s.errors[:i:i], s.errors[i+1:]...)
			s.told.Unlock()
			return e.Err
		}
		others = append(others, e.Error())
	}
	s.told.Unlock()
	s.fatal("no handler of %q has returned an error%s", event, list(", but ", others))
	return nil
}

// list is a list for a failure, "" without anything in it.
func list(before string, all []string) string {
	if len(all) == 0 {
		return ""
	}
	return before + strings.Join(all, ", ")
}
