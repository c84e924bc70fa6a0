package webhook

import (
	"context"
	"sync"
	"time"
)

// While its server's clients are handed over, a backend makes no request: what waits is data.
//
//	Hold    lanes begin nothing; clients that wait to connect are asked about
//	Still   nobody waits to connect any more
//	Export  carry.go
//	Release everything goes on, or Moved: for the clients that have stayed

// A halt has lanes begin nothing for a while: those of clients that wait to connect, or the
// others.
type halt struct {
	mu   sync.Mutex
	on   [2]bool
	stop [2]chan struct{} // closed when a lane is to stop, also since the backend is closed
}

func kindOf(urgent bool) int {
	if urgent {
		return 1
	}
	return 0
}

// halted tells whether lanes begin nothing, and otherwise returns what is closed when they
// are to stop.
func (h *halt) halted(urgent bool) (stop <-chan struct{}, on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := kindOf(urgent)
	if h.stop[k] == nil {
		h.stop[k] = make(chan struct{})
	}
	return h.stop[k], h.on[k]
}

// begin has lanes stop.
func (h *halt) begin(urgent bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := kindOf(urgent)
	if h.on[k] {
		return
	}
	h.on[k] = true
	if h.stop[k] == nil {
		h.stop[k] = make(chan struct{})
	}
	close(h.stop[k])
}

// end has them go on.
func (h *halt) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.on, h.stop = [2]bool{}, [2]chan struct{}{}
}

// A hurry is how those who wait for the backend are told that the time is over for that.
// Guarded by mu.
type hurry struct {
	mu    sync.Mutex
	over  chan struct{} // closed: who waits for an answer does not any more
	room  chan struct{} // closed: events find room
	timer *time.Timer
}

func (h *hurry) init() { h.over, h.room = make(chan struct{}), make(chan struct{}) }

func (h *hurry) get() (over, room <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.over, h.room
}

// patience is which part of the time of a Hold a backend is waited for; behind it requests
// are given up.
const patience = 0.8

// Hold has the backend make no further request, but for clients that wait to connect, and
// returns when those under way have ended, whose answers are done. A request for which ctx
// has not the time is given up, as one that is not answered: what it told is told again, by
// the same ids. Who waits for room for an event does not any more. The error is ctx's.
func (b *Backend) Hold(ctx context.Context) error {
	b.halt.begin(false)
	b.barrier(b.lanes)
	if at, ok := ctx.Deadline(); ok {
		b.hurry.mu.Lock()
		b.hurry.timer = time.AfterFunc(time.Duration(float64(time.Until(at))*patience), b.press)
		b.hurry.mu.Unlock()
	}
	if err := b.life.wait(ctx); err != nil {
		return err
	}
	b.hurry.mu.Lock()
	defer b.hurry.mu.Unlock()
	if !isClosed(b.hurry.room) {
		close(b.hurry.room)
	}
	return nil
}

// press gives up what is under way.
func (b *Backend) press() {
	b.hurry.mu.Lock()
	defer b.hurry.mu.Unlock()
	if !isClosed(b.hurry.over) {
		close(b.hurry.over)
	}
	if taken, _ := b.slots.count(); taken > 0 {
		b.notice.Warn("webhook: requests are given up because the server hands its clients over, and has not the time", "backend", b.name, "requests", taken, "see", b.key+".timeout")
	}
	b.round.Load().cancel()
}

// Still has the backend make no request at all, when no client waits to connect any more.
func (b *Backend) Still(ctx context.Context) error {
	b.halt.begin(true)
	b.barrier(b.doors)
	return b.knocks.wait(ctx)
}

// barrier returns when who was about to begin in a lane has.
func (b *Backend) barrier(lanes []lane) {
	for i := range lanes {
		lanes[i].mu.Lock()
		//lint:ignore SA2001 who holds it does not know of the halt
		lanes[i].mu.Unlock()
	}
}

// Release has the backend go on.
func (b *Backend) Release() {
	b.hurry.mu.Lock()
	if b.hurry.timer != nil {
		b.hurry.timer.Stop()
		b.hurry.timer = nil
	}
	b.hurry.over, b.hurry.room = make(chan struct{}), make(chan struct{})
	if b.round.Load().ctx.Err() != nil {
		b.newRound()
	}
	b.hurry.mu.Unlock()
	b.halt.end()
	for _, lanes := range [][]lane{b.lanes, b.doors} {
		for i := range lanes {
			lanes[i].start()
		}
	}
}

// A round is the context of requests, until they are given up.
type round struct {
	ctx    context.Context
	cancel context.CancelFunc
}

// newRound has requests be under way that are not given up.
func (b *Backend) newRound() {
	r := &round{}
	r.ctx, r.cancel = context.WithCancel(b.ctx)
	b.round.Store(r)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
