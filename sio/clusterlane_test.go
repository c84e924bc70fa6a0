package sio

import (
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// What was delivered so long ago that a dead connection would have been noticed
// has been received, also by a client whose last offset the log has dropped.
func TestClusterKnowsWhatAnIdleClientHasHad(t *testing.T) {
	const proof = 66 * time.Second
	x := &lane{}
	x.pass(3, proof)
	if got := x.proven(proof); got != 0 {
		t.Errorf("proven() = %v, want nothing", got)
	}
	now := time.Now()
	x.marks = []mark{{now.Add(-300 * time.Second), 5}, {now.Add(-200 * time.Second), 7}, {now.Add(-10 * time.Second), 9}}
	if got := x.proven(proof); got != 7 {
		t.Errorf("proven() = %v, want that of 200 s ago", got)
	}
	x.pass(11, proof)
	if got := x.proven(proof); got != 7 || len(x.marks) != 3 || x.last != 11 {
		t.Errorf("proven() = %v of %d marks, last %v; want the same, the oldest mark gone", got, len(x.marks), x.last)
	}
	x.pass(12, proof)
	if len(x.marks) != 3 || x.last != rooms.Place(12) {
		t.Errorf("%d marks, last %v; want no second mark at a time", len(x.marks), x.last)
	}
}
