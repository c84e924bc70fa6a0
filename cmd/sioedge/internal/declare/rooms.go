package declare

import (
	"sync"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/rooms/value"
)

const (
	roomDelay = 5 * time.Second
	mostRooms = 64 << 10 // changes that wait
)

// A landlord tells backends of rooms that this server has sockets in, and of those that it
// has none in any more: of what lasts for a while.
type landlord struct {
	delay time.Duration // set before the server serves

	mu      sync.Mutex // held for one look, and while a backend takes note
	waiting map[room]*change
	queue   []*change // in order of when they are due; those that are undone among them
	timer   *time.Timer
	closed  bool
	still   bool // nothing is told for a while: see carry.go
	handed  bool // another process tells
}

// A room is one of an instance of a namespace.
type room struct {
	sp              *space
	namespace, name string
}

// A change is a room that is there now, or is not.
type change struct {
	room
	there  bool
	at     time.Time
	undone bool // by another one: nothing is told of either
}

// changed notes that a room has its first socket, or has lost its last one.
func (l *landlord) changed(r room, there bool) {
	if b, _ := r.backend(); b == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.handed {
		return
	}
	if c := l.waiting[r]; c != nil && c.there != there {
		c.undone = true
		delete(l.waiting, r)
		return
	}
	c := &change{room: r, there: there, at: time.Now()}
	if l.closed {
		c.tell()
		return
	}
	if l.waiting == nil {
		l.waiting = map[room]*change{}
	}
	l.waiting[r] = c
	l.queue = append(l.queue, c)
	if len(l.queue) > mostRooms && !l.still {
		l.shift()
	}
	l.arm()
}

// arm has due be called. l.mu is held.
func (l *landlord) arm() {
	if l.timer == nil && !l.still && len(l.queue) > 0 {
		l.timer = time.AfterFunc(max(l.delay-time.Since(l.queue[0].at), 0), l.due)
	}
}

// shift tells of what waits for longest. l.mu is held.
func (l *landlord) shift() {
	c := l.queue[0]
	l.queue[0], l.queue = nil, l.queue[1:]
	if !c.undone {
		delete(l.waiting, c.room)
		c.tell()
	}
}

// due tells of what has waited for long enough.
func (l *landlord) due() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = nil
	if l.still {
		return
	}
	for len(l.queue) > 0 {
		if left := l.delay - time.Since(l.queue[0].at); left > 0 {
			l.timer = time.AfterFunc(left, l.due)
			return
		}
		l.shift()
	}
	l.queue, l.waiting = nil, nil // a map does not shrink
}

// close tells of what waits, and of what comes at once.
func (l *landlord) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	for len(l.queue) > 0 {
		l.shift()
	}
}

// backend returns who wants to know of a room, nil for nobody.
func (r *room) backend() (action.Backend, *rules) {
	rules := r.sp.rules.Load()
	if !rules.hooks.Has(action.Room) {
		return nil, rules
	}
	return r.sp.backend(rules.backend), rules
}

// tell has the backend told.
func (c *change) tell() {
	b, rules := c.backend()
	if b == nil {
		return
	}
	state := "deleted"
	if c.there {
		state = "created"
	}
	p := action.Peer{Lane: action.LaneOfText(c.namespace + "#" + c.name), Namespace: c.namespace, Route: rules.name.text, Time: c.at}
	b.Tell(action.Room, p, func(dst []byte) []byte {
		dst = value.AppendJSONText(append(dst, `,"room":`...), c.name)
		return append(append(append(dst, `,"state":"`...), state...), '"')
	})
}
