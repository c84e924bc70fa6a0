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
// meanwhile do nothing. It then has reading paused (Conn.PauseRead) but when that
// goroutine waits for input, so that a peer that ends its direction behind what it
// has sent is not lost before that was looked at, and what comes is bounded.
//
// Options.OpeningTimeout bounds how long it takes, Options.MaxOpening how many are
// at it, Options.OpeningBytes what is kept of the bytes that Data leaves; what
// the Opener keeps itself is its own to bound.
type Opener interface {
	// Begin is called when c was accepted, or another Opener names this one as the
	// next. It returns what is told of c from then on; nil only if it has called
	// Opened or Refuse.
	Begin(c Conn) Opening
}

// An Opening is what an Opener has for one connection, or for all if it has
// nothing to remember.
type Opening interface {
	// Data is Handler.Data. What it leaves when it has called Opened goes to
	// Handler.Data, or to the next Opener.
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
	// then have consumed all that came: what is the link's, it gives to it. What
	// it has written does not go through the link, and is sent before there is one.
	// Nil: nothing changes.
	Link Link

	// Next is an Opener that has the connection now, in what is left of
	// OpeningTimeout, such as that of TLS behind a preface. Nil: it is open.
	Next Opener

	// Input is given to Handler.Data, or to Next, in front of what is left. It is
	// the loop's from now on.
	Input []byte
}

// openingConn is a connection that is not open yet.
type openingConn struct {
	side  Opening
	timer Timer
	late  func()
	done  *Opened // of one that is entering
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
	op := &openingConn{}
	if l.openings == nil {
		l.openings = map[uint32]*openingConn{}
	}
	l.openings[slot] = op
	op.late = func() { l.openingLate(slot, r) }
	l.Schedule(&op.timer, l.engine.o.OpeningTimeout, op.late)
	l.pass(slot, r, op, o)
}

// pass has an opener begin with a connection.
func (l *Loop) pass(slot uint32, r *record, op *openingConn, o Opener) {
	l.interest(slot, r, r.flow|wantRead)
	c := l.conn(slot)
	defer l.guard(c)
	op.side = o.Begin(c)
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
	n := l.openerData(l.conn(slot), l.openings[slot], b)
	if len(b)-n > l.engine.o.OpeningBytes && r.life == opening {
		l.engine.notes.Warn("a client that sent too much before its connection was open was closed", "option", "OpeningBytes",
			"most", l.engine.o.OpeningBytes, "addr", l.conn(slot).RemoteAddr())
		l.fail(slot, r, ErrOpeningTooLong)
		return len(b)
	}
	return n
}

func (l *Loop) openerData(c Conn, op *openingConn, b []byte) (n int) {
	defer l.guard(c)
	n = op.side.Data(c, b)
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

// Opened says that the opener is done: Handler.Open is called at the end of the
// step or, with a Link, of that in which what was written is sent. Pauses of reading
// end with it, and the tag is 0 again. It is for Openers, and false of a connection
// that has ended meanwhile or was opened before: o.Link is then the caller's.
func (c Conn) Opened(o Opened) bool {
	op := c.unopened()
	if op == nil {
		return false
	}
	op.done = &o
	c.l.turnTo(c.slot, c.record(), entering)
	return true
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

// errLeft is why a connection ends whose opener has not done its part.
var errLeft = errors.New("loop: an opener has left input that is its link's")

// enter goes on with a connection whose opener is done with it.
func (l *Loop) enter(slot uint32, r *record) {
	op := l.openings[slot]
	o := op.done
	if o.Link != nil && r.ext != 0 {
		switch e := l.exts[r.ext]; {
		case e.queued > 0: // must not go through the link
			r.due |= awaited
			return
		case e.carry != nil:
			l.fail(slot, r, errLeft)
			return
		}
	}
	op.done = nil
	r.flow &^= paused | holding | heldFull
	r.due &^= redeliver | drained | awaited
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
	r.tag = 0
	if o.Next != nil {
		r.become(opening)
		l.pass(slot, r, op, o.Next)
		l.begins(slot, r)
		return
	}
	l.forgetOpening(slot, op)
	l.tally.Openings.Opened++
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
	if op.side == nil {
		return
	}
	defer l.recovered()
	op.side.End(l.conn(slot), err)
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
