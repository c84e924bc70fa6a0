// Package handle has the table behind every handle of this module:
// connections, sessions and sockets are records in tables, and are named by
// slot and generation instead of by a pointer. A handle pins no memory, and a
// stale one resolves to nothing.
//
// That has to hold for as long as somebody tries to make it fail. So a slot is
// used again first in, first out, its generation counts its uses, and a slot
// whose generation would repeat is never used again: it is retired, which costs
// the memory of a record for each 16 million uses. When no slot is left,
// allocation fails, and the caller refuses whoever asked.
package handle

import "sync/atomic"

const (
	// MaxSlot is the highest slot there is.
	MaxSlot = 1<<24 - 1
	// MaxGen is the highest generation there is; the first is 1.
	MaxGen = 1<<24 - 1
)

// A Ref names a record across loops: its loop (8 bits), the generation of its
// slot (24) and its slot in that loop's table (32). It is no pointer, so it pins
// no memory, and a stale one resolves to nothing instead of to someone else. The
// zero Ref is nobody.
type Ref uint64

// MakeRef returns the handle of a slot of a loop. Of gen, the low 24 bits
// count.
func MakeRef(loop int, slot, gen uint32) Ref {
	return Ref(loop)<<56 | Ref(gen&MaxGen)<<32 | Ref(slot)
}

// Loop returns the index of the record's loop, 0 to 255.
func (r Ref) Loop() int { return int(r >> 56) }

// Slot returns the record's slot.
func (r Ref) Slot() uint32 { return uint32(r) }

// Gen returns the generation of the record's slot.
func (r Ref) Gen() uint32 { return uint32(r>>32) & MaxGen }

// Shards is how many there are for Shard.
const Shards = 64

// Shard returns a number less than Shards, for what is kept of records under several
// locks: loops that make and end records at the same time, as they do when connections
// are dealt out in turn, are about at the same slot, and would wait for each other there.
func (r Ref) Shard() int { return int((r.Slot() + 27*uint32(r.Loop())) % Shards) }

// Key returns the part of r that the record's own loop needs.
func (r Ref) Key() Key { return Key{r.Slot(), r.Gen()} }

// A Key names a record within its table. It needs no more than the alignment of
// an uint32, for records that hold one. The zero Key is nobody.
type Key struct {
	Slot uint32 `cbor:"1,keyasint,omitempty"` // 0: nobody
	Gen  uint32 `cbor:"2,keyasint,omitempty"` // of Slot
}

const (
	chunkBits = 10
	chunkLen  = 1 << chunkBits
)

// A slot's word: the generation of its latest use, live while that is named,
// vacant while Alloc may return the slot, left while its record may come back, and
// the mark.
const (
	live   = 1 << 24
	vacant = 1 << 25
	left   = 1 << 26
	mark   = 1 << 31
)

// An entry is a record and the word of its slot, side by side: who looks one up
// is about to use the other.
type entry[T any] struct {
	word   atomic.Uint32 // written by the owner, but for the mark
	record T
}

// A Table holds records of type T, in chunks of 1024, so that a million of them
// are about a thousand objects for the garbage collector, and none that it has
// to look into when T has no pointers. The zero value is empty and ready for
// use. T should need no more than the alignment of an uint32, or each record
// pays for padding.
//
// A table belongs to one goroutine, and all methods but Is, Mark and Marked are
// for that one.
type Table[T any] struct {
	// Limit is the highest slot that is used. Zero means MaxSlot.
	Limit uint32
	// Age is the generation before the first of a new slot: zero, but for tests
	// that look at what happens at the end of a slot's life.
	Age uint32

	chunks  []*[chunkLen]entry[T]
	shared  atomic.Pointer[[]*[chunkLen]entry[T]] // chunks, for other goroutines
	free    fifo
	taken   int    // entries of free whose slots AllocAt has taken
	next    uint32 // the lowest slot never used, less one
	retired int
}

// Alloc returns a slot for a record, never 0, in a generation that it was never
// in before. The record holds whatever it held when it was freed, or the zero
// value; the caller resets it. It is false when there is no slot left.
func (t *Table[T]) Alloc() (slot uint32, ok bool) {
	slot, ok = t.free.pop()
	for ok && t.at(slot).word.Load()&vacant == 0 {
		t.taken--
		slot, ok = t.free.pop()
	}
	if !ok {
		if t.next >= t.limit() {
			return 0, false
		}
		slot = t.grow()
	}
	w := &t.at(slot).word
	w.Store((w.Load()&MaxGen + 1) | live)
	return slot, true
}

// AllocAt allocates a slot in a generation, both as a handle has them that was
// made elsewhere: by a table whose records are restored in this one, so that their
// handles go on being right. It is false if the slot is taken, retired or beyond
// Limit, or the generation is not newer than what the slot has had here; but the
// record that was last here may come back if it has gone by Leave. Slots
// below that were never used can be allocated afterwards, by either method; who
// restores records in the order of their slots leaves the fewest behind.
func (t *Table[T]) AllocAt(slot, gen uint32) bool {
	if slot == 0 || slot > t.limit() || gen > MaxGen || gen <= t.Age {
		return false
	}
	for t.next < slot {
		t.vacate(t.grow())
	}
	w := &t.at(slot).word
	old := w.Load()
	back := old&left != 0 && gen == old&MaxGen
	switch {
	case back && gen == MaxGen: // it is not among those that are free
		t.retired--
	case old&vacant == 0 || gen <= old&MaxGen && !back:
		return false
	default:
		t.taken++
	}
	w.Store(gen | live)
	return true
}

// grow returns a slot that was never used.
func (t *Table[T]) grow() (slot uint32) {
	t.next++
	slot = t.next
	if int(slot>>chunkBits) == len(t.chunks) {
		t.chunks = append(t.chunks, new([chunkLen]entry[T]))
		chunks := t.chunks // whoever has an older one does not look behind its end
		t.shared.Store(&chunks)
	}
	t.at(slot).word.Store(t.Age)
	return slot
}

// vacate puts slot behind those that may be allocated.
func (t *Table[T]) vacate(slot uint32) {
	w := &t.at(slot).word
	w.Store(w.Load() | vacant)
	t.free.push(slot)
}

func (t *Table[T]) limit() uint32 {
	if t.Limit == 0 {
		return MaxSlot
	}
	return min(t.Limit, MaxSlot)
}

func (t *Table[T]) at(slot uint32) *entry[T] {
	return &t.chunks[slot>>chunkBits][slot&(chunkLen-1)]
}

// At returns the record in a slot that Alloc has returned. The pointer stays
// good for the life of the table; the record's meaning ends with Free.
func (t *Table[T]) At(slot uint32) *T { return &t.at(slot).record }

// Find returns the record in slot if that is in generation gen and was not
// expired, else nil. Any two numbers may be asked for.
func (t *Table[T]) Find(slot, gen uint32) *T {
	if slot>>chunkBits >= uint32(len(t.chunks)) {
		return nil
	}
	if e := t.at(slot); e.word.Load()&^mark == gen|live {
		return &e.record
	}
	return nil
}

// Gen returns the generation of a slot that Alloc has returned: that of its
// latest use.
func (t *Table[T]) Gen(slot uint32) uint32 { return t.at(slot).word.Load() & MaxGen }

// Key returns the key of a slot that Alloc has returned.
func (t *Table[T]) Key(slot uint32) Key { return Key{slot, t.Gen(slot)} }

// Expire makes every handle of slot stale, before it is freed.
func (t *Table[T]) Expire(slot uint32) {
	w := &t.at(slot).word
	w.Store(w.Load() & MaxGen)
}

// Free gives a slot back, and makes every handle of it stale. The caller must
// not free a slot twice.
func (t *Table[T]) Free(slot uint32) {
	if slot == 0 || slot > t.next {
		panic("handle: free of a slot that was never allocated")
	}
	t.Expire(slot)
	if t.Gen(slot) == MaxGen {
		t.retired++
		return
	}
	t.vacate(slot)
}

// Leave is Free of a record that goes elsewhere with its handles: AllocAt takes it
// back, unless the slot was used again meanwhile.
func (t *Table[T]) Leave(slot uint32) {
	t.Free(slot)
	w := &t.at(slot).word
	w.Store(w.Load() | left)
}

// Len returns how many slots are allocated.
func (t *Table[T]) Len() int { return int(t.next) - (t.free.n - t.taken) - t.retired }

// Retired returns how many slots will not be used again.
func (t *Table[T]) Retired() int { return t.retired }

// Max returns the highest slot ever allocated, 0 if none: a walk over all
// records goes from 1 to Max and asks each whether it is in use.
func (t *Table[T]) Max() uint32 { return t.next }

// word returns the word of any slot, on any goroutine; nil of one that was never
// allocated.
func (t *Table[T]) word(slot uint32) *atomic.Uint32 {
	chunks := t.shared.Load()
	if chunks == nil || slot>>chunkBits >= uint32(len(*chunks)) {
		return nil
	}
	return &(*chunks)[slot>>chunkBits][slot&(chunkLen-1)].word
}

// Is tells whether slot is in generation gen and was not expired. Any goroutine
// may ask, for any two numbers.
func (t *Table[T]) Is(slot, gen uint32) bool {
	w := t.word(slot)
	return w != nil && w.Load()&^mark == gen|live
}

// Mark puts a mark on slot if Is holds of it, from any goroutine. It ends with
// the generation.
func (t *Table[T]) Mark(slot, gen uint32) {
	if w := t.word(slot); w != nil {
		w.CompareAndSwap(gen|live, gen|live|mark)
	}
}

// Marked tells whether Is holds of slot and it was marked. Any goroutine may
// ask.
func (t *Table[T]) Marked(slot, gen uint32) bool {
	w := t.word(slot)
	return w != nil && w.Load() == gen|live|mark
}

// fifo is a queue of slots in a ring that grows.
type fifo struct {
	ring  []uint32 // the length is a power of two
	first int
	n     int
}

const minRing = 16

func (q *fifo) push(slot uint32) {
	if q.n == len(q.ring) {
		grown := make([]uint32, max(minRing, 2*len(q.ring)))
		k := copy(grown, q.ring[q.first:])
		copy(grown[k:], q.ring[:q.first])
		q.ring, q.first = grown, 0
	}
	q.ring[(q.first+q.n)&(len(q.ring)-1)] = slot
	q.n++
}

func (q *fifo) pop() (slot uint32, ok bool) {
	if q.n == 0 {
		return 0, false
	}
	slot = q.ring[q.first]
	q.first = (q.first + 1) & (len(q.ring) - 1)
	q.n--
	return slot, true
}
