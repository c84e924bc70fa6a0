package admin

import "sync/atomic"

// Stats are counts since the start, and gauges, which say so.
type Stats struct {
	LoggedIn  int64 // logins
	Wrong     int64 // logins that were not right
	Throttled int64 // logins that were refused since too many had failed, or waited
	Foreign   int64 // requests of other pages
	Misnamed  int64 // requests for hosts that are not the page's
	Evicted   int64 // sessions that have ended since there were too many
	Traced    int64 // traces
	Untraced  int64 // traces that were refused since there were too many
	LeftOut   int64 // lines of traces that were left out

	Sessions int64 // a gauge
	Traces   int64 // a gauge
}

// counts are those of Stats.
type counts struct {
	loggedIn, wrong, throttled, foreign, misnamed, traced, untraced, leftOut atomic.Int64
}

// Stats returns what was counted. Any goroutine may ask.
func (a *Admin) Stats() Stats {
	c := &a.counts
	sessions, evicted := a.sessions.count()
	return Stats{
		LoggedIn: c.loggedIn.Load(), Wrong: c.wrong.Load(), Throttled: c.throttled.Load(), Foreign: c.foreign.Load(), Misnamed: c.misnamed.Load(),
		Evicted: evicted, Traced: c.traced.Load(), Untraced: c.untraced.Load(), LeftOut: c.leftOut.Load(), Sessions: int64(sessions), Traces: a.traces.Load(),
	}
}
