package bridge

import (
	"context"
	"sync"
	"time"
)

// While the server's clients are handed over, a bridge goes on with its processes until no
// handler runs any more; then it is as it is, and data.
//
//	Hold    who waits for a process waits no longer than there is time
//	Still   nothing of processes is handled, and no time is over
//	Export  carry.go
//	Release everything goes on, or Moved: processes are told to come back at once

// patience is which part of the time of a Hold a process is waited for that is to decide
// about a client.
const patience = 0.8

// A moving says how far a handover is.
type moving struct {
	mu    sync.Mutex
	made  chan struct{} // closed: events, and answers, find room
	over  chan struct{} // closed: nobody waits for a process's decision
	still chan struct{} // closed: sockets that were accepted are not waited for
	timer *time.Timer
	held  bool // between Still and what follows; guarded by Bridge.mu
}

func (x *moving) begin() {
	x.made, x.over, x.still = make(chan struct{}), make(chan struct{}), make(chan struct{})
}

func (x *moving) room() <-chan struct{}      { x.mu.Lock(); defer x.mu.Unlock(); return x.made }
func (x *moving) hurry() <-chan struct{}     { x.mu.Lock(); defer x.mu.Unlock(); return x.over }
func (x *moving) unmoved() <-chan struct{}   { x.mu.Lock(); defer x.mu.Unlock(); return x.still }
func (x *moving) end(c func() chan struct{}) { x.mu.Lock(); defer x.mu.Unlock(); shut(c()) }

func shut(c chan struct{}) {
	if !isClosed(c) {
		close(c)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Hold has nobody wait for room for an event any more, and clients that no process has
// decided about in most of the time that ctx leaves come back.
func (b *Bridge) Hold(ctx context.Context) error {
	x := &b.moving
	x.mu.Lock()
	defer x.mu.Unlock()
	if at, ok := ctx.Deadline(); ok {
		x.timer = time.AfterFunc(time.Duration(float64(time.Until(at))*patience), func() { x.end(func() chan struct{} { return x.over }) })
	}
	shut(x.made)
	return nil
}

// Still has the bridge do nothing by itself. The error is ctx's.
func (b *Bridge) Still(ctx context.Context) error {
	b.moving.end(func() chan struct{} { return b.moving.still })
	if err := b.links.Hold(ctx); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.unlock()
	b.moving.held = true
	b.expiry.Stop()
	return nil
}

// Release has the bridge go on.
func (b *Bridge) Release() {
	b.moving.mu.Lock()
	if b.moving.timer != nil {
		b.moving.timer.Stop()
		b.moving.timer = nil
	}
	b.moving.begin()
	b.moving.mu.Unlock()
	b.mu.Lock()
	b.moving.held = false
	b.carrying = nil
	b.arm()
	b.kick()
	b.unlock()
	b.links.Release()
}

// Moved ends what processes have here: another server has the sockets. Clients that have
// stayed are not given to a process any more, and come back there.
func (b *Bridge) Moved() {
	b.mu.Lock()
	seats := map[*seat]bool{}
	for _, m := range b.members {
		for _, x := range m.conns {
			seats[x] = true
		}
		for _, cancel := range m.requests {
			cancel()
		}
		m.over, m.requests, m.relays = true, nil, nil
		m.hasRoom()
	}
	for _, x := range b.waiting {
		seats[x] = true
	}
	b.members, b.waiting = nil, nil
	for x := range seats {
		for _, k := range x.sockets {
			k.stage = gone
			b.release(k)
			k.decide(errMoved)
			if !hasLeft(k.s) {
				b.closing = append(b.closing, k.s)
			}
		}
		x.member, x.waits, x.listed, x.sockets = nil, false, false, nil
	}
	b.unlock()
	b.links.Moved()
	b.Release()
}
