// Command many holds as many real sockets as several server processes can on one
// machine, whose limit of descriptors is for each process, and prints what a
// connection takes: in the servers, in the kernel, and of CPU.
//
//	make build && go run ./bench/many -connections 150000
//	make build && go run ./bench/many -connections 0 -each 15000 -ping 1m        as many as this machine can hold
//
// Both ends of each connection are on this machine, so the kernel's part is that
// of two sockets; half of it is a server's. Each server has a port of its own, so that one
// address has enough ports for all. It holds them for as long as is measured, and ends. The
// kernel's memory is the whole machine's: run it alone, and with tens of thousands.
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
	connections := flag.Int("connections", 72_000, "connections in all; 0: as many as this machine can hold with both their ends")
	most := flag.Int("each", 0, "connections to one server process at most; 0: as many as it has descriptors for")
	rate := flag.Int("rate", 3000, "connections a second, one server after the other")
	ping := flag.Duration("ping", 25*time.Second, "ping interval of the servers: this machine does both ends' heartbeats")
	hold := flag.Duration("hold", 25*time.Second, "measure the CPU of heartbeats for so long")
	refused := flag.Int("refused", 2000, "clients of a server that refuses them, to measure what that costs; 0: none")
	flag.Parse()
	if *rate <= 0 || *hold <= 0 || *ping < time.Second || *connections < 0 || *refused < 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*connections, *most, *refused, load{*rate, *hold, *ping}); err != nil {
		fmt.Fprintln(os.Stderr, "many:", err)
		os.Exit(1)
	}
}

// A load is how clients come and stay.
type load struct {
	rate       int // connections a second
	hold, ping time.Duration
}

func run(connections, most, refused int, l load) error {
	m, err := thisMachine()
	if err != nil {
		return err
	}
	s, err := m.deal(connections, most)
	if err != nil {
		return err
	}
	fmt.Printf("%s\n%d servers, %d connections each (%s)\n", host.Machine(), s.servers, s.each, s.binds)
	if err := held(s, l); err != nil || refused == 0 {
		return err
	}
	us, err := refusals(refused)
	if err != nil {
		return err
	}
	fmt.Printf("one refused       %7.1f µs of CPU (503, with its connection; %d of them)\n", us, refused)
	return nil
}

// A pair is a server and its load.
type pair struct {
	server  *host.Server
	load    *exec.Cmd
	before  int64    // RSS of the server without clients
	files   int64    // and its descriptors
	connect host.CPU // what they took to connect
}

// held opens all connections and prints what they take.
func held(s share, l load) error {
	before, err := memory()
	if err != nil {
		return err
	}
	var all []*pair
	defer func() {
		for _, p := range all { // all at once, then each
			p.interrupt()
		}
		for _, p := range all {
			p.end()
		}
	}()
	began := time.Now()
	// A server's clients stay until the last has been measured, and go then by themselves.
	stay := time.Duration(s.servers)*(rampOf(s.each, l.rate)+2*time.Second) + settle + l.hold + time.Minute
	for range s.servers {
		p, err := start(s.each, l, stay)
		if p != nil {
			all = append(all, p)
		}
		if err != nil {
			return err
		}
	}
	took := time.Since(began)
	time.Sleep(settle)
	r := result{share: s, took: took, load: l}
	if r.beats, err = idle(all, l.hold); err != nil {
		return err
	}
	for _, p := range all {
		now, err := host.Resident(p.server.Process.Pid)
		if err != nil {
			return err
		}
		r.rss += now - p.before
		r.connect = r.connect.Plus(p.connect)
	}
	now, err := memory()
	if err != nil {
		return err
	}
	r.slab, r.kernel = now.slab-before.slab, before.available-now.available-(now.anonymous-before.anonymous)
	for _, p := range all {
		n, err := p.clients()
		if err != nil {
			return err
		}
		r.open += n
	}
	r.print()
	return nil
}

// settle is how long the servers may take to give back what they needed for the storm.
const settle = 8 * time.Second

// rampOf is how long it takes to connect, with time to spare.
func rampOf(clients, rate int) time.Duration {
	return time.Duration(clients/rate)*time.Second*3/2 + 20*time.Second
}

// idle returns what the servers use in a while.
func idle(all []*pair, hold time.Duration) (sum host.CPU, err error) {
	before := make([]host.CPU, len(all))
	for i, p := range all {
		if before[i], err = host.CPUOf(p.server.Process.Pid); err != nil {
			return sum, err
		}
	}
	time.Sleep(hold)
	for i, p := range all {
		after, err := host.CPUOf(p.server.Process.Pid)
		if err != nil {
			return sum, err
		}
		sum = sum.Plus(after.Since(before[i]))
	}
	return sum, nil
}

// A result is of all servers.
type result struct {
	share
	load
	took           time.Duration
	open           int64 // at the end
	rss            int64 // what they had without clients taken off
	slab, kernel   int64 // of both ends, in two ways
	connect, beats host.CPU
}

func (r *result) print() {
	wanted := r.servers * r.each
	n := float64(wanted)
	fmt.Printf("%d connections were opened in %.0f s; %d are open at the end\n", wanted, r.took.Seconds(), r.open)
	fmt.Printf("in the servers    %7.0f B a connection (resident, what they had without clients taken off)\n", float64(r.rss)/n)
	fmt.Printf("in the kernel     %7.0f B a connection and end (slab; buffers are empty)\n", float64(r.slab)/n/2)
	fmt.Printf("                  %7.0f B by what memory is available less what processes took: others' changes are in it\n", float64(r.kernel)/n/2)
	fmt.Printf("connect           %7.1f µs of CPU a client, in its server\n", micros(r.connect)/n)
	fmt.Printf("heartbeats        %7.2f µs of CPU a client and second, in its server, over %.0f s: %.1f µs a ping, one each %v\n",
		micros(r.beats)/n/r.hold.Seconds(), r.hold.Seconds(), micros(r.beats)/n/r.hold.Seconds()*r.ping.Seconds(), r.ping)
	fmt.Printf("a million of them %7.1f GB of memory, %.2f cores for heartbeats, %.0f core seconds to connect, by that\n",
		(float64(r.rss)/n+float64(r.slab)/n/2)*1e6/1e9, micros(r.beats)/n/r.hold.Seconds(), micros(r.connect)/n)
}

func micros(c host.CPU) float64 { return float64(c.Total().Nanoseconds()) / 1000 }

func serve(more ...string) (*host.Server, error) {
	return host.Start("sioedge", append([]string{"bin/sioedge", "serve", "--config", "bench/many/edge.yaml", "--listen", "127.0.0.1:0", "--internal-listen", "", "--log-format", "text"}, more...))
}

// start starts a server and clients, and returns when they are connected: they stay until they are
// told to go, or until stay is over.
func start(clients int, l load, stay time.Duration) (*pair, error) {
	server, err := serve("--ping-interval", l.ping.String())
	if err != nil {
		return nil, err
	}
	p := &pair{server: server}
	if p.before, err = host.Resident(server.Process.Pid); err != nil {
		return p, err
	}
	if p.files, err = descriptors(server.Process.Pid); err != nil {
		return p, err
	}
	before, err := host.CPUOf(server.Process.Pid)
	if err != nil {
		return p, err
	}
	p.load = exec.Command("bin/sioload", "ws://"+server.Addr, "--json", "--scenario", string(swarm.Idle), "--clients", strconv.Itoa(clients),
		"--rate", strconv.Itoa(l.rate), "--duration", stay.String())
	if err := p.load.Start(); err != nil {
		p.load = nil
		return p, err
	}
	deadline := time.Now().Add(rampOf(clients, l.rate))
	for {
		now, err := p.clients()
		switch {
		case err != nil:
			return p, err
		case now >= int64(clients):
			time.Sleep(2 * time.Second) // until the last have their namespace
			after, err := host.CPUOf(server.Process.Pid)
			p.connect = after.Since(before)
			return p, err
		case time.Now().After(deadline):
			return p, fmt.Errorf("of %d clients only %d have come in %v", clients, now, rampOf(clients, l.rate))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// clients is how many connections the server has.
func (p *pair) clients() (int64, error) {
	n, err := descriptors(p.server.Process.Pid)
	return n - p.files, err
}

func (p *pair) interrupt() {
	if p.load != nil {
		_ = p.load.Process.Signal(os.Interrupt)
	}
}

func (p *pair) end() {
	if p.load != nil {
		late := time.AfterFunc(20*time.Second, func() { _ = p.load.Process.Kill() })
		_ = p.load.Wait()
		late.Stop()
	}
	p.server.Kill()
}
