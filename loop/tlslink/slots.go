package tlslink

import "sync"

// slots bounds how many handshakes compute at a time. Those that have begun go first:
// somebody waits for each, and they are nearly done.
type slots struct {
	mu    sync.Mutex
	free  int
	again fifo // are on a goroutine
	fresh fifo // have none yet
}

// want has h granted a slot, now or when one is free.
func (s *slots) want(h *shake, again bool) {
	s.mu.Lock()
	if s.free == 0 {
		if again {
			s.again.push(h)
		} else {
			s.fresh.push(h)
		}
		s.mu.Unlock()
		return
	}
	s.free--
	s.mu.Unlock()
	h.grant(again)
}

// give gives a slot back, and to whoever is next.
func (s *slots) give() {
	s.mu.Lock()
	for {
		h, again := s.again.pop(), true
		if h == nil {
			h, again = s.fresh.pop(), false
		}
		if h == nil {
			s.free++
			s.mu.Unlock()
			return
		}
		if !again && h.ended() { // its client did not wait
			continue
		}
		s.mu.Unlock()
		h.grant(again)
		return
	}
}

// waiting returns how many wait.
func (s *slots) waiting() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(s.again.len() + s.fresh.len())
}

// A fifo is a queue.
type fifo struct {
	all  []*shake
	head int
}

func (f *fifo) len() int { return len(f.all) - f.head }

func (f *fifo) push(h *shake) {
	if f.head > 64 && f.head*2 > len(f.all) {
		n := copy(f.all, f.all[f.head:])
		clear(f.all[n:])
		f.all, f.head = f.all[:n], 0
	}
	f.all = append(f.all, h)
}

func (f *fifo) pop() *shake {
	if f.len() == 0 {
		f.all, f.head = nil, 0
		return nil
	}
	h := f.all[f.head]
	f.all[f.head] = nil
	f.head++
	return h
}
