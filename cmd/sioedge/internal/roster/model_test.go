package roster

import (
	"fmt"
	"testing"
	"time"
)

// check compares what the backend was told with the truth.
func (w *world) check() {
	for _, c := range w.order {
		var last saying
		if n := len(c.heard); n > 0 {
			last = c.heard[n-1]
		}
		switch {
		case w.isGone(c) && last.word == hello && !c.unknown:
			w.fail(c, "the backend does not know that %s has gone", c.sid)
		case !w.isGone(c) && c.on != nil && last.word == goodbye && !c.confused && !c.missed && !(c.excused && c.moves > 0):
			w.fail(c, "the backend thinks that %s has gone, which is there", c.sid)
		case w.faults == 0 && w.isGone(c) && len(c.heard) != 2:
			w.fail(c, "the backend has heard %v of %s, want one coming and one going", c.heard, c.sid)
		}
	}
	for _, s := range w.alive() {
		n := 0
		for _, c := range w.order {
			if c.on == s {
				n++
			}
		}
		b := s.b
		if len(b.own.entries) != n || len(b.waiting) > 0 || len(b.claims)+yields(b)+len(b.takings)+len(b.returning) > 0 {
			w.fail(nil, "%s has %d entries, %d wait, %d claims, %d claimed, %d takings, %d return, want %d entries", s.name, len(b.own.entries), len(b.waiting), len(b.claims), yields(b), len(b.takings), len(b.returning), n)
		}
		for name, q := range b.queues {
			if q.away != 0 || len(q.all) != 0 {
				w.t.Fatalf("%s has %d under way to %s, %d wait", s.name, q.away, name, len(q.all))
			}
		}
		keep := 0
		for _, o := range w.alive() {
			if l := o.b.copies[s.name]; l != nil && l.run == b.run {
				keep++
				if len(l.entries) != n || l.have != b.version {
					w.fail(nil, "%s has %d entries of %s up to version %d, want %d up to %d", o.name, len(l.entries), s.name, l.have, n, b.version)
				}
			}
		}
		if want := min(keepers, len(w.alive())-1); keep != want {
			w.fail(nil, "the ledger of %s is kept by %d, want %d", s.name, keep, want)
		}
		refs := 0
		for _, p := range b.places {
			refs += p.refs
		}
		if want := len(b.own.entries) + b.copied(); refs != want {
			w.t.Fatalf("%s has places for %d entries, want %d", s.name, refs, want)
		}
	}
}

// Whatever is lost, repeated, reordered, cut off, fails or crashes: the backend is told of
// each socket that it has gone, not before it has, in order, and of none that is there
// that it has not come back.
func TestBackendsKnowWhoIsThere(t *testing.T) {
	seeds := uint64(160)
	if testing.Short() {
		seeds = 32
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			w := newWorld(t, seed, 2+int(seed%4))
			w.faults = []int{0, crashes | failures, stops | failures, cuts, losses, failures, crashes | stops | failures, crashes | stops | cuts | losses | failures}[seed%8]
			w.pass(time.Second)
			for range 3 {
				if w.faults&losses != 0 {
					w.loss = w.r.IntN(3) * 15
				}
				if w.faults&failures != 0 {
					w.failing = w.r.IntN(3) * 30
				}
				for range 60 {
					w.act()
					w.pass(time.Duration(w.r.IntN(300)) * time.Millisecond)
				}
				w.loss, w.failing = 0, 0
				w.heal()
				w.pass(250 * time.Second)
				w.check()
			}
		})
	}
}

// yields counts what was yielded and is not taken.
func yields(b *book) (n int) {
	for _, c := range b.claimed {
		if c.yielded {
			n++
		}
	}
	return n
}
