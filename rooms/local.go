package rooms

import "github.com/sioedge/sioedge/loop/slab"

// A Local is one loop's part of the rooms: which of the loop's sockets are in
// which, and the broadcasts on their way to them. Sockets are named by their
// slot in the loop's table; dense slots make it small and quick. A slot is of
// one namespace from its first Join or Add until Remove.
//
// Owned by its loop: no method may be called from elsewhere.
type Local struct {
	// Immutable after OnDeliver and OwnedBy.
	dir     *Directory
	index   int
	deliver Deliver
	owner   func() // panics on another goroutine than the loop's; nil: not asked

	// Owned by the loop.
	records []*[recordChunk]record // by slot
	nodes   slab.Of[node]          // of sockets in more than three rooms
	sets    slab.Of[set]           // the loop's members of each room
	table   table                  // the sets by room
	queue   queue
	busy    bool     // Deliver is running
	changes uint64   // of sets: sockets put in and taken out
	scratch []uint32 // ids of sets
	stats   Stats    // but for what Stats looks up
	spread  Spread
	turn    func() int64 // see Measure
	now     func() int64
	visited func(b *Broadcast) // nil: nobody is told, and times are not measured
	ended   []int64            // Since of what this loop was the last to visit, in this step
}

const (
	recordBits  = 10
	recordChunk = 1 << recordBits
	maxSlots    = 1 << 31 // so that the slot after the last is one
)

// A record is a socket: 32 bytes and no pointer.
type record struct {
	seen  uint64              // the last broadcast delivered to it, or passed over
	rooms [inlineRooms]uint32 // ids of sets, in the order of joining; 0: no more
	more  uint32              // the last node of its further rooms; 0: none
	all   uint32              // the set of its namespace; 0 before Add
	gen   uint32              // generation; the highest bit is addressed
}

// addressed says that some broadcast that may still be queued names the socket
// itself. It may outlast that broadcast.
const addressed = 1 << 31

// OnDeliver sets what sends messages to sockets. It is called once, before
// anything else.
func (l *Local) OnDeliver(f Deliver) { l.deliver = f }

// OwnedBy sets what panics on another goroutine than the loop's. In builds with the
// race detector every method asks it.
func (l *Local) OwnedBy(check func()) { l.owner = check }

// Add connects a socket to its namespace: it gets the broadcasts to everybody,
// and those to the rooms it has joined, from the next one enqueued. Slot must
// not be connected already. Of gen, the low 24 bits count.
func (l *Local) Add(slot, gen uint32, ns uint32) {
	l.check()
	r := l.grow(slot)
	if r.all != 0 {
		panic("rooms: Add of a slot that is connected")
	}
	r.gen = gen & genMask
	r.seen = l.queue.seq
	r.all = l.open(key{ns: ns, everyone: true})
	l.enter(r.all, slot, true)
	l.scratch = l.appendRooms(r, l.scratch[:0])
	for _, id := range l.scratch {
		l.sets.At(id).entry.members.Add(1) // who was not connected was not counted
	}
	l.stats.Members++
}

// Remove takes a socket out of its rooms and its namespace, if it is in any.
// What it has not had of broadcasts enqueued before is delivered first.
func (l *Local) Remove(slot uint32) {
	l.check()
	r := l.record(slot)
	if r == nil {
		return
	}
	l.CatchUp(slot)
	l.scratch = l.takeRooms(r, l.scratch[:0])
	for _, id := range l.scratch {
		l.exit(id, slot, r.all != 0)
	}
	l.left(len(l.scratch))
	if r.all != 0 {
		l.exit(r.all, slot, true)
		l.stats.Members--
	}
	*r = record{}
}

// Join puts a socket into a room of its namespace and says whether it was not
// there yet. What it has not had of broadcasts enqueued before is delivered
// first. A socket may join rooms before Add; it gets nothing until then.
func (l *Local) Join(slot uint32, ns uint32, name string) (joined bool) {
	l.check()
	k := key{ns: ns, name: name}
	if id := l.find(k); id != 0 && l.sets.At(id).has(slot) {
		return false
	}
	l.CatchUp(slot)
	id, r := l.open(k), l.grow(slot)
	l.enter(id, slot, r.all != 0)
	l.pushRoom(r, id)
	l.stats.Joins++
	l.stats.Memberships++
	return true
}

// Arrived ends a Directory.Expect for this loop: the Join has been done, or will
// not be.
func (l *Local) Arrived(ns uint32, name string) {
	l.own()
	k := key{ns: ns, name: name}
	l.dir.arrived(k, l.index, l.find(k) != 0)
}

// Leave takes a socket out of a room and says whether it was there. What it has
// not had of broadcasts enqueued before is delivered first.
func (l *Local) Leave(slot uint32, ns uint32, name string) (left bool) {
	l.check()
	id := l.find(key{ns: ns, name: name})
	if id == 0 || !l.sets.At(id).has(slot) {
		return false
	}
	l.CatchUp(slot)
	r := l.record(slot)
	l.dropRoom(r, id)
	l.exit(id, slot, r.all != 0)
	l.left(1)
	return true
}

// left counts memberships that have ended.
func (l *Local) left(n int) {
	l.stats.Leaves += uint64(n)
	l.stats.Memberships -= n
}

// Rooms returns the rooms of a socket in the order of joining.
func (l *Local) Rooms(slot uint32) []string {
	l.own()
	r := l.record(slot)
	if r == nil {
		return nil
	}
	var buf [16]uint32
	ids := l.appendRooms(r, buf[:0])
	if len(ids) == 0 {
		return nil
	}
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = l.sets.At(id).entry.name
	}
	return names
}

// Has says whether a socket is in a room.
func (l *Local) Has(slot, ns uint32, name string) bool {
	l.own()
	id := l.find(key{ns: ns, name: name})
	return id != 0 && l.sets.At(id).has(slot)
}

// Each calls f for each of the loop's sockets connected to a namespace, in the
// order of their slots, until f returns false. F may change memberships: who
// leaves before its turn is not visited, who comes may be.
func (l *Local) Each(ns uint32, f func(slot uint32) bool) {
	l.own()
	l.each(key{ns: ns, everyone: true}, f)
}

// EachIn does what Each does for the members of a room; those that are not
// connected yet are left out.
func (l *Local) EachIn(ns uint32, name string, f func(slot uint32) bool) {
	l.own()
	l.each(key{ns: ns, name: name}, f)
}

func (l *Local) each(k key, f func(slot uint32) bool) {
	var buf [64]uint32
	for from := uint64(0); from < 1<<32; {
		id := l.find(k) // again each time: f may have emptied the room
		if id == 0 {
			return
		}
		slots, changes := l.sets.At(id).appendFrom(buf[:0], uint32(from)), l.changes
		for _, slot := range slots {
			from = uint64(slot) + 1
			if l.changes != changes {
				if id := l.find(k); id == 0 || !l.sets.At(id).has(slot) {
					continue
				}
			}
			if l.record(slot).all == 0 {
				continue
			}
			if !f(slot) {
				return
			}
		}
		if len(slots) < len(buf) {
			return
		}
	}
}

// open returns the id of the set of a room, made if the loop has no members of
// it. The caller puts one in.
func (l *Local) open(k key) uint32 {
	h := l.dir.hash(k)
	if id := l.table.find(&l.sets, h, k); id != 0 {
		return id
	}
	id := l.sets.Alloc()
	*l.sets.At(id) = set{entry: l.dir.open(h, k, l.index)}
	l.table.insert(&l.sets, id)
	return id
}

// enter puts a socket into a set it is not in. It counts if it is connected.
func (l *Local) enter(id, slot uint32, connected bool) {
	l.changes++
	s := l.sets.At(id)
	s.add(slot)
	if connected {
		s.entry.members.Add(1)
	}
}

// exit takes a socket out of a set it is in, and forgets an empty set.
func (l *Local) exit(id, slot uint32, connected bool) {
	l.changes++
	s := l.sets.At(id)
	s.remove(slot)
	if connected {
		s.entry.members.Add(-1)
	}
	if s.n > 0 {
		return
	}
	l.dir.close(s.entry, l.index)
	l.table.remove(&l.sets, id)
	*s = set{}
	l.sets.Free(id)
}

// find returns the id of the set of a room, 0 if the loop has no members of it.
func (l *Local) find(k key) uint32 { return l.table.find(&l.sets, l.dir.hash(k), k) }

// record returns that of a slot, nil if there never was one.
func (l *Local) record(slot uint32) *record {
	if c := int(slot >> recordBits); c < len(l.records) && l.records[c] != nil {
		return &l.records[c][slot%recordChunk]
	}
	return nil
}

// grow returns the record of a slot.
func (l *Local) grow(slot uint32) *record {
	c := int(slot >> recordBits)
	if slot >= maxSlots {
		panic("rooms: slot out of range")
	}
	for c >= len(l.records) {
		l.records = append(l.records, nil)
	}
	if l.records[c] == nil {
		l.records[c] = new([recordChunk]record)
	}
	return &l.records[c][slot%recordChunk]
}

// check is the guard of what Deliver may not call.
func (l *Local) check() {
	l.own()
	if l.busy {
		panic("rooms: Deliver called back into its Local")
	}
}
