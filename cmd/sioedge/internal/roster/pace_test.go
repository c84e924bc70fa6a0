package roster

import (
	"fmt"
	"testing"
	"time"
)

// A backend is told of no more disconnects a second than it may be, in the order in which
// they came, and of no more at one time than a bound, however many there are; of all in the
// end. What was not needed of the pace is kept for a second.
func TestDisconnectsAreTold(t *testing.T) {
	const n, rate = 5000, 200
	now := time.Unix(1_700_000_000, 0)
	o := testRules()
	o.cluster, o.elsewhere, o.recovery = false, false, 0
	o.rate = func(name string) int { return map[string]int{"slow": rate, "fast": 1 << 20}[name] }
	b := newBook("n0", 1, o)
	told := map[string][]string{}
	var under []*telling
	take := func() (news int) {
		for _, e := range b.out {
			if e.tell == nil {
				continue
			}
			if e.tell.word == goodbye {
				told[e.tell.place.backend] = append(told[e.tell.place.backend], e.tell.sid)
				news++
			}
			under = append(under, e.tell)
		}
		b.out = nil
		return news
	}
	answer := func() {
		all := under
		under = nil
		for _, x := range all {
			b.delivered(x, true, now)
		}
	}
	for _, name := range []string{"slow", "fast"} {
		for i := range n {
			b.came(&arrival{sid: fmt.Sprint(name, i), at: placeKey{backend: name}, keep: true}, now)
		}
		for i := range n {
			b.left(fmt.Sprint(name, i), parting{reason: "x", left: now.UnixMilli()}, 0, now)
		}
	}
	// Nobody answers: there is a second's worth, or what may be under way.
	for range 5 {
		b.step(now)
		take()
	}
	if x, y := len(told["slow"]), len(told["fast"]); x != rate || y != maxAway {
		t.Errorf("at once it is told of %d and %d, want %d and %d", x, y, rate, maxAway)
	}
	for second := 1; len(told["slow"]) < n; second++ {
		for range 20 { // they are answered as they come
			now = now.Add(50 * time.Millisecond)
			answer()
			next := b.step(now)
			take()
			if len(told["slow"]) < n && (next.IsZero() || next.After(now.Add(50*time.Millisecond))) {
				t.Fatalf("the next is told at %v, which is too late", next.Sub(now))
			}
		}
		if got, most := len(told["slow"]), rate*(second+1); got > most || got < min(most, n)-rate/10 {
			t.Fatalf("in %d seconds it is told of %d, want %d about", second, got, most)
		}
	}
	answer()
	b.step(now)
	for name, all := range told {
		if len(all) != n {
			t.Errorf("%s is told of %d, want %d", name, len(all), n)
		}
		for i, sid := range all {
			if sid != fmt.Sprint(name, i) {
				t.Fatalf("%s is told of %s as the %dth", name, sid, i)
			}
		}
	}
	if len(b.own.entries) != 0 || b.disconnected != 2*n {
		t.Errorf("%d entries are left, %d are taken", len(b.own.entries), b.disconnected)
	}
}
