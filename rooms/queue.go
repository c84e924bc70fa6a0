package rooms

import "slices"

// A queue is a loop's broadcasts that some members have not been visited for,
// in groups. Groups are numbered in the order of their coming; numbers are 32
// bits and wrap, which does no harm because those of the groups queued at one
// time are neighbours.
//
// To find the groups that one socket is still to get, without looking at all of
// them, those of each room are chained from the last to the first: set.last is
// the number of the last, group.toPrev leads on. Chains are never cleared: an
// end is a number that is not queued, or of a group that is for other rooms.
// Sockets named by themselves have chains of the same kind.
type queue struct {
	seq    uint64 // of the last broadcast enqueued
	groups []*group
	head   int    // groups before it are done
	number uint32 // of the group at head
	looked int    // groups behind it that overtake has looked at

	named map[uint32]uint32 // by slot: the last group that names the socket itself
	free  []*group

	// Reused from step to step.
	slots      [512]uint32 // being visited
	mask       mask
	to, except []*set   // of the group being visited
	toSlots    []uint32 // of the broadcast being enqueued
	exSlots    []uint32
	offsets    []uint32 // of groups a socket catches up with
}

// A group is consecutive broadcasts for the same members: a Run while it waits
// for its visits and during them.
type group struct {
	run         *Run
	view        *Run // of what a socket has caught up with while run could still grow
	first, last uint64
	bytes       int
	volatile    bool
	reached     int // sockets that have got some of it

	to, except      []*entry // the broadcasts' own
	toSlots, exSlot []uint32 // single sockets, sorted
	toPrev          []uint32 // by to: the next group of the room's chain
	slotPrev        []uint32 // by toSlots: of the socket's chain

	next    uint32 // the slot to go on from
	started bool   // a visit has been made, the run does not grow
	over    bool   // all have it: it has overtaken others, and waits to be taken out
}

// Enqueue takes a broadcast that Publish has posted to this loop, in the order
// of posting. It is for the members of now.
func (l *Local) Enqueue(b *Broadcast) {
	l.check()
	q := &l.queue
	q.toSlots = l.appendSlots(q.toSlots[:0], b.ToRefs, b.Namespace)
	if len(q.toSlots) == 0 && !slices.ContainsFunc(b.to, l.hasMembers) {
		l.done(0, b)
		l.took()
		return
	}
	q.exSlots = l.appendSlots(q.exSlots[:0], b.ExceptRefs, b.Namespace)
	q.seq++
	g := q.tail()
	fresh := g == nil || !g.takes(b, q.toSlots, q.exSlots)
	if fresh {
		g = q.push(b)
	}
	g.run.Broadcasts = append(g.run.Broadcasts, b)
	if b.Binary {
		g.run.binary++
	}
	g.bytes += b.Size
	g.last = q.seq
	l.stats.QueuedBytes += b.cost()
	l.chain(g, fresh)
}

// Progress returns how many broadcasts have been enqueued so far, and up to which
// of them, in their order, all members have been visited.
func (l *Local) Progress() (enqueued, visited uint64) {
	l.own()
	q := &l.queue
	if !l.Pending() {
		return q.seq, q.seq
	}
	return q.seq, q.groups[q.head].first - 1
}

// Pending says whether members are still to be visited.
func (l *Local) Pending() bool {
	l.own()
	return l.queue.head < len(l.queue.groups)
}

// appendSlots appends the slots of those refs that are connected sockets of
// this loop and namespace, sorted, each once.
func (l *Local) appendSlots(dst []uint32, refs []Ref, ns uint32) []uint32 {
	for _, ref := range refs {
		if ref.Loop() != l.index || ref == 0 {
			continue
		}
		r := l.record(ref.Slot())
		if r != nil && r.all != 0 && r.gen&genMask == ref.Gen() && l.sets.At(r.all).entry.ns == ns {
			dst = append(dst, ref.Slot())
		}
	}
	slices.Sort(dst)
	return slices.Compact(dst)
}

func (l *Local) hasMembers(e *entry) bool { return l.table.findEntry(&l.sets, e) != 0 }

// tail returns the last group, nil if there is none.
func (q *queue) tail() *group {
	if q.head == len(q.groups) {
		return nil
	}
	return q.groups[len(q.groups)-1]
}

// takes says whether b, for these sockets beside its rooms, belongs to the
// group. The slots are compared and not the Refs: those of sockets that have
// gone since the last broadcast were not among its.
func (g *group) takes(b *Broadcast, toSlots, exSlots []uint32) bool {
	return !g.started && len(g.run.Broadcasts) < MaxRunMessages && g.bytes+b.Size <= MaxRunBytes &&
		g.volatile == b.Volatile && slices.Equal(g.to, b.to) && slices.Equal(g.except, b.except) &&
		slices.Equal(g.toSlots, toSlots) && slices.Equal(g.exSlot, exSlots)
}

// push queues a new group for b, whose slots are in q.
func (q *queue) push(b *Broadcast) *group {
	var g *group
	if n := len(q.free); n > 0 {
		g, q.free = q.free[n-1], q.free[:n-1]
	} else {
		g = new(group)
	}
	run := new(Run) // never reused: deliverers know it by its address
	run.Broadcasts = run.one[:0]
	*g = group{
		run: run, first: q.seq, volatile: b.Volatile, to: b.to, except: b.except,
		toSlots: append(g.toSlots[:0], q.toSlots...), exSlot: append(g.exSlot[:0], q.exSlots...),
		toPrev: g.toPrev[:0], slotPrev: g.slotPrev[:0],
	}
	if q.head > len(q.groups)/2 && q.head > 64 {
		q.groups = slices.Delete(q.groups, 0, q.head)
		q.head = 0
	}
	q.groups = append(q.groups, g)
	return g
}

// chain makes g, the last group, the last in the chains of its rooms and
// sockets. A room may have become another set since the group was made, so
// that is looked at for each broadcast.
func (l *Local) chain(g *group, fresh bool) {
	q := &l.queue
	number := q.number + uint32(len(q.groups)-q.head-1)
	for _, e := range g.to {
		var prev uint32
		if id := l.table.findEntry(&l.sets, e); id != 0 {
			s := l.sets.At(id)
			prev, s.last = s.last, number
		}
		if fresh {
			g.toPrev = append(g.toPrev, prev)
		}
	}
	if len(g.toSlots) > 0 && q.named == nil {
		q.named = make(map[uint32]uint32)
	}
	for _, slot := range g.toSlots {
		if fresh {
			g.slotPrev = append(g.slotPrev, q.named[slot])
		}
		q.named[slot] = number
		l.record(slot).gen |= addressed
	}
}

// pop takes the first group, which is done, out of the queue.
func (q *queue) pop() {
	g := q.groups[q.head]
	q.groups[q.head] = nil
	q.head++
	q.number++
	q.looked = max(q.looked-1, 0)
	*g = group{toSlots: g.toSlots[:0], exSlot: g.exSlot[:0], toPrev: g.toPrev[:0], slotPrev: g.slotPrev[:0]}
	if len(q.free) < 64 && cap(g.toSlots)+cap(g.exSlot)+cap(g.toPrev) < 1024 {
		q.free = append(q.free, g)
	}
	if q.head == len(q.groups) {
		q.groups, q.head = q.groups[:0], 0
		if len(q.named) > 0 {
			q.named = nil
		}
	}
}

// CatchUp delivers to a socket what it has not had of the broadcasts enqueued
// so far. It comes before everything that must not overtake them: a message to
// that socket alone, or the end of its connection. (Join, Leave and Remove call
// it.) It is one comparison when nothing is pending, and otherwise looks at the
// rooms of the socket, not at their members or at all that is pending.
func (l *Local) CatchUp(slot uint32) {
	l.own()
	if l.queue.head == len(l.queue.groups) {
		return
	}
	l.check()
	if r := l.record(slot); r != nil && r.all != 0 && r.seen < l.queue.seq {
		l.catchUp(slot, r)
	}
}

func (l *Local) catchUp(slot uint32, r *record) {
	q := &l.queue
	q.offsets = l.follow(q.offsets[:0], r.all, r.seen)
	l.scratch = l.appendRooms(r, l.scratch[:0])
	for _, id := range l.scratch {
		q.offsets = l.follow(q.offsets, id, r.seen)
	}
	if r.gen&addressed != 0 {
		q.offsets = q.followSlot(q.offsets, slot, r.seen)
		r.gen &^= addressed
	}
	slices.Sort(q.offsets)
	l.busy = true
	defer l.idle()
	for _, off := range slices.Compact(q.offsets) {
		g := q.groups[q.head+int(off)]
		if r.seen >= g.last || l.excepted(g, slot) {
			continue
		}
		run, from := g.caughtUp(g == q.tail()), g.from(r)
		if from == 0 {
			g.reached++
		}
		r.seen = g.last // before the call: it may panic
		l.stats.CaughtUp++
		l.deliver(slot, run, from, g != q.tail())
	}
	r.seen = q.seq
}

// follow appends the places in the queue of the groups with broadcasts after
// seen in the chain of a set.
func (l *Local) follow(dst []uint32, id uint32, seen uint64) []uint32 {
	q, s := &l.queue, l.sets.At(id)
	end := uint32(len(q.groups) - q.head)
	for off := s.last - q.number; off < end; {
		g := q.groups[q.head+int(off)]
		i := slices.Index(g.to, s.entry)
		if g.last <= seen || i < 0 {
			break
		}
		dst = append(dst, off)
		end, off = off, g.toPrev[i]-q.number
	}
	return dst
}

// followSlot does what follow does for the groups that name a socket itself.
func (q *queue) followSlot(dst []uint32, slot uint32, seen uint64) []uint32 {
	last, ok := q.named[slot]
	if !ok {
		return dst
	}
	end := uint32(len(q.groups) - q.head)
	for off := last - q.number; off < end; {
		g := q.groups[q.head+int(off)]
		i, ok := slices.BinarySearch(g.toSlots, slot)
		if g.last <= seen || !ok {
			break
		}
		dst = append(dst, off)
		end, off = off, g.slotPrev[i]-q.number
	}
	return dst
}

// excepted says whether a socket is among those the group is not for.
func (l *Local) excepted(g *group, slot uint32) bool {
	if _, ok := slices.BinarySearch(g.exSlot, slot); ok {
		return true
	}
	for _, e := range g.except {
		if id := l.table.findEntry(&l.sets, e); id != 0 && l.sets.At(id).has(slot) {
			return true
		}
	}
	return false
}

// from returns how many of the group's messages the socket has passed.
func (g *group) from(r *record) int {
	if r.seen < g.first {
		return 0
	}
	return int(r.seen-g.first) + 1
}

// caughtUp returns the run as one socket gets it before the others. While it
// may still grow that is a copy, so that what a deliverer has seen never does.
func (g *group) caughtUp(tail bool) *Run {
	if g.started || !tail {
		return g.run
	}
	if n := len(g.run.Broadcasts); g.view == nil || len(g.view.Broadcasts) != n {
		g.view = &Run{Broadcasts: g.run.Broadcasts[:n:n], binary: g.run.binary}
	}
	return g.view
}

func (l *Local) idle() { l.busy = false }
