package swarm

import (
	"math/rand/v2"
	"testing"
)

func TestLedger(t *testing.T) {
	for _, c := range []struct {
		name                                  string
		seqs                                  []uint32
		delivered, missing, duplicated, order uint64
	}{
		{name: "nothing"},
		{name: "in order", seqs: []uint32{0, 1, 2}, delivered: 3},
		{name: "one lost", seqs: []uint32{0, 2}, delivered: 2, missing: 1},
		{name: "the first three lost", seqs: []uint32{3}, delivered: 1, missing: 3},
		{name: "one twice", seqs: []uint32{0, 1, 1, 2}, delivered: 3, duplicated: 1},
		{name: "two swapped", seqs: []uint32{0, 2, 1, 3}, delivered: 4, order: 1},
		{name: "late and then again", seqs: []uint32{1, 0, 0}, delivered: 2, duplicated: 1, order: 1},
		{name: "out of the middle of a gap", seqs: []uint32{5, 2, 2, 0, 4, 3, 1}, delivered: 6, duplicated: 1, order: 5},
		{name: "two gaps", seqs: []uint32{1, 3, 2}, delivered: 3, missing: 1, order: 1},
	} {
		l := newLedger(2)
		for _, s := range c.seqs {
			l.observe(1, s)
		}
		if l.delivered != c.delivered || l.missing != c.missing || l.duplicated != c.duplicated || l.outOfOrder != c.order {
			t.Errorf("%s: observe(%v) = delivered %d, missing %d, duplicated %d, out of order %d, want %d, %d, %d, %d",
				c.name, c.seqs, l.delivered, l.missing, l.duplicated, l.outOfOrder, c.delivered, c.missing, c.duplicated, c.order)
		}
		if l.next[0] != 0 {
			t.Errorf("%s: another stream moved", c.name)
		}
	}
}

// TestLedgerAgainstASet compares with the obvious way to count.
func TestLedgerAgainstASet(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		l := newLedger(1)
		seen := map[uint32]bool{}
		var highest int64 = -1
		var duplicated, order, moved uint64
		for range 200 {
			seq := uint32(max(0, int(highest)+1+r.IntN(12)-6))
			switch {
			case seen[seq]:
				duplicated++
			case int64(seq) < highest:
				order++
			}
			seen[seq] = true
			highest = max(highest, int64(seq))
			moved += uint64(l.observe(0, seq))
		}
		missing := uint64(highest+1) - uint64(len(seen))
		if l.delivered != uint64(len(seen)) || l.duplicated != duplicated || l.outOfOrder != order || l.missing != missing {
			t.Fatalf("ledger = delivered %d, duplicated %d, out of order %d, missing %d, want %d, %d, %d, %d",
				l.delivered, l.duplicated, l.outOfOrder, l.missing, len(seen), duplicated, order, missing)
		}
		if moved != uint64(highest+1) || uint64(l.next[0]) != moved {
			t.Fatalf("moved by %d to %d, want %d", moved, l.next[0], highest+1)
		}
		l.forget(0)
		if l.missing != 0 || len(l.gaps) != 0 {
			t.Fatalf("forget leaves %d missing in %d gaps", l.missing, len(l.gaps))
		}
	}
}
