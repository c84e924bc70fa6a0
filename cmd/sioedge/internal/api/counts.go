package api

import (
	"slices"
	"sync/atomic"
	"time"
)

// statuses are those that are counted apart; statusCut stands for requests that were cut
// off, or panicked, behind the head of their answer.
var statuses = []int{200, 400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 500, 503, statusCut, statusOther}

const (
	statusCut   = 499
	statusOther = 0
)

// Bounds are the upper bounds of the histograms of durations, in seconds.
var Bounds = [...]float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// An endpoint is what is counted of a route.
type endpoint struct {
	codes   []atomic.Int64 // by the index in statuses
	buckets [len(Bounds) + 1]atomic.Int64
	nanos   atomic.Int64
}

// counts are all that is counted.
type counts struct {
	of   map[*route]*endpoint
	none endpoint // of paths that there are not

	throttled, busy, replayed, forgotten atomic.Int64
	lines, wrong                         atomic.Int64
	streams                              atomic.Int64
}

func (c *counts) init(all []*route) {
	c.of = map[*route]*endpoint{}
	for _, r := range all {
		c.of[r] = &endpoint{codes: make([]atomic.Int64, len(statuses))}
	}
	c.none.codes = make([]atomic.Int64, len(statuses))
}

// add counts a request that has ended.
func (c *counts) add(x *call) {
	e := c.of[x.route]
	if e == nil {
		e = &c.none
	}
	i := slices.Index(statuses, x.status)
	if i < 0 {
		i = len(statuses) - 1
	}
	e.codes[i].Add(1)
	took := time.Since(x.began)
	e.nanos.Add(int64(took))
	at, _ := slices.BinarySearch(Bounds[:], took.Seconds())
	e.buckets[at].Add(1)
}

// Stats are counts since the start, and gauges, which say so.
type Stats struct {
	Endpoints []EndpointStats // by name; "none" are paths that there are not

	Throttled int64 // requests without a right key, of addresses that have had too many of these
	Busy      int64 // requests that were refused since their key had too many under way
	Replayed  int64 // commands that were done before, by their idempotency keys
	Forgotten int64 // idempotency keys that were forgotten before their time
	Commands  int64 // of streams
	Wrong     int64 // of these: were answered an error

	Streams   int64 // a gauge: streams that are there
	Known     int   // a gauge: idempotency keys that are remembered
	KnownSize int   // a gauge: bytes that they take, about
	RoomData  RoomDataStats
	Questions Questions
}

// RoomDataStats are of what is stored with rooms.
type RoomDataStats struct {
	Rooms, Bytes int   // gauges; bytes that it takes, about
	Refused      int64 // was not stored, since there was so much (Settings.MaxRoomData)
}

// EndpointStats are of one endpoint.
type EndpointStats struct {
	Name    string
	Codes   map[int]int64 // answers by status; 499: cut off, 0: another
	Buckets []int64       // of durations: at most Bounds of the same index, and one more above all
	Seconds float64       // all durations together
}

// Stats returns the counts. Any goroutine may ask.
func (a *API) Stats() Stats {
	c := &a.counts
	s := Stats{
		Throttled: c.throttled.Load(), Busy: c.busy.Load(), Replayed: c.replayed.Load(), Forgotten: c.forgotten.Load(),
		Commands: c.lines.Load(), Wrong: c.wrong.Load(), Streams: c.streams.Load(), Questions: a.peers.stats(),
	}
	s.Known, s.KnownSize = a.memory.size()
	s.RoomData = a.roomData.stats()
	for _, r := range routes {
		s.Endpoints = append(s.Endpoints, c.of[r].stats(r.name))
	}
	s.Endpoints = append(s.Endpoints, c.none.stats("none"))
	return s
}

func (e *endpoint) stats(name string) EndpointStats {
	s := EndpointStats{Name: name, Codes: map[int]int64{}, Seconds: time.Duration(e.nanos.Load()).Seconds()}
	for i := range e.codes {
		if n := e.codes[i].Load(); n > 0 {
			s.Codes[statuses[i]] = n
		}
	}
	for i := range e.buckets {
		s.Buckets = append(s.Buckets, e.buckets[i].Load())
	}
	return s
}
