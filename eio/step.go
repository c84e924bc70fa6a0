package eio

import (
	"net/http"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1/encoding"
)

// What a session may have handled before other connections are served: packets,
// and bytes of them (as they are handed over: inflated). The rest waits for a
// later step, in order.
const (
	stepPackets = 64
	stepBytes   = 64 << 10
)

// perSlice is how many sessions with more to be handled have a turn before
// sockets are served again.
const perSlice = 8

// sliceInflated is how many bytes all sessions of a loop may have inflated before
// sockets are served again: what they send may be a thousandth of that. The one
// that passes it is finished.
const sliceInflated = 512 << 10

// A turnRoom is what is left of a session's step.
type turnRoom struct{ packets, bytes int }

func newTurn() turnRoom { return turnRoom{stepPackets, stepBytes} }

// take takes a packet of n bytes out, and tells whether there is room for one
// more.
func (r *turnRoom) take(n int) bool {
	r.packets--
	r.bytes -= n
	return r.packets > 0 && r.bytes > 0
}

// later has the session go on in a later step; until then nothing more of it is
// read or handled.
func (sh *shard) later(slot uint32) {
	s := sh.handle(slot)
	s.pause(busy)
	sh.waiting = append(sh.waiting, s)
	sh.loop.NeedWork()
}

// goOn gives sessions with more to be handled their turns.
func (sh *shard) goOn() (more bool) {
	sh.zip.left = sliceInflated
	defer func() { // also when a handler panics
		if len(sh.waiting) > 0 {
			sh.loop.NeedWork()
		}
	}()
	for range min(len(sh.waiting), perSlice) {
		s := sh.waiting[0]
		sh.waiting = sh.waiting[1:]
		s.resume(busy)
	}
	if len(sh.waiting) == 0 {
		sh.waiting = nil
	}
	return len(sh.waiting) > 0
}

// A remainder is what is left of a body whose session waits. Its request is
// answered when all of it has been handled.
type remainder struct {
	body    []byte
	octets  bool
	charged int // 0: the body is not ours yet
}

// remainderOverhead is what a remainder takes beside its bytes, about.
const remainderOverhead = 64

// handleBody handles a body, as far as it may now, and answers the request that
// brought it on c when that is all of it.
func (sh *shard) handleBody(c loop.Conn, slot uint32, r remainder) {
	es := sh.handle(slot)
	rest, more, ok := sh.payload(slot, r.body, r.octets)
	switch {
	case !ok:
		if h := sh.httpOf(c); h != nil {
			sh.answer(h, http.StatusBadRequest, nil, nil, false)
		}
	case !es.Valid():
		sh.acknowledge(c)
	case more:
		if r.charged == 0 {
			r.charged = len(rest) + remainderOverhead
			if !sh.account(slot).Charge(r.charged) {
				sh.acknowledge(c)
				return
			}
			rest = append(make([]byte, 0, len(rest)), rest...)
		}
		r.body = rest
		sh.ext(slot).rest = &r
		sh.keepUnacked(c, slot)
	default:
		if a := sh.peekAccount(slot); a != nil {
			a.Release(r.charged)
		}
		if sh.sessions.At(slot).is(paused) {
			sh.keepUnacked(c, slot)
		} else {
			sh.acknowledge(c)
		}
	}
}

// goOnBody goes on with a body of which something is left, and gives the
// acknowledgement that was kept back if there is none.
func (sh *shard) goOnBody(slot uint32) {
	e := sh.peekExt(slot)
	if e == nil || e.rest == nil {
		sh.releaseUnacked(slot)
		return
	}
	c, r := e.unacked, *e.rest
	e.unacked, e.rest = loop.Conn{}, nil
	sh.handleBody(c, slot, r)
}

// acknowledge answers the request of a body that was handled.
func (sh *shard) acknowledge(c loop.Conn) {
	if h := sh.httpOf(c); h != nil {
		sh.answerSession(h, []byte("ok"), valueHTML, encoding.Identity)
	}
}
