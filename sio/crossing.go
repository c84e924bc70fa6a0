package sio

import (
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
)

// When the server ends a socket, its client goes on sending to the namespace
// until it knows: an event, an acknowledgement or its own DISCONNECT crosses ours
// on the way. For what may be a round trip such packets are dropped; after that,
// as from the start, a packet for a namespace that was never joined is a
// violation.

const (
	// crossingTime is how long packets may cross: for as long as a ping may take
	// there and back, with the default time-out of 20 s and some air.
	crossingTime = 30 * time.Second
	// maxCrossings bounds the namespaces of one session that are remembered; the
	// oldest is forgotten for one more.
	maxCrossings = 16
)

// crossings are what the server has ended, by session. Owned by the loop.
type crossings struct {
	of    map[uint64][]crossing
	queue []arrival // sessions in of, each once, by the time of looking at them
	timer loop.Timer
}

type crossing struct {
	name  string // the instance's
	until int64  // ms on the loop's clock
}

// end notes that the server has ended a socket in a namespace.
func (c *crossings) end(sh *shard, es eio.Session, name string) {
	if c.of == nil {
		c.of = map[uint64][]crossing{}
	}
	session, until := es.Ref(), sh.loop.Now()+crossingTime.Milliseconds()
	all, known := c.of[session]
	if !known {
		c.queue = append(c.queue, arrival{session, until})
	}
	if len(all) == maxCrossings {
		all = append(all[:0], all[1:]...)
	}
	c.of[session] = append(all, crossing{name, until})
	if !c.timer.Armed() {
		sh.loop.Schedule(&c.timer, crossingTime, func() { c.expire(sh) })
	}
}

// has tells whether a packet for a namespace may be one that crosses.
func (c *crossings) has(sh *shard, es eio.Session, name []byte) bool {
	for _, x := range c.of[es.Ref()] {
		if x.name == string(name) && x.until > sh.loop.Now() {
			return true
		}
	}
	return false
}

// join notes that the client asks for a namespace: what comes behind that is meant
// for its new socket.
func (c *crossings) join(es eio.Session, name string) {
	all := c.of[es.Ref()]
	kept := all[:0]
	for _, x := range all {
		if x.name != name {
			kept = append(kept, x)
		}
	}
	if len(all) > 0 {
		clear(all[len(kept):])
		c.of[es.Ref()] = kept
	}
}

// forget ends what is kept for a session; its place in the queue runs out.
func (c *crossings) forget(es eio.Session) {
	if len(c.of) > 0 {
		delete(c.of, es.Ref())
	}
}

// expire forgets what is over.
func (c *crossings) expire(sh *shard) {
	now, i := sh.loop.Now(), 0
	for ; i < len(c.queue) && c.queue[i].at <= now; i++ {
		all, ok := c.of[c.queue[i].session]
		switch {
		case !ok:
		case len(all) > 0 && all[len(all)-1].until > now:
			c.queue = append(c.queue, arrival{c.queue[i].session, all[len(all)-1].until})
		default:
			delete(c.of, c.queue[i].session)
		}
	}
	if c.queue = c.queue[i:]; len(c.queue) == 0 {
		c.queue = nil
		return
	}
	sh.loop.Schedule(&c.timer, time.Duration(max(c.queue[0].at-now, 1000))*time.Millisecond, func() { c.expire(sh) })
}
