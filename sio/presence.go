package sio

import (
	"context"
	"hash/maphash"
	"iter"
	"slices"
	"sync"

	"github.com/sioedge/sioedge/loop/budget"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/fifo"
	"github.com/sioedge/sioedge/sio/internal/running"
)

// Count returns how many connected sockets are addressed, those of this server. For
// the whole namespace, or one room of it, nobody is asked: the numbers are kept, and
// what the caller has asked for a moment ago may not have happened yet. For all else
// (several rooms, Except, a socket's own operators, a socket's id) every loop is
// asked, which counts by bits and takes microseconds, and waited for. A socket that
// leaves counts until its OnDisconnecting functions have returned.
func (b BroadcastOperator) Count() (n int) {
	srv, targets := b.server(), b.targets()
	if kept := len(b.to) <= 1 && len(b.except) == 0 && b.sender == 0; kept {
		if len(b.to) == 0 {
			for _, in := range targets {
				n += srv.rooms.CountAll(in.id)
			}
			return n
		}
		if _, id := srv.ids.Parse([]byte(b.to[0])); !id {
			for _, in := range targets {
				n += srv.rooms.Count(in.id, b.to[0])
			}
			return n
		}
	}
	srv.seq.settle(b.address())
	for _, sh := range srv.shards {
		sh.loop.Ask(func() {
			for _, in := range targets {
				if b.direct {
					n += len(sh.matching(b, in))
				} else {
					n += sh.local.Count(b.addressees(in))
				}
			}
		})
	}
	return n
}

// In tells whether the socket is in a room, its own among them. It asks the socket's
// loop and waits, as [Socket.Rooms]; see [Msg.In] for its events.
func (s Socket) In(room string) bool { return s.inOne([]string{room}) }

// CountAll is Count over all servers of the cluster. It waits for the others, or for
// ctx; errors are as in [BroadcastOperator.FetchSockets], with the number of those
// that are known. The adapters of this module ask for numbers alone. Node's servers
// cannot be asked so, nor by an adapter that is no [rooms.Counter]: of each of their
// sockets all that is known is fetched, and counted here.
func (b BroadcastOperator) CountAll(ctx context.Context) (int, error) {
	if b.server().waits() {
		return 0, ErrInline
	}
	n := b.Count()
	c, t := b.cluster()
	if c == nil {
		return n, nil
	}
	more, err := c.(rooms.Counter).Count(ctx, t) // which confine adds to those that cannot
	return n + more, err
}

// FetchForeign is [BroadcastOperator.FetchSockets] of servers that are not of this module:
// those of Node with the same adapter. It waits for them, or for ctx; the error is as of
// that.
func (b BroadcastOperator) FetchForeign(ctx context.Context) ([]RemoteSocket, error) {
	if b.server().waits() {
		return nil, ErrInline
	}
	c, t := b.cluster()
	if c == nil {
		return nil, nil
	}
	t.Except = add(t.Except, []string{foreign})
	members, err := c.Members(ctx, t)
	return b.remote(members), err
}

// RoomCounts yields the rooms of the instances that b addresses with the numbers of
// their connected sockets on this server, in no order; the rooms of b do not matter,
// and sockets' own rooms are not among them. It takes a part of the rooms at a time:
// one that is there throughout is yielded once (of a namespace with parameters, once
// for each instance), one that comes or goes meanwhile may be.
func (b BroadcastOperator) RoomCounts() iter.Seq2[string, int] {
	return func(yield func(room string, sockets int) bool) {
		srv, more := b.server(), true
		for _, in := range b.targets() {
			srv.rooms.Each(in.id, func(part []rooms.RoomCount) bool {
				for _, r := range part {
					if more && !srv.isSomeonesOwn(r.Name) {
						more = yield(r.Name, r.Count)
					}
				}
				return more
			})
			if !more {
				return
			}
		}
	}
}

// Lookup returns the socket of this server that has an id, or is shown by that
// ([Socket.PublicID]), also one that was recovered and has it from before. It is false if there is none, or none that is
// connected, in any of the namespace's instances; id may be anything. It asks the
// loop of the socket, and waits. [BroadcastOperator.FetchSockets] of To(id) finds one
// on any server.
func (n *Namespace) Lookup(id string) (s Socket, ok bool) {
	srv := n.srv
	take := func(sh *shard, slot uint32) bool {
		if !ok && sh.sockets.At(slot).state == connected && sh.instance(slot).ns == n {
			x := sh.socket(slot)
			if sh.id(slot) == id || x.PublicID() == id {
				s, ok = x, true
			}
		}
		return !ok
	}
	srv.seq.settle(n.name)
	if x, mine := srv.ids.Parse([]byte(id)); mine && rooms.Ref(x).Loop() < len(srv.shards) {
		sh := srv.shards[rooms.Ref(x).Loop()]
		sh.loop.Ask(func() {
			if slot := sh.lookup(rooms.Ref(x)); slot != 0 {
				take(sh, slot)
			}
		})
	}
	if ok || !srv.named.Load() || len(id) > maxRoomName {
		return s, ok
	}
	// Whoever has an id that is not its Ref's is in the room of that name.
	for _, in := range srv.registry.of(n) {
		srv.rooms.Loops(in.id, id, func(i int) {
			sh := srv.shards[i]
			sh.loop.Ask(func() {
				sh.local.EachIn(in.id, id, func(slot uint32) bool { return take(sh, slot) })
			})
		})
	}
	return s, ok
}

// Functions of rooms are called on a goroutine of a lane, that exists while there is
// something to tell: an instance of a namespace has one lane, which is the order of
// all that happens in it. What waits there is charged to the connection of the socket,
// and bounded as a whole.

// roomHooks are what is registered for rooms. Immutable.
type roomHooks struct {
	join, leave      []func(s Socket, room string)
	created, deleted []func(namespace, room string)
}

// OnJoin adds a function that is called when a socket is in a room, other than its
// own: when it has joined it, or as it is admitted for those that it joined in a
// middleware and those that it has again by recovery ([Socket.Recovered] tells).
//
// Functions of OnJoin, OnLeave, OnRoomCreated and OnRoomDeleted are told of the sockets
// of this server. For an instance of the namespace they are called one at a time, in
// the order of what happened: for a room created, joined, left, deleted, each in
// pairs. They run on a goroutine, may block, and may call anything; but they hold up
// each other, not the sockets, until so much waits that the clients whose sockets
// join are not read from, or rooms are not joined any more ([Options].MaxLeftBehind).
// Sockets that are there when the first of them is added are told of as if they joined
// their rooms then; to one that is added later, what has happened before is not told.
func (n *Namespace) OnJoin(h func(s Socket, room string)) {
	n.hook(func(x *roomHooks) { x.join = append(slices.Clip(x.join), h) })
}

// OnLeave adds a function that is called when a socket is in a room no more that
// OnJoin was told of: when it has left it, or for each of its rooms when it has left the
// namespace, after the functions of OnDisconnecting and before those of OnDisconnect.
// Data and keys of the socket are there still, and [Socket.Recoverable] tells whether
// its client may come back to it.
func (n *Namespace) OnLeave(h func(s Socket, room string)) {
	n.hook(func(x *roomHooks) { x.leave = append(slices.Clip(x.leave), h) })
}

// OnRoomCreated adds a function that is called when a room gets its first socket, in
// the instance of that name, and before OnJoin is. Node: the adapter's create-room.
func (n *Namespace) OnRoomCreated(h func(namespace, room string)) {
	n.hook(func(x *roomHooks) { x.created = append(slices.Clip(x.created), h) })
}

// OnRoomDeleted adds a function that is called when a room's last socket has left it,
// after OnLeave was. Node: the adapter's delete-room.
func (n *Namespace) OnRoomDeleted(h func(namespace, room string)) {
	n.hook(func(x *roomHooks) { x.deleted = append(slices.Clip(x.deleted), h) })
}

func (n *Namespace) hook(f func(x *roomHooks)) {
	first := false
	n.change(func(t *table) {
		x := roomHooks{}
		if first = t.rooms == nil; !first {
			x = *t.rooms
		}
		f(&x)
		t.rooms = &x
	})
	if first && n.Count() > 0 { // who is not counted yet will see the table
		b := n.All()
		b.each(b.targets(), operatorStep, (*shard).follow, nil)
	}
}

// follow has the functions of rooms told of a connected socket from now on, and of
// the rooms that it is in.
func (sh *shard) follow(slot uint32) {
	r := sh.sockets.At(slot)
	if r.state != connected || r.is&followed != 0 {
		return
	}
	r.is |= followed
	if names := sh.otherRooms(slot); len(names) > 0 {
		sh.moved(slot, true, names)
	}
}

// Recoverable tells, of a socket that leaves, whether its client is given it again if
// it comes back in time: see [Recovery]. It answers in the functions of OnDisconnecting,
// OnLeave and OnDisconnect, and is false before and after.
func (s Socket) Recoverable() bool {
	d := s.srv().details.get(s.ref)
	return d != nil && d.recoverable
}

const (
	roomLanes = 16  // of a namespace, for its instances
	moveSize  = 192 // bytes that a move takes beside its rooms, about
)

// A move is rooms that a socket has joined, or left, at one time.
type move struct {
	s       Socket
	joined  bool
	rooms   []string
	account *budget.Account
	charged int
	size    int64
	then    func() // is called when all have been told; nil: nobody
}

// A moveLane is the moves in some instances, in order.
type moveLane struct {
	mu      sync.Mutex
	moves   fifo.Queue[move]
	running bool
	began   running.Turn // while it runs

	// Owned by the goroutine that runs.
	move    move       // being told
	next    int        // of move.rooms
	calls   []roomCall // for the room before it; a function that ends the goroutine ends none but its own
	members map[place]int
}

// A roomCall is a call of a function of rooms.
type roomCall struct {
	event  string
	moved  func(s Socket, room string)  // or
	turned func(namespace, room string) // created, or deleted
}

// A place is a room of an instance.
type place struct{ namespace, room string }

var laneSeed = maphash.MakeSeed()

func (n *Namespace) lane(instance string) *moveLane {
	return &n.lanes[maphash.String(laneSeed, instance)%roomLanes]
}

// moved tells the functions of rooms that a connected socket has joined or left some.
func (sh *shard) moved(slot uint32, joined bool, names []string) {
	m := newMove(sh.socket(slot), joined, names)
	m.account = sh.session(slot).Budget()
	m.charged = m.account.Burden(int(m.size))
	m.begin()
	sh.loop.Yield()
}

// newMove makes a move of names, which are its own from then on.
func newMove(s Socket, joined bool, names []string) move {
	m := move{s: s, joined: joined, rooms: names, size: moveSize}
	for _, room := range names {
		m.size += int64(len(room)) + 16
	}
	return m
}

// begin queues a move.
func (m move) begin() {
	srv, l := m.s.srv(), m.s.in.ns.lane(m.s.in.name)
	srv.moving.Add(m.size)
	l.mu.Lock()
	l.moves.Put(m)
	start := !l.running
	if l.running = true; start {
		l.began = srv.handlers.Begin()
	}
	l.mu.Unlock()
	if start {
		l.start(srv)
	}
}

// start has the lane's goroutine begin, which ends when there are no moves.
func (l *moveLane) start(srv *Server) { srv.run(func() { l.work(srv) }) }

func (l *moveLane) work(srv *Server) {
	empty := false
	defer func() {
		if empty {
			return
		}
		l.start(srv) // a function has ended this goroutine: the next one goes on behind it
	}()
	for {
		if len(l.calls) > 0 {
			c := l.calls[0]
			l.calls = l.calls[1:]
			c.do(srv, l.move.s, l.move.rooms[l.next-1])
			continue
		}
		if l.next < len(l.move.rooms) {
			l.next++
			l.tell(l.move.rooms[l.next-1])
			continue
		}
		l.done(srv)
		if empty = !l.take(srv); empty {
			return
		}
	}
}

// done ends the move that was told.
func (l *moveLane) done(srv *Server) {
	m := l.move
	l.move, l.next = move{}, 0
	srv.moving.Add(-m.size)
	m.account.Done(m.charged)
	if m.then != nil {
		m.then()
	}
}

// take begins with the next move. It is false if there is none.
func (l *moveLane) take(srv *Server) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.move, l.running = l.moves.Take(); !l.running {
		srv.handlers.End(l.began)
	}
	return l.running
}

// tell has the calls made for one room of the move.
func (l *moveLane) tell(room string) {
	in := l.move.s.in
	at, h := place{in.name, room}, in.ns.table.Load().rooms
	l.calls = nil
	if l.move.joined {
		if l.members == nil {
			l.members = map[place]int{}
		}
		if l.members[at]++; l.members[at] == 1 {
			l.turn("join", h.created)
		}
		l.step("join", h.join)
		return
	}
	if l.members[at] == 0 { // it has left while the loop ended
		return
	}
	l.step("leave", h.leave)
	if l.members[at]--; l.members[at] > 0 {
		return
	}
	l.turn("leave", h.deleted)
	if delete(l.members, at); len(l.members) == 0 {
		l.members = nil // maps do not shrink
	}
}

func (l *moveLane) step(event string, all []func(s Socket, room string)) {
	for _, h := range all {
		l.calls = append(l.calls, roomCall{event: event, moved: h})
	}
}

func (l *moveLane) turn(event string, all []func(namespace, room string)) {
	for _, h := range all {
		l.calls = append(l.calls, roomCall{event: event, turned: h})
	}
}

func (c *roomCall) do(srv *Server, s Socket, room string) {
	_ = srv.call(s, c.event, func() error { // which has told OnError
		if c.moved != nil {
			c.moved(s, room)
		} else {
			c.turned(s.in.name, room)
		}
		return nil
	})
}

// jammed tells whether so much waits for the functions of rooms, if a namespace has
// any, that no room of it may be joined, and says so then.
func (srv *Server) jammed(ns *Namespace) bool {
	n := srv.moving.Load()
	if n <= int64(srv.o.MaxLeftBehind) || ns.table.Load().rooms == nil {
		return false
	}
	srv.notice.Warn("rooms are not joined, and namespaces not entered, since too much waits for OnJoin and OnLeave",
		"flag", "--max-left-behind", "bytes", n, "bound", srv.o.MaxLeftBehind)
	return true
}

// otherRooms returns the rooms of a socket without its own.
func (sh *shard) otherRooms(slot uint32) []string {
	return slices.DeleteFunc(sh.local.Rooms(slot), func(room string) bool { return sh.isOwn(slot, room) })
}
