package sio

import (
	"bytes"
	"errors"
	"math/bits"

	"github.com/valyala/bytebufferpool"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio/parser"
)

// A BroadcastOperator says which sockets an event goes to, and how. It is a
// value: each method returns another one, so keeping one and deriving two from
// it is safe. Any goroutine may use it. What its methods are given is copied
// before they return, as of a [Socket].
type BroadcastOperator struct {
	ns         *Namespace
	in         *instance // nil: those of ns, or the one called name
	name       string
	to, except []string
	sender     rooms.Ref // not sent to; zero: nobody
	own        string    // the sender's Socket.own
	direct     bool      // to sender alone, until rooms are named
	narrowed   bool      // To has been called: without rooms it is nobody
	volatile   bool
	plain      bool // never compressed
	local      bool // not to other servers
}

// add appends without touching what other operators share.
func add(a []string, b []string) []string { return append(a[:len(a):len(a)], b...) }

// To adds rooms. Without any, given an empty list, it addresses nobody until some
// are added: what was narrowed to nothing is never everybody. Of a socket's own
// operator (Self, Volatile, Compress) it names rooms instead, as Node's does.
func (b BroadcastOperator) To(rooms ...string) BroadcastOperator {
	b.to, b.direct, b.narrowed = add(b.to, rooms), false, true
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
// It returns before they have it; the error is about the arguments. They are
// encoded as encoding/json does, with byte slices as binary attachments.
func (b BroadcastOperator) Emit(event string, args ...any) error {
	return b.namespace().outgoing(b, event, args, (BroadcastOperator).emit)
}

func (b BroadcastOperator) emit(event string, args []any) error {
	if b.direct && !b.volatile && len(b.except) == 0 {
		return b.socket().emit(event, args, b.plain)
	}
	for _, sh := range b.server().shards {
		sh.loop.Admit()
	}
	if b.direct && b.socket().gone() {
		return ErrClosed
	}
	if b.server().overcrowded(b.volatile) {
		if b.volatile {
			return nil
		}
		return ErrOverloaded
	}
	e, err := b.server().encodeEvent(event, args)
	if err != nil {
		return err
	}
	if b.nobody() {
		return nil
	}
	e.Volatile, e.Plain = b.volatile, b.plain
	if b.server().cluster != nil {
		e = own(e) // others keep it
	}
	if b.server().shared != nil {
		b.emitCluster(e)
		return nil
	}
	b.deliver(e)
	if c, t := b.cluster(); c != nil {
		c.Emit(t, e)
	}
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

// deliver sends an event to the sockets of this server.
func (b BroadcastOperator) deliver(e rooms.Event) {
	srv := b.server()
	if l := srv.shared; l != nil {
		l.mu.Lock()
		defer l.unlock()
		l.deliver(b, b.target(), e, 0)
		return
	}
	for _, in := range b.targets() {
		if srv.log != nil && (!e.Volatile || endsInString(e.Data)) {
			b.deliverLogged(in, e)
			continue
		}
		srv.wake(srv.post(&delivery{srv: srv, b: b.broadcast(in, frame(in.name, e, 0, false))}))
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
		t.Rooms = add(t.Rooms, []string{b.socket().ID()})
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

// ordered has f called when what was emitted before has been delivered.
func (b BroadcastOperator) ordered(f func()) { b.server().ordered(b.address(), f) }

// namespace returns the one that b belongs to.
func (b BroadcastOperator) namespace() *Namespace {
	if b.in != nil {
		return b.in.ns
	}
	return b.ns
}

// broadcast makes what the rooms carry.
func (b BroadcastOperator) broadcast(in *instance, frames []byte) *rooms.Broadcast {
	x := &rooms.Broadcast{Namespace: in.id, To: b.to, Except: b.except, Volatile: b.volatile, Message: newMessage(frames, b.plain), Size: len(frames)}
	ids := b.server().ids
	for _, room := range b.to {
		if ref, ok := ids.Parse([]byte(room)); ok {
			x.ToRefs = append(x.ToRefs, rooms.Ref(ref))
		}
	}
	for _, room := range b.except {
		if ref, ok := ids.Parse([]byte(room)); ok {
			x.ExceptRefs = append(x.ExceptRefs, rooms.Ref(ref))
		}
	}
	switch {
	case b.direct:
		x.ToRefs = append(x.ToRefs, b.sender)
	case b.sender != 0:
		x.ExceptRefs = append(x.ExceptRefs, b.sender)
	}
	return x
}

// logged makes what is kept of an event for one instance.
func (b BroadcastOperator) logged(in *instance, m *message) logged {
	srv, e := b.server(), logged{msg: m, name: in.name}
	switch {
	case b.direct && len(b.except) == 0:
		e.ref = b.socket().home()
	case b.direct:
		e.to = &audience{refs: []rooms.Ref{b.socket().home()}}
		e.to.except, e.to.exceptRefs = srv.apart(b.except)
	case len(b.to)+len(b.except) > 0 || b.sender != 0:
		e.to = &audience{all: len(b.to) == 0}
		e.to.rooms, e.to.refs = srv.apart(b.to)
		e.to.except, e.to.exceptRefs = srv.apart(b.except)
		if b.sender != 0 {
			e.to.exceptRefs = append(e.to.exceptRefs, b.socket().home())
		}
	}
	return e
}

// apart returns the ids among names of rooms, and the others.
func (srv *Server) apart(names []string) (others []string, ids []rooms.Ref) {
	for i, name := range names {
		ref, ok := srv.ids.Parse([]byte(name))
		switch {
		case ok && ids == nil:
			others = names[:i:i]
			fallthrough
		case ok:
			ids = append(ids, rooms.Ref(ref))
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
	b   *rooms.Broadcast
}

// Run queues the broadcast in the loop's part of the rooms.
func (d *delivery) Run(l *loop.Loop) {
	d.srv.shards[l.Index()].local.Enqueue(d.b)
	l.NeedWork()
}

// sleepers are loops that have been given something and must be woken.
type sleepers [256 / 64]uint64

// post hands a broadcast to the loops that have somebody to give it to, and
// returns those to wake when no lock is held any more.
func (srv *Server) post(d *delivery) (wake sleepers) {
	srv.rooms.Publish(d.b, func(i int, _ *rooms.Broadcast) {
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
	data, attachments, err := value.AppendEvent(buf.B[:0], event, args, srv.o.Limits.MaxAttachments)
	buf.B = data[:0]
	if err != nil {
		return rooms.Event{}, encodeError(err)
	}
	return rooms.Event{Data: bytes.Clone(data), Attachments: attachments}, nil
}

// frame returns the frames of an event.
func frame(namespace string, e rooms.Event, id uint64, hasID bool) []byte {
	buf := packets.Get()
	defer packets.Put(buf)
	buf.B = parser.AppendHead(buf.B[:0], parser.Event, len(e.Attachments), namespace, id, hasID)
	buf.B = append(buf.B, e.Data...)
	return appendFrames(nil, buf.B, e.Attachments)
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

// encodeError gives an error of the parser this package's type.
func encodeError(err error) error {
	var e *value.EncodeError
	if errors.As(err, &e) {
		return &EncodeError{e.Arg, e.Err}
	}
	return err
}
