package eio

import (
	"errors"
	"io"
	"net/http"

	"github.com/sioedge/sioedge/loop"
)

// A cause is why an exchange is abandoned: it does not get the answer that it was
// to have.
type cause uint8

const (
	peerEnded    cause = iota // the peer has ended the connection
	peerReset                 // the connection broke
	serverStops               // this side ends it: the engine shuts down, or Server.CloseSome
	timedOut                  // the rest of the request did not come in time
	malformed                 // what came of it is no HTTP
	tooLarge                  // its body is longer than it may be
	sessionEnded              // its session has been closed
	causes       = iota
)

// causeOf returns the cause that the end of a connection is.
func causeOf(err error) cause {
	switch {
	case errors.Is(err, io.EOF):
		return peerEnded
	case errors.Is(err, loop.ErrClosed):
		return serverStops
	}
	return peerReset
}

// causeOfStatus returns the cause that a request is answered with an error for
// before all of it has come.
func causeOfStatus(status int) cause {
	switch status {
	case http.StatusRequestTimeout:
		return timedOut
	case http.StatusRequestEntityTooLarge:
		return tooLarge
	}
	return malformed
}

// abandon ends what an exchange waits for, in the way of its state. It is the only
// place where one ends before its time, and is called once: the connection c, which
// had it, has ended or been answered by then, unless why is sessionEnded or
// serverStops: then a poll, or a POST that is not acknowledged, is answered here.
func (sh *shard) abandon(c loop.Conn, x *exchange, why cause) {
	slot := sh.lookup(x.session) // 0 if the session has gone, or there is none
	var e *ext
	if slot != 0 {
		e = sh.peekExt(slot)
	}
	switch x.state {
	case stateIdle, stateHead, stateDeciding, stateDropping:
		// Nobody waits for it.
	case statePayload:
		if why == sessionEnded {
			return // it is refused when it is whole
		}
		x.releaseBody(sh)
		if e != nil && e.post == c {
			e.post = loop.Conn{}
		}
		if slot != 0 && why != tooLarge { // Node leaves that to the client
			sh.close(slot, TransportError)
		}
	case stateRouteBody, stateForwardBody:
		x.releaseBody(sh) // its handler has not been called
	case statePoll:
		if e == nil || e.get != c {
			return
		}
		e.get = loop.Conn{}
		switch h := sh.httpOf(c); {
		case h != nil && why == serverStops:
			sh.answerUnavailable(h)
		case h != nil && why == sessionEnded:
			sh.answerPoll(h, slot, e, queued{frames: closeFrame, plain: true})
		case why != sessionEnded:
			sh.close(slot, TransportError) // a poll whose connection goes away ends the session at once
		}
	case stateUnacked:
		if e == nil || e.unacked != c {
			return
		}
		e.unacked = loop.Conn{}
		if why == sessionEnded || why == serverStops {
			sh.acknowledge(c)
		}
	case stateMiddleware, stateAllow, stateSeek, stateRoute, stateForward, stateTunnel:
		x.work.cancel() // what it finds out is for nobody
	}
}

// abandonOn abandons the exchange of a connection that is still there.
func (sh *shard) abandonOn(c loop.Conn, why cause) {
	if h := sh.httpOf(c); h != nil {
		x := h.exchange
		sh.abandon(c, &x, why)
	}
}

// fail answers a request that cannot become whole any more, and ends the
// connection.
func (sh *shard) fail(h *httpConn, status int) {
	x := h.exchange
	sh.noteRefused(status)
	sh.answer(h, status, nil, nil, true)
	sh.abandon(h.conn, &x, causeOfStatus(status))
}
