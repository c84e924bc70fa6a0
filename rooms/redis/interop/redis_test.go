//go:build interop

package interop

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for something that must happen.
const patience = 60 * time.Second

// eventually waits until ok is true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

// given are the addresses that freeAddr has returned: each belongs to a test,
// also while nobody listens there.
var given sync.Map

// freeAddr returns an address for a server that is to come back to it: of a port
// that no connection, and no other test, is given meanwhile.
func freeAddr(t testing.TB) string {
	t.Helper()
	const from, to = 10_000, 32_000 // below those of connections
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", from+rand.IntN(to-from))
		if _, other := given.LoadOrStore(addr, true); other {
			continue
		}
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

// A redisServer is a Redis of a test's own.
type redisServer struct {
	t    testing.TB
	addr string
	dir  string // what it keeps
	args []string
	cmd  *exec.Cmd
}

// startRedis starts one on a free port. It keeps nothing, unless args say so.
func startRedis(t testing.TB, args ...string) *redisServer {
	t.Helper()
	r := &redisServer{t: t, addr: freeAddr(t), dir: t.TempDir(), args: args}
	r.start()
	t.Cleanup(r.kill)
	return r
}

// start starts it where it was before, with what it has kept.
func (r *redisServer) start() {
	r.t.Helper()
	_, port, _ := net.SplitHostPort(r.addr)
	r.cmd = exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	r.cmd.Args = append(r.cmd.Args, r.args...)
	r.cmd.Dir = r.dir
	var said strings.Builder
	r.cmd.Stdout = &said
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	ours := fmt.Sprintf("process_id:%d\r\n", r.cmd.Process.Pid)
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if answer, err := r.ask("INFO server"); err == nil && strings.Contains(answer, ours) {
			return
		}
		if time.Now().After(end) {
			r.kill()
			r.t.Fatalf("redis-server does not answer; it said:\n%s", said.String())
		}
	}
}

// forget has it begin with nothing when it is started again.
func (r *redisServer) forget() {
	r.t.Helper()
	if err := errors.Join(os.RemoveAll(r.dir), os.Mkdir(r.dir, 0o700)); err != nil {
		r.t.Fatal(err)
	}
}

// kill ends it without a word. It may be dead already.
func (r *redisServer) kill() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

// stop has it do nothing until resume.
func (r *redisServer) stop()   { stop(r.t, r.cmd) }
func (r *redisServer) resume() { signal(r.t, r.cmd, syscall.SIGCONT) }

// stop stops a process and returns when all its threads have stopped.
func stop(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	signal(t, cmd, syscall.SIGSTOP)
	for {
		var status syscall.WaitStatus
		switch _, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil); {
		case err == syscall.EINTR:
		case err != nil || !status.Stopped():
			t.Fatalf("%s has ended: %v, %v", cmd.Path, status, err)
		default:
			return
		}
	}
}

func signal(t testing.TB, cmd *exec.Cmd, s syscall.Signal) {
	t.Helper()
	if err := cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// ask sends an inline command and returns the answer as it came.
func (r *redisServer) ask(command string) (string, error) {
	conn, err := net.DialTimeout("tcp", r.addr, patience)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte(command + "\r\nQUIT\r\n")); err != nil {
		return "", err
	}
	var answer []byte
	for buf := make([]byte, 4096); ; {
		n, err := conn.Read(buf)
		if answer = append(answer, buf[:n]...); err != nil {
			return string(answer), nil // QUIT closes the connection
		}
	}
}

// sentBytes returns how many bytes Redis has sent to all its clients.
func (r *redisServer) sentBytes() int64 {
	r.t.Helper()
	answer, err := r.ask("INFO stats")
	if err != nil {
		r.t.Fatal(err)
	}
	_, after, _ := strings.Cut(answer, "total_net_output_bytes:")
	n, err := strconv.ParseInt(strings.TrimSpace(strings.SplitN(after, "\n", 2)[0]), 10, 64)
	if err != nil {
		r.t.Fatalf("INFO stats = %q", answer)
	}
	return n
}
