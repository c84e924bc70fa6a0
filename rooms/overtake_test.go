package rooms

import (
	"slices"
	"testing"
)

// What is for few does not wait until very many others have been visited; who is among
// both gets both in order, and each once.
func TestFewDoNotWaitForMany(t *testing.T) {
	const members, few, step = 10_000, 10, 64
	d := NewDirectory(1)
	l := d.Local(0)
	got := map[uint32][]any{}
	l.OnDeliver(func(slot uint32, run *Run, from int, _ bool) {
		for _, b := range run.Broadcasts[from:] {
			got[slot] = append(got[slot], b.Message)
		}
	})
	for slot := uint32(1); slot <= members+few; slot++ {
		l.Add(slot, 1, 1)
		if slot <= members {
			l.Join(slot, 1, "many")
		}
		if slot > members-few {
			l.Join(slot, 1, "few") // half of them are in both
		}
	}
	publish := func(message string, rooms ...string) {
		d.Publish(&Broadcast{Namespace: 1, To: rooms, Message: message}, func(_ int, b *Broadcast) { l.Enqueue(b) })
	}
	check := func(what string, both, one []any) {
		t.Helper()
		for slot := uint32(members - few + 1); slot <= members+few; slot++ {
			want := one
			if slot <= members {
				want = both
			}
			if !slices.Equal(got[slot], want) {
				t.Fatalf("%s: socket %d has %v, want %v", what, slot, got[slot], want)
			}
		}
	}
	publish("first", "many")
	publish("second", "few")
	l.Step(step) // of the many
	check("one step", nil, nil)
	publish("third", "few")
	l.Step(step)
	check("two steps", []any{"first", "second", "third"}, []any{"second", "third"})
	publish("fourth", "many", "few")
	publish("fifth", "few")
	l.Step(step)
	check("three steps", []any{"first", "second", "third", "fourth", "fifth"}, []any{"second", "third", "fourth", "fifth"})
	steps := 3
	for l.Step(step) {
		steps++
	}
	if most := 2*members/step + 2*few; steps > most {
		t.Errorf("%d steps for two messages to %d, want at most %d", steps, members, most)
	}
	check("all", []any{"first", "second", "third", "fourth", "fifth"}, []any{"second", "third", "fourth", "fifth"})
	for slot := uint32(1); slot <= members-few; slot++ {
		if !slices.Equal(got[slot], []any{"first", "fourth"}) {
			t.Fatalf("socket %d has %v, want the first and the fourth", slot, got[slot])
		}
	}
	if s := l.Stats(); s.QueuedBytes != 0 || d.Waiting() != 0 {
		t.Errorf("%d bytes are queued and %d wait, want none", s.QueuedBytes, d.Waiting())
	}
}

// However much is for few, half of each step at least is for the many before it.
func TestManyAreNotHeldUpByFew(t *testing.T) {
	const members, step = 6400, 64
	d := NewDirectory(1)
	l, delivered := d.Local(0), 0
	l.OnDeliver(func(slot uint32, run *Run, from int, _ bool) {
		if run.Broadcasts[from].Message == "many" {
			delivered++
		}
	})
	for slot := uint32(1); slot <= members; slot++ {
		l.Add(slot, 1, 1)
		l.Join(slot, 1, "many")
	}
	l.Add(members+1, 1, 1)
	for i := range 20 {
		l.Join(members+1, 1, room(i))
	}
	d.Publish(&Broadcast{Namespace: 1, To: []string{"many"}, Message: "many"}, func(_ int, b *Broadcast) { l.Enqueue(b) })
	for steps := 1; delivered < members; steps++ {
		for i := range 100 {
			d.Publish(&Broadcast{Namespace: 1, To: []string{room(i % 20)}}, func(_ int, b *Broadcast) { l.Enqueue(b) })
		}
		if l.Step(step); delivered < steps*step/2 {
			t.Fatalf("%d deliveries in %d steps, want at least %d", delivered, steps, steps*step/2)
		}
	}
}

// While recipients are visited nobody holds a lock of the Directory, and while a
// broadcast is posted only that of its room.
func TestNoLockIsHeldWhileRecipientsAreVisited(t *testing.T) {
	d := NewDirectory(2)
	held := func() (n int) {
		for i := range d.shards {
			if !d.shards[i].mu.TryLock() {
				n++
				continue
			}
			d.shards[i].mu.Unlock()
		}
		return n
	}
	visited, posts := 0, 0
	for i := range 2 {
		l := d.Local(i)
		l.OnDeliver(func(uint32, *Run, int, bool) {
			visited++
			if n := held(); n != 0 {
				t.Errorf("%d locks are held while a recipient is visited, want none", n)
			}
		})
		for slot := uint32(1); slot <= 100; slot++ {
			l.Add(slot, 1, 1)
			l.Join(slot, 1, "room")
		}
	}
	for range 2 {
		d.Publish(&Broadcast{Namespace: 1, To: []string{"room"}}, func(i int, b *Broadcast) {
			posts++
			if n := held(); n != 1 {
				t.Errorf("%d locks are held while a broadcast is posted, want 1", n)
			}
			d.Local(i).Enqueue(b)
		})
	}
	for _, l := range d.locals {
		l.CatchUp(7)
		for l.Step(64) {
		}
	}
	if visited != 200 || posts != 4 {
		t.Errorf("%d visits and %d posts, want 200 and 4", visited, posts)
	}
}
