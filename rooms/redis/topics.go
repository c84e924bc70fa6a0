package redis

import (
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// A kind of subscription.
type kind uint8

const (
	exact   kind = iota // SUBSCRIBE
	pattern             // PSUBSCRIBE
	sharded             // SSUBSCRIBE
)

// A topic is what can be subscribed to: a channel or a pattern.
type topic struct {
	kind kind
	name string
}

// A subscription is one that is wanted, or was until a moment ago. It is wanted as
// long as it has owners: namespaces, rooms and requests, of which several may have
// the same channel.
type subscription struct {
	topic
	line    *line // the connection that it belongs to
	owners  int
	until   time.Time // without owners: when it may end
	lingers bool      // it is in subscriptions.lingering
	alone   bool      // it gets a command of its own: one with others was refused
	refusal error     // why Redis does not let us, since it was ready; nil: it does
	moves   int       // from node to node, since it was ready
	sent    bool      // on this connection
	ready   bool      // confirmed on this connection

	changed chan struct{} // closed when ready, refusal or owners have changed; nil: nobody waits
}

func (x *subscription) wanted() bool { return x.owners > 0 }

// denied tells whether Redis does not let us have it.
func (x *subscription) denied() bool { return x.wanted() && !x.ready && x.refusal != nil }

// tell wakes who waits for the subscription.
func (x *subscription) tell() {
	if x.changed != nil {
		close(x.changed)
		x.changed = nil
	}
}

// A line is a connection for subscriptions: the only one, or that to a node of a
// Redis Cluster.
type line struct {
	// Immutable.
	node string // address; "" is the only one, or what no node has
	wake chan struct{}

	// Guarded by subscriptions.mu.
	changed map[topic]struct{} // to be looked at
	due     int                // subscriptions that have been asked for, and are not confirmed
	conn    rueidis.CoreClient // nil: there is none
}

// subscriptions are those of a broker.
//
// Who owns one asks under a lock of its own that is held for a few instructions,
// since rooms do so under the locks of theirs: what takes time is done under mu,
// by whoever takes that next.
type subscriptions struct {
	// Immutable after init.
	first  *line // that of no node
	most   int   // subscriptions at one time
	linger time.Duration

	asking sync.Mutex
	asked  map[topic]int // by how many there are more owners, or fewer; guarded by asking

	mu        sync.Mutex
	all       map[topic]*subscription
	parked    map[topic]int // owners of those that are one too many
	lines     map[string]*line
	slots     []string    // the nodes of a Redis Cluster, by slot; nil without one
	live      bool        // there is a connection, or it is known which there must be
	ready     int         // subscriptions in place
	due       int         // wanted, and not in place
	denied    int         // of these, those that Redis does not let us have
	example   topic       // one of them
	lingering delay       // without owners
	later     delay       // that a node of a Redis Cluster has not taken
	retried   delay       // refused
	over      func(topic) // is told of what is one too many, with mu held
}

const (
	// tick is how often subscriptions are looked at without a reason.
	tick = 250 * time.Millisecond
	// refusedPause is how long one that Redis has refused is not asked for again.
	refusedPause = 5 * time.Second
	// mostLingering is how many subscriptions without owners are kept at one time, so
	// that a client which joins and leaves one room after the other does not fill the
	// memory, here and in Redis.
	mostLingering = 8192
)

func (s *subscriptions) init(most int, linger time.Duration) {
	s.most, s.linger = most, linger
	s.all, s.lines, s.parked = map[topic]*subscription{}, map[string]*line{}, map[topic]int{}
	s.lingering.pause, s.later.pause, s.retried.pause = linger, tick, refusedPause
	s.over = func(topic) {}
	s.first = s.line("")
}

// line returns the line of a node. s.mu is held.
func (s *subscriptions) line(node string) *line {
	l := s.lines[node]
	if l == nil {
		l = &line{node: node, wake: make(chan struct{}, 1), changed: map[topic]struct{}{}}
		s.lines[node] = l
	}
	return l
}

// count adds n times what a subscription counts for. It is called before and after
// each change, with s.mu held.
func (s *subscriptions) count(x *subscription, n int) {
	switch {
	case x.ready:
		s.ready += n
		return
	case x.wanted():
		s.due += n
		if x.refusal != nil {
			s.denied += n
		}
	}
	if x.sent {
		x.line.due += n
	}
}

// add says that a subscription has one owner more.
func (s *subscriptions) add(t topic) { s.ask(t, 1) }

// drop says that it has one fewer. Without any it stays for a while, as rooms come
// and go.
func (s *subscriptions) drop(t topic) { s.ask(t, -1) }

func (s *subscriptions) ask(t topic, n int) {
	s.asking.Lock()
	if s.asked == nil {
		s.asked = map[topic]int{}
	}
	if s.asked[t] += n; s.asked[t] == 0 {
		delete(s.asked, t)
	}
	s.asking.Unlock()
	s.first.poke()
}

// lock locks s.mu, and does what has been asked for.
func (s *subscriptions) lock() {
	s.mu.Lock()
	s.asking.Lock()
	asked := s.asked
	s.asked = nil
	s.asking.Unlock()
	for t, n := range asked {
		s.own(t, n)
	}
}

// own gives a subscription so many owners more. s.mu is held.
func (s *subscriptions) own(t topic, n int) {
	x := s.all[t]
	if x == nil {
		if n += s.parked[t]; n <= 0 {
			delete(s.parked, t)
			return
		}
		if len(s.all) >= s.most {
			if s.parked[t] = n; s.over != nil {
				s.over(t)
			}
			return
		}
		delete(s.parked, t)
		x = &subscription{topic: t, line: s.line(s.place(t.name))}
		s.all[t] = x
	}
	s.count(x, -1)
	before := x.wanted()
	x.owners = max(x.owners+n, 0)
	s.count(x, 1)
	switch {
	case x.wanted() == before:
		return
	case x.wanted() && !x.sent:
		s.touch(x)
	case !x.wanted():
		now := time.Now()
		if x.until = now.Add(s.linger); !x.lingers {
			x.lingers = true
			s.lingering.put(t, now)
			s.crowd()
		}
	}
	x.tell()
}

// crowd ends the oldest of what lingers when it is too much. s.mu is held.
func (s *subscriptions) crowd() {
	for len(s.lingering.queue) > mostLingering {
		t, _ := s.lingering.take(s.lingering.queue[0].at)
		if x := s.all[t]; x != nil {
			if x.lingers = false; !x.wanted() {
				x.until = time.Time{}
				s.touch(x)
			}
		}
	}
}

// touch has a subscription looked at. s.mu is held.
func (s *subscriptions) touch(x *subscription) {
	x.line.changed[x.topic] = struct{}{}
	x.line.poke()
}

// poke wakes who keeps the line.
func (l *line) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// elapse has those looked at whose time has come. s.mu is held.
func (s *subscriptions) elapse(now time.Time) {
	for t, ok := s.lingering.take(now); ok; t, ok = s.lingering.take(now) {
		x := s.all[t]
		if x == nil {
			continue
		}
		switch x.lingers = false; {
		case x.wanted():
		case now.Before(x.until): // it has had owners since
			x.lingers = true
			s.lingering.put(t, now)
		default:
			s.touch(x)
		}
	}
	for _, d := range []*delay{&s.later, &s.retried} {
		for t, ok := d.take(now); ok; t, ok = d.take(now) {
			if x := s.all[t]; x != nil {
				s.touch(x)
			}
		}
	}
}
