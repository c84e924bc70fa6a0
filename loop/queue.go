package loop

import (
	"bytes"
	"unsafe"
)

// A ref is a piece of output.
type ref struct {
	p      []byte // nil: it was dropped
	kind   kind
	large  bool   // it was larger than MaxOutbound when it was written
	judged bool   // mark is of ext.index
	mark   uint32 // until then a place in Loop.fresh, less 1; 0: it is never dropped
}

// kind is whose the bytes of a ref are.
type kind uint8

const (
	shared    kind = iota // others', and immutable
	own                   // the queue's
	transient             // in Loop.arena, good until the end of the step
)

const (
	refSize  = int(unsafe.Sizeof(ref{}))
	fewRefs  = 16       // an ext keeps room for as many
	maxPiece = 16 << 10 // small pieces are put together up to this
)

// held returns how many bytes are kept for q. Of what is shared each queue
// counts the whole: it may be the last that keeps it.
func (q *ref) held() int {
	if q.kind == own {
		return cap(q.p)
	}
	return len(q.p)
}

// size returns how many bytes are held for what is queued, the queue itself
// included.
func (e *ext) size() int {
	n := e.held + max(cap(e.queue)-fewRefs, 0)*refSize
	if e.index != nil {
		n += e.index.Size()
	}
	return n
}

// entries returns how many pieces are queued.
func (e *ext) entries() int { return len(e.queue) - e.head - e.dead }

// keep makes what was queued in this step outlive it: what is in the arena is
// copied. A blocked connection may be written to in many small pieces, one a
// step: they are put together, and so is what is shared if it is smaller than
// its ref, so that what is held is about what is to be sent.
func (l *Loop) keep(e *ext) {
	i := max(e.kept, e.head)
	if i == len(e.queue) {
		return
	}
	before, after, entries := 0, 0, e.entries()
	w := i // queue[:w] is kept
	for ; i < len(e.queue); i++ {
		q := e.queue[i]
		if q.p == nil {
			e.dead--
			continue
		}
		before += q.held()
		if q.mark != 0 && e.keepMarked(&q, w) {
			after += q.held()
			e.queue[w] = q
			w++
			continue
		}
		if i == e.head && e.off > 0 && q.kind != own {
			e.lead = l.unfinished(e)
			q.p, e.off = q.p[e.off:], 0
		}
		switch {
		case q.kind == transient, q.kind == shared && len(q.p) <= refSize:
			if w > e.head && !q.large && e.queue[w-1].takes(len(q.p)) {
				last := &e.queue[w-1]
				after -= cap(last.p)
				last.p = append(last.p, q.p...)
				after += cap(last.p)
				continue
			}
			q.p, q.kind = bytes.Clone(q.p), own
		}
		after += q.held()
		e.queue[w] = q
		w++
	}
	clear(e.queue[w:])
	e.queue, e.kept = e.queue[:w], w
	l.tally.Entries += int64(e.entries() - entries)
	if cap(e.queue) > 4*max(w-e.head, fewRefs) {
		e.queue = append(make([]ref, 0, w-e.head), e.queue[e.head:]...)
		e.base += uint32(e.head)
		e.head, e.kept = 0, len(e.queue)
	}
	e.held += after - before
	l.tally.Held += int64(after - before)
}

// takes tells whether n bytes may be put behind q.
func (q *ref) takes(n int) bool {
	return q.kind == own && !q.large && !q.judged && len(q.p)+n <= maxPiece
}
