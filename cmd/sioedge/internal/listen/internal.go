package listen

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio/handover"
)

// Internal listens on an address as internal.listen has it: host:port, unix:/path with
// mode (0600 if there is none) and owner, or systemd:name of one socket.
func Internal(addr string, s *Sockets) (net.Listener, error) {
	l, err := config.ParseListen(addr)
	if err != nil {
		return nil, err
	}
	switch l.Network {
	case "systemd":
		return s.one(l.Address)
	case "tcp":
		return net.Listen("tcp", l.Address)
	}
	owner, err := ownerOf(l.Owner)
	if err != nil {
		return nil, err
	}
	lc := private()
	ln, err := lc.Listen(context.Background(), "unix", l.Address)
	if errors.Is(err, syscall.EADDRINUSE) {
		// A socket that an ended process has left behind is taken over.
		if c, err := net.Dial("unix", l.Address); err == nil {
			_ = c.Close()
		} else if errors.Is(err, syscall.ECONNREFUSED) {
			_ = os.Remove(l.Address)
		}
		ln, err = lc.Listen(context.Background(), "unix", l.Address)
	}
	if err != nil {
		return nil, err
	}
	if owner != nil {
		err = os.Lchown(l.Address, owner.UID, owner.GID)
	}
	if err := errors.Join(err, os.Chmod(l.Address, cmp.Or(l.Mode, fs.FileMode(0o600)))); err != nil {
		_ = ln.Close()
		return nil, err
	}
	return ln, nil
}

// InternalOf is Internal with the socket of the process before, which stays the caller's.
// A path is removed when the listener is closed.
func InternalOf(f *os.File, addr string) (net.Listener, error) {
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	l, err := config.ParseListen(addr)
	if u, ok := ln.(*net.UnixListener); ok && err == nil && l.Network == "unix" {
		u.SetUnlinkOnClose(true)
	}
	return ln, nil
}

// Leave has a path stay when the listener is closed: another process listens there.
func Leave(ln net.Listener) {
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
}

// Copy returns a copy of a listening socket, under a name.
func Copy(ln net.Listener, name string) (*os.File, error) {
	c, ok := ln.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return handover.File(c, name)
}

// private returns what listens on a path that has the permissions of its owner alone,
// from its first moment on, where the system can do that.
func private() *net.ListenConfig {
	return &net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
		return rc.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), 0o600) }) // of the path on Linux, less the umask
	}}
}
