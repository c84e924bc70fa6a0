package loop

import (
	"bytes"

	"github.com/sioedge/sioedge/loop/class"
)

// Messages of a class.Kind are written as all others are, with a note of what they
// are in Loop.fresh, which costs nothing when they are sent at once. Only what a step's
// flush has left over is judged, at its end: then a peer has not taken it. What is
// dropped leaves a ref of nothing in the queue, in the middle of which nothing is
// moved for it; a message of which a byte was sent is not touched any more.

// A freshRef is what a ref of this step may be dropped by.
type freshRef struct {
	parts []class.Part // of several messages in one
	kind  *class.Kind  // of one
}

func (f freshRef) isZero() bool { return f.parts == nil && f.kind == nil }

// WriteParts is WriteShared for messages that may be dropped, each by itself, as long
// as nothing of it was sent: when the peer does not take what is queued, by their
// Kind. The parts are all of p, and must not be modified.
func (c Conn) WriteParts(p []byte, parts []class.Part) {
	if r := c.living(); r != nil && len(p) > 0 {
		c.l.queueFresh(c.slot, r, ref{p: p}, freshRef{parts: parts})
	}
}

// SendParts is SendShared for messages that may be dropped: see WriteParts.
func (c Conn) SendParts(p []byte, parts []class.Part) {
	if r := c.living(); r != nil && len(p) > 0 {
		c.l.sendNow(c.slot, r, p, freshRef{parts: parts})
	}
}

// WriteKind is Write for one message that may be dropped: see WriteParts. With a nil
// Kind it is Write.
func (c Conn) WriteKind(p []byte, k *class.Kind) {
	r := c.living()
	switch {
	case r == nil || len(p) == 0:
	case k == nil:
		c.l.queueCopy(c.slot, r, p)
	default:
		c.l.queueKind(c.slot, r, p, k)
	}
}

// OnDrop sets what is told of messages that were dropped. It is called while they are
// written or flushed, and must not write itself.
func (l *Loop) OnDrop(f func(k *class.Kind, n int)) {
	l.owner.check()
	l.onDrop = f
}

// Dropped counts n messages of a kind that were dropped, in Stats.Dropped too: also for
// whoever has a queue of its own above the loop.
func (l *Loop) Dropped(k *class.Kind, n int) {
	l.owner.check()
	l.tally.Dropped.Count(k.Policy, n)
	if l.onDrop != nil {
		l.onDrop(k, n)
	}
}

// queueKind queues a copy of p.
func (l *Loop) queueKind(slot uint32, r *record, p []byte, k *class.Kind) {
	if len(p) > arenaSize/2 || l.inLink > 0 {
		l.queueFresh(slot, r, ref{p: bytes.Clone(p), kind: own}, freshRef{kind: k})
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
	l.queueFresh(slot, r, ref{p: l.arena[start:len(l.arena):len(l.arena)], kind: transient}, freshRef{kind: k})
}

// queueFresh queues q. What may not be queued is found when others have made room.
func (l *Loop) queueFresh(slot uint32, r *record, q ref, f freshRef) {
	fits := l.fits(r, len(q.p))
	q.large = l.large(q.p)
	l.pushFresh(slot, r, q, f)
	if fits {
		return
	}
	if r.flow&wantWrite == 0 {
		l.flush(slot)
	} else {
		e := l.exts[r.ext]
		l.judge(e)
		l.keep(e)
	}
	if !r.life.in(dyingSet) && !l.fits(r, 0) {
		l.overflow(slot, r)
	}
}

// pushFresh is push for what is to be judged, unless f is zero.
func (l *Loop) pushFresh(slot uint32, r *record, q ref, f freshRef) {
	if !f.isZero() {
		l.fresh = append(l.fresh, f)
		q.mark = uint32(len(l.fresh))
	}
	l.push(slot, r, q)
	if q.mark != 0 {
		l.exts[r.ext].fresh++
	}
}

// pushRest queues p, of which the first n bytes were sent, and nothing is queued.
func (l *Loop) pushRest(slot uint32, r *record, p []byte, n int, f freshRef) {
	if f.isZero() {
		l.push(slot, r, ref{p: p[n:], large: l.large(p)})
		l.exts[r.ext].lead = l.restOf(p, n)
		return
	}
	l.pushFresh(slot, r, ref{p: p, large: l.large(p)}, f)
	l.sent(l.exts[r.ext], n)
}

// mostFresh bounds what is kept of Loop.fresh for the next step.
const mostFresh = 4096

func (l *Loop) forgetFresh() {
	if cap(l.fresh) > mostFresh {
		l.fresh = nil
	}
	clear(l.fresh)
	l.fresh = l.fresh[:0]
}

// judge decides on what is to be dropped of the messages that were written since the
// queue was last kept.
func (l *Loop) judge(e *ext) {
	if e.fresh == 0 {
		return
	}
	queued, held, entries := e.queued, e.held, e.entries()
	i := max(e.kept, e.head)
	all := append(l.judging[:0], e.queue[i:]...)
	clear(e.queue[i:])
	e.queue = e.queue[:i]
	for n := range all {
		e.held -= all[n].held()
		e.queued -= len(all[n].p)
		if all[n].p == nil {
			e.dead--
		}
	}
	off := 0
	if i == e.head {
		off = e.off // of the first
		e.queued += off
	}
	for n, q := range all {
		switch {
		case q.p == nil:
		case q.mark == 0 || q.judged:
			e.append(q)
		default:
			l.judgeOne(e, q, off)
		}
		off, all[n] = 0, ref{}
	}
	if i == e.head {
		e.queued -= e.off
	}
	l.judging = all[:0]
	if cap(all) > mostFresh {
		l.judging = nil
	}
	e.fresh = 0
	e.skipDead()
	if e.dead > fewRefs && e.dead*2 > len(e.queue)-e.head {
		e.compact()
	}
	l.tally.Queued += int64(e.queued - queued)
	l.tally.Held += int64(e.held - held)
	l.tally.Entries += int64(e.entries() - entries)
}

// judgeOne judges the messages of q, of which the first off bytes were sent.
func (l *Loop) judgeOne(e *ext, q ref, off int) {
	f := l.fresh[q.mark-1]
	q.mark = 0
	switch {
	case f.kind != nil && off > 0:
		e.append(q)
		return
	case f.kind != nil:
		l.place(e, q, f.kind)
		return
	}
	if off > 0 {
		e.off = 0
	}
	start := 0
	for _, part := range f.parts {
		if start < off && off < part.End {
			e.lead = part.End - off
		}
		if part.End > off { // else it was sent
			from := max(start, off)
			piece := ref{p: q.p[from:part.End:part.End], kind: q.kind}
			if part.Kind == nil || start < off {
				piece.large = l.large(piece.p)
				e.append(piece)
			} else {
				l.place(e, piece, part.Kind)
			}
		}
		start = part.End
	}
}

// place queues a message of kind k, or drops it, or others for it.
func (l *Loop) place(e *ext, q ref, k *class.Kind) {
	if e.index == nil {
		e.index = &class.Index{}
	}
	v := e.index.Judge(e, k, len(q.p)+refSize, l.engine.o.SoftOutbound)
	if v.Dropped > 0 {
		l.Dropped(k, v.Dropped)
	}
	if v.Refused {
		return
	}
	if q.kind == transient {
		q.p, q.kind = bytes.Clone(q.p), own
	}
	q.large, q.judged = l.large(q.p), true
	if v.Instead != 0 {
		q.mark = v.Instead
		old := &e.queue[e.index.Place(q.mark)-e.base]
		e.held += q.held() - old.held()
		e.queued += len(q.p) - len(old.p)
		*old = q
		e.index.Replace(q.mark, q.held())
		return
	}
	q.mark = e.index.Add(k, e.place(len(e.queue)), q.held())
	e.append(q)
}

// append queues q again, or a part of it.
func (e *ext) append(q ref) {
	if q.judged {
		e.index.Move(q.mark, e.place(len(e.queue)))
	}
	e.held += q.held()
	e.queued += len(q.p)
	e.queue = append(e.queue, q)
}

// place returns what the index calls queue[i].
func (e *ext) place(i int) uint32 { return e.base + uint32(i) }

// Size and Drop make an ext a class.Queue.
func (e *ext) Size() int {
	if e.entries() == 0 {
		return 0 // what is kept for others to come keeps nobody out
	}
	return e.size()
}

// Drop drops a message, of which nothing was sent.
func (e *ext) Drop(place uint32) {
	q := &e.queue[place-e.base]
	e.held -= q.held()
	e.queued -= len(q.p)
	*q = ref{}
	e.dead++
	e.skipDead()
}

// firm returns how many bytes are held for what is never dropped.
func (e *ext) firm() int {
	if e.index == nil {
		return e.size()
	}
	return e.held - e.index.Held() + max(e.entries()-e.index.Len()-fewRefs, 0)*refSize
}

// unmark says that q is not to be dropped any more: it was sent, or part of it.
func (e *ext) unmark(q *ref) {
	if q.judged {
		e.index.Remove(q.mark)
	} else {
		e.fresh--
	}
	q.mark, q.judged = 0, false
}

// skipDead has the first of the queue be one that is to be sent.
func (e *ext) skipDead() {
	for e.head < len(e.queue) && e.queue[e.head].p == nil {
		e.head++
		e.dead--
	}
}

// compact takes out of the queue what was dropped.
func (e *ext) compact() {
	w, kept := 0, 0
	for i := e.head; i < len(e.queue); i++ {
		q := e.queue[i]
		if q.p == nil {
			continue
		}
		if q.judged {
			e.index.Move(q.mark, e.place(w))
		}
		e.queue[w] = q
		w++
		if i < e.kept {
			kept = w
		}
	}
	clear(e.queue[w:])
	e.queue, e.head, e.kept, e.dead = e.queue[:w], 0, kept, 0
}

// keepMarked is keep for a message with a mark that is about to be queue[w]. It is
// false of one that was not judged: that may have been sent, who knows, but for the
// flush.
func (e *ext) keepMarked(q *ref, w int) bool {
	if !q.judged {
		e.unmark(q)
		return false
	}
	e.index.Move(q.mark, e.place(w))
	return true
}
