package loop

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/sioedge/sioedge/loop/handle"
)

// ErrStays is returned, wrapped with the reason, by Conn.Detach for what cannot
// leave its engine.
var ErrStays = errors.New("loop: the connection cannot leave its engine")

// A ConnState is a connection that is in no engine, as plain data: what is needed
// to go on with it elsewhere, such that its peer notices nothing.
type ConnState struct {
	// FD is the socket's descriptor. It is whose the state is: who does not attach
	// it closes it.
	FD int

	Key    handle.Key // what named it on its loop; zero: it may have any name
	Tag    uint32
	Label  uint8          // of its listener
	Addr   netip.AddrPort // what its opener said; zero: the kernel's
	Paused bool           // by Conn.PauseRead
	Held   bool           // by Conn.HoldData
	Await  bool           // by Conn.AwaitDrained, which has not come
	Slow   bool           // over SoftOutbound: Handler.Drained is to come

	// Input was read, and not consumed by Handler.Data.
	Input []byte

	// Output is queued, in the order that it is to be sent in. Pieces may be shared
	// with other connections, which then have the same memory, and must not be
	// modified.
	Output [][]byte

	// Quiet is for how long the peer has taken nothing of Output.
	Quiet time.Duration

	// Link is what a PortableLink said of itself; nil: it has none.
	Link []byte
}

// A PortableLink is a Link whose state is data.
type PortableLink interface {
	Link

	// Detach returns what a link is made of again that goes on with the
	// connection, not nil; Close is not called then. The error is why it cannot.
	Detach() ([]byte, error)
}

// Detach takes the connection out of the engine, at once and without a call of
// Handler.Close: c is stale when it returns, and the socket the state's. What is
// queued is not lost, nor is what came and was not consumed.
//
// The error is ErrStays, and nothing has changed, of one that is not open yet or
// ends or moves, that has no socket (a Stream, a Sim's), or a Link that is not
// portable, and within the handler's Data of c, whose bytes are nobody's yet.
func (c Conn) Detach() (s ConnState, err error) {
	r := c.record()
	switch {
	case r == nil || r.life != open:
		return s, fmt.Errorf("%w: it is not open", ErrStays)
	case r.fd < 0:
		return s, fmt.Errorf("%w: it has no socket", ErrStays)
	case c.l.giving == c.slot:
		return s, fmt.Errorf("%w: its handler is looking at what came", ErrStays)
	}
	l := c.l
	if r.flow&linked != 0 {
		k, ok := l.link(r).(PortableLink)
		if !ok {
			return s, fmt.Errorf("%w: its link is not portable", ErrStays)
		}
		if s.Link, err = k.Detach(); err != nil {
			return ConnState{}, fmt.Errorf("%w: %w", ErrStays, err)
		}
	}
	s.Key, s.Tag, s.Label, s.Addr = c.Key(), r.tag, r.label, l.addrs.get(c.slot)
	s.Paused, s.Held, s.Slow = r.flow&paused != 0, r.flow&holding != 0, r.flow&overSoft != 0
	s.Await = r.due&(awaited|drained) != 0
	if r.ext != 0 {
		e := l.exts[r.ext]
		l.keep(e)
		s.Input = e.carry
		s.Output = e.pieces()
		s.Quiet = time.Duration(l.now-e.since) * time.Millisecond
		l.uncount(e)
		*e = ext{}
		l.shed(r)
	}
	s.FD = int(l.unwatch(r))
	r.become(closing)
	l.release(c.slot, r, true)
	l.tally.Open--
	l.tally.Moved++
	l.engine.gone()
	return s, nil
}

// pieces returns what is queued. It is kept, see keep.
func (e *ext) pieces() [][]byte {
	if e.queued == 0 {
		return nil
	}
	var all [][]byte
	for i, q := range e.queue[e.head:] {
		if p := q.p; i == 0 {
			all = append(all, p[e.off:])
		} else {
			all = append(all, p)
		}
	}
	return all
}

// Attach puts a connection into the engine, on this loop and under the name that
// it had, without a call of Handler.Open: who calls it knows. At the end of the
// step what is queued is sent, and what was not consumed is given to Handler.Data.
// k is the Link that was made of s.Link; nil: the socket. On an error the socket
// is still the caller's: ErrClosed when the engine shuts down, and others when
// there are MaxConns already or the name is taken or old. The engine may be the
// one that it was in before.
func (l *Loop) Attach(s ConnState, k Link) (Conn, error) {
	l.owner.check()
	if l.draining || l.engine.sim != nil {
		return Conn{}, ErrClosed
	}
	if s.FD < 0 {
		return Conn{}, fmt.Errorf("loop: connection %v has no socket", s.Key)
	}
	if l.engine.live.Add(1) > int64(l.engine.o.MaxConns) {
		l.engine.gone()
		return Conn{}, errMaxConns
	}
	slot, ok := s.Key.Slot, true
	if s.Key == (handle.Key{}) {
		slot, ok = l.conns.Alloc()
	} else {
		ok = l.conns.AllocAt(s.Key.Slot, s.Key.Gen)
	}
	if !ok {
		l.engine.gone()
		return Conn{}, fmt.Errorf("loop: connection %v: its name is taken, or was before", s.Key)
	}
	r := l.conns.At(slot)
	*r = record{fd: int32(s.FD), tag: s.Tag, label: s.Label}
	r.become(open)
	l.tally.Open++
	l.engine.fds.set(s.FD, uint32(l.index)<<24|slot)
	if s.Addr.IsValid() {
		l.addrs.set(slot, s.Addr)
	}
	l.restore(slot, r, s, k)
	l.interest(slot, r, r.flow|wantRead)
	return l.conn(slot), nil
}

// restore gives r what of s is not in the record.
func (l *Loop) restore(slot uint32, r *record, s ConnState, k Link) {
	if s.Paused {
		r.flow |= paused
	}
	if s.Held {
		r.flow |= holding
	}
	if k != nil {
		l.extend(slot, r).link = k
		r.flow |= linked
		l.deferFor(slot, r, ready)
	}
	if len(s.Input) > 0 {
		l.extend(slot, r).carry = bytes.Clone(s.Input)
		l.deferFor(slot, r, redeliver)
	}
	for _, p := range s.Output {
		l.push(slot, r, ref{p: p, large: l.large(p)})
	}
	if r.ext != 0 {
		l.exts[r.ext].since = l.now - s.Quiet.Milliseconds()
	}
	if s.Slow && len(s.Output) > 0 { // until a flush finds that it is no more
		r.flow |= overSoft
		l.watchSlow(slot, r)
	}
	switch {
	case s.Await && len(s.Output) > 0:
		r.due |= awaited
	case s.Await:
		l.deferFor(slot, r, drained)
	}
}
