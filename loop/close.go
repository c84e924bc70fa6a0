package loop

import (
	"errors"
	"time"
)

// ErrExited is returned by Engine.Run when a handler or a task has called
// runtime.Goexit, which ends the loop that it was called on.
var ErrExited = errors.New("loop: runtime.Goexit was called on a loop")

// Errors given to Handler.Close.
var (
	ErrClosed    = errors.New("loop: closed")                // by Close, Abort or a shutdown; also returned by an Engine that has ended
	ErrMoved     = errors.New("loop: moved to another loop") // by Conn.Move: Open follows there
	ErrSlowPeer  = errors.New("loop: peer is too slow")      // it took nothing for SlowAfter
	ErrQueueFull = errors.New("loop: too much is queued")    // more than MaxOutbound
)

// admitted tells the handler of a connection.
func (l *Loop) admitted(slot uint32, r *record) {
	r.become(open)
	l.tally.Open++
	c := l.conn(slot)
	l.interest(slot, r, r.flow|wantRead)
	l.callOpen(c)
	if !c.Valid() {
		return
	}
	l.begins(slot, r)
	if l.draining {
		c.Close()
	}
}

// begins has what a connection brings with it looked at.
func (l *Loop) begins(slot uint32, r *record) {
	if r.ext != 0 {
		x := l.exts[r.ext]
		if x.carry != nil {
			l.deferFor(slot, r, redeliver)
		}
		if x.queued > 0 {
			l.markDirty(slot, r)
		}
		if x.link != nil {
			l.deferFor(slot, r, ready)
		}
	}
}

// interest tells the poller which of wantRead and wantWrite r waits for; other
// bits of want are ignored.
func (l *Loop) interest(slot uint32, r *record, want flow) {
	have := r.flow & interests
	if want &= interests; want == have {
		return
	}
	r.flow = r.flow&^interests | want
	if err := l.watch(slot, r, have, want); err != nil {
		l.fail(slot, r, err)
	}
}

// deferFor puts off what d says to the end of the step.
func (l *Loop) deferFor(slot uint32, r *record, d due) {
	r.due |= d
	if r.due&inDeferred == 0 {
		r.due |= inDeferred
		l.deferred = append(l.deferred, slot)
	}
}

// turnTo changes the life of r into one that has something to do at the end of
// the step.
func (l *Loop) turnTo(slot uint32, r *record, to life) {
	if r.life != to {
		r.become(to)
	}
	l.deferFor(slot, r, 0)
}

// fail ends the connection at the end of the step. The first reason counts.
func (l *Loop) fail(slot uint32, r *record, err error) {
	switch {
	case r.life.in(cutSet):
	case r.life.in(lingerSet):
		l.turnTo(slot, r, dropping)
	default:
		if e := l.extend(slot, r); e.err == nil {
			e.err = err
		}
		l.turnTo(slot, r, cutting)
	}
}

// settle does what was put off.
func (l *Loop) settle() {
	for i := 0; i < len(l.arrivals); i++ { // Open may bring more
		a := l.arrivals[i]
		l.arrivals[i] = arrival{}
		l.attach(a)
	}
	l.arrivals = l.arrivals[:0]
	all := l.deferred
	l.deferred = l.spare[:0]
	for _, slot := range all {
		if r := l.conns.At(slot); r.due&inDeferred != 0 {
			r.due &^= inDeferred
			l.settleOne(slot, r)
		}
	}
	l.spare = all[:0]
}

func (l *Loop) settleOne(slot uint32, r *record) {
	switch r.life {
	case cutting, dropping:
		last := l.lastWord(slot, r)
		l.tellClosed(slot, r)
		if last == nil {
			l.drop(slot, r)
			return
		}
		l.replace(slot, r, last)
		l.linger(slot, r, l.engine.o.SlowAfter)
		return
	case closing:
		l.tellClosed(slot, r)
		l.startLinger(slot, r)
		return
	case leaving:
		l.depart(slot, r)
		return
	case entering:
		l.enter(slot, r)
		return // what is due is deferred anew
	}
	if r.due&drained != 0 {
		r.due &^= drained
		if r.life == open {
			l.callDrained(l.conn(slot))
		}
	}
	// The handler may have closed or moved it, which has deferred it anew.
	if r.due&redeliver != 0 && r.life.in(readingSet) && !l.quiet {
		r.due &^= redeliver
		l.redeliver(slot, r)
	}
	if r.due&ready != 0 {
		r.due &^= ready
		if r.flow&linked != 0 && l.link(r).Blocked() { // it may be new here
			l.interest(slot, r, r.flow|wantWrite)
		}
		l.writable(slot)
		l.readable(slot)
	}
}

// tellClosed calls Handler.Close, or Opener.End, if that is still due, and makes
// every Conn that names this connection stale.
func (l *Loop) tellClosed(slot uint32, r *record) {
	if r.life.in(toldLives) {
		return
	}
	err := error(ErrClosed)
	if r.ext != 0 && l.exts[r.ext].err != nil {
		err = l.exts[r.ext].err
	}
	if op := l.openings[slot]; op != nil {
		l.endOpening(slot, op, err)
		l.conns.Expire(slot)
		return
	}
	l.callClose(l.conn(slot), err)
	l.conns.Expire(slot)
	l.tally.Open--
	if err == ErrMoved {
		l.tally.Moved++
		return
	}
	l.tally.Closed++
	l.tally.Closes.count(err)
}

// lingerer is what a connection needs while it closes gracefully.
type lingerer struct {
	timer  Timer
	expire func()
	until  int64 // ms on the loop's clock: not longer, whatever the peer takes; 0: as long as it takes some
}

// startLinger begins the end of a connection its handler has done with.
func (l *Loop) startLinger(slot uint32, r *record) {
	if r.life == cutting { // an Abort from within Close
		l.drop(slot, r)
		return
	}
	l.linger(slot, r, 0)
}

// linger has what is queued sent, and the peer waited for: for most at the longest, if
// that is not zero.
func (l *Loop) linger(slot uint32, r *record, most time.Duration) {
	r.flow &= interests | linked | peerEnded
	r.due &= listed
	r.become(flushing)
	queued := 0
	if r.ext != 0 {
		e := l.exts[r.ext]
		e.carry, e.err, e.to, e.last = nil, nil, nil, nil
		queued = e.queued
	}
	ended := r.flow&peerEnded != 0
	if queued == 0 && ended && r.flow&linked == 0 {
		l.drop(slot, r)
		return
	}
	e := l.extend(slot, r)
	e.linger = &lingerer{}
	e.linger.expire = func() { l.lingered(slot, r, e) }
	if most > 0 {
		e.linger.until = l.now + most.Milliseconds()
	}
	e.taken = unknown
	l.acknowledged(r, e) // from now on
	l.lingerOn(e)
	want := r.flow | wantRead
	if ended {
		want &^= wantRead
	}
	l.interest(slot, r, want)
	if queued == 0 {
		l.endOutput(slot, r)
	}
}

// lingered ends the wait of a closing connection, unless its peer is still taking
// what the kernel has.
func (l *Loop) lingered(slot uint32, r *record, e *ext) {
	if until := e.linger.until; l.acknowledged(r, e) && (until == 0 || l.now < until) {
		l.lingerOn(e)
		return
	}
	l.fail(slot, r, ErrClosed)
}

// lingerOn begins the wait for a closing connection's peer anew.
func (l *Loop) lingerOn(e *ext) {
	d := l.engine.o.LingerTimeout
	if until := e.linger.until; until != 0 {
		d = min(d, time.Duration(max(until-l.now, 0))*time.Millisecond)
	}
	l.Schedule(&e.linger.timer, d, e.linger.expire)
}

// endOutput closes our direction once everything is sent.
func (l *Loop) endOutput(slot uint32, r *record) {
	if r.life != flushing {
		return
	}
	if r.flow&linked != 0 && !l.linkEnded(slot, r) {
		return
	}
	if r.flow&peerEnded != 0 {
		l.fail(slot, r, ErrClosed)
		return
	}
	r.become(waiting)
	if l.shutdown(r) != 0 {
		l.fail(slot, r, ErrClosed)
		return
	}
	if e := l.exts[r.ext]; e.linger != nil {
		l.lingerOn(e)
	}
}

// drop closes the descriptor and frees the record. The handler knows already.
func (l *Loop) drop(slot uint32, r *record) {
	var x *ext
	if r.ext != 0 {
		e := l.exts[r.ext]
		if e.linger != nil {
			l.Cancel(&e.linger.timer)
		}
		l.uncount(e)
		if e.link != nil {
			x = &ext{link: e.link}
		}
		clear(e.queue)
		*e = ext{queue: e.queue[:0]}
		l.shed(r)
	}
	fd := r.fd
	l.release(slot, r, false)
	l.discard(fd, x)
}

// finishes asks the handler whether it closes the connection by itself.
func (l *Loop) finishes(slot uint32) (does bool) {
	f, ok := l.h.(Finisher)
	if !ok {
		return false
	}
	defer l.recovered()
	return f.Finish(l.conn(slot))
}

// closeSome closes a slice of all connections gracefully, or at once when the
// loop is ending.
func (l *Loop) closeSome() {
	for n := 0; n < closeSlice && l.closing > 0; n++ {
		l.closeSlot(l.closing)
		l.closing--
	}
}

func (l *Loop) closeSlot(slot uint32) {
	r := l.conns.At(slot)
	switch {
	case r.life == free:
	case l.ending || r.life.in(unopenedSet):
		l.fail(slot, r, ErrClosed)
	case r.life.in(livingSet) && !l.finishes(slot) && r.life.in(livingSet): // it may be detached there
		l.turnTo(slot, r, closing)
	}
}
