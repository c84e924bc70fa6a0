package handle

import (
	"math/rand/v2"
	"testing"
)

func TestAllocAt(t *testing.T) {
	var table Table[uint32]
	table.Limit = 10
	for _, x := range []struct {
		name      string
		slot, gen uint32
		want      bool
	}{
		{"slot zero", 0, 1, false},
		{"generation zero", 5, 0, false},
		{"a generation that there is not", 5, MaxGen + 1, false},
		{"a slot beyond the limit", 11, 1, false},
		{"a slot that was never used", 5, 3, true},
		{"a slot that is taken", 5, 4, false},
		{"a slot that was skipped", 2, 7, true},
		{"the last generation", 3, MaxGen, true},
	} {
		if got := table.AllocAt(x.slot, x.gen); got != x.want {
			t.Errorf("%s: AllocAt(%d, %d) = %v, want %v", x.name, x.slot, x.gen, got, x.want)
		}
	}
	if table.Len() != 3 || table.Find(5, 3) == nil || table.Find(2, 7) == nil || table.Find(1, 1) != nil {
		t.Errorf("Len() = %d and slots are not as AllocAt left them", table.Len())
	}
	table.Free(3)
	if table.Retired() != 1 || table.AllocAt(3, MaxGen) {
		t.Errorf("a slot is allocated in its last generation again")
	}
	table.Expire(5)
	if table.AllocAt(5, 9) {
		t.Error("a slot that has expired and was not freed is allocated")
	}
	table.Free(5)
	if table.AllocAt(5, 3) {
		t.Error("a slot is allocated in a generation that it was in")
	}
	if !table.AllocAt(5, 4) {
		t.Error("a slot is not allocated in a newer generation")
	}
	table.Leave(5)
	if table.Find(5, 4) != nil || table.AllocAt(5, 3) || !table.AllocAt(5, 4) || table.AllocAt(5, 4) || table.Find(5, 4) == nil {
		t.Error("a record that has left does not come back, once")
	}
	table.Free(5)
	if table.AllocAt(5, 4) {
		t.Error("a record that was freed comes back")
	}
	var all []uint32 // skipped, freed, never used
	for slot, ok := table.Alloc(); ok; slot, ok = table.Alloc() {
		all = append(all, slot)
	}
	if len(all) != 8 || table.Gen(5) != 5 {
		t.Errorf("Alloc() gives %v, want all but 2 and 3, and 5 in generation 5", all)
	}
}

// TestAllocAtAgainstAModel allocates in both ways and frees, with generations
// near their end, and compares with maps.
func TestAllocAtAgainstAModel(t *testing.T) {
	const limit = 40
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var table Table[uint32]
		table.Limit, table.Age = limit, MaxGen-6
		used := map[uint32]uint32{}       // allocated: generation
		latest := map[uint32]uint32{}     // of each slot
		expired := map[uint32]bool{}      // of those allocated
		gen := func(slot uint32) uint32 { // the latest, or that before the first
			if g, ok := latest[slot]; ok {
				return g
			}
			return table.Age
		}
		for range 300 {
			slot := 1 + rnd.Uint32N(limit+2)
			switch rnd.IntN(5) {
			case 0, 1:
				g := table.Age + rnd.Uint32N(9)
				_, taken := used[slot]
				want := !taken && slot <= limit && g > gen(slot) && g <= MaxGen
				if got := table.AllocAt(slot, g); got != want {
					t.Fatalf("seed %d: AllocAt(%d, %d) = %v, want %v", seed, slot, g, got, want)
				}
				if want {
					used[slot], latest[slot] = g, g
				}
			case 2:
				room := false
				for s := uint32(1); s <= limit; s++ {
					_, taken := used[s]
					room = room || !taken && gen(s) < MaxGen
				}
				s, ok := table.Alloc()
				if _, taken := used[s]; ok != room || ok && (taken || table.Gen(s) != gen(s)+1) {
					t.Fatalf("seed %d: Alloc() = %d, %v, want a free slot in its next generation: %v", seed, s, ok, room)
				}
				if ok {
					used[s], latest[s] = table.Gen(s), table.Gen(s)
				}
			case 3:
				if _, ok := used[slot]; ok {
					table.Expire(slot)
					expired[slot] = true
				}
			case 4:
				if _, ok := used[slot]; ok {
					table.Free(slot)
					delete(used, slot)
					delete(expired, slot)
				}
			}
			if table.Len() != len(used) {
				t.Fatalf("seed %d: Len() = %d, want %d", seed, table.Len(), len(used))
			}
			for s, g := range latest {
				_, is := used[s]
				is = is && !expired[s]
				if got := table.Find(s, g) != nil; got != is || table.Is(s, g) != is {
					t.Fatalf("seed %d: slot %d is found: %v, want %v", seed, s, got, is)
				}
			}
		}
	}
}
