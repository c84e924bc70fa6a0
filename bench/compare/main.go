// Command compare measures the server beside a bare loop of send, with the same
// clients and connections, one after the other in one run, several rounds: the
// processor time of the server process per delivery, and its memory per
// connection. It prints a table of medians and ranges.
//
// It is what make bench runs, from the repository's root, after building bin/.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sioedge/sioedge/bench/swarm"
)

// A server is something to measure.
type server struct {
	name string
	cmd  []string
}

// A trial is one run of the load generator.
type trial struct {
	name string
	args []string
	// limit says that the bare loops take part; they can do nothing but
	// broadcast.
	limit bool
}

// A figure is what a trial measured.
type figure struct{ cpu, user, connect, rss float64 }

func main() {
	rounds := flag.Int("rounds", 5, "rounds")
	clients := flag.Int("clients", 15000, "connections")
	seconds := flag.Int("seconds", 6, "length of each measurement")
	flag.Parse()
	if err := run(*rounds, *clients, *seconds); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run(rounds, clients, seconds int) error {
	servers := []server{{"sioedge", []string{"bin/sioedge", "serve", "--demo", "--listen", "127.0.0.1:0", "--log-format", "text"}}}
	limits, err := buildLimits()
	if err != nil {
		return err
	}
	window := []string{"--duration", strconv.Itoa(seconds) + "s", "--warmup", "1s"}
	broadcast := func(size, inflight string) []string {
		return append([]string{"--scenario", "broadcast", "--size", size, "--inflight", inflight, "--clients", strconv.Itoa(clients), "--rate", "4000"}, window...)
	}
	trials := []trial{
		{"broadcast 64 B", broadcast("64", "1"), true},
		{"broadcast 512 B", broadcast("512", "1"), true},
		{"broadcast 64 B, 8 under way", broadcast("64", "8"), false},
		{"broadcast 64 B, 64 under way", broadcast("64", "64"), false},
		{"echo with acknowledgement", append([]string{"--scenario", "echo", "--clients", "200", "--inflight", "4"}, window...), false},
		{"idle", []string{"--scenario", "idle", "--clients", strconv.Itoa(clients), "--rate", "4000", "--settle", "7s", "--duration", "20s"}, false},
	}
	fmt.Printf("rounds %d, clients %d, %d s each; the load generator never sleeps\n", rounds, clients, seconds)
	results := map[string][]figure{}
	for round := range rounds {
		for _, t := range trials {
			candidates := servers
			if t.limit {
				candidates = append(slices.Clone(servers), limits...)
			}
			for _, s := range candidates {
				f, err := measure(s, t)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", s.name, t.name, err)
				}
				fmt.Fprintf(os.Stderr, "round %d  %-30s %-10s %.3f µs (user %.3f), connect %.1f µs, %.0f B a connection\n",
					round+1, t.name, s.name, f.cpu, f.user, f.connect, f.rss)
				key := t.name + "\t" + s.name
				results[key] = append(results[key], f)
			}
		}
	}
	print(trials, append(servers, limits...), results)
	return nil
}

// buildLimits builds the bare loops: C if there is a compiler, and Go.
func buildLimits() ([]server, error) {
	var all []server
	dir := filepath.Join("bin", "bench")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if gcc, err := exec.LookPath("gcc"); err == nil {
		bin := filepath.Join(dir, "sendloop-c")
		if err := command(gcc, "-O2", "-o", bin, "bench/sendloop/sendloop.c").Run(); err != nil {
			return nil, err
		}
		all = append(all, server{"C send", []string{bin, "0"}})
	}
	bin := filepath.Join(dir, "sendloop-go")
	if err := command("go", "build", "-o", bin, "./bench/sendloop").Run(); err != nil {
		return nil, err
	}
	return append(all, server{"Go send", []string{bin, "0"}}), nil
}

func command(name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Stderr = os.Stderr
	return c
}

// measure starts a server, runs the trial against it, and ends the server.
func measure(s server, t trial) (figure, error) {
	addr, proc, err := start(s)
	if err != nil {
		return figure{}, err
	}
	defer func() {
		_ = proc.Kill()
		_, _ = proc.Wait()
		time.Sleep(500 * time.Millisecond) // the kernel frees the sockets
	}()
	args := append([]string{"ws://" + addr, "--json", "--busy-poll", "--pid", strconv.Itoa(proc.Pid)}, t.args...)
	c := exec.Command("bin/sioload", args...)
	out, err := c.Output()
	if err != nil {
		return figure{}, fmt.Errorf("sioload %s: %w: %s", strings.Join(args, " "), err, out)
	}
	var r swarm.Report
	if err := json.Unmarshal(out, &r); err != nil {
		return figure{}, err
	}
	if r.Server == nil {
		return figure{}, fmt.Errorf("no figures of the server")
	}
	f := figure{r.Server.CPUUS + r.Server.KsoftirqdUS, r.Server.UserUS, r.Server.ConnectUS, r.Server.RSSPerConnection}
	if r.Scenario == swarm.Idle && r.Window != nil {
		// The unit is a connection held for a second.
		held := float64(r.Connected) * r.Window.Seconds
		f.cpu, f.user = r.Server.CPUSeconds*1e6/held, r.Server.UserSeconds*1e6/held
	}
	return f, nil
}

// start starts a server and returns the address that it prints.
func start(s server) (string, *os.Process, error) {
	c := exec.Command(s.cmd[0], s.cmd[1:]...)
	r, w, err := os.Pipe()
	if err != nil {
		return "", nil, err
	}
	c.Stdout, c.Stderr = w, w
	if err := c.Start(); err != nil {
		return "", nil, err
	}
	w.Close()
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if _, rest, ok := strings.Cut(lines.Text(), "127.0.0.1:"); ok {
			port := strings.FieldsFunc(rest, func(r rune) bool { return r < '0' || r > '9' })[0]
			// ends with the server
			go func() {
				defer r.Close()
				_, _ = io.Copy(io.Discard, r)
			}()
			return "127.0.0.1:" + port, c.Process, nil
		}
	}
	_ = c.Process.Kill()
	return "", nil, fmt.Errorf("%s printed no address", s.name)
}

func print(trials []trial, servers []server, results map[string][]figure) {
	fmt.Printf("\n%-30s %-10s %-26s %-10s %-8s %-14s %s\n", "trial", "server", "CPU µs a delivery, echo,", "of which", "over C", "connect µs", "RSS B a")
	fmt.Printf("%-30s %-10s %-26s %-10s %-8s %-14s %s\n", "", "", "idle second (range)", "user", "", "", "connection")
	for _, t := range trials {
		base := median(results[t.name+"\tC send"], func(f figure) float64 { return f.cpu })
		if base == 0 {
			base = median(results["broadcast 64 B\tC send"], func(f figure) float64 { return f.cpu })
		}
		for _, s := range servers {
			fs := results[t.name+"\t"+s.name]
			if len(fs) == 0 {
				continue
			}
			cpu := median(fs, func(f figure) float64 { return f.cpu })
			low := slices.MinFunc(fs, byCPU).cpu
			high := slices.MaxFunc(fs, byCPU).cpu
			ratio := ""
			if base > 0 && t.name != "idle" && !strings.HasPrefix(t.name, "echo") {
				ratio = fmt.Sprintf("%.3f", cpu/base)
			}
			fmt.Printf("%-30s %-10s %-26s %-10.3f %-8s %-14.1f %.0f\n", t.name, s.name, fmt.Sprintf("%.3f (%.3f–%.3f)", cpu, low, high),
				median(fs, func(f figure) float64 { return f.user }), ratio,
				median(fs, func(f figure) float64 { return f.connect }), median(fs, func(f figure) float64 { return f.rss }))
		}
	}
}

func byCPU(a, b figure) int {
	switch {
	case a.cpu < b.cpu:
		return -1
	case a.cpu > b.cpu:
		return 1
	}
	return 0
}

func median(fs []figure, of func(figure) float64) float64 {
	if len(fs) == 0 {
		return 0
	}
	v := make([]float64, len(fs))
	for i, f := range fs {
		v[i] = of(f)
	}
	slices.Sort(v)
	return v[len(v)/2]
}
