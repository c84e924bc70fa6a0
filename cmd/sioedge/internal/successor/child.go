// Package successor starts the program that is to take over a server's clients, waits for
// it, and counts what comes of that.
package successor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sioedge/sioedge/sio/handover"
)

// Path returns where the program of this process lies, as it was started: a link is not
// followed, so that what it leads to later is found. It is asked for at the start, since
// the system knows no path of a file that has been replaced.
func Path() string {
	is, err := os.Executable()
	if path, lerr := exec.LookPath(os.Args[0]); lerr == nil && err == nil {
		if path, lerr = filepath.Abs(path); lerr == nil && same(path, is) {
			return path
		}
	}
	return is
}

// same tells whether two paths lead to the same file.
func same(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// A Child is a process that was started to take over.
type Child struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
}

// Start starts a program to take over, with this process's arguments, environment and
// standard error, and returns the connection to it.
func Start(path string) (*Child, *net.UnixConn, error) {
	cmd := exec.Command(path, os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	// The watchdog of systemd is for whoever says so.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "WATCHDOG_PID=") })
	conn, err := handover.Start(cmd)
	if err != nil {
		return nil, nil, err
	}
	c := &Child{cmd, make(chan struct{})}
	// ends with the process
	go func() { defer close(c.ended); _ = c.cmd.Wait() }()
	return c, conn, nil
}

// PID returns the process's number.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Ended is closed when the process has ended.
func (c *Child) Ended() <-chan struct{} { return c.ended }

// Signal sends the process a signal.
func (c *Child) Signal(s os.Signal) error { return c.cmd.Process.Signal(s) }

// Code returns the exit code of a process that has ended, 128 and more of a signal that
// has ended it.
func (c *Child) Code() int {
	ws, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return c.cmd.ProcessState.ExitCode()
}

// errEnded is how a process has ended by itself.
var errEnded = errors.New("it has ended")

// End has the process end, within so long by itself, and says how that was if it did. It
// has ended when End returns.
func (c *Child) End(within time.Duration) error {
	wait := time.NewTimer(within)
	defer wait.Stop()
	select {
	case <-c.ended:
		return fmt.Errorf("%w: %s", errEnded, c.cmd.ProcessState)
	case <-wait.C:
		_ = c.cmd.Process.Kill()
		<-c.ended
		return nil
	}
}
