package loop

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestEcho(t *testing.T) {
	s := newSim(&hooks{data: echo}, Options{})
	p := s.Connect(0)
	p.Send([]byte("hello"))
	if got := string(p.Received()); got != "hello" {
		t.Fatalf("Received() = %q, want %q", got, "hello")
	}
	if st := s.Engine().Stats(); st.Open != 1 || st.BytesIn != 5 || st.BytesOut != 5 || st.Writes != 1 {
		t.Fatalf("Stats() = %+v, want 1 open, 5 bytes in and out, 1 write", st)
	}
}

func TestCarryAtEverySplit(t *testing.T) {
	text := "one\ntwo\nthree\nfour\n"
	for i := range len(text) {
		for j := i; j < len(text); j++ {
			s := newSim(&hooks{data: lines}, Options{})
			p := s.Connect(0)
			for _, part := range []string{text[:i], text[i:j], text[j:]} {
				p.Send([]byte(part))
			}
			if got := string(p.Received()); got != text {
				t.Fatalf("split at %d and %d: Received() = %q, want %q", i, j, got, text)
			}
			if n := len(s.e.loops[0].exts) - 1 - len(s.e.loops[0].freeExts); n != 0 {
				t.Fatalf("split at %d and %d: %d exts in use, want 0", i, j, n)
			}
		}
	}
}

func TestCarryLargerThanTheReadBuffer(t *testing.T) {
	var got []byte
	s := newSim(&hooks{data: func(c Conn, b []byte) int {
		if len(b) < 10_000 {
			return 0
		}
		got = append(got, b[:10_000]...)
		return 10_000
	}}, Options{ReadBuffer: 512})
	p := s.Connect(0)
	want := noise(20_000)
	for part := range slices.Chunk(want, 700) {
		p.Send(part)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("Data was given %d bytes, want the %d that were sent", len(got), len(want))
	}
}

func TestOneSendForWhatIsWrittenInAStep(t *testing.T) {
	shared := []byte("shared ")
	s := newSim(&hooks{data: func(c Conn, b []byte) int {
		c.Write([]byte("a "))
		c.Write([]byte("b "))
		c.WriteShared(shared)
		c.Write([]byte("c "))
		c.SendShared(shared)
		return len(b)
	}}, Options{})
	p := s.Connect(0)
	p.Send([]byte("x"))
	if got, want := string(p.Received()), "a b shared c shared "; got != want {
		t.Fatalf("Received() = %q, want %q", got, want)
	}
	if n := s.e.Stats().Writes; n != 1 {
		t.Fatalf("%d sends, want 1", n)
	}
}

func TestShortWritesKeepTheOrder(t *testing.T) {
	for _, limit := range []int{1, 7, 1000} {
		var want []byte
		s := newSim(&hooks{data: func(c Conn, b []byte) int {
			for i := range 200 {
				m := fmt.Appendf(nil, "<%d %s>", i, strings.Repeat("x", i*3))
				want = append(want, m...)
				switch i % 3 {
				case 0:
					c.Write(m)
				case 1:
					c.WriteShared(m)
				case 2:
					c.SendShared(m)
				}
			}
			return len(b)
		}}, Options{MaxOutbound: 1 << 20})
		p := s.Connect(0)
		p.Limit(limit)
		p.Send([]byte("x"))
		if got := p.Received(); !bytes.Equal(got, want) {
			t.Fatalf("limit %d: received %d bytes, want the %d that were written, in order", limit, len(got), len(want))
		}
		if q := s.e.Stats().Queued; q != 0 {
			t.Fatalf("limit %d: %d bytes queued, want 0", limit, q)
		}
	}
}

func TestQueueOfCopiesOutlivesTheStep(t *testing.T) {
	var conn Conn
	s := newSim(&hooks{open: func(c Conn) { conn = c }}, Options{MaxOutbound: 1 << 20})
	p := s.Connect(0)
	p.Stall(true)
	var want []byte
	for i := range 500 {
		b := bytes.Repeat([]byte{byte(i)}, 300)
		conn.Write(b)
		clear(b)
		want = append(want, bytes.Repeat([]byte{byte(i)}, 300)...)
		if i%50 == 0 {
			s.Turn()
		}
	}
	s.Turn()
	if n := conn.Queued(); n != len(want) {
		t.Fatalf("Queued() = %d, want %d", n, len(want))
	}
	p.Stall(false)
	if !bytes.Equal(p.Received(), want) {
		t.Fatal("a stalled peer received something else than was written")
	}
}

func TestPeerIsClosedAtMaxOutbound(t *testing.T) {
	var conn Conn
	var reason error
	s := newSim(&hooks{
		open:  func(c Conn) { conn = c },
		close: func(_ Conn, err error) { reason = err },
	}, Options{MaxOutbound: 64 << 10})
	p := s.Connect(0)
	p.Stall(true)
	conn.Write(make([]byte, 40<<10))
	s.Turn()
	conn.Write(make([]byte, 24<<10))
	s.Turn()
	if !conn.Valid() {
		t.Fatal("closed with MaxOutbound bytes queued, want open")
	}
	conn.Write(make([]byte, 1))
	s.Turn()
	if !errors.Is(reason, ErrQueueFull) || conn.Valid() || s.e.Stats().Closes.Full != 1 {
		t.Fatalf("Close(%v), valid %v, want ErrQueueFull", reason, conn.Valid())
	}
	if st := s.e.Stats(); st.Queued != 0 || st.Held != 0 {
		t.Fatalf("%d bytes queued, %d held, want 0", st.Queued, st.Held)
	}
}

func TestManyWritesInOneStepAreNotASlowPeer(t *testing.T) {
	s := newSim(&hooks{data: func(c Conn, b []byte) int {
		for range 100 {
			c.Write(make([]byte, 900))
		}
		return len(b)
	}}, Options{MaxOutbound: 1000})
	p := s.Connect(0)
	p.Send([]byte("x"))
	if n := len(p.Received()); n != 90_000 {
		t.Fatalf("received %d bytes, want 90000", n)
	}
}

func TestOneWriteMayBeLargerThanMaxOutbound(t *testing.T) {
	var conn Conn
	s := newSim(&hooks{open: func(c Conn) { conn = c }}, Options{MaxOutbound: 1000})
	p := s.Connect(0)
	p.Stall(true)
	conn.WriteShared(make([]byte, 5000))
	s.Turn()
	if !conn.Valid() || conn.Queued() != 5000 {
		t.Fatalf("valid %v with %d queued, want true with 5000", conn.Valid(), conn.Queued())
	}
	conn.Write(make([]byte, 600))
	conn.Write(make([]byte, 400))
	s.Turn()
	if !conn.Valid() {
		t.Fatal("closed with MaxOutbound bytes queued behind a large write, want open")
	}
	conn.Write(make([]byte, 1))
	s.Turn()
	if conn.Valid() {
		t.Fatal("open with more than MaxOutbound bytes queued behind a large write, want closed")
	}
}

func TestSoftLimitPausesReading(t *testing.T) {
	var conn Conn
	var read, drained int
	s := newSim(&hooks{
		open:    func(c Conn) { conn = c },
		data:    func(c Conn, b []byte) int { read += len(b); return len(b) },
		drained: func(Conn) { drained++ },
	}, Options{MaxOutbound: 10_000, SoftOutbound: 1000})
	p := s.Connect(0)
	p.Stall(true)
	conn.WriteShared(make([]byte, 1001))
	s.Turn()
	p.Send([]byte("abc"))
	p.Send([]byte("def"))
	if read != 0 || drained != 0 {
		t.Fatalf("read %d bytes, drained %d times above SoftOutbound, want 0", read, drained)
	}
	p.Stall(false)
	if read != 6 || drained != 1 {
		t.Fatalf("read %d bytes, drained %d times under it, want 6 and 1", read, drained)
	}
}

// Reading goes on behind a slow answer whatever the bounds are.
func TestTheSmallestBoundPausesReadingForAWhileOnly(t *testing.T) {
	read := 0
	s := newSim(&hooks{data: func(c Conn, b []byte) int {
		read += len(b)
		c.Write([]byte("answer"))
		return len(b)
	}}, Options{MaxOutbound: 1})
	p := s.Connect(0)
	p.Stall(true)
	p.Send([]byte("a"))
	p.Send([]byte("b"))
	if read != 1 {
		t.Fatalf("read %d bytes of a peer that does not take its answer, want 1", read)
	}
	p.Stall(false)
	if read != 2 || string(p.Received()) != "answeranswer" {
		t.Errorf("read %d bytes when the peer reads again, want 2", read)
	}
}

func TestPauseAndResume(t *testing.T) {
	var conn Conn
	var j journal
	s := newSim(&hooks{
		open: func(c Conn) { conn = c },
		data: func(c Conn, b []byte) int {
			j.add(string(b))
			if b[0] == 'p' {
				c.PauseRead()
				return 1
			}
			return len(b)
		},
		close: func(_ Conn, err error) { j.add(err.Error()) },
	}, Options{})
	p := s.Connect(0)
	p.Send([]byte("pxy"))
	p.Send([]byte("z"))
	p.CloseWrite()
	if got := j.take(); !slices.Equal(got, []string{"pxy"}) {
		t.Fatalf("while paused: %q, want only the first read", got)
	}
	conn.ResumeRead()
	s.Turn()
	if got, want := j.take(), []string{"xy", "z", "EOF"}; !slices.Equal(got, want) {
		t.Fatalf("after ResumeRead: %q, want %q", got, want)
	}
}

func TestRedeliver(t *testing.T) {
	var j journal
	var conn Conn
	n := 0
	s := newSim(&hooks{
		open: func(c Conn) { conn = c },
		data: func(c Conn, b []byte) int { j.add(string(b)); return n },
	}, Options{})
	p := s.Connect(0)
	conn.Redeliver()
	p.Send([]byte("abc"))
	conn.Redeliver()
	s.Turn()
	n = 1
	conn.Redeliver()
	s.Turn()
	p.Send([]byte("d"))
	if got, want := j.take(), []string{"abc", "abc", "abc", "bcd"}; !slices.Equal(got, want) {
		t.Fatalf("Data was given %q, want %q", got, want)
	}
}

func TestHoldData(t *testing.T) {
	var conn Conn
	var j journal
	s := newSim(&hooks{
		open:  func(c Conn) { conn = c; c.HoldData(true) },
		data:  func(c Conn, b []byte) int { j.add(string(b)); return len(b) },
		close: func(_ Conn, err error) { j.add(err.Error()) },
	}, Options{ReadBuffer: 8})
	p := s.Connect(0)
	p.Send([]byte("abc"))
	p.Send([]byte("def"))
	if got := j.take(); got != nil {
		t.Fatalf("while held: %q, want nothing", got)
	}
	conn.HoldData(false)
	s.Turn()
	if got, want := j.take(), []string{"abcdef"}; !slices.Equal(got, want) {
		t.Fatalf("Data was given %q, want %q", got, want)
	}
	conn.HoldData(true)
	p.Send([]byte("0123456789abcdefgh")) // more than is held
	conn.HoldData(false)
	s.Turn()
	if got := strings.Join(j.take(), ""); got != "0123456789abcdefgh" {
		t.Fatalf("Data was given %q, want all of it", got)
	}
	conn.HoldData(true)
	p.Send([]byte("x"))
	p.CloseWrite()
	if got, want := j.take(), []string{"EOF"}; !slices.Equal(got, want) {
		t.Fatalf("the end of a held peer: %q, want %q", got, want)
	}
}

func TestReadWriteFlushAllocatesNothing(t *testing.T) {
	s := newSim(&hooks{data: echo}, Options{})
	p := s.Connect(0)
	p.Discard(true)
	b := noise(500)
	if n := testing.AllocsPerRun(1000, func() { p.Send(b) }); n != 0 {
		t.Fatalf("echo allocates %v times, want 0", n)
	}
}

func TestSendSharedAllocatesNothing(t *testing.T) {
	var conns []Conn
	s := newSim(&hooks{open: func(c Conn) { conns = append(conns, c) }}, Options{})
	for range 100 {
		s.Connect(0).Discard(true)
	}
	b := noise(500)
	n := testing.AllocsPerRun(100, func() {
		for _, c := range conns {
			c.SendShared(b)
		}
		for _, c := range conns {
			c.WriteShared(b)
			c.WriteShared(b)
		}
		s.Turn()
	})
	if n != 0 {
		t.Fatalf("300 shared writes allocate %v times, want 0", n)
	}
}

func TestIdleConnectionIsItsRecord(t *testing.T) {
	s := newSim(&hooks{data: echo}, Options{})
	for range 1000 {
		s.Connect(0).Send([]byte("x"))
	}
	if n := len(s.e.loops[0].exts); n > 2 {
		t.Fatalf("%d exts after 1000 connections used one after the other, want 1", n-1)
	}
}

func TestSendSharedQueuesWhatThePeerDoesNotTake(t *testing.T) {
	for name, slow := range map[string]func(p *Peer){
		"stalled": func(p *Peer) { p.Stall(true) },
		"short":   func(p *Peer) { p.Limit(3) },
	} {
		var conn Conn
		s := newSim(&hooks{open: func(c Conn) { conn = c }}, Options{})
		p := s.Connect(0)
		slow(p)
		conn.SendShared([]byte("hello "))
		conn.SendShared([]byte("world"))
		if conn.Queued() == 0 {
			t.Errorf("%s: nothing is queued", name)
		}
		s.Turn()
		p.Limit(0)
		p.Stall(false)
		if got := string(p.Received()); got != "hello world" || p.Count() != 11 {
			t.Errorf("%s: Received() = %q, want %q", name, got, "hello world")
		}
	}
}

func TestNothingIsRedeliveredWhilePaused(t *testing.T) {
	var conn Conn
	calls := 0
	s := newSim(&hooks{
		open: func(c Conn) { conn = c },
		data: func(Conn, []byte) int { calls++; return 0 },
	}, Options{})
	s.Connect(0).Send([]byte("x"))
	conn.PauseRead()
	conn.Redeliver()
	s.Turn()
	if calls != 1 {
		t.Fatalf("Data was called %d times, want 1", calls)
	}
	conn.ResumeRead()
	s.Turn()
	if calls != 2 {
		t.Fatalf("Data was called %d times after ResumeRead, want 2", calls)
	}
}

// Goroutines ask the loops of a Sim that is shared while it turns, and what they
// post is told.
func TestSharedSim(t *testing.T) {
	var posted atomic.Int32
	onLoop := 0
	var s *Sim
	s = newSim(&hooks{data: func(c Conn, b []byte) int {
		if s.e.OnLoop() {
			onLoop++
		}
		c.Loop().Ask(func() {}) // it is not kept from itself
		return echo(c, b)
	}}, Options{Loops: 2})
	s.Share(func() { posted.Add(1) })
	var peers []*Peer
	s.Do(func() { peers = []*Peer{s.Connect(0), s.Connect(1)} })
	asked, counted := 0, make([]int, 2)
	var others sync.WaitGroup
	for i, l := range s.e.loops {
		others.Go(func() {
			for range 100 {
				l.Post(TaskFunc(func(*Loop) { counted[i]++ }))
				l.Ask(func() { asked++ })
			}
		})
	}
	for range 100 {
		for _, p := range peers {
			s.Do(func() {
				p.Send([]byte("x"))
				if got := string(p.Received()); got != "x" {
					t.Errorf("received %q, want x", got)
				}
			})
		}
	}
	others.Wait()
	s.Turn()
	if asked != 200 || counted[0] != 100 || counted[1] != 100 || onLoop != 200 {
		t.Errorf("%d were asked, %d posted, and %d times on a loop, want 200, [100 100] and 200", asked, counted, onLoop)
	}
	if posted.Load() == 0 || s.e.OnLoop() {
		t.Errorf("told of %d posts, and on a loop: %t; want some, and false", posted.Load(), s.e.OnLoop())
	}
}

// The steps of Advance end where timers are due.
func TestSimStep(t *testing.T) {
	s := newSim(&hooks{}, Options{})
	var at []time.Duration
	var timers [3]Timer
	for i, d := range []time.Duration{30, 10, 20} {
		s.e.loops[0].Schedule(&timers[i], d*time.Millisecond, func() { at = append(at, s.Now()) })
	}
	var steps []time.Duration
	for _, most := range []time.Duration{15, 15, 15, 15} {
		steps = append(steps, s.Step(most*time.Millisecond))
	}
	if got := fmt.Sprint(at, steps); got != "[10ms 20ms 30ms] [10ms 10ms 10ms 15ms]" {
		t.Errorf("timers and steps are %s, want [10ms 20ms 30ms] [10ms 10ms 10ms 15ms]", got)
	}
}
