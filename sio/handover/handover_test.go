package handover

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const patience = 60 * time.Second

// part is what a process of the test plays: the test's own binary does.
const part = "HANDOVER_TEST_PART"

func TestMain(m *testing.M) {
	switch os.Getenv(part) {
	case "":
		os.Exit(m.Run())
	case "successor":
		succeed()
	case "child":
		// A program that a successor starts.
		_, has := os.LookupEnv(Env)
		fmt.Println(has, descriptors())
	case "gone": // at once
	}
}

// succeed says over the connection what it was started with.
func succeed() {
	c, err := Inherited()
	if err != nil || c == nil {
		fmt.Println("no connection:", err)
		os.Exit(1)
	}
	if again, err := Inherited(); again != nil || err != nil {
		fmt.Println("there is a second one:", again, err)
		os.Exit(1)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), part+"=child")
	out, err := child.Output()
	fmt.Fprintf(c, "%d %q %v of its child: %s", os.Getpid(), os.Args[1:], err, out)
	_ = c.CloseWrite()
	_, _ = io.Copy(io.Discard, c)
}

// descriptors counts the sockets that a process has.
func descriptors() (n int) {
	all, _ := os.ReadDir("/proc/self/fd")
	for _, f := range all {
		if to, _ := os.Readlink("/proc/self/fd/" + f.Name()); strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// program is the test's binary, in a part.
func program(as string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), part+"="+as)
	return cmd
}

// short returns a directory whose paths fit into the address of a socket.
func short(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "h")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestASuccessorIsStartedWithAConnection(t *testing.T) {
	other, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	cmd := program("successor", "-x", "y")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.ExtraFiles = []*os.File{other} // what else it is given stays what it is
	cmd.Env = append(cmd.Env, Env+"=7")
	c, err := Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	said, err := io.ReadAll(c)
	if want := fmt.Sprintf("%d [\"-x\" \"y\"] <nil> of its child: false 0\n", cmd.Process.Pid); string(said) != want || err != nil {
		t.Errorf("it says %q, %v, want %q", said, err, want)
	}
	_ = c.Close()
	if err := cmd.Wait(); err != nil || out.Len() > 0 {
		t.Errorf("it ends with %v and %s", err, out.Bytes())
	}
}

func TestTheEndOfASuccessorIsSeen(t *testing.T) {
	cmd := program("gone")
	c, err := Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("of a process that has ended %d bytes come, %v", n, err)
	}
	_ = cmd.Wait()
}

func TestAProgramThatIsNotThereIsNotStarted(t *testing.T) {
	dir, before := t.TempDir(), descriptors()
	plain := filepath.Join(dir, "text")
	if err := os.WriteFile(plain, []byte("no program"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"absent": filepath.Join(dir, "absent"), "a directory": dir, "no program": plain} {
		if c, err := Start(exec.Command(path)); err == nil || c != nil {
			t.Errorf("%s: %v, %v, want an error", name, c, err)
		}
	}
	if after := descriptors(); after != before {
		t.Errorf("%d sockets are open, and were %d before", after, before)
	}
}

func TestNothingIsInherited(t *testing.T) {
	if c, err := Inherited(); c != nil || err != nil {
		t.Errorf("without the variable: %v, %v", c, err)
	}
}

// What the variable says may be wrong: a program in between has passed it on, and the
// number is of something else.
func TestAVariableThatNamesNoConnection(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	dialled, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()
	unixes, err := net.Listen("unix", filepath.Join(short(t), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer unixes.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	number := func(c any) string {
		raw, err := c.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var n uintptr
		_ = raw.Control(func(fd uintptr) { n = fd })
		return fmt.Sprint(n)
	}
	for name, text := range map[string]string{
		"nothing": "", "a word": "three", "standard output": "1", "negative": "-1", "closed": "1000", "too large": "99999999999999999999",
		"a file": fmt.Sprint(file.Fd()), "a listener": number(tcp), "TCP": number(dialled), "a listener of a path": number(unixes), "datagrams": fmt.Sprint(pair[0]),
	} {
		t.Setenv(Env, text)
		if c, err := Inherited(); c != nil || err == nil || !strings.Contains(err.Error(), Env) {
			t.Errorf("%s: %v, %v, want an error that names %s", name, c, err, Env)
		}
		if _, has := os.LookupEnv(Env); has {
			t.Errorf("%s: the variable is still there", name)
		}
	}
	if _, err := file.Stat(); err != nil {
		t.Errorf("a file that was named is closed: %v", err)
	}
	if _, err := unix.GetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		t.Errorf("a socket that was named is closed: %v", err)
	}
}

// meet dials a path, and returns both ends.
func meet(t *testing.T, l *Listener, path string) (mine, its *net.UnixConn) {
	t.Helper()
	ctx, done := context.WithTimeout(t.Context(), patience)
	defer done()
	its, err := Dial(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = its.Close() })
	if mine, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mine.Close() })
	return mine, its
}

func talks(t *testing.T, a, b *net.UnixConn) {
	t.Helper()
	_ = b.SetDeadline(time.Now().Add(patience))
	fmt.Fprintln(a, "hello")
	if line, err := bufio.NewReader(b).ReadString('\n'); line != "hello\n" {
		t.Errorf("%q comes, %v", line, err)
	}
}

func TestASuccessorMeetsTheOtherAtAPath(t *testing.T) {
	path := filepath.Join(short(t), "s")
	if _, err := Dial(t.Context(), path); !errors.Is(err, ErrNobody) {
		t.Errorf("where there is nothing Dial says %v", err)
	}
	was := syscall.Umask(0)
	l, err := Listen(path)
	syscall.Umask(was)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the path has mode %v, %v", st.Mode(), err)
	}
	mine, its := meet(t, l, path)
	talks(t, its, mine)
	if _, err := Listen(path); err == nil {
		t.Error("two listen at a path")
	}
	// The successor has the socket from then on.
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Name() != FileName {
		t.Errorf("the file is called %q", f.Name())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed, it says %v", err)
	}
	next, err := FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if c, err := next.Accept(); err == nil { // the second Listen has knocked
		_ = c.Close()
	}
	mine, its = meet(t, next, path)
	talks(t, mine, its)
	if err := next.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the path is still there: %v", err)
	}
}

// A umask leaves less than it is to have, or nothing.
func TestAPathHasItsModeWhateverTheUmask(t *testing.T) {
	path := filepath.Join(short(t), "s")
	was := syscall.Umask(0o777)
	l, err := Listen(path)
	syscall.Umask(was)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the path has mode %v, %v", st.Mode(), err)
	}
}

func TestAPathThatWasLeftBehindIsReplaced(t *testing.T) {
	path := filepath.Join(short(t), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if _, err := Dial(t.Context(), path); !errors.Is(err, ErrNobody) {
		t.Errorf("where nobody listens any more Dial says %v", err)
	}
	next, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if err := l.Remove(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed before, Remove says %v", err)
	}
	meet(t, next, path)
}

func TestWhatTookThePlaceOfAPathIsLeft(t *testing.T) {
	path := filepath.Join(short(t), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	next, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if err := l.Remove(); err != nil {
		t.Error(err)
	}
	meet(t, next, path)
}

func TestPathsThatAreNotForIt(t *testing.T) {
	dir := short(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"a file": file, "a directory": dir, "a link": link, "no directory": filepath.Join(dir, "no", "s"), "too long": filepath.Join(dir, strings.Repeat("s", 200)),
	} {
		if l, err := Listen(path); err == nil {
			_ = l.Close()
			t.Errorf("%s: it listens", name)
		}
	}
	if _, err := os.Lstat(file); err != nil {
		t.Errorf("a file that was in the way is gone: %v", err)
	}
	if c, err := Dial(t.Context(), file); c != nil || err == nil {
		t.Errorf("a file is dialled: %v, %v", c, err)
	}
}

func TestAPathOfAnotherUserIsNotTouched(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give a path away")
	}
	path := filepath.Join(short(t), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Lchown(path, 12345, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(t.Context(), path); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a path of another user is dialled: %v", err)
	}
	_ = l.Close()
	if _, err := Listen(path); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a path of another user is replaced: %v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

// stranger has the others that connect be another user's, the first n.
func stranger(t *testing.T, n int) {
	t.Helper()
	real := peerOf
	t.Cleanup(func() { peerOf = real })
	peerOf = func(c *net.UnixConn) (int, int, error) {
		pid, uid, err := real(c)
		if n--; n >= 0 {
			uid++
		}
		return pid, uid, err
	}
}

func TestProcessesOfOtherUsersAreSentAway(t *testing.T) {
	path := filepath.Join(short(t), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	first, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	stranger(t, 1)
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = first.SetDeadline(time.Now().Add(patience))
	if _, err := first.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the stranger sees %v", err)
	}
	talks(t, c, second.(*net.UnixConn))

	stranger(t, 1)
	if c, err := Dial(t.Context(), path); c != nil || !errors.Is(err, ErrStranger) {
		t.Errorf("a stranger is dialled: %v, %v", c, err)
	}
	mine, its, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	t.Setenv(Env, fmt.Sprint(its.Fd()))
	stranger(t, 1)
	if c, err := Inherited(); c != nil || !errors.Is(err, ErrStranger) {
		t.Errorf("a stranger's connection is inherited: %v, %v", c, err)
	}
}

func TestWhoseProcessItIsIsAsked(t *testing.T) {
	mine, its, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	defer its.Close()
	if pid, uid, err := peerOf(mine); pid != os.Getpid() || uid != os.Geteuid() || err != nil {
		t.Errorf("the other end is process %d of user %d, %v", pid, uid, err)
	}
	real := peerOf
	defer func() { peerOf = real }()
	peerOf = func(*net.UnixConn) (int, int, error) { return 0, os.Geteuid(), nil }
	if err := checkPeer(mine); !errors.Is(err, ErrStranger) {
		t.Errorf("a process that is not seen from here is believed: %v", err)
	}
	peerOf = func(*net.UnixConn) (int, int, error) { return 1, os.Geteuid(), errors.ErrUnsupported }
	if err := checkPeer(mine); err == nil {
		t.Error("who is not known is believed")
	}
}

func TestFilesThatAreNoListener(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	f, err := tcp.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, f := range []*os.File{file, f} {
		if l, err := FileListener(f); err == nil {
			_ = l.Close()
			t.Errorf("%s is a listener", f.Name())
		}
	}
}
