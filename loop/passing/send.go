package passing

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// batchLen is how many bytes are written at once at most.
const batchLen = 256 << 10

// Pauses between two tries to send descriptors when too many are on the way.
const (
	firstPause = time.Millisecond
	lastPause  = 50 * time.Millisecond
)

// A sender is the half of a Stream that sends.
type sender struct {
	// write is sendmsg(2): it takes some of p, and rights whole if that is not nothing.
	write func(p, rights []byte) (n int, err error)

	until  atomic.Pointer[time.Time] // the deadline; nil, zero: none
	closed atomic.Bool

	// Guarded by mu, also while it writes.
	mu    sync.Mutex
	out   []byte
	files []int // of out
	err   error // the first
}

func (s *sender) send(kind, lane uint8, body []byte, files []int) error {
	switch {
	case len(body) > MaxBody:
		return fmt.Errorf("passing: a record of %d bytes, more than %d", len(body), MaxBody)
	case len(files) > MaxFiles:
		return fmt.Errorf("passing: a record with %d descriptors, more than %d", len(files), MaxFiles)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.out)+headerLen+len(body) > batchLen || len(s.files)+len(files) > MaxFiles {
		s.put()
	}
	if s.err != nil {
		return s.err
	}
	s.out = appendHeader(s.out, kind, lane, len(files), body)
	s.files = append(s.files, files...)
	if len(s.out)+len(body) <= batchLen {
		s.out = append(s.out, body...)
		return nil
	}
	s.put()
	s.putAll(body, nil)
	return s.err
}

func (s *sender) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put()
	return s.err
}

func (s *sender) close() { s.closed.Store(true) }

// put writes what is queued, with its descriptors at the first byte.
func (s *sender) put() {
	s.putAll(s.out, s.files)
	s.out, s.files = s.out[:0], s.files[:0]
}

// putAll writes p, unless something has failed before.
func (s *sender) putAll(p []byte, files []int) {
	var rights []byte
	if len(files) > 0 {
		rights = unix.UnixRights(files...)
	}
	for pause := firstPause; len(p) > 0 && s.err == nil; {
		n, err := s.write(p, rights)
		if n > 0 { // the descriptors have gone with the first of these
			p, rights, pause = p[n:], nil, firstPause
		}
		// More descriptors are on the way than the process may have: until the
		// receiver has taken some (unix(7)).
		if errors.Is(err, unix.ETOOMANYREFS) {
			if err = s.wait(pause); err == nil {
				pause = min(2*pause, lastPause)
				continue
			}
		}
		s.err = err
	}
}

// wait pauses, unless the deadline passes meanwhile or the stream is closed.
func (s *sender) wait(pause time.Duration) error {
	at := s.until.Load()
	switch {
	case s.closed.Load():
		return net.ErrClosed
	case at != nil && !at.IsZero() && !time.Now().Before(*at):
		return os.ErrDeadlineExceeded
	}
	time.Sleep(pause)
	return nil
}
