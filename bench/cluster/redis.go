package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/bench/client"
)

// A redisServer is a Redis of a measurement's own, which keeps nothing.
type redisServer struct {
	addr string
	cmd  *exec.Cmd
	dir  string
}

func startRedis() (*redisServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().(*net.TCPAddr)
	l.Close()
	dir, err := os.MkdirTemp("", "bench-redis-")
	if err != nil {
		return nil, err
	}
	r := &redisServer{addr: addr.String(), dir: dir,
		cmd: exec.Command("redis-server", "--port", strconv.Itoa(addr.Port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")}
	r.cmd.Dir = dir
	if err := r.cmd.Start(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	for end := time.Now().Add(client.Patience); ; time.Sleep(10 * time.Millisecond) {
		answer, err := r.ask("PING")
		if err == nil && strings.HasPrefix(answer, "+PONG") {
			return r, nil
		}
		if time.Now().After(end) {
			r.stop()
			return nil, fmt.Errorf("redis-server does not answer on %s: %v", r.addr, err)
		}
	}
}

func (r *redisServer) stop() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	os.RemoveAll(r.dir)
}

// ask sends an inline command and returns the answer as it came.
func (r *redisServer) ask(command string) (string, error) {
	conn, err := net.DialTimeout("tcp", r.addr, client.Patience)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(client.Patience))
	if _, err := conn.Write([]byte(command + "\r\nQUIT\r\n")); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn) // QUIT closes the connection
	return string(answer), err
}

// published is how many messages anybody has published.
func (r *redisServer) published() (int64, error) {
	answer, err := r.ask("INFO commandstats")
	if err != nil {
		return 0, err
	}
	return parsePublished(answer), nil
}

// parsePublished adds up the calls of PUBLISH and SPUBLISH in the answer to
// INFO commandstats.
func parsePublished(info string) (sum int64) {
	for line := range strings.Lines(info) {
		name, rest, _ := strings.Cut(line, ":calls=")
		if name != "cmdstat_publish" && name != "cmdstat_spublish" {
			continue
		}
		digits, _, _ := strings.Cut(rest, ",")
		n, _ := strconv.ParseInt(digits, 10, 64)
		sum += n
	}
	return sum
}

// A tap passes connections on to Redis, and counts what comes back.
type tap struct {
	listener net.Listener
	bytes    atomic.Int64
}

func startTap(target string) (*tap, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &tap{listener: l}
	// ends with the listener
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				near.Close()
				continue
			}
			go t.pass(far, near, nil)      // ends with either connection
			go t.pass(near, far, &t.bytes) // likewise
		}
	}()
	return t, nil
}

func (t *tap) pass(to, from net.Conn, count *atomic.Int64) {
	defer to.Close()
	defer from.Close()
	for b := make([]byte, 64<<10); ; {
		n, err := from.Read(b)
		if count != nil {
			count.Add(int64(n))
		}
		if _, failed := to.Write(b[:n]); failed != nil || err != nil {
			return
		}
	}
}
