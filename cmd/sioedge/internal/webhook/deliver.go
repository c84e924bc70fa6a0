package webhook

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
)

const (
	maxTries = 3 // of an event

	firstPause = 500 * time.Millisecond
	pauseRatio = 4
	maxPause   = 10 * time.Second
)

// pause returns how long to wait before a further try: longer each time, and by chance up
// to half of that less.
func pause(tries int) time.Duration {
	d := firstPause
	for ; tries > 1 && d < maxPause; tries-- {
		d *= pauseRatio
	}
	d = min(d, maxPause)
	return d - rand.N(d/2)
}

// deliver sends a batch until each of its items is told, or lost. It is false if lanes are
// to begin nothing: then the batch is in the lane again.
func (l *lane) deliver(x *batch) bool {
	b := l.b
	if d := time.Until(x.after); !x.after.IsZero() && d > 0 && !l.wait(nil, d) {
		return l.stop(x)
	}
	x.after = time.Time{}
	l.report(x)
	for {
		if b.expire(x); len(x.items) == 0 {
			return true
		}
		a, sent := l.send(x)
		if !sent {
			return l.stop(x)
		}
		if len(x.items) == 0 {
			return true // all were too late
		}
		before := len(x.items)
		if b.settle(x, &a); len(x.items) == 0 {
			return true
		}
		if treatments[a.outcome].split && before > 1 && len(x.items) > 1 {
			l.split(x)
		}
		if a.outcome == Refused || a.trial {
			continue // another part of it may be taken at once; or the breaker says when
		}
		d := max(pause(x.tries), a.wait)
		if x.after = time.Now().Add(d); !l.wait(nil, d) {
			return l.stop(x)
		}
		x.after = time.Time{}
	}
}

// stop gives a batch up if the backend is closed. Else lanes are to begin nothing, and it is
// put back.
func (l *lane) stop(x *batch) (done bool) {
	if isClosed(l.b.closed) {
		l.b.giveUp(x)
		return true
	}
	l.back(x)
	return false
}

// split leaves the first half of a batch in it; the other follows.
func (l *lane) split(x *batch) {
	y := newBatch(x.form, x.kind)
	y.trace, y.tries = x.trace, x.tries
	x.tailInto(y, (len(x.items)+1)/2)
	x.id = "" // it is another request, with the same items
	l.back(y)
}

// lookEvery is how often a lane that waits to try again looks for what it is too late for
// meanwhile.
const lookEvery = 250 * time.Millisecond

// wait waits for d, or until changed is closed, unless that is nil. It is false if the
// backend is closed, or nothing is to begin.
func (l *lane) wait(changed <-chan struct{}, d time.Duration) bool {
	stop, _ := l.b.halt.halted(l.urgent)
	t := time.NewTimer(min(d, lookEvery))
	defer t.Stop()
	for end := time.Now().Add(d); ; {
		select {
		case <-changed:
			return true
		case <-stop:
			return false
		case <-t.C:
		}
		left := time.Until(end)
		if left <= 0 {
			return true
		}
		l.sweep()
		t.Reset(min(left, lookEvery))
	}
}

// sweep drops those that it is too late for from what waits in the lane.
func (l *lane) sweep() {
	l.mu.Lock()
	var gone []item
	if l.dues > 0 {
		now := time.Now().UnixMilli()
		for _, x := range l.queue {
			if n := x.drop(func(it *item) bool { return it.due != 0 && it.due < now }); n != nil {
				gone = append(gone, n...)
			}
		}
		l.dues -= len(gone)
		l.queue = slices.DeleteFunc(l.queue, func(x *batch) bool { return len(x.items) == 0 })
	}
	l.mu.Unlock()
	for i := range gone {
		l.b.lose(&gone[i], Late)
	}
}

// send makes a request of a batch, in its turn and when the breaker allows it. Clients
// that wait to connect do not wait for that. Of a batch that all is too late of meanwhile,
// nothing is left. It is false if the backend is closed, or nothing is to begin.
func (l *lane) send(x *batch) (a answer, sent bool) {
	b := l.b
	stop, _ := b.halt.halted(l.urgent)
	for {
		if isClosed(stop) || !b.slots.take(l.urgent, stop) {
			return answer{}, false
		}
		if b.expire(x); len(x.items) == 0 { // it has waited
			b.slots.give()
			return answer{}, true
		}
		done, trial, changed, d := b.breaker.allow()
		if done != nil {
			a = l.request(x)
			a.trial = trial
			done(a.outcome)
			b.slots.give()
			return a, true
		}
		b.slots.give()
		if l.urgent {
			return answer{outcome: Shut}, true
		}
		if !l.wait(changed, d) {
			return answer{}, false
		}
	}
}

// request makes it.
func (l *lane) request(x *batch) answer {
	b, w := l.b, l.b.wire.Load()
	begin := time.Now()
	if x.id == "" {
		x.id = string(b.ids.append(nil, begin))
	}
	p := x.parcel()
	a := w.post(b.round.Load().ctx, p, x.patience(begin))
	x.unwrap()
	x.tries++
	b.count(l, x, len(p.body), &a, time.Since(begin))
	return a
}

// patience returns how long the answer to a batch can be of use: as long as that to one of
// its items.
func (x *batch) patience(now time.Time) time.Duration {
	latest := int64(0)
	for i := range x.items {
		due := x.items[i].due
		if due == 0 {
			return time.Hour // which the backend's timeout bounds
		}
		latest = max(latest, due)
	}
	return max(time.UnixMilli(latest).Sub(now), time.Millisecond)
}

// expire drops what it is too late for.
func (b *Backend) expire(x *batch) {
	now := time.Now().UnixMilli()
	until := now - b.own.Load().RetryFor.Milliseconds()
	late := func(it *item) Loss {
		switch {
		case it.call != nil && (it.call.left.Load() || it.socket.Gone()):
			return Left
		case it.due != 0 && it.due < now:
			return Late
		case it.lost == nil && kept(it.kind) && it.since < until:
			return TooOld
		}
		return 0
	}
	gone := x.drop(func(it *item) bool { return late(it) != 0 })
	for i := range gone {
		b.lose(&gone[i], late(&gone[i]))
	}
}

// kept tells whether a kind is told until it is known.
func kept(k action.Kind) bool { return k != action.Connect && k != action.Event && k != action.Refresh }

// settle does what the outcome of a request means for its items: those that are to be told
// again stay.
func (b *Backend) settle(x *batch, a *answer) {
	t := treatments[a.outcome]
	if t.taken {
		b.apply(x, a)
		x.keep(func(it *item) bool { b.told(it); return false })
		return
	}
	part := t.split && len(x.items) > 1 // which may be taken without another
	x.keep(func(it *item) bool {
		if !a.trial {
			it.tries++
		}
		again := false
		switch {
		case it.lost != nil || kept(it.kind):
			again = t.again || part
		case it.asks || it.call != nil: // somebody waits: one try, but for what it shared a request with
			again = part && (a.outcome == Refused || it.tries < maxTries)
		default:
			again = part && a.outcome == Refused || t.again && it.tries < maxTries
		}
		if !again {
			b.lose(it, lossOf(a.outcome))
		}
		return again
	})
}

// giveUp loses all of a batch: the backend is closed.
func (b *Backend) giveUp(x *batch) {
	x.keep(func(it *item) bool { b.lose(it, Stopped); return false })
}
