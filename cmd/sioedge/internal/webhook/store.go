package webhook

import (
	"sync"
	"sync/atomic"
)

// A store counts the bytes that wait, up to a bound. Once it is full it takes nothing
// until it is half empty, so that who waits for that goes on for a while. Any goroutine
// may use it.
type store struct {
	most atomic.Int64
	used atomic.Int64
	full atomic.Bool

	mu    sync.Mutex
	empty chan struct{} // closed when it is half empty, made by who waits
}

// take counts n bytes. It is false if they do not fit. What is larger than the bound
// fits into an empty store.
func (s *store) take(n int64) bool {
	if s.full.Load() {
		return false
	}
	if used := s.used.Add(n); used <= s.most.Load() || used == n {
		return true
	}
	s.used.Add(-n)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full.Store(s.used.Load() > s.most.Load()/2)
	return false
}

// force counts n bytes that do not fit.
func (s *store) force(n int64) bool {
	s.used.Add(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full.Store(s.used.Load() > s.most.Load()/2)
	return true
}

// give takes n bytes back.
func (s *store) give(n int64) {
	if s.used.Add(-n) > s.most.Load()/2 || !s.full.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full.Store(false)
	if s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}

// wait returns a channel that is closed when it is worth while to try take again; nil:
// now.
func (s *store) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.full.Load() {
		return nil
	}
	if s.empty == nil {
		s.empty = make(chan struct{})
	}
	return s.empty
}
