// Package pace ends what is on event loops a few at a time, evenly over a time, so that
// those who come back elsewhere do not come at once.
package pace

import (
	"context"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/loop"
)

const (
	tick  = 100 * time.Millisecond // from half of it to half as much again
	least = 5                      // a loop and tick: who are few need not wait for long
	most  = 128                    // in one task of a loop
)

// Few ends up to n on a loop, from a position on which is 0 at first, and returns where to
// go on, and how many are left. It is called on the loop.
type Few func(l *loop.Loop, at uint32, n int) (next uint32, left int)

// Run has few called until nothing is left on the loops, in such portions that this is so
// when over has gone by, or earlier if there are few. A loop that does not come is not
// asked again before it has. It returns nil then, or ctx's error when that is done.
func Run(ctx context.Context, loops []*loop.Loop, over time.Duration, few Few) error {
	walks := make([]*walk, len(loops))
	for i, l := range loops {
		walks[i] = &walk{l: l, few: few}
		walks[i].post(0)
	}
	last := time.Now()
	end := last.Add(over)
	for {
		select {
		case <-time.After(tick/2 + rand.N(tick)):
		case <-ctx.Done():
			return ctx.Err()
		}
		now := time.Now()
		if !step(walks, now.Sub(last), end.Sub(last)) {
			return nil
		}
		last = now
	}
}

// step ends what is due after a part of the time that there was. It is false when nothing
// is left.
func step(walks []*walk, gone, remained time.Duration) (more bool) {
	for _, w := range walks {
		if w.busy.Load() {
			more = true
		} else if left := int(w.left.Load()); left > 0 {
			more = true
			w.post(share(left, gone, remained))
		}
	}
	return more
}

// share returns how many of those that are left end after a part of the time that remained
// for all.
func share(left int, gone, remained time.Duration) int {
	if gone >= remained {
		return left
	}
	return min(left, max(least, int(math.Ceil(float64(left)*float64(gone)/float64(remained)))))
}

// A walk is one along a loop.
type walk struct {
	l   *loop.Loop
	few Few

	at   uint32 // owned by the loop
	n    int    // owned by the loop while it is busy
	busy atomic.Bool
	left atomic.Int64
}

// post has n end on the loop.
func (w *walk) post(n int) {
	w.busy.Store(true)
	w.n = n
	if !w.l.Post(w) { // the loop has ended
		w.left.Store(0)
		w.busy.Store(false)
	}
}

// Run does a part of it on the loop.
func (w *walk) Run(l *loop.Loop) {
	n := min(w.n, most)
	next, left := w.few(l, w.at, n)
	w.at, w.n = next, w.n-n
	w.left.Store(int64(left))
	if w.n > 0 && left > 0 && l.Post(w) {
		return
	}
	w.busy.Store(false)
}
