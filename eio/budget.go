package eio

import (
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/budget"
)

// minConnBudget is the least that Options.ConnBudget means by zero.
const minConnBudget = 4 << 20

// carryRoom is the room in a budget for what has been read and not been handled,
// beside two messages: loop.Options.ReadBuffer, a few times.
const carryRoom = 256 << 10

// An account is a session's budget.Account, and its owner. It exists while
// something is held for the session: those that are idle have none.
type account struct {
	budget.Account
	s Session

	// Owned by the session's loop. While reading is paused:
	mark int64 // what was held when it was last seen to fall
	at   int64 // when that was, in ms on the loop's clock
	sent int64 // when a ping was last sent because others were put off; 0: not yet
}

// Budget returns the account of what is kept on the session's behalf on the way
// in, bounded by Options.ConnBudget; nil if the session is gone. It is asked for
// anew for each charge, as an idle session's is forgotten; who has charged
// something may keep it for the release. A charge that does not fit has ended the
// session when it returns.
func (s Session) Budget() *budget.Account {
	if s.at() == nil {
		return nil
	}
	return &s.sh.account(s.slot).Account
}

// account returns the session's account, made if needed.
func (sh *shard) account(slot uint32) *account {
	if a := sh.peekAccount(slot); a != nil {
		return a
	}
	sh.sessions.At(slot).set(budgeted)
	a := &account{s: sh.handle(slot)}
	a.Init(a, sh.srv.o.ConnBudget, &sh.heldBytes)
	sh.accounts[slot] = a
	if !sh.sweeper.Armed() {
		sh.loop.Schedule(&sh.sweeper, sweepEvery, sh.sweep)
	}
	return a
}

// peekAccount returns the session's account, nil if it has none.
func (sh *shard) peekAccount(slot uint32) *account {
	if sh.sessions.At(slot).is(budgeted) {
		return sh.accounts[slot]
	}
	return nil
}

// sweepEvery is how often accounts are looked at, to forget those of sessions for
// which nothing is held any more.
const sweepEvery = time.Second

func (sh *shard) sweep() {
	for slot, a := range sh.accounts {
		switch s := sh.sessions.At(slot); {
		case a.Idle() && !s.is(choked):
			delete(sh.accounts, slot)
			s.unset(budgeted)
		case s.is(choked) && s.is(overWS):
			sh.findGone(slot, a)
		}
	}
	if len(sh.accounts) == 0 {
		sh.accounts = map[uint32]*account{} // a map never gets smaller
		return
	}
	sh.loop.Schedule(&sh.sweeper, sweepEvery, sh.sweep)
}

// findGone finds out whether the client of a WebSocket is still there that is not read
// from until its handlers have caught up. The loop does not notice its end, which is
// behind what is not read; and each time that reading goes on the wait for its pong
// begins anew, so that no ping is due. One is sent nevertheless, for a kernel whose
// client has gone answers it with a reset.
func (sh *shard) findGone(slot uint32, a *account) {
	s, now := sh.sessions.At(slot), sh.loop.Now()
	if sh.loop.Conn(s.conn).Reset() {
		sh.tally.Gone++
		sh.close(slot, TransportClose)
		return
	}
	every := sh.srv.o.PingInterval.Milliseconds()
	switch {
	case !s.is(awaitPong) || a.sent == 0:
		a.sent = now // what is due is sent by the wheel
	case now-a.sent >= every && s.is(revision3):
		a.sent = now
		sh.send(slot, pongFrame, shared, true, nil)
	case now-a.sent >= every:
		a.sent = now
		sh.send(slot, pingFrame, shared, true, nil)
	}
}

// endAccount is for a session that is being freed.
func (sh *shard) endAccount(slot uint32) {
	if a := sh.peekAccount(slot); a != nil {
		a.End()
		delete(sh.accounts, slot)
	}
}

// Pause has the session's client wait until what it has sent is handled.
func (a *account) Pause() {
	a.s.sh.tally.Pauses++
	a.mark, a.at = a.Held(), a.s.sh.loop.Now()
	a.s.pause(choked)
}

// Fallen has the account looked at on its loop.
func (a *account) Fallen() { a.s.sh.loop.Post(a) }

// Run is the task of Fallen.
func (a *account) Run(*loop.Loop) {
	if a.Settle() {
		// It has its turn with others whose handlers have caught up, not all at once.
		if r := a.s.at(); r != nil && !r.is(closing|busy) {
			a.s.sh.later(a.s.slot)
		}
		a.s.resume(choked)
	}
}

// Exceeded ends the session: more is kept for it than Options.ConnBudget allows,
// and a pause would be no help.
func (a *account) Exceeded() {
	sh := a.s.sh
	sh.tally.Budget++
	sh.srv.notice.Warn("a connection has reached its budget", "flag", "--conn-budget", "bytes", a.Held(), "bound", sh.srv.o.ConnBudget)
	sh.closeWith(a.s.slot, TransportError, sh.srv.tooBig())
}

// Overran tells, within Handler.Close, whether the client had sent more than was
// handled: it was ended by its budget, or as it waited. What of it waits would be
// kept for nobody, as long as handlers are slow.
func (s Session) Overran() bool {
	r := s.at()
	if r == nil {
		return false
	}
	a := s.sh.peekAccount(s.slot)
	return r.is(choked) || a != nil && a.Over()
}

// stuck tells whether reading from a session has been paused for as long as a
// client may be silent without anything of what it waits for having been done.
func (sh *shard) stuck(slot uint32) bool {
	a, now := sh.account(slot), sh.loop.Now()
	if held := a.Held(); held != a.mark { // nothing is read meanwhile; of a body, the rest was added when the pause began
		a.mark, a.at = held, now
	}
	if now-a.at < (sh.srv.o.PingInterval + sh.srv.o.PingTimeout).Milliseconds() {
		return false
	}
	sh.tally.Stuck++
	sh.srv.notice.Warn("nothing was done about what a connection has sent", "flag", "--conn-budget", "bytes", a.Held())
	return true
}
