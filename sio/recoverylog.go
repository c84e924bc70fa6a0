package sio

import (
	"crypto/rand"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/sioedge/sioedge/loop/notice"
	"github.com/sioedge/sioedge/rooms"
)

// A packetLog keeps the events of the recent past, and the sockets that may
// come back for them.
//
// With recovery, everything that is emitted takes its place here and is posted
// to the loops under one lock: so the order of the log is the order in which
// every socket receives, and an offset, the place of an event in the log, says
// exactly what a client has had. A recovered socket is put into its rooms by a
// task posted under the same lock: what was emitted before is replayed, what is
// emitted after is delivered, and nothing is both or neither. Memberships that
// change meanwhile take a place too, where it matters.
//
// What is kept is what those need who are away, from the oldest place that one of
// them has, and what those may need who will be: see keep. Whoever needs more is
// a new one.
type packetLog struct {
	// Immutable after newPacketLog.
	window time.Duration
	// proof is how long after an event was sent its connection ends, unless the
	// client has it: a pong that follows proves it, and must come by then. A slow
	// client may live on; what it lacks is kept no longer for that.
	proof    time.Duration
	most     int64
	maxRooms int          // of a socket; 0: no bound
	nonce    string       // of this log, in every offset
	now      func() int64 // ms, of a clock that does not step
	arm      func()       // has tick called soon, with mu held; nil: nobody does

	forms atomic.Int64 // bytes of the further forms of messages that are kept

	// Guarded by mu. Lock order: packetLog, then the rooms' shards, then
	// mailboxes.
	mu      sync.Mutex
	entries []logged
	first   uint64 // place of entries[0]; places begin at 1
	bytes   int64  // of entries and what leads to them
	index   index
	away    away
	named   map[string]rooms.Ref // recovered sockets, whose pid is not that of their Ref
	active  []*revision
	counts  Recoveries
	told    Recoveries // what has been said of it
	armed   bool
	marked  uint64 // the last place of which the loops were told
}

// A logged is an event in the log, or a change of a membership.
type logged struct {
	msg    *message // nil: a change
	name   string   // of the instance
	at     int64    // ms
	ref    rooms.Ref
	to     *audience // nil: for ref alone, if there is one, or for everybody
	change *change
	link   chained   // its chain
	links  []chained // its further chains
	cost   int32
}

// An audience is whom an event is for, unless that is simple. Sockets are named by
// the Refs that their ids are made of, which they keep when they are recovered.
type audience struct {
	rooms, except    []string
	refs, exceptRefs []rooms.Ref
	all              bool // everybody in the namespace, but for those excepted
}

// A change says that a socket has joined or left a room: what was emitted up to
// its effect reached it, or did not.
type change struct {
	room   string
	joined bool
	effect uint64
}

// Entries for one addressee are chained, from the last to the first. To find them
// again a fixed number of buckets has the last ones: addressees that share one have
// one chain, in which nobody takes what is not for it. So what leads to the entries
// takes the same however many rooms there are, and nothing has to be taken out.
type chained struct {
	bucket uint32
	prev   uint64
}

// An index has the chains.
type index struct {
	seed     maphash.Seed
	newest   []uint64 // by bucket
	excepted []uint64 // by bucket: the last event that is not for who is in a room
}

const (
	minBuckets    = 1 << 8
	maxBuckets    = 1 << 20
	bytesABucket  = 512 // of MaxBytes
	exceptBuckets = 4   // buckets for one of excepted
)

func newIndex(most int64) index {
	n := minBuckets
	for n < maxBuckets && int64(n)*bytesABucket < most {
		n *= 2
	}
	return index{maphash.MakeSeed(), make([]uint64, n), make([]uint64, n/exceptBuckets)}
}

func (x *index) bucket(hash uint64) uint32 { return uint32(hash) & uint32(len(x.newest)-1) }

// ofAll, ofRoom and ofRef return the bucket of an addressee.
func (x *index) ofAll(name string) uint32 { return x.bucket(maphash.String(x.seed, name)) }

func (x *index) ofRoom(name, room string) uint32 {
	return x.bucket(maphash.String(x.seed, name)*3 + maphash.String(x.seed, room))
}

func (x *index) ofRef(ref rooms.Ref) uint32 { return x.bucket(maphash.Comparable(x.seed, ref)) }

// last returns the last event for, or not for, those in a room, or one behind it.
func (x *index) last(name, room string) uint64 {
	b := x.ofRoom(name, room)
	return max(x.newest[b], x.excepted[b/exceptBuckets])
}

// put puts the newest entry into the chains of those it is for.
func (x *index) put(place uint64, e *logged) {
	chain := func(b uint32) chained {
		l := chained{b, x.newest[b]}
		x.newest[b] = place
		return l
	}
	a := e.to
	switch {
	case a == nil && e.ref != 0:
		e.link = chain(x.ofRef(e.ref))
		return
	case a == nil || a.all:
		e.link = chain(x.ofAll(e.name))
	default:
		links := make([]chained, 0, len(a.rooms)+len(a.refs))
		for _, room := range a.rooms {
			links = append(links, chain(x.ofRoom(e.name, room)))
		}
		for _, ref := range a.refs {
			links = append(links, chain(x.ofRef(ref)))
		}
		e.link, e.links = links[0], links[1:]
	}
	for i := 0; a != nil && i < len(a.except); i++ {
		x.excepted[x.ofRoom(e.name, a.except[i])/exceptBuckets] = place
	}
}

// What things take, about: with what leads to them, and what the allocator adds.
const (
	entryBytes    = int64(unsafe.Sizeof(logged{})) * 5 / 4 // the slice grows
	messageBytes  = int64(unsafe.Sizeof(message{})) + 160
	audienceBytes = int64(unsafe.Sizeof(audience{})) + 16
	roomBytes     = 16 + int(unsafe.Sizeof(chained{}))
	refBytes      = 8 + int(unsafe.Sizeof(chained{}))
	changeBytes   = 64
)

// newPacketLog returns the log of a server with this heartbeat.
func newPacketLog(o Recovery, interval, timeout time.Duration) *packetLog {
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 20
	}
	began := time.Now()
	l := &packetLog{
		window: o.Window, most: o.MaxBytes, proof: interval + 2*timeout + time.Second, nonce: rand.Text()[:4], first: 1,
		now:   func() int64 { return time.Since(began).Milliseconds() },
		index: newIndex(o.MaxBytes),
		named: map[string]rooms.Ref{},
	}
	l.away.init()
	return l
}

// last returns the place of the newest entry; mu is held.
func (l *packetLog) last() uint64 { return l.first + uint64(len(l.entries)) - 1 }

// at returns the entry of a place that is kept; mu is held.
func (l *packetLog) at(place uint64) *logged { return &l.entries[place-l.first] }

// append gives e the next place, writes its offset over offset, and drops what
// need not or cannot be kept; mu is held.
func (l *packetLog) append(e logged, offset []byte) {
	e.at = l.now()
	cost := entryBytes
	if e.msg != nil {
		cost += messageBytes + e.msg.keep(&l.forms)
	}
	if a := e.to; a != nil {
		cost += audienceBytes + int64((len(a.rooms)+len(a.except))*roomBytes+len(a.refs)*refBytes+len(a.exceptRefs)*8)
		for _, names := range [][]string{a.rooms, a.except} {
			for _, name := range names {
				cost += int64(len(name)+7) &^ 7
			}
		}
	}
	if e.change != nil {
		cost += changeBytes
	}
	e.cost = int32(min(cost, 1<<31-1))
	l.entries = append(l.entries, e)
	l.bytes += int64(e.cost)
	l.index.put(l.last(), &l.entries[len(l.entries)-1])
	if offset != nil {
		l.write(offset, l.last())
	}
	l.prune(dropsAtOnce)
	l.wanted()
}

// dropsAtOnce bounds what one emit drops because it is old: more than it adds.
const dropsAtOnce = 32

// wanted has tick called if nobody does yet; mu is held.
func (l *packetLog) wanted() {
	if !l.armed && l.arm != nil {
		l.armed = true
		l.arm()
	}
}

// keep returns since when entries are needed: by those who may leave now, and by
// those who are away, for which none of them needs more than save allowed for.
func (l *packetLog) keep() int64 {
	since := l.now() - l.proof.Milliseconds()
	if s := l.away.first(); s != nil {
		since = min(since, s.until-(l.window+l.proof).Milliseconds())
	}
	return since
}

// held returns what is kept, in bytes; mu is held.
func (l *packetLog) held() int64 { return l.bytes + l.forms.Load() + l.away.bytes }

// prune drops what is not needed, at most so many entries of that, and what there
// is no room for; mu is held. It is false if more is not needed.
func (l *packetLog) prune(most int) bool {
	now := l.now()
	l.expire(now, most)
	drop, since := 0, l.keep()
	for drop < len(l.entries) {
		e := &l.entries[drop]
		old := e.at < since
		if tight := l.held() > l.most && drop < len(l.entries)-1; !tight && (!old || drop >= most) {
			break
		}
		if !old && e.msg != nil {
			l.counts.Dropped++
		}
		if e.msg != nil {
			e.msg.drop()
		}
		l.bytes -= int64(e.cost)
		*e = logged{} // append may keep the array for long
		l.first++
		drop++
	}
	if l.entries = l.entries[drop:]; len(l.entries) == 0 {
		l.entries = nil
	}
	late := l.away.first() != nil && l.away.first().until < now
	return !late && (len(l.entries) == 0 || l.entries[0].at >= since)
}

// tick is called about once a second while anything is kept; mu is held. It is
// false if nothing is any more.
func (l *packetLog) tick() bool {
	for !l.prune(1024) {
		l.mu.Unlock() // others wait for it
		l.mu.Lock()
	}
	l.armed = len(l.entries) > 0 || l.away.first() != nil
	return l.armed
}

// report says what has been lost since it was called last.
func (l *packetLog) report(to *notice.Log) {
	l.mu.Lock()
	now, told := l.counts, l.told
	l.told = now
	l.mu.Unlock()
	if n := now.Dropped - told.Dropped; n > 0 {
		to.Warn("events are dropped that clients may come back for", "flag", "--recovery-buffer", "bytes", l.most, "events", n)
	}
	if n := now.Evicted - told.Evicted; n > 0 {
		to.Warn("sessions of clients that are away are forgotten before their time", "flag", "--recovery-buffer", "bytes", l.most, "sessions", n)
	}
	if n := now.TooLarge - told.TooLarge; n > 0 {
		to.Warn("clients have missed more than may be queued for one, and are new ones", "flag", "--queue-hard-max", "clients", n)
	}
}
