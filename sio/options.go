package sio

import (
	"cmp"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"net/http"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/relay"
	"github.com/sioedge/sioedge/sio/parser"
)

// Options of a Server. The zero value is Node's default.
type Options struct {
	// Engine holds the options of Engine.IO: path, heartbeat, limits. Its Path
	// is "/socket.io/" here when zero; its Route belongs to the Server.
	Engine eio.Options
	// Loop holds the options of the event loops and of their sockets.
	Loop loop.Options

	// ConnectTimeout closes a connection that has joined no namespace by then.
	// Zero means 45 s. Node: connectTimeout.
	ConnectTimeout time.Duration
	// Parser is how packets are encoded. Zero means JSON. Node: parser.
	Parser Parser
	// Limits bound what a packet may ask for.
	Limits parser.Limits

	// MaxInstances bounds the live namespaces of patterns and functions; a
	// client is refused one more. Zero means no bound.
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
	// a tenth is free. Zero: no bound.
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

	// KeepHandshake keeps a session's first request, and what its client gave as auth,
	// as long as the socket, as Node does: that is several hundred bytes a connection.
	// Without it they are there for middlewares and OnConnect and are freed behind
	// those: after that Handshake knows the address alone, and Auth nothing. The
	// middlewares of further namespaces that the session joins see them too.
	KeepHandshake bool

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

// maxMaxRooms bounds Options.MaxRooms: rooms are counted in 16 bits, also those
// of a socket that joined as many before it was recovered.
const maxMaxRooms = math.MaxUint16

// withDefaults returns o with what its zero values mean.
func (o Options) withDefaults() Options {
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, 45*time.Second)
	o.MaxRooms = cmp.Or(o.MaxRooms, 10_000)
	o.MaxNamespaces = cmp.Or(o.MaxNamespaces, 128)
	o.MaxPendingAcks = cmp.Or(o.MaxPendingAcks, 1024)
	o.MaxBroadcasts = cmp.Or(o.MaxBroadcasts, 256<<20)
	o.MaxLeftBehind = cmp.Or(o.MaxLeftBehind, 64<<20)
	o.MaxForwards = cmp.Or(o.MaxForwards, 8192)
	o.MaxTunnels = cmp.Or(o.MaxTunnels, 4096)
	o.MaxEventName = cmp.Or(o.MaxEventName, 256)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	o.Engine.Node = cmp.Or(o.Engine.Node, eio.NewNode())
	o.Engine.Path = cmp.Or(o.Engine.Path, "/socket.io/")
	o.Engine.Logger = cmp.Or(o.Engine.Logger, o.Logger)
	o.Loop.Logger = cmp.Or(o.Loop.Logger, o.Logger)
	// Whoever takes nothing for as long as a pong may take is gone anyway.
	o.Loop.SlowAfter = min(cmp.Or(o.Loop.SlowAfter, 10*time.Second), cmp.Or(o.Engine.PingTimeout, 20*time.Second))
	return o
}

// check tells what is wrong with o, which has its defaults.
func (o Options) check() error {
	if o.MaxRooms < 0 || o.MaxRooms > maxMaxRooms || min(o.MaxNamespaces, o.MaxPendingAcks, o.MaxEventName, o.MaxBroadcasts, o.MaxLeftBehind, o.MaxForwards, o.MaxTunnels) < 1 {
		return errors.New("sio: a bound is negative, or MaxRooms is over 65535")
	}
	if o.MemoryLimit < 0 {
		return errors.New("sio: MemoryLimit is negative")
	}
	if r := o.Recovery; min(o.ConnectTimeout, r.Window, r.Patience) < 0 || r.MaxBytes < 0 {
		return errors.New("sio: a time, or Recovery.MaxBytes, is negative")
	}
	if l := o.Limits; min(o.MaxInstances, l.MaxAttachments, l.MaxAttachmentBytes, l.MaxDepth, l.MaxArgs) < 0 {
		return errors.New("sio: a bound is negative")
	}
	if o.Advertise != "" {
		if _, err := relay.ParseURL(o.Advertise); err != nil {
			return err
		}
	}
	return nil
}

// Recovery are the options of connection state recovery: a client that comes
// back within Window gets its id, rooms and data again and exactly what it missed,
// or else it is a new one. Node: connectionStateRecovery.
//
// Every event ends in one more argument then, its offset, as Node's do: the
// JavaScript client takes it off, those in some other languages give it to
// handlers. Clients of Socket.IO 2, which could not come back, do not get it.
type Recovery struct {
	// Window is how long a disconnected socket is remembered: as long as it lacks
	// nothing, from when it left. What it lacks is kept for Window, and for as long
	// before as a client's silence can go unnoticed: a client that comes and goes
	// without receiving what it missed is a new one after that. Zero means that
	// recovery is off. Node: maxDisconnectionDuration, 2 min.
	Window time.Duration
	// MaxBytes bounds the memory of the events kept for those who may come back, in
	// every form that they have been sent in, and of their sockets, which may take
	// up to half of it. When it is passed the oldest go, and with them the recovery
	// of who needs them. What applications have stored by SetData is not counted.
	// Zero means 64 MiB.
	MaxBytes int64
	// RunMiddlewares has a recovered socket go through its middlewares, where
	// Recovered is already true and Data is what it was. A server that
	// authenticates in them wants it: otherwise the private id that a client was
	// given is all that it needs. One that they refuse may come back until its time
	// is over. Node: skipMiddlewares, the other way round.
	RunMiddlewares bool
	// Identity returns who a client is, by what it brought: its Handshake and Auth.
	// It is asked once for each connecting socket, before middlewares, on the event
	// loop, and must not block. Whoever comes back must be who it was, or is a new
	// one, and does no harm to the other. Nil, or "" for both: the private id is
	// enough.
	Identity func(s Socket) string
	// Patience is how long an event may take to come back from the log of the
	// cluster, with an Adapter that is a [rooms.Log]. After that, events are
	// delivered at once, and a client that is recovered may get some twice. Zero
	// means 1 s.
	Patience time.Duration
}
