package passing

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain is the program of a child too, which has its end of a Stream as descriptor 3.
func TestMain(m *testing.M) {
	if os.Getenv("PASSING_CHILD") != "" {
		c, err := net.FileConn(os.NewFile(3, ""))
		if err != nil {
			os.Exit(3)
		}
		s := New(c.(*net.UnixConn))
		if errors.Join(s.Send(5, 0, []byte("here I am")), s.Flush()) != nil {
			os.Exit(4)
		}
		_, _ = s.Receive() // until it is told to end
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child starts a process with the other end of s.
func child(t *testing.T) (s *Stream, cmd *exec.Cmd) {
	t.Helper()
	a, b := pair(t)
	s = New(a)
	t.Cleanup(func() { _ = s.Close() })
	file, err := b.File()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PASSING_CHILD=1")
	cmd.ExtraFiles = []*os.File{file}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	_ = file.Close()
	_ = b.Close()
	return s, cmd
}

// The kernel would say of a child's end that it is ours, as we have made both.
func TestPeerIsWhoHasSentSomething(t *testing.T) {
	s, cmd := child(t)
	if pid, _, err := s.Peer(); err != nil || pid != os.Getpid() {
		t.Errorf("before anything came: process %d, %v, want this one, %d", pid, err, os.Getpid())
	}
	if err := s.Kill(time.Second); err == nil {
		t.Error("Kill before anything came has ended somebody")
	}
	if r, err := s.Receive(); err != nil || r.Kind != 5 {
		t.Fatalf("the child's record: %+v, %v", r, err)
	}
	if pid, uid, err := s.Peer(); err != nil || pid != cmd.Process.Pid || uid != os.Getuid() {
		t.Errorf("process %d of user %d, %v, want %d of %d", pid, uid, err, cmd.Process.Pid, os.Getuid())
	}
}

func TestPeerIsWhoHasConnected(t *testing.T) {
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	a, err := net.DialUnix("unix", nil, ln.Addr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	b, err := ln.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Stream{New(a), New(b)} {
		if pid, uid, err := s.Peer(); err != nil || pid != os.Getpid() || uid != os.Getuid() {
			t.Errorf("process %d of user %d, %v, want this one", pid, uid, err)
		}
		if err := s.Kill(time.Second); err == nil || !strings.Contains(err.Error(), "this process") {
			t.Errorf("Kill of this process: %v", err)
		}
		_ = s.Close()
	}
}

// exit is how a child has ended.
func exit(t *testing.T, cmd *exec.Cmd) syscall.WaitStatus {
	t.Helper()
	_ = cmd.Wait()
	return cmd.ProcessState.Sys().(syscall.WaitStatus)
}

func TestKill(t *testing.T) {
	leaks(t)
	s, cmd := child(t)
	if _, err := s.Receive(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // also of one that has ended, whether or not it was waited for
		if err := s.Kill(20 * time.Second); err != nil {
			t.Fatal(err)
		}
		if how := exit(t, cmd); !how.Signaled() || how.Signal() != syscall.SIGKILL {
			t.Fatalf("it ended with %v, want SIGKILL", how)
		}
	}
}

func TestKillOfWhoEndsByItself(t *testing.T) {
	s, cmd := child(t)
	if _, err := s.Receive(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Send(1, 0, nil), s.Flush()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Receive(); err == nil {
		t.Fatal("the child has not ended")
	}
	if how := exit(t, cmd); !how.Exited() || how.ExitStatus() != 0 {
		t.Fatalf("it ended with %v", how)
	}
	if err := s.Kill(20 * time.Second); err != nil {
		t.Fatal(err)
	}
}

// Without pidfds processes are named by their number, and a child is there until somebody
// has asked how it ended.
func TestKillByNumber(t *testing.T) {
	s, cmd := child(t)
	if _, err := s.Receive(); err != nil {
		t.Fatal(err)
	}
	s.peer.drop()
	if err := s.Kill(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	if how := exit(t, cmd); !how.Signaled() {
		t.Fatalf("it ended with %v, want SIGKILL", how)
	}
	if err := killed(cmd.Process.Pid, time.Second); err != nil {
		t.Errorf("of one that there is no more: %v", err)
	}
}

// More descriptors than the process may have are passed, when the receiver takes them.
func TestMoreDescriptorsThanMayBeOnTheWay(t *testing.T) {
	leaks(t)
	from, to := streams(t)
	fd := pipes(t, 1)[0]
	const records = 12
	write, refused := from.sending.write, make(chan struct{}, 1)
	from.sending.write = func(p, rights []byte) (int, error) {
		n, err := write(p, rights)
		if errors.Is(err, unix.ETOOMANYREFS) {
			select {
			case refused <- struct{}{}:
			default:
			}
		}
		return n, err
	}
	restore := limit(t, uint64(open(t)+MaxFiles+50))
	defer restore()
	sent := make(chan error, 1)
	// ends when all is sent; its thread, which has given up that it may do more, with it
	go func() {
		runtime.LockOSThread()
		if err := ordinary(); err != nil {
			close(refused)
			sent <- nil
			return
		}
		var err error
		for range records {
			err = errors.Join(err, from.Send(1, 0, []byte("body"), slices.Repeat([]int{fd}, MaxFiles)...), from.Flush())
		}
		sent <- err
	}()
	if _, ok := <-refused; !ok {
		t.Skip("what root may cannot be given up here")
	}
	for i := range records {
		r, err := to.Receive()
		if err != nil || len(r.Files) != MaxFiles {
			t.Fatalf("record %d: %d descriptors, %v", i, len(r.Files), err)
		}
		closeAll(r.Files)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// ordinary gives up what the thread may do beyond its limits.
func ordinary() error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return err
	}
	data[0].Effective &^= 1<<unix.CAP_SYS_RESOURCE | 1<<unix.CAP_SYS_ADMIN
	return unix.Capset(&head, &data[0])
}
