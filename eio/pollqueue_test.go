package eio

import (
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// A client to which an answer is on its way is not slow as long as that moves, and
// has the whole time to ask for more from when it had the last of it.
func TestSlowIsJudgedFromTheEndOfTheAnswer(t *testing.T) {
	for _, asks := range []bool{true, false} {
		var now Session
		var reasons []Reason
		srv, sim := newSim(t, &hooks{
			open:  func(s Session, _ *http1.Request) { now = s },
			close: func(_ Session, r Reason) { reasons = append(reasons, r) },
		}, Options{MaxQueue: 1000, SlowAfter: time.Second}, loop.Options{})
		c := sim.Connect(0)
		c.Send(getRequest("EIO=4&transport=polling"))
		c.Received()
		poll := getRequest("EIO=4&transport=polling&sid=" + now.ID())
		for range 4 {
			now.Send(AppendText(nil, []byte(strings.Repeat("x", 900))))
		}
		sim.Turn()
		sim.Advance(900 * time.Millisecond)
		c.Stall(true)
		c.Send(poll)
		sim.Advance(1050 * time.Millisecond)
		c.Stall(false) // the last of the answer is taken a moment before the second look
		sim.Advance(800 * time.Millisecond)
		if len(reasons) > 0 {
			t.Fatalf("closed for %q 800 ms after the end of an answer, want a second to ask for more", reasons[0])
		}
		if asks {
			c.Received()
			c.Send(poll)
			if !strings.Contains(string(c.Received()), "xxx") {
				t.Error("the next poll is not answered with what waited")
			}
		} else if sim.Advance(2 * time.Second); len(reasons) != 1 || srv.Stats().Slow != 1 {
			t.Errorf("closed for %q, Stats().Slow = %d, want a client that does not ask to be closed", reasons, srv.Stats().Slow)
		}
		c.Close()
		sim.Advance(time.Minute)
		checkEmpty(t, srv, sim.Engine())
	}
}

// What is left of a body when its session changes the transport is handled when the
// session is one over a WebSocket, behind all that was queued before.
func TestUpgradeWithRestOfBody(t *testing.T) {
	for _, ends := range []bool{false, true} {
		var now Session
		got := 0
		srv, sim := newSim(t, &hooks{
			open: func(s Session, _ *http1.Request) { now = s },
			message: func(s Session, data []byte, _ bool) {
				if got++; ends && got == 3 {
					s.Close()
					return
				}
				s.Send(AppendText(nil, []byte(strings.Repeat(string(data), 600))))
			},
		}, Options{MaxQueue: 1000}, loop.Options{})
		c := sim.Connect(0)
		c.Send(getRequest("EIO=4&transport=polling"))
		c.Received()
		sid := now.ID()
		c.Send(postRequest("EIO=4&transport=polling&sid="+sid, "4a\x1e4b\x1e4c\x1e4d"))
		if got != 2 {
			t.Fatalf("%d messages were handled, want the 2 whose answers are more than MaxQueue", got)
		}
		w := sim.Connect(0)
		w.Send(wsRequest("EIO=4&transport=websocket&sid=" + sid))
		w.Send(textFrame("2probe"))
		w.Received()
		w.Send(textFrame("5"))
		order := ""
		for _, r := range string(w.Received()) {
			if r >= 'a' && r <= 'd' && !strings.HasSuffix(order, string(r)) {
				order += string(r)
			}
		}
		if want := map[bool]string{false: "abcd", true: "ab"}[ends]; order != want {
			t.Errorf("answers came in the order %q, want %q", order, want)
		}
		c.Close()
		w.Close()
		sim.Advance(2 * time.Minute)
		checkEmpty(t, srv, sim.Engine())
	}
}

// A handler that panics in a later step keeps nobody else from having a turn.
func TestPanicInALaterStep(t *testing.T) {
	var all []Session
	got := map[Session]int{}
	_, sim := newSim(t, &hooks{
		open: func(s Session, _ *http1.Request) { all = append(all, s) },
		message: func(s Session, _ []byte, _ bool) {
			if got[s]++; s == all[0] && got[s] == stepPackets+1 {
				panic("oh")
			}
		},
	}, Options{}, loop.Options{})
	var peers []*loop.Peer
	for range perSlice {
		c := sim.Connect(0)
		c.Send(getRequest("EIO=4&transport=polling"))
		peers = append(peers, c)
	}
	sim.Engine().Loops()[0].Post(loop.TaskFunc(func(*loop.Loop) { // all in one step
		for i, c := range peers {
			c.Send(postRequest("EIO=4&transport=polling&sid="+all[i].ID(), strings.Repeat("4x\x1e", stepPackets)+"4x"))
		}
	}))
	sim.Turn()
	for i, s := range all {
		if got[s] != stepPackets+1 {
			t.Errorf("of session %d %d messages were handled, want %d", i, got[s], stepPackets+1)
		}
	}
	if n := sim.Engine().Stats().Panics; n != 1 {
		t.Errorf("Stats().Panics = %d, want 1", n)
	}
}
