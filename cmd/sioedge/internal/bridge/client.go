package bridge

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
)

// A stage is how far a socket is with the process that has it.
type stage uint8

const (
	unasked stage = iota // no process has been asked about it
	asked                // one has
	open                 // and wants it
	gone                 // it has left, was refused or disconnected: nothing goes to a process any more, but that it has left
)

// A socket is one of a client's, in a namespace of this bridge.
type socket struct {
	// Immutable.
	s        sio.Socket
	x        *seat
	nsp, id  string
	auth     []byte // JSON; nil: none
	identity *wire.Identity
	returned bool  // it is one that its client had before
	data     *data // nil: the server does not remember clients, and the application has said nothing; guarded by mu

	// Guarded by Bridge.mu.
	member  *member // that has it, or did when it left; nil: none
	number  uint64  // of the socket at member
	stage   stage
	known   bool          // a process has accepted it once: from then on it is taken
	rooms   []string      // that it was in when it came back, or left; its own left out
	verdict chan struct{} // closed when a process has decided; nil: nobody waits
	refusal error         // of that decision
	pending *member       // that has accepted it, and waits for it to be admitted
	held    []*event      // that came while no process had it
	redo    []*event      // that a process has not worked off; while a link ends
	leaves  *departure    // it has left: that is for the process that gets held
	asks    map[uint64]*ask
	ctxStop func() bool // ends the look-out for a socket that goes before it is admitted
}

// A departure is how a socket has left.
type departure struct {
	reason string
	kept   bool
}

// Connect asks a process whether a client may connect: see [action.Bridge]. One that its
// client had before is asked about by Came, when it is in its rooms again.
func (b *Bridge) Connect(s sio.Socket, e action.Entry) error {
	if s.Recovered() {
		return b.brought.Set(s, identityOf(e))
	}
	return b.enter(s, identityOf(e), false)
}

// Came has a socket be admitted: see [action.Bridge]. About one that was not asked about a
// process is asked now; one that it does not want is disconnected.
func (b *Bridge) Came(s sio.Socket) error {
	k, ok := b.sockets.Get(s)
	if !ok || k.s != s {
		who, _ := b.brought.Get(s)
		b.brought.Delete(s)
		if err := b.enter(s, who, s.Recovered()); err != nil {
			_ = s.Disconnect(sio.DisconnectOptions{}) // or it has left
			return nil
		}
		k, _ = b.sockets.Get(s)
	}
	if k == nil {
		return nil // it has left
	}
	transport := ""
	if k.x.transport != websocket {
		transport = s.Transport()
	}
	b.mu.Lock()
	if k.ctxStop != nil {
		k.ctxStop()
		k.ctxStop = nil
	}
	k.admittedNow()
	b.unlock()
	if transport == websocket {
		b.upgrade(k.x)
	}
	return nil
}

// identityOf returns who a client is, nil if nobody knows.
func identityOf(e action.Entry) *wire.Identity {
	if e.User == "" && e.Claims == nil {
		return nil
	}
	return &wire.Identity{User: e.User, Claims: e.Claims}
}

// enter asks a process about a socket, and waits for what it says.
func (b *Bridge) enter(s sio.Socket, who *wire.Identity, returned bool) error {
	x, err := b.seatOf(s)
	if err != nil {
		return sio.ErrClosed
	}
	k := &socket{s: s, x: x, nsp: s.Name(), id: s.ID(), identity: who, returned: returned, verdict: make(chan struct{})}
	var auth json.RawMessage
	if s.Auth(&auth) == nil {
		k.auth = auth
	}
	if returned {
		k.rooms = b.roomsOf(k)
	}
	k.data = b.dataOf(s)
	if err := b.sockets.Set(s, k); err != nil {
		return sio.ErrClosed
	}
	ctx := s.Context()
	// ends when the socket leaves, or Came has been called
	k.ctxStop = context.AfterFunc(ctx, func() { b.lost(k) })
	verdict, over := k.verdict, b.moving.hurry()
	if !b.add(ctx, k, over) {
		return sio.ErrClosed
	}
	select {
	case <-over: // the client comes back, to another process of the server's
		s.CloseConn()
		return sio.ErrClosed
	case <-verdict:
		if k.refusal == sio.ErrClosed {
			s.CloseConn() // before it is refused, or its client would not come back
		}
		return k.refusal
	case <-ctx.Done():
		return sio.ErrClosed
	}
}

// add has a socket be one of its seat, and asks its process about it as soon as there is one
// and there is room. It is false if the socket leaves before that.
func (b *Bridge) add(ctx context.Context, k *socket, over <-chan struct{}) bool {
	b.mu.Lock()
	if k.stage == gone { // by lost
		b.unlock()
		return false
	}
	k.x.sockets = append(k.x.sockets, k)
	k.x.last = k.s
	for {
		room := b.ask(k)
		b.unlock()
		if room == nil {
			return true
		}
		select {
		case <-room:
		case <-over:
			k.s.CloseConn()
			return false // likewise
		case <-ctx.Done():
			return false // lost takes it out
		}
		b.mu.Lock()
	}
}

// ask asks the process of a socket's seat about it, if that is for the caller to do. It
// returns what to wait for if there is no room. The lock is held.
func (b *Bridge) ask(k *socket) (room <-chan struct{}) {
	x := k.x
	switch m := x.member; {
	case b.stopped:
		k.decide(sio.ErrClosed)
		b.closing = append(b.closing, k.s)
	case k.stage != unasked || x.waits:
	case m == nil:
		if m = b.choose(k); m == nil {
			b.wait(x)
			return nil
		}
		if !b.give(x, m, false) {
			return m.awaitRoom()
		}
		b.tell(k, m, k.rooms, true)
	case m.draining:
		b.settle(x) // and the mover asks
	case !b.tell(k, m, k.rooms, false):
		return m.awaitRoom()
	}
	return nil
}

// tell asks a process, which has the connection, about a socket. It is false if that has to
// wait for room; by force it has not. The lock is held.
func (b *Bridge) tell(k *socket, m *member, rooms []string, force bool) bool {
	var st *wire.State
	if k.known || k.returned {
		st = &wire.State{Rooms: rooms, Data: k.data.text(), Taken: k.known}
	}
	number := m.lastSock + 1
	if !m.s.Put(nil, force, func(dst []byte) []byte {
		return wire.AppendSocket(dst, k.x.number, number, k.nsp, k.id, k.auth, st, k.identity)
	}) && !force {
		return false
	}
	m.lastSock = number
	k.member, k.number, k.stage = m, number, asked
	m.socks[number] = k
	m.load++
	return true
}

// decide ends the wait for a process's word. The lock is held.
func (k *socket) decide(refusal error) {
	if k.verdict != nil {
		k.refusal = refusal
		close(k.verdict)
		k.verdict = nil
	}
}

// accept takes a process's word that it wants a socket.
func (b *Bridge) accept(m *member, number uint64) {
	b.mu.Lock()
	defer b.unlock()
	k := m.own(number)
	if k == nil || k.stage != asked {
		return
	}
	k.stage = open
	if k.known {
		b.tally.taken.Add(1)
	} else {
		b.tally.accepted.Add(1)
	}
	k.known = true
	if k.ctxStop != nil && k.pending == nil {
		k.pending = m
		m.pending++
	}
	k.decide(nil)
	if !m.draining { // else it hands the socket over, with what that holds
		b.flush(k)
	}
}

// refuse takes a process's word that it does not want a socket.
func (b *Bridge) refuse(m *member, number uint64, refusal *sio.Error) {
	b.mu.Lock()
	defer b.unlock()
	k := m.own(number)
	if k == nil || k.stage != asked {
		return
	}
	if k.known {
		b.tally.refusedTaken.Add(1)
		b.closing = append(b.closing, k.s)
	} else {
		b.tally.refused.Add(1)
	}
	k.decide(refusal)
	b.drop(k)
}

// own returns the socket that a process has by a number, nil if there is none. The lock is
// held.
func (m *member) own(number uint64) *socket {
	if k := m.socks[number]; k != nil && k.member == m && k.number == number && k.stage != gone {
		return k
	}
	return nil
}

// drop takes a socket from its process, which knows that, and from its seat. The lock is
// held.
func (b *Bridge) drop(k *socket) {
	if m := k.member; m != nil && k.stage != gone {
		delete(m.socks, k.number)
		m.load--
	}
	k.stage = gone
	b.remove(k)
}

// remove takes a socket out of its seat. The lock is held.
func (b *Bridge) remove(k *socket) {
	k.admittedNow()
	b.release(k)
	if i := slices.Index(k.x.sockets, k); i >= 0 {
		k.x.sockets = slices.Delete(k.x.sockets, i, i+1)
	}
	b.settle(k.x)
}

// lost is called when the context of a socket that is not admitted yet is done. If its end
// has been noticed nowhere else, it has left.
func (b *Bridge) lost(k *socket) {
	if k.s.Gone() {
		b.leave(k, departure{reason: string(eio.TransportClose)}, nil)
	}
}

// Left has a process know that a socket has left: see [action.Bridge].
func (b *Bridge) Left(s sio.Socket, reason sio.Reason) {
	k, ok := b.sockets.Get(s)
	if !ok || k.s != s {
		return
	}
	b.mu.Lock()
	needed := len(k.held) > 0 || k.member == nil
	b.unlock()
	var rooms []string
	if needed {
		rooms = b.roomsOf(k)
	}
	b.leave(k, departure{string(reason), s.Recoverable()}, rooms)
}

func (b *Bridge) leave(k *socket, d departure, rooms []string) {
	b.mu.Lock()
	defer b.unlock()
	if k.stage == gone || k.leaves != nil {
		return
	}
	k.decide(sio.ErrClosed)
	k.admittedNow()
	k.x.reason = d.reason
	if k.known && (len(k.held) > 0 || k.stage != open) && !b.stopped {
		k.leaves, k.rooms = &d, rooms // behind what is held
		return
	}
	b.sayLeft(k, d)
}

// sayLeft tells a socket's process that it has left, and takes it out of its seat. The lock
// is held.
func (b *Bridge) sayLeft(k *socket, d departure) {
	m := k.member
	if m == nil || k.stage == unasked {
		k.stage = gone
		b.remove(k)
		return
	}
	k.stage = gone
	m.load--
	if m.left++; m.left > mostLeft {
		m.s.Close(wire.CodeProtocol, "it does not say closed of sockets that have left")
	}
	k.leaves = &d
	m.s.Put(nil, true, func(dst []byte) []byte { return wire.AppendLeft(dst, k.number, d.reason, d.kept) })
	b.remove(k)
}

// roomsOf asks for the rooms that a socket is in, its own left out.
func (b *Bridge) roomsOf(k *socket) []string {
	if hasLeft(k.s) {
		return nil
	}
	return slices.DeleteFunc(k.s.Rooms(), func(room string) bool { return room == k.id })
}
