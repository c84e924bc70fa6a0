package main

import (
	"cmp"
	"slices"
	"strconv"
	"time"
)

// A trial is one scenario of the load generator.
type trial struct {
	name     string
	args     []string
	clients  int
	brief    bool     // it is in a quick run
	once     bool     // one round: it is long, or its figure hardly moves
	also     []string // servers that take part beside those of every trial
	alone    []string // the servers that take part, and no others; nil: see also
	over     string   // trial in which limit is one of the ratio to it; empty: none
	rooms    bool     // a room for each ten clients
	apart    bool     // the server has a core to itself, and the load generator has the others
	used     bool     // as many clients have come and gone before
	rate     int      // connections a second; zero: as many as the server is given
	recovery bool     // with connection state recovery where there is any
	ofApp    bool     // it is the application beside the server, if there is one, whose time counts
	columns  []column

	// drive puts the load on, in place of the load generator, and returns what it was.
	drive  func(v *server, s setting, t trial) (figure, error)
	length time.Duration // of what it measures
}

// A column is one value of a figure; the first one of a trial has its range
// beside it.
type column struct {
	title, format string
	of            func(figure) float64
}

func (t trial) takes(v *server) bool {
	if t.alone != nil {
		return slices.Contains(t.alone, v.name) || slices.Contains(t.alone, v.like)
	}
	return !v.extra || slices.Contains(t.also, v.name) || slices.Contains(t.also, v.like)
}

// limits tells whether the bare loops take part, beside all others.
func (t trial) limits() bool { return slices.Contains(t.also, limit) }

func (t trial) rounds(s settings) int {
	if t.once {
		return 1
	}
	return s.rounds
}

var connecting = column{"CPU µs from accept to connected", "%.1f", func(f figure) float64 { return f.connect }}

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
	settle, idle, jitter, warmup := "5s", "25s", "14s", "1s" // idle is a whole interval of heartbeats
	if s.quick {
		few, settle, idle, jitter, warmup = min(s.clients, 500), "1s", "3s", "8s", "500ms"
	}
	window := []string{"--duration", strconv.Itoa(s.seconds) + "s", "--warmup", warmup}
	sending := func(scenario string, more ...string) []string {
		return append(append([]string{"--scenario", scenario}, more...), window...)
	}
	lib := slices.Clip([]string{library, tuned, limit})
	near := slices.Concat(lib, []string{twoThreads, goSend, oneLoop, fugoPlain})
	memory := column{"RSS B a connection", "%.0f", func(f figure) float64 { return f.rss }}
	return slices.Concat([]trial{
		{name: "idle", brief: true, args: []string{"--scenario", "idle", "--settle", settle, "--duration", idle}, clients: s.clients, once: true, also: append(lib, fugoPlain), over: "idle",
			columns: append(perUnit("connection and second"), memory)},
		{name: "connect", brief: true, args: []string{"--scenario", "idle", "--duration", "1s"}, clients: s.clients, also: near, over: "connect",
			columns: []column{connecting, memory}},
		{name: "broadcast 64 B", brief: true, args: sending("broadcast", "--size", "64"), clients: s.clients, also: near, over: "broadcast 64 B",
			columns: perUnit("delivery")},
		{name: "broadcast 512 B", args: sending("broadcast", "--size", "512"), clients: s.clients, also: near, over: "broadcast 512 B",
			columns: perUnit("delivery")},
		{name: "broadcast 64 B, 8 at once", args: sending("broadcast", "--size", "64", "--inflight", "8", "--burst"), clients: s.clients, over: "broadcast 64 B",
			columns: perUnit("delivery")},
		{name: "broadcast 64 B, 64 at once", args: sending("broadcast", "--size", "64", "--inflight", "64", "--burst"), clients: s.clients, over: "broadcast 64 B",
			columns: perUnit("delivery")},
		{name: "rooms of 10", brief: true, args: sending("rooms", "--publishers", "50", "--own-room"), clients: s.clients, rooms: true, also: append(lib, oneLoop), over: "rooms of 10",
			columns: perUnit("delivery")},
		{name: "echo with acknowledgement", brief: true, args: sending("echo", "--inflight", "4"), clients: min(s.clients, 200), also: append(lib, oneLoop), over: "echo with acknowledgement",
			columns: perUnit("echo")},
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
		{name: "edge: idle, each client with a token, two rooms and limits", args: []string{"--scenario", "idle", "--token-secret", secret, "--settle", settle, "--duration", idle},
			clients: s.clients, once: true, alone: []string{declared, nodeJWT, fugo}, columns: append([]column{memory, connecting}, perUnit("connection and second")...)},
		{name: "edge: rooms of 10, relayed", brief: true, args: sending("rooms", "--token-secret", secret, "--publishers", "50", "--own-room"), clients: s.clients, rooms: true,
			alone: []string{ourselves, declared, nodeJWT}, columns: perUnit("delivery")},
	}, withinApplications(s, sending), onOneCore(s, sending), costs(s))
}

// onOneCore are the scenarios in which a server has one core, and its clients the others.
func onOneCore(s settings, sending func(scenario string, more ...string) []string) []trial {
	clients := min(s.clients, 10000)
	calm, idle := "15s", "25s"
	if s.quick {
		calm, idle = "1s", "3s"
	}
	come := []string{"--scenario", "idle", "--duration", "1s"}
	all := []trial{
		{name: "one core: connect, a fresh server", args: come, columns: []column{connecting}},
		{name: "one core: connect, a used server", brief: true, args: come, used: true, columns: []column{connecting}},
		{name: "one core: broadcast 64 B", brief: true, args: sending("broadcast", "--size", "64"), columns: perUnit("delivery")},
		{name: "one core: broadcast 512 B", args: sending("broadcast", "--size", "512"), columns: perUnit("delivery")},
		{name: "one core: echo with acknowledgement", brief: true, args: sending("echo", "--inflight", "4"), clients: min(clients, 200), columns: perUnit("echo", column{
			"echoes a second of CPU", "%.0f", func(f figure) float64 { return 1e6 / f.cpu }})},
		{name: "one core: rooms of 10 at 1,500 a second", args: sending("rooms", "--publishers", "50", "--own-room", "--msg-rate", "1500"), rooms: true,
			columns: perUnit("delivery")},
		{name: "one core: idle", brief: true, args: []string{"--scenario", "idle", "--settle", calm, "--duration", idle}, columns: []column{
			{"CPU ms a second", "%.2f", func(f figure) float64 { return 1e3 * f.cpuSeconds / f.seconds }},
			{"RSS B a connection", "%.0f", func(f figure) float64 { return f.rss }}}},
	}
	for i := range all {
		t := &all[i]
		t.clients, t.rate, t.apart, t.over = cmp.Or(t.clients, clients), 2000, true, t.name
		t.alone = []string{ourselves, library, tuned, limit, uws}
	}
	return all
}

// withinApplications are the scenarios in which an application beside the server has its part.
func withinApplications(s settings, sending func(scenario string, more ...string) []string) []trial {
	// Each client's events share a lane of 64 with those of the others.
	busy := func(more ...string) []string {
		return append(sending("echo", "--token-secret", secret, "--inflight", "4"), more...)
	}
	alone := sending("echo", "--token-secret", secret)
	length := time.Duration(s.seconds) * time.Second
	handlers := []string{ourselves, hooked, plainNode, fugoProxy} // the first answers itself: what is not the webhook's
	return []trial{
		{name: "edge: event through a webhook, 64 under way a lane", brief: true, args: busy(), clients: 1024, alone: handlers, columns: perUnit("event")},
		{name: "edge: event through a webhook, one at a time", args: alone, clients: 1, alone: handlers, columns: perUnit("event")},
		{name: "edge: webhook latency, 200 events a second", args: append(slices.Clone(alone), "--msg-rate", "200"), clients: 10,
			alone: handlers, columns: latencies("an event")},
		{name: "edge: events a core of the backend", args: busy(), clients: 1024, ofApp: true, alone: []string{hooked, plainNode, fugoProxy}, columns: append(perUnit("event, of the application"),
			column{"events a core and second", "%.0f", func(f figure) float64 { return 1e6 / f.cpu }})},
		{name: "edge: POST /api/emit", brief: true, clients: 4, drive: posts, length: length, alone: []string{withAPI, fugo}, columns: perUnit("request")},
		{name: "edge: NDJSON stream", clients: 1, drive: emits, length: length, alone: []string{byStream, withRedis}, columns: perUnit("emit")},
	}
}
