package eio

import (
	"time"

	"github.com/sioedge/sioedge/loop"
)

// PauseRead has the client wait until ResumeRead: nothing more is read from its
// WebSocket, or its next request body is not acknowledged, behind which it sends
// no other. Of what has been read already nothing more is handed over either. The
// heartbeat does not count meanwhile, as the pong may be in what is not read.
func (s Session) PauseRead() {
	s.pause(handlerPaused)
}

// ResumeRead undoes PauseRead.
func (s Session) ResumeRead() { s.resume(handlerPaused) }

// A delay is the end of a PauseReadFor.
type delay struct{ timer loop.Timer }

// PauseReadFor is PauseRead that ends by itself after d; of several, that which ends
// last. ResumeRead does not end it.
func (s Session) PauseReadFor(d time.Duration) {
	r := s.at()
	if r == nil || r.is(closing) || d <= 0 {
		return
	}
	x := s.sh.delays[s.slot]
	if x == nil {
		x = &delay{}
		s.sh.delays[s.slot] = x
	} else if s.sh.loop.Left(&x.timer) >= d {
		return
	}
	s.sh.tally.Delays++
	s.sh.loop.Schedule(&x.timer, d, s.endDelay)
	s.pause(delayed)
}

// endDelay goes on with a session whose time is over, in its turn with others.
func (s Session) endDelay() {
	s.sh.forgetDelay(s.slot)
	if r := s.at(); r != nil && !r.is(closing|busy) {
		s.sh.later(s.slot)
	}
	s.resume(delayed)
}

// forgetDelay ends what there is of a PauseReadFor.
func (sh *shard) forgetDelay(slot uint32) {
	x := sh.delays[slot]
	if x == nil {
		return
	}
	sh.loop.Cancel(&x.timer)
	if delete(sh.delays, slot); len(sh.delays) == 0 {
		sh.delays = map[uint32]*delay{} // a map never gets smaller
	}
}

// Behind tells whether the handler has yet to get something that the client is
// sending: it is not read from, or a part of a message or of a body has come.
func (s Session) Behind() bool {
	r := s.at()
	if r == nil || r.is(halted) {
		return r != nil
	}
	e := s.sh.peekExt(s.slot)
	return e != nil && (!e.reader.Idle() || e.post.Valid())
}

// pause stops the reading from a client for one of the reasons in halted.
func (s Session) pause(why flags) {
	r := s.at()
	if r == nil || r.is(closing|why) {
		return
	}
	before := r.flags & halted
	if r.set(why); why == swamped {
		s.sh.tally.Swamped++
	}
	if r.is(revision3) && !before.has(paused) && why.has(paused) {
		s.sh.expectPing(s.slot)
	}
	if before == 0 {
		s.sh.transport(r).hold(s.slot, true)
	}
}

// resume ends a reason of pause; reading goes on when there is no other.
func (s Session) resume(why flags) {
	r := s.at()
	if r == nil || !r.is(why) {
		return
	}
	if r.unset(why); why == swamped {
		s.sh.tally.Swamped--
	}
	if why.has(paused) && !r.is(paused) {
		s.sh.restartWait(s.slot)
	}
	if r.is(halted) {
		return
	}
	s.sh.goOnBody(s.slot)
	if r := s.at(); r != nil && !r.is(halted) {
		s.sh.transport(r).hold(s.slot, false)
	}
}

// restartWait begins the wait for a client's sign of life anew, which did not
// count while it was not read from.
func (sh *shard) restartWait(slot uint32) {
	switch s := sh.sessions.At(slot); {
	case s.is(revision3):
		sh.expectPing(slot)
	case s.is(awaitPong):
		sh.deadlines.set(slot, sh.loop.Now()+sh.srv.o.PingTimeout.Milliseconds())
		sh.keepTurning()
	}
}

// keepUnacked keeps the acknowledgement of a body back while the session is paused.
func (sh *shard) keepUnacked(c loop.Conn, slot uint32) {
	if h := sh.httpOf(c); h != nil {
		sh.ext(slot).unacked, h.session = c, sh.ref(slot)
		sh.wait(h, stateUnacked)
	}
}

// releaseUnacked gives an acknowledgement that was kept back.
func (sh *shard) releaseUnacked(slot uint32) {
	if e := sh.peekExt(slot); e != nil && e.unacked.Valid() {
		c := e.unacked
		e.unacked = loop.Conn{}
		sh.acknowledge(c)
	}
}
