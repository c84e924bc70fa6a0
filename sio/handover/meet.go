package handover

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Listener is where a successor that somebody else starts finds the process that goes.
// Any goroutine may call its methods.
type Listener struct {
	u    *net.UnixListener
	path string
	file fs.FileInfo // what was at path when it was made
}

// Listen makes a socket at a path, which its user alone may connect to from its first
// moment on (mode 0600). One that a process of the user's has left behind is replaced;
// where somebody listens, or something else lies, there is an error.
func Listen(path string) (*Listener, error) {
	if err := clear(path); err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), 0o600) }) // of the path, less the umask
	}}
	ln, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	l, err := listener(ln.(*net.UnixListener))
	if err == nil {
		err = os.Chmod(path, 0o600) // which the umask may have made less
	}
	if err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("handover: %w", err)
	}
	return l, nil
}

// clear makes way at a path.
func clear(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is not a socket", path)
	}
	if err := own(path, st); err != nil {
		return err
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("%s: a process listens there already", path)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

// own returns an error for a file that is not this user's.
func own(path string, st fs.FileInfo) error {
	is, ok := st.Sys().(*syscall.Stat_t)
	if ok && int(is.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, and this process is of %d: %w", path, is.Uid, os.Geteuid(), fs.ErrPermission)
	}
	return nil
}

// FileListener returns the Listener of a file that is [Listener.File] of the process
// before, of which it has a copy.
func FileListener(f *os.File) (*Listener, error) {
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	u, ok := ln.(*net.UnixListener)
	if !ok {
		_ = ln.Close()
		return nil, errors.New("handover: the file is not a listening socket of a path")
	}
	return listener(u)
}

func listener(u *net.UnixListener) (*Listener, error) {
	u.SetUnlinkOnClose(false)
	l := &Listener{u: u, path: u.Addr().String()}
	var err error
	l.file, err = os.Lstat(l.path)
	return l, err
}

// Path returns where it listens.
func (l *Listener) Path() string { return l.path }

// FileName is the name of [Listener.File]: sio.Inheritance.File knows it by that.
const FileName = "handover"

// File returns a copy of the socket, the caller's, for sio.HandoverOptions.Files: who waits
// there meets the successor.
func (l *Listener) File() (*os.File, error) { return File(l.u, FileName) }

// File returns a copy of a listener's socket, or another, by a name: for
// sio.HandoverOptions.Files. It is the caller's, and no child inherits it. The error is the
// system's.
func File(of syscall.Conn, name string) (*os.File, error) {
	raw, err := of.SyscallConn()
	if err != nil {
		return nil, err
	}
	var f *os.File
	cerr := raw.Control(func(fd uintptr) {
		var n int
		if n, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			f = os.NewFile(uintptr(n), name)
		}
	})
	return f, errors.Join(cerr, os.NewSyscallError("fcntl", err))
}

// Accept waits for the next successor, which is the caller's. Processes of other users are
// sent away. The error is net.ErrClosed when the Listener has been closed.
func (l *Listener) Accept() (*net.UnixConn, error) {
	for {
		c, err := l.u.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if c, err = trusted(c); err == nil {
			return c, nil
		}
	}
}

// Close ends Accept. Who has got the File goes on listening, at the path.
func (l *Listener) Close() error { return l.u.Close() }

// Remove is Close, and removes the path before unless it is another's by now.
func (l *Listener) Remove() (err error) {
	raw, err := l.u.SyscallConn()
	if err != nil {
		return err
	}
	// As long as it is open, no other file is taken for it.
	cerr := raw.Control(func(uintptr) {
		if st, serr := os.Lstat(l.path); serr == nil && os.SameFile(st, l.file) {
			err = os.Remove(l.path)
		}
	})
	return errors.Join(cerr, err, l.u.Close())
}

// ErrNobody is returned by Dial when there is no process to take over from.
var ErrNobody = errors.New("handover: nobody listens there")

// Dial connects to the process that listens at a path, as [Listen] does. The error is
// ErrNobody when there is no such path, or nobody listens any more.
func Dial(ctx context.Context, path string) (*net.UnixConn, error) {
	if st, err := os.Lstat(path); err == nil {
		if err := own(path, st); err != nil { // also when its owner does not listen
			return nil, fmt.Errorf("handover: %w", err)
		}
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return nil, ErrNobody
	case err != nil:
		return nil, fmt.Errorf("handover: %w", err)
	}
	return trusted(c.(*net.UnixConn))
}
