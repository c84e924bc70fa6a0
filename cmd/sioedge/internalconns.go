package main

import (
	"container/list"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/sioedge/sioedge/loop/notice"
)

// A bounded listener has so many connections open at a time, and at most half of them of
// one address (of IPv6, one network of 64 bits), unless that is this machine's. Where
// there is one too many, the one gives way that has had no request under way for longest,
// of that address, or of all. If all of them have, one more of an address is refused, and
// what comes beside it waits to be accepted.
type bounded struct {
	net.Listener
	most   int
	notice *notice.Log

	// Guarded by mu.
	mu      sync.Mutex
	room    *sync.Cond // of open < most
	open    int
	idle    *list.List // *bounding, first who has been for longest
	peers   map[netip.Addr]*peer
	gaveWay int64 // connections that were closed to make room
	refused int64 // connections that were closed as they came
	closed  bool
	paused  bool // nobody is accepted
}

// A peer is an address with connections.
type peer struct {
	open int
	idle list.List
}

// A bounding is a connection.
type bounding struct {
	net.Conn
	of   *bounded
	addr netip.Addr // the zero one: of a Unix socket

	// Guarded by of.mu.
	left     bool
	all, own *list.Element // nil: a request is under way
}

// listener returns ln with these bounds.
func (b bounds) listener(ln net.Listener, log *slog.Logger) *bounded {
	x := &bounded{Listener: ln, most: b.conns, notice: notice.New(log, 0), idle: list.New(), peers: map[netip.Addr]*peer{}}
	x.room = sync.NewCond(&x.mu)
	return x
}

// Accept waits for a place, and for a connection.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			b.awaitGoing()
			continue
		}
		if err != nil {
			return nil, err
		}
		x := &bounding{Conn: c, of: b, addr: network(c.RemoteAddr())}
		if b.admit(x) {
			return x, nil
		}
		_ = c.Close()
		b.notice.Warn("a connection for operators and backends is closed as it comes: its address has half of all there may be, each with a request under way", "address", x.addr.String(), "connections", b.most/2)
	}
}

// pause has nobody be accepted, who waits in the socket then, or somebody again.
func (b *bounded) pause(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.paused = on
	var at time.Time
	if on {
		at = time.Unix(1, 0)
	}
	if d, ok := b.Listener.(interface{ SetDeadline(time.Time) error }); ok {
		_ = d.SetDeadline(at) // of a listener that is closed, which says so
	}
	b.room.Broadcast()
}

// awaitGoing waits until somebody is to be accepted.
func (b *bounded) awaitGoing() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.paused && !b.closed {
		b.room.Wait()
	}
}

// Close ends the listener, and who waits for a place.
func (b *bounded) Close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.room.Broadcast()
	return b.Listener.Close()
}

// admit waits for a place for a connection. It is false if there is none for its address.
func (b *bounded) admit(x *bounding) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.peers[x.addr]
	if p != nil && p.open >= b.most/2 && x.addr.IsValid() && !x.addr.IsLoopback() {
		if p.idle.Len() == 0 {
			b.refused++
			return false
		}
		b.giveWay(p.idle.Front().Value.(*bounding))
	}
	for b.open >= b.most && !b.closed {
		if b.idle.Len() > 0 {
			b.giveWay(b.idle.Front().Value.(*bounding))
			continue
		}
		b.notice.Warn("as many connections for operators and backends as there may be have a request under way; others wait", "connections", b.most)
		b.room.Wait()
	}
	if p = b.peers[x.addr]; p == nil {
		p = &peer{}
		b.peers[x.addr] = p
	}
	b.open++
	p.open++
	b.rest(x)
	return true
}

// giveWay closes a connection on which there is no request.
func (b *bounded) giveWay(x *bounding) {
	b.gaveWay++
	b.leave(x)
	_ = x.Conn.Close() // does not wait
	b.notice.Warn("a connection for operators and backends without a request gives way to another one: there are as many as may be", "address", x.addr.String(), "connections", b.most)
}

// rest puts a connection behind those that have no request.
func (b *bounded) rest(x *bounding) {
	if x.all == nil && !x.left {
		x.all, x.own = b.idle.PushBack(x), b.peers[x.addr].idle.PushBack(x)
		b.room.Signal()
	}
}

// work takes it out of them.
func (b *bounded) work(x *bounding) {
	if x.all != nil {
		b.idle.Remove(x.all)
		b.peers[x.addr].idle.Remove(x.own)
		x.all, x.own = nil, nil
	}
}

// leave gives its place back, once.
func (b *bounded) leave(x *bounding) {
	if x.left {
		return
	}
	b.work(x)
	x.left = true
	b.open--
	if p := b.peers[x.addr]; p.open == 1 {
		delete(b.peers, x.addr)
	} else {
		p.open--
	}
	b.room.Signal()
}

// become is told what a server of HTTP says of its connection.
func (x *bounding) become(st http.ConnState) {
	x.of.mu.Lock()
	defer x.of.mu.Unlock()
	switch st {
	case http.StateActive:
		x.of.work(x)
	case http.StateIdle:
		x.of.rest(x)
	case http.StateHijacked: // whoever has it now has bounds of its own: see bridges
		x.of.leave(x)
	}
}

// Close gives the place back.
func (x *bounding) Close() error {
	x.of.mu.Lock()
	x.of.leave(x)
	x.of.mu.Unlock()
	return x.Conn.Close()
}

// network returns the address that counts for a peer: of IPv6 the network that one
// customer usually has.
func network(a net.Addr) netip.Addr {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr := t.AddrPort().Addr().Unmap().WithZone("")
	if addr.Is6() && !addr.IsLoopback() {
		p, _ := addr.Prefix(64) // 64 is a length of IPv6's
		return p.Addr()
	}
	return addr
}
