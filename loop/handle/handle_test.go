package handle

import (
	"math/rand/v2"
	"sync"
	"testing"
)

func alloc[T any](t *testing.T, table *Table[T]) Key {
	t.Helper()
	slot, ok := table.Alloc()
	if !ok {
		t.Fatal("Alloc() has no slot, want one")
	}
	return table.Key(slot)
}

func TestSlotZeroIsNeverHandedOut(t *testing.T) {
	var table Table[int32]
	for n := range uint32(5000) {
		if k := alloc(t, &table); k != (Key{n + 1, 1}) {
			t.Fatalf("Alloc() = %v, want slot %d in generation 1", k, n+1)
		}
	}
	if table.Len() != 5000 || table.Max() != 5000 {
		t.Fatalf("Len, Max = %d, %d, want 5000, 5000", table.Len(), table.Max())
	}
}

func TestRecordsStayWhereTheyAre(t *testing.T) {
	var table Table[uint32]
	first := table.At(alloc(t, &table).Slot)
	*first = 7
	for range 100_000 {
		alloc(t, &table)
	}
	if p := table.Find(1, 1); p != first || *p != 7 {
		t.Fatalf("Find(1, 1) = %p, want %p holding 7", p, first)
	}
}

func TestSlotsComeBackFirstInFirstOut(t *testing.T) {
	var table Table[uint32]
	for range 100 {
		alloc(t, &table)
	}
	for slot := uint32(100); slot > 0; slot-- {
		table.Free(slot)
	}
	for want := uint32(100); want > 0; want-- {
		if k := alloc(t, &table); k != (Key{want, 2}) {
			t.Fatalf("Alloc() = %v, want slot %d in generation 2", k, want)
		}
		table.Free(want)
	}
}

// TestHandlesNeverRepeat lives through the whole life of slots, with the
// generations of a program that has run for long.
func TestHandlesNeverRepeat(t *testing.T) {
	table := Table[uint32]{Age: MaxGen - 5, Limit: 64}
	seen := map[Key]bool{}
	rng := rand.New(rand.NewPCG(1, 2))
	var open []Key
	for {
		slot, ok := table.Alloc()
		if !ok {
			if len(open) == 0 {
				break
			}
		} else {
			k := table.Key(slot)
			if seen[k] || k.Gen == 0 {
				t.Fatalf("Alloc() = %v, which was handed out before", k)
			}
			seen[k], open = true, append(open, k)
		}
		for len(open) > 0 && (!ok || rng.IntN(3) == 0) {
			i := rng.IntN(len(open))
			table.Free(open[i].Slot)
			open[i] = open[len(open)-1]
			open = open[:len(open)-1]
		}
	}
	if len(seen) != 5*64 || table.Retired() != 64 || table.Len() != 0 {
		t.Fatalf("%d handles, %d slots retired, %d in use, want %d, 64 and 0", len(seen), table.Retired(), table.Len(), 5*64)
	}
	for k := range seen {
		if table.Find(k.Slot, k.Gen) != nil || table.Is(k.Slot, k.Gen) {
			t.Fatalf("%v of a retired slot is somebody, want nobody", k)
		}
	}
	for slot := range uint32(66) {
		for _, gen := range []uint32{0, 1, MaxGen, MaxGen + 1, MaxGen | mark} {
			if table.Find(slot, gen) != nil || table.Is(slot, gen) || table.Marked(slot, gen) {
				t.Fatalf("slot %d in generation %#x is somebody, want nobody", slot, gen)
			}
		}
	}
}

func TestAllocFailsWhenNoSlotIsLeft(t *testing.T) {
	table := Table[uint32]{Limit: 2}
	alloc(t, &table)
	k := alloc(t, &table)
	for range 3 {
		if slot, ok := table.Alloc(); ok {
			t.Fatalf("Alloc() = %d, want none left", slot)
		}
	}
	table.Free(k.Slot)
	if got := alloc(t, &table); got != (Key{2, 2}) {
		t.Fatalf("Alloc() = %v, want slot 2 in generation 2", got)
	}
}

func TestExpiredSlotIsStaleAndNotFree(t *testing.T) {
	var table Table[uint32]
	k := alloc(t, &table)
	*table.At(k.Slot) = 7
	table.Expire(k.Slot)
	if table.Find(k.Slot, k.Gen) != nil || table.Is(k.Slot, k.Gen) || table.Len() != 1 {
		t.Fatal("a slot that expired is still found, or was freed")
	}
	if *table.At(k.Slot) != 7 {
		t.Fatal("its record has changed")
	}
	table.Free(k.Slot)
	if got := alloc(t, &table); got != (Key{1, 2}) {
		t.Fatalf("Alloc() = %v, want slot 1 in generation 2", got)
	}
}

func TestMarkEndsWithTheGeneration(t *testing.T) {
	var table Table[uint32]
	old := alloc(t, &table)
	table.Mark(old.Slot, old.Gen)
	if !table.Marked(old.Slot, old.Gen) || !table.Is(old.Slot, old.Gen) || table.Find(old.Slot, old.Gen) == nil {
		t.Fatal("a slot that was marked is not marked, or stale")
	}
	table.Free(old.Slot)
	if table.Marked(old.Slot, old.Gen) {
		t.Fatal("a free slot is marked")
	}
	k := alloc(t, &table)
	table.Mark(old.Slot, old.Gen)
	table.Mark(77_777, 1)
	if table.Marked(k.Slot, k.Gen) || !table.Is(k.Slot, k.Gen) {
		t.Fatal("the mark of an earlier generation is seen in a later one")
	}
}

func TestOthersAskWhileTheOwnerWorks(t *testing.T) {
	var table Table[uint32]
	first := alloc(t, &table)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for slot := uint32(0); ; slot = (slot + 1) % 20_000 {
				select {
				case <-stop:
					return
				default:
				}
				if !table.Is(first.Slot, first.Gen) {
					t.Error("a live slot is stale for another goroutine")
					return
				}
				table.Mark(slot, 2)
				table.Marked(slot, 2)
			}
		})
	}
	for range 10_000 {
		a, b := alloc(t, &table), alloc(t, &table)
		*table.At(b.Slot) = 1
		table.Free(a.Slot)
	}
	close(stop)
	wg.Wait()
}

func TestRandomUseAgainstAMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var table Table[uint32]
	open := map[Key]uint32{}
	for n := range uint32(50_000) {
		if rng.IntN(5) < 3 {
			k := alloc(t, &table)
			*table.At(k.Slot), open[k] = n, n
			continue
		}
		for k, want := range open {
			if p := table.Find(k.Slot, k.Gen); p == nil || *p != want {
				t.Fatalf("Find(%v) = %v, want %d", k, p, want)
			}
			table.Free(k.Slot)
			delete(open, k)
			if table.Find(k.Slot, k.Gen) != nil {
				t.Fatalf("Find(%v) finds what was freed", k)
			}
			break
		}
		if table.Len() != len(open) {
			t.Fatalf("Len() = %d, want %d", table.Len(), len(open))
		}
	}
}

func TestFreeOfWhatWasNeverAllocatedPanics(t *testing.T) {
	var table Table[int32]
	alloc(t, &table)
	for _, slot := range []uint32{0, 2} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Free(%d) returned, want a panic", slot)
				}
			}()
			table.Free(slot)
		}()
	}
}

func TestSteadyUseAllocatesNothing(t *testing.T) {
	var table Table[[8]uint32]
	for range 3000 {
		alloc(t, &table)
	}
	table.Free(1)
	if n := testing.AllocsPerRun(1000, func() {
		slot, _ := table.Alloc()
		table.Free(slot)
	}); n != 0 {
		t.Fatalf("Alloc and Free allocate %v times, want 0", n)
	}
}

func TestRefSurvivesItsParts(t *testing.T) {
	for _, want := range []struct {
		loop      int
		slot, gen uint32
	}{{0, 1, 1}, {255, MaxSlot, MaxGen}, {3, 77, 0}} {
		r := MakeRef(want.loop, want.slot, want.gen)
		if r.Loop() != want.loop || r.Slot() != want.slot || r.Gen() != want.gen || r.Key() != (Key{want.slot, want.gen}) {
			t.Errorf("MakeRef(%v) = %x: %d, %d, %d", want, r, r.Loop(), r.Slot(), r.Gen())
		}
	}
}

func BenchmarkFind(b *testing.B) {
	var table Table[[8]uint32]
	for range 100_000 {
		table.Alloc()
	}
	var sum, i uint32
	for b.Loop() {
		i = i%100_000 + 1
		sum += table.Find(i, 1)[0]
	}
	if sum != 0 {
		b.Fatal("records are not zero")
	}
}

// Loops that are at about the same slot are in shards of their own, and so are the slots of
// one loop.
func TestShardsOfSeveralLoops(t *testing.T) {
	for slot := uint32(1); slot < 1000; slot++ {
		loops, slots := map[int]bool{}, map[int]bool{}
		for i := range Shards {
			loops[MakeRef(i, slot, 1).Shard()] = true
			slots[MakeRef(3, slot+uint32(i), 1).Shard()] = true
		}
		if len(loops) != Shards || len(slots) != Shards {
			t.Fatalf("slot %d: %d shards for %d loops, and %d for as many slots", slot, len(loops), Shards, len(slots))
		}
		for other := 1; other < 16; other++ {
			for ahead := uint32(0); ahead < 3; ahead++ {
				if MakeRef(0, slot, 1).Shard() == MakeRef(other, slot+ahead, 1).Shard() {
					t.Fatalf("loop 0 at slot %d is in the shard of loop %d at %d", slot, other, slot+ahead)
				}
			}
		}
	}
}
