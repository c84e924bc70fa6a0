package siotest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio/parser"
	"github.com/sioedge/sioedge/wsframe"
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

// A wire carries a connection's packets. Its methods are called with the server's
// Sim locked.
type wire interface {
	send(text []byte, attachments [][]byte)
	receive(packet func(data []byte, binary bool)) (ended string)
	stall(on bool)
	cut()
	end()
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
	c.srv.do(func() {
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
// The end of the connection is one more: "close 1000" for a WebSocket's close frame
// with that code, "FIN" for the end itself, "403 …" for an HTTP answer that is no
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
	if c.code != 0 {
		c.received = append(c.received, fmt.Sprint("close ", c.code))
	}
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

// socket is a WebSocket.
type socket struct {
	c      *Conn
	peer   *loop.Peer
	opened bool
	in     []byte
}

var nonce = [16]byte{5, 1, 0, 7, 3, 5, 7}

func newSocket(c *Conn, at int) wire {
	s := &socket{c: c, peer: c.srv.sim.Connect(at)}
	head := wsframe.AppendClientHandshake(nil, "siotest", c.base, nonce)
	fields := c.head("", "", "")
	_, fields, _ = bytes.Cut(fields, []byte("Host: siotest\r\n"))
	s.peer.Send(append(head[:len(head)-2:len(head)-2], fields...))
	return s
}

func (s *socket) send(text []byte, attachments [][]byte) {
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	var b []byte
	if text != nil {
		b = wsframe.AppendMaskedFrame(b, wsframe.Text, text, key)
	}
	for _, a := range attachments {
		if s.c.o.V2 && !s.c.raw {
			a = append([]byte{4}, a...) // Engine.IO 3 has the type before binary data, too
		}
		b = wsframe.AppendMaskedFrame(b, wsframe.Binary, a, key)
	}
	s.peer.Send(b)
}

func (s *socket) receive(packet func([]byte, bool)) (ended string) {
	s.in = append(s.in, s.peer.Received()...)
	if !s.opened {
		n, err := wsframe.CheckAccept(s.in, nonce)
		if err != nil {
			if r, body, _, ok := response(s.in, "GET"); ok {
				return refusal(r, body)
			}
		}
		s.opened = err == nil && n > 0
		if s.opened {
			s.in = s.in[n:]
		}
	}
	for s.opened && ended == "" {
		h, n, err := wsframe.ParseHeader(s.in)
		if err != nil {
			s.c.mistaken(err)
			return "FIN"
		}
		if n == 0 || uint64(len(s.in)-n) < uint64(h.Length) {
			break
		}
		data := s.in[n : n+int(h.Length) : n+int(h.Length)]
		s.in = s.in[n+int(h.Length):]
		switch {
		case h.Op == wsframe.Text:
			packet(data, false)
		case h.Op == wsframe.Binary && s.c.o.V2 && !s.c.raw && len(data) > 0:
			packet(data[1:], true)
		case h.Op == wsframe.Binary:
			packet(data, true)
		case h.Op == wsframe.Close && len(data) >= 2:
			s.c.code, s.c.reason = uint16(data[0])<<8|uint16(data[1]), string(data[2:])
		}
	}
	if s.peer.Closed() {
		return "FIN"
	}
	return ""
}

func (s *socket) stall(on bool) { s.peer.Stall(on) }
func (s *socket) cut()          { s.peer.Close() }

// end closes in the way of browsers.
func (s *socket) end() {
	s.peer.Send(wsframe.AppendMaskedFrame(nil, wsframe.Close, []byte{0x03, 0xe8}, [4]byte{}))
}

// polling is HTTP long-polling: one connection for the poll, one for what is sent.
type polling struct {
	c          *Conn
	get, post  *loop.Peer
	in, answer []byte
	posts      int  // without an answer
	asking     bool // a poll is open
	stalled    bool
}

func newPolling(c *Conn, at int) wire {
	p := &polling{c: c, get: c.srv.sim.Connect(at), post: c.srv.sim.Connect(at)}
	p.poll()
	return p
}

func (p *polling) target() string {
	if p.c.id == "" {
		return p.c.base
	}
	return p.c.base + "&sid=" + url.QueryEscape(p.c.id)
}

func (p *polling) poll() {
	p.asking = true
	p.get.Send(p.c.head("GET", p.target(), ""))
}

func (p *polling) send(text []byte, attachments [][]byte) {
	var parts []string
	if text != nil {
		parts = append(parts, string(text))
	}
	for _, a := range attachments {
		parts = append(parts, "b"+base64.StdEncoding.EncodeToString(a))
	}
	body := strings.Join(parts, "\x1e")
	head := p.c.head("POST", p.target(), fmt.Sprintf("Content-Type: text/plain;charset=UTF-8\r\nContent-Length: %d\r\n", len(body)))
	p.posts++
	p.post.Send(append(head, body...))
}

func (p *polling) receive(packet func([]byte, bool)) (ended string) {
	p.answer = append(p.answer, p.post.Received()...)
	for p.posts > 0 {
		r, body, rest, ok := response(p.answer, "POST")
		if !ok {
			break
		}
		p.answer = rest
		p.posts--
		if r.StatusCode != http.StatusOK {
			return refusal(r, body)
		}
	}
	p.in = append(p.in, p.get.Received()...)
	r, body, rest, ok := response(p.in, "GET")
	switch {
	case ok && r.StatusCode != http.StatusOK:
		return refusal(r, body)
	case ok:
		p.in, p.asking = rest, false
		for _, data := range bytes.Split(body, []byte{0x1e}) {
			if text, ok := bytes.CutPrefix(data, []byte("b")); ok {
				binary, err := base64.StdEncoding.AppendDecode(nil, text)
				if err != nil {
					p.c.mistaken(err)
				}
				packet(binary, true)
				continue
			}
			if string(data) == "1" {
				ended = "FIN"
			}
			packet(data, false)
		}
	case p.get.Closed():
		return "FIN"
	}
	if ended == "" && !p.asking && !p.stalled {
		p.poll()
	}
	return ended
}

func (p *polling) stall(on bool) {
	p.stalled = on
	p.get.Stall(on)
	if !on && !p.asking {
		p.poll()
	}
}

func (p *polling) cut() {
	p.get.Close()
	p.post.Close()
}

func (p *polling) end() { p.send([]byte("1"), nil) }

// response reads an answer at the start of b; it is false if not all of it is there.
func response(b []byte, method string) (r *http.Response, body, rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, nil, nil, false
	}
	in := bytes.NewReader(b)
	buffered := bufio.NewReader(in)
	r, err := http.ReadResponse(buffered, &http.Request{Method: method})
	if err != nil {
		return nil, nil, nil, false
	}
	if body, err = io.ReadAll(r.Body); err != nil {
		return nil, nil, nil, false
	}
	return r, body, b[len(b)-in.Len()-buffered.Buffered():], true
}

// refusal is how a connection ends whose request is not answered with a session.
func refusal(r *http.Response, body []byte) string {
	return fmt.Sprintf("%d %s", r.StatusCode, bytes.TrimSpace(body))
}
