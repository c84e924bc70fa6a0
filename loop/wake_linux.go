package loop

import (
	"encoding/binary"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// waker is an eventfd, watched level-triggered like any socket.
type waker struct {
	fd int

	// Guarded by mu: nobody may write to a number that was closed and is
	// somebody else's by now.
	mu     sync.Mutex
	opened bool
}

func (w *waker) open() (err error) {
	w.fd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	w.opened = err == nil
	return os.NewSyscallError("eventfd", err)
}

// signal makes the descriptor readable. Any goroutine.
func (w *waker) signal() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	w.mu.Lock()
	if w.opened {
		sysWrite(w.fd, one[:])
	}
	w.mu.Unlock()
}

// clear makes the descriptor unreadable again. The loop.
func (w *waker) clear() {
	var n [8]byte
	sysRead(int32(w.fd), n[:])
}

func (w *waker) close() {
	w.mu.Lock()
	if w.opened {
		_ = unix.Close(w.fd)
	}
	w.opened = false
	w.mu.Unlock()
}
