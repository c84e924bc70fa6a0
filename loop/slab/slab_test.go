package slab

import (
	"math/rand/v2"
	"testing"
)

func TestIndexZeroIsNeverHandedOut(t *testing.T) {
	var s Of[int]
	for n := range 5000 {
		if i := s.Alloc(); i != uint32(n+1) {
			t.Fatalf("Alloc() = %d, want %d", i, n+1)
		}
	}
	if s.Len() != 5000 || s.next != 5000 {
		t.Fatalf("Len = %d, next = %d, want 5000, 5000", s.Len(), s.next)
	}
}

func TestRecordsStayWhereTheyAre(t *testing.T) {
	var s Of[uint64]
	first := s.At(s.Alloc())
	*first = 7
	for range 100_000 {
		s.Alloc()
	}
	if p := s.At(1); p != first || *p != 7 {
		t.Fatalf("At(1) = %p holding %d, want %p holding 7", p, *p, first)
	}
}

func TestFreedRecordComesBackFirstAndUnchanged(t *testing.T) {
	var s Of[uint32]
	for range 10 {
		s.Alloc()
	}
	*s.At(4) = 99
	s.Free(2)
	s.Free(4)
	if i := s.Alloc(); i != 4 || *s.At(i) != 99 {
		t.Fatalf("Alloc() = %d holding %d, want 4 holding 99", i, *s.At(i))
	}
	if i := s.Alloc(); i != 2 {
		t.Fatalf("Alloc() = %d, want 2", i)
	}
	if i := s.Alloc(); i != 11 {
		t.Fatalf("Alloc() = %d, want 11", i)
	}
}

func TestRandomUseAgainstAMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var s Of[uint32]
	live := map[uint32]uint32{}
	for n := range uint32(50_000) {
		if rng.IntN(5) < 3 {
			i := s.Alloc()
			if _, ok := live[i]; ok {
				t.Fatalf("Alloc() = %d, which is in use", i)
			}
			*s.At(i), live[i] = n, n
		} else {
			for i, want := range live {
				if got := *s.At(i); got != want {
					t.Fatalf("At(%d) = %d, want %d", i, got, want)
				}
				s.Free(i)
				delete(live, i)
				break
			}
		}
		if s.Len() != len(live) {
			t.Fatalf("Len() = %d, want %d", s.Len(), len(live))
		}
	}
}

func TestFreeOfWhatWasNeverAllocatedPanics(t *testing.T) {
	var s Of[int]
	s.Alloc()
	for _, i := range []uint32{0, 2} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Free(%d) returned, want a panic", i)
				}
			}()
			s.Free(i)
		}()
	}
}

func TestSteadyUseAllocatesNothing(t *testing.T) {
	var s Of[[8]uint32]
	for range 3000 {
		s.Alloc()
	}
	s.Free(1)
	if n := testing.AllocsPerRun(1000, func() { s.Free(s.Alloc()) }); n != 0 {
		t.Fatalf("Alloc and Free allocate %v times, want 0", n)
	}
}

func BenchmarkAt(b *testing.B) {
	var s Of[[8]uint32]
	for range 100_000 {
		s.Alloc()
	}
	var sum, i uint32
	for b.Loop() {
		i = i%100_000 + 1
		sum += s.At(i)[0]
	}
	if sum != 0 {
		b.Fatal("records are not zero")
	}
}
