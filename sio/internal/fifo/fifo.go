// Package fifo has what waits to be done in order.
package fifo

// A Queue is what waits, first in, first out. The zero value is empty. It is
// guarded by whoever has it.
type Queue[T any] struct {
	all  []T
	head int // of all: those before it have been taken
}

// keptQueue is the longest list that is kept for its next use.
const keptQueue = 16

// Waiting returns what waits, a view that is valid until something is put, taken or
// dropped.
func (q *Queue[T]) Waiting() []T { return q.all[q.head:] }

// Put adds x as the last.
func (q *Queue[T]) Put(x T) {
	if q.head > 0 && len(q.all) == cap(q.all) && q.head >= len(q.all)/2 {
		n := copy(q.all, q.Waiting())
		clear(q.all[n:])
		q.all, q.head = q.all[:n], 0
	}
	q.all = append(q.all, x)
}

// Take returns the first, false if there is none.
func (q *Queue[T]) Take() (x T, ok bool) {
	if q.head == len(q.all) {
		if q.all, q.head = q.all[:0], 0; cap(q.all) > keptQueue {
			q.all = nil
		}
		return x, false
	}
	x, q.all[q.head] = q.all[q.head], x
	q.head++
	return x, true
}

// Drop takes out those that forget is true of, which it is asked in order.
func (q *Queue[T]) Drop(forget func(*T) bool) {
	keep := q.all[:q.head]
	for i := q.head; i < len(q.all); i++ {
		if x := &q.all[i]; !forget(x) {
			keep = append(keep, *x)
		}
	}
	clear(q.all[len(keep):])
	q.all = keep
}
