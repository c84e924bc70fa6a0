package sio

import (
	"slices"
	"sync/atomic"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio/internal/framing"
	"github.com/sioedge/sioedge/sio/parser"
)

// An Observation is something that has happened to a socket that is, or was, admitted, as
// a function of [Server.Observe] sees it. It and what its methods return are views, valid
// until that function returns.
type Observation struct {
	Kind   ObservationKind
	Socket Socket
	Room   string   // that was joined or left
	Reason Reason   // of ObservedDisconnect
	To     []string // rooms that an event was emitted to; of one to this socket alone, or to all: none

	sh     *shard
	slot   uint32
	frames []byte // of an event that is sent; with
	tail   int    // bytes at the end of its text that are an offset
	packet *parser.Packet
}

// An ObservationKind says what has happened.
type ObservationKind uint8

// What can be observed. A namespace's handlers need not be there for it.
const (
	ObservedConnect    ObservationKind = iota + 1 // the socket was admitted, in Rooms, with what was recovered
	ObservedDisconnect                            // it leaves, and is still in its rooms; those follow, as ObservedLeave
	ObservedJoin                                  // of a room, other than its own
	ObservedLeave
	ObservedEvent   // came from the client, and past the gates
	ObservedEmit    // goes to the client, of a broadcast to this one; what is sent again to who missed it is not told
	ObservedUpgrade // its connection is a WebSocket now
	ObservedData    // something was stored by SetData or EditData
)

// Event returns the event's name, "" unless there is one. What is sent is decoded for it.
func (x *Observation) Event() string {
	if x.decode(); x.packet == nil {
		return ""
	}
	return string(x.packet.Event)
}

// Args returns the event's arguments, as Event does.
func (x *Observation) Args() Args {
	if x.decode(); x.packet == nil {
		return Args{}
	}
	return Args{x.packet.Args, x.packet.Buffers}
}

// WantsAck tells whether the event is to be acknowledged.
func (x *Observation) WantsAck() bool {
	x.decode()
	return x.packet != nil && x.packet.HasID
}

func (x *Observation) decode() {
	if x.packet == nil && x.frames != nil {
		x.packet = framing.Open(x.frames, x.tail)
	}
}

// In tells whether the socket is in a room, its own among them: a look-up.
func (x *Observation) In(room string) bool { return x.sh.in(x.slot, room) }

// Rooms returns the socket's rooms but for its own, in the order of joining.
func (x *Observation) Rooms() []string { return x.sh.otherRooms(x.slot) }

// Transport returns "polling" or "websocket".
func (x *Observation) Transport() string { return x.sh.session(x.slot).Transport() }

// An observer is a function of Observe.
type observer struct {
	see  func(*Observation)
	over atomic.Bool
}

// Observe has see called with what happens to each socket, until stop is called; then
// calls that are under way end. It is for who shows or traces what the server does: see
// picks what it wants by Kind, Socket, In and the like before it asks for what has to be
// decoded. It runs on the sockets' loops, several at a time, where it must not block, nor
// ask anything of a socket that a loop is asked for; if it panics, that is logged, and it
// is not called again. Loops hear of it in a moment. While nobody observes, a message
// costs a look at a field of its loop more. Any goroutine may call Observe, and stop.
func (srv *Server) Observe(see func(x *Observation)) (stop func()) {
	o := &observer{see: see}
	srv.observers.Add(1)
	srv.observe(o)
	return func() {
		if !o.over.Swap(true) {
			srv.observers.Add(-1)
			srv.observe(o)
		}
	}
}

// observe has the loops know of an observer, unless it is over.
func (srv *Server) observe(o *observer) {
	for _, sh := range srv.shards {
		sh.loop.Post(loop.TaskFunc(func(*loop.Loop) {
			all := slices.DeleteFunc(slices.Clone(sh.observers), func(x *observer) bool { return x == o })
			if !o.over.Load() {
				all = append(all, o)
			}
			sh.observers = all // another one: somebody may be walking the last
		}))
	}
}

// saw tells those who observe what has happened to a socket.
func (sh *shard) saw(slot uint32, x Observation) {
	if len(sh.observers) > 0 && sh.sockets.At(slot).state != connecting {
		sh.tellObservers(slot, x)
	}
}

func (sh *shard) tellObservers(slot uint32, x Observation) {
	x.sh, x.slot, x.Socket = sh, slot, sh.socket(slot)
	for _, o := range sh.observers {
		if o.over.Load() {
			continue
		}
		if err := sh.srv.guard(func() error { o.see(&x); return nil }); err != nil && !o.over.Swap(true) {
			sh.srv.observers.Add(-1)
			sh.srv.notice.Warn("a function of Observe panicked, and is not called any more", "error", err)
		}
	}
}

// sawEvent is saw of an event that has come.
func (sh *shard) sawEvent(slot uint32, p *parser.Packet) {
	if len(sh.observers) > 0 {
		sh.saw(slot, Observation{Kind: ObservedEvent, packet: p})
	}
}

// sawSent is saw of frames that are sent, if they are an event's.
func (sh *shard) sawSent(slot uint32, frames []byte, tail int) {
	if framing.IsEvent(frames) {
		sh.saw(slot, Observation{Kind: ObservedEmit, frames: frames, tail: tail})
	}
}
