package eio

import (
	"bytes"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// TestAllocations: what an idle session and a busy one do over and over
// allocates nothing.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector changes what is allocated")
	}
	var now Session
	reply := AppendText(nil, []byte("reply"))
	prepared := Prepare([]byte("to many"), false)
	srv, sim := newSim(t, &hooks{
		open:    func(s Session, _ *http1.Request) { now = s },
		message: func(s Session, _ []byte, _ bool) { s.Send(reply) },
	}, Options{}, loop.Options{})
	c := sim.Connect(0)
	c.Send(wsRequest("EIO=4&transport=websocket"))
	c.Discard(true)
	pongFrame, text := textFrame("3"), textFrame("4hello")
	pieces := [][]byte{text[:3], text[3:8], text[8:]}
	for _, f := range []struct {
		name string
		want float64
		run  func()
		sent int64 // bytes by one run
	}{
		{"a ping and its pong", 0, func() { sim.Advance(26 * time.Second); c.Send(pongFrame) }, int64(len(pingFrame))},
		{"a message and an answer", 0, func() { c.Send(text) }, int64(len(reply))},
		{"a prepared message, sent at once", 0, func() { now.SendPrepared(prepared, true) }, int64(prepared.Size())},
		{"a prepared message, sent at the end of the step", 0, func() { now.SendPrepared(prepared, false); sim.Turn(); c.Send(pongFrame) }, int64(prepared.Size())},
		{"the id", 1, func() { _ = now.ID() }, 0},
	} {
		f.run() // what grows once
		before := c.Count()
		const runs = 50
		if n := testing.AllocsPerRun(runs, f.run); n > f.want {
			t.Errorf("%s: %v allocations, want %v", f.name, n, f.want)
		}
		if sent := c.Count() - before; sent != (runs+1)*f.sent {
			t.Errorf("%s: %d bytes were sent, want %d", f.name, sent, (runs+1)*f.sent)
		}
	}
	// A message in pieces needs an extension, which goes with it.
	for _, p := range pieces {
		c.Send(p)
	}
	if n := len(srv.shards[0].exts) - 1 - len(srv.shards[0].freeExts); n != 0 {
		t.Errorf("%d extensions after a message in pieces, want none", n)
	}
	if !bytes.Equal(text, textFrame("4hello")) {
		t.Error("what the peer sent was changed")
	}
}
