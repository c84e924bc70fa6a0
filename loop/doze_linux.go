package loop

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A dozer sleeps for a loop that seldom has something to do: its goroutine waits for the
// epoll in Go's own poller. In a system call of its own the goroutine would keep its
// processor for 10 ms, in which Go's monitor thread looks after it some sixty times; that was
// most of what idle clients cost. In Go's poller it gives the processor up at once, and the
// monitor sleeps along. A loop that is busy has no use for it: each of its events would wake
// whoever waits there.
//
// It is the loop's, in wait.
type dozer struct {
	file *os.File // of another descriptor of the epoll, while it is in Go's poller
	raw  syscall.RawConn
	look func(fd uintptr) bool // polls, as an argument of RawConn.Read

	until int64 // the loop's timer that ends the wait, in ms of the engine's clock; 0: none
	deaf  bool  // Go's poller does not take it
	dozes int64 // how often it slept

	// What a look is for, and what it has got.
	events []unix.EpollEvent
	n      int
	errno  unix.Errno
}

// sleep returns what is ready, once that is something or rest ms are over, which are those
// until the timer that is due at; -1 is for ever. It is false if it cannot do so.
func (d *dozer) sleep(epoll int, events []unix.EpollEvent, at int64, rest int) (n int, errno unix.Errno, ok bool) {
	if d.deaf || d.file == nil && !d.open(epoll) {
		return 0, 0, false
	}
	if rest < 0 {
		at = 0
	}
	if at != d.until {
		var end time.Time
		if at != 0 {
			end = time.Now().Add(time.Duration(rest) * time.Millisecond)
		}
		_ = d.file.SetReadDeadline(end) // which a file in the poller has: see open
		d.until = at
	}
	d.events, d.n, d.errno = events, 0, 0
	d.dozes++
	if d.raw.Read(d.look) != nil { // the deadline has passed, and stays so until it is set anew
		d.until = -1
	}
	d.events = nil
	return d.n, d.errno, true
}

// open puts the epoll into Go's poller. It is another descriptor, for the file to close.
func (d *dozer) open(epoll int) bool {
	fd, err := unix.FcntlInt(uintptr(epoll), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true) // what is not blocking is asked of Go's poller
	}
	if err != nil {
		return false // of a process that has none left: later
	}
	d.file = os.NewFile(uintptr(fd), "epoll")
	d.until = 0
	if d.raw, err = d.file.SyscallConn(); err == nil {
		err = d.file.SetReadDeadline(time.Time{})
	}
	if err != nil { // os.ErrNoDeadline: it is not in the poller
		d.deaf = true
		d.close()
		return false
	}
	if d.look == nil {
		d.look = func(fd uintptr) bool {
			d.n, d.errno = poll(int(fd), d.events)
			return d.n != 0 || d.errno != 0
		}
	}
	return true
}

// close takes the epoll out of Go's poller.
func (d *dozer) close() {
	if d.file != nil {
		_ = d.file.Close()
		d.file, d.raw = nil, nil
	}
}
