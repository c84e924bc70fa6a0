package swarm

import (
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ready is one event of a poller.
type ready struct {
	token    int32 // as given to add
	writable bool
	readable bool
	closed   bool // or failed: reading to the end will tell
}

// A poller waits for descriptors. Edge-triggered: a client costs one
// registration in its life and no re-arming, so reading goes on until a read
// comes back short. Owned by one goroutine, locked to its thread.
type poller struct {
	fd      int
	events  []unix.EpollEvent
	noWait2 bool // kernel before 5.11: no epoll_pwait2
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	// The default slack of 50 µs would show in every latency at a fixed rate.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return &poller{fd: fd, events: make([]unix.EpollEvent, 512)}, nil
}

// atMost bounds what one wait returns.
func (p *poller) atMost(n int) { p.events = p.events[:n] }

func (p *poller) close() { unix.Close(p.fd) }

// add watches fd for both directions. Closing fd ends it.
func (p *poller) add(fd int, token int32) error {
	const both = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: both, Fd: token})
}

// addCommands watches fd for reading, level-triggered.
func (p *poller) addCommands(fd int, token int32) error {
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: token})
}

// wait appends what is ready to dst, waiting at most d; 0 returns at once.
func (p *poller) wait(dst []ready, d time.Duration) ([]ready, error) {
	n, errno := p.sysWait(d)
	if errno == unix.EINTR {
		return dst, nil
	}
	if errno != 0 {
		return dst, errno
	}
	for _, e := range p.events[:n] {
		dst = append(dst, ready{
			token:    e.Fd,
			writable: e.Events&unix.EPOLLOUT != 0,
			readable: e.Events&unix.EPOLLIN != 0,
			closed:   e.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0,
		})
	}
	return dst, nil
}

func (p *poller) sysWait(d time.Duration) (int, unix.Errno) {
	at, count := uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events))
	if d <= 0 {
		// Never blocks, so the scheduler need not hear of it.
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), at, count, 0, 0, 0)
		return int(n), errno
	}
	if !p.noWait2 {
		ts := unix.NsecToTimespec(int64(d))
		n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), at, count, uintptr(unsafe.Pointer(&ts)), 0, 0)
		if errno != unix.ENOSYS {
			return int(n), errno
		}
		p.noWait2 = true
	}
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), at, count, uintptr(d/time.Millisecond), 0, 0)
	return int(n), errno
}

// recv reads from a non-blocking socket. It costs no scheduler call.
func recv(fd int32, b []byte) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// send writes to a non-blocking socket, as recv reads.
func send(fd int32, b []byte) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// newSocket makes a non-blocking TCP socket, bound to source if that is valid,
// its port chosen only at connect so that each target has all ports to itself.
func newSocket(family int, source netip.Addr) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if source.IsValid() {
		if err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err == nil {
			err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(source, 0)))
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// threadCPU is the CPU time of the calling thread.
func threadCPU() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
