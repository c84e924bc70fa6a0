package capacity

// A Cost is what one unit of work takes, as it was measured on one machine: another has
// others, which the command of Source finds.
type Cost struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`   // "B", or "µs" of one core
	Source string  `json:"source"` // what measures it, and how this value comes from that
}

// Costs has each unit cost once. Those of a network card are not in it: the benchmarks
// have both ends on one machine, where the kernel does the receiver's part inside the
// sender's call, in place of the driver's.
type Costs struct {
	Process, Kernel     Cost // memory of an idle client
	TLSBytes, Identity  Cost // on top of Process
	Heartbeat           Cost // a ping and its pong
	Delivery            Cost // one message to one client, as a broadcast has it
	DeliveryTLS         Cost // on top
	Connect             Cost // from accept until the namespace has answered
	Token               Cost // on top: HS256, and what having an identity takes
	ES256, RS256, EdDSA Cost // on top of that, where it is not HS256
	Handshake           Cost // on top: a full one of TLS, ECDSA P-256
	Refusal             Cost // a WebSocket's request that gets 503, with its connection
}

// Measured are the costs on the machine of bench/results: two shared cores of a virtual
// machine.
var Measured = Costs{
	Process:     Cost{"memory of an idle client over WebSocket, in the process", 314, "B", "`go run ./bench/many`"},
	Kernel:      Cost{"the same, in the kernel: socket, descriptor, place in the poller, empty buffers", 5100, "B", "`go run ./bench/many`"},
	TLSBytes:    Cost{"on top with TLS", 3400, "B", "`go run ./bench/tls`"},
	Identity:    Cost{"on top with a token: claims, a room of its own, limits", 850, "B", "`go run ./bench/compare -only edge`: 1,143 less 297 without"},
	Heartbeat:   Cost{"a heartbeat: a ping and its pong", 18.3, "µs", "`make bench`: 0.73 µs a second at 25 s each"},
	Delivery:    Cost{"a delivery of 64 B", 8.4, "µs", "`make bench`: broadcast of 64 B"},
	DeliveryTLS: Cost{"on top with TLS", 2.6, "µs", "`go run ./bench/tls`: 1.31 times the plain one"},
	Connect:     Cost{"a connect: accept, upgrade, handshakes, a declared namespace", 103, "µs", "`go run ./bench/many`; 74 where it is a program in Go (`make bench`)"},
	Token:       Cost{"on top with a token, HS256", 130, "µs", "`go run ./bench/compare -only edge`: 233 less 103 without"},
	ES256:       Cost{"on top of that with ES256", 72, "µs", "`go test -run - -bench Verify ./cmd/sioedge/internal/identity`, less HS256"},
	RS256:       Cost{"with RS256", 44, "µs", "the same"},
	EdDSA:       Cost{"with EdDSA", 94, "µs", "the same"},
	Handshake:   Cost{"on top with TLS: a full handshake, ECDSA P-256", 485, "µs", "`go run ./bench/tls`, with accept and close"},
	Refusal:     Cost{"a client that is refused with 503, with its connection", 60, "µs", "`go run ./bench/many -refused 10000`"},
}

// All returns the costs in the order in which they are explained.
func (c *Costs) All() []Cost {
	return []Cost{c.Process, c.TLSBytes, c.Identity, c.Kernel, c.Heartbeat, c.Delivery, c.DeliveryTLS, c.Connect, c.Handshake, c.Token, c.ES256, c.RS256, c.EdDSA, c.Refusal}
}
