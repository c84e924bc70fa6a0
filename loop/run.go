package loop

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	errorx "github.com/panjf2000/gnet/v2/pkg/errors"
	"github.com/panjf2000/gnet/v2/pkg/netpoll"

	"github.com/sioedge/sioedge/loop/handle"
)

// runTo is the loop's goroutine. It always says how the loop has ended: one that
// has gone without a word, by runtime.Goexit, would keep its connections for ever.
func (l *Loop) runTo(errs chan<- error) {
	err := ErrExited
	defer func() { errs <- err }()
	defer func() {
		if err == ErrExited {
			l.engine.o.Logger.Error("loop: runtime.Goexit was called on a loop, which ends the engine", "stack", string(debug.Stack()))
			l.mend()
			l.abandon()
			l.finish()
		}
	}()
	err = l.run()
}

// mend puts right what a step was about when it was left in the middle.
func (l *Loop) mend() {
	l.drainNest = 0
	l.arrivals = slices.DeleteFunc(l.arrivals, func(a arrival) bool { return a.isZero() })
	l.deferred, l.spare = nil, nil
	for slot := uint32(1); slot <= l.conns.Max(); slot++ {
		if l.conns.At(slot).due&inDeferred != 0 {
			l.deferred = append(l.deferred, slot)
		}
	}
}

// run runs the loop until it has ended.
func (l *Loop) run() error {
	l.owner.goroutine.Store(goroutineID())
	l.started = true
	l.begin()
	for _, ls := range l.listeners {
		if err := l.listen(ls); err != nil {
			l.pauseAccept(ls, err)
		}
	}
	l.end(false)
	err := error(errorx.ErrEngineShutdown)
	if !l.ended() { // by a Shutdown before the loop ran
		err = l.wait()
	}
	if errors.Is(err, errorx.ErrEngineShutdown) {
		err = nil
	} else {
		err = fmt.Errorf("loop: poller: %w", err)
		l.abandon()
	}
	l.finish()
	return err
}

// event is a step: the poller calls it for each descriptor that is ready.
func (l *Loop) event(fd int, ev netpoll.IOEvent, flags netpoll.IOFlags) error {
	l.begin()
	woke := fd == l.wake.fd
	if woke {
		l.woken()
	} else if id := l.engine.fds.get(fd); id == 0 {
		l.acceptOn(fd)
	} else if int(id>>24) == l.index {
		readable, writable := directions(ev, flags)
		if writable {
			l.writable(id & handle.MaxSlot)
		}
		if readable {
			l.readable(id & handle.MaxSlot)
		}
	}
	l.end(woke)
	if l.ended() {
		return errorx.ErrEngineShutdown
	}
	return nil
}

// ended tells whether there is nothing left to wait for.
func (l *Loop) ended() bool { return l.ending && l.conns.Len() == 0 }

// abandon closes everything when the poller has failed.
func (l *Loop) abandon() {
	l.begin()
	l.closeListeners()
	l.draining, l.ending = true, true
	for l.closing = l.conns.Max(); l.closing > 0; {
		l.closeSome()
		l.settle()
	}
}

// finish ends a loop that has no connections: nothing can be posted from now
// on, and what was posted before is run.
func (l *Loop) finish() {
	l.running.Store(true) // nobody need wake us
	l.ending = true
	l.mailbox.mu.Lock()
	l.mailbox.closed = true
	l.mailbox.emptied()
	l.mailbox.mu.Unlock()
	if l.freezing != nil {
		l.freezing.end(ErrClosed)
		l.unfreeze()
		l.frozen = false
	}
	l.attention.Store(true)
	l.drain(true)
	l.settle()
	if l.alarm != nil {
		l.alarm.Stop()
	}
	l.wake.close()
	if l.poller != nil {
		_ = l.poller.Close()
	}
	l.owner.goroutine.Store(0)
	close(l.done)
}
