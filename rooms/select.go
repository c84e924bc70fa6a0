package rooms

import (
	"math/bits"
	"slices"
)

// Count returns how many of the loop's sockets a broadcast would be for: connected
// ones, each once. It goes through blocks of members by bit operations, so that
// hundreds of thousands take some microseconds. Of b, only the addresses matter.
func (l *Local) Count(b *Broadcast) (n int) {
	l.own()
	l.walk(b, 0, func(_ uint32, m *mask) bool {
		for _, word := range m {
			n += bits.OnesCount64(word)
		}
		return true
	})
	return n
}

// Members appends the slots of the sockets that Count counts, from one on and in
// ascending order, to dst until that is full: the next ones follow behind the last.
func (l *Local) Members(b *Broadcast, from uint32, dst []uint32) []uint32 {
	l.own()
	low := uint16(from % blockLen)
	l.walk(b, from>>blockBits, func(num uint32, m *mask) bool {
		if num != from>>blockBits {
			low = 0
		}
		dst = m.appendFrom(dst, num, low)
		return len(dst) < cap(dst)
	})
	return dst
}

// walk calls f with the sockets that b is for, from a block on, until f is false.
func (l *Local) walk(b *Broadcast, num uint32, f func(num uint32, m *mask) bool) {
	everyone := l.find(key{ns: b.Namespace, everyone: true})
	if everyone == 0 {
		return
	}
	connected := l.sets.At(everyone)
	to, except := l.namedSets(b.Namespace, b.To), l.namedSets(b.Namespace, b.Except)
	if len(b.To)+len(b.ToRefs) == 0 {
		to = append(to, connected)
	}
	toSlots, exSlots := l.appendSlots(nil, b.ToRefs, b.Namespace), l.appendSlots(nil, b.ExceptRefs, b.Namespace)
	for ok := true; ; num++ {
		if num, ok = nextBlock(to, toSlots, num); !ok {
			return
		}
		var m, all mask
		for _, s := range to {
			s.union(&m, num)
		}
		m.unionSorted(toSlots, num)
		connected.union(&all, num)
		for i := range m {
			m[i] &= all[i]
		}
		for _, s := range except {
			s.subtract(&m, num)
		}
		m.subtractSorted(exSlots, num)
		if !f(num, &m) {
			return
		}
	}
}

// namedSets returns the sets of those rooms that the loop has members of.
func (l *Local) namedSets(ns uint32, names []string) (sets []*set) {
	for _, name := range names {
		if id := l.find(key{ns: ns, name: name}); id != 0 {
			sets = append(sets, l.sets.At(id))
		}
	}
	return sets
}

// nextBlock returns the first block from num on in which there may be members of
// the sets, or one of the sorted slots.
func nextBlock(sets []*set, slots []uint32, num uint32) (next uint32, ok bool) {
	next, ok = nextSorted(slots, num)
	for _, s := range sets {
		if n, found := s.nextBlock(num); found && (!ok || n < next) {
			next, ok = n, true
		}
	}
	return next, ok
}

// Loops calls f for each loop that has members of a room, or expects some, in
// ascending order, with nothing locked.
func (d *Directory) Loops(ns uint32, name string, f func(loop int)) {
	k := key{ns: ns, name: name}
	h := d.hash(k)
	s := &d.shards[shardOf(h)]
	var loops [maxLoops / 64]uint64
	s.mu.Lock()
	if e := find(s, h, k); e != nil {
		loops[0] = e.loops
		if e.high != nil {
			copy(loops[1:], e.high[:])
		}
	}
	s.mu.Unlock()
	for w, word := range loops {
		for ; word != 0; word &= word - 1 {
			f(w*64 + bits.TrailingZeros64(word))
		}
	}
}

// A RoomCount is the Name of a room and the Count of connected sockets of all loops in
// it.
type RoomCount struct {
	Name  string
	Count int
}

// Each calls f with the rooms of a namespace that have connected members, a part
// of them at a time and with nothing locked, in any order, until f is false. A
// room that is there throughout is in exactly one part.
func (d *Directory) Each(ns uint32, f func(part []RoomCount) bool) {
	var part []RoomCount
	for i := range d.shards {
		part = part[:0]
		s := &d.shards[i]
		s.mu.Lock()
		s.rooms.Each(0, func(e *entry) bool {
			if n := int(e.members.Load()); e.ns == ns && !e.everyone && n > 0 {
				part = append(part, RoomCount{e.name, n})
			}
			return true
		})
		s.mu.Unlock()
		if len(part) > 0 && !f(slices.Clip(part)) {
			return
		}
	}
}
