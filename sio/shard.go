package sio

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/handle"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/packetlog"
	"github.com/sioedge/sioedge/sio/parser"
)

// fanOutStep is how many recipients of broadcasts a loop visits before it
// looks at its sockets again: about half a millisecond of sending.
const fanOutStep = 64

// A record is what every socket needs, without pointers. It is owned by the
// loop of its shard. Its rooms are kept by the shard's rooms.Local under the
// same slot.
type record struct {
	session  handle.Key // of its eio.Session; zero when it has left that
	start    position   // with recovery: the place in the log behind which it may miss something
	next     uint32     // the session's next socket, in the order of joining
	instance uint32     // index into shard.instances
	state    state
	is       facts
	rooms    uint16 // how many it has joined
}

// A position is an uint64 that needs no more than the alignment of an uint32: a
// handle.Table would pay for more with each record.
type position [2]uint32

func positionOf(x uint64) position { return position{uint32(x >> 32), uint32(x)} }

func (p position) get() uint64 { return uint64(p[0])<<32 | uint64(p[1]) }

// facts are small ones about a socket.
type facts uint8

const (
	extended facts = 1 << iota // it has an extension in shard.exts
	heard                      // its client has sent an event or an acknowledgement
	crowded                    // a room was not joined for Options.MaxRooms, which was said
	expiring                   // it has a deadline in shard.deadlines
	expired                    // it has had one, and none since
	followed                   // functions of rooms are told of its rooms
)

type state uint8

const (
	connecting state = iota + 1 // in its middlewares
	connected
	leaving // left the session; its disconnecting handlers run, it is still in its rooms
)

// An extension is what some sockets need.
type extension struct {
	id    string                 // that is not the Ref's: Socket.own
	inbox *inbox                 // events for handlers on goroutines
	acks  map[uint64]*pendingAck // what the client has been asked
}

// everJoined is set in a session's user word, beside the slot of its first
// socket, once it has joined a namespace.
const everJoined = 1 << 31

// A shard is the server's part of one loop, which owns all of it; whether a
// socket is there can be asked of sockets by others.
type shard struct {
	srv  *Server
	loop *loop.Loop

	sockets handle.Table[record] // marked: about to be disconnected by us, the events that wait are not handled
	exts    map[uint32]*extension
	local   *rooms.Local

	instances  []localInstance // [0] is unused
	spaces     map[*Namespace]*space
	places     map[*instance]uint32
	freePlaces []uint32

	packet     parser.Packet // being handled
	msg        Msg           // of an inline handler
	asm        parser.Assembler
	assemblies map[uint64]*assembly           // sessions in the middle of a packet with attachments
	brought    map[uint32]bringing            // by slot: what is charged of it
	requests   map[uint64]*request            // the first, by session
	claims     map[uint32]claim               // connecting sockets that are being recovered
	resumed    map[uint32]milestone           // recovered sockets: what came up to there was replayed, and when
	replayed   map[uint64]int64               // bytes that sessions were sent of what they had missed
	progress   map[string]*packetlog.Progress // by lane of a cluster's log, or ""
	tally      tally
	taken      atomic.Int64 // tasks that were taken out of inboxes, on their goroutines
	scratch    []byte
	unpacked   []byte // a MessagePack packet's arguments as JSON

	burst     *rooms.Run // the run whose messages are joined in joined
	joined    *eio.Prepared
	arrivals  arrivals // sessions that have joined nothing yet
	justEnded recentEnds

	deadlines deadlines
	ending    bool     // nobody joins any more
	inboxes   []*inbox // looked through for idle ones
	sweeper   loop.Timer
}

func newShard(srv *Server, l *loop.Loop) *shard {
	sh := &shard{
		srv: srv, loop: l, local: srv.rooms.Local(l.Index()),
		exts:       map[uint32]*extension{},
		instances:  make([]localInstance, 1),
		places:     map[*instance]uint32{},
		spaces:     map[*Namespace]*space{},
		assemblies: map[uint64]*assembly{},
		brought:    map[uint32]bringing{},
		requests:   map[uint64]*request{},
		claims:     map[uint32]claim{},
		resumed:    map[uint32]milestone{},
		replayed:   map[uint64]int64{},
		progress:   map[string]*packetlog.Progress{},
	}
	sh.local.OnDeliver(sh.deliver)
	sh.local.OwnedBy(l.Check)
	l.OnMail(sh.mail)
	l.OnWork(func() bool { return sh.local.Step(fanOutStep) })
	return sh
}

// ref names a socket of this shard.
func (sh *shard) ref(slot uint32) rooms.Ref {
	return rooms.MakeRef(sh.loop.Index(), slot, sh.sockets.Gen(slot))
}

// socket returns the public handle.
func (sh *shard) socket(slot uint32) Socket {
	return Socket{in: sh.instance(slot), ref: sh.ref(slot), own: sh.ownID(slot)}
}

// ownID returns a socket's id if that is not its Ref's, else "".
func (sh *shard) ownID(slot uint32) string {
	if !sh.srv.named.Load() {
		return ""
	}
	if x := sh.exts[slot]; x != nil {
		return x.id
	}
	return ""
}

// id returns a socket's id.
func (sh *shard) id(slot uint32) string { return sh.socket(slot).ID() }

// rename gives a socket an id that is not that of its Ref; "" takes it away
// again.
func (sh *shard) rename(slot uint32, id string) {
	sh.srv.named.Store(true)
	x := sh.ext(slot)
	sh.srv.given.count(x.id, -1)
	sh.srv.given.count(id, 1)
	x.id = id
	sh.shed(slot, x)
}

func (sh *shard) instance(slot uint32) *instance {
	return sh.instances[sh.sockets.At(slot).instance].in
}

// lookup returns the slot of ref, 0 if the socket is gone.
func (sh *shard) lookup(ref rooms.Ref) uint32 {
	sh.loop.Check()
	if sh.sockets.Find(ref.Slot(), ref.Gen()) != nil {
		return ref.Slot()
	}
	return 0
}

// session returns the session of a socket; the zero Session if it has left it.
func (sh *shard) session(slot uint32) eio.Session {
	sh.loop.Check()
	s, _ := sh.srv.eio.Lookup(sh.loop, sh.sessionRef(slot))
	return s
}

// sessionRef returns the eio.Session.Ref of a socket's session.
func (sh *shard) sessionRef(slot uint32) uint64 {
	key := sh.sockets.At(slot).session
	return uint64(handle.MakeRef(sh.loop.Index(), key.Slot, key.Gen))
}

// ext returns a socket's extension, made if needed.
func (sh *shard) ext(slot uint32) *extension {
	r := sh.sockets.At(slot)
	if r.is&extended == 0 {
		r.is |= extended
		sh.exts[slot] = &extension{}
	}
	return sh.exts[slot]
}

// shed frees a socket's extension if nothing is left in it.
func (sh *shard) shed(slot uint32, x *extension) {
	if len(x.acks) > 0 {
		return
	}
	x.acks = nil
	if x.inbox == nil && x.id == "" {
		delete(sh.exts, slot)
		sh.sockets.At(slot).is &^= extended
	}
}

// newSocket makes a socket for instance in and links it to its session. It is
// false if the loop has no slot left for one.
func (sh *shard) newSocket(es eio.Session, in *instance) (slot uint32, ok bool) {
	if slot, ok = sh.sockets.Alloc(); ok {
		sh.link(es, in, slot)
	}
	return slot, ok
}

// link makes the record of a new socket, and links it to its session.
func (sh *shard) link(es eio.Session, in *instance, slot uint32) {
	*sh.sockets.At(slot) = record{session: handle.Ref(es.Ref()).Key(), instance: sh.enter(in), state: connecting}
	user := es.User()
	first := user &^ userFlags
	if first == 0 {
		es.SetUser(user | slot)
		return
	}
	last := sh.sockets.At(first)
	for last.next != 0 {
		last = sh.sockets.At(last.next)
	}
	last.next = slot
}

// unlink takes a socket out of its session.
func (sh *shard) unlink(es eio.Session, slot uint32) {
	r := sh.sockets.At(slot)
	user := es.User()
	if first := user &^ userFlags; first == slot {
		es.SetUser(user&userFlags | r.next)
	} else {
		for p := first; p != 0; p = sh.sockets.At(p).next {
			if q := sh.sockets.At(p); q.next == slot {
				q.next = r.next
				break
			}
		}
	}
	r.session, r.next = handle.Key{}, 0
	if es.User()&^userFlags == 0 {
		es.SetJoined(false)
	}
}

// find returns the session's socket in the namespace called name, 0 if there
// is none.
func (sh *shard) find(es eio.Session, name []byte) uint32 {
	for slot := es.User() &^ userFlags; slot != 0; slot = sh.sockets.At(slot).next {
		if sh.instance(slot).name == string(name) {
			return slot
		}
	}
	return 0
}

// count returns how many sockets a session has.
func (sh *shard) count(es eio.Session) (n int) {
	for slot := es.User() &^ userFlags; slot != 0; slot = sh.sockets.At(slot).next {
		n++
	}
	return n
}

// free ends what is left of a socket.
func (sh *shard) free(slot uint32) {
	r := sh.sockets.At(slot)
	if r.is&extended != 0 {
		x := sh.exts[slot]
		if x.inbox != nil {
			sh.unwatch(x.inbox)
		}
		sh.srv.given.count(x.id, -1)
		delete(sh.exts, slot)
	}
	sh.forgetDeadline(slot)
	sh.exit(r.instance)
	*r = record{}
	ref := sh.ref(slot)
	sh.sockets.Free(slot)
	sh.srv.seq.freed(ref)
}

// mail sends frames to one socket. It is the way of all direct emits but the
// volatile ones.
func (sh *shard) mail(to uint64, kind uint32, frames []byte) {
	slot := sh.lookup(rooms.Ref(to))
	if slot == 0 {
		return
	}
	if tail := int(kind >> tailShift); tail > 0 && sh.srv.isOld(sh.session(slot)) {
		frames = withoutTail(frames, tail)
	}
	sh.send(slot, frames, kind&plainMail != 0)
}

// The kinds of mail: packets that may be compressed, and those that may not; with,
// behind tailShift, how much at the end of the text is an offset.
const (
	plainMail = 1
	tailShift = 1
)

func mailKind(plain bool, tail int) uint32 {
	kind := uint32(tail) << tailShift
	if plain {
		kind |= plainMail
	}
	return kind
}

// send gives frames to a socket's session, behind the broadcasts that were
// emitted before.
func (sh *shard) send(slot uint32, frames []byte, plain bool) {
	r := sh.sockets.At(slot)
	if r.state == leaving {
		return
	}
	sh.instances[r.instance].space.emits++
	sh.local.CatchUp(slot)
	sh.transmit(sh.session(slot), frames, plain)
}

// deliver gives messages of a broadcast to one of its recipients.
func (sh *shard) deliver(slot uint32, run *rooms.Run, from int, more bool) {
	r := sh.sockets.At(slot)
	if r.state != connected {
		return
	}
	es := sh.session(slot)
	if run.Broadcasts[from].Volatile && (!es.Writable() || sh.srv.memory.Above()) {
		sh.tally.volatile += int64(len(run.Broadcasts) - from)
		return
	}
	messages := run.Broadcasts[from:]
	sh.instances[r.instance].space.emits += int64(len(messages))
	form := sh.form(es)
	switch {
	case form != 0:
		for _, b := range messages {
			if p := b.Message.(*message).in(form); p != nil {
				es.SendPrepared(p, false)
			}
		}
	case len(messages) == 1:
		es.SendPrepared(messages[0].Message.(*message).json, !more)
	default:
		es.SendPrepared(sh.join(run, from), !more)
	}
}

// join returns the run's messages as one. All recipients but those that needed
// some of them early get the same.
func (sh *shard) join(run *rooms.Run, from int) *eio.Prepared {
	if from == 0 && sh.burst == run && sh.joined != nil {
		return sh.joined
	}
	ps := make([]*eio.Prepared, 0, len(run.Broadcasts)-from)
	for _, b := range run.Broadcasts[from:] {
		ps = append(ps, b.Message.(*message).json)
	}
	p := sh.srv.eio.Concat(ps)
	if from == 0 {
		sh.burst, sh.joined = run, p
	}
	return p
}

// arrivals are the sessions that have not joined a namespace yet, in the order
// of opening, which is that of their deadlines.
type arrivals struct {
	queue []arrival
	timer loop.Timer
}

type arrival struct {
	session uint64
	at      int64 // ms on the loop's clock
}

// waits tells whether the session is open and has joined nothing yet.
func (a arrival) waits(sh *shard) bool {
	es, ok := sh.srv.eio.Lookup(sh.loop, a.session)
	return ok && es.User()&everJoined == 0
}

func (a *arrivals) add(sh *shard, session uint64) {
	if len(a.queue) == cap(a.queue) && len(a.queue) >= 1024 {
		// Sessions that come and go at once are not to be remembered for long.
		a.queue = slices.DeleteFunc(a.queue, func(q arrival) bool { return !q.waits(sh) })
	}
	a.queue = append(a.queue, arrival{session, sh.loop.Now() + sh.srv.o.ConnectTimeout.Milliseconds()})
	if !a.timer.Armed() {
		sh.loop.Schedule(&a.timer, sh.srv.o.ConnectTimeout, func() { a.expire(sh) })
	}
}

// expire closes the sessions that are still without a namespace, and forgets
// the others.
func (a *arrivals) expire(sh *shard) {
	now, i := sh.loop.Horizon(), 0
	for ; i < len(a.queue) && a.queue[i].at <= now; i++ {
		if a.queue[i].waits(sh) {
			sh.tally.timeouts++
			es, _ := sh.srv.eio.Lookup(sh.loop, a.queue[i].session)
			es.Close()
		}
	}
	a.queue = a.queue[i:]
	if len(a.queue) == 0 {
		a.queue = nil
		return
	}
	wait := time.Duration(max(a.queue[0].at-now, 100)) * time.Millisecond // several at once
	sh.loop.Schedule(&a.timer, wait, func() { a.expire(sh) })
}
