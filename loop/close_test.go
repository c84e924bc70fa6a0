package loop

import (
	"context"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sioedge/sioedge/loop/handle"
)

func TestCloseFlushesWaitsAndEnds(t *testing.T) {
	var j journal
	var conn Conn
	s := newSim(&hooks{
		open:  func(c Conn) { conn = c },
		close: func(c Conn, err error) { j.add(fmt.Sprint(err, c.Valid(), c.Tag())) },
	}, Options{MaxOutbound: 1 << 20})
	p := s.Connect(0)
	conn.SetTag(7)
	p.Stall(true)
	conn.Write([]byte("last words"))
	conn.Close()
	conn.Write([]byte(" ignored"))
	conn.Close()
	s.Turn()
	if got, want := j.take(), []string{"loop: closed true 7"}; !slices.Equal(got, want) {
		t.Fatalf("Close told the handler %q, want %q", got, want)
	}
	if conn.Valid() || p.Closed() {
		t.Fatalf("valid %v, peer closed %v, want stale and still flushing", conn.Valid(), p.Closed())
	}
	p.Stall(false)
	if got := string(p.Received()); got != "last words" || !p.Closed() {
		t.Fatalf("Received() = %q, closed %v, want what was written before Close", got, p.Closed())
	}
	if n := s.e.live.Load(); n != 0 {
		t.Fatalf("%d connections live, want 0", n)
	}
	checkGauges(t, s.e)
}

func TestLingerEnds(t *testing.T) {
	var conn Conn
	s := newSim(&hooks{open: func(c Conn) { conn = c }}, Options{LingerTimeout: time.Second})
	p := s.Connect(0)
	p.Stall(true) // never takes it, never ends
	conn.Write([]byte("x"))
	conn.Close()
	s.Advance(999 * time.Millisecond)
	if s.e.live.Load() != 1 {
		t.Fatal("gone before LingerTimeout")
	}
	s.Advance(time.Millisecond)
	if s.e.live.Load() != 0 {
		t.Fatal("live after LingerTimeout")
	}
	checkGauges(t, s.e)
}

func TestPeersEndIsAnsweredWithWhatIsQueued(t *testing.T) {
	var conn Conn
	var reason error
	s := newSim(&hooks{
		open:  func(c Conn) { conn = c },
		close: func(_ Conn, err error) { reason = err },
	}, Options{})
	p := s.Connect(0)
	p.Stall(true)
	conn.Write([]byte("answer"))
	p.CloseWrite()
	if reason != io.EOF {
		t.Fatalf("Close(%v), want EOF", reason)
	}
	p.Stall(false)
	if got := string(p.Received()); got != "answer" || s.e.live.Load() != 0 {
		t.Fatalf("Received() = %q with %d live, want %q with 0", got, s.e.live.Load(), "answer")
	}
}

func TestAbort(t *testing.T) {
	var conn Conn
	closes := 0
	s := newSim(&hooks{
		open: func(c Conn) { conn = c },
		close: func(c Conn, err error) {
			if closes++; err != ErrClosed {
				t.Errorf("Close(%v), want ErrClosed", err)
			}
			c.Write([]byte("ignored"))
			c.Abort()
		},
	}, Options{})
	p := s.Connect(0)
	p.Stall(true)
	conn.Write([]byte("lost"))
	conn.Close()
	conn.Abort()
	s.Turn()
	p.Stall(false)
	if closes != 1 || len(p.Received()) != 0 || s.e.live.Load() != 0 {
		t.Fatalf("%d closes, %d live, want 1 and 0", closes, s.e.live.Load())
	}
	checkGauges(t, s.e)
}

func TestStaleConnDoesNothing(t *testing.T) {
	var conns []Conn
	s := newSim(&hooks{open: func(c Conn) { conns = append(conns, c) }}, Options{})
	first := s.Connect(0)
	first.Close()
	second := s.Connect(0)
	old, cur := conns[0], conns[1]
	if old.slot != cur.slot {
		t.Fatalf("slots %d and %d, want the same one", old.slot, cur.slot)
	}
	for _, c := range []Conn{old, {}} {
		c.Write([]byte("x"))
		c.WriteShared([]byte("x"))
		c.SendShared([]byte("x"))
		c.SetTag(9)
		c.PauseRead()
		c.HoldData(true)
		c.HoldData(false)
		c.ResumeRead()
		c.Redeliver()
		c.Move(s.e.loops[0])
		c.Close()
		c.Abort()
		s.Turn()
		if c.Valid() || c.Tag() != 0 || c.Queued() != 0 || c.RemoteAddr().IsValid() {
			t.Fatalf("%v is valid, want stale", c)
		}
	}
	if len(second.Received()) != 0 || second.Closed() || !cur.Valid() || cur.Tag() != 0 {
		t.Fatal("a stale Conn reached another connection")
	}
}

func TestMove(t *testing.T) {
	var j journal
	var conn Conn
	s := newSim(&hooks{
		open: func(c Conn) { conn = c; j.add(fmt.Sprint("open on ", c.Loop().Index(), " ", c.Tag())) },
		data: func(c Conn, b []byte) int {
			j.add(string(b))
			if c.Loop().Index() == 0 {
				c.SetTag(5)
				c.Move(c.Loop().Engine().Loops()[1])
				return 1
			}
			return len(b)
		},
		close: func(c Conn, err error) { j.add(err.Error()); c.Write([]byte("ignored")) },
	}, Options{Loops: 2})
	p := s.Connect(0)
	p.Stall(true)
	old := conn
	conn.Write([]byte("queued "))
	s.Turn()
	conn.Write([]byte("before "))
	p.Send([]byte("abc"))
	want := []string{"open on 0 0", "abc", "loop: moved to another loop", "open on 1 0", "bc"}
	if got := j.take(); !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
	old.Write([]byte("stale"))
	conn.Write([]byte("after"))
	p.Stall(false)
	if got := string(p.Received()); got != "queued before after" {
		t.Fatalf("Received() = %q, want %q", got, "queued before after")
	}
	p.Send([]byte("d"))
	if got := j.take(); !slices.Equal(got, []string{"d"}) {
		t.Fatalf("after the move: %q, want d", got)
	}
	if st := s.e.Stats(); st.Open != 1 || st.Closed != 0 {
		t.Fatalf("Stats() = %+v, want 1 open, 0 closed", st)
	}
	_ = s.e.Shutdown(context.Background())
	checkGauges(t, s.e)
}

func TestPanicClosesThatConnectionOnly(t *testing.T) {
	for _, in := range []string{"open", "data", "drained", "close", "count"} {
		t.Run(in, func(t *testing.T) {
			var victim Conn
			var reason error
			armed := false
			boom := func(where string) {
				if armed && where == in {
					panic("boom")
				}
			}
			s := newSim(&hooks{
				open: func(c Conn) { victim = c; boom("open") },
				data: func(c Conn, b []byte) int {
					boom("data")
					if armed && in == "count" {
						return len(b) + 1
					}
					return echo(c, b)
				},
				drained: func(Conn) { boom("drained") },
				close:   func(_ Conn, err error) { reason = err; boom("close") },
			}, Options{SoftOutbound: 10})
			other := s.Connect(0)
			armed = true
			p := s.Connect(0)
			p.Stall(true)
			victim.Write(make([]byte, 100))
			s.Turn()
			p.Stall(false)
			p.Send([]byte("x"))
			if in == "close" {
				p.CloseWrite()
			}
			armed = false
			if victim.Valid() || reason == nil || s.e.Stats().Panics != 1 {
				t.Fatalf("valid %v, reason %v, %d panics, want a closed connection and 1", victim.Valid(), reason, s.e.Stats().Panics)
			}
			other.Send([]byte("y"))
			if got := string(other.Received()); got != "y" {
				t.Fatalf("the other connection received %q, want y", got)
			}
			s.Advance(10 * time.Second)
			if n := s.e.live.Load(); n != 1 {
				t.Fatalf("%d live, want 1", n)
			}
		})
	}
}

func TestSimShutdown(t *testing.T) {
	closes := 0
	s := newSim(&hooks{
		open:  func(c Conn) { c.Write([]byte("bye")) },
		close: func(Conn, error) { closes++ },
	}, Options{Loops: 2})
	var peers []*Peer
	for i := range 2000 {
		peers = append(peers, s.Connect(i%2))
	}
	peers[5].Stall(true)
	if err := s.Engine().Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i, p := range peers {
		if !p.Closed() || string(p.Received()) != "bye" && i != 5 {
			t.Fatalf("peer %d was not closed after what was queued", i)
		}
	}
	if closes != 2000 || s.e.live.Load() != 0 || s.e.loops[0].Post(TaskFunc(func(*Loop) {})) {
		t.Fatalf("%d closes, %d live, want 2000 and 0, and no more tasks", closes, s.e.live.Load())
	}
	checkGauges(t, s.e)
}

func TestAbandonedLoopClosesEverything(t *testing.T) {
	var j journal
	s := newSim(&hooks{close: func(_ Conn, err error) { j.add(err.Error()) }}, Options{})
	for range 3 {
		s.Connect(0)
	}
	s.e.loops[0].abandon()
	if got, want := j.take(), slices.Repeat([]string{"loop: closed"}, 3); !slices.Equal(got, want) || s.e.live.Load() != 0 {
		t.Fatalf("%q with %d live, want %q with 0", got, s.e.live.Load(), want)
	}
}

func TestWriteFromAnotherConnectionsCloseIsMovedAlong(t *testing.T) {
	var conns []Conn
	s := newSim(&hooks{
		open: func(c Conn) { conns = append(conns, c) },
		close: func(c Conn, _ error) {
			if c == conns[0] {
				conns[1].Write([]byte("late"))
			}
		},
	}, Options{Loops: 2})
	s.Connect(0)
	p := s.Connect(0)
	conns[0].Abort()
	conns[1].Move(s.e.loops[1])
	s.Turn()
	if got := string(p.Received()); got != "late" || conns[2].Loop().Index() != 1 {
		t.Fatalf("Received() = %q on loop %d, want %q on loop 1", got, conns[2].Loop().Index(), "late")
	}
}

func TestAbortFromWithinClose(t *testing.T) {
	for name, end := range map[string]func(c Conn){
		"move":  func(c Conn) { c.Move(c.Loop()) },
		"close": Conn.Close,
	} {
		closes := 0
		var conn Conn
		s := newSim(&hooks{
			open:  func(c Conn) { conn = c },
			close: func(c Conn, _ error) { closes++; c.Abort() },
		}, Options{})
		s.Connect(0).Stall(true)
		conn.Write([]byte("x"))
		end(conn)
		s.Turn()
		if closes != 1 || s.e.live.Load() != 0 {
			t.Errorf("%s: %d closes, %d live, want 1 and 0", name, closes, s.e.live.Load())
		}
		checkGauges(t, s.e)
	}
}

func TestSendToAPeerThatIsGone(t *testing.T) {
	for name, send := range map[string]func(c Conn){
		"Write":      func(c Conn) { c.Write([]byte("x")) },
		"SendShared": func(c Conn) { c.SendShared([]byte("x")) },
	} {
		var conn Conn
		var reason error
		s := newSim(&hooks{
			open:  func(c Conn) { conn = c; c.PauseRead() }, // or else the end is read first
			close: func(_ Conn, err error) { reason = err },
		}, Options{})
		s.Connect(0).Close()
		send(conn)
		if reason != nil {
			t.Errorf("%s called Close within the write", name)
		}
		s.Turn()
		if reason != unix.EPIPE || conn.Valid() {
			t.Errorf("%s: Close(%v), want EPIPE", name, reason)
		}
		checkGauges(t, s.e)
	}
}

func TestKeyNamesTheConnection(t *testing.T) {
	var conn Conn
	s := newSim(&hooks{open: func(c Conn) { conn = c }}, Options{})
	p := s.Connect(0)
	l := s.e.loops[0]
	if got := l.Conn(conn.Key()); got != conn || !got.Valid() {
		t.Fatalf("Conn(Key()) = %v, want %v", got, conn)
	}
	if got := l.Conn(handle.Key{}); got != (Conn{}) || (Conn{}).Key() != (handle.Key{}) {
		t.Fatalf("Conn(0) = %v, want the zero Conn", got)
	}
	p.Close()
	if l.Conn(conn.Key()).Valid() {
		t.Fatal("the key of a closed connection names a valid one")
	}
}
