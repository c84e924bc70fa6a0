package sio

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/loop/notice"
)

// What clients send makes handlers fail, at the rate at which they send it. So
// failures are counted, and logged by cause, one line in a while: who writes the
// log is not who sends the most.

// failures counts those of handlers. Any goroutine may use it.
type failures struct {
	errors, panics atomic.Int64
	second, stacks atomic.Int64 // of the last stack that was taken, and how many in that second
}

const (
	maxStacks   = 10      // taken in a second: each costs more than most handlers
	loggedStack = 8 << 10 // bytes
)

// errExit is reported for a handler that ended its goroutine.
var errExit = errors.New("sio: the handler called runtime.Goexit")

// call runs f for s and reports its error or panic, or that it has ended its
// goroutine: then call does not return, but deferred functions run.
func (srv *Server) call(s Socket, event string, f func() error) error {
	returned := false
	defer func() {
		if !returned {
			srv.fail(s, event, errExit)
		}
	}()
	err := srv.guard(f)
	returned = true
	if err != nil {
		srv.fail(s, event, err)
	}
	return err
}

// guard runs f; a panic is an error.
func (srv *Server) guard(f func() error) (err error) {
	defer srv.recovered(&err)
	return f()
}

// recovered, deferred, makes a panic an error.
func (srv *Server) recovered(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{v, srv.failures.stack()}
	}
}

// stack returns the stack of the goroutine, or nil if so many have been taken in
// this second that more would be a load.
func (f *failures) stack() []byte {
	if now := time.Now().Unix(); f.second.Swap(now) != now {
		f.stacks.Store(0)
	}
	if f.stacks.Add(1) > maxStacks {
		return nil
	}
	return debug.Stack()
}

// fail reports an error of a handler.
func (srv *Server) fail(s Socket, event string, err error) {
	var panicked *PanicError
	isPanic, gone := errors.As(err, &panicked), errors.Is(err, ErrClosed)
	switch {
	case isPanic:
		srv.failures.panics.Add(1)
	case !gone:
		srv.failures.errors.Add(1)
	}
	if srv.o.OnError != nil {
		srv.report(s, event, err)
		return
	}
	var decode *DecodeError
	who := []any{"namespace", s.in.name, "event", event, "socket", later(s.ID)}
	switch {
	case isPanic:
		why := later(func() string { return fmt.Sprint(panicked.Value) })
		srv.notice.Warn("a handler panicked", append(who, "value", why, "stack", stackValue(panicked.Stack))...)
	case gone: // its client is what has gone
	case errors.Is(err, ErrTooManyRooms):
		srv.notice.Warn("a room was not joined: the socket is in as many as it may be", append(who, "flag", "--max-rooms")...)
	case errors.As(err, &decode):
		srv.notice.Warn("a client sent what its handler cannot decode", append(who, "error", err)...)
	default:
		srv.notice.Warn("a handler returned an error", append(who, "error", err)...)
	}
}

// report has Options.OnError called, which may panic.
func (srv *Server) report(s Socket, event string, err error) {
	defer func() {
		if v := recover(); v != nil {
			why := later(func() string { return fmt.Sprint(v) })
			srv.notice.Warn("Options.OnError panicked", "value", why, "stack", stackValue(srv.failures.stack()))
		}
	}()
	srv.o.OnError(s, event, err)
}

// later is a text that is made when it is written.
type later func() string

// LogValue makes the text.
func (f later) LogValue() slog.Value { return slog.StringValue(notice.Cut(f())) }

// stackValue is a stack as an argument of a line, which would be cut too short as
// a text.
func stackValue(stack []byte) slog.Value {
	return slog.StringValue(string(stack[:min(len(stack), loggedStack)]))
}
