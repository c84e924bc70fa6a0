package loop

import (
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2/pkg/netpoll"

	"github.com/sioedge/sioedge/loop/class"
	"github.com/sioedge/sioedge/loop/handle"
	"github.com/sioedge/sioedge/loop/histogram"
)

// A Handler is told what happens to connections. Every method is called on the
// connection's loop and must not block. A panic in one is logged and counted,
// and closes that connection only.
type Handler interface {
	// Open is called when c was accepted, adopted, or has moved here.
	Open(c Conn)

	// Data is given what c's peer sent and returns how many bytes of b it
	// consumed. b is valid, and may be modified, until Data returns. The rest
	// is carried in a copy of its own size and comes again, in front of new
	// bytes; bounding what it leaves is the handler's business.
	Data(c Conn, b []byte) (n int)

	// Drained is called when reading goes on after it had stopped because more
	// than SoftOutbound bytes were queued for c, and as Conn.AwaitDrained says.
	Drained(c Conn)

	// Close is called exactly once for each Open, and c is stale when it
	// returns. err is io.EOF when the peer ended, ErrClosed after Conn.Close,
	// Conn.Abort or a shutdown, ErrMoved after Conn.Move, ErrSlowPeer, or the
	// system's error.
	Close(c Conn, err error)
}

// A Finisher is a Handler that has answers to give when the engine shuts down.
type Finisher interface {
	// Finish is called on the loop of a connection that is to be closed because
	// the engine shuts down. It reports true if the handler closes c by itself
	// when it has answered what it is about to answer; otherwise c is closed.
	Finish(c Conn) bool
}

// A Framer is a Handler that has a last word for peers that take too little. It sends
// messages whose ends can be told, and each write is of whole ones.
type Framer interface {
	// LastWord is called on the loop of a connection that is about to be closed with
	// why, ErrSlowPeer or ErrQueueFull. What it returns is sent in place of what is
	// queued, behind the rest of a message of which a part was sent, and Close follows;
	// nil: nothing is sent.
	LastWord(c Conn, why error) []byte
	// Rest returns how many bytes the message goes on behind the first sent bytes of p,
	// which begins with a message, 0 if none was begun there; and 0 of what are no
	// messages. It may be called while something is written, by any loop, and must be a
	// function of p and sent alone.
	Rest(p []byte, sent int) int
}

const (
	arenaSize  = 64 << 10 // copies made by Write in one step
	burstSize  = 64 << 10 // pieces put together for one send
	maxReads   = 4        // reads of one connection in one step
	maxRounds  = 16       // repetitions of a step's end before sockets are served again
	workSlice  = 512      // connections looked at in one slice
	closeSlice = 64       // connections closed in one slice of a shutdown
)

// A Loop is one event loop. Post, PostQuiet, Wake, Mail, Ask, OnLoop, Index and
// Engine may be called from any goroutine, everything else only on the loop
// (from a Handler, a Task, a timer or an On function) or before Engine.Run.
type Loop struct {
	// Immutable after New.
	engine *Engine
	sim    *Sim // nil: real sockets
	h      Handler
	framer Framer // h, if it is one
	index  int

	// For any goroutine.
	mailbox   mailbox
	attention atomic.Bool // something was put into the mailbox, or the alarm rang
	running   atomic.Bool // in a step, whose end will look at attention
	signalled atomic.Bool // the wake descriptor is readable or about to be
	wake      waker
	gathers   atomic.Bool // somebody gathers, see mailbox.gathers
	mailWaits atomic.Int64
	done      chan struct{} // closed when the loop has ended
	asking    atomic.Bool   // waiting for another loop, in Ask
	posted    chan struct{} // told of what is put into the mailbox while asking
	asked     atomic.Int32  // other loops that wait for this one, in Ask

	// Owned by the loop; see owner.check.
	owner     owner
	poller    *netpoll.Poller
	pa        netpoll.PollAttachment // an argument, reused
	conns     handle.Table[record]
	exts      []*ext // by index; 0 is not used
	freeExts  []uint32
	listeners []*listener

	ns       int64 // when the clock was read last, on the engine's
	now      int64 // ms on the loop's clock: then
	away     int64 // by how much that is behind the engine's
	expected int64 // when the next step is expected, at the latest
	horizon  int64 // see Horizon
	lag      lag

	busySince int64 // ns on the engine's clock: when waiting ended, or Busy was counted
	largest   histogram.Peak

	timers timerHeap
	alarm  *time.Timer
	wakeAt int64 // when the alarm rings; 0: it is not set

	rbuf  []byte // every read goes here
	arena []byte // the copies of this step's Write calls
	burst []byte

	fresh   []freshRef // what this step's writes may be dropped by
	judging []ref      // scratch
	onDrop  func(k *class.Kind, n int)

	dirty    []uint32 // connections with something to flush
	deferred []uint32 // connections to close, move, or give their bytes again
	spare    []uint32 // the other of deferred's two buffers
	again    []uint32 // edge-triggered pollers: may have more to read
	arrivals []arrival
	openings map[uint32]*openingConn // by slot
	addrs    addrs
	recent   recent

	slow      []handle.Key // connections over SoftOutbound
	slowPos   int          // where in slow the next look begins
	slowTimer Timer

	batch     batch // what is being drained from the mailbox
	batchPos  int
	drainNest int
	held      Task // in slices: what is in the mailbox waits for its end

	onMail   func(to uint64, kind uint32, p []byte)
	onWork   []func() bool
	onTurn   func()
	needWork bool
	giving   uint32 // the connection that Data is called for
	inLink   int    // nesting of calls of a Link's methods
	yield    bool   // goroutines were woken, which are to run before the loop sleeps
	yieldAt  int64  // ns on the engine's clock: when the first of them was
	yields   int64  // times that the loop let them
	brisk    int64  // for how long, in ns, something came soon, of late: see waited
	woke     int64  // ns on the engine's clock: when waiting ended
	doze     dozer
	polls    bool // it waits for the poller by itself, and goes on before if it has to: see wait
	goesOn   bool // it has to
	started  bool
	closing  uint32 // a shutdown's cursor over conns, counting down
	quiet    bool   // nothing is read, see Engine.Quiet
	draining bool   // no connection stays
	ending   bool   // return from the poller when the last connection is gone

	freezing  *Frozen // stands still, or is about to, for this
	freezeBy  int64   // ms on the engine's clock: when the gate closes
	turnsLeft int     // not before so many more
	gate      bool    // what is posted from now on waits
	frozen    bool    // within Frozen.Each

	tally Stats // but for what Stats looks up
}

func newLoop(e *Engine, index int) *Loop {
	l := &Loop{
		engine: e, sim: e.sim, h: e.handler, index: index,
		done: make(chan struct{}), posted: make(chan struct{}, 1),
		exts: make([]*ext, 1),
		rbuf: make([]byte, e.o.ReadBuffer),
	}
	l.framer, _ = e.handler.(Framer)
	l.arena = make([]byte, 0, arenaSize)
	l.burst = make([]byte, 0, burstSize)
	return l
}

// Check panics if the caller is not on the loop while that runs, in builds with
// the race detector; in others it does nothing. It is for entries to what belongs
// to the loop: two wrong accesses that never meet are no race to the detector.
func (l *Loop) Check() { l.owner.check() }

// Index returns the loop's place in Engine.Loops.
func (l *Loop) Index() int { return l.index }

// Engine returns the engine the loop belongs to.
func (l *Loop) Engine() *Engine { return l.engine }

// Now returns milliseconds on a monotonic clock that begins when the engine is run,
// and stands still while the loop is away: late by a second or more. It is read once
// for each step.
func (l *Loop) Now() int64 {
	l.owner.check()
	return l.now
}

// Draining reports whether the engine shuts down: no connection is to stay.
func (l *Loop) Draining() bool {
	l.owner.check()
	return l.draining
}

// OnTurn sets what is called at the end of each step, before connections with
// queued output are flushed. The function may write, post and schedule.
func (l *Loop) OnTurn(f func()) {
	l.owner.check()
	l.onTurn = f
}

// OnWork adds a function that does a slice of long work, a millisecond or two,
// and reports whether there is more. While it says so, or after NeedWork, it is
// called once in each round of the poller, so that sockets are served between
// two slices.
func (l *Loop) OnWork(f func() (more bool)) {
	l.owner.check()
	l.onWork = append(l.onWork, f)
}

// NeedWork asks for the functions of OnWork to be called.
func (l *Loop) NeedWork() {
	l.owner.check()
	l.needWork = true
}

// Yield says that goroutines have been started or woken, which are to run before
// the loop sleeps. Without it they run as well, but may wait for some
// milliseconds if all processors are busy.
func (l *Loop) Yield() {
	l.owner.check()
	if !l.yield {
		l.yield, l.yieldAt = true, l.ns
	}
}

// begin starts a step.
func (l *Loop) begin() {
	l.running.Store(true)
	l.tick()
	if !keepsTime {
		l.lag.since = l.now + l.away
	}
	if l.stepsAreTurns() {
		l.wakes()
	}
	if l.wakeAt != 0 && l.now >= l.wakeAt {
		l.wakeAt = 0
	}
}

// stepsAreTurns tells whether a turn of the loop is a step; otherwise it is what comes
// between two waits for the poller.
func (l *Loop) stepsAreTurns() bool { return !keepsTime || l.sim != nil }

// end ends a step. When woke is true, the step was that of the wake descriptor. Where
// the loop does not look itself whether it goes on, that stays readable while there is
// work: the poller then reports it together with the sockets that are ready, in every
// round.
//
// No wake-up is lost: who puts something into the mailbox sets attention and
// then looks at running; we clear running and then look at attention.
func (l *Loop) end(woke bool) {
	for round := 1; ; round++ {
		l.turn()
		if l.freezing != nil && l.still() {
			l.stand()
			l.tick()
			round = 0
			continue
		}
		idle := l.idle()
		if !idle && round < maxRounds {
			l.tick()
			continue
		}
		l.goesOn = l.more() || !idle
		if l.goesOn && !l.polls {
			if !woke {
				l.signal()
			}
		} else if woke {
			l.unsignal()
			woke = false // what is signalled from now on is for the next step
		}
		l.setAlarm()
		if !keepsTime {
			l.caughtUp(l.engine.nowMs())
			l.rest()
		}
		if l.stepsAreTurns() {
			l.worked(l.engine.nowNs())
		}
		l.running.Store(false)
		if !idle || l.held != nil || !l.attention.Load() || l.gated() {
			return
		}
		l.running.Store(true)
		l.tick()
	}
}

// turn is one round of a step's end.
func (l *Loop) turn() {
	l.drain(false)
	l.fire()
	if l.onTurn != nil {
		l.safely(l.onTurn)
	}
	l.flushAll()
	l.settle()
}

// idle reports whether another round would find nothing to do.
func (l *Loop) idle() bool {
	return len(l.dirty)|len(l.deferred)|len(l.arrivals) == 0 && (l.held != nil || !l.attention.Load() || l.gated())
}

// more reports whether the loop has to go on before something comes.
func (l *Loop) more() bool {
	return l.needWork || l.held != nil || l.closing > 0 || len(l.again) > 0
}

// woken is what a loop does that goes on: a slice of work, and the reads that
// an edge-triggered poller will not report again.
func (l *Loop) woken() {
	again := l.again
	l.again = l.again[len(l.again):]
	for _, slot := range again {
		l.readable(slot)
	}
	if len(l.again) == 0 {
		l.again = again[:0]
	}
	l.closeSome()
	if l.held != nil {
		l.drainNest++
		l.proceed()
		l.drainNest--
	}
	if !l.needWork {
		return
	}
	l.needWork = false
	for _, f := range l.onWork {
		if l.slice(f) {
			l.needWork = true
		}
	}
}

// slice runs a function of OnWork.
func (l *Loop) slice(f func() (more bool)) (more bool) {
	defer l.recovered()
	return f()
}
