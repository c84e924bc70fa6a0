package loop

import (
	"encoding/binary"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// waker is an eventfd, watched level-triggered like any socket.
type waker struct {
	fd int

	// Guarded by mu: nobody may write to a number that was closed and is
	// somebody else's by now. Who signals only reads: the thread that does is often put
	// off its processor by the loop that it wakes, and others would wait for it.
	mu     sync.RWMutex
	opened bool
	sent   atomic.Int64 // signals
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
	w.mu.RLock()
	if w.opened {
		w.sent.Add(1)
		sysWrite(w.fd, one[:])
	}
	w.mu.RUnlock()
}

// clear makes the descriptor unreadable again. The loop.
func (w *waker) clear() {
	var n [8]byte
	_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(w.fd), uintptr(unsafe.Pointer(&n)), uintptr(len(n)))
}

func (w *waker) close() {
	w.mu.Lock()
	if w.opened {
		_ = unix.Close(w.fd)
	}
	w.opened = false
	w.mu.Unlock()
}
