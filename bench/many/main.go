// Command many holds as many real sockets as several server processes can on one
// machine, whose limit of descriptors is for each process, and prints what a
// connection takes: in the servers, and in the kernel.
//
//	make build && go run ./bench/many -servers 4 -clients 18000
//
// Both ends of each connection are on this machine, so the kernel's part is that
// of two sockets; half of it is a server's.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/sioedge/sioedge/bench/swarm"
)

func main() {
	servers := flag.Int("servers", 4, "server processes, each with load processes of its own")
	clients := flag.Int("clients", 18_000, "connections to each")
	rate := flag.Int("rate", 3000, "connections a second to each, one server after the other")
	flag.Parse()
	if err := run(*servers, *clients, *rate); err != nil {
		fmt.Fprintln(os.Stderr, "many:", err)
		os.Exit(1)
	}
}

// A pair is a server and its load.
type pair struct {
	server, load *exec.Cmd
	before       int64 // RSS of the server without clients
}

func run(servers, clients, rate int) error {
	slabBefore, err := slab()
	if err != nil {
		return err
	}
	var all []*pair
	defer func() {
		for _, p := range all {
			p.end()
		}
	}()
	for i := range servers {
		p, err := start(clients, rate, i)
		if p != nil {
			all = append(all, p)
		}
		if err != nil {
			return err
		}
		time.Sleep(time.Duration(clients/rate+2) * time.Second)
	}
	time.Sleep(8 * time.Second) // until the servers have given back what they needed for the storm
	var rss int64
	for _, p := range all {
		now, err := resident(p.server.Process.Pid)
		if err != nil {
			return err
		}
		rss += now - p.before
	}
	slabNow, err := slab()
	if err != nil {
		return err
	}
	held, err := connected()
	if err != nil {
		return err
	}
	n := float64(servers * clients)
	fmt.Printf("%d servers, %d connections each: %d wanted, %d sockets are open in the kernel (two ends each)\n", servers, clients, servers*clients, held)
	fmt.Printf("in the servers    %7.0f B a connection (resident, what they had without clients taken off)\n", float64(rss)/n)
	fmt.Printf("in the kernel     %7.0f B a connection and end (slab; buffers are empty)\n", float64(slabNow-slabBefore)/n/2)
	fmt.Printf("a million of them %7.1f GiB, by that\n", (float64(rss)/n+float64(slabNow-slabBefore)/n/2)*1e6/(1<<30))
	return nil
}

// start starts a server and clients that stay until they are told to go.
func start(clients, rate, i int) (*pair, error) {
	p := &pair{server: exec.Command("bin/sioedge", "serve", "--demo", "--listen", "127.0.0.1:0", "--log-format", "text")}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.server.Stderr = w
	if err := p.server.Start(); err != nil {
		return nil, err
	}
	w.Close()
	addr := ""
	lines := bufio.NewScanner(r)
	for addr == "" && lines.Scan() {
		if _, rest, ok := strings.Cut(lines.Text(), "127.0.0.1:"); ok {
			addr = "127.0.0.1:" + strings.FieldsFunc(rest, func(c rune) bool { return c < '0' || c > '9' })[0]
		}
	}
	if addr == "" {
		return p, errors.New("the server printed no address")
	}
	// ends with the server
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if p.before, err = resident(p.server.Process.Pid); err != nil {
		return p, err
	}
	p.load = exec.Command("bin/sioload", "ws://"+addr, "--json", "--scenario", string(swarm.Idle), "--clients", strconv.Itoa(clients),
		"--rate", strconv.Itoa(rate), "--duration", "10m")
	return p, p.load.Start()
}

func (p *pair) end() {
	for _, c := range []*exec.Cmd{p.load, p.server} {
		if c != nil && c.Process != nil {
			_ = c.Process.Signal(os.Interrupt)
			time.AfterFunc(10*time.Second, func() { _ = c.Process.Kill() })
			_ = c.Wait()
		}
	}
}

// resident returns the RSS of a process in bytes.
func resident(pid int) (int64, error) {
	return kilobytes(fmt.Sprintf("/proc/%d/status", pid), "VmRSS:")
}

// slab returns the bytes of the kernel's own objects.
func slab() (int64, error) { return kilobytes("/proc/meminfo", "Slab:") }

func kilobytes(path, name string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", path, name)
}

// connected returns how many TCP sockets are open.
func connected() (int64, error) {
	b, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "TCP:" {
			return json.Number(f[2]).Int64()
		}
	}
	return 0, errors.New("/proc/net/sockstat has no TCP")
}
