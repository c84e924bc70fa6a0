package eio

import (
	"bytes"
	"net/http"

	"github.com/sioedge/sioedge/loop/http1"
)

// maxDropped bounds a body that nobody wants and that is read nevertheless, so
// that the connection can go on; behind the answer to a longer one it ends.
const maxDropped = 64 << 10

// partLen is how much of a body has to come within BodyTimeout, unless it ends
// before: a large one may take a slow link longer than a small one may take
// anybody.
const partLen = 64 << 10

// receiveBody reads the body of the request, up to limit bytes; as is says for whom.
func (sh *shard) receiveBody(h *httpConn, as state, limit int) {
	r := h.req
	h.unread = false
	if err := h.body.Reset(r, int64(limit)); err != nil {
		// The body is not read: the answer, then the end of the connection.
		sh.noteRefused(statusOf(err))
		sh.answer(h, statusOf(err), nil, nil, true)
		return
	}
	h.keepAlive = r.KeepAlive
	sh.become(h, as)
	h.req, h.query = nil, query{}
	if r.Expect100 {
		h.conn.Write(http1.AppendContinue(nil))
	}
	sh.deadline(h, sh.srv.o.BodyTimeout)
	sh.receive(h, nil)
}

// receive takes what has come of a body.
func (sh *shard) receive(h *httpConn, b []byte) (used int) {
	if len(b) > 0 {
		sh.bodyPart(h)
	}
	for {
		data, n, done, err := h.body.Next(b[used:])
		used += n
		switch {
		case err != nil:
			sh.fail(h, statusOf(err))
			return used
		case done:
			whole := data
			if h.buf != nil {
				whole = append(h.buf, data...)
			}
			sh.bodyWhole(h, whole)
			return used
		}
		if h.buf = append(h.buf, data...); !sh.chargeBody(h) {
			sh.fail(h, http.StatusRequestEntityTooLarge)
			return used
		}
		if h.part += len(data); h.part >= partLen {
			h.part = 0
			sh.deadline(h, sh.srv.o.BodyTimeout)
		}
		if n == 0 {
			return used
		}
	}
}

// bodyPart is called when a part of a body has come.
func (sh *shard) bodyPart(h *httpConn) {
	switch h.state {
	case statePayload: // who is in the middle of a long one cannot send a pong
		if slot := sh.lookup(h.session); slot != 0 && !sh.overdue(slot) {
			sh.bytesCame(slot)
		}
	case stateRouteBody, stateForwardBody: // nobody waits for it but the request
	}
}

// bodyWhole is called when all of a body has come; it is a view.
func (sh *shard) bodyWhole(h *httpConn, body []byte) {
	sh.loop.Cancel(&h.timer)
	as := h.state
	h.releaseBody(sh)
	sh.become(h, stateDeciding)
	h.buf = nil
	switch as {
	case statePayload:
		sh.payloadCame(h, body)
	case stateRouteBody, stateForwardBody:
		sh.runApart(h, h.work, bytes.Clone(body))
	}
}

// chargeBody counts what has come of a body, and charges it to the session it is of. It
// is false if that does not fit: the session is gone.
func (sh *shard) chargeBody(h *httpConn) bool {
	n := cap(h.buf) - h.kept
	h.kept += n
	sh.tally.BodyBytes += int64(n)
	slot := sh.lookup(h.session)
	if h.state != statePayload || slot == 0 || sh.sessions.At(slot).is(closing) {
		return true
	}
	h.paid += n
	return sh.account(slot).Charge(n)
}

// releaseBody ends chargeBody.
func (x *exchange) releaseBody(sh *shard) {
	if slot := sh.lookup(x.session); slot != 0 && x.paid > 0 {
		sh.account(slot).Release(x.paid)
	}
	sh.tally.BodyBytes -= int64(x.kept)
	x.paid, x.kept = 0, 0
}

// drop throws away the body of a request that has been answered.
func (sh *shard) drop(h *httpConn, b []byte) (used int) {
	for {
		_, n, done, err := h.body.Next(b[used:])
		used += n
		switch {
		case err != nil:
			h.conn.Close() // the answer has been given
			return len(b)
		case done:
			sh.awaitRequest(h)
			return used
		case n == 0:
			return used
		}
	}
}
