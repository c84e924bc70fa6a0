package eio

import (
	"bytes"
	"net/http"
	"slices"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/loop/http1/encoding"
	"github.com/sioedge/sioedge/wsframe"
)

// openPolling answers the first request of a session over polling.
func (sh *shard) openPolling(h *httpConn) {
	r := h.req
	sh.hook(h)
	g, ok := sh.addGuest(h)
	if !ok {
		return
	}
	slot, ok := sh.newSession(h.flags())
	if !ok {
		sh.removeGuest(&g)
		sh.full(h)
		return
	}
	e := sh.ext(slot)
	e.guest = g
	sh.expectPoll(slot)
	sh.cameFrom(slot, e, h)
	if h.query.jsonp {
		e.callback = callbackName(string(h.query.j))
		sh.sessions.At(slot).set(noBinary)
	}
	var packet [160]byte
	open := wsframe.AppendFrame(nil, wsframe.Text, sh.appendOpen(packet[:0], slot, sh.srv.upgrades))
	sh.setCookie(h, slot)
	sh.answerPoll(h, slot, e, queued{frames: sh.srv.appendInitial(open), plain: true})
	sh.shakenHands(h)
	sh.srv.h.Open(sh.handle(slot), r)
}

// cameFrom notes where the latest request of a session came from.
func (sh *shard) cameFrom(slot uint32, e *ext, h *httpConn) {
	e.last = h.conn
	sh.keepClient(slot, h.client)
}

// answerPoll answers a poll with messages in the form that its client takes,
// compressed if it takes that and some of them may be.
func (sh *shard) answerPoll(h *httpConn, slot uint32, e *ext, messages ...queued) {
	payload, contentType := sh.sessions.At(slot).payload(messages)
	if e.callback != "" {
		payload, contentType = appendCallback(nil, e.callback, payload), valueScript
	}
	coding := encoding.Identity
	if slices.ContainsFunc(messages, func(q queued) bool { return !q.plain }) {
		payload, coding = sh.encode(payload, h.coding)
	}
	sh.answerSession(h, payload, contentType, coding)
}

// payload returns the payload of messages, and its type.
func (s *session) payload(messages []queued) (payload, contentType []byte) {
	octets := s.is(revision3) && !s.is(noBinary) &&
		slices.ContainsFunc(messages, func(q queued) bool { return hasBinary(q.frames) })
	for i, q := range messages {
		switch {
		case octets:
			payload = appendBinaryPayload3(payload, q.frames)
		case s.is(revision3):
			payload = appendPayload3(payload, q.frames)
		default:
			payload = appendPayload(payload, q.frames, i > 0)
		}
	}
	if octets {
		return payload, valueBytes
	}
	return payload, valueText
}

func (sh *shard) answerSession(h *httpConn, body, contentType []byte, coding encoding.Coding) {
	fields := []http1.Field{{Name: fieldType, Value: contentType}, {Name: fieldCache, Value: valueNoStore}}
	if h.oldIE {
		fields = append(fields, http1.Field{Name: fieldXSS, Value: valueZero})
	}
	if coding != encoding.Identity {
		fields = append(fields, http1.Field{Name: fieldEncoding, Value: []byte(coding)})
	}
	fields = append(fields, h.hooked...)
	sh.answer(h, http.StatusOK, fields, body, false)
}

// poll answers a GET with what is queued, or keeps it until something is.
func (sh *shard) poll(h *httpConn, slot uint32) {
	s, e := sh.sessions.At(slot), sh.ext(slot)
	sh.cameFrom(slot, e, h)
	h.coding = sh.pollCoding(h.req)
	if !sh.cameBack(h, slot, e) {
		return
	}
	if s.is(closing) {
		if len(e.queue) > 0 {
			sh.answerQueue(h, slot, e)
			return
		}
		sh.answerPoll(h, slot, e, queued{frames: deferredClose, plain: true})
		sh.free(slot)
		return
	}
	if e.get.Valid() {
		// Two polls at once: the session is beyond repair (Node: "overlap
		// from client").
		sh.tally.Overlaps++
		sh.answer(h, http.StatusBadRequest, nil, nil, false)
		sh.close(slot, TransportError)
		return
	}
	e.get, h.session = h.conn, sh.ref(slot)
	sh.wait(h, statePoll)
	if len(e.queue) > 0 {
		sh.pollLater(slot, e)
	}
}

// polled tells whether a poll waits that can still be answered. One whose
// connection is just ending ends the session with it, at the end of the step.
func (e *ext) polled() bool { return e.get.Valid() && !e.get.Ending() }

// releasePoll answers a waiting poll with a noop, so that a client that is
// upgrading is free to go on.
func (sh *shard) releasePoll(slot uint32) {
	e := sh.peekExt(slot)
	if e == nil || !e.polled() || len(e.queue) > 0 {
		return
	}
	sh.answerGet(slot, e, noopFrame)
}

// answerGet answers the poll that waits.
func (sh *shard) answerGet(slot uint32, e *ext, frames []byte) {
	h := sh.httpOf(e.get)
	e.get = loop.Conn{}
	if h != nil {
		sh.answerPoll(h, slot, e, queued{frames: frames, plain: true})
	}
}

var (
	closeFrame = []byte{0x81, 1, closed}
	noopFrame  = []byte{0x81, 1, noop}
	// deferredClose is what Node answers to the poll that comes after the close.
	deferredClose = slices.Concat(noopFrame, closeFrame)
)

// post receives a payload.
func (sh *shard) post(h *httpConn, slot uint32) {
	e := sh.ext(slot)
	sh.cameFrom(slot, e, h)
	if e.post.Valid() || e.unacked.Valid() || e.rest != nil {
		// Two at once (Node: "overlap from client"): this one is refused, the
		// other one cut, or answered if it was whole.
		sh.tally.Overlaps++
		other := e.post
		e.post = loop.Conn{}
		sh.answer(h, http.StatusBadRequest, nil, nil, true)
		sh.close(slot, TransportError)
		other.Abort()
		return
	}
	octets := bytes.HasPrefix(h.req.Get("Content-Type"), valueBytes)
	if octets && (!sh.sessions.At(slot).is(revision3) || e.callback != "") {
		sh.answer(h, http.StatusBadRequest, nil, nil, true)
		sh.close(slot, TransportError)
		return
	}
	e.post, h.session, h.octets, h.form = h.conn, sh.ref(slot), octets, e.callback != ""
	sh.receiveBody(h, statePayload, sh.srv.o.MaxPayload)
}

// payloadCame handles the body of a POST.
func (sh *shard) payloadCame(h *httpConn, body []byte) {
	slot := sh.lookup(h.session)
	if slot == 0 {
		sh.answerRefusal(h, unknownSID)
		return
	}
	if e := sh.peekExt(slot); e != nil {
		e.post = loop.Conn{}
	}
	found := true
	if h.form {
		body, found = callbackBody(body)
	}
	if !found {
		sh.acknowledge(h.conn) // Node does not mind either
		return
	}
	if !h.octets {
		body = validText(body) // before it is cut: revision 3 counts characters
	}
	sh.handleBody(h.conn, slot, remainder{body: body, octets: h.octets})
}

// payload handles the packets of a polling payload, until the session waits: then
// there is more, and the rest is for later. It is false when one could not be
// decoded; those before it were handled.
func (sh *shard) payload(slot uint32, b []byte, octets bool) (rest []byte, more, ok bool) {
	es, revision := sh.handle(slot), sh.sessions.At(slot).flags&revision3
	left := newTurn()
	for more = len(b) > 0 || !octets; more; {
		switch {
		case !es.Valid():
			return nil, false, true
		case sh.sessions.At(slot).is(halted):
			return b, true, true
		}
		var p []byte
		binary, ok := false, true
		switch {
		case octets:
			p, b, binary, ok = cutBinaryPacket3(b)
			more = len(b) > 0
		case revision != 0:
			p, b, ok = cutPacket3(b)
			more = len(b) > 0
		default:
			p, b, more = cutPacket(b)
		}
		switch {
		case !ok:
			sh.close(slot, ParseError)
			return nil, false, false
		case len(p) == 0 && revision != 0 && !octets: // Node skips it too
		case binary:
			ok = sh.binaryPacket(slot, p)
		case octets:
			ok = sh.packet(slot, validText(p))
		default:
			ok = sh.packet(slot, p)
		}
		if !ok {
			return nil, false, false
		}
		if !left.take(len(p)) && more && es.Valid() {
			sh.later(slot)
		}
	}
	return nil, false, true
}

// binaryPacket handles a packet of bytes of an open session. It is false when
// the packet could not be decoded, which has closed the session.
func (sh *shard) binaryPacket(slot uint32, p []byte) bool {
	if sh.sessions.At(slot).is(revision3) {
		switch {
		case len(p) == 0 || p[0] > noop-'0':
			return sh.packet(slot, nil)
		case p[0] != typedMessage:
			return sh.packet(slot, []byte{'0' + p[0]})
		}
		p = p[1:]
	}
	sh.signOfLife(slot, false)
	sh.srv.h.Message(sh.handle(slot), p, true)
	return true
}

// base64Packet is binaryPacket for what was sent as base64.
func (sh *shard) base64Packet(slot uint32, p []byte) bool {
	if sh.sessions.At(slot).is(revision3) {
		if len(p) == 0 || p[0] != message {
			return sh.packet(slot, p[:min(len(p), 1)])
		}
		p = p[1:]
	}
	data, ok := decodeBase64(p)
	if !ok {
		sh.close(slot, ParseError)
		return false
	}
	sh.signOfLife(slot, false)
	sh.srv.h.Message(sh.handle(slot), data, true)
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
		sh.signOfLife(slot, false)
		sh.srv.h.Message(sh.handle(slot), p[1:], false)
	case encoded:
		return sh.base64Packet(slot, p[1:])
	case ping, pong:
		sh.heartbeatPacket(slot, p[0])
	case closed:
		if e := sh.peekExt(slot); e != nil && e.polled() {
			sh.answerGet(slot, e, noopFrame)
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
