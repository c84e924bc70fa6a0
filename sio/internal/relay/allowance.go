package relay

import (
	"context"
	"sync"
)

// An allowance is bytes that are held at a time. Who does not get as many as it wants
// waits, and those who come later behind it. Any goroutine may use it.
type allowance struct {
	mu      sync.Mutex
	free    int64
	waiting []*wish // the first is the next
}

type wish struct {
	n   int64
	got chan struct{} // closed when it has them
}

// take waits for n bytes, of not more than there are in all. give gives them back.
func (b *allowance) take(ctx context.Context, n int64) error {
	b.mu.Lock()
	if len(b.waiting) == 0 && n <= b.free {
		b.free -= n
		b.mu.Unlock()
		return nil
	}
	c := &wish{n, make(chan struct{})}
	b.waiting = append(b.waiting, c)
	b.mu.Unlock()
	select {
	case <-c.got:
		return nil
	case <-ctx.Done():
		b.withdraw(c)
		return ctx.Err()
	}
}

func (b *allowance) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += n
	b.serve()
}

// withdraw is take's end for who does not wait any more.
func (b *allowance) withdraw(c *wish) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-c.got:
		b.free += c.n
	default:
		for i, w := range b.waiting {
			if w == c {
				b.waiting = append(b.waiting[:i:i], b.waiting[i+1:]...)
				break
			}
		}
	}
	b.serve()
}

// serve gives bytes to those that wait. b.mu is held.
func (b *allowance) serve() {
	for len(b.waiting) > 0 && b.waiting[0].n <= b.free {
		c := b.waiting[0]
		b.waiting = b.waiting[1:]
		b.free -= c.n
		close(c.got)
	}
}
