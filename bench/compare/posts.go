package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/bench/host"
)

// patience is how long an answer may take.
const patience = 10 * time.Second

const (
	emitBody    = `{"nsp":"/","to":["room"],"ev":"message","args":[{"text":"hello","id":17}]}`
	publishBody = `{"channel":"room","data":{"text":"hello","id":17}}`
)

// posts has clients that keep their connections post one request after the other: to emit
// to a room where nobody is.
func posts(v *server, s setting, t trial) (figure, error) {
	addr, path, body := s.internal, "/api/emit", emitBody
	if v.name == fugo {
		addr, path, body = s.Addr, "/api/publish", publishBody
	}
	request := []byte("POST " + path + " HTTP/1.1\r\nHost: " + addr + "\r\nX-API-Key: " + secret + "\r\nContent-Type: application/json\r\nContent-Length: " +
		strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	var answered atomic.Int64
	ctx, stop := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	failures := make(chan error, t.clients)
	for range t.clients {
		clients.Go(func() { // ends with ctx
			if err := post(ctx, addr, request, &answered); err != nil {
				failures <- err
			}
		})
	}
	time.Sleep(time.Second) // as the load generator's --warmup
	f, err := use(s.Process.Pid, func() int64 { return answered.Load() }, func() error {
		select {
		case err := <-failures:
			return err
		case <-time.After(t.length):
			return nil
		}
	})
	stop()
	clients.Wait()
	f.clients = t.clients
	return f, err
}

// post posts a request again and again, until ctx ends.
func post(ctx context.Context, addr string, request []byte, answered *atomic.Int64) error {
	conn, err := dial(addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	for r := bufio.NewReader(conn); ctx.Err() == nil; {
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := conn.Write(request); err != nil {
			return err
		}
		answer, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			return err
		}
		if answer.StatusCode != http.StatusOK || bytes.Contains(body, []byte(`"error"`)) {
			return fmt.Errorf("%s: %s", answer.Status, body)
		}
		answered.Add(1)
	}
	return nil
}

// dial connects to a server that may say where it listens a moment before it does.
func dial(addr string) (conn net.Conn, err error) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if conn, err = net.Dial("tcp", addr); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// use returns what a process uses for one of what done counts, while something goes on.
func use(pid int, done func() int64, meanwhile func() error) (figure, error) {
	before, err := host.CPUOf(pid)
	began, from := time.Now(), done()
	if err = errors.Join(err, meanwhile()); err != nil {
		return figure{}, err
	}
	after, err := host.CPUOf(pid)
	n := float64(done() - from)
	if n <= 0 {
		return figure{}, errors.Join(err, errors.New("nothing was done"))
	}
	used := after.Since(before)
	µs := func(d time.Duration) float64 { return float64(d) / 1e3 / n }
	return figure{cpu: µs(used.Total()), user: µs(used.User), seconds: time.Since(began).Seconds(), cpuSeconds: used.Total().Seconds()}, err
}

// emits has one client emit to a room where nobody is, as fast as the server does it: by
// a stream of the API, or with Redis between.
func emits(v *server, s setting, t trial) (figure, error) {
	if v.name == byStream {
		return stream(s, t)
	}
	return fromRedis(s, t)
}

// inOne is how many emits are under way.
const inOne = 64

// stream sends emits by a stream, so many at a time as are under way by Redis.
func stream(s setting, t trial) (figure, error) {
	ctx, stop := context.WithTimeout(context.Background(), t.length+2*patience)
	defer stop()
	in, out := io.Pipe()
	defer out.Close()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.internal+"/api/stream", in)
	if err != nil {
		return figure{}, err
	}
	r.Header.Set("X-API-Key", secret)
	r.Header.Set("Content-Type", "application/x-ndjson")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return figure{}, err
	}
	defer answer.Body.Close()
	piece := []byte(strings.Repeat(`{"emit":`+emitBody+"}\n", inOne))
	results := bufio.NewReader(answer.Body)
	n := int64(0)
	send := func(d time.Duration) error {
		for end := time.Now().Add(d); time.Now().Before(end); n += inOne {
			if _, err := out.Write(piece); err != nil {
				return err
			}
			for range inOne {
				line, err := results.ReadBytes('\n')
				if err != nil || bytes.Contains(line, []byte(`"error"`)) {
					return fmt.Errorf("a result of the stream: %s, %w", line, err)
				}
			}
		}
		return nil
	}
	if err := send(time.Second); err != nil {
		return figure{}, err
	}
	return use(s.Process.Pid, func() int64 { return n }, func() error { return send(t.length) })
}

// redisEmits is how many events come by Redis in a second of a trial, about.
const redisEmits = 30000

// fromRedis has events come from @socket.io/redis-emitter.
func fromRedis(s setting, t trial) (figure, error) {
	emit := func(n int64) error {
		cmd := exec.Command("node", filepath.Join("bench", "peers", "node", "emitter.js"), "redis://"+s.app.Addr, strconv.FormatInt(n, 10))
		if said, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("the emitter: %w: %s", err, telling(said))
		}
		return quiet(s.Process.Pid)
	}
	if err := emit(redisEmits); err != nil {
		return figure{}, err
	}
	n := int64(0)
	return use(s.Process.Pid, func() int64 { return n }, func() error {
		n = int64(redisEmits * t.length.Seconds())
		return emit(n)
	})
}

// quiet waits until a process has done what it has to: uses next to nothing.
func quiet(pid int) error {
	const look, little = 200 * time.Millisecond, 5 * time.Millisecond
	before, err := host.CPUOf(pid)
	for end := time.Now().Add(patience); err == nil; {
		time.Sleep(look)
		var now host.CPU
		if now, err = host.CPUOf(pid); err == nil && now.Since(before).Total() < little {
			return nil
		}
		if before = now; time.Now().After(end) {
			err = errors.New("the server does not come to rest")
		}
	}
	return err
}
