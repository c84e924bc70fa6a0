package sio

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/notice"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/clientfiles"
	"github.com/sioedge/sioedge/sio/internal/keyed"
	"github.com/sioedge/sioedge/sio/internal/memory"
	"github.com/sioedge/sioedge/sio/internal/names"
	"github.com/sioedge/sioedge/sio/internal/quiet"
	"github.com/sioedge/sioedge/sio/internal/relay"
	"github.com/sioedge/sioedge/sio/internal/running"
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

	latest loop.Latest[told]
	ending sync.RWMutex // write-locked while Serve ends what is left on loops that have ended

	registry registry
	details  details
	values   keyed.Store      // of sockets, by Key
	conns    keyed.Store      // of connections, by ConnKey
	partings keyed.Store      // of connections, for their sockets that leave
	wall     func() time.Time // of deadlines; immutable once it serves
	named    atomic.Bool      // some socket has had an id that is not that of its Ref
	given    names.Counts     // those ids: two have one while a client takes a socket over
	failures failures
	handlers running.Count // goroutines that run handlers
	hold     hold
	gate     running.Gate  // of what programs do to sockets: shut while these are handed over
	begun    atomic.Bool   // Serve was called
	served   atomic.Bool   // and has taken over who there was
	serving  chan struct{} // closed with it
	down     atomic.Bool   // Shutdown was called
	stopped  chan struct{} // closed when it has returned
	lastly   farewells
	tuned    atomic.Bool            // Tune was called
	parted   atomic.Bool            // from the cluster
	handing  atomic.Bool            // to a successor, or handed over
	hushed   atomic.Bool            // the cluster is not told of what ends here
	heir     atomic.Bool            // it takes over, and has not yet
	frozen   *loop.Frozen           // while loops stand still for a handover: for Part.Export
	standing atomic.Pointer[[]told] // by loops that are frozen; nil: none is
	parts    []Part                 // of Carry; immutable once it serves
	carried  carriedValues

	describe  func(s Socket, transport string, data json.RawMessage) json.RawMessage // nil: data says it all
	observers atomic.Int32                                                           // functions of Observe
}

// maxRoomName bounds the name of a room that a socket joins, in bytes: programs
// take it from clients.
const maxRoomName = 1 << 10

// New returns a Server. It listens to nothing yet. The error says which of the options
// cannot be, or that the system has no pollers to give.
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
	if o.Inherit != nil {
		if err := o.Inherit.options(&o); err != nil {
			return nil, err
		}
	}
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	srv := &Server{
		o: o, offsets: o.Recovery.Window > 0, notice: notice.New(o.Logger, 0), stopped: make(chan struct{}), serving: make(chan struct{}),
		wall: time.Now, now: func() int64 { return time.Since(began).Milliseconds() },
	}
	srv.heir.Store(o.Inherit != nil)
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
	srv.ids, err = srv.newIDs("socket.io socket")
	return srv, err
}

// NewSim returns a Server on simulated loops: no sockets and a clock of its own,
// for benchmarks with more connections than a machine has descriptors for, and for
// tests that speak the protocol themselves. Handlers must be inline, unless the
// caller waits for their goroutines by other means. See loop.Sim. Tests of
// applications use package siotest.
//
// A simulation is of one server: Options.Adapter is an error.
func NewSim(o Options) (*Server, *loop.Sim, error) {
	if o.Adapter != nil {
		return nil, nil, errors.New("sio: a simulated server is in no cluster")
	}
	srv, err := newServer(o)
	if err != nil {
		return nil, nil, err
	}
	if srv.seq, err = newSequencer(srv, nil); err != nil {
		return nil, nil, err
	}
	sim := loop.NewSim(srv.eio, srv.o.Loop)
	srv.engine, srv.simulated = sim.Engine(), true
	srv.now = func() int64 { return sim.Now().Milliseconds() }
	srv.served.Store(true)
	srv.bind(sim.Engine().Loops())
	began := time.Now().Round(0)
	srv.wall = func() time.Time { return began.Add(sim.Now()) }
	return srv, sim, nil
}

// NewWatched is NewSim for package siotest, which alone can use it: w sees what the
// server does, whose Sim is shared. Errors are as of New.
func NewWatched(o Options, w *quiet.Watch) (*Server, *loop.Sim, error) {
	srv, sim, err := NewSim(o)
	if err == nil {
		srv.watch, w.Path = w, srv.o.Engine.Path
		sim.Share(w.Notify)
	}
	return srv, sim, err
}

// newIDs returns a codec for ids of a purpose, with the key of the sessions': by that,
// and no other, all that a process restores is known by the ids that it had.
func (srv *Server) newIDs(purpose string) (*eio.IDs, error) {
	return eio.NewIDsWithKey(srv.o.Engine.Node, purpose, srv.eio.IDKey())
}

// alive tells whether a Ref is that of a socket that is not gone. Any goroutine may ask.
func (srv *Server) alive(ref rooms.Ref) bool {
	return ref.Loop() < len(srv.shards) && srv.shards[ref.Loop()].sockets.Is(ref.Slot(), ref.Gen())
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

// Listen binds an address: "host:port", "tcp://host:port", "unix:/path" or "unix:/path?mode=0660". Port
// 0 picks a free one, which the result names. Clients are served once Serve
// runs. The error is the system's, or says what is wrong with the address.
func (srv *Server) Listen(addr string) (net.Addr, error) {
	return srv.ListenWith(addr, loop.ListenOptions{})
}

// ListenWith is Listen with options of the listener; see [loop.ListenOptions].
func (srv *Server) ListenWith(addr string, o loop.ListenOptions) (net.Addr, error) {
	if in := srv.o.Inherit; in != nil && len(o.Files) == 0 {
		in.listeners(addr, &o)
		defer closeAll(o.Files) // the engine has copies
	}
	return srv.engine.ListenWith(addr, o)
}

// rooms returns how many rooms each namespace has, by how many each instance's id has.
func (r *registry) rooms(of map[uint32]int) map[*Namespace]int64 {
	all := map[*Namespace]int64{}
	for _, in := range *r.literals.Load() {
		all[in.ns] += int64(of[in.id])
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, in := range r.live {
		all[in.ns] += int64(of[in.id])
	}
	return all
}

// Engine returns the engine, for its counters.
func (srv *Server) Engine() *loop.Engine { return srv.engine }

// Tune has the process serve this server as well as it can, for a program that does
// little else, as sioedge does. It is called once, before Serve; later calls, and
// those on a simulation, do nothing.
//
// GOMAXPROCS is raised by the number of event loops, each of which keeps a processor
// of Go's while it sleeps for a moment (on Linux, see KeepProcessors of
// [loop.Options]): what wakes it costs a third less. And when many clients have come
// or gone and it has become calm again, memory that they needed for a moment is given
// back to the system, which would take minutes by itself and costs one collection.
func (srv *Server) Tune() {
	if srv.engine == nil || srv.tuned.Swap(true) {
		return
	}
	srv.engine.KeepProcessors()
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + len(srv.engine.Loops()))
}

// DescribeWith has f say what other servers are told of a socket's data: JSON, in place of
// data. It is called before Serve; f is called on no loop.
func (srv *Server) DescribeWith(f func(s Socket, transport string, data json.RawMessage) json.RawMessage) {
	srv.describe = f
}
