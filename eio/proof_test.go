package eio

import (
	"bytes"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// A pong proves what was sent before its ping, and nothing else does.
func TestProven(t *testing.T) {
	const interval = 10 * time.Second
	var s Session
	var atEnd int64
	_, sim := newSim(t, &hooks{
		open:  func(o Session, _ *http1.Request) { s = o },
		close: func(o Session, _ Reason) { atEnd = o.Proven() },
	}, Options{PingInterval: interval, PingTimeout: interval}, loop.Options{})
	l := sim.Engine().Loops()[0]
	peer := sim.Connect(0)
	peer.Send(wsRequest("EIO=4&transport=websocket"))
	peer.Received()
	var pinged int64
	for i := range 5 {
		before := s.Proven()
		if i%2 == 0 {
			sim.Advance(interval + time.Second)
		} else {
			s.Ping() // before it is due
			sim.Turn()
		}
		if !bytes.Equal(peer.Received(), pingFrame) || s.Answered() {
			t.Fatalf("ping %d did not come", i)
		}
		pinged = l.Now() // and up to a second before
		s.Ping()         // one is out
		sim.Advance(3 * time.Second)
		peer.Send(textFrame("4x")) // a sign of life, but no proof
		if p := s.Proven(); p != before || len(peer.Received()) > 0 {
			t.Errorf("ping %d: Proven = %d before the pong, want %d", i, p, before)
		}
		peer.Send(textFrame("3"))
		if p := s.Proven(); p > pinged || p <= pinged-2000 || !s.Answered() {
			t.Errorf("ping %d: Proven = %d, want the second of %d", i, p, pinged)
		}
	}
	want := s.Proven()
	if sim.Advance(2*interval + time.Second); s.Valid() || atEnd != want {
		t.Errorf("Proven = %d at the end, want %d", atEnd, want)
	}
}
