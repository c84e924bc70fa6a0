package sio

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio/internal/memory"
	"github.com/sioedge/sioedge/sio/internal/pace"
	"github.com/sioedge/sioedge/sio/internal/takeover"
)

// Serve serves clients until Shutdown has finished or ctx is done, which cuts
// them all. It is called once. The error is nil then, [loop.ErrClosed] if Serve or Shutdown was called before,
// or what the loops or the adapter failed with.
func (srv *Server) Serve(ctx context.Context) error {
	if srv.begun.Swap(true) {
		return loop.ErrClosed
	}
	if in := srv.o.Inherit; in != nil {
		if err := srv.takeOver(); err != nil || in.DryRun() {
			return errors.Join(err, srv.Shutdown(context.Background()))
		}
	}
	srv.served.Store(true)
	close(srv.serving)
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
		takeover.Unavailable(w.Header())
		http.Error(w, "the Socket.IO server is not running", http.StatusServiceUnavailable)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "Socket.IO cannot take over the connection: "+err.Error(), http.StatusNotImplemented)
		return
	}
	_ = conn.SetDeadline(time.Time{}) // net/http's are not ours
	head := takeover.Head(r, srv.o.Handler == nil)
	rest, _ := buffered.Reader.Peek(buffered.Reader.Buffered()) // cannot fail
	if err := srv.Adopt(conn, append(head, rest...)); err != nil {
		takeover.Refuse(conn, err, errors.Is(err, loop.ErrClosed))
	}
}

// Adopt takes over a *net.TCPConn or *net.UnixConn, on which a client speaks
// HTTP, and closes it: the connection goes on under the event loops. buffered is
// what has been read of it, from the start of a request; it is copied. On an
// error conn is still the caller's. Serve must be running.
func (srv *Server) Adopt(conn net.Conn, buffered []byte) error {
	return srv.engine.Adopt(conn, buffered)
}

// Drain has clients leave, before Shutdown or until Resume: new sessions are refused with
// 503, so that these go to other servers, and those that are open end a few at a time,
// evenly over a time, as Shutdown ends them. The server goes on listening, and answers
// whoever comes. It waits until there is no session left, nor a WebSocket that is passed
// on to another server, and returns nil then, or ctx's error when ctx is done: sessions
// that are left stay then. A handler must not call it: [ErrInline], on a loop.
func (srv *Server) Drain(ctx context.Context, over time.Duration) error {
	if srv.engine.OnLoop() {
		return ErrInline
	}
	srv.eio.Drain()
	return pace.Run(ctx, srv.engine.Loops(), over, func(l *loop.Loop, at uint32, n int) (uint32, int) {
		sh := srv.shards[l.Index()]
		sh.parting = true
		defer func() { sh.parting = false }()
		return srv.eio.CloseFew(l, at, n)
	})
}

// Resume has the server take new sessions again behind Drain, whose ctx must be done if it
// has not returned.
func (srv *Server) Resume() {
	if !srv.down.Load() {
		srv.eio.Resume()
	}
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
	srv.lastly.say(ctx)
	return errors.Join(ctx.Err(), srv.engine.Shutdown(ctx), srv.part(ctx))
}

// farewells are functions of OnShutdown.
type farewells struct {
	all  []func(ctx context.Context)
	once sync.Once
}

// OnShutdown adds a function that Shutdown calls, with its ctx, when the functions of
// OnDisconnect have returned or ctx is done, while the server is in its cluster still. It
// is called once, also when Serve is cut: ctx is done then. A call must be before Serve.
func (srv *Server) OnShutdown(f func(ctx context.Context)) {
	srv.lastly.all = append(srv.lastly.all, f)
}

func (x *farewells) say(ctx context.Context) {
	x.once.Do(func() {
		for _, f := range x.all {
			f(ctx)
		}
	})
}
