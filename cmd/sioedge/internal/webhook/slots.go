package webhook

import "sync"

// slots bound the requests that are under way at one time. Who finds none free waits,
// first come, first served, but those with clients that wait to connect before others.
type slots struct {
	mu     sync.Mutex
	most   int
	taken  int
	queues [2][]chan struct{} // urgent ones, and others
}

// take waits for a slot, or until end is closed: then it is false.
func (s *slots) take(urgent bool, end <-chan struct{}) bool {
	s.mu.Lock()
	if s.taken < s.most {
		s.taken++
		s.mu.Unlock()
		return true
	}
	q := &s.queues[1]
	if urgent {
		q = &s.queues[0]
	}
	turn := make(chan struct{})
	*q = append(*q, turn)
	s.mu.Unlock()
	select {
	case <-turn:
		return true
	case <-end:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, x := range *q {
		if x == turn {
			*q = append((*q)[:i], (*q)[i+1:]...)
			return false
		}
	}
	s.next() // it was given just now
	return false
}

// give gives a slot back.
func (s *slots) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next()
}

// next hands a slot that is taken to who waits, or frees it.
func (s *slots) next() {
	s.taken--
	s.admit()
}

// admit hands free slots to those who wait.
func (s *slots) admit() {
	for i := range s.queues {
		for q := &s.queues[i]; s.taken < s.most && len(*q) > 0; {
			close((*q)[0])
			(*q)[0] = nil
			*q = (*q)[1:]
			s.taken++
		}
	}
}

// resize changes how many there are.
func (s *slots) resize(most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.most = most
	s.admit()
}

// count returns how many requests are under way, and how many wait for a slot.
func (s *slots) count() (taken, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken, len(s.queues[0]) + len(s.queues[1])
}
