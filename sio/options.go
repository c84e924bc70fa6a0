package sio

import (
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/class"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/outbound"
	"github.com/sioedge/sioedge/sio/parser"
)

// Options of a Server. The zero value is Node's default, but for KeepHandshake and
// MemoryLimit. What is passed is not copied, and must not be changed after New.
type Options struct {
	// Engine holds the further options of Engine.IO: timeouts, queues, bounds of
	// sessions, hooks for headers and requests. What has a name of Node's here too may
	// be set in either place, but not differently in both. Its Route is the
	// Server's, see Handler; with an Adapter so are Forward, Tunnel, Seek and Proven.
	Engine eio.Options
	// Loop holds the options of the event loops and of their sockets. Its SlowAfter is
	// never more than PingTimeout: who takes nothing for that long is gone.
	Loop loop.Options

	// Path of the HTTP requests, with or without a slash at its end. Zero means
	// "/socket.io/". Node: path.
	Path string
	// PingInterval is the time between a pong, or the opening, and the next ping.
	// Zero means 25 s. Node: pingInterval.
	PingInterval time.Duration
	// PingTimeout is how long after a ping a client may stay silent. Zero means 20 s.
	// Node: pingTimeout.
	PingTimeout time.Duration
	// UpgradeTimeout bounds an upgrade that was begun. Zero means 10 s. Node:
	// upgradeTimeout.
	UpgradeTimeout time.Duration
	// MaxHTTPBufferSize bounds an incoming message or request body, in bytes; it is
	// MaxPayload of Engine. Zero means 1,000,000. Node: maxHttpBufferSize.
	MaxHTTPBufferSize int
	// Transports that are served, of "polling" and "websocket". Nil means both.
	// Node: transports.
	Transports []string
	// NoUpgrades neither offers nor accepts upgrades. Node: allowUpgrades, the other
	// way round.
	NoUpgrades bool
	// AllowEIO3 serves clients of Socket.IO 2 as well. Node: allowEIO3.
	AllowEIO3 bool
	// AllowRequest, unless nil, decides on each new session, on a goroutine; see
	// [eio.Options]. Node: allowRequest.
	AllowRequest func(r *http.Request) error
	// CORS says from where pages may use the server. Nil: from anywhere, but no
	// browser is told so. Node: cors.
	CORS *eio.CORS
	// Cookie, unless nil, is a template of the cookie that opens a session over
	// polling; see [eio.Options]. Node: cookie.
	Cookie *http.Cookie
	// PerMessageDeflate has WebSocket messages compressed with clients that offer it;
	// it is Compression of Engine. Nil: no compression. Node: perMessageDeflate.
	PerMessageDeflate *eio.Compression
	// HTTPCompression has answers to polls compressed. Nil: from 1 KiB on. Node:
	// httpCompression.
	HTTPCompression *eio.HTTPCompression
	// InitialPacket is a message that each session gets right behind its open packet.
	// Nil: none. Node: initialPacket.
	InitialPacket []byte

	// ConnectTimeout closes a connection that has joined no namespace by then.
	// Zero means 45 s. Node: connectTimeout.
	ConnectTimeout time.Duration
	// Parser is how packets are encoded. Zero means JSON. Node: parser.
	Parser Parser
	// Limits bound what a packet may ask for.
	Limits parser.Limits

	// MaxInstances bounds the live namespaces of patterns and functions together; a
	// client is refused one more. Zero means 100,000; math.MaxInt: no bound.
	MaxInstances int
	// MaxNamespaces bounds the namespaces of one connection. Zero means 128.
	MaxNamespaces int
	// MaxRooms bounds the rooms of a socket beside its own, up to 65535. One more
	// is not joined, the first one logged, and OnError told ErrTooManyRooms. Zero
	// means 10,000. A room's name has at most 1 KiB: OnError is told ErrRoomName.
	MaxRooms int
	// MaxPendingAcks bounds the acknowledgements that a socket may owe: EmitAck
	// returns ErrTooManyAcks beyond. Zero means 1024.
	MaxPendingAcks int
	// MaxEventName bounds the name of an event that a client sends, in bytes; its
	// connection is closed beyond. Zero means 256.
	MaxEventName int

	// MemoryLimit bounds the memory that the process uses, in bytes: what Go's
	// runtime holds but for what is free in it; the kernel's buffers are not in it.
	// It is looked at each second while Serve runs. Above it new sessions get 503 and
	// volatile events are dropped; at the next look the sessions for which most is
	// held are closed, first those that take nothing or whose handlers do nothing, until
	// a tenth is free. Zero means three quarters of what the control group or the
	// machine has, on Linux; math.MaxInt64: no bound.
	MemoryLimit int64

	// MaxBroadcasts bounds the bytes of events that were emitted to rooms or
	// namespaces and wait for the loops to visit their members, each event counted
	// once: emitting returns ErrOverloaded beyond, and above half of it volatile events
	// are dropped. What other servers emit is dropped in their place, too.
	// Stats.Drops.Overloaded counts all these. Zero means 256 MiB.
	MaxBroadcasts int

	// MaxLeftBehind bounds the bytes of events that wait for their handlers although
	// the sockets that sent them have left, of all clients together. They are handled,
	// as in Node; a client that leaves more than that behind has all that it left
	// behind forgotten: Stats.Drops.Unhandled counts it. The same bound holds for what waits for
	// the functions of OnJoin and OnLeave, of all clients: beyond it no further rooms are
	// joined where there are such functions, of which OnError is told ErrOverloaded, with
	// "join", and no namespaces entered. Zero means 64 MiB.
	MaxLeftBehind int

	// QueuePolicy is what becomes of events for a client that takes too little, unless
	// [Namespace.SetClass] or [BroadcastOperator.Class] say something else. Zero means
	// CloseSlow, as in Node.
	QueuePolicy Policy

	// Recovery gives clients that come back soon their sockets again.
	Recovery Recovery

	// Adapter joins the server to others. Nil: it is alone. Node: adapter.
	Adapter rooms.Adapter
	// Advertise is the base URL at which the others of Adapter's cluster reach
	// this server, such as "http://10.0.0.5:3000": they forward polling requests to
	// it that belong here, and tunnel WebSockets. Empty: they do not.
	Advertise string
	// ClusterSecret proves the servers of a cluster to each other: it must be the same
	// for all. Empty: whoever can read and write the adapter's Redis is believed to
	// be one of them, and gets the cookies of the clients whose requests it is sent.
	ClusterSecret string
	// MaxForwards bounds the requests that this server forwards at a time, of which
	// a client's poll is one all the time; 503 beyond. No client's address can have
	// more than half of them, and no other server more than three quarters: where all
	// clients come by way of one proxy, half is what there is. Zero means 8192.
	MaxForwards int
	// MaxTunnels bounds the WebSockets of other servers' sessions that this server
	// passes on at a time: clients that upgraded here and not where their session
	// is. One more is refused, and its client goes on polling; so it is beyond half
	// for one address, and three quarters for one server. Each takes a descriptor beside the
	// client's, and about 8 KB. Zero means 4096.
	MaxTunnels int

	// KeepHandshake says how long a session's first request, and what its client gave
	// as auth, are kept. Zero means [KeepUntilJoined].
	KeepHandshake KeepHandshake

	// Inherit, unless nil, has the server take over the clients of another one, with its
	// Node and its number of loops: see [Inherit].
	Inherit *Inheritance
	// EncodeData and DecodeData are how sockets' data travel to a process that takes them
	// over. Nil: as JSON, and what is JSON's of them is what that has (map[string]any).
	EncodeData func(data any) ([]byte, error)
	DecodeData func(p []byte) (data any, err error)

	// Client holds the files of the browser client, served under the path:
	// socket.io.js, socket.io.min.js, socket.io.esm.min.js,
	// socket.io.msgpack.min.js and a map of each. Nil serves none. Node:
	// serveClient.
	Client fs.FS
	// Handler answers HTTP requests for other paths, on a goroutine each. Nil
	// means 404.
	Handler http.Handler

	// OnError gets the error that a handler returned, or a panic as
	// *PanicError, with the event's name ("connect" and "disconnect" for those
	// handlers); and ErrTooManyRooms and ErrRoomName, with "join". It must be safe for
	// concurrent use, and must not block: for an inline handler it is called on the loop. Clients
	// decide how often it is called. Nil logs a warning, one for each kind of
	// error in ten seconds with the number of those left out, and nothing for
	// ErrClosed; Stats counts all.
	OnError func(s Socket, event string, err error)
	// Logger gets what an operator should know. Nil means slog.Default().
	Logger *slog.Logger
}

// KeepHandshake says how long what a client brought is kept: the session's first
// request, and what it gives as auth when it joins a namespace. Together that is
// several hundred bytes a connection. Once it is freed, [Socket.Handshake] knows the
// address alone, and [Socket.Auth] nothing.
type KeepHandshake uint8

const (
	// KeepUntilJoined keeps them for the namespace's middlewares and OnConnect, and
	// frees them behind those; but the request as long as there are further namespaces
	// with middlewares or OnConnect that the session could join, which see it too.
	KeepUntilJoined KeepHandshake = iota
	// KeepAlways keeps them as long as the socket, as Node does.
	KeepAlways
	// KeepForFirst keeps the request for one namespace: it is freed behind OnConnect of
	// the first one that has middlewares or OnConnect. Those of further namespaces see
	// the address, their own auth, and what the first has kept with a [ConnKey].
	KeepForFirst
)

// A Policy is what becomes of events for a client that takes less than it is sent.
type Policy = class.Policy

// The policies. The soft bound is loop.Options.SoftOutbound of a WebSocket, and
// eio.Options.MaxQueue of a client that polls.
const (
	// CloseSlow keeps all events. A client for which more than the soft bound waits
	// and that takes nothing is closed after SlowAfter.
	CloseSlow = class.CloseSlow
	// DropNew drops the new event while more than the soft bound waits for the client.
	DropNew = class.DropNew
	// DropOldest drops the oldest events of the class until no more than the soft bound
	// waits with the new one, or none of them is left.
	DropOldest = class.DropOldest
	// Conflate keeps the newest event of the class alone, in the place of the one
	// before: so what changes all the time is sent too, and comes before what was emitted
	// in between. With Options.Recovery the order is kept: a second event of the class
	// waits at the end, and newer ones replace that.
	Conflate = class.Conflate
)

// A Class is events that make room for each other in the queue of a client that takes
// less than it is sent: those of one name, in one namespace, with one Key, in whatever
// rooms. Each is dropped as a whole, with its attachments, and only as long as nothing of
// it was sent. Who keeps up gets every event.
//
// Only events of CloseSlow make a client slow; of the others as many wait as their
// policies say, until it does not answer pings. They count for the bound on all that is
// queued, loop.Options.MaxOutbound or eio.Options.MaxQueueHard, which ends the connection.
// Events that are to be acknowledged, and what a client that comes back has missed, are
// never dropped. A client that comes back gets, of what was dropped, what is behind the
// last event that it has received.
//
// What is dropped is counted in Stats.Loop.Dropped, by the policy, and for the namespace.
type Class struct {
	// Policy is what becomes of the events. Zero means CloseSlow.
	Policy Policy
	// Key tells those apart that do not make room for each other, such as the prices of
	// different symbols. It may be as long as it likes. Of CloseSlow it means nothing.
	Key string
}

// SetClass sets what says of which class the events of a name are that the namespace's
// sockets are sent, from whichever server or emitter. It is called once for each event
// on each server, where it is emitted or has come from another server, with what is
// valid until it returns: it must not block. A panic goes to OnError, and the event has
// Options.QueuePolicy. Nil takes it away.
func (n *Namespace) SetClass(event string, f func(a Args) Class) {
	n.change(func(t *table) {
		classes := map[string]func(Args) Class{}
		for name, g := range t.classes {
			if name != event {
				classes[name] = g
			}
		}
		if f != nil {
			classes[event] = f
		}
		t.classes = classes
	})
}

// Class says of which class the event is, whatever SetClass says, for the sockets of
// this server: to others it does not travel.
func (b BroadcastOperator) Class(c Class) BroadcastOperator {
	b.class = &classed{Class: c}
	return b
}

// Rooms returns the rooms that b addresses and those that it leaves out.
func (b BroadcastOperator) Rooms() (to, except []string) { return add(nil, b.to), add(nil, b.except) }

// Socket returns the only socket that b addresses; it is false if b is a broadcast.
func (b BroadcastOperator) Socket() (s Socket, only bool) {
	if !b.direct {
		return Socket{}, false
	}
	return b.socket(), true
}

// Namespace returns the namespace that b's sockets are in.
func (b BroadcastOperator) Namespace() *Namespace { return b.namespace() }

// classed is the class of an event of some name.
type classed struct {
	Class
	event string
	f     func(Args) Class // is to be asked first; nil: nobody
}

// classFor returns what says of which class an event is, nil if it is never dropped.
// Said is by the operator, or nil.
func (n *Namespace) classFor(said *classed, event string) *classed {
	switch f := n.table.Load().classes[event]; {
	case said != nil:
		return &classed{Class: said.Class, event: event}
	case f != nil:
		return &classed{event: event, f: f}
	case n.srv.o.QueuePolicy != CloseSlow:
		return &classed{Class: Class{Policy: n.srv.o.QueuePolicy}, event: event}
	}
	return nil
}

// classed returns b with the class of e.
func (b BroadcastOperator) classed(e rooms.Event) BroadcastOperator {
	n := b.namespace()
	if b.class == nil && len(n.table.Load().classes) == 0 && n.srv.o.QueuePolicy == CloseSlow {
		return b
	}
	if event, ok := outbound.Event(e.Data); ok {
		b.class = n.classFor(b.class, event).of(n, e)
	}
	return b
}

// of returns the class of e, with nobody to be asked.
func (x *classed) of(n *Namespace, e rooms.Event) *classed {
	if x == nil || x.f == nil {
		return x
	}
	c := Class{Policy: n.srv.o.QueuePolicy}
	s := Socket{in: &instance{ns: n, name: n.name}}
	n.srv.call(s, x.event, func() error {
		a, err := argsOfEvent(e, n.srv.o.Limits)
		if err == nil {
			c = x.f(a)
		}
		return err
	})
	return &classed{Class: c, event: x.event}
}

// kind returns what the loops know the class by, nil if e is never dropped.
func (x *classed) kind(in *instance, e rooms.Event) *class.Kind {
	if x = x.of(in.ns, e); x == nil || x.Policy == CloseSlow || !x.Policy.Valid() {
		return nil
	}
	return outbound.Kind(x.Policy, in.name, x.event, x.Key, in.ns.srv.o.Recovery.Window > 0, in.ns)
}

// argsOfEvent returns the arguments of an event.
func argsOfEvent(e rooms.Event, limits parser.Limits) (Args, error) {
	var list parser.Packet
	err := parser.Parse(append([]byte{'0' + byte(parser.Event)}, e.Data...), limits, &list)
	return Args{raw: list.Args, buffers: e.Attachments}, err
}

// of says by what the message may be dropped, and returns it.
func (m *message) of(k *class.Kind) *message {
	m.json.OfKind(k)
	return m
}

// A Parser says how packets are encoded; server and client must agree on it.
type Parser uint8

// The parsers.
const (
	// JSON is the default of every client: JSON with binary attachments.
	JSON Parser = iota
	// MessagePack is the npm package socket.io-msgpack-parser.
	MessagePack
	// EitherParser takes whichever a client's first packet is in.
	EitherParser
)
