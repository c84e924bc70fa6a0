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
	Op     rooms.Op
	Names  []string
	effect uint64 // it is behind what was emitted up to here
	number uint64 // in the order of Begin and BeginOwn
	owed   bool   // of BeginOwn: it has been done to the socket when that left
	next   *Revision

	done []bool // loops on which the sockets of that time have been found
	left int    // how many have not
}

// Revisions are those that not all loops have come to. Guarded by the lock of their
// owner.
type Revisions struct {
	active []*Revision
	own    map[rooms.Ref]ownRevisions // of single sockets, whose loops have not come to them
	last   uint64                     // number
}

// Begin notes one that so many loops are about to be told of.
func (all *Revisions) Begin(r *Revision, loops int) {
	r.done, r.left = make([]bool, loops), loops
	all.active, r.number = append(all.active, r), all.next()
}

// ownRevisions are those of one socket, in their order, linked by next.
type ownRevisions struct{ first, last *Revision }

func (all *Revisions) next() uint64 {
	all.last++
	return all.last
}

// BeginOwn notes one for its Sender alone, as of effect, whose loop is about to be told
// of it.
func (all *Revisions) BeginOwn(r *Revision, effect uint64) {
	r.effect, r.number = effect, all.next()
	if all.own == nil {
		all.own = map[rooms.Ref]ownRevisions{}
	}
	list := all.own[r.Sender]
	if list.first == nil {
		list.first = r
	} else {
		list.last.next = r
	}
	list.last = r
	all.own[r.Sender] = list
}

// PassedOwn notes that its loop has come to it, in the order of BeginOwn, and tells
// whether the socket had left, and has got it by Owed.
func (all *Revisions) PassedOwn(r *Revision) (owed bool) {
	list := all.own[r.Sender]
	for list.first != nil && list.first.number <= r.number {
		list.first, list.first.next = list.first.next, nil
	}
	if all.own[r.Sender] = list; list.first == nil {
		delete(all.own, r.Sender)
	}
	return r.owed
}

// Passed notes that a loop has found the sockets that it has.
func (all *Revisions) Passed(r *Revision, loop int) {
	r.done[loop] = true
	if r.left--; r.left == 0 {
		all.active = slices.DeleteFunc(all.active, func(x *Revision) bool { return x == r })
	}
}

// Owed calls f with those that a socket is selected by which leaves its loop before
// that has come to them, in their order: f changes the rooms of s.
func (all *Revisions) Owed(s *Socket, owner any, loop int, f func(*Revision)) {
	own := all.own[s.Ref].first
	ownUntil := func(number uint64) {
		for ; own != nil && own.number < number; own = own.next {
			own.owed = true
			f(own)
		}
	}
	for _, r := range all.active {
		if ownUntil(r.number); !r.done[loop] && r.selects(s, owner) {
			f(r)
		}
	}
	ownUntil(all.last + 1)
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
	r.Named, r.effect = l.o.Named, l.Last()
	for _, s := range l.selected(&r.Selection) {
		l.reviseOne(s, r.Op, r.Names, r.effect)
	}
	l.o.Revisions.Begin(r, loops)
}

// ReviseRef does something to the socket that had a Ref, if it is away, behind what
// was emitted up to effect; it tells whether it is.
func (l *Log) ReviseRef(ref rooms.Ref, op rooms.Op, names []string, effect uint64) (away bool) {
	s := l.away.byRef[ref]
	if away = s != nil && s.status <= isClaimed; away {
		l.reviseOne(s, op, names, effect)
	}
	return away
}

func (l *Log) reviseOne(s *Saved, op rooms.Op, names []string, effect uint64) {
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
			l.appendChange(s.Name, s.Home, room, join, effect)
		}
	}
}

// Names returns the names of an owner's instances that sockets are away from, of those
// called name, or of all if that is "".
func (l *Log) Names(owner any, name string) (all []string) {
	if name != "" {
		if m := l.away.everybody[name]; m != nil && m.s.Owner == owner {
			all = append(all, name)
		}
		return all
	}
	for name, m := range l.away.everybody {
		if m.s.Owner == owner {
			all = append(all, name)
		}
	}
	return all
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
	for _, name := range l.Names(x.Owner, x.Name) {
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
