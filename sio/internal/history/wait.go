package history

import "slices"

// A Wait is a socket's for rooms that it will join.
type Wait struct {
	Rooms []string // immutable
	Off   []bool   // by Rooms: it has left them meanwhile
	Idle  bool     // nobody else knows of it than the Waiting
}

// NewWait returns that for some rooms.
func NewWait(rooms []string) Wait { return Wait{Rooms: rooms, Off: make([]bool, len(rooms))} }

// Self returns w: for what has a Wait in it.
func (w *Wait) Self() *Wait { return w }

// Wanted returns the rooms that have not been left meanwhile.
func (w *Wait) Wanted() (names []string) {
	for i, room := range w.Rooms {
		if !w.Off[i] {
			names = append(names, room)
		}
	}
	return names
}

// A Waiting knows, of a loop, the waits of sockets by their slots. The zero value is
// empty.
type Waiting[W interface {
	comparable
	Self() *Wait
}] struct {
	all map[uint32][]W
}

// Put adds a wait, which is Idle from now on.
func (x *Waiting[W]) Put(slot uint32, w W) {
	w.Self().Idle = true
	if x.all == nil {
		x.all = map[uint32][]W{}
	}
	if !slices.Contains(x.all[slot], w) {
		x.all[slot] = append(x.all[slot], w)
	}
}

// Remove takes a wait out, if it is there.
func (x *Waiting[W]) Remove(slot uint32, w W) {
	if len(x.all) == 0 {
		return
	}
	list := slices.DeleteFunc(x.all[slot], func(o W) bool { return o == w })
	if x.all[slot] = list; len(list) == 0 {
		delete(x.all, slot)
	}
}

// Of returns the waits of a socket, in a list of the caller's.
func (x *Waiting[W]) Of(slot uint32) []W {
	if len(x.all) == 0 {
		return nil
	}
	return slices.Clone(x.all[slot])
}

// Has tells whether a socket waits for a room.
func (x *Waiting[W]) Has(slot uint32, room string) bool {
	if len(x.all) == 0 {
		return false
	}
	for _, w := range x.all[slot] {
		if i := slices.Index(w.Self().Rooms, room); i >= 0 && !w.Self().Off[i] {
			return true
		}
	}
	return false
}

// CallOff has a socket wait for a room no more.
func (x *Waiting[W]) CallOff(slot uint32, room string) {
	if len(x.all) == 0 {
		return
	}
	for _, w := range x.all[slot] {
		for i, name := range w.Self().Rooms {
			w.Self().Off[i] = w.Self().Off[i] || name == room
		}
	}
}
