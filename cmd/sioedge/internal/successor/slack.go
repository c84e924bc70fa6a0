package successor

import (
	"runtime/debug"
	"sync"
)

// slack is how much garbage is let lie, in percent of what lives (GOGC), during a handover:
// a sixth of what the two processes had to do in one was to collect it.
const slack = 400

// A Slack has garbage be collected less often for a while. The zero value does not yet. A
// limit of memory (GOMEMLIMIT) holds nevertheless. Any goroutine may use it.
type Slack struct {
	// Guarded by mu.
	mu     sync.Mutex
	given  bool
	before int // GOGC
}

// Give begins it, unless the process lets lie as much anyway.
func (s *Slack) Give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.given {
		return
	}
	if s.before = debug.SetGCPercent(slack); s.before < 0 || s.before > slack {
		debug.SetGCPercent(s.before)
		return
	}
	s.given = true
}

// TakeBack ends it.
func (s *Slack) TakeBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.given {
		debug.SetGCPercent(s.before)
		s.given = false
	}
}
