package sio

import (
	"bytes"
	"math/bits"

	"github.com/valyala/bytebufferpool"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio/internal/packetlog"
	"github.com/sioedge/sioedge/sio/parser"
)

// A BroadcastOperator says which sockets an event goes to, and how. It is a
// value: each method returns another one, so keeping one and deriving two from
// it is safe. Any goroutine may use it. What its methods are given is copied
// before they return, as of a [Socket]. Those that send something, or do something to
// sockets, wait, ten seconds at most, while 16 MiB wait for a loop; not on a loop.
type BroadcastOperator struct {
	ns         *Namespace
	in         *instance // nil: those of ns, or the one called name
	name       string
	to, except []string
	sender     rooms.Ref // not sent to; zero: nobody
	own        string    // the sender's Socket.own
	direct     bool      // to sender alone, until rooms are named
	alone      bool      // with direct: also then, if it is in one of them
	narrowed   bool      // To has been called: without rooms it is nobody
	volatile   bool
	plain      bool // never compressed
	local      bool // not to other servers
}

// add appends without touching what other operators share.
func add(a []string, b []string) []string { return append(a[:len(a):len(a)], b...) }

// To adds rooms. Without any, given an empty list, it addresses nobody until some
// are added: what was narrowed to nothing is never everybody. Of [Socket.Self] it
// leaves the socket if that is in one of the rooms, for which emitting asks its
// loop and waits. Of Volatile and Compress of a socket it names the rooms of others
// instead, as Node's does.
func (b BroadcastOperator) To(rooms ...string) BroadcastOperator {
	b.to, b.direct, b.narrowed = add(b.to, rooms), b.direct && b.alone, true
	return b
}

// Except takes the sockets in the rooms out; nobody else comes in by that, so of a
// socket's own operator it leaves that socket, unless it is in one of them.
func (b BroadcastOperator) Except(rooms ...string) BroadcastOperator {
	b.except = add(b.except, rooms)
	return b
}

// nobody tells whether b was narrowed to nothing.
func (b BroadcastOperator) nobody() bool { return b.narrowed && len(b.to) == 0 }

// Volatile lets the event be dropped for each socket that could not receive it
// at once.
func (b BroadcastOperator) Volatile() BroadcastOperator {
	b.volatile = true
	return b
}

// Compress says whether the event may be sent compressed, where that is on and
// agreed on with the client: for what is incompressible it is a waste. Without
// it, it may. Node: compress.
func (b BroadcastOperator) Compress(may bool) BroadcastOperator {
	b.plain = !may
	return b
}

// Local leaves out the sockets of other servers. Node: local.
func (b BroadcastOperator) Local() BroadcastOperator {
	b.local = true
	return b
}

// targets returns the instances that b addresses.
func (b BroadcastOperator) targets() []*instance {
	switch r := &b.server().registry; {
	case b.nobody():
		return nil
	case b.in != nil:
		return []*instance{b.in}
	case b.name != "":
		if in := r.named(b.ns, b.name); in != nil {
			return []*instance{in}
		}
		return nil
	default:
		return r.of(b.ns)
	}
}

func (b BroadcastOperator) server() *Server { return b.namespace().srv }

// Emit encodes the event once and sends it to every socket addressed, each once.
// It returns before they have it. Arguments are encoded as encoding/json does, with
// byte slices as binary attachments. The error is an *[EncodeError], [ErrOverloaded], or
// [ErrClosed] of a socket's own operator whose socket has left.
func (b BroadcastOperator) Emit(event string, args ...any) error {
	return b.namespace().outgoing(b, event, args, (BroadcastOperator).emit)
}

func (b BroadcastOperator) emit(event string, args []any) error {
	if b.direct && !b.volatile && len(b.except) == 0 && !b.narrowed {
		return b.socket().emit(event, args, b.plain)
	}
	if b.direct && b.socket().gone() {
		return ErrClosed
	}
	b.admit()
	if b.server().overcrowded(b.volatile) {
		if b.volatile {
			return nil
		}
		return ErrOverloaded
	}
	buf := packets.Get()
	defer packets.Put(buf)
	e, err := b.server().scratchEvent(buf, event, args)
	if err != nil {
		return err
	}
	if b.nobody() || b.direct && b.narrowed && !b.socket().inOne(b.to) {
		return nil
	}
	if b.direct {
		b.to, b.narrowed = nil, false // it is in one of them
	}
	e.Volatile, e.Plain = b.volatile, b.plain
	if b.server().cluster != nil {
		e.Data = bytes.Clone(e.Data)
		e = own(e) // others keep it
	}
	b.server().seq.emit(b, e)
	return nil
}

// overcrowded tells whether an event is not to be sent, since so much waits for the
// loops already, and counts it then.
func (srv *Server) overcrowded(volatile bool) bool {
	waiting, most := srv.rooms.Waiting(), int64(srv.o.MaxBroadcasts)
	if volatile {
		most /= 2
	}
	if waiting < most {
		return false
	}
	srv.overloaded.Add(1)
	srv.notice.Warn("events are not sent, since too much waits for the loops", "flag", "--max-broadcasts", "bytes", waiting, "bound", most)
	return true
}

// deliverTo sends an event to the sockets of one instance on this server.
func (srv *Server) deliverTo(b BroadcastOperator, in *instance, e rooms.Event) {
	srv.wake(srv.post(b.delivery(in, frame(in.name, e, 0, false))))
}

// relay sends an event to the sockets of other servers.
func (b BroadcastOperator) relay(e rooms.Event) {
	if c, t := b.cluster(); c != nil {
		c.Emit(t, e)
	}
}

// cluster returns the adapter and what it is told of b; nil if it has no part in
// this.
func (b BroadcastOperator) cluster() (rooms.Adapter, rooms.Target) {
	srv := b.server()
	if srv.cluster == nil || b.local || b.direct || b.nobody() {
		return nil, rooms.Target{}
	}
	if b.in == nil && b.name == "" && b.ns.match != nil {
		return nil, rooms.Target{} // a function has no name on the wire
	}
	return srv.cluster, b.target()
}

// socket is the sender.
func (b BroadcastOperator) socket() Socket { return Socket{b.in, b.sender, b.own} }

// target is what b addresses, by names.
func (b BroadcastOperator) target() rooms.Target {
	t := rooms.Target{Namespace: b.address(), Rooms: b.to, Except: b.except}
	switch {
	case b.direct:
		t.Rooms = []string{b.socket().ID()} // also where rooms narrow it: it was found to be in one
	case b.sender != 0:
		t.Except = add(t.Except, []string{b.socket().ID()})
	}
	return t
}

// address is the name of the namespace, of its instance, or of its pattern.
func (b BroadcastOperator) address() string {
	switch {
	case b.in != nil:
		return b.in.name
	case b.name != "":
		return b.name
	}
	return b.ns.name
}

// namespace returns the one that b belongs to.
func (b BroadcastOperator) namespace() *Namespace {
	if b.in != nil {
		return b.in.ns
	}
	return b.ns
}

// delivery makes what the rooms carry; frames belong to it from now on.
func (b BroadcastOperator) delivery(in *instance, frames []byte) *delivery {
	x := &delivery{b.server(), rooms.Broadcast{Volatile: b.volatile, Message: newMessage(frames, b.plain), Size: len(frames)}}
	b.addresses(in, &x.Broadcast)
	return x
}

// addressees is a broadcast of nothing to those whom b is for, in an instance.
func (b BroadcastOperator) addressees(in *instance) *rooms.Broadcast {
	x := &rooms.Broadcast{}
	b.addresses(in, x)
	return x
}

// addresses says in x whom b is for, in an instance.
func (b BroadcastOperator) addresses(in *instance, x *rooms.Broadcast) {
	srv := b.server()
	x.Namespace, x.To, x.Except = in.id, b.to, b.except
	for _, room := range b.to {
		if ref, ok := srv.idRef(room); ok {
			x.ToRefs = append(x.ToRefs, ref)
		}
	}
	for _, room := range b.except {
		if ref, ok := srv.idRef(room); ok {
			x.ExceptRefs = append(x.ExceptRefs, ref)
		}
	}
	switch {
	case b.direct:
		x.ToRefs = append(x.ToRefs, b.sender)
	case b.sender != 0:
		x.ExceptRefs = append(x.ExceptRefs, b.sender)
	}
}

// entry makes what is kept of an event for one instance.
func (b BroadcastOperator) entry(in *instance, m *message) packetlog.Entry {
	srv, e := b.server(), packetlog.Entry{Message: m, Name: in.name}
	switch {
	case b.direct && len(b.except) == 0:
		e.Ref = b.socket().home()
	case b.direct:
		e.To = &packetlog.Audience{Refs: []rooms.Ref{b.socket().home()}}
		e.To.Except, e.To.ExceptRefs = srv.splitIDs(b.except)
	case len(b.except) == 0 && (len(b.to) == 0 || len(b.to) == 1 && srv.isPlainRoom(b.to[0])):
		if len(b.to) == 1 {
			e.Room = b.to[0]
		}
		if b.sender != 0 {
			e.Except = b.socket().home()
		}
	default:
		e.To = &packetlog.Audience{All: len(b.to) == 0}
		e.To.Rooms, e.To.Refs = srv.splitIDs(b.to)
		e.To.Except, e.To.ExceptRefs = srv.splitIDs(b.except)
		if b.sender != 0 {
			e.To.ExceptRefs = append(e.To.ExceptRefs, b.socket().home())
		}
	}
	return e
}

// revision makes what is kept of what b does to sockets.
func (b BroadcastOperator) revision(all *recovering, op rooms.Op, names []string) *revision {
	x := packetlog.Selection{Owner: b.namespace(), Name: b.name, To: b.to, Except: b.except, Sender: b.sender, Direct: b.direct, Narrowed: b.narrowed, Named: all.srv.idRef}
	if b.in != nil {
		x.Name = b.in.name
	}
	return &revision{all: all, Revision: packetlog.Revision{Selection: x, Op: op, Names: names}}
}

// idRef returns the Ref that a room's name is made of, if it is a socket's id.
func (srv *Server) idRef(room string) (rooms.Ref, bool) {
	ref, ok := srv.ids.Parse([]byte(room))
	return rooms.Ref(ref), ok
}

// isPlainRoom tells whether a room's name is one, and no socket's id.
func (srv *Server) isPlainRoom(name string) bool {
	_, ok := srv.idRef(name)
	return !ok && name != ""
}

// splitIDs returns the ids among names of rooms, and the others.
func (srv *Server) splitIDs(names []string) (others []string, ids []rooms.Ref) {
	for i, name := range names {
		ref, ok := srv.idRef(name)
		switch {
		case ok && ids == nil:
			others = names[:i:i]
			fallthrough
		case ok:
			ids = append(ids, ref)
		case ids != nil:
			others = append(others, name)
		}
	}
	if ids == nil {
		return names, nil
	}
	return others, ids
}

// delivery is a broadcast on its way to a loop.
type delivery struct {
	srv *Server
	rooms.Broadcast
}

// Run queues the broadcast in the loop's part of the rooms.
func (d *delivery) Run(l *loop.Loop) {
	d.srv.shards[l.Index()].local.Enqueue(&d.Broadcast)
	l.NeedWork()
}

// sleepers are loops that have been given something and must be woken.
type sleepers [256 / 64]uint64

// post hands a broadcast to the loops that have somebody to give it to, and
// returns those to wake when no lock is held any more.
func (srv *Server) post(d *delivery) (wake sleepers) {
	srv.rooms.Publish(&d.Broadcast, func(i int, _ *rooms.Broadcast) {
		if srv.shards[i].loop.PostQuiet(d) {
			wake[i/64] |= 1 << (i % 64)
		}
	})
	return wake
}

func (srv *Server) wake(these sleepers) {
	for w, set := range these {
		for ; set != 0; set &= set - 1 {
			srv.shards[w*64+bits.TrailingZeros64(set)].loop.Wake()
		}
	}
}

// own returns e with attachments that are not the caller's of a method any more:
// for whoever keeps it when the method has returned.
func own(e rooms.Event) rooms.Event {
	e.Attachments = cloneAll(e.Attachments)
	return e
}

func cloneAll(all [][]byte) [][]byte {
	if all == nil {
		return nil
	}
	own := make([][]byte, len(all))
	for i, a := range all {
		own[i] = append(make([]byte, 0, len(a)), a...)
	}
	return own
}

// encodeEvent encodes an event, into memory of its own but for the attachments,
// which are the arguments': see own.
func (srv *Server) encodeEvent(event string, args []any) (rooms.Event, error) {
	buf := packets.Get()
	defer packets.Put(buf)
	e, err := srv.scratchEvent(buf, event, args)
	e.Data = bytes.Clone(e.Data)
	return e, err
}

// scratchEvent is encodeEvent into buf.
func (srv *Server) scratchEvent(buf *bytebufferpool.ByteBuffer, event string, args []any) (rooms.Event, error) {
	data, attachments, err := value.AppendEvent(buf.B[:0], event, args, srv.o.Limits.MaxAttachments)
	buf.B = data[:0]
	if err != nil {
		return rooms.Event{}, encodeError(err)
	}
	return rooms.Event{Data: data, Attachments: attachments}, nil
}

// frame returns the frames of an event.
func frame(namespace string, e rooms.Event, id uint64, hasID bool) []byte {
	var buf [64]byte
	return frameParts(e.Attachments, parser.AppendHead(buf[:0], parser.Event, len(e.Attachments), namespace, id, hasID), e.Data, nil)
}

// frameEndingIn returns the frames of an event whose arguments, up to the bracket
// behind them, are followed by tail. Of the text, the frame ends at textEnd.
func frameEndingIn(namespace string, e rooms.Event, tail string) (frames []byte, textEnd int) {
	var buf, end [64]byte
	head := parser.AppendHead(buf[:0], parser.Event, len(e.Attachments), namespace, 0, false)
	frames = frameParts(e.Attachments, head, e.Data[:len(e.Data)-1], append(end[:0], tail...))
	textEnd = len(frames)
	for _, a := range e.Attachments {
		textEnd -= eio.BinaryLen(len(a))
	}
	return frames, textEnd
}

// offsetTail is what an offset adds to an event.
const offsetTail = len(`,""`) + packetlog.OffsetLen

// frameLogged returns the frames of an event with an offset as its last argument.
// The offset is where in frames it is to be written.
func frameLogged(namespace string, e rooms.Event) (frames, offset []byte) {
	frames, end := frameEndingIn(namespace, e, `,"`+packetlog.BlankOffset+`"]`)
	end -= len(`"]`)
	return frames, frames[end-packetlog.OffsetLen : end]
}

// frameParts returns the frames of a packet whose text is in three parts.
func frameParts(attachments [][]byte, head, data, tail []byte) []byte {
	n := eio.TextLen(len(head) + len(data) + len(tail))
	for _, a := range attachments {
		n += eio.BinaryLen(len(a))
	}
	return appendFrames(eio.AppendText(make([]byte, 0, n), head, data, tail), nil, attachments)
}

// packets holds scratch space for packets before they are framed.
var packets bytebufferpool.Pool

// appendFrames appends a packet's text, unless nil, and its attachments as one
// unit.
func appendFrames(dst, text []byte, attachments [][]byte) []byte {
	if text != nil {
		dst = eio.AppendText(dst, text)
	}
	for _, a := range attachments {
		dst = eio.AppendBinary(dst, a)
	}
	return dst
}
