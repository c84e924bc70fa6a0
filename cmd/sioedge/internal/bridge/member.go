package bridge

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/link"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
	"github.com/sioedge/sioedge/sio"
)

// A member is the session of a link: a process, or one of its links.
type member struct {
	// Immutable after New.
	b *Bridge
	s *link.Session

	spaces map[string]*sio.Namespace // by name, as it was looked up; owned by the link's turn

	// Guarded by Bridge.mu.
	namespaces []string
	direct     bool
	conns      map[uint64]*seat
	socks      map[uint64]*socket // also those that have left until that is answered, and those that were handed over
	lastConn   uint64
	lastSock   uint64
	load       int // sockets that it has
	left       int // of socks, those that have left
	draining   bool
	drains     time.Time // since when it drains
	over       bool
	unheard    bool // it is to be told of its peers when there is room

	room    chan struct{} // closed when there is room, or the link has ended; nil: nobody waits
	pending int           // sockets that it has accepted, and that are not admitted yet
	settled chan struct{} // closed when there are none; nil: nobody waits

	requests map[int64]context.CancelFunc // broadcasts whose answers it waits for

	relays     [][]byte // messages of others that wait for room
	relayBytes int
}

// New begins a session: see link.Handler.
func (b *Bridge) New(s *link.Session, hello *wire.Hello) error {
	b.mu.Lock()
	defer b.unlock()
	if b.stopped {
		return &link.Refusal{Code: wire.CodeDraining, Text: "the edge stops"}
	}
	m := &member{
		b: b, s: s, spaces: map[string]*sio.Namespace{}, namespaces: hello.Namespaces, direct: hello.Direct,
		conns: map[uint64]*seat{}, socks: map[uint64]*socket{}, requests: map[int64]context.CancelFunc{},
	}
	b.members = append(b.members, m)
	b.tally.attached.Add(1)
	b.o.Logger.Info("bridge: a process has attached", "bridge", b.name, "process", s.UID(), "package", hello.Package, "socket.io", hello.SocketIO, "namespaces", len(hello.Namespaces))
	b.tellPeers()
	b.kick()
	return nil
}

// ServeHTTP serves the request by which a process dials this bridge, whose key and origin
// were checked, until its connection ends.
func (b *Bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if why := b.unavailable(); why != "" {
		link.Problem(w, http.StatusServiceUnavailable, why)
		return
	}
	b.links.Serve(w, r, b)
}

// unavailable says why no process may dial; "": it may.
func (b *Bridge) unavailable() string {
	b.mu.Lock()
	defer b.unlock()
	n := 0
	for _, m := range b.members {
		if m.s.Stats().Connected {
			n++
		}
	}
	switch most := b.settings.Load().MaxLinks; {
	case b.stopped:
		return "the edge stops"
	case b.moving.held || b.arrived != nil:
		return "another process takes the place of this one: come back"
	case most > 0 && n >= most:
		b.tally.tooManyLinks.Add(1)
		b.notice.Warn("bridge: a process is refused because there are as many links as there may be", "bridge", b.name, "links", n, "see", b.key+".max_links")
		return "there are as many links as there may be: max_links"
	}
	return ""
}

// of returns the member of a session, nil if that is over. The lock is held.
func (b *Bridge) of(s *link.Session) *member {
	for _, m := range b.members {
		if m.s == s {
			return m
		}
	}
	return nil
}

// find is of for who does not hold the lock.
func (b *Bridge) find(s *link.Session) *member {
	b.mu.Lock()
	defer b.unlock()
	return b.of(s)
}

// Room has those go on that wait for a link: see link.Handler.
func (b *Bridge) Room(s *link.Session) {
	b.mu.Lock()
	defer b.unlock()
	if m := b.of(s); m != nil {
		m.hasRoom()
	}
}

// hasRoom has those go on that wait for room. The lock is held.
func (m *member) hasRoom() {
	if m.unheard {
		m.sayPeers()
	}
	for len(m.relays) > 0 && m.s.Put(nil, false, func(dst []byte) []byte { return append(dst, m.relays[0]...) }) {
		m.relayBytes -= len(m.relays[0])
		m.relays[0] = nil
		m.relays = m.relays[1:]
	}
	if m.room != nil {
		close(m.room)
		m.room = nil
	}
}

// awaitRoom returns what is closed when there is room, or the link has ended. The lock is
// held, since Put was false.
func (m *member) awaitRoom() <-chan struct{} {
	if m.room == nil {
		m.room = make(chan struct{})
	}
	return m.room
}

// putWaiting is Put for who may wait for room. It is false if the link has ended.
func (m *member) putWaiting(f func(dst []byte) []byte) bool {
	for {
		m.b.mu.Lock()
		if m.over {
			m.b.unlock()
			return false
		}
		ok := m.s.Put(nil, false, f)
		var room <-chan struct{}
		if made := m.b.moving.room(); !ok && isClosed(made) {
			ok = m.s.Put(nil, true, f)
		} else if !ok {
			room = m.awaitRoom()
			m.b.unlock()
			select {
			case <-room:
			case <-made:
			}
			continue
		}
		m.b.unlock()
		if ok {
			return true
		}
	}
}

// choose returns the process that gets the connection of a socket, nil if there is none: of
// those that have its namespace, or of all if none says so, one with the fewest sockets. Of a
// namespace with parameters all are asked: a process has it when its first client comes. The
// lock is held.
func (b *Bridge) choose(k *socket) (best *member) {
	nsp := k.nsp
	known := k.s.Namespace().Name() == nsp &&
		slices.ContainsFunc(b.members, func(m *member) bool { return !m.draining && slices.Contains(m.namespaces, nsp) })
	b.turn++
	for i := range b.members {
		m := b.members[(i+b.turn)%len(b.members)]
		if m.draining || known && !slices.Contains(m.namespaces, nsp) {
			continue
		}
		if best == nil || m.load < best.load {
			best = m
		}
	}
	return best
}

// Processes are told of the others at once, so that who has attached is known before what its
// clients bring about, up to peersBurst times; beyond each peersEvery: one that says something
// else of itself all the time is not to be heard by all of them.
const (
	peersBurst = 16
	peersEvery = 100 * time.Millisecond
)

// mostPeers bounds the names of namespaces that a process is told of others, in bytes: beyond
// it is told that they are there.
const mostPeers = 128 << 10

// tellPeers has processes told of the others. The lock is held.
func (b *Bridge) tellPeers() {
	if b.peersTold == peersBurst {
		b.peersChanged = true
		return
	}
	b.sayPeers()
	if b.peersTold++; b.peersTold == 1 {
		time.AfterFunc(peersEvery, b.mayTellPeers)
	}
}

// mayTellPeers is called each peersEvery, until nothing was told for that long.
func (b *Bridge) mayTellPeers() {
	b.mu.Lock()
	defer b.unlock()
	if b.peersChanged {
		b.sayPeers()
	} else {
		b.peersTold--
	}
	if b.peersTold > 0 {
		time.AfterFunc(peersEvery, b.mayTellPeers)
	}
}

// sayPeers tells each process of the others. One whose link has no room is told when it has.
// The lock is held.
func (b *Bridge) sayPeers() {
	b.peersChanged = false
	for _, m := range b.members {
		m.sayPeers()
	}
}

func (m *member) sayPeers() {
	var peers []wire.Peer
	size := 0
	for _, other := range m.b.members {
		uid := other.s.UID()
		if uid != m.s.UID() && !slices.ContainsFunc(peers, func(p wire.Peer) bool { return p.UID == uid }) {
			peers = append(peers, wire.Peer{UID: uid, Namespaces: other.namespaces, Direct: other.direct})
			for _, name := range other.namespaces {
				size += len(name) + 5
			}
		}
		if size > mostPeers {
			peers[len(peers)-1].Namespaces = nil
		}
	}
	m.unheard = !m.s.Put(nil, false, func(dst []byte) []byte { return wire.AppendPeers(dst, peers) })
}

// change takes what a process says of itself, later.
func (m *member) change(c *wire.Change) {
	m.b.mu.Lock()
	defer m.b.unlock()
	if c.HasNamespaces {
		m.namespaces = c.Namespaces
	}
	if c.HasDirect {
		m.direct = c.Direct
	}
	m.b.tellPeers()
}

// admitted says that a socket that was accepted has been admitted, or has gone. The lock is
// held.
func (k *socket) admittedNow() {
	m := k.pending
	if m == nil {
		return
	}
	k.pending = nil
	m.pending--
	if m.pending == 0 && m.settled != nil {
		close(m.settled)
		m.settled = nil
	}
}
