package rooms

// A Ref is a handle to a socket: its loop (8 bits), the generation of its slot
// (24) and its slot in that loop's table (32). It is no pointer, so it pins no
// memory, and a stale one resolves to nothing instead of to someone else. The
// zero Ref is nobody.
type Ref uint64

const genMask = 1<<24 - 1

// MakeRef returns the handle of a slot of a loop. Of gen, the low 24 bits
// count.
func MakeRef(loop int, slot, gen uint32) Ref {
	return Ref(loop)<<56 | Ref(gen&genMask)<<32 | Ref(slot)
}

// Loop returns the index of the socket's loop, 0 to 255.
func (r Ref) Loop() int { return int(r >> 56) }

// Slot returns the socket's slot.
func (r Ref) Slot() uint32 { return uint32(r) }

// Gen returns the low 24 bits of the slot's generation.
func (r Ref) Gen() uint32 { return uint32(r>>32) & genMask }
