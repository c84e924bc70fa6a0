//go:build !linux

package loop

import (
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// waker is a pipe, watched level-triggered like any socket.
type waker struct {
	fd int // to read from

	// Guarded by mu: nobody may write to a number that was closed and is
	// somebody else's by now. Who signals only reads: the thread that does is often put
	// off its processor by the loop that it wakes, and others would wait for it.
	mu     sync.RWMutex
	w      int
	opened bool
	sent   atomic.Int64 // signals
}

func (w *waker) open() error {
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		return os.NewSyscallError("pipe", err)
	}
	w.fd, w.w, w.opened = p[0], p[1], true
	for _, fd := range p {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
	}
	return nil
}

// signal makes the descriptor readable. Any goroutine.
func (w *waker) signal() {
	w.mu.RLock()
	if w.opened {
		w.sent.Add(1)
		_, _ = unix.Write(w.w, []byte{1})
	}
	w.mu.RUnlock()
}

// clear makes the descriptor unreadable again. The loop.
func (w *waker) clear() {
	var b [64]byte
	for {
		if n, err := unix.Read(w.fd, b[:]); err != nil || n < len(b) {
			return
		}
	}
}

func (w *waker) close() {
	w.mu.Lock()
	if w.opened {
		_ = unix.Close(w.fd)
		_ = unix.Close(w.w)
	}
	w.opened = false
	w.mu.Unlock()
}
