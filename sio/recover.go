package sio

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/packetlog"
	"github.com/sioedge/sioedge/sio/internal/passage"
)

// A comeback is what a client that wants its session back sends with its auth. The
// offset is missing as long as it has received no event.
type comeback struct {
	PID    *string `json:"pid"`
	Offset *string `json:"offset"`
}

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
	if c, ok := sh.claims[slot]; ok {
		if sh.srv.details.identity(sh.ref(slot)) != c.state.Identity {
			q.disown(sh, es, slot)
			return
		}
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
			es.SendWhole(p, false)
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
	delete(sh.resumed, slot)
	q.forgetName(sh, slot, x.PID)
	if !recoverable(reason) || sh.sockets.At(slot).is&expired != 0 {
		return
	}
	x.handshake, x.conn = Handshake{}, nil // it comes back with others
	q.kept.save(sh.socket(slot), x, sh.loop.Index())
}

func (q *recovering) holds(ref rooms.Ref, pid string) {
	if pid == string(q.pids.Append(nil, uint64(ref))) {
		return
	}
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

// A carriedRecovery comes before the log.
type carriedRecovery struct {
	Counts []int64 `cbor:"1,keyasint,omitempty"`
}

func (q *recovering) exportCounts(b *bytes.Buffer) error {
	var x carriedRecovery
	for _, n := range q.counts.All() {
		x.Counts = append(x.Counts, *n)
	}
	return passage.Write(b, &x)
}

// inheritCounts has counters go on; mu is held.
func (q *recovering) inheritCounts(data []byte) (rest []byte, err error) {
	var x carriedRecovery
	rest, err = passage.Next(data, &x)
	for i, n := range q.counts.All() {
		if i < len(x.Counts) {
			*n = x.Counts[i]
		}
	}
	q.told = q.counts // what has been lost was said
	return rest, err
}

func (q *clustered) export() ([]byte, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var b bytes.Buffer
	err := q.exportCounts(&b)
	if err == nil {
		err = q.log.Export(&b)
	}
	return b.Bytes(), err
}

func (q *clustered) inherit(data []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	data, err := q.inheritCounts(data)
	if err == nil {
		err = q.log.Import(data, q.proof, q.most)
	}
	q.tendSoon()
	return err
}

// mostReplayed is what may be queued for a client, less some for what else there is.
func (srv *Server) mostReplayed() int64 {
	o := &srv.o.Loop
	most := int64(cmp.Or(o.MaxOutbound, max(16<<20, o.SoftOutbound)))
	return most - most/16
}

// report says what has been lost since it was called last.
func (q *recovering) report() {
	q.mu.Lock()
	now, told := q.counts, q.told
	q.told = now
	q.mu.Unlock()
	warn := q.srv.notice.Warn
	if n := now.Dropped - told.Dropped; n > 0 {
		warn("events are dropped that clients may come back for", "flag", "--recovery-buffer", "bytes", q.most, "events", n)
	}
	if n := now.Evicted - told.Evicted; n > 0 {
		warn("sessions of clients that are away are forgotten before their time", "flag", "--recovery-buffer", "bytes", q.most, "sessions", n)
	}
	if n := now.TooLarge - told.TooLarge; n > 0 {
		warn("clients have missed more than may be queued for one, and are new ones", "flag", "--queue-hard-max", "clients", n)
	}
}
