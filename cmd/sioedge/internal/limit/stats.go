package limit

import "sync/atomic"

// Stats are counts since the start, and gauges, which say so: what there is now.
type Stats struct {
	// What sockets sent and was over a bound, by the strictest: the rates of all
	// namespaces, and those of one. Event is of events with a rate of their own.
	Events, Bytes, Event                            Actions
	NamespaceEvents, NamespaceBytes, NamespaceEvent Actions

	Users          int64 // connections that were refused for limits.max_conns_per_user
	NamespaceUsers int64 // and for that of a namespace

	Buckets int64 // a gauge: sockets that have used up something, or had a moment ago
	Seats   int64 // a gauge: users with connections that are counted, and those of a namespace
}

// Actions are events and acknowledgements by what became of them.
type Actions struct{ Delayed, Nacked, Dropped, Closed int64 }

// tally is what is counted of those who are over a bound.
type tally struct {
	rates          [scopes][2][Close + 1]atomic.Int64 // by scope, whether it is of an event, and action
	users, nsUsers atomic.Int64
}

func (t *tally) count(b bound, a Action) {
	i := 0
	if b.event != nil {
		i = 1
	}
	t.rates[b.of][i][a].Add(1)
}

func (t *tally) actions(of scope, named int) Actions {
	n := &t.rates[of][named]
	return Actions{Delayed: n[Delay].Load(), Nacked: n[Nack].Load(), Dropped: n[Drop].Load(), Closed: n[Close].Load()}
}

// Stats returns what has been counted.
func (x *Limiter) Stats() Stats {
	t := &x.tally
	st := Stats{
		Events: t.actions(events, 0), Bytes: t.actions(size, 0), Event: t.actions(event, 1),
		NamespaceEvents: t.actions(nsEvents, 0), NamespaceBytes: t.actions(nsSize, 0), NamespaceEvent: t.actions(nsEvent, 1),
		Users: t.users.Load(), NamespaceUsers: t.nsUsers.Load(), Buckets: x.holders.count.Load(),
	}
	x.users.mu.Lock()
	st.Seats = int64(len(x.users.taken))
	x.users.mu.Unlock()
	return st
}
