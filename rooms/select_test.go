package rooms

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Counts and members are those of the sets, whatever is joined and left, by sockets
// that are connected and by those that are not.
func TestCountsAndMembersAreThoseOfTheSets(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		d := NewDirectory(1)
		l := d.Local(0)
		l.OnDeliver(func(uint32, *Run, int, bool) {})
		const slots = 3 * blockLen
		names := []string{"a", "b", "c"}
		in := map[string]map[uint32]bool{"a": {}, "b": {}, "c": {}}
		connected := map[uint32]bool{}
		for range 4000 {
			slot, name := 1+rnd.Uint32N(slots), names[rnd.IntN(3)]
			switch rnd.IntN(8) {
			case 0:
				l.Remove(slot)
				delete(connected, slot)
				for _, set := range in {
					delete(set, slot)
				}
			case 1:
				l.Leave(slot, 1, name)
				delete(in[name], slot)
			case 2, 3:
				if !connected[slot] {
					l.Add(slot, 7, 1)
					connected[slot] = true
				}
			default:
				l.Join(slot, 1, name)
				in[name][slot] = true
			}
		}
		ref := func() Ref { return MakeRef(0, 1+rnd.Uint32N(slots), 7) }
		for range 40 {
			b := &Broadcast{Namespace: 1}
			for range rnd.IntN(3) {
				b.To = append(b.To, names[rnd.IntN(3)])
			}
			for range rnd.IntN(3) {
				b.Except = append(b.Except, names[rnd.IntN(3)])
			}
			for range rnd.IntN(3) {
				b.ToRefs, b.ExceptRefs = append(b.ToRefs, ref()), append(b.ExceptRefs, ref())
			}
			var want []uint32
			for slot := range connected {
				self := func(r Ref) bool { return r.Slot() == slot }
				has := func(name string) bool { return in[name][slot] }
				meant := len(b.To)+len(b.ToRefs) == 0 || slices.ContainsFunc(b.To, has) || slices.ContainsFunc(b.ToRefs, self)
				if meant && !slices.ContainsFunc(b.Except, has) && !slices.ContainsFunc(b.ExceptRefs, self) {
					want = append(want, slot)
				}
			}
			slices.Sort(want)
			var got []uint32
			page := make([]uint32, 0, 1+rnd.IntN(100))
			for from := uint32(0); ; from = page[len(page)-1] + 1 {
				if page = l.Members(b, from, page[:0]); len(page) == 0 {
					break
				}
				got = append(got, page...)
			}
			if !slices.Equal(got, want) || l.Count(b) != len(want) {
				t.Fatalf("seed %d: to %q %v except %q %v: %d members, Count %d, want %d", seed, b.To, b.ToRefs, b.Except, b.ExceptRefs, len(got), l.Count(b), len(want))
			}
		}
		counts := map[string]int{}
		d.Each(1, func(part []RoomCount) bool {
			for _, r := range part {
				counts[r.Name] = r.Count
			}
			return true
		})
		for name, set := range in {
			n := 0
			for slot := range set {
				if connected[slot] {
					n++
				}
			}
			if d.Count(1, name) != n || counts[name] != n || d.CountAll(1) != len(connected) {
				t.Fatalf("seed %d: Count(%s) = %d, Each %d, want %d; CountAll = %d, want %d", seed, name, d.Count(1, name), counts[name], n, d.CountAll(1), len(connected))
			}
			where := 0
			d.Loops(1, name, func(int) { where++ })
			if (where == 1) != (len(set) > 0) {
				t.Fatalf("seed %d: %d loops have members of %s, of which there are %d", seed, where, name, len(set))
			}
		}
	}
}
