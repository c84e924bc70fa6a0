package eio

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/budget"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/wsframe"
)

// keeper is a handler that charges each message, and is done with it when the
// test says so.
type keeper struct {
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

// small are options with the smallest budget for messages of this size.
var small = Options{MaxPayload: 30_000, ConnBudget: 2*30_000 + carryRoom}

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
	srv, sim := newSim(t, k, small, loop.Options{})
	c := sim.Connect(0)
	c.Send(wsRequest("EIO=4&transport=websocket"))
	var all []byte
	want := ""
	for i := range 60 {
		m := strings.Repeat(string(rune('A'+i)), 20_000)
		all, want = append(all, textFrame("4"+m)...), want+m
	}
	c.Send(all)
	if n := small.ConnBudget/2/20_000 + 1; len(k.got) != n {
		t.Fatalf("%d messages of 20,000 bytes were handed over with a budget of %d, want %d: the first above half of it pauses", len(k.got), small.ConnBudget, n)
	}
	for len(k.charged) > 0 {
		if n := srv.Stats().Held; n > int64(small.ConnBudget) {
			t.Fatalf("%d bytes are held, want at most %d", n, small.ConnBudget)
		}
		k.done()
		sim.Turn()
	}
	if strings.Join(k.got, "") != want {
		t.Errorf("%d messages came, want 60 in order", len(k.got))
	}
	if n := srv.Stats().Pauses; n < 2 {
		t.Errorf("Stats().Pauses = %d, want some", n)
	}
	c.Close()
	sim.Advance(time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

// Of one body, too, nothing more is handed over once reading is paused; the rest
// is when it goes on, and the request answered when all has been.
func TestPausedInTheMiddleOfABody(t *testing.T) {
	var now Session
	var got []string
	srv, sim := newSim(t, &hooks{
		open: func(s Session, _ *http1.Request) { now = s },
		message: func(s Session, data []byte, _ bool) {
			got = append(got, string(data))
			s.PauseRead()
		},
	}, Options{}, loop.Options{})
	c := sim.Connect(0)
	c.Send(getRequest("EIO=4&transport=polling"))
	c.Received()
	c.Send(postRequest("EIO=4&transport=polling&sid="+now.ID(), "4a\x1e4b\x1e4c\x1e4d"))
	for i, want := range []string{"a", "a b", "a b c", "a b c d"} {
		if s := strings.Join(got, " "); s != want || len(c.Received()) > 0 {
			t.Fatalf("%q were handed over after %d resumptions, or the answer given; want %q and no answer", s, i, want)
		}
		now.ResumeRead()
		sim.Turn()
	}
	if answer := string(c.Received()); !strings.HasSuffix(answer, "\r\n\r\nok") {
		t.Errorf("the answer is %q, want ok", answer)
	}
	if n := srv.Stats().Held; n != 0 {
		t.Errorf("%d bytes are held at the end, want none", n)
	}
	c.Close()
	now.Close()
	sim.Advance(time.Minute)
	checkEmpty(t, srv, sim.Engine())
}

// However much one client sends at once, another one has its turn after what a
// step may handle, and what was sent comes in order.
func TestStepsAreBounded(t *testing.T) {
	const events = 20_000
	for name, send := range map[string]func(c *loop.Peer, sid string){
		"a body": func(c *loop.Peer, sid string) {
			c.Send(postRequest("EIO=4&transport=polling&sid="+sid, strings.TrimSuffix(strings.Repeat("4a\x1e", events), "\x1e")))
		},
		"frames": func(c *loop.Peer, _ string) { c.Send(bytes.Repeat(textFrame("4a"), events)) },
	} {
		t.Run(name, func(t *testing.T) {
			sessions := map[Session]int{}
			var honest *loop.Peer
			n, at := 0, 0
			var last Session
			srv, sim := newSim(t, &hooks{
				open: func(s Session, _ *http1.Request) { last = s },
				message: func(s Session, data []byte, _ bool) {
					if sessions[s]++; string(data) == "honest" {
						at = n
						return
					}
					if n++; n == 300 {
						honest.Send(textFrame("4honest"))
					}
				},
			}, Options{}, loop.Options{})
			honest = sim.Connect(0)
			honest.Send(wsRequest("EIO=4&transport=websocket"))
			c := sim.Connect(0)
			if name == "a body" {
				c.Send(getRequest("EIO=4&transport=polling"))
			} else {
				c.Send(wsRequest("EIO=4&transport=websocket"))
			}
			c.Received()
			send(c, last.ID())
			if n != events {
				t.Fatalf("%d events came, want %d", n, events)
			}
			// What remains of the step, then perhaps one more.
			if at == 0 || at > 300+2*64 {
				t.Errorf("the honest client's message came after %d events of the other one, want it within two steps of 64", at)
			}
			last.Close()
			c.Close()
			honest.Close()
			sim.Advance(time.Minute)
			if srv.Stats().Held != 0 || srv.Stats().Budget != 0 {
				t.Errorf("Stats() = %+v, want nothing held", srv.Stats())
			}
			checkEmpty(t, srv, sim.Engine())
		})
	}
}

// Messages and bodies that are not complete are counted, and what they take
// together is bounded.
func TestBudgetOfWhatIsIncomplete(t *testing.T) {
	var now Session
	srv, sim := newSim(t, &hooks{open: func(s Session, _ *http1.Request) { now = s }}, Options{}, loop.Options{})
	c := sim.Connect(0)
	c.Send(wsRequest("EIO=4&transport=websocket"))
	piece := wsframe.AppendMaskedFrame(nil, wsframe.Binary, make([]byte, 300_000), testKey)
	piece[0] &^= 0x80
	c.Send(piece)
	if n := srv.Stats().Held; n < 300_000 || n > 700_000 {
		t.Errorf("%d bytes are held of a message of 300,000 that goes on, want that or twice that", n)
	}
	piece = wsframe.AppendMaskedFrame(nil, wsframe.Continuation, make([]byte, 10), testKey)
	c.Send(piece)
	if n := srv.Stats().Held; n != 0 {
		t.Errorf("%d bytes are held when it is complete, want none", n)
	}
	c.Close()

	p := sim.Connect(0)
	p.Send(getRequest("EIO=4&transport=polling"))
	p.Received()
	body := postRequest("EIO=4&transport=polling&sid="+now.ID(), "4"+strings.Repeat("x", 900_000))
	p.Send(body[:500_000])
	if n := srv.Stats().Held; n < 400_000 || n > 1_000_000 {
		t.Errorf("%d bytes are held of half a million of a body, want that or twice that", n)
	}
	p.Send(body[500_000:])
	if n := srv.Stats().Held; n != 0 {
		t.Errorf("%d bytes are held when it is complete, want none", n)
	}
	if !now.Budget().Charge(4<<20 - 100_000) {
		t.Fatal("no room")
	}
	p.Send(body[:500_000])
	if now.Valid() || !strings.Contains(string(p.Received()), " 413 ") {
		t.Error("a body that does not fit is received, want 413 and the end of the session")
	}
	p.Close()
	sim.Advance(time.Minute)
	if st := srv.Stats(); st.Held != 0 || st.Budget != 1 {
		t.Errorf("Stats() = %+v, want nothing held, and one closed", st)
	}
	checkEmpty(t, srv, sim.Engine())
}

// What is kept for a session without anything of it draining ends it.
func TestBudgetCloses(t *testing.T) {
	k := &keeper{}
	srv, sim := newSim(t, k, small, loop.Options{})
	for _, transport := range []string{"websocket", "polling"} {
		c := sim.Connect(0)
		if transport == "websocket" {
			c.Send(wsRequest("EIO=4&transport=websocket"))
		} else {
			c.Send(getRequest("EIO=4&transport=polling"))
		}
		c.Received()
		s := k.now
		if !s.Budget().Charge(small.ConnBudget) || s.Budget().Charge(1) || s.Valid() || s.Budget().Charge(1) {
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
		srv, sim := newSim(t, k, small, loop.Options{})
		c := sim.Connect(0)
		c.Send(wsRequest("EIO=4&transport=websocket"))
		for range 20 {
			c.Send(textFrame("4" + strings.Repeat("x", 20_000)))
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

// A client that polls, and has gone while it had to wait, is not kept for as long
// as its handlers are slow; one that is there is.
func TestWhoHasGoneWhileItWaitedEnds(t *testing.T) {
	for _, there := range []bool{true, false} {
		k := &keeper{}
		srv, sim := newSim(t, k, small, loop.Options{})
		c, polls := sim.Connect(0), sim.Connect(0)
		c.Send(getRequest("EIO=4&transport=polling"))
		query := "EIO=4&transport=polling&sid=" + k.now.ID()
		c.Received()
		for srv.Stats().Pauses == 0 { // until it has to wait
			c.Send(postRequest(query, strings.TrimSuffix(strings.Repeat("4"+strings.Repeat("x", 100)+"\x1e", 200), "\x1e")))
			sim.Turn()
		}
		polls.Send(getRequest(query))
		k.now.Send(wsframe.AppendFrame(nil, wsframe.Text, []byte("4an answer")))
		sim.Turn()
		if !there {
			c.Close()
			polls.Close()
		}
		for range 6 {
			if there {
				polls.Send(getRequest(query))
			}
			sim.Advance(10 * time.Second)
			k.done()
		}
		if there == (len(k.reasons) > 0) || !there && k.reasons[0] != PingTimeout {
			t.Errorf("there: %v; closed for %q", there, k.reasons)
		}
		c.Close()
		polls.Close()
		for len(k.charged) > 0 {
			k.done()
			sim.Turn()
		}
		k.now.Close()
		sim.Advance(time.Minute)
		checkEmpty(t, srv, sim.Engine())
	}
}

// So is one with a WebSocket, although its handlers are done with something now and
// then, so that reading goes on and the wait for a pong begins anew.
func TestWhoHasGoneWhileItsWebSocketWaitedEnds(t *testing.T) {
	for how, leave := range map[string]func(c *loop.Peer){
		"stays":  func(*loop.Peer) {},
		"resets": (*loop.Peer).Reset,
		"closes": (*loop.Peer).Close,
	} {
		t.Run(how, func(t *testing.T) {
			const messages = 200
			k := &keeper{}
			srv, sim := newSim(t, k, small, loop.Options{})
			c := sim.Connect(0)
			c.Send(wsRequest("EIO=4&transport=websocket"))
			c.Send(bytes.Repeat(textFrame("4"+strings.Repeat("x", 20_000)), messages))
			handle := func() {
				for range min(6, len(k.charged)) { // so that reading goes on, and has to wait again
					k.done()
					sim.Turn()
				}
				sim.Advance(5 * time.Second)
			}
			for range 6 { // the first ping was sent
				handle()
			}
			if n := srv.Stats().Pauses; n < 5 {
				t.Fatalf("reading was paused %d times, want each time that something was done", n)
			}
			leave(c)
			for range 7 {
				handle()
			}
			if there := how == "stays"; there == (len(k.reasons) > 0) || !there && k.reasons[0] != TransportClose && k.reasons[0] != TransportError {
				t.Errorf("closed for %q", k.reasons)
			}
			if n := srv.Stats().Gone; (how == "resets") != (n == 1) {
				t.Errorf("Stats().Gone = %d", n)
			}
			for len(k.charged) > 0 {
				k.done()
				sim.Turn()
			}
			if n := len(k.got); how == "stays" && n != messages {
				t.Errorf("%d messages came, want %d", n, messages)
			}
			c.Close()
			k.now.Close()
			sim.Advance(time.Minute)
			checkEmpty(t, srv, sim.Engine())
		})
	}
}

// Bounds that contradict each other are refused.
func TestConnBudgetIsChecked(t *testing.T) {
	if _, err := NewServer(&hooks{}, Options{MaxPayload: 30_001, ConnBudget: small.ConnBudget}); err == nil {
		t.Error("a budget that does not hold two messages is taken")
	}
	for payload, want := range map[int]int{1000: 4 << 20, 2_000_000: 8_000_000} {
		srv, err := NewServer(&hooks{}, Options{MaxPayload: payload})
		if err != nil || srv.o.ConnBudget != want {
			t.Errorf("with messages of %d bytes the budget is %d, %v, want %d", payload, srv.o.ConnBudget, err, want)
		}
	}
}
