//go:build !linux

package passing

import (
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// oobLen is room for what comes beside bytes: descriptors.
var oobLen = unix.CmsgSpace(4 * MaxFiles)

// A peer is the process at the other end: here nobody knows it.
type peer struct{}

func (*peer) meet(*net.UnixConn) {}

func (*peer) said(*unix.SocketControlMessage) bool { return false }

func (*peer) is() (pid, uid int, err error) {
	return 0, 0, fmt.Errorf("passing: who is at the other end: %w", errors.ErrUnsupported)
}

func (*peer) kill(time.Duration) error {
	return fmt.Errorf("passing: to end the process at the other end: %w", errors.ErrUnsupported)
}

func (*peer) close() {}
