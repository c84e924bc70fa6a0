package loop

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop/notice"
)

// slowSim is a simulation of one connection, which does not read.
func slowSim(t *testing.T, o Options) (s *Sim, p *Peer, conn Conn, reason *error) {
	t.Helper()
	reason = new(error)
	s = newSim(&hooks{
		open:  func(c Conn) { conn = c },
		close: func(_ Conn, err error) { *reason = err },
	}, o)
	p = s.Connect(0)
	p.Stall(true)
	return s, p, conn, reason
}

func TestWhoTakesNothingIsClosedAfterSlowAfter(t *testing.T) {
	var log bytes.Buffer
	s, _, c, reason := slowSim(t, Options{SoftOutbound: 1000, SlowAfter: 10 * time.Second})
	s.e.notes = noticesTo(&log)
	c.Write(make([]byte, 1001))
	s.Advance(9 * time.Second)
	if !c.Valid() || !c.Slow() {
		t.Fatalf("valid %v, slow %v before SlowAfter, want both", c.Valid(), c.Slow())
	}
	s.Advance(3 * time.Second)
	if st := s.e.Stats(); c.Valid() || !errors.Is(*reason, ErrSlowPeer) || st.Closes.Slow != 1 || st.Closes.Full != 0 {
		t.Fatalf("valid %v, Close(%v), %+v, want ErrSlowPeer, counted", c.Valid(), *reason, st)
	}
	if !strings.Contains(log.String(), "--slow-after") {
		t.Errorf("the log has %q, want the flag", log.String())
	}
	checkGauges(t, s.e)
}

func TestWhoHasLittleQueuedIsNotSlow(t *testing.T) {
	s, _, c, _ := slowSim(t, Options{SoftOutbound: 1000, SlowAfter: time.Second})
	c.Write(make([]byte, 500))
	s.Advance(time.Hour)
	if !c.Valid() || c.Slow() {
		t.Fatalf("valid %v, slow %v, want valid and not slow", c.Valid(), c.Slow())
	}
}

// A peer that takes a byte now and then gets everything, however long that
// takes: whether the kernel says so by taking some of ours, or only by having
// fewer that were not acknowledged.
func TestWhoProgressesIsServed(t *testing.T) {
	for _, kernelTakes := range []bool{true, false} {
		s, p, c, reason := slowSim(t, Options{SoftOutbound: 1000, SlowAfter: 10 * time.Second})
		p.outq = 1000
		c.Write(make([]byte, 5000))
		s.Turn()
		for n := range 100 {
			s.Advance(9 * time.Second)
			if !c.Valid() {
				t.Fatalf("kernel takes %v: closed with %v after %d bytes", kernelTakes, *reason, n)
			}
			if kernelTakes {
				p.Take(1)
			} else {
				p.outq--
			}
		}
		s.Advance(13 * time.Second)
		if c.Valid() || !errors.Is(*reason, ErrSlowPeer) {
			t.Fatalf("kernel takes %v: valid %v, Close(%v) when it has stopped, want ErrSlowPeer", kernelTakes, c.Valid(), *reason)
		}
	}
}

func TestManySlowPeersAreLookedAtInSlices(t *testing.T) {
	const n = 3 * workSlice
	var conns []Conn
	s := newSim(&hooks{open: func(c Conn) { conns = append(conns, c) }}, Options{SoftOutbound: 100, SlowAfter: time.Second})
	for i := range n {
		p := s.Connect(0)
		p.Stall(true)
		conns[i].WriteShared(make([]byte, 101))
		if i%3 == 0 {
			p.Close() // and is gone before it is looked at
		}
	}
	s.Advance(5 * time.Second)
	if st := s.e.Stats(); st.Open != 0 || st.Closes.Slow != n-n/3 {
		t.Fatalf("%d are open and %d were closed for being slow, want 0 and %d", st.Open, st.Closes.Slow, n-n/3)
	}
	if l := s.e.loops[0]; len(l.slow) != 0 || l.slowTimer.Armed() {
		t.Fatalf("%d are still looked at, timer %v", len(l.slow), l.slowTimer.Armed())
	}
}

// A closing connection whose peer takes what the kernel has is not cut.
func TestLingerGoesOnWhileThePeerTakesSomething(t *testing.T) {
	s, p, c, _ := slowSim(t, Options{LingerTimeout: time.Second})
	p.outq = 1000
	c.Write(make([]byte, 100))
	s.Turn()
	c.Close()
	for range 20 {
		p.outq--
		s.Advance(900 * time.Millisecond)
	}
	if p.closed {
		t.Fatal("cut while its peer was taking bytes")
	}
	s.Advance(3 * time.Second)
	if !p.closed {
		t.Fatal("not cut when its peer had stopped")
	}
	checkGauges(t, s.e)
}

func TestTakingTellsWhetherThePeerTookSomething(t *testing.T) {
	s, p, c, _ := slowSim(t, Options{})
	if c.Taking() {
		t.Fatal("Taking() with nothing on the way")
	}
	c.Write(make([]byte, 100))
	s.Turn()
	p.outq = 50
	if c.Taking() {
		t.Fatal("Taking() the first time")
	}
	if c.Taking() {
		t.Fatal("Taking() when nothing was taken")
	}
	p.outq = 49
	if !c.Taking() || c.Taking() {
		t.Fatal("Taking() is not true once after a byte was acknowledged")
	}
	p.outq = 0
	p.Limit(1)
	p.Stall(false)
	if !bytes.Equal(p.Received(), make([]byte, 100)) {
		t.Fatal("not everything was received")
	}
	if c.Taking() {
		t.Fatal("Taking() with nothing on the way any more")
	}
	if r := c.record(); r.ext != 0 {
		t.Fatal("an idle connection keeps an ext")
	}
}

// What is held for a peer that does not read is about what is queued for it,
// however small the pieces, and is what is counted.
func TestHeldIsAboutWhatIsQueued(t *testing.T) {
	const total = 96 << 10
	message := []byte("\x8a\x04pong")
	for name, write := range map[string]func(c Conn){
		"copies": func(c Conn) { c.Write(message) },
		"shared": func(c Conn) { c.WriteShared(message) },
		"sent":   func(c Conn) { c.SendShared(message) },
		"both":   func(c Conn) { c.Write(message); c.WriteShared(bytes.Repeat(message, 50)) },
	} {
		for _, inStep := range []int{1, 10, 10_000} {
			s, p, c, _ := slowSim(t, Options{MaxOutbound: 1 << 20, SoftOutbound: 1 << 20})
			for n := 0; c.Queued() < total; n++ {
				write(c)
				if n%inStep == 0 {
					s.Turn()
				}
			}
			s.Turn()
			e := s.e.loops[0].exts[c.record().ext]
			held := cap(e.queue) * refSize
			for _, q := range e.queue[e.head:] {
				held += q.held()
			}
			if held > c.Queued()*3/2 {
				t.Errorf("%s, %d in a step: %d bytes are held for %d", name, inStep, held, c.Queued())
			}
			if got := e.size(); got > held || got < held-fewRefs*refSize || s.e.Stats().Held != int64(e.held) {
				t.Errorf("%s, %d in a step: size %d, Stats().Held %d, want %d", name, inStep, got, s.e.Stats().Held, held)
			}
			n := c.Queued()
			p.Limit(777)
			p.Stall(false)
			if got := p.Received(); len(got) != n || strings.ReplaceAll(string(got), string(message), "") != "" {
				t.Errorf("%s, %d in a step: %d bytes were received, want %d, in order", name, inStep, len(got), n)
			}
			if st := s.e.Stats(); st.Held != 0 || st.Queued != 0 {
				t.Errorf("%s, %d in a step: %d held, %d queued at the end", name, inStep, st.Held, st.Queued)
			}
		}
	}
}

// A queue with many entries costs a step no more than one with few.
func TestAStepDoesNotWalkTheQueue(t *testing.T) {
	s, _, c, _ := slowSim(t, Options{MaxOutbound: 64 << 20, SoftOutbound: 64 << 20})
	big := make([]byte, 100)
	for range 10_000 {
		c.WriteShared(big)
	}
	s.Turn()
	e := s.e.loops[0].exts[c.record().ext]
	if e.kept != len(e.queue) {
		t.Fatalf("%d of %d entries are to be looked at again", len(e.queue)-e.kept, len(e.queue))
	}
}

func TestBoundsOfQueuesAreChecked(t *testing.T) {
	for _, o := range []Options{{SlowAfter: -1}, {SoftOutbound: 2, MaxOutbound: 1}} {
		if _, err := New(&hooks{}, o); err == nil {
			t.Errorf("New(%+v) = nil error, want one", o)
		}
	}
	for _, c := range []struct{ soft, hard, wantSoft, wantHard int }{
		{0, 0, 256 << 10, 16 << 20}, {0, 4000, 1000, 4000}, {32 << 20, 0, 32 << 20, 32 << 20}, {1000, 0, 1000, 16 << 20},
	} {
		o, err := Options{SoftOutbound: c.soft, MaxOutbound: c.hard}.withDefaults()
		if err != nil || o.SoftOutbound != c.wantSoft || o.MaxOutbound != c.wantHard || o.SlowAfter != 10*time.Second {
			t.Errorf("soft %d, hard %d become %d, %d (%v), want %d, %d", c.soft, c.hard, o.SoftOutbound, o.MaxOutbound, err, c.wantSoft, c.wantHard)
		}
	}
}

func noticesTo(b *bytes.Buffer) *notice.Log {
	return notice.New(slog.New(slog.NewTextHandler(b, nil)), 0)
}
