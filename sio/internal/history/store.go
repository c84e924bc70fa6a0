// Package history keeps the last events of rooms, for those who join them.
//
// A Store is that of a namespace. Events are added while the rooms that they are for
// are locked in the rooms.Directory, and so in the order in which the members of each
// room get them; who joins asks with the same locks held for what to be sent first,
// and has itself put behind all that in its loop's mailbox: so what it is sent and
// what comes then is everything, once.
//
//	Add      an event that is being published
//	Last     what who joins is sent
//	Merge    what another server has of a room that this one had not been told of
//	Sweep    time passes
//
// Bytes bound all rooms together: the oldest event goes first, whichever room it is
// of. A room is kept as long as it has events, whoever is in it.
package history

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/sioedge/sioedge/rooms"
)

// Options of a Store.
type Options struct {
	Size     int           // events of a room
	TTL      time.Duration // how long an event is kept; 0: no bound
	MaxBytes int64         // of all rooms, names and what leads to them
}

// A Message is an event as it is sent.
type Message interface {
	// Remember says that the message is kept, and returns the bytes that it takes: what
	// it takes more later is added to further, until Forget. It is called before others
	// have the message.
	Remember(further *atomic.Int64) int64
	Forget()
}

// A Codec knows what messages are.
type Codec interface {
	// Event returns the event that a message is, in memory of its own.
	Event(instance string, m Message) (rooms.Event, bool)
	// Message returns what is sent of an event.
	Message(instance string, e rooms.Event) Message
}

// An Item is an event of one room or several. Immutable once it is added.
type Item struct {
	Message Message
	Rooms   []string // that it was for, if they are several; ids of sockets among them
	Except  []string // that it was not for; ids too
	Local   bool     // it is no other server's

	Place  uint64 // in the order of all that was added; not before Add
	At     int64  // ms of the store's clock; not before Add
	Merged bool   // it came from another server, with the place of the own one behind it

	uses int // rooms that have it; guarded by Store.mu, as is
	cost int64
}

// A Store keeps the events of a namespace. Any goroutine may use it; it calls nothing
// but its clock and the messages. Lock order: the shards of a rooms.Directory, then mu.
type Store struct {
	now   func() int64 // immutable
	codec Codec        // immutable

	further atomic.Int64 // bytes of further forms of messages

	mu     sync.Mutex
	o      Options
	place  uint64
	rooms  map[key]*room
	oldest *link
	newest *link
	links  int64
	bytes  int64
	stats  Stats

	flights   map[key]*Flight
	inherited []carriedRoom // of Import, until Settle
}

type key struct{ instance, room string }

// A room is the events of one, the oldest first. It is there while it has some, or
// while it is fresh.
type room struct {
	key
	links []*link
	since uint64 // the place from which it has what its members were sent
	fresh bool   // other servers have been asked since it has had members
	left  int64  // ms, when it had members last; 0: it has, or nobody said
}

// A link is an event in a room, and between those before and behind it in all rooms.
type link struct {
	room         *room
	item         *Item
	older, newer *link
}

// What things take, about, with what the allocator adds.
const (
	roomBytes = int64(unsafe.Sizeof(room{})) + 2*int64(unsafe.Sizeof(key{})) + 32
	linkBytes = int64(unsafe.Sizeof(link{})) + 2*8
	itemBytes = int64(unsafe.Sizeof(Item{})) + 8
	nameBytes = 16
)

// Stats are of one Store.
type Stats struct {
	Rooms, Events, Bytes int64 // gauges

	Kept    int64 // events that were added
	Evicted int64 // events of rooms that went for MaxBytes
	Expired int64 // and for TTL
	Asked   int64 // rooms of which other servers were asked
	Merged  int64 // events that these had
}

// New returns an empty store. Now is a clock in ms that does not step.
func New(o Options, codec Codec, now func() int64) *Store {
	return &Store{now: now, codec: codec, o: o, rooms: map[key]*room{}, flights: map[key]*Flight{}}
}

// Configure changes the options; what does not fit any more goes.
func (s *Store) Configure(o Options) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o = o
	for _, r := range s.rooms {
		for len(r.links) > o.Size {
			s.drop(r.links[0])
		}
	}
	s.sweep(1 << 30)
	s.squeeze()
}

// Place returns the place of the event that was added last.
func (s *Store) Place() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.place
}

// Add adds an event to rooms of an instance, whose names are not its own.
func (s *Store) Add(instance string, names []string, x *Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(sweepStep)
	s.place++
	x.Place, x.At = s.place, s.now()
	x.cost = x.size(&s.further)
	s.stats.Kept++
	s.bytes += x.cost
	for _, name := range names {
		r := s.open(instance, name)
		s.append(r, &link{room: r, item: x}, nil)
		if len(r.links) > s.o.Size {
			s.drop(r.links[0])
		}
	}
	s.squeeze()
}

// size says that the message is kept, and returns what the item takes.
func (x *Item) size(further *atomic.Int64) int64 {
	n := itemBytes + x.Message.Remember(further)
	for _, names := range [][]string{x.Rooms, x.Except} {
		for _, name := range names {
			n += nameBytes + int64(len(name)+7)&^7
		}
	}
	return n
}

// append puts a link behind those of its room, and before the one that is next in the
// order of all; nil: behind all.
func (s *Store) append(r *room, l, next *link) {
	r.links = append(r.links, l)
	s.links++
	s.bytes += linkBytes
	l.item.uses++
	l.newer = next
	if next == nil {
		l.older, s.newest = s.newest, l
	} else {
		l.older, next.older = next.older, l
	}
	if l.older == nil {
		s.oldest = l
	} else {
		l.older.newer = l
	}
}

// open returns a room, made if there is none.
func (s *Store) open(instance, name string) *room {
	k := key{instance, name}
	r := s.rooms[k]
	if r == nil {
		k = key{strings.Clone(instance), strings.Clone(name)} // they may be pieces of something large
		r = &room{key: k}
		s.rooms[k] = r
		s.bytes += r.size()
	}
	return r
}

func (r *room) size() int64 { return roomBytes + int64(len(r.instance)+7)&^7 + int64(len(r.room)+7)&^7 }

// drop forgets the oldest event of a room.
func (s *Store) drop(l *link) {
	r := l.room
	r.links[0] = nil
	r.links = r.links[1:]
	if len(r.links) == 0 {
		r.links = nil
	}
	s.unlink(l)
	s.shed(r)
}

// unlink takes a link out of the order of all, and what nobody has any more out of
// memory.
func (s *Store) unlink(l *link) {
	s.links--
	s.bytes -= linkBytes
	if l.older == nil {
		s.oldest = l.newer
	} else {
		l.older.newer = l.newer
	}
	if l.newer == nil {
		s.newest = l.older
	} else {
		l.newer.older = l.older
	}
	if l.item.uses--; l.item.uses == 0 {
		s.bytes -= l.item.cost
		l.item.Message.Forget()
	}
}

// shed forgets a room of which there is nothing to be known.
func (s *Store) shed(r *room) {
	if len(r.links) == 0 && !r.fresh {
		delete(s.rooms, r.key)
		s.bytes -= r.size()
		if len(s.rooms) == 0 {
			s.rooms = map[key]*room{} // maps do not shrink
		}
	}
}

// sweepStep is how many events are looked at for their age beside one that comes.
const sweepStep = 4

// sweep drops events that are too old, at most so many.
func (s *Store) sweep(most int) {
	if s.o.TTL <= 0 {
		return
	}
	for now := s.now(); most > 0 && s.oldest != nil && s.old(s.oldest.item, now); most-- {
		s.stats.Expired++
		s.drop(s.oldest.room.links[0])
	}
}

func (s *Store) old(x *Item, now int64) bool {
	return s.o.TTL > 0 && x.At+s.o.TTL.Milliseconds() <= now
}

// Sweep drops what is too old, some of it, and tells whether there may be more.
func (s *Store) Sweep() (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(256)
	return s.oldest != nil && s.old(s.oldest.item, s.now())
}

// squeeze drops the oldest events while there is more than may be.
func (s *Store) squeeze() {
	for s.oldest != nil && s.bytes+s.further.Load() > s.o.MaxBytes {
		s.stats.Evicted++
		s.drop(s.oldest.room.links[0])
	}
}

// Last appends to dst the last n events of a room that are up to a place, and all
// that are behind it.
func (s *Store) Last(dst []*Item, instance, name string, n int, mark uint64) []*Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rooms[key{instance, name}]
	if r == nil {
		return dst
	}
	for now := s.now(); len(r.links) > 0 && s.old(r.links[0].item, now); {
		s.stats.Expired++
		s.drop(r.links[0])
	}
	first := len(r.links)
	for ; first > 0; first-- {
		if x := r.links[first-1].item; x.Merged || x.Place <= mark {
			break
		}
	}
	for _, l := range r.links[max(0, first-n):] {
		dst = append(dst, l.item)
	}
	return dst
}

// InOrder puts events of several rooms into the order in which they came, each once.
func InOrder(all []*Item) []*Item {
	slices.SortStableFunc(all, func(x, y *Item) int {
		switch {
		case x.Place < y.Place:
			return -1
		case x.Place > y.Place:
			return 1
		}
		return 0
	})
	seen := map[*Item]bool{}
	return slices.DeleteFunc(all, func(x *Item) bool {
		if len(x.Rooms) == 0 {
			return false
		}
		again := seen[x]
		seen[x] = true
		return again
	})
}

// Stats returns what there is. It sweeps a little.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(256)
	st := s.stats
	st.Rooms, st.Events, st.Bytes = int64(len(s.rooms)), s.links, s.bytes+s.further.Load()
	return st
}
