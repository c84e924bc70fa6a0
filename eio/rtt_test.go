package eio

import "testing"

// The time that a ping took is known to the millisecond below four seconds, whenever it
// was sent, and is that at most if it was longer.
func TestClockOfPings(t *testing.T) {
	for _, sent := range []int64{1, 999, 1000, 4093, 4094, 4095, 65_535_999, 65_536_000, 123_456_789} {
		for _, took := range []int64{0, 1, 2, 999, 1000, 3000, 4000, 4093, 4094, 4095, 5000, 8188, 8200, 20_000} {
			s := session{flags: inUse | awaitPong | proxied}
			s.asked(sent)
			s.proven(sent + took)
			got, want := int64(s.clock()), min(max(took, 1), clockTurn)
			if never := sent/1000%(1<<16) == 0; got != want && !(never && took >= 4000 && got == clockTurn) { // see second
				t.Errorf("sent at %d, it took %d ms: %d, want %d", sent, took, got, want)
			}
			if s.flags&^(clockMask<<clockShift) != inUse|awaitPong|proxied || s.proved != s.pinged {
				t.Fatalf("the flags are %x", s.flags)
			}
		}
	}
	s := session{}
	s.setClock(noClock)
	if s.proven(5); s.clock() != 0 {
		t.Errorf("of a ping that was sent elsewhere it is %d", s.clock())
	}
}
