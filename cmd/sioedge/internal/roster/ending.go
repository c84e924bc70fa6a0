package roster

import (
	"time"
)

// handsOver tells whether sockets of this server may come back to others, which tell of
// them then.
func (b *book) handsOver() bool { return b.o.elsewhere && len(b.stream.keepers) > 0 }

// shut says that this server ends soon: nobody waits any more for what cannot happen then.
func (b *book) shut(now time.Time) {
	b.closing = true
	for _, e := range b.own.entries {
		if e.state == away && b.claimed[e] == nil && !(b.handsOver() && e.parting.recoverable && e.parting.tries == 0) {
			b.hasten(e)
		}
	}
	for key, l := range b.lost {
		if l.done.IsZero() && !b.heldElsewhere(key) {
			b.absorb(l, now)
		}
	}
	for e, c := range b.claims { // who could answer has had the time, and nobody else knows of it
		if !c.since.IsZero() && now.Sub(c.since) >= 3*againEvery {
			b.giveUp(e, now)
		}
	}
}

// absorb makes the sockets of a lost server, of which no other has the ledger, this one's,
// whose ledger others have.
func (b *book) absorb(l *ledger, now time.Time) {
	p := b.peers.Get(l.node)
	sure := l.ended || p != nil && p.Run > l.run || len(b.stream.keepers) == 0 // that it is lost, or that nobody else can tell
	if !sure {
		return
	}
	l.active = true
	for sid, e := range l.entries {
		b.adopt(e, now)
		if e.is(removed|told) || b.own.entries[sid] != nil {
			continue
		}
		delete(l.entries, sid)
		l.open--
		e.home = b.own
		b.own.entries[sid] = e
		b.touch(e)
		if len(b.stream.keepers) == 0 && b.claimed[e] == nil && e.word == nothing {
			b.hasten(e)
		}
	}
	if l.open == 0 {
		b.close(l, now)
	}
}

// hasten has what an entry waits for be over.
func (b *book) hasten(e *entry) {
	b.unschedule(e)
	e.state = ready
	b.settle(e)
}

// untold counts the sockets that have left, and of which a backend is to be told before
// this server ends; left those that others have to tell of if it ends now.
func (b *book) untold() (n, left int) {
	for _, e := range b.own.entries {
		if e.state == present && b.handed || e.is(told) && e.state != present {
			continue
		}
		left++
		if e.sockets == 0 && (e.state == ready || e.word != nothing) {
			n++
		}
	}
	return n, left
}

// abandoned counts the sockets of lost servers of which nobody tells when this server
// ends: no other has their ledger, and they may not be lost after all.
func (b *book) abandoned() (n int) {
	for key, l := range b.lost {
		if l.done.IsZero() && !b.heldElsewhere(key) {
			n += l.open
		}
	}
	return n
}

// end says that this server ends. Those who keep its ledger tell what it has not told.
func (b *book) end() {
	if b.ended {
		return
	}
	if b.o.cluster {
		b.say(&message{Kind: bye})
	}
	b.ended = true
}

// isolated says that no other server can be heard, or hear: none is held to be lost for
// that.
func (b *book) isolated(now time.Time) { b.peers.Isolated(now) }
