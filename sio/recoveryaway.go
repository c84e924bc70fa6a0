package sio

import (
	"container/heap"
	"slices"
	"unsafe"

	"github.com/sioedge/sioedge/rooms"
)

// A savedSocket is a socket that may come back. Guarded by packetLog.mu, but for
// what never changes.
type savedSocket struct {
	// Immutable.
	ns       *Namespace
	name     string // of the instance
	id, pid  string
	identity string
	ref      rooms.Ref // that it had
	home     rooms.Ref // that its id is made of
	data     any
	expires  int64 // ms of the wall clock, its deadline; 0: none

	from    uint64 // what it may have missed begins behind this place
	until   int64  // ms
	left    int64  // ms, when it left
	status  savedStatus
	rooms   []string // while it is away or claimed
	version int      // counts changes of rooms
	index   int      // in away.heap; -1: in none
	members []*membership
	cost    int64
}

type savedStatus uint8

const (
	isAway    savedStatus = iota
	isClaimed             // its client has come back and is connecting
	isBack                // it is connected; what it was sent may not have arrived
	isGone                // it is not kept
)

// A membership chains the sockets that are away from one room.
type roomKey struct{ name, room string }

type membership struct {
	key        roomKey
	s          *savedSocket
	next, prev *membership
}

// away are the sockets that may come back. Guarded by packetLog.mu.
type away struct {
	byPID     map[string]*savedSocket
	byRef     map[rooms.Ref]*savedSocket // also by home
	room      map[roomKey]*membership    // of those who are away or claimed
	everybody map[string]*membership     // by instance
	heap      savedHeap                  // all, those that must be back first in front
	bytes     int64
	count     int64 // of those who are away
}

// What a saved socket and its place in a room take, about.
const (
	savedBytes      = int64(unsafe.Sizeof(savedSocket{})) + 8 + 3*64 + 48
	membershipBytes = int64(unsafe.Sizeof(membership{})) + 8 + 16 + 64
)

func (a *away) init() {
	a.byPID, a.byRef = map[string]*savedSocket{}, map[rooms.Ref]*savedSocket{}
	a.room, a.everybody = map[roomKey]*membership{}, map[string]*membership{}
}

// first returns the socket that must be back first, nil if there is none.
func (a *away) first() *savedSocket {
	if len(a.heap) == 0 {
		return nil
	}
	return a.heap[0]
}

// add takes in a socket that is away.
func (a *away) add(s *savedSocket) {
	for _, ref := range []rooms.Ref{s.ref, s.home} {
		if old := a.byRef[ref]; old != nil {
			a.remove(old) // what it was when it was away before
		}
	}
	s.status, s.cost = isAway, savedBytes+int64(len(s.id)+len(s.pid)+len(s.identity)+len(s.rooms)*16)
	a.bytes += s.cost
	a.byPID[s.pid], a.byRef[s.ref], a.byRef[s.home] = s, s, s
	heap.Push(&a.heap, s)
	a.enter(s)
}

// enter puts a socket where operators find it.
func (a *away) enter(s *savedSocket) {
	a.count++
	s.members = []*membership{chainUp(a.everybody, s.name, roomKey{name: s.name}, s)}
	a.grow(s, membershipBytes)
	for _, room := range s.rooms {
		a.enterRoom(s, room)
	}
}

func (a *away) enterRoom(s *savedSocket, room string) {
	k := roomKey{s.name, room}
	s.members = append(s.members, chainUp(a.room, k, k, s))
	a.grow(s, membershipBytes+int64(len(room)))
}

func (a *away) grow(s *savedSocket, n int64) {
	s.cost += n
	a.bytes += n
}

func chainUp[K comparable](heads map[K]*membership, k K, key roomKey, s *savedSocket) *membership {
	m := &membership{key: key, s: s, next: heads[k]}
	if m.next != nil {
		m.next.prev = m
	}
	heads[k] = m
	return m
}

// exitRoom takes the membership at i from its chain: 0 is that of the namespace.
func (a *away) exitRoom(s *savedSocket, i int) {
	m := s.members[i]
	if m.next != nil {
		m.next.prev = m.prev
	}
	switch {
	case m.prev != nil:
		m.prev.next = m.next
	case i == 0:
		setHead(a.everybody, m.key.name, m.next)
	default:
		setHead(a.room, m.key, m.next)
	}
	n := membershipBytes
	if i > 0 {
		n += int64(len(m.key.room))
	}
	a.grow(s, -n)
}

func setHead[K comparable](heads map[K]*membership, k K, m *membership) {
	if m == nil {
		delete(heads, k)
	} else {
		heads[k] = m
	}
}

// exit takes a socket away from where operators find it.
func (a *away) exit(s *savedSocket) {
	if len(s.members) > 0 {
		a.count--
	}
	for i := range s.members {
		a.exitRoom(s, i)
	}
	s.members = nil
}

// remove forgets a socket.
func (a *away) remove(s *savedSocket) {
	if s.status == isGone {
		return
	}
	a.exit(s)
	s.status = isGone
	heap.Remove(&a.heap, s.index)
	a.bytes -= s.cost
	if a.byPID[s.pid] == s {
		delete(a.byPID, s.pid)
	}
	for _, ref := range []rooms.Ref{s.ref, s.home} {
		if a.byRef[ref] == s {
			delete(a.byRef, ref)
		}
	}
	if len(a.heap) == 0 && cap(a.heap) > 1000 {
		*a = away{}
		a.init() // maps do not shrink
	}
}

// back notes that a claimed socket is connected again. What it needs is kept, as
// it may not have arrived.
func (a *away) back(s *savedSocket) {
	if s.status == isGone {
		return
	}
	a.exit(s)
	a.grow(s, -int64(len(s.rooms)*16))
	s.status, s.rooms, s.data = isBack, nil, nil
}

// change puts a socket that is away or claimed into a room, or out of it, and says
// whether that is a change.
func (a *away) change(s *savedSocket, room string, join bool) bool {
	i := slices.Index(s.rooms, room)
	if (i >= 0) == join || room == s.id {
		return false
	}
	s.version++
	if join {
		s.rooms = append(slices.Clone(s.rooms), room)
		a.grow(s, 16)
		a.enterRoom(s, room)
		return true
	}
	a.exitRoom(s, i+1)
	s.members = slices.Delete(s.members, i+1, i+2)
	s.rooms = slices.Delete(slices.Clone(s.rooms), i, i+1)
	a.grow(s, -16)
	return true
}

// in tells whether the socket is in one of the rooms: its own are its id and refs.
func (s *savedSocket) in(ids interface{ Parse([]byte) (uint64, bool) }, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		if name == s.id || slices.Contains(s.rooms, name) {
			return true
		}
		ref, ok := ids.Parse([]byte(name))
		return ok && (rooms.Ref(ref) == s.home || rooms.Ref(ref) == s.ref)
	})
}

// A savedHeap has the socket first that must be back first.
type savedHeap []*savedSocket

func (h savedHeap) Len() int           { return len(h) }
func (h savedHeap) Less(i, j int) bool { return h[i].until < h[j].until }
func (h savedHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push appends a socket.
func (h *savedHeap) Push(x any) {
	s := x.(*savedSocket)
	s.index = len(*h)
	*h = append(*h, s)
}

// Pop takes the last one off.
func (h *savedHeap) Pop() any {
	old := *h
	n := len(old) - 1
	s := old[n]
	old[n], s.index = nil, -1
	*h = old[:n]
	return s
}
