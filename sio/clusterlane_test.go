package sio

import (
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/clusterlog"
	"github.com/sioedge/sioedge/sio/internal/packetlog"
)

// Those of a lane know what was delivered before the last entry that is read, when
// the loops are told: what is about to be is not among it.
func TestClusterTellsWhatWasDelivered(t *testing.T) {
	srv, sim, err := NewSim(Options{Recovery: Recovery{Window: 1e9}})
	if err != nil {
		t.Fatal(err)
	}
	srv.Of("/")
	r, err := newRecovering(srv)
	if err != nil {
		t.Fatal(err)
	}
	q := &clustered{recovering: r, log: clusterlog.New(clusterlog.Options{})}
	x, now := q.log.Lane("lane"), time.Now()
	for _, place := range []uint64{3, 5, 7} {
		now = now.Add(packetlog.MarkEvery)
		q.pass("lane", x, rooms.Place(place), now)
		sim.Turn()
	}
	p := srv.shards[0].progress["lane"]
	if p == nil || x.Last() != 7 || len(p.Marks()) != 2 || p.Marks()[0] != 3 || p.Marks()[1] != 5 {
		t.Fatalf("the loop knows %+v of a lane that is at %v, want 3 and 5", p, x.Last())
	}
}
