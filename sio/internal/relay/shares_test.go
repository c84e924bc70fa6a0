package relay

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// One client gets half of the places and leaves room for others, for the same server
// too; what waits for one server gets three quarters, whoever it is.
func TestSharesLeaveRoom(t *testing.T) {
	s := newShares(4096)
	fill := func(client, node string) (n int) {
		for s.take(client, node) {
			n++
		}
		return n
	}
	for _, c := range []struct {
		client, node string
		want         int
	}{{"greedy", "a", 2048}, {"greedy", "b", 0}, {"honest", "a", 1024}, {"another", "a", 0}, {"another", "b", 512}, {"greedy", "b", 0}} {
		if n := fill(c.client, c.node); n != c.want {
			t.Errorf("%s gets %d more places for %s, want %d", c.client, n, c.node, c.want)
		}
	}

	s = newShares(1)
	if !s.take("c", "n") || s.take("d", "m") {
		t.Error("of one place the first does not get it, or a second one does")
	}
	if s.give("c", "n"); s.inUse() != 0 || len(s.held) != 0 {
		t.Errorf("given back: %d in use, %v held, want nothing", s.inUse(), s.held)
	}
}

func TestClientOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1", "[::ffff:192.0.2.1]:80": "::ffff:192.0.2.1", "[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::/64",
		"[2001:db8:1:2:a::1]:9": "2001:db8:1:2::/64", "[fe80::1%eth0]:9": "fe80::/64", "@": "@", "": "",
	} {
		if got := clientOf(remote); got != want {
			t.Errorf("clientOf(%q) = %q, want %q", remote, got, want)
		}
	}
}

// Who wants more bytes than there are waits, in order; who gives up waits no more.
func TestAllowance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &allowance{free: 10}
		ctx, cancel := context.WithCancel(t.Context())
		if err := a.take(ctx, 8); err != nil {
			t.Fatal(err)
		}
		want := func(ctx context.Context, n int64) chan error {
			got := make(chan error, 1)
			// ends when it has them, or ctx does
			go func() { got <- a.take(ctx, n) }()
			synctest.Wait()
			return got
		}
		large := want(ctx, 9)
		small := want(t.Context(), 2) // they are free, but it is not its turn
		if len(large) > 0 || len(small) > 0 {
			t.Fatalf("%d and %d have an answer, want both to wait", len(large), len(small))
		}
		cancel()
		if l, s := <-large, <-small; l != context.Canceled || s != nil {
			t.Errorf("large: %v, small: %v, want that the first gave up, and the second has them", l, s)
		}
		next := want(t.Context(), 10)
		a.give(8)
		if synctest.Wait(); len(next) > 0 {
			t.Fatalf("of 8 bytes 10 are had: %v", <-next)
		}
		a.give(2)
		if err := <-next; err != nil || a.free != 0 || len(a.waiting) != 0 {
			t.Errorf("%v, %d free, %d wait, want no error, 0 and 0", err, a.free, len(a.waiting))
		}
	})
}

// Refusals of other servers are free at first, and slow their client down then, and
// only it; those who are many share what is left.
func TestMistakesSlowDown(t *testing.T) {
	m, now := newMistakes(), time.Now()
	for range 10_000 {
		for _, status := range []int{http.StatusOK, http.StatusBadGateway} {
			if d := m.note("honest", status, now); d != 0 {
				t.Fatalf("an answer of %d is to wait %v, want 0", status, d)
			}
		}
	}
	free := 0
	for range 1000 {
		if m.note("forger", http.StatusBadRequest, now) == 0 {
			free++
		}
	}
	if free != mistakesAtOnce {
		t.Errorf("%d of 1000 refusals are free, want %v", free, mistakesAtOnce)
	}
	if d := m.note("honest", http.StatusBadRequest, now); d != 0 {
		t.Errorf("the first refusal of another client is to wait %v, want 0", d)
	}
	if d := m.note("forger", http.StatusBadRequest, now.Add(time.Minute)); d != 0 {
		t.Errorf("a minute later a refusal is to wait %v, want 0", d)
	}
	for i := range 3 * maxMistakenAddrs {
		m.note(fmt.Sprint(i), http.StatusBadRequest, now)
	}
	if n := len(m.level); n > maxMistakenAddrs+1 {
		t.Errorf("%d addresses are remembered, want %d at most", n, maxMistakenAddrs+1)
	}
}
