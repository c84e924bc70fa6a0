package sio

import (
	"math"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/budget"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/due"
	"github.com/sioedge/sioedge/sio/internal/packetlog"
	"github.com/sioedge/sioedge/sio/internal/running"
	"github.com/sioedge/sioedge/sio/parser"
)

// leave ends a socket's membership of its session. The handlers see it in its
// rooms, then without; then it is gone.
func (sh *shard) leave(es eio.Session, slot uint32, reason Reason) {
	r := sh.sockets.At(slot)
	if r.state == connecting {
		sh.drop(es, slot)
		return
	}
	t := sh.instance(slot).ns.table.Load()
	var account *budget.Account
	if reason == ClientDisconnect { // it may come and go as often as it likes
		ok := false
		handlers := len(t.disconnecting) + len(t.disconnect)
		if t.rooms != nil {
			handlers++
		}
		if account, ok = sh.toll(es, handlers); !ok {
			return
		}
	}
	sh.instances[r.instance].space.Left.Count(reason)
	back := sh.srv.o.Recovery.Window > 0 && recoverable(reason) && !sh.srv.isOld(es) && r.is&expired == 0
	sh.local.CatchUp(slot)
	sh.saw(slot, Observation{Kind: ObservedDisconnect, Reason: reason})
	sh.srv.seq.remember(sh, slot, reason)
	sh.giveBack(slot)
	sh.tellOwn(slot, false)
	sh.unlink(es, slot)
	r.state = leaving
	sh.forgetDeadline(slot)
	sh.failAcks(slot)
	sh.leaveBehind(slot)
	s := sh.socket(slot)
	if w := sh.srv.watch; w != nil {
		w.Left(s.ID(), string(reason))
	}
	sh.srv.details.end(s.ref, back)
	if l := sh.srv.conns.Of(s.conn); l != nil {
		sh.srv.partings.Put(uint64(s.ref), l)
	}
	p := parting{reason, account, sh.srv.handlers.Begin()} // until farewell
	if len(t.disconnecting) == 0 {
		sh.left(slot, p)
		return
	}
	var names []string
	if r.is&followed != 0 {
		names = sh.otherRooms(slot)
	}
	sh.inbox(slot).put(task{name: "disconnect", run: func() error {
		defer func() { // also if a handler ends the goroutine
			if !sh.loop.Post(loop.TaskFunc(func(*loop.Loop) { sh.left(slot, p) })) {
				account.Done(taskCost)
				s.leaveAll(names, func() { sh.srv.farewell(s, t.disconnect, p) }) // the loop has ended, and all rooms with it
			}
		}()
		for _, h := range t.disconnecting {
			sh.srv.call(s, "disconnect", func() error { h(s, reason); return nil })
		}
		return nil
	}})
}

// A parting is what there is of a socket that leaves, until farewell.
type parting struct {
	reason  Reason
	account *budget.Account // is charged with taskCost until then; or nil
	turn    running.Turn    // of Server.handlers
}

// left ends a socket whose disconnecting handlers have returned. To those that
// follow it is gone.
func (sh *shard) left(slot uint32, p parting) {
	s, t := sh.socket(slot), sh.instance(slot).ns.table.Load()
	var names []string
	if sh.sockets.At(slot).is&followed != 0 {
		names = sh.otherRooms(slot)
	}
	if len(sh.observers) > 0 {
		for _, room := range sh.otherRooms(slot) {
			sh.saw(slot, Observation{Kind: ObservedLeave, Room: room})
		}
	}
	sh.local.Remove(slot)
	goodbye := func() {
		sh.srv.farewell(s, nil, p)
		p.account.Done(taskCost)
	}
	if len(t.disconnect) > 0 {
		b := sh.inbox(slot)
		goodbye = func() {
			b.put(task{name: "disconnect", account: p.account, size: taskCost, run: func() error {
				sh.srv.farewell(s, t.disconnect, p)
				return nil
			}})
		}
	}
	sh.free(slot)
	if len(names) == 0 {
		goodbye()
		return
	}
	s.leaveAll(names, func() {
		if !sh.loop.Post(loop.TaskFunc(func(*loop.Loop) { goodbye() })) {
			p.account.Done(taskCost)
			sh.srv.farewell(s, t.disconnect, p)
		}
	})
	sh.loop.Yield()
}

// reviseGone does something to a socket that its loop has found in slot, unless it is
// there: then it is false.
func (sh *shard) reviseGone(s Socket, slot uint32, op rooms.Op, names []string, effect uint64) bool {
	gone := slot == 0 || sh.sockets.At(slot).state == leaving
	if gone {
		sh.srv.seq.reviseGone(s, op, names, effect)
	}
	return gone
}

// A revision is what an operator does to sockets, for those whose clients are away.
type revision struct {
	all *recovering
	packetlog.Revision
}

// passed notes that a loop has found the sockets it has.
func (r *revision) passed(sh *shard) {
	if r == nil {
		return
	}
	r.all.mu.Lock()
	defer r.all.mu.Unlock()
	r.all.revisions.Passed(&r.Revision, sh.loop.Index())
}

// Run moves the socket. Who leaves is still in its rooms, and will be taken out of all.
func (m *ownMove) Run(*loop.Loop) {
	s, sh := m.s, m.s.shard()
	slot := sh.lookup(s.ref)
	if m.noted && !sh.srv.seq.came(&m.Revision) {
		sh.reviseGone(s, slot, m.Op, m.Names, m.effect)
	}
	for _, room := range m.Names {
		switch {
		case slot == 0:
		case m.Op == rooms.Joined:
			sh.joinRoom(slot, room, m.effect)
		default:
			sh.leaveRoom(slot, room, m.effect)
		}
		if m.Op == rooms.Joined {
			sh.local.Arrived(s.in.id, room)
		}
	}
}

func (q *recovering) reviseOwn(s Socket, r *packetlog.Revision, effect uint64) (noted bool) {
	r.Sender = s.ref
	q.revisions.BeginOwn(r, effect)
	return true
}

func (q *logged) reviseOwn(s Socket, r *packetlog.Revision, effect uint64) (noted bool) {
	return !q.log.ReviseRef(s.ref, r.Op, r.Names, effect) && q.recovering.reviseOwn(s, r, effect)
}

func (q *recovering) came(r *packetlog.Revision) (done bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.revisions.PassedOwn(r)
}

// leaveAll tells the functions of rooms that a socket has left all its rooms, and
// calls then, on any goroutine.
func (s Socket) leaveAll(names []string, then func()) {
	if len(names) == 0 {
		then()
		return
	}
	m := newMove(s, false, names)
	m.then = then
	m.begin()
}

// farewell has the disconnect handlers called and forgets what was kept for the
// socket. It ends what leave began.
func (srv *Server) farewell(s Socket, handlers []func(Socket, Reason), p parting) {
	defer srv.handlers.End(p.turn)
	defer srv.forget(s.ref)
	for _, h := range handlers {
		srv.call(s, "disconnect", func() error { h(s, p.reason); return nil })
	}
}

// forget ends what is kept for a socket, which is gone by now.
func (srv *Server) forget(ref rooms.Ref) {
	srv.details.remove(ref)
	srv.values.Take(uint64(ref))
	srv.partings.Take(uint64(ref))
}

// disconnect makes a socket leave from our side: its client is told. With
// Conn, so are all sockets of its session, and the session ends.
func (sh *shard) disconnect(slot uint32, o DisconnectOptions) {
	r := sh.sockets.At(slot)
	es := sh.session(slot)
	switch {
	case r.state == leaving:
	case r.state == connecting && !o.Conn: // by a middleware
		name := sh.instance(slot).name
		sh.space(sh.instance(slot).ns).Refused++
		sh.justEnded.End(sh.loop, es, name)
		sh.drop(es, slot)
		sh.reject(es, name, &Error{Message: "disconnected"})
	case !o.Conn:
		sh.shut(slot)
		sh.justEnded.End(sh.loop, es, sh.instance(slot).name)
		sh.sayDisconnect(es, slot)
		sh.leave(es, slot, ServerDisconnect)
	default:
		for slot := es.User() &^ userFlags; slot != 0; slot = es.User() &^ userFlags {
			if sh.sockets.At(slot).state == connected {
				sh.shut(slot)
				sh.sayDisconnect(es, slot)
			}
			sh.leave(es, slot, ServerDisconnect)
		}
		o.end(es)
	}
}

func (sh *shard) sayDisconnect(es eio.Session, slot uint32) {
	sh.local.CatchUp(slot)
	sh.transmit(es, eio.AppendText(nil, parser.AppendDisconnect(nil, sh.instance(slot).name)), false, nil)
}

// ExpiredCode is what a WebSocket is closed with when a socket's deadline has come,
// unless there is a function for it.
const ExpiredCode = eio.CloseExpired

// ExpireAt sets the socket's deadline, such as the end of what its token allows, or
// moves it. When it comes, f is called, once, as a handler of the socket is: on its
// goroutine, in order with the handlers of its events. It may set another deadline.
// Nil f closes the connection with [ExpiredCode] and the reason "expired", as
// [Socket.CloseConnWith] does: all its namespaces are left, and the client comes back
// by itself, with a new token if it has one. A t that is past is due at once; the zero
// Time takes the deadline away.
//
// The deadline is a moment of the wall clock, by which it is judged: if that is set,
// or the machine sleeps, what is due then is noticed within a second. The order with
// what else the caller does to the socket is kept, and an f that is waiting for its
// turn is called even if the deadline is moved meanwhile.
//
// With recovery, a socket whose deadline has passed is not given back, and one that
// is given back before has its deadline, with nil f: functions do not outlive a
// connection. OnConnect, where Recovered is true, is the place to set another. To another
// process they do not go either: see [Server.CarryDeadlines]. It takes about 50 bytes; sockets without a deadline pay nothing.
func (s Socket) ExpireAt(t time.Time, f func(Socket)) {
	if srv := s.srv(); srv.simulated && t != t.Round(0) { // it has the machine's monotonic clock in it
		t = srv.wall().Add(time.Until(t))
	}
	s.post(func(sh *shard, slot uint32) {
		if sh.sockets.At(slot).state != leaving {
			sh.expireAt(slot, t, f)
		}
	})
}

// Now returns the time that deadlines are judged by: that of the machine, or of a
// simulation, whose clock begins at the time at which it was made. There a moment that
// was reckoned from time.Now is as far off as it is by the machine's clock.
func (srv *Server) Now() time.Time { return srv.wall() }

// overdue tells whether a deadline, of which zero is none, has passed.
func overdue(t, now time.Time) bool { return !t.IsZero() && !t.After(now) }

// deadlines are those of a loop's sockets. Owned by the loop.
type deadlines struct {
	due.Heap[func(Socket)]
	timer loop.Timer
}

// deadlineNap is how long a loop waits for a deadline before it looks at the wall
// clock again: its own stands still while it is away.
const deadlineNap = time.Second

// expireAt is Socket.ExpireAt on the loop.
func (sh *shard) expireAt(slot uint32, t time.Time, f func(Socket)) {
	r, now := sh.sockets.At(slot), sh.srv.wall()
	sh.forgetDeadline(slot)
	r.is &^= expired
	switch {
	case t.IsZero():
		return
	case overdue(t, now):
		sh.expire(slot, f)
		return
	}
	// Years ahead are more than fit, and mean as much as the three hundred that do.
	wait := min(t.Round(0).Sub(now.Round(0)), math.MaxInt64-time.Millisecond) + time.Millisecond - 1
	r.is |= expiring
	sh.deadlines.Set(due.Deadline[func(Socket)]{At: now.UnixMilli() + wait.Milliseconds(), Do: f, Slot: slot})
	sh.awaitDeadline(now)
}

// forgetDeadline takes a socket's deadline away, if it has one.
func (sh *shard) forgetDeadline(slot uint32) {
	if r := sh.sockets.At(slot); r.is&expiring != 0 {
		r.is &^= expiring
		sh.deadlines.Remove(slot)
	}
}

// awaitDeadline has the deadlines looked at when the first is due, or before.
func (sh *shard) awaitDeadline(now time.Time) {
	first, ok := sh.deadlines.First()
	if !ok {
		return
	}
	wait := min(time.UnixMilli(first.At).Sub(now), deadlineNap)
	sh.loop.Schedule(&sh.deadlines.timer, wait, sh.lookAtDeadlines)
}

// lookAtDeadlines ends sockets whose deadlines have passed, some at a time.
func (sh *shard) lookAtDeadlines() {
	now := sh.srv.wall()
	for range operatorStep {
		first, ok := sh.deadlines.First()
		if !ok || first.At > now.UnixMilli() {
			break
		}
		sh.forgetDeadline(first.Slot)
		sh.expire(first.Slot, first.Do)
	}
	sh.awaitDeadline(now)
}

// expire is the end of a socket's time.
func (sh *shard) expire(slot uint32, f func(Socket)) {
	sh.sockets.At(slot).is |= expired
	sh.tally.Expired++
	if f == nil {
		_ = sh.session(slot).CloseWith(ExpiredCode, "expired") // its one error is about these
		return
	}
	s := sh.socket(slot)
	sh.inbox(slot).put(task{name: "expire", run: func() error {
		_ = sh.srv.call(s, "expire", func() error { f(s); return nil }) // which has told OnError
		return nil
	}})
}

// forget has every loop forget what is due.
func (b BroadcastOperator) forget(p *pendingAck) {
	for _, sh := range b.server().shards {
		sh.loop.Post(&forgetting{sh: sh, p: p})
	}
}

// A forgetting forgets an acknowledgement that several sockets owe, some at a time.
type forgetting struct {
	sh   *shard
	p    *pendingAck
	slot uint32 // the last that has been looked at
}

const forgetStep = 4096 // sockets, and acknowledgements due, in one piece

// Run does a step.
func (f *forgetting) Run(l *loop.Loop) {
	sh := f.sh
	for work := 0; work < forgetStep && f.slot < sh.sockets.Max(); work++ {
		f.slot++
		if sh.sockets.At(f.slot).is&extended == 0 {
			continue
		}
		acks := sh.exts[f.slot].acks
		work += len(acks)
		for id, q := range acks {
			if q == f.p {
				sh.takeAck(f.slot, id, &sh.tally.Acks.Late)
			}
		}
	}
	if f.slot < sh.sockets.Max() {
		l.Post(f)
	}
}
