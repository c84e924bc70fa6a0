package eio

import (
	"errors"
	"net/http"
	"runtime/debug"
)

// A Refusal is an error of Options.AllowRequest with a Message for the client,
// which is that of the answer's code 4, Forbidden. Any other error tells the
// client no more than "Forbidden".
type Refusal struct{ Message string }

// Error returns the Message.
func (e *Refusal) Error() string { return e.Message }

var errGaveUp = errors.New("eio: AllowRequest panicked or ended its goroutine")

// admit opens a session for a request that is in order, if AllowRequest agrees.
func (sh *shard) admit(h *httpConn, transport string) {
	if sh.srv.o.AllowRequest == nil {
		sh.openSession(h, transport)
		return
	}
	sh.runApart(h, &work{is: stateAllow}, nil)
}

// allowed goes on when AllowRequest has decided.
func (sh *shard) allowed(h *httpConn, x *work) {
	r := forbidden
	if r.err = x.err; x.failed {
		r.err = errGaveUp
	}
	var shown *Refusal
	switch {
	case errors.As(r.err, &shown):
		r.message = shown.Message
		sh.refuse(h, r)
	case r.err != nil:
		sh.refuse(h, r)
	case sh.srv.leaving():
		sh.unavailable(h)
	case sh.srv.pressed.Load():
		sh.press(h)
	default:
		sh.openSession(h, string(h.query.transport))
	}
}

// openSession opens a session.
func (sh *shard) openSession(h *httpConn, transport string) {
	a, ok := sh.reserve(h)
	if !ok {
		return
	}
	outer := sh.reserved // of another, whose function of the application has led here
	sh.reserved = a
	defer func() {
		if sh.reserved.IsValid() { // it was not opened
			sh.srv.owners.remove(sh.reserved)
		}
		sh.reserved = outer
	}()
	if transport == "websocket" {
		sh.openWS(h)
	} else {
		sh.openPolling(h)
	}
}

// middlewareDone goes on behind Options.Middleware, or not.
func (sh *shard) middlewareDone(h *httpConn, x *work) {
	switch {
	case x.failed:
		sh.refuse(h, middlewareFailure)
	case x.next && x.w.status == 0:
		h.fields = appendHeader(h.fields, x.w.header)
		sh.engineRequest(h)
	default:
		x.w.WriteHeader(http.StatusOK)
		fields, body, end := x.w.answer(h.isHead)
		sh.answer(h, x.w.status, fields, body, end || h.upgrade)
	}
}

// logPanic, deferred, makes a panic in the application's function a message for
// the operator.
func (sh *shard) logPanic(function string) {
	if v := recover(); v != nil {
		sh.srv.o.Logger.Error("panic", "in", function, "panic", v, "stack", string(debug.Stack()))
	}
}
