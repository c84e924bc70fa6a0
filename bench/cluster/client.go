package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/sioedge/sioedge/wsframe"
)

// patience bounds every wait for something that must happen.
const patience = 20 * time.Second

// A client is one connection that speaks Socket.IO over WebSocket. It is read by
// one goroutine, and written to by that one and another.
type client struct {
	conn net.Conn
	in   []byte // has been read; rest of it is to be looked at
	rest []byte
}

var nonce = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

// dial connects to the namespace / of the server at addr.
func dial(addr string) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, in: make([]byte, 64<<10)}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if err := c.open(addr); err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return c, nil
}

func (c *client) open(addr string) error {
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
	if err := c.await("0{"); err != nil {
		return err
	}
	if err := c.send("40"); err != nil {
		return err
	}
	return c.await("40")
}

// join puts the client into a room, and returns when it is in.
func (c *client) join(room string) error {
	if err := c.send(`420["join","` + room + `"]`); err != nil {
		return err
	}
	return c.await("430[true]")
}

// await returns when a packet that begins so has come.
func (c *client) await(prefix string) error {
	for {
		p, err := c.next()
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", prefix, err)
		}
		if bytes.HasPrefix(p, []byte(prefix)) {
			return nil
		}
	}
}

func (c *client) send(packet string) error {
	_, err := c.conn.Write(appendPacket(nil, []byte(packet)))
	return err
}

// listen calls on with each packet, which is valid until on returns, and returns
// the error that ends the connection.
func (c *client) listen(on func(packet []byte)) error {
	_ = c.conn.SetReadDeadline(time.Time{})
	for {
		p, err := c.next()
		if err != nil {
			return err
		}
		on(p)
	}
}

// next returns the next packet, which is valid until the next call. It answers
// pings by itself.
func (c *client) next() ([]byte, error) {
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
		if err := c.send("3"); err != nil {
			return nil, err
		}
	}
}

// fill reads more.
func (c *client) fill() error {
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

// appendPacket appends a packet as clients send it.
func appendPacket(dst, packet []byte) []byte {
	return wsframe.AppendMaskedFrame(dst, wsframe.Text, packet, [4]byte{0x5a, 0xa5, 0x3c, 0xc3})
}
