package loop

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// ListenOptions are the settings of a listener. The zero value is Listen's.
type ListenOptions struct {
	// Mode are the permissions of a unix socket's path, which it has from its first
	// moment on if they are fewer than the umask leaves. Zero: what that leaves, or
	// what the address says.
	Mode os.FileMode

	// Owner has a unix socket's path, before more than the process's own user can
	// connect to it where there is a Mode. Nil: whom the process runs as.
	Owner *Owner

	// Label is what Conn.Listener answers of its connections.
	Label uint8

	// Opener is what its connections go through before Handler.Open. Nil: nothing.
	Opener Opener

	// Files are listening sockets that are taken over, in place of an address to
	// bind: from systemd's socket activation, or from another process's
	// Engine.ListenerFiles. Those who wait there are served. The engine makes
	// copies; the files stay the caller's. The path of a unix socket is never
	// removed, unless OwnPath is set: it belongs to who has made it.
	Files []*os.File

	// OwnPath has the engine, once it runs, remove the path of a unix socket of Files
	// when it stops, as it does of one that it has bound: see ListenerFile.OwnPath.
	OwnPath bool
}

// An Owner is whom a path belongs to, as chown(2) has it: -1 changes nothing.
type Owner struct {
	UID int // a user's number
	GID int // a group's number
}

// takeOver has the loops accept from the sockets of o.Files. e.mu is held.
func (e *Engine) takeOver(asked string, o ListenOptions) (addr net.Addr, err error) {
	var made []*listener
	defer func() {
		if err != nil {
			for _, ls := range made {
				closeFD(int32(ls.fd))
			}
		}
	}()
	for _, f := range o.Files {
		fd, err := dup(f)
		if err != nil {
			return nil, err
		}
		made = append(made, &listener{fd: fd, spread: len(o.Files) < len(e.loops), o: o})
		is, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		if err != nil || is == 0 {
			return nil, fmt.Errorf("%s does not listen", f.Name())
		}
		ln, err := net.FileListener(f) // a copy, for its address
		if err != nil {
			return nil, err
		}
		_, tcp := ln.(*net.TCPListener)
		if u, ok := ln.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		addr = ln.Addr()
		_ = ln.Close()
		if err := errors.Join(unix.SetNonblock(fd, true), e.tune(fd, tcp, false)); err != nil {
			return nil, err
		}
	}
	for i, ls := range made {
		ls.addr, ls.asked, ls.taken = address(addr), asked, true
		if o.OwnPath && addr.Network() == "unix" {
			ls.path = addr.String()
			ls.file, _ = os.Lstat(ls.path)
		}
		l := e.loops[i%len(e.loops)]
		l.listeners = append(l.listeners, ls)
	}
	return addr, nil
}

// A ListenerFile is a listening socket that is given away.
type ListenerFile struct {
	File    *os.File // a copy, the caller's
	Addr    string   // in the form of Engine.Listen
	Asked   string   // what Engine.Listen was given, such as ":8080" or a port 0
	Label   uint8
	OwnPath bool // it has a path, which the engine removes unless another one does
}

// giveWait is how long ListenerFiles waits for the loops.
const giveWait = time.Second

// ListenerFiles returns copies of the engine's listening sockets, for
// ListenOptions.Files of another engine, mostly in another process: those of an
// address in the order of the loops, which an engine with as many has on the same
// ones. Both accept until one of them stops. When this one stops, it leaves to the
// other who waits there, and the path of a unix socket; so when nobody takes the
// files over, who waits is reset then, but for KeepListeners. It fails if a loop does
// not come within a second.
func (e *Engine) ListenerFiles() ([]ListenerFile, error) {
	all := make([][]ListenerFile, len(e.loops))
	var err error
	late := e.Gather(giveWait, func(l *Loop) {
		for _, ls := range l.listeners {
			f, ferr := ls.give()
			if ferr != nil {
				err = errors.Join(err, ferr)
				continue
			}
			all[l.index] = append(all[l.index], f)
		}
	})
	files := slices.Concat(all...)
	if err == nil && late != nil {
		err = errors.New("loop: a loop does not come to give its listeners away")
	}
	if err != nil {
		for _, f := range files {
			_ = f.File.Close()
		}
		return nil, err
	}
	return files, nil
}

// KeepListeners says that nobody has taken over what ListenerFiles has returned, nor will:
// when the engine stops, it serves who waits and removes paths, as if nothing had been
// given away.
func (e *Engine) KeepListeners() {
	keep := func(l *Loop) {
		for _, ls := range l.listeners {
			ls.given = false
		}
	}
	if e.gatherIdle(keep) {
		return
	}
	for _, l := range e.loops {
		l.Post(TaskFunc(keep)) // what stops it comes behind
	}
}

// give returns a copy of ls's socket, which from now on is also somebody else's.
func (ls *listener) give() (ListenerFile, error) {
	fd, err := unix.FcntlInt(uintptr(ls.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return ListenerFile{}, os.NewSyscallError("fcntl", err)
	}
	ls.given = true
	file := os.NewFile(uintptr(fd), ls.addr)
	return ListenerFile{File: file, Addr: ls.addr, Asked: ls.asked, Label: ls.o.Label, OwnPath: ls.owns()}, nil
}

// address returns a in the form of Engine.Listen.
func address(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.Network() + "://" + a.String()
}
