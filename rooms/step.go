package rooms

import "slices"

// Step visits up to about max recipients of what is pending, says whether more
// is, and goes on from there the next time. While it is at members that take
// several steps, what waits for no more than max others goes to them in between.
// It allocates nothing by recipient.
func (l *Local) Step(limit int) (more bool) {
	l.check()
	if n := l.overtake(limit); n > 0 {
		limit = max(limit-n, (limit+1)/2)
	}
	l.busy = true
	defer l.idle()
	for limit > 0 && l.Pending() {
		limit -= l.visit(limit)
	}
	l.took()
	return l.Pending()
}

// overCost is how many groups that all have had are taken out for what a recipient costs.
const overCost = 32

// visit delivers the first group to up to limit of its members, takes it out of
// the queue after the last, and returns how much of the limit that was: at
// least one, as groups without members left cost something too.
func (l *Local) visit(limit int) int {
	q := &l.queue
	g := q.groups[q.head]
	if g.over {
		for n := 0; n < overCost && l.Pending() && q.groups[q.head].over; n++ {
			q.pop()
		}
		return 1
	}
	if !g.started {
		g.started = true
		l.waited(g)
	}
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
		if from == 0 {
			g.reached++
		}
		g.next, r.seen = slot+1, g.last // before the call: it may panic
		l.deliver(slot, g.run, from, more)
	}
	g.next = next
	if done {
		l.finish(g)
		q.pop()
	}
	return max(n, 1)
}

// finish counts a group that all members have been visited for.
func (l *Local) finish(g *group) {
	l.stats.Runs++
	l.stats.QueuedBytes -= l.done(g.reached, g.run.Broadcasts...)
}

// overtake delivers groups of up to limit members that wait behind one of more,
// which a step has begun with: a room of ten does not wait until a million others
// have been visited. It catches its members up with all that is before, so that each
// gets everything in its order, and returns how many they were: about half of limit, or
// one group. Each group is looked at once.
func (l *Local) overtake(limit int) (visited int) {
	q := &l.queue
	limit = min(limit, len(q.slots))
	if !l.Pending() || !q.groups[q.head].started || l.size(q.groups[q.head]) <= limit {
		return 0
	}
	defer l.took()
	for visited < (limit+1)/2 && q.head+1+q.looked < len(q.groups) {
		g := q.groups[q.head+1+q.looked]
		if l.size(g) <= limit {
			if !g.started {
				g.started = true
				l.waited(g)
			}
			slots := l.gather(g, q.slots[:0:limit])
			for _, slot := range slots {
				if r := l.record(slot); r.all != 0 && r.seen < g.last {
					l.catchUp(slot, r)
				}
			}
			visited += max(len(slots), 1)
			l.finish(g)
			g.over = true
		}
		q.looked++
	}
	return visited
}

// size returns how many members a group has at most.
func (l *Local) size(g *group) (n int) {
	for _, e := range g.to {
		if id := l.table.findEntry(&l.sets, e); id != 0 {
			n += int(l.sets.At(id).n)
		}
	}
	return n + len(g.toSlots)
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
