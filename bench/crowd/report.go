package crowd

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A Report is what a crowd has seen.
type Report struct {
	Clients     map[Kind]int // that came at least once
	Sessions    int64        // that were opened
	Disconnects int64        // sessions that ended otherwise than by their client
	Echoes      int64        // acknowledgements that came, in their turn
	Messages    int64        // numbers of rooms that came, in their turn
	Lost        int64        // that did not come
	Doubled     int64        // that came again
	Disordered  int64        // that came before their turn, and were not lost
	Problems    []string     // the first ones, in words

	// Of the kinds that do nothing slowly themselves:
	Slots []Slot // by time, of 100 ms each
	Late  []Late // acknowledgements that took lateAfter at least, a million at most
}

// A Slot is how many acknowledgements came that were asked for in 100 ms.
type Slot struct {
	Unix int64 // in tenths of a second
	N    int64
}

// A Late is an acknowledgement that took long.
type Late struct {
	Unix int64 // ms, when it was asked for
	MS   int32 // how long it took
}

const (
	lateAfter = 20 * time.Millisecond
	mostLate  = 1 << 20
)

// Flawless tells whether nobody has noticed anything but time.
func (r *Report) Flawless() bool {
	return r.Disconnects == 0 && r.Lost == 0 && r.Doubled == 0 && r.Disordered == 0 && len(r.Problems) == 0
}

// Latencies returns what shares of the acknowledgements that were asked for in a time took
// at most: those below lateAfter count as that. Of nothing it is zero.
func (r *Report) Latencies(from, to time.Time, shares ...float64) []time.Duration {
	n := int64(0)
	for _, s := range r.Slots {
		if at := s.Unix * 100; at >= from.UnixMilli() && at <= to.UnixMilli() {
			n += s.N
		}
	}
	var late []int32
	for _, l := range r.Late {
		if l.Unix >= from.UnixMilli() && l.Unix <= to.UnixMilli() {
			late = append(late, l.MS)
		}
	}
	slices.Sort(late)
	n = max(n, int64(len(late)))
	all := make([]time.Duration, len(shares))
	for i, share := range shares {
		switch above := int(float64(n) * (1 - share)); {
		case n == 0:
		case above >= len(late):
			all[i] = lateAfter
		default:
			all[i] = time.Duration(late[len(late)-1-above]) * time.Millisecond
		}
	}
	return all
}

// Merge adds what another crowd of the same server has seen.
func (r *Report) Merge(o Report) {
	if r.Clients == nil {
		r.Clients = map[Kind]int{}
	}
	for k, n := range o.Clients {
		r.Clients[k] += n
	}
	r.Sessions, r.Disconnects, r.Echoes, r.Messages = r.Sessions+o.Sessions, r.Disconnects+o.Disconnects, r.Echoes+o.Echoes, r.Messages+o.Messages
	r.Lost, r.Doubled, r.Disordered = r.Lost+o.Lost, r.Doubled+o.Doubled, r.Disordered+o.Disordered
	r.Problems = append(r.Problems, o.Problems...)
	r.Late = append(r.Late, o.Late...)
	slots := map[int64]int64{}
	for _, s := range append(r.Slots, o.Slots...) {
		slots[s.Unix] += s.N
	}
	r.Slots = slotsOf(slots)
}

// String says it in a line.
func (r *Report) String() string {
	return fmt.Sprintf("%d sessions, %d acknowledgements, %d messages: %d disconnects, %d lost, %d doubled, %d out of order",
		r.Sessions, r.Echoes, r.Messages, r.Disconnects, r.Lost, r.Doubled, r.Disordered)
}

func slotsOf(m map[int64]int64) []Slot {
	all := make([]Slot, 0, len(m))
	for at, n := range m {
		all = append(all, Slot{at, n})
	}
	slices.SortFunc(all, func(a, b Slot) int { return cmp.Compare(a.Unix, b.Unix) })
	return all
}

// A recorder gathers a Report from all clients.
type recorder struct {
	mu    sync.Mutex
	r     Report
	slots map[int64]int64
}

func newRecorder() *recorder {
	return &recorder{r: Report{Clients: map[Kind]int{}}, slots: map[int64]int64{}}
}

func (c *recorder) change(f func(r *Report)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.r)
}

// mostProblems is how many are told in words.
const mostProblems = 20

func (c *recorder) problem(format string, args ...any) {
	c.change(func(r *Report) {
		if len(r.Problems) < mostProblems {
			r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
		}
	})
}

// echo notes an acknowledgement that came in its turn, and of who is prompt how long it took.
func (c *recorder) echo(asked time.Time, prompt bool) {
	took := time.Since(asked)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.r.Echoes++; !prompt {
		return
	}
	c.slots[asked.UnixMilli()/100]++
	if took >= lateAfter && len(c.r.Late) < mostLate {
		c.r.Late = append(c.r.Late, Late{asked.UnixMilli(), int32(took.Milliseconds())})
	}
}

func (c *recorder) snapshot() Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.r
	r.Clients = map[Kind]int{}
	for k, n := range c.r.Clients {
		r.Clients[k] = n
	}
	r.Problems, r.Late, r.Slots = slices.Clone(c.r.Problems), slices.Clone(c.r.Late), slotsOf(c.slots)
	return r
}
