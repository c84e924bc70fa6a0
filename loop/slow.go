package loop

import (
	"math"
	"time"

	"github.com/sioedge/sioedge/loop/handle"
)

// Slow is who makes no progress, not who has much to come. A connection for
// which more than SoftOutbound is held is looked at now and then: as long as
// the kernel takes bytes from us, or its peer acknowledges some, it is served,
// up to MaxOutbound. When neither has happened for SlowAfter it is closed.

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
	if r.flow&overSoft == 0 || r.life.in(dyingSet|1<<leaving) {
		r.due &^= inSlow
		return false
	}
	e := l.exts[r.ext]
	if l.acknowledged(r, e) {
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

// Slow reports whether more than SoftOutbound is held for the peer: reading
// from it pauses, and what may be dropped should be.
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
	if r.flow&overSoft != 0 {
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
