package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// An attacker is one hostile client.
type attacker struct {
	addr  string
	twin  string          // where the cluster's other program is
	redis string          // where the program's Redis is
	over  <-chan struct{} // closed when it is to send no more
	limit int64           // bytes that it sends
	lives int             // how often it begins again, at most, when it was thrown out or had to leave
	sent  atomic.Int64
	begun chan<- struct{} // gets one value, when the first bytes were sent
	once  sync.Once

	mu    sync.Mutex
	conns []net.Conn
}

// more tells whether the attack goes on.
func (a *attacker) more() bool { return a.sent.Load() < a.limit && !closed(a.over) }

// A hostile connection is one of an attacker's.
type hostile struct {
	*peer
	a *attacker
}

var errOver = errors.New("the attack is over")

// dial opens a connection, which stays open until the attack has been measured,
// unless drop is called.
func (a *attacker) dial() (*hostile, error) { return a.dialTo(a.addr) }

func (a *attacker) dialTo(addr string) (*hostile, error) {
	p, err := dial(addr)
	if err != nil {
		return nil, err
	}
	return a.keep(p)
}

// dialApart is dialTo from an address that no honest client has.
func (a *attacker) dialApart(addr string) (*hostile, error) {
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return a.keep(newPeer(c))
}

// keep has a connection stay open until the attack has been measured.
func (a *attacker) keep(p *peer) (*hostile, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if closed(a.over) {
		_ = p.Close()
		return nil, errOver
	}
	a.conns = append(a.conns, p.Conn)
	p.Conn = &counted{p.Conn, a}
	return &hostile{p, a}, nil
}

// counted is a connection as its peer sees it, with writes that count.
type counted struct {
	net.Conn
	a *attacker
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.a.sent.Add(int64(n))
	c.a.once.Do(func() { c.a.begun <- struct{}{} })
	return n, err
}

// drop cuts a connection.
func (a *attacker) drop(h *hostile) {
	c := h.Conn.(*counted).Conn
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, x := range a.conns {
		if x == c {
			a.conns[i] = a.conns[len(a.conns)-1]
			a.conns = a.conns[:len(a.conns)-1]
			return
		}
	}
}

// expire ends what waits on the attacker's connections, which stay open.
func (a *attacker) expire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.conns {
		_ = c.SetDeadline(time.Unix(1, 0))
	}
}

func (a *attacker) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

// joined opens a WebSocket and joins /.
func (a *attacker) joined(query string, connect ...string) (*hostile, error) {
	return a.joinedWith(query, "", connect...)
}

func (a *attacker) joinedWith(query, fields string, connect ...string) (*hostile, error) {
	h, err := a.dial()
	if err != nil {
		return nil, err
	}
	if err = h.websocket(query, fields); err == nil {
		for _, p := range connect {
			if _, err = h.Write(text(p)); err != nil {
				break
			}
		}
	}
	if err != nil {
		a.drop(h)
		return nil, err
	}
	return h, nil
}

// piece is about how much is written at once.
const piece = 32 << 10

// flood sends a unit over and over.
func (h *hostile) flood(unit []byte) error {
	some := unit
	for len(some)+len(unit) <= piece {
		some = append(some[:len(some):len(some)], unit...)
	}
	for h.a.more() {
		if _, err := h.Write(some); err != nil {
			return err
		}
	}
	return nil
}

// discard reads what comes, so that the server can go on sending.
func (h *hostile) discard() { go func() { _, _ = io.Copy(io.Discard, h.r) }() } // ends with the connection

// live is the attacker's goroutine.
func (a *attacker) live(x *attack) {
	defer a.once.Do(func() { a.begun <- struct{}{} })
	for lives := 0; a.more() && lives < a.lives; lives++ {
		if err := x.do(a); err == nil || errors.Is(err, errOver) {
			return // it has done all that it does
		}
	}
}

// some sends a unit until that many bytes were sent, or a part of what the attacker
// sends in all.
func (h *hostile) some(unit []byte, n int) error {
	for n = min(n, max(int(h.a.limit/4), 2048)); n > 0 && !closed(h.a.over); n -= piece {
		if _, err := h.Write(bytes.Repeat(unit, max(1, min(n, piece)/max(len(unit), 1)))); err != nil {
			return err
		}
	}
	return nil
}

// finish ends a connection that the server has not been persuaded to keep.
func (h *hostile) finish() {
	if h.a.more() {
		h.a.drop(h)
	}
}
