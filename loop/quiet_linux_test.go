package loop

import (
	"golang.org/x/sys/unix"
	"testing"
)

// noSpin waits until the pollers of a quiet engine have nothing to say any more of what
// waits in the kernel: they would say so for ever.
func noSpin(t *testing.T, e *Engine) {
	t.Helper()
	for _, l := range e.loops {
		eventually(t, "the poller is silent", func() bool {
			silent := true
			l.Ask(func() {
				events := make([]unix.EpollEvent, 100)
				n, err := unix.EpollWait(epollOf(l.poller), events, 0)
				if err != nil {
					t.Error(err)
				}
				for _, ev := range events[:n] {
					silent = silent && int(ev.Fd) == l.wake.fd
				}
			})
			return silent
		})
	}
}
