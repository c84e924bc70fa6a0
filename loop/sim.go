package loop

import (
	"bytes"
	"io"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sioedge/sioedge/loop/slab"
)

// A Sim is an engine without sockets, goroutines or real time, for tests and
// benchmarks: its connections are Peers in memory, and its clock moves only by
// Advance. Everything but the system calls is the code that serves sockets.
//
// A Sim and all that belongs to it is used by one goroutine, unless it is shared.
// Only what may be called from any goroutine on a Loop may be called from others;
// what they post is run by the next Turn.
type Sim struct {
	e     *Engine
	clock atomic.Int64  // ns
	peers slab.Of[Peer] // by minus their descriptor
	ready []*Peer       // may have an event for their loop
	turns int           // nesting of Turn

	opener Opener // of connections, see Listen
	label  uint8
	shared *sharing // nil: used by one goroutine
}

// sharing is what keeps the goroutines apart that use a Sim.
type sharing struct {
	mu     sync.Mutex // held by owner
	owner  atomic.Uint64
	posted func()
}

// NewSim makes a Sim. It panics if o is not valid.
func NewSim(h Handler, o Options) *Sim {
	s := &Sim{}
	e, err := newEngine(h, o, s)
	if err != nil {
		panic(err)
	}
	s.e = e
	return s
}

// Engine returns the engine, for everything but Listen, Run and Adopt. Its
// Shutdown closes every connection, advances the clock by LingerTimeout if some
// are left, and cuts those.
func (s *Sim) Engine() *Engine { return s.e }

// Share lets other goroutines use the Sim too, one at a time: Loop.Ask does so by
// itself, and Do for all else. On the goroutine that turns, Engine.OnLoop is true
// then. posted is called, on any goroutine and with nothing locked, when something
// has come into a mailbox that a Turn would find. It is called before anything
// else of s.
func (s *Sim) Share(posted func()) { s.shared = &sharing{posted: posted} }

// Do calls f while no other goroutine uses a Sim that is shared.
func (s *Sim) Do(f func()) {
	defer s.lock()()
	f()
}

// lock keeps other goroutines out until unlock is called; it nests.
func (s *Sim) lock() (unlock func()) {
	x := s.shared
	if x == nil || x.owner.Load() == goroutineID() {
		return func() {}
	}
	x.mu.Lock()
	x.owner.Store(goroutineID())
	return func() {
		x.owner.Store(0)
		x.mu.Unlock()
	}
}

// turning reports whether the caller runs within a Turn of a Sim that is shared.
func (s *Sim) turning() bool {
	x := s.shared
	return x != nil && x.owner.Load() == goroutineID() && s.turns > 0
}

// Now returns how far the clock has been moved. Any goroutine may call it.
func (s *Sim) Now() time.Duration { return time.Duration(s.clock.Load()) }

// Connect opens a connection on the loop with that index.
func (s *Sim) Connect(loop int) *Peer {
	i := s.peers.Alloc()
	p := s.peers.At(i)
	*p = Peer{sim: s, index: i}
	s.e.live.Add(1)
	l := s.e.loops[loop]
	l.arrivals = append(l.arrivals, arrival{fd: -int32(i), opener: s.opener, label: s.label})
	s.Turn()
	return p
}

// Listen has the Sim's connections from now on be as those of a listener with
// these options, as far as they concern connections.
func (s *Sim) Listen(o ListenOptions) { s.opener, s.label = o.Opener, o.Label }

// Advance moves the clock by d, in steps of at least a millisecond that end
// where timers are due, and runs those in order.
func (s *Sim) Advance(d time.Duration) {
	for s.Turn(); d > 0; {
		d -= s.Step(d)
	}
}

// Work moves the clock on without anything being done meanwhile: called by a handler,
// it takes that long.
func (s *Sim) Work(d time.Duration) { s.clock.Add(int64(d)) }

// Step is the next step of Advance, of at most d. It returns how far it has moved
// the clock.
func (s *Sim) Step(d time.Duration) time.Duration {
	defer s.lock()()
	now := s.clock.Load()
	end := now + int64(d)
	for _, l := range s.e.loops {
		if len(l.timers.heap) > 0 {
			end = min(end, l.timers.heap[0].at*int64(time.Millisecond))
		}
	}
	end = max(end, now)
	s.clock.Store(end)
	s.turn()
	return time.Duration(end - now)
}

// Turn runs all loops until there is nothing left to do at this time: mailboxes
// are empty, queues are sent as far as peers take them, and the function of
// OnWork has said that there is no more. Called from within a step it does
// nothing, because the step's end does it.
func (s *Sim) Turn() {
	if s.shared != nil {
		defer s.lock()()
	}
	s.turn()
}

// turn is Turn while nobody else uses s.
func (s *Sim) turn() {
	if s.turns > 0 {
		return
	}
	s.turns++
	defer func() { s.turns-- }()
	for busy := true; busy; {
		busy = false
		began := s.e.nowMs() // a round is what a poller reports at one time
		for _, l := range s.e.loops {
			l.lag.since = began
		}
		for _, l := range s.e.loops {
			if l.simBusy() {
				busy = true
				l.begin()
				l.woken()
				l.end(true)
			}
		}
		n := len(s.ready) // an event may bring more, for the next round
		for i := range n {
			busy = true
			p := s.ready[i]
			p.listed = false
			p.event()
		}
		s.ready = slices.Delete(s.ready, 0, n)
		for _, l := range s.e.loops {
			l.caughtUp(s.e.nowMs())
		}
	}
}

// simBusy reports whether a step would find something to do.
func (l *Loop) simBusy() bool {
	timer := len(l.timers.heap) > 0 && l.timers.heap[0].at <= l.engine.nowMs()
	return timer || l.more() || !l.idle() || l.signalled.Load()
}

// end is Engine.Shutdown.
func (s *Sim) end() {
	defer s.lock()()
	if s.e.state == ended {
		return
	}
	s.e.state = ended
	s.e.drain()
	s.Turn()
	if s.e.live.Load() > 0 {
		s.Advance(s.e.o.LingerTimeout)
	}
	s.e.cut()
	s.Turn()
	for _, l := range s.e.loops {
		l.finish()
	}
	close(s.e.stopped)
}

func (s *Sim) peer(fd int32) *Peer { return s.peers.At(uint32(-fd)) }

// addr returns an address for documentation (RFC 5737) with the peer's number.
func (s *Sim) addr(fd int32) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), uint16(-fd))
}

// simLink is a peer as its connection sees it: a Stream.
type simLink Peer

func (s *Sim) link(fd int32) Stream { return (*simLink)(s.peer(fd)) }

func (k *simLink) Want(c Conn, read, write bool) {
	p := (*Peer)(k)
	p.loop, p.slot, p.want = c.l, c.slot, 0
	if read {
		p.want |= wantRead
	}
	if write {
		p.want |= wantWrite
	}
	p.mark()
}

func (p *simLink) Read(_ Socket, b []byte) (int, error) {
	switch {
	case len(p.in) > 0:
		n := copy(b, p.in)
		p.in = p.in[n:]
		return n, nil
	case p.reset:
		return 0, unix.ECONNRESET
	case p.ended:
		return 0, io.EOF
	}
	return 0, ErrAgain
}

func (p *simLink) Write(_ Socket, b []byte) (int, error) {
	switch {
	case p.gone:
		return 0, unix.EPIPE
	case p.stalled && p.room == 0:
		return 0, ErrAgain
	}
	n := len(b)
	if p.stalled {
		n = min(n, p.room)
		p.room -= n
	}
	if p.limit > 0 {
		n = min(n, p.limit)
	}
	p.count += int64(n)
	if !p.discard {
		p.out = append(p.out, b[:n]...)
	}
	return n, nil
}

func (*simLink) Flush(Socket) error      { return nil }
func (*simLink) CloseWrite(Socket) error { return nil }
func (*simLink) Pending() bool           { return false }
func (*simLink) Blocked() bool           { return false }
func (*simLink) Close()                  {}

func (p *simLink) Unacknowledged() int        { return p.outq }
func (p *simLink) Ended() (reset, ended bool) { return p.reset, p.ended }

func (s *Sim) shutdown(fd int32) unix.Errno {
	p := s.peer(fd)
	if p.gone {
		return unix.ENOTCONN
	}
	p.shut = true
	p.answerEnd()
	return 0
}

func (s *Sim) hangUp(fd int32) {
	p := s.peer(fd)
	p.shut, p.closed, p.want = true, true, 0
	p.in = nil
}

// A Peer is the other end of a Sim's connection. It ends its own direction when
// it sees the end of ours, unless it is stalled.
type Peer struct {
	sim   *Sim
	loop  *Loop
	in    []byte // on the way to the loop
	out   []byte // sent by the loop
	count int64
	outq  int // what was sent to the peer and it has not acknowledged: 0, but in tests
	index uint32
	slot  uint32
	want  flow
	limit int
	reset bool
	room  int // what a stalled peer takes

	stalled, discard bool
	ended            bool // the peer has closed its direction
	gone             bool // and takes nothing any more
	shut             bool // the loop has closed its direction
	closed           bool // and the descriptor
	listed           bool // in Sim.ready
}

// Send sends b, which the loop reads at once and in one piece as far as its
// read buffer allows, and runs Turn. What the loop does not read now, because
// it has paused, waits.
func (p *Peer) Send(b []byte) {
	if p.closed || p.ended {
		return
	}
	if len(p.in) > 0 {
		p.in = append(p.in, b...)
	} else {
		p.in = b
	}
	p.mark()
	p.sim.Turn()
	if len(p.in) == 0 {
		p.in = nil
	} else {
		p.in = bytes.Clone(p.in) // b is the caller's
	}
}

// Received returns what was sent to the peer since the last call.
func (p *Peer) Received() []byte {
	b := p.out
	p.out = nil
	return b
}

// Count returns how many bytes were sent to the peer.
func (p *Peer) Count() int64 { return p.count }

// Discard(true) has the peer count what it is sent instead of keeping it.
func (p *Peer) Discard(on bool) { p.discard = on }

// Closed reports whether the loop has ended its direction or closed the
// connection.
func (p *Peer) Closed() bool { return p.shut || p.closed }

// Stall(true) stops the peer from taking anything; Stall(false) lets it go on,
// and runs Turn.
func (p *Peer) Stall(on bool) {
	p.stalled, p.room = on, 0
	p.answerEnd()
	p.mark()
	p.sim.Turn()
}

// Take has a stalled peer take n bytes more, and runs Turn.
func (p *Peer) Take(n int) {
	p.room += n
	p.mark()
	p.sim.Turn()
}

// Limit bounds what the peer takes of one send, so that sends are short. Zero:
// no bound.
func (p *Peer) Limit(n int) { p.limit = n }

// CloseWrite ends the peer's direction, and runs Turn.
func (p *Peer) CloseWrite() {
	p.ended = true
	p.mark()
	p.sim.Turn()
}

// Reset is Close as who has not read everything does it.
func (p *Peer) Reset() {
	p.reset = true
	p.Close()
}

// Close ends both directions, and runs Turn: sends fail from now on.
func (p *Peer) Close() {
	p.gone = true
	p.CloseWrite()
}

func (p *Peer) answerEnd() {
	if p.shut && !p.closed && !p.stalled && !p.ended {
		p.ended = true
		p.mark()
	}
}

// readiness is what a level-triggered poller would report.
func (p *Peer) readiness() (readable, writable bool) {
	readable = p.want&wantRead != 0 && (len(p.in) > 0 || p.ended)
	writable = p.want&wantWrite != 0 && (!p.stalled || p.room > 0 || p.gone)
	return readable, writable
}

// mark puts the peer on the list of those with an event.
func (p *Peer) mark() {
	if r, w := p.readiness(); (r || w) && !p.listed {
		p.listed = true
		p.sim.ready = append(p.sim.ready, p)
	}
}

// event is the step of one event.
func (p *Peer) event() {
	r, w := p.readiness()
	if !r && !w {
		return
	}
	l := p.loop
	l.begin()
	if w {
		l.writable(p.slot)
	}
	if r {
		l.readable(p.slot)
	}
	l.end(false)
	p.mark()
}
