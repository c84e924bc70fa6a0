package loop

import "testing"

// AwaitDrained is answered once, as soon as nothing is queued and not before,
// also when nothing was queued at all.
func TestAwaitDrained(t *testing.T) {
	drained, c := 0, Conn{}
	s := newSim(&hooks{open: func(o Conn) { c = o }, drained: func(Conn) { drained++ }}, Options{})
	p := s.Connect(0)
	await := func(n int) {
		c.Loop().Post(TaskFunc(func(*Loop) {
			c.WriteShared(make([]byte, n))
			c.AwaitDrained()
			if drained != 0 {
				t.Errorf("Drained was called within AwaitDrained")
			}
		}))
		s.Turn()
	}
	for _, n := range []int{0, 1, 100_000} {
		if await(n); drained != 1 {
			t.Errorf("with %d bytes that the peer takes, Drained was called %d times, want 1", n, drained)
		}
		drained = 0
	}
	p.Stall(true)
	await(1000)
	p.Limit(999)
	if drained != 0 {
		t.Errorf("Drained was called %d times for a peer that takes nothing, want 0", drained)
	}
	if p.Stall(false); drained != 1 || c.Queued() != 0 {
		t.Errorf("Drained was called %d times with %d bytes queued, want 1 and 0", drained, c.Queued())
	}
	s.Turn()
	if c.Loop().Post(TaskFunc(func(*Loop) { c.Write([]byte("x")) })); drained != 1 {
		t.Errorf("Drained was called %d times, want 1 only", drained)
	}
	s.Turn()
	p.Close()
	checkGauges(t, s.e)
}

// Nobody is told of a connection that ends.
func TestAwaitDrainedOfAConnectionThatEnds(t *testing.T) {
	drained, c := 0, Conn{}
	s := newSim(&hooks{open: func(o Conn) { c = o }, drained: func(Conn) { drained++ }}, Options{})
	for _, end := range []func(){func() { c.Close() }, func() { c.Abort() }} {
		p := s.Connect(0)
		p.Stall(true)
		c.WriteShared(make([]byte, 10))
		c.AwaitDrained()
		s.Turn()
		end()
		s.Turn()
		c.AwaitDrained() // it is stale
		p.Stall(false)
		s.Advance(s.e.o.LingerTimeout)
		if drained != 0 {
			t.Errorf("Drained was called %d times, want 0", drained)
		}
	}
	checkGauges(t, s.e)
}
