package eio

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"

	"github.com/sioedge/sioedge/loop"
)

// A Refusal is an error of Options.AllowRequest with a Message for the client,
// which is that of the answer's code 4, Forbidden. Any other error tells the
// client no more than "Forbidden".
type Refusal struct{ Message string }

// Error returns the Message.
func (e *Refusal) Error() string { return e.Message }

// apart has work done on a goroutine, with the request as net/http knows it but
// without its body, and then done on the loop, unless the connection has ended
// by then, which ends the request's context: then lost is called, on either.
// Meanwhile the connection's input is held back. For done, the exchange is as it
// was, with a copy of the request.
func (sh *shard) apart(h *httpConn, work func(r *http.Request), done, lost func()) {
	req := h.req.Clone()
	r, err := netRequest(req, h.conn.RemoteAddr(), nil)
	if err != nil {
		sh.answer(h, http.StatusBadRequest, nil, nil, true)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	sh.wait(h, stateApart)
	h.cut = func(Reason) { cancel() }
	sh.loop.Yield()
	finish := loop.TaskFunc(func(*loop.Loop) {
		cancel()
		if sh.httpOf(h.conn) != h || h.conn.Ending() {
			lost()
			return
		}
		sh.unwait(h)
		h.req, h.query, h.cut = req, queryOf(req), nil
		done()
	})
	// ends when work has returned
	go func() {
		defer func() {
			if !sh.loop.Post(finish) {
				cancel()
				lost()
			}
		}()
		work(r.WithContext(ctx))
	}()
}

var errGaveUp = errors.New("eio: AllowRequest panicked or ended its goroutine")

// admit opens a session for a request that is in order, if AllowRequest agrees.
func (sh *shard) admit(h *httpConn, transport string) {
	allow := sh.srv.o.AllowRequest
	if allow == nil {
		sh.openSession(h, transport)
		return
	}
	err := errGaveUp
	sh.apart(h, func(r *http.Request) {
		defer sh.logPanic("AllowRequest")
		err = allow(r)
	}, func() {
		var shown *Refusal
		switch {
		case errors.As(err, &shown):
			r := forbidden
			r.message, r.err = shown.Message, err
			sh.refuse(h, r)
		case err != nil:
			r := forbidden
			r.err = err
			sh.refuse(h, r)
		case sh.srv.draining.Load():
			sh.unavailable(h)
		case sh.srv.pressed.Load():
			sh.press(h)
		default:
			sh.openSession(h, transport)
		}
	}, func() {})
}

// openSession opens a session.
func (sh *shard) openSession(h *httpConn, transport string) {
	if transport == "websocket" {
		sh.openWS(h)
	} else {
		sh.openPolling(h)
	}
}

// middleware has Options.Middleware see a request, which goes on behind it, or
// not.
func (sh *shard) middleware(h *httpConn) {
	w := &recorder{header: http.Header{}}
	next, failed := false, true
	sh.apart(h, func(r *http.Request) {
		defer sh.logPanic("Middleware")
		next = sh.srv.o.Middleware(w, r)
		failed = false
	}, func() {
		switch {
		case failed:
			sh.refuse(h, middlewareFailure)
		case next && w.status == 0:
			h.fields = appendHeader(h.fields, w.header)
			sh.engineRequest(h)
		default:
			w.WriteHeader(http.StatusOK)
			fields, body, end := w.answer(h.isHead)
			sh.answer(h, w.status, fields, body, end || h.upgrade)
		}
	}, func() {})
}

// logPanic, deferred, makes a panic in the application's function a message for
// the operator.
func (sh *shard) logPanic(function string) {
	if v := recover(); v != nil {
		sh.srv.o.Logger.Error("panic", "in", function, "panic", v, "stack", string(debug.Stack()))
	}
}
