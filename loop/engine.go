package loop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"

	"github.com/sioedge/sioedge/loop/notice"
)

// An Engine is a number of loops with one handler. Its methods may be called
// from any goroutine.
type Engine struct {
	// Immutable after New.
	handler Handler
	o       Options
	sim     *Sim // nil: real sockets
	base    time.Time
	notes   *notice.Log
	loops   []*Loop

	fds      fdTable
	live     atomic.Int64  // connections and descriptors on their way to be one
	opening  atomic.Int64  // of these, with an Opener
	next     atomic.Uint32 // round robin over loops
	draining atomic.Bool
	drained  chan struct{} // closed when draining and live is 0
	drainOne sync.Once
	spare    bool                   // there are more processors than loops that keep one; immutable once they run
	began    chan struct{}          // closed when they run, or it is shut down before
	stopped  chan struct{}          // closed when all loops have ended
	freezer  chan struct{}          // holds one: who has the engine frozen, see Freeze
	coming   atomic.Pointer[Frozen] // what the loops are to stand still for, until all do
	quieting sync.Mutex             // held to tell all loops, see Quiet

	// Guarded by mu.
	mu    sync.Mutex
	state state

	latest Latest[Stats]
}

type state int

const (
	created state = iota
	running
	ended
)

// New makes an engine. h is told about every connection; o may be zero. An
// engine that is never run should be shut down, to give its descriptors back.
func New(h Handler, o Options) (*Engine, error) {
	e, err := newEngine(h, o, nil)
	if err != nil {
		return nil, err
	}
	for _, l := range e.loops {
		if err := l.open(); err != nil {
			_ = e.Shutdown(context.Background())
			return nil, fmt.Errorf("loop: %w", err)
		}
	}
	return e, nil
}

func newEngine(h Handler, o Options, s *Sim) (*Engine, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Engine{
		handler: h, o: o, sim: s, base: time.Now(), notes: notice.New(o.Logger, 0),
		drained: make(chan struct{}), began: make(chan struct{}), stopped: make(chan struct{}), freezer: make(chan struct{}, 1),
	}
	for i := range o.Loops {
		e.loops = append(e.loops, newLoop(e, i))
	}
	return e, nil
}

// open makes the loop's poller and wake descriptor.
func (l *Loop) open() (err error) {
	if err = l.wake.open(); err != nil {
		return err
	}
	if l.poller, err = netpoll.OpenPoller(); err != nil {
		return err
	}
	l.pa.FD = l.wake.fd
	return l.poller.AddRead(&l.pa, false)
}

// KeepProcessors is Options.KeepProcessors, set before Run.
func (e *Engine) KeepProcessors() { e.o.KeepProcessors = true }

// Loops returns the engine's loops. The slice must not be modified.
func (e *Engine) Loops() []*Loop { return e.loops }

func (e *Engine) nowNs() int64 {
	if e.sim != nil {
		return e.sim.clock.Load()
	}
	return int64(time.Since(e.base))
}

func (e *Engine) nowMs() int64 { return e.nowNs() / int64(time.Millisecond) }

// Run runs the loops and returns when they have ended: after Shutdown, or after
// ctx is done, which is a Shutdown that waits for nothing. Both are a nil
// error. It returns ErrClosed if the engine was run or shut down before, the
// poller's error if that failed, and ErrExited if a handler has ended its goroutine:
// both shut the engine down.
func (e *Engine) Run(ctx context.Context) error {
	e.mu.Lock()
	if e.state != created || e.sim != nil {
		e.mu.Unlock()
		return ErrClosed
	}
	e.state = running
	e.spare = e.o.KeepProcessors && runtime.GOMAXPROCS(0) > len(e.loops)
	e.mu.Unlock()
	close(e.began)

	errs, began := make(chan error, len(e.loops)), e.nowMs()
	for _, l := range e.loops {
		l.away = began
		// Ends when the engine is cut, the poller fails, or a handler ends it.
		go l.runTo(errs)
	}
	var first error
	done := ctx.Done()
	for left := len(e.loops); left > 0; {
		select {
		case err := <-errs:
			left--
			if err != nil && first == nil {
				first = err
				e.cut()
			}
		case <-done:
			done = nil
			e.cut()
		}
	}
	e.mu.Lock()
	e.state = ended
	e.mu.Unlock()
	close(e.stopped)
	return first
}

// StopAccepting closes the listeners. Connections that the kernel has accepted
// already are opened; a unix socket's path is removed. Called from outside the
// loops, it returns when this has happened, or with ctx's error when ctx is done
// before: a handler may keep a loop from it.
func (e *Engine) StopAccepting(ctx context.Context) error {
	e.mu.Lock()
	if e.state == created {
		for _, l := range e.loops {
			l.closeListeners()
		}
	}
	run := e.state == running
	e.mu.Unlock()
	if !run {
		return nil
	}
	var left sync.WaitGroup
	wait := !e.OnLoop()
	for _, l := range e.loops {
		left.Add(1)
		if !l.Post(TaskFunc(func(l *Loop) {
			defer left.Done()
			l.closeListeners()
		})) {
			left.Done()
		}
	}
	if !wait {
		return nil
	}
	closed := make(chan struct{})
	// ends when the last loop has come to it
	go func() { left.Wait(); close(closed) }()
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cutTime is how long Shutdown waits for the loops to end after its context is
// done.
const cutTime = time.Second

// Shutdown stops accepting, closes every connection gracefully (see Conn.Close),
// those at once whose handler is not about to answer (see Finisher), and waits
// until all are gone. When ctx is done it cuts the rest and returns ctx's error.
// The loops have ended when it returns, unless ctx is done and a handler keeps
// one of them for longer than a second. It must not be called on a loop.
func (e *Engine) Shutdown(ctx context.Context) error {
	if e.sim != nil {
		e.sim.end()
		return nil
	}
	_ = e.StopAccepting(ctx)
	e.mu.Lock()
	unused := e.state == created
	if unused {
		e.state = ended
	}
	e.mu.Unlock()
	if unused {
		for _, l := range e.loops {
			l.finish()
		}
		close(e.began)
		close(e.stopped)
	}
	e.drain()
	var err error
	select {
	case <-e.drained:
	case <-e.stopped:
	case <-ctx.Done():
		err = ctx.Err()
	}
	e.cut()
	select {
	case <-e.stopped:
		return err
	case <-ctx.Done(): // a handler may keep a loop from its end
	}
	select {
	case <-e.stopped:
	case <-time.After(cutTime):
	}
	return ctx.Err()
}

// drain has every loop close its connections gracefully.
func (e *Engine) drain() {
	if e.draining.Swap(true) {
		return
	}
	for _, l := range e.loops {
		l.Post(TaskFunc(func(l *Loop) {
			l.draining = true
			l.closing = l.conns.Max()
		}))
	}
	e.checkDrained()
}

// cut has every loop close its connections at once, and end.
func (e *Engine) cut() {
	e.draining.Store(true)
	if f := e.coming.Load(); f != nil {
		_ = f.callOff(ErrClosed)
	}
	for _, l := range e.loops {
		l.Post(TaskFunc(func(l *Loop) {
			l.closeListeners()
			l.draining, l.ending = true, true
			l.closing = l.conns.Max()
		}))
	}
}

// gone counts one connection less.
func (e *Engine) gone() {
	e.live.Add(-1)
	e.checkDrained()
}

func (e *Engine) checkDrained() {
	if e.draining.Load() && e.live.Load() == 0 {
		e.drainOne.Do(func() { close(e.drained) })
	}
}

// pick returns the loop whose turn it is to get a connection.
func (e *Engine) pick() *Loop {
	return e.loops[e.next.Add(1)%uint32(len(e.loops))]
}

// Adopt takes over nc, a *net.TCPConn or *net.UnixConn, and closes it: the
// connection goes on as one of the engine's. Its handler gets Open and then, if
// there are any, a copy of buffered as Data. On an error nc is still the
// caller's. Options set on nc's socket stay; those of Options are added.
func (e *Engine) Adopt(nc net.Conn, buffered []byte) error {
	sc, ok := nc.(syscall.Conn)
	_, tcp := nc.(*net.TCPConn)
	_, local := nc.(*net.UnixConn)
	if !ok || !tcp && !local || e.sim != nil {
		return fmt.Errorf("loop: cannot adopt a %T", nc)
	}
	fd, err := dup(sc)
	if err != nil {
		return fmt.Errorf("loop: adopt: %w", err)
	}
	if tcp {
		_ = tuneListener(fd, &e.o)
		_ = tuneSocket(fd)
	}
	var x *ext
	if len(buffered) > 0 {
		x = &ext{carry: bytes.Clone(buffered)}
	}
	e.live.Add(1)
	if e.draining.Load() || !e.pick().Post(arrival{fd: int32(fd), x: x}) {
		closeFD(int32(fd))
		e.gone()
		return ErrClosed
	}
	return nc.Close()
}

// dup returns a descriptor of our own for what c is about.
func dup(c syscall.Conn) (fd int, err error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	var derr error
	err = rc.Control(func(old uintptr) {
		fd, derr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	return fd, errors.Join(err, derr)
}

// Options returns the options that are in force.
func (e *Engine) Options() Options { return e.o }

// Now returns the milliseconds since the engine was made. Unlike [Loop.Now] it does not
// stand still, and is the same for all loops. Any goroutine may call it.
func (e *Engine) Now() int64 { return e.nowMs() }

// Micros is Loop.Micros of this moment. Any goroutine may call it.
func (e *Engine) Micros() int64 { return e.nowNs() / int64(time.Microsecond) }

// MaxConns returns the bound on connections that is in force.
func (e *Engine) MaxConns() int { return e.o.MaxConns }
