package sio

import (
	"errors"
	"fmt"

	"github.com/sioedge/sioedge/eio"
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
