//go:build interop

package interop

import (
	"encoding/json"
	"fmt"
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

// Whole deployments: the binary, Debian's nginx, HAProxy and Redis, and clients of
// npm, under numbered traffic. What is asserted is what came and in which order,
// never when.

// binary builds the server's binary, once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sioedge-deploy")
	if err != nil {
		return "", err
	}
	binaryDir = dir
	path := filepath.Join(dir, "sioedge")
	out, err := exec.Command("go", "build", "-o", path, "../../../cmd/sioedge").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// binaryDir is where it is; TestMain removes it.
var binaryDir string

// A daemon is a process of a deployment.
type daemon struct {
	t    testing.TB
	name string
	addr string
	cmd  *exec.Cmd
	args []string

	mu   sync.Mutex
	said strings.Builder
}

// Write notes what it says.
func (d *daemon) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.said.Write(p)
}

func (d *daemon) log() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.said.String()
}

// launch starts a process that listens at addr, and waits until it does.
func launch(t testing.TB, name, addr string, args ...string) *daemon {
	t.Helper()
	d := &daemon{t: t, name: name, addr: addr, args: args}
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			said := d.log()
			t.Logf("%s said:\n%s", name, said[max(0, len(said)-2000):])
		}
	})
	d.start()
	return d
}

// start starts it, again perhaps.
func (d *daemon) start() {
	d.t.Helper()
	d.cmd = exec.Command(d.args[0], d.args[1:]...)
	d.cmd.Stdout, d.cmd.Stderr, d.cmd.WaitDelay = d, d, time.Second
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	eventually(d.t, d.name+" listening", func() bool {
		c, err := net.Dial("tcp", d.addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// kill ends it without a word. It may be dead already.
func (d *daemon) kill() {
	if d.cmd != nil {
		_ = d.cmd.Process.Kill()
		_ = d.cmd.Wait()
	}
}

// end has it end by itself.
func (d *daemon) end() {
	d.t.Helper()
	signal(d.t, d.cmd, syscall.SIGTERM)
	if err := d.cmd.Wait(); err != nil {
		d.t.Errorf("%s ended with %v", d.name, err)
	}
}

// sioedge starts a server of a cluster with short heartbeats; more are flags.
func sioedge(t testing.TB, name, adapter string, more ...string) *daemon {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	args := append([]string{path, "serve", "--demo", "--listen", addr, "--advertise", "http://" + addr, "--adapter", adapter,
		"--cluster-secret", "deployed", "--loops", "1", "--ping-interval", "1s", "--ping-timeout", "1s", "--drain", "5s", "--drain-delay", "0s", "--log-format", "text"}, more...)
	return launch(t, name, addr, args...)
}

// nginx starts the configuration that tutorials give, Socket.IO's own among them,
// but for stickiness.
func nginx(t testing.TB, servers ...*daemon) (url string) {
	t.Helper()
	var upstream strings.Builder
	for _, s := range servers {
		fmt.Fprintf(&upstream, "server %s max_fails=0;\n", s.addr)
	}
	addr, dir := freeAddr(t), t.TempDir()
	config := fmt.Sprintf(`
daemon off; master_process off; pid %[1]s/pid; error_log stderr crit; user root;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  upstream nodes { %[2]s }
  server {
    listen %[3]s;
    location / {
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header Host $host;
      proxy_pass http://nodes;
      proxy_connect_timeout 1s;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
    }
  }
}`, dir, upstream.String(), addr)
	launch(t, "nginx", addr, "nginx", "-p", dir, "-c", write(t, dir, config))
	return "http://" + addr
}

// haproxy starts one that gives each request to the next server.
func haproxy(t testing.TB, addrs ...string) (url string) {
	t.Helper()
	var servers strings.Builder
	for i, a := range addrs {
		fmt.Fprintf(&servers, "  server s%d %s check inter 100ms fall 1 rise 1\n", i, a)
	}
	addr := freeAddr(t)
	config := fmt.Sprintf(`
global
  maxconn 1000
defaults
  mode http
  option redispatch
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  timeout tunnel 60s
listen nodes
  bind %s
  balance roundrobin
%s`, addr, servers.String())
	launch(t, "haproxy", addr, "haproxy", "-db", "-f", write(t, t.TempDir(), config))
	return "http://" + addr
}

func write(t testing.TB, dir, config string) string {
	t.Helper()
	path := filepath.Join(dir, "config")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// traffic is clients, and numbers that are emitted to all of them.
type traffic struct {
	t    testing.TB
	peer *peer
	emit func(n int)

	mu   sync.Mutex
	last int
	stop chan struct{}
	done chan struct{}

	most int // numbers that a client may lose while it is connected

	pace  time.Duration // between numbers
	every int           // ms between questions of a client
}

// newTraffic starts traffic.mjs.
func newTraffic(t testing.TB, emit func(n int)) *traffic {
	t.Helper()
	p := startProcess(t, "traffic", nil, "node", "traffic.mjs")
	p.ready()
	return &traffic{t: t, peer: p, emit: emit, pace: 5 * time.Millisecond, every: 20}
}

// modes are the ways in which clients connect.
var modes = map[string][]string{"polling": {"polling"}, "websocket": {"websocket"}, "default": nil}

// open adds clients of a mode, called name 0 and so on, and waits for them.
func (tr *traffic) open(url, mode, name string, count int) {
	tr.t.Helper()
	tr.peer.do(tr.t, command{Op: "open", URL: url, Name: name, Transports: modes[mode], Count: count, Every: tr.every}, nil)
	tr.connected()
}

type clientState struct {
	Last      int  `json:"last"`
	Connected bool `json:"connected"`
}

func (tr *traffic) state() (all map[string]clientState) {
	tr.t.Helper()
	tr.peer.do(tr.t, command{Op: "state"}, &all)
	return all
}

// connected waits until all clients are.
func (tr *traffic) connected() {
	tr.t.Helper()
	eventually(tr.t, "all clients being connected", func() bool {
		time.Sleep(20 * time.Millisecond)
		for _, s := range tr.state() {
			if !s.Connected {
				return false
			}
		}
		return true
	})
}

// begin begins to emit numbers.
func (tr *traffic) begin() {
	tr.stop, tr.done = make(chan struct{}), make(chan struct{})
	// ends with rest
	go func() {
		defer close(tr.done)
		for {
			tr.next()
			select {
			case <-tr.stop:
				return
			case <-time.After(tr.pace):
			}
		}
	}()
}

// next emits the next number.
func (tr *traffic) next() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.last++
	tr.emit(tr.last)
	return tr.last
}

// emitted returns how many numbers have been emitted.
func (tr *traffic) emitted() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.last
}

// pass waits until all clients are connected, and have received n more numbers.
func (tr *traffic) pass(n int) {
	tr.t.Helper()
	tr.connected()
	tr.mu.Lock()
	to := tr.last + n
	tr.mu.Unlock()
	tr.reach(to)
}

// reach waits until all clients have received a number, or one behind it.
func (tr *traffic) reach(to int) {
	tr.t.Helper()
	var behind []string
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		behind = behind[:0]
		for name, s := range tr.state() {
			if s.Last < to {
				behind = append(behind, fmt.Sprint(name, " at ", s.Last))
			}
		}
		if len(behind) == 0 {
			return
		}
		if time.Now().After(end) {
			tr.t.Fatalf("number %d has not reached %v", to, behind)
		}
	}
}

// rest ends the emitting, has all clients reach the last number, and returns what
// happened.
func (tr *traffic) rest() map[string]*account {
	tr.t.Helper()
	close(tr.stop)
	<-tr.done
	tr.connected()
	tr.reach(tr.next())
	tr.peer.do(tr.t, command{Op: "quiet"}, nil)
	return tr.accounts()
}

// An account is what a client met.
type account struct {
	Noted    [][]any `json:"noted"`
	Sent     int     `json:"sent"`
	Answered []int   `json:"answered"`

	connects, recovered, disconnects int
	received                         int
	missed                           int      // while it was not connected
	lost                             int      // while it was
	repeated                         int      // doubled, or out of order
	last                             string   // transport
	reasons                          []string // of its disconnects
}

// accounts reads what every client has noted. It fails for what is never allowed:
// numbers that are lost within a connection, doubled, or out of order, and answers
// that are.
func (tr *traffic) accounts() (all map[string]*account) {
	tr.t.Helper()
	tr.peer.do(tr.t, command{Op: "notes"}, &all)
	for name, a := range all {
		a.read()
		if a.lost > tr.most || a.repeated > 0 {
			tr.t.Errorf("%s: %d numbers lost while it was connected, %d doubled or out of order", name, a.lost, a.repeated)
			tr.t.Logf("%s met %s", name, a.story())
		}
		if !slices.IsSorted(a.Answered) || len(slices.Compact(slices.Clone(a.Answered))) != len(a.Answered) {
			tr.t.Errorf("%s: its numbers are answered doubled or out of order: %v", name, a.Answered)
		}
		if len(a.Answered) == 0 {
			tr.t.Errorf("%s: none of its %d numbers is answered", name, a.Sent)
		}
	}
	return all
}

func (a *account) read() {
	last, whole := 0, false
	for _, entry := range a.Noted {
		switch entry[0] {
		case "connect":
			a.connects++
			a.last = fmt.Sprint(entry[3])
			if whole = entry[2] == true; whole {
				a.recovered++
			}
		case "disconnect":
			a.disconnects++
			a.reasons = append(a.reasons, fmt.Sprint(entry[1]))
		default:
			n := int(entry[1].(float64))
			a.received++
			switch gap := n - last - 1; {
			case gap < 0:
				a.repeated++
			case gap > 0 && whole:
				a.lost += gap
			case gap > 0 && last > 0:
				a.missed += gap
			}
			last, whole = max(n, last), true
		}
	}
}

// story is what happened, with runs of numbers as one.
func (a *account) story() string {
	var b strings.Builder
	from, to := 0, 0
	flush := func() {
		if from > 0 {
			fmt.Fprintf(&b, " %d…%d", from, to)
		}
		from = 0
	}
	for _, entry := range a.Noted {
		if entry[0] == "n" {
			n := int(entry[1].(float64))
			if from == 0 || n != to+1 {
				flush()
				from = n
			}
			to = n
			continue
		}
		flush()
		text, _ := json.Marshal(entry)
		fmt.Fprintf(&b, " %s", text)
	}
	flush()
	return b.String()
}

// summary logs what all clients met together.
func summary(t testing.TB, all map[string]*account) (sum account) {
	t.Helper()
	for _, a := range all {
		sum.connects += a.connects
		sum.recovered += a.recovered
		sum.disconnects += a.disconnects
		sum.received += a.received
		sum.missed += a.missed
		sum.lost += a.lost
		sum.reasons = append(sum.reasons, a.reasons...)
	}
	slices.Sort(sum.reasons)
	t.Logf("%d clients: %d connects, %d of them recovered, %d numbers received, %d missed while away, %d lost; disconnects for %v",
		len(all), sum.connects, sum.recovered, sum.received, sum.missed, sum.lost, slices.Compact(sum.reasons))
	return sum
}

// resume has a process go on that was stopped.
func resume(t testing.TB, d *daemon) { signal(t, d.cmd, syscall.SIGCONT) }
