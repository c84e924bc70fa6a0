package eio

import (
	"time"

	"github.com/sioedge/sioedge/loop"
)

// Press has new sessions refused with 503, because memory is short, or ends that.
// Any goroutine may call it.
func (s *Server) Press(on bool) { s.pressed.Store(on) }

// press refuses a new session because memory is short.
func (sh *shard) press(h *httpConn) {
	sh.tally.Pressed++
	sh.answerUnavailable(h)
}

// A Load is a session for which much is held.
type Load struct {
	Session uint64 // its Ref
	Bytes   int    // held, both ways
	Stalled bool   // its client takes nothing, or its handlers do nothing
}

// stalledAfter is how long nothing has happened to a Load that is Stalled.
const stalledAfter = time.Second

// Loads calls f for the sessions of l for which at least some bytes are held, of a
// part of all sessions: those from a position on, which is 0 at first. It returns
// the position to go on from, 0 at the end. It must be called on l.
func (s *Server) Loads(l *loop.Loop, from uint32, least int, f func(Load)) (next uint32) {
	l.Check()
	const part = 4096
	sh := s.shards[l.Index()]
	end := min(from+part, sh.sessions.Max())
	for slot := from + 1; slot <= end; slot++ {
		if r := sh.sessions.At(slot); !r.is(inUse) || r.is(closing) {
			continue
		}
		if x := sh.load(slot); x.Bytes >= least {
			f(x)
		}
	}
	if end == sh.sessions.Max() {
		return 0
	}
	return end
}

func (sh *shard) load(slot uint32) Load {
	r, now := sh.sessions.At(slot), sh.loop.Now()
	x := Load{Session: sh.ref(slot)}
	x.Bytes, x.Stalled = sh.transport(r).backlog(slot)
	if a := sh.peekAccount(slot); a != nil {
		held := a.Held()
		x.Bytes += int(held)
		if r.is(choked) {
			x.Stalled = x.Stalled || held >= a.mark && now-a.at >= stalledAfter.Milliseconds()
		}
	}
	return x
}

// Cut ends the session with TransportError at once, because memory is short: what is
// queued is discarded. Its client is not told, unless it has a poll that waits, or is
// upgrading, or by CloseOverload.
func (s Session) Cut() {
	r := s.at()
	if r == nil || r.is(closing) {
		return
	}
	if s.sh.endForHandler(s.slot, TransportError) {
		s.sh.transport(r).fail(s.slot)
	}
}
