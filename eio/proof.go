package eio

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
func (s *session) asked(now int64) { s.pinged = second(now) }

// proven notes that it was answered.
func (s *session) proven() { s.proved = s.pinged }

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
