package running

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// lanes is how many counters a Gate has, so that those who pass it at once do not wait for
// one line of memory.
const lanes = 8

// A Gate is what many pass, for a moment each, and one shuts now and then. The zero value
// is open. Any goroutine may use it.
type Gate struct {
	shut atomic.Bool
	over atomic.Bool // and will not be opened

	mu      sync.Mutex
	decided chan struct{} // closed when it is open again, or over; guarded by mu

	within [lanes]struct {
		n atomic.Int64
		_ [56]byte // no false sharing
	}
}

// A Pass is who is within. The zero one has nothing to leave.
type Pass struct{ n *atomic.Int64 }

// Leave says that it is within no more.
func (p Pass) Leave() {
	if p.n != nil {
		p.n.Add(-1)
	}
}

// Enter passes the gate, and waits while it is shut, unless wait says that the caller may
// not: that passes all the same. It is false if the gate has been shut for good. Lane is any
// number. Who is within must not call it.
func (g *Gate) Enter(lane int, wait func() bool) (p Pass, ok bool) {
	for {
		n := &g.within[uint(lane)%lanes].n
		n.Add(1)
		if !g.shut.Load() {
			return Pass{n}, true
		}
		n.Add(-1)
		switch {
		case !wait():
			return Pass{}, true
		case g.over.Load():
			return Pass{}, false
		}
		g.wait()
	}
}

func (g *Gate) wait() {
	g.mu.Lock()
	decided := g.decided
	g.mu.Unlock()
	if decided != nil {
		<-decided
	}
}

// Shut shuts the gate, and returns when nobody is within, or ctx's error: then it is open.
func (g *Gate) Shut(ctx context.Context) error {
	g.mu.Lock()
	g.decided = make(chan struct{})
	g.shut.Store(true)
	g.mu.Unlock()
	for nap := time.Microsecond; !g.empty(); nap = min(2*nap, time.Millisecond) {
		select {
		case <-ctx.Done():
			g.Open()
			return ctx.Err()
		case <-time.After(nap): // they are within for some microseconds
		}
	}
	return nil
}

func (g *Gate) empty() bool {
	for i := range g.within {
		if g.within[i].n.Load() != 0 {
			return false
		}
	}
	return true
}

// Open opens it again.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut.Store(false)
	g.decide()
}

// End leaves it shut for good.
func (g *Gate) End() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over.Store(true)
	g.decide()
}

func (g *Gate) decide() { g.decided = done(g.decided) }
