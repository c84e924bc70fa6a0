package roster

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/bustest"
	"github.com/sioedge/sioedge/sio"
)

// An item is what a backend was told.
type item struct {
	kind action.Kind
	action.Peer
	body string
}

// A recorder is a backend that notes what it is told, and takes it unless it is down.
type recorder struct {
	action.Backend
	mu    sync.Mutex
	hooks action.Hook
	items []item
	down  bool
	lost  int64
	held  []func(bool) // of a backend that is slow
	slow  bool
}

func (b *recorder) Hooks() action.Hook { return b.hooks }

func (b *recorder) Lose(_ action.Kind, n int64) {
	b.mu.Lock()
	b.lost += n
	b.mu.Unlock()
}

func (b *recorder) Tell(k action.Kind, p action.Peer, body func(dst []byte) []byte) {
	it := item{k, p, string(body(nil))}
	if !json.Valid([]byte("{" + strings.TrimPrefix(it.body, ",") + "}")) {
		panic("no members: " + it.body)
	}
	b.mu.Lock()
	if !b.down {
		b.items = append(b.items, it)
	}
	down, slow := b.down, b.slow
	if slow {
		b.held = append(b.held, p.Done)
	}
	b.mu.Unlock()
	if !slow && p.Done != nil {
		p.Done(!down)
	}
}

// told returns what was told of sockets, each with its user: "connected ann".
func (b *recorder) told() (all []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, it := range b.items {
		if it.kind != action.Node {
			all = append(all, it.kind.String()+" "+it.User)
		}
	}
	return all
}

// await waits for an item.
func (b *recorder) await(t *testing.T, kind action.Kind, user string) item {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		b.mu.Lock()
		i := slices.IndexFunc(b.items, func(it item) bool {
			return it.kind == kind && (it.User == user || kind == action.Node && strings.Contains(it.body, user))
		})
		var it item
		if i >= 0 {
			it = b.items[i]
		}
		b.mu.Unlock()
		if i >= 0 {
			return it
		}
	}
	t.Fatalf("no %s of %s; told %q", kind, user, b.told())
	return item{}
}

// A node is a server of a cluster in one process.
type node struct {
	r   *Roster
	srv *sio.Server
	bus *bustest.Adapter
	url string
	end func()
}

func startNode(t *testing.T, bus *bustest.Bus, b *recorder, o Options) *node {
	t.Helper()
	so := sio.Options{Logger: slog.New(slog.DiscardHandler), Recovery: sio.Recovery{Window: o.Recovery}}
	n := &node{}
	if bus != nil {
		n.bus = bus.Adapter()
		so.Adapter, o.Cluster = n.bus, true
	}
	srv, err := sio.New(so)
	if err != nil {
		t.Fatal(err)
	}
	o.Backends = func() map[string]action.Backend { return map[string]action.Backend{"default": b} }
	o.Heartbeat = 50 * time.Millisecond
	n.srv, n.r = srv, New(srv, o)
	ns := srv.Of("/r/:id")
	ns.Handle("join", func(s sio.Socket, m *sio.Msg) error { s.Join("lobby", `"x"`); return m.Ack() })
	ns.OnConnect(func(s sio.Socket) error {
		var auth struct{ User string }
		_ = s.Auth(&auth)
		n.r.Came(s, action.Entry{Namespace: s.Name(), Route: "/r/:id", Params: []string{"id"}, User: auth.User}, b, all)
		return nil
	})
	ns.OnDisconnecting(func(s sio.Socket, r sio.Reason) { n.r.Left(s, r) })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	// ends with end
	go func() { done <- srv.Serve(ctx) }()
	web := httptest.NewServer(srv)
	n.url = web.URL
	n.end = sync.OnceFunc(func() { cancel(); <-done; web.CloseClientConnections(); web.Close() })
	t.Cleanup(n.end)
	return n
}

const all = 1<<action.Disconnect | 1<<action.Connected | 1<<action.Node

func join(t *testing.T, n *node, user string) *bustest.Poller {
	t.Helper()
	c := bustest.Poll(t, n.url)
	c.Send(fmt.Sprintf(`40/r/1,{"user":%q}`, user))
	c.Await(`40/r/1,`)
	return c
}

// A backend is told of a socket that has come and gone, with all that is known of it.
func TestComingAndGoing(t *testing.T) {
	b := &recorder{hooks: all}
	n := startNode(t, nil, b, Options{})
	c := join(t, n, "ann")
	came := b.await(t, action.Connected, "ann")
	c.Send(`42/r/1,0["join"]`)
	c.Await(`43/r/1,0`)
	c.Send(`41/r/1,`)
	left := b.await(t, action.Disconnect, "ann")
	if came.body != `,"params":{"id":"1"},"recovered":false` || came.Namespace != "/r/1" || came.Route != "/r/:id" || came.SID == "" || came.SID != left.SID {
		t.Errorf("told of the coming: %+v", came)
	}
	for _, part := range []string{`"params":{"id":"1"}`, `"reason":"client namespace disconnect"`, `"rooms":["lobby","\"x\""]`, `"connectedMs":`, `"recoverable":false`} {
		if !strings.Contains(left.body, part) {
			t.Errorf("told of the going: %s, want %s", left.body, part)
		}
	}
	if came.ID == left.ID || len(came.ID) != 26 || came.ID != socketID("connected", came.SID, 0) {
		t.Errorf("the ids are %q and %q", came.ID, left.ID)
	}
	await(t, "the end of the entry", func() bool { return n.r.Stats().Entries == 0 })
	if st := n.r.Stats(); st.Connected != 1 || st.Disconnected != 1 || st.Strays != 0 {
		t.Errorf("the counts are %+v", st)
	}
}

// A backend without these hooks costs nothing, and one that wants one of them is told that.
func TestHooksThatAreNotWanted(t *testing.T) {
	for _, hooks := range []action.Hook{0, action.Connected.Of(), action.Disconnect.Of()} {
		b := &recorder{hooks: hooks}
		n := startNode(t, nil, b, Options{})
		c := join(t, n, "ann")
		c.Send(`42/r/1,0["join"]`)
		c.Await(`43/r/1,0`)
		if got, want := n.r.Stats().Entries, 0; hooks != action.Disconnect.Of() && got != want {
			t.Errorf("hooks %b: %d entries, want %d", hooks, got, want)
		}
		c.Send(`41/r/1,`)
		if hooks.Has(action.Disconnect) {
			b.await(t, action.Disconnect, "ann")
		}
		n.end()
		var want []string
		if hooks.Has(action.Connected) {
			want = append(want, "connected ann")
		}
		if hooks.Has(action.Disconnect) {
			want = append(want, "disconnect ann")
		}
		if got := b.told(); !slices.Equal(got, want) {
			t.Errorf("hooks %b: told %q, want %q", hooks, got, want)
		}
	}
}

// The sockets of a server that falls silent are told to have gone, once, by one of the
// others; when it was only cut off, those that are there are told to be there again.
func TestAServerIsLostAndComesBack(t *testing.T) {
	b, bus := &recorder{hooks: all}, bustest.New()
	var nodes []*node
	for range 3 {
		nodes = append(nodes, startNode(t, bus, b, Options{Lost: time.Second}))
	}
	join(t, nodes[0], "ann")
	b.await(t, action.Connected, "ann")
	await(t, "two keepers", func() bool { return nodes[1].r.Stats().Copied == 1 && nodes[2].r.Stats().Copied == 1 })
	nodes[0].bus.Cut(true)
	left := b.await(t, action.Disconnect, "ann")
	if !strings.Contains(left.body, `"reason":"node_lost"`) || strings.Contains(left.body, "rooms") || !strings.Contains(left.body, `"params":{"id":"1"}`) {
		t.Errorf("told %s", left.body)
	}
	b.await(t, action.Node, `"state":"lost"`)
	nodes[0].bus.Cut(false)
	b.await(t, action.Node, `"state":"back"`)
	await(t, "the coming back", func() bool { return len(b.told()) >= 3 })
	if got, want := b.told(), []string{"connected ann", "disconnect ann", "connected ann"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	b.mu.Lock()
	last := b.items[len(b.items)-1]
	for _, it := range b.items {
		if it.kind == action.Connected {
			last = it
		}
	}
	b.mu.Unlock()
	if !strings.Contains(last.body, `"recovered":true`) || last.ID != socketID("connected", left.SID, 1) {
		t.Errorf("told of the coming back: %+v", last)
	}
}

// A server that ends tells of its sockets itself; what a backend does not take by then is
// told by another server, with the same id.
func TestAServerEnds(t *testing.T) {
	b, bus := &recorder{hooks: all}, bustest.New()
	first, second := startNode(t, bus, b, Options{}), startNode(t, bus, b, Options{})
	join(t, first, "ann")
	b.await(t, action.Connected, "ann")
	await(t, "the keeper", func() bool { return second.r.Stats().Copied == 1 })
	b.mu.Lock()
	b.slow = true
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = first.srv.Shutdown(ctx)
	mine := b.await(t, action.Disconnect, "ann")
	if !strings.Contains(mine.body, `"reason":"server shutting down"`) {
		t.Errorf("told %s", mine.body)
	}
	b.mu.Lock()
	b.slow = false
	b.mu.Unlock()
	await(t, "the other server's word", func() bool { return len(b.told()) == 3 })
	b.mu.Lock()
	defer b.mu.Unlock()
	if last := b.items[len(b.items)-1]; last.ID != mine.ID || last.kind != action.Disconnect || !strings.Contains(last.body, "server shutting down") {
		t.Errorf("told %+v by the other, want id %s", last, mine.ID)
	}
}

// A server that ends waits for its backend.
func TestShutdownWaitsForTheBackend(t *testing.T) {
	b := &recorder{hooks: all}
	n := startNode(t, nil, b, Options{})
	join(t, n, "ann")
	b.await(t, action.Connected, "ann")
	b.mu.Lock()
	b.slow = true
	b.mu.Unlock()
	ended := make(chan error, 1)
	go func() { ended <- n.srv.Shutdown(context.Background()) }()
	b.await(t, action.Disconnect, "ann")
	select {
	case <-ended:
		t.Fatal("the server has ended, and its backend does not know")
	case <-time.After(100 * time.Millisecond):
	}
	b.mu.Lock()
	for _, done := range b.held {
		done(true)
	}
	b.mu.Unlock()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if st := n.r.Stats(); st.Disconnected != 1 || st.Entries != 0 || st.Dropped != 0 {
		t.Errorf("the counts are %+v", st)
	}
}

// Sockets that are too many are told of, and it is said that their end will not be.
func TestTooManySockets(t *testing.T) {
	b := &recorder{hooks: all}
	n := startNode(t, nil, b, Options{MaxEntries: 1})
	join(t, n, "ann")
	c := join(t, n, "bob")
	b.await(t, action.Connected, "bob")
	c.Send(`41/r/1,`)
	await(t, "the leaving", func() bool { return n.r.Stats().Strays == 1 })
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lost != 1 || n.r.Stats().Refused != 1 {
		t.Errorf("it was said of %d that they are lost, want 1", b.lost)
	}
}

func await(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waiting for %s", what)
		}
	}
}

// What an entry takes is printed, and bounded.
func TestMemoryOfAnEntry(t *testing.T) {
	const n = 100_000
	b := newBook("n", 1, testRules())
	measure := func(f func()) float64 {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		f()
		runtime.GC()
		runtime.ReadMemStats(&after)
		return (float64(after.HeapAlloc) - float64(before.HeapAlloc)) / n
	}
	now := time.Unix(1_700_000_000, 0)
	own := measure(func() {
		for i := range n {
			b.came(&arrival{sid: fmt.Sprintf("%020d", i), user: fmt.Sprintf("user-%06d", i), at: placeKey{backend: "default", route: "/", namespace: "/"}, keep: true}, now)
		}
	})
	other := newBook("o", 1, testRules())
	wire := 0
	copied := measure(func() {
		for from, upto := uint64(0), uint64(0); from < b.version; from = upto {
			m := b.rows(from, now)
			m.Run, m.To2, upto = 1, []target{{"o", 1}}, m.Upto
			body, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			wire += len(body)
			var heard message
			if err := json.Unmarshal(body, &heard); err != nil {
				t.Fatal(err)
			}
			if err := other.hear("n", &heard, now); err != nil {
				t.Fatal(err)
			}
			other.out = nil
		}
	})
	t.Logf("an entry takes %.0f bytes here, %.0f with a server that keeps it, and %d to tell it", own, copied, wire/n)
	if other.copied() != n || own > 500 || copied > 500 || wire/n > 100 {
		t.Errorf("%d of %d entries are kept; they take %.0f bytes, %.0f in a copy and %d to tell, want 500, 500 and 100 at most", other.copied(), n, own, copied, wire/n)
	}
	runtime.KeepAlive(b)
	runtime.KeepAlive(other)
}
