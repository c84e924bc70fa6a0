package passing

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// oobLen is room for what comes beside bytes: descriptors, and who has sent them.
var oobLen = unix.CmsgSpace(4*MaxFiles) + unix.CmsgSpace(unix.SizeofUcred)

// A peer is the process at the other end. A pidfd names it, for a number may be another
// process's when that has ended.
type peer struct {
	// Guarded by mu.
	mu    sync.Mutex
	cred  unix.Ucred // Pid 0: not known
	pidfd int        // -1: none
	ended bool       // it had, when it became known
}

// meet asks the kernel who is at the other end of c, and to be told with each message: who
// has made both ends of it, for a child, is not who it is.
func (p *peer) meet(c *net.UnixConn) {
	p.pidfd = -1
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			p.become(*cred)
		}
	})
}

// said tells whether m says who has sent the message that it came with.
func (p *peer) said(m *unix.SocketControlMessage) bool {
	cred, err := unix.ParseUnixCredentials(m)
	if err != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if cred.Pid > 0 && *cred != p.cred { // 0: it was sent before we asked to be told
		p.become(*cred)
	}
	return true
}

func (p *peer) become(c unix.Ucred) {
	p.cred, p.ended = c, false
	p.drop()
	if c.Pid > 0 && int(c.Pid) != os.Getpid() {
		fd, err := unix.PidfdOpen(int(c.Pid), 0) // FD_CLOEXEC is set
		if p.ended = errors.Is(err, unix.ESRCH); err == nil {
			p.pidfd = fd
		}
	}
}

func (p *peer) is() (pid, uid int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cred.Pid <= 0 {
		return 0, 0, errors.New("passing: the process at the other end is not to be seen from here")
	}
	return int(p.cred.Pid), int(p.cred.Uid), nil
}

func (p *peer) kill(wait time.Duration) error {
	pid, _, err := p.is()
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case pid == os.Getpid():
		return errors.New("passing: this process is at the other end too, or nothing came from there yet")
	case p.ended:
		return nil
	case p.pidfd < 0:
		return killed(pid, wait)
	}
	if err := unix.PidfdSendSignal(p.pidfd, unix.SIGKILL, nil, 0); err != nil {
		if errors.Is(err, unix.ESRCH) {
			return nil
		}
		return fmt.Errorf("passing: process %d: %w", pid, err)
	}
	for until := time.Now().Add(wait); ; {
		left := max(time.Until(until), 0)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		switch {
		case n > 0:
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("passing: process %d: %w", pid, err)
		case left == 0:
			return fmt.Errorf("passing: process %d was killed, and has not ended in %v", pid, wait)
		}
	}
}

// killed is kill where there are no pidfds.
func killed(pid int, wait time.Duration) error {
	err := unix.Kill(pid, unix.SIGKILL)
	for until := time.Now().Add(wait); err == nil; err = unix.Kill(pid, 0) {
		if zombie(pid) {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("passing: process %d was killed, and has not ended in %v", pid, wait)
		}
		time.Sleep(time.Millisecond)
	}
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return fmt.Errorf("passing: process %d: %w", pid, err)
}

// zombie tells whether a process has ended, and nobody has asked how (proc_pid_stat(5)).
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	i := bytes.LastIndexByte(stat, ')') // the name may have any bytes
	return err == nil && i >= 0 && i+2 < len(stat) && (stat[i+2] == 'Z' || stat[i+2] == 'X')
}

func (p *peer) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop()
}

func (p *peer) drop() {
	if p.pidfd >= 0 {
		_ = unix.Close(p.pidfd)
	}
	p.pidfd = -1
}
