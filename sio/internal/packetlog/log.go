// Package packetlog has what a server keeps for clients that may come back: the
// events of the recent past, each in its place, and the sockets that have gone.
//
// Everything that is emitted is appended and posted to the loops with one lock
// held: so the order of the log is the order in which every socket receives, and
// an offset, the place of an event in the log, says exactly what a client has had.
// Memberships that change meanwhile take a place too, where it matters.
//
//	emit    Append, and post to the loops
//	leave   Save: the socket is away; operators reach it by Revise
//	return  Claim, then a Gathering's Steps and Finish, which is made with what
//	        follows in the hands of the same lock: what was emitted before is
//	        replayed, what is emitted after is delivered, nothing is both or neither
//
// What is kept is what those need who are away, from the oldest place that one of
// them has, and what those may need who will be: see Log.keep. Whoever needs more
// is a new one.
//
// The package knows no sockets, sessions or packets: events are Messages, sockets
// are named by Refs, and rooms by names.
package packetlog

import (
	"crypto/rand"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/sioedge/sioedge/rooms"
)

// Options of a Log.
type Options struct {
	// Window is how long a socket is remembered that has left.
	Window time.Duration
	// Proof is how long after an event was sent its connection ends, unless the
	// client has it: a pong that follows proves it, and must come by then. A slow
	// client may live on; what it lacks is kept no longer for that.
	Proof time.Duration
	// MaxBytes bounds what is kept; half of it may be sockets.
	MaxBytes int64
	// MaxRooms bounds the rooms of a socket that operators put into some while it is
	// away. Zero means no bound.
	MaxRooms int
	// Now is a clock in ms that does not step.
	Now func() int64
	// Arm is called when something is kept and nobody calls Tick: it has that begin.
	// Nil: nobody does.
	Arm func()
	// Named returns the Ref that a room's name is made of, if it is a socket's id.
	Named func(room string) (rooms.Ref, bool)
	// Counts are counted in; Revisions are those that are under way. Both are guarded
	// as the Log is.
	Counts    *Counts
	Revisions *Revisions
}

// Counts are what became of attempts to come back, and of what is kept. Guarded as
// the Log is.
type Counts struct {
	Recovered, Replayed                          int64
	Unknown, Lost, TooLarge, Alien, Alive, Early int64
	Revoked, Evicted, Dropped                    int64
	Away, Events, Bytes                          int64 // what is kept now
}

// A Message is an event as it is kept.
type Message interface {
	// Size is what replaying it takes, in bytes.
	Size() int
	// Keep says that the message is kept, and returns the bytes that it takes: what
	// it takes more later is added to further, until Drop. It is called before others
	// have the message.
	Keep(further *atomic.Int64) int64
	Drop()
}

// A Log has no lock of its own: its owner holds one that it calls the lock around
// every method, and around what it posts to loops in the log's order. Lock order:
// the lock, then the rooms' shards, then mailboxes.
type Log struct {
	// Immutable after New.
	o     Options
	nonce string // of this log, in every offset

	forms atomic.Int64 // bytes of the further forms of messages that are kept

	// Guarded by the lock.
	entries store
	bytes   int64 // of entries and what leads to them
	index   index
	away    away
	armed   bool
}

// New returns an empty log.
func New(o Options) *Log {
	l := &Log{o: o, nonce: newNonce(), index: newIndex(o.MaxBytes)}
	l.entries.first = 1
	l.away.init()
	return l
}

func newNonce() string { return rand.Text()[:4] }

// An Entry is an event in the log.
type Entry struct {
	Message Message
	Name    string // of the instance
	// Ref is the only socket that it is for; Room the only room. Neither, and no To:
	// it is for everybody.
	Ref  rooms.Ref
	Room string
	// Except is a socket that it is not for; 0: none.
	Except rooms.Ref
	To     *Audience // instead of Ref, Room and Except
}

// An Audience is whom an event is for, unless that is simple. Sockets are named by
// the Refs that their ids are made of, which they keep when they are recovered.
type Audience struct {
	Rooms, Except    []string
	Refs, ExceptRefs []rooms.Ref
	All              bool // everybody in the namespace, but for those excepted

	links []chained // its chains behind the first
}

// An entry is an Entry in its place, or a change of a membership.
type entry struct {
	Entry
	at     int64   // ms
	change *change // nil: an event
	link   chained // its first chain
	cost   int32
}

// A change says that a socket has joined or left a room: what was emitted up to
// its effect reached it, or did not.
type change struct {
	joined bool
	effect uint64
}

// What things take, about: with what leads to them, and what the allocator adds.
const (
	entryBytes    = int64(unsafe.Sizeof(entry{})) * 9 / 8 // chunks are kept for their next use
	audienceBytes = int64(unsafe.Sizeof(Audience{})) + 16
	roomBytes     = 16 + int(unsafe.Sizeof(chained{}))
	refBytes      = 8 + int(unsafe.Sizeof(chained{}))
	changeBytes   = 32
)

// Last returns the place of the newest entry. Places begin at 1.
func (l *Log) Last() uint64 { return l.entries.last() }

// Append gives an event the next place, writes its offset over offset, which is
// OffsetLen long, and drops what need not or cannot be kept. Lists of e belong to
// the log from now on.
func (l *Log) Append(e Entry, offset []byte) {
	l.append(entry{Entry: e})
	l.write(offset, l.Last())
}

func (l *Log) append(e entry) {
	now := l.o.Now()
	e.at = now
	l.put(e, now)
	l.wanted()
}

// put is append of an entry that has its time.
func (l *Log) put(e entry, now int64) {
	cost := entryBytes + int64(len(e.Room)+7)&^7
	if e.Message != nil {
		cost += e.Message.Keep(&l.forms)
	}
	if a := e.To; a != nil {
		cost += audienceBytes + int64((len(a.Rooms)+len(a.Except))*roomBytes+len(a.Refs)*refBytes+len(a.ExceptRefs)*8)
		for _, names := range [][]string{a.Rooms, a.Except} {
			for _, name := range names {
				cost += int64(len(name)+7) &^ 7
			}
		}
	}
	if e.change != nil {
		cost += changeBytes
	}
	e.cost = int32(min(cost, 1<<31-1))
	l.bytes += int64(e.cost)
	x := l.entries.push(e)
	l.index.put(l.Last(), x)
	l.prune(now, dropsAtOnce)
}

// Changed notes that a socket has joined or left a room behind what was emitted up
// to effect, if that says which of the events that are kept were for it. Home is
// the Ref that its id is made of; start is where what it may have missed begins.
func (l *Log) Changed(name string, home rooms.Ref, room string, joined bool, effect, start uint64) {
	last := l.index.last(name, room)
	if _, ok := l.o.Named(room); ok {
		last = l.Last() // a room called as a socket: it is not looked for
	}
	if last > start {
		l.appendChange(name, home, room, joined, effect)
	}
}

func (l *Log) appendChange(name string, home rooms.Ref, room string, joined bool, effect uint64) {
	l.append(entry{Entry: Entry{Name: name, Ref: home, Room: room}, change: &change{joined, effect}})
}

// dropsAtOnce bounds what one emit drops because it is old: more than it adds.
const dropsAtOnce = 32

// wanted has Tick called if nobody does yet.
func (l *Log) wanted() {
	if !l.armed && l.o.Arm != nil {
		l.armed = true
		l.o.Arm()
	}
}

// keep returns since when entries are needed: by those who may leave now, and by
// those who are away, for which none of them needs more than Save allowed for.
func (l *Log) keep(now int64) int64 {
	since := now - l.o.Proof.Milliseconds()
	if s := l.away.first(); s != nil {
		since = min(since, s.until-(l.o.Window+l.o.Proof).Milliseconds())
	}
	return since
}

// held returns what is kept, in bytes.
func (l *Log) held() int64 { return l.bytes + l.forms.Load() + l.away.bytes }

// prune drops what is not needed, at most so many entries of that, and what there
// is no room for. It is false if more is not needed.
func (l *Log) prune(now int64, most int) bool {
	l.expire(now, most)
	since, first := l.keep(now), l.away.first()
	for dropped := 0; l.entries.len() > 0; dropped++ {
		e := l.entries.front()
		old := e.at < since
		if tight := l.held() > l.o.MaxBytes && l.entries.len() > 1; !tight && (!old || dropped >= most) {
			break
		}
		if !old && e.Message != nil {
			l.o.Counts.Dropped++
		}
		if e.Message != nil {
			e.Message.Drop()
		}
		l.bytes -= int64(e.cost)
		l.entries.pop()
	}
	late := first != nil && first.until < now
	return !late && (l.entries.len() == 0 || l.entries.front().at >= since)
}

// Tick is called about once a second while anything is kept. It drops what is not
// needed, and says whether there is more of that: then it is to be called again, as
// soon as others have had the lock. It is kept false if nothing is kept any more, and
// Arm will be called.
func (l *Log) Tick() (more, kept bool) {
	if !l.prune(l.o.Now(), 1024) {
		return true, true
	}
	l.armed = l.entries.len() > 0 || l.away.first() != nil
	return false, l.armed
}

// Kept sets what is kept now in counts.
func (l *Log) Kept(c *Counts) {
	c.Away, c.Events, c.Bytes = l.away.count, int64(l.entries.len()), l.held()
}

// An offset is offsetMark, the log's nonce, and a place in digits of base 64: of
// one length, so that it can be written into an encoded packet, and unlike what
// applications send as a last argument.
const (
	offsetMark   = '~'
	placeDigits  = 8
	base64Digits = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"

	// OffsetLen is the length of an offset.
	OffsetLen = 1 + 4 + placeDigits
	// BlankOffset has an offset's place in a packet until there is one.
	BlankOffset = "~0000--------"
)

// EndsInString tells whether a client would take the last argument of an event, or
// its name, for an offset.
func EndsInString(data []byte) bool { return len(data) > 1 && data[len(data)-2] == '"' }

// WriteLast writes the offset of the newest entry over dst.
func (l *Log) WriteLast(dst []byte) { l.write(dst, l.Last()) }

func (l *Log) write(dst []byte, place uint64) {
	dst[0] = offsetMark
	copy(dst[1:], l.nonce)
	for i := OffsetLen - 1; i > 4; i-- {
		dst[i] = base64Digits[place%64]
		place /= 64
	}
}

// place returns the place that an offset of this log names.
func (l *Log) place(offset string) (place uint64, ok bool) {
	if len(offset) != OffsetLen || offset[0] != offsetMark || offset[1:5] != l.nonce {
		return 0, false
	}
	for _, c := range offset[5:] {
		d := strings.IndexRune(base64Digits, c)
		if d < 0 {
			return 0, false
		}
		place = place*64 + uint64(d)
	}
	return place, true
}
