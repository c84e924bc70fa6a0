package rooms

import (
	"math/bits"
	"slices"
)

const (
	blockBits = 12
	blockLen  = 1 << blockBits
	words     = blockLen / 64

	listMax   = 256 // as many as take the room of the bitmap
	listAgain = listMax / 2
)

// A block is the members of a set among blockLen neighbouring slots: a sorted
// list of the low bits of their slots, or a bitmap where that is smaller.
type block struct {
	num  uint32 // the high bits of the slots
	n    uint32
	list []uint16
	bits *mask // not nil: list is
}

// A mask is a bitmap of blockLen slots.
type mask [words]uint64

func (b *block) has(low uint16) bool {
	if b.bits != nil {
		return b.bits[low/64]>>(low%64)&1 != 0
	}
	_, ok := slices.BinarySearch(b.list, low)
	return ok
}

// add puts in what is not in the block.
func (b *block) add(low uint16) {
	if b.bits == nil && b.n == listMax {
		m := new(mask)
		b.union(m)
		b.list, b.bits = nil, m
	}
	b.n++
	if b.bits != nil {
		b.bits[low/64] |= 1 << (low % 64)
		return
	}
	i, _ := slices.BinarySearch(b.list, low)
	b.list = slices.Insert(b.list, i, low)
}

// remove takes out what is in the block.
func (b *block) remove(low uint16) {
	b.n--
	if b.bits == nil {
		i, _ := slices.BinarySearch(b.list, low)
		b.list = slices.Delete(b.list, i, i+1)
		return
	}
	b.bits[low/64] &^= 1 << (low % 64)
	if b.n >= listAgain {
		return
	}
	b.list = make([]uint16, 0, b.n)
	for w, word := range b.bits {
		for ; word != 0; word &= word - 1 {
			b.list = append(b.list, uint16(w*64+bits.TrailingZeros64(word)))
		}
	}
	b.bits = nil
}

// appendFrom appends slots of members from low on to dst until dst is full.
func (b *block) appendFrom(dst []uint32, low uint16) []uint32 {
	if b.bits != nil {
		return b.bits.appendFrom(dst, b.num, low)
	}
	i, _ := slices.BinarySearch(b.list, low)
	n := min(len(b.list)-i, cap(dst)-len(dst))
	for _, m := range b.list[i : i+n] {
		dst = append(dst, b.num<<blockBits|uint32(m))
	}
	return dst
}

func (b *block) union(m *mask) {
	if b.bits == nil {
		for _, low := range b.list {
			m[low/64] |= 1 << (low % 64)
		}
		return
	}
	for w, word := range b.bits {
		m[w] |= word
	}
}

func (b *block) subtract(m *mask) {
	if b.bits == nil {
		for _, low := range b.list {
			m[low/64] &^= 1 << (low % 64)
		}
		return
	}
	for w, word := range b.bits {
		m[w] &^= word
	}
}

// appendFrom appends the slots of m, which are in block num, from low on to dst
// until dst is full.
func (m *mask) appendFrom(dst []uint32, num uint32, low uint16) []uint32 {
	w := int(low / 64)
	word := m[w] &^ (1<<(low%64) - 1)
	for {
		base := num<<blockBits | uint32(w*64)
		for ; word != 0; word &= word - 1 {
			if len(dst) == cap(dst) {
				return dst
			}
			dst = append(dst, base|uint32(bits.TrailingZeros64(word)))
		}
		if w++; w == words {
			return dst
		}
		word = m[w]
	}
}

// unionSorted adds the slots of a sorted list that are in block num.
func (m *mask) unionSorted(sorted []uint32, num uint32) {
	i, _ := slices.BinarySearch(sorted, num<<blockBits)
	for ; i < len(sorted) && sorted[i]>>blockBits == num; i++ {
		m[sorted[i]%blockLen/64] |= 1 << (sorted[i] % 64)
	}
}

// subtractSorted takes out the slots of a sorted list that are in block num.
func (m *mask) subtractSorted(sorted []uint32, num uint32) {
	i, _ := slices.BinarySearch(sorted, num<<blockBits)
	for ; i < len(sorted) && sorted[i]>>blockBits == num; i++ {
		m[sorted[i]%blockLen/64] &^= 1 << (sorted[i] % 64)
	}
}
