package eio

import (
	"sync/atomic"
	"time"
)

// New sessions are what a server can put off when it has more to do than it has time
// for: refused before the upgrade, clients of Socket.IO back off and come again, while a
// session that is open and served late costs its users. Options.AcceptRate says how many
// there may be. Without a rate each loop judges by how late it is (loop.Loop.Lag): while
// it is on time there is no bound. When it is late, new sessions have one, of half as
// many as there were, and half of that again, as long as it is late; on time again, it
// grows step by step, until nobody has been refused for a while.

const (
	lateWindow = 250 // ms: the bound grows so often
	lateAfter  = 200 // ms of lag: a loop is late
	lateFor    = 4   // windows in a row, before there is a bound; or
	farBehind  = 750 // ms of lag, at once
	halvesIn   = 3   // windows, at least: by then a lag from before is forgotten
	firstRate  = 200 // new sessions a second: the first bound is half of so many, or of more if there were
	leastRate  = 25  // that a loop opens however late it is: it gets better
	calmFor    = 8   // windows on time without a refusal, after which there is no bound
	growsIn    = 20  // windows from nothing to what there was
)

// An acceptance is how many new sessions a loop opens. It is owned by the loop.
type acceptance struct {
	window  int64 // the present one; what follows is of it
	opened  int64
	refused bool

	last  float64 // opened a second, in the window before, or since it, if the loop did not look in between
	cut   int64   // the window in which the bound was halved last
	late  int     // windows in a row in which the loop was late
	calm  int64   // windows in a row on time, and nobody was refused
	bound float64 // a second; 0: none
	step  float64 // that it grows by in a window
	room  float64 // sessions that may be opened now
	at    int64   // ms: room is of then
}

// admit tells whether one more session may be opened, at a time of the engine's clock and
// with a lag of the loop, both in ms.
func (a *acceptance) admit(now, lag int64) bool {
	a.turn(now, lag)
	switch late := lag >= lateAfter; {
	case a.bound > 0 && late && a.window-a.cut >= halvesIn, a.bound == 0 && (lag >= farBehind || late && a.late >= lateFor):
		a.halve(now)
	}
	if a.bound > 0 {
		a.room = min(a.room+a.bound*float64(now-a.at)/1000, max(a.bound/2, 1))
		if a.at = now; a.room < 1 {
			a.refused = true
			return false
		}
		a.room--
	}
	a.opened++
	return true
}

// turn goes on to the present window. Of those in which nobody came nothing is known but
// that they were as calm as the present.
func (a *acceptance) turn(now, lag int64) {
	gone, late := now/lateWindow-a.window, lag >= lateAfter
	if gone <= 0 {
		return
	}
	switch {
	case late && gone <= lag/lateWindow+halvesIn: // nobody could come in between
		a.late += int(gone)
	case late:
		a.late = 1
	default:
		a.late = 0
	}
	if a.refused || late {
		a.calm = 0
	} else {
		a.calm += gone
	}
	if a.bound > 0 && !late {
		a.bound += a.step * float64(gone)
	}
	if a.calm >= calmFor {
		a.bound = 0
	}
	a.last = float64(a.opened) * 1000 / float64(lateWindow*gone)
	a.window, a.opened, a.refused = a.window+gone, 0, false
}

// halve sets a bound of half of what there was.
func (a *acceptance) halve(now int64) {
	if a.bound == 0 {
		a.bound = max(a.last, float64(a.opened)*1000/lateWindow, firstRate)
		a.step = a.bound / growsIn
		a.room, a.at = a.bound, now
	}
	a.bound = max(a.bound/2, leastRate)
	a.room = min(a.room, a.bound/2)
	a.cut, a.calm = a.window, 0
}

// A pace is Options.AcceptRate, of all loops together: so many sessions a second, and as
// many at once.
type pace struct {
	free atomic.Int64 // µs on the engine's clock: when all of it is there again
}

// take takes one, at a time of the engine's clock in ms; it is false if there is none.
func (p *pace) take(nowMs int64, rate int) bool {
	const second = int64(time.Second / time.Microsecond)
	each, now := second/int64(rate), nowMs*1000
	for {
		free := p.free.Load()
		next := max(free, now) + each
		if next > now+max(second, each) {
			return false
		}
		if p.free.CompareAndSwap(free, next) {
			return true
		}
	}
}

// inTime tells whether a new session may be opened, as far as time is what there is too
// little of. If not, the request has been refused.
func (sh *shard) inTime(h *httpConn) bool {
	rate, now := sh.srv.o.AcceptRate, sh.loop.Engine().Now()
	switch {
	case rate > 0 && !sh.srv.pace.take(now, rate):
		sh.tally.TooMany++
		sh.srv.notice.Warn("too many new sessions a second", "flag", "--accept-rate", "accept-rate", rate)
	case rate == 0 && !sh.acceptance.admit(now, sh.loop.Lag()):
		sh.tally.Late++
		sh.srv.notice.Warn("new sessions are refused, as a loop is late", "flag", "--accept-rate", "loop", sh.loop.Index(), "ms", sh.loop.Lag())
	default:
		return true
	}
	sh.answerUnavailable(h)
	return false
}
