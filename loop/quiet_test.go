package loop

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop/handle"
)

func quieten(t *testing.T, e *Engine, on bool) {
	t.Helper()
	if err := e.Quiet(t.Context(), on); err != nil {
		t.Fatalf("Quiet(%v) = %v", on, err)
	}
}

// Nothing is read while the engine is quiet, of those that were open before, that are
// adopted, or attached; what they have sent comes when it ends. Timers fire and output is
// sent meanwhile.
func TestAQuietEngineReadsNothing(t *testing.T) {
	var came atomic.Int64
	conns := make(chan Conn, 10)
	h := &hooks{
		open: func(c Conn) { conns <- c },
		data: func(c Conn, b []byte) int { came.Add(int64(len(b))); c.Write(b); return len(b) },
	}
	e, a := start(t, h, Options{Loops: 2}, "127.0.0.1:0")
	other, b := start(t, h, Options{Loops: 1}, "127.0.0.1:0")
	clients := []net.Conn{dial(t, a), dial(t, a), dial(t, a), dial(t, b)}
	var open []Conn
	for range clients {
		open = append(open, <-conns)
	}
	for _, c := range clients {
		roundTrip(t, c)
	}
	before := came.Load()
	for range 3 {
		quieten(t, e, true)
	}
	// One more is adopted, and one comes from another engine.
	far, near := socketPair(t)
	if err := e.Adopt(near, []byte("x")); err != nil {
		t.Fatal(err)
	}
	clients = append(clients, far)
	adopted := <-conns
	for _, c := range open {
		if c.Loop().Engine() != other {
			continue
		}
		var s ConnState
		c.Loop().Ask(func() { s, _ = c.Detach() })
		s.Key = handle.Key{} // its name is another's here
		e.loops[0].Ask(func() {
			if _, err := e.loops[0].Attach(s, nil); err != nil {
				t.Error(err)
			}
		})
	}
	for _, c := range clients {
		if _, err := c.Write([]byte("quiet")); err != nil {
			t.Fatal(err)
		}
	}
	noSpin(t, e)
	adopted.Loop().Ask(func() { adopted.Write([]byte("x")) }) // what it brought with it is not echoed yet
	if got := readN(t, far, 1); string(got) != "x" {
		t.Errorf("%q came, want what was written", got)
	}
	fired := make(chan struct{})
	e.loops[0].Post(TaskFunc(func(l *Loop) { l.Schedule(new(Timer), time.Millisecond, func() { close(fired) }) }))
	<-fired
	if n := came.Load(); n != before {
		t.Errorf("%d bytes were read meanwhile", n-before)
	}
	quieten(t, e, false)
	for i, c := range clients {
		want := "quiet"
		if i == len(clients)-1 {
			want = "xquiet"
		}
		if got := string(readN(t, c, len(want))); got != want {
			t.Errorf("client %d: %q came, want %q", i, got, want)
		}
	}
}

// socketPair returns two ends of a TCP connection.
func socketPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	a = dial(t, ln.Addr())
	if b, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// Who was paused, or held, before or while the engine was quiet is so afterwards.
func TestQuietKeepsPauses(t *testing.T) {
	conns, got := make(chan Conn, 4), make(chan int, 10)
	e, a := start(t, &hooks{
		open: func(c Conn) { conns <- c },
		data: func(c Conn, b []byte) int { got <- int(c.Tag()); return len(b) },
	}, Options{Loops: 1}, "127.0.0.1:0")
	l := e.loops[0]
	var open [4]Conn
	var clients [4]net.Conn
	for i := range open {
		clients[i] = dial(t, a)
		open[i] = <-conns
		l.Ask(func() { open[i].SetTag(uint32(i)) })
	}
	l.Ask(func() { open[0].PauseRead(); open[1].HoldData(true); open[2].PauseRead() })
	quieten(t, e, true)
	l.Ask(func() { open[2].ResumeRead(); open[3].PauseRead() })
	for _, c := range clients {
		_, _ = c.Write([]byte("x"))
	}
	noSpin(t, e)
	quieten(t, e, false)
	if i := <-got; i != 2 {
		t.Errorf("connection %d was given something, want 2", i)
	}
	for _, i := range []int{3, 1, 0} {
		l.Ask(func() {
			open[i].HoldData(false)
			open[i].ResumeRead()
		})
		if n := <-got; n != i {
			t.Errorf("connection %d was given something, want %d", n, i)
		}
	}
}

// What was read before, and is to be given to the handler again, waits too.
func TestWhatIsCarriedWaitsWhileQuiet(t *testing.T) {
	conns, given := make(chan Conn, 1), make(chan string, 10)
	e, a := start(t, &hooks{open: func(c Conn) { conns <- c }, data: func(_ Conn, b []byte) int {
		given <- string(b)
		if len(given) == 0 {
			return 0
		}
		return len(b) - 1
	}}, Options{Loops: 1}, "127.0.0.1:0")
	c := dial(t, a)
	conn := <-conns
	_, _ = c.Write([]byte("abc"))
	eventually(t, "it is carried", func() bool {
		n := 0
		e.loops[0].Ask(func() { s, _ := conn.State(); n = len(s.Input) })
		return n > 0
	})
	for len(given) > 0 {
		<-given
	}
	quieten(t, e, true)
	e.loops[0].Ask(func() { conn.Redeliver() })
	e.loops[0].Ask(func() { conn.HoldData(true); conn.HoldData(false) })
	e.loops[0].Ask(func() {})
	if len(given) > 0 {
		t.Errorf("Data was called with %q", <-given)
	}
	quieten(t, e, false)
	if b := <-given; b == "" || b[len(b)-1] != 'c' {
		t.Errorf("Data was called with %q, want what was carried", b)
	}
}

// Clients that come while the engine is quiet wait, and are served afterwards.
func TestAQuietEngineAcceptsNobody(t *testing.T) {
	e, a := start(t, &hooks{data: echo}, Options{Loops: 3}, "127.0.0.1:0")
	roundTrip(t, dial(t, a))
	for range 2 {
		accepted := e.Stats().Accepted
		quieten(t, e, true)
		var clients []net.Conn
		for range 100 {
			c := dial(t, a)
			_, _ = c.Write([]byte("ping"))
			clients = append(clients, c)
		}
		noSpin(t, e)
		if n := e.Stats().Accepted; n != accepted {
			t.Errorf("%d clients were accepted", n-accepted)
		}
		quieten(t, e, false)
		for _, c := range clients {
			if got := string(readN(t, c, 4)); got != "ping" {
				t.Fatalf("%q came, want what was sent", got)
			}
		}
	}
}

// A listener that rests for want of connections goes on afterwards.
func TestAListenerThatRestsWhileQuietGoesOn(t *testing.T) {
	conns := make(chan Conn, 10)
	e, a := start(t, &hooks{data: echo, open: func(c Conn) { conns <- c }}, Options{Loops: 1, MaxConns: 1}, "127.0.0.1:0")
	roundTrip(t, dial(t, a))
	waits := dial(t, a)
	eventually(t, "the listener rests", func() bool { return e.Stats().AcceptPauses > 0 })
	quieten(t, e, true)
	first := <-conns
	first.Loop().Ask(func() { first.Abort() })
	eventually(t, "its timer has come", func() bool {
		armed := true
		e.loops[0].Ask(func() { armed = e.loops[0].listeners[0].retry.Armed() })
		return !armed
	})
	if n := e.Stats().Accepted; n != 1 {
		t.Errorf("%d were accepted, want 1", n)
	}
	quieten(t, e, false)
	roundTrip(t, waits)
}

func TestALoopThatDoesNotComeIsNotQuiet(t *testing.T) {
	e, a := start(t, &hooks{data: echo}, Options{Loops: 2}, "127.0.0.1:0")
	stuck, let := make(chan struct{}), make(chan struct{})
	e.loops[0].Post(TaskFunc(func(*Loop) { close(stuck); <-let }))
	<-stuck
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := e.Quiet(ctx, true); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Quiet() = %v, want that its context is done", err)
	}
	close(let)
	for range 10 {
		roundTrip(t, dial(t, a))
	}
	for _, l := range e.loops {
		l.Ask(func() {
			if l.quiet {
				t.Errorf("loop %d is quiet", l.index)
			}
		})
	}
}

// Many that begin and end it leave all loops alike.
func TestManySayQuiet(t *testing.T) {
	e := idleEngine(t, 4)
	var left sync.WaitGroup
	for i := range 50 {
		left.Go(func() { quieten(t, e, i%2 == 0) })
	}
	left.Wait()
	var on [4]bool
	for i, l := range e.loops {
		l.Ask(func() { on[i] = l.quiet })
	}
	if on != [4]bool{} && on != [4]bool{true, true, true, true} {
		t.Errorf("the loops are quiet: %v", on)
	}
}

// Before Run, and in the middle of what a loop does, it holds as well.
func TestQuietBeforeRun(t *testing.T) {
	e, err := New(&hooks{data: echo}, Options{Loops: 2, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	a, err := e.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	quieten(t, e, true)
	c := dial(t, a)
	run(t, e)
	noSpin(t, e)
	if n := e.Stats().Accepted; n != 0 {
		t.Errorf("%d were accepted", n)
	}
	e.loops[1].Ask(func() { quieten(t, e, false) })
	roundTrip(t, c)
}
