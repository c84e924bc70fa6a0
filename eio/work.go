package eio

import (
	"context"
	"io"
	"net/http"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// A work is what is done for an exchange on a goroutine: a function of the
// application is called, which may block. It is its own task when it is done.
type work struct {
	// Immutable after runApart.
	sh     *shard
	h      *httpConn
	is     state             // of the exchange meanwhile, and what is to be done
	req    *http1.Request    // a copy
	cancel func()            // ends the context that the function has
	node   Node              // stateSeek
	target http.Handler      // stateRoute, stateForward
	dialer http.RoundTripper // stateTunnel

	// Of the goroutine until it posts the work; of the loop from then on.
	r      *http.Request
	w      *recorder          // what the function has answered, or set
	next   bool               // stateMiddleware: the request goes on
	err    error              // stateAllow, stateSeek, stateTunnel
	conn   io.ReadWriteCloser // stateTunnel: the WebSocket; nil: none
	abort  bool               // stateRoute, stateForward: the handler wants the connection cut
	failed bool               // the function did not return: it panicked, or ended its goroutine
}

// runApart has work done on a goroutine, with the request as net/http knows it, and
// then goes on with it on the loop, in workDone, unless the connection has ended by
// then, which ends the request's context. Meanwhile the connection's input is held
// back.
func (sh *shard) runApart(h *httpConn, x *work, body []byte) {
	if x.req == nil {
		x.req = h.req.Clone()
	}
	r, err := netRequest(x.req, sh.clientAddr(h), body)
	if err != nil {
		sh.answer(h, http.StatusBadRequest, nil, nil, true)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	x.sh, x.h, x.cancel, x.r, x.failed = sh, h, cancel, h.overTLS(r.WithContext(ctx)), true
	sh.wait(h, x.is)
	h.work = x
	sh.loop.Yield()
	// ends when the function of the application has returned
	go x.do()
}

// do is the goroutine's part.
func (x *work) do() {
	defer func() {
		if !x.sh.loop.Post(x) {
			x.cancel()
			x.drop()
		}
	}()
	switch x.is {
	case stateMiddleware:
		defer x.sh.logPanic("Middleware")
		x.next = x.sh.srv.o.Middleware(x.w, x.r)
	case stateAllow:
		defer x.sh.logPanic("AllowRequest")
		x.err = x.sh.srv.o.AllowRequest(x.r)
	case stateSeek:
		defer x.sh.logPanic("Seek")
		x.err = x.sh.srv.o.Seek(x.r, x.node)
	case stateRoute, stateForward:
		defer x.handlerEnds()
		x.target.ServeHTTP(x.w, x.r)
		x.w.WriteHeader(http.StatusOK)
	case stateTunnel:
		defer x.sh.logPanic("Tunnel")
		x.ask()
	}
	x.failed = false
}

// Run is the loop's part. For workDone the exchange is as it was, with a copy of
// the request.
func (x *work) Run(*loop.Loop) {
	x.cancel()
	h := x.h
	if x.sh.httpOf(h.conn) != h || h.conn.Ending() {
		x.drop()
		return
	}
	x.sh.unwait(h)
	h.req, h.query, h.work = x.req, queryOf(x.req), nil
	x.sh.workDone(h, x)
	if x.sh.loop.Draining() && !x.sh.srv.Finish(h.conn) {
		h.conn.Close() // it waits for more than its answer: a poll, a WebSocket
	}
}

// drop is for work that is done when nobody waits for it any more.
func (x *work) drop() {
	if x.conn != nil {
		closeSoon(x.conn)
	}
}

// workDone goes on with a request when the work for it is done.
func (sh *shard) workDone(h *httpConn, x *work) {
	switch x.is {
	case stateMiddleware:
		sh.middlewareDone(h, x)
	case stateAllow:
		sh.allowed(h, x)
	case stateSeek:
		sh.sought(h, x)
	case stateRoute, stateForward:
		sh.handlerDone(h, x)
	case stateTunnel:
		sh.nodeAnswered(h, x)
	}
}
