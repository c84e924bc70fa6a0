package rooms

import "slices"

// A set is a loop's members of one room, by slot, in ascending order. Up to
// fewMax are in the record itself, up to flatMax in one sorted list, and more
// in blocks.
//
// Members are visited in the order of their slots because the kernel's sockets
// are then visited about in the order of their allocation, which was measured
// to save a fifth of the cost of a send.
type set struct {
	entry *entry
	few   [fewMax]uint32 // the first n, if many is nil
	many  *members
	n     uint32
	last  uint32 // number of the last group queued for the room; see queue
}

type members struct {
	flat   []uint32
	blocks []block // not empty: flat is
}

const (
	fewMax  = 4
	flatMax = 1024 // a block costs 40 bytes and more, too much for single members

	// A set goes back to the smaller form well below the bound, so that one
	// that swings about it is not rebuilt each time.
	fewAgain  = 2
	flatAgain = flatMax / 2
)

// inBlocks says which form the set has.
func (s *set) inBlocks() bool { return s.many != nil && len(s.many.blocks) > 0 }

// sorted returns the members of a set that is not in blocks.
func (s *set) sorted() []uint32 {
	if s.many == nil {
		return s.few[:s.n]
	}
	return s.many.flat
}

func (s *set) has(slot uint32) bool {
	if s.inBlocks() {
		i, ok := s.many.search(slot >> blockBits)
		return ok && s.many.blocks[i].has(uint16(slot%blockLen))
	}
	_, ok := slices.BinarySearch(s.sorted(), slot)
	return ok
}

// add puts in a slot that is not in the set.
func (s *set) add(slot uint32) {
	switch {
	case s.inBlocks():
		s.many.add(slot)
	case s.n == flatMax:
		flat := s.many.flat
		s.many.flat = nil
		for _, m := range flat {
			s.many.add(m)
		}
		s.many.add(slot)
	case s.many == nil && s.n == fewMax:
		s.many = &members{flat: append(make([]uint32, 0, 2*fewMax), s.few[:]...)}
		fallthrough
	case s.many != nil:
		i, _ := slices.BinarySearch(s.many.flat, slot)
		s.many.flat = slices.Insert(s.many.flat, i, slot)
	default:
		i, _ := slices.BinarySearch(s.few[:s.n], slot)
		copy(s.few[i+1:], s.few[i:s.n])
		s.few[i] = slot
	}
	s.n++
}

// remove takes out a slot that is in the set.
func (s *set) remove(slot uint32) {
	s.n--
	if s.inBlocks() {
		s.many.remove(slot)
		if s.n == flatAgain {
			s.many = &members{flat: s.many.appendFrom(make([]uint32, 0, s.n), 0)}
		}
		return
	}
	if s.many == nil {
		i, _ := slices.BinarySearch(s.few[:s.n+1], slot)
		copy(s.few[i:], s.few[i+1:s.n+1])
		return
	}
	i, _ := slices.BinarySearch(s.many.flat, slot)
	s.many.flat = slices.Delete(s.many.flat, i, i+1)
	switch {
	case s.n == fewAgain:
		copy(s.few[:], s.many.flat)
		s.many = nil
	case 4*len(s.many.flat) <= cap(s.many.flat):
		s.many.flat = append(make([]uint32, 0, 2*s.n), s.many.flat...)
	}
}

// appendFrom appends members from slot from on to dst until dst is full, in
// ascending order.
func (s *set) appendFrom(dst []uint32, from uint32) []uint32 {
	if s.inBlocks() {
		return s.many.appendFrom(dst, from)
	}
	return appendSorted(dst, s.sorted(), from)
}

// appendSorted does what appendFrom does for a sorted list.
func appendSorted(dst, sorted []uint32, from uint32) []uint32 {
	i, _ := slices.BinarySearch(sorted, from)
	n := min(len(sorted)-i, cap(dst)-len(dst))
	return append(dst, sorted[i:i+n]...)
}

// nextBlock returns the first block from num on that has members.
func (s *set) nextBlock(num uint32) (next uint32, ok bool) {
	if !s.inBlocks() {
		return nextSorted(s.sorted(), num)
	}
	i, _ := s.many.search(num)
	if i == len(s.many.blocks) {
		return 0, false
	}
	return s.many.blocks[i].num, true
}

// nextSorted does what nextBlock does for a sorted list.
func nextSorted(sorted []uint32, num uint32) (next uint32, ok bool) {
	i, _ := slices.BinarySearch(sorted, num<<blockBits)
	if i == len(sorted) {
		return 0, false
	}
	return sorted[i] >> blockBits, true
}

// union adds the set's members in block num to m.
func (s *set) union(m *mask, num uint32) {
	if !s.inBlocks() {
		m.unionSorted(s.sorted(), num)
	} else if i, ok := s.many.search(num); ok {
		s.many.blocks[i].union(m)
	}
}

// subtract takes the set's members in block num out of m.
func (s *set) subtract(m *mask, num uint32) {
	if !s.inBlocks() {
		m.subtractSorted(s.sorted(), num)
	} else if i, ok := s.many.search(num); ok {
		s.many.blocks[i].subtract(m)
	}
}

// search returns where block num is among the blocks, or would be.
func (m *members) search(num uint32) (i int, ok bool) {
	lo, hi := 0, len(m.blocks)
	for lo < hi {
		if mid := (lo + hi) / 2; m.blocks[mid].num < num {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(m.blocks) && m.blocks[lo].num == num
}

func (m *members) add(slot uint32) {
	i, ok := m.search(slot >> blockBits)
	if !ok {
		m.blocks = slices.Insert(m.blocks, i, block{num: slot >> blockBits})
	}
	m.blocks[i].add(uint16(slot % blockLen))
}

func (m *members) remove(slot uint32) {
	i, _ := m.search(slot >> blockBits)
	m.blocks[i].remove(uint16(slot % blockLen))
	if m.blocks[i].n == 0 {
		m.blocks = slices.Delete(m.blocks, i, i+1)
	}
}

func (m *members) appendFrom(dst []uint32, from uint32) []uint32 {
	i, ok := m.search(from >> blockBits)
	if ok {
		dst = m.blocks[i].appendFrom(dst, uint16(from%blockLen))
		i++
	}
	for ; i < len(m.blocks) && len(dst) < cap(dst); i++ {
		dst = m.blocks[i].appendFrom(dst, 0)
	}
	return dst
}
