package capacity

import "math"

// What eio does while no rate is set (eio/lateness.go): a loop that is late opens so many
// sessions a second, and more in each window in which it is on time. Two things are as they
// were measured. The first bound is the lowest there can be, as a loop that has accepted
// thousands of connections at once has opened few sessions meanwhile. From then on it is late
// when those that get in take advisedShare of its time: others wait in the kernel, where they do
// not make it late.
const (
	window     = 250 * aSecond / 1000 // steps
	lateAfter  = 200 * aSecond / 1000
	lateFor    = 4 // windows
	farBehind  = 750 * aSecond / 1000
	halvesIn   = 3 // windows
	calmFor    = 8 // windows
	firstBound = 100
	leastBound = 25
	growsBy    = 10 // in a window
)

// An admission is what lets clients in: at a rate, or as loops are on time.
type admission struct {
	rate    float64 // a second; 0: by how late the loops are; negative: no bound
	loops   float64
	most    float64 // a second: of more the loops are late
	bound   float64 // of all loops, a second; 0: none
	room    float64 // that may get in now
	cut     int     // the step in which the bound was last set or halved
	late    int     // windows in a row
	calm    int     // windows in a row, on time and without a refusal
	refused bool    // in this window
}

// admit returns how many may get in at a step, in which those that wait are so many steps of work.
func (a *admission) admit(now int, lag float64) float64 {
	switch {
	case a.rate < 0:
		return math.Inf(1)
	case a.rate > 0:
		a.room = min(a.room+a.rate/float64(aSecond), max(a.rate, 1))
		return a.room
	}
	if now%window == 0 {
		a.turn(now, a.bound == 0 && lag >= float64(lateAfter) || a.bound > a.most)
	}
	if a.bound == 0 && (lag >= float64(farBehind) || a.late >= lateFor) {
		a.bound, a.cut, a.calm = firstBound*a.loops, now, 0
		a.room = a.bound / 2
	}
	if a.bound == 0 {
		return math.Inf(1)
	}
	a.room = min(a.room+a.bound/float64(aSecond), a.bound/2)
	return a.room
}

// turn begins a window.
func (a *admission) turn(now int, late bool) {
	switch {
	case !late:
		a.late = 0
		if a.bound > 0 {
			a.bound += growsBy * a.loops
		}
	case a.bound > 0 && now-a.cut >= halvesIn*window:
		a.bound, a.cut = max(a.bound/2, leastBound*a.loops), now
		fallthrough
	default:
		a.late++
	}
	if a.calm++; late || a.refused {
		a.calm = 0
	}
	if a.calm >= calmFor {
		a.bound = 0
	}
	a.refused = false
}

// has takes note of those that got in, and of whether others were refused.
func (a *admission) has(in float64, refused bool) {
	if a.rate > 0 || a.bound > 0 {
		a.room -= in
	}
	a.refused = a.refused || refused
}
