package loop

import (
	"bytes"
	"math"
	"time"

	"github.com/sioedge/sioedge/loop/handle"
)

// Slow is who makes no progress, not who has much to come. A connection for
// which more than SoftOutbound is held is looked at now and then: as long as
// the kernel takes bytes from us, or its peer acknowledges some, it is served,
// up to MaxOutbound. When neither has happened for SlowAfter it is closed. What may
// be dropped makes nobody slow: see judge.

// unknown is ext.taken before it was looked at.
const unknown = math.MinInt64

// slowLooks is how many times in SlowAfter a connection is looked at.
const slowLooks = 8

// watchSlow has a connection looked at that is over SoftOutbound.
func (l *Loop) watchSlow(slot uint32, r *record) {
	if r.due&inSlow != 0 {
		return
	}
	r.due |= inSlow
	l.slow = append(l.slow, l.conns.Key(slot))
	if !l.slowTimer.Armed() {
		l.Schedule(&l.slowTimer, l.slowPause(), l.lookSlow)
	}
}

func (l *Loop) slowPause() time.Duration {
	return min(l.engine.o.SlowAfter/slowLooks, time.Second)
}

// lookSlow looks at a slice of the connections over SoftOutbound, from slowPos
// on, and closes those that make no progress.
func (l *Loop) lookSlow() {
	for range workSlice {
		if l.slowPos == len(l.slow) {
			break
		}
		key := l.slow[l.slowPos]
		if r := l.conns.Find(key.Slot, key.Gen); r != nil && l.staysSlow(key, r) {
			l.slowPos++
			continue
		}
		last := len(l.slow) - 1
		l.slow[l.slowPos] = l.slow[last]
		l.slow = l.slow[:last]
	}
	switch {
	case l.slowPos < len(l.slow):
		l.Schedule(&l.slowTimer, 0, l.lookSlow)
	case len(l.slow) > 0:
		l.slowPos = 0
		l.Schedule(&l.slowTimer, l.slowPause(), l.lookSlow)
	default:
		l.slowPos, l.slow = 0, nil
	}
}

// staysSlow tells whether r is to be looked at again.
func (l *Loop) staysSlow(key handle.Key, r *record) bool {
	if !l.hasMuch(r) || r.ext == 0 || r.life.in(dyingSet|1<<leaving) { // who closes gracefully may have nothing left
		r.due &^= inSlow
		return false
	}
	e := l.exts[r.ext]
	if l.acknowledged(r, e) || r.flow&overSoft == 0 {
		return true
	}
	if quiet := l.now - e.since; quiet >= l.engine.o.SlowAfter.Milliseconds() {
		l.engine.notes.Warn("a client that took nothing of what is queued was closed", "flag", "--slow-after",
			"after", time.Duration(quiet)*time.Millisecond, "bytes", e.size(), "addr", l.conn(key.Slot).RemoteAddr())
		r.due &^= inSlow
		l.fail(key.Slot, r, ErrSlowPeer)
		return false
	}
	return true
}

// hasMuch tells whether more than SoftOutbound is held for r, or was until half of it.
func (l *Loop) hasMuch(r *record) bool {
	return r.flow&overSoft != 0 || r.ext != 0 && l.exts[r.ext].size() > l.engine.o.SoftOutbound
}

// acknowledged looks whether the peer has acknowledged something since the last
// look.
func (l *Loop) acknowledged(r *record, e *ext) bool {
	taken := e.sent - int64(l.unacknowledged(r))
	if e.taken == unknown || taken <= e.taken {
		if e.taken == unknown {
			e.taken = taken
		}
		return false
	}
	e.taken, e.since = taken, l.now
	return true
}

// Slow reports whether more than SoftOutbound is held for the peer of what is never
// dropped: reading from it pauses.
func (c Conn) Slow() bool {
	r := c.record()
	return r != nil && r.flow&overSoft != 0
}

// Backlog returns the bytes that are held for the peer and, if they are so many
// that it is watched, how long it has taken nothing.
func (c Conn) Backlog() (held int, quiet time.Duration) {
	r := c.record()
	if r == nil || r.ext == 0 {
		return 0, 0
	}
	e := c.l.exts[r.ext]
	if c.l.hasMuch(r) {
		quiet = time.Duration(c.l.now-e.since) * time.Millisecond
	}
	return e.size(), quiet
}

// Taking is for whoever waits for an answer of the peer, which may be behind
// much that the peer has not got yet. Asked when the wait begins, and again when
// the answer is late, it reports whether the peer has acknowledged something in
// between; it is false when nothing is on the way.
func (c Conn) Taking() bool {
	r := c.living()
	if r == nil {
		return false
	}
	l := c.l
	open := l.unacknowledged(r)
	if open == 0 && (r.ext == 0 || l.exts[r.ext].queued == 0) {
		if r.ext != 0 {
			e := l.exts[r.ext]
			e.asked, e.mark, e.sent, e.taken = false, 0, 0, unknown
			l.shed(r)
		}
		return false
	}
	e := l.extend(c.slot, r)
	taken := e.sent - int64(open)
	moved := taken > e.mark // 0 when nothing was on the way at the last question
	e.asked, e.mark = true, taken
	return moved
}

// lastWord returns what is to be sent to the peer of a connection that is cut, in place
// of what is queued; nil: nothing.
func (l *Loop) lastWord(slot uint32, r *record) (last []byte) {
	if r.life != cutting || r.ext == 0 || l.ending || l.openings[slot] != nil {
		return nil
	}
	e := l.exts[r.ext]
	switch {
	case e.err == ErrClosed:
		return e.last
	case l.framer == nil || e.err != ErrSlowPeer && e.err != ErrQueueFull:
		return nil
	}
	defer l.recovered()
	return l.framer.LastWord(l.conn(slot), e.err)
}

// replace puts last in place of what is queued, behind the rest of a message of which a
// part was sent.
func (l *Loop) replace(slot uint32, r *record, last []byte) {
	e := l.extend(slot, r)
	if n := l.unfinished(e); n > 0 {
		last = append(bytes.Clone(e.queue[e.head].p[e.off:e.off+n]), last...)
	}
	l.uncount(e)
	clear(e.queue)
	e.queue, e.head, e.off, e.kept, e.queued, e.held, e.end, e.lead = e.queue[:0], 0, 0, 0, 0, 0, 0, 0
	e.index, e.base, e.dead, e.fresh = nil, 0, 0, 0
	l.push(slot, r, ref{p: last, kind: own})
}

// unfinished returns how many bytes at the front of the queue are the rest of a message of
// which a part was sent.
func (l *Loop) unfinished(e *ext) int {
	switch {
	case e.queued == 0:
		return 0
	case e.off < e.lead:
		return e.lead - e.off
	}
	return l.restOf(e.queue[e.head].p[e.lead:], e.off-e.lead)
}

// restOf is Framer.Rest of what is queued.
func (l *Loop) restOf(p []byte, sent int) int {
	if l.framer == nil || sent == 0 {
		return 0
	}
	return min(max(l.framer.Rest(p, sent), 0), len(p)-sent)
}
