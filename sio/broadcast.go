package sio

import (
	"bytes"
	"strings"
	"sync/atomic"

	"github.com/valyala/bytebufferpool"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio/internal/framing"
	"github.com/sioedge/sioedge/sio/internal/packetlog"
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
	conn       uint64    // the sender's Socket.conn
	direct     bool      // to sender alone, until rooms are named
	alone      bool      // with direct: also then, if it is in one of them
	narrowed   bool      // To has been called: without rooms it is nobody
	volatile   bool
	plain      bool          // never compressed
	local      bool          // not to other servers
	heard      bool          // with local: it came from one
	class      *classed      // nil: nobody has said
	offset     *atomic.Value // for EmitOffset, nil: nobody asks
}

// Find addresses every socket that has joined a name: a namespace's, or that of an
// instance that a pattern or function has, on all servers, so also where nobody here is
// in it. It is false if no client can join that name. Functions of [Server.OfFunc] are
// asked as of a client without auth, unless the instance is live.
func (srv *Server) Find(name string) (BroadcastOperator, bool) {
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	r := &srv.registry
	switch in := r.called(name); {
	case in != nil && in.ns.in == in:
		return in.ns.All(), in.ns.lets(name, nil)
	case in != nil:
		return in.ns.Instance(in.name), true
	case len(name) > maxNamespaceName || !namesInstance(name):
		return BroadcastOperator{}, false
	}
	ns, _ := r.owner(name, nil)
	if ns == nil {
		return BroadcastOperator{}, false
	}
	return ns.Instance(name), true
}

// Instances returns the names of the namespace's instances that are live, in no
// order: its own, or of one with parameters, those that have sockets on this server.
func (n *Namespace) Instances() []string {
	var names []string
	for _, in := range n.srv.registry.of(n) {
		names = append(names, in.name)
	}
	return names
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

// Compress says whether the event may be sent compressed, where that is on and agreed on with
// the client: for what is incompressible it is a waste. Without it, it may. Node: compress.
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
	case b.in != nil && b.in.ended.Load():
		if in := r.named(b.in.ns, b.in.name); in != nil {
			return []*instance{in}
		}
		fallthrough
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

// EmitOffset is Emit, with its errors, and returns the offset that clients of this server get
// for [Recovery] as the last argument; a later one is the greater text. It is "" where there is
// none when it returns: without recovery, of a volatile event, and with an adapter that keeps
// events for all servers. Of a namespace with several instances it is that in one of them.
func (b BroadcastOperator) EmitOffset(event string, args ...any) (offset string, err error) {
	var at atomic.Value // a wrapper may emit on another goroutine
	b.offset = &at
	err = b.Emit(event, args...)
	offset, _ = at.Load().(string)
	return offset, err
}

// logged tells EmitOffset.
func (b BroadcastOperator) logged(offset []byte) {
	if b.offset != nil {
		b.offset.Store(string(offset))
	}
}

func (b BroadcastOperator) emit(event string, args []any) error {
	if b.direct && !b.volatile && len(b.except) == 0 && !b.narrowed && b.offset == nil {
		return b.socket().emit(event, args, sending{b.plain, b.class})
	}
	if b.direct && b.socket().gone() {
		return ErrClosed
	}
	b.admit()
	p, err := b.server().enter(0)
	if err != nil {
		return err
	}
	defer p.Leave()
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
		e = framing.Own(e) // others keep it
	}
	b.server().seq.emit(b.classed(e), e)
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
	srv.wake(srv.post(b.delivery(in, e, framing.Of(in.name, e, 0, false))))
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
func (b BroadcastOperator) socket() Socket { return Socket{b.in, b.sender, b.own, b.conn} }

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

// delivery makes what the rooms carry of an event; frames belong to it from now on.
func (b BroadcastOperator) delivery(in *instance, e rooms.Event, frames []byte) *delivery {
	x := &delivery{in.ns.srv, rooms.Broadcast{Since: in.ns.srv.since(b.direct), Owner: in.ns, Binary: len(e.Attachments) > 0, Volatile: b.volatile, Message: newMessage(frames, b.plain).of(b.class.kind(in, e)), Size: len(frames)}}
	b.addresses(in, &x.Broadcast)
	if k := in.ns.history.Load(); k != nil {
		k.note(b, in, e, x)
	}
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

// encodeEvent encodes an event, into memory of its own but for the attachments,
// which are the arguments': see framing.Own.
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

// packets holds scratch space for packets before they are framed.
var packets bytebufferpool.Pool
