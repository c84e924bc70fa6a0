package loop

import "sync/atomic"

// Stats are counts since the engine was made, and gauges: Open, Queued and Held.
type Stats struct {
	Accepted     int64 // connections accepted by listeners
	Open         int64 // connections whose handler has not been told Close
	Closed       int64 // Handler.Close calls, except for moves
	BytesIn      int64
	BytesOut     int64 // taken by the kernel
	Writes       int64 // system calls that sent, or tried to
	Panics       int64 // recovered
	NoSlot       int64 // connections closed at once: their loop has no slot left
	AcceptPauses int64 // times a listener stopped for want of descriptors, or at MaxConns
	SlowClosed   int64 // connections closed with ErrSlowPeer
	QueueClosed  int64 // connections closed with ErrQueueFull
	Away         int64 // ms that loops were late by, in pieces of a second or more, which they took on themselves
	MailWaits    int64 // times that Admit had a goroutine wait
	Queued       int64 // bytes queued and not yet taken by the kernel
	Held         int64 // bytes kept for them; shared ones count for each queue
}

// tally is what a loop counts for itself. It is copied into counters, which any
// goroutine may read, at the end of each step: an atomic operation for each
// send would be a good part of what user space adds to it.
type tally struct {
	accepted, opened, closed, moved, bytesIn, bytesOut, writes, panics, noSlot, acceptPauses, slowClosed, queueClosed, queued, held, away int64
}

type counters struct {
	accepted, opened, closed, moved, bytesIn, bytesOut, writes, panics, noSlot, acceptPauses, slowClosed, queueClosed, queued, held, away atomic.Int64
}

// publish copies what has changed.
func (l *Loop) publish() {
	t, c := &l.tally, &l.counters
	for _, x := range [...]struct {
		to *atomic.Int64
		v  int64
	}{
		{&c.accepted, t.accepted}, {&c.opened, t.opened}, {&c.closed, t.closed}, {&c.moved, t.moved},
		{&c.bytesIn, t.bytesIn}, {&c.bytesOut, t.bytesOut}, {&c.writes, t.writes}, {&c.panics, t.panics},
		{&c.noSlot, t.noSlot}, {&c.acceptPauses, t.acceptPauses}, {&c.slowClosed, t.slowClosed},
		{&c.queueClosed, t.queueClosed}, {&c.queued, t.queued}, {&c.held, t.held},
		{&c.away, t.away},
	} {
		if x.to.Load() != x.v {
			x.to.Store(x.v)
		}
	}
}

// Stats returns the sums over all loops, as they were at the end of each loop's
// last step. Any goroutine may call it.
func (e *Engine) Stats() Stats {
	var s Stats
	for _, l := range e.loops {
		c := &l.counters
		closed, moved := c.closed.Load(), c.moved.Load()
		s.Accepted += c.accepted.Load()
		s.Open += c.opened.Load() - closed - moved
		s.Closed += closed
		s.BytesIn += c.bytesIn.Load()
		s.BytesOut += c.bytesOut.Load()
		s.Writes += c.writes.Load()
		s.Panics += c.panics.Load()
		s.NoSlot += c.noSlot.Load()
		s.AcceptPauses += c.acceptPauses.Load()
		s.SlowClosed += c.slowClosed.Load()
		s.QueueClosed += c.queueClosed.Load()
		s.Away += c.away.Load()
		s.Held += c.held.Load()
		s.Queued += c.queued.Load()
	}
	s.MailWaits = e.mailWaits.Load()
	return s
}
