package eio

import "time"

// pingsPerTurn bounds the pings that a loop sends before it looks at its
// sockets again.
const pingsPerTurn = 256

var (
	pingFrame = []byte{0x81, 1, ping}
	pongFrame = []byte{0x81, 1, pong}
)

// unheardFor is when a client is looked at again that may have been in time, had it been
// read from: loop.Engine.Quiet.
const unheardFor = time.Second

// startHeartbeat arms the first ping of a new session.
func (sh *shard) startHeartbeat(slot uint32) {
	if sh.sessions.At(slot).is(revision3) {
		sh.expectPing(slot)
		return
	}
	sh.deadlines.set(slot, sh.loop.Now()+sh.srv.spread(sh.srv.o.PingInterval).Milliseconds())
	sh.keepTurning()
}

// expectPing arms the end of a session whose client pings: Engine.IO 3. For the
// wheel its ping is one that we have sent. A client that is paused is sent pongs
// instead, in time for pings that are not read: it would give us up, and we would
// not notice that it has gone.
func (sh *shard) expectPing(slot uint32) {
	s, o := sh.sessions.At(slot), &sh.srv.o
	s.set(awaitPong)
	wait := o.PingInterval + o.PingTimeout
	if s.is(paused) {
		wait = max(o.PingTimeout/2, time.Millisecond)
	}
	sh.deadlines.set(slot, sh.loop.Now()+wait.Milliseconds())
	sh.keepTurning()
	if s.is(overWS) { // of all that it sends
		_ = (*webSocket)(sh).taking(slot) // from now on
	}
}

// keepTurning keeps the wheel turning while anything hangs on it. All loops turn at the
// same moments, so that the machine wakes once.
func (sh *shard) keepTurning() {
	if !sh.turn.Armed() && sh.deadlines.armed > 0 {
		wait := sh.deadlines.tick - sh.loop.Now()%sh.deadlines.tick
		sh.loop.Schedule(&sh.turn, time.Duration(wait)*time.Millisecond, sh.onTick)
	}
}

func (sh *shard) tick() {
	if sh.deadlines.advance(sh.loop.Horizon(), pingsPerTurn, sh.onDeadline) {
		sh.loop.Schedule(&sh.turn, 0, sh.onTick)
		return
	}
	sh.keepTurning()
}

// deadlinePassed is called when a session's deadline has passed, by late ms: it is
// time for a ping, or the pong did not come.
func (sh *shard) deadlinePassed(slot uint32, late int64) {
	s := sh.sessions.At(slot)
	switch {
	case s.is(choked) && s.is(awaitPong) && (sh.transport(s).gone(slot) || sh.stuck(slot)):
		sh.close(slot, PingTimeout)
		return
	case s.is(awaitPoll) || s.is(awaitPong) && !s.is(halted):
		switch {
		case sh.loop.IsQuiet():
			sh.deadlines.set(slot, sh.loop.Now()+unheardFor.Milliseconds())
			sh.keepTurning()
		case !sh.excused(slot):
			sh.close(slot, PingTimeout)
		}
		return
	}
	if s.is(revision3) {
		sh.expectPing(slot)
		sh.send(slot, pongFrame, shared, true, nil)
		return
	}
	s.set(awaitPong)
	s.asked(sh.loop.Now())
	// Counted from when the ping was due: a client that gives no answer is gone
	// exactly PingInterval + PingTimeout after its last sign of life. A loop that
	// was held up for longer than a turn of the wheel takes that on itself.
	due := sh.loop.Now() - min(late, sh.deadlines.tick)
	sh.deadlines.set(slot, due+sh.srv.o.PingTimeout.Milliseconds())
	sh.keepTurning()
	_ = sh.transport(s).taking(slot) // from now on
	sh.send(slot, pingFrame, shared, true, nil)
}

// overdue closes a session whose pong is late and says so. Deadlines are
// looked at on each request and frame as well as by the wheel, so that an
// overdue session is gone for whoever asks, to the millisecond.
func (sh *shard) overdue(slot uint32) bool {
	if s := sh.sessions.At(slot); !s.is(awaitPong|awaitPoll) || s.is(halted) || !sh.deadlines.due(slot, sh.loop.Horizon()) {
		return false
	}
	if sh.excused(slot) {
		return false
	}
	sh.close(slot, PingTimeout)
	return true
}

// excused begins the wait of a session anew whose client has given no sign of life
// in time, if it has taken bytes meanwhile: the ping, or the pong that it waits
// for, may be behind much that it has not got yet.
func (sh *shard) excused(slot uint32) bool {
	if !sh.transport(sh.sessions.At(slot)).taking(slot) {
		return false
	}
	sh.restartWait(slot)
	return true
}

// bytesCame is called for what comes over a WebSocket, whole messages or not, and
// over polling, requests or parts of them: whoever is in the middle of a long one
// cannot send a pong.
func (sh *shard) bytesCame(slot uint32) {
	if sh.sessions.At(slot).is(awaitPong) {
		sh.restartWait(slot)
	}
}

// signOfLife is called for each packet of the client. A pong ends the wait for it
// and starts the next interval; the first other packet in the wait proves
// that the client is there and starts the wait anew, once a ping.
func (sh *shard) signOfLife(slot uint32, isPong bool) {
	s := sh.sessions.At(slot)
	if !s.is(awaitPong) || s.is(revision3|awaitPoll) {
		return
	}
	now := sh.loop.Now()
	switch {
	case isPong:
		s.unset(awaitPong | renewed)
		if s.proven(now); s.clock() != 0 {
			sh.tally.Times.RTT.Add(int64(s.clock()))
		}
		sh.deadlines.set(slot, now+sh.srv.o.PingInterval.Milliseconds())
	case !s.is(renewed):
		s.set(renewed)
		sh.deadlines.set(slot, now+sh.srv.o.PingTimeout.Milliseconds())
	}
}

// heartbeatPacket handles the client's part of the heartbeat: in Engine.IO 4 its pong, in
// 3 its ping. The other is a violation (Node: "invalid heartbeat direction").
func (sh *shard) heartbeatPacket(slot uint32, packet byte) {
	switch old := sh.sessions.At(slot).is(revision3); {
	case old && packet == ping:
		sh.expectPing(slot)
		sh.send(slot, pongFrame, shared, true, nil)
	case !old && packet == pong:
		sh.signOfLife(slot, true)
	default:
		sh.close(slot, TransportError)
	}
}

// restartHeartbeat begins a new interval, after the transport changed: a pong
// may have been lost with the old one.
func (sh *shard) restartHeartbeat(slot uint32) {
	if sh.sessions.At(slot).is(revision3) {
		sh.expectPing(slot)
		return
	}
	sh.sessions.At(slot).unset(awaitPong | renewed)
	sh.deadlines.set(slot, sh.loop.Now()+sh.srv.o.PingInterval.Milliseconds())
}

// heartbeatTick is the resolution of the wheel in ms, a power of two: fine
// enough for short intervals, and as coarse as a heartbeat allows otherwise. A
// loop that has nothing else to do is woken by it, and each wake-up costs the Go
// runtime's monitor thread about 0.3 ms of CPU.
func heartbeatTick(interval, timeout time.Duration) int64 {
	tick := int64(1)
	for tick < 512 && tick*32 <= min(interval, timeout).Milliseconds() {
		tick *= 2
	}
	return tick
}
