package keyed

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
)

// Lists are compared with maps.
func TestListsAgainstAModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	keys := make([]*Key, 5)
	for i := range keys {
		keys[i] = new(Key)
	}
	var l List
	model := map[*Key]any{}
	for range 5000 {
		k := keys[rnd.IntN(len(keys))]
		before := l
		size := len(model)
		if rnd.IntN(3) == 0 {
			l = Without(l, k)
			delete(model, k)
		} else {
			v := rnd.Int()
			l = With(l, k, v)
			model[k] = v
		}
		for _, k := range keys {
			want, has := model[k]
			if v, ok := Get(l, k); ok != has || v != want {
				t.Fatalf("Get = %v, %v, want %v, %v", v, ok, want, has)
			}
		}
		if n := length(l); n != len(model) || (l == nil) != (n == 0) {
			t.Fatalf("there are %d values, want %d", n, len(model))
		}
		if n := length(before); n != size {
			t.Fatalf("a list of %d has %d now", size, n)
		}
	}
}

func length(l List) (n int) {
	Each(l, func(*Key, any) { n++ })
	return n
}

func TestStore(t *testing.T) {
	var s Store
	k := new(Key)
	if s.Edit(7, func(l List) List { return l }); s.Len() != 0 || s.shards[7].m != nil {
		t.Error("nothing takes a place")
	}
	var wg sync.WaitGroup
	for who := range uint64(200) {
		wg.Go(func() {
			s.Edit(who, func(l List) List { return With(l, k, who) })
			if v, ok := Get(s.Of(who), k); !ok || v != who {
				t.Errorf("of %d there is %v", who, v)
			}
		})
	}
	wg.Wait()
	if s.Len() != 200 {
		t.Errorf("Len() = %d, want 200", s.Len())
	}
	for who := range uint64(200) {
		if v, _ := Get(s.Take(who), k); v != who {
			t.Errorf("Take(%d) has %v", who, v)
		}
	}
	if s.Take(1) != nil || s.Len() != 0 || s.shards[1].m != nil {
		t.Error("something is left")
	}
}

// One value, as most have that have any, takes 64 bytes at most beside its own.
func TestAValueIsSmall(t *testing.T) {
	if raceOn {
		t.Skip("the race detector's memory is not what is measured")
	}
	for _, n := range []uint64{10_000, 33_000, 100_000, 260_000} {
		k, v := new(Key), any(new(int))
		s := new(Store)
		before := inUse()
		for who := range n {
			s.Put(who, With(nil, k, v))
		}
		each := (inUse() - before) / int64(n)
		t.Logf("of %d, each takes %d bytes", n, each)
		if each > 64 {
			t.Errorf("of %d, each takes %d bytes, want 64 at most", n, each)
		}
		if s.Len() != int(n) {
			t.Error("some are missing")
		}
	}
}

func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
