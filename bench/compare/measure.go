package main

import (
	"encoding/json"
	"fmt"
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
	problems      []string
}

// clientsOf is how many connections v gets in t.
func clientsOf(v *server, t trial) int {
	if v.most > 0 {
		return min(v.most, t.clients)
	}
	return t.clients
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
	s, err := host.Start(v.name, cmd)
	if err != nil {
		return figure{}, err
	}
	defer func() {
		s.Kill()
		time.Sleep(500 * time.Millisecond) // the kernel frees the sockets
	}()
	clients := clientsOf(v, t)
	args := append(load, "ws://"+s.Addr, "--json", "--busy-poll", "--pid", strconv.Itoa(s.Process.Pid),
		"--clients", strconv.Itoa(clients), "--rate", strconv.Itoa(v.rate))
	if v.protocol != "" {
		args = append(args, "--protocol", v.protocol)
	}
	args = append(args, t.args...)
	if t.rooms {
		args = append(args, "--rooms", strconv.Itoa(clients/10))
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
