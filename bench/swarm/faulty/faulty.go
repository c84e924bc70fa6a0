// Package faulty is a small Socket.IO server for tests of the load generator:
// it answers to echo, join, leave and publish over WebSocket, and misbehaves
// where it is told to. A goroutine a connection; speed is no aim.
package faulty

import (
	"bufio"
	"bytes"
	"crypto/sha1" // RFC 6455, 4.2.2
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Faults say how a Server misbehaves. The zero value behaves.
type Faults struct {
	// Deliver is asked for each msg packet on its way to a client: which packets
	// to send instead. Clients are numbered in the order they connected,
	// messages n of each client from 0. Nil means the packet itself.
	Deliver func(client, n int, packet string) []string

	// Ack is the same for acks of echo.
	Ack func(client, n int, packet string) []string

	// Refuse, if it returns not "", is sent instead of the answer to CONNECT.
	Refuse func(client int) string

	// BadAccept sends a wrong Sec-WebSocket-Accept.
	BadAccept bool

	// Cut, if not 0, sends everything in writes of so many bytes.
	Cut int

	// Fragment sends each message in two WebSocket frames with a ping between.
	Fragment bool

	// Ping, if not 0, is the interval of Engine.IO pings.
	Ping time.Duration
}

// A Server is a running server.
type Server struct {
	URL string // ws://127.0.0.1:port

	faults   Faults
	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex // guards the rest, and orders deliveries
	clients []*client  // in connect order, nil once gone
	pongs   int
	left    int
}

type client struct {
	conn   net.Conn
	number int
	nsp    string // "" or "/name,"
	rooms  map[string]bool
	joined bool // in the namespace
	msgs   int
	acks   int
}

// Start listens on a free port of 127.0.0.1.
func Start(f Faults) (*Server, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("faulty: %w", err)
	}
	s := &Server{URL: "ws://" + l.Addr().String(), faults: f, listener: l}
	s.wg.Add(1)
	go s.accept() // ends when the listener is closed
	return s, nil
}

// Close ends the server and its connections and waits for both.
func (s *Server) Close() {
	s.listener.Close()
	s.mu.Lock()
	for _, c := range s.clients {
		if c != nil {
			c.conn.Close()
		}
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// Pongs is how many pongs have come. Any goroutine.
func (s *Server) Pongs() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pongs
}

// Left is how many clients have sent a DISCONNECT packet. Any goroutine.
func (s *Server) Left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left
}

// Drop closes the connection of client number. Any goroutine.
func (s *Server) Drop(number int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if number < len(s.clients) && s.clients[number] != nil {
		s.clients[number].conn.Close()
	}
}

func (s *Server) accept() {
	defer s.wg.Done()
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		c := &client{conn: conn, rooms: map[string]bool{}}
		s.mu.Lock()
		c.number = len(s.clients)
		s.clients = append(s.clients, c)
		s.mu.Unlock()
		s.wg.Add(1)
		go s.serve(c) // ends with its connection
	}
}

func (s *Server) serve(c *client) {
	defer s.wg.Done()
	defer func() {
		s.mu.Lock()
		s.clients[c.number] = nil
		s.mu.Unlock()
		c.conn.Close()
	}()
	in := bufio.NewReader(c.conn)
	req, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	key := req.Header.Get("Sec-WebSocket-Key")
	if s.faults.BadAccept {
		key += "x"
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	s.raw(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+
		base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
	s.mu.Lock()
	s.send(c, `0{"sid":"abc","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`)
	s.mu.Unlock()
	if s.faults.Ping > 0 {
		done := make(chan struct{})
		defer close(done)
		go s.ping(c, done) // ends with serve
	}
	for {
		op, p, err := read(in)
		if err != nil {
			return
		}
		if op == 8 {
			s.raw(c, "\x88\x00")
			return
		}
		s.packet(c, string(p))
	}
}

func (s *Server) ping(c *client, done <-chan struct{}) {
	t := time.NewTicker(s.faults.Ping)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.mu.Lock()
			s.send(c, "2")
			s.mu.Unlock()
		case <-done:
			return
		}
	}
}

// packet handles one packet of c.
func (s *Server) packet(c *client, p string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case p == "3":
		s.pongs++
	case strings.HasPrefix(p, "41"):
		s.left++
	case strings.HasPrefix(p, "40"):
		s.connect(c, p[2:])
	case strings.HasPrefix(p, "42"+c.nsp):
		id, args, _ := strings.Cut(p[2+len(c.nsp):], `["`)
		name, rest, _ := strings.Cut(args, `",`)
		s.event(c, id, name, rest)
	}
}

func (s *Server) connect(c *client, p string) {
	if strings.HasPrefix(p, "/") {
		name, _, _ := strings.Cut(p, ",")
		c.nsp = name + ","
	}
	if s.faults.Refuse != nil {
		if answer := s.faults.Refuse(c.number); answer != "" {
			s.send(c, answer)
			return
		}
	}
	c.joined = true
	s.send(c, "40"+c.nsp+`{"sid":"def"}`)
}

// event handles an event of c; args is what follows its name, `]` included.
func (s *Server) event(c *client, id, name, args string) {
	switch name {
	case "echo":
		s.faulty(c, s.faults.Ack, &c.acks, "43"+c.nsp+id+"["+args)
	case "join", "leave":
		c.rooms[strings.Trim(args, `"]`)] = name == "join"
		s.send(c, "43"+c.nsp+id+"[true]")
	case "publish":
		room, payload, _ := strings.Cut(args, ",")
		room = strings.Trim(room, `"`)
		for _, to := range s.clients {
			if to != nil && to.joined && to.nsp == c.nsp && (room == "" || to.rooms[room]) {
				s.faulty(to, s.faults.Deliver, &to.msgs, "42"+c.nsp+`["msg",`+payload)
			}
		}
	}
}

// faulty sends packet, or what f makes of it.
func (s *Server) faulty(c *client, f func(client, n int, packet string) []string, count *int, packet string) {
	n := *count
	*count++
	if f == nil {
		s.send(c, packet)
		return
	}
	for _, p := range f(c.number, n, packet) {
		s.send(c, p)
	}
}

// send sends one message. Holds s.mu.
func (s *Server) send(c *client, p string) {
	if !s.faults.Fragment || len(p) < 2 {
		s.raw(c, string(frame(0x81, p)))
		return
	}
	half := len(p) / 2
	s.raw(c, string(frame(0x01, p[:half]))+string(frame(0x89, "hi"))+string(frame(0x80, p[half:])))
}

func (s *Server) raw(c *client, b string) {
	step := len(b)
	if s.faults.Cut > 0 {
		step = s.faults.Cut
	}
	for len(b) > 0 {
		n := min(step, len(b))
		if _, err := io.WriteString(c.conn, b[:n]); err != nil {
			return // its reader ends too
		}
		b = b[n:]
	}
}

func frame(first byte, p string) []byte {
	b := []byte{first}
	switch n := len(p); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, p...)
}

// read reads one frame of a client, which must be masked: RFC 6455, 5.1.
func read(in *bufio.Reader) (op byte, p []byte, err error) {
	var h [8]byte
	if _, err = io.ReadFull(in, h[:2]); err != nil {
		return 0, nil, err
	}
	if h[1]&0x80 == 0 {
		return 0, nil, fmt.Errorf("faulty: unmasked frame")
	}
	op = h[0] & 0x0f
	size := uint64(h[1] & 0x7f)
	switch size {
	case 126:
		_, err = io.ReadFull(in, h[:2])
		size = uint64(binary.BigEndian.Uint16(h[:]))
	case 127:
		_, err = io.ReadFull(in, h[:8])
		size = binary.BigEndian.Uint64(h[:])
	}
	var key [4]byte
	if err == nil {
		_, err = io.ReadFull(in, key[:])
	}
	if err != nil {
		return 0, nil, err
	}
	var buf bytes.Buffer
	if _, err = io.CopyN(&buf, in, int64(size)); err != nil {
		return 0, nil, err
	}
	p = buf.Bytes()
	for i := range p {
		p[i] ^= key[i&3]
	}
	return op, p, nil
}
