// Package histogram has what one goroutine counts values in: a fixed number of plain
// buckets, without a lock and without memory beside itself. It is for loops, which are
// asked for a copy now and then; copies of several loops are merged.
package histogram

import "math/bits"

// Buckets is how many there are: their upper bounds are the powers of two from 1 to
// 2^(Buckets-2), and the last has what is more.
const Buckets = 33

// A Histogram counts values of whatever unit its owner says: µs, bytes, sockets. The
// zero value is empty. Adding to it takes a few instructions; copying it 280 bytes. It is
// comparable.
type Histogram struct {
	Counts [Buckets]int64 // how many are in each bucket
	Total  int64          // the sum of all values
}

// Add counts a value. Negative ones, such as of clocks that differ, count as 0.
func (h *Histogram) Add(v int64) { h.AddN(v, 1) }

// AddN counts n values that are equal.
func (h *Histogram) AddN(v, n int64) {
	v = max(v, 0)
	h.Counts[bucket(v)] += n
	h.Total += v * n
}

// bucket returns the first bucket whose bound is v or more.
func bucket(v int64) int {
	if v <= 1 {
		return 0
	}
	return min(bits.Len64(uint64(v-1)), Buckets-1)
}

// Merge adds what o has counted.
func (h *Histogram) Merge(o *Histogram) {
	for i, n := range o.Counts {
		h.Counts[i] += n
	}
	h.Total += o.Total
}

// Count returns how many values have been counted.
func (h *Histogram) Count() (n int64) {
	for _, x := range h.Counts {
		n += x
	}
	return n
}

// Bounds returns the upper bounds of the buckets, the smallest first, in the
// histogram's unit: 1, 2, 4, …. A value that is a bound is counted below it. What is
// more than the last is in no bucket that has a bound.
func Bounds() []int64 {
	all := make([]int64, Buckets-1)
	for i := range all {
		all[i] = 1 << i
	}
	return all
}

// Below returns how many values are at most bound, which is a power of two from 1 to
// 2^31: one of Bounds. Of another it is how many are at most the next power below.
func (h *Histogram) Below(bound int64) (n int64) {
	if bound < 1 {
		return 0
	}
	for _, x := range h.Counts[:min(bits.Len64(uint64(bound)), Buckets-1)] {
		n += x
	}
	return n
}

// Cumulative returns, for each bound from one to another (of Bounds, both included),
// how many values are at most that, by the bound times unit: what Prometheus has as
// buckets, where unit is the histogram's in seconds, say.
func (h *Histogram) Cumulative(from, to int64, unit float64) map[float64]uint64 {
	m := make(map[float64]uint64)
	n := int64(0)
	for i, x := range h.Counts[:Buckets-1] {
		n += x
		if bound := int64(1) << i; bound >= from && bound <= to {
			m[float64(bound)*unit] = uint64(n)
		}
	}
	return m
}

// A Peak is the largest of the values of late, such as of the present minute and the one
// before it: windows are numbered, and the latest two count. The zero value is ready.
type Peak struct {
	window      int64 // in which a value was noted last
	now, before int64 // the largest in it, and in the one before it
}

// Note takes note of a value, not negative, in a window; windows do not go back.
func (p *Peak) Note(window, v int64) {
	if window != p.window {
		p.turn(window)
	}
	p.now = max(p.now, v)
}

func (p *Peak) turn(window int64) {
	p.before = 0
	if window == p.window+1 {
		p.before = p.now
	}
	p.window, p.now = window, 0
}

// Of returns the largest value in a window, which is the latest, and the one before it; 0
// if there is none.
func (p *Peak) Of(window int64) int64 {
	switch window - p.window {
	case 0:
		return max(p.now, p.before)
	case 1:
		return p.now
	}
	return 0
}
