package rooms

import "github.com/sioedge/sioedge/loop/histogram"

// A Spread says how broadcasts came to their recipients: those of which Broadcast.Since
// was set. It is plain data, of all the time before; that of several Locals is added.
type Spread struct {
	// Recipients are how many sockets each broadcast was for, of all loops together;
	// volatile messages that were dropped for some of them are counted like others.
	// Counted when the last has been visited, by the loop that has it. One that was for
	// nobody is not in it.
	Recipients histogram.Histogram
	// Waited are µs from Broadcast.Since until a loop began to visit the recipients that
	// it has, once a loop: what was sent to the first of them was sent then. What a socket
	// catches up with before that (Local.CatchUp) is not seen.
	Waited histogram.Histogram
	// Took are µs from Broadcast.Since until the last recipient of all loops had been
	// visited.
	Took histogram.Histogram
}

// Add adds what another Local has.
func (s *Spread) Add(o *Spread) {
	s.Recipients.Merge(&o.Recipients)
	s.Waited.Merge(&o.Waited)
	s.Took.Merge(&o.Took)
}

// Spread returns how the loop's broadcasts came to their recipients.
func (l *Local) Spread() Spread {
	l.own()
	return l.spread
}

// Measure sets the clock of Broadcast.Since: turn reads it as of the beginning of the
// loop's step, for nothing, and now as of the moment. Visited is told of each broadcast that
// has a Since and had recipients, on the loop that has visited the last of them; it must not
// call the Local. It is called once, before anything else; without it only recipients are
// counted.
func (l *Local) Measure(turn, now func() int64, visited func(b *Broadcast)) {
	l.turn, l.now, l.visited = turn, now, visited
}

// waited notes that the loop begins to visit a group.
func (l *Local) waited(g *group) {
	if l.turn == nil {
		return
	}
	turn := l.turn()
	for _, b := range g.run.Broadcasts {
		if b.Since != 0 {
			l.spread.Waited.Add(turn - b.Since)
		}
	}
}

// done says that the loop has visited its members of broadcasts, so many of each, and
// returns what they hold. What waits is counted down once for all of which it was the
// last loop.
func (l *Local) done(members int, all ...*Broadcast) (held int64) {
	var over int64
	for _, b := range all {
		held += b.cost()
		n, last := b.leave(members)
		if !last {
			continue
		}
		if over += b.cost(); b.Since == 0 || n == 0 {
			continue
		}
		l.spread.Recipients.Add(int64(n))
		if l.visited != nil {
			l.ended = append(l.ended, b.Since)
			l.visited(b)
		}
	}
	if over > 0 {
		l.dir.waiting.Add(-over)
	}
	return held
}

// took notes how long the broadcasts took that have ended in this step: one look at the
// clock is enough for all.
func (l *Local) took() {
	if len(l.ended) == 0 {
		return
	}
	now := l.now()
	for _, since := range l.ended {
		l.spread.Took.Add(now - since)
	}
	l.ended = l.ended[:0]
}
