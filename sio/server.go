package sio

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
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

	latest loop.Latest[told]
	ending sync.RWMutex // write-locked while Serve ends what is left on loops that have ended

	registry registry
	details  details
	wall     func() time.Time // of deadlines; immutable once it serves
	named    atomic.Bool      // some socket has had an id that is not that of its Ref
	given    givenIDs         // those ids
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
func (srv *Server) Listen(addr string) (net.Addr, error) { return srv.engine.Listen(addr) }

// ListenWith is Listen with options of the listener; see [loop.ListenOptions].
func (srv *Server) ListenWith(addr string, o loop.ListenOptions) (net.Addr, error) {
	return srv.engine.ListenWith(addr, o)
}

// Serve serves clients until Shutdown has finished or ctx is done, which cuts
// them all. It is called once. The error is nil then, [loop.ErrClosed] if Serve or Shutdown was called before,
// or what the loops or the adapter failed with.
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
	srv.ending.Lock()
	for _, sh := range srv.shards {
		sh.end()
	}
	srv.ending.Unlock()
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

// ServeHTTP lets a server of net/http have Socket.IO on its port:
//
//	mux.Handle("/socket.io/", srv)
//	go srv.Serve(ctx) // without it there are no loops to serve anybody
//	log.Fatal(http.ListenAndServe(":3000", mux))
//
// The request's connection leaves net/http for good: it is taken over by the
// event loops, with everything that is yet to come on it. If Options.Handler is
// set it answers whatever else clients ask for on that connection; otherwise the
// connection of a request that is no WebSocket ends behind the answer, so that
// other requests always reach who they are for.
//
// The path must be that of Options.Engine, not one that a handler before this
// has shortened; what such a handler has added to the request's header is seen,
// the body must be unread. Only plain TCP and Unix connections can be taken over:
// TLS is answered with 501, and HTTP/2 with 505. Let a proxy speak those, or
// listen with Listen. Until Serve runs, and during Shutdown, it is 503.
func (srv *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.ProtoMajor != 1:
		http.Error(w, "Socket.IO is served over HTTP/1.1 here, not over "+r.Proto, http.StatusHTTPVersionNotSupported)
		return
	case r.TLS != nil:
		http.Error(w, "Socket.IO cannot take over a TLS connection of net/http: end TLS in a proxy, or let the server listen itself", http.StatusNotImplemented)
		return
	case !srv.served.Load() || srv.down.Load():
		unavailable(w.Header())
		http.Error(w, "the Socket.IO server is not running", http.StatusServiceUnavailable)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "Socket.IO cannot take over the connection: "+err.Error(), http.StatusNotImplemented)
		return
	}
	_ = conn.SetDeadline(time.Time{}) // net/http's are not ours
	head := requestHead(r, srv.o.Handler == nil)
	rest, _ := buffered.Reader.Peek(buffered.Reader.Buffered()) // cannot fail
	if err := srv.Adopt(conn, append(head, rest...)); err != nil {
		refuseHijacked(conn, err)
	}
}

// Adopt takes over a *net.TCPConn or *net.UnixConn, on which a client speaks
// HTTP, and closes it: the connection goes on under the event loops. buffered is
// what has been read of it, from the start of a request; it is copied. On an
// error conn is still the caller's. Serve must be running.
func (srv *Server) Adopt(conn net.Conn, buffered []byte) error {
	return srv.engine.Adopt(conn, buffered)
}

// requestHead returns the head of a request as its client may have sent it; with
// last, as that of the connection's last one, unless it is to become a
// WebSocket.
func requestHead(r *http.Request, last bool) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.%d\r\n", r.Method, r.RequestURI, r.ProtoMinor)
	if r.Host != "" || r.ProtoMinor > 0 {
		fmt.Fprintf(&b, "Host: %s\r\n", r.Host)
	}
	out := map[string]bool{"Host": true, "Content-Length": true, "Transfer-Encoding": true}
	if last = last && r.Header.Get("Upgrade") == ""; last {
		out["Connection"] = true
		b.WriteString("Connection: close\r\n")
	}
	switch {
	case len(r.TransferEncoding) > 0: // net/http knows no other
		b.WriteString("Transfer-Encoding: chunked\r\n")
	case r.ContentLength > 0 || r.Header.Get("Content-Length") != "":
		b.WriteString("Content-Length: " + strconv.FormatInt(r.ContentLength, 10) + "\r\n")
	}
	_ = r.Header.WriteSubset(&b, out) // writing to a Buffer cannot fail
	b.WriteString("\r\n")
	return b.Bytes()
}

// refuseHijacked answers on a connection that could not be taken over.
func refuseHijacked(conn net.Conn, err error) {
	defer conn.Close()
	header, status := http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, http.StatusNotImplemented
	text := "Socket.IO cannot take over the connection: " + err.Error() + "\n"
	if errors.Is(err, loop.ErrClosed) {
		status = http.StatusServiceUnavailable
		unavailable(header)
	}
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	_ = (&http.Response{ProtoMajor: 1, ProtoMinor: 1, StatusCode: status, Header: header, Close: true,
		ContentLength: int64(len(text)), Body: io.NopCloser(bytes.NewReader([]byte(text)))}).Write(conn)
}

// unavailable adds what tells proxies when to try again.
func unavailable(h http.Header) { h.Set("Retry-After", "5") }

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

// mostReplayed is what may be queued for a client, less some for what else there is.
func (srv *Server) mostReplayed() int64 {
	o := &srv.o.Loop
	most := int64(cmp.Or(o.MaxOutbound, max(16<<20, o.SoftOutbound)))
	return most - most/16
}
