package loop

import (
	"errors"
	"net/netip"
	"time"
)

// Errors given to Opener.End.
var (
	ErrOpeningTimeout = errors.New("loop: not open within OpeningTimeout")
	ErrOpeningTooLong = errors.New("loop: more than OpeningBytes before it was open")
	ErrRefused        = errors.New("loop: refused by its opener") // by Conn.Refuse
)

// An Opener is what a listener's connections go through before the Handler knows
// them: it reads a preface, or runs a handshake, until Conn.Opened or Conn.Refuse.
// The Conn that it is given can be read, written and closed as the Handler's; Move
// and Detach refuse. An Opener is shared by all loops, and called on the
// connection's; it must not block. It may have a goroutine work and post back to
// Conn.Loop what came of it: Opened and Refuse of a connection that has ended
// meanwhile do nothing.
//
// Options.OpeningTimeout bounds how long it takes, Options.MaxOpening how many are
// at it, Options.OpeningBytes what is kept of the bytes that Data leaves; what
// the Opener keeps itself is its own to bound.
type Opener interface {
	// Begin is called when c was accepted.
	Begin(c Conn)

	// Data is Handler.Data. What it leaves when it, or somebody before, has
	// called Opened goes to Handler.Data.
	Data(c Conn, b []byte) (n int)

	// End is called when c ends before it was opened, and c is stale when it
	// returns: err is io.EOF, ErrClosed, ErrRefused, ErrOpeningTimeout,
	// ErrOpeningTooLong or the system's error.
	End(c Conn, err error)
}

// Opened is what an Opener has found.
type Opened struct {
	// Addr is what Conn.RemoteAddr answers from now on; zero: the kernel's.
	Addr netip.AddrPort

	// Link is what the connection's bytes go through from now on. The Opener must
	// then have consumed all that came: what is the link's, it gives to it. Nil:
	// the socket as it is.
	Link Link

	// Input is given to Handler.Data in front of what is left. It is the loop's
	// from now on.
	Input []byte
}

// openingConn is a connection that is not open yet.
type openingConn struct {
	opener Opener
	timer  Timer
	late   func()
	done   *Opened // it is to be opened at the end of the step
}

// admitOpening counts a connection that begins, if there may be one more.
func (l *Loop) admitOpening() bool {
	if l.engine.opening.Add(1) <= int64(l.engine.o.MaxOpening) {
		return true
	}
	l.engine.opening.Add(-1)
	l.tally.Openings.Full++
	l.engine.notes.Warn("a connection was closed at once: too many are not open yet", "option", "MaxOpening", "most", l.engine.o.MaxOpening)
	return false
}

// begun gives a connection to its opener.
func (l *Loop) begun(slot uint32, r *record, o Opener) {
	r.become(opening)
	op := &openingConn{opener: o}
	if l.openings == nil {
		l.openings = map[uint32]*openingConn{}
	}
	l.openings[slot] = op
	op.late = func() { l.openingLate(slot, r) }
	l.Schedule(&op.timer, l.engine.o.OpeningTimeout, op.late)
	l.interest(slot, r, r.flow|wantRead)
	c := l.conn(slot)
	defer l.guard(c)
	o.Begin(c)
}

func (l *Loop) openingLate(slot uint32, r *record) {
	l.engine.notes.Warn("a client that did not open its connection in time was closed", "option", "OpeningTimeout",
		"after", l.engine.o.OpeningTimeout, "addr", l.conn(slot).RemoteAddr())
	l.fail(slot, r, ErrOpeningTimeout)
}

// give gives b to whom it is for, and returns how many bytes were consumed.
func (l *Loop) give(slot uint32, r *record, b []byte) int {
	if r.life != opening {
		return l.callData(l.conn(slot), b)
	}
	op := l.openings[slot]
	if op.done != nil {
		return 0 // the handler's, which comes to it at the end of the step
	}
	n := l.openerData(l.conn(slot), op, b)
	if op.done == nil && len(b)-n > l.engine.o.OpeningBytes && r.life == opening {
		l.engine.notes.Warn("a client that sent too much before its connection was open was closed", "option", "OpeningBytes",
			"most", l.engine.o.OpeningBytes, "addr", l.conn(slot).RemoteAddr())
		l.fail(slot, r, ErrOpeningTooLong)
		return len(b)
	}
	return n
}

func (l *Loop) openerData(c Conn, op *openingConn, b []byte) (n int) {
	defer l.guard(c)
	n = op.opener.Data(c, b)
	if uint(n) > uint(len(b)) {
		n = 0
		panic("loop: an opener consumed what was not there")
	}
	return n
}

// unopened returns c's opening, nil if it is open, ending or stale.
func (c Conn) unopened() *openingConn {
	if r := c.living(); r != nil && r.life == opening {
		return c.l.openings[c.slot]
	}
	return nil
}

// Opened says that the connection is open: Handler.Open is called at the end of
// the step. It is for Openers.
func (c Conn) Opened(o Opened) {
	if op := c.unopened(); op != nil && op.done == nil {
		op.done = &o
		c.l.deferFor(c.slot, c.record(), 0)
	}
}

// Refuse closes a connection that is not open yet gracefully, as Close does, after
// answer was sent. why is a constant text, for the log: one line a while of each.
func (c Conn) Refuse(why string, answer []byte) {
	op := c.unopened()
	if op == nil {
		return
	}
	c.l.engine.notes.Warn("a client was refused before its connection was open: "+why, "addr", c.RemoteAddr())
	c.Write(answer)
	if r := c.living(); r != nil { // the write may have failed
		c.l.extend(c.slot, r).err = ErrRefused
		c.l.turnTo(c.slot, r, closing)
	}
}

// settleOpening opens a connection whose opener has said so.
func (l *Loop) settleOpening(slot uint32, r *record) {
	op := l.openings[slot]
	if op.done == nil {
		return
	}
	o := op.done
	l.forgetOpening(slot, op)
	l.tally.Openings.Opened++
	if o.Addr.IsValid() {
		l.addrs.set(slot, o.Addr)
	}
	if o.Link != nil {
		l.extend(slot, r).link = o.Link
		r.flow |= linked
	}
	if len(o.Input) > 0 {
		e := l.extend(slot, r)
		e.carry = append(o.Input[:len(o.Input):len(o.Input)], e.carry...)
	}
	r.due &^= redeliver
	l.admitted(slot, r)
}

// endOpening tells the opener that a connection has ended.
func (l *Loop) endOpening(slot uint32, op *openingConn, err error) {
	l.forgetOpening(slot, op)
	if op.done != nil && op.done.Link != nil {
		l.safely(op.done.Link.Close)
	}
	switch err {
	case ErrOpeningTimeout:
		l.tally.Openings.Late++
	case ErrOpeningTooLong:
		l.tally.Openings.TooLong++
	case ErrRefused:
		l.tally.Openings.Refused++
	default:
		l.tally.Openings.Ended++
	}
	defer l.recovered()
	op.opener.End(l.conn(slot), err)
}

func (l *Loop) forgetOpening(slot uint32, op *openingConn) {
	l.Cancel(&op.timer)
	delete(l.openings, slot)
	l.engine.opening.Add(-1)
}

// Default bounds of what is not open yet.
const (
	openingTimeout = 10 * time.Second
	openingBytes   = 16 << 10
)
