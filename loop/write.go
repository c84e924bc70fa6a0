package loop

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// queueCopy queues a copy of p: in the arena if it is small, because most of it
// is sent before the step ends.
func (l *Loop) queueCopy(slot uint32, r *record, p []byte) {
	if !l.admit(slot, r, len(p)) {
		return
	}
	if len(p) > arenaSize/2 || l.inLink > 0 { // a Link is given what lies in the arena
		l.push(slot, r, ref{p: bytes.Clone(p), kind: own, large: l.large(p)})
		return
	}
	if len(l.arena)+len(p) > cap(l.arena) {
		l.flushAll()
		if r.life.in(dyingSet) {
			return
		}
	}
	start := len(l.arena)
	l.arena = append(l.arena, p...)
	if r.ext != 0 {
		e := l.exts[r.ext]
		if n := len(e.queue); n > e.head && e.queue[n-1].kind == transient && !e.queue[n-1].large && e.queue[n-1].mark == 0 && e.end == start {
			last := &e.queue[n-1]
			last.p = l.arena[start-len(last.p) : len(l.arena)]
			e.end = len(l.arena)
			l.queued(e, len(p), len(p))
			return
		}
	}
	l.push(slot, r, ref{p: l.arena[start:], kind: transient, large: l.large(p)})
	l.exts[r.ext].end = len(l.arena)
}

// queueShared queues p by reference.
func (l *Loop) queueShared(slot uint32, r *record, p []byte, f freshRef) {
	if !f.isZero() {
		l.queueFresh(slot, r, ref{p: p}, f)
	} else if l.admit(slot, r, len(p)) {
		l.push(slot, r, ref{p: p, large: l.large(p)})
	}
}

// sendNow sends p past the queue if that is empty.
func (l *Loop) sendNow(slot uint32, r *record, p []byte, f freshRef) {
	if r.ext != 0 && l.exts[r.ext].queued > 0 {
		l.queueShared(slot, r, p, f)
		return
	}
	n, errno := l.send(slot, r, p)
	l.tally.Writes++
	switch errno {
	case 0:
		l.took(r, n)
		if n == len(p) && r.ext == 0 {
			return
		}
		l.extend(slot, r).sent += int64(n)
		if n == len(p) {
			return
		}
		l.pushRest(slot, r, p, n, f)
		l.block(slot, r)
	case unix.EAGAIN:
		l.pushFresh(slot, r, ref{p: p, large: l.large(p)}, f)
		l.block(slot, r)
	case unix.EINTR:
		l.pushFresh(slot, r, ref{p: p, large: l.large(p)}, f)
	default:
		l.fail(slot, r, errno)
	}
}

// took counts n bytes that the kernel has taken.
func (l *Loop) took(r *record, n int) {
	l.tally.Traffic[r.kind()].Out += int64(n)
}

// admit reports whether n more bytes may be queued, and ends the connection if
// they may not. Before that it tries to send what is queued: many writes in one
// step do not make a peer slow.
func (l *Loop) admit(slot uint32, r *record, n int) bool {
	if l.fits(r, n) {
		return true
	}
	if r.flow&wantWrite == 0 {
		l.flush(slot)
		if r.life.in(dyingSet) {
			return false
		}
		if l.fits(r, n) {
			return true
		}
	}
	l.overflow(slot, r)
	return false
}

// overflow ends a connection for which more is queued than may be.
func (l *Loop) overflow(slot uint32, r *record) {
	l.engine.notes.Warn("a client for which too much was queued was closed", "flag", "--queue-hard-max",
		"bytes", l.exts[r.ext].size(), "addr", l.conn(slot).RemoteAddr())
	l.fail(slot, r, ErrQueueFull)
}

func (l *Loop) fits(r *record, n int) bool {
	if r.ext == 0 {
		return true
	}
	e := l.exts[r.ext]
	if e.queued == 0 {
		return true
	}
	q := e.size()
	// One write may be larger than the bound; what is left of it does not count,
	// or a ping behind it would end the connection.
	if head := &e.queue[e.head]; head.large {
		q -= head.held()
	}
	return q+n <= l.engine.o.MaxOutbound
}

// large tells whether a write is larger than what may be queued.
func (l *Loop) large(p []byte) bool { return len(p) > l.engine.o.MaxOutbound }

// push puts p at the queue's end and r on the list of those to flush.
func (l *Loop) push(slot uint32, r *record, p ref) {
	e := l.extend(slot, r)
	if e.queued == 0 {
		e.since, e.taken = l.now, unknown
	}
	e.queue = append(e.queue, p)
	l.tally.Entries++
	l.queued(e, len(p.p), p.held())
	l.markDirty(slot, r)
}

// queued counts n bytes more that are to be sent, for which held more are kept.
func (l *Loop) queued(e *ext, n, held int) {
	e.queued += n
	e.held += held
	l.tally.Queued += int64(n)
	l.tally.Held += int64(held)
}

func (l *Loop) markDirty(slot uint32, r *record) {
	if r.due&inDirty == 0 {
		r.due |= inDirty
		l.dirty = append(l.dirty, slot)
	}
}

// flushAll flushes every dirty connection; the arena is free afterwards.
func (l *Loop) flushAll() {
	for i := 0; i < len(l.dirty); i++ { // a Link may write to another connection
		if slot := l.dirty[i]; l.conns.At(slot).due&inDirty != 0 {
			l.flush(slot)
		}
	}
	l.dirty = l.dirty[:0]
	l.arena = l.arena[:0]
	l.forgetFresh()
}

// flush sends what the kernel takes and makes the rest keep: bytes in the arena
// are copied.
func (l *Loop) flush(slot uint32) {
	r := l.conns.At(slot)
	r.due &^= inDirty
	if r.ext == 0 {
		return
	}
	e := l.exts[r.ext]
	if r.flow&wantWrite == 0 && !r.life.in(cutSet) {
		l.sendQueue(slot, r, e)
	}
	l.judge(e)
	l.keep(e)
	l.flushed(slot, r, e)
}

// writable serves a connection that can take output again.
func (l *Loop) writable(slot uint32) {
	r := l.conns.At(slot)
	if r.flow&wantWrite == 0 || r.flow&linked != 0 && !l.linkFlush(slot, r) {
		return
	}
	if r.ext != 0 {
		e := l.exts[r.ext]
		before := e.queued
		l.sendQueue(slot, r, e)
		if e.queued < before && e.linger != nil {
			l.acknowledged(r, e) // from now on
			l.lingerOn(e)
		}
		if e.queued > 0 {
			l.settleWant(slot, r)
			l.flushed(slot, r, e)
			return
		}
	}
	if r.flow&linked == 0 || !l.link(r).Blocked() {
		l.interest(slot, r, r.flow&^wantWrite)
	}
	if r.ext != 0 {
		l.flushed(slot, r, l.exts[r.ext])
	}
}

// settleWant stops asking for room if a link wants input before it writes on.
func (l *Loop) settleWant(slot uint32, r *record) {
	if !l.waitsForRoom(r) {
		l.interest(slot, r, r.flow&^wantWrite)
	}
}

// sendQueue sends the queue until it is empty or the kernel takes no more.
func (l *Loop) sendQueue(slot uint32, r *record, e *ext) {
	for e.queued > 0 && !r.life.in(cutSet) {
		p := l.gather(e)
		n, errno := l.send(slot, r, p)
		l.tally.Writes++
		switch errno {
		case 0:
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			l.block(slot, r)
			return
		default:
			l.fail(slot, r, errno)
			return
		}
		l.took(r, n)
		e.sent += int64(n)
		e.since, e.taken = l.now, unknown
		l.sent(e, n)
		if n < len(p) && l.shortIsFull(r) {
			l.block(slot, r)
			return
		}
	}
}

// gather returns what to send next: one long piece as it is, or many short ones
// put together. Copying beats writev for the short ones.
func (l *Loop) gather(e *ext) []byte {
	first := e.queue[e.head].p[e.off:]
	if len(first) >= burstSize/4 || e.head+1 == len(e.queue) {
		return first
	}
	b := append(l.burst[:0], first...)
	for _, q := range e.queue[e.head+1:] {
		room := cap(b) - len(b)
		if room == 0 {
			break
		}
		b = append(b, q.p[:min(len(q.p), room)]...)
	}
	return b
}

// sent drops n bytes that the kernel has taken.
func (l *Loop) sent(e *ext, n int) {
	before := e.entries()
	freed := e.advance(n)
	l.tally.Entries += int64(e.entries() - before)
	l.queued(e, -n, -freed)
}

// advance drops n bytes that were sent, and returns how many fewer are held.
func (e *ext) advance(n int) (freed int) {
	for n > 0 {
		q := &e.queue[e.head]
		left := len(q.p) - e.off
		if n < left {
			e.off += n
			if q.judged {
				e.unmark(q) // a part of it was sent
			}
			break
		}
		n -= left
		e.off = 0
		freed += q.held()
		if q.mark != 0 {
			e.unmark(q)
		}
		*q = ref{}
		e.head, e.lead = e.head+1, 0
		e.skipDead()
	}
	switch {
	case e.head == len(e.queue):
		e.queue, e.head, e.kept = e.queue[:0], 0, 0
		e.index, e.base = nil, 0
	case e.head >= 64 && e.head*2 >= len(e.queue):
		n := copy(e.queue, e.queue[e.head:])
		clear(e.queue[n:])
		e.base += uint32(e.head)
		e.queue, e.head, e.kept = e.queue[:n], 0, max(e.kept-e.head, 0)
	}
	return freed
}

// flushed looks at what is left after a flush: reading stops above
// SoftOutbound and goes on under half of it; a connection that was only waiting
// for its queue gets on with closing.
func (l *Loop) flushed(slot uint32, r *record, e *ext) {
	soft, size := l.engine.o.SoftOutbound, e.size()
	if e.queued > 0 {
		l.largest.Note(l.now/largestWindow, int64(size))
	}
	if r.due&awaited != 0 && e.queued == 0 {
		r.due &^= awaited
		l.deferFor(slot, r, drained)
	}
	switch {
	case r.life.in(cutSet):
	case r.life.in(lingerSet):
		if e.queued == 0 {
			l.endOutput(slot, r)
		}
		return
	case size > soft:
		if e.firm() > soft {
			r.flow |= overSoft
		}
		l.watchSlow(slot, r)
		fallthrough
	case r.flow&overSoft != 0:
		if e.firm()*2 < soft && r.flow&overSoft != 0 {
			r.flow &^= overSoft
			l.deferFor(slot, r, drained)
			l.resume(slot, r)
		}
	}
	l.shed(r)
}
