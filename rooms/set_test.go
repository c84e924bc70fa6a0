package rooms

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// sorted returns the members of a model set in order.
func sortedKeys(m map[uint32]bool) []uint32 { return slices.Sorted(maps.Keys(m)) }

func checkSet(t *testing.T, s *set, want map[uint32]bool) {
	t.Helper()
	if int(s.n) != len(want) {
		t.Fatalf("n = %d, want %d", s.n, len(want))
	}
	all := sortedKeys(want)
	for _, size := range []int{1, 7, 512} {
		var got []uint32
		for from := uint32(0); ; {
			part := s.appendFrom(make([]uint32, 0, size), from)
			got = append(got, part...)
			if len(part) < size {
				break
			}
			from = part[size-1] + 1
		}
		if !slices.Equal(got, all) {
			t.Fatalf("%d at a time: %d members %v, want %d", size, len(got), got[:min(len(got), 20)], len(all))
		}
	}
	union, rest := []uint32(nil), map[uint32]bool{}
	for num := uint32(0); ; num++ {
		next, ok := s.nextBlock(num)
		if !ok {
			break
		}
		num = next
		var m mask
		s.union(&m, num)
		union = m.appendFrom(slices.Grow(union, blockLen), num, 0)
		s.subtract(&m, num)
		if m != (mask{}) {
			rest[num] = true
		}
	}
	if !slices.Equal(union, all) || len(rest) > 0 {
		t.Fatalf("by blocks: %d members, want %d; blocks %v are not empty less themselves", len(union), len(all), rest)
	}
}

func TestSetAgainstAMap(t *testing.T) {
	for _, tt := range []struct {
		name  string
		slots uint32 // the members are from 0 up to it
		size  int    // about how many there are at most
	}{
		{"a few", 20, 6},
		{"a list", 1 << 20, 600},
		{"about the bound of a list", 1 << 20, 1100},
		{"sparse blocks", 1 << 20, 4000},
		{"dense blocks", 9000, 8000},
		{"all of some blocks", 3 * blockLen, 3 * blockLen},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, uint64(tt.size)))
			var s set
			want := map[uint32]bool{}
			var forms [3]bool
			change := func(slot uint32, in bool) {
				switch {
				case want[slot] != s.has(slot):
					t.Fatalf("has(%d) = %v, want %v", slot, s.has(slot), want[slot])
				case in && !want[slot]:
					s.add(slot)
					want[slot] = true
				case !in && want[slot]:
					s.remove(slot)
					delete(want, slot)
				}
				switch {
				case s.inBlocks():
					forms[2] = true
				case s.many != nil:
					forms[1] = true
				default:
					forms[0] = true
				}
			}
			for range 3 { // up and down
				for i := 0; len(want) < tt.size && i < 20*tt.size; i++ {
					change(rng.Uint32N(tt.slots), rng.IntN(4) > 0)
				}
				checkSet(t, &s, want)
				for i, slot := range sortedKeys(want) {
					if rng.IntN(50) > 0 {
						change(slot, false)
					}
					if i%(tt.size/3+1) == 0 {
						checkSet(t, &s, want)
					}
				}
				checkSet(t, &s, want)
			}
			if want := [3]bool{true, tt.size > fewMax, tt.size > flatMax}; forms[1] != want[1] || forms[2] != want[2] {
				t.Errorf("forms used: %v, want %v", forms, want)
			}
			for slot := range maps.Clone(want) {
				change(slot, false)
			}
			if s.n != 0 || s.many != nil {
				t.Errorf("n, many = %d, %v after the last has left, want 0, nil", s.n, s.many)
			}
		})
	}
}

func TestBlockChangesFormWellApartFromTheBound(t *testing.T) {
	var b block
	for i := range listMax {
		b.add(uint16(i * 16))
	}
	if b.bits != nil {
		t.Fatalf("a bitmap at %d members, want a list", b.n)
	}
	b.add(1)
	if b.bits == nil || b.list != nil {
		t.Fatalf("a list at %d members, want a bitmap", b.n)
	}
	for i := 0; b.n >= listAgain; i++ {
		if b.bits == nil {
			t.Fatalf("a list at %d members on the way down, want a bitmap", b.n)
		}
		b.remove(uint16(i * 16))
	}
	if b.bits != nil || len(b.list) != listAgain-1 || !b.has(1) || b.has(0) {
		t.Fatalf("at %d members: list of %d, has(1) %v, has(0) %v", b.n, len(b.list), b.has(1), b.has(0))
	}
}

func TestRecordsStaySmall(t *testing.T) {
	for _, tt := range []struct {
		name      string
		got, want uintptr
	}{
		{"record", unsafe.Sizeof(record{}), 32},
		{"node", unsafe.Sizeof(node{}), 32},
		{"set", unsafe.Sizeof(set{}), 40},
		{"block", unsafe.Sizeof(block{}), 40},
		{"entry", unsafe.Sizeof(entry{}), 48},
		{"shard", unsafe.Sizeof(shard{}), 64},
	} {
		if tt.got > tt.want {
			t.Errorf("a %s has %d bytes, want at most %d", tt.name, tt.got, tt.want)
		}
	}
}

func TestListOfRoomsAgainstASlice(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var l Local
	var r record
	var want []uint32
	for i := range uint32(20_000) {
		limit := []int{2, 5, 12, 60}[i/500%4]
		if len(want) < limit && rng.IntN(5) > 1 {
			l.pushRoom(&r, i+1)
			want = append(want, i+1)
		} else if len(want) > 0 {
			at := rng.IntN(len(want))
			l.dropRoom(&r, want[at])
			want = slices.Delete(want, at, at+1)
		}
		if got := l.appendRooms(&r, nil); !slices.Equal(got, want) {
			t.Fatalf("step %d: rooms %v, want %v", i, got, want)
		}
	}
	if got := l.takeRooms(&r, nil); !slices.Equal(got, want) {
		t.Fatalf("takeRooms() = %v, want %v", got, want)
	}
	if r != (record{}) || l.nodes.Len() != 0 {
		t.Fatalf("takeRooms left %+v and %d nodes, want none", r, l.nodes.Len())
	}
}

func TestTableAgainstAMap(t *testing.T) {
	for _, hashes := range []uint32{1 << 31, 40, 3} { // the last two: most collide
		rng := rand.New(rand.NewPCG(9, uint64(hashes)))
		var l Local
		want := map[string]uint32{}
		hashOf := func(name string) uint32 { return (uint32(name[0])*40503 + uint32(name[1])*977) % hashes }
		size := 100
		for i := range 20_000 {
			if i%5000 == 0 {
				size = []int{100, 4, 1500, 10}[i/5000]
			}
			name := string([]byte{byte(rng.IntN(256)), byte(rng.IntN(16))})
			k := key{ns: 1, name: name}
			got := l.table.find(&l.sets, hashOf(name), k)
			if got != want[name] {
				t.Fatalf("find(%x) = %d, want %d", name, got, want[name])
			}
			switch {
			case got != 0 && (len(want) > size || rng.IntN(2) == 0):
				e := l.sets.At(got).entry
				if id := l.table.findEntry(&l.sets, e); id != got {
					t.Fatalf("findEntry(%x) = %d, want %d", name, id, got)
				}
				l.table.remove(&l.sets, got)
				l.sets.Free(got)
				delete(want, name)
				if id := l.table.findEntry(&l.sets, e); id != 0 {
					t.Fatalf("findEntry(%x) = %d after its removal, want 0", name, id)
				}
			case got == 0 && len(want) < size:
				id := l.sets.Alloc()
				*l.sets.At(id) = set{entry: &entry{key: k, hash: hashOf(name)}}
				l.table.insert(&l.sets, id)
				want[name] = id
			}
			if l.table.used != len(want) {
				t.Fatalf("used = %d, want %d", l.table.used, len(want))
			}
		}
	}
}
