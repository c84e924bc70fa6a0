package main

import (
	"time"

	"github.com/sioedge/sioedge/bench/swarm"
)

// A trial is something to measure.
type trial struct {
	name    string
	once    bool // one round: it is long, and its figures hardly move
	clients int
	length  time.Duration
	load    swarm.Config // of drive, where that is generated
	drive   func(s setting, t trial) (figure, error)
	columns []column
}

// A figure is what one measurement gave.
type figure struct {
	app, user, edge          float64 // µs of CPU a unit of work; user is the application's
	heap, rss, edgeRSS       float64 // bytes a client, the application's after a collection
	connecting, edgeAccepted float64 // µs of CPU from accept to connected
}

// A column is one value of a figure; the first one of a trial has its range beside it.
type column struct {
	title, format string
	edge          bool // there is none without an edge
	of            func(figure) float64
}

// perUnit are the columns of a trial whose unit of work is named so.
func perUnit(unit string, more ...column) []column {
	return append([]column{
		{"application: CPU µs for one " + unit, "%.2f", false, func(f figure) float64 { return f.app }},
		{"user µs", "%.2f", false, func(f figure) float64 { return f.user }},
		{"edge: CPU µs", "%.2f", true, func(f figure) float64 { return f.edge }},
	}, more...)
}

// aCore is how many units of work a second one core of the application can do.
func aCore(units string) column {
	return column{units + " a second and core of Node", "%.0f", false, func(f figure) float64 { return 1e6 / f.app }}
}

// memory are the columns of idle clients.
func memory() []column {
	return []column{
		{"application: heap B a client", "%.0f", false, func(f figure) float64 { return f.heap }},
		{"RSS B", "%.0f", false, func(f figure) float64 { return f.rss }},
		{"CPU µs from accept to connected", "%.0f", false, func(f figure) float64 { return f.connecting }},
		{"CPU µs a client and second", "%.3f", false, func(f figure) float64 { return f.app }},
		{"edge: RSS B", "%.0f", true, func(f figure) float64 { return f.edgeRSS }},
		{"CPU µs to connected", "%.0f", true, func(f figure) float64 { return f.edgeAccepted }},
		{"CPU µs a client and second", "%.3f", true, func(f figure) float64 { return f.edge }},
	}
}

// heartbeats is how long idle clients are watched: each has one ping in it.
const heartbeats = 25 * time.Second

// few is the other size of room: what a broadcast costs should not depend on it.
const few = 100

func trials(s settings) []trial {
	length := time.Duration(s.seconds) * time.Second
	sending := func(c swarm.Config) swarm.Config {
		c.Size, c.Warmup, c.Duration = 64, time.Second, length
		return c
	}
	asked := sending(swarm.Config{Scenario: swarm.Broadcast})
	atOnce := sending(swarm.Config{Scenario: swarm.Broadcast, Inflight: 16, Burst: true})
	return []trial{
		{name: "idle", once: true, clients: s.clients, length: heartbeats, drive: idle, columns: memory()},
		{name: "broadcast of 64 B by the application itself", clients: s.members, length: length, drive: shout, columns: perUnit("broadcast")},
		{name: "broadcast of 64 B by the application itself, few clients", clients: few, length: length, drive: shout, columns: perUnit("broadcast")},
		{name: "broadcast of 64 B that a client asks for", clients: s.members, load: asked, drive: generated, columns: perUnit("broadcast")},
		{name: "broadcast of 64 B that a client asks for, 16 at once", clients: s.members, load: atOnce, drive: generated, columns: perUnit("broadcast")},
		{name: "echo with acknowledgement", clients: 200, load: sending(swarm.Config{Scenario: swarm.Echo, Inflight: 4}), drive: generated,
			columns: perUnit("echo", aCore("echoes"))},
		{name: "echo with acknowledgement, one at a time", clients: 1, load: sending(swarm.Config{Scenario: swarm.Echo}), drive: generated,
			columns: perUnit("echo")},
		{name: "event of 64 B without acknowledgement", clients: 8, length: length, drive: notes, columns: perUnit("event", aCore("events"))},
		{name: "emit of 64 B to one client", clients: 8, length: length, drive: floods, columns: perUnit("emit", aCore("emits"))},
	}
}
