package histogram

import (
	"math"
	"slices"
	"testing"
)

// Each value is in the bucket of the first bound that is not below it.
func TestValuesAreInTheirBuckets(t *testing.T) {
	for _, c := range []struct{ value, bound int64 }{
		{math.MinInt64, 1}, {-1, 1}, {0, 1}, {1, 1}, {2, 2}, {3, 4}, {4, 4}, {5, 8}, {1000, 1024}, {1024, 1024}, {1025, 2048}, {1<<31 - 1, 1 << 31}, {1 << 31, 1 << 31},
	} {
		var h Histogram
		h.Add(c.value)
		if h.Count() != 1 || h.Total != max(c.value, 0) {
			t.Errorf("of %d: count %d, sum %d", c.value, h.Count(), h.Total)
		}
		for _, bound := range Bounds() {
			want := int64(0)
			if bound >= c.bound {
				want = 1
			}
			if got := h.Below(bound); got != want {
				t.Errorf("%d is at most %d: %d, want %d", c.value, bound, got, want)
			}
		}
	}
	for _, v := range []int64{1<<31 + 1, math.MaxInt64} {
		var h Histogram
		h.Add(v)
		if h.Below(1<<31) != 0 || h.Below(math.MaxInt64) != 0 || h.Count() != 1 || h.Total != v {
			t.Errorf("of %d: %+v, want it in the last bucket, which has no bound", v, h)
		}
	}
	var h Histogram
	h.Add(1)
	if h.Below(0) != 0 || h.Below(-1) != 0 {
		t.Error("a value is at most 0")
	}
}

func TestMerge(t *testing.T) {
	var a, b, both Histogram
	for i := range int64(5000) {
		v := i * i * i
		both.Add(v)
		if i%3 == 0 {
			a.Add(v)
		} else {
			b.Add(v)
		}
	}
	a.Merge(&b)
	if a != both {
		t.Errorf("the sum is %+v, want %+v", a, both)
	}
	n := Histogram{}
	n.AddN(7, 3)
	n.AddN(7, 0)
	if n.Count() != 3 || n.Total != 21 || n.Below(8) != 3 || n.Below(4) != 0 {
		t.Errorf("3 times 7: %+v", n)
	}
}

func TestCumulative(t *testing.T) {
	var h Histogram
	for _, v := range []int64{1, 2, 3, 100, 1 << 40} {
		h.Add(v)
	}
	m := h.Cumulative(2, 256, 0.5)
	if len(m) != 8 || m[1] != 2 || m[2] != 3 || m[4] != 3 || m[64] != 4 || m[128] != 4 {
		t.Errorf("Cumulative() = %v", m)
	}
	if n := len(h.Cumulative(1, math.MaxInt64, 1)); n != len(Bounds()) || !slices.IsSorted(Bounds()) {
		t.Errorf("all are %d of %d bounds", n, len(Bounds()))
	}
}

// What loops do for each message costs no memory.
func TestAddAllocatesNothing(t *testing.T) {
	var h, o Histogram
	if n := testing.AllocsPerRun(100, func() { o.Add(1000); h.Merge(&o) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	var h Histogram
	for i := int64(0); b.Loop(); i++ {
		h.Add(i)
	}
}

func TestPeak(t *testing.T) {
	var p Peak
	check := func(window, want int64) {
		t.Helper()
		if got := p.Of(window); got != want {
			t.Errorf("in window %d: %d, want %d", window, got, want)
		}
	}
	check(5, 0)
	p.Note(5, 30)
	p.Note(5, 20)
	check(5, 30)
	check(6, 30)
	check(7, 0)
	p.Note(6, 10)
	check(6, 30)
	check(7, 10)
	p.Note(8, 1)
	check(8, 1)
	p.Note(9, 2)
	check(9, 2)
	check(1000, 0)
}
