package packetlog

import (
	"slices"

	"github.com/sioedge/sioedge/rooms"
)

// What operators do to sockets they do to those, too, whose clients are away and
// may come back, or are coming back: rooms are joined and left, and who was
// disconnected is a new one. That and the tasks for the loops are made with the
// lock held, so a socket is at that moment either away, or found by its loop;
// unless it leaves before its loop gets there, and then it is revised when it is
// saved.

// A Selection is whom an operator addresses.
type Selection struct {
	Owner      any    // the namespace: all of its instances, if Name is ""
	Name       string // of the instance
	To, Except []string
	Sender     rooms.Ref
	Direct     bool // Sender alone; with Narrowed if it is in one of To
	Narrowed   bool

	Named func(room string) (rooms.Ref, bool) // as Options.Named
}

// A Revision is something that is done to sockets that are away. Guarded by the
// lock of the Revisions that it is among, but for what never changes.
type Revision struct {
	// Immutable.
	Selection
	Op    rooms.Op
	Names []string

	done []bool // loops on which the sockets of that time have been found
	left int    // how many have not
}

// Revisions are those that not all loops have come to. Guarded by the lock of their
// owner.
type Revisions struct{ active []*Revision }

// Begin notes one that so many loops are about to be told of.
func (all *Revisions) Begin(r *Revision, loops int) {
	r.done, r.left = make([]bool, loops), loops
	all.active = append(all.active, r)
}

// Passed notes that a loop has found the sockets that it has.
func (all *Revisions) Passed(r *Revision, loop int) {
	r.done[loop] = true
	if r.left--; r.left == 0 {
		all.active = slices.DeleteFunc(all.active, func(x *Revision) bool { return x == r })
	}
}

// Owed calls f with those that a socket is selected by which leaves its loop before
// that has come to them.
func (all *Revisions) Owed(s *Socket, owner any, loop int, f func(*Revision)) {
	for _, r := range all.active {
		if !r.done[loop] && r.selects(s, owner) {
			f(r)
		}
	}
}

// selects tells whether a socket is among those addressed.
func (x *Selection) selects(s *Socket, owner any) bool {
	own := x.Sender != 0 && (x.Sender == s.Ref || x.Sender == s.Home)
	switch {
	case owner != x.Owner || x.Name != "" && x.Name != s.Name:
		return false
	case x.Direct:
		return own && (!x.Narrowed || s.in(x.Named, x.To)) && !s.in(x.Named, x.Except)
	case own || len(x.To) > 0 && !s.in(x.Named, x.To):
		return false
	}
	return !s.in(x.Named, x.Except)
}

// in tells whether the socket is in one of the rooms: its own are its id and refs.
func (s *Socket) in(named func(string) (rooms.Ref, bool), names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		if name == s.ID || slices.Contains(s.Rooms, name) {
			return true
		}
		ref, ok := named(name)
		return ok && (ref == s.Home || ref == s.Ref)
	})
}

// Revise does something to the sockets that are away, and to those that will be
// until so many loops have Passed.
func (l *Log) Revise(r *Revision, loops int) {
	r.Named = l.o.Named
	for _, s := range l.selected(&r.Selection) {
		l.reviseOne(s, r.Op, r.Names)
	}
	l.o.Revisions.Begin(r, loops)
}

// ReviseRef does something to the socket that had a Ref, if it is away.
func (l *Log) ReviseRef(ref rooms.Ref, op rooms.Op, names []string) {
	if s := l.away.byRef[ref]; s != nil && s.status <= isClaimed {
		l.reviseOne(s, op, names)
	}
}

func (l *Log) reviseOne(s *Saved, op rooms.Op, names []string) {
	if op == rooms.Disconnected {
		l.o.Counts.Revoked++
		l.away.remove(s)
		return
	}
	join := op == rooms.Joined
	for _, room := range names {
		if join && l.o.MaxRooms > 0 && len(s.Rooms) >= l.o.MaxRooms {
			return
		}
		if l.away.change(s, room, join) {
			l.appendChange(s.Name, s.Home, room, join, l.Last())
		}
	}
}

// selected returns the sockets that are away among those addressed.
func (l *Log) selected(x *Selection) (all []*Saved) {
	a := &l.away
	if a.count == 0 {
		return nil
	}
	take := func(s *Saved) {
		if s != nil && s.status <= isClaimed && x.selects(&s.Socket, s.Owner) {
			all = append(all, s)
		}
	}
	if x.Direct {
		take(a.byRef[x.Sender])
		return all
	}
	names := []string{x.Name}
	if x.Name == "" {
		names = nil
		for name, m := range a.everybody {
			if m.s.Owner == x.Owner {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		for m := a.everybody[name]; m != nil && len(x.To) == 0; m = m.next {
			take(m.s)
		}
		for _, room := range x.To {
			for m := a.room[roomKey{name, room}]; m != nil; m = m.next {
				take(m.s)
			}
		}
	}
	for _, room := range x.To {
		if ref, ok := l.o.Named(room); ok {
			take(a.byRef[ref])
		}
	}
	if len(x.To) > 1 {
		slices.SortFunc(all, func(s, t *Saved) int { return s.index - t.index })
		all = slices.Compact(all)
	}
	return all
}
