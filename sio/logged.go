package sio

import (
	"bytes"
	"sync"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/framing"
	"github.com/sioedge/sioedge/sio/internal/freight"
	"github.com/sioedge/sioedge/sio/internal/packetlog"
	"github.com/sioedge/sioedge/sio/internal/passage"
)

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

func (q *logged) emitTo(s Socket, event string, args []any, how sending) error {
	if s.gone() {
		return ErrClosed
	}
	buf := packets.Get()
	defer packets.Put(buf)
	e, err := q.srv.scratchEvent(buf, event, args)
	if err != nil {
		return err
	}
	frames, offset := framing.Logged(s.in.name, e)
	m, k, home := newMessage(frames, how.plain), how.class.kind(s.in, e), s.home()
	m.tail = framing.OffsetTail
	q.mu.Lock()
	defer q.mu.Unlock()
	q.log.Append(packetlog.Entry{Message: m, Name: s.in.name, Ref: home}, offset)
	if !how.mailTo(s, frames, framing.OffsetTail, k) {
		return ErrClosed
	}
	return nil
}

func (q *logged) emit(b BroadcastOperator, e rooms.Event) {
	q.deliver(b, e)
	b.relay(e)
}

func (q *logged) deliver(b BroadcastOperator, e rooms.Event) {
	targets := b.targets()
	for _, in := range targets {
		if e.Volatile && !packetlog.EndsInString(e.Data) {
			q.srv.deliverTo(b, in, e)
			continue
		}
		p := q.parcel(b, in, e)
		q.mu.Lock()
		if in.ended.Load() {
			p.follow()
		}
		wake := q.send(p)
		q.mu.Unlock()
		q.srv.wake(wake)
	}
	if b.in == nil && b.ns.in == nil && !e.Volatile && !b.nobody() {
		q.srv.wake(q.keepForAbsent(b, e, targets))
	}
}

// A parcel is an event on its way into the log, and to those in an instance.
type parcel struct {
	b      BroadcastOperator
	in     *instance
	event  rooms.Event
	offset []byte // to be written; of the frames
	d      *delivery
}

func (q *logged) parcel(b BroadcastOperator, in *instance, e rooms.Event) parcel {
	frames, offset := framing.Logged(in.name, e)
	d := b.delivery(in, e, frames)
	d.Message.(*message).tail = framing.OffsetTail
	return parcel{b, in, e, offset, d}
}

// follow has what was for an instance that has ended go to the one that has its name now.
// The lock is held.
func (p *parcel) follow() {
	if now := p.in.ns.srv.registry.named(p.in.ns, p.in.name); now != nil {
		p.d.Namespace = now.id
	}
}

// send gives an event its place, and posts it; mu is held.
func (q *logged) send(p parcel) (wake sleepers) {
	if p.event.Volatile {
		// Not kept: it repeats the last offset that the client has.
		q.log.WriteLast(p.offset)
	} else {
		q.log.Append(p.b.entry(p.in, p.d.Message.(*message)), p.offset)
		p.b.logged(p.offset)
	}
	return q.srv.post(p.d)
}

// keepForAbsent keeps an event, too, for those who are away from instances that have no
// sockets here, and so were not among the targets.
func (q *logged) keepForAbsent(b BroadcastOperator, e rooms.Event, targets []*instance) (wake sleepers) {
	q.mu.Lock()
	defer q.mu.Unlock()
	names := q.log.Names(b.ns, b.name)
	if len(names) == 0 {
		return wake
	}
	had := make(map[string]bool, len(targets))
	for _, in := range targets {
		had[in.name] = true
	}
	for _, name := range names {
		if had[name] {
			continue
		}
		in := q.srv.registry.named(b.ns, name)
		if in == nil {
			frames, offset := framing.Logged(name, e)
			in = &instance{ns: b.ns, name: name}
			m := newMessage(frames, b.plain).of(b.class.kind(in, e))
			m.tail = framing.OffsetTail
			q.log.Append(b.entry(in, m), offset)
			b.logged(offset)
			continue
		}
		wake.add(q.send(q.parcel(b, in, e))) // one of them is back
	}
	return wake
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

func (q *logged) reviseGone(s Socket, op rooms.Op, names []string, effect uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	_ = q.log.ReviseRef(s.ref, op, names, effect)
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
	saved := x.saved(s.in.ns)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.log.Save(saved, loop)
}

// saved returns a socket as it is kept while its client is away.
func (x *socketState) saved(ns *Namespace) *packetlog.Saved {
	s := &packetlog.Saved{Socket: x.Socket, Owner: ns}
	if x.data != nil || x.values != nil {
		s.Rest = &socketRest{data: x.data, values: x.values} // it comes back with another connection
	}
	return s
}

func (q *logged) regain(sh *shard, es eio.Session, slot uint32, c comeback) bool {
	name, identity := sh.instance(slot).name, q.srv.details.identity(sh.ref(slot))
	q.mu.Lock()
	saved, from := q.log.Claim(name, *c.PID, identity, c.Offset, q.srv.wall().UnixMilli())
	q.mu.Unlock()
	if saved == nil {
		return false
	}
	x, err := q.stateOf(saved)
	if err != nil {
		q.srv.notice.Warn("a client is a new one, since what was stored with its socket cannot be read", append(about(sh.socket(slot), "data"), "error", err)...)
		q.mu.Lock()
		q.log.Lose(saved)
		q.mu.Unlock()
		return false
	}
	found := &logSearch{q, saved, q.log.Gather(saved, from, sh.replayable(es))}
	q.claimed(sh, es, slot, claim{state: x, from: from, search: found})
	return true
}

// stateOf returns what a socket was that is claimed.
func (q *logged) stateOf(saved *packetlog.Saved) (x *socketState, err error) {
	x = &socketState{Socket: saved.Socket}
	switch rest := saved.Rest.(type) {
	case *socketRest:
		x.socketRest = *rest
	case packedRest:
		x.socketRest, err = q.srv.unpackRest(rest)
	}
	return x, err
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

// A logCarrier knows what is in the log of a server.
type logCarrier struct {
	srv   *Server
	rests map[*packetlog.Saved]packedRest
}

func (logCarrier) Pack(m packetlog.Message) freight.Message { return packMessage(m.(*message)) }

func (c logCarrier) Unpack(instance string, m freight.Message) (packetlog.Message, error) {
	return c.srv.unpackMessage(instance, m)
}

func (c logCarrier) Label(owner any) string { return c.srv.registry.label(owner.(*Namespace)) }

func (c logCarrier) Labelled(label string) any {
	if ns := c.srv.registry.labelled(label); ns != nil {
		return ns
	}
	return nil
}

func (c logCarrier) PackRest(s *packetlog.Saved) ([]byte, error) { return c.rests[s], nil }

func (c logCarrier) UnpackRest(s *packetlog.Saved, p []byte) error {
	s.Rest = packedRest(p)
	return nil
}

// A packedRest is a socketRest as data, which it stays until the client is back.
type packedRest []byte

type carriedRest struct {
	Data   []byte         `cbor:"1,keyasint,omitempty"`
	Values []carriedValue `cbor:"2,keyasint,omitempty"`
}

// packRest encodes what the program has stored with a socket that is away.
func (srv *Server) packRest(x *socketRest) (p packedRest, err error) {
	var c carriedRest
	if x.data != nil {
		if c.Data, err = srv.packData(x.data); err != nil {
			return nil, err
		}
	}
	if c.Values, err = srv.carried.pack(x.values); err != nil {
		return nil, err
	}
	return passage.Marshal(&c)
}

func (srv *Server) unpackRest(p packedRest) (x socketRest, err error) {
	var c carriedRest
	if err := passage.Unmarshal(p, &c); err != nil {
		return x, err
	}
	if c.Data != nil {
		if x.data, err = srv.unpackData(c.Data); err != nil {
			return x, err
		}
	}
	x.values, err = srv.carried.unpack(c.Values)
	return x, err
}

// export returns the log, and who is away. Sockets that stay here are away for a successor:
// their clients may come to it when their connections end, and are sent what they have
// missed there. What they are sent here until then, they are told by moved, is nothing
// that the successor knows of: who has had something of that is a new one there.
func (q *logged) export() ([]byte, error) {
	var stay []*packetlog.Saved
	if q.srv.cluster == nil { // else this server may be sent what the successor is sent, too
		stay = q.srv.staying()
	}
	q.mu.Lock()
	all := q.log.Away()
	q.mu.Unlock()
	// Without the lock: encoding is the program's.
	rests := map[*packetlog.Saved]packedRest{}
	for _, s := range append(all, stay...) {
		switch rest := s.Rest.(type) {
		case packedRest:
			rests[s] = rest
		case *socketRest:
			p, err := q.srv.packRest(rest)
			if err != nil {
				return nil, err
			}
			rests[s] = p
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	var b bytes.Buffer
	err := q.exportCounts(&b)
	if err == nil {
		err = q.log.Export(&b, logCarrier{q.srv, rests}, stay)
	}
	return b.Bytes(), err
}

func (q *logged) inherit(data []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	data, err := q.inheritCounts(data)
	if err != nil {
		return err
	}
	return q.log.Import(logCarrier{srv: q.srv}, data)
}

// moved has what is emitted from now on be of another log than the successor's.
func (q *logged) moved() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.log.Part()
	for pid, ref := range q.named {
		if !q.srv.alive(ref) {
			delete(q.named, pid)
		}
	}
}

// staying returns the sockets of sessions that cannot go, as if their clients left now. The
// loops stand still.
func (srv *Server) staying() (all []*packetlog.Saved) {
	if srv.frozen == nil {
		return nil
	}
	var mu sync.Mutex
	srv.frozen.Each(func(l *loop.Loop) {
		some := srv.shards[l.Index()].staying()
		mu.Lock()
		all = append(all, some...)
		mu.Unlock()
	})
	return all
}

func (sh *shard) staying() (all []*packetlog.Saved) {
	for slot := uint32(1); slot <= sh.sockets.Max(); slot++ {
		r := sh.sockets.At(slot)
		if r.state != connected || r.is&expired != 0 {
			continue
		}
		if es := sh.session(slot); es.Stays() && !sh.srv.isOld(es) {
			all = append(all, sh.snapshot(slot).saved(sh.instance(slot).ns))
		}
	}
	return all
}
