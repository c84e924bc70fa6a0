package roster

import (
	"container/heap"
	"time"
)

// A state is where a socket is in its life.
type state uint8

const (
	present state = iota
	away          // waits until due: its client may come back, or the backend be there again
	ready         // has gone, which is to be told
)

// A word is what a backend is being told of a socket at this moment: one thing at a time,
// so that it hears them in order whichever way they take.
type word uint8

const (
	nothing word = iota
	hello        // connected
	goodbye      // disconnect
)

// Flags of an entry.
const (
	told     uint8 = 1 << iota // the backend has taken a disconnect of this generation from this server
	tried                      // it may have: from this server, or from another one
	moved                      // it came from another server
	claiming                   // it came from another server, which has not said yet what the backend knows
	known                      // of claiming: what the backend knows is known nevertheless
	removed                    // it is in no ledger any more
)

// An entry is a socket that a backend knows: on this server, or on another one that has
// told of it.
type entry struct {
	sid, user string
	place     *place
	home      *ledger
	parting   *parting // how it left; nil: it has not
	born      int64    // Unix ms
	due       int64    // Unix ms, of away
	lane      uint64   // of the backend's queue
	version   uint64   // of own: when it was changed
	gen       uint32   // how often its backend has heard that it has gone, and was not
	hop       uint32   // how often its client has taken it to another server
	index     int32    // in book.waiting; -1: it is not
	sockets   uint8    // that have come and not left: two while one takes over from the other
	state     state
	word      word
	flags     uint8
}

func (e *entry) is(flag uint8) bool { return e.flags&flag != 0 }

func (e *entry) set(flag uint8, on bool) {
	if e.flags &^= flag; on {
		e.flags |= flag
	}
}

// A parting is how a socket left.
type parting struct {
	reason      string
	rooms       []byte // what is said of them, as JSON members
	left        int64  // Unix ms
	recoverable bool
	tries       uint8 // to tell it
}

// A place is what many sockets have in common.
type place struct {
	placeKey
	names []string // of params, with their values: name, value, …
	refs  int
}

type placeKey struct {
	backend, route, namespace string
	params                    string
}

// A ledger is the sockets of a server.
type ledger struct {
	node    string
	run     int64
	entries map[string]*entry

	// What follows is of another server.
	stint     uint32    // how often that server was held to be lost, and was not
	epoch     uint64    // of what it tells: it begins anew with each
	have      uint64    // the version up to which it was heard
	since     time.Time // since when it is lost; zero: it is there
	ended     bool      // it has said that it ends
	active    bool      // this server tells of its sockets
	returning bool      // it was not lost, and is to hear what was told
	answered  bool      // of returning: it has said that it has heard
	forgot    bool      // what was told is not known any more
	saidNode  bool      // that it is lost was told
	open      int       // entries of which the backend has not taken a disconnect
	done      time.Time // when there were none any more
	asked     time.Time // when what was told was said the last time
}

func newLedger(node string, run int64) *ledger {
	return &ledger{node: node, run: run, entries: map[string]*entry{}}
}

// at returns the place of a key, made if there is none, with one more reference.
func (b *book) at(key placeKey, names []string) *place {
	p := b.places[key]
	if p == nil {
		p = &place{placeKey: key, names: names}
		b.places[key] = p
	}
	p.refs++
	return p
}

// unplace takes a reference to an entry's place back. What is being told of it needs it
// still.
func (b *book) unplace(e *entry) {
	if e.place.refs--; e.place.refs == 0 {
		delete(b.places, e.place.placeKey)
	}
}

// schedule has an entry wait.
func (b *book) schedule(e *entry, due int64) {
	e.state, e.due = away, due
	if e.index >= 0 {
		heap.Fix(&b.waiting, int(e.index))
	} else {
		heap.Push(&b.waiting, e)
	}
}

func (b *book) unschedule(e *entry) {
	if e.index >= 0 {
		heap.Remove(&b.waiting, int(e.index))
	}
}

// waiters is a heap of entries, by due.
type waiters []*entry

func (h waiters) Len() int           { return len(h) }
func (h waiters) Less(i, j int) bool { return h[i].due < h[j].due }
func (h waiters) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = int32(i), int32(j)
}

// Push appends x.
func (h *waiters) Push(x any) {
	e := x.(*entry)
	e.index = int32(len(*h))
	*h = append(*h, e)
}

// Pop takes the last one.
func (h *waiters) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	e.index = -1
	return e
}
