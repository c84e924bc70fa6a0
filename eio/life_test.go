package eio

import (
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// TestWhoIsTakingBytesLives: a client that has much to read before it comes to
// the ping, and reads steadily, gets all of it; one that has stopped is gone, as
// is one that has read all and says nothing.
func TestWhoIsTakingBytesLives(t *testing.T) {
	for _, revision := range []string{"4", "3"} {
		for _, stops := range []bool{true, false} {
			var now Session
			var reason Reason
			srv, sim := newSim(t, &hooks{
				open:  func(s Session, _ *http1.Request) { now = s },
				close: func(_ Session, r Reason) { reason = r },
			}, Options{PingInterval: time.Second, PingTimeout: time.Second, AllowEIO3: true}, loop.Options{})
			c := sim.Connect(0)
			c.Send(wsRequest("EIO=" + revision + "&transport=websocket"))
			c.Stall(true)
			c.Received()
			const size = 100_000 // below the bound from which on the loop looks for itself
			now.Send(AppendBinary(nil, make([]byte, size)))
			sim.Turn()
			for range 20 {
				sim.Advance(900 * time.Millisecond)
				if !now.Valid() {
					t.Fatalf("revision %s: closed for %q with %d bytes taken", revision, reason, c.Count())
				}
				c.Take(1000)
			}
			if !stops {
				c.Stall(false)
				sim.Advance(time.Millisecond)
			}
			sim.Advance(5 * time.Second)
			if now.Valid() || reason != PingTimeout {
				t.Errorf("revision %s: closed for %q after it stopped, want %q", revision, reason, PingTimeout)
			}
			c.Close()
			sim.Advance(time.Minute)
			checkEmpty(t, srv, sim.Engine())
		}
	}
}

// TestWhoHasAnsweredLives: a pong that came while the loop was away keeps the
// session, however long that was and whatever the loop does first.
func TestWhoHasAnsweredLives(t *testing.T) {
	for _, away := range []time.Duration{1200 * time.Millisecond, 2400 * time.Millisecond} {
		closed := make(chan Reason, 1)
		heard := make(chan string, 1)
		m, addr := start(t, &hooks{
			message: func(_ Session, b []byte, _ bool) { heard <- string(b) },
			close:   func(_ Session, r Reason) { closed <- r },
		}, Options{PingInterval: time.Second, PingTimeout: time.Second}, 1)
		other := dial(t, addr)
		w := dial(t, addr)
		w.must(wsRequest("EIO=4&transport=websocket"), 101)
		if _, err := w.message(); err != nil { // the opening
			t.Fatal(err)
		}
		w.expect("2")
		m.shards[0].loop.Ask(func() {
			_, _ = other.Write([]byte("G")) // is read first
			w.text("3")
			time.Sleep(away)
		})
		w.text("4here")
		select {
		case <-heard:
		case r := <-closed:
			t.Fatalf("closed for %q after %v away, want it to live: it had answered", r, away)
		}
		_ = w.Close()
	}
}
