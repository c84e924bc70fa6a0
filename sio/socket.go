package sio

import (
	"context"
	"log/slog"
	"slices"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/notice"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/packetlog"
	"github.com/sioedge/sioedge/sio/internal/pattern"
)

// A Socket is a client's membership of a namespace. It is a small comparable
// value, which may be kept and used as a map key, and pins nothing. When the
// client has left, its methods do nothing or return [ErrClosed].
//
// Methods may be called from any goroutine. Those that change something return
// before it has happened; their order is kept. What they are given (names of
// rooms, byte slices, slices of arguments) is copied before they return, and may
// be used again; but for the value of SetData, which is kept as it is.
type Socket struct {
	in  *instance
	ref rooms.Ref
	own string // its id if that is not the Ref's: of one that was recovered, or of a client of Socket.IO 2

	conn uint64 // eio.Session.Ref of its session
}

func (s Socket) srv() *Server  { return s.in.ns.srv }
func (s Socket) shard() *shard { return s.srv().shards[s.ref.Loop()] }
func (s Socket) gone() bool    { return !s.shard().sockets.Is(s.ref.Slot(), s.ref.Gen()) }

// post has f called on the socket's loop unless the socket is gone.
func (s Socket) post(f func(sh *shard, slot uint32)) {
	sh := s.shard()
	p, err := s.enter()
	if err != nil {
		return // it is gone
	}
	defer p.Leave()
	s.srv().seq.post(s, loop.TaskFunc(func(*loop.Loop) {
		if slot := sh.lookup(s.ref); slot != 0 {
			f(sh, slot)
		}
	}))
}

// ask calls f on the socket's loop and waits for it. It is false if the socket
// is gone; of one that is already, the loop is not asked.
func (s Socket) ask(f func(sh *shard, slot uint32)) (ok bool) {
	if s.gone() {
		return false
	}
	sh := s.shard()
	s.srv().seq.settle(s.in.name)
	sh.loop.Ask(func() {
		if slot := sh.lookup(s.ref); slot != 0 {
			f(sh, slot)
			ok = true
		}
	})
	return ok
}

// ID returns the socket's id: 20 characters, known to its client and safe to
// show to others. It is the same for the socket's life, and afterwards.
//
// A client of Socket.IO 2 ([eio.Options.AllowEIO3]) makes its ids by itself, of
// its session's, by which whoever knows it can poll and post as that client: that
// id, too, is what ID returns, as Node's does, and it is not to be shown.
func (s Socket) ID() string {
	if s.own != "" {
		return s.own
	}
	var buf [eio.IDLen]byte
	return string(s.srv().ids.Append(buf[:0], uint64(s.ref)))
}

// LogValue returns the socket as a group of a line of log/slog: its namespace and its
// id, both cut to 256 bytes. In place of an id that is a secret (see ID) there is
// another one, the same for the socket's life.
func (s Socket) LogValue() slog.Value {
	if s.in == nil {
		return slog.GroupValue()
	}
	return slog.GroupValue(slog.String("namespace", notice.Cut(s.in.name)), slog.String("id", notice.Cut(s.PublicID())))
}

// Namespace returns the namespace whose handlers serve the socket.
func (s Socket) Namespace() *Namespace { return s.in.ns }

// Name returns the name of the namespace as the client joined it: of one with
// parameters, that of the socket's own instance.
func (s Socket) Name() string { return s.in.name }

// Param returns the value of a parameter of the namespace's pattern, "" if
// there is none of that name.
func (s Socket) Param(name string) string { return pattern.Value(s.in.params, name) }

// Connected tells whether the socket has been admitted and has not left.
func (s Socket) Connected() bool {
	ok := false
	s.ask(func(sh *shard, slot uint32) { ok = sh.sockets.At(slot).state == connected })
	return ok
}

// Emit sends an event to the client. Arguments are encoded as encoding/json
// does, with byte slices as binary attachments. The error is [ErrClosed] or
// about the arguments; nil does not mean that the client has the event. It waits,
// ten seconds at most, while 16 MiB wait for the socket's loop.
func (s Socket) Emit(event string, args ...any) error {
	if len(s.in.ns.table.Load().outgoing) > 0 {
		return s.itself().Emit(event, args...)
	}
	return s.emit(event, args, sending{})
}

// itself addresses the socket alone.
func (s Socket) itself() BroadcastOperator {
	return BroadcastOperator{in: s.in, sender: s.ref, own: s.own, conn: s.conn, direct: true}
}

// emit is Emit, with what an operator has said.
func (s Socket) emit(event string, args []any, how sending) error {
	if s.gone() {
		return ErrClosed
	}
	s.shard().loop.Admit()
	p, err := s.enter()
	if err != nil {
		return err
	}
	defer p.Leave()
	how.class = s.in.ns.classFor(how.class, event)
	return s.srv().seq.emitTo(s, event, args, how)
}

// Self addresses the client itself, as Emit does, and nobody else whatever is
// called on it: To and Except then say whether it is addressed at all. It is for
// what operators are passed on to, and for what they can say.
func (s Socket) Self() BroadcastOperator {
	b := s.itself()
	b.alone = true
	return b
}

// Volatile addresses the client itself; the event is dropped if it cannot be
// sent at once. With To it addresses the others in the rooms, as Node's
// socket.volatile.to does.
func (s Socket) Volatile() BroadcastOperator {
	return s.itself().Volatile()
}

// Compress addresses the client itself, as [BroadcastOperator.Compress] says; with
// To the others in the rooms, as Node's socket.compress(…).to does.
func (s Socket) Compress(may bool) BroadcastOperator {
	return s.itself().Compress(may)
}

// Broadcast addresses every socket of the namespace but this one, which nothing
// that is called on it brings in again.
func (s Socket) Broadcast() BroadcastOperator {
	return BroadcastOperator{in: s.in, sender: s.ref, own: s.own, conn: s.conn}
}

// To addresses the sockets in the rooms but this one.
func (s Socket) To(rooms ...string) BroadcastOperator { return s.Broadcast().To(rooms...) }

// Except addresses every socket of the namespace but this one and those in the
// rooms.
func (s Socket) Except(rooms ...string) BroadcastOperator { return s.Broadcast().Except(rooms...) }

// Join puts the socket into rooms. A broadcast emitted after it by the same
// goroutine reaches the socket; one of another server of the cluster may come too
// early, see [Socket.JoinWait]. If the client is away and may come back, it is in the
// rooms then: its connection may have ended before OnConnect got here.
func (s Socket) Join(names ...string) {
	if len(names) == 0 || s.movedAway(rooms.Joined, names) {
		return
	}
	s.shard().loop.Admit()
	s.move(rooms.Joined, names)
}

// Leave takes the socket out of rooms, also if its client is away, as Join does.
func (s Socket) Leave(names ...string) {
	if s.movedAway(rooms.Left, names) {
		return
	}
	s.shard().loop.Admit()
	s.move(rooms.Left, names)
}

// movedAway is true of a socket that has gone: if its client is away and may come
// back, that has joined or left rooms.
func (s Socket) movedAway(op rooms.Op, names []string) bool {
	gone := s.gone()
	if gone && s.srv().o.Recovery.Window > 0 {
		s.Self().move(op, names)
	}
	return gone
}

// An ownMove is a socket's way into rooms, or out of some, by its own methods: a task
// for its loop, and what is done to it if it leaves before that.
type ownMove struct {
	packetlog.Revision
	s      Socket
	effect uint64 // what Sequencer.change said
	noted  bool   // it is among the Revisions
}

func (s Socket) move(op rooms.Op, names []string) {
	p, err := s.enter()
	if err != nil {
		return
	}
	defer p.Leave()
	m := &ownMove{s: s} // the names are the caller's to use again
	m.Op, m.Names = op, slices.Clone(names)
	s.srv().seq.change(s.in.name, m.begin)
}

func (m *ownMove) begin(effect uint64) {
	s, srv := m.s, m.s.srv()
	m.effect, m.noted = effect, srv.seq.reviseOwn(s, &m.Revision, effect)
	if m.Op == rooms.Joined { // a broadcast that is emitted next must find the loop in these rooms
		for _, room := range m.Names {
			srv.rooms.Expect(s.ref.Loop(), s.in.id, room)
		}
	}
	s.shard().loop.Post(m)
}

// Rooms returns the socket's rooms, its own id first, in the order of joining;
// without its id before it has been admitted, and nil when it has left. It asks
// the socket's loop and waits.
func (s Socket) Rooms() (names []string) {
	s.ask(func(sh *shard, slot uint32) {
		if sh.sockets.At(slot).state != connecting {
			names = append(names, s.ID())
		}
		for _, room := range sh.local.Rooms(slot) {
			if !sh.isOwn(slot, room) {
				names = append(names, room)
			}
		}
	})
	return names
}

// Disconnect makes the socket leave its namespace; its client is told and does
// not reconnect by itself. With o.Conn, all namespaces of the connection are
// left and the connection is closed, with o.Code and o.Reason. Events of the client
// that wait behind the one being handled are dropped. If the socket has left the
// error is [ErrClosed]; a client that is away, and could have come back for it, is a
// new one then nevertheless. Any other error is about o, and nothing happens.
func (s Socket) Disconnect(o DisconnectOptions) error {
	o, err := o.checked()
	if err != nil {
		return err
	}
	p, err := s.enter()
	if err != nil {
		return err
	}
	defer p.Leave()
	if s.gone() {
		err = ErrClosed
	}
	sh := s.shard()
	sh.sockets.Mark(s.ref.Slot(), s.ref.Gen()) // here, so that none begins meanwhile
	s.srv().seq.behind(s.in.name, func() {
		sh.loop.Post(loop.TaskFunc(func(*loop.Loop) {
			slot := sh.lookup(s.ref)
			if !sh.reviseGone(s, slot, rooms.Disconnected, nil, 0) {
				sh.disconnect(slot, o)
			}
		}))
	})
	return err
}

// Transport returns "polling" or "websocket", and "" when the socket has left.
// It asks the socket's loop and waits.
func (s Socket) Transport() (name string) {
	s.ask(func(sh *shard, slot uint32) {
		if es := sh.session(slot); es != (eio.Session{}) {
			name = es.Transport()
		}
	})
	return name
}

// Auth decodes what the client gave as auth into dst, which stays as it is if
// it gave nothing. It answers until OnConnect has returned, with
// [KeepAlways] until the disconnect handlers have: to be asked in between
// without that is a mistake, which is logged, and leaves dst as it is. What
// handlers need is better decoded once, and kept with a [Key]. The error is
// json.Unmarshal's, or [ErrClosed] when the socket is gone.
func (s Socket) Auth(dst any) error {
	d := s.srv().details.get(s.ref)
	switch {
	case d != nil && (d.request != nil || d.auth != ""):
		return Handshake{d.request, d.auth}.Auth(dst)
	case s.gone():
		return ErrClosed
	}
	s.forgotten("Auth")
	return nil
}

// Handshake returns the session's first request, as long as Auth answers; after
// that it knows the address alone, for which the socket's loop is asked and which is
// logged as Auth says, and nothing when the socket is gone.
func (s Socket) Handshake() (h Handshake) {
	if h, ok := s.srv().details.handshake(s.ref); ok {
		return h
	}
	if s.ask(func(sh *shard, slot uint32) { h = sh.handshake(slot) }) {
		s.forgotten("Handshake")
	}
	return h
}

// Context returns a context that is done when the socket leaves.
func (s Socket) Context() context.Context {
	ctx := closedContext
	s.srv().details.edit(s.ref, func(d *detail) {
		if s.gone() { // asked here, so that details.remove comes later
			return
		}
		if d.ctx == nil {
			d.ctx, d.cancel = context.WithCancel(context.Background())
		}
		ctx = d.ctx
	})
	if w := s.srv().watch; w != nil {
		return w.Context(ctx)
	}
	return ctx
}

// home returns the Ref that a socket's id is made of, which it has again when it
// is recovered.
func (s Socket) home() rooms.Ref {
	if ref, ok := s.srv().idRef(s.own); ok {
		return ref
	}
	return s.ref
}

// Recovered tells whether the socket is one that its client had before, with
// what it missed delivered.
func (s Socket) Recovered() bool {
	d := s.srv().details.get(s.ref)
	return d != nil && d.recovered
}
