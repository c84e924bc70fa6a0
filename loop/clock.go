package loop

import (
	"math"
	"time"
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
	now := l.engine.nowMs() - l.away
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

// clockNs returns the time on the loop's clock.
func (l *Loop) clockNs() int64 { return l.engine.nowNs() - l.away*int64(time.Millisecond) }

// Horizon returns the latest moment, on the clock of Now, by which everything
// that had come from peers has been given to the handler. Whether a peer is late
// is judged by it, not by Now.
func (l *Loop) Horizon() int64 {
	l.owner.check()
	return l.horizon
}
