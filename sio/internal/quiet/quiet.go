// Package quiet is what sio/siotest sees of a server on simulated loops: when it
// has nothing left to do, and what it emits.
//
// A server that is watched begins each goroutine that runs handlers with Go, and
// waits within them with Wait. One of them runs at a time, from when the driver of
// the loops lets it until it ends or waits, in the order in which they were begun
// or what they wait for has happened; so a program whose handlers are goroutines
// does the same in every run. A handler that waits in anything else gives way to
// the others once its goroutine is seen to be blocked, and is waited for in real
// time.
package quiet

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Watch knows the goroutines that run a server's handlers. Its methods may be
// called from any goroutine, those of the driver from one at a time.
type Watch struct {
	// Set before the server is used.
	Now     func() time.Duration // the clock of the loops
	Drive   func()               // has the driver run, for a goroutine that is no handler's and waits
	Emitted func(*Emit)          // is told of each event that is about to be emitted
	Left    func(id, reason string)
	// Set by the server, before NewWatched returns.
	Path string // of requests

	changed chan struct{} // has one when something has happened

	// Guarded by mu.
	mu     sync.Mutex
	actors []*actor // that have not ended, in the order of their beginning
	ready  []*actor // to run, the first next
}

// An Emit is an event as it was emitted.
type Emit struct {
	Namespace, Event  string
	Args, Attachments [][]byte
	Rooms, Except     []string
	Socket            string // that it was emitted to, or whose others are addressed; "": none
	Direct            bool   // to Socket
	Volatile          bool
	Plain, Local      bool

	// Guarded by mu.
	mu         sync.Mutex
	recipients []string
	failed     bool
}

// Reaches notes the id of a socket that the event goes to.
func (e *Emit) Reaches(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.recipients = append(e.recipients, id)
}

// Fail says that the event was not sent.
func (e *Emit) Fail() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failed = true
}

// Recipients returns the ids of the sockets that the event goes to, each once; it
// is false if the event was not sent. They are known when the loops have turned.
func (e *Emit) Recipients() (ids []string, sent bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.recipients), !e.failed
}

// An actor is a goroutine that runs handlers. Its fields are guarded by Watch.mu.
type actor struct {
	goroutine uint64 // 0: not started
	state     state
	resume    chan error // lets it run; gets what Wait returns
	result    error      // for resume

	// Of one that is parked.
	ctx      context.Context
	done     <-chan struct{}
	deadline time.Duration // on the clock of the loops; negative: none

	// The function that has asked last for the channel of a socket's context.
	looks string
	at    context.Context

	left string // the place at which it waits for the test: see SettleLeaving
}

type state uint8

const (
	ready   state = iota // to be let run
	running              // is what the driver waits for
	loose                // runs beside others, since it waits for something that nobody here knows
	parked               // in Wait
)

// New returns a Watch.
func New() *Watch { return &Watch{changed: make(chan struct{}, 1)} }

// Notify says that something has happened that the driver may wait for.
func (w *Watch) Notify() {
	select {
	case w.changed <- struct{}{}:
	default: // it will look anyway
	}
}

// Changed receives after Notify, and when a handler has ended or waits.
func (w *Watch) Changed() <-chan struct{} { return w.changed }

// Go runs f on a goroutine, once it is let.
func (w *Watch) Go(f func()) {
	a := &actor{resume: make(chan error, 1)}
	w.mu.Lock()
	w.actors, w.ready = append(w.actors, a), append(w.ready, a)
	w.mu.Unlock()
	w.Notify()
	// ends with f
	go func() {
		<-a.resume
		w.mu.Lock()
		a.goroutine = goroutineID()
		w.mu.Unlock()
		defer w.end(a)
		f()
	}()
}

func (w *Watch) end(a *actor) {
	w.mu.Lock()
	i := slices.Index(w.actors, a)
	w.actors = slices.Delete(w.actors, i, i+1)
	a.state = parked // it does not run any more
	w.mu.Unlock()
	w.Notify()
}

// me returns the actor whose goroutine the caller runs on, nil if it is none's.
func (w *Watch) me() *actor {
	id := goroutineID()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.actors {
		if a.goroutine == id {
			return a
		}
	}
	return nil
}

// Wait returns when done is closed, or with ctx's error. A deadline of ctx is met
// on the clock of the loops. On a goroutine that runs no handlers it has the server
// driven meanwhile, and ctx is all there is.
func (w *Watch) Wait(ctx context.Context, done <-chan struct{}) error {
	a := w.me()
	if a == nil {
		return w.waitOutside(ctx, done)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	w.mu.Lock()
	a.state, a.ctx, a.done, a.deadline = parked, ctx, done, -1
	if t, ok := ctx.Deadline(); ok {
		a.deadline = w.Now() + time.Until(t)
	}
	w.mu.Unlock()
	w.Notify()
	return <-a.resume
}

// lookEvery is how often somebody who waits in real time looks again by himself.
const lookEvery = 5 * time.Millisecond

func (w *Watch) waitOutside(ctx context.Context, done <-chan struct{}) error {
	for {
		w.Drive()
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookEvery):
		}
	}
}

// Deadline returns the next moment on the clock of the loops at which a handler's
// waiting ends.
func (w *Watch) Deadline() (at time.Duration, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.actors {
		if a.state == parked && a.deadline >= 0 && (!ok || a.deadline < at) {
			at, ok = a.deadline, true
		}
	}
	return at, ok
}

// Idle tells whether Settle would find no handler to wait for or to let run.
func (w *Watch) Idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.actors {
		switch a.state {
		case parked:
			if _, over := a.over(w.Now()); over {
				return false
			}
		case loose:
			if a.at == nil && a.left == "" || a.at != nil && a.at.Err() != nil {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// Settle is the driver's: it calls turn, which turns the loops, and lets handlers
// run, until the loops are idle and every handler has ended or waits. The error,
// a *HangError, is that of handlers that did neither within limit, in real time.
func (w *Watch) Settle(turn func(), limit time.Duration) error { return w.settle(turn, limit, false) }

// SettleLeaving is Settle, but handlers that are blocked are left alone: until they
// go on they wait for the test, now and in each Settle to come.
func (w *Watch) SettleLeaving(turn func(), limit time.Duration) error {
	return w.settle(turn, limit, true)
}

// Recall has Settle wait for all handlers again.
func (w *Watch) Recall() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.actors {
		a.left = ""
	}
}

func (w *Watch) settle(turn func(), limit time.Duration, leave bool) error {
	began, turned := time.Now(), false
	for {
		turn()
		active, hang := w.loose(false)
		if !active {
			if a := w.next(); a != nil {
				w.run(a)
				began, turned = time.Now(), false
				continue
			}
			if leave {
				_, hang = w.loose(true)
			}
		}
		waited := time.Since(began)
		switch {
		case hang == nil && turned:
			return nil
		case hang == nil:
			turned = true // once more: one that was loose may have come to its end behind the turn
			continue
		case waited > limit:
			return hang
		}
		turned = false
		w.pause(max(waited/4, time.Millisecond)) // or until one ends
	}
}

// pause waits until something has happened, or for d: then it is false.
func (w *Watch) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-w.changed:
		return true
	case <-t.C:
		return false
	}
}

// next returns the actor that is to run, nil if none is ready.
func (w *Watch) next() *actor {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.actors {
		if a.state != parked {
			continue
		}
		if err, over := a.over(w.Now()); over {
			a.state, a.result = ready, err
			a.ctx, a.done = nil, nil
			w.ready = append(w.ready, a)
		}
	}
	if len(w.ready) == 0 {
		return nil
	}
	a := w.ready[0]
	w.ready = w.ready[1:]
	a.state = running
	return a
}

// over tells whether what a waits for has happened.
func (a *actor) over(now time.Duration) (err error, over bool) {
	select {
	case <-a.done:
		return nil, true
	default:
	}
	switch err := a.ctx.Err(); {
	case a.deadline >= 0 && now >= a.deadline:
		return context.DeadlineExceeded, true
	case err != nil && err != context.DeadlineExceeded: // that is not for the clock of the machine to say
		return err, true
	}
	return nil, false
}

// run lets an actor run, until it ends, waits, or is blocked.
func (w *Watch) run(a *actor) {
	a.resume <- a.result
	for d := time.Millisecond; ; d = min(2*d, 2*lookEvery) {
		happened := w.pause(d)
		w.mu.Lock()
		over := a.state != running
		if !over && !happened && goroutines()[a.goroutine].blocked() {
			a.state, over = loose, true
		}
		w.mu.Unlock()
		if over {
			return
		}
	}
}

// loose looks at the handlers that wait for what nobody here knows. It is true if
// one of them does so no more; others are not let run then. hang is of all of them,
// nil if there are none, but for who waits for the test: for the end of its socket's
// context, or because it was left. With leave those are left that are blocked.
func (w *Watch) loose(leave bool) (active bool, hang error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.ContainsFunc(w.actors, func(a *actor) bool { return a.state == loose }) {
		return false, nil
	}
	all, e := goroutines(), &HangError{}
	for _, a := range w.actors {
		if a.state != loose {
			continue
		}
		g := all[a.goroutine]
		active = active || !g.blocked()
		if leave && g.blocked() {
			a.left = g.place()
		}
		if !g.blocked() || a.left != g.place() && (a.looks == "" || g.function() != a.looks) {
			e.Stacks = append(e.Stacks, g.stack)
		}
	}
	if e.Stacks == nil {
		return false, nil
	}
	return active, e
}

// Between is called between two handlers of one goroutine: one that has run beside
// others waits until it is let run again.
func (w *Watch) Between() {
	a := w.me()
	w.mu.Lock()
	if a == nil || a.state != loose {
		w.mu.Unlock()
		return
	}
	a.state, a.result = ready, nil
	w.ready = append(w.ready, a)
	w.mu.Unlock()
	w.Notify()
	<-a.resume
}

// A HangError is of handlers that do not end.
type HangError struct{ Stacks []string }

// Error shows the stacks of their goroutines.
func (e *HangError) Error() string {
	return fmt.Sprintf("%d handlers neither end nor wait in a call of package sio:\n\n%s", len(e.Stacks), strings.Join(e.Stacks, "\n\n"))
}

// Context returns a socket's context, of which a handler may wait for the end.
func (w *Watch) Context(ctx context.Context) context.Context { return observed{ctx, w} }

type observed struct {
	context.Context
	w *Watch
}

// Done notes who asks.
func (c observed) Done() <-chan struct{} {
	if a := c.w.me(); a != nil {
		var pc [1]uintptr
		runtime.Callers(2, pc[:])
		caller, _ := runtime.CallersFrames(pc[:]).Next()
		c.w.mu.Lock()
		a.looks, a.at = caller.Function, c.Context
		c.w.mu.Unlock()
	}
	return c.Context.Done()
}
