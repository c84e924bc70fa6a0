package roster

import (
	"time"
)

// maxAway bounds the disconnects that a backend is being told of at one time. The others
// wait here, where they cost little.
const maxAway = 1024

// A queue is the disconnects that a backend is to be told of.
type queue struct {
	all    []*entry // the oldest first; those that are not ready any more are passed over
	tokens float64
	filled time.Time
	away   int // that are being told
}

func (b *book) queue(backend string) *queue {
	q := b.queues[backend]
	if q == nil {
		q = &queue{}
		b.queues[backend] = q
	}
	return q
}

func (q *queue) push(e *entry) { q.all = append(q.all, e) }

// pump has disconnects told, as fast as the backend may be, and returns when there may be
// more.
func (b *book) pump(name string, q *queue, now time.Time) (next time.Time) {
	rate := float64(max(b.o.rate(name), 1))
	if q.filled.IsZero() {
		q.tokens = rate
	} else if d := now.Sub(q.filled).Seconds(); d > 0 {
		q.tokens = min(q.tokens+d*rate, rate) // a second's, at one time
	}
	q.filled = now
	for len(q.all) > 0 && q.away < maxAway {
		e := q.all[0]
		waits := !e.is(removed) && e.state == ready && e.word == nothing && !e.is(claiming|told) && b.claimed[e] == nil && (e.home == b.own || e.home.active)
		if waits && q.tokens < 1 {
			return now.Add(time.Duration((1-q.tokens)/rate*float64(time.Second)) + time.Millisecond)
		}
		q.all[0] = nil
		if q.all = q.all[1:]; len(q.all) == 0 {
			q.all = nil
		}
		if waits {
			q.tokens--
			q.away++
			b.bid(e)
		}
	}
	return time.Time{} // delivered goes on
}

// bid has a backend told that a socket has gone.
func (b *book) bid(e *entry) {
	e.word = goodbye
	e.flags |= tried
	b.tell(&telling{e: e, word: goodbye, gen: e.gen, place: e.place, sid: e.sid, user: e.user, lane: e.lane, born: e.born, at: e.parting.left, parting: *e.parting})
}

// greet has a backend told that a socket is there. A zero now: it came when it was born.
func (b *book) greet(e *entry, recovered bool, now time.Time) {
	e.word = hello
	b.connected++
	t := &telling{e: e, word: hello, gen: e.gen, place: e.place, sid: e.sid, user: e.user, lane: e.lane, born: e.born, recovered: recovered}
	if !now.IsZero() {
		t.at = now.UnixMilli()
	}
	b.tell(t)
}

// tell has a backend told of an entry.
func (b *book) tell(t *telling) {
	b.telling[t.e] = t
	b.out = append(b.out, effect{tell: t})
}

// greetStranger is greet for a socket that is not kept.
func (b *book) greetStranger(a *arrival, now time.Time) {
	b.connected++
	b.out = append(b.out, effect{tell: &telling{
		word: hello, place: &place{placeKey: a.at, names: a.names}, sid: a.sid, user: a.user, lane: a.lane, born: now.UnixMilli(), at: now.UnixMilli(), recovered: a.recovered,
	}})
}
