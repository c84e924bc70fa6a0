package siotest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio/parser"
)

// A Conn is a client's connection, over which packets go: those of Engine.IO, such
// as 40/chat,{"token":"t"} for a CONNECT. A [Client] has one; Dial makes one for
// tests that speak in packets themselves, for which nothing happens by itself then,
// answers to pings included.
type Conn struct {
	srv     *Server
	o       Options
	raw     bool
	id      string           // of the session
	base    string           // of the request's target
	wire    wire             // WebSocket or polling
	rest    parser.Assembler // attachments that are due
	clients []*Client        // of its namespaces
	ending  string           // how it has ended: "" not yet
	code    uint16           // of the WebSocket's close frame
	reason  string
	nextPing,
	pingEvery time.Duration // of a client of Socket.IO 2

	received []string // of a raw one
}

// Dial connects a client that speaks in packets. The first that it receives is the
// OPEN packet.
func (s *Server) Dial(o Options) *Conn {
	s.t.Helper()
	s.mu.Lock()
	c := s.dial(o, nil)
	s.mu.Unlock()
	s.Settle()
	return c
}

// dial makes a connection for a client, nil for one that is raw. mu is held.
func (s *Server) dial(o Options, client *Client) *Conn {
	c := &Conn{srv: s, o: o, raw: client == nil, nextPing: -1}
	if client != nil {
		client.conn, c.clients = c, []*Client{client}
	}
	query, revision, transport := url.Values{}, "4", "websocket"
	for name, values := range o.Query {
		query[name] = values
	}
	if o.V2 {
		revision = "3"
	}
	if o.Polling {
		transport = "polling"
	}
	query.Set("EIO", revision)
	query.Set("transport", transport)
	c.base = s.path + "?" + query.Encode()
	at := s.loops % len(s.sim.Engine().Loops())
	s.loops++
	s.sim.Do(func() {
		if o.Polling {
			c.wire = newPolling(c, at)
		} else {
			c.wire = newSocket(c, at)
		}
	})
	s.conns = append(s.conns, c)
	return c
}

// head returns the head of a request.
func (c *Conn) head(method, target string, fields string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: siotest\r\n%s", method, target, fields)
	_ = c.o.Header.Write(&b) // to a Buffer
	b.WriteString("\r\n")
	return b.Bytes()
}

// Send sends packets as they are, in one piece: text, or binary as <hex digits>.
func (c *Conn) Send(packets ...string) {
	c.srv.t.Helper()
	c.send(c.srv.watch.Settle, packets)
}

// Start is Send for packets whose handlers may wait for the test: see Client.Start.
func (c *Conn) Start(packets ...string) {
	c.srv.t.Helper()
	c.send(c.srv.watch.SettleLeaving, packets)
}

func (c *Conn) send(settle func(func(), time.Duration) error, packets []string) {
	c.srv.t.Helper()
	c.srv.doUntil(settle, func() {
		for _, p := range packets {
			if digits, ok := strings.CutPrefix(p, "<"); ok {
				data, err := hex.DecodeString(strings.TrimSuffix(digits, ">"))
				if err == nil {
					c.wire.send(nil, [][]byte{data})
					continue
				}
			}
			c.wire.send([]byte(p), nil)
		}
	})
}

// Received returns the packets that came since the last call, as Send takes them.
// A WebSocket's close frame is "close 1000", "close -" without a code, and the end of
// the connection is one more: "FIN", or "403 …" for an HTTP answer that is no
// session's.
func (c *Conn) Received() []string {
	c.srv.t.Helper()
	c.srv.Settle()
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	all := c.received
	c.received = nil
	return all
}

// Stall(true) has the client read nothing more, and so answer no pings; Stall(false)
// lets it go on.
func (c *Conn) Stall(on bool) {
	c.srv.t.Helper()
	c.srv.do(func() { c.wire.stall(on) })
}

// Drop cuts the connection, as a network that fails does.
func (c *Conn) Drop() {
	c.srv.t.Helper()
	c.srv.do(c.wire.cut)
}

// packet sends a Socket.IO packet. It is called as those of a wire.
func (c *Conn) packet(text []byte, attachments [][]byte) {
	if c.o.MessagePack {
		p := parser.Packet{}
		if err := parser.Parse(text, limits, &p); err != nil {
			panic("siotest: " + err.Error()) // we have made it
		}
		p.Buffers = attachments
		packed, err := parser.AppendMsgpackPacket(nil, &p)
		if err != nil {
			panic("siotest: " + err.Error())
		}
		c.wire.send(nil, [][]byte{packed})
		return
	}
	c.wire.send(append([]byte{'4'}, text...), attachments)
}

// receive takes what has come, and reports whether there was anything.
func (c *Conn) receive() (any bool) {
	if c.ending != "" {
		return false
	}
	ending := c.wire.receive(func(data []byte, binary bool) {
		any = true
		switch {
		case c.raw && c.id == "" && len(data) > 0 && data[0] == '0':
			c.open(data[1:])
			c.nextPing = -1
			c.received = append(c.received, string(data))
		case c.raw && binary:
			c.received = append(c.received, "<"+hex.EncodeToString(data)+">")
		case c.raw:
			c.received = append(c.received, string(data))
		default:
			c.take(data, binary)
		}
	})
	if ending != "" {
		c.ended(ending)
	}
	return any || ending != ""
}

// ended ends the connection, and with it all clients on it.
func (c *Conn) ended(how string) {
	c.ending = how
	c.received = append(c.received, how)
	for _, client := range c.clients {
		client.ended(TransportClose)
	}
	for i, x := range c.srv.conns {
		if x == c {
			// A copy: who called is going through the list.
			c.srv.conns = append(append([]*Conn{}, c.srv.conns[:i]...), c.srv.conns[i+1:]...)
		}
	}
}

// take acts on an Engine.IO packet.
func (c *Conn) take(data []byte, binary bool) {
	switch {
	case binary && c.o.MessagePack:
		c.takePacked(data)
	case binary:
		var p parser.Packet
		if done, err := c.rest.Binary(data, &p); err != nil {
			c.mistaken(err)
		} else if done {
			c.takePacket(&p)
		}
	case len(data) == 0:
	case data[0] == '0':
		c.open(data[1:])
	case data[0] == '2' && !c.o.V2:
		c.wire.send(append([]byte{'3'}, data[1:]...), nil)
	case data[0] == '4':
		var p parser.Packet
		if done, err := c.rest.Text(data[1:], limits, &p); err != nil {
			c.mistaken(err)
		} else if done {
			c.takePacket(&p)
		}
	}
}

func (c *Conn) open(data []byte) {
	var o struct {
		SID          string `json:"sid"`
		PingInterval int64  `json:"pingInterval"`
	}
	if err := json.Unmarshal(data, &o); err != nil {
		c.mistaken(err)
		return
	}
	c.id = o.SID
	if c.o.V2 {
		c.pingEvery = time.Duration(o.PingInterval) * time.Millisecond
		c.nextPing = c.srv.sim.Now() + c.pingEvery
	}
}

// untilPing returns how long it is until the client is to send a ping, which it
// does if that is now.
func (c *Conn) untilPing() time.Duration {
	if c.nextPing < 0 || c.ending != "" {
		return 1 << 62
	}
	if now := c.srv.sim.Now(); c.nextPing <= now {
		c.nextPing = now + c.pingEvery
		c.srv.sim.Do(func() { c.wire.send([]byte("2"), nil) })
	}
	return c.nextPing - c.srv.sim.Now()
}

// takePacked acts on a packet in MessagePack.
func (c *Conn) takePacked(data []byte) {
	var p parser.Packet
	err := parser.ParseMsgpack(data, limits, &p)
	var attachments [][]byte
	if err == nil && p.Data != nil && len(p.Args) == 0 && p.Type != parser.Event && p.Type != parser.Ack {
		p.Data, _, err = value.AppendJSONFromMsgpack(nil, p.Data, nil)
	}
	for i, arg := range p.Args {
		if err == nil {
			p.Args[i], attachments, err = value.AppendJSONFromMsgpack(nil, arg, attachments)
		}
	}
	if err != nil {
		c.mistaken(err)
		return
	}
	p.Buffers = attachments
	c.takePacket(&p)
}

// mistaken fails the test for what the server should never have sent.
func (c *Conn) mistaken(err error) {
	c.srv.t.Errorf("siotest: the server has sent what is no packet: %v", err)
	c.wire.cut()
}
