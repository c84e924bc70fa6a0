package eio

import "github.com/sioedge/sioedge/loop"

// A server stops in three steps, the second of which CloseFew may have spread over a time. Drain refuses new sessions, so that clients go
// elsewhere. CloseSome ends those that are open, some at a time. Then the engine's
// Shutdown closes connections, some at a time, and asks Finish about each: a request
// that has been read is answered first, with the end of its connection behind it; what
// else comes of it, a poll that waits or a WebSocket, ends at once.
// Only the deadline of the Shutdown, or the peer's end, cuts one off.

// Drain refuses new sessions from now on with 503; those that are open go on.
// What is answered from now on has the end of its connection behind it, so that those
// that are kept alive go elsewhere, too. Any goroutine may call it.
func (s *Server) Drain() { s.draining.Store(true) }

// Resume ends Drain. Any goroutine may call it.
func (s *Server) Resume() { s.draining.Store(false) }

// leaving tells whether clients are to go elsewhere.
func (s *Server) leaving() bool { return s.draining.Load() || s.handed.Load() }

// CloseFew ends some n sessions of l, and tunnels when there are no sessions left, as
// CloseAll does. It begins at 0 and goes on where the call before ended; what opens
// meanwhile has its turn, too. It returns how many are left. It must be called on l.
func (s *Server) CloseFew(l *loop.Loop, at uint32, n int) (next uint32, left int) {
	l.Check()
	sh := s.shards[l.Index()]
	for most, seen := sh.sessions.Max(), uint32(0); n > 0 && sh.open > 0 && seen <= most+1; seen++ {
		if at++; at > most {
			at = 0
		} else if sh.stopSession(at) {
			n--
		}
	}
	for _, t := range sh.tunnels {
		if sh.open > 0 || t.ending {
			continue
		}
		if n--; n < 0 {
			break
		}
		t.end()
	}
	for _, t := range sh.tunnels {
		if !t.ending {
			left++
		}
	}
	return at, left + sh.open
}

// CloseAll closes every session of l with ForcedClose, because the server stops,
// discarding what waits for a poll. Clients are to come back, elsewhere or later. Of
// those that poll not all do when they are told that their session is closed, as
// they are by Session.Close: to some that is final. So a poll that waits is
// refused with 503, and later ones find no session. Tunnels end too, with a close
// frame. It must be called on l.
func (s *Server) CloseAll(l *loop.Loop) {
	l.Check()
	for at := s.CloseSome(l, 0); at != 0; at = s.CloseSome(l, at) {
	}
}

// closeStep is how many sessions, or tunnels, a step of CloseSome looks at.
const closeStep = 128

// CloseSome is a step of CloseAll, which begins at 0 and goes on where the one
// before ended, until that is 0. It must be called on l.
func (s *Server) CloseSome(l *loop.Loop, at uint32) (next uint32) {
	l.Check()
	sh := s.shards[l.Index()]
	most := sh.sessions.Max()
	for end := at + closeStep; at < end && at < most; {
		at++
		sh.stopSession(at)
	}
	if at < most {
		return at
	}
	// All sessions have been looked at; now tunnels, which say for themselves whether
	// they have had their turn.
	n := 0
	for _, t := range sh.tunnels {
		if t.ending {
			continue
		}
		if n == closeStep {
			return max(at, 1)
		}
		t.end()
		n++
	}
	return 0
}

// stopSession ends a session because the server stops, if there is one in the slot.
func (sh *shard) stopSession(slot uint32) bool {
	if slot == 0 {
		return false
	}
	if x := sh.sessions.At(slot); !x.is(inUse) || x.is(closing) {
		return false
	}
	sh.stopping = true
	defer func() { sh.stopping = false }() // also when the handler panics
	if e := sh.peekExt(slot); e != nil {
		e.clearQueue()
		sh.countQueue(e)
	}
	sh.closeWith(slot, ForcedClose, sh.srv.goodbye())
	return true
}

// Finish is called by the loop for a connection that is to be closed because the
// engine shuts down. Requests that are being answered are; a poll that waits is
// refused, as by CloseSome.
func (srv *Server) Finish(c loop.Conn) bool {
	c.Loop().Check()
	sh := srv.shards[c.Loop().Index()]
	h := sh.httpOf(c)
	switch {
	case h == nil:
		return false
	case h.state == statePoll:
		sh.stopSession(sh.lookup(h.session))
		return false
	}
	return h.state == stateDeciding || h.state == stateUnacked || h.state.receives() || h.state.apart()
}
