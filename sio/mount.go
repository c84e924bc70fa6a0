package sio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio/internal/quiet"
)

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
// server does, whose Sim is shared.
func NewWatched(o Options, w *quiet.Watch) (*Server, *loop.Sim, error) {
	srv, sim, err := NewSim(o)
	if err == nil {
		srv.watch, w.Path = w, srv.o.Engine.Path
		sim.Share(w.Notify)
	}
	return srv, sim, err
}

// emptyTable is a namespace's before anything is registered. If the server is
// watched, every emit passes through its wrappers, where it is seen.
func (srv *Server) emptyTable() *table {
	if srv.watch == nil {
		return &table{}
	}
	return &table{outgoing: []func(EmitFunc) EmitFunc{func(next EmitFunc) EmitFunc { return next }}}
}

// watched emits an event and tells of it. Who it reaches is asked in the mailbox of
// each loop, behind what was done before.
func (b BroadcastOperator) watched(event string, args []any, emit func(BroadcastOperator, string, []any) error) error {
	srv := b.server()
	a, err := srv.encodeArgs(args)
	if err != nil {
		return err
	}
	e := &quiet.Emit{Namespace: b.address(), Event: event, Args: a.raw, Attachments: a.buffers,
		Direct: b.direct, Volatile: b.volatile, Plain: b.plain, Local: b.local}
	e.Rooms, e.Except = b.Rooms()
	if b.sender != 0 {
		e.Socket = b.socket().ID()
	}
	for _, sh := range srv.shards {
		sh.loop.Post(loop.TaskFunc(func(*loop.Loop) {
			for _, in := range b.targets() {
				for _, slot := range sh.matching(b, in) {
					e.Reaches(sh.id(slot))
				}
			}
		}))
	}
	srv.watch.Emitted(e)
	err = emit(b, event, args)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		e.Fail() // it was not sent; of a question it is the answer that did not come
	}
	return err
}

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
