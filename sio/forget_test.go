package sio

import (
	"testing"

	"github.com/sioedge/sioedge/loop"
)

// However many sockets owe an acknowledgement that nobody waits for any more, the loop
// serves others while it forgets them; what else they owe stays.
func TestAcknowledgementsAreForgottenInSteps(t *testing.T) {
	srv, sim, err := NewSim(Options{Loop: loop.Options{Loops: 1}})
	if err != nil {
		t.Fatal(err)
	}
	const n = 2 * forgetStep
	sh, over, other := srv.shards[0], &pendingAck{}, &pendingAck{}
	for range n {
		slot, _ := sh.sockets.Alloc()
		sh.await(slot, 1, over)
		if slot%2 == 0 {
			sh.await(slot, 2, other)
		}
	}
	owed := func(p *pendingAck) (n int) {
		for _, x := range sh.exts {
			for _, q := range x.acks {
				if q == p {
					n++
				}
			}
		}
		return n
	}
	f := &forgetting{sh: sh, p: over}
	f.Run(sh.loop)
	if left := owed(over); left < n/2 || left == n {
		t.Errorf("after a step %d of %d are left, want some to be done, of so many", left, n)
	}
	sim.Turn()
	if owed(over) != 0 || owed(other) != n/2 || len(sh.exts) != n/2 {
		t.Errorf("at the end %d are left, %d of another event, and %d extensions; want 0, %d and %d", owed(over), owed(other), len(sh.exts), n/2, n/2)
	}
}
