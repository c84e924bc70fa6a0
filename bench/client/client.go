// Package client is a single client of a benchmark: Socket.IO over WebSocket, one
// packet after the other.
package client

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/sioedge/sioedge/wsframe"
)

// Patience bounds every wait for something that must happen.
const Patience = 20 * time.Second

// A Conn is one connection that speaks Socket.IO over WebSocket. It is read by
// one goroutine, and written to by that one and another.
type Conn struct {
	conn net.Conn
	in   []byte // has been read; rest of it is to be looked at
	rest []byte
}

var nonce = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

// Dial connects to the namespace / of the server at addr.
func Dial(addr string) (*Conn, error) {
	conn, err := net.DialTimeout("tcp", addr, Patience)
	if err != nil {
		return nil, err
	}
	c := New(conn, 64<<10)
	if err := c.open(addr); err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return c, nil
}

// New returns a client whose connection is open, and which takes packets of so many bytes.
func New(conn net.Conn, size int) *Conn { return &Conn{conn: conn, in: make([]byte, size)} }

// Close closes the connection.
func (c *Conn) Close() { c.conn.Close() }

// Write writes what AppendPacket has made.
func (c *Conn) Write(packets []byte) (int, error) { return c.conn.Write(packets) }

func (c *Conn) open(addr string) error {
	_ = c.conn.SetReadDeadline(time.Now().Add(Patience))
	_, err := c.conn.Write(wsframe.AppendClientHandshake(nil, addr, "/socket.io/?EIO=4&transport=websocket", nonce))
	if err != nil {
		return err
	}
	for n := 0; n == 0; {
		if err := c.fill(); err != nil {
			return err
		}
		if n, err = wsframe.CheckAccept(c.rest, nonce); err != nil {
			return err
		}
		c.rest = c.rest[n:]
	}
	if err := c.Await("0{"); err != nil {
		return err
	}
	if err := c.Send("40"); err != nil {
		return err
	}
	return c.Await("40")
}

// Join puts the client into a room, and returns when it is in.
func (c *Conn) Join(room string) error {
	if err := c.Send(`420["join","` + room + `"]`); err != nil {
		return err
	}
	return c.Await("430[true]")
}

// Await returns when a packet that begins so has come.
func (c *Conn) Await(prefix string) error {
	_, err := c.AwaitRest(prefix)
	return err
}

// AwaitRest returns what such a packet ends in, which is valid until the next call. It
// waits for Patience at most.
func (c *Conn) AwaitRest(prefix string) ([]byte, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(Patience))
	for {
		p, err := c.Next()
		if err != nil {
			return nil, fmt.Errorf("waiting for %s: %w", prefix, err)
		}
		if rest, ok := bytes.CutPrefix(p, []byte(prefix)); ok {
			return rest, nil
		}
	}
}

// Send sends a packet.
func (c *Conn) Send(packet string) error {
	_, err := c.conn.Write(AppendPacket(nil, []byte(packet)))
	return err
}

// Listen calls on with each packet, which is valid until on returns, and returns
// the error that ends the connection.
func (c *Conn) Listen(on func(packet []byte)) error {
	_ = c.conn.SetReadDeadline(time.Time{})
	for {
		p, err := c.Next()
		if err != nil {
			return err
		}
		on(p)
	}
}

// Next returns the next packet, which is valid until the next call. It answers
// pings by itself.
func (c *Conn) Next() ([]byte, error) {
	for {
		h, n, err := wsframe.ParseHeader(c.rest)
		switch {
		case err != nil:
			return nil, err
		case n == 0 || int64(len(c.rest)-n) < h.Length:
			if err := c.fill(); err != nil {
				return nil, err
			}
			continue
		case !h.Fin || h.Masked || h.Op != wsframe.Text:
			return nil, fmt.Errorf("a frame with opcode %d, where only whole text messages are expected", h.Op)
		}
		p := c.rest[n : n+int(h.Length)]
		c.rest = c.rest[n+int(h.Length):]
		if string(p) != "2" {
			return p, nil
		}
		if err := c.Send("3"); err != nil {
			return nil, err
		}
	}
}

// fill reads more.
func (c *Conn) fill() error {
	kept := copy(c.in, c.rest)
	if kept == len(c.in) {
		return errors.New("a message longer than any that was sent")
	}
	n, err := c.conn.Read(c.in[kept:])
	c.rest = c.in[:kept+n]
	if n > 0 {
		return nil
	}
	return err
}

// AppendPacket appends a packet as clients send it.
func AppendPacket(dst, packet []byte) []byte {
	return wsframe.AppendMaskedFrame(dst, wsframe.Text, packet, [4]byte{0x5a, 0xa5, 0x3c, 0xc3})
}
