package bridge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/link"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/sio"
)

// A carriedBridge is a bridge as data, for the server's successor. What is numbered is
// numbered from 1; 0 is none.
type carriedBridge struct {
	Members []carriedMember `cbor:"1,keyasint,omitempty"`
	Seats   []carriedSeat   `cbor:"2,keyasint,omitempty"`
	Sockets []carriedSocket `cbor:"3,keyasint,omitempty"`
	Events  []carriedEvent  `cbor:"4,keyasint,omitempty"`
	Waiting []int           `cbor:"5,keyasint,omitempty"` // seats
}

type carriedMember struct {
	Link       link.Carried   `cbor:"1,keyasint"`
	Namespaces []string       `cbor:"2,keyasint,omitempty"`
	Direct     bool           `cbor:"3,keyasint,omitempty"`
	Conns      map[uint64]int `cbor:"4,keyasint,omitempty"` // seats
	Socks      map[uint64]int `cbor:"5,keyasint,omitempty"` // sockets
	LastConn   uint64         `cbor:"6,keyasint,omitempty"`
	LastSock   uint64         `cbor:"7,keyasint,omitempty"`
	Load       int            `cbor:"8,keyasint,omitempty"`
	Left       int            `cbor:"9,keyasint,omitempty"`
	Draining   time.Duration  `cbor:"10,keyasint,omitempty"` // what is left of its time; 0: it does not drain
	Requests   []int64        `cbor:"11,keyasint,omitempty"`
	Relays     [][]byte       `cbor:"12,keyasint,omitempty"`
}

type carriedSeat struct {
	Handshake []byte        `cbor:"1,keyasint,omitempty"`
	Transport string        `cbor:"2,keyasint,omitempty"`
	Member    int           `cbor:"3,keyasint,omitempty"`
	Number    uint64        `cbor:"4,keyasint,omitempty"`
	Sockets   []int         `cbor:"5,keyasint,omitempty"`
	Last      []byte        `cbor:"6,keyasint,omitempty"`
	Upgraded  bool          `cbor:"7,keyasint,omitempty"`
	Ended     bool          `cbor:"8,keyasint,omitempty"`
	Reason    string        `cbor:"9,keyasint,omitempty"`
	Waits     bool          `cbor:"10,keyasint,omitempty"`
	Waited    time.Duration `cbor:"11,keyasint,omitempty"`
	Drained   bool          `cbor:"12,keyasint,omitempty"`
	Deaths    int           `cbor:"13,keyasint,omitempty"`
}

type carriedSocket struct {
	Socket   []byte         `cbor:"1,keyasint,omitempty"`
	Seat     int            `cbor:"2,keyasint,omitempty"`
	Nsp      string         `cbor:"3,keyasint,omitempty"`
	ID       string         `cbor:"4,keyasint,omitempty"`
	Auth     []byte         `cbor:"5,keyasint,omitempty"`
	Identity *wire.Identity `cbor:"6,keyasint,omitempty"`
	Returned bool           `cbor:"7,keyasint,omitempty"`
	HasData  bool           `cbor:"8,keyasint,omitempty"`
	Data     []byte         `cbor:"9,keyasint,omitempty"`
	Member   int            `cbor:"10,keyasint,omitempty"`
	Number   uint64         `cbor:"11,keyasint,omitempty"`
	Stage    stage          `cbor:"12,keyasint,omitempty"`
	Known    bool           `cbor:"13,keyasint,omitempty"`
	Rooms    []string       `cbor:"14,keyasint,omitempty"`
	Pending  bool           `cbor:"15,keyasint,omitempty"` // it is accepted, and not admitted
	Coming   bool           `cbor:"16,keyasint,omitempty"` // it is not admitted
	Held     []int          `cbor:"17,keyasint,omitempty"` // events
	Leaves   bool           `cbor:"18,keyasint,omitempty"`
	Reason   string         `cbor:"19,keyasint,omitempty"`
	Kept     bool           `cbor:"20,keyasint,omitempty"`
	Gone     bool           `cbor:"21,keyasint,omitempty"` // it had left the server
	Asks     []carriedAsk   `cbor:"22,keyasint,omitempty"`
}

// A carriedAsk is an event that its client is to answer.
type carriedAsk struct {
	Ack    uint64 `cbor:"1,keyasint,omitempty"` // by which it answers
	ID     int64  `cbor:"2,keyasint,omitempty"` // by which the process has asked
	Number uint64 `cbor:"3,keyasint,omitempty"` // of the socket there
	Member int    `cbor:"4,keyasint,omitempty"`
}

type carriedEvent struct {
	Socket int      `cbor:"1,keyasint,omitempty"`
	Ack    int64    `cbor:"2,keyasint,omitempty"`
	Text   []byte   `cbor:"3,keyasint,omitempty"`
	Bins   [][]byte `cbor:"4,keyasint,omitempty"`
	Size   int      `cbor:"5,keyasint,omitempty"`
}

// A carrying numbers what is exported. Once that is done it is not changed, and any goroutine
// may read it.
type carrying struct {
	data    carriedBridge
	members map[*member]int
	seats   map[*seat]int
	sockets map[*socket]int
	events  map[*event]int
	queue   []*socket // whose members are not written yet
}

// Export returns the bridge as data. It is called behind Still, and changes nothing.
func (b *Bridge) Export() ([]byte, error) {
	if b.o.Stays {
		return nil, fmt.Errorf("bridge: %s was taken out of the settings and came back: its clients cannot go to another process", b.name)
	}
	b.mu.Lock()
	defer b.unlock()
	c := &carrying{members: map[*member]int{}, seats: map[*seat]int{}, sockets: map[*socket]int{}, events: map[*event]int{}}
	for i, m := range b.members {
		c.members[m] = i + 1
	}
	for _, x := range b.waiting {
		c.data.Waiting = append(c.data.Waiting, c.seat(x))
	}
	for _, m := range b.members {
		c.data.Members = append(c.data.Members, c.member(b, m))
	}
	for i := 0; i < len(c.queue); i++ { // which grows
		k := c.queue[i]
		x := c.write(k)
		c.data.Sockets[c.sockets[k]-1] = x
	}
	b.carrying = c
	return carried.Marshal(c.data)
}

func (c *carrying) member(b *Bridge, m *member) carriedMember {
	x := carriedMember{
		Link:       m.s.Carry(func(item any) int { return c.event(item.(*event)) }),
		Namespaces: m.namespaces, Direct: m.direct, Conns: map[uint64]int{}, Socks: map[uint64]int{}, LastConn: m.lastConn, LastSock: m.lastSock,
		Load: m.load, Left: m.left, Requests: slices.Sorted(maps.Keys(m.requests)), Relays: m.relays,
	}
	if m.draining {
		x.Draining = max(b.settings.Load().Takeover-time.Since(m.drains), 1)
	}
	for n, y := range m.conns {
		x.Conns[n] = c.seat(y)
	}
	for n, k := range m.socks {
		x.Socks[n] = c.socket(k)
	}
	return x
}

// seat numbers a connection, with its sockets.
func (c *carrying) seat(x *seat) int {
	if n := c.seats[x]; n > 0 {
		return n
	}
	c.data.Seats = append(c.data.Seats, carriedSeat{})
	n := len(c.data.Seats)
	c.seats[x] = n
	y := x.carry()
	y.Member = c.members[x.member]
	for _, k := range x.sockets {
		y.Sockets = append(y.Sockets, c.socket(k))
	}
	c.data.Seats[n-1] = y
	return n
}

// carry returns a connection as data, without its process and its sockets.
func (x *seat) carry() carriedSeat {
	y := carriedSeat{
		Handshake: x.handshake, Transport: x.transport, Number: x.number, Last: x.last.Pack(nil), Upgraded: x.upgraded, Ended: x.ended,
		Reason: x.reason, Waits: x.waits, Drained: x.drained, Deaths: x.deaths,
	}
	if x.waits {
		y.Waited = max(time.Since(x.since), 0)
	}
	return y
}

// socket numbers a socket, which is written later.
func (c *carrying) socket(k *socket) int {
	if n := c.sockets[k]; n > 0 {
		return n
	}
	c.data.Sockets = append(c.data.Sockets, carriedSocket{})
	c.sockets[k] = len(c.data.Sockets)
	c.queue = append(c.queue, k)
	return len(c.data.Sockets)
}

// write returns a socket as data.
func (c *carrying) write(k *socket) carriedSocket {
	x := carriedSocket{
		Socket: k.s.Pack(nil), Seat: c.seat(k.x), Nsp: k.nsp, ID: k.id, Auth: k.auth, Identity: k.identity, Returned: k.returned, HasData: k.data != nil, Data: k.data.text(),
		Member: c.members[k.member], Number: k.number, Stage: k.stage, Known: k.known, Rooms: k.rooms, Pending: k.pending != nil && k.pending == k.member, Coming: k.ctxStop != nil,
		Leaves: k.leaves != nil, Gone: hasLeft(k.s),
	}
	if d := k.leaves; d != nil {
		x.Reason, x.Kept = d.reason, d.kept
	}
	for _, e := range k.held {
		x.Held = append(x.Held, c.event(e))
	}
	for ack, a := range k.asks {
		if m := c.members[a.m]; m > 0 {
			x.Asks = append(x.Asks, carriedAsk{Ack: ack, ID: a.id, Number: a.number, Member: m})
		}
	}
	return x
}

// hasLeft tells whether a socket has left, or is of a namespace that there is not any more.
func hasLeft(s sio.Socket) bool { return s == (sio.Socket{}) || s.Gone() }

// event numbers an event.
func (c *carrying) event(e *event) int {
	if n := c.events[e]; n > 0 {
		return n
	}
	c.data.Events = append(c.data.Events, carriedEvent{c.socket(e.k), e.ack, e.text, e.bins, e.size})
	c.events[e] = len(c.data.Events)
	return len(c.data.Events)
}

// Values of keys are numbers of what is exported, or, of a connection that has no socket at a
// process, the whole.

func (b *Bridge) packSeat(x *seat) ([]byte, error) {
	if c := b.carrying; c != nil && c.seats[x] > 0 {
		return binary.AppendUvarint([]byte{1}, uint64(c.seats[x])), nil
	}
	p, err := carried.Marshal(x.carry())
	return append([]byte{0}, p...), err
}

func (b *Bridge) unpackSeat(p []byte) (*seat, error) {
	switch {
	case len(p) > 1 && p[0] == 1:
		n, k := binary.Uvarint(p[1:])
		if k != len(p)-1 || n == 0 || b.arrived == nil || n > uint64(len(b.arrived.seats)) {
			return nil, errCarried
		}
		return b.arrived.seats[n-1], nil
	case len(p) > 1 && p[0] == 0:
		var c carriedSeat
		if err := carried.Unmarshal(p[1:], &c); err != nil {
			return nil, err
		}
		return restoreSeat(&c)
	}
	return nil, errCarried
}

func (b *Bridge) packSocket(k *socket) ([]byte, error) {
	if c := b.carrying; c != nil && c.sockets[k] > 0 {
		return binary.AppendUvarint(nil, uint64(c.sockets[k])), nil
	}
	return nil, nil // it is none of a process's any more
}

func (b *Bridge) unpackSocket(p []byte) (*socket, error) {
	n, k := binary.Uvarint(p)
	if k != len(p) || k == 0 || n == 0 || b.arrived == nil || n > uint64(len(b.arrived.sockets)) {
		return nil, errCarried
	}
	return b.arrived.sockets[n-1], nil
}

// carryKeys has values of sockets and connections go along.
func (b *Bridge) carryKeys() {
	sio.CarryConnKey(b.srv, "bridge "+b.name, b.seats, b.packSeat, b.unpackSeat)
	sio.CarryKey(b.srv, "bridge "+b.name, b.sockets, b.packSocket, b.unpackSocket)
	sio.CarryKey(b.srv, "bridge brought "+b.name, b.brought, nil, nil)
}

var (
	errCarried = errors.New("bridge: what another server has told of a bridge contradicts itself")
	errMoved   = sio.ErrClosed
)
