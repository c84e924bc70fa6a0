// Package capacity computes what so many clients ask of one host: memory, cores, network, and the time until all are back after a restart.
package capacity

import "time"

// A Plan is so many clients on one host, idle over WebSocket but for what is computed.
type Plan struct {
	Clients int64
	Cores   int // at most one a loop
	TLS     bool
	Token   string // algorithm of the clients' tokens: HS256, ES256, RS256, EdDSA; empty: they have none

	PingInterval time.Duration
	Payload      int   // bytes of a broadcast's message, less than 64 KiB, as the argument of an event
	Network      int64 // bits a second

	AcceptRate int           // limits.accept_rate: new sessions a second; 0: as the loops have time; negative: any number
	Down       time.Duration // from the loss of all until the server listens again
}

// A Load is what a Plan takes. Its JSON is what sioedge doctor prints.
type Load struct {
	Clients int64 `json:"clients"`
	Cores   int   `json:"cores"` // that run event loops

	ProcessBytes int64 `json:"process_bytes"`
	KernelBytes  int64 `json:"kernel_bytes"`

	Heartbeats Heartbeats `json:"heartbeats"`
	Broadcast  Broadcast  `json:"broadcast"`
	Restart    Restart    `json:"restart"`
}

// Heartbeats are all pings and pongs.
type Heartbeats struct {
	Interval      float64 `json:"interval_seconds"`
	PerSecond     float64 `json:"per_second"`
	Cores         float64 `json:"cores"`
	PacketsPerSec float64 `json:"packets_per_second"` // both ways
	BitsPerSecond float64 `json:"bits_per_second"`    // on the wire, both ways
}

// A Broadcast is one message to all.
type Broadcast struct {
	Payload    int     `json:"payload_bytes"`
	Packet     int     `json:"wire_bytes"`              // on the wire, for one client
	CPUSeconds float64 `json:"cpu_seconds"`             // of one core
	Wire       float64 `json:"wire_seconds"`            // that the network needs by itself
	Network    int64   `json:"network_bits_per_second"` // which was assumed
	Seconds    float64 `json:"seconds"`                 // the longer of both: loops at work, and the wire
	PacketsOut float64 `json:"packets_per_second"`      // meanwhile, from the server
	PerSecond  float64 `json:"broadcasts_per_second"`   // one after the other, and nothing else
}

// Restart is the return of all after they were lost at once.
type Restart struct {
	Connect    float64 `json:"connect_us"`          // µs of one core
	Refusal    float64 `json:"refusal_us"`          // µs of one core
	Capacity   float64 `json:"connects_per_second"` // that all cores could do
	AcceptRate int     `json:"accept_rate"`         // limits.accept_rate
	Return             // with that

	Advised     int64  `json:"advised_accept_rate"`
	WithAdvised Return `json:"with_advised_accept_rate"`
}

// Bytes of a packet on the wire around what TCP carries: Ethernet's preamble, header, check
// and gap, headers of IPv4 and TCP, and TCP's time stamps. A segment that only
// acknowledges has nothing else.
const (
	wireHead   = 38 + 20 + 20 + 12
	recordHead = 22 // TLS 1.3: header, type and tag of a record
)

// frame is the length of a WebSocket frame of n bytes from the server; clients' are masked.
func frame(n int, masked bool) int {
	head := 2
	if n > 125 {
		head = 4
	}
	if masked {
		head += 4
	}
	return head + n
}

// eventHead is 42["msg",""], around the text.
const eventHead = 12

// packet is what a frame is on the wire, in as many segments of 1,448 bytes as it takes.
func (p *Plan) packet(frame int) (bytes, segments int) {
	if p.TLS {
		frame += recordHead
	}
	segments = (frame + 1447) / 1448
	return frame + segments*wireHead, segments
}

// Of computes what a plan takes, at these costs.
func (c *Costs) Of(p Plan) Load {
	n := float64(p.Clients)
	l := Load{Clients: p.Clients, Cores: p.Cores}
	l.ProcessBytes, l.KernelBytes = p.Clients*c.Bytes(p.TLS, p.Token != ""), p.Clients*int64(c.Kernel.Value)

	ping, _ := p.packet(frame(1, false))
	pong, _ := p.packet(frame(1, true))
	rate := n / p.PingInterval.Seconds()
	l.Heartbeats = Heartbeats{
		Interval: p.PingInterval.Seconds(), PerSecond: rate, Cores: rate * c.Heartbeat.Value / 1e6,
		PacketsPerSec: 3 * rate, BitsPerSecond: rate * 8 * float64(ping+pong+wireHead),
	}
	l.Broadcast = c.broadcast(p)
	l.Restart = c.restart(p)
	return l
}

// Bytes returns what an idle client takes in the process.
func (c *Costs) Bytes(tls, token bool) int64 {
	b := c.Process.Value
	if tls {
		b += c.TLSBytes.Value
	}
	if token {
		b += c.Identity.Value
	}
	return int64(b)
}

func (c *Costs) broadcast(p Plan) Broadcast {
	n, each := float64(p.Clients), c.Delivery.Value
	if p.TLS {
		each += c.DeliveryTLS.Value
	}
	bytes, segments := p.packet(frame(p.Payload+eventHead, false))
	b := Broadcast{Payload: p.Payload, Packet: bytes, CPUSeconds: n * each / 1e6, Network: p.Network}
	b.Wire = n * 8 * float64(bytes) / float64(p.Network)
	b.Seconds = max(b.CPUSeconds/float64(p.Cores), b.Wire)
	if b.Seconds > 0 {
		b.PacketsOut, b.PerSecond = n*float64(segments)/b.Seconds, 1/b.Seconds
	}
	return b
}

// advisedShare is the part of what the cores could do that is advised as a rate: what is left
// is for those that are refused, and for who is there already.
const advisedShare = 0.75

func (c *Costs) restart(p Plan) Restart {
	r := Restart{Connect: c.Connect.Value, Refusal: c.Refusal.Value, AcceptRate: p.AcceptRate}
	if p.TLS {
		// Tickets for resumption are sealed with a key that has ended with the process.
		r.Connect, r.Refusal = r.Connect+c.Handshake.Value, r.Refusal+c.Handshake.Value
	}
	if p.Token != "" {
		r.Connect += c.Token.Value
	}
	switch p.Token {
	case "ES256":
		r.Connect += c.ES256.Value
	case "RS256":
		r.Connect += c.RS256.Value
	case "EdDSA":
		r.Connect += c.EdDSA.Value
	}
	r.Capacity = float64(p.Cores) * 1e6 / r.Connect
	storm := Storm{
		Clients: p.Clients, Rate: float64(p.AcceptRate), Cores: p.Cores, Connect: r.Connect, Refusal: r.Refusal, Down: p.Down, Backoff: Default,
	}
	r.Return = storm.Run()
	r.Advised = max(int64(r.Capacity*advisedShare), 1)
	storm.Rate = float64(r.Advised)
	r.WithAdvised = storm.Run()
	return r
}
