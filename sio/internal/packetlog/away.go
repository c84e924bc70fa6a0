package packetlog

import (
	"container/heap"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/sioedge/sioedge/rooms"
)

// A Socket is what is to be known of a socket that may come back. Plain data.
type Socket struct {
	Name     string // of the instance that it is in
	ID       string
	PID      string    // the private id that its client asks for it with
	Identity string    // who its client is, if that was asked
	Rooms    []string  // but for its own; never changed in place
	Ref      rooms.Ref // that it had
	Home     rooms.Ref // that its id is made of
	From     uint64    // what it may have missed begins behind this place
	Expires  int64     // ms of the wall clock, its deadline; 0: none
}

// A Saved is a socket that may come back. Guarded by the Log's lock, but for what
// never changes.
type Saved struct {
	// Immutable but for Rooms, which are kept while it is away or claimed.
	Socket
	Owner any // the namespace; compared with Selection.Owner
	Rest  any // what else its owner keeps of it

	until   int64 // ms
	left    int64 // ms, when it left
	status  status
	version int // counts changes of Rooms
	index   int // in away.heap; -1: in none
	members []*membership
	cost    int64
}

type status uint8

const (
	isAway    status = iota
	isClaimed        // its client has come back and is connecting
	isBack           // it is connected; what it was sent may not have arrived
	isGone           // it is not kept
)

type roomKey struct{ name, room string }

// A membership chains the sockets that are away from one room.
type membership struct {
	key        roomKey
	s          *Saved
	next, prev *membership
}

// away are the sockets that may come back. Guarded by the Log's lock.
type away struct {
	byPID     map[string]*Saved
	byRef     map[rooms.Ref]*Saved    // also by home
	room      map[roomKey]*membership // of those who are away or claimed
	everybody map[string]*membership  // by instance
	heap      savedHeap               // all, those that must be back first in front
	bytes     int64
	count     int64 // of those who are away
}

// What a saved socket and its place in a room take, about.
const (
	savedBytes      = int64(unsafe.Sizeof(Saved{})) + 8 + 3*64 + 48
	membershipBytes = int64(unsafe.Sizeof(membership{})) + 8 + 16 + 64
)

func (a *away) init() {
	a.byPID, a.byRef = map[string]*Saved{}, map[rooms.Ref]*Saved{}
	a.room, a.everybody = map[roomKey]*membership{}, map[string]*membership{}
}

// first returns the socket that must be back first, nil if there is none.
func (a *away) first() *Saved {
	if len(a.heap) == 0 {
		return nil
	}
	return a.heap[0]
}

// add takes in a socket that is away.
func (a *away) add(s *Saved) {
	for _, ref := range []rooms.Ref{s.Ref, s.Home} {
		if old := a.byRef[ref]; old != nil {
			a.remove(old) // what it was when it was away before
		}
	}
	s.status, s.cost = isAway, savedBytes+int64(len(s.ID)+len(s.PID)+len(s.Identity)+len(s.Rooms)*16)
	a.bytes += s.cost
	a.byPID[s.PID], a.byRef[s.Ref], a.byRef[s.Home] = s, s, s
	heap.Push(&a.heap, s)
	a.enter(s)
}

// enter puts a socket where operators find it.
func (a *away) enter(s *Saved) {
	a.count++
	s.members = []*membership{chainUp(a.everybody, s.Name, roomKey{name: s.Name}, s)}
	a.grow(s, membershipBytes)
	for _, room := range s.Rooms {
		a.enterRoom(s, room)
	}
}

func (a *away) enterRoom(s *Saved, room string) {
	k := roomKey{s.Name, room}
	s.members = append(s.members, chainUp(a.room, k, k, s))
	a.grow(s, membershipBytes+int64(len(room)))
}

func (a *away) grow(s *Saved, n int64) {
	s.cost += n
	a.bytes += n
}

func chainUp[K comparable](heads map[K]*membership, k K, key roomKey, s *Saved) *membership {
	m := &membership{key: key, s: s, next: heads[k]}
	if m.next != nil {
		m.next.prev = m
	}
	heads[k] = m
	return m
}

// exitRoom takes the membership at i from its chain: 0 is that of the namespace.
func (a *away) exitRoom(s *Saved, i int) {
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
func (a *away) exit(s *Saved) {
	if len(s.members) > 0 {
		a.count--
	}
	for i := range s.members {
		a.exitRoom(s, i)
	}
	s.members = nil
}

// remove forgets a socket.
func (a *away) remove(s *Saved) {
	if s.status == isGone {
		return
	}
	a.exit(s)
	s.status = isGone
	heap.Remove(&a.heap, s.index)
	a.bytes -= s.cost
	if a.byPID[s.PID] == s {
		delete(a.byPID, s.PID)
	}
	for _, ref := range []rooms.Ref{s.Ref, s.Home} {
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
func (a *away) back(s *Saved) {
	if s.status == isGone {
		return
	}
	a.exit(s)
	a.grow(s, -int64(len(s.Rooms)*16))
	s.status, s.Rooms, s.Rest = isBack, nil, nil
}

// change puts a socket that is away or claimed into a room, or out of it, and says
// whether that is a change.
func (a *away) change(s *Saved, room string, join bool) bool {
	i := slices.Index(s.Rooms, room)
	if (i >= 0) == join || room == s.ID {
		return false
	}
	s.version++
	if join {
		s.Rooms = append(slices.Clone(s.Rooms), room)
		a.grow(s, 16)
		a.enterRoom(s, room)
		return true
	}
	a.exitRoom(s, i+1)
	s.members = slices.Delete(s.members, i+1, i+2)
	s.Rooms = slices.Delete(slices.Clone(s.Rooms), i, i+1)
	a.grow(s, -16)
	return true
}

// A savedHeap has the socket first that must be back first.
type savedHeap []*Saved

func (h savedHeap) Len() int           { return len(h) }
func (h savedHeap) Less(i, j int) bool { return h[i].until < h[j].until }
func (h savedHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push appends a socket.
func (h *savedHeap) Push(x any) {
	s := x.(*Saved)
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

// expire forgets sockets that did not come back, at most so many.
func (l *Log) expire(now int64, most int) {
	for range most {
		s := l.away.first()
		if s == nil || s.until >= now {
			return
		}
		l.away.remove(s)
	}
}

// Save remembers a socket that has gone from a loop.
func (l *Log) Save(s *Saved, loop int) {
	now := l.o.Now()
	l.expire(now, 64)
	if l.lacks(s.From) {
		return // what it may lack is not there
	}
	// It has Window from when it left; but what it has not had for longer than it
	// would take to notice that counts from then, however often it comes and goes.
	s.left = now
	if s.From < l.Last() {
		s.left = min(now, l.entries.at(s.From+1).at+l.o.Proof.Milliseconds())
	}
	if s.until = s.left + l.o.Window.Milliseconds(); s.until <= now {
		return
	}
	l.away.add(s)
	l.o.Revisions.Owed(&s.Socket, s.Owner, loop, func(r *Revision) { l.reviseOne(s, r.Op, r.Names, r.effect) })
	for l.away.bytes > l.o.MaxBytes/2 {
		l.o.Counts.Evicted++
		l.away.remove(l.away.first())
	}
	l.prune(now, 64)
	l.wanted()
}

// joint is between what is known of a client's identity at once, and what is found out
// later. The former has none.
const joint = "\x00"

// Known returns what is known of an identity at once, as Found, Alike and Claim have it.
func Known(identity string) string {
	if strings.HasPrefix(identity, `"`) || strings.Contains(identity, joint) {
		return strconv.Quote(identity)
	}
	return identity
}

// Found returns an identity of which this was found out, in place of what was before.
func Found(identity, later string) string {
	identity, _, _ = strings.Cut(identity, joint)
	if later == "" {
		return identity
	}
	return identity + joint + later
}

// Alike tells whether two identities are the same as far as it is known at once.
func Alike(a, b string) bool { return Found(a, "") == Found(b, "") }

// Claim returns the saved socket of a pid, once, and where in the log its client
// stands; offset is nil if the client names none, wall the time in ms that deadlines
// are judged by. It is nil if the socket cannot be recovered, which is counted.
func (l *Log) Claim(name, pid, identity string, offset *string, wall int64) (*Saved, uint64) {
	now := l.o.Now()
	l.expire(now, 64)
	s := l.away.byPID[pid]
	if s == nil || s.Name != name || s.status != isAway || s.until < now || s.Expires != 0 && s.Expires <= wall {
		l.o.Counts.Unknown++
		return nil, 0
	}
	if !Alike(s.Identity, identity) {
		l.o.Counts.Alien++
		return nil, 0
	}
	from := s.From
	if offset != nil {
		place, ok := l.place(*offset)
		if !ok || place > l.Last() {
			l.o.Counts.Lost++
			return nil, 0
		}
		// An older one is of a session that the client had before.
		from = max(from, place)
	}
	if l.lacks(from) {
		l.o.Counts.Lost++
		return nil, 0
	}
	s.status = isClaimed
	return s, from
}

// lacks tells whether something behind a place is not kept any more.
func (l *Log) lacks(from uint64) bool { return from+1 < l.entries.first }

// Unclaim puts a socket back that went again before it was recovered. Its time
// goes on.
func (l *Log) Unclaim(s *Saved) {
	if s.status == isClaimed {
		s.status = isAway
	}
}

// Lose forgets a claimed socket, of which not all can be had.
func (l *Log) Lose(s *Saved) {
	l.o.Counts.Lost++
	l.away.remove(s)
}

// Back notes that a claimed socket is connected.
func (l *Log) Back(s *Saved) { l.away.back(s) }
