package rooms

import (
	"fmt"
	"slices"
	"sync"
	"testing"
)

func TestWatchersAreToldInTheirOrder(t *testing.T) {
	r := newRig()
	r.add([]uint32{1}, "before")
	var log []string
	watch := func(who string) {
		r.dir.Watch(func(ns uint32, name string, occupied bool) {
			log = append(log, fmt.Sprint(who, " ", ns, " ", name, " ", occupied))
		})
	}
	want := func(want ...string) {
		t.Helper()
		if !slices.Equal(log, want) {
			t.Errorf("watchers were told %q, want %q", log, want)
		}
		log = nil
	}
	watch("a")
	want()
	r.add([]uint32{1, 2}, "x")
	want("a 1 x true")
	watch("b")
	r.l.Leave(1, 1, "x")
	want()
	r.l.Remove(2)
	want("a 1 x false", "b 1 x false")
	r.dir.Expect(0, 1, "y")
	want("a 1 y true", "b 1 y true")
	r.l.Arrived(1, "y")
	want("a 1 y false", "b 1 y false")
	r.l.Remove(1)
	want("a 1 before false", "b 1 before false")
}

// Each watcher is told of each room in turn that it is there and that it is not,
// whatever loops do at once, and ends with what is so.
func TestWatchersSeeEachRoomInOrder(t *testing.T) {
	const loops, rounds = 4, 300
	d := NewDirectory(loops)
	var mu sync.Mutex
	there := map[string]bool{}
	d.Watch(func(_ uint32, name string, occupied bool) {
		mu.Lock()
		defer mu.Unlock()
		if there[name] == occupied {
			t.Errorf("room %s: occupied %v is told twice", name, occupied)
		}
		there[name] = occupied
	})
	var wg sync.WaitGroup
	for i := range loops {
		wg.Go(func() {
			l := d.Local(i)
			l.Add(1, 1, 1)
			for n := range rounds {
				l.Join(1, 1, room(n%3))
				if n%2 == 0 {
					l.Leave(1, 1, room(n%3))
				}
				if n == rounds/2 {
					d.Watch(func(uint32, string, bool) {}) // at any time
				}
			}
		})
	}
	wg.Wait()
	for i := range 3 {
		if name := room(i); there[name] != (d.Count(1, name) > 0) {
			t.Errorf("room %s: occupied %v is what was told last, and it has %d members", name, there[name], d.Count(1, name))
		}
	}
	for i := range loops {
		d.Local(i).Remove(1)
	}
	for name, occupied := range there {
		if occupied {
			t.Errorf("room %s is said to be there, and nobody is", name)
		}
	}
}
