package loop

import (
	"slices"
	"sync"
	"time"
)

// Gather has collect called once on each loop, one after the other, and returns
// when that has happened, or wait is over: late are then the indexes of the loops
// that did not come. Nothing is called for those afterwards, so that what collect
// has written is the caller's, without a lock. It is for reading what belongs to
// the loops: collect must not wait, nor gather.
//
// Any goroutine may call it. On a loop it is called there at once, and what comes
// into that loop's mailbox is run while it waits for the others, as in Ask: loops
// may gather from each other. What was posted to a loop before is run before,
// unless a task holds the mailbox; long work does not make a loop late. Of an
// engine that does not run, collect is called on the caller's goroutine.
func (e *Engine) Gather(wait time.Duration, collect func(l *Loop)) (late []int) {
	if e.gatherIdle(collect) {
		return nil
	}
	g := &gathering{collect: collect, left: len(e.loops), came: make([]bool, len(e.loops)), done: make(chan struct{}), since: time.Now()}
	on := e.current()
	var gone []*Loop
	for _, l := range e.loops {
		if l == on {
			g.run(l)
		} else if !l.ask(g) {
			gone = append(gone, l)
		}
	}
	over := make(chan struct{})
	defer time.AfterFunc(wait, func() { close(over) }).Stop()
	for _, l := range gone {
		if on.awaitUntil(l.done, over) {
			g.run(l) // nobody else is on it any more
		}
	}
	on.awaitUntil(g.done, over)
	return g.end()
}

// gatherIdle is Gather of an engine that was not run yet, or of a Sim.
func (e *Engine) gatherIdle(collect func(l *Loop)) bool {
	if e.sim != nil {
		defer e.sim.lock()()
	} else {
		e.mu.Lock() // so that it does not begin to run
		defer e.mu.Unlock()
		if e.state != created {
			return false
		}
	}
	for _, l := range e.loops {
		collect(l)
	}
	return true
}

// A gathering is a call of Gather.
type gathering struct {
	collect func(l *Loop)
	since   time.Time

	// Guarded by mu, which is held while collect is called.
	mu   sync.Mutex
	over bool
	left int
	came []bool
	done chan struct{} // closed when left is 0
}

func (g *gathering) run(l *Loop) {
	defer l.recovered()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over || g.came[l.index] {
		return
	}
	g.came[l.index] = true
	g.left--
	if g.left == 0 {
		defer close(g.done)
	}
	g.collect(l)
}

// end returns who is late, for whom nothing is called from now on.
func (g *gathering) end() (late []int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
	for i, came := range g.came {
		if !came {
			late = append(late, i)
		}
	}
	return late
}

// ask puts g among what the loop is to be gathered for. It returns false if the
// loop has ended. It does not go through the mailbox, which a task may hold for
// long.
func (l *Loop) ask(g *gathering) bool {
	box := &l.mailbox
	box.mu.Lock()
	if box.closed {
		box.mu.Unlock()
		return false
	}
	if len(box.gathers) == maxGathers {
		// Of a stuck loop. All of them are over, or about to be.
		box.gathers = append(box.gathers[:1], box.gathers[2:]...)
	}
	box.gathers = append(box.gathers, g)
	l.gathers.Store(true)
	box.mu.Unlock()
	l.note()
	l.Wake()
	return true
}

// maxGathers bounds what is kept for a loop that does not come: the oldest, which
// says since when, and the newest.
const maxGathers = 64

// tell runs what the loop is gathered for.
func (l *Loop) tell() {
	if !l.gathers.Load() {
		return
	}
	l.gathers.Store(false)
	l.mailbox.mu.Lock()
	all := l.mailbox.gathers
	l.mailbox.gathers = nil
	l.mailbox.mu.Unlock()
	for _, g := range all {
		g.run(l)
	}
	l.yield = true
}

// A LateLoop is a loop that does not answer.
type LateLoop struct {
	Loop int           // its index
	For  time.Duration // since it was first asked in vain
}

// Late returns the loops that have been asked by a Gather and have not come yet,
// with how long ago that was; late ones are those of which it is longer than what
// callers are ready to wait. Any goroutine may call it.
func (e *Engine) Late(than time.Duration) (late []LateLoop) {
	for _, l := range e.loops {
		l.mailbox.mu.Lock()
		if all := l.mailbox.gathers; len(all) > 0 {
			if d := time.Since(all[0].since); d >= than {
				late = append(late, LateLoop{l.index, d})
			}
		}
		l.mailbox.mu.Unlock()
	}
	return late
}

// StatsWait is how long whoever counts waits for a loop: see Latest.
const StatsWait = 100 * time.Millisecond

// A Latest keeps what the loops of an engine have told of themselves, since one that
// is late counts with what it told last. The zero value is ready, for one engine. Any
// goroutine may call its methods.
type Latest[T any] struct {
	mu  sync.Mutex
	all []T // by the loop's index
}

// Gather has each loop tell, by an [Engine.Gather] of StatsWait, and returns what they
// told by their index. Late are those that did not come: what they told last is
// returned for them, the zero T if they never did.
func (x *Latest[T]) Gather(e *Engine, tell func(l *Loop) T) (all []T, late []int) {
	all = make([]T, len(e.loops))
	late = e.Gather(StatsWait, func(l *Loop) { all[l.index] = tell(l) })
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.all == nil {
		x.all = make([]T, len(all))
	}
	for i := range all {
		if slices.Contains(late, i) {
			all[i] = x.all[i]
		} else {
			x.all[i] = all[i]
		}
	}
	return all, late
}

// Last is Gather without asking: all n loops are late.
func (x *Latest[T]) Last(n int) (all []T, late []int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	all = make([]T, n)
	copy(all, x.all)
	for i := range n {
		late = append(late, i)
	}
	return all, late
}
