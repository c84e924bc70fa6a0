package webhook

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
)

// Buckets are the upper bounds of the buckets of Requests.Seconds, but for the last one,
// which has none.
var Buckets = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Sizes are the upper bounds of the buckets of Requests.Sizes, but for the last one, which
// has none.
var Sizes = [...]int{1, 2, 4, 8, 16, 32, 64, 128, 256, 1024}

// Requests are those of one sort.
type Requests struct {
	Outcomes [outcomes]int64 // by Outcome
	Items    int64           // that were in them, each as often as it was sent
	Bytes    int64           // of their bodies
	Seconds  [len(Buckets) + 1]int64
	Took     time.Duration         // all of them together
	Sizes    [len(Sizes) + 1]int64 // by how many items were in them
}

// Stats are counts since the start of what a backend was asked and told, and gauges, which
// say so.
type Stats struct {
	Connects, Others Requests // requests about clients that want in, and all others

	Told   [action.Kinds]int64            // items that the backend has, by action.Kind
	Lost   [action.Kinds][lossCount]int64 // items that it does not have, by Loss
	Queued int64                          // a gauge: bytes of what waits, and of requests under way
	// Inflight are requests under way, Waiting those whose turn has not come: gauges.
	Inflight, Waiting int

	Breaker State // a gauge
	Opened  int64 // how often it was opened

	Admitted, Refused int64            // clients by what the backend says
	Undecided         [lossCount]int64 // those about whom it has said nothing, by Loss: on_error
	CacheEntries      int              // a gauge
	CacheHits         int64            // clients that were answered without a request
	CacheEvicted      int64

	Paused         int64 // events that found no room, and waited
	PausedNow      int64 // a gauge: those that wait now
	Unacknowledged int64 // acknowledgements that clients wait for in vain
	Garbled        int64 // answers that could not be read
	Faulty         int64 // results that could not be used
	Unknown        int64 // results for nothing that was asked, or for the second time
	LeftAlready    int64 // results of events whose socket had left
	Undone         int64 // what results said and could not be done
	Panics         int64
}

type requests struct {
	outcomes [outcomes]atomic.Int64
	items    atomic.Int64
	bytes    atomic.Int64
	seconds  [len(Buckets) + 1]atomic.Int64
	took     atomic.Int64
	sizes    [len(Sizes) + 1]atomic.Int64
}

type tally struct {
	requests  [2]requests
	told      [action.Kinds]atomic.Int64
	lost      [action.Kinds][lossCount]atomic.Int64
	undecided [lossCount]atomic.Int64

	admitted, refused, paused, waiting, unacknowledged, garbled, faulty, unknown, gone, undone, panics atomic.Int64
}

// count counts a request.
func (b *Backend) count(l *lane, x *batch, bytes int, a *answer, took time.Duration) {
	r := &b.tally.requests[1]
	if l.urgent {
		r = &b.tally.requests[0]
	}
	r.outcomes[a.outcome].Add(1)
	r.items.Add(int64(len(x.items)))
	r.bytes.Add(int64(bytes))
	r.took.Add(int64(took))
	k := 0
	for k < len(Buckets) && took > Buckets[k] {
		k++
	}
	r.seconds[k].Add(1)
	n, _ := slices.BinarySearch(Sizes[:], len(x.items))
	r.sizes[n].Add(1)
	if a.outcome != Answered {
		b.notice.Warn("webhook: a request has failed: "+a.outcome.String(), "backend", b.name, "status", a.status, "why", a.why, "items", len(x.items), "try", x.tries, "see", b.key)
	}
}

func (r *requests) stats() (s Requests) {
	for i := range r.outcomes {
		s.Outcomes[i] = r.outcomes[i].Load()
	}
	for i := range r.seconds {
		s.Seconds[i] = r.seconds[i].Load()
	}
	for i := range r.sizes {
		s.Sizes[i] = r.sizes[i].Load()
	}
	s.Items, s.Bytes, s.Took = r.items.Load(), r.bytes.Load(), time.Duration(r.took.Load())
	return s
}

// Stats returns what was counted.
func (b *Backend) Stats() (s Stats) {
	t := &b.tally
	s.Connects, s.Others = t.requests[0].stats(), t.requests[1].stats()
	for k := range s.Told {
		s.Told[k] = t.told[k].Load()
		for l := range s.Lost[k] {
			s.Lost[k][l] = t.lost[k][l].Load()
		}
	}
	for l := range s.Undecided {
		s.Undecided[l] = t.undecided[l].Load()
	}
	s.Queued = b.room.used.Load() + b.kept.Load()
	s.Inflight, s.Waiting = b.slots.count()
	s.Breaker, s.Opened = b.breaker.state(), b.breaker.count()
	s.CacheEntries, s.CacheHits, s.CacheEvicted = b.answers.count()
	s.Admitted, s.Refused, s.Paused, s.PausedNow = t.admitted.Load(), t.refused.Load(), t.paused.Load(), t.waiting.Load()
	s.Unacknowledged, s.Garbled, s.Faulty, s.Unknown = t.unacknowledged.Load(), t.garbled.Load(), t.faulty.Load(), t.unknown.Load()
	s.LeftAlready, s.Undone, s.Panics = t.gone.Load(), t.undone.Load(), t.panics.Load()
	return s
}

// lostAll returns how many items were lost.
func (t *tally) lostAll() (n int64) {
	for k := range t.lost {
		for l := range t.lost[k] {
			n += t.lost[k][l].Load()
		}
	}
	return n
}
