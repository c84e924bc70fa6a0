package sio

import (
	"sync/atomic"

	"github.com/valyala/bytebufferpool"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/class"
	"github.com/sioedge/sioedge/loop/handle"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/crossing"
	"github.com/sioedge/sioedge/sio/internal/framing"
	"github.com/sioedge/sioedge/sio/internal/history"
	"github.com/sioedge/sioedge/sio/internal/names"
	"github.com/sioedge/sioedge/sio/internal/outbound"
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
	session  handle.Key // of its eio.Session, also when it has left that
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
	dialect                    // its client needs another form of messages than most: see form
)

type state uint8

const (
	connecting state = iota + 1 // in its middlewares
	connected
	leaving // left the session; its disconnecting handlers run, it is still in its rooms
)

type extension struct {
	id    string                 // that is not the Ref's: Socket.own
	inbox *inbox                 // events for handlers on goroutines
	acks  map[uint64]*pendingAck // what the client has been asked
}

// A shard is the server's part of one loop, which owns all of it; whether a
// socket is there can be asked of sockets by others.
type shard struct {
	srv  *Server
	loop *loop.Loop

	sockets handle.Table[record] // marked: about to be disconnected by us, the events that wait are not handled
	exts    map[uint32]*extension
	local   *rooms.Local

	instances  []localInstance // [0] is unused
	spaces     map[*Namespace]*NamespaceStats
	places     map[*instance]uint32
	freePlaces []uint32

	packet     parser.Packet // being handled
	size       int           // bytes of its messages
	msg        Msg           // of an inline handler
	answers    answerBuffers // for its acknowledgement
	prompt     bool          // what is emitted is posted at once
	names      names.Kept    // of events that such handlers have had
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
	justEnded crossing.Ends

	deadlines       deadlines
	waiting         history.Waiting[*replay] // rooms that are joined later
	heirlooms       heirloom                 // of another server's clients, until they are served
	given           []eio.Session            // to a successor, which has not taken all yet
	ending, parting bool                     // nobody joins any more; Drain ends sessions just now
	inboxes         []*inbox                 // looked through for idle ones
	sweeper         loop.Timer
	observers       []*observer
}

func newShard(srv *Server, l *loop.Loop) *shard {
	sh := &shard{
		srv: srv, loop: l, local: srv.rooms.Local(l.Index()), prompt: srv.seq.atOnce(),
		exts: map[uint32]*extension{}, instances: make([]localInstance, 1),
		places:     map[*instance]uint32{},
		spaces:     map[*Namespace]*NamespaceStats{},
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
	sh.local.Measure(l.Micros, srv.engine.Micros, func(b *rooms.Broadcast) { sh.space(b.Owner.(*Namespace)).Broadcasts++ })
	l.OnMail(sh.mail)
	l.OnDrop(sh.dropped)
	l.OnWork(func() bool { return sh.local.Step(fanOutStep) })
	return sh
}

// ref names a socket of this shard.
func (sh *shard) ref(slot uint32) rooms.Ref {
	return rooms.MakeRef(sh.loop.Index(), slot, sh.sockets.Gen(slot))
}

// socket returns the public handle.
func (sh *shard) socket(slot uint32) Socket {
	return Socket{in: sh.instance(slot), ref: sh.ref(slot), own: sh.ownID(slot), conn: sh.sessionRef(slot)}
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
	sh.srv.given.Add(x.id, -1)
	sh.srv.given.Add(id, 1)
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
	if sh.sockets.At(slot).state == leaving {
		return eio.Session{}
	}
	s, _ := sh.srv.eio.Lookup(sh.loop, sh.sessionRef(slot))
	return s
}

// client is session of a record, without a look whether that is there: what is not does
// nothing.
func (sh *shard) client(r *record) eio.Session {
	if r.state == leaving {
		return eio.Session{}
	}
	return sh.srv.eio.At(sh.loop, r.session)
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
	r, user := record{session: handle.Ref(es.Ref()).Key(), instance: sh.enter(in), state: connecting}, es.User()
	if user&packedSession != 0 || sh.srv.offsets && sh.srv.isOld(es) {
		r.is |= dialect
	}
	*sh.sockets.At(slot) = r
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
	r.next = 0
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
		sh.srv.given.Add(x.id, -1)
		delete(sh.exts, slot)
	}
	sh.forgetDeadline(slot)
	sh.abandonReplays(slot)
	sh.exit(r.instance)
	*r = record{}
	ref := sh.ref(slot)
	sh.sockets.Free(slot)
	sh.srv.seq.freed(ref)
}

// deliver gives messages of a broadcast to one of its recipients.
func (sh *shard) deliver(slot uint32, run *rooms.Run, from int, more bool) {
	r := sh.sockets.At(slot)
	if r.state != connected {
		return
	}
	es, messages := sh.client(r), run.Broadcasts[from:]
	if messages[0].Volatile && (!es.Writable() || sh.srv.memory.Above()) {
		sh.tally.Drops.Volatile += int64(len(messages))
		return
	}
	if len(sh.observers) > 0 {
		sh.sawBroadcasts(slot, messages)
	}
	sh.instances[r.instance].space.Out.Emitted(len(messages), run.Binary(from))
	switch {
	case r.is&dialect != 0:
		for _, b := range messages {
			if p := b.Message.(*message).in(sh.form(es)); p != nil {
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

// sending is how an event is sent to one socket.
type sending struct {
	plain bool     // never compressed
	class *classed // nil: it is never dropped
}

// emit sends an event that may be dropped, without an offset. Buf is for packets.
func (how sending) emit(srv *Server, buf *bytebufferpool.ByteBuffer, s Socket, event string, args []any) error {
	e, err := srv.scratchEvent(buf, event, args)
	if err != nil {
		return err
	}
	if s.gone() || !how.mailTo(s, framing.Of(s.in.name, e, 0, false), 0, how.class.kind(s.in, e)) {
		return ErrClosed
	}
	return nil
}

// mailTo puts an event into the mailbox of a socket's loop: frames with so much of an
// offset at the end of the text.
func (how sending) mailTo(s Socket, frames []byte, tail int, k *class.Kind) bool {
	kind, to := outbound.Mail(how.plain, tail), s.shard().loop
	if k == nil {
		return to.Mail(uint64(s.ref), kind, frames, nil)
	}
	var buf [300]byte
	return to.Mail(uint64(s.ref), kind|outbound.Classed, outbound.AppendHead(buf[:0], k), frames)
}

// sawBroadcasts is saw of what a socket is sent of broadcasts.
func (sh *shard) sawBroadcasts(slot uint32, all []*rooms.Broadcast) {
	for _, b := range all {
		m := b.Message.(*message)
		sh.saw(slot, Observation{Kind: ObservedEmit, To: b.To, frames: m.json.Frames(), tail: m.tail})
	}
}

// leaveBehind is inbox.leaveBehind of a socket.
func (sh *shard) leaveBehind(slot uint32) {
	if x := sh.exts[slot]; x != nil && x.inbox != nil {
		x.inbox.leaveBehind()
	}
}
