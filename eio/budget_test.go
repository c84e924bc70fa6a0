package eio

import (
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/budget"
	"github.com/sioedge/sioedge/loop/http1"
)

// keeper is a handler that charges each message, and is done with it when the
// test says so.
type keeper struct {
	hooks
	now     Session
	got     []string
	charged []*budget.Account
	sizes   []int
	reasons []Reason
}

func (k *keeper) Open(s Session, _ *http1.Request) { k.now = s }

func (k *keeper) Message(s Session, data []byte, _ bool) {
	a := s.Budget()
	if a.Work(len(data)) {
		k.got = append(k.got, string(data))
		k.charged, k.sizes = append(k.charged, a), append(k.sizes, len(data))
	}
}

func (k *keeper) Close(_ Session, r Reason) { k.reasons = append(k.reasons, r) }

// done is done with the oldest message.
func (k *keeper) done() {
	k.charged[0].Done(k.sizes[0])
	k.charged, k.sizes = k.charged[1:], k.sizes[1:]
}

func TestSessionsWithoutAnythingHaveNoAccount(t *testing.T) {
	k := &keeper{}
	srv, sim := newSim(t, k, Options{}, loop.Options{})
	c := sim.Connect(0)
	c.Send(wsRequest("EIO=4&transport=websocket"))
	c.Send(textFrame("4hello"))
	if n := srv.Stats().Held; n != 5 {
		t.Fatalf("%d bytes are held, want 5", n)
	}
	k.done()
	sim.Advance(2 * sweepEvery)
	if n := len(srv.shards[0].accounts); n != 0 || srv.shards[0].sweeper.Armed() {
		t.Errorf("%d accounts of idle sessions are kept, want none, and nobody looking", n)
	}
	c.Close()
	sim.Advance(time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

// A client whose handlers are slow waits, on either transport, and what it has
// sent meanwhile comes in order when they have caught up.
func TestBudgetPauses(t *testing.T) {
	k := &keeper{}
	srv, sim := newSim(t, k, Options{MaxPayload: 1000, ConnBudget: 2000}, loop.Options{})
	c := sim.Connect(0)
	c.Send(wsRequest("EIO=4&transport=websocket"))
	var all []byte
	for i := range 30 {
		all = append(all, textFrame("4"+strings.Repeat(string(rune('a'+i)), 100))...)
	}
	c.Send(all) // in one read
	if len(k.got) != 11 {
		t.Fatalf("%d messages of 100 bytes were handed over with a budget of 2,000, want 11: the first above half of it pauses", len(k.got))
	}
	for len(k.charged) > 0 {
		k.done()
		sim.Turn()
		if n := srv.Stats().Held; n > 1100 {
			t.Fatalf("%d bytes are held, want at most 1,100", n)
		}
	}
	var want string
	for i := range 30 {
		want += strings.Repeat(string(rune('a'+i)), 100)
	}
	if strings.Join(k.got, "") != want {
		t.Errorf("%d messages came, want 30 in order", len(k.got))
	}
	if n := srv.Stats().Pauses; n < 2 {
		t.Errorf("Stats().Pauses = %d, want some", n)
	}
	c.Close()
	sim.Advance(time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

// What is kept for a session without anything of it draining ends it.
func TestBudgetCloses(t *testing.T) {
	k := &keeper{}
	srv, sim := newSim(t, k, Options{MaxPayload: 1000, ConnBudget: 2000}, loop.Options{})
	for _, transport := range []string{"websocket", "polling"} {
		c := sim.Connect(0)
		if transport == "websocket" {
			c.Send(wsRequest("EIO=4&transport=websocket"))
		} else {
			c.Send(getRequest("EIO=4&transport=polling"))
		}
		c.Received()
		s := k.now
		if !s.Budget().Charge(2000) || s.Budget().Charge(1) || s.Valid() || s.Budget().Charge(1) {
			t.Fatalf("%s: a charge beyond the budget, want the first within it alone and the session closed", transport)
		}
		sim.Turn()
		if transport == "websocket" && !strings.Contains(string(c.Received()), "\x88\x02\x03\xf1") {
			t.Error("no close frame with 1009")
		}
		c.Close()
	}
	sim.Advance(time.Minute)
	if st := srv.Stats(); st.Budget != 2 || st.Held != 0 {
		t.Errorf("Stats() = %d closed and %d bytes held, want 2 and 0", st.Budget, st.Held)
	}
	if len(k.reasons) != 2 || k.reasons[0] != TransportError || k.reasons[1] != TransportError {
		t.Errorf("closed for %q, want two transport errors", k.reasons)
	}
	checkEmpty(t, srv, sim.Engine())
}

// A client that waits for handlers that do nothing is not kept for ever; one
// whose handlers get on is, however slow they are.
func TestStuckSessionsEnd(t *testing.T) {
	for _, working := range []bool{true, false} {
		k := &keeper{}
		srv, sim := newSim(t, k, Options{MaxPayload: 1000, ConnBudget: 2000}, loop.Options{})
		c := sim.Connect(0)
		c.Send(wsRequest("EIO=4&transport=websocket"))
		for range 20 {
			c.Send(textFrame("4" + strings.Repeat("x", 90)))
		}
		for range 5 {
			sim.Advance(30 * time.Second)
			if working {
				k.done()
			}
		}
		if working == (len(k.reasons) > 0) || !working && k.reasons[0] != PingTimeout {
			t.Errorf("handlers that get on: %v; closed for %q", working, k.reasons)
		}
		c.Close()
		for len(k.charged) > 0 {
			k.done()
			sim.Turn()
		}
		sim.Advance(time.Minute)
		if n := srv.Stats().Held; n != 0 {
			t.Errorf("%d bytes count as held at the end, want none", n)
		}
		checkEmpty(t, srv, sim.Engine())
	}
}

// Bounds that contradict each other are refused.
func TestConnBudgetIsChecked(t *testing.T) {
	if _, err := NewServer(&hooks{}, Options{MaxPayload: 1000, ConnBudget: 1999}); err == nil {
		t.Error("a budget that does not hold two messages is taken")
	}
	for payload, want := range map[int]int{1000: 4 << 20, 2_000_000: 8_000_000} {
		srv, err := NewServer(&hooks{}, Options{MaxPayload: payload})
		if err != nil || srv.o.ConnBudget != want {
			t.Errorf("with messages of %d bytes the budget is %d, %v, want %d", payload, srv.o.ConnBudget, err, want)
		}
	}
}
