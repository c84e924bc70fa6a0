package sio

import (
	"encoding/json"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio/parser"
)

// admit runs the middlewares of a socket, on a goroutine, and tells the loop.
func (sh *shard) admit(s Socket, use []Middleware) error {
	verdict := internalError // if a middleware ends the goroutine
	defer func() { sh.loop.Post(loop.TaskFunc(func(*loop.Loop) { sh.judge(s, verdict) })) }()
	for _, m := range use {
		// A panic is reported, and to the client an internal error.
		var refused error
		err := sh.srv.call(s, "connect", func() error {
			refused = m(s)
			return nil
		})
		if err != nil {
			refused = err
		}
		if refused != nil {
			verdict = sh.srv.refusal(s.in.name, refused)
			return nil
		}
	}
	verdict = nil
	return nil
}

// refusal is what a client is told of a middleware's error, with data that is JSON
// already: encoding it is the program's, and may block and panic.
func (srv *Server) refusal(namespace string, err error) *Error {
	e := internalError
	failed := srv.guard(func() error {
		if e = clientError(err); e.Data == nil {
			return nil
		}
		data, err := parser.AppendJSON(nil, e.Data)
		e = &Error{e.Message, json.RawMessage(data)}
		return err
	})
	if failed != nil {
		srv.notice.Warn("data of a refusal cannot be encoded", "namespace", namespace, "error", failed)
		return &Error{Message: e.Message}
	}
	return e
}

// judge goes on with a socket whose middlewares have returned; refused is nil if
// they let it pass.
func (sh *shard) judge(s Socket, refused *Error) {
	slot := sh.lookup(s.ref)
	if slot == 0 || sh.sockets.At(slot).state != connecting {
		return // gone meanwhile
	}
	es := sh.session(slot)
	if refused == nil {
		sh.admitted(es, slot, s.in.ns.table.Load())
		return
	}
	sh.crossed.end(sh, es, s.in.name)
	sh.drop(es, slot)
	sh.reject(es, s.in.name, refused)
}
