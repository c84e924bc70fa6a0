package loop

import "io"

// Stats are counts since the engine was made, and gauges: Open, Queued, Held,
// Entries, Mail, MailBytes, Deferred and Openings.Now. It is plain data: [Loop.Stats]
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
	Away         int64 // ms that loops were late by, in pieces of a second or more, which they took on themselves
	MailWaits    int64 // times that Admit had a goroutine wait
	Queued       int64 // bytes queued and not yet taken by the kernel
	Held         int64 // bytes kept for them; shared ones count for each queue
	Entries      int64 // pieces that they are queued in
	Mail         int64 // messages that their loops have not taken out of their mailboxes
	MailBytes    int64 // what they take, about
	Deferred     int64 // connections with something to be done at the end of the step
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
	s.Away += o.Away
	s.MailWaits += o.MailWaits
	s.Queued += o.Queued
	s.Held += o.Held
	s.Entries += o.Entries
	s.Mail += o.Mail
	s.MailBytes += o.MailBytes
	s.Deferred += o.Deferred
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
	s.Deferred = int64(len(l.deferred))
	s.Openings.Now = int64(len(l.openings))
	l.addMailbox(&s)
	return s
}

// addMailbox sets in s what belongs to no loop.
func (l *Loop) addMailbox(s *Stats) {
	s.MailWaits = l.mailWaits.Load()
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
