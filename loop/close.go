package loop

import "errors"

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

// noFD marks a record that is not in use. Zero would be a descriptor, and -1
// and below are a Sim's peers.
const noFD = -1 << 31

// An arrival is a connection on its way to this loop: accepted elsewhere,
// adopted, or moved.
type arrival struct {
	fd int32
	x  *ext // queued output and carried input; may be nil
}

// Run puts the connection on the list of arrivals. It does not open it, because
// a mailbox is also drained by Ask, within a handler.
func (a arrival) Run(l *Loop) { l.arrivals = append(l.arrivals, a) }

// attach opens a connection. fd counts already as live.
func (l *Loop) attach(fd int32, x *ext) {
	if l.ending {
		l.discard(fd)
		return
	}
	slot, ok := l.conns.Alloc()
	if !ok {
		l.tally.NoSlot++
		l.engine.notes.Warn("a connection was closed at once: its loop has no slot left", "loop", l.index)
		l.discard(fd)
		return
	}
	r := l.conns.At(slot)
	*r = record{fd: fd, flags: flagOpen}
	if x != nil {
		r.ext = l.newExt()
		l.exts[r.ext] = x
		l.tally.Queued += int64(x.queued)
		l.tally.Held += int64(x.held)
		l.tally.Entries += int64(x.entries())
		x.since, x.taken = l.now, unknown
	}
	if fd >= 0 {
		l.engine.fds.set(int(fd), uint32(l.index)<<24|slot)
	}
	l.tally.Open++
	c := l.conn(slot)
	l.interest(slot, r, r.flags|flagR)
	l.callOpen(c)
	if !c.Valid() {
		return
	}
	if x != nil && x.carry != nil {
		l.deferFor(slot, r, flagRedeliver)
	}
	if x != nil && x.queued > 0 {
		l.markDirty(slot, r)
	}
	if l.draining {
		c.Close()
	}
}

// interest tells the poller which of flagR and flagW r waits for; other bits
// of want are ignored.
func (l *Loop) interest(slot uint32, r *record, want flags) {
	have := r.flags & (flagR | flagW)
	if want &= flagR | flagW; want == have {
		return
	}
	r.flags = r.flags&^(flagR|flagW) | want
	if err := l.watch(slot, r.fd, have, want); err != nil {
		l.fail(slot, r, err)
	}
}

// deferFor puts off what f says to the end of the step.
func (l *Loop) deferFor(slot uint32, r *record, f flags) {
	r.flags |= f
	if r.flags&flagDeferred == 0 {
		r.flags |= flagDeferred
		l.deferred = append(l.deferred, slot)
	}
}

// fail ends the connection at the end of the step. The first reason counts.
func (l *Loop) fail(slot uint32, r *record, err error) {
	if r.flags&flagAbort != 0 {
		return
	}
	if r.flags&flagLinger == 0 {
		if e := l.extend(slot, r); e.err == nil {
			e.err = err
		}
	}
	l.deferFor(slot, r, flagAbort)
}

// settle does what was put off.
func (l *Loop) settle() {
	for i := 0; i < len(l.arrivals); i++ { // Open may bring more
		a := l.arrivals[i]
		l.arrivals[i] = arrival{}
		l.attach(a.fd, a.x)
	}
	l.arrivals = l.arrivals[:0]
	now := l.deferred
	l.deferred = l.spare[:0]
	for _, slot := range now {
		if r := l.conns.At(slot); r.flags&flagDeferred != 0 {
			r.flags &^= flagDeferred
			l.settleOne(slot, r)
		}
	}
	l.spare = now[:0]
}

func (l *Loop) settleOne(slot uint32, r *record) {
	c := l.conn(slot)
	switch {
	case r.flags&flagAbort != 0:
		l.tellClosed(slot, r)
		l.drop(slot, r)
		return
	case r.flags&flagClose != 0:
		l.tellClosed(slot, r)
		l.startLinger(slot, r)
		return
	case r.flags&flagMove != 0:
		l.depart(slot, r)
		return
	}
	if r.flags&flagDrained != 0 {
		r.flags &^= flagDrained
		l.callDrained(c)
	}
	// The handler may have closed or moved c, which has deferred it anew.
	if r.flags&flagRedeliver != 0 && r.flags&(flagsDying|flagMove) == 0 {
		r.flags &^= flagRedeliver
		l.redeliver(slot, r)
	}
}

// tellClosed calls Handler.Close, if that is still due, and makes every Conn
// that names this connection stale.
func (l *Loop) tellClosed(slot uint32, r *record) {
	if r.flags&flagOpen == 0 {
		return
	}
	err := error(ErrClosed)
	if r.ext != 0 && l.exts[r.ext].err != nil {
		err = l.exts[r.ext].err
	}
	l.callClose(l.conn(slot), err)
	r.flags &^= flagOpen
	l.conns.Expire(slot)
	l.tally.Open--
	if err == ErrMoved {
		l.tally.Moved++
		return
	}
	l.tally.Closed++
	l.tally.Closes.count(err)
}

// depart hands the connection to another loop.
func (l *Loop) depart(slot uint32, r *record) {
	if r.flags&flagDirty != 0 { // by another connection's Close in this turn
		l.flush(slot)
		if r.flags&flagAbort != 0 {
			return // deferred anew
		}
	}
	x := l.exts[r.ext]
	r.flags |= flagClose // nothing more may be written here
	x.err = ErrMoved
	l.tellClosed(slot, r)
	if r.flags&flagAbort != 0 { // an Abort from within Close
		l.drop(slot, r)
		return
	}
	to := x.to
	x.to, x.err = nil, nil
	l.uncount(x)
	l.exts[r.ext], r.ext = nil, l.recycle(r.ext)
	fd := l.unwatch(r)
	l.release(slot, r)
	if !to.Post(arrival{fd, x}) {
		l.discard(fd)
	}
}

// uncount takes what is queued in x off the gauges: it goes elsewhere, or is
// dropped.
func (l *Loop) uncount(x *ext) {
	l.tally.Queued -= int64(x.queued)
	l.tally.Held -= int64(x.held)
	l.tally.Entries -= int64(x.entries())
}

// recycle gives an index of exts back and returns 0.
func (l *Loop) recycle(i uint32) uint32 {
	l.freeExts = append(l.freeExts, i)
	return 0
}

// lingerer is what a connection needs while it closes gracefully.
type lingerer struct {
	timer  Timer
	expire func()
}

// startLinger begins the end of a connection its handler has done with.
func (l *Loop) startLinger(slot uint32, r *record) {
	r.flags = r.flags&(flagR|flagW|flagEOF|flagDirty|flagDeferred|flagAbort|flagSlow) | flagLinger
	if r.flags&flagAbort != 0 { // an Abort from within Close
		l.drop(slot, r)
		return
	}
	queued := 0
	if r.ext != 0 {
		e := l.exts[r.ext]
		e.carry, e.err, e.to = nil, nil, nil
		queued = e.queued
	}
	if queued == 0 && r.flags&flagEOF != 0 {
		l.drop(slot, r)
		return
	}
	e := l.extend(slot, r)
	e.linger = &lingerer{}
	e.linger.expire = func() { l.lingered(slot, r, e) }
	e.taken = unknown
	l.acknowledged(r, e) // from now on
	l.Schedule(&e.linger.timer, l.engine.o.LingerTimeout, e.linger.expire)
	want := r.flags | flagR
	if r.flags&flagEOF != 0 {
		want &^= flagR
	}
	l.interest(slot, r, want)
	if queued == 0 {
		l.endOutput(slot, r)
	}
}

// lingered ends the wait of a closing connection, unless its peer is still taking
// what the kernel has.
func (l *Loop) lingered(slot uint32, r *record, e *ext) {
	if l.acknowledged(r, e) {
		l.Schedule(&e.linger.timer, l.engine.o.LingerTimeout, e.linger.expire)
		return
	}
	l.fail(slot, r, ErrClosed)
}

// endOutput closes our direction once everything is sent.
func (l *Loop) endOutput(slot uint32, r *record) {
	if r.flags&flagShut != 0 {
		return
	}
	if r.flags&flagEOF != 0 {
		l.fail(slot, r, ErrClosed)
		return
	}
	r.flags |= flagShut
	if l.shutdown(r.fd) != 0 {
		l.fail(slot, r, ErrClosed)
		return
	}
	if e := l.exts[r.ext]; e.linger != nil {
		l.Schedule(&e.linger.timer, l.engine.o.LingerTimeout, e.linger.expire)
	}
}

// drop closes the descriptor and frees the record. The handler knows already.
func (l *Loop) drop(slot uint32, r *record) {
	if r.ext != 0 {
		e := l.exts[r.ext]
		if e.linger != nil {
			l.Cancel(&e.linger.timer)
		}
		l.uncount(e)
		clear(e.queue)
		*e = ext{queue: e.queue[:0]}
		l.shed(r)
	}
	fd := r.fd
	l.release(slot, r)
	l.discard(fd)
}

// release frees the record of a connection whose descriptor lives on.
func (l *Loop) release(slot uint32, r *record) {
	if r.fd >= 0 {
		l.engine.fds.set(int(r.fd), 0) // before the number can be used again
	}
	*r = record{fd: noFD}
	l.conns.Free(slot)
}

// discard closes a descriptor that no record has.
func (l *Loop) discard(fd int32) {
	if fd >= 0 {
		closeFD(fd)
	} else {
		l.sim.hangUp(fd)
	}
	l.engine.gone()
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
	case r.fd == noFD:
	case l.ending:
		l.fail(slot, r, ErrClosed)
	case r.flags&(flagsDying|flagLinger) == 0 && !l.finishes(slot):
		l.deferFor(slot, r, flagClose)
	}
}
