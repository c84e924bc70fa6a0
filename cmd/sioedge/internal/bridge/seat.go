package bridge

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
)

// websocket is the transport that connections are upgraded to.
const websocket = "websocket"

// A seat is a client's connection, of this bridge's namespaces.
type seat struct {
	// Immutable.
	handshake []byte // as wire.AppendHandshake has it
	transport string // of handshake

	// Guarded by Bridge.mu.
	member   *member // that has the connection; nil: none
	number   uint64  // of the connection at member
	sockets  []*socket
	last     sio.Socket // of the connection, the newest
	upgraded bool       // it is a WebSocket now, and handshake does not say so
	ended    bool       // the connection has
	reason   string     // why sockets have left, the last of them

	waits   bool // for a process
	listed  bool // it is in Bridge.waiting
	since   time.Time
	drained bool          // its process has handed it over; else the link had ended
	held    int           // bytes of the events that its sockets hold
	wake    chan struct{} // closed when there may be room for events; nil: nobody waits
	deaths  int           // links in a row that ended with events of the connection not worked off
}

// seatOf returns the seat of a socket's connection, which is made if there is none.
func (b *Bridge) seatOf(s sio.Socket) (*seat, error) {
	if x, ok := b.seats.Get(s); ok {
		return x, nil
	}
	h := handshakeOf(s, b.srv.Node())
	x := &seat{handshake: wire.AppendHandshake(nil, h), transport: h.Transport, last: s}
	b.mu.Lock() // so that sockets of two namespaces get one
	defer b.unlock()
	if y, ok := b.seats.Get(s); ok {
		return y, nil
	}
	return x, b.seats.Set(s, x)
}

// handshakeOf returns how a socket's connection began, as Node has it.
func handshakeOf(s sio.Socket, node string) *wire.Handshake {
	h := s.Handshake()
	x := &wire.Handshake{ID: node + "-" + s.Conn().String(), URL: latin1(h.URL()), Secure: h.Secure(), Transport: s.Transport(), Protocol: 4, Headers: headers(h.Header())}
	if a := h.Address(); a.IsValid() {
		x.Address, x.Port = a.Addr().String(), uint64(a.Port())
	}
	x.Issued = uint64(time.Now().UnixMilli())
	if at := h.Issued(); !at.IsZero() {
		x.Issued = uint64(at.UnixMilli())
	}
	if h.Query().Get("EIO") == "3" {
		x.Protocol = 3
	}
	return x
}

// once are the fields of which Node keeps the first value.
var once = []string{"age", "authorization", "content-length", "content-type", "etag", "expires", "from", "host", "if-modified-since",
	"if-unmodified-since", "last-modified", "location", "max-forwards", "proxy-authorization", "referer", "retry-after", "server", "user-agent"}

// headers returns fields as Node has them: by lower-case name, several values as one.
func headers(all http.Header) []wire.Header {
	list := make([]wire.Header, 0, len(all))
	for name, values := range all {
		name = strings.ToLower(name)
		value := values[0]
		switch {
		case len(values) == 1 || slices.Contains(once, name):
		case name == "cookie":
			value = strings.Join(values, "; ")
		default:
			value = strings.Join(values, ", ")
		}
		list = append(list, wire.Header{Name: latin1(name), Value: latin1(value)})
	}
	slices.SortFunc(list, func(a, b wire.Header) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// latin1 returns the text that Node makes of the bytes of a request's head.
func latin1(s string) string {
	for i := range len(s) {
		if s[i] >= 0x80 {
			runes := make([]rune, len(s))
			for i := range len(s) {
				runes[i] = rune(s[i])
			}
			return string(runes)
		}
	}
	return s
}

// give has a process have a connection. It is false if that has to wait for room; by force
// it has not. The lock is held.
func (b *Bridge) give(x *seat, m *member, force bool) bool {
	number := m.lastConn + 1
	if !m.s.Put(nil, force, func(dst []byte) []byte { return wire.AppendConnectionOf(dst, number, x.handshake) }) && !force {
		return false // by force it is false of a session that is over, of which Ended follows
	}
	m.lastConn = number
	m.conns[number] = x
	x.member, x.number, x.waits = m, number, false
	if x.upgraded {
		m.s.Put(nil, true, func(dst []byte) []byte { return wire.AppendUpgraded(dst, number, websocket) })
	}
	return true
}

// upgraded is told of a socket whose connection is a WebSocket now. It runs on the loop.
func (b *Bridge) upgraded(s sio.Socket) {
	if x, ok := b.seats.Get(s); ok {
		b.upgrade(x)
	}
}

func (b *Bridge) upgrade(x *seat) {
	b.mu.Lock()
	defer b.unlock()
	if x.upgraded || x.transport == websocket {
		return
	}
	x.upgraded = true
	if m := x.member; m != nil && !m.draining {
		m.s.Put(nil, true, func(dst []byte) []byte { return wire.AppendUpgraded(dst, x.number, websocket) })
	}
}

// connEnded is told of a connection that has ended. Its sockets may be there still: they
// leave when what waits of them is done. It runs on the loop.
func (b *Bridge) connEnded(x *seat) {
	b.mu.Lock()
	defer b.unlock()
	x.ended = true
	b.settle(x)
}

// settle takes a connection from its process that has ended and has no sockets any more; and
// one that the process has handed over from that. The lock is held.
func (b *Bridge) settle(x *seat) {
	m := x.member
	if m == nil {
		x.waits = x.waits && len(x.sockets) > 0
		return
	}
	if slices.ContainsFunc(x.sockets, func(k *socket) bool { return k.member == m }) {
		return
	}
	switch {
	case x.ended && len(x.sockets) == 0:
		reason := x.reason
		if reason == "" {
			reason = string(eio.TransportClose)
		}
		m.s.Put(nil, true, func(dst []byte) []byte { return wire.AppendConnectionEnded(dst, x.number, reason) })
		delete(m.conns, x.number)
		x.member = nil
	case m.draining && len(x.sockets) > 0:
		delete(m.conns, x.number)
		x.drained = true
		b.wait(x)
	}
}
