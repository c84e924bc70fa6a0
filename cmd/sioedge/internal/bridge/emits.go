package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/link"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
	"github.com/sioedge/sioedge/sio"
)

const (
	// mostNames bounds the rooms and uids that a message has.
	mostNames = 10_000
	// mostLeft bounds the sockets that have left without the process having said so.
	mostLeft = 1 << 17
	// forever is how long a client's answer is waited for: the application has its own time.
	forever = 1000 * time.Hour
)

// Message does what a process wants: see link.Handler.
func (b *Bridge) Message(s *link.Session, msg *wire.Message) error {
	m := b.find(s)
	if m == nil {
		return nil
	}
	if msg.Rooms.Len() > mostNames || msg.Except.Len() > mostNames || msg.Names.Len() > mostNames {
		return fmt.Errorf("a message has a list of more than %d names", mostNames)
	}
	switch msg.Kind {
	case wire.KindAccept:
		b.accept(m, msg.Sock)
	case wire.KindRefuse:
		return b.refusal(m, msg)
	case wire.KindEmit:
		return b.emit(m, msg)
	case wire.KindReply:
		return b.answer(m, msg)
	case wire.KindJoin, wire.KindLeave, wire.KindDisconnect:
		return b.act(m, msg)
	case wire.KindClose:
		return b.closeConn(m, msg.Conn)
	case wire.KindBroadcast, wire.KindJoinAll, wire.KindLeaveAll, wire.KindDisconnectAll:
		return b.toMany(m, msg)
	case wire.KindData, wire.KindClosed:
		return b.takeData(m, msg)
	case wire.KindRelay:
		b.relay(m, msg)
	case wire.KindDraining:
		b.drain(m)
	case wire.KindHandOver:
		b.handOver(m, msg.Sock, msg.Data)
	case wire.KindHandedOver:
		b.handedOver(m)
	case wire.KindChange:
		m.change(msg.Change)
	case wire.KindForget:
		b.forget(m, msg.ID)
	}
	return nil
}

// refusal takes a process's word that it does not want a socket.
func (b *Bridge) refusal(m *member, msg *wire.Message) error {
	var said struct {
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(msg.JSON, &said); err != nil {
		return fmt.Errorf("a refusal is no object with a message: %w", err)
	}
	e := &sio.Error{Message: said.Message}
	if said.Data != nil {
		e.Data = said.Data
	}
	b.refuse(m, msg.Sock, e)
	return nil
}

// A reach says how far from its process a socket may be for a message.
type reach uint8

const (
	own        reach = iota // the process has it
	handedOver              // or did, before it handed it over
	leaving                 // or it has left, and the process has not answered that
)

// meant returns the socket that a process means by a number; nil if there is none, which is
// counted. The error is link.ErrHeld.
func (b *Bridge) meant(m *member, number uint64, far reach) (*socket, error) {
	b.mu.Lock()
	k := m.socks[number]
	switch {
	case k == nil:
	case k.stage == gone && (far < leaving || k.leaves == nil), far == own && (k.member != m || k.number != number):
		k = nil
	}
	if k == nil {
		b.tally.unknown.Add(1)
	}
	coming := k != nil && k.pending != nil
	b.unlock()
	if coming && !m.settle() { // what the process did behind its acceptance reaches the client behind that
		return nil, link.ErrHeld
	}
	return k, nil
}

// event returns what is emitted: an event's name and its arguments, which are views.
func eventOf(msg *wire.Message) (name string, args sio.Args, err error) {
	if args, err = sio.ParseArgs(msg.JSON, msg.Bins.Views()); err != nil {
		return "", sio.Args{}, err
	}
	raw := args.Raw(0)
	switch {
	case raw == nil:
		return "", sio.Args{}, errors.New("an event has no name")
	case raw[0] != '"':
		name = string(raw) // a number is one
	default:
		if err := json.Unmarshal(raw, &name); err != nil {
			return "", sio.Args{}, err
		}
	}
	return name, args.From(1), nil
}

// emit emits to a socket. To one that its client may come back to, and whose process does
// not know yet that it has left, it is emitted all the same: it is among what was missed.
func (b *Bridge) emit(m *member, msg *wire.Message) error {
	name, args, err := eventOf(msg)
	if err != nil {
		return err
	}
	k, err := b.meant(m, msg.Sock, leaving)
	if k == nil {
		return err
	}
	b.tally.emits.Add(1)
	switch number, id := msg.Sock, msg.ID; {
	case b.o.Recovery > 0 && k.s.Gone():
		if id == wire.None {
			err = flagged(k.s.Namespace().Instance(k.nsp).To(k.id).Local(), msg.Flags).Emit(name, args)
		}
	case id != wire.None:
		err = b.question(&ask{k: k, m: m, number: number, id: id}, name, args)
	case msg.Flags == 0:
		err = k.s.Emit(name, args)
	default:
		err = flagged(k.s.Self(), msg.Flags).Emit(name, args)
	}
	b.failed(err)
	return nil
}

// An ask is an event that its client is to answer, for a process. Guarded by Bridge.mu.
type ask struct {
	// Immutable.
	k      *socket
	m      *member
	number uint64 // of the socket there
	id     int64  // of the answer there

	ack  uint64 // of the event; 0 also until that is known
	over bool
}

// question emits an event that is to be answered.
func (b *Bridge) question(a *ask, name string, args sio.Args) error {
	ack, err := a.k.s.EmitAckID(forever, b.replied(a), name, args)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.unlock()
	b.await(a, ack)
	return nil
}

// await notes that an answer is waited for. The lock is held.
func (b *Bridge) await(a *ask, ack uint64) {
	if a.ack = ack; a.over {
		return
	}
	if a.k.asks == nil {
		a.k.asks = map[uint64]*ask{}
	}
	a.k.asks[ack] = a
}

// resumeAsk waits for an answer that the server before has waited for.
func (b *Bridge) resumeAsk(k *socket, a *ask) {
	b.mu.Lock()
	b.await(a, a.ack)
	b.unlock()
	k.s.AwaitAck(a.ack, forever, b.replied(a), "bridge")
}

// replied returns what is called with the answer.
func (b *Bridge) replied(a *ask) func(args sio.Args, err error) {
	return func(args sio.Args, err error) {
		b.mu.Lock()
		a.over = true
		delete(a.k.asks, a.ack)
		b.unlock()
		if err == nil {
			b.answered(a.m, a.number, a.id, args)
		}
	}
}

// failed counts an emit that is no client's fault.
func (b *Bridge) failed(err error) {
	if err == nil || errors.Is(err, sio.ErrClosed) {
		return
	}
	b.tally.failed.Add(1)
	b.notice.Info("bridge: an event of the application could not be sent", "bridge", b.name, "error", err)
}

func flagged(to sio.BroadcastOperator, f wire.Flags) sio.BroadcastOperator {
	if f&wire.Volatile != 0 {
		to = to.Volatile()
	}
	if f&wire.Uncompressed != 0 {
		to = to.Compress(false)
	}
	return to
}

// answered sends a process what a client has answered. It waits for room, on the goroutine
// of the socket.
func (b *Bridge) answered(m *member, number uint64, id int64, a sio.Args) {
	args, bins := a.Verbatim()
	if b.long(sizeOfArgs(args, bins)) {
		return
	}
	m.putWaiting(func(dst []byte) []byte { return wire.AppendAnswerOf(dst, number, id, args, bins) })
}

// answer answers a client's event.
func (b *Bridge) answer(m *member, msg *wire.Message) error {
	args, err := sio.ParseArgs(msg.JSON, msg.Bins.Views())
	if err != nil || msg.ID == wire.None {
		return errors.Join(errors.New("an answer is no list with a number"), err)
	}
	k, err := b.meant(m, msg.Sock, handedOver)
	if k != nil {
		b.tally.replies.Add(1)
		b.failed(k.s.ReplyTo(uint64(msg.ID)).Ack(args))
	}
	return err
}

// act does something to a socket.
func (b *Bridge) act(m *member, msg *wire.Message) error {
	k, err := b.meant(m, msg.Sock, own)
	if k == nil {
		return err
	}
	s := k.s
	switch msg.Kind {
	case wire.KindJoin:
		s.Join(msg.Names.Strings()...)
	case wire.KindLeave:
		s.Leave(msg.Names.Strings()...)
	case wire.KindDisconnect:
		if !m.settle() { // its client is in before it is out
			return link.ErrHeld
		}
		b.mu.Lock()
		if k := m.own(msg.Sock); k != nil {
			k.decide(sio.ErrClosed)
			b.drop(k)
		}
		b.unlock()
		_ = s.Disconnect(sio.DisconnectOptions{}) // or it has left
	}
	return nil
}

// closeConn closes a connection, with its sockets.
func (b *Bridge) closeConn(m *member, number uint64) error {
	if !m.settle() { // as for one of its sockets
		return link.ErrHeld
	}
	b.mu.Lock()
	defer b.unlock()
	x := m.conns[number]
	if x == nil || x.member != m {
		b.tally.unknown.Add(1)
		return nil
	}
	all := append([]*socket(nil), x.sockets...)
	for _, k := range all {
		b.closing = append(b.closing, k.s)
	}
	b.closing = append(b.closing, x.last)
	for _, k := range all {
		k.decide(sio.ErrClosed)
		b.drop(k)
	}
	delete(m.conns, number)
	x.member = nil
	return nil
}
