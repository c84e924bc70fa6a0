package eio

import "time"

// A client takes what it is sent in order, so its pong proves that it has had all
// that was sent before the ping. That is told in whole seconds of the loop's clock,
// of which a session keeps 16 bits: they repeat after 18 hours, long after the
// session that has proved nothing since is gone.

// second returns the second that a time in ms of the loop's clock is in, in 16
// bits; 0 is never.
func second(ms int64) uint16 {
	if n := uint16(ms / 1000); n != 0 {
		return n
	}
	return ^uint16(0) // the second before
}

// asked notes that a ping is sent.
func (s *session) asked(now int64) {
	s.pinged = second(now)
	s.setClock(flags(now % clockTurn))
}

// proven notes that it was answered.
func (s *session) proven(now int64) {
	s.proved = s.pinged
	seconds, took := uint16(now/1000)-s.pinged, (now+clockTurn-int64(s.clock()))%clockTurn
	switch {
	case s.clock() == noClock:
		s.setClock(0)
	case seconds > 5 || seconds >= 4 && took < clockTurn/2: // the clock has turned
		s.setClock(clockTurn)
	default:
		s.setClock(max(flags(took), 1))
	}
}

// The uppermost bits of a session's flags are a clock, in ms: the time at which a ping was
// sent, by a clock that turns every clockTurn, or noClock, if that is not known, as long as it
// is out; the time that the last one took then, of which 0 is that there was none, and
// clockTurn that it was that or more.
const (
	clockShift = 20
	clockMask  = 1<<12 - 1
	clockTurn  = clockMask - 1
	noClock    = clockMask
)

func (s *session) clock() flags { return s.flags >> clockShift }

func (s *session) setClock(ms flags) { s.flags = s.flags&^(clockMask<<clockShift) | ms<<clockShift }

// took returns how long, in ms, the ping that is out has been, or the last one took; it is
// negative if that is not known.
func (s *session) took(now int64) int {
	switch at := s.clock(); {
	case at == noClock:
		return -1
	case s.is(awaitPong):
		return int((now%clockTurn + clockTurn - int64(at)) % clockTurn)
	default:
		return int(at)
	}
}

// setTook has took return ms, of at most clockTurn.
func (s *session) setTook(ms int, now int64) {
	switch {
	case ms < 0:
		s.setClock(noClock)
	case s.is(awaitPong):
		s.setClock(flags((now%clockTurn + clockTurn - int64(ms%clockTurn)) % clockTurn))
	default:
		s.setClock(flags(ms))
	}
}

// RTT returns how long the last ping took to be answered, in whole ms of the loop's
// clock, 1 at least and 4094 at most: the way there and back, and what the client and the
// loop did meanwhile. It is 0 if that is not known: before the first one has been
// answered, while one is out, and of a client of Engine.IO 3, which is not asked.
func (s Session) RTT() time.Duration {
	r := s.at()
	if r == nil || r.is(awaitPong|revision3) || r.clock() == noClock {
		return 0
	}
	return time.Duration(r.clock()) * time.Millisecond
}

// Queued returns how many bytes wait to be sent to the client, or for its polls. What the
// kernel has is not among them.
func (s Session) Queued() int {
	r := s.at()
	if r == nil {
		return 0
	}
	n, _ := s.sh.transport(r).backlog(s.slot)
	return n
}

// Proven returns a time of the loop's clock, in ms: what the session was given
// before that, its client has had. It is 0 if nothing is proven, as of a client of
// Engine.IO 3, which is not asked. It still answers within Handler.Close.
func (s Session) Proven() int64 {
	r := s.at()
	if r == nil || r.proved == 0 {
		return 0
	}
	now := s.sh.loop.Now() / 1000
	return max(now-int64(uint16(now)-r.proved), 0) * 1000
}

// Ping asks the client for a sign of life now, unless a ping is out already. It
// does nothing for a client of Engine.IO 3.
func (s Session) Ping() {
	r := s.at()
	if r == nil || r.is(closing|awaitPong|awaitPoll|revision3) {
		return
	}
	s.sh.deadlinePassed(s.slot, 0)
}

// Answered tells whether the client has answered the last ping.
func (s Session) Answered() bool {
	r := s.at()
	return r != nil && !r.is(awaitPong|awaitPoll) && r.proved == r.pinged
}
