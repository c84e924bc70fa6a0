// Package ears has what other servers of a cluster said handled in order.
package ears

import "sync"

// MaxBytes bounds what may wait for the handlers of a namespace, in bytes.
const MaxBytes = 16 << 20

// Overhead is what waits beside a payload, in bytes.
const Overhead = 256

// A Queue runs what other servers said, in order, on a goroutine that exists while
// there is something. The zero value is empty; any goroutine may use it.
type Queue struct {
	mu      sync.Mutex
	heard   []saying
	rest    []saying // of those being run
	bytes   int
	running bool
}

// A saying is what another server said: run handles it.
type saying struct {
	size int
	run  func()
}

// Put has f called behind what was put before. It is false, and f is not called, if
// too much waits already; size is in bytes, with Overhead.
func (q *Queue) Put(size int, f func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.bytes+size > MaxBytes && q.bytes > 0 {
		return false
	}
	q.bytes += size
	q.heard = append(q.heard, saying{size, f})
	if !q.running {
		q.running = true
		// ends when nothing is left
		go q.work()
	}
	return true
}

func (q *Queue) work() {
	quiet := false
	defer func() {
		if !quiet { // a handler has ended this goroutine
			// ends when nothing is left
			go q.work()
		}
	}()
	for {
		q.mu.Lock()
		if len(q.rest) == 0 {
			q.rest, q.heard = q.heard, nil
		}
		quiet = len(q.rest) == 0
		q.running = !quiet
		if quiet {
			q.mu.Unlock()
			return
		}
		x := q.rest[0]
		q.rest, q.bytes = q.rest[1:], q.bytes-x.size
		q.mu.Unlock()
		x.run()
	}
}
