// Command soak has a server live through what a long time brings: waves of clients of
// all transports that come, talk and go, by their own will or all at once without a
// word, and then clients that come and go for minutes. It prints what the server holds
// after each, and fails if that grows.
//
//	make soak SOAK="-waves 10 -clients 10000 -churn 10m"
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/sioedge/sioedge/bench/host"
)

// key opens the server's API, which says what it holds.
const key = "soak-soak-soak-soak-soak-soak-soak"

func main() {
	var o options
	flag.StringVar(&o.server, "server", "bin/sioedge", "the server's binary")
	flag.IntVar(&o.waves, "waves", 10, "waves of clients")
	flag.IntVar(&o.clients, "clients", 10_000, "clients of a wave, a third of each transport; each takes up to two descriptors here")
	flag.DurationVar(&o.churn, "churn", 10*time.Minute, "how long clients come and go behind the waves")
	worker := flag.String("worker", "", "be the clients of this server")
	flag.Parse()
	var err error
	if *worker != "" {
		err = work(*worker, o.clients)
	} else {
		err = o.run(os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

type options struct {
	server         string
	waves, clients int
	churn          time.Duration
}

// A holding is what a server holds.
type holding struct {
	rss                     int64 // bytes
	descriptors, goroutines int
}

// run soaks a server, which ends with it.
func (o *options) run(out io.Writer) error {
	internal, err := free()
	if err != nil {
		return err
	}
	s, err := host.Start("sioedge", []string{o.server, "serve", "--demo", "--listen", "127.0.0.1:0", "--internal-listen", internal, "--api-key", key,
		"--ping-interval", "5s", "--ping-timeout", "5s", "--log-format", "text"})
	if err != nil {
		return err
	}
	defer s.Kill()
	w := &watch{pid: s.Process.Pid, url: "http://" + internal}
	before, err := w.hold()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%-28s %10s %12s %12s\n", "", "RSS, MB", "descriptors", "goroutines")
	show(out, "before", before)
	var second, last holding
	for i := range o.waves {
		if err := o.wave(w, s.Addr, i%2 == 1); err != nil {
			return fmt.Errorf("wave %d: %w", i+1, err)
		}
		if last, err = w.hold(); err != nil {
			return err
		}
		show(out, fmt.Sprintf("wave %d", i+1), last)
		if i == 1 || i == 0 && o.waves == 1 {
			second = last
		}
	}
	if last, err = o.come(w, s.Addr, last); err != nil {
		return err
	}
	if o.churn > 0 {
		show(out, "churn of "+o.churn.String(), last)
	}
	return verdict(before, second, last)
}

// wave has clients come, talk and go: each says so, or their process dies.
func (o *options) wave(w *watch, addr string, killed bool) error {
	c, err := start(addr, o.clients)
	if err != nil {
		return err
	}
	defer c.end(true)
	if n, err := w.connections(); err != nil || n < o.clients {
		return fmt.Errorf("the server has %d connections of %d clients (%w)", n, o.clients, err)
	}
	if err := c.end(killed); err != nil {
		return err
	}
	return w.empty()
}

// come has clients of few processes come and go for the time of o.churn.
func (o *options) come(w *watch, addr string, was holding) (holding, error) {
	if o.churn == 0 {
		return was, nil
	}
	for end := time.Now().Add(o.churn); time.Now().Before(end); {
		c, err := start(addr, 50+rand.IntN(max(o.clients/20, 1)))
		if err != nil {
			return was, err
		}
		if err := c.end(rand.IntN(2) == 0); err != nil {
			return was, err
		}
	}
	if err := w.empty(); err != nil {
		return was, err
	}
	return w.hold()
}

func show(out io.Writer, name string, h holding) {
	fmt.Fprintf(out, "%-28s %10.1f %12d %12d\n", name, float64(h.rss)/1e6, h.descriptors, h.goroutines)
}

// verdict says what has grown: memory by more than a tenth since the second wave, whose
// pools are warm; anything else at all, but for what a server has a few of by chance.
func verdict(before, second, last holding) error {
	const few = 16
	switch {
	case float64(last.rss) > 1.1*float64(second.rss):
		return fmt.Errorf("memory has grown from %.1f MB after the second wave to %.1f", float64(second.rss)/1e6, float64(last.rss)/1e6)
	case last.descriptors > before.descriptors+few:
		return fmt.Errorf("there were %d descriptors before, and are %d", before.descriptors, last.descriptors)
	case last.goroutines > before.goroutines+few:
		return fmt.Errorf("there were %d goroutines before, and are %d", before.goroutines, last.goroutines)
	}
	return nil
}

// A watch looks at a server.
type watch struct {
	pid int
	url string // of its internal listener
}

// hold returns what the server holds when it has come to rest.
func (w *watch) hold() (h holding, err error) {
	time.Sleep(5 * time.Second) // until the runtime has given back what the last clients needed
	if h.rss, err = host.Resident(w.pid); err != nil {
		return h, err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.pid))
	if err != nil {
		return h, err
	}
	h.descriptors = len(files)
	text, err := w.get("/debug/pprof/goroutine?debug=1")
	if err != nil {
		return h, err
	}
	line, _, _ := strings.Cut(text, "\n")
	h.goroutines, err = strconv.Atoi(strings.TrimPrefix(line, "goroutine profile: total "))
	return h, err
}

// connections returns how many clients' connections or sessions, if those are more, the server has.
func (w *watch) connections() (int, error) {
	text, err := w.get("/api/info")
	if err != nil {
		return 0, err
	}
	var info struct{ Connections, Sessions int }
	err = json.Unmarshal([]byte(text), &info)
	return max(info.Connections, info.Sessions), err
}

// empty waits until nobody is there.
func (w *watch) empty() error {
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		n, err := w.connections()
		if err != nil || n == 0 {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d connections are left of clients that have gone", n)
		}
	}
}

func (w *watch) get(path string) (string, error) {
	q, err := http.NewRequest(http.MethodGet, w.url+path, nil)
	if err != nil {
		return "", err
	}
	q.Header.Set("Authorization", "Bearer "+key)
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(r.Body, 16<<20))
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, r.Status, b)
	}
	return string(b), err
}

// clients are in a process of their own, so that they can die.
type clients struct {
	cmd   *exec.Cmd
	in    io.Closer
	ended bool
}

// start has clients connect, and returns when all have talked.
func start(addr string, n int) (*clients, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-worker", "http://"+addr, "-clients", strconv.Itoa(n))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	outPipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &clients{cmd: cmd, in: in}
	ready := make([]byte, len(readyLine))
	if _, err := io.ReadFull(outPipe, ready); err != nil {
		_ = c.end(false)
		return nil, fmt.Errorf("clients did not come: %w", err)
	}
	return c, nil
}

// end has them go, by themselves or killed.
func (c *clients) end(killed bool) error {
	if c.ended {
		return nil
	}
	c.ended = true
	if killed {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait() // says that it was killed
		return nil
	}
	_ = c.in.Close()
	return c.cmd.Wait()
}

func free() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
