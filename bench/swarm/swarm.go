// Package swarm is an event-loop Socket.IO client for load: it connects many
// clients (WebSocket, Engine.IO 4, Socket.IO 5) from few processes, makes them
// talk, and counts every message until it is delivered, lost, duplicated or
// late.
//
//	coordinator (Run)                      worker (Worker), one a process
//	  job      ───────────────────────────►  connect its share of the clients
//	           ◄───────────────────────────  ready
//	  go, mark ───────────────────────────►  send; mark begins the window
//	           ◄──────────────────────────►  acc: what has been received so far
//	  stop     ───────────────────────────►  send no more
//	           ◄───────────────────────────  stopped: how much was sent
//	  drain    ───────────────────────────►  wait for what is still owed
//	           ◄───────────────────────────  drained: counts and histograms
//	  quit     ───────────────────────────►
//
// Both speak JSON lines over the worker's standard input and output. A worker
// is one goroutine with one poller (epoll or kqueue through golang.org/x/sys:
// gnet's poller has no way to return at once, which busy polling needs, nor a
// deadline finer than its own loop), its clients are flat records without
// pointers. The codec is its own and not the server's, so that a fault of one
// cannot hide in the other.
//
// The server needs a small application in the namespace under test:
//
//	echo (any)             with ack: acks the same payload
//	join (room)            with ack: joins, acks true
//	publish (room, any…)   emits msg (any…) to the room, "" being everybody
//	                       in the namespace, the sender included
package swarm

import (
	"fmt"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"time"
)

// A Scenario is what the connected clients do.
type Scenario string

// The scenarios.
const (
	Idle      Scenario = "idle"      // connect, stay, answer pings
	Broadcast Scenario = "broadcast" // publishers to everybody in the namespace
	Echo      Scenario = "echo"      // each active client asks for acknowledgements
	Rooms     Scenario = "rooms"     // publishers to random rooms
	Churn     Scenario = "churn"     // disconnect and connect again
	Reader    Scenario = "reader"    // a few echo at a fixed rate beside a broadcast to the others
	Jitter    Scenario = "jitter"    // connections are cut and come back while a room gets messages
	Avalanche Scenario = "avalanche" // all are cut at once and come back as stock clients do
)

// The protocols.
const (
	SocketIO   = "socket.io"
	Centrifuge = "centrifuge" // JSON, https://centrifugal.dev/docs/transports/client_protocol
)

// Config says what to load and how. Zero fields get the defaults named here.
// It crosses to the workers as JSON.
type Config struct {
	// URL of the server: ws://host:port or http://host:port. An empty path
	// means /socket.io/; a query is kept and EIO and transport are added.
	URL string

	// Protocol is SocketIO, which empty means too, or Centrifuge: there a room
	// is a channel, an echo is a procedure, and only the URL's host matters.
	Protocol string

	// Namespace is where the clients connect. Empty means "/".
	Namespace string

	// Auth is the JSON object sent in the CONNECT packet. Empty means none.
	Auth string

	// TokenSecret, unless empty, has each client bring a JSON Web Token of its own, in
	// place of Auth: {"token": …}, signed by HS256 with it. Its sub is the client.
	TokenSecret string

	// Scenario is what the clients do. Empty means Idle.
	Scenario Scenario

	// Clients is how many connect. Zero means 100.
	Clients int

	// Rate is connections a second, all workers together; in Churn also the
	// disconnections a second. Zero means 2000.
	Rate float64

	// Procs is the number of workers. Zero means as many as the descriptor
	// limit asks for, 15,000 clients each at most.
	Procs int

	// Sources are the local addresses to connect from, dealt to the workers in
	// turn. Empty means: addresses of 127.0.0.0/8 where the target is one, the
	// system is Linux and one address has not enough ports; else the system's
	// choice.
	Sources []string

	// Duration of the measured window. Zero means 10 s, or no limit when
	// Messages is set.
	Duration time.Duration

	// Warmup is sent before the window and not measured, though what it loses
	// is counted. Zero means none.
	Warmup time.Duration

	// Settle is the pause between the last connect and the first message, after
	// which the server's memory is read. Zero means none.
	Settle time.Duration

	// Drain is how long to wait for what is still owed at the end, and how long
	// a closed loop may stand still before the run is ended. Zero means 10 s.
	Drain time.Duration

	// ConnectTimeout bounds one client's way to Socket.IO connected. Zero means
	// 20 s, as in the JavaScript client.
	ConnectTimeout time.Duration

	// Timeout ends the run whatever happens. Zero means what the other fields
	// add up to and a minute.
	Timeout time.Duration

	// Messages ends the window after so many messages (echoes in Echo,
	// reconnects in Churn), all senders together. Zero means Duration decides.
	Messages int

	// Inflight is the closed loop: a publisher keeps so many messages under way
	// (in Echo each active client so many echoes). Zero means 1.
	Inflight int
	// Burst has a publisher send Inflight messages together, in one write, when
	// the ones before have arrived everywhere.
	Burst bool

	// MsgRate, if not zero, is an open loop instead: messages a second, all
	// senders together. Latency then counts from the moment each message
	// was due.
	MsgRate float64

	// Size is the WebSocket payload of one msg packet (of the event in Echo)
	// in bytes, raised to what the accounting needs. Zero means 64.
	Size int

	// Active is how many clients send: in Echo, where zero means all, and in
	// Reader, where these get no broadcast and zero means 1.
	Active int

	// EchoRate is the echoes a second of all active clients in Reader, an open
	// loop: latency counts from the moment each was due. Zero means 500.
	EchoRate float64

	// Rooms is how many rooms the clients are dealt to in Rooms. Zero means
	// 100, or Clients if less; at most 65,536.
	Rooms int

	// Publishers send in Broadcast, Rooms, Reader and Jitter; each is one of the
	// clients. Zero means 1; at most 65,536.
	Publishers int

	// OwnRoom makes each publisher send to its own room, not to random ones.
	OwnRoom bool

	// Cut is the share of the clients that is away at any moment in Jitter. Zero
	// means 0.1. There MsgRate is 10 unless it is set, nobody is cut in the last
	// two Away of Duration, and who is not back when a message is sent counts as
	// a receiver of it all the same.
	Cut float64

	// Away is how long a client that was cut stays away in Jitter. Zero means
	// 2 s.
	Away time.Duration

	// BusyPoll makes the workers never sleep. On loopback the waking of a
	// sleeping client is paid for inside the server's send.
	BusyPoll bool

	// PIDs are the server's processes, for its CPU time and memory. Linux only.
	PIDs []int
}

// A ConfigError is a Config that cannot be run.
type ConfigError struct {
	Field string // the field of Config
	Why   string
}

// Error names the field and what is wrong with it.
func (e *ConfigError) Error() string { return fmt.Sprintf("swarm: %s: %s", e.Field, e.Why) }

// WithDefaults returns c with its defaults filled in, or a *ConfigError.
func (c Config) WithDefaults() (Config, error) {
	setDefault(&c.Namespace, "/")
	setDefault(&c.Scenario, Idle)
	setDefault(&c.Clients, 100)
	setDefault(&c.Rate, 2000)
	setDefault(&c.Drain, 10*time.Second)
	setDefault(&c.ConnectTimeout, 20*time.Second)
	setDefault(&c.Inflight, 1)
	setDefault(&c.Publishers, 1)
	setDefault(&c.Protocol, SocketIO)
	switch c.Scenario {
	case Reader:
		setDefault(&c.Active, 1)
		setDefault(&c.EchoRate, 500)
	case Jitter:
		setDefault(&c.Cut, 0.1)
		setDefault(&c.Away, 2*time.Second)
		setDefault(&c.MsgRate, 10)
	case Avalanche:
		c.Warmup = 0 // nothing is sent before
		setDefault(&c.Duration, time.Minute)
	}
	setDefault(&c.Active, c.Clients)
	if c.Messages == 0 {
		setDefault(&c.Duration, 10*time.Second)
	}
	switch c.Scenario {
	case Rooms:
		setDefault(&c.Rooms, min(100, c.Clients))
	case Idle, Broadcast, Echo, Churn, Reader, Jitter, Avalanche:
		c.Rooms = 1
	default:
		return c, &ConfigError{"Scenario", fmt.Sprintf("no scenario %q", c.Scenario)}
	}
	if err := c.check(); err != nil {
		return c, err
	}
	setDefault(&c.Size, 64)
	c.Size = max(c.Size, newWire(c, 0).minSize())
	if c.Timeout == 0 {
		connect := time.Duration(float64(c.Clients) / c.Rate * float64(time.Second))
		c.Timeout = 3*connect + c.Warmup + c.Settle + c.Duration + c.Drain + time.Minute
		if c.Duration == 0 {
			c.Timeout += 10 * time.Minute
		}
	}
	return c, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c *Config) check() error {
	if _, err := parseTarget(c.URL); err != nil {
		return err
	}
	bad := func(field, why string) error { return &ConfigError{field, why} }
	switch {
	case !strings.HasPrefix(c.Namespace, "/") || strings.ContainsAny(c.Namespace, ",\""):
		return bad("Namespace", "must begin with / and hold no comma")
	case c.Auth != "" && !strings.HasPrefix(c.Auth, "{"):
		return bad("Auth", "must be a JSON object")
	case c.Auth != "" && c.TokenSecret != "":
		return bad("TokenSecret", "goes in place of Auth")
	case c.Clients < 1 || c.Clients > 4_000_000:
		return bad("Clients", "must be between 1 and 4,000,000")
	case c.Rate < 0 || c.MsgRate < 0:
		return bad("Rate", "must not be negative")
	case c.Messages < 0 || c.Inflight < 1 || c.Procs < 0 || c.Size < 0 || c.Size > maxFrame-256:
		return bad("Messages, Inflight, Procs, Size", "out of range")
	case c.Publishers < 1 || c.Publishers > min(c.Clients, 1<<16):
		return bad("Publishers", "must be between 1 and Clients, 65,536 at most")
	case c.Rooms < 1 || c.Rooms > min(c.Clients, 1<<16):
		return bad("Rooms", "must be between 1 and Clients, 65,536 at most")
	case c.Publishers*c.Rooms > 1<<24 || c.Publishers*c.Clients > 1<<30:
		return bad("Publishers", "too many to count for each room and client")
	case c.Active < 1 || c.Active > c.Clients:
		return bad("Active", "must be between 1 and Clients")
	case c.Scenario == Reader && c.Active+c.Publishers > c.Clients:
		return bad("Active", "leaves no receivers")
	case c.Protocol != SocketIO && c.Protocol != Centrifuge:
		return bad("Protocol", fmt.Sprintf("no protocol %q", c.Protocol))
	case c.Protocol == Centrifuge && (c.Namespace != "/" || c.Auth != ""):
		return bad("Protocol", "centrifuge has no namespaces and gets no auth")
	case c.Cut < 0 || c.Cut > 0.9 || c.Away < 0 || c.EchoRate < 0:
		return bad("Cut, Away, EchoRate", "out of range")
	case c.Scenario == Jitter && (c.Messages > 0 || c.Duration < 3*c.Away):
		return bad("Duration", "jitter is ended by time, after three times Away at least")
	case c.Scenario == Avalanche && c.Messages > 0:
		return bad("Messages", "an avalanche ends when all are back")
	case c.Procs > c.Clients:
		return bad("Procs", "more workers than clients")
	case c.Duration < 0 || c.Warmup < 0 || c.Settle < 0 || c.Drain < 0 || c.Timeout < 0 || c.ConnectTimeout < 0:
		return bad("Duration", "times must not be negative")
	}
	for _, s := range c.Sources {
		if _, err := netip.ParseAddr(s); err != nil {
			return bad("Sources", err.Error())
		}
	}
	return nil
}

// pubSub reports whether messages go from publishers to rooms.
func (c *Config) pubSub() bool {
	return c.Scenario == Broadcast || c.Scenario == Rooms || c.Scenario == Reader || c.Scenario == Jitter
}

// joins reports whether receivers join a room. Of Centrifuge's clients only
// those get anything.
func (c *Config) joins() bool {
	return c.pubSub() && (c.Scenario != Broadcast || c.Protocol == Centrifuge)
}

// cuts reports whether clients are cut and come back.
func (c *Config) cuts() bool { return c.Scenario == Jitter || c.Scenario == Avalanche }

// returns reports whether clients connect more than once.
func (c *Config) returns() bool { return c.cuts() || c.Scenario == Churn }

// roomName names room r; "" is the whole namespace.
func (c *Config) roomName(r int) string {
	if !c.joins() {
		return ""
	}
	return fmt.Sprintf("room-%05d", r)
}

// target is a Config's URL taken apart.
type target struct {
	host string // with port; the Host header
	path string // request target, query included
}

func parseTarget(raw string) (target, error) {
	bad := func(why string) (target, error) { return target{}, &ConfigError{"URL", why} }
	u, err := url.Parse(raw)
	if err != nil {
		return bad(err.Error())
	}
	switch u.Scheme {
	case "ws", "http":
	case "wss", "https":
		return bad("TLS is not spoken; use ws:// or http://")
	default:
		return bad("must be ws://host:port or http://host:port")
	}
	if u.Hostname() == "" {
		return bad("has no host")
	}
	t := target{host: u.Host, path: u.EscapedPath()}
	if u.Port() == "" {
		t.host += ":80"
	}
	if t.path == "" || t.path == "/" {
		t.path = "/socket.io/"
	}
	query := u.RawQuery
	if query != "" {
		query += "&"
	}
	t.path += "?" + query + "EIO=4&transport=websocket"
	return t, nil
}

// perWorker is how many clients a process takes: below the descriptor limit,
// with room for the runtime, and few enough that one source address has ports.
func perWorker(limit int) int { return max(1, min(15_000, limit-256)) }

// workers is the number of processes for c.
func (c *Config) workers(limit int) (int, error) {
	per := perWorker(limit)
	need := (c.Clients + per - 1) / per
	if c.Procs == 0 {
		return need, nil
	}
	if (c.Clients+c.Procs-1)/c.Procs > max(per, limit-256) {
		return 0, &ConfigError{"Procs", fmt.Sprintf("%d clients a process, the descriptor limit is %d; at least %d processes are needed",
			(c.Clients+c.Procs-1)/c.Procs, limit, need)}
	}
	return c.Procs, nil
}

// sourcesOf deals local addresses to worker w of n. A connection is named by
// its two addresses and ports, so one local address has some 28,000 of them;
// a reconnecting client leaves ports in TIME_WAIT and gets more.
func (c *Config) sourcesOf(w, n int, target netip.Addr) []string {
	if len(c.Sources) > 0 {
		var own []string
		for i := w; i < max(len(c.Sources), n); i += n {
			own = append(own, c.Sources[i%len(c.Sources)])
		}
		return own
	}
	if runtime.GOOS != "linux" || !target.Is4() || !target.IsLoopback() || (n == 1 && !c.returns()) {
		return nil
	}
	count := 1
	if c.returns() {
		count = 8
	}
	var own []string
	for i := range count {
		own = append(own, netip.AddrFrom4([4]byte{127, 0, byte(1 + w%250), byte(1 + i)}).String())
	}
	return own
}
