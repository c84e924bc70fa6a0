package eio

import (
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/class"
)

// A transport is how a session and its client talk. There is one value of each kind a
// shard, the shard itself, so that having one costs nothing; which is a session's, its
// record says. What is done for each recipient or frame, SendPrepared, send, Writable
// and dataWS, goes by the session's flags instead.
//
// What may be called in which state of a session, and by whom, is in the package
// comment; TestWhoMayEndWhat goes through it.
type transport interface {
	// send gives frames of an open session to its client, or queues them for it; k is
	// what a message may be dropped by, or nil.
	send(slot uint32, frames []byte, share, plain bool, k *class.Kind)
	// end tells the client that its session has been closed, with frame where frames
	// can be sent, and frees the session, now or when the client knows.
	end(slot uint32, reason Reason, frame []byte)
	// fail frees a session that has been closed without waiting for the client: what is
	// queued is discarded.
	fail(slot uint32)

	// conn returns the connection of the latest that came, which may be stale.
	conn(slot uint32) loop.Conn
	// hold has the client wait, or go on.
	hold(slot uint32, on bool)
	// writable tells whether what is sent now leaves now.
	writable(slot uint32) bool
	// backlog returns the bytes that wait for the client, and whether it takes none.
	backlog(slot uint32) (bytes int, stalled bool)
	// taking tells whether the client has taken bytes since that was last asked.
	taking(slot uint32) bool
	// gone tells whether the client cannot be there any more.
	gone(slot uint32) bool
}

type (
	polling   shard
	webSocket shard
)

// transport returns that of a session.
func (sh *shard) transport(s *session) transport {
	if s.is(overWS) {
		return (*webSocket)(sh)
	}
	return (*polling)(sh)
}

// ownership of bytes given to send.
const (
	shared   = true  // immutable; kept by reference
	borrowed = false // copied if it must be kept
)

// send gives frames to the transport; plain says that they are not to be compressed, k
// what the one message that they are may be dropped by, unless nil.
func (sh *shard) send(slot uint32, frames []byte, share, plain bool, k *class.Kind) {
	s := sh.sessions.At(slot)
	switch {
	case s.is(closing):
	case s.is(overWS): // most are
		(*webSocket)(sh).send(slot, frames, share, plain, k)
	default:
		(*polling)(sh).send(slot, frames, share, plain, k)
	}
}

// close ends a session for the handler and tells the client in the way of its
// transport.
func (sh *shard) close(slot uint32, reason Reason) { sh.closeWith(slot, reason, emptyClose) }

// closeWith is close; frame is how it ends a WebSocket.
func (sh *shard) closeWith(slot uint32, reason Reason, frame []byte) {
	if sh.endForHandler(slot, reason) {
		sh.transport(sh.sessions.At(slot)).end(slot, reason, frame)
	}
}

// endForHandler is the handler's part of the end of a session. It is false if that has
// been.
func (sh *shard) endForHandler(slot uint32, reason Reason) bool {
	s := sh.sessions.At(slot)
	if !s.is(inUse) || s.is(closing) {
		return false
	}
	s.set(closing)
	sh.open--
	*sh.tally.Open.of(s.flags)--
	*sh.tally.Closed.Of(reason)++
	sh.tally.Times.Ages.Add(sh.loop.Now()/1000 - int64(s.opened))
	sh.deadlines.clear(slot)
	sh.sessions.Mark(slot, sh.sessions.Gen(slot))
	sh.srv.h.Close(sh.handle(slot), reason)
	return true
}

// Over polling.

// send queues frames for a poll, and has the one that waits answered at the end of
// the step.
func (p *polling) send(slot uint32, frames []byte, share, plain bool, k *class.Kind) {
	sh := (*shard)(p)
	e, o := sh.ext(slot), &sh.srv.o
	fits := func() bool { return e.queued == 0 || e.size()+entrySize+len(frames) <= o.MaxQueueHard }
	if !fits() {
		sh.judge(e)
	}
	full := !fits()
	if !full || k != nil { // then it may take the place of others, or be dropped
		e.put(frames, share, plain, k)
	}
	if full && k != nil {
		sh.judge(e)
		full = e.size() > o.MaxQueueHard
	}
	if full {
		// Not closed here: whoever sends must not find the handler called.
		e.overflow = true
		sh.pollLater(slot, e)
		return
	}
	sh.countQueue(e)
	if e.polled() || k != nil {
		sh.pollLater(slot, e)
	}
	if e.firm() > o.MaxQueue && !sh.sessions.At(slot).is(swamped|closing) {
		sh.swamp(slot, e)
	}
}

// end tells the client with the poll that waits, or with the next one. A client that
// broke the protocol, or has gone, is not waited for.
func (p *polling) end(slot uint32, reason Reason, _ []byte) {
	sh := (*shard)(p)
	e := sh.ext(slot)
	sh.abandonOn(e.unacked, sessionEnded)
	switch {
	case sh.stopping:
		sh.abandonOn(e.get, serverStops)
		sh.free(slot)
		return
	case e.polled() && len(e.queue) > 0 && reason == ForcedClose:
		sh.flushGet(slot, e)
	case e.polled():
		sh.abandonOn(e.get, sessionEnded)
		sh.free(slot)
		return
	}
	if reason != ForcedClose {
		sh.free(slot)
		return
	}
	sh.loop.Cancel(&e.release)
	sh.loop.Schedule(&e.timer, sh.srv.o.CloseTimeout, func() { sh.free(slot) })
}

func (p *polling) fail(slot uint32) { p.end(slot, TransportError, nil) }

func (p *polling) conn(slot uint32) loop.Conn {
	if e := (*shard)(p).peekExt(slot); e != nil {
		return e.last
	}
	return loop.Conn{}
}

// hold does nothing: what comes is not acknowledged while the session is paused.
func (p *polling) hold(uint32, bool) {}

func (p *polling) writable(slot uint32) bool {
	e := (*shard)(p).peekExt(slot)
	return e != nil && e.polled() && len(e.queue) == 0
}

func (p *polling) backlog(slot uint32) (bytes int, stalled bool) {
	e := (*shard)(p).peekExt(slot)
	if e == nil {
		return 0, false
	}
	return e.queued, p.sessions.At(slot).is(swamped) && p.loop.Now()-e.asked >= stalledAfter.Milliseconds()
}

// taking is for the loop to say, of the connections that answers went to.
func (p *polling) taking(uint32) bool { return false }

// gone tells whether the client has no poll, no body whose acknowledgement it waits
// for, and has closed the connection of its last request.
func (p *polling) gone(slot uint32) bool {
	e := (*shard)(p).peekExt(slot)
	return e == nil || !e.get.Valid() && !e.unacked.Valid() && !e.post.Valid() && !e.last.Valid() && !e.probing.Valid()
}

// Over a WebSocket.

func (w *webSocket) conn(slot uint32) loop.Conn { return w.loop.Conn(w.sessions.At(slot).conn) }

// send gives frames to the session's WebSocket.
func (w *webSocket) send(slot uint32, frames []byte, share, plain bool, k *class.Kind) {
	s := w.sessions.At(slot)
	c := w.loop.Conn(s.conn)
	if s.is(noBinary | revision3) {
		frames = s.adapt(frames)
	}
	w.tally.Out.sent(frames)
	if s.is(deflates) && !plain && !w.zip.o.PreparedOnly {
		b, ok := w.zip.deflate(w.zip.scratch[:0], frames)
		w.zip.scratch = keepScratch(b)
		if ok {
			c.WriteKind(b, k)
			return
		}
	}
	switch {
	case !share:
		c.WriteKind(frames, k)
	case k != nil:
		c.WriteParts(frames, []class.Part{{End: len(frames), Kind: k}})
	default:
		c.WriteShared(frames)
	}
}

// adapt returns frames in the form that the session's WebSocket takes.
func (s *session) adapt(frames []byte) []byte {
	switch {
	case !s.is(revision3):
		return withoutBinary(frames, string(encoded))
	case s.is(noBinary):
		return withoutBinary(frames, encodedText3)
	default:
		return withTypes(frames)
	}
}

// end sends a close frame behind what was sent before.
func (w *webSocket) end(slot uint32, _ Reason, frame []byte) {
	(*shard)(w).hangUpWith(w.conn(slot), frame)
	(*shard)(w).free(slot)
}

func (w *webSocket) fail(slot uint32) {
	c := w.conn(slot)
	if c.SetTag(tagGone); w.srv.o.CloseCodes {
		frame := w.srv.closeFrame(CloseOverload, "overload")
		(*shard)(w).closes(c, frame)
		c.AbortWith(frame)
	}
	c.Abort()
	(*shard)(w).free(slot)
}

func (w *webSocket) hold(slot uint32, on bool) {
	if c := w.conn(slot); on {
		c.PauseRead()
	} else {
		c.ResumeRead()
	}
}

func (w *webSocket) writable(slot uint32) bool { return w.conn(slot).Queued() == 0 }

func (w *webSocket) backlog(slot uint32) (bytes int, stalled bool) {
	bytes, quiet := w.conn(slot).Backlog()
	return bytes, quiet >= stalledAfter
}

func (w *webSocket) taking(slot uint32) bool { return w.conn(slot).Taking() }

// gone is false: a ping finds that out.
func (w *webSocket) gone(uint32) bool { return false }

// hangUp ends a WebSocket from our side: a close frame without a code, as Node
// sends it.
func (sh *shard) hangUp(c loop.Conn) { sh.hangUpWith(c, emptyClose) }

func (sh *shard) hangUpWith(c loop.Conn, frame []byte) {
	sh.closes(c, frame)
	c.SetTag(tagGone)
	c.Write(frame)
	c.Close()
}

var emptyClose = []byte{0x88, 0}
