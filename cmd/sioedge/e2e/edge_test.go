//go:build interop

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is sioedge, built once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sioedge-e2e")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "sioedge")
	out, err := exec.Command("go", "build", "-o", path, "..").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// An edge is a sioedge process.
type edge struct {
	t    *testing.T
	url  string
	api  string // of the HTTP API; empty: --internal-listen was not given
	file string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

	mu    sync.Mutex
	log   []map[string]any
	leaks []string // lines of the log with what must be in none
}

// mark is part of every secret, token, cookie and body of a test that wants no log of any
// process to have one of them.
const mark = "M4RKED"

// write writes a file, in which $NAME is replaced by what is given for NAME.
func write(t *testing.T, text string, values ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sioedge.yaml")
	rewrite(t, path, text, values...)
	return path
}

func rewrite(t *testing.T, path, text string, values ...string) {
	t.Helper()
	text = strings.NewReplacer(values...).Replace(text)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start starts a process with a file and flags, and ends it with the test.
func start(t *testing.T, file string, flags ...string) *edge {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return startFrom(t, path, file, flags...)
}

// startFrom is start for a program that lies elsewhere.
func startFrom(t *testing.T, path, file string, flags ...string) *edge {
	t.Helper()
	e := &edge{t: t, file: file, done: make(chan struct{})}
	args := append([]string{"serve", "--config", file, "--listen", "127.0.0.1:0", "--log-format", "json", "--drain-delay", "0s"}, flags...)
	if !slices.Contains(flags, "--origins") {
		args = append(args, "--origins", "*")
	}
	e.cmd = exec.Command(path, args...)
	e.run()
	return e
}

// run starts the process, and ends it with the test.
func (e *edge) run() {
	e.t.Helper()
	e.cmd.Env = append(os.Environ(), "PORT=", "REDIS_URL=")
	out, err := e.cmd.StderrPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	if err := e.cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	// ends with the process
	go e.read(bufio.NewScanner(out))
	e.t.Cleanup(e.stop)
	if slices.Contains(e.cmd.Args, "--internal-listen") {
		e.api = e.said("listening for operators")["address"].(string)
	}
	e.url = "http://" + e.said("listening")["address"].(string)
}

func (e *edge) read(lines *bufio.Scanner) {
	defer close(e.done)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if strings.Contains(lines.Text(), mark) {
			e.mu.Lock()
			e.leaks = append(e.leaks, lines.Text())
			e.mu.Unlock()
		}
		var line map[string]any
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			line = map[string]any{"msg": lines.Text()}
		}
		e.mu.Lock()
		e.log = append(e.log, line)
		e.mu.Unlock()
	}
	_ = e.cmd.Wait()
}

// said waits for a line of the log, and takes it.
func (e *edge) said(msg string) map[string]any {
	e.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		e.mu.Lock()
		i := slices.IndexFunc(e.log, func(l map[string]any) bool {
			m, _ := l["msg"].(string)
			rest, ok := strings.CutPrefix(m, msg)
			return ok && !strings.HasPrefix(rest, " for ") // there are several listeners
		})
		if i >= 0 {
			line := e.log[i]
			e.log = slices.Delete(e.log, i, i+1)
			e.mu.Unlock()
			return line
		}
		log := fmt.Sprint(e.log)
		e.mu.Unlock()
		select {
		case <-e.done:
			e.t.Fatalf("sioedge has ended, and did not say %q; it said %s", msg, log)
		default:
		}
		if time.Now().After(end) {
			e.t.Fatalf("sioedge did not say %q; it said %s", msg, log)
		}
	}
}

func (e *edge) signal(s os.Signal) {
	e.t.Helper()
	if err := e.cmd.Process.Signal(s); err != nil {
		e.t.Fatal(err)
	}
}

// stop ends the process, as an operator does.
func (e *edge) stop() {
	_ = e.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-e.done:
	case <-time.After(patience):
		_ = e.cmd.Process.Kill()
		e.t.Error("sioedge does not end")
		<-e.done
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, line := range e.leaks {
		e.t.Errorf("a secret is in the log: %s", line)
	}
}

// kill ends it without a word.
func (e *edge) kill() {
	_ = e.cmd.Process.Kill()
	<-e.done
}

// reload has it read a new file.
func (e *edge) reload(text string, values ...string) map[string]any {
	e.t.Helper()
	rewrite(e.t, e.file, text, values...)
	e.signal(syscall.SIGHUP)
	return e.said("reloaded")
}

// command runs a command to its end, and returns what it prints and its exit code.
func command(t *testing.T, args ...string) (string, int) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	if _, ok := err.(*exec.ExitError); err != nil && !ok {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// startRedis starts a Redis of the test's own, and returns its address.
func startRedis(t *testing.T) string {
	t.Helper()
	for range 20 {
		port := 20_000 + rand.IntN(10_000)
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		cmd := exec.Command("redis-server", "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
		cmd.Dir = t.TempDir()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		// ends with the process
		go func() { _ = cmd.Wait(); close(ended) }()
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			select {
			case <-ended: // the port is another's
				end = time.Time{}
				continue
			default:
			}
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				continue
			}
			fmt.Fprint(conn, "PING\r\n")
			line, _ := bufio.NewReader(conn).ReadString('\n')
			conn.Close()
			if line == "+PONG\r\n" {
				t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
				return addr
			}
		}
	}
	t.Fatal("redis-server does not start")
	return ""
}

// cluster starts servers with the same file, joined by a Redis.
func cluster(t *testing.T, n int, text string, flags ...string) (all []*edge, redis string) {
	t.Helper()
	redis = startRedis(t)
	for range n {
		all = append(all, start(t, write(t, text), append([]string{"--adapter", "redis://" + redis}, flags...)...))
	}
	return all, redis
}

// eventually waits until ok is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen", what)
		}
	}
}
