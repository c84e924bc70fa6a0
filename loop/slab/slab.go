// Package slab holds many small records of one type in few large pieces of
// memory: chunks of 1024, addressed by a uint32 instead of by a pointer. A
// million records are about a thousand objects for the garbage collector, and
// none that it has to look into when the type has no pointers.
//
// An index is used again at once. What others keep the name of, beyond the life
// of the record, belongs in a handle.Table.
package slab

import "math"

const (
	chunkBits = 10
	chunkLen  = 1 << chunkBits
)

// Of is a slab of T. The zero value is empty and ready for use. It is not safe
// for use by several goroutines at once.
type Of[T any] struct {
	chunks []*[chunkLen]T
	free   []uint32 // last in, first out: a warm record is used again first
	next   uint32   // the lowest index never handed out, less one
}

// Alloc returns the index of a record, never 0. The record holds whatever it
// held when it was freed, or the zero value; the caller resets it. There are
// more indices than memory for the records.
func (s *Of[T]) Alloc() uint32 {
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return i
	}
	if s.next == math.MaxUint32 {
		panic("slab: no index left")
	}
	s.next++
	if int(s.next>>chunkBits) == len(s.chunks) {
		s.chunks = append(s.chunks, new([chunkLen]T))
	}
	return s.next
}

// At returns the record with an index that Alloc has returned. The pointer
// stays good for the life of the slab; the record's meaning ends with Free.
func (s *Of[T]) At(i uint32) *T {
	return &s.chunks[i>>chunkBits][i&(chunkLen-1)]
}

// Free gives a record back. The caller must not free an index twice.
func (s *Of[T]) Free(i uint32) {
	if i == 0 || i > s.next {
		panic("slab: free of an index that was never allocated")
	}
	s.free = append(s.free, i)
}

// Len returns how many records are allocated.
func (s *Of[T]) Len() int { return int(s.next) - len(s.free) }
