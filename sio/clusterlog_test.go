package sio_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio"
)

// A ledger is a log that the servers of a test share.
type ledger struct {
	bus      bus
	mu       sync.Mutex
	moved    *sync.Cond
	lines    []line
	sessions map[string]rooms.Session
}

// A line of a ledger is an event, or something else that is to be done by the
// others.
type line struct {
	by    *book
	entry rooms.Entry
	other func(h rooms.Host)
}

// A book is the adapter of one server.
type book struct {
	*stop
	l    *ledger
	r    rooms.Recorder
	done chan struct{}

	// Guarded by the ledger's mu.
	read          int
	held, closing bool
}

func newLedger() *ledger {
	l := &ledger{sessions: map[string]rooms.Session{}}
	l.moved = sync.NewCond(&l.mu)
	return l
}

func (l *ledger) book() *book {
	return &book{stop: l.bus.stop(), l: l, done: make(chan struct{})}
}

func (b *book) Record(r rooms.Recorder)      { b.r = r }
func (b *book) Lane(namespace string) string { return "lane" }

func (b *book) Start(h rooms.Host) error {
	_ = b.stop.Start(h)
	if b.r != nil { // the server keeps events
		b.r.Passed("lane", 1)
	}
	// ends when the book is closed
	go b.readOn(h)
	return nil
}

func (b *book) readOn(h rooms.Host) {
	defer close(b.done)
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	for {
		for !b.closing && (b.held || b.read == len(b.l.lines)) {
			b.l.moved.Wait()
		}
		if b.closing {
			return
		}
		x := b.l.lines[b.read]
		b.l.mu.Unlock()
		switch {
		case x.other != nil && x.by != b:
			if b.r != nil {
				b.r.Passed("lane", x.entry.Place) // before it is done, as Recorder says
			}
			x.other(h)
		case b.r == nil:
		case x.other != nil && x.entry.Op != rooms.Emitted:
			b.r.Recorded("lane", rooms.Entry{Place: x.entry.Place, Op: x.entry.Op})
		case x.other == nil && x.by == b:
			b.r.Recorded("lane", rooms.Entry{Place: x.entry.Place, Own: x.entry.Own})
		case x.other == nil:
			x.entry.Own = 0
			b.r.Recorded("lane", x.entry)
		}
		b.l.mu.Lock()
		b.read++
	}
}

func (b *book) Close(ctx context.Context) error {
	b.set(func() { b.closing = true })
	<-b.done
	return b.stop.Close(ctx)
}

// set changes something about the book.
func (b *book) set(f func()) {
	b.l.mu.Lock()
	f()
	b.l.mu.Unlock()
	b.l.moved.Broadcast()
}

// hold says whether the book is not read from for a while.
func (b *book) hold(is bool) { b.set(func() { b.held = is }) }

func (b *book) write(x line) {
	b.set(func() {
		x.by, x.entry.Place = b, rooms.Place(len(b.l.lines)+2)<<20
		b.l.lines = append(b.l.lines, x)
	})
}

func (b *book) Append(t rooms.Target, e rooms.Event, n uint64) {
	b.write(line{entry: rooms.Entry{Own: n, Target: t, Event: e}})
}
func (b *book) Emit(t rooms.Target, e rooms.Event) {
	b.write(line{other: func(h rooms.Host) { h.Deliver(t, e) }})
}
func (b *book) Join(t rooms.Target, names []string) {
	b.write(line{other: func(h rooms.Host) { h.Join(t, names) }, entry: rooms.Entry{Target: t, Op: rooms.Joined, Names: names}})
}
func (b *book) Leave(t rooms.Target, names []string) {
	b.write(line{other: func(h rooms.Host) { h.Leave(t, names) }, entry: rooms.Entry{Target: t, Op: rooms.Left, Names: names}})
}
func (b *book) Disconnect(t rooms.Target, closing bool) {
	b.write(line{other: func(h rooms.Host) { h.Disconnect(t, closing) }, entry: rooms.Entry{Target: t, Op: rooms.Disconnected}})
}

func (b *book) Keep(s rooms.Session, _ time.Duration) { b.set(func() { b.l.sessions[s.PID] = s }) }

func (b *book) Take(_ context.Context, pid string) (s rooms.Session, ok bool, err error) {
	b.set(func() { s, ok = b.l.sessions[pid]; delete(b.l.sessions, pid) })
	return s, ok, nil
}

func (b *book) Missed(_ context.Context, ns, pattern string, from, to rooms.Place, each func(rooms.Entry) bool) (bool, error) {
	b.l.mu.Lock()
	lines := b.l.lines
	b.l.mu.Unlock()
	for _, x := range lines {
		if e := x.entry; (x.other == nil || e.Op != rooms.Emitted) && e.Place > from && e.Place <= to && (e.Target.Namespace == ns || e.Target.Namespace == pattern) && !each(e) {
			return false, nil
		}
	}
	return true, nil
}

// A cluster is two servers that share a ledger, and clients that can go from one
// to the other.
type cluster struct {
	t       testing.TB
	books   [2]*book
	servers [2]*server
	ns      [2]*sio.Namespace
	left    chan string
	sockets [2]chan sio.Socket
}

func newCluster(t *testing.T, patience time.Duration) *cluster {
	l := newLedger()
	c := &cluster{t: t, left: make(chan string, 1000)}
	for i := range c.servers {
		c.books[i] = l.book()
		o := sio.Options{Adapter: c.books[i], Recovery: sio.Recovery{Window: time.Minute, Patience: patience}}
		c.servers[i] = serve(t, o, func(srv *sio.Server) {
			c.ns[i] = srv.Of("/")
			c.sockets[i] = sockets(c.ns[i])
			c.ns[i].OnDisconnect(func(s sio.Socket, _ sio.Reason) { c.left <- s.ID() })
		})
	}
	return c
}

// dial connects a new client to a server.
func (c *cluster) dial(i int) (*recoverer, sio.Socket) {
	r := &recoverer{srv: c.servers[i], client: &client{t: c.t}}
	r.connect()
	r.sid = r.recoveredAs
	return r, take(c.t, c.sockets[i])
}

// move cuts a client's connection; connect takes it to another server.
func (c *cluster) move(r *recoverer, to int) {
	r.cut()
	for id := range c.left {
		if id == r.recoveredAs {
			break
		}
	}
	r.srv = c.servers[to]
}

// read waits until both servers have read all that was written: what a client
// that comes back then has missed is replayed.
func (c *cluster) read() {
	c.t.Helper()
	for _, b := range c.books {
		eventually(c.t, "reading the log", func() (done bool) {
			b.set(func() { done = b.read == len(b.l.lines) })
			return done
		})
	}
}

func TestRecoveryAtAnotherServer(t *testing.T) {
	c := newCluster(t, time.Minute)
	r, s := c.dial(0)
	s.Join("r1")
	s.SetData(map[string]int{"a": 1})
	c.ns[0].Emit("a", 1)
	r.takes(1)
	c.move(r, 1)
	c.ns[0].To("r1").Emit("room", 2)
	c.ns[1].To("r2").Emit("not mine", 3)
	c.ns[1].To("r1").Except(r.sid).Emit("excluded", 4)
	c.ns[1].Emit("all", 5)
	c.ns[1].To(r.sid).Emit("direct", 6)
	c.ns[0].All().Volatile().Emit("volatile", 7)
	c.ns[0].All().Local().Emit("local", 8)
	pid := r.pid
	r.events = nil
	c.read()
	r.connect()
	if got := fmt.Sprint(r.events); got != "[room 2 all 5 direct 6]" && got != "[all 5 direct 6 room 2]" || r.recoveredAs != r.sid || r.pid != pid {
		t.Errorf("events = %s as %s, want the three that it has missed, as %s", got, r.recoveredAs, r.sid)
	}
	s = take(t, c.sockets[1])
	var data map[string]int
	if raw, ok := s.Data().(json.RawMessage); !ok || json.Unmarshal(raw, &data) != nil || data["a"] != 1 || !s.Recovered() {
		t.Errorf("Data = %v, Recovered = %t, want what was set there", s.Data(), s.Recovered())
	}
	if got := s.Rooms(); !slices.Equal(got, []string{r.sid, "r1"}) {
		t.Errorf("Rooms = %q, want those that it was in", got)
	}
	for room, n := range c.ns[1].All().RoomCounts() {
		if room != "r1" || n != 1 {
			t.Errorf("room %s has %d, want r1 alone: the other is its own", room, n)
		}
	}
	r.events = nil
	c.ns[0].To("r1").Emit("live", 9)
	c.ns[0].To(r.sid).Emit("live", 10)
	s.Emit("live", 11)
	r.takes(3)
	if got := fmt.Sprint(r.events); !strings.HasPrefix(got, "[live 9 live 10 ") && !strings.HasSuffix(got, " live 9 live 10]") && got != "[live 9 live 11 live 10]" {
		t.Errorf("events after that = %s", got)
	}
	if got := c.servers[1].Recoveries(); got.Recovered != 1 || got.Replayed != 3 {
		t.Errorf("Recoveries = %+v", got)
	}
	// Back again, which nobody else can do.
	thief := *r
	thief.pid = "p" + r.pid[1:]
	thief.srv = c.servers[0]
	thief.connect()
	if thief.recoveredAs == r.sid || c.servers[0].Recoveries().Unknown != 1 {
		t.Errorf("recovered with a pid that nobody has")
	}
	c.move(r, 0)
	c.ns[1].Emit("b", 12)
	r.events = nil
	c.read()
	r.connect()
	if got := fmt.Sprint(r.events); got != "[b 12]" || r.recoveredAs != r.sid {
		t.Errorf("events = %s as %s, want [b 12] as %s", got, r.recoveredAs, r.sid)
	}
}

func TestRecoveryAtAnotherServerWithoutAnOffset(t *testing.T) {
	c := newCluster(t, time.Minute)
	c.ns[0].Emit("before anybody came")
	first, _ := c.dial(0)
	c.ns[0].Emit("a", 1)
	first.takes(1) // all that was emitted has been read
	r, _ := c.dial(0)
	c.move(r, 1)
	c.ns[0].Emit("missed", 1)
	c.read()
	r.connect()
	if got := fmt.Sprint(r.events); got != "[missed 1]" || r.recoveredAs != r.sid {
		t.Errorf("events = %s as %s, want [missed 1] as %s", got, r.recoveredAs, r.sid)
	}
	c.move(r, 0)
	r.offset = "vol"
	r.connect()
	if r.recoveredAs == r.sid || c.servers[0].Recoveries().Lost != 1 {
		t.Errorf("recovered with an offset that is none; %+v", c.servers[0].Recoveries())
	}
}

// While the log is held up, the server's own clients are served without it, and
// nobody gets anything twice: not even who comes back meanwhile.
func TestClusterWhoseLogIsSlow(t *testing.T) {
	c := newCluster(t, 300*time.Millisecond)
	a, s := c.dial(0)
	b, _ := c.dial(1)
	back, _ := c.dial(0)
	c.ns[0].Emit("e", 0)
	for _, r := range []*recoverer{a, b, back} {
		r.takes(1)
	}
	before := a.offset
	c.books[0].hold(true)
	c.move(back, 0)
	c.ns[0].Emit("e", 1)
	s.Emit("mine", 2)
	c.ns[0].Emit("text", "x")
	if p := a.next(); p != `42["e",1]` {
		t.Errorf("received %s, want the event without an offset", p)
	}
	if p, want := a.next(), fmt.Sprintf(`42["mine",2,"%s.1"]`, before); p != want {
		t.Errorf("received %s, want %s: it needs no log", p, want)
	}
	if p, want := a.next(), fmt.Sprintf(`42["text","x","%s.1"]`, before); p != want {
		t.Errorf("received %s, want %s: with the offset that the client has", p, want)
	}
	if st := c.servers[0].Cluster(); st.Up || !strings.Contains(st.Reason, "log") || c.servers[0].Recoveries().Early != 2 {
		t.Errorf("Cluster = %+v, %+v, want that the log is slow", st, c.servers[0].Recoveries())
	}
	back.events = nil
	back.connect()
	if got := fmt.Sprint(back.events); got != "[e 1 text x]" {
		t.Errorf("who came back received %s, want [e 1 text x]", got)
	}
	b.takes(2)
	c.books[0].hold(false)
	for i := 4; ; i++ { // at last with offsets
		c.ns[0].Emit("e", i)
		want := fmt.Sprintf(`42["e",%d`, i)
		p, q := a.next(), back.next()
		b.takes(1)
		if !strings.HasPrefix(p, want) || p != q {
			t.Fatalf("received %s and %s, want %s…", p, q, want)
		}
		if p != want+"]" {
			break
		}
	}
	if got := fmt.Sprint(b.events); !strings.HasPrefix(got, "[e 0 e 1 text x e 4") {
		t.Errorf("the other server's client received %s", got)
	}
	if st := c.servers[0].Cluster(); !st.Up {
		t.Errorf("Cluster = %+v, want up", st)
	}
}

// What a goroutine does to a socket happens in that order, although events take
// the way through the log.
func TestClusterKeepsTheOrderOfAGoroutine(t *testing.T) {
	c := newCluster(t, time.Minute)
	const clients, rounds = 6, 30
	var wg sync.WaitGroup
	for i := range clients {
		r, s := c.dial(i % 2)
		ns, room := c.ns[i%2], fmt.Sprint("room", i)
		wg.Go(func() {
			for j := range rounds {
				s.Emit("direct", j)
				ns.To(room).Emit("not yet", j)
				s.Join(room)
				ns.To(room).Emit("room", j)
				if got := s.Rooms(); !slices.Contains(got, room) {
					t.Errorf("Rooms = %q, want %s among them", got, room)
				}
				ns.To(room).Local().Emit("local", j)
				s.Volatile().Emit("volatile", j)
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				_, _ = s.EmitAck(ctx, "ask", j)
				_, _ = ns.To(room).EmitAck(ctx, "ask all", j)
				s.Leave(room)
				ns.To(room).Emit("not any more", j)
			}
			s.Emit("end", rounds)
			s.Disconnect(sio.DisconnectOptions{})
		})
		wg.Go(func() {
			at := 0
			expect := func(event string, j int) {
				p := r.next()
				for strings.Contains(p, `"volatile"`) && event != "volatile" {
					p = r.next()
				}
				if !strings.Contains(p, fmt.Sprintf(`[%q,%d`, event, j)) {
					t.Errorf("client %d, packet %d: %s, want %s of round %d", i, at, p, event, j)
				}
				at++
			}
			for j := range rounds {
				for _, event := range []string{"direct", "room", "local", "ask", "ask all"} {
					expect(event, j)
				}
			}
			expect("end", rounds)
			r.expect("41")
		})
	}
	wg.Wait()
}

func TestClusterAcknowledgesBehindEvents(t *testing.T) {
	c := newCluster(t, time.Minute)
	for range 50 {
		r, _ := c.dial(0)
		c.ns[0].Handle("do", func(s sio.Socket, m *sio.Msg) error {
			_ = s.Emit("event", 1)
			return m.Ack(2)
		})
		r.send(`427["do"]`)
		r.takes(1)
		r.expect(`437[2]`)
	}
}

// A client that goes to and fro while both servers emit gets each event once,
// those of each server in order.
func TestClusterLosesNothing(t *testing.T) {
	c := newCluster(t, time.Minute)
	const moves, each = 12, 100_000
	r, s := c.dial(0)
	s.Join("r")
	_ = s.Rooms()
	var wg sync.WaitGroup
	var total [2]int
	ctx, stop := context.WithCancel(t.Context())
	for i, ns := range c.ns {
		wg.Go(func() {
			for ; ctx.Err() == nil; total[i]++ {
				ns.To("r").Emit("e", i*each+total[i])
				time.Sleep(50 * time.Microsecond) // so that the test's client keeps up
			}
		})
	}
	for i := range moves {
		r.takes(20)
		c.move(r, (i+1)%2)
		r.connect()
		if r.recoveredAs != r.sid {
			t.Fatalf("move %d: recovered as %s, want %s", i, r.recoveredAs, r.sid)
		}
	}
	stop()
	wg.Wait()
	r.takes(total[0] + total[1] - len(r.events))
	next := [2]int{0, each}
	for _, e := range r.events {
		n, err := strconv.Atoi(strings.TrimPrefix(e, "e "))
		if err != nil || n/each > 1 || n != next[n/each] {
			t.Fatalf("received %s, want e %d or e %d", e, next[0], next[1])
		}
		next[n/each]++
	}
}

// What waits for the log of the cluster, and what was delivered before it was
// read, is bounded in bytes: events of any size are delivered without it, and who
// would need more of them than are kept is not recovered.
func TestWhatIsAheadIsBounded(t *testing.T) {
	const events, size = 40, 1 << 20
	c := newCluster(t, time.Hour)
	for _, b := range c.books {
		b.hold(true)
	}
	text := strings.Repeat("x", size)
	for i := range events {
		c.ns[0].Emit("big", i, text)
	}
	eventually(t, "all events", func() bool { return c.servers[0].Recoveries().Early == events })
	waiting, ahead := c.servers[0].Ahead("lane")
	if waiting != 0 || ahead > 16<<20 || ahead < 15<<20 {
		t.Errorf("%d bytes wait and %d are ahead, want 0 and at most 16 MiB", waiting, ahead)
	}
	for _, b := range c.books {
		b.hold(false)
	}
	c.read()
	if _, ahead := c.servers[0].Ahead("lane"); ahead != 0 {
		t.Errorf("%d bytes are ahead when all has been read, want none", ahead)
	}
}
