package sio

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/notice"
	"github.com/sioedge/sioedge/rooms"
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
	// Stats.Overloaded counts all these. Zero means 256 MiB.
	MaxBroadcasts int

	// MaxLeftBehind bounds the bytes of events that wait for their handlers although
	// the sockets that sent them have left, of all clients together. They are handled,
	// as in Node; a client that leaves more than that behind has all that it left
	// behind forgotten: Stats.Unhandled counts it. Zero means 64 MiB.
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

	// DropHandshake frees the copy of a session's first request as soon as its
	// first namespace has been joined and OnConnect has returned. Handshake
	// then knows only the address. It saves several hundred bytes a
	// connection. Node keeps it for ever.
	DropHandshake bool

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
	// handlers); and ErrTooManyRooms, with "join". It must be safe for concurrent
	// use, and must not block: for an inline handler it is called on the loop. Clients
	// decide how often it is called. Nil logs a warning, one for each kind of
	// error in ten seconds with the number of those left out, and nothing for
	// ErrClosed; Stats counts all.
	OnError func(s Socket, event string, err error)
	// Logger gets what an operator should know. Nil means slog.Default().
	Logger *slog.Logger
}

// A Server holds namespaces, and the connections of its listeners.
type Server struct {
	// Immutable after New.
	o      Options
	engine *loop.Engine
	eio    *eio.Server
	rooms  *rooms.Directory
	ids    *eio.IDs
	pids   *eio.IDs    // private ids, for recovery
	log    *packetLog  // nil: no recovery
	shared *clusterLog // nil: log is this server's alone
	// cluster is Options.Adapter.
	cluster  rooms.Adapter
	tellsOwn bool // it wants to know of sockets' own rooms too
	forwards *forwards
	tunnels  *tunnels
	shards   []*shard
	client   *clientFiles
	notice   *notice.Log
	memory   *memoryGuard

	overloaded, unheard atomic.Int64 // of Stats
	leftBehind          atomic.Int64 // bytes of events that wait of sockets that have left

	// What other servers are asked, and how this one proves who it is.
	searches   *searches
	token      string // of which proof is derived
	proof      proof
	challenges http.Handler // answers those of other servers

	registry registry
	details  details
	named    atomic.Bool // some socket has had an id that is not that of its Ref
	failures failures
	handlers sync.WaitGroup // goroutines that run handlers
	served   atomic.Bool    // Serve was called
	down     atomic.Bool    // Shutdown was called
	stopped  chan struct{}  // closed when it has returned
	parted   atomic.Bool    // from the cluster
}

// maxMaxRooms bounds Options.MaxRooms: rooms are counted in 16 bits, also those
// of a socket that joined as many before it was recovered.
const maxMaxRooms = math.MaxUint16

// maxRoomName bounds the name of a room that a socket joins, in bytes: programs
// take it from clients.
const maxRoomName = 1 << 10

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

// New returns a Server. It listens to nothing yet.
func New(o Options) (*Server, error) {
	srv, err := newServer(o.withDefaults())
	if err != nil {
		return nil, err
	}
	if srv.engine, err = loop.New(srv.eio, srv.o.Loop); err != nil {
		return nil, err
	}
	srv.bind(srv.engine.Loops())
	if o.Adapter != nil {
		err = srv.join(o.Adapter)
	}
	return srv, err
}

// newServer makes all of a Server but its loops.
func newServer(o Options) (*Server, error) {
	if o.MaxRooms < 0 || o.MaxRooms > maxMaxRooms || min(o.MaxNamespaces, o.MaxPendingAcks, o.MaxEventName, o.MaxBroadcasts, o.MaxLeftBehind, o.MaxForwards, o.MaxTunnels) < 1 {
		return nil, errors.New("sio: a bound is negative, or MaxRooms is over 65535")
	}
	if o.MemoryLimit < 0 {
		return nil, errors.New("sio: MemoryLimit is negative")
	}
	if l := o.Limits; min(o.MaxInstances, l.MaxAttachments, l.MaxAttachmentBytes, l.MaxDepth, l.MaxArgs) < 0 {
		return nil, errors.New("sio: a bound is negative")
	}
	if o.Advertise != "" {
		if _, err := baseURL(o.Advertise); err != nil {
			return nil, err
		}
	}
	srv := &Server{o: o, forwards: newForwards(o), notice: notice.New(o.Logger, 0), token: newToken(), stopped: make(chan struct{})}
	srv.memory = newMemoryGuard(srv, o.MemoryLimit)
	srv.tunnels = newTunnels(srv.forwards, o)
	srv.searches = newSearches(func() rooms.Adapter { return srv.cluster })
	srv.proof = proofOf(o.ClusterSecret, string(o.Engine.Node), o.Advertise, srv.token)
	srv.challenges = http.HandlerFunc(srv.answerChallenge)
	srv.registry.init(o.MaxInstances)
	if o.Client != nil {
		files, err := newClientFiles(o.Client, "/"+strings.Trim(o.Engine.Path, "/")+"/")
		if err != nil {
			return nil, err
		}
		srv.client = files
	}
	srv.o.Engine.Route = srv.route
	if o.Adapter != nil && o.Engine.Forward == nil {
		srv.o.Engine.Forward = srv.forward
	}
	if o.Adapter != nil && o.Engine.Tunnel == nil {
		srv.o.Engine.Tunnel = srv.tunnel
	}
	if o.Adapter != nil && o.Engine.Seek == nil {
		srv.o.Engine.Seek = srv.seek
	}
	if o.Engine.Proven == nil {
		srv.o.Engine.Proven = srv.proven
	}
	var err error
	if srv.eio, err = eio.NewServer(srv, srv.o.Engine); err != nil {
		return nil, err
	}
	if srv.ids, err = eio.NewIDs(srv.o.Engine.Node, "socket.io socket"); err != nil {
		return nil, err
	}
	if o.Recovery.Window > 0 {
		srv.log = newPacketLog(o.Recovery, cmp.Or(o.Engine.PingInterval, eio.DefaultPingInterval), cmp.Or(o.Engine.PingTimeout, eio.DefaultPingTimeout))
		srv.pids, err = eio.NewIDs(srv.o.Engine.Node, "socket.io private")
		srv.log.maxRooms = srv.o.MaxRooms
	}
	return srv, err
}

// bind makes the server's part of each loop, before the loops run.
func (srv *Server) bind(loops []*loop.Loop) {
	srv.rooms = rooms.NewDirectory(len(loops))
	srv.eio.Bind(loops)
	for _, l := range loops {
		srv.shards = append(srv.shards, newShard(srv, l))
	}
	if srv.log != nil {
		srv.mind()
	}
}

// route finds who answers a request that is not Engine.IO's.
func (srv *Server) route(path string) http.Handler {
	if srv.client != nil && srv.client.has(path) {
		return srv.client
	}
	if path == srv.forwards.links.path && srv.cluster != nil {
		return srv.challenges
	}
	if strings.HasPrefix(path, "/"+strings.Trim(srv.o.Engine.Path, "/")+"/") {
		return nil
	}
	return srv.o.Handler
}

// Of returns a namespace, which is made if it is new. A leading slash is added
// if it is missing; "" is "/". It panics if name cannot be one: a comma would
// end it on the wire, and with a # it would be a room's name between servers.
//
// A segment ":name" is a parameter, one of any value, and a last segment
// "*name" takes all that follows:
//
//	trends := srv.Of("/campaigns/:id/trends")
//	trends.OnConnect(func(s sio.Socket) error { return subscribe(s.Param("id")) })
//
// Such a namespace has an instance for each name that clients have joined, as
// long as they are there. Its handlers and middlewares serve all of them, its
// operators address all of them, and [Namespace.Instance] one. Rooms belong to
// an instance. For a name that several namespaces have, the first segment in
// which they differ decides: a literal goes before a parameter, and that before
// a wildcard. A literal namespace shares nothing with a pattern that has its
// name, the middlewares included.
//
// Each value of a parameter has one spelling, that of a path in an IRI (RFC 3987),
// and [Socket.Param] decodes it: a space, for one, is %20, and ä, : and @ are
// themselves. Clients that spell it otherwise are refused, as are those that
// escape a slash, and "." and ".." as a segment: so two names never mean the same,
// nor what is elsewhere.
func (srv *Server) Of(name string) *Namespace {
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	if strings.ContainsAny(name, ",#") {
		panic("sio: namespace " + name + " has a comma or a #")
	}
	p := parsePattern(name)
	r := &srv.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ns := range *r.all.Load() {
		switch {
		case ns.name == name && ns.match == nil:
			return ns
		case p != nil && ns.pattern != nil && p.alike(ns.pattern):
			panic("sio: namespaces " + name + " and " + ns.name + " have the same names")
		}
	}
	ns := &Namespace{srv: srv, name: name, pattern: p}
	ns.table.Store(&table{})
	if p == nil {
		ns.in = r.newInstance(ns, name, nil)
	}
	r.add(ns)
	return ns
}

// OfFunc returns a namespace with an instance for each name that match allows,
// given the client's auth as JSON (nil if there is none). Functions are asked
// last, in the order of registration, on the event loop: they must not block.
func (srv *Server) OfFunc(match func(name string, auth json.RawMessage) bool) *Namespace {
	r := &srv.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	ns := &Namespace{srv: srv, name: "(function)", match: match}
	ns.table.Store(&table{})
	r.add(ns)
	return ns
}

// Listen binds an address: "host:port", "tcp://host:port", "unix:/path" or "unix:/path?mode=0660". Port
// 0 picks a free one, which the result names. Clients are served once Serve
// runs.
func (srv *Server) Listen(addr string) (net.Addr, error) { return srv.engine.Listen(addr) }

// Serve serves clients until Shutdown has finished or ctx is done, which cuts
// them all.
func (srv *Server) Serve(ctx context.Context) error {
	srv.served.Store(true)
	if srv.o.MemoryLimit > 0 {
		guarding, ended := context.WithCancel(ctx)
		defer ended()
		go srv.memory.run(guarding) // ends with Serve
	}
	err := srv.engine.Run(ctx)
	if errors.Is(err, loop.ErrClosed) {
		return err
	}
	// The loops have ended and are nobody's. Who was polling had no connection
	// that could be cut.
	for _, sh := range srv.shards {
		sh.end()
	}
	srv.forwards.links.close()
	return errors.Join(err, srv.part(context.Background()))
}

// ListenAndServe binds the addresses and serves until Shutdown has finished. Its
// error is then [ErrServerClosed], as also when Shutdown was first; it is never nil.
func (srv *Server) ListenAndServe(addrs ...string) error {
	for _, addr := range addrs {
		if _, err := srv.Listen(addr); err != nil {
			return srv.ended(err)
		}
	}
	return srv.ended(srv.Serve(context.Background()))
}

// ended is err, unless it is only that the server has been shut down.
func (srv *Server) ended(err error) error {
	if err == nil || errors.Is(err, loop.ErrClosed) {
		return ErrServerClosed
	}
	return err
}

// Shutdown stops accepting, ends every session (its sockets see the reason
// [ServerShuttingDown], and clients will reconnect elsewhere), sends what is
// queued, and waits for that and for the handlers that run, those of
// OnDisconnect included. When ctx is done, the rest is cut and its error
// returned. A second call waits for the first, or for its own ctx. A handler must
// not call it.
func (srv *Server) Shutdown(ctx context.Context) error {
	if srv.engine.OnLoop() {
		return ErrInline
	}
	if srv.down.Swap(true) {
		select {
		case <-srv.stopped:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer close(srv.stopped)
	return srv.shutdown(ctx)
}

func (srv *Server) shutdown(ctx context.Context) error {
	if !srv.served.Load() {
		return errors.Join(srv.engine.Shutdown(ctx), srv.part(ctx)) // there is nobody, and no loop that runs
	}
	_ = srv.engine.StopAccepting(ctx)
	srv.eio.Drain()
	srv.forwards.land(ctx)
	srv.settleAll()
	for _, sh := range srv.shards {
		sh.loop.Post(&ending{sh: sh})
	}
	waited := make(chan struct{})
	// ends when the last handler has returned
	go func() {
		for _, sh := range srv.shards {
			sh.loop.Ask(func() {}) // the disconnect handlers have been started
		}
		srv.handlers.Wait()
		close(waited)
	}()
	select {
	case <-waited:
	case <-ctx.Done():
	}
	return errors.Join(ctx.Err(), srv.engine.Shutdown(ctx), srv.part(ctx))
}

// Engine returns the engine, for its counters.
func (srv *Server) Engine() *loop.Engine { return srv.engine }

// CompressionStats returns what compression did, of all connections.
func (srv *Server) CompressionStats() eio.CompressionStats { return srv.eio.CompressionStats() }
