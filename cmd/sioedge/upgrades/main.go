// Command upgrades has a server be upgraded again and again under the traffic of clients of
// every kind, and says what they noticed: who was disconnected, what was lost, doubled or
// out of order, and how long it took. It fails if there was anything but time, or if the
// server holds more after the last upgrade than after the first.
//
//	make handover HANDOVER="-clients 15000 -upgrades 10"
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sioedge/sioedge/bench/crowd"
	"github.com/sioedge/sioedge/bench/host"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
)

// key opens the server's API.
const key = "upgrades-upgrades-upgrades-upgrades"

func main() {
	var o options
	var servers, kinds, flags string
	flag.StringVar(&servers, "servers", "", "binaries of the server that take turns, with commas between them; empty: two are built")
	flag.IntVar(&o.clients, "clients", 15_000, "clients of all kinds; who polls or upgrades takes two descriptors")
	flag.IntVar(&o.upgrades, "upgrades", 10, "how often the server is upgraded")
	flag.DurationVar(&o.apart, "apart", time.Second, "pause between two upgrades")
	flag.DurationVar(&o.calm, "calm", 5*time.Second, "how long the clients talk before the first one")
	flag.DurationVar(&o.every, "every", 2*time.Second, "between two questions of a client, and two numbers that a room gets")
	flag.Float64Var(&o.rate, "rate", 400, "connections a second")
	flag.StringVar(&kinds, "kinds", "", "kinds of clients, with commas between them; empty: all")
	flag.StringVar(&flags, "flags", "", "more flags of the server")
	worker := flag.Bool("worker", false, "be some of the clients")
	flag.Parse()
	if *worker {
		signal.Ignore(os.Interrupt) // it reaches the whole process group
		if err := crowd.Work(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "upgrades: clients:", err)
			os.Exit(1)
		}
		return
	}
	o.flags = strings.Fields(flags)
	for _, k := range strings.FieldsFunc(kinds, func(r rune) bool { return r == ',' }) {
		o.kinds = append(o.kinds, crowd.Kind(k))
	}
	o.servers = strings.FieldsFunc(servers, func(r rune) bool { return r == ',' })
	if err := o.run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "upgrades:", err)
		os.Exit(1)
	}
}

type options struct {
	servers           []string
	clients, upgrades int
	apart, calm       time.Duration
	every             time.Duration
	rate              float64
	kinds             []crowd.Kind
	flags             []string
}

// An upgrade is what one was like.
type upgrade struct {
	began, ended                   time.Time
	PID                            int
	Version                        string
	Connections, Sessions, Sockets int
	Pause                          float64    `json:"pause_ms"`
	Steps                          wire.Steps `json:"steps_ms"`
	rss                            int64
}

// run has everything happen, and everything end.
func (o *options) run(out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "upgrades")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := o.build(dir); err != nil {
		return err
	}
	s, err := o.start(dir)
	if err != nil {
		return err
	}
	defer s.end()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(stop)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := crowd.Config{Addr: s.addr, Clients: o.clients, Kinds: o.kinds, Every: o.every, Publish: o.every, Rate: o.rate, Name: "c"}
	f, err := crowd.Start([]string{self, "-worker"}, c, (o.clients+4999)/5000)
	if err != nil {
		return err
	}
	calm := time.Now()
	sleep(o.calm, stop)
	began := time.Now()
	var all []upgrade
	for i := range o.upgrades {
		u, uerr := s.upgrade(o.servers[(i+1)%len(o.servers)])
		if uerr != nil {
			err = fmt.Errorf("upgrade %d: %w", i+1, uerr)
			break
		}
		sleep(o.apart, stop)
		u.rss, _ = host.Resident(u.PID)
		all = append(all, u)
	}
	sleep(time.Second, stop)
	r, ferr := f.Stop()
	if ferr != nil {
		return errors.Join(err, ferr)
	}
	o.tell(out, &r, all, calm, began)
	return errors.Join(err, verdict(&r, all))
}

// sleep sleeps, but for a signal, which is left in its place.
func sleep(d time.Duration, stop chan os.Signal) {
	select {
	case is := <-stop:
		stop <- is
	case <-time.After(d):
	}
}

// tell prints what it was like.
func (o *options) tell(out io.Writer, r *crowd.Report, all []upgrade, calm, began time.Time) {
	before := r.Latencies(calm, began, 0.5, 0.99, 1)
	fmt.Fprintf(out, "%d clients of %d kinds, %d upgrades\n\n", o.clients, len(r.Clients), len(all))
	fmt.Fprintf(out, "%-10s %-9s %7s %7s %7s %9s %9s %9s %9s\n", "", "version", "conns", "sess.", "sockets", "pause ms", "p99 ms", "max ms", "RSS MB")
	fmt.Fprintf(out, "%-10s %-9s %7s %7s %7s %9s %9d %9d %9s\n", "before", "", "", "", "", "", before[1].Milliseconds(), before[2].Milliseconds(), "")
	for i, u := range all {
		l := r.Latencies(u.began, u.ended, 0.99, 1)
		fmt.Fprintf(out, "%-10s %-9s %7d %7d %7d %9.1f %9d %9d %9.1f\n", "upgrade "+strconv.Itoa(i+1), u.Version, u.Connections, u.Sessions, u.Sockets,
			u.Pause, l[0].Milliseconds(), l[1].Milliseconds(), float64(u.rss)/1e6)
	}
	tellSteps(out, all)
	fmt.Fprintf(out, "\n%s\n", r.String())
	for _, p := range r.Problems {
		fmt.Fprintln(out, " ", p)
	}
}

// tellSteps prints on what the pauses were spent.
func tellSteps(out io.Writer, all []upgrade) {
	fmt.Fprintf(out, "\n%-10s %9s %9s %9s %9s %9s %9s %9s %9s\n", "pause, ms", "quiet", "settle", "split", "freeze", "parts", "loops", "taken", "serving")
	for i, u := range all {
		s := u.Steps
		fmt.Fprintf(out, "%-10s %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f\n", "upgrade "+strconv.Itoa(i+1), s.Quiet, s.Settle, s.Split, s.Freeze, s.Parts, s.Loops, s.Taken, s.Serving)
	}
}

// verdict says what was noticed.
func verdict(r *crowd.Report, all []upgrade) error {
	switch {
	case !r.Flawless():
		return errors.New("clients have noticed more than a pause")
	case len(all) > 1 && float64(all[len(all)-1].rss) > 1.25*float64(all[0].rss):
		return fmt.Errorf("the server holds %.1f MB after the last upgrade, and held %.1f after the first", float64(all[len(all)-1].rss)/1e6, float64(all[0].rss)/1e6)
	}
	return nil
}

// build makes the binaries that take turns, which differ in their version.
func (o *options) build(dir string) error {
	if len(o.servers) > 0 {
		return nil
	}
	for i := range 2 {
		path := filepath.Join(dir, fmt.Sprintf("build-%d", i))
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", fmt.Sprintf("-X main.release=build-%d", i), "-o", path, "github.com/sioedge/sioedge/cmd/sioedge")
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, text)
		}
		o.servers = append(o.servers, path)
	}
	return nil
}

// A server is whichever process has the clients.
type server struct {
	path     string // of the binary that is started
	pid      int
	addr     string
	internal string
}

// start starts the first process.
func (o *options) start(dir string) (*server, error) {
	s := &server{path: filepath.Join(dir, "sioedge")}
	if err := s.install(o.servers[0]); err != nil {
		return nil, err
	}
	addr, err := free()
	if err != nil {
		return nil, err
	}
	s.internal, err = free()
	if err != nil {
		return nil, err
	}
	h, err := host.Start("sioedge", append([]string{s.path, "serve", "--demo", "--listen", addr, "--internal-listen", s.internal, "--api-key", key,
		"--eio3", "--parser", "auto", "--compress", "all", "--compress-threshold", "16", "--accept-rate", "-1", "--recovery", "1m", "--log-format", "text", "--drain", "2s"}, o.flags...))
	if err != nil {
		return nil, err
	}
	s.pid, s.addr = h.Process.Pid, h.Addr
	go func() { _ = h.Wait() }() // ends with the first process
	return s, nil
}

// install puts a binary where the server's lies, as a package does it.
func (s *server) install(binary string) error {
	b, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	next := s.path + ".next"
	if err := os.WriteFile(next, b, 0o755); err != nil {
		return err
	}
	return os.Rename(next, s.path)
}

// upgrade has the next binary take over.
func (s *server) upgrade(binary string) (u upgrade, err error) {
	if err := s.install(binary); err != nil {
		return u, err
	}
	u.began = time.Now()
	q, err := http.NewRequest(http.MethodPost, "http://"+s.internal+"/api/upgrade", bytes.NewReader([]byte("{}")))
	if err != nil {
		return u, err
	}
	q.Header.Set("Authorization", "Bearer "+key)
	q.Header.Set("Content-Type", "application/json")
	client := http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(q)
	if err != nil {
		return u, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	u.ended = time.Now()
	switch {
	case err != nil:
		return u, err
	case res.StatusCode != http.StatusOK:
		return u, fmt.Errorf("%s: %s", res.Status, b)
	}
	if err := json.Unmarshal(b, &u); err != nil {
		return u, err
	}
	s.pid = u.PID
	return u, nil
}

// end ends the process that has the clients, and by that the others.
func (s *server) end() { _ = syscall.Kill(s.pid, syscall.SIGKILL) }

func free() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
