//go:build interop

package interop

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms/redis"
	"github.com/sioedge/sioedge/sio"
)

// starts is how often a server is started beside others: more find more.
var starts = flag.Int("starts", 3, "starts of a server in the tests of deployments")

// deployKinds are the adapters of deployments, with the scheme of their URLs, and
// whether what a client missed can be recovered at another server.
var deployKinds = []struct {
	name, scheme string
	recovers     bool
}{
	{"classic", "redis", false},
	{"streams", "redis+streams", true},
}

// emitter returns what emits numbers to all clients of a cluster: a server without
// clients.
func emitter(t testing.TB, url string) (*sio.Server, func(n int)) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	adapter, err := redis.Parse(url, redis.Options{Name: "emitter", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := sio.New(sio.Options{Adapter: adapter, Logger: quiet, Recovery: sio.Recovery{Window: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := srv.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	// ends when the server is shut down
	go func() { served <- srv.Serve(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = srv.Shutdown(ctx)
		<-served
	})
	eventually(t, "the emitter being in the cluster", func() bool { return srv.Cluster().Up })
	all := srv.Of("/").All()
	return srv, func(n int) {
		if err := all.Emit("n", n); err != nil {
			t.Error(err)
		}
	}
}

// emitterOf is emitter for who needs no more than that.
func emitterOf(t testing.TB, url string) func(n int) {
	t.Helper()
	_, emit := emitter(t, url)
	return emit
}

// A server that starts beside others, behind nginx that gives it their clients'
// requests from the first moment, costs nobody anything.
func TestDeployStartedServer(t *testing.T) {
	t.Parallel()
	for _, k := range deployKinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			r := startRedis(t)
			adapter := k.scheme + "://" + r.addr
			a := sioedge(t, "a", adapter, "--recovery", "0")
			b := sioedge(t, "b", adapter, "--recovery", "0")
			url := nginx(t, a, b)
			tr := newTraffic(t, emitterOf(t, adapter))
			b.kill() // and all clients are at a
			for mode := range modes {
				tr.open(url, mode, mode, 4)
			}
			tr.begin()
			tr.pass(20)
			for range *starts {
				b.start()
				tr.pass(100)
				b.end()
				tr.pass(20)
			}
			all := tr.rest()
			summary(t, all)
			for name, a := range all {
				if strings.HasPrefix(name, "polling") && (a.disconnects > 0 || a.missed > 0) {
					t.Errorf("%s was disconnected %d times and missed %d numbers: %s", name, a.disconnects, a.missed, a.story())
				}
			}
		})
	}
}

// Servers that are stopped, killed and hung under traffic: every client comes back,
// and has lost nothing while it was connected; with streams, nothing at all.
func TestDeployServersFail(t *testing.T) {
	t.Parallel()
	for _, k := range deployKinds {
		for _, way := range []string{"stopped", "killed", "hung"} {
			t.Run(k.name+", "+way, func(t *testing.T) {
				t.Parallel()
				r := startRedis(t)
				adapter := k.scheme + "://" + r.addr
				recovery := "0"
				if k.recovers {
					recovery = "1m"
				}
				var servers []*daemon
				for i := range 3 {
					servers = append(servers, sioedge(t, fmt.Sprint("server ", i), adapter, "--recovery", recovery))
				}
				url := nginx(t, servers...)
				tr := newTraffic(t, emitterOf(t, adapter))
				for mode := range modes {
					tr.open(url, mode, mode, 4)
				}
				tr.begin()
				tr.pass(50)
				for _, s := range servers[:2] {
					fail(t, s, way, tr)
					tr.pass(50)
				}
				all := tr.rest()
				sum := summary(t, all)
				if sum.disconnects == 0 {
					t.Error("nobody was disconnected, so that nothing was tested")
				}
				if k.recovers && way == "stopped" && (sum.missed > 0 || sum.recovered < sum.disconnects) {
					t.Errorf("%d numbers were missed and %d of %d clients recovered, want none and all", sum.missed, sum.recovered, sum.disconnects)
				}
				for _, s := range servers {
					if n := strings.Count(s.log(), "panic"); n > 0 {
						t.Errorf("%s: %d panics", s.name, n)
					}
				}
			})
		}
	}
}

// fail has a server fail in a way, and be there again.
func fail(t testing.TB, s *daemon, way string, tr *traffic) {
	t.Helper()
	switch way {
	case "stopped":
		s.end()
	case "killed":
		s.kill()
	case "hung":
		stop(t, s.cmd)
		disconnected := tr.disconnects()
		eventually(t, "somebody noticing", func() bool {
			time.Sleep(20 * time.Millisecond)
			return tr.disconnects() > disconnected
		})
		tr.numbers(100)
		signal(t, s.cmd, syscall.SIGCONT)
		return
	}
	tr.numbers(50)
	s.start()
}

// numbers waits until so many more have been emitted.
func (tr *traffic) numbers(n int) {
	at := func() int {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return tr.last
	}
	from := at()
	eventually(tr.t, "numbers being emitted", func() bool { return at() >= from+n })
}

// disconnects returns how many there were.
func (tr *traffic) disconnects() (n int) {
	tr.t.Helper()
	var all map[string]*account
	tr.peer.do(tr.t, command{Op: "notes"}, &all)
	for _, a := range all {
		a.read()
		n += a.disconnects
	}
	return n
}

// Behind nginx with the usual Host, a page of the same host is served also on a port
// that is not the usual one, or the operator is told why not.
func TestDeployUnusualPort(t *testing.T) {
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	s := launch(t, "sioedge", addr, path, "serve", "--listen", addr, "--namespace", "/", "--log-format", "text")
	url := nginx(t, s)
	refused := 0
	for range 3 {
		r, err := http.NewRequest(http.MethodGet, url+"/socket.io/?EIO=4&transport=polling", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", url)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			continue
		}
		refused = resp.StatusCode
	}
	if refused == 0 {
		return
	}
	// The line comes through a pipe, after the answer it may be.
	lines := func() (n int) {
		for line := range strings.Lines(s.log()) {
			if strings.Contains(line, url) && strings.Contains(line, "--origins") {
				n++
			}
		}
		return n
	}
	eventually(t, "a line of the log that names "+url+" and --origins", func() bool { return lines() > 0 })
	if n := lines(); n != 1 {
		t.Errorf("pages of %s are answered %d, and %d lines of the log name its origin and --origins, want one", url, refused, n)
	}
}

// An event that was given to a server which was to pass it on, and died instead, is
// not lost in silence: the client gets it, or learns that its session has ended.
func TestDeployServerDiesWithAPoll(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	adapter := "redis://" + r.addr
	home := sioedge(t, "home", adapter, "--recovery", "0", "--ping-interval", "30s", "--ping-timeout", "30s")
	emit := emitterOf(t, adapter)
	for range *starts {
		away := sioedge(t, "away", adapter, "--recovery", "0")
		do := func(method string, d *daemon, query, body string) (int, string) {
			t.Helper()
			r, err := http.NewRequest(method, "http://"+d.addr+"/socket.io/?EIO=4&transport=polling"+query, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				return 0, err.Error()
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			return resp.StatusCode, string(b)
		}
		_, open := do("GET", home, "", "")
		_, sid, _ := strings.Cut(open, `"sid":"`)
		sid = "&sid=" + sid[:min(20, len(sid))]
		do("POST", away, sid, "40")
		if _, got := do("GET", away, sid, ""); !strings.HasPrefix(got, "40") {
			t.Fatalf("the answer to CONNECT = %q", got)
		}
		polled := make(chan string, 1)
		// ends when the server in between has died
		go func() {
			status, got := do("GET", away, sid, "")
			polled <- fmt.Sprint(status, " ", got)
		}()
		time.Sleep(100 * time.Millisecond) // or there is nothing to test
		stop(t, away.cmd)
		emit(1)
		given := time.Now()
		for !unread(t, home) && time.Since(given) < time.Second {
			time.Sleep(5 * time.Millisecond)
		}
		away.kill()
		<-polled
		emit(2)
		switch status, got := do("GET", home, sid, ""); {
		case status == 400:
		case status == 200 && strings.HasPrefix(got, `42["n",1]`):
		default:
			t.Errorf("the next poll = %d %q, want the event that was lost, or 400", status, got)
		}
	}
}

// unread tells whether something that a server has sent is not read.
func unread(t testing.TB, server *daemon) bool {
	t.Helper()
	_, port, _ := net.SplitHostPort(server.addr)
	n, _ := strconv.Atoi(port)
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 4 && strings.HasSuffix(f[2], fmt.Sprintf(":%04X", n)) && !strings.HasSuffix(f[4], ":00000000") {
			return true
		}
	}
	return false
}
