package loop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxAccepts  = 64                     // connections accepted in one step
	acceptPause = 100 * time.Millisecond // how long a listener rests when nothing can be accepted
)

// listener is owned by its loop once the engine runs, before that by the
// engine's mu.
type listener struct {
	fd     int
	spread bool   // hand connections round all loops
	addr   string // in the form of Listen
	asked  string // what Listen was given
	o      ListenOptions
	given  bool        // to another engine, by ListenerFiles
	path   string      // of a unix socket, which it removes
	file   os.FileInfo // what was at path when it was bound, or taken over
	taken  bool        // from another engine, whose path it is until this one runs
	paused bool        // rests, see pauseAccept
	silent bool        // is not in the poller, see Engine.Quiet
	retry  Timer
}

// Listen binds addr: "host:port", with or without "tcp://" in front, port 0 for
// a free one, or "unix:/path". It must be called before Run, which begins to
// accept. On Linux each loop has a listener of its own on a TCP port
// (SO_REUSEPORT). The address it returns has the port that was chosen. A path
// that an ended process has left behind is taken over; "unix:/path?mode=0660"
// gives it these permissions in place of those that the umask leaves, which it
// has from its first moment on if they are fewer.
func (e *Engine) Listen(addr string) (net.Addr, error) { return e.ListenWith(addr, ListenOptions{}) }

// ListenWith is Listen with options. When there are o.Files, addr is only what
// ListenerFile.Asked says of them.
func (e *Engine) ListenWith(addr string, o ListenOptions) (net.Addr, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state != created || e.sim != nil {
		return nil, ErrClosed
	}
	var a net.Addr
	var err error
	if path, ok := strings.CutPrefix(addr, "unix:"); len(o.Files) > 0 {
		a, err = e.takeOver(addr, o)
	} else if ok {
		var mode os.FileMode
		if path, mode, err = cutMode(strings.TrimPrefix(path, "//")); mode != 0 {
			o.Mode = mode
		}
		if err == nil {
			a, err = e.listenUnix(addr, path, o)
		}
	} else {
		a, err = e.listenTCP(addr, o)
	}
	if err != nil {
		return nil, fmt.Errorf("loop: %w", err)
	}
	return a, nil
}

func (e *Engine) listenTCP(asked string, o ListenOptions) (net.Addr, error) {
	addr := strings.TrimPrefix(asked, "tcp://")
	shared := sharedPorts && len(e.loops) > 1
	if shared {
		// With SO_REUSEPORT a second server on the same port is no error.
		// Without it, it is.
		if err := probe(addr); err != nil {
			return nil, err
		}
	}
	first, fd, err := e.bind("tcp", addr, 0, shared)
	if err != nil {
		return nil, err
	}
	made := []*listener{{fd: fd, spread: !shared, o: o}}
	for range len(e.loops) - 1 {
		if !shared {
			break
		}
		_, fd, err := e.bind("tcp", first.String(), 0, shared)
		if err != nil {
			for _, ls := range made {
				closeFD(int32(ls.fd))
			}
			return nil, err
		}
		made = append(made, &listener{fd: fd, o: o})
	}
	for i, ls := range made {
		ls.addr, ls.asked = address(first), asked
		e.loops[i].listeners = append(e.loops[i].listeners, ls)
	}
	return first, nil
}

// probe binds addr the ordinary way and gives it up again.
func probe(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return ln.Close()
}

// cutMode takes the permissions off the address of a unix socket; 0 if there are
// none.
func cutMode(addr string) (path string, mode os.FileMode, err error) {
	path, query, ok := strings.Cut(addr, "?")
	if !ok {
		return path, 0, nil
	}
	octal, ok := strings.CutPrefix(query, "mode=")
	n, err := strconv.ParseUint(octal, 8, 32)
	if !ok || err != nil || n == 0 || n > 0o777 {
		return "", 0, fmt.Errorf("unix:%s: want permissions such as ?mode=0660, or nothing, behind the path", addr)
	}
	return path, os.FileMode(n), nil
}

func (e *Engine) listenUnix(asked, path string, o ListenOptions) (net.Addr, error) {
	if st, err := os.Lstat(path); err == nil && st.Mode()&os.ModeSocket != 0 {
		if c, err := net.Dial("unix", path); err == nil {
			_ = c.Close()
			return nil, &net.OpError{Op: "listen", Net: "unix", Err: unix.EADDRINUSE}
		} else if errors.Is(err, unix.ECONNREFUSED) {
			_ = os.Remove(path)
		}
	}
	first := o.Mode
	if o.Owner != nil {
		first &= 0o600 // until it is the owner's
	}
	a, fd, err := e.bind("unix", path, first, false)
	if err != nil {
		return nil, err
	}
	if err := o.give(path); err != nil {
		closeFD(int32(fd))
		_ = os.Remove(path)
		return nil, err
	}
	ls := &listener{fd: fd, spread: true, path: path, addr: address(a), asked: asked, o: o}
	ls.file, _ = os.Lstat(path)
	e.loops[0].listeners = append(e.loops[0].listeners, ls)
	return a, nil
}

// give has a path that was bound belong to its owner, with the permissions that it is to
// have: the umask may have taken some away.
func (o *ListenOptions) give(path string) error {
	if o.Owner != nil {
		if err := os.Lchown(path, o.Owner.UID, o.Owner.GID); err != nil {
			return err
		}
	}
	if o.Mode == 0 {
		return nil
	}
	return os.Chmod(path, o.Mode)
}

// bind returns a listening descriptor of our own, with the options that its
// connections inherit.
func (e *Engine) bind(network, addr string, mode os.FileMode, shared bool) (net.Addr, int, error) {
	lc := net.ListenConfig{KeepAlive: -1}
	lc.SetMultipathTCP(false) // its sockets cost more and know fewer options
	lc.Control = func(_, _ string, rc syscall.RawConn) error {
		var serr error
		err := rc.Control(func(fd uintptr) {
			serr = e.tune(int(fd), network == "tcp", shared)
			if mode != 0 {
				_ = unix.Fchmod(int(fd), uint32(mode)) // on Linux the path gets these, less the umask
			}
		})
		return errors.Join(err, serr)
	}
	ln, err := lc.Listen(context.Background(), network, addr)
	if err != nil {
		return nil, -1, err
	}
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	fd, err := dup(ln.(syscall.Conn))
	return ln.Addr(), fd, errors.Join(err, ln.Close())
}

func (e *Engine) tune(fd int, tcp, shared bool) error {
	if n := e.o.SendBuffer; n > 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, n); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if n := e.o.RecvBuffer; n > 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, n); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if !tcp {
		return nil
	}
	if err := tuneSocket(fd); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if shared {
		if err := sharePort(fd); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return os.NewSyscallError("setsockopt", tuneListener(fd, &e.o))
}

// tuneSocket sets what both listeners and connections of TCP have.
func tuneSocket(fd int) error {
	// The pollers ask for urgent data too. Left out of line it would be
	// reported for ever and never read: one byte would keep a loop busy.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1); err != nil {
		return err
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
}

// listen has the poller report ls.
func (l *Loop) listen(ls *listener) error {
	l.pa.FD = ls.fd
	return l.poller.AddRead(&l.pa, edgeTriggered)
}

// acceptOn serves a listener's event.
func (l *Loop) acceptOn(fd int) {
	for _, ls := range l.listeners {
		switch {
		case ls.fd != fd || ls.paused || ls.silent:
		case l.quiet:
			ls.silent = true
			_ = l.poller.Delete(ls.fd)
		default:
			l.accept(ls)
		}
	}
}

// accept takes the connections that wait at ls, and reports false if it could
// not.
func (l *Loop) accept(ls *listener) bool {
	for range maxAccepts {
		if l.engine.live.Add(1) > int64(l.engine.o.MaxConns) {
			l.engine.gone()
			l.pauseAccept(ls, errMaxConns)
			return false
		}
		fd, peer, err := sysAccept(ls.fd)
		if err == nil {
			l.accepted(ls, int32(fd), peer)
			continue
		}
		l.engine.gone()
		switch err {
		case unix.EAGAIN:
			return true
		case unix.EINTR, unix.ECONNABORTED, unix.EPROTO, unix.EPERM, unix.ENETDOWN, unix.ENOPROTOOPT,
			unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EOPNOTSUPP:
			// About that one connection, see accept(2).
		default:
			l.pauseAccept(ls, err)
			return false
		}
	}
	if edgeTriggered { // nobody else will say that there are more
		l.Schedule(&ls.retry, 0, func() { l.retryAccept(ls) })
	}
	return true
}

var errMaxConns = errors.New("as many connections as MaxConns allows")

// accepted gives a connection to this loop or to the one whose turn it is. It is
// opened at the end of the step, because this may be within a task.
func (l *Loop) accepted(ls *listener, fd int32, peer plainAddr) {
	tuneAccepted(int(fd), &l.engine.o)
	l.tally.Accepted++
	to := l
	if ls.spread {
		to = l.engine.pick()
	}
	a := arrival{fd: fd, peer: peer, label: ls.o.Label, opener: ls.o.Opener}
	if to == l {
		l.arrivals = append(l.arrivals, a)
	} else if !to.Post(a) {
		l.discard(fd, nil)
	}
}

// pauseAccept lets ls rest. Clients wait in the kernel's queue meanwhile.
func (l *Loop) pauseAccept(ls *listener, err error) {
	if !ls.paused {
		ls.paused = true
		l.tally.AcceptPauses++
		l.engine.o.Logger.Warn("loop: accepting pauses", "err", err)
		_ = l.poller.Delete(ls.fd)
	}
	l.Schedule(&ls.retry, acceptPause, func() { l.retryAccept(ls) })
}

func (l *Loop) retryAccept(ls *listener) {
	if l.quiet || !l.accept(ls) || !ls.paused { // when it ends that it is quiet, this follows
		return
	}
	ls.paused = false
	if err := l.listen(ls); err != nil {
		l.pauseAccept(ls, err)
	}
}

// closeListeners closes this loop's listeners.
func (l *Loop) closeListeners() {
	for _, ls := range l.listeners {
		if l.started {
			l.stopAccepting(ls)
		}
		closeFD(int32(ls.fd))
		if ls.owns() && !ls.given && (l.started || !ls.taken) {
			_ = os.Remove(ls.path)
		}
	}
	l.listeners = nil
}

// owns tells whether what is at ls's path is the socket that is ls's to remove.
func (ls *listener) owns() bool {
	if ls.path == "" || ls.file == nil {
		return false
	}
	now, err := os.Lstat(ls.path)
	return err == nil && os.SameFile(now, ls.file) && now.Mode()&os.ModeSocket != 0
}

// stopAccepting takes the connections that the kernel has accepted already: they
// would be reset when ls is closed, if nobody else has it.
func (l *Loop) stopAccepting(ls *listener) {
	for before := int64(-1); before < l.tally.Accepted && !ls.given; {
		before = l.tally.Accepted
		if !l.accept(ls) {
			break
		}
	}
	l.Cancel(&ls.retry)
	if !ls.paused && !ls.silent {
		_ = l.poller.Delete(ls.fd)
	}
}
