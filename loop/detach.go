package loop

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

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
	FD int `cbor:"-"`

	Key    handle.Key     `cbor:"1,keyasint"` // what named it on its loop; zero: it may have any name
	Tag    uint32         `cbor:"-"`
	Label  uint8          `cbor:"2,keyasint,omitempty"` // of its listener
	Addr   netip.AddrPort `cbor:"3,keyasint,omitzero"`  // what its opener said; zero: the kernel's
	Paused bool           `cbor:"4,keyasint,omitempty"` // by Conn.PauseRead
	Held   bool           `cbor:"5,keyasint,omitempty"` // by Conn.HoldData
	Await  bool           `cbor:"6,keyasint,omitempty"` // by Conn.AwaitDrained, which has not come
	Slow   bool           `cbor:"7,keyasint,omitempty"` // over SoftOutbound: Handler.Drained is to come

	// Input was read, and not consumed by Handler.Data.
	Input []byte `cbor:"8,keyasint,omitempty"`

	// Output is queued, in the order that it is to be sent in. Pieces may be shared
	// with other connections, which then have the same memory, and must not be
	// modified. Nothing of it will be dropped any more.
	Output [][]byte `cbor:"9,keyasint,omitempty"`

	// Begun is how many bytes of Output complete a message of which a part was sent.
	Begun int `cbor:"10,keyasint,omitempty"`

	// Quiet is for how long the peer has taken nothing of Output.
	Quiet time.Duration `cbor:"11,keyasint,omitempty"`

	// Taking is how many bytes the kernel has got since what the peer had acknowledged when
	// Conn.Taking was last asked; 0: it was not, or nothing is on the way.
	Taking int64 `cbor:"12,keyasint,omitempty"`

	// Link is what a PortableLink said of itself; nil: it has none.
	Link []byte `cbor:"13,keyasint,omitempty"`
}

// A PortableLink is a Link whose state is data.
type PortableLink interface {
	Link

	// State returns what a link is made of again that goes on with the connection, not
	// nil, and changes nothing. The error is why it cannot. Of a connection that leaves,
	// Close is not called.
	State() ([]byte, error)
}

// State is Detach that changes nothing: the descriptor of the state is the connection's
// still, what it has queued and received are shared with it and must not be modified, and
// are good as long as the loop does nothing. Errors are as of Detach.
func (c Conn) State() (s ConnState, err error) {
	l, r := c.l, c.record()
	if err := c.stays(r); err != nil {
		return s, err
	}
	if r.flow&linked != 0 {
		if s.Link, err = l.link(r).(PortableLink).State(); err != nil {
			return ConnState{}, fmt.Errorf("%w: %w", ErrStays, err)
		}
	}
	s.FD, s.Key, s.Tag, s.Label, s.Addr = int(r.fd), c.Key(), r.tag, r.label, l.addrs.get(c.slot)
	s.Paused, s.Held, s.Slow = r.flow&paused != 0, r.flow&holding != 0, r.flow&overSoft != 0
	s.Await = r.due&(awaited|drained) != 0
	if r.ext != 0 {
		e := l.exts[r.ext]
		l.judge(e)
		l.keep(e)
		s.Input = e.carry
		s.Begun = l.unfinished(e)
		s.Output = e.pieces()
		s.Quiet = time.Duration(l.now-e.since) * time.Millisecond
		if e.asked {
			s.Taking = max(e.sent-e.mark, 0)
		}
	}
	return s, nil
}

// stays says why c, whose record is r, cannot leave.
func (c Conn) stays(r *record) error {
	switch {
	case r == nil || r.life != open:
		return fmt.Errorf("%w: it is not open", ErrStays)
	case r.fd < 0:
		return fmt.Errorf("%w: it has no socket", ErrStays)
	case c.l.giving == c.slot:
		return fmt.Errorf("%w: its handler is looking at what came", ErrStays)
	}
	if r.flow&linked != 0 {
		if _, ok := c.l.link(r).(PortableLink); !ok {
			return fmt.Errorf("%w: its link is not portable", ErrStays)
		}
	}
	return nil
}

// Detach takes the connection out of the engine, at once and without a call of
// Handler.Close: c is stale when it returns, and the socket the state's. What is
// queued is not lost, nor is what came and was not consumed.
//
// The error is ErrStays, and nothing has changed, of one that
//   - is not open yet: it is with an Opener, or waits for what that wrote
//   - ends, or moves to another loop: what is queued for it is sent by its engine, which
//     waits for the peer's end as after Conn.Close
//   - has no socket: a Stream, which is a part of another connection, or a Sim's
//   - has a Link that is not portable, such as TLS
//   - is looked at by the handler's Data, whose bytes are nobody's yet.
func (c Conn) Detach() (s ConnState, err error) {
	if s, err = c.State(); err == nil {
		s.FD = int(c.l.remove(c.slot, c.record()))
	}
	return s, err
}

// Forget is Detach by whoever has given the connection's State to another process: our
// descriptor is closed, which the peer does not notice. Of what State refuses it does
// nothing.
func (c Conn) Forget() {
	if r := c.record(); c.stays(r) == nil {
		closeFD(c.l.remove(c.slot, r))
	}
}

// remove takes r out of the engine as if it had never been there, and returns its
// descriptor, of which the poller does not know any more: the open file may live on.
func (l *Loop) remove(slot uint32, r *record) (fd int32) {
	if r.ext != 0 {
		e := l.exts[r.ext]
		l.uncount(e)
		clear(e.queue)
		*e = ext{queue: e.queue[:0]}
		l.shed(r)
	}
	fd = l.unwatch(r)
	r.become(closing)
	l.release(slot, r, true)
	l.tally.Open--
	l.tally.Moved++
	l.engine.gone()
	return fd
}

// Conns yields the connections of the loop that are open, in the order of their slots. It
// is for its goroutine, between two steps or in a task; the current one may be detached.
func (l *Loop) Conns() iter.Seq[Conn] {
	return func(yield func(Conn) bool) {
		l.owner.check()
		for slot := uint32(1); slot <= l.conns.Max(); slot++ {
			if l.conns.At(slot).life == open && !yield(l.conn(slot)) {
				return
			}
		}
	}
}

// pieces returns what is queued. It is kept, see keep.
func (e *ext) pieces() [][]byte {
	if e.queued == 0 {
		return nil
	}
	all := make([][]byte, 0, e.entries())
	for i, q := range e.queue[e.head:] {
		switch {
		case i == 0:
			all = append(all, q.p[e.off:])
		case q.p != nil:
			all = append(all, q.p)
		}
	}
	return all
}

// Attach puts a connection into the engine, on this loop and under the name that
// it had, without a call of Handler.Open: who calls it knows. At the end of the
// step what is queued is sent, and what was not consumed is given to Handler.Data.
// k is the Link that was made of s.Link; nil: the socket. On an error the socket
// is still the caller's: ErrClosed when the engine shuts down, and others when
// there are MaxConns already, the name is taken or old, or s is no connection's: what
// it says is looked at. The engine may be the
// one that it was in before.
func (l *Loop) Attach(s ConnState, k Link) (Conn, error) {
	l.owner.check()
	if l.draining || l.engine.sim != nil {
		return Conn{}, ErrClosed
	}
	if err := s.check(); err != nil {
		return Conn{}, fmt.Errorf("loop: connection %v %w", s.Key, err)
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

// check says why s, which may come from anybody, cannot be a connection's. A descriptor
// that blocks would keep the loop.
func (s *ConnState) check() error {
	first := 0
	if len(s.Output) > 0 {
		first = len(s.Output[0])
	}
	kind, err := unix.GetsockoptInt(s.FD, unix.SOL_SOCKET, unix.SO_TYPE)
	switch {
	case err != nil || kind != unix.SOCK_STREAM:
		return errors.New("has no socket")
	case s.Begun < 0 || s.Begun > first:
		return errors.New("has sent a part of a message that it has not")
	}
	flags, err := unix.FcntlInt(uintptr(s.FD), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK != 0 { // an engine's does not, already
		return err
	}
	return unix.SetNonblock(s.FD, true)
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
		if len(p) > 0 {
			l.push(slot, r, ref{p: p, large: l.large(p)})
		}
	}
	if r.ext != 0 {
		l.exts[r.ext].since = l.now - max(s.Quiet, 0).Milliseconds()
		l.exts[r.ext].lead = s.Begun
	}
	if s.Taking > 0 {
		e := l.extend(slot, r)
		e.asked, e.mark = true, -s.Taking
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
