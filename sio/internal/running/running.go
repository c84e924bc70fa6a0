// Package running counts what runs, for who waits until nothing does.
package running

import (
	"sync"
	"sync/atomic"
)

// A Count is like a sync.WaitGroup, but that more may begin while somebody waits, and from
// nothing. What begins is of a turn: see NewTurn. Any goroutine may use it.
type Count struct {
	n    [2]atomic.Int64 // by turn
	turn atomic.Uint32

	mu   sync.Mutex
	idle chan struct{}    // closed when nothing runs; nil: nobody waits. Guarded by mu, as what follows
	past [2]chan struct{} // the same of each turn
}

// A Turn is what Begin returns, for End.
type Turn uint8

// Begin counts one more.
func (c *Count) Begin() Turn {
	t := Turn(c.turn.Load() & 1)
	c.n[t].Add(1)
	return t
}

// End counts one less.
func (c *Count) End(t Turn) {
	if c.n[t].Add(-1) > 0 {
		return
	}
	all := c.n[1-t].Load() == 0
	c.mu.Lock()
	defer c.mu.Unlock()
	if all {
		c.idle = done(c.idle)
	}
	c.past[t] = done(c.past[t])
}

// done closes c unless it is nil, and returns nil.
func done(c chan struct{}) chan struct{} {
	if c != nil {
		close(c)
	}
	return nil
}

// Running returns how many run.
func (c *Count) Running() int { return int(c.n[0].Load() + c.n[1].Load()) }

// Wait returns when nothing runs, or nothing did for a moment.
func (c *Count) Wait() { <-c.Idle() }

// Idle returns what is closed then.
func (c *Count) Idle() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle == nil {
		c.idle = make(chan struct{})
	}
	idle := c.idle
	if c.Running() == 0 {
		c.idle = done(c.idle)
	}
	return idle
}

// NewTurn returns what is closed when all has ended that had begun before. What begins
// from now on is of another turn. Until then it must not be called again.
func (c *Count) NewTurn() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.turn.Add(1) & 1
	t = 1 - t
	if c.past[t] == nil {
		c.past[t] = make(chan struct{})
	}
	past := c.past[t]
	if c.n[t].Load() == 0 {
		c.past[t] = done(c.past[t])
	}
	return past
}
