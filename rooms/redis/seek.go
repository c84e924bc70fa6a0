package redis

import (
	"context"
	"sync"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

const (
	// silentFor is how long a server is remembered that is taken for dead, but has
	// not said that it leaves: longer than a client of it waits for its next ping.
	silentFor = 2 * time.Minute
	maxSilent = 4096
	// leftFor is how long a server is known to have left.
	leftFor = 2 * time.Minute
	maxLeft = 4096
	// seekEvery is how often the others are asked who they are, by all searches.
	seekEvery = 100 * time.Millisecond
)

// gone are servers that were there, by node. They are guarded by peers.mu.
type gone struct {
	silent map[string]rooms.Peer // when they were last heard of is in them
	left   map[string]departure
}

// A departure is a peer's that has said that it leaves.
type departure struct {
	uid string
	at  time.Time
}

// silence remembers a peer that has not been heard of.
func (g *gone) silence(p rooms.Peer) {
	if g.silent == nil {
		g.silent = map[string]rooms.Peer{}
	}
	if len(g.silent) < maxSilent {
		g.silent[p.Node] = p
	}
}

// leave remembers that a peer has said that it leaves.
func (g *gone) leave(node, uid string, now time.Time) {
	if g.left == nil {
		g.left = map[string]departure{}
	}
	delete(g.silent, node)
	if len(g.left) < maxLeft {
		g.left[node] = departure{uid, now}
	}
}

// hasLeft tells whether a heartbeat is of before a farewell that has overtaken it.
func (g *gone) hasLeft(node, uid string) bool {
	d, ok := g.left[node]
	return ok && d.uid == uid
}

// back forgets that a peer was gone.
func (g *gone) back(node string) {
	delete(g.silent, node)
	delete(g.left, node)
}

// sweep forgets those that nobody asks for any more.
func (g *gone) sweep(now time.Time) {
	for node, p := range g.silent {
		if now.Sub(p.Seen) > silentFor {
			delete(g.silent, node)
		}
	}
	for node, d := range g.left {
		if now.Sub(d.at) > leftFor {
			delete(g.left, node)
		}
	}
}

// A moment is closed when it has come, and made anew.
type moment struct{ c chan struct{} }

// next returns what is closed the next time. The peers' mu is held.
func (m *moment) next() <-chan struct{} {
	if m.c == nil {
		m.c = make(chan struct{})
	}
	return m.c
}

// come says that it has come. The peers' mu is held.
func (m *moment) come() {
	if m.c != nil {
		close(m.c)
		m.c = nil
	}
}

// sought tells whether it is known where a node is, or that it has left, and
// otherwise what is closed when more is known.
func (p *peers) sought(node string) (known bool, more <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, known = p.find(node)
	if !known {
		_, known = p.left[node]
	}
	return known, p.news.next()
}

// seekers ask the others who they are, not more often than seekEvery.
type seekers struct {
	mu   sync.Mutex
	next time.Time
}

// turn returns how long to wait before asking the others; false if somebody asks
// them later anyway.
func (s *seekers) turn(now time.Time) (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next.After(now) {
		return 0, false
	}
	s.next = now.Add(seekEvery)
	return seekEvery, true
}

// Seek asks the other servers who they are until node is known, has left, or ctx is
// done. They are asked once it can be heard what they say; if more is asked within a
// moment, together.
func (c *core) Seek(ctx context.Context, node string) {
	if c.b.subs.await(ctx, c.heartbeats()) != nil {
		return
	}
	if wait, ours := c.seekers.turn(time.Now()); ours {
		// ends when the others have been asked, or the broker is closed
		go func() {
			select {
			case <-time.After(wait):
				c.sendHeartbeat(true, false)
			case <-c.b.ctx.Done():
			}
		}()
	}
	for {
		known, more := c.peers.sought(node)
		if known {
			return
		}
		select {
		case <-more:
		case <-ctx.Done():
			return
		}
	}
}
