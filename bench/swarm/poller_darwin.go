package swarm

import (
	"net/netip"
	"time"

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
	fd     int
	events []unix.Kevent_t
	tokens []int32 // by descriptor: kqueue's own user data is a pointer
}

func newPoller() (*poller, error) {
	fd, err := unix.Kqueue()
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(fd)
	return &poller{fd: fd, events: make([]unix.Kevent_t, 512)}, nil
}

// atMost bounds what one wait returns.
func (p *poller) atMost(n int) { p.events = p.events[:n] }

func (p *poller) close() { unix.Close(p.fd) }

// add watches fd for both directions. Closing fd ends it.
func (p *poller) add(fd int, token int32) error {
	return p.register(fd, token, unix.EV_ADD|unix.EV_CLEAR, unix.EVFILT_READ, unix.EVFILT_WRITE)
}

// addCommands watches fd for reading, level-triggered.
func (p *poller) addCommands(fd int, token int32) error {
	return p.register(fd, token, unix.EV_ADD, unix.EVFILT_READ)
}

func (p *poller) register(fd int, token int32, flags int, filters ...int) error {
	for fd >= len(p.tokens) {
		p.tokens = append(p.tokens, make([]int32, len(p.tokens)+64)...)
	}
	p.tokens[fd] = token
	changes := make([]unix.Kevent_t, len(filters))
	for i, filter := range filters {
		unix.SetKevent(&changes[i], fd, filter, flags)
	}
	_, err := unix.Kevent(p.fd, changes, nil, nil)
	return err
}

// wait appends what is ready to dst, waiting at most d; 0 returns at once.
func (p *poller) wait(dst []ready, d time.Duration) ([]ready, error) {
	ts := unix.NsecToTimespec(int64(max(d, 0)))
	n, err := unix.Kevent(p.fd, nil, p.events, &ts)
	if err == unix.EINTR {
		return dst, nil
	}
	if err != nil {
		return dst, err
	}
	for i := range p.events[:n] {
		e := &p.events[i]
		dst = append(dst, ready{
			token:    p.tokens[e.Ident],
			writable: e.Filter == unix.EVFILT_WRITE,
			readable: e.Filter == unix.EVFILT_READ,
			closed:   e.Flags&unix.EV_EOF != 0,
		})
	}
	return dst, nil
}

// recv reads from a non-blocking socket.
func recv(fd int32, b []byte) (int, unix.Errno) {
	for {
		n, err := unix.Read(int(fd), b)
		if errno := errnoOf(err); errno != unix.EINTR {
			return n, errno
		}
	}
}

// send writes to a non-blocking socket.
func send(fd int32, b []byte) (int, unix.Errno) {
	for {
		n, err := unix.Write(int(fd), b)
		if errno := errnoOf(err); errno != unix.EINTR {
			return n, errno
		}
	}
}

func errnoOf(err error) unix.Errno {
	if err == nil {
		return 0
	}
	if errno, ok := err.(unix.Errno); ok {
		return errno
	}
	return unix.EIO
}

// newSocket makes a non-blocking TCP socket, bound to source if that is valid.
func newSocket(family int, source netip.Addr) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd)
	if err = unix.SetNonblock(fd, true); err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NOSIGPIPE, 1)
	}
	if err == nil && source.IsValid() {
		err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(source, 0)))
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// threadCPU is not told by darwin: 0.
func threadCPU() time.Duration { return 0 }
