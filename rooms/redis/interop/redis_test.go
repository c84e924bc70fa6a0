//go:build interop

package interop

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"strings"
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

// freeAddr returns an address for a server that is to come back to it: of a port
// that no connection is given meanwhile.
func freeAddr(t testing.TB) string {
	t.Helper()
	const from, to = 10_000, 32_000 // below those of connections
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", from+rand.IntN(to-from))
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
	cmd  *exec.Cmd
}

// startRedis starts one on a free port.
func startRedis(t testing.TB) *redisServer {
	t.Helper()
	r := &redisServer{t: t, addr: freeAddr(t)}
	r.start()
	t.Cleanup(r.kill)
	return r
}

// start starts it where it was before.
func (r *redisServer) start() {
	r.t.Helper()
	_, port, _ := net.SplitHostPort(r.addr)
	r.cmd = exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	r.cmd.Dir = r.t.TempDir()
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "redis-server", func() bool {
		answer, err := r.ask("PING")
		return err == nil && strings.HasPrefix(answer, "+PONG")
	})
}

// kill ends it without a word. It may be dead already.
func (r *redisServer) kill() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

// stop has it do nothing until resume.
func (r *redisServer) stop()   { signal(r.t, r.cmd, syscall.SIGSTOP) }
func (r *redisServer) resume() { signal(r.t, r.cmd, syscall.SIGCONT) }

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
