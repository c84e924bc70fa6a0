package roster

import (
	"maps"
	"math"
	"time"
)

// pressClaims says claims, and gives up those that nobody answers.
func (b *book) pressClaims(now time.Time) {
	var m *message
	press := func(e *entry, hop uint32) {
		if m == nil {
			m = &message{Kind: claims}
		}
		if m.SIDs, m.Hops = append(m.SIDs, e.sid), append(m.Hops, hop); len(m.SIDs) == maxNamed {
			b.sayClaim(m)
			m = nil
		}
	}
	for e, c := range b.claims {
		if c.since.IsZero() {
			c.since = now
		}
		switch {
		case now.Sub(c.since) >= b.patience():
			b.giveUp(e, now)
		case now.Sub(c.said) >= againEvery:
			c.said = now
			press(e, math.MaxUint32)
		}
	}
	for e, t := range b.takings { // those who have it do not tell of it meanwhile
		if now.Sub(t.pressed) >= againEvery && !b.replicated(e) && !e.is(removed) && b.claimed[e] == nil {
			t.pressed = now
			press(e, e.hop)
		}
	}
	if m != nil {
		b.sayClaim(m)
	}
}

// giveUp is for a claim that nobody answers. What is not known is told anew.
func (b *book) giveUp(e *entry, now time.Time) {
	if !e.is(known) {
		e.gen = uint32(now.Unix())
		b.claimsLost++
		b.again++
		e.flags &^= claiming
		b.greet(e, true, now)
	}
	b.resolve(e, now)
}

// sayClaim tells everybody, this server too, which may keep the ledgers of lost ones.
func (b *book) sayClaim(m *message) {
	b.say(m)
	for i, sid := range m.SIDs {
		b.claimLost(sid, m.Hops[i], b.self, b.run)
	}
}

// unclaim gives what a server has claimed back, which is lost, or has begun anew.
func (b *book) unclaim(name string, run int64, now time.Time) {
	for e, c := range maps.Clone(b.claimed) {
		if c.by != name || c.run >= run {
			continue
		}
		b.giveBack(e, now)
	}
}

// giveBack is for a socket that nobody claims any more. Its client may have left the other
// server just now.
func (b *book) giveBack(e *entry, now time.Time) {
	delete(b.claimed, e)
	b.touch(e)
	until := now.Add(b.o.recovery + grace).UnixMilli()
	switch {
	case e.home == b.own && e.state == away:
		b.schedule(e, max(e.due, until))
	case e.home == b.own:
		b.settle(e)
	default:
		if e.due = max(e.due, until); e.home.active {
			b.adopt(e, now)
		}
	}
}
