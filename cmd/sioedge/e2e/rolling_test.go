//go:build interop

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A balancer passes connections on to servers whose health is good, in turn.
type balancer struct {
	net.Listener
	mu      sync.Mutex
	servers map[string]bool // by address: whether it is ready
	next    int
	refused []string // what could not be passed on
	open    sync.WaitGroup
}

func balance(t *testing.T) *balancer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{Listener: ln, servers: map[string]bool{}}
	done := make(chan struct{})
	b.open.Go(func() { // ends with the test
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			b.open.Go(func() { b.pass(c) }) // ends with the connection
		}
	})
	b.open.Go(func() { // ends with the test
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
				b.look()
			}
		}
	})
	t.Cleanup(func() { close(done); _ = ln.Close() })
	return b
}

// look asks each server once.
func (b *balancer) look() {
	b.mu.Lock()
	all := make([]string, 0, len(b.servers))
	for addr := range b.servers {
		all = append(all, addr)
	}
	b.mu.Unlock()
	for _, addr := range all {
		ready := false
		if res, err := http.Get("http://" + addr + "/healthz"); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			ready = res.StatusCode == 200
		}
		b.mu.Lock()
		if _, there := b.servers[addr]; there {
			b.servers[addr] = ready
		}
		b.mu.Unlock()
	}
}

func (b *balancer) add(e *edge) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.servers[strings.TrimPrefix(e.url, "http://")] = false
}

func (b *balancer) remove(e *edge) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.servers, strings.TrimPrefix(e.url, "http://"))
}

// ready tells how many servers are.
func (b *balancer) ready() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, is := range b.servers {
		if is {
			n++
		}
	}
	return n
}

func (b *balancer) pass(c net.Conn) {
	defer c.Close()
	b.mu.Lock()
	var all []string
	for addr, ready := range b.servers {
		if ready {
			all = append(all, addr)
		}
	}
	b.next++
	n := b.next
	b.mu.Unlock()
	failed := func(why string) {
		b.mu.Lock()
		b.refused = append(b.refused, why)
		b.mu.Unlock()
	}
	if len(all) == 0 {
		failed("no server is ready")
		return
	}
	to, err := net.Dial("tcp", all[n%len(all)])
	if err != nil {
		failed(err.Error())
		return
	}
	defer to.Close()
	go func() { _, _ = io.Copy(to, c); _ = to.(*net.TCPConn).CloseWrite() }() // ends with the connection
	_, _ = io.Copy(c, to)
}

// freePort returns one that nobody listened to a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}

// Two servers behind a balancer that knows them by their health are replaced, one after
// the other, under numbered events: no connection is refused, no client hears of an error
// but of the end of its connection, all come back, and who recovers misses nothing.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	const key = "0123456789abcdefghijklmnop"
	redis := startRedis(t)
	b := balance(t)
	run := func() *edge {
		port := freePort(t)
		e := start(t, write(t, "namespaces: [{pattern: /}]\nrecovery: 1m\n"), "--adapter", "redis+streams://"+redis, "--eio3", "--loops", "1",
			"--listen", "127.0.0.1:"+port, "--advertise", "http://127.0.0.1:"+port, "--cluster-secret", "rolled",
			"--internal-listen", "127.0.0.1:0", "--api-key", key, "--drain-delay", "1s", "--drain", "6s")
		b.add(e)
		return e
	}
	servers := []*edge{run(), run()}
	eventually(t, "both are ready", func() bool { return b.ready() == 2 })
	url := "http://" + b.Addr().String()
	x := &agents{t: t}
	type kind struct {
		version    string
		transports []string
	}
	var all []*client
	for _, k := range []kind{{"4", nil}, {"4", []string{"polling"}}, {"4", []string{"polling", "websocket"}}, {"3", nil}, {"2", nil}, {"2", []string{"polling"}}, {"python", nil}, {"python", []string{"polling"}}} {
		for range 2 {
			all = append(all, x.enter(k.version, url, "/", options{recover: true, transports: k.transports}))
		}
	}
	t.Cleanup(func() { // they would come back for ever
		for _, c := range all {
			c.op("leave", nil)
		}
	})
	var mu sync.Mutex // of what the teller uses
	api := servers[0].api
	sent, stop := 0, make(chan struct{})
	told := make(chan struct{})
	// ends when it is stopped
	go func() {
		defer close(told)
		for {
			mu.Lock()
			r, _ := http.NewRequest("POST", "http://"+api+"/api/emit", strings.NewReader(fmt.Sprintf(`{"ev":"n","args":[%d]}`, sent+1)))
			r.Header.Set("X-API-Key", key)
			if res, err := http.DefaultClient.Do(r); err == nil {
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				if res.StatusCode == 200 {
					sent++
				}
			}
			mu.Unlock()
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	for i := range servers {
		mu.Lock()
		api = servers[1-i].api
		mu.Unlock()
		old := servers[i]
		old.signal(syscall.SIGTERM)
		old.said("drained: no client is left")
		old.said("stopped")
		b.remove(old)
		servers[i] = run()
		eventually(t, "the new one is ready", func() bool { return b.ready() == 2 })
	}
	back := func(c *client) {
		eventually(t, c.name+" is back", func() bool { return string(c.a.must("sid", map[string]any{"c": c.name})) != `""` })
	}
	for _, c := range all {
		back(c)
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return sent
	}
	before := count()
	eventually(t, "some more events are sent", func() bool { return count() > before+5 }) // that all are there for
	close(stop)
	<-told
	if sent < 100 {
		t.Errorf("%d events were sent", sent)
	}
	last := strconv.Itoa(sent)
	for _, c := range all {
		checkRolled(t, c, last, sent)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.refused) > 0 {
		t.Errorf("%d connections could not be passed on: %s", len(b.refused), b.refused[0])
	}
}

// checkRolled checks what a client has seen: its ends, and the events.
func checkRolled(t *testing.T, c *client, last string, sent int) {
	t.Helper()
	heard := func() (numbers []string, recovered bool, story string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		recovered = true
		for _, s := range c.seen {
			switch s.On {
			case "event":
				numbers = append(numbers, string(s.Args[0]))
			case "connect":
				recovered = recovered && s.Recovered
			case "connect_error":
				if c.kind == "2" && strings.Contains(string(s.Error), "TransportError") {
					continue // what it calls the end of a connection over polling
				}
				if c.kind == py && string(s.Error) == `{"message": "None"}` {
					continue // what it calls a 503: it begins a session on a connection that it has kept from polling
				}
				t.Errorf("%s is told %s", c.name, s.Error)
			case "disconnect":
				story += s.Reason + "; "
				if s.Code != 0 && s.Code != 4000 {
					t.Errorf("%s is closed with %d %s", c.name, s.Code, s.Text)
				}
			}
		}
		return numbers, recovered, story
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		n, _, story := heard()
		if len(n) > 0 && n[len(n)-1] == last {
			break
		}
		if time.Now().After(end) {
			t.Errorf("%s hears %d events up to %v, and not %s; its ends: %s", c.name, len(n), n[max(len(n)-1, 0):], last, story)
			return
		}
	}
	numbers, recovered, story := heard()
	if story == "" {
		t.Errorf("%s was never disconnected", c.name)
	}
	first, _ := strconv.Atoi(numbers[0])
	whole := len(numbers) == sent-first+1
	for i, n := range numbers {
		if k, _ := strconv.Atoi(n); i > 0 && whole && k != first+i {
			t.Errorf("%s hears %s as number %d from %d on", c.name, n, i, first)
			break
		}
	}
	if c.kind == "4" && (!recovered || !whole) {
		t.Errorf("%s hears %d events from %d to %d, recovered: %t; its ends: %s", c.name, len(numbers), first, sent, recovered, story)
	}
}
