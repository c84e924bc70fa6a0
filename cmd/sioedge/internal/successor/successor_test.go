package successor

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio/handover"
)

const patience = 60 * time.Second

// part is what a process of the test plays: the test's own binary does.
const part = "SUCCESSOR_TEST_PART"

func TestMain(m *testing.M) {
	switch os.Getenv(part) {
	case "":
		os.Exit(m.Run())
	case "says": // what it was started with
		c, err := handover.Inherited()
		if c == nil {
			fmt.Println("no connection:", err)
			os.Exit(1)
		}
		_, watched := os.LookupEnv("WATCHDOG_PID")
		fmt.Fprintln(c, os.Args[0], os.Args[1:], watched)
	case "fails":
		os.Exit(3)
	case "hangs":
		time.Sleep(patience)
	case "first":
		stays()
	case "second":
		passes()
	case "third":
		third()
	}
}

// play has what this process starts play a part.
func play(t *testing.T, as string) {
	t.Helper()
	t.Setenv(part, as)
}

func TestAChildIsStartedAsThisProcessWas(t *testing.T) {
	play(t, "says")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	c, conn, err := Start(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	said, err := io.ReadAll(conn)
	if want := fmt.Sprintln(os.Args[0], os.Args[1:], false); string(said) != want || err != nil {
		t.Errorf("it says %q, %v, want %q", said, err, want)
	}
	if err := c.End(patience); !errors.Is(err, errEnded) || c.Code() != 0 || !strings.Contains(err.Error(), "exit status 0") {
		t.Errorf("it ends with %v and code %d", err, c.Code())
	}
	<-c.Ended()
}

func TestAChildThatFailsSaysHow(t *testing.T) {
	play(t, "fails")
	c, conn, err := Start(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := c.End(patience); err == nil || !strings.Contains(err.Error(), "exit status 3") || c.Code() != 3 {
		t.Errorf("it ends with %v and code %d", err, c.Code())
	}
}

func TestAChildThatHangsIsKilled(t *testing.T) {
	play(t, "hangs")
	c, conn, err := Start(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := c.End(0); err != nil || c.Code() != 128+int(syscall.SIGKILL) {
		t.Errorf("it ends with %v and code %d", err, c.Code())
	}
	if err := syscall.Kill(c.PID(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestAProgramThatIsNotThere(t *testing.T) {
	if _, _, err := Start(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Start = %v", err)
	}
}

// A link to the program is started again by the link, as what it leads to may be another
// program by then.
func TestThePathIsWhereTheProgramWasStartedFrom(t *testing.T) {
	was := os.Args[0]
	defer func() { os.Args[0] = was }()
	real, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	t.Setenv("PATH", dir)
	for args, want := range map[string]string{link: link, "./link": link, "link": link, other: real, "absent": real, real: real} {
		os.Args[0] = args
		if got := Path(); got != want {
			t.Errorf("started as %s, Path() = %s, want %s", args, got, want)
		}
	}
}

func TestCounts(t *testing.T) {
	var a Counts
	a.Done(time.Second)
	a.Done(3 * time.Millisecond)
	a.Failed()
	if done, failed, pause := a.Read(); done != 2 || failed != 1 || pause != 3*time.Millisecond {
		t.Errorf("counted are %d, %d, %v", done, failed, pause)
	}
}

// next starts a process of the chain, which plays a part.
func next(as string) *Child {
	_ = os.Setenv(part, as)
	c, conn, err := Start(os.Args[0])
	if err != nil {
		fmt.Println(err)
		os.Exit(99)
	}
	_ = conn.Close()
	return c
}

// stays is the process that waits for all that come of it.
func stays() {
	if err := Adopt(); err != nil {
		fmt.Println(err)
		os.Exit(99)
	}
	all := make(chan os.Signal, 16)
	signal.Notify(all, syscall.SIGTERM, syscall.SIGHUP)
	os.Exit(Stay(next("second"), all))
}

// passes starts the one that comes behind it, and is gone.
func passes() {
	c := next("third")
	fmt.Println("second", c.PID())
}

// third is the last. It says which signals come, and ends by one of them.
func third() {
	all := make(chan os.Signal, 16)
	signal.Notify(all, syscall.SIGTERM, syscall.SIGHUP)
	fmt.Println("third is there")
	for s := range all {
		fmt.Println("third is told", s)
		if s == syscall.SIGTERM {
			os.Exit(7)
		}
	}
}

// The process that stays passes signals on to one that it has not started itself, whose
// parent has ended, and ends as that does.
func TestTheFirstProcessStaysForAll(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), part+"=first")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer killed.Stop()
	lines := bufio.NewScanner(out)
	said := func(want string) string {
		t.Helper()
		for lines.Scan() {
			if rest, ok := strings.CutPrefix(lines.Text(), want); ok {
				return rest
			}
			t.Logf("it says %s", lines.Text())
		}
		t.Fatalf("nobody says %s", want)
		return ""
	}
	heard := map[string]bool{} // in any order
	for range 2 {
		if !lines.Scan() {
			t.Fatal("the chain does not begin")
		}
		word, _, _ := strings.Cut(lines.Text(), " ")
		heard[word] = true
	}
	if !heard["second"] || !heard["third"] {
		t.Fatalf("the chain begins with %v", heard)
	}
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM} {
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		said("third is told " + s.String())
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 7 {
		t.Errorf("it ends with code %d, want 7, as the last", code)
	}
}

func TestDescendants(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "sleep 60 & echo $!; wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	grandchild, _ := strconv.Atoi(strings.TrimSpace(line))
	defer func() {
		_ = syscall.Kill(grandchild, syscall.SIGKILL)
		_ = cmd.Wait()
	}()
	found := map[int]bool{}
	for _, pid := range descendants(os.Getpid()) {
		found[pid] = true
	}
	if !found[cmd.Process.Pid] || !found[grandchild] || found[os.Getpid()] || found[1] {
		t.Errorf("of %d come %v, want %d and %d among them", os.Getpid(), found, cmd.Process.Pid, grandchild)
	}
	if _, ok := parentOf(-1); ok {
		t.Error("a process that there is not has a parent")
	}
}
