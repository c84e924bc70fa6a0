package history

import (
	"cmp"
	"hash/maphash"
	"slices"

	"github.com/sioedge/sioedge/rooms"
)

// Occupied notes that a room has its first member here, or none any more. In between
// the server is sent all that is emitted to the room; what it has from before may be
// stale.
func (s *Store) Occupied(instance, name string, yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rooms[key{instance, name}]
	if r == nil {
		return
	}
	r.fresh, r.since = false, s.place
	if yes {
		r.left = cmp.Or(r.left, -farAway) // whoever says since when knows better
		return
	}
	r.left = s.now()
	s.shed(r)
}

// Fresh tells whether other servers have been asked since a room has had members.
func (s *Store) Fresh(instance, name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rooms[key{instance, name}]
	return r != nil && r.fresh
}

// A Flight is a question to the other servers about a room, for all that wait for it.
type Flight struct {
	Done chan struct{} // closed when it has been answered
}

// begin returns the flight of a room, and whether it has just begun: who begins it
// ends it.
func (s *Store) begin(instance, name string) (f *Flight, begun bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{instance, name}
	if f = s.flights[k]; f == nil {
		f, begun = &Flight{make(chan struct{})}, true
		s.flights[k] = f
		s.stats.Asked++
	}
	return f, begun
}

// end ends the flight of a room, which is occupied or not, with what the best of the
// others has, or nothing.
func (s *Store) end(instance, name string, f *Flight, best *past, occupied bool) {
	seed := maphash.MakeSeed()
	sums := map[*Item]uint64{}
	sum := func(x *Item) uint64 {
		n, ok := sums[x]
		if !ok {
			e, _ := s.codec.Event(instance, x.Message)
			n = sumOf(seed, e)
			sums[x] = n
		}
		return n
	}
	for _, x := range s.Last(nil, instance, name, 1<<30, 0) {
		sum(x) // of all but what comes in the meantime, without the lock
	}
	var theirs []*Item
	var marks []uint64
	if best != nil {
		for _, p := range best.Events {
			theirs = append(theirs, &Item{Message: s.codec.Message(instance, p.event), Rooms: p.Rooms, Except: p.Except, Merged: true, At: s.now() - p.Age})
			marks = append(marks, sumOf(seed, p.event))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.open(instance, name)
	if len(theirs) > 0 && (r.left == 0 || best.Stale == 0 || s.now()-r.left > best.Stale) {
		s.merge(r, theirs, marks, sum)
	}
	if r.fresh = occupied; !occupied {
		r.left = s.now()
		if best != nil {
			r.left -= best.Stale
		}
	}
	delete(s.flights, key{instance, name})
	close(f.Done)
	s.squeeze()
	s.shed(r)
}

// sumOf identifies an event by its bytes.
func sumOf(seed maphash.Seed, e rooms.Event) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	_, _ = h.Write(e.Data) // never fails, nor do the others
	for _, a := range e.Attachments {
		_ = h.WriteByte(0)
		_, _ = h.Write(a)
	}
	return h.Sum64()
}

// merge puts what another server has of a room before what this one was sent since it
// has members, and in place of what it has from before, unless that leads on to it.
func (s *Store) merge(r *room, theirs []*Item, marks []uint64, sum func(*Item) uint64) {
	n := slices.IndexFunc(r.links, func(l *link) bool { return !l.item.Merged && l.item.Place > r.since })
	if n < 0 {
		n = len(r.links)
	}
	old, mine := r.links[:n:n], r.links[n:]
	sums := func(links []*link) (all []uint64) {
		for _, l := range links {
			all = append(all, sum(l.item))
		}
		return all
	}
	theirs = theirs[:Overlap(marks, sums(mine))]
	marks = marks[:len(theirs)]
	kept := 0 // of old, which theirs follow on
	for k := min(len(old), len(marks)); k > 0; k-- {
		if slices.Equal(sums(old[len(old)-k:]), marks[:k]) {
			theirs, kept = others(theirs[k:], marks[k:], sums(old[max(0, len(old)-len(marks)):len(old)-k])), len(old)
			break
		}
	}
	for _, l := range old[kept:] {
		s.unlink(l)
	}
	most := max(0, s.o.Size-len(mine))
	theirs = theirs[max(0, len(theirs)-most):]
	for kept+len(theirs) > most {
		s.unlink(old[0])
		old, kept = old[1:], kept-1
	}
	r.links = slices.Clone(old[:kept])
	place, next := s.place, (*link)(nil)
	if len(mine) > 0 {
		place, next = mine[0].item.Place, mine[0]
	}
	for _, x := range theirs {
		x.Place, x.cost = place, x.size(&s.further)
		s.bytes += x.cost
		s.stats.Merged++
		s.append(r, &link{room: r, item: x}, next)
	}
	r.links = append(r.links, mine...)
}

// others returns those of items that are not among some, by their marks: what another
// server has in another order than this one.
func others(items []*Item, marks, some []uint64) (rest []*Item) {
	left := map[uint64]int{}
	for _, m := range some {
		left[m]++
	}
	for i, x := range items {
		if left[marks[i]] > 0 {
			left[marks[i]]--
			continue
		}
		rest = append(rest, x)
	}
	return rest
}

// Overlap returns how many of theirs, from the beginning, are not among mine, which
// follow: both are pieces of one order, mine from a moment on that theirs may have
// passed. Where servers get what they emit themselves sooner than what others do, the
// orders differ a little: then it is the end of theirs that has nothing but what is
// among mine.
func Overlap(theirs, mine []uint64) int {
	if len(mine) == 0 {
		return len(theirs)
	}
	follows := len(theirs)
	for at := range theirs {
		n := min(len(theirs)-at, len(mine))
		if slices.Equal(theirs[at:at+n], mine[:n]) {
			follows = at
			break
		}
	}
	left := map[uint64]int{}
	for _, m := range mine {
		left[m]++
	}
	at := len(theirs)
	for at > 0 && left[theirs[at-1]] > 0 {
		at--
		left[theirs[at]]--
	}
	return min(at, follows)
}
