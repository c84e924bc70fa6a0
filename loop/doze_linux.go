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
// monitor sleeps along.
//
// Between the two is another epoll, the door, which lets one event through each time that it
// is opened (EPOLLONESHOT): what comes while the loop runs would wake whoever waits in Go's
// poller otherwise, each time.
//
// It is the loop's, in wait.
type dozer struct {
	door int      // an epoll
	file *os.File // it, in Go's poller
	raw  syscall.RawConn
	got  [1]unix.EpollEvent
	look func(door uintptr) bool // as an argument of RawConn.Read: whether something got through

	until int64 // the loop's timer that ends the wait, in ms of the engine's clock; 0: none
	deaf  bool  // Go's poller does not take it
	dozes int64 // how often it slept
}

// sleep returns when the epoll has something ready, or when rest ms are over, which are
// those until the timer that is due at; at 0 is for ever. It is false if it cannot sleep.
func (d *dozer) sleep(epoll int, at int64, rest int) bool {
	if d.deaf || d.file == nil && !d.open(epoll) {
		return false
	}
	if at != d.until {
		var end time.Time
		if at != 0 {
			end = time.Now().Add(time.Duration(rest) * time.Millisecond)
		}
		_ = d.file.SetReadDeadline(end) // which a file in the poller has: see open
		d.until = at
	}
	d.dozes++
	if !d.turn(unix.EPOLL_CTL_MOD, epoll, unix.EPOLLIN) {
		return false
	}
	if d.raw.Read(d.look) != nil { // the deadline has passed, and stays so until it is set anew
		d.until = -1
		return d.turn(unix.EPOLL_CTL_MOD, epoll, 0)
	}
	return true
}

// turn opens the door to the epoll, for one of these events; 0 shuts it. It is false if
// that cannot be.
func (d *dozer) turn(op, epoll int, events uint32) bool {
	err := unix.EpollCtl(d.door, op, epoll, &unix.EpollEvent{Events: events | unix.EPOLLONESHOT})
	d.deaf = err != nil
	return !d.deaf
}

// open makes the door, and puts it into Go's poller.
func (d *dozer) open(epoll int) bool {
	door, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false // of a process that has no descriptor left: later
	}
	d.door = door
	d.turn(unix.EPOLL_CTL_ADD, epoll, 0)
	err = unix.SetNonblock(door, true) // what is not blocking is asked of Go's poller
	d.file = os.NewFile(uintptr(door), "epoll")
	if err == nil {
		d.raw, err = d.file.SyscallConn()
	}
	if err == nil {
		err = d.file.SetReadDeadline(time.Time{})
	}
	if err != nil || d.deaf { // os.ErrNoDeadline: it is not in the poller
		d.deaf = true
		d.close()
		return false
	}
	d.look = func(door uintptr) bool {
		n, errno := poll(int(door), d.got[:])
		return n != 0 || errno != 0
	}
	return true
}

func (d *dozer) close() {
	if d.file != nil {
		_ = d.file.Close()
		d.file, d.raw = nil, nil
	}
}
