package sio

import (
	"testing"

	"github.com/sioedge/sioedge/rooms"
)

// Those of a lane know what was delivered before the last entry that is read, when
// the loops are told: what is about to be is not among it.
func TestClusterTellsWhatWasDelivered(t *testing.T) {
	srv, sim, err := NewSim(Options{Recovery: Recovery{Window: 1e9}})
	if err != nil {
		t.Fatal(err)
	}
	srv.Of("/")
	l := &clusterLog{srv: srv, lanes: map[string]*lane{}, mu: &srv.log.mu}
	x := l.lane("lane")
	for _, place := range []uint64{3, 5, 7} {
		x.told = x.told.Add(-markEvery)
		l.pass("lane", x, rooms.Place(place))
		sim.Turn()
	}
	p := srv.shards[0].passages["lane"]
	if p == nil || len(p.marks) != 2 || p.marks[0].place != 3 || p.marks[1].place != 5 || x.last != 7 {
		t.Fatalf("the loop knows %+v of a lane that is at %v, want 3 and 5", p, x.last)
	}
}
