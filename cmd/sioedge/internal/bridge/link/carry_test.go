package link

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/gobwas/ws"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
)

// move has the session of an edge go on at another one, to whose address dials go from then
// on.
func move(t *testing.T, from *edge, cut *cutter, o Options, prepare func(e *edge)) (to *edge, next *Session, handled int) {
	t.Helper()
	ctx, done := context.WithTimeout(t.Context(), 20*time.Second)
	defer done()
	cut.mu.Lock() // nobody gets through to either
	defer cut.mu.Unlock()
	if err := from.Hold(ctx); err != nil {
		t.Fatal(err)
	}
	s := from.hub.session(t)
	data, err := cbor.Marshal(s.Carry(func(item any) int { return item.(int) }))
	if err != nil {
		t.Fatal(err)
	}
	var c Carried
	if err := cbor.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	to = newEdge(t, o)
	prepare(to)
	next, err = to.Restore(&c, to.hub, func(n int) (any, bool) { return n, true })
	if err != nil {
		t.Fatal(err)
	}
	from.hub.mu.Lock()
	to.hub.got, to.hub.worked = from.hub.got, from.hub.worked
	to.hub.sessions = []*Session{next}
	from.hub.mu.Unlock()
	cut.to = to.addr
	from.Moved()
	to.Serving()
	return to, next, c.Handled
}

// A session goes from edge to edge, at any moment and over connections that are cut after any
// byte: each number comes once and in order, both ways, also where a message was the first
// that an edge had not handled of its batch.
func TestASessionGoesFromEdgeToEdge(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	o := Options{Grace: time.Minute, Window: 64 << 10, Queue: 8 << 10, Timeout: 10 * time.Second}
	var waits atomic.Bool // messages wait for something
	held := 0
	slow := func(e *edge) {
		e.hub.onMessage = func(_ *Session, m *wire.Message) error {
			e.hub.mu.Lock()
			defer e.hub.mu.Unlock()
			if waits.Load() && len(e.hub.got)%2 == 1 { // the second of its batch
				return ErrHeld
			}
			e.hub.got = append(e.hub.got, string(m.Data))
			return nil
		}
	}
	e := newEdge(t, o)
	slow(e)
	cut := newCutter(t, e.addr, seed)
	cut.mu.Lock()
	cut.whole = true // else a session may begin that the process does not hear of
	cut.mu.Unlock()
	p := newProcess("p-1", cut.ln.Addr().String())
	ran := make(chan struct{})
	// ends with stop
	go func() {
		defer close(ran)
		p.run()
	}()
	eventually(t, "a welcome", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.session != "" })
	s := e.hub.session(t)
	sent := 0
	for i := range 60 {
		cut.mu.Lock()
		cut.whole = i%3 != 0 || i == 59
		cut.mu.Unlock()
		moves := i%4 == 3 && i < 59
		waits.Store(moves && rnd.IntN(2) == 0)
		for range 20 {
			n := number(sent)
			for !s.Put(sent, false, func(dst []byte) []byte { return wire.AppendEvent(dst, 1, wire.None, []byte(n), nil) }) {
				if s.Over() {
					t.Fatalf("the session is over: %v\n%s", e.hub.ended, e.log)
				}
				time.Sleep(time.Millisecond)
			}
			if sent%2 == 0 {
				p.send(number(sent), number(sent+1))
			}
			sent++
		}
		if moves {
			var handled int
			if e, s, handled = move(t, e, cut, o, slow); handled > 0 {
				held++
			}
			waits.Store(false)
		}
	}
	eventually(t, "all of it", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.lost != nil || len(p.queue) == 0 && len(p.numbers) >= sent && e.hub.is(func() bool { return len(e.hub.worked) >= sent })
	})
	p.stop()
	<-ran
	if p.lost != nil {
		t.Fatalf("the session was lost: %v\n%s", p.lost, e.log)
	}
	if d := differ(p.numbers, numbered(sent)); d != "" {
		t.Errorf("to the process: %s", d)
	}
	if d := differ(e.hub.got, numbered(sent)); d != "" {
		t.Errorf("from the process: %s", d)
	}
	if !slices.IsSortedFunc(e.hub.worked, func(a, b any) int { return a.(int) - b.(int) }) || len(e.hub.worked) != sent {
		t.Errorf("%d items were worked off, of %d", len(e.hub.worked), sent)
	}
	if t.Logf("%d resumes, %d batches were handled in part", p.resumes, held); held == 0 {
		t.Error("no batch was handled in part")
	}
}

// A process is told, by the code of the close frame, that it is to come back at once; who
// comes to the one that has moved is told so again.
func TestAProcessIsToldThatItsSessionMoves(t *testing.T) {
	e := newEdge(t, Options{})
	p, _ := e.connect(helloOf("p", "", 0, 1<<20))
	s := e.hub.session(t)
	if err := e.Hold(t.Context()); err != nil {
		t.Fatal(err)
	}
	event(s, nil, true, "[1]")
	if c := s.Carry(func(any) int { return 0 }); len(c.Batches) != 1 || c.Most != 0 {
		t.Errorf("%d batches wait, %d of them may have been received", len(c.Batches), c.Most)
	}
	e.Moved()
	if code, status, before := p.farewell(t); code != "" || status != ws.StatusCode(1012) || len(before) > 0 {
		t.Errorf("it is told %q, %d, behind %q", code, status, before)
	}
	late, err := dial(e.addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := late.greet(helloOf("p", s.id, 0, 1<<20)); err == nil {
		t.Error("the one that has moved begins a session")
	}
	if n := e.hub.is(func() bool { return len(e.hub.ended) > 0 }); n {
		t.Error("the handler is told that the session has ended")
	}
}

// A hold that does not come to be leaves no trace, and one that is released neither.
func TestHoldIsReleased(t *testing.T) {
	e := newEdge(t, Options{})
	enter, leave := make(chan struct{}), make(chan struct{})
	e.hub.onMessage = func(_ *Session, m *wire.Message) error {
		enter <- struct{}{}
		<-leave
		return nil
	}
	p := newProcess("p", e.addr)
	ran := make(chan struct{})
	// ends with stop
	go func() {
		defer close(ran)
		p.run()
	}()
	s := e.hub.session(t)
	for range 20 { // it is a matter of chance who is first
		p.send("1")
		<-enter
		ctx, done := context.WithTimeout(t.Context(), time.Millisecond)
		if err := e.Hold(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Hold while a message is handled = %v", err)
		}
		done()
		leave <- struct{}{}
	}
	p.send("2")
	<-enter
	leave <- struct{}{}
	for range 3 {
		if err := e.Hold(t.Context()); err != nil {
			t.Fatal(err)
		}
		event(s, 1, true, "[1]")
		e.Release()
	}
	eventually(t, "the events", func() bool { return e.hub.is(func() bool { return len(e.hub.worked) == 3 }) })
	p.stop()
	<-ran
}

// A session whose process does not come back ends, and so does one that was about to.
func TestARestoredSessionEnds(t *testing.T) {
	for _, over := range []bool{false, true} {
		from := newEdge(t, Options{})
		from.connect(helloOf("p", "", 0, 1<<20))
		s := from.hub.session(t)
		event(s, 7, true, "[1]")
		if err := from.Hold(t.Context()); err != nil {
			t.Fatal(err)
		}
		c := s.Carry(func(item any) int { return item.(int) })
		c.Over = over
		grace := time.Millisecond
		if over {
			grace = time.Hour
		}
		to := newEdge(t, Options{Grace: grace})
		if _, err := to.Restore(&c, to.hub, func(n int) (any, bool) { return n, true }); err != nil {
			t.Fatal(err)
		}
		from.Moved()
		to.Serving()
		if why := to.hub.endedBy(t, 1); why != Absent || !slices.Equal(to.hub.unworked, []any{7}) {
			t.Errorf("it has ended since %q, with %v not worked off", why, to.hub.unworked)
		}
	}
}

// carriedSession is one as data that can be.
func carriedSession() Carried {
	return Carried{
		ID: "id", Hello: helloOf("p", "", 0, 1<<20), Received: 3, Handled: 1, Acked: 4, Most: 1,
		Batches: []CarriedBatch{{Messages: wire.AppendEvent(nil, 1, 2, []byte(`["x"]`), nil), N: 1, Items: []int{1}}, {Messages: wire.AppendDrained(nil), N: 1}},
	}
}

// What cannot be is refused.
func TestHostileSessions(t *testing.T) {
	item := func(n int) (any, bool) { return n, n == 1 }
	for name, change := range map[string]func(c *Carried){
		"no name":                 func(c *Carried) { c.ID = "" },
		"no hello":                func(c *Carried) { c.Hello = nil },
		"another message":         func(c *Carried) { c.Hello = wire.AppendAccept(wire.AppendBatch(nil, 0, 1), 1) },
		"more received than sent": func(c *Carried) { c.Most = 3 },
		"less than nothing":       func(c *Carried) { c.Most = -1 },
		"handled less":            func(c *Carried) { c.Handled = -1 },
		"an item that is nothing": func(c *Carried) { c.Batches[0].Items[0] = 2 },
		"more items than it has":  func(c *Carried) { c.Batches[0].Items = []int{1, 1} },
		"an empty batch":          func(c *Carried) { c.Batches[1] = CarriedBatch{} },
		"another number":          func(c *Carried) { c.Batches[1].N = 2 },
		"a message cut short":     func(c *Carried) { c.Batches[0].Messages = c.Batches[0].Messages[:4] },
		"something behind it":     func(c *Carried) { c.Batches[0].Messages = append(c.Batches[0].Messages, 1) },
		"a process's message":     func(c *Carried) { c.Batches[0].Messages = wire.AppendAccept(nil, 1) },
	} {
		x := NewSessions(Options{})
		c := carriedSession()
		change(&c)
		if _, err := x.Restore(&c, &hub{}, item); err == nil && name != "a process's message" {
			t.Errorf("%s is taken", name)
		}
	}
	x := NewSessions(Options{})
	c := carriedSession()
	if _, err := x.Restore(&c, &hub{}, item); err != nil {
		t.Errorf("what is right is refused: %v", err)
	}
	if _, err := x.Restore(&c, &hub{}, item); err == nil {
		t.Error("a second one of the same name is taken")
	}
}
