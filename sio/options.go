package sio

import (
	"cmp"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net/http"
	"reflect"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/memory"
	"github.com/sioedge/sioedge/sio/internal/relay"
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

// passed are the options that have Node's names and are those of Engine.
var passed = []struct{ name, engine string }{
	{"Path", "Path"}, {"PingInterval", "PingInterval"}, {"PingTimeout", "PingTimeout"}, {"UpgradeTimeout", "UpgradeTimeout"},
	{"MaxHTTPBufferSize", "MaxPayload"}, {"Transports", "Transports"}, {"NoUpgrades", "NoUpgrades"}, {"AllowEIO3", "AllowEIO3"},
	{"AllowRequest", "AllowRequest"}, {"CORS", "CORS"}, {"Cookie", "Cookie"}, {"PerMessageDeflate", "Compression"},
	{"HTTPCompression", "HTTPCompression"}, {"InitialPacket", "InitialPacket"},
}

// complete returns o with what is passed on, and what its zero values mean, or tells
// what is wrong with it.
func (o Options) complete() (Options, error) {
	here, engine := reflect.ValueOf(&o).Elem(), reflect.ValueOf(&o.Engine).Elem()
	for _, p := range passed {
		v, to := here.FieldByName(p.name), engine.FieldByName(p.engine)
		switch {
		case v.IsZero():
		case to.IsZero():
			to.Set(v)
		case !reflect.DeepEqual(v.Interface(), to.Interface()): // functions never are equal
			return o, fmt.Errorf("sio: Options.%s and Options.Engine.%s are both set, and differ", p.name, p.engine)
		}
	}
	for _, name := range []string{"Route", "Forward", "Tunnel", "Seek", "Proven"} {
		if (name == "Route" || o.Adapter != nil) && !engine.FieldByName(name).IsZero() {
			return o, fmt.Errorf("sio: Options.Engine.%s is the Server's own (with an Adapter; Route always: see Options.Handler)", name)
		}
	}
	o = o.withDefaults()
	return o, o.check()
}

// withDefaults returns o with what its zero values mean.
func (o Options) withDefaults() Options {
	switch {
	case o.MemoryLimit == 0:
		o.MemoryLimit = memory.Available("/") / 4 * 3
	case o.MemoryLimit == math.MaxInt64:
		o.MemoryLimit = 0 // none
	}
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, 45*time.Second)
	o.MaxRooms = cmp.Or(o.MaxRooms, 10_000)
	o.MaxInstances = cmp.Or(o.MaxInstances, 100_000)
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
	if o.MaxRooms > maxMaxRooms {
		return fmt.Errorf("sio: Options.MaxRooms is %d, more than %d", o.MaxRooms, maxMaxRooms)
	}
	r, l := o.Recovery, o.Limits
	for _, x := range []struct {
		name string
		n    int64
	}{
		{"MaxRooms", int64(o.MaxRooms)}, {"MaxNamespaces", int64(o.MaxNamespaces)}, {"MaxPendingAcks", int64(o.MaxPendingAcks)},
		{"MaxEventName", int64(o.MaxEventName)}, {"MaxBroadcasts", int64(o.MaxBroadcasts)}, {"MaxLeftBehind", int64(o.MaxLeftBehind)},
		{"MaxForwards", int64(o.MaxForwards)}, {"MemoryLimit", o.MemoryLimit}, {"MaxTunnels", int64(o.MaxTunnels)}, {"MaxInstances", int64(o.MaxInstances)},
		{"ConnectTimeout", int64(o.ConnectTimeout)}, {"Recovery.Window", int64(r.Window)}, {"Recovery.Patience", int64(r.Patience)},
		{"Recovery.MaxBytes", r.MaxBytes}, {"Limits.MaxAttachments", int64(l.MaxAttachments)},
		{"Limits.MaxAttachmentBytes", int64(l.MaxAttachmentBytes)}, {"Limits.MaxDepth", int64(l.MaxDepth)}, {"Limits.MaxArgs", int64(l.MaxArgs)},
		{"PingInterval", int64(o.Engine.PingInterval)}, {"PingTimeout", int64(o.Engine.PingTimeout)},
		{"UpgradeTimeout", int64(o.Engine.UpgradeTimeout)}, {"MaxHTTPBufferSize", int64(o.Engine.MaxPayload)},
	} {
		if x.n < 0 {
			return fmt.Errorf("sio: Options.%s is negative", x.name)
		}
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
