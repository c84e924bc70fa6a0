package main

import (
	"slices"
	"strconv"
)

// A trial is one scenario of the load generator.
type trial struct {
	name     string
	args     []string
	clients  int
	once     bool     // one round: it is long, or its figure hardly moves
	also     []string // servers that take part beside those of every trial
	over     string   // trial in which limit is one of the ratio to it; empty: none
	rooms    bool     // a room for each ten clients
	apart    bool     // the server has a core to itself, and the load generator has the others
	recovery bool     // with connection state recovery where there is any
	columns  []column
}

// A column is one value of a figure; the first one of a trial has its range
// beside it.
type column struct {
	title, format string
	of            func(figure) float64
}

func (t trial) takes(v *server) bool {
	return !v.extra || slices.Contains(t.also, v.name) || slices.Contains(t.also, v.like)
}

// limits tells whether the bare loops take part.
func (t trial) limits() bool { return slices.Contains(t.also, limit) }

func (t trial) rounds(s settings) int {
	if t.once {
		return 1
	}
	return s.rounds
}

// perUnit are the columns of a trial whose unit of work is named so.
func perUnit(unit string, more ...column) []column {
	return append([]column{
		{"CPU µs for one " + unit, "%.3f", func(f figure) float64 { return f.cpu }},
		{"user µs", "%.3f", func(f figure) float64 { return f.user }},
	}, more...)
}

func latencies(of string) []column {
	return []column{
		{"p99 µs of " + of, "%.0f", func(f figure) float64 { return f.p99 }},
		{"p50", "%.0f", func(f figure) float64 { return f.p50 }},
		{"p99.9", "%.0f", func(f figure) float64 { return f.p999 }},
		{"max", "%.0f", func(f figure) float64 { return f.max }},
		{"CPU s", "%.2f", func(f figure) float64 { return f.cpuSeconds }},
	}
}

// allTrials are the scenarios, in the order of the tables.
func allTrials(s settings) []trial {
	few := min(s.clients, 3000)
	idle, jitter := "25s", "14s" // a whole interval of heartbeats
	if s.quick {
		few, idle, jitter = min(s.clients, 500), "4s", "8s"
	}
	window := []string{"--duration", strconv.Itoa(s.seconds) + "s", "--warmup", "1s"}
	sending := func(scenario string, more ...string) []string {
		return append(append([]string{"--scenario", scenario}, more...), window...)
	}
	near := []string{limit, "C send 2 threads", "Go send", oneLoop}
	memory := column{"RSS B a connection", "%.0f", func(f figure) float64 { return f.rss }}
	return []trial{
		{name: "idle", args: []string{"--scenario", "idle", "--settle", "5s", "--duration", idle}, clients: s.clients, once: true,
			columns: append([]column{memory}, perUnit("connection and second")...)},
		{name: "connect", args: []string{"--scenario", "idle", "--duration", "1s"}, clients: s.clients, also: near, over: "connect",
			columns: []column{{"CPU µs from accept to connected", "%.1f", func(f figure) float64 { return f.connect }}, memory}},
		{name: "broadcast 64 B", args: sending("broadcast", "--size", "64"), clients: s.clients, also: near, over: "broadcast 64 B",
			columns: perUnit("delivery")},
		{name: "broadcast 512 B", args: sending("broadcast", "--size", "512"), clients: s.clients, also: near, over: "broadcast 512 B",
			columns: perUnit("delivery")},
		{name: "broadcast 64 B, 8 at once", args: sending("broadcast", "--size", "64", "--inflight", "8", "--burst"), clients: s.clients, over: "broadcast 64 B",
			columns: perUnit("delivery")},
		{name: "broadcast 64 B, 64 at once", args: sending("broadcast", "--size", "64", "--inflight", "64", "--burst"), clients: s.clients, over: "broadcast 64 B",
			columns: perUnit("delivery")},
		{name: "rooms of 10", args: sending("rooms", "--publishers", "50", "--own-room"), clients: s.clients, rooms: true, columns: perUnit("delivery")},
		{name: "echo with acknowledgement", args: sending("echo", "--inflight", "4"), clients: min(s.clients, 200), columns: perUnit("echo")},
		{name: "latency of 5,000 echoes a second", args: sending("echo", "--msg-rate", "5000"), clients: min(s.clients, 1000), columns: latencies("an echo")},
		{name: "reader beside 3 broadcasts a second", args: sending("reader", "--msg-rate", "3"), clients: s.clients, apart: true,
			columns: latencies("the reader's echo")},
		{name: "jitter", args: []string{"--scenario", "jitter", "--duration", jitter, "--msg-rate", "10"}, clients: few, once: true, recovery: true,
			columns: []column{
				{"share delivered", "%.4f", func(f figure) float64 { return f.delivered }},
				{"share recovered", "%.3f", func(f figure) float64 { return f.recovered }},
				{"attempts refused", "%.0f", func(f figure) float64 { return f.refused }},
				{"CPU s", "%.2f", func(f figure) float64 { return f.cpuSeconds }},
			}},
		{name: "avalanche", args: []string{"--scenario", "avalanche"}, clients: s.clients, once: true, columns: []column{
			{"s until all are back", "%.2f", func(f figure) float64 { return f.seconds }},
			{"attempts refused", "%.0f", func(f figure) float64 { return f.refused }},
			{"CPU µs a client", "%.1f", func(f figure) float64 { return f.cpu }},
			{"CPU s", "%.2f", func(f figure) float64 { return f.cpuSeconds }},
		}},
	}
}
