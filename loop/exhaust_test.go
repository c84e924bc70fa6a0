package loop

import (
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDescriptorsRunOut runs in a process of its own, whose limit it lowers.
func TestDescriptorsRunOut(t *testing.T) {
	if os.Getenv("LOOP_TEST_EXHAUST") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestDescriptorsRunOut$", "-test.v")
		cmd.Env = append(os.Environ(), "LOOP_TEST_EXHAUST=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	e, a := start(t, &hooks{data: echo}, Options{Loops: 2, MaxConns: 1 << 20}, "127.0.0.1:0")
	first := dial(t, a)
	roundTrip(t, first)
	fillers := exhaust(t)
	// The kernel completes the handshake; only accept fails.
	late := socketOf(t, fillers, a)
	eventually(t, "accepting pauses", func() bool { return e.Stats().AcceptPauses > 0 })
	roundTrip(t, first)
	for _, fd := range fillers[1:] {
		_ = unix.Close(fd)
	}
	roundTrip(t, late)
	roundTrip(t, dial(t, a))
}

// exhaust lowers the limit and opens descriptors until there are no more.
func exhaust(t *testing.T) (fds []int) {
	t.Helper()
	lim := unix.Rlimit{Cur: 128, Max: 128}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Skipf("cannot lower the limit of descriptors: %v", err)
	}
	for {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fds
		}
		fds = append(fds, fd)
	}
}

// socketOf gives one descriptor up and connects with it.
func socketOf(t *testing.T, fds []int, a net.Addr) net.Conn {
	t.Helper()
	_ = unix.Close(fds[0])
	return dial(t, a)
}

func roundTrip(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if got := string(readN(t, c, 1)); got != "x" {
		t.Fatalf("echo = %q, want x", got)
	}
}
