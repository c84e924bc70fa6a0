package rooms

// A State is what a Local knows of a socket, as plain data: with it, the socket can
// be in the same rooms of another Local, be it in another process. It has no
// broadcasts; those enqueued before are delivered first.
type State struct {
	Slot, Gen uint32
	Namespace uint32   // the number that the process it is from has given it
	Connected bool     // by Add; else it has only joined rooms
	Rooms     []string // in the order of joining
}

// Snapshot returns the State of each socket that is connected or in rooms, in the
// order of slots.
func (l *Local) Snapshot() []State {
	l.check()
	var all []State
	for c, chunk := range l.records {
		if chunk == nil {
			continue
		}
		for i := range chunk {
			if r := &chunk[i]; r.all != 0 || r.rooms[0] != 0 {
				all = append(all, l.state(uint32(c<<recordBits|i), r))
			}
		}
	}
	return all
}

func (l *Local) state(slot uint32, r *record) State {
	l.CatchUp(slot)
	set := r.all
	if set == 0 {
		set = r.rooms[0]
	}
	return State{
		Slot: slot, Gen: r.gen & genMask, Namespace: l.sets.At(set).entry.ns,
		Connected: r.all != 0, Rooms: l.Rooms(slot),
	}
}

// Restore puts a socket where a State says, under the number that its namespace has
// here. The slot must not be in use.
func (l *Local) Restore(s State, ns uint32) {
	l.check()
	if r := l.record(s.Slot); r != nil && (r.all != 0 || r.rooms[0] != 0) {
		panic("rooms: Restore of a slot that is in use")
	}
	if s.Connected {
		l.Add(s.Slot, s.Gen, ns)
	}
	for _, name := range s.Rooms {
		l.Join(s.Slot, ns, name)
	}
}
