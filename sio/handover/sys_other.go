//go:build !linux

package handover

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// credentials is for Linux alone, as the loops' handover is.
func credentials(int) (pid, uid int, err error) { return 0, 0, errors.ErrUnsupported }

func socketpair() ([2]int, error) {
	syscall.ForkLock.RLock() // no child comes to be before they are closed in it
	defer syscall.ForkLock.RUnlock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	return fds, err
}
