package loop

import (
	"io"

	"github.com/sioedge/sioedge/loop/class"
)

// Stats are counts since the engine was made, and gauges: Open, Queued, Held, Largest, Slow,
// Pooled, Entries, Mail, MailBytes, Deferred, Lag and Openings.Now. It is plain data: [Loop.Stats]
// returns one loop's, and Add makes the sum of several.
type Stats struct {
	Accepted     int64 // connections accepted by listeners
	Open         int64 // connections whose handler has not been told Close
	Closed       int64 // Handler.Close calls, except for moves: the sum of Closes
	Closes       Closes
	Openings     Openings
	Moved        int64 // connections that have gone to another loop
	BytesIn      int64
	BytesOut     int64 // taken by the kernel
	Writes       int64 // system calls that sent, or tried to
	Panics       int64 // recovered
	NoSlot       int64 // connections closed at once: their loop has no slot left
	AcceptPauses int64 // times a listener stopped for want of descriptors, or at MaxConns
	Lag          int64 // a gauge: ms that a loop was late by at worst, of late: Loop.Lag; of several loops, the worst
	Away         int64 // ms that loops were late by, in pieces of a second or more, which they took on themselves
	MailWaits    int64 // times that Admit had a goroutine wait
	Wakes        int64 // times that a loop was signalled by way of its descriptor, which takes system calls: by others, or by itself to go on; 0 of a Sim
	Queued       int64 // bytes queued and not yet taken by the kernel
	Held         int64 // bytes kept for them; shared ones count for each queue
	Entries      int64 // pieces that they are queued in
	Mail         int64 // messages that their loops have not taken out of their mailboxes
	MailBytes    int64 // what they take, about
	Deferred     int64 // connections with something to be done at the end of the step
	Turns        int64 // times that the loop went through what was ready, or timers: of the poller, or of a Sim
	Busy         int64 // ns in which it did, and did not wait: measured where waiting ends and begins
	Largest      int64 // a gauge: bytes held for the peer for which most were, in this minute and the last; of several loops, the largest
	Slow         int64 // a gauge: connections for which more than SoftOutbound is held, or was until a second ago
	Pooled       int64 // a gauge: bytes of buffers that loops keep for themselves

	// Traffic are the bytes of BytesIn and BytesOut by the kind of their connection: the
	// highest three bits of its Tag when they were read or sent.
	Traffic [8]Traffic

	Dropped class.Counts // messages that were dropped for slow peers, by their class: see Loop.Dropped
}

// Traffic is what was received and sent, in bytes.
type Traffic struct {
	In  int64 // received
	Out int64 // sent
}

// Add adds o to t.
func (t *Traffic) Add(o Traffic) {
	t.In += o.In
	t.Out += o.Out
}

// Closes are calls of Handler.Close by their reason.
type Closes struct {
	Ended    int64 // io.EOF: by the peer
	Handler  int64 // ErrClosed: by Conn.Close, Conn.Abort or a shutdown
	Slow     int64 // ErrSlowPeer
	Full     int64 // ErrQueueFull
	Failed   int64 // the system's errors: a reset, a time-out
	Panicked int64 // a panic of the handler
}

// Openings are connections of listeners with an Opener, by what became of them.
type Openings struct {
	Now     int64 // gauge: not open yet
	Opened  int64
	Refused int64 // by Conn.Refuse
	Late    int64 // not open within OpeningTimeout
	TooLong int64 // sent more than OpeningBytes
	Full    int64 // closed at once: as many as MaxOpening were there
	Ended   int64 // by their peer, the opener, a shutdown, or an error
}

// Add adds o to p.
func (p *Openings) Add(o Openings) {
	p.Now += o.Now
	p.Opened += o.Opened
	p.Refused += o.Refused
	p.Late += o.Late
	p.TooLong += o.TooLong
	p.Full += o.Full
	p.Ended += o.Ended
}

// Add adds o to s.
func (s *Stats) Add(o Stats) {
	s.Accepted += o.Accepted
	s.Open += o.Open
	s.Closed += o.Closed
	s.Closes.Add(o.Closes)
	s.Openings.Add(o.Openings)
	s.Moved += o.Moved
	s.BytesIn += o.BytesIn
	s.BytesOut += o.BytesOut
	s.Writes += o.Writes
	s.Panics += o.Panics
	s.NoSlot += o.NoSlot
	s.AcceptPauses += o.AcceptPauses
	s.Lag = max(s.Lag, o.Lag)
	s.Away += o.Away
	s.MailWaits += o.MailWaits
	s.Wakes += o.Wakes
	s.Queued += o.Queued
	s.Held += o.Held
	s.Entries += o.Entries
	s.Mail += o.Mail
	s.MailBytes += o.MailBytes
	s.Deferred += o.Deferred
	s.Turns += o.Turns
	s.Busy += o.Busy
	s.Largest = max(s.Largest, o.Largest)
	s.Slow += o.Slow
	s.Pooled += o.Pooled
	for i := range s.Traffic {
		s.Traffic[i].Add(o.Traffic[i])
	}
	s.Dropped.Add(o.Dropped)
}

// Add adds o to c.
func (c *Closes) Add(o Closes) {
	c.Ended += o.Ended
	c.Handler += o.Handler
	c.Slow += o.Slow
	c.Full += o.Full
	c.Failed += o.Failed
	c.Panicked += o.Panicked
}

// count counts a call of Handler.Close.
func (c *Closes) count(err error) {
	switch err {
	case io.EOF:
		c.Ended++
	case ErrClosed:
		c.Handler++
	case ErrSlowPeer:
		c.Slow++
	case ErrQueueFull:
		c.Full++
	default:
		if _, ok := err.(*panicError); ok {
			c.Panicked++
		} else {
			c.Failed++
		}
	}
}

// Stats returns what the loop has counted. It is for the loop only, and for
// what [Engine.Gather] calls.
func (l *Loop) Stats() Stats {
	l.owner.check()
	s := l.tally
	for _, t := range s.Traffic {
		s.BytesIn += t.In
		s.BytesOut += t.Out
	}
	s.Deferred = int64(len(l.deferred))
	s.Lag = l.Lag()
	s.Openings.Now = int64(len(l.openings))
	s.Largest = l.largest.Of((l.engine.nowMs() - l.away) / largestWindow)
	s.Slow = int64(len(l.slow))
	s.Pooled = int64(cap(l.rbuf)+cap(l.arena)+cap(l.burst)) + l.batch.size()
	l.addMailbox(&s)
	return s
}

// Traffic returns the bytes that the loop has received and sent, as Stats has them.
func (l *Loop) Traffic() [8]Traffic {
	l.owner.check()
	return l.tally.Traffic
}

// addMailbox sets in s what belongs to no loop.
func (l *Loop) addMailbox(s *Stats) {
	s.MailWaits, s.Wakes = l.mailWaits.Load(), l.wake.sent.Load()
	s.Mail, s.MailBytes = l.mailbox.waiting()
}

// Stats returns the sums over all loops, by a Gather of at most 100 ms. Of a loop
// that has not come by then, what it said the last time that it did is in it; see
// Engine.Late. Any goroutine may call it.
func (e *Engine) Stats() Stats {
	all, _ := e.latest.Gather(e, (*Loop).Stats)
	var sum Stats
	for i, l := range e.loops {
		l.addMailbox(&all[i]) // what others see, also of a loop that is stuck
		sum.Add(all[i])
	}
	return sum
}
