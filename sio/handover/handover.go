// Package handover brings two processes together of which one is to take over the other's
// clients: the one that goes starts its successor, or waits for it at a path.
//
//	goes                                        successor
//	Start                                       Inherited
//	Listen, Listener.Accept                     Dial
//	conn to sio.Server.Handover                 conn to sio.Inherit
//
// At either end is only ever a process of the same user: who has the connection gets every
// client, and the secrets of the server. Root is no exception.
package handover

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Env is the environment variable that has the number of the descriptor which a successor
// has inherited.
const Env = "SIO_HANDOVER_FD"

// Start starts cmd as the successor of this process, and returns the connection to it,
// which ends when it does. The connection is added to cmd.ExtraFiles, and its number to
// cmd.Env, of which nil is this process's environment. Cmd stays the caller's, who is to
// call its Wait. With an error there is no process.
func Start(cmd *exec.Cmd) (*net.UnixConn, error) {
	mine, its, err := pair()
	if err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	defer its.Close()
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = slices.DeleteFunc(slices.Clone(cmd.Env), func(kv string) bool { return strings.HasPrefix(kv, Env+"=") })
	cmd.Env = append(cmd.Env, Env+"="+strconv.Itoa(3+len(cmd.ExtraFiles)))
	cmd.ExtraFiles = append(cmd.ExtraFiles, its)
	if err := cmd.Start(); err != nil {
		_ = mine.Close()
		return nil, fmt.Errorf("handover: %w", err)
	}
	return mine, nil
}

// pair returns the two ends of a connection. No other program inherits them.
func pair() (mine *net.UnixConn, its *os.File, err error) {
	fds, err := socketpair()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	f := os.NewFile(uintptr(fds[0]), "handover")
	defer f.Close()
	its = os.NewFile(uintptr(fds[1]), "handover")
	c, err := net.FileConn(f) // has a copy
	if err != nil {
		_ = its.Close()
		return nil, nil, err
	}
	return c.(*net.UnixConn), its, nil
}

// Inherited returns the connection to the process that has started this one by [Start];
// nil, without an error, if none has. It is found once, and not by programs that this one
// starts. The error is of a variable that names no such connection, which is left alone:
// it is not known whose it is.
func Inherited() (*net.UnixConn, error) {
	text, ok := os.LookupEnv(Env)
	if !ok {
		return nil, nil
	}
	_ = os.Unsetenv(Env)
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("handover: %s=%q is not the number of a descriptor", Env, text)
	}
	if err := isConn(fd); err != nil {
		return nil, fmt.Errorf("handover: descriptor %d (%s) is not a connection to another process: %w", fd, Env, err)
	}
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "handover")
	defer f.Close()
	c, err := net.FileConn(f) // has a copy
	if err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	return trusted(c.(*net.UnixConn))
}

// trusted returns c if checkPeer has nothing against it, and closes it otherwise.
func trusted(c *net.UnixConn) (*net.UnixConn, error) {
	if err := checkPeer(c); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// isConn tells what a descriptor is, other than one end of a stream between processes.
func isConn(fd int) error {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return err
	}
	peer, err := unix.Getpeername(fd)
	if err != nil {
		return err
	}
	if _, ok := peer.(*unix.SockaddrUnix); !ok || kind != unix.SOCK_STREAM {
		return errors.New("it is of another kind")
	}
	return nil
}

// checkPeer returns an error unless the other end is a process of the same user, which this
// one can end: of two that may both serve, one must.
func checkPeer(c *net.UnixConn) error {
	pid, uid, err := peerOf(c)
	if err != nil {
		return fmt.Errorf("handover: it is not known whose process is at the other end: %w", err)
	}
	if pid == 0 {
		return fmt.Errorf("handover: %w: it has no number among the processes that this one sees", ErrStranger)
	}
	if mine := os.Geteuid(); uid != mine {
		return fmt.Errorf("handover: %w: user %d, and this one is %d", ErrStranger, uid, mine)
	}
	return nil
}

// ErrStranger is returned, wrapped, when the process at the other end is another user's, or
// in another space of process ids, such as another container's.
var ErrStranger = errors.New("the process at the other end is a stranger's")

// peerOf returns which process is at the other end, and whose, as it was when that
// connected, or listened. Tests have others.
var peerOf = func(c *net.UnixConn) (pid, uid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var serr error
	if err := raw.Control(func(fd uintptr) { pid, uid, serr = credentials(int(fd)) }); err != nil {
		return 0, 0, err
	}
	return pid, uid, serr
}
