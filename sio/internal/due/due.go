// Package due keeps deadlines of the records of a table, named by their slots: a
// heap by time, and where in it each slot is. It takes about 50 bytes a deadline, and
// nothing for a slot without. It belongs to one goroutine, and reads no clock.
package due

import "container/heap"

// A Heap holds at most one deadline a slot, with something to do when it comes. The
// zero value is empty.
type Heap[F any] struct{ h ordered[F] }

// A Deadline is a moment, in ms since 1970, and what to do then.
type Deadline[F any] struct {
	At   int64
	Do   F
	Slot uint32
}

// Set sets a slot's deadline. It must have none.
func (h *Heap[F]) Set(d Deadline[F]) {
	if h.h.place == nil {
		h.h.place = map[uint32]uint32{}
	}
	heap.Push(&h.h, d)
}

// Remove takes a slot's deadline away. It must have one.
func (h *Heap[F]) Remove(slot uint32) {
	heap.Remove(&h.h, int(h.h.place[slot]))
	if len(h.h.all) == 0 {
		h.h = ordered[F]{} // a map never gets smaller
	}
}

// Of returns when a slot's deadline is, 0 if it has none.
func (h *Heap[F]) Of(slot uint32) int64 {
	if i, ok := h.h.place[slot]; ok {
		return h.h.all[i].At
	}
	return 0
}

// Get returns a slot's deadline; it is false if there is none.
func (h *Heap[F]) Get(slot uint32) (d Deadline[F], ok bool) {
	i, ok := h.h.place[slot]
	if ok {
		d = h.h.all[i]
	}
	return d, ok
}

// First returns the earliest deadline; it is false if there is none.
func (h *Heap[F]) First() (d Deadline[F], ok bool) {
	if len(h.h.all) == 0 {
		return d, false
	}
	return h.h.all[0], true
}

// Len returns how many deadlines there are.
func (h *Heap[F]) Len() int { return len(h.h.all) }

type ordered[F any] struct {
	all   []Deadline[F]
	place map[uint32]uint32 // in all, by slot
}

func (o *ordered[F]) Len() int           { return len(o.all) }
func (o *ordered[F]) Less(i, j int) bool { return o.all[i].At < o.all[j].At }
func (o *ordered[F]) Swap(i, j int) {
	o.all[i], o.all[j] = o.all[j], o.all[i]
	o.place[o.all[i].Slot], o.place[o.all[j].Slot] = uint32(i), uint32(j)
}

// Push appends a deadline.
func (o *ordered[F]) Push(x any) {
	d := x.(Deadline[F])
	o.place[d.Slot] = uint32(len(o.all))
	o.all = append(o.all, d)
}

// Pop takes the last one off.
func (o *ordered[F]) Pop() any {
	n := len(o.all) - 1
	d := o.all[n]
	o.all[n] = Deadline[F]{}
	o.all = o.all[:n]
	delete(o.place, d.Slot)
	return d
}
