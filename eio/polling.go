package eio

import (
	"bytes"
	"net/http"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/loop/http1/encoding"
)

// openPolling answers the first request of a session over polling.
func (sh *shard) openPolling(h *httpConn) {
	slot := sh.newSession()
	sh.ext(slot).last = h.conn
	sh.answerPoll(h, sh.appendOpen(nil, slot, sh.srv.upgrades))
	sh.srv.h.Open(sh.handle(slot), &sh.req)
}

// answerPoll answers a poll with a payload.
func (sh *shard) answerPoll(h *httpConn, payload []byte) {
	sh.answerSession(h, payload, valueText, encoding.Identity)
}

// answerQueue answers a poll with what is queued, compressed if the client takes
// it, and some of it may be.
func (sh *shard) answerQueue(h *httpConn, e *ext) {
	payload, plain := e.takeQueue()
	coding := encoding.Identity
	if !plain {
		payload, coding = sh.encode(payload, h.coding)
	}
	sh.answerSession(h, payload, valueText, coding)
}

func (sh *shard) answerSession(h *httpConn, body, contentType []byte, coding encoding.Coding) {
	fields := []http1.Field{{Name: fieldType, Value: contentType}, {Name: fieldCache, Value: valueNoStore}}
	if h.oldIE {
		fields = append(fields, http1.Field{Name: fieldXSS, Value: valueZero})
	}
	if coding != encoding.Identity {
		fields = append(fields, http1.Field{Name: fieldEncoding, Value: []byte(coding)})
	}
	sh.answer(h, http.StatusOK, fields, body, false)
}

// poll answers a GET with what is queued, or keeps it until something is.
func (sh *shard) poll(h *httpConn, slot uint32) {
	s, e := sh.sessions.At(slot), sh.ext(slot)
	e.last = h.conn
	h.coding = sh.pollCoding()
	if s.is(closing) {
		if len(e.queue) > 0 {
			sh.answerQueue(h, e)
			return
		}
		sh.answerPoll(h, deferredClose)
		sh.free(slot)
		return
	}
	if e.get.Valid() {
		// Two polls at once: the session is beyond repair (Node: "overlap
		// from client").
		sh.answer(h, http.StatusBadRequest, nil, nil, false)
		sh.close(slot, TransportError)
		return
	}
	e.get, h.session = h.conn, sh.ref(slot)
	sh.wait(h)
	switch {
	case len(e.queue) > 0:
		sh.pollLater(slot, e)
	case e.probed:
		// The client waits for its poll before it completes the upgrade, but
		// answering at once would make it ask again at once.
		sh.loop.Schedule(&e.release, releaseAfter, func() { sh.releasePoll(slot) })
	}
}

// polled tells whether a poll waits that can still be answered. One whose
// connection is just ending ends the session with it, at the end of the step.
func (e *ext) polled() bool { return e.get.Valid() && !e.get.Ending() }

const releaseAfter = 100 * time.Millisecond

// releasePoll answers a waiting poll with a noop, so that a client that is
// upgrading is free to go on.
func (sh *shard) releasePoll(slot uint32) {
	e := sh.peekExt(slot)
	if e == nil || !e.polled() || len(e.queue) > 0 {
		return
	}
	sh.answerGet(e, []byte{noop})
}

// answerGet answers the poll that waits.
func (sh *shard) answerGet(e *ext, payload []byte) {
	h := sh.httpOf(e.get)
	e.get = loop.Conn{}
	if h != nil {
		sh.answerPoll(h, payload)
	}
}

// flushGet answers the poll that waits with what is queued.
func (sh *shard) flushGet(e *ext) {
	h := sh.httpOf(e.get)
	e.get = loop.Conn{}
	if h != nil {
		sh.answerQueue(h, e)
	}
}

// enqueue queues frames for a poll, and has the one that waits answered at the
// end of the step.
func (sh *shard) enqueue(slot uint32, frames []byte, share, plain bool) {
	e := sh.ext(slot)
	if e.queued+len(frames) > sh.srv.o.MaxQueue && e.queued > 0 {
		// Not closed here: whoever sends must not find the handler called.
		e.overflow = true
		sh.pollLater(slot, e)
		return
	}
	if !share {
		frames = bytes.Clone(frames)
	}
	e.queue = append(e.queue, queued{frames, plain})
	e.queued += len(frames)
	if e.polled() {
		sh.pollLater(slot, e)
	}
}

func (sh *shard) pollLater(slot uint32, e *ext) {
	if !e.flush {
		e.flush = true
		sh.pollers = append(sh.pollers, slot)
	}
}

// flushPollers answers the polls for which something was queued in this step,
// and closes the sessions whose queues overflowed.
func (sh *shard) flushPollers() {
	for i := 0; i < len(sh.pollers); i++ {
		e := sh.peekExt(sh.pollers[i])
		if e == nil || !e.flush {
			continue // gone, and perhaps another session's slot by now
		}
		e.flush = false
		if e.overflow {
			sh.close(sh.pollers[i], TransportError)
			continue
		}
		if e.polled() && len(e.queue) > 0 {
			sh.flushGet(e)
		}
	}
	sh.pollers = sh.pollers[:0]
}

// takeQueue empties the queue into a payload, which is plain if all of it is.
func (e *ext) takeQueue() (payload []byte, plain bool) {
	plain = true
	for i, q := range e.queue {
		payload = appendPayload(payload, q.frames, i > 0)
		plain = plain && q.plain
	}
	e.queue, e.queued = nil, 0
	return payload, plain
}

// deferredClose is what Node answers to the poll that comes after the close.
var deferredClose = []byte{noop, separator, closed}

// post receives a payload.
func (sh *shard) post(h *httpConn, slot uint32) {
	e := sh.ext(slot)
	e.last = h.conn
	ref := sh.ref(slot)
	if e.post.Valid() {
		// Two at once (Node: "overlap from client"): this one is refused, the
		// other one cut.
		other := e.post
		e.post = loop.Conn{}
		sh.answer(h, http.StatusBadRequest, nil, nil, true)
		sh.close(slot, TransportError)
		other.Abort()
		return
	}
	if bytes.HasPrefix(sh.req.Get("Content-Type"), []byte("application/octet-stream")) {
		sh.answer(h, http.StatusBadRequest, nil, nil, true)
		sh.close(slot, TransportError)
		return
	}
	e.post = h.conn
	finish := func(body []byte) {
		slot := sh.lookup(ref)
		if slot == 0 {
			sh.refuse(h, unknownSID)
			return
		}
		if e := sh.peekExt(slot); e != nil {
			e.post = loop.Conn{}
		}
		if !sh.payload(slot, body) {
			sh.answer(h, http.StatusBadRequest, nil, nil, false)
			return
		}
		if sh.lookup(ref) == slot && sh.sessions.At(slot).is(paused) && !sh.sessions.At(slot).is(closing) {
			sh.holdPost(h, slot)
			return
		}
		sh.answerSession(h, []byte("ok"), valueHTML, encoding.Identity)
	}
	cut := func(reason Reason) {
		if slot := sh.lookup(ref); slot != 0 {
			sh.close(slot, reason)
		}
	}
	sh.receiveBody(h, int64(sh.srv.o.MaxPayload), finish, cut)
}

// payload handles the packets of a polling payload. It is false when one could
// not be decoded; those before it were handled.
func (sh *shard) payload(slot uint32, b []byte) bool {
	gen := sh.sessions.At(slot).gen
	for more := true; more; {
		s := sh.sessions.At(slot)
		if s.gen != gen || s.is(closing) {
			return true
		}
		var p []byte
		p, b, more = cutPacket(b)
		if len(p) > 0 && p[0] == encoded {
			data, ok := decodeBase64(p[1:])
			if !ok {
				sh.close(slot, ParseError)
				return false
			}
			sh.heard(slot, false)
			sh.srv.h.Message(sh.handle(slot), data, true)
			continue
		}
		if !sh.packet(slot, p) {
			return false
		}
	}
	return true
}

// packet handles a text packet of an open session. It is false when the packet
// could not be decoded, which has closed the session.
func (sh *shard) packet(slot uint32, p []byte) bool {
	if len(p) == 0 {
		sh.close(slot, ParseError)
		return false
	}
	switch p[0] {
	case message:
		sh.heard(slot, false)
		sh.srv.h.Message(sh.handle(slot), p[1:], false)
	case pong:
		sh.heard(slot, true)
	case ping: // Node: "invalid heartbeat direction"
		sh.close(slot, TransportError)
	case closed:
		if e := sh.peekExt(slot); e != nil && e.polled() {
			sh.answerGet(e, []byte{noop})
		}
		sh.close(slot, TransportClose)
	case opened, upgrade, noop:
		// Meaningless here, and harmless.
	default:
		sh.close(slot, ParseError)
		return false
	}
	return true
}

// closePolling tells a polling client that its session is closed: with the
// poll that waits, or with the next one. A client that broke the protocol, or
// has gone, is not waited for.
func (sh *shard) closePolling(slot uint32, reason Reason) {
	e := sh.ext(slot)
	if e.polled() {
		if len(e.queue) > 0 && reason == ForcedClose {
			sh.flushGet(e)
		} else {
			sh.answerGet(e, []byte{closed})
			sh.free(slot)
			return
		}
	}
	if reason != ForcedClose {
		sh.free(slot)
		return
	}
	sh.loop.Cancel(&e.release)
	sh.loop.Schedule(&e.timer, sh.srv.o.CloseTimeout, func() { sh.free(slot) })
}
