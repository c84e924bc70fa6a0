// Package crossing knows which packets of clients may cross the end of their socket.
//
// When the server ends a socket, its client goes on sending to the namespace
// until it knows: an event, an acknowledgement or its own DISCONNECT crosses ours
// on the way. For what may be a round trip such packets are dropped; after that,
// as from the start, a packet for a namespace that was never joined is a
// violation. What is remembered for that is charged to the session's budget, and left
// out if there is no room in it.
package crossing

import (
	"slices"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/budget"
)

const (
	// endTime is how long packets may cross: for as long as a ping may take
	// there and back, with the default time-out of 20 s and some air.
	endTime = 30 * time.Second
	// maxEnds bounds the namespaces of one session that are remembered; the
	// oldest is forgotten for one more.
	maxEnds = 16
)

// Ends are what the server has ended on one loop, by session. They are owned by the
// loop, which all methods are called on; the zero value is empty.
type Ends struct {
	of    map[uint64][]end
	queue []look // at sessions in of, each once, by time
	timer loop.Timer
}

// A look is when it is looked at what is kept of a session.
type look struct {
	session uint64
	at      int64 // ms on the loop's clock
}

// Len returns how many sessions something is kept of.
func (c *Ends) Len() int { return len(c.of) }

type end struct {
	name    string // the instance's
	until   int64  // ms on the loop's clock
	account *budget.Account
}

// crossingBytes is what one takes beside its name, about: with the place of the
// session's.
const crossingBytes = 96

// release ends what is charged for it.
func (x end) release() { x.account.Release(crossingBytes + len(x.name)) }

// End notes that the server has ended a socket in a namespace.
func (c *Ends) End(l *loop.Loop, es eio.Session, name string) { c.end(l, es, name, endTime) }

func (c *Ends) end(l *loop.Loop, es eio.Session, name string, left time.Duration) {
	if c.of == nil {
		c.of = map[uint64][]end{}
	}
	session, until := es.Ref(), l.Now()+left.Milliseconds()
	all, known := c.of[session]
	if len(all) == maxEnds {
		all[0].release()
		all = append(all[:0], all[1:]...)
	}
	if account := es.Budget(); account.Spare(crossingBytes + len(name)) {
		all = append(all, end{name, until, account})
	}
	if c.of[session] = all; !known {
		c.queue = append(c.queue, look{session, until})
	}
	if !c.timer.Armed() {
		l.Schedule(&c.timer, endTime, func() { c.expire(l) })
	}
}

// Has tells whether a packet for a namespace may be one that crosses.
func (c *Ends) Has(l *loop.Loop, es eio.Session, name []byte) bool {
	for _, x := range c.of[es.Ref()] {
		if x.name == string(name) && x.until > l.Now() {
			return true
		}
	}
	return false
}

// Join notes that the client asks for a namespace: what comes behind that is meant
// for its new socket.
func (c *Ends) Join(es eio.Session, name string) {
	all := c.of[es.Ref()]
	if len(all) == 0 {
		return
	}
	c.of[es.Ref()] = slices.DeleteFunc(all, func(x end) bool {
		if x.name == name {
			x.release()
		}
		return x.name == name
	})
}

// A State is a namespace that the server has ended a socket in, and for how long packets
// for it may cross still.
type State struct {
	Name string        `cbor:"1,keyasint"`
	Left time.Duration `cbor:"2,keyasint"`
}

// State returns what is kept of a session.
func (c *Ends) State(l *loop.Loop, es eio.Session) (all []State) {
	if len(c.of) == 0 {
		return nil
	}
	for _, x := range c.of[es.Ref()] {
		if left := x.until - l.Now(); left > 0 {
			all = append(all, State{x.name, time.Duration(left) * time.Millisecond})
		}
	}
	return all
}

// Restore is for a session of which nothing is kept, with what there was of it elsewhere.
func (c *Ends) Restore(l *loop.Loop, es eio.Session, all []State) {
	for _, x := range all {
		c.end(l, es, x.Name, min(max(x.Left, 0), endTime))
	}
}

// Forget ends what is kept for a session that ends, and its budget with it; its place
// in the queue runs out.
func (c *Ends) Forget(es eio.Session) {
	if len(c.of) > 0 {
		delete(c.of, es.Ref())
	}
}

// expire forgets what is over.
func (c *Ends) expire(l *loop.Loop) {
	now, i := l.Now(), 0
	for ; i < len(c.queue) && c.queue[i].at <= now; i++ {
		all, ok := c.of[c.queue[i].session]
		switch {
		case !ok:
		case len(all) > 0 && all[len(all)-1].until > now:
			c.queue = append(c.queue, look{c.queue[i].session, all[len(all)-1].until})
		default:
			for _, x := range all {
				x.release()
			}
			delete(c.of, c.queue[i].session)
		}
	}
	if c.queue = c.queue[i:]; len(c.queue) == 0 {
		c.queue = nil
		return
	}
	l.Schedule(&c.timer, time.Duration(max(c.queue[0].at-now, 1000))*time.Millisecond, func() { c.expire(l) })
}
