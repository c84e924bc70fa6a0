package main

import "strings"

// A readmeTable is a table of README, between the lines of its block. Columns and rows that
// the result says nothing of are left out.
type readmeTable struct {
	block  string
	places []place
	lines  []line
}

// A place is a column: a server, or what the edge before it uses.
type place struct {
	title, server string
	edge          bool
}

// A line is a row: a column of a trial, the first unless its title's beginning is given.
type line struct {
	label, trial, column string
	edge                 string            // the column's beginning where the place is the edge's
	scale                float64           // that values are multiplied by; 0 is 1
	second               map[string]string // a server that stands in the same cell, by the server of the column
}

const (
	percent   = 100.0
	ofMicros  = 1e-3 // ms
	rss       = "RSS B a connection"
	heartbeat = "CPU µs for one connection and second"
)

func readmeTables() []readmeTable {
	return []readmeTable{
		{"peers", beside(), peerLines()},
		{"one core", []place{{title: "sioedge", server: ourselves}, {title: "library, no options", server: library}, {title: "library, `Tune`", server: tuned}, {title: "C", server: limit}, {title: "uWebSockets", server: uws}}, coreLines()},
		{"edge", []place{{title: "sioedge, declared", server: declared}, {title: "sioedge, a handler", server: ourselves}, {title: "Node socket.io, jsonwebtoken", server: nodeJWT}, {title: "Centrifugo", server: fugo}}, []line{
			{label: "memory of an idle client with an identity, two rooms, of which one is its own, and limits, B", trial: edgeIdle, column: rss},
			{label: "accept to connected, token verified, µs", trial: edgeIdle, column: "CPU µs from accept"},
			{label: "rooms of 10, relayed, µs a delivery", trial: "edge: rooms of 10, relayed"},
		}},
		{"backend", []place{{title: "sioedge", server: hooked}, {title: "by the edge itself", server: ourselves}, {title: "Node socket.io", server: plainNode}, {title: "Centrifugo", server: fugoProxy}, {title: "HTTP API", server: withAPI},
			{title: "its stream", server: byStream}, {title: "through Redis", server: withRedis}, {title: "Centrifugo's API", server: fugo}}, []line{
			{label: "an event through a webhook, 64 under way a lane", trial: "edge: event through a webhook, 64 under way a lane"},
			{label: "one at a time", trial: "edge: event through a webhook, one at a time"},
			{label: "CPU of the application, an event", trial: "edge: events a core of the backend"},
			{label: "`POST /api/emit` to an empty room", trial: "edge: POST /api/emit"},
			{label: "an emit of a stream", trial: "edge: NDJSON stream"},
		}},
		{"bridge", []place{{title: "Node socket.io", server: "node"}, {title: "behind sioedge", server: "node behind sioedge"}, {title: "the edge's", server: "node behind sioedge", edge: true}}, bridgeLines()},
		{"costs", beside(), costLines()},
	}
}

// edgeIdle is the trial of clients with identities.
const edgeIdle = "edge: idle, each client with a token, two rooms and limits"

// beside are all who stand beside each other.
func beside() []place {
	return []place{{title: "sioedge", server: ourselves}, {title: "library, no options", server: library}, {title: "C", server: limit}, {title: "uWebSockets", server: uws}, {title: "Node socket.io", server: plainNode}, {title: "the same on uWebSockets", server: "node-uws"},
		{title: "Bun", server: "bun"}, {title: "gorilla, a goroutine per connection", server: "gorilla"}, {title: "centrifuge", server: "centrifuge"}, {title: "Centrifugo", server: fugoPlain}, {title: "zishang520", server: "zishang"}}
}

func peerLines() []line {
	loops := map[string]string{ourselves: oneLoop, limit: twoThreads}
	one := map[string]string{ourselves: oneLoop}
	return []line{
		{label: "memory of an idle connection, B", trial: "idle", column: rss},
		{label: "heartbeats of an idle connection, µs a second", trial: "idle", column: heartbeat},
		{label: "accept to connected, µs", trial: "connect"},
		{label: "broadcast of 64 B, µs a delivery; with one loop (C: two threads)", trial: "broadcast 64 B", second: loops},
		{label: "broadcast of 512 B", trial: "broadcast 512 B", second: loops},
		{label: "64 B, 8 at once, a message and recipient", trial: "broadcast 64 B, 8 at once"},
		{label: "64 B, 64 at once", trial: "broadcast 64 B, 64 at once"},
		{label: "rooms of 10, µs a delivery; with one loop", trial: "rooms of 10", second: one},
		{label: "echo with acknowledgement, µs; with one loop", trial: "echo with acknowledgement", second: one},
		{label: "5,000 echoes a second, p99, ms", trial: "latency of 5,000 echoes a second", scale: ofMicros},
		{label: "a reader's echo beside broadcasts to all, p99, ms, on one core", trial: "reader beside 3 broadcasts a second", scale: ofMicros},
		{label: "messages delivered while a tenth is cut off at any moment", trial: "jitter", scale: percent},
		{label: "all clients lost at once: back after, s", trial: "avalanche"},
	}
}

func coreLines() []line {
	return []line{
		{label: "connect at 2,000 a second, a fresh server, µs", trial: "one core: connect, a fresh server"},
		{label: "the same, a server that as many have come to and left", trial: "one core: connect, a used server"},
		{label: "broadcast of 64 B, µs a delivery", trial: "one core: broadcast 64 B"},
		{label: "broadcast of 512 B", trial: "one core: broadcast 512 B"},
		{label: "echo with acknowledgement, µs", trial: "one core: echo with acknowledgement"},
		{label: "echoes a second of CPU", trial: "one core: echo with acknowledgement", column: "echoes a second"},
		{label: "rooms of 10 at 1,500 a second, µs a delivery", trial: "one core: rooms of 10 at 1,500 a second"},
		{label: "idle: CPU, ms a second", trial: "one core: idle"},
		{label: "idle: memory of a client, B", trial: "one core: idle", column: rss},
	}
}

// bridgeLines are of the part that bench/bridge is.
func bridgeLines() []line {
	const of, cpu = "edge: bridge: ", "edge: CPU µs"
	all := "broadcast of 64 B by the application itself"
	echo := "echo with acknowledgement"
	return []line{
		{label: "heap of an idle client after a collection, B", trial: of + "idle", column: "application: heap"},
		{label: "RSS of an idle client, B", trial: of + "idle", column: "RSS B", edge: "edge: RSS"},
		{label: "a broadcast of 64 B to all clients, one after the other", trial: of + all, edge: cpu},
		{label: "the same, 100 clients", trial: of + all + ", few clients", edge: cpu},
		{label: "an echo with acknowledgement, 200 clients", trial: of + echo, edge: cpu},
		{label: "echoes a second that a core of Node can handle", trial: of + echo, column: "echoes a second"},
		{label: "an echo, one at a time", trial: of + echo + ", one at a time", edge: cpu},
		{label: "an event", trial: of + "event of 64 B without acknowledgement", edge: cpu},
		{label: "an emit", trial: of + "emit of 64 B to one client", edge: cpu},
	}
}

func costLines() []line {
	lines := []line{
		{label: "memory before anybody came, MB", trial: "memory over ten waves", column: "before"},
		{label: "after one wave of clients has come and gone", trial: "memory over ten waves", column: "after one"},
		{label: "after ten", trial: "memory over ten waves"},
	}
	for _, h := range hostilities() {
		trial := "one hostile client: " + h.name
		lines = append(lines, line{label: h.name + ": CPU, ms a second", trial: trial},
			line{label: "memory, MB, at most", trial: trial, column: "RSS MB more"})
	}
	return lines
}

// betters say of each peer what it does better: a line each, by hand.
var betters = []struct{ who, what string }{
	{"uWebSockets", "a connect and an echo for less, where the handler is in C++ too; an HTTP server and router in the same core; runs on Windows"},
	{"Node socket.io", "every feature on the day it is specified; all adapters (Redis, Postgres, MongoDB, clusters of processes) and all middleware of npm; a handler in " +
		"JavaScript in the process itself, where one event at a time costs no request of HTTP"},
	{"Node socket.io on uWebSockets", "the same, with broadcasts near the price of C++, for one line more (`io.attachApp`)"},
	{"Bun", "the same API with TypeScript as it is written, in one program that is also bundler and package manager"},
	{"gorilla", "plain Go: a goroutine a connection that may block, a net.Conn, net/http, nothing to learn"},
	{"centrifuge", "a library with history and recovery of channels that outlive the process, and clients that come by SSE or HTTP streaming"},
	{"Centrifugo", "that as a server: history and presence in Redis for all servers at once, consumers of Kafka and PostgreSQL, permissions of channels, WebTransport and gRPC, client " +
		"libraries of its own for many languages"},
	{"zishang520", "Node's API in Go, name by name, so that an application can be carried over line by line; WebTransport"},
}

// better is the block of what others do better.
func better() string {
	var b strings.Builder
	for _, x := range betters {
		b.WriteString("- " + x.who + ": " + x.what + ".\n")
	}
	return b.String()
}
