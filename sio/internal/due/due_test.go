package due

import (
	"math/rand/v2"
	"testing"
)

// Whatever is set and removed, the first is the earliest of what is left.
func TestTheFirstIsTheEarliest(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var h Heap[int]
	want := map[uint32]int64{}
	for i := range 20_000 {
		slot := 1 + rnd.Uint32N(200)
		if _, has := want[slot]; has {
			h.Remove(slot)
			delete(want, slot)
		}
		if rnd.IntN(3) > 0 {
			at := 1 + rnd.Int64N(1000)
			h.Set(Deadline[int]{at, i, slot})
			want[slot] = at
		}
		earliest := int64(0)
		for _, at := range want {
			if earliest == 0 || at < earliest {
				earliest = at
			}
		}
		first, ok := h.First()
		if ok != (len(want) > 0) || first.At != earliest || ok && want[first.Slot] != earliest || h.Len() != len(want) || h.Of(slot) != want[slot] {
			t.Fatalf("step %d: First() = %v, %v of %d, want %d of %d", i, first, ok, h.Len(), earliest, len(want))
		}
	}
	for len(want) > 0 {
		first, _ := h.First()
		h.Remove(first.Slot)
		delete(want, first.Slot)
	}
	if h.Len() != 0 || h.h.all != nil || h.h.place != nil {
		t.Errorf("an empty heap keeps room for %d", cap(h.h.all))
	}
}
