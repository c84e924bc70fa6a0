package loop

import (
	"math"
	"time"

	"github.com/sioedge/sioedge/loop/histogram"
)

// The clock of a loop comes after the bytes. What a peer has sent in time is
// read before a timer finds that it has not: timers are due by the horizon, the
// latest moment by which all that had come has been read. And the clock stands
// still while the loop is away (its process was stopped, its machine asleep, a
// handler did not return), so that nobody's time runs out meanwhile.

const (
	// awayAfter is how late a loop may be, in ms, before it takes that on itself.
	awayAfter = 1000
	// awayUnit is what an absence is rounded down to, in ms: loops that turn at the
	// multiples of a power of two go on together.
	awayUnit = 512
)

// tick reads the clock.
func (l *Loop) tick() {
	l.ns = l.engine.nowNs()
	now := l.ns/int64(time.Millisecond) - l.away
	if late := now - l.expected; late >= awayAfter && l.sim == nil {
		late -= late % awayUnit
		l.away += late
		now -= late
		l.tally.Away += late
	}
	l.now, l.expected = now, now
	if !keepsTime || l.sim != nil {
		l.horizon = now
	}
}

// rest says that the loop may sleep until its earliest timer.
func (l *Loop) rest() {
	l.expected = math.MaxInt64 - awayAfter
	if len(l.timers.heap) > 0 {
		l.expected = max(l.now, l.timers.heap[0].at)
	}
}

// clockNs returns the time on the loop's clock, which stands still until the loop runs: for
// what is attached before, time begins then.
func (l *Loop) clockNs() int64 {
	if !l.started && l.sim == nil {
		return l.now * int64(time.Millisecond)
	}
	return l.engine.nowNs() - l.away*int64(time.Millisecond)
}

// A lag is how late a loop is: how long what has come had to wait at most until it was
// served. It is measured once each time that the poller is asked.
type lag struct {
	since int64          // ms on the engine's clock: all that had come by then is being served
	worst histogram.Peak // ms, by windows of lagWindow
}

// lagWindow is for how long, in ms, the worst lag is remembered at least; twice that at
// most.
const lagWindow = 256

// caughtUp says that all has been served that had come by lag.since.
func (l *Loop) caughtUp(now int64) {
	l.lag.worst.Note(now/lagWindow, now-l.lag.since)
}

// Lag returns how late the loop was at worst within the last quarter to half of a
// second, in ms: how long what had come had to wait until it was served. The time in
// which the loop was away is in it. It is 0 for a loop that sleeps.
func (l *Loop) Lag() int64 {
	l.owner.check()
	return l.lag.worst.Of(l.engine.nowMs() / lagWindow)
}

// Micros returns µs since the engine was made, as of the beginning of the step, also of
// one that was held up.
func (l *Loop) Micros() int64 {
	l.owner.check()
	return l.ns / int64(time.Microsecond)
}

// wakes says that the loop has waited until now, by its clock, and has something to do.
func (l *Loop) wakes() {
	l.tally.Turns++
	l.busySince = l.ns
}

// worked counts the time since it woke until ns, by the engine's clock.
func (l *Loop) worked(ns int64) {
	l.tally.Busy += ns - l.busySince
	l.busySince = ns
}

// largestWindow is for how long, in ms, the largest queue is remembered at least; twice
// that at most.
const largestWindow = 60_000

// Horizon returns the latest moment, on the clock of Now, by which everything
// that had come from peers has been given to the handler. Whether a peer is late
// is judged by it, not by Now.
func (l *Loop) Horizon() int64 {
	l.owner.check()
	return l.horizon
}
