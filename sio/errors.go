package sio

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop/notice"
	"github.com/sioedge/sioedge/rooms/value"
)

// ErrClosed is returned for a socket that is no longer connected, by every method
// that returns an error and reaches that socket alone: Emit, also Volatile's and
// Compress's, EmitAck, Ask, JoinWait, CloseConnWith, and Msg.Ack. None of them waits
// then. What addresses others, as Broadcast and To, still does. A handler may
// return it: it is not logged.
var ErrClosed = errors.New("sio: socket is closed")

// ErrServerClosed is returned by ListenAndServe after Shutdown, as net/http's.
var ErrServerClosed = errors.New("sio: server closed")

// ErrTooManyRooms is reported for a room that was not joined, and returned by
// JoinWait: Options.MaxRooms.
var ErrTooManyRooms = errors.New("sio: too many rooms")

// ErrRoomName is reported for a room that was not joined, and returned by JoinWait:
// its name is longer than 1 KiB.
var ErrRoomName = errors.New("sio: the name of a room is too long")

// ErrTooManyAcks is returned for an event that was not sent:
// Options.MaxPendingAcks.
var ErrTooManyAcks = errors.New("sio: too many acknowledgements are due")

// ErrOverloaded is returned for an event that was not sent: Options.MaxBroadcasts.
var ErrOverloaded = errors.New("sio: too much waits for the loops")

// ErrInline is returned by a method that would wait for a client or for another
// server, and was called by an inline handler: the loop may not wait.
var ErrInline = errors.New("sio: an inline handler may not wait")

var (
	errParser    = errors.New("sio: packet of another parser")
	errEventName = errors.New("sio: event with a name that is too long")
)

// An Error is for the client's eyes: a middleware that returns it refuses the
// connection with its message and data (the client's connect_error), and a
// handler of [OnAck] that returns it answers {"error": Message, "data": Data}.
// Any other error shows the client no more than "internal error".
type Error struct {
	Message string
	Data    any // encoded as JSON; left out when nil
}

// Error returns the Message.
func (e *Error) Error() string { return e.Message }

// A DecodeError says which argument of an event did not fit its type.
type DecodeError struct {
	Arg int // from 0
	Err error
}

// Error names the argument and the cause.
func (e *DecodeError) Error() string { return fmt.Sprintf("sio: argument %d: %v", e.Arg, e.Err) }

// Unwrap returns the cause.
func (e *DecodeError) Unwrap() error { return e.Err }

// A PanicError is a panic in a handler, which ended that call and nothing else.
type PanicError struct {
	Value any    // of the panic
	Stack []byte // of its goroutine, as debug.Stack returns it; nil if there were many panics within a second
}

// Error shows the value and the stack, on several lines.
func (e *PanicError) Error() string { return fmt.Sprintf("sio: panic: %v\n%s", e.Value, e.Stack) }

// A Reason says why a socket was disconnected, in Node's words.
type Reason = eio.Reason

// The reasons of Socket.IO; those of the transport are in package eio.
const (
	ClientDisconnect   Reason = "client namespace disconnect" // the client left the namespace
	ServerDisconnect   Reason = "server namespace disconnect" // Socket.Disconnect
	ServerShuttingDown Reason = "server shutting down"        // Server.Shutdown
)

// clientError is what a client may see of err.
func clientError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return internalError
}

// internalError is what a client sees of any other error. It is not changed.
var internalError = &Error{Message: "internal error"}

// An EncodeError says which argument could not be encoded.
type EncodeError struct {
	Arg int // from 0
	Err error
}

// Error names the argument and the cause.
func (e *EncodeError) Error() string { return fmt.Sprintf("sio: argument %d: %v", e.Arg, e.Err) }

// Unwrap returns the cause.
func (e *EncodeError) Unwrap() error { return e.Err }

// encodeError gives an error of the parser this package's type.
func encodeError(err error) error {
	var e *value.EncodeError
	if errors.As(err, &e) {
		return &EncodeError{e.Arg, e.Err}
	}
	return err
}

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
	who := about(s, event)
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

// about returns the attributes of a line about an event of a socket, the same in all
// lines.
func about(s Socket, event string) []any {
	return []any{"namespace", s.in.name, "event", event, "socket", later(s.shown)}
}

// shown is what lines of a log call the socket: its id, unless that is one of a
// client of Socket.IO 2, by which that could be taken over.
func (s Socket) shown() string {
	if _, ok := s.srv().idRef(s.own); s.own != "" && !ok && s.srv().o.Engine.AllowEIO3 {
		s.own = ""
	}
	return s.ID()
}

// forgotten warns of a question for what the socket brought, which is not kept: its
// answer would look like that of a client that brought nothing.
func (s Socket) forgotten(method string) {
	if !s.srv().o.KeepHandshake {
		s.srv().notice.Warn("what a client brought is asked for after OnConnect: only Options.KeepHandshake keeps it that long",
			"namespace", s.in.name, "method", method, "flag", "--keep-handshake")
	}
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

// recoverable tells whether a socket that left for a reason may come back.
func recoverable(r Reason) bool {
	switch r {
	case eio.TransportError, eio.TransportClose, eio.ForcedClose, eio.PingTimeout, ServerShuttingDown:
		return true
	}
	return false
}
