package sio

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/packetlog"
)

func (q *recovering) recover(sh *shard, es eio.Session, slot uint32, auth []byte) bool {
	sh.loop.Check()
	sh.identify(slot)
	var c comeback
	if len(auth) == 0 || json.Unmarshal(auth, &c) != nil || c.PID == nil {
		return false
	}
	if old := q.holder(*c.PID); old != 0 {
		if account, ok := sh.toll(es, 1); ok {
			q.challenge(sh, slot, old, c, account)
		}
		return true
	}
	return q.kept.regain(sh, es, slot, c)
}

// holder returns the socket that has a pid at this moment, 0 if none has.
func (q *recovering) holder(pid string) rooms.Ref {
	q.mu.Lock()
	ref, ok := q.named[pid]
	q.mu.Unlock()
	if !ok {
		x, mine := q.pids.Parse([]byte(pid))
		if !mine {
			return 0
		}
		ref = rooms.Ref(x)
	}
	if !q.srv.alive(ref) {
		return 0
	}
	return ref
}

// claimed gives a connecting socket what it had, and has it admitted.
func (q *recovering) claimed(sh *shard, es eio.Session, slot uint32, c claim) {
	sh.claims[slot] = c
	c.state.recovered = true
	sh.assume(slot, c.state)
	if q.srv.o.Recovery.RunMiddlewares {
		sh.enterNamespace(es, slot)
		return
	}
	q.resume(sh, slot)
}

func (q *recovering) admit(sh *shard, es eio.Session, slot uint32) {
	sh.loop.Check()
	if _, ok := sh.claims[slot]; ok {
		q.resume(sh, slot)
		return
	}
	// Acceptance is behind everything that was emitted until now, which a new socket
	// does not get, and before what will be, which it may come back for.
	ref := sh.ref(slot)
	q.mu.Lock()
	start := q.kept.reached(sh.instance(slot).name)
	wake := sh.loop.PostQuiet(loop.TaskFunc(func(*loop.Loop) {
		if slot := sh.lookup(ref); slot != 0 && sh.sockets.At(slot).state == connecting {
			sh.sockets.At(slot).start = positionOf(start)
			sh.accept(sh.session(slot), slot, sh.instance(slot).ns.table.Load())
		}
	}))
	q.mu.Unlock()
	if wake {
		sh.loop.Wake()
	}
}

// searchHere is how many steps of it a loop makes: for more there is a goroutine.
const searchHere = 4

// resume goes on with a recovery when the socket is admitted.
func (q *recovering) resume(sh *shard, slot uint32) {
	c := sh.claims[slot]
	step := func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return c.step()
	}
	done := false
	for i := 0; !done && (i < searchHere || q.srv.simulated); i++ { // a simulation has no goroutines
		done = step()
	}
	if done {
		q.reconnect(sh, slot)
		return
	}
	account, ok := sh.toll(sh.session(slot), 1)
	if !ok {
		return
	}
	ref := sh.ref(slot)
	// ends when what was missed has been found
	go func() {
		defer account.Done(taskCost)
		for !step() {
			continue
		}
		sh.loop.Post(loop.TaskFunc(func(*loop.Loop) {
			if slot := sh.lookup(ref); slot != 0 && sh.claims[slot].search == c.search {
				q.reconnect(sh, slot)
			}
		}))
	}()
}

// reconnect posts the rest of a recovery: behind everything that was emitted until
// now, which is replayed, and before what will be, which is delivered. A socket
// that cannot be made whole is a new one.
func (q *recovering) reconnect(sh *shard, slot uint32) {
	c, in, es := sh.claims[slot], sh.instance(slot), sh.session(slot)
	q.mu.Lock()
	missed, names, ok, last := c.finish(sh.replayable(es))
	switch {
	case !last:
		q.mu.Unlock()
		q.resume(sh, slot)
		return
	case !ok:
		q.mu.Unlock()
		delete(sh.claims, slot)
		sh.renounce(slot)
		sh.enterNamespace(es, slot)
		return
	}
	for _, m := range missed {
		sh.replayed[es.Ref()] += int64(m.Size()) + packetlog.ReplayBytes
	}
	ref, resumed := sh.ref(slot), q.kept.reached(in.name)
	q.named[c.state.PID] = ref
	c.resumed(ref)
	names = append(slices.Clone(names), c.state.ID)
	for _, room := range names {
		q.srv.rooms.Expect(sh.loop.Index(), in.id, room)
	}
	wake := sh.loop.PostQuiet(loop.TaskFunc(func(*loop.Loop) { q.restore(sh, ref, in, c, names, missed, resumed) }))
	q.mu.Unlock()
	if wake {
		sh.loop.Wake()
	}
}

// replayable returns how many bytes a session's client may be sent of what it has
// missed: what any may, less what it has been sent in other namespaces.
func (sh *shard) replayable(es eio.Session) int64 {
	return sh.srv.mostReplayed() - sh.replayed[es.Ref()]
}

// restore connects a recovered socket: into its rooms, what it missed, and then
// the answer to its CONNECT, until which the client keeps the events back.
func (q *recovering) restore(sh *shard, ref rooms.Ref, in *instance, c claim, names []string, missed []*message, resumed uint64) {
	slot := sh.lookup(ref)
	alive := slot != 0 && sh.sockets.At(slot).state == connecting
	if alive {
		sh.rejoin(slot, names)
	}
	for _, room := range names {
		sh.local.Arrived(in.id, room)
	}
	if !alive {
		return
	}
	delete(sh.claims, slot)
	c.back()
	sh.sockets.At(slot).start = positionOf(c.from)
	sh.resumed[slot] = milestone{sh.loop.Now(), resumed}
	es := sh.session(slot)
	form := sh.form(es)
	for _, m := range missed {
		if p := m.in(form); p != nil {
			es.SendPrepared(p, false)
		}
	}
	sh.accept(es, slot, in.ns.table.Load())
	es.Together() // who gets a part of it, and comes back once more, has that twice
	if slot := sh.lookup(ref); slot != 0 && c.state.Expires != 0 && sh.sockets.At(slot).is&(expiring|expired) == 0 {
		sh.expireAt(slot, time.UnixMilli(c.state.Expires), nil)
	}
}

// giveUp puts back what a socket has claimed that goes while it is connecting, or
// is refused. What it has been given back already, and was not accepted with, has
// gone.
func (q *recovering) giveUp(sh *shard, slot uint32) {
	sh.loop.Check()
	c, ok := sh.claims[slot]
	if !ok {
		if _, ok := sh.resumed[slot]; ok {
			delete(sh.resumed, slot)
			q.forgetName(sh, slot, q.pid(sh.ref(slot)))
		}
		return
	}
	delete(sh.claims, slot)
	q.forgetName(sh, slot, c.state.PID)
	c.giveUp()
}

// forgetName forgets that a socket has a private id.
func (q *recovering) forgetName(sh *shard, slot uint32, pid string) {
	q.mu.Lock()
	if q.named[pid] == sh.ref(slot) {
		delete(q.named, pid)
	}
	q.mu.Unlock()
}

func (q *recovering) remember(sh *shard, slot uint32, reason Reason) {
	sh.loop.Check()
	if q.srv.isOld(sh.session(slot)) {
		return // or it does not know how to come back
	}
	x := sh.snapshot(slot)
	x.From = q.proven(sh, slot)
	delete(sh.resumed, slot)
	q.forgetName(sh, slot, x.PID)
	if !recoverable(reason) || sh.sockets.At(slot).is&expired != 0 {
		return
	}
	x.handshake = Handshake{} // it comes back with another
	q.kept.save(sh.socket(slot), x, sh.loop.Index())
}

func (q *recovering) holds(ref rooms.Ref, pid string) {
	q.mu.Lock()
	q.named[pid] = ref
	q.mu.Unlock()
}

func (q *recovering) pid(ref rooms.Ref) string {
	if d := q.srv.details.get(ref); d != nil && d.pid != "" {
		return d.pid
	}
	return string(q.pids.Append(nil, uint64(ref)))
}

// A logged sequencer keeps events and sockets in this server's own log: see
// packetlog.
type logged struct {
	prompt
	*recovering
	log    *packetlog.Log
	marked uint64 // the last place of which the loops were told; guarded by mu
}

func newLogged(r *recovering) *logged {
	q := &logged{recovering: r}
	r.kept = q
	return q
}

func (q *logged) start() {
	q.recovering.start()
	q.log = packetlog.New(packetlog.Options{
		Window: q.window, Proof: q.proof, MaxBytes: q.most, MaxRooms: q.srv.o.MaxRooms,
		Now: q.srv.now, Arm: q.arm, Named: q.srv.idRef, Counts: &q.counts, Revisions: &q.revisions,
	})
}

func (q *logged) emitTo(s Socket, event string, args []any, plain bool) error {
	if s.gone() {
		return ErrClosed
	}
	buf := packets.Get()
	defer packets.Put(buf)
	e, err := q.srv.scratchEvent(buf, event, args)
	if err != nil {
		return err
	}
	frames, offset := frameLogged(s.in.name, e)
	m := newMessage(frames, plain)
	m.tail = offsetTail
	home := s.home()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.log.Append(packetlog.Entry{Message: m, Name: s.in.name, Ref: home}, offset)
	if !s.shard().loop.Mail(uint64(s.ref), mailKind(plain, offsetTail), frames, nil) {
		return ErrClosed
	}
	return nil
}

func (q *logged) emit(b BroadcastOperator, e rooms.Event) {
	q.deliver(b, e)
	b.relay(e)
}

func (q *logged) deliver(b BroadcastOperator, e rooms.Event) {
	for _, in := range b.targets() {
		if e.Volatile && !packetlog.EndsInString(e.Data) {
			q.srv.deliverTo(b, in, e)
			continue
		}
		frames, offset := frameLogged(in.name, e)
		d := b.delivery(in, frames)
		m := d.Message.(*message)
		m.tail = offsetTail
		x := b.entry(in, m)
		q.mu.Lock()
		if e.Volatile {
			// Not kept. But it must not take the place of the last offset that
			// the client has, so it repeats that.
			q.log.WriteLast(offset)
		} else {
			q.log.Append(x, offset)
		}
		wake := q.srv.post(d)
		q.mu.Unlock()
		q.srv.wake(wake)
	}
}

func (q *logged) change(_ string, f func(effect uint64)) { q.changeNow(f) }

func (q *logged) changeNow(f func(effect uint64)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	f(q.log.Last())
}

func (q *logged) changed(sh *shard, slot uint32, room string, joined bool, effect uint64) {
	sh.loop.Check()
	if q.srv.isOld(sh.session(slot)) {
		return
	}
	if _, claimed := sh.claims[slot]; sh.sockets.At(slot).state == connecting && !claimed {
		return // nothing that was emitted before it is connected is for it
	}
	home, start := sh.socket(slot).home(), sh.sockets.At(slot).start.get()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.log.Changed(sh.instance(slot).name, home, room, joined, effect, start)
}

func (q *logged) revise(b BroadcastOperator, op rooms.Op, names []string) *revision {
	r := b.revision(q.recovering, op, names)
	q.log.Revise(&r.Revision, len(q.srv.shards))
	return r
}

func (q *logged) reviseGone(s Socket, op rooms.Op, names []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.log.ReviseRef(s.ref, op, names)
}

func (q *logged) lane(string) string    { return "" }
func (q *logged) reached(string) uint64 { return q.log.Last() }

func (q *logged) tend() (more bool) {
	if last := q.log.Last(); last != q.marked {
		q.marked = last
		q.tell("", last)
	}
	for {
		more, kept := q.log.Tick()
		if !more {
			return kept
		}
		q.mu.Unlock() // others wait for it
		q.mu.Lock()
	}
}

func (q *logged) recoveries() Recoveries {
	q.mu.Lock()
	defer q.mu.Unlock()
	r := q.counts
	q.log.Kept(&r)
	return Recoveries(r)
}

func (q *logged) save(s Socket, x *socketState, loop int) {
	saved := &packetlog.Saved{Socket: x.Socket, Owner: s.in.ns}
	if x.data != nil || x.values != nil {
		rest := x.socketRest
		saved.Rest = &rest
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.log.Save(saved, loop)
}

func (q *logged) regain(sh *shard, es eio.Session, slot uint32, c comeback) bool {
	name, identity := sh.instance(slot).name, q.srv.identity(sh.ref(slot))
	q.mu.Lock()
	saved, from := q.log.Claim(name, *c.PID, identity, c.Offset, q.srv.wall().UnixMilli())
	x := &socketState{}
	if saved != nil {
		x.Socket = saved.Socket
		if rest, ok := saved.Rest.(*socketRest); ok {
			x.socketRest = *rest
		}
	}
	q.mu.Unlock()
	if saved == nil {
		return false
	}
	found := &logSearch{q, saved, q.log.Gather(saved, from, sh.replayable(es))}
	q.claimed(sh, es, slot, claim{state: x, from: from, search: found})
	return true
}

// A logSearch is a search in the server's own log.
type logSearch struct {
	q     *logged
	saved *packetlog.Saved
	found *packetlog.Gathering
}

func (x *logSearch) step() (done bool) { return x.found.Step() }
func (x *logSearch) resumed(rooms.Ref) {}

func (x *logSearch) finish(most int64) (missed []*message, names []string, ok, last bool) {
	all, ok, last := x.found.Finish(most)
	for _, m := range all {
		missed = append(missed, m.(*message))
	}
	return missed, x.found.Rooms(), ok, last
}

func (x *logSearch) back() {
	x.q.mu.Lock()
	x.q.log.Back(x.saved)
	x.q.mu.Unlock()
}

func (x *logSearch) giveUp() {
	x.q.mu.Lock()
	x.q.log.Unclaim(x.saved)
	x.q.mu.Unlock()
}
