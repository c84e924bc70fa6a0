package sio

import (
	"context"
	"encoding/json"
	"errors"
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
	"github.com/sioedge/sioedge/sio/internal/clientfiles"
	"github.com/sioedge/sioedge/sio/internal/memory"
	"github.com/sioedge/sioedge/sio/internal/pattern"
	"github.com/sioedge/sioedge/sio/internal/quiet"
	"github.com/sioedge/sioedge/sio/internal/relay"
)

// A Server holds namespaces, and the connections of its listeners.
type Server struct {
	// Immutable after New.
	o      Options
	engine *loop.Engine
	eio    *eio.Server
	rooms  *rooms.Directory
	ids    *eio.IDs
	seq    sequencer
	now    func() int64 // ms, of a clock that does not step; any goroutine may ask
	// offsets says that events end in an offset: with recovery.
	offsets bool
	// cluster is Options.Adapter.
	cluster  rooms.Adapter
	tellsOwn bool // it wants to know of sockets' own rooms too
	relay    *relay.Relay
	shards   []*shard
	client   *clientfiles.Files
	notice   *notice.Log
	memory   *memory.Guard

	simulated bool         // the loops are a Sim's
	watch     *quiet.Watch // sees when handlers run and what is emitted; nil: nobody does

	overloaded, unheard atomic.Int64 // of Drops
	leftBehind          atomic.Int64 // bytes of events that wait of sockets that have left
	moving              atomic.Int64 // bytes of what waits for the functions of rooms

	toldMu sync.Mutex
	told   []told // the last of each loop; guarded by toldMu

	registry registry
	details  details
	wall     func() time.Time // of deadlines; immutable once it serves
	named    atomic.Bool      // some socket has had an id that is not that of its Ref
	failures failures
	handlers sync.WaitGroup // goroutines that run handlers
	served   atomic.Bool    // Serve was called
	down     atomic.Bool    // Shutdown was called
	stopped  chan struct{}  // closed when it has returned
	tuned    atomic.Bool    // Tune was called
	parted   atomic.Bool    // from the cluster
}

// maxRoomName bounds the name of a room that a socket joins, in bytes: programs
// take it from clients.
const maxRoomName = 1 << 10

// New returns a Server. It listens to nothing yet.
func New(o Options) (*Server, error) {
	srv, err := newServer(o)
	if err != nil {
		return nil, err
	}
	var h *host
	if o.Adapter != nil {
		h = newHost(srv, o.Adapter)
	}
	if srv.seq, err = newSequencer(srv, h); err != nil {
		return nil, err
	}
	if srv.engine, err = loop.New(srv.eio, srv.o.Loop); err != nil {
		return nil, err
	}
	srv.bind(srv.engine.Loops())
	if h != nil {
		err = srv.join(h)
	}
	return srv, err
}

// newServer makes all of a Server but its loops.
func newServer(o Options) (*Server, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	srv := &Server{
		o: o, offsets: o.Recovery.Window > 0, notice: notice.New(o.Logger, 0), stopped: make(chan struct{}),
		wall: time.Now, now: func() int64 { return time.Since(began).Milliseconds() },
	}
	srv.relay = relay.New(relay.Options{
		Node: string(o.Engine.Node), Advertise: o.Advertise, Secret: o.ClusterSecret, Path: o.Engine.Path,
		MaxForwards: o.MaxForwards, MaxTunnels: o.MaxTunnels, MaxPayload: o.Engine.MaxPayload,
		PingInterval: o.Engine.PingInterval, PingTimeout: o.Engine.PingTimeout, IdleTimeout: o.Engine.IdleTimeout,
		Logger: o.Logger,
	})
	srv.registry.init(o.MaxInstances)
	if o.Client != nil {
		files, err := clientfiles.New(o.Client, "/"+strings.Trim(o.Engine.Path, "/")+"/")
		if err != nil {
			return nil, err
		}
		srv.client = files
	}
	srv.o.Engine.Route = srv.route
	if e := &srv.o.Engine; o.Adapter != nil {
		e.Forward, e.Tunnel, e.Seek = srv.relay.Forward, srv.relay.Tunnel, srv.relay.Seek
	}
	if o.Engine.Proven == nil {
		srv.o.Engine.Proven = srv.relay.Proven
	}
	if srv.eio, err = eio.NewServer(srv, srv.o.Engine); err != nil {
		return nil, err
	}
	srv.memory = memory.NewGuard(o.MemoryLimit, srv.eio, srv.notice)
	srv.ids, err = eio.NewIDs(srv.o.Engine.Node, "socket.io socket")
	return srv, err
}

// bind makes the server's part of each loop, before the loops run.
func (srv *Server) bind(loops []*loop.Loop) {
	srv.rooms = rooms.NewDirectory(len(loops))
	srv.eio.Bind(loops)
	srv.memory.Bind(loops)
	for _, l := range loops {
		srv.shards = append(srv.shards, newShard(srv, l))
	}
	srv.seq.start()
}

// route finds who answers a request that is not Engine.IO's.
func (srv *Server) route(path string) http.Handler {
	if srv.client != nil && srv.client.Has(path) {
		return srv.client
	}
	if h := srv.relay.Route(path); h != nil {
		return h
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
	p := pattern.Parse(name)
	r := &srv.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ns := range *r.all.Load() {
		switch {
		case ns.name == name && ns.match == nil:
			return ns
		case p != nil && ns.pattern != nil && p.Alike(ns.pattern):
			panic("sio: namespaces " + name + " and " + ns.name + " have the same names")
		}
	}
	ns := &Namespace{srv: srv, name: name, pattern: p}
	ns.table.Store(srv.emptyTable())
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
	ns.table.Store(srv.emptyTable())
	r.add(ns)
	return ns
}

// Listen binds an address: "host:port", "tcp://host:port", "unix:/path" or "unix:/path?mode=0660". Port
// 0 picks a free one, which the result names. Clients are served once Serve
// runs.
func (srv *Server) Listen(addr string) (net.Addr, error) { return srv.engine.Listen(addr) }

// ListenWith is Listen with options of the listener; see [loop.ListenOptions].
func (srv *Server) ListenWith(addr string, o loop.ListenOptions) (net.Addr, error) {
	return srv.engine.ListenWith(addr, o)
}

// Serve serves clients until Shutdown has finished or ctx is done, which cuts
// them all.
func (srv *Server) Serve(ctx context.Context) error {
	srv.served.Store(true)
	if srv.o.MemoryLimit > 0 {
		guarding, ended := context.WithCancel(ctx)
		defer ended()
		go srv.memory.Run(guarding) // ends with Serve
	}
	if srv.tuned.Load() {
		trimming, ended := context.WithCancel(ctx)
		defer ended()
		go memory.Trim(trimming, func() int64 { return srv.engine.Stats().Open }) // ends with Serve
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
	srv.relay.Close()
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
	srv.relay.Land(ctx)
	srv.seq.settleAll()
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
