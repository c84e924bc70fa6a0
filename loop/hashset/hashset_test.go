package hashset

import (
	"math/rand/v2"
	"testing"
)

type record struct{ name, hash uint32 }

func (r *record) Hash() uint32 { return r.hash }

// A Set is compared with a map, with hashes that collide and with such that do not.
func TestSetAgainstAModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, hashOf := range []func(uint32) uint32{
		func(uint32) uint32 { return 3 },
		func(name uint32) uint32 { return name / 4 * 0x9e3779b9 },
	} {
		var s Set[*record]
		want := map[uint32]*record{}
		for i := range 20_000 {
			size := []int{100, 4, 1500, 10}[i/5000]
			name := rng.Uint32N(4000)
			got := s.Find(hashOf(name), func(r *record) bool { return r.name == name })
			if got != want[name] {
				t.Fatalf("step %d: Find(%d) = %v, want %v", i, name, got, want[name])
			}
			switch {
			case got != nil && (len(want) > size || rng.IntN(2) == 0):
				s.Remove(got)
				delete(want, name)
			case got == nil && len(want) < size:
				want[name] = &record{name, hashOf(name)}
				s.Add(want[name])
			}
			if s.Len() != len(want) {
				t.Fatalf("step %d: Len() = %d, want %d", i, s.Len(), len(want))
			}
		}
		seen := map[uint32]bool{}
		s.Each(rng.Uint32(), func(r *record) bool { seen[r.name] = want[r.name] == r; return true })
		for name, r := range want {
			if !seen[name] {
				t.Errorf("Each leaves %d out", name)
			}
			s.Remove(r)
		}
		if len(seen) != len(want) || s.Len() != 0 || len(s.at) != fewest {
			t.Errorf("Each gives %d records of %d; when they have gone, Len() = %d of %d places", len(seen), len(want), s.Len(), len(s.at))
		}
	}
}

func TestEachEnds(t *testing.T) {
	var s Set[*record]
	s.Each(1, func(*record) bool { t.Error("an empty set has a record"); return true })
	for i := range uint32(10) {
		s.Add(&record{i, i})
	}
	n := 0
	s.Each(7, func(r *record) bool { n++; return n < 3 })
	if n != 3 {
		t.Errorf("f is called %d times after it was false at the third", n)
	}
}
