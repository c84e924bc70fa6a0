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
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/sioedge/sioedge/bench/host"
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
	server *host.Server
	load   *exec.Cmd
	before int64 // RSS of the server without clients
}

func run(servers, clients, rate int) error {
	slabBefore, err := host.Slab()
	if err != nil {
		return err
	}
	var all []*pair
	defer func() {
		for _, p := range all {
			p.end()
		}
	}()
	for range servers {
		p, err := start(clients, rate)
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
		now, err := host.Resident(p.server.Process.Pid)
		if err != nil {
			return err
		}
		rss += now - p.before
	}
	slabNow, err := host.Slab()
	if err != nil {
		return err
	}
	held, _, err := host.TCP()
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
func start(clients, rate int) (*pair, error) {
	server, err := host.Start("sioedge", []string{"bin/sioedge", "serve", "--demo", "--listen", "127.0.0.1:0", "--log-format", "text"})
	if err != nil {
		return nil, err
	}
	p := &pair{server: server}
	if p.before, err = host.Resident(server.Process.Pid); err != nil {
		return p, err
	}
	p.load = exec.Command("bin/sioload", "ws://"+server.Addr, "--json", "--scenario", string(swarm.Idle), "--clients", strconv.Itoa(clients),
		"--rate", strconv.Itoa(rate), "--duration", "10m")
	return p, p.load.Start()
}

func (p *pair) end() {
	if c := p.load; c != nil && c.Process != nil {
		_ = c.Process.Signal(os.Interrupt)
		time.AfterFunc(10*time.Second, func() { _ = c.Process.Kill() })
		_ = c.Wait()
	}
	p.server.Kill()
}
