package listen

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/notice"
)

// A Manager is told how the process is: systemd, or who else there is at NOTIFY_SOCKET
// (sd_notify(3)). Where there is none, and of a nil one, nothing is done. Any goroutine may
// call its methods.
type Manager struct {
	passed atomic.Bool // it is told by another process from now on

	// Immutable after NewManager.
	there    bool
	watchdog time.Duration // within which it must hear of a process that is well; 0: it does not ask
	engine   *loop.Engine
	log      *notice.Log

	said string // of Run: the latest status
}

// statusEvery is how often the status is looked at.
const statusEvery = 5 * time.Second

// NewManager returns who is told of the process that runs these loops.
func NewManager(e *loop.Engine, log *slog.Logger) *Manager {
	m := &Manager{there: os.Getenv("NOTIFY_SOCKET") != "", engine: e, log: notice.New(log, 0)}
	if !m.there {
		return m
	}
	var err error
	if m.watchdog, err = daemon.SdWatchdogEnabled(false); err != nil {
		m.log.Warn("the watchdog of systemd is not served", "error", err)
	}
	return m
}

// tell sends lines.
func (m *Manager) tell(lines ...string) {
	if m == nil || !m.there || m.passed.Load() {
		return
	}
	if _, err := daemon.SdNotify(false, strings.Join(lines, "\n")); err != nil {
		m.log.Warn("systemd could not be told how the process is", "error", err)
	}
}

// Ready says that all that is listened to is.
func (m *Manager) Ready() { m.tell(daemon.SdNotifyReady) }

// Reloading says that settings are being read again, until Ready.
func (m *Manager) Reloading() {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // it always can
	m.tell(daemon.SdNotifyReloading, fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000))
}

// Stopping says that the process is about to end, which may take as long.
func (m *Manager) Stopping(within time.Duration) {
	m.tell(daemon.SdNotifyStopping, fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (within+5*time.Second).Microseconds()))
}

// Succeeded says that another process is the service's from now on, and is the last that is
// said.
func (m *Manager) Succeeded(pid int) {
	m.tell(fmt.Sprintf("MAINPID=%d", pid))
	m.Silence()
}

// Silence has nothing more be said, as others do.
func (m *Manager) Silence() {
	if m != nil {
		m.passed.Store(true)
	}
}

// Run tells what status says, when it has changed, and that the process is well, as long
// as all loops come when they are asked: of one that hangs it says so, and the watchdog
// hears nothing. It ends with ctx.
func (m *Manager) Run(ctx context.Context, status func() string) {
	if m == nil || !m.there {
		return
	}
	every := statusEvery
	if m.watchdog > 0 {
		every = min(every, m.watchdog/4) // a loop that is late once is no reason
	}
	next := time.NewTicker(max(every, time.Millisecond))
	defer next.Stop()
	var asked time.Time
	for {
		if m.passed.Load() {
			return
		}
		ask := time.Since(asked) >= statusEvery
		if ask {
			asked = time.Now()
		}
		m.look(status, ask)
		select {
		case <-next.C:
		case <-ctx.Done():
			return
		}
	}
}

// look is one turn of Run, in which the status is asked for or not.
func (m *Manager) look(status func() string, ask bool) {
	wait := time.Second
	if m.watchdog > 0 {
		wait = min(wait, m.watchdog/8)
	}
	if late := m.engine.Gather(wait, func(*loop.Loop) {}); len(late) > 0 {
		m.say(fmt.Sprintf("loops that do not come: %d of %d", len(late), len(m.engine.Loops())))
		m.log.Warn("a loop does not come when it is asked: the watchdog is not told that all is well", "loops", fmt.Sprint(late))
		return
	}
	if m.watchdog > 0 {
		m.tell(daemon.SdNotifyWatchdog)
	}
	if ask || strings.HasPrefix(m.said, "loops") {
		m.say(status())
	}
}

func (m *Manager) say(status string) {
	if status != m.said {
		m.said = status
		m.tell("STATUS=" + status)
	}
}
