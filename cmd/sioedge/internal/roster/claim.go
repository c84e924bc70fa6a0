package roster

import (
	"math"
	"time"
)

// A client that recovers its socket on another server takes it from the ledger of the
// one that it left: the new server says that it claims it (claim), the old one says what
// the backend knows (answer), and forgets the socket when the new one says that it has it,
// and that its keepers do (took). Each is said again until there is an answer. Until it
// has one the new server tells the backend nothing of the socket, and the old one, from
// when it has answered, nothing either, unless the new one is lost.

const (
	againEvery    = time.Second            // what has not been answered is said again
	reconcileTime = 100 * time.Millisecond // at most so often it is looked at
	maxNamed      = 512                    // sockets that are named at one time
	tookTimes     = 3
)

// A claim is to a socket that another server may know.
type claim struct {
	since time.Time // when it was heard of the last time
	said  time.Time
}

// A claimed socket is one that another server has claimed.
type claimed struct {
	by      string
	run     int64
	yielded bool
	said    time.Time
}

// A taking is to be confirmed to the server that had the socket.
type taking struct {
	pressed time.Time
	said    time.Time
	times   int
}

// patience is how long a claim may go without being heard of: so long it takes until a
// server that is lost is known to be, and others speak for it.
func (b *book) patience() time.Duration { return b.o.lost + 5*grace }

// heardClaim is told by a server whose clients have recovered.
func (b *book) heardClaim(from string, m *message, now time.Time) {
	for i, sid := range m.SIDs {
		hop := m.Hops[i]
		if e := b.own.entries[sid]; e != nil && e.hop < hop {
			b.claimOf(e, from, m.Run)
		}
		if e := b.own.entries[sid]; e != nil && hop != math.MaxUint32 {
			b.outbid(e, e.next(), hop)
		}
		b.claimLost(sid, hop, from, m.Run)
		for _, l := range b.copies { // their servers answer, unless they are lost already
			if e := l.entries[sid]; e != nil && l.node != from && e.hop < hop {
				b.claimed[e] = &claimed{by: from, run: m.Run, said: now}
			}
		}
	}
}

// claimsStand says that a server is lost: claims to its sockets are answered here, those
// that still stand.
func (b *book) claimsStand(e *entry, now time.Time) {
	c := b.claimed[e]
	if c == nil {
		return
	}
	if !c.said.IsZero() && now.Sub(c.said) > 3*againEvery {
		delete(b.claimed, e)
	}
	c.said = time.Time{}
}

// claimLost is for what is in the ledgers of lost servers.
func (b *book) claimLost(sid string, hop uint32, from string, run int64) {
	for _, l := range b.lost {
		if e := l.entries[sid]; e != nil && (l.node != from || l.run < run) && e.hop < hop {
			b.claimOf(e, from, run)
		}
	}
}

func (b *book) claimOf(e *entry, from string, run int64) {
	switch {
	case e.is(claiming) && e.sockets > 0:
		a := b.answer(from, run)
		a.Waits = append(a.Waits, e.sid)
		return
	case e.is(claiming): // whoever has it answers the other server
		a := b.answer(from, run)
		a.None = append(a.None, e.sid)
		b.remove(e)
		return
	case e.sockets > 0: // it is about to leave here, or has come back here since
		a := b.answer(from, run)
		a.Here = append(a.Here, e.sid)
		return
	}
	if c := b.claimed[e]; c == nil || c.by != from || c.run != run {
		b.claimed[e] = &claimed{by: from, run: run}
		e.flags |= moved
		b.touch(e)
	}
	b.claimed[e].said = time.Time{}
	b.settle(e)
	if c := b.claimed[e]; !c.yielded {
		a := b.answer(from, run)
		a.Waits = append(a.Waits, e.sid)
	}
}

// yield says what a backend knows of a socket to the server that has it now. It is said
// again until that says that it has it.
func (b *book) yield(e *entry, c *claimed) {
	c.yielded = true
	b.unschedule(e)
	a := b.answer(c.by, c.run)
	a.Yields = append(a.Yields, yielded{SID: e.sid, Gen: e.gen, Hop: e.hop, Told: e.is(told | tried), Born: e.born})
}

// answer returns what will be said to a server that has claimed sockets.
func (b *book) answer(to string, run int64) *message {
	key := life{to, run}
	a := b.answers[key]
	if a == nil || len(a.Waits)+len(a.Here)+len(a.None)+len(a.Not)+len(a.Yields) >= maxNamed {
		if a != nil {
			b.full = append(b.full, a)
		}
		if b.answers == nil {
			b.answers = map[life]*message{}
		}
		a = &message{Kind: answers, To: to, Of: run}
		b.answers[key] = a
	}
	return a
}

// takeAnswers returns what is to be said to servers that have claimed sockets. This one
// may be among them, since it may keep the ledgers of others: it has heard it then.
func (b *book) takeAnswers() (all []*message) {
	said := b.full
	for _, a := range b.answers {
		said = append(said, a)
	}
	b.answers, b.full = nil, nil // hearing one may bring others, which are said the next time
	for _, a := range said {
		if a.Run = b.run; a.To == b.self {
			b.heardAnswer(b.self, a, b.reconciled)
		} else {
			all = append(all, a)
		}
	}
	return all
}

// heardAnswer is told by a server that had what this one claims.
func (b *book) heardAnswer(from string, m *message, now time.Time) {
	if m.To != b.self || m.Of != b.run {
		return
	}
	for _, sid := range m.Waits {
		if e := b.own.entries[sid]; e != nil && b.claims[e] != nil {
			b.claims[e].since = now
		}
	}
	for _, sid := range m.Here {
		if e := b.own.entries[sid]; e != nil && e.is(claiming) {
			if b.claims[e].since = now; e.sockets == 0 {
				b.remove(e)
			}
		}
	}
	for _, sid := range m.None {
		if e := b.own.entries[sid]; e != nil && e.is(claiming) && e.is(known) {
			b.resolve(e, now)
		}
	}
	for _, sid := range m.Not {
		for _, l := range b.ledgersOf(sid) {
			if e := l.entries[sid]; b.claimed[e] != nil && b.claimed[e].by == from {
				b.giveBack(e, now)
			}
		}
	}
	for i := range m.Yields {
		b.heardYield(from, m, &m.Yields[i], now)
	}
}

// ledgersOf returns those of which this server may tell that have a socket.
func (b *book) ledgersOf(sid string) (all []*ledger) {
	if b.own.entries[sid] != nil {
		all = append(all, b.own)
	}
	for _, l := range b.lost {
		if l.entries[sid] != nil {
			all = append(all, l)
		}
	}
	return all
}

// heardYield is told of a socket that this server has claimed.
func (b *book) heardYield(from string, m *message, y *yielded, now time.Time) {
	e := b.own.entries[y.SID]
	switch {
	case e == nil: // it has a claim no more, or has told of the socket's end already: then it is told twice
		a := b.answer(from, m.Run)
		a.Not = append(a.Not, y.SID)
		return
	case e.is(claiming):
		if y.Gen > e.gen || y.Gen == e.gen && y.Told && !e.is(told) {
			e.gen = y.Gen
			e.set(told, false)
			e.set(tried, y.Told)
		}
		e.born = min(e.born, y.Born)
		e.hop = max(e.hop, y.Hop)
		b.recovered++
		b.resolve(e, now)
	case y.Gen > e.gen: // the other server has told anew that it is there
		e.gen = y.Gen
		e.set(told, false)
		e.set(tried, y.Told)
		e.hop = max(e.hop, y.Hop+1)
		b.touch(e)
		b.settle(e)
	case y.Told && y.Gen == e.gen && !e.is(told|tried):
		e.set(tried, true)
		b.settle(e)
		fallthrough
	default:
		e.hop = max(e.hop, y.Hop+1)
	}
	if b.replicated(e) {
		b.confirm(e.sid, e.next(), e.hop)
	}
}

// resolve ends a claim: what the backend knows is known.
func (b *book) resolve(e *entry, now time.Time) {
	delete(b.claims, e)
	if e.hop++; e.is(known) {
		e.hop++ // the other server may have it, with one
	}
	e.flags = e.flags&^(claiming|known) | moved
	b.takings[e] = &taking{said: now.Add(-againEvery)}
	b.touch(e)
	b.settle(e)
}

// next returns the generation that was not told yet.
func (e *entry) next() uint32 {
	if e.is(told | tried) {
		return e.gen + 1
	}
	return e.gen
}

// confirm says that this server has a socket, of which that generation was not told yet.
func (b *book) confirm(sid string, gen, hop uint32) {
	if b.took == nil {
		b.took = &message{Kind: took}
	}
	b.took.SIDs, b.took.Gens, b.took.Hops = append(b.took.SIDs, sid), append(b.took.Gens, gen), append(b.took.Hops, hop)
	if m := b.took; len(m.SIDs) >= maxNamed {
		b.took = nil
		b.sayTook(m)
	}
}

// sayTook tells everybody, this server too, which may keep ledgers of others.
func (b *book) sayTook(m *message) {
	b.say(m)
	b.heardTook(b.self, m)
}

// heardTook is told by a server that has sockets which were others'.
func (b *book) heardTook(from string, m *message) {
	for i, sid := range m.SIDs {
		gen, hop := m.Gens[i], m.Hops[i]
		if e := b.own.entries[sid]; e != nil && !e.is(claiming) && from != b.self {
			if e.sockets == 0 {
				b.tookOne(e, from, m.Run, gen, hop)
			} else {
				b.outbid(e, gen, hop)
			}
		}
		for _, l := range b.copies {
			if e := l.entries[sid]; e != nil && l.node != from && e.before(gen, hop) {
				b.remove(e)
			}
		}
		for _, l := range b.lost {
			if e := l.entries[sid]; e != nil && (l.node != from || l.run < m.Run) {
				b.tookOne(e, from, m.Run, gen, hop)
			}
		}
	}
}

// outbid is for a socket whose client is here, of which another server says that it has it,
// with that generation and hop: both have it from a third one, and that one has not heard
// where it went. Who has the client is right.
func (b *book) outbid(e *entry, gen, hop uint32) {
	next := e.next()
	if e.sockets == 0 || e.is(claiming) || next > gen || next == gen && e.hop > hop {
		return
	}
	if gen > next { // the backend was told that it has gone
		e.gen = gen - 1
		e.set(told, false)
		e.set(tried, true)
	}
	e.hop = max(e.hop, hop) + 1
	e.flags |= moved
	b.takings[e] = &taking{}
	b.touch(e)
	b.settle(e)
}

// before tells whether a server knows more of a socket, which has that generation and hop
// there.
func (e *entry) before(gen, hop uint32) bool { return gen > e.gen || gen == e.gen && hop > e.hop }

// tookOne forgets a socket that another server has, if that knows what was told.
func (b *book) tookOne(e *entry, from string, run int64, gen, hop uint32) {
	switch c := b.claimed[e]; {
	case !e.before(gen, hop):
	case gen > e.gen || !e.is(told|tried):
		b.remove(e)
	case c == nil || c.by != from || c.run != run:
		b.claimed[e] = &claimed{by: from, run: run}
		b.settle(e)
	}
}

// remind says of all sockets that came from other servers that this one has them: a server
// is lost that may have had them, and those who keep its ledger may not know.
func (b *book) remind() {
	for _, e := range b.own.entries {
		if e.is(moved) && !e.is(claiming) && b.claimed[e] == nil {
			b.takings[e] = &taking{}
		}
	}
}

// reconcile says again what has not been answered.
func (b *book) reconcile(now time.Time, sooner func(time.Time)) {
	if len(b.claims)+len(b.claimed)+len(b.takings)+len(b.returning)+len(b.lost) == 0 {
		return
	}
	if now.Sub(b.reconciled) < reconcileTime {
		sooner(b.reconciled.Add(reconcileTime))
		return
	}
	b.reconciled = now
	sooner(now.Add(reconcileTime))
	b.pressClaims(now)
	for e, c := range b.claimed {
		if c.yielded && now.Sub(c.said) >= againEvery {
			if !c.said.IsZero() {
				b.yield(e, c)
			}
			c.said = now
		}
	}
	for e, t := range b.takings {
		switch {
		case e.is(removed) || b.claimed[e] != nil:
			delete(b.takings, e)
		case now.Sub(t.said) >= againEvery && b.replicated(e):
			b.confirm(e.sid, e.next(), e.hop)
			if t.said, t.times = now, t.times+1; t.times == tookTimes {
				delete(b.takings, e)
			}
		}
	}
	b.judge(now)
	for _, l := range b.returning {
		b.tellReturned(l, now)
	}
}
