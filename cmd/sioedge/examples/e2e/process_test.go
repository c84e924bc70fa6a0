//go:build interop

package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"
)

const patience = 60 * time.Second // Go's application is compiled

var built string // the directory of binary, if it was made

// binary is sioedge, built once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sioedge-examples")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "sioedge")
	if out, err := exec.Command("go", "build", "-o", path, "../..").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// A chat is where the parts of one are, of one language, and what they keep.
type chat struct {
	t                      *testing.T
	language               string
	state                  string
	listen, edge, internal string
}

func newChat(t *testing.T, language string) *chat {
	t.Helper()
	c := &chat{t: t, language: language, state: t.TempDir()}
	places := free(t, 3)
	c.listen, c.edge, c.internal = places[0], places[1], places[2]
	return c
}

// A process is what run has started: one of the two parts, or both.
type process struct {
	c    *chat
	cmd  *exec.Cmd
	out  bytes.Buffer
	done chan struct{} // closed when it has ended
}

// run starts a part, "" for both, and waits until it listens.
func (c *chat) run(part string) *process {
	c.t.Helper()
	sioedge, err := "", error(nil)
	if part != "backend" {
		if sioedge, err = binary(); err != nil {
			c.t.Fatal(err)
		}
	}
	args := []string{c.language}
	if part != "" {
		args = append(args, part)
	}
	p := &process{c: c, cmd: exec.Command("../run", args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "STATE="+c.state, "LISTEN="+c.listen, "EDGE="+c.edge, "INTERNAL="+c.internal, "SIOEDGE="+sioedge, "PORT=", "REDIS_URL=")
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	// ends with the process
	go func() { defer close(p.done); _ = p.cmd.Wait() }()
	c.t.Cleanup(func() {
		p.kill()
		if c.t.Failed() {
			c.t.Logf("%v said:\n%s", p.cmd.Args, p.out.String())
		}
	})
	for _, at := range map[string][]string{"": {c.listen, c.edge}, "backend": {c.listen}, "edge": {c.edge}}[part] {
		p.listening(at)
	}
	return p
}

func (p *process) listening(at string) {
	p.c.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", at); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-p.done:
			p.c.t.Fatalf("%v has ended", p.cmd.Args)
		default:
		}
		if time.Now().After(end) {
			p.c.t.Fatalf("%v does not listen on %s", p.cmd.Args, at)
		}
	}
}

// kill ends a process and those that it has started, as a crash would.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // it may have ended
	<-p.done
}

// secret returns one of those that run has made.
func (c *chat) secret(name string) string {
	c.t.Helper()
	b, err := os.ReadFile(filepath.Join(c.state, "secrets"))
	if err != nil {
		c.t.Fatal(err)
	}
	m := regexp.MustCompile(name + `=(\S+)`).FindSubmatch(b)
	if m == nil {
		c.t.Fatalf("there is no %s", name)
	}
	return string(m[1])
}

// closed waits until nobody listens any more.
func (p *process) closed(at string) {
	p.c.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", at)
		if err != nil {
			return
		}
		_ = conn.Close()
		if time.Now().After(end) {
			p.c.t.Fatalf("after %v something listens on %s", p.cmd.Args, at)
		}
	}
}
