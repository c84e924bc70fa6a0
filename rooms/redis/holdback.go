package redis

import (
	"sync/atomic"
	"time"
)

// A holdback keeps what is to be published after a failure until those who are to
// get it are subscribed again: this server, whose connections fail together with
// those of the others, and as many of its kind as it knows. It ends by itself after
// a while.
type holdback struct {
	on    atomic.Bool
	since atomic.Int64 // Unix ns
}

// mostHeld bounds how long that is.
const mostHeld = lastPause + time.Second

func (h *holdback) begin() {
	if !h.on.Swap(true) {
		h.since.Store(time.Now().UnixNano())
	}
}

// awaitOthers waits until nothing is held back. The connection may have failed
// meanwhile, as the others have: alive asks it, and tells.
func (b *broker) awaitOthers(alive func() error) error {
	if !b.held.on.Load() {
		return nil
	}
	for !b.mayPublish() {
		select {
		case <-b.ctx.Done():
			return b.ctx.Err()
		case <-time.After(firstPause / 2):
		}
		if err := alive(); err != nil {
			return err
		}
	}
	b.held.on.Store(false)
	return alive()
}

// mayPublish tells whether what is held back need not be any longer.
func (b *broker) mayPublish() bool {
	if time.Since(time.Unix(0, b.held.since.Load())) > mostHeld {
		return true
	}
	ok, _ := b.subs.settled()
	return ok && (b.together == nil || b.together())
}
