package loop

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A Frozen engine's loops do nothing but what its methods say.
type Frozen struct {
	e    *Engine
	work []chan func(l *Loop) // for each loop
	all  chan struct{}        // closed when all stand still
	over chan struct{}        // closed when they go on

	release sync.Once // of Engine.freezer

	// Guarded by mu.
	mu       sync.Mutex
	standing int    // loops that stand still
	gates    []bool // for each of these: what is in its mailbox waits
	frozen   bool   // all is closed
	ended    bool   // over is closed
	err      error  // why, if not by Thaw
}

// For how long, once a loop has been asked to stand still, it goes on with what is posted
// to it: what follows from what was posted before is done before. Whoever posts faster than
// the loop works waits then.
const (
	patience      = 20 * time.Millisecond
	patienceTurns = 16 // and at least so many rounds of it
)

var errFrozen = errors.New("loop: the engine is not frozen")

// Freeze stops all loops between two steps of theirs, behind what was posted to them
// before. Before Run it waits for that. The error is ctx's when that is done before all have
// come, and ErrClosed of an engine that has ended, or ends meanwhile; then they go on.
//
// Nothing is under way then: queues were sent as far as peers take them, slices of long
// work are done, and no loop waits for another: one that does in a handler is answered
// until all have come. What is posted to the loops meanwhile waits until Thaw, also that
// the engine is to end. Whoever gathers, or asks a loop, waits too. One caller at a time
// has an engine frozen; others wait. It must not be called on a loop.
func (e *Engine) Freeze(ctx context.Context) (*Frozen, error) {
	if e.OnLoop() {
		return nil, errors.New("loop: a loop cannot freeze its engine")
	}
	select {
	case e.freezer <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f := &Frozen{e: e, all: make(chan struct{}), over: make(chan struct{}), gates: make([]bool, len(e.loops))}
	for range e.loops {
		f.work = append(f.work, make(chan func(*Loop)))
	}
	if err := f.wait(ctx); err != nil {
		<-e.freezer
		return nil, err
	}
	return f, nil
}

// wait has all loops come.
func (f *Frozen) wait(ctx context.Context) error {
	select {
	case <-f.e.began:
	case <-ctx.Done():
		return ctx.Err()
	}
	f.e.mu.Lock()
	run := f.e.state == running
	f.e.mu.Unlock()
	if !run {
		return ErrClosed
	}
	f.e.coming.Store(f)
	defer f.e.coming.Store(nil)
	for _, l := range f.e.loops {
		if !l.Post((*freezing)(f)) {
			f.end(ErrClosed)
		}
	}
	select {
	case <-f.all:
		return nil
	case <-f.over:
		return f.err
	case <-ctx.Done():
	}
	return f.callOff(ctx.Err())
}

// callOff has the loops go on, and returns why, unless all stand still.
func (f *Frozen) callOff(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.frozen {
		return nil
	}
	f.endLocked(err)
	return f.err
}

// Each calls f for each loop, on the loop's goroutine and for all at once, and returns
// when all calls have. If one panics, Each does on the caller's goroutine, and the loops
// go on. It must not be called when they do. Nothing of the mailbox is run meanwhile, also by
// Loop.Ask of the loop itself; do must not ask another one.
func (f *Frozen) Each(do func(l *Loop)) {
	results := make(chan any, len(f.work))
	job := func(l *Loop) {
		returned := false
		defer func() {
			if returned {
				results <- nil
			} else if v := recover(); v != nil {
				l.panicked(v)
				results <- v
			} else {
				results <- ErrExited
			}
		}()
		do(l)
		returned = true
	}
	asked := 0
	var failed any
	for _, c := range f.work {
		select {
		case c <- job:
			asked++
		case <-f.over:
			failed = errFrozen
		}
	}
	for range asked {
		if v := <-results; v != nil {
			failed = v
		}
	}
	if failed != nil {
		f.Thaw()
		panic(fmt.Sprintf("loop: Frozen.Each: %v", failed))
	}
}

// Thaw has the loops go on. Once they do it does nothing.
func (f *Frozen) Thaw() {
	f.end(nil)
	f.release.Do(func() { <-f.e.freezer })
}

// end has the loops go on.
func (f *Frozen) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endLocked(err)
}

func (f *Frozen) endLocked(err error) {
	if !f.ended {
		f.ended, f.err = true, err
		close(f.over)
	}
}

// stands counts a loop that stands still; it is false when it is to go on. It is the last
// one if none of the others has been given something to do by it.
func (f *Frozen) stands(l *Loop) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return false
	}
	f.gates[l.index] = l.gate
	f.standing++
	f.frozen = f.standing == len(f.e.loops)
	for i, l := range f.e.loops {
		if l.attention.Load() && !f.gates[i] || l.asked.Load() > 0 {
			f.frozen = false
		}
	}
	if f.frozen {
		close(f.all)
	}
	return true
}

// leaves reports whether a loop that stands still may do something before all do.
func (f *Frozen) leaves() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.frozen {
		return false
	}
	f.standing--
	return true
}

// A freezing is a Frozen as what the loops are told of it.
type freezing Frozen

// Run has the loop stand still as soon as it has done what is under way: see Loop.end.
func (f *freezing) Run(l *Loop) {
	if l.ending {
		(*Frozen)(f).end(ErrClosed)
		return
	}
	l.freezing, l.gate, l.turnsLeft, l.freezeBy = (*Frozen)(f), false, patienceTurns, l.engine.nowMs()+patience.Milliseconds()
}

// gated tells whether what is in the mailbox waits, but for what another loop waits for.
func (l *Loop) gated() bool { return l.gate && l.asked.Load() == 0 }

// still reports whether the loop, which is to stand still, has nothing to do before.
func (l *Loop) still() bool {
	if l.turnsLeft--; l.turnsLeft <= 0 && l.engine.nowMs() >= l.freezeBy {
		l.gate = true
	}
	return l.idle() && !l.more()
}

// stand stands still until the loops go on, or there is something to do before all do. It
// is between two steps: no handler is on the stack.
func (l *Loop) stand() {
	f := l.freezing
	l.asking.Store(true) // say so when there is something in the mailbox
	defer l.asking.Store(false)
	if l.ending {
		f.end(ErrClosed)
	}
	if !f.stands(l) {
		l.unfreeze()
		return
	}
	for {
		if l.attention.Load() && !l.gated() && f.leaves() {
			return
		}
		select {
		case do := <-f.work[l.index]:
			l.frozen = true
			do(l)
			l.frozen = false
		case <-f.over:
			l.unfreeze()
			return
		case <-l.posted:
		}
	}
}

func (l *Loop) unfreeze() { l.freezing, l.gate = nil, false }
