package sio_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// Events for one socket cost the others nothing; what its client has not had goes
// with it to another server, in order with what is in the log, and again if it goes
// again.
func TestClusterDirectEventsGoWithTheirSocket(t *testing.T) {
	c := newCluster(t, time.Minute)
	r, s := c.dial(0)
	lines := func() (n int) {
		c.books[0].set(func() { n = len(c.books[0].l.lines) })
		return n
	}
	before := lines()
	const many = 1000
	for i := range many {
		if err := s.Emit("direct", i); err != nil {
			t.Fatal(err)
		}
	}
	if n := lines() - before; n != 0 {
		t.Errorf("%d direct events are %d lines in the log, want none", many, n)
	}
	r.takes(many - 10) // the rest does not arrive
	c.ns[1].Emit("all", 1)
	c.read()
	_ = s.Emit("direct", many)
	c.move(r, 1)
	c.ns[0].Emit("all", 2)
	c.read()
	want := []string{}
	for i := many - 10; i < many; i++ {
		want = append(want, fmt.Sprint("direct ", i))
	}
	want = append(want, "all 1", fmt.Sprint("direct ", many), "all 2")
	for _, to := range []int{0, 1} { // the first time nothing of it arrives
		offset := r.offset
		r.events = nil
		if r.connect(); r.recoveredAs != r.sid || !slices.Equal(r.events, want) {
			t.Fatalf("at %d: events = %q as %s, want %q as %s; %+v", 1-to, r.events, r.recoveredAs, want, r.sid, c.servers[1-to].Recoveries())
		}
		take(t, c.sockets[1-to])
		if to == 0 {
			r.offset = offset
			c.move(r, to)
		}
	}
}

// A session that an offset does not fit, or that is not whole, is not recovered.
func TestClusterDirectEventsThatDoNotFit(t *testing.T) {
	for name, spoil := range map[string]func(r *recoverer){
		"a number that was not given": func(r *recoverer) { r.offset += "000" },
		"a number that is none":       func(r *recoverer) { r.offset += "x" },
		"no number behind the point":  func(r *recoverer) { r.offset = r.offset[:strings.Index(r.offset, ".")+1] },
	} {
		c := newCluster(t, time.Minute)
		r, s := c.dial(0)
		_ = s.Emit("direct", 1)
		r.takes(1)
		spoil(r)
		c.move(r, 0)
		if r.connect(); r.recoveredAs == r.sid || c.servers[0].Recoveries().Lost != 1 {
			t.Errorf("%s: recovered as %s", name, r.recoveredAs)
		}
	}
	c := newCluster(t, time.Minute)
	r, s := c.dial(0)
	for range 1000 {
		_ = s.Emit("large", strings.Repeat("x", 1000))
	}
	c.move(r, 0)
	if r.connect(); r.recoveredAs == r.sid {
		t.Error("it was recovered with more than goes with a session")
	}
}

// Whatever is emitted how and wherever a client goes: it has each event once, and
// those of one origin in order.
func TestClusterIsExactWithDirectEvents(t *testing.T) {
	rounds := 25
	if testing.Short() {
		rounds = 8
	}
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 2))
		c := newCluster(t, time.Minute)
		r, s := c.dial(0)
		at, n := 0, 0
		var want []string
		emit := func() {
			n++
			want = append(want, fmt.Sprint("e ", n))
			switch rng.IntN(3) {
			case 0:
				_ = c.ns[rng.IntN(2)].Emit("e", n)
				c.read() // the order of servers is that of reading
			case 1:
				_ = c.ns[at].To(r.sid).Emit("e", n)
				c.read()
			default:
				_ = s.Emit("e", n)
			}
		}
		for range rounds {
			for range rng.IntN(6) {
				emit()
			}
			r.takes(rng.IntN(len(want) - len(r.events) + 1)) // and no more
			at = rng.IntN(2)
			c.move(r, at)
			for range rng.IntN(3) {
				n++
				want = append(want, fmt.Sprint("e ", n))
				_ = c.ns[rng.IntN(2)].To(r.sid).Emit("e", n)
				c.read()
			}
			if r.connect(); r.recoveredAs != r.sid {
				t.Fatalf("seed %d: it was not recovered: %+v", seed, c.servers[at].Recoveries())
			}
			s = take(t, c.sockets[at])
			if !slices.Equal(r.events, want) {
				t.Fatalf("seed %d: received %q, want %q", seed, r.events, want)
			}
		}
	}
}
