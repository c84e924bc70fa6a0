package sio

import (
	"crypto/rand"
	"strings"
	"sync"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/rooms"
)

// Recovery are the options of connection state recovery: a client that comes
// back within Window gets its id, rooms and data again and what it missed. Node:
// connectionStateRecovery.
type Recovery struct {
	// Window is how long a disconnected socket is remembered. Zero means
	// that recovery is off. Node: maxDisconnectionDuration, 2 min.
	Window time.Duration
	// MaxBytes bounds the memory of the events kept for those who may come back.
	// They are kept for Window, and for as long before as a client's silence can
	// go unnoticed. When MaxBytes is passed the oldest go, and with them the
	// recovery of who needs them. Zero means 64 MiB.
	MaxBytes int64
	// RunMiddlewares has a recovered socket go through its middlewares, where
	// Recovered is already true. Node: skipMiddlewares, the other way round.
	RunMiddlewares bool
	// Patience is how long an event may take to come back from the log of the
	// cluster, with an Adapter that is a [rooms.Log]. After that, events are
	// delivered at once, and a client that is recovered may get some twice. Zero
	// means 1 s.
	Patience time.Duration
}

// Recoveries counts what became of attempts to recover.
type Recoveries struct {
	Recovered int64 // sockets that were recovered
	Replayed  int64 // events that they had missed
	Unknown   int64 // nobody knew the session: too late, used, or of another server
	Lost      int64 // the events it needs are not kept any more, or its offset is none
	Early     int64 // events that were delivered before the log of the cluster had them
}

// A packetLog keeps the events of the recent past, and the sockets that may
// come back for them.
//
// With recovery, everything that is emitted takes its place here and is posted
// to the loops under one lock: so the order of the log is the order in which
// every socket receives, and an offset, the place of an event in the log, says
// exactly what a client has had. A recovered socket is put into its rooms by a
// task posted under the same lock: what was emitted before is replayed, what is
// emitted after is delivered, and nothing is both or neither.
type packetLog struct {
	window time.Duration
	// proof is how long after an event was sent its connection ends, unless the
	// client has it: a pong that follows proves it, and must come by then.
	proof time.Duration
	most  int64
	nonce string // of this log, in every offset

	// Guarded by mu. Lock order: packetLog, then the rooms' shards, then
	// mailboxes.
	mu      sync.Mutex
	entries []logged
	first   uint64 // place of entries[0]; places begin at 1
	bytes   int64
	cut     uint64                  // place of the last event that MaxBytes cost
	cutAt   int64                   // when it had been emitted
	saved   map[string]*savedSocket // by pid
	queue   []expiring              // of saved, the oldest first
	named   map[string]rooms.Ref    // recovered sockets, whose pid is not that of their Ref
	counts  Recoveries
}

// A logged event.
type logged struct {
	b    *rooms.Broadcast
	name string // of the instance
	at   int64  // Unix ms
}

// entryOverhead is what a logged event takes beside its bytes, about.
const entryOverhead = 320

// A savedSocket is a socket that may come back.
type savedSocket struct {
	name    string // of the instance
	id, pid string
	ref     rooms.Ref // that it had
	rooms   []string
	data    any
	from    uint64 // what it may have missed begins behind this place
	until   int64  // Unix ms
}

type expiring struct {
	pid   string
	until int64
}

// newPacketLog returns the log of a server with this heartbeat.
func newPacketLog(o Recovery, interval, timeout time.Duration) *packetLog {
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 20
	}
	return &packetLog{
		window: o.Window, most: o.MaxBytes, proof: interval + 2*timeout + time.Second, nonce: rand.Text()[:4], first: 1,
		saved: map[string]*savedSocket{}, named: map[string]rooms.Ref{},
	}
}

// An offset is offsetMark, the log's nonce, and a place in digits of base 64: of
// one length, so that it can be written into an encoded packet, and unlike what
// applications send as a last argument.
const (
	offsetMark   = '~'
	placeDigits  = 8
	offsetLen    = 1 + 4 + placeDigits
	base64Digits = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
)

// blankOffset has an offset's place in a packet until there is one.
const blankOffset = "~0000--------"

// write writes the offset of a place over dst.
func (l *packetLog) write(dst []byte, place uint64) {
	dst[0] = offsetMark
	copy(dst[1:], l.nonce)
	for i := offsetLen - 1; i > 4; i-- {
		dst[i] = base64Digits[place%64]
		place /= 64
	}
}

// place returns the place that an offset of this log names.
func (l *packetLog) place(offset string) (place uint64, ok bool) {
	if len(offset) != offsetLen || offset[0] != offsetMark || offset[1:5] != l.nonce {
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

// last returns the place of the newest event; mu is held.
func (l *packetLog) last() uint64 { return l.first + uint64(len(l.entries)) - 1 }

// append gives b the next place, writes its offset over offset, and drops what
// need not or cannot be kept; mu is held.
func (l *packetLog) append(b *rooms.Broadcast, name string, offset []byte) {
	now := time.Now().UnixMilli()
	l.entries = append(l.entries, logged{b, name, now})
	l.bytes += int64(b.Size) + entryOverhead
	l.write(offset, l.last())
	drop, old := 0, now-(l.window+l.proof).Milliseconds()
	for drop < len(l.entries)-1 && (l.bytes > l.most || l.entries[drop].at < old) {
		if e := &l.entries[drop]; e.at >= old {
			l.cut, l.cutAt = l.first+uint64(drop), e.at
		}
		l.bytes -= int64(l.entries[drop].b.Size) + entryOverhead
		drop++
	}
	if drop > 0 {
		clear(l.entries[:drop]) // append below may keep the array for long
		l.entries = l.entries[drop:]
		l.first += uint64(drop)
	}
	l.expire(now)
}

// expire forgets the sockets that did not come back; mu is held.
func (l *packetLog) expire(now int64) {
	i := 0
	for ; i < len(l.queue) && l.queue[i].until < now; i++ {
		if s := l.saved[l.queue[i].pid]; s != nil && s.until == l.queue[i].until {
			delete(l.saved, l.queue[i].pid)
		}
	}
	l.queue = l.queue[i:]
}

// save remembers a socket that has gone.
func (l *packetLog) save(s *savedSocket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now().UnixMilli()
	s.until = now + l.window.Milliseconds()
	l.expire(now)
	l.saved[s.pid] = s
	l.queue = append(l.queue, expiring{s.pid, s.until})
}

// claim returns the saved socket of a pid, once, and where in the log its client
// stands; offset is nil if the client names none. It is nil if the socket cannot
// be recovered.
func (l *packetLog) claim(name, pid string, offset *string) (*savedSocket, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(time.Now().UnixMilli())
	s := l.saved[pid]
	if s == nil || s.name != name {
		l.counts.Unknown++
		return nil, 0
	}
	from := s.from
	if offset != nil {
		place, ok := l.place(*offset)
		if !ok || place > l.last() {
			l.counts.Lost++
			return nil, 0
		}
		from = place
	}
	if l.lacks(s, from) {
		l.counts.Lost++
		return nil, 0
	}
	delete(l.saved, pid)
	return s, from
}

// lacks tells whether an event behind a place is not kept any more that the
// client may not have; mu is held. What was dropped for its age was emitted so
// long before the client's connection ended that it does: so an idle client may
// come back with an old offset.
func (l *packetLog) lacks(s *savedSocket, from uint64) bool {
	left := s.until - l.window.Milliseconds()
	return from < l.cut && l.cutAt >= left-l.proof.Milliseconds()
}

// unclaim puts a socket back that went again before it was recovered.
func (l *packetLog) unclaim(s *savedSocket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saved[s.pid] = s
}

// missed returns what s has missed since a place; mu is held. It is false if
// that is not kept any more.
func (l *packetLog) missed(s *savedSocket, from uint64) (missed []*message, ok bool) {
	if l.lacks(s, from) {
		l.counts.Lost++
		return nil, false
	}
	for _, e := range l.entries[max(from+1, l.first)-l.first:] {
		if e.name == s.name && s.wants(e.b) {
			missed = append(missed, e.b.Message.(*message))
		}
	}
	l.counts.Recovered++
	l.counts.Replayed += int64(len(missed))
	return missed, true
}

// wants tells whether a broadcast was for the socket.
func (s *savedSocket) wants(b *rooms.Broadcast) bool {
	in := func(names []string, refs []rooms.Ref) bool {
		for _, ref := range refs {
			if ref == s.ref {
				return true
			}
		}
		for _, name := range names {
			if name == s.id {
				return true
			}
			for _, room := range s.rooms {
				if room == name {
					return true
				}
			}
		}
		return false
	}
	if len(b.To)+len(b.ToRefs) > 0 && !in(b.To, b.ToRefs) {
		return false
	}
	return !in(b.Except, b.ExceptRefs)
}

// recoverable tells whether a socket that left for a reason may come back.
func recoverable(r Reason) bool {
	switch r {
	case eio.TransportError, eio.TransportClose, eio.ForcedClose, eio.PingTimeout, ServerShuttingDown:
		return true
	}
	return false
}
