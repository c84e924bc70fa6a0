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
	"github.com/sioedge/sioedge/sio/internal/packetlog"
	"github.com/sioedge/sioedge/sio/internal/pattern"
	"github.com/sioedge/sioedge/sio/parser"
)

// ErrClosed is returned for a socket that is no longer connected, by every method
// that returns an error and reaches that socket alone: Emit, also Volatile's and
// Compress's, EmitAck, Ask, JoinWait, CloseConnWith, and Msg.Ack. None of them waits
// then. What addresses others, as Broadcast and To, still does. A handler may
// return it: it is not logged.
var ErrClosed = errors.New("sio: socket is closed")

// Gone tells whether the socket is no longer there, and its methods return
// [ErrClosed]: for who keeps something by sockets and has to forget it. It does not ask
// the loop.
func (s Socket) Gone() bool { return s.gone() }

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
	ServerShuttingDown Reason = "server shutting down"        // Server.Shutdown, Server.Drain
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
	return []any{"namespace", s.in.name, "event", event, "socket", later(s.PublicID)}
}

// PublicID returns the socket's id, if that may be shown to others; in place of that of
// a client of Socket.IO 2 (see [Socket.ID]) another one, the same for the socket's life,
// which is no room.
func (s Socket) PublicID() string {
	if _, ok := s.srv().idRef(s.own); s.own != "" && !ok && s.srv().o.Engine.AllowEIO3 {
		s.own = ""
	}
	return s.ID()
}

// forgotten warns of a question for what the socket brought, which is not kept: its
// answer would look like that of a client that brought nothing.
func (s Socket) forgotten(method string) {
	if s.srv().o.KeepHandshake != KeepAlways {
		s.srv().notice.Warn("what a client brought is asked for after OnConnect: only Options.KeepHandshake, KeepAlways, keeps it that long",
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

// An Inbound is an event of a client, or an acknowledgement, as a gate sees it.
type Inbound struct {
	Event    []byte // the event's name, a view, valid until the gate returns; nil of an acknowledgement
	Ack      bool   // it is an acknowledgement
	WantsAck bool   // it is an event, and the client waits for an acknowledgement
	Bytes    int    // of its messages as they came, attachments among them
}

// A Verdict is what a gate says of an event or an acknowledgement. The zero value is
// Pass.
type Verdict struct {
	does   judgement
	wait   time.Duration
	err    error
	code   uint16
	reason string
}

type judgement uint8

const (
	passes judgement = iota
	drops
	nacks
	closes
)

// The verdicts that say no more. They are not to be changed.
var (
	Pass = Verdict{}            // go on
	Drop = Verdict{does: drops} // forget it: the client is told nothing
)

// Nack answers the client's acknowledgement with err, as [TypedAck] answers an error,
// instead of having the event handled. It is Drop where no answer is wanted.
func Nack(err error) Verdict { return Verdict{does: nacks, err: err} }

// Delay lets pass, and has nothing more read from the client's connection, with all
// its namespaces, for d: it then has to send more slowly. It is not taken for gone
// meanwhile. Zero or less is Pass.
func Delay(d time.Duration) Verdict { return Verdict{wait: max(d, 0)} }

// Close closes the client's connection with a code and a reason, as
// [Socket.CloseConnWith] does, instead of having the event handled. If they cannot be
// those of a close, it goes to Options.OnError, and the connection is closed without.
func Close(code uint16, reason string) Verdict {
	return Verdict{does: closes, code: code, reason: reason}
}

// CloseConn closes the connection without a word to the namespaces: the client
// sees a lost transport and reconnects. The reason is eio.ForcedClose. Node:
// socket.conn.close().
func (s Socket) CloseConn() {
	s.post(func(sh *shard, slot uint32) { sh.session(slot).Close() })
}

// CloseConnWith is CloseConn with a code and a reason, which the client finds in
// the details of its disconnect event if it is on a WebSocket:
//
//	socket.on("disconnect", (why, {context}) => …) // "transport close", context.code, context.reason
//
// Over polling there is no way to tell it. The code is 1000, or from 3000 to
// 4999 (those from 4000 on are the application's), the reason at most 123 bytes
// of UTF-8; anything else is an error, and nothing is closed.
func (s Socket) CloseConnWith(code uint16, reason string) error {
	if err := eio.CheckClose(code, reason); err != nil {
		return err
	}
	if s.gone() {
		return ErrClosed
	}
	s.post(func(sh *shard, slot uint32) { _ = sh.session(slot).CloseWith(code, reason) })
	return nil
}

// Gate adds a function that is asked about each event and each acknowledgement of
// the namespace's clients, before anything is done with it: before handlers are looked
// for, before it is copied or waits. It is called on the event loop and must not block;
// those of several loops at once. The first one that does not let pass decides; of
// several Delays the longest counts. A panic in it goes to Options.OnError, and is a
// Nack. What did not pass is in Stats.Drops.
//
//	ns.Gate(func(s sio.Socket, in sio.Inbound) sio.Verdict {
//		if in.Bytes > 10_000 && string(in.Event) == "chat" {
//			return sio.Nack(&sio.Error{Message: "too long"})
//		}
//		return sio.Pass
//	})
func (n *Namespace) Gate(f func(s Socket, in Inbound) Verdict) {
	n.change(func(t *table) { t.gates = append(t.gates[:len(t.gates):len(t.gates)], f) })
}

// passes asks the gates about a packet, an event or an acknowledgement, and does what
// they say. It is true if the packet is to be handled.
func (sh *shard) passes(es eio.Session, slot uint32, p *parser.Packet, gates []func(Socket, Inbound) Verdict) bool {
	s, in := sh.socket(slot), Inbound{Event: p.Event, WantsAck: p.HasID, Bytes: sh.size}
	if p.Type == parser.Ack {
		in = Inbound{Ack: true, Bytes: sh.size}
	}
	var v Verdict
	wait := time.Duration(0)
	for i := 0; i < len(gates) && v.does == passes; i++ {
		v = sh.judge(gates[i], s, in)
		wait = max(wait, v.wait)
	}
	es.PauseReadFor(wait)
	switch v.does {
	case passes:
		return true
	case nacks:
		if in.WantsAck {
			m := &sh.msg
			m.view(nil, s, p, "")
			_ = m.ackError(v.err) // for the client alone
			m.drop()
		}
	case closes:
		if err := es.CloseWith(v.code, v.reason); err != nil {
			sh.srv.fail(s, string(in.Event), err)
			es.Close()
		}
	}
	sh.tally.Drops.Gated++
	return false
}

// judge asks one gate.
func (sh *shard) judge(gate func(Socket, Inbound) Verdict, s Socket, in Inbound) (v Verdict) {
	if err := sh.srv.guard(func() error { v = gate(s, in); return nil }); err != nil {
		sh.srv.fail(s, string(in.Event), err)
		return Nack(internalError)
	}
	return v
}

// Restrict sets a function that tells which of the namespace's names may be joined; a
// second one replaces it, and nil is all. A client that asks for another is refused as
// for one that nobody has ("Invalid namespace"), unless a namespace behind this one has
// it; behind a literal one there is none. Param returns the value of a parameter. It is
// asked on the event loop about each socket that wants in, those that come back among
// them, and must not block. Sockets that are there stay.
//
//	trends.Restrict(func(name string, param func(string) string) bool { return isNumber(param("id")) })
func (n *Namespace) Restrict(may func(name string, param func(string) string) bool) {
	n.change(func(t *table) { t.may = may })
}

// lets tells whether a name of the namespace's may be joined.
func (n *Namespace) lets(name string, params []pattern.Param) bool {
	t := n.table.Load()
	return !t.closed && (t.may == nil || t.may(name, func(param string) string { return pattern.Value(params, param) }))
}

// Identify says who the socket's client is, in a middleware, for [Recovery] with
// RunMiddlewares: for who has to ask somebody, and cannot say it as soon as
// Recovery.Identity is asked, which counts too. It is false of a recovered socket that was
// somebody else: when the middleware returns nil that is a new one, whose middlewares run
// again, where Recovered is false. The other can still come back.
func (s Socket) Identify(who string) (same bool) {
	d, is := &s.in.ns.srv.details, s.in.ns.srv.details.get(s.ref)
	if s.in.ns.srv.o.Recovery.Window <= 0 || s.gone() {
		return true
	}
	was := d.identity(s.ref)
	now := packetlog.Found(was, who)
	d.identify(s.ref, now)
	return is == nil || !is.recovered || was == now
}
