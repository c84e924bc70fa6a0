package eio

import "github.com/sioedge/sioedge/loop/class"

// classed is what of a queue may be dropped. As in the loop's queues, a message is
// judged when the step that queued it is over, and no poll has taken it: then it
// waits for a client that is not there. A message of which something has been in an
// answer is not touched any more.
type classed struct {
	index     *class.Index // while something is in it
	base      uint32       // its place of queue[0]
	dead      int          // places in the queue of what was dropped
	judged    int          // of the queue, what has been judged
	fresh     int          // messages that are to be judged
	freshHeld int          // bytes that they hold
}

// size returns the bytes that are held for the queue.
func (e *ext) size() int {
	if e.index == nil {
		return e.queued
	}
	return e.queued + e.index.Size()
}

// firm returns the bytes that are held for what is never dropped.
func (e *ext) firm() int {
	if e.index == nil {
		return e.queued - e.freshHeld
	}
	return e.queued - e.freshHeld - e.index.Held()
}

// Size and Drop make an ext a class.Queue.
func (e *ext) Size() int {
	if e.queued == 0 {
		return 0
	}
	return e.size()
}

// Drop drops a message.
func (e *ext) Drop(place uint32) {
	q := &e.queue[place-e.base]
	e.queued -= q.size()
	*q = queued{}
	e.dead++
	e.skipDead()
}

// skipDead has the first of the queue be one that is to be sent.
func (e *ext) skipDead() {
	for len(e.queue) > 0 && e.queue[0].frames == nil {
		e.dead--
		e.pop()
	}
}

// pop takes the first place out of the queue.
func (e *ext) pop() {
	e.queue[0] = queued{}
	e.queue = e.queue[1:]
	e.base++
	e.judged = max(e.judged-1, 0)
}

func (e *ext) clearQueue() {
	e.queue, e.queued, e.classed = nil, 0, classed{}
}

// unmark says that q is not to be dropped any more.
func (e *ext) unmark(q *queued) {
	switch {
	case q.mark != 0:
		e.index.Remove(q.mark)
	case q.kind != nil:
		e.fresh--
		e.freshHeld -= q.size()
	}
	q.mark, q.kind = 0, nil
}

// judge decides on what is to be dropped of the messages that have been queued since.
func (sh *shard) judge(e *ext) {
	if e.fresh == 0 {
		e.judged = len(e.queue)
		return
	}
	all := append([]queued(nil), e.queue[e.judged:]...)
	clear(e.queue[e.judged:])
	e.queue = e.queue[:e.judged]
	for i := range all {
		e.queued -= all[i].size()
	}
	for _, q := range all {
		if q.kind == nil {
			e.queued += q.size()
			e.queue = append(e.queue, q)
		} else {
			sh.place(e, q)
		}
	}
	e.judged, e.fresh, e.freshHeld = len(e.queue), 0, 0
	if e.dead > maxPackets && e.dead*2 > len(e.queue) {
		e.compact()
	}
	sh.countQueue(e)
}

// place queues a message of a kind, or drops it, or others for it.
func (sh *shard) place(e *ext, q queued) {
	if e.index == nil {
		e.index = &class.Index{}
	}
	v := e.index.Judge(e, q.kind, q.size(), sh.srv.o.MaxQueue)
	if v.Dropped > 0 {
		sh.loop.Dropped(q.kind, v.Dropped)
	}
	switch {
	case v.Refused:
		return
	case v.Instead != 0:
		old := &e.queue[e.index.Place(v.Instead)-e.base]
		e.queued -= old.size()
		q.mark = v.Instead
		*old = q
		e.index.Replace(v.Instead, q.size())
	default:
		q.mark = e.index.Add(q.kind, e.base+uint32(len(e.queue)), q.size())
		e.queue = append(e.queue, q)
	}
	e.queued += q.size()
}

// compact takes out of the queue what was dropped.
func (e *ext) compact() {
	w := 0
	for _, q := range e.queue {
		if q.frames == nil {
			continue
		}
		if q.mark != 0 {
			e.index.Move(q.mark, e.base+uint32(w))
		}
		e.queue[w] = q
		w++
	}
	clear(e.queue[w:])
	e.queue, e.judged, e.dead = e.queue[:w], w, 0
}
