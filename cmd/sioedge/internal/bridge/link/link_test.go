package link

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
)

// A cutter is a relay in front of an edge that ends each connection after some bytes.
type cutter struct {
	ln net.Listener

	mu    sync.Mutex
	to    string
	r     *rand.Rand
	cuts  int
	whole bool // nothing is cut any more
}

func newCutter(t *testing.T, to string, seed uint64) *cutter {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{ln: ln, to: to, r: rand.New(rand.NewPCG(seed, 1))}
	t.Cleanup(func() { _ = ln.Close() })
	// ends with the listener
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			// ends with the connection
			go c.relay(in)
		}
	}()
	return c
}

func (c *cutter) relay(in net.Conn) {
	defer func() { _ = in.Close() }()
	c.mu.Lock()
	to := c.to
	c.mu.Unlock()
	out, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	c.mu.Lock()
	// Some end in the handshake.
	up, down := c.r.Int64N(20_000), c.r.Int64N(40_000)
	if c.whole {
		up, down = 1<<40, 1<<40
	} else {
		c.cuts++
	}
	c.mu.Unlock()
	end := make(chan struct{}, 2)
	pass := func(dst, src net.Conn, n int64) {
		_, _ = io.CopyN(dst, src, n)
		end <- struct{}{}
	}
	// end with either connection
	go pass(out, in, up)
	go pass(in, out, down)
	<-end
}

// Connections are cut after any byte, in either direction, and each number comes once and
// in order, both ways.
func TestEachBatchOnceOverCuts(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	// Of a queue so small come batches that are mostly shorter than what a connection takes.
	e := newEdge(t, Options{Grace: time.Minute, Window: 64 << 10, Queue: 8 << 10, Timeout: 10 * time.Second})
	cut := newCutter(t, e.addr, seed)
	p := newProcess("p-1", cut.ln.Addr().String())
	ran := make(chan struct{})
	// ends with stop
	go func() {
		defer close(ran)
		p.run()
	}()
	s := e.hub.session(t)
	sent, want := 0, 200
	if testing.Short() {
		want = 50
	}
	for more := true; more; {
		cut.mu.Lock()
		more = cut.cuts < want
		cut.whole = !more
		cut.mu.Unlock()
		for range 20 {
			n := number(sent)
			for !s.Put(sent, false, func(dst []byte) []byte { return wire.AppendEvent(dst, 1, wire.None, []byte(n), nil) }) {
				if s.Over() {
					t.Fatalf("the session is over: %v\n%s", e.hub.ended, e.log)
				}
				time.Sleep(time.Millisecond)
			}
			p.send(n)
			sent++
		}
		eventually(t, "most of it", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.lost != nil || len(p.queue) < 200
		})
		if p.mu.Lock(); p.lost != nil {
			t.Fatalf("the session was lost: %v\n%s", p.lost, e.log)
		}
		p.mu.Unlock()
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
	for i, item := range e.hub.worked {
		if item != i {
			t.Errorf("item %d was worked off as number %d", item, i)
			break
		}
	}
	tot := e.Totals()
	t.Logf("%d numbers, %d cuts, %d resumes, %d batches sent again", sent, cut.cuts, p.resumes, tot.Resent)
	if p.resumes < want/4 || tot.Resent == 0 || tot.Sessions < 1 {
		t.Errorf("%d resumes of %d cuts, %+v", p.resumes, cut.cuts, tot)
	}
}

// event puts an event.
func event(s *Session, item any, force bool, json string) bool {
	return s.Put(item, force, func(dst []byte) []byte { return wire.AppendEvent(dst, 1, wire.None, []byte(json), nil) })
}

// What waits while a batch is written leaves in one, and no batch is too long.
func TestWhatWaitsLeavesTogether(t *testing.T) {
	e := newEdge(t, Options{Queue: 8 << 20})
	long := string(make([]byte, 600<<10))
	e.hub.onNew = func(s *Session, _ *wire.Hello) error {
		for i := range 100 {
			event(s, nil, false, fmt.Sprint(i))
		}
		for range 20 {
			event(s, nil, false, long[:60<<10])
		}
		event(s, nil, false, long)
		event(s, nil, false, "last")
		return nil
	}
	p, _ := e.connect(helloOf("p", "", 0, 1<<20))
	var all []string
	for batches := 1; len(all) < 122; batches++ {
		b, err := p.batch()
		if err != nil {
			t.Fatal(err)
		}
		_, some, err := messages(b)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > batchSize+headroom && len(some) > 1 {
			t.Errorf("a batch of %d messages has %d bytes", len(some), len(b))
		}
		if batches == 1 && len(some) < 100 {
			t.Errorf("the first batch has %d messages", len(some))
		}
		for _, m := range some {
			all = append(all, string(m.JSON))
		}
		if err := p.write(ws.OpBinary, wire.AppendBatch(nil, uint64(batches), 0)); err != nil {
			t.Fatal(err)
		}
	}
	if all[99] != "99" || all[120] != long || all[121] != "last" {
		t.Error("what was put is not in order")
	}
}

// A process that does not ack gets a window, then Put is false until there is room.
func TestWindowAndRoom(t *testing.T) {
	e := newEdge(t, Options{Window: 1 << 20, Queue: 64 << 10})
	p, w := e.connect(helloOf("p", "", 0, 32<<10))
	if w.Window != 1<<20 || w.MaxMessage != 16<<20 || w.Timeout != 15000 || w.Grace != 5000 || w.Resumed {
		t.Errorf("welcome: %+v", w)
	}
	s := e.hub.session(t)
	kib := string(make([]byte, 1000))
	n := 0
	for ; event(s, n, false, kib); n++ {
		if n > 1000 {
			t.Fatal("the queue has no end")
		}
	}
	if !event(s, n, true, kib) {
		t.Error("a message that is forced is not taken")
	}
	n++
	// One batch may be under way whatever the window.
	if st := s.Stats(); st.Unacked+st.Queued > 32<<10+2*(64<<10)+4000 {
		t.Errorf("%d bytes are kept", st.Unacked+st.Queued)
	}
	got, batches := 0, 0
	for got < n {
		b, err := p.batch()
		if err != nil {
			t.Fatal(err)
		}
		batches++
		_, all, _ := messages(b)
		got += len(all)
		if err := p.write(ws.OpBinary, wire.AppendBatch(nil, uint64(batches), 0)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "room", func() bool {
		return e.hub.is(func() bool { return e.hub.rooms == 1 && len(e.hub.worked) == n })
	})
	if st := s.Stats(); st.Unacked != 0 || st.Queued != 0 || !st.Connected || st.BatchesOut != int64(batches) {
		t.Errorf("at the end: %+v", st)
	}
}

// What a process says is worked off, when it says so; the rest is given back.
func TestUnworkedItemsComeBack(t *testing.T) {
	e := newEdge(t, Options{Grace: time.Millisecond})
	p, _ := e.connect(helloOf("p", "", 0, 1<<20))
	s := e.hub.session(t)
	for i := range 3 {
		event(s, i, false, "[]")
		if _, err := p.batch(); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.write(ws.OpBinary, wire.AppendData(wire.AppendBatch(nil, 2, 1), 1, []byte("done"))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two worked off", func() bool { return e.hub.is(func() bool { return len(e.hub.worked) == 2 && len(e.hub.got) == 1 }) })
	_ = p.Close()
	if why := e.hub.endedBy(t, 1); why != Absent {
		t.Errorf("it ended: %s", why)
	}
	if got := fmt.Sprint(e.hub.unworked); got != "[2]" {
		t.Errorf("%s came back", got)
	}
	if event(s, 9, true, "[]") || !s.Over() {
		t.Error("a session that is over takes messages")
	}
	// A process that resumes it begins anew.
	_, w := e.connect(helloOf("p", s.id, 3, 1<<20))
	if w.Resumed || w.Session == s.id || e.Totals().Unknown != 1 {
		t.Errorf("a session that is over goes on: %+v", w)
	}
}

// What waits is sent before a session is closed.
func TestClose(t *testing.T) {
	e := newEdge(t, Options{})
	p, _ := e.connect(helloOf("p", "", 0, 1<<20))
	s := e.hub.session(t)
	event(s, 1, false, "last")
	s.Close(wire.CodeDraining, "the edge stops")
	s.Close("again", "")
	code, status, before := p.farewell(t)
	if code != wire.CodeDraining || status != ws.StatusGoingAway || fmt.Sprint(before) != "[last]" {
		t.Errorf("the end: %q, %d, behind %v", code, status, before)
	}
	if why := e.hub.endedBy(t, 1); why != wire.CodeDraining || fmt.Sprint(e.hub.unworked) != "[1]" {
		t.Errorf("it ended: %s, %v came back", why, e.hub.unworked)
	}
}

// A session whose process is away is closed at once.
func TestCloseOfAnAbsent(t *testing.T) {
	e := newEdge(t, Options{Grace: time.Hour})
	p, _ := e.connect(helloOf("p", "", 0, 1<<20))
	s := e.hub.session(t)
	_ = p.Close()
	eventually(t, "the end of the connection", func() bool { return !s.Stats().Connected })
	s.Close(wire.CodeUnknown, "no such bridge")
	if why := e.hub.endedBy(t, 1); why != wire.CodeUnknown {
		t.Errorf("it ended: %s", why)
	}
}

// A process that closes the link with 1000 has left, and is not waited for; with another
// code it is.
func TestProcessLeaves(t *testing.T) {
	e := newEdge(t, Options{Grace: time.Hour})
	p, w := e.connect(helloOf("p", "", 0, 1<<20))
	s := e.hub.session(t)
	if err := p.write(ws.OpClose, ws.NewCloseFrameBody(ws.StatusGoingAway, "")); err != nil {
		t.Fatal(err)
	}
	if code, status, _ := p.farewell(t); code != "" || status != ws.StatusGoingAway {
		t.Errorf("the answer to a close frame: %q, %d", code, status)
	}
	eventually(t, "the end of the connection", func() bool { return !s.Stats().Connected })
	p, w2 := e.connect(helloOf("p", w.Session, 0, 1<<20))
	if !w2.Resumed {
		t.Fatal("a process that came back begins anew")
	}
	if err := p.write(ws.OpClose, ws.NewCloseFrameBody(ws.StatusNormalClosure, "")); err != nil {
		t.Fatal(err)
	}
	if why := e.hub.endedBy(t, 1); why != Left {
		t.Errorf("it ended: %s", why)
	}
}

// Of two connections of a session the newer one counts.
func TestSecondConnectionTakesTheSession(t *testing.T) {
	e := newEdge(t, Options{Grace: time.Hour})
	p1, w := e.connect(helloOf("p", "", 0, 1<<20))
	s := e.hub.session(t)
	event(s, 0, false, "0")
	if _, err := p1.batch(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan string, 1)
	// ends with the connection
	go func() {
		code, _, _ := p1.farewell(t)
		ended <- code
	}()
	p2, w2 := e.connect(helloOf("p", w.Session, 0, 1<<20))
	if !w2.Resumed {
		t.Error("the second connection begins anew")
	}
	if code := <-ended; code != wire.CodeReplaced {
		t.Errorf("the first one ended: %q", code)
	}
	b, err := p2.batch()
	if err != nil {
		t.Fatal(err)
	}
	if _, all, _ := messages(b); len(all) != 1 || string(all[0].JSON) != "0" {
		t.Errorf("on the second one came %v", all)
	}
	// Another process cannot have it.
	if _, w := e.connect(helloOf("other", w.Session, 0, 1<<20)); w.Resumed {
		t.Error("another process has the session")
	}
	if tot := e.Totals(); tot.Replaced != 1 || tot.Resumed != 1 || tot.Sessions != 2 {
		t.Errorf("counted: %+v", tot)
	}
}

// Many connections of one session at a time: one of them has it in the end.
func TestManyConnectionsOfASession(t *testing.T) {
	e := newEdge(t, Options{Grace: time.Hour})
	_, w := e.connect(helloOf("p", "", 0, 1<<20))
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			p, err := dial(e.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = p.Close() }()
			if w, err := p.greet(helloOf("p", w.Session, 0, 1<<20)); err == nil && !w.Resumed {
				t.Error("a connection begins anew")
			}
		})
	}
	all.Wait()
	if _, w := e.connect(helloOf("p", w.Session, 0, 1<<20)); !w.Resumed {
		t.Error("the session is lost")
	}
}

// A message that is put takes no allocation, once buffers have grown.
func TestPutAllocatesNothing(t *testing.T) {
	s := newSession(NewSessions(Options{Queue: 1 << 30}), &hub{}, &wire.Hello{})
	json := []byte(`["hello",{"a":1}]`)
	var item any = s
	batch := uint64(0)
	put := func() {
		for i := range 100 {
			if !s.Put(item, false, func(dst []byte) []byte { return wire.AppendEvent(dst, uint64(i), wire.None, json, nil) }) {
				t.Fatal("no room")
			}
		}
		// as it is written and acked
		b, _ := s.out.take(1 << 30)
		b.frame(7)
		s.out.wrote()
		batch++
		if items, ok := s.out.ack(batch, s.items[:0]); !ok || len(items) != 100 {
			t.Fatal("not all was worked off")
		} else {
			s.items = items[:0]
		}
	}
	put()
	if n := testing.AllocsPerRun(100, put); n > 1 {
		t.Errorf("100 messages, as a batch, take %v allocations", n)
	}
}
