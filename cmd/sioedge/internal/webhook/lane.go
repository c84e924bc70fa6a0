package webhook

import (
	"context"
	"runtime"
	"sync"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
)

// A lane is a queue of what a backend is to be told, in order: one request is under way
// at a time, and what comes meanwhile leaves in the next one. It has a goroutine as long
// as there is something in it.
type lane struct {
	b      *Backend
	urgent bool  // it is of clients that wait to connect
	room   store // bytes of the events in it

	// Guarded by mu, which is held for as long as it takes to append an item.
	mu      sync.Mutex
	queue   []*batch
	dues    int // items in it that it can be too late for
	running bool
}

// begin returns the batch that an item of a kind is to be appended to, with l.mu held
// until end.
func (l *lane) begin(f *form, k action.Kind) *batch {
	l.mu.Lock()
	if n := len(l.queue); n > 0 && l.queue[n-1].fits(f, k) {
		return l.queue[n-1]
	}
	x := newBatch(f, k)
	l.queue = append(l.queue, x)
	return x
}

// end adds an item whose JSON was appended to what begin has returned.
func (l *lane) end(x *batch, it item) {
	x.add(it)
	if it.due != 0 {
		l.dues++
	}
	if x.overflows() {
		y := newBatch(x.form, x.kind)
		x.tailInto(y, len(x.items)-1)
		x.whole = true
		l.queue = append(l.queue, y)
	}
	l.run()
	l.mu.Unlock()
}

// run has the lane's goroutine be there, unless lanes begin nothing. The lock is held.
func (l *lane) run() {
	if _, halted := l.b.halt.halted(l.urgent); l.running || len(l.queue) == 0 || halted && !isClosed(l.b.closed) {
		return
	}
	l.running = true
	l.life().begin()
	// ends when the lane is empty, or is to begin nothing
	go l.work()
}

// start is run for who does not hold the lock.
func (l *lane) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.run()
}

func (l *lane) life() *life {
	if l.urgent {
		return &l.b.knocks
	}
	return &l.b.life
}

// next takes the first batch, nil if there is none, or nothing is to begin: the goroutine
// ends.
func (l *lane) next() *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, halted := l.b.halt.halted(l.urgent)
	if len(l.queue) == 0 {
		l.queue = nil
	}
	if l.queue == nil || halted && !isClosed(l.b.closed) {
		l.running = false
		return nil
	}
	x := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	l.dues -= x.dues()
	return x
}

// back puts a batch back at the head.
func (l *lane) back(x *batch) {
	x.whole = true
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dues += x.dues()
	l.queue = append([]*batch{x}, l.queue...)
}

// dues counts the items that it can be too late for.
func (x *batch) dues() (n int) {
	for i := range x.items {
		if x.items[i].due != 0 {
			n++
		}
	}
	return n
}

func (l *lane) work() {
	defer l.life().end()
	deepen()
	for x := l.next(); x != nil; x = l.next() {
		if l.deliver(x) {
			x.recycle()
		}
	}
}

// deepen has the goroutine's stack grow once to what a request needs, in place of several
// times, each of which copies it: goroutines of lanes are new for each event if few come.
//
//go:noinline
func deepen() {
	var deep [6 << 10]byte
	runtime.KeepAlive(&deep)
}

// A life counts goroutines of lanes, for who waits until there are none.
type life struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // nil: nobody waits
}

func (l *life) begin() {
	l.mu.Lock()
	l.n++
	l.mu.Unlock()
}

func (l *life) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n--; l.n == 0 && l.idle != nil {
		close(l.idle)
		l.idle = nil
	}
}

// wait returns when there are none, or with ctx's error.
func (l *life) wait(ctx context.Context) error {
	l.mu.Lock()
	if l.n == 0 {
		l.mu.Unlock()
		return nil
	}
	if l.idle == nil {
		l.idle = make(chan struct{})
	}
	idle := l.idle
	l.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
