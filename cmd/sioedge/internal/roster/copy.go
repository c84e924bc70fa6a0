package roster

import (
	"math"
	"time"
)

const (
	maxHolds     = 64 // lost servers that are spoken of
	rememberTold = time.Hour
	speakOfDone  = 2 * time.Minute
	maxReturned  = 512 // sockets that one who returns is told of at one time
)

// A peer is another server, as it says.
type peer struct {
	holds map[life]hold
}

// A hold is what a server has of one that is lost.
type hold struct {
	Node string `json:"n"`
	Run  int64  `json:"r"`
	Have uint64 `json:"v"`
	Done bool   `json:"d,omitempty"`
}

// nodeLost is the reason of those whose server was lost, nodeEnded of those whose server
// ended before it could tell.
const (
	nodeLost  = "node_lost"
	nodeEnded = "server shutting down"
)

// begun notes a server that is heard for the first time, or anew after its end.
func (b *book) begun(name string, run int64, now time.Time) {
	b.vanished(name, run, now, false)
	b.unclaim(name, run, now)
	b.choose(name)
	b.remind()
	b.met = true
	if soon := b.beaten.Add(greetEvery); soon.Before(b.beat) {
		b.beat = soon
	}
}

// watch notes servers that have not been heard for too long.
func (b *book) watch(now time.Time) {
	for name, p := range b.peers.Silent(now, b.o.lost) {
		if !p.Gone {
			b.nodesLost++
		}
		b.peers.Forget(name)
		b.vanished(name, math.MaxInt64, now, false)
		b.unclaim(name, math.MaxInt64, now)
		b.choose("")
		b.remind()
	}
}

// vanished says that a server is not there any more, in a run before that one: this one
// speaks for it if no other does. Of one that was about to come back there may be two
// ledgers, of which the later counts.
func (b *book) vanished(name string, before int64, now time.Time, ended bool) {
	l, back := b.copies[name], b.returning[name]
	if back != nil && back.run < before {
		delete(b.returning, name)
		if l != nil && l.run == back.run && l.have > back.have {
			b.forget(back)
		} else {
			if l != nil && l.run == back.run {
				b.forget(l)
				delete(b.copies, name)
				l = nil
			}
			if back.answered { // its backends were told that it is back
				back.saidNode = false
				back.stint++
			}
			back.returning, back.answered = false, false
			b.lose(back, now, ended)
		}
	}
	if l != nil && l.run < before {
		delete(b.copies, name)
		b.lose(l, now, ended)
	}
}

// lose has this server speak for one that is lost, or has ended, if no other does.
func (b *book) lose(l *ledger, now time.Time, ended bool) {
	l.since, l.ended = now, ended
	l.open = 0
	for _, e := range l.entries {
		if !e.is(told) {
			l.open++
		}
		b.claimsStand(e, now)
	}
	if ended && l.open == 0 {
		b.forget(l)
		return
	}
	b.lost[life{l.node, l.run}] = l
	b.beat = now // the other keeper is told which version this one has
}

// forget ends a ledger of another server.
func (b *book) forget(l *ledger) {
	b.deactivate(l)
	for _, e := range l.entries {
		b.remove(e)
	}
}

// judge decides which of the keepers of lost servers tells.
func (b *book) judge(now time.Time) {
	for key, l := range b.lost {
		if !l.done.IsZero() {
			b.age(key, l, now)
			continue
		}
		if now.Sub(l.since) < grace {
			continue
		}
		better := false
		for name, p := range b.peers.All() {
			h, ok := p.Of.holds[key]
			switch {
			case !ok || p.Gone:
			case h.Done && h.Have >= l.have:
				b.close(l, now)
				better = true
			case h.Have > l.have || h.Have == l.have && score(l.node, name) > score(l.node, b.self):
				better = true
			}
		}
		switch {
		case better && l.active:
			b.deactivate(l)
		case !better && !l.active:
			b.activate(l, now)
		}
		if l.active && l.open == 0 && l.done.IsZero() {
			b.close(l, now)
		}
	}
}

// activate has this server tell of the sockets of a lost one.
func (b *book) activate(l *ledger, now time.Time) {
	l.active = true
	if !l.saidNode && !l.ended {
		l.saidNode = true
		b.out = append(b.out, effect{news: &news{node: l.node, state: "lost", id: nodeID("lost", l.node, l.run, l.stint)}})
	}
	for _, e := range l.entries {
		b.adopt(e, now)
	}
}

// heldElsewhere tells whether another server speaks for a lost one, if this one does not,
// and knows as much.
func (b *book) heldElsewhere(key life) bool {
	have := uint64(0)
	if l := b.lost[key]; l != nil {
		have = l.have
	}
	for _, p := range b.peers.All() {
		if h, ok := p.Of.holds[key]; ok && !p.Gone && h.Have >= have {
			return true
		}
	}
	return false
}

// isStale tells whether a socket has gone on to another server since, and what this server
// keeps of it is what the first one had.
func (b *book) isStale(e *entry) bool {
	for _, all := range []map[string]*ledger{b.copies, b.returning} {
		for _, l := range all {
			if x := l.entries[e.sid]; x != nil && e.before(x.gen, x.hop) {
				return true
			}
		}
	}
	for _, l := range b.lost {
		if x := l.entries[e.sid]; x != nil && e.before(x.gen, x.hop) {
			return true
		}
	}
	return false
}

// adopt has this server tell of a socket of a lost one, when its client cannot come back
// any more.
func (b *book) adopt(e *entry, now time.Time) {
	if e.parting == nil {
		left := e.home.since.UnixMilli()
		e.parting, e.due = &parting{reason: nodeLost, left: left}, 0
		if e.home.ended {
			e.parting.reason, e.parting.recoverable = nodeEnded, b.o.elsewhere
		}
		if e.parting.recoverable {
			e.due = left + (b.o.recovery + grace).Milliseconds()
		}
	}
	mine := b.own.entries[e.sid]
	switch {
	case e.is(told) || e.word != nothing:
	case mine != nil && mine.is(moved) && !mine.is(claiming) && b.claimed[mine] == nil: // and the lost server did not live to hear it
		b.tookOne(e, b.self, b.run, mine.next(), mine.hop)
	case b.isStale(e):
		b.remove(e)
	case b.claimed[e] != nil:
		b.settle(e)
	default:
		b.schedule(e, max(e.due, now.UnixMilli()))
	}
}

// deactivate leaves the sockets of a server to another one. What is being told is told.
func (b *book) deactivate(l *ledger) {
	l.active = false
	for _, e := range l.entries {
		b.unschedule(e)
		if e.state == ready {
			e.state = away
		}
	}
}

// close notes that everything was told of a lost server: by this one, or by the other
// keeper, which had as much.
func (b *book) close(l *ledger, now time.Time) {
	b.deactivate(l)
	l.done = now
	l.open = 0 // and stays it
	for _, e := range l.entries {
		e.set(tried, true)
	}
	b.beat = now
}

// age forgets what was told of a lost server, when nobody can want to know any more.
func (b *book) age(key life, l *ledger, now time.Time) {
	p := b.peers.Get(l.node)
	over := l.ended || p != nil && (p.Run > l.run || p.Gone) // it cannot come back
	d := now.Sub(l.done)
	switch {
	case over && d >= speakOfDone:
		delete(b.lost, key)
		b.forget(l)
	case d >= rememberTold && !l.forgot:
		b.forget(l)
		l.forgot = true
	}
}

// holds returns what this server has of lost ones.
func (b *book) holds(now time.Time) (all []hold) {
	for key, l := range b.lost {
		if (l.done.IsZero() || now.Sub(l.done) < speakOfDone) && len(all) < maxHolds {
			all = append(all, hold{key.node, key.run, l.have, !l.done.IsZero()})
		}
	}
	return all
}

// returned notes that a server was not lost. It is told what its backends were.
func (b *book) returned(l *ledger) {
	delete(b.lost, life{l.node, l.run})
	b.deactivate(l)
	if old := b.returning[l.node]; old != nil {
		b.forget(old)
	}
	l.returning = true
	b.returning[l.node] = l
	b.nodesBack++
	for _, e := range l.entries {
		delete(b.claimed, e)
	}
}

// tellReturned tells a server that was not lost of its sockets of which backends were
// told that they are gone, once the backends have it.
func (b *book) tellReturned(l *ledger, now time.Time) {
	if now.Sub(l.asked) < againEvery {
		return
	}
	m := &message{Kind: gone, To: l.node, Of: l.run, Stint: l.stint, All: l.forgot}
	waits := false
	for _, e := range l.entries {
		switch {
		case e.word != nothing:
			waits = true
		case e.is(told|tried) && len(m.SIDs) < maxReturned:
			m.SIDs, m.Gens = append(m.SIDs, e.sid), append(m.Gens, e.gen)
		case e.is(told | tried):
			waits = true
		}
	}
	if len(m.SIDs) == 0 && l.answered {
		if !waits {
			delete(b.returning, l.node)
			b.forget(l)
		}
		return
	}
	l.asked = now
	b.say(m)
}

// heardGone is told by a server that held this one to be lost.
func (b *book) heardGone(from string, m *message) {
	if m.To != b.self || m.Of != b.run {
		return
	}
	if m.Stint == b.stint {
		b.stint++
		b.out = append(b.out, effect{news: &news{node: b.self, state: "back", id: nodeID("back", b.self, b.run, m.Stint)}})
	}
	for i, sid := range m.SIDs {
		if e := b.own.entries[sid]; e != nil && e.gen == m.Gens[i] && !e.is(claiming) {
			e.set(tried, true)
			b.told++
			b.touch(e)
			b.settle(e)
		}
	}
	if m.All {
		for _, e := range b.own.entries {
			if e.state == present && !e.is(told|claiming) {
				e.set(tried, true)
				b.told++
				b.touch(e)
				b.settle(e)
			}
		}
	}
	b.restart(from)
	b.say(&message{Kind: heard, To: from, Of: m.Run, SIDs: m.SIDs})
}

// heardHeard is told by a server that has come back, and knows what was told.
func (b *book) heardHeard(from string, m *message) {
	l := b.returning[from]
	if m.To != b.self || m.Of != b.run || l == nil || l.run != m.Run {
		return
	}
	l.answered, l.forgot = true, false
	l.asked = time.Time{}
	for _, sid := range m.SIDs {
		if e := l.entries[sid]; e != nil && e.is(told|tried) {
			b.remove(e)
		}
	}
}

// announce tells backends of this server.
func (b *book) announce(state string) {
	b.out = append(b.out, effect{news: &news{node: b.self, state: state, id: nodeID(state, b.self, b.run, b.stint)}})
}
