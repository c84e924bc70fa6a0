package sio

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/rooms"
)

// matching returns the slots of this loop's sockets that b addresses, each
// once.
func (sh *shard) matching(b BroadcastOperator, in *instance) (slots []uint32) {
	var taken map[uint32]bool // of what is one room, each comes once
	if len(b.to) > 1 {
		taken = map[uint32]bool{}
	}
	take := func(slot uint32) bool {
		s := sh.sockets.At(slot)
		if s.state != connected || sh.instance(slot) != in || taken[slot] || b.sender != 0 && sh.ref(slot) == b.sender {
			return true
		}
		if taken != nil {
			taken[slot] = true
		}
		if !sh.inOne(slot, b.except) {
			slots = append(slots, slot)
		}
		return true
	}
	if b.direct {
		slot := sh.own(b.sender)
		if slot == 0 || b.narrowed && !sh.inOne(slot, b.to) || sh.inOne(slot, b.except) {
			return nil
		}
		return []uint32{slot}
	}
	if len(b.to) == 0 {
		sh.local.Each(in.id, take)
	}
	for _, room := range b.to {
		sh.local.EachIn(in.id, room, take)
		if ref, ok := sh.srv.ids.Parse([]byte(room)); ok {
			if slot := sh.own(rooms.Ref(ref)); slot != 0 && (taken != nil || !sh.local.Has(slot, in.id, room)) {
				take(slot)
			}
		}
	}
	return slots
}

// own returns the slot of ref if it is a socket of this loop, else 0.
func (sh *shard) own(ref rooms.Ref) uint32 {
	if ref.Loop() != sh.loop.Index() {
		return 0
	}
	return sh.lookup(ref)
}

// inOne tells whether a socket is in one of the rooms. It asks its loop and waits.
func (s Socket) inOne(rooms []string) (ok bool) {
	s.ask(func(sh *shard, slot uint32) { ok = sh.inOne(slot, rooms) })
	return ok
}

func (sh *shard) inOne(slot uint32, rooms []string) bool {
	return slices.ContainsFunc(rooms, func(room string) bool { return sh.in(slot, room) })
}

// in tells whether a socket is in a room, its own included.
func (sh *shard) in(slot uint32, room string) bool {
	if sh.local.Has(slot, sh.instance(slot).id, room) {
		return true
	}
	return sh.isOwn(slot, room)
}

// joinRoom puts a socket into a room other than its own, behind what has been
// emitted up to a place in the log.
func (sh *shard) joinRoom(slot uint32, room string, effect uint64) {
	id, most := sh.instance(slot).id, sh.srv.o.MaxRooms
	r := sh.sockets.At(slot)
	switch {
	case sh.isOwn(slot, room), sh.waiting.Has(slot, room):
	case len(room) > maxRoomName:
		sh.tally.Drops.Rooms++
		sh.srv.fail(sh.socket(slot), "join", ErrRoomName)
	case int(r.rooms) >= most && !sh.local.Has(slot, id, room):
		sh.tally.Drops.Rooms++
		sh.tooManyRooms(slot)
	case sh.srv.jammed(sh.instance(slot).ns) && !sh.local.Has(slot, id, room):
		sh.tally.Drops.Rooms++
		sh.tally.Drops.Jammed++
		sh.srv.fail(sh.socket(slot), "join", ErrOverloaded)
	case sh.local.Join(slot, id, room):
		r.rooms++
		sh.instances[r.instance].space.Joins++
		sh.srv.seq.changed(sh, slot, room, true, effect)
		sh.saw(slot, Observation{Kind: ObservedJoin, Room: room})
		if r.is&followed != 0 {
			sh.moved(slot, true, []string{strings.Clone(room)})
		}
	}
}

// tooManyRooms tells of a room that was not joined: OnError of each, the log of
// the first of a socket.
func (sh *shard) tooManyRooms(slot uint32) {
	r := sh.sockets.At(slot)
	if sh.srv.o.OnError != nil {
		sh.srv.fail(sh.socket(slot), "join", ErrTooManyRooms)
	} else if r.is&crowded == 0 {
		sh.srv.notice.Warn("a socket has as many rooms as it may have: others are not joined",
			append(about(sh.socket(slot), "join"), "flag", "--max-rooms", "max-rooms", sh.srv.o.MaxRooms)...)
	}
	r.is |= crowded
}

// leaveRoom takes a socket out of a room other than its own, behind what has been
// emitted up to a place in the log.
func (sh *shard) leaveRoom(slot uint32, room string, effect uint64) {
	sh.waiting.CallOff(slot, room)
	if sh.isOwn(slot, room) || !sh.local.Leave(slot, sh.instance(slot).id, room) {
		return
	}
	r := sh.sockets.At(slot)
	if r.rooms > 0 {
		r.rooms--
	}
	sh.srv.seq.changed(sh, slot, room, false, effect)
	sh.saw(slot, Observation{Kind: ObservedLeave, Room: room})
	if r.is&followed != 0 {
		sh.moved(slot, false, []string{strings.Clone(room)})
	}
}

// isOwn tells whether room is the socket's own id, a room that it is always in:
// it is kept only if the id is not that of the Ref.
func (sh *shard) isOwn(slot uint32, room string) bool {
	if sh.srv.named.Load() {
		return room == sh.id(slot)
	}
	ref, ok := sh.srv.ids.Parse([]byte(room))
	return ok && rooms.Ref(ref) == sh.ref(slot)
}

// operatorStep is how many sockets an operator does something to before the loop
// serves others.
const operatorStep = 64

// roomStep is how many times sockets join or leave a room before that: each takes so little
// that what is around a step would be more. What is for the loop's sockets alone waits in
// the mailbox until all have, so many steps are a long time where there are many events
// between two.
const roomStep = 256

// A sweep does something to sockets of one loop, some at a time, in its place in
// the loop's mailbox: what is behind it finds it done.
type sweep struct {
	sh   *shard
	find func() []rooms.Ref // is called at the beginning
	f    func(sh *shard, slot uint32)
	done func(sh *shard) // is called at the end; nil: nobody
	step int             // sockets at a time

	refs  []rooms.Ref
	begun bool
}

// Run does a step.
func (w *sweep) Run(l *loop.Loop) {
	if !w.begun {
		w.begun, w.refs = true, w.find()
	}
	n := min(len(w.refs), w.step)
	step := w.refs[:n]
	if w.refs = w.refs[n:]; len(w.refs) > 0 {
		l.Hold(w) // here, so that a panic below does not end it
	}
	for _, ref := range step {
		if slot := w.sh.lookup(ref); slot != 0 { // it may have gone meanwhile
			w.f(w.sh, slot)
		}
	}
	if len(w.refs) == 0 && w.done != nil {
		w.done(w.sh)
	}
}

// stepOf is how many sockets join or leave rooms at a time.
func stepOf(names []string) int { return max(roomStep/max(len(names), 1), 1) }

// refs returns this loop's sockets of targets that b addresses.
func (b BroadcastOperator) refs(sh *shard, targets []*instance) (refs []rooms.Ref) {
	for _, in := range targets {
		for _, slot := range sh.matching(b, in) {
			refs = append(refs, sh.ref(slot))
		}
	}
	return refs
}

// each has f called on every loop with the sockets of targets addressed there, step at a
// time. It does not wait; done, if not nil, is called when a loop has had its turn.
// Loops that have ended are counted.
func (b BroadcastOperator) each(targets []*instance, step int, f func(sh *shard, slot uint32), done func(sh *shard)) (ended int) {
	for _, sh := range b.server().shards {
		if !sh.loop.Post(&sweep{sh: sh, find: func() []rooms.Ref { return b.refs(sh, targets) }, f: f, done: done, step: step}) {
			ended++
		}
	}
	return ended
}

// visit calls f on every loop with the sockets addressed there, and waits: a step
// of them at a time, between which other things happen.
func (b BroadcastOperator) visit(f func(sh *shard, slot uint32)) {
	targets := b.targets()
	for _, sh := range b.server().shards {
		var refs []rooms.Ref
		sh.loop.Ask(func() { refs = b.refs(sh, targets) })
		for step := range slices.Chunk(refs, operatorStep) {
			sh.loop.Ask(func() {
				for _, ref := range step {
					if slot := sh.lookup(ref); slot != 0 {
						f(sh, slot)
					}
				}
			})
		}
	}
}

// Join puts the sockets addressed into rooms. A broadcast emitted after it by
// the same goroutine reaches them. With recovery, those whose clients are away and
// may come back are among them, as for Leave and Disconnect. Node: socketsJoin.
func (b BroadcastOperator) Join(names ...string) {
	b.admit()
	b.move(rooms.Joined, names)
}

// move has the sockets addressed join or leave rooms, on all servers.
func (b BroadcastOperator) move(op rooms.Op, names []string) {
	p, err := b.server().enter(0)
	if err != nil || b.nobody() {
		p.Leave()
		return
	}
	defer p.Leave()
	names = slices.Clone(names) // the caller's to use again
	here, there := b.join, rooms.Adapter.Join
	if op == rooms.Left {
		here, there = b.leave, rooms.Adapter.Leave
	}
	seq := b.server().seq
	seq.change(b.address(), func(effect uint64) { here(names, effect) })
	if c, t := b.cluster(); c != nil {
		seq.announce(t, op, names, func() { there(c, t, names) })
	}
}

// admit waits while more waits for the loops than may: see loop.Admit.
func (b BroadcastOperator) admit() {
	if b.nobody() || b.direct && b.socket().gone() {
		return // who has gone does not wait
	}
	for _, sh := range b.server().shards {
		sh.loop.Admit()
	}
}

func (b BroadcastOperator) join(names []string, effect uint64) {
	targets, srv := b.targets(), b.server()
	r := srv.seq.revise(b, rooms.Joined, names)
	for i := range srv.shards {
		for _, in := range targets {
			for _, room := range names {
				srv.rooms.Expect(i, in.id, room)
			}
		}
	}
	b.each(targets, stepOf(names), func(sh *shard, slot uint32) {
		for _, room := range names {
			sh.joinRoom(slot, room, effect)
		}
	}, func(sh *shard) {
		r.passed(sh)
		for _, in := range targets {
			for _, room := range names {
				sh.local.Arrived(in.id, room)
			}
		}
	})
}

// Leave takes the sockets addressed out of rooms. Node: socketsLeave.
func (b BroadcastOperator) Leave(names ...string) {
	b.admit()
	b.move(rooms.Left, names)
}

func (b BroadcastOperator) leave(names []string, effect uint64) {
	r := b.server().seq.revise(b, rooms.Left, names)
	b.each(b.targets(), stepOf(names), func(sh *shard, slot uint32) {
		for _, room := range names {
			sh.leaveRoom(slot, room, effect)
		}
	}, r.passed)
}

// DisconnectOptions say how a client is disconnected. The zero value has a socket
// leave its namespace.
type DisconnectOptions struct {
	// Conn has all namespaces of the connection left, and the connection closed.
	// Node: close.
	Conn bool
	// Code and Reason go with the close of a WebSocket, as of
	// [Socket.CloseConnWith]; they need Conn. A Reason alone has the code 1000. Zero:
	// nothing is said, or eio.CloseForbidden with eio.Options.CloseCodes. They travel to
	// no other server, since Node's protocol has no room for them: there it is as if
	// they were zero.
	Code   uint16
	Reason string
}

// checked returns o with its defaults, or tells what is wrong with it.
func (o DisconnectOptions) checked() (DisconnectOptions, error) {
	if o.Code == 0 && o.Reason == "" {
		return o, nil
	}
	if !o.Conn {
		return o, errors.New("sio: DisconnectOptions has a Code or a Reason without Conn: only a connection is closed with them")
	}
	o.Code = cmp.Or(o.Code, 1000)
	return o, eio.CheckClose(o.Code, o.Reason)
}

// end closes a session as o says, which is checked.
func (o DisconnectOptions) end(es eio.Session) {
	if o.Code == 0 {
		es.CloseFor(eio.CloseForbidden, "disconnected")
		return
	}
	_ = es.CloseWith(o.Code, o.Reason) // its one error is that of checked
}

// Disconnect disconnects the sockets addressed, as [Socket.Disconnect] does. With
// recovery, clients that are away and come back are new ones. To other servers only
// o.Conn travels. The error is about o; nobody is disconnected then. Node:
// disconnectSockets.
func (b BroadcastOperator) Disconnect(o DisconnectOptions) error {
	o, err := o.checked()
	switch {
	case err != nil || b.nobody():
		return err
	case b.direct && b.socket().gone():
		err = ErrClosed // its client may be away
	}
	b.admit()
	p, gone := b.server().enter(0)
	if gone != nil {
		return gone
	}
	defer p.Leave()
	seq := b.server().seq
	seq.change(b.address(), func(uint64) { b.disconnect(o) })
	if c, t := b.cluster(); c != nil {
		seq.announce(t, rooms.Disconnected, nil, func() { c.Disconnect(t, o.Conn) })
	}
	return err
}

func (b BroadcastOperator) disconnect(o DisconnectOptions) {
	r := b.server().seq.revise(b, rooms.Disconnected, nil)
	b.each(b.targets(), operatorStep, func(sh *shard, slot uint32) { sh.disconnect(slot, o) }, r.passed)
}

// Sockets returns the sockets addressed, those of this server, in no order. It
// asks every loop and waits. See [BroadcastOperator.FetchSockets] for those of
// others.
func (b BroadcastOperator) Sockets() (all []Socket) {
	b.server().seq.settle(b.address())
	b.visit(func(sh *shard, slot uint32) { all = append(all, sh.socket(slot)) })
	return all
}

// JoinWait is [Socket.Join] and waits: when it returns nil, the socket is in the
// rooms, and what any server of the cluster emits to them from now on reaches it.
// A server that subscribes to rooms one by one, as with Redis, does so when the
// first of its sockets joins, and hears of that a moment later: after a plain Join,
// an event that another server emits within that moment may be lost. Use JoinWait
// before the client is told that it has joined.
//
// It is an error if the socket has left (ErrClosed; its client may be away, as for Join), if it may join no more rooms
// (ErrTooManyRooms), if a name is too long (ErrRoomName), if too much waits for the
// functions of OnJoin (ErrOverloaded), or if ctx is done before; then it may be in some of the rooms,
// and what is emitted reaches it as after Join. It must not be called in an inline
// handler, whose loop it would keep waiting.
func (s Socket) JoinWait(ctx context.Context, rooms ...string) error {
	switch {
	case s.gone():
		s.Join(rooms...)
		return ErrClosed
	case s.srv().waits():
		return ErrInline
	}
	rooms = slices.Clone(rooms) // the caller's to use again
	s.Join(rooms...)
	return s.joined(ctx, rooms)
}

// joined is the rest of JoinWait, once the rooms have been asked for.
func (s Socket) joined(ctx context.Context, rooms []string) error {
	full, most := false, false
	there := s.ask(func(sh *shard, slot uint32) {
		most = int(sh.sockets.At(slot).rooms) >= sh.srv.o.MaxRooms
		full = slices.ContainsFunc(rooms, func(room string) bool { return !sh.in(slot, room) })
	})
	switch {
	case !there:
		return ErrClosed
	case full && slices.ContainsFunc(rooms, func(room string) bool { return len(room) > maxRoomName }):
		return ErrRoomName
	case full && !most:
		return ErrOverloaded
	case full:
		return ErrTooManyRooms
	}
	srv := s.srv()
	if srv.cluster == nil {
		return nil
	}
	srv.registry.announce(s.in)
	return srv.cluster.Await(ctx, s.in.name, rooms)
}
