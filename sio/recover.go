package sio

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"slices"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/rooms"
)

// A claim is a socket that is being recovered: its CONNECT has been read, its
// middlewares may be running.
type claim struct {
	saved *savedSocket
	from  uint64     // what it has missed begins behind this place
	found *gathering // finds what it has missed
	watch *watcher   // does, if a cluster keeps that; else nil
}

// A return is what a client that wants its session back sends with its auth. The
// offset is missing as long as it has received no event.
type comeback struct {
	PID    *string `json:"pid"`
	Offset *string `json:"offset"`
}

// identify asks who a connecting socket is, if anybody wants to know.
func (sh *shard) identify(slot uint32) {
	who := sh.srv.o.Recovery.Identity
	if who == nil {
		return
	}
	s, identity := sh.socket(slot), ""
	if err := sh.srv.call(s, "connect", func() error { identity = who(s); return nil }); err != nil {
		identity = rand.Text() // nobody
	}
	if identity != "" {
		sh.srv.details.edit(s.ref, func(d *detail) { d.identity = identity })
	}
}

// recover tries to make slot, which is connecting, the socket that its client had
// before. It is false if the client does not ask for that, or cannot have it.
// Otherwise the connection goes on, here or by a later task.
func (sh *shard) recover(es eio.Session, slot uint32, auth []byte) bool {
	sh.identify(slot)
	var c comeback
	if len(auth) == 0 || json.Unmarshal(auth, &c) != nil || c.PID == nil {
		return false
	}
	if old := sh.srv.holder(*c.PID); old != 0 {
		if account, ok := sh.toll(es, 1); ok {
			sh.challenge(slot, old, c, account)
		}
		return true
	}
	return sh.regain(es, slot, c)
}

// regain is recover when nobody has the socket any more.
func (sh *shard) regain(es eio.Session, slot uint32, c comeback) bool {
	if sh.srv.shared != nil {
		if account, ok := sh.toll(es, 1); ok {
			sh.fetch(slot, *c.PID, c.Offset, account)
		}
		return true
	}
	saved, from := sh.srv.log.claim(sh.instance(slot).name, *c.PID, sh.srv.identity(sh.ref(slot)), c.Offset, sh.srv.wall().UnixMilli())
	if saved == nil {
		return false
	}
	sh.claimed(es, slot, claim{saved: saved, from: from})
	return true
}

// holder returns the socket that has a pid at this moment, 0 if none has.
func (srv *Server) holder(pid string) rooms.Ref {
	srv.log.mu.Lock()
	ref, ok := srv.log.named[pid]
	srv.log.mu.Unlock()
	if !ok {
		x, mine := srv.pids.Parse([]byte(pid))
		if !mine {
			return 0
		}
		ref = rooms.Ref(x)
	}
	if ref.Loop() >= len(srv.shards) || !srv.shards[ref.Loop()].sockets.Is(ref.Slot(), ref.Gen()) {
		return 0
	}
	return ref
}

// identity returns who a socket's client is, as far as anybody wanted to know.
func (srv *Server) identity(ref rooms.Ref) string {
	if d := srv.details.get(ref); d != nil {
		return d.identity
	}
	return ""
}

// claimed gives a connecting socket what it had, and has it admitted.
func (sh *shard) claimed(es eio.Session, slot uint32, c claim) {
	saved := c.saved
	if c.watch == nil {
		c.found = sh.srv.log.gather(sh.srv.ids, saved, c.from, sh.replayable(es))
	}
	sh.claims[slot] = c
	sh.rename(slot, saved.id)
	sh.srv.details.edit(sh.ref(slot), func(d *detail) {
		d.pid, d.data, d.recovered = saved.pid, saved.data, true
	})
	if sh.srv.o.Recovery.RunMiddlewares {
		sh.enterNamespace(es, slot)
		return
	}
	sh.resume(slot)
}

// gatherHere is how many steps of finding what was missed a loop makes by itself:
// for what is more there is a goroutine.
const gatherHere = 4

// resume goes on with a recovery when the socket is admitted.
func (sh *shard) resume(slot uint32) {
	c, log := sh.claims[slot], sh.srv.log
	if c.watch != nil {
		sh.reconnect(slot)
		return
	}
	step := func() bool {
		log.mu.Lock()
		defer log.mu.Unlock()
		return c.found.step()
	}
	done := false
	for i := 0; !done && (i < gatherHere || sh.srv.simulated); i++ { // a simulation has no goroutines
		done = step()
	}
	if done {
		sh.reconnect(slot)
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
			if slot := sh.lookup(ref); slot != 0 && sh.claims[slot].found == c.found {
				sh.reconnect(slot)
			}
		}))
	}()
}

// reconnect posts the rest of a recovery: behind everything that was emitted until
// now, which is replayed, and before what will be, which is delivered. A socket
// that cannot be made whole is a new one.
func (sh *shard) reconnect(slot uint32) {
	c, log, in, es := sh.claims[slot], sh.srv.log, sh.instance(slot), sh.session(slot)
	log.mu.Lock()
	var missed []*message
	ok, last := false, true
	if c.watch != nil {
		missed, ok = sh.srv.shared.end(c.watch, sh.replayable(es))
	} else {
		c.found.most = sh.replayable(es)
		missed, ok, last = c.found.finish()
	}
	switch {
	case !last:
		log.mu.Unlock()
		sh.resume(slot)
		return
	case !ok:
		log.mu.Unlock()
		sh.unname(slot)
		sh.enterNamespace(es, slot)
		return
	}
	for _, m := range missed {
		sh.replayed[es.Ref()] += int64(m.json.Size()) + replayBytes
	}
	ref, resumed := sh.ref(slot), sh.srv.reached(in.name)
	log.named[c.saved.pid] = ref
	if c.watch != nil {
		for _, d := range c.watch.again {
			sent := *d
			sent.ref, sent.time = ref, time.Now()
			sh.srv.shared.directs.add(&sent)
		}
	}
	names := c.watched()
	for _, room := range names {
		sh.srv.rooms.Expect(sh.loop.Index(), in.id, room)
	}
	wake := sh.loop.PostQuiet(loop.TaskFunc(func(*loop.Loop) { sh.restore(ref, in, c, names, missed, resumed) }))
	log.mu.Unlock()
	if wake {
		sh.loop.Wake()
	}
}

// replayable returns how many bytes a session's client may be sent of what it has
// missed: what any may, less what it has been sent in other namespaces.
func (sh *shard) replayable(es eio.Session) int64 {
	return sh.srv.mostReplayed() - sh.replayed[es.Ref()]
}

// mostReplayed is what may be queued for a client, less some for what else there is.
func (srv *Server) mostReplayed() int64 {
	o := &srv.o.Loop
	most := int64(cmp.Or(o.MaxOutbound, max(16<<20, o.SoftOutbound)))
	return most - most/16
}

// replayBytes is what an event takes in a queue beside its bytes.
const replayBytes = 96

// watched returns the rooms of a socket that is being recovered, and its id;
// packetLog.mu is held.
func (c claim) watched() []string {
	if c.found != nil {
		return append(slices.Clone(c.found.rooms), c.saved.id)
	}
	names := slices.DeleteFunc(slices.Clone(c.watch.session.Rooms), func(room string) bool { return room == c.saved.id })
	return append(names, c.saved.id)
}

// reached returns the place of the last event that sockets of a namespace have
// been given; packetLog.mu is held.
func (srv *Server) reached(namespace string) uint64 {
	if srv.shared != nil {
		return uint64(srv.shared.of(namespace).last)
	}
	return srv.log.last()
}

// begin posts the acceptance of a new socket: behind everything that was emitted
// until now, which it does not get, and before what will be, which it may come
// back for.
func (sh *shard) begin(slot uint32) {
	ref, log := sh.ref(slot), sh.srv.log
	log.mu.Lock()
	start := sh.srv.reached(sh.instance(slot).name)
	wake := sh.loop.PostQuiet(loop.TaskFunc(func(*loop.Loop) {
		if slot := sh.lookup(ref); slot != 0 && sh.sockets.At(slot).state == connecting {
			sh.sockets.At(slot).start = positionOf(start)
			sh.accept(sh.session(slot), slot, sh.instance(slot).ns.table.Load())
		}
	}))
	log.mu.Unlock()
	if wake {
		sh.loop.Wake()
	}
}

// restore connects a recovered socket: into its rooms, what it missed, and then
// the answer to its CONNECT, until which the client keeps the events back.
func (sh *shard) restore(ref rooms.Ref, in *instance, c claim, names []string, missed []*message, resumed uint64) {
	slot := sh.lookup(ref)
	alive := slot != 0 && sh.sockets.At(slot).state == connecting
	for _, room := range names {
		if alive {
			if sh.local.Join(slot, in.id, room) && room != c.saved.id && sh.sockets.At(slot).rooms < maxMaxRooms {
				sh.sockets.At(slot).rooms++
			}
		}
		sh.local.Arrived(in.id, room)
	}
	if !alive {
		return
	}
	delete(sh.claims, slot)
	sh.srv.log.back(c.saved)
	sh.sockets.At(slot).start = positionOf(c.from)
	sh.resumed[slot] = milestone{sh.loop.Now(), resumed}
	es := sh.session(slot)
	form := sh.form(es)
	for _, p := range missed {
		if p := p.in(form); p != nil {
			es.SendPrepared(p, false)
		}
	}
	sh.accept(es, slot, in.ns.table.Load())
	es.Together() // who gets a part of it, and comes back once more, has that twice
	if slot := sh.lookup(ref); slot != 0 && c.saved.expires != 0 && sh.sockets.At(slot).is&(expiring|expired) == 0 {
		sh.expireAt(slot, time.UnixMilli(c.saved.expires), nil)
	}
}

// unname makes a socket whose recovery failed an ordinary one.
func (sh *shard) unname(slot uint32) {
	delete(sh.claims, slot)
	sh.rename(slot, "")
	sh.srv.details.edit(sh.ref(slot), func(d *detail) { d.pid, d.data, d.recovered = "", nil, false })
}

// giveUp puts back what a socket has claimed that goes while it is connecting, or
// is refused. What it has been given back already, and was not accepted with, has
// gone.
func (sh *shard) giveUp(slot uint32) {
	c, ok := sh.claims[slot]
	if !ok {
		if _, ok := sh.resumed[slot]; ok {
			delete(sh.resumed, slot)
			sh.forgetName(slot, sh.srv.pid(sh.ref(slot)))
		}
		return
	}
	delete(sh.claims, slot)
	sh.forgetName(slot, c.saved.pid)
	if c.watch != nil {
		sh.srv.shared.giveBack(c.watch)
		return
	}
	sh.srv.log.unclaim(c.saved)
}

// forgetName forgets that a socket has a private id.
func (sh *shard) forgetName(slot uint32, pid string) {
	log := sh.srv.log
	log.mu.Lock()
	if log.named[pid] == sh.ref(slot) {
		delete(log.named, pid)
	}
	log.mu.Unlock()
}

// remember keeps a socket that leaves for a reason after which it may come back.
func (sh *shard) remember(slot uint32, reason Reason) {
	if sh.srv.log == nil || sh.srv.isOld(sh.session(slot)) {
		return // or it does not know how to come back
	}
	s := sh.socket(slot)
	pid, from := sh.srv.pid(s.ref), sh.proven(slot)
	delete(sh.resumed, slot)
	sh.forgetName(slot, pid)
	if !recoverable(reason) || sh.sockets.At(slot).is&expired != 0 {
		return
	}
	x := &savedSocket{
		ns: s.in.ns, name: s.in.name, id: s.ID(), pid: pid, identity: sh.srv.identity(s.ref), ref: s.ref, home: s.home(),
		data: s.Data(), from: from, expires: sh.deadlines.of(slot),
	}
	for _, room := range sh.local.Rooms(slot) {
		if room != x.id {
			x.rooms = append(x.rooms, room)
		}
	}
	if sh.srv.shared != nil {
		sh.srv.shared.keep(s, x, sh.loop.Index())
		return
	}
	sh.srv.log.save(x, sh.loop.Index())
}

// pid returns the private id that a socket's client asks for it with.
func (srv *Server) pid(ref rooms.Ref) string {
	if d := srv.details.get(ref); d != nil && d.pid != "" {
		return d.pid
	}
	return string(srv.pids.Append(nil, uint64(ref)))
}

// home returns the Ref that a socket's id is made of, which it has again when it
// is recovered.
func (s Socket) home() rooms.Ref {
	if ref, ok := s.srv().ids.Parse([]byte(s.own)); ok {
		return rooms.Ref(ref)
	}
	return s.ref
}

// Recovered tells whether the socket is one that its client had before, with
// what it missed delivered.
func (s Socket) Recovered() bool {
	d := s.srv().details.get(s.ref)
	return d != nil && d.recovered
}

// Recoveries returns what became of attempts to recover.
func (srv *Server) Recoveries() Recoveries {
	if srv.log == nil {
		return Recoveries{}
	}
	srv.log.mu.Lock()
	defer srv.log.mu.Unlock()
	r := srv.log.counts
	r.Away, r.Events, r.Bytes = srv.log.away.count, int64(len(srv.log.entries)), srv.log.held()
	if srv.shared != nil {
		r.Events, r.Bytes = int64(len(srv.shared.directs.queue)), srv.shared.directs.bytes
	}
	return r
}
