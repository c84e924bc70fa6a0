package siotest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/parser"
)

// Options say how a client connects. The zero value is a current client over
// WebSocket with JSON.
type Options struct {
	Auth   any        // is encoded as JSON: an object; nil: none
	Query  url.Values // of the request
	Header http.Header

	Polling     bool // HTTP long-polling, without an upgrade
	MessagePack bool // the parser socket.io-msgpack-parser
	V2          bool // a client of Socket.IO 2, over WebSocket: see eio.Options.AllowEIO3. Auth is its query

	// On is a client whose connection is used, for one more namespace. All else
	// but Auth is that one's then.
	On *Client
}

// A Client is in a namespace, as a socket of socket.io-client is. What it is sent is
// kept until the test takes it.
type Client struct {
	srv       *Server
	conn      *Conn
	o         Options
	number    int
	namespace string

	// Guarded by srv.mu.
	id, pid, offset string
	state           clientState
	recovered       bool
	refused         *ConnectError
	end             Disconnection
	events          []*Event
	answers         map[string]func(Args) []any
	acks            map[uint64]*Ack
	lastAck         uint64
}

type clientState uint8

const (
	connecting clientState = iota
	connected
	gone
)

// A ConnectError is why a client was not admitted: what it gets as connect_error.
type ConnectError struct {
	Message string
	Data    json.RawMessage // nil: none
	Status  int             // of the HTTP answer, if there was no session; else 0
}

// Error shows the message.
func (e *ConnectError) Error() string { return "connect_error: " + e.Message }

// The reasons that clients have for a disconnection.
const (
	ServerDisconnect = "io server disconnect" // from the namespace
	ClientDisconnect = "io client disconnect"
	TransportClose   = "transport close" // the connection has ended
)

// A Disconnection is how a client was disconnected.
type Disconnection struct {
	Reason string     // that the client sees, in the words of socket.io-client
	Server sio.Reason // that the server's OnDisconnect sees

	// Code and Text are those of the WebSocket's close frame, zero without one.
	Code uint16
	Text string
}

// Connect connects a client to a namespace, which must admit it.
func (s *Server) Connect(namespace string) *Client {
	s.t.Helper()
	return s.ConnectWith(namespace, Options{})
}

// ConnectWith is Connect with options.
func (s *Server) ConnectWith(namespace string, o Options) *Client {
	s.t.Helper()
	c, err := s.Try(namespace, o)
	if err != nil {
		s.fatal("connecting to %q: %v", namespace, err)
	}
	return c
}

// Try connects a client to a namespace. The error is a *ConnectError if the server
// does not admit it.
func (s *Server) Try(namespace string, o Options) (*Client, error) {
	s.t.Helper()
	if namespace == "" || namespace[0] != '/' {
		namespace = "/" + namespace
	}
	c := &Client{srv: s, namespace: namespace, o: o, answers: map[string]func(Args) []any{}}
	s.mu.Lock()
	s.names++
	c.number = s.names
	s.mu.Unlock()
	if err := c.connect(); err != nil {
		return nil, err
	}
	return c, nil
}

// connect opens a connection and joins the namespace.
func (c *Client) connect() error {
	c.srv.t.Helper()
	auth, err := c.auth()
	if err != nil {
		return err
	}
	if c.o.V2 && c.o.Polling {
		return fmt.Errorf("siotest: a client of Socket.IO 2 is one over WebSocket")
	}
	c.begin()
	if !c.await(func() bool { return c.conn.id != "" || c.conn.ending != "" }) {
		return fmt.Errorf("siotest: the request for a session is not answered in %v", c.srv.Patience)
	}
	c.srv.do(func() { c.join(auth) })
	if !c.await(func() bool { return c.state != connecting }) {
		return fmt.Errorf("siotest: CONNECT to %s is not answered in %v", c.namespace, c.srv.Patience)
	}
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	if c.refused != nil {
		return c.refused
	}
	return nil
}

// begin puts the client on a connection.
func (c *Client) begin() {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	c.state, c.refused, c.end, c.acks = connecting, nil, Disconnection{}, map[uint64]*Ack{}
	if c.o.On == nil {
		c.srv.dial(c.o, c)
		return
	}
	c.conn = c.o.On.conn
	c.conn.clients = append(c.conn.clients, c)
	if c.conn.ending != "" {
		c.ended(TransportClose)
	}
}

// await waits until ok, which is called with srv.mu held; it is false if that does
// not happen.
func (c *Client) await(ok func() bool) bool {
	c.srv.t.Helper()
	return c.srv.await(func() bool {
		c.srv.mu.Lock()
		defer c.srv.mu.Unlock()
		return ok()
	})
}

// auth returns what goes with CONNECT, nil if nothing does.
func (c *Client) auth() ([]byte, error) {
	given := map[string]json.RawMessage{}
	if c.o.Auth != nil {
		text, err := value.AppendJSON(nil, c.o.Auth)
		if err != nil {
			return nil, fmt.Errorf("siotest: Options.Auth: %w", err)
		}
		if c.pid == "" {
			return text, nil
		}
		if err := json.Unmarshal(text, &given); err != nil {
			return nil, fmt.Errorf("siotest: Options.Auth: %w", err)
		}
	}
	if c.pid == "" {
		return nil, nil
	}
	given["pid"] = value.AppendJSONText(nil, c.pid)
	given["offset"] = value.AppendJSONText(nil, c.offset)
	return json.Marshal(given)
}

// join sends the CONNECT.
func (c *Client) join(auth []byte) {
	if c.state == gone {
		return
	}
	if c.o.V2 {
		if c.namespace == "/" {
			return // it is connected unasked
		}
		c.conn.wire.send([]byte("40"+c.namespace+c.query(auth)+","), nil)
		return
	}
	text := parser.AppendHead(nil, parser.Connect, 0, c.namespace, 0, false)
	c.conn.packet(append(text, auth...), nil)
}

// query is auth as a client of Socket.IO 2 has it.
func (c *Client) query(auth []byte) string {
	var values map[string]any
	if json.Unmarshal(auth, &values) != nil || len(values) == 0 {
		return ""
	}
	q := url.Values{}
	for name, v := range values {
		q.Set(name, fmt.Sprint(v))
	}
	return "?" + q.Encode()
}

// takePacket acts on a Socket.IO packet.
func (conn *Conn) takePacket(p *parser.Packet) {
	i := slices.IndexFunc(conn.clients, func(c *Client) bool { return c.namespace == string(p.Namespace) })
	if i < 0 {
		return // one that has left
	}
	c := conn.clients[i]
	switch p.Type {
	case parser.Connect:
		c.admitted(p.Data)
	case parser.ConnectError:
		c.refuse(p.Data)
	case parser.Disconnect:
		c.ended(ServerDisconnect)
	case parser.Event:
		c.event(p)
	case parser.Ack:
		if a := c.acks[p.ID]; p.HasID && a != nil && !a.done {
			a.done, a.args = true, argsOf(p)
		}
	}
}

func (c *Client) admitted(data []byte) {
	var answer struct{ SID, PID string }
	_ = json.Unmarshal(data, &answer) // a client of Socket.IO 2 gets nothing
	c.recovered = c.pid != "" && answer.PID == c.pid
	c.id, c.pid, c.state = answer.SID, answer.PID, connected
	if c.id == "" {
		if c.id = c.conn.id; c.namespace != "/" {
			c.id = c.namespace + "#" + c.conn.id
		}
	}
}

func (c *Client) refuse(data []byte) {
	var e struct {
		Message string
		Data    json.RawMessage
	}
	c.refused = &ConnectError{}
	if json.Unmarshal(data, &e) == nil && !c.o.V2 {
		c.refused.Message, c.refused.Data = e.Message, e.Data
	} else if json.Unmarshal(data, &c.refused.Message) != nil { // as Socket.IO 2 has it: a text, or the data alone
		c.refused.Data = bytes.Clone(data)
	}
	c.leave()
}

// ended notes that the client is disconnected, and why.
func (c *Client) ended(reason string) {
	if c.state == connecting && c.refused == nil { // the connection is what has ended
		c.refused = &ConnectError{Message: c.conn.ending}
		_, _ = fmt.Sscan(c.conn.ending, &c.refused.Status) // if it begins with one
	}
	if c.state != gone {
		c.state = gone
		c.end = Disconnection{Reason: reason}
	}
	c.conn.clients = slices.DeleteFunc(slices.Clone(c.conn.clients), func(x *Client) bool { return x == c })
}

func argsOf(p *parser.Packet) Args {
	a := Args{buffers: p.Buffers}
	for _, raw := range p.Args {
		a.raw = append(a.raw, bytes.Clone(raw))
	}
	return a
}

func (c *Client) event(p *parser.Packet) {
	e := &Event{Args: argsOf(p), Name: string(p.Event), c: c, id: p.ID, asks: p.HasID}
	if c.pid != "" && e.Len() > 0 {
		var offset string
		if json.Unmarshal(e.Raw(e.Len()-1), &offset) == nil {
			c.offset = offset
		}
	}
	answer := c.answers[e.Name]
	if answer == nil || !e.asks {
		c.events = append(c.events, e)
		return
	}
	text, attachments, err := limits.AppendAck(nil, c.namespace, e.id, answer(e.Args))
	if err != nil {
		c.srv.t.Errorf("siotest: the answer to %v: %v", e, err)
		return
	}
	c.conn.packet(text, attachments)
}

// ID returns the id of the client's socket, as the server has told it.
func (c *Client) ID() string {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	return c.id
}

// Namespace returns the namespace that the client has joined.
func (c *Client) Namespace() string { return c.namespace }

// Socket returns the server's end of the client, which must be connected.
func (c *Client) Socket() sio.Socket {
	c.srv.t.Helper()
	c.Settle()
	id := c.ID()
	for _, ns := range c.srv.Namespaces() {
		if s, ok := ns.Lookup(id); ok && s.Name() == c.namespace {
			return s
		}
	}
	c.fatal("it has no socket: %s", c.got())
	return sio.Socket{}
}

// Connected tells whether the client is in its namespace.
func (c *Client) Connected() bool {
	c.srv.t.Helper()
	c.srv.Settle()
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	return c.state == connected
}

// Recovered tells whether the server has recovered the client's socket when it
// connected last: see Reconnect.
func (c *Client) Recovered() bool {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	return c.recovered
}

// Disconnect leaves the namespace, and ends the connection if the client has no
// other.
func (c *Client) Disconnect() {
	c.srv.t.Helper()
	c.srv.do(func() {
		if c.state == connected {
			c.conn.packet(parser.AppendDisconnect(nil, c.namespace), nil)
		}
		c.leave()
	})
}

// leave ends a client, and its connection if that has no other.
func (c *Client) leave() {
	c.ended(ClientDisconnect)
	if len(c.conn.clients) == 0 && c.conn.ending == "" {
		c.conn.wire.end()
	}
}

// Drop cuts the client's connection, as a network that fails does.
func (c *Client) Drop() {
	c.srv.t.Helper()
	c.conn.Drop()
	c.Settle()
}

// Settle is the Server's.
func (c *Client) Settle() {
	c.srv.t.Helper()
	c.srv.Settle()
}

// Reconnect connects the client again, over a connection of its own, which may be
// refused. With recovery it says where it was: see Recovered. What it has received
// and the test has not taken stays.
func (c *Client) Reconnect() error {
	c.srv.t.Helper()
	if c.Connected() {
		c.Drop()
	}
	c.o.On = nil
	return c.connect()
}

// Stall(true) has the client's connection read nothing more, and so answer no pings;
// Stall(false) lets it go on.
func (c *Client) Stall(on bool) {
	c.srv.t.Helper()
	c.conn.Stall(on)
}
