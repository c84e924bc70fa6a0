package relay

import (
	"syscall"
	"time"
)

// tuneLink gives up a connection to another server on which nothing has been
// acknowledged for as long as its probes take: with bytes under way there are none.
func tuneLink(_, _ string, c syscall.RawConn) error {
	const (
		userTimeout = 18 // TCP_USER_TIMEOUT of linux/tcp.h
		most        = linkProbeAfter + linkProbes*linkProbeEvery
	)
	var err error
	if failed := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, userTimeout, int(most/time.Millisecond))
	}); failed != nil {
		return failed
	}
	return err
}
