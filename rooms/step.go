package rooms

import "slices"

// Step visits up to about max recipients of what is pending, says whether more
// is, and goes on from there the next time. It allocates nothing by recipient.
func (l *Local) Step(max int) (more bool) {
	l.check()
	l.busy = true
	defer l.idle()
	for max > 0 && l.Pending() {
		max -= l.visit(max)
	}
	return l.Pending()
}

// visit delivers the first group to up to limit of its members, takes it out of
// the queue after the last, and returns how much of the limit that was: at
// least one, as groups without members left cost something too.
func (l *Local) visit(limit int) int {
	q := &l.queue
	g := q.groups[q.head]
	g.started = true
	slots := l.gather(g, q.slots[:0:min(limit, len(q.slots))])
	n, done := len(slots), len(slots) < cap(slots)
	var next uint32
	if n > 0 {
		next = slots[n-1] + 1
	}
	if n > 0 && len(g.exSlot) > 0 {
		slots = without(slots, g.exSlot)
	}
	more := len(q.groups)-q.head > 1
	l.stats.Visited += uint64(len(slots))
	for _, slot := range slots {
		// Who has it already has caught up, was added since, or is in a room
		// but not connected.
		r := &l.records[slot>>recordBits][slot%recordChunk]
		if r.seen >= g.last || r.all == 0 {
			l.stats.Skipped++
			continue
		}
		from := g.from(r)
		g.next, r.seen = slot+1, g.last // before the call: it may panic
		l.deliver(slot, g.run, from, more)
	}
	g.next = next
	if done {
		l.stats.Runs++
		l.stats.QueuedBytes -= l.dir.done(g.run.Broadcasts...)
		q.pop()
	}
	return max(n, 1)
}

// gather appends the slots the group is for, from g.next on, to dst until dst
// is full. Sockets excepted by themselves are still among them.
func (l *Local) gather(g *group, dst []uint32) []uint32 {
	q := &l.queue
	q.to = l.appendSets(q.to[:0], g.to)
	q.except = l.appendSets(q.except[:0], g.except)
	switch {
	case len(q.except) > 0:
		return q.combine(g, dst)
	case len(q.to) == 1 && len(g.toSlots) == 0:
		return q.to[0].appendFrom(dst, g.next)
	case len(q.to) == 0:
		return appendSorted(dst, g.toSlots, g.next)
	default:
		return q.combine(g, dst)
	}
}

// appendSets appends the sets of those rooms that the loop has members of.
// They are looked up for each step: a set may have gone, and its id may be
// another room's by now, but an entry never is.
func (l *Local) appendSets(dst []*set, rooms []*entry) []*set {
	for _, e := range rooms {
		if id := l.table.findEntry(&l.sets, e); id != 0 {
			dst = append(dst, l.sets.At(id))
		}
	}
	return dst
}

// combine is gather for several rooms, or with rooms excepted: block by block,
// by bit operations, which give each socket once and in order.
func (q *queue) combine(g *group, dst []uint32) []uint32 {
	low := uint16(g.next % blockLen)
	for num := g.next >> blockBits; len(dst) < cap(dst); num++ {
		next, ok := nextBlock(q.to, g.toSlots, num)
		if !ok {
			break
		}
		if next != num {
			num, low = next, 0
		}
		q.mask = mask{}
		for _, s := range q.to {
			s.union(&q.mask, num)
		}
		q.mask.unionSorted(g.toSlots, num)
		for _, s := range q.except {
			s.subtract(&q.mask, num)
		}
		dst = q.mask.appendFrom(dst, num, low)
		low = 0
	}
	return dst
}

// without removes from sorted slots those that are in the sorted list except.
func without(slots, except []uint32) []uint32 {
	i, _ := slices.BinarySearch(except, slots[0])
	kept := slots[:0]
	for _, slot := range slots {
		for i < len(except) && except[i] < slot {
			i++
		}
		if i == len(except) || except[i] != slot {
			kept = append(kept, slot)
		}
	}
	return kept
}
