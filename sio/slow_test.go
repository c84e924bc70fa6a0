package sio_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
)

// A client that has much to come when it connects and reads slowly but steadily
// gets all of it and stays, with the bounds of the zero Options; one that has
// stopped goes, and the counters say why.
func TestMuchToComeIsNoReasonToClose(t *testing.T) {
	const boards, size, perStep = 40, 50_000, 20_000
	st := newStage(t, sio.Options{Engine: eio.Options{PingInterval: 5 * time.Second, PingTimeout: 4 * time.Second}})
	slow, stopped := st.enter(0), st.enter(0)
	board := strings.Repeat("x", size)
	for _, x := range []*extra{slow, stopped} {
		x.peer.Stall(true)
		for n := range boards {
			if err := x.s.Emit("board", n, board); err != nil {
				t.Fatal(err)
			}
		}
		st.sim.Turn()
	}
	volatile := 0
	for slow.peer.Count() < boards*size {
		slow.peer.Take(perStep)
		if err := slow.s.Volatile().Emit("now", volatile); err != nil {
			t.Fatal(err)
		}
		volatile++
		st.sim.Advance(2 * time.Second)
		if slow.s.Gone() {
			t.Fatalf("a client that reads was closed after %d bytes", slow.peer.Count())
		}
	}
	if !stopped.s.Gone() {
		t.Error("a client that does not read is still there")
	}
	slow.peer.Stall(false)
	got := 0
	for _, p := range slow.received() {
		switch {
		case strings.HasPrefix(p, `42["board",`):
			got++
		case strings.HasPrefix(p, `42["now"`):
			t.Fatal("a volatile event was kept for a client with much to come")
		}
	}
	if got != boards {
		t.Errorf("%d boards arrived, want %d", got, boards)
	}
	if n := st.sim.Engine().Stats(); n.Closes.Slow != 1 || n.Closes.Full != 0 {
		t.Errorf("%d were closed for being slow, %d for their queues, want 1 and none", n.Closes.Slow, n.Closes.Full)
	}
}
