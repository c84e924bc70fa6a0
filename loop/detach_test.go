package loop

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Two hundred connections with a line half sent and output that their clients do
// not read go from one engine to another: nothing is lost, doubled or out of
// order, and each has the name and the tag that it had.
func TestConnectionsGoToAnotherEngine(t *testing.T) {
	const n, shared = 200, 300 << 10
	block := noise(shared)
	var mu sync.Mutex
	opened := map[uint32]Conn{}
	h := &hooks{
		open: func(c Conn) {
			mu.Lock()
			defer mu.Unlock()
			c.SetTag(uint32(len(opened)) + 1)
			opened[c.Tag()] = c
			c.WriteShared(block)
		},
		data: lines,
	}
	old, a := start(t, h, Options{Loops: 2, SendBuffer: 4 << 10, SoftOutbound: 1 << 20}, "127.0.0.1:0")
	clients := make([]net.Conn, n)
	for i := range clients {
		clients[i] = dial(t, a)
		if _, err := clients[i].Write([]byte("first\nseco")); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all has come", func() bool { s := old.Stats(); return s.Open == n && s.BytesIn == 10*n })

	e, err := New(&hooks{open: func(Conn) { t.Error("Open is called of what was attached") }, data: lines}, Options{Loops: 2, LingerTimeout: time.Minute, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	run(t, e)
	e.Loops()[0].Ask(func() {})
	blocked, memory := 0, map[*byte]bool{}
	for i, l := range old.Loops() {
		var states []ConnState
		l.Ask(func() {
			for slot := l.conns.Max(); slot > 0; slot-- { // not in their order
				c := l.conn(slot)
				s, err := c.Detach()
				if err != nil || c.Valid() || string(s.Input) != "seco" {
					t.Errorf("Detach() = %q carried, %v, want seco", s.Input, err)
				}
				states = append(states, s)
			}
		})
		for _, s := range states {
			if len(s.Output) > 0 {
				blocked++
				p := s.Output[0]
				memory[&p[:cap(p)][cap(p)-1]] = true
			}
		}
		to := e.Loops()[i]
		to.Ask(func() {
			for _, s := range states {
				c, err := to.Attach(s, nil)
				if err != nil || c.Key() != s.Key || c.Tag() != s.Tag {
					t.Errorf("Attach() = %v, %v, want the name %v and tag %d", c, err, s.Key, s.Tag)
				}
				if _, err := to.Attach(s, nil); err == nil {
					t.Error("a name is given twice")
				}
			}
		})
	}
	if blocked < n/2 || len(memory) != 1 {
		t.Errorf("%d have output, in %d pieces of memory, want most in one", blocked, len(memory))
	}
	if st := old.Stats(); st.Open != 0 || st.Moved != n || st.Closed != 0 {
		t.Errorf("Stats() = %+v, want all moved", st)
	}
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			_, _ = c.Write([]byte("nd\nthird\n"))
			_ = c.(*net.TCPConn).CloseWrite()
			want := append(bytes.Clone(block), "first\nsecond\nthird\n"...)
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
				t.Errorf("client %d: %d bytes, %v, want %d as they were", i, len(got), err, len(want))
			}
		}()
	}
	wg.Wait()
}

func TestWhatCannotLeaveItsEngineSaysSo(t *testing.T) {
	var conn Conn
	m := &mux{streams: map[byte]*stream{}, h: hooks{open: func(c Conn) { conn = c }}}
	s := newSim(m, Options{})
	p := s.Connect(0)
	p.Send([]byte("\x01\x01x"))
	for _, c := range []Conn{{}, conn, m.outer} {
		if _, err := c.Detach(); !errors.Is(err, ErrStays) {
			t.Errorf("Detach() = %v, want ErrStays", err)
		}
	}
	var last Conn
	h := &hooks{open: func(c Conn) { last = c }, data: echo}
	e, err := New(h, Options{Loops: 1, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	a, err := e.ListenWith("127.0.0.1:0", ListenOptions{Opener: shared1000{}})
	if err != nil {
		t.Fatal(err)
	}
	run(t, e)
	c := dial(t, a)
	_, _ = c.Write(frame([]byte("x")))
	readN(t, c, 3)
	l := e.Loops()[0]
	l.Ask(func() {
		if _, err := last.Detach(); !errors.Is(err, ErrStays) || !last.Valid() {
			t.Errorf("Detach() = %v of a link that is not portable, want ErrStays and that it lives", err)
		}
	})
}

// carried is a link whose state is data.
type carried struct{ frames }

func (k *carried) State() ([]byte, error) {
	return json.Marshal([][]byte{k.in, k.plain, k.out})
}

func carriedFrom(b []byte) *carried {
	var all [3][]byte
	if err := json.Unmarshal(b, &all); err != nil {
		panic(err)
	}
	return &carried{frames{in: all[0], plain: all[1], out: all[2], most: 1000}}
}

// A connection goes to and fro between two engines with its link, after each piece
// that comes, while its output is blocked.
func TestALinkThatIsDataGoesAlong(t *testing.T) {
	var loops [2]*Loop
	var conn Conn
	large := noise(100_000)
	h := &hooks{open: func(c Conn) { conn = c; c.WriteShared(large) }, data: lines}
	for i := range loops {
		e, err := New(h, Options{Loops: 1, Logger: quiet, SendBuffer: 4 << 10, LingerTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		loops[i] = e.Loops()[0]
	}
	a, err := loops[0].engine.ListenWith("127.0.0.1:0", ListenOptions{Opener: opens(func(c Conn) {
		c.Opened(Opened{Link: &carried{frames{most: 1000}}})
	})})
	if err != nil {
		t.Fatal(err)
	}
	run(t, loops[0].engine)
	run(t, loops[1].engine)
	c := dial(t, a)
	eventually(t, "it is open", func() bool { return loops[0].engine.Stats().Open == 1 })
	wire := append(append(frame([]byte("first\nsec")), frame([]byte("ond\nthird\n"))...), 0, 0)
	for i := range wire {
		if _, err := c.Write(wire[i : i+1]); err != nil {
			t.Fatal(err)
		}
		var s ConnState
		from, to := loops[i%2], loops[1-i%2]
		from.Ask(func() {
			if s, err = conn.Detach(); i < len(wire)-1 && (err != nil || s.Link == nil) {
				t.Errorf("Detach() = %v, %v, want a link's state", s, err)
			}
		})
		if err != nil { // the end has come before
			break
		}
		to.Ask(func() { conn, err = to.Attach(s, carriedFrom(s.Link)) })
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	want := append(bytes.Clone(large), "first\nsecond\nthird\n"...)
	if got, end := unframe(t, b); !bytes.Equal(got, want) || !end {
		t.Errorf("%d bytes came, ended %v, want %d as they were and the end", len(got), end, len(want))
	}
}

func TestDetachWithinDataIsRefused(t *testing.T) {
	errs := make(chan error, 1)
	_, a := start(t, &hooks{data: func(c Conn, b []byte) int {
		_, err := c.Detach()
		errs <- err
		c.Write(b)
		return len(b)
	}}, Options{Loops: 1}, "127.0.0.1:0")
	roundTrip(t, dial(t, a))
	if err := <-errs; !errors.Is(err, ErrStays) {
		t.Errorf("Detach() = %v, want ErrStays", err)
	}
}

// What is paused, held and awaited goes along.
func TestStateGoesAlong(t *testing.T) {
	var conn Conn
	opened := make(chan struct{}, 1)
	old, a := start(t, &hooks{open: func(c Conn) { conn = c; opened <- struct{}{} }}, Options{Loops: 1}, "127.0.0.1:0")
	c := dial(t, a)
	<-opened
	var s ConnState
	old.Loops()[0].Ask(func() {
		conn.PauseRead()
		conn.AwaitDrained()
		s, _ = conn.Detach()
	})
	if !s.Paused || !s.Await || s.Held || s.Quiet > time.Minute {
		t.Errorf("Detach() = %+v, want paused and awaiting", s)
	}
	drained, got := make(chan struct{}, 1), make(chan string, 1)
	e, _ := start(t, &hooks{
		drained: func(Conn) { drained <- struct{}{} },
		data:    func(c Conn, b []byte) int { got <- string(b); return len(b) },
	}, Options{Loops: 1}, "127.0.0.1:0")
	l := e.Loops()[0]
	s.Key.Slot, s.Key.Gen = 3000, 7
	l.Ask(func() { conn, _ = l.Attach(s, nil) })
	<-drained
	_, _ = c.Write([]byte("hello"))
	l.Ask(func() { conn.ResumeRead() })
	if b := <-got; b != "hello" || conn.Key() != s.Key {
		t.Errorf("%q came to %v, want hello to %v", b, conn.Key(), s.Key)
	}
	_ = c.Close()
}

// Who waits for Drained in one engine is told in the other, whose SoftOutbound the
// backlog does not reach.
func TestDrainedComesInTheOtherEngine(t *testing.T) {
	var conn Conn
	old, a := start(t, &hooks{open: func(c Conn) { conn = c; c.WriteShared(noise(1 << 20)) }},
		Options{Loops: 1, SendBuffer: 4 << 10, SoftOutbound: 1000}, "127.0.0.1:0")
	c := dial(t, a)
	eventually(t, "it is open", func() bool { return old.Stats().Open == 1 })
	var s ConnState
	old.Loops()[0].Ask(func() { s, _ = conn.Detach() })
	if !s.Slow {
		t.Fatalf("Detach() = %+v, want that it is slow", s)
	}
	drained := make(chan struct{}, 1)
	e, _ := start(t, &hooks{drained: func(Conn) { drained <- struct{}{} }}, Options{Loops: 1, SoftOutbound: 8 << 20}, "127.0.0.1:0")
	l := e.Loops()[0]
	l.Ask(func() { conn, _ = l.Attach(s, nil) })
	readN(t, c, 1<<20)
	<-drained
	l.Ask(func() {
		if _, err := l.Attach(ConnState{FD: -1}, nil); err == nil {
			t.Error("what has no socket is attached")
		}
	})
}
