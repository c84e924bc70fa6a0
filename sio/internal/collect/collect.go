// Package collect gathers the answers to what was asked of many.
package collect

import "sync"

// An Of gathers answers. Any goroutine may use it.
type Of[T any] struct {
	All   chan struct{}     // closed when nothing is due
	News  chan struct{}     // has a word when there are answers to take, or nothing is due: of one who waits
	Each  func(T)           // gets the answers, in place of answers; nil: none
	Asked func(clients int) // is told how many have been asked, once all have; nil: nobody

	mu      sync.Mutex
	due     int // what must still happen: loops, answers and whoever else is waited for
	loops   int // of these, loops that have not sent yet
	clients int // that have been asked
	answers []T
}

// New returns one that nothing is due to.
func New[T any]() *Of[T] { return &Of[T]{All: make(chan struct{}), News: make(chan struct{}, 1)} }

// Expect says that n more things must happen.
func (c *Of[T]) Expect(n int) {
	c.mu.Lock()
	c.due += n
	c.mu.Unlock()
}

// Settle says that one of them has happened.
func (c *Of[T]) Settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.due--; c.due == 0 {
		close(c.All)
		c.tell()
	}
}

// Begin says that loops are about to send.
func (c *Of[T]) Begin(loops int) {
	c.mu.Lock()
	c.due += loops
	c.loops += loops
	c.mu.Unlock()
}

// Ask says that a loop asks a client.
func (c *Of[T]) Ask() {
	c.mu.Lock()
	c.due++
	c.clients++
	c.mu.Unlock()
}

// Sent says that a loop has sent, or has ended.
func (c *Of[T]) Sent() {
	c.mu.Lock()
	c.loops--
	last, clients := c.loops == 0, c.clients
	c.mu.Unlock()
	if last && c.Asked != nil {
		c.Asked(clients)
	}
	c.Settle()
}

// Answer takes the answer of a client that was asked; an error is none.
func (c *Of[T]) Answer(a T, err error) {
	if err == nil {
		c.Add(a)
	}
	c.Settle()
}

// Add takes an answer.
func (c *Of[T]) Add(a T) {
	if c.Each != nil {
		c.Each(a)
		return
	}
	c.mu.Lock()
	c.answers = append(c.answers, a)
	c.tell()
	c.mu.Unlock()
}

func (c *Of[T]) tell() {
	select {
	case c.News <- struct{}{}:
	default:
	}
}

// Elsewhere says that clients have been asked whose answers nothing is due for.
func (c *Of[T]) Elsewhere(clients int) {
	c.mu.Lock()
	c.clients += clients
	c.mu.Unlock()
}

// Clients returns how many have been asked so far.
func (c *Of[T]) Clients() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clients
}

// Over tells whether nothing is due.
func (c *Of[T]) Over() bool {
	select {
	case <-c.All:
		return true
	default:
		return false
	}
}

// Take returns the answers that it has not returned yet.
func (c *Of[T]) Take() []T {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.answers
	c.answers = nil
	return all
}
