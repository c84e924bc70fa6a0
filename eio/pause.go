package eio

import (
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1/encoding"
)

// PauseRead has the client wait until ResumeRead: nothing more is read from its
// WebSocket, or its next request body is not acknowledged, behind which it sends
// no other. What has been read already is still handed over. The heartbeat does
// not count meanwhile, as the pong may be in what is not read.
func (s Session) PauseRead() {
	r := s.at()
	if r == nil || r.is(closing|paused) {
		return
	}
	r.set(paused)
	if r.is(revision3) {
		s.sh.expectPing(s.slot)
	}
	if r.is(overWS) {
		s.sh.loop.Conn(r.conn).PauseRead()
	}
}

// ResumeRead undoes PauseRead.
func (s Session) ResumeRead() {
	r := s.at()
	if r == nil || !r.is(paused) {
		return
	}
	r.unset(paused)
	switch {
	case r.is(revision3):
		s.sh.expectPing(s.slot)
	case r.is(awaitPong):
		s.sh.beat.set(s.slot, s.sh.loop.Now()+s.sh.srv.o.PingTimeout.Milliseconds())
		s.sh.wind()
	}
	if r.is(overWS) {
		s.sh.loop.Conn(r.conn).ResumeRead()
		return
	}
	s.sh.releasePost(s.slot)
}

// holdPost keeps the acknowledgement of a body back while the session is paused.
func (sh *shard) holdPost(h *httpConn, slot uint32) {
	sh.ext(slot).held = h.conn
	sh.wait(h)
}

// releasePost gives an acknowledgement that was kept back.
func (sh *shard) releasePost(slot uint32) {
	e := sh.peekExt(slot)
	if e == nil || !e.held.Valid() {
		return
	}
	h := sh.httpOf(e.held)
	e.held = loop.Conn{}
	if h != nil {
		sh.answerSession(h, []byte("ok"), valueHTML, encoding.Identity)
	}
}
