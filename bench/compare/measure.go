package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sioedge/sioedge/bench/host"
	"github.com/sioedge/sioedge/bench/swarm"
)

// A figure is what one measurement gave.
type figure struct {
	clients       int
	cpu, user     float64 // µs a unit of work
	connect       float64 // µs of CPU from accept to connected
	rss           float64 // bytes a connection
	p50, p99, max float64 // µs
	p999          float64
	seconds       float64
	cpuSeconds    float64
	delivered     float64 // share
	recovered     float64 // share of those cut
	refused       float64
	held          []float64 // bytes, at moments that the trial knows
	sent          float64   // bytes, by the one client there is
	problems      []string
	notes         []string // that are no fault
}

// clientsOf is how many connections v gets in t.
func clientsOf(v *server, t trial) int {
	if v.most > 0 {
		return min(v.most, t.clients)
	}
	return t.clients
}

// A setting is a server that runs, with what is beside it.
type setting struct {
	*host.Server
	app      *host.Server // nil: there is none
	internal string       // host:port of its API
}

// start starts a server, its application first.
func start(v *server, cmd []string) (s setting, err error) {
	var places []string
	if s.internal, err = freePlace(); err != nil {
		return s, err
	}
	places = append(places, internalPlace, s.internal)
	if len(v.app) > 0 {
		free, err := freePlace()
		if err != nil {
			return s, err
		}
		_, port, _ := net.SplitHostPort(free)
		if s.app, err = host.Start("the application of "+v.name, filled(v.app, portPlace, port)); err != nil {
			return s, err
		}
		places = append(places, appPlace, s.app.Addr)
	}
	if s.Server, err = host.Start(v.name, filled(cmd, places...)); err != nil {
		s.app.Kill()
	}
	return s, err
}

func (s setting) end() {
	s.Kill()
	s.app.Kill()
	time.Sleep(500 * time.Millisecond) // the kernel frees the sockets
}

// filled returns a command with its places filled.
func filled(cmd []string, places ...string) []string {
	r, all := strings.NewReplacer(places...), slices.Clone(cmd)
	for i := range all {
		all[i] = r.Replace(all[i])
	}
	return all
}

// freePlace returns a place of 127.0.0.1 where nobody listens.
func freePlace() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// measure starts a server, runs the trial against it, and ends the server.
func measure(v *server, t trial) (figure, error) {
	cmd := v.cmd
	if t.recovery {
		cmd = append(slices.Clone(cmd), v.recovery...)
	}
	load := []string{"bin/sioload"}
	if n := runtime.NumCPU(); t.apart && n > 1 {
		cmd = append([]string{"taskset", "-c", "0"}, cmd...)
		load = []string{"taskset", "-c", fmt.Sprintf("1-%d", n-1), "bin/sioload"}
	}
	s, err := start(v, cmd)
	if err != nil {
		return figure{}, err
	}
	defer s.end()
	if t.drive != nil {
		return t.drive(v, s, t)
	}
	pid := s.Process.Pid
	if t.ofApp && s.app != nil {
		pid = s.app.Process.Pid
	}
	clients := clientsOf(v, t)
	args := append(load, "ws://"+s.Addr+v.path, "--json", "--busy-poll", "--pid", strconv.Itoa(pid),
		"--clients", strconv.Itoa(clients), "--rate", strconv.Itoa(cmp.Or(t.rate, v.rate)))
	if v.protocol != "" {
		args = append(args, "--protocol", v.protocol)
	}
	args = append(args, t.args...)
	if t.rooms {
		args = append(args, "--rooms", strconv.Itoa(clients/10))
	}
	if t.used {
		if err := exec.Command(args[0], args[1:]...).Run(); err != nil {
			return figure{}, fmt.Errorf("those who come before: %w", err)
		}
		if err := quiet(pid); err != nil {
			return figure{}, err
		}
	}
	output, err := exec.Command(args[0], args[1:]...).Output()
	var r swarm.Report
	if json.Unmarshal(output, &r) != nil {
		return figure{}, fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	if r.Server == nil || r.Window == nil {
		return figure{}, fmt.Errorf("nothing measured: %s", strings.Join(r.Problems, ", "))
	}
	return figureOf(&r), nil
}

func figureOf(r *swarm.Report) figure {
	latency := r.Window.LatencyUS
	if r.Scenario == swarm.Reader {
		latency = r.Window.ReaderUS
	}
	f := figure{
		clients: r.Clients, cpu: r.Server.CPUUS + max(0, r.Server.KsoftirqdUS), user: r.Server.UserUS,
		connect: r.Server.ConnectUS, rss: r.Server.RSSPerConnection,
		p50: float64(latency.P50), p99: float64(latency.P99), p999: float64(latency.P999), max: float64(latency.Max),
		seconds: r.Window.Seconds, cpuSeconds: r.Server.CPUSeconds,
		delivered: r.DeliveredShare, refused: float64(r.Total.Refused), problems: r.Problems,
	}
	if r.Total.Cut > 0 {
		f.recovered = float64(r.Total.Recovered) / float64(r.Total.Cut)
	}
	return f
}
