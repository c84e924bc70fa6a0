package sio_test

import (
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio"
)

// What is emitted faster than the loops deliver is bounded: who emits is told, and
// what was taken arrives, in order.
func TestWhatWaitsForLoopsIsBounded(t *testing.T) {
	const most = 1 << 20
	hold, held := make(chan struct{}), make(chan struct{})
	var log lines
	var ns *sio.Namespace
	p := newPair(t, sio.Options{Loop: loops(1), MaxBroadcasts: most, Logger: log.logger()}, func(i int, srv *sio.Server) {
		if i == 0 {
			ns = srv.Of("/")
			ns.HandleInline("hold", func(sio.Socket, *sio.Msg) error { close(held); <-hold; return nil })
		}
	})
	c := p.clients[0]
	c.send(`42["hold"]`)
	<-held // the loop does nothing until then
	payload := strings.Repeat("x", 10_000)
	emitted, volatile := 0, 0
	for ; emitted < 1000; emitted++ {
		if err := ns.All().Local().Emit("e", emitted, payload); errors.Is(err, sio.ErrOverloaded) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if err := ns.All().Local().Volatile().Emit("v", emitted, payload); err != nil {
			t.Fatal(err)
		}
	}
	if emitted == 1000 {
		t.Fatal("all were taken, want ErrOverloaded")
	}
	if err := p.ns[1].Emit("e", "from the other server"); err != nil { // has room for its own
		t.Fatal(err)
	}
	if got := p.servers[0].Stats().Drops.Overloaded; got < 3 {
		t.Errorf("Stats.Drops.Overloaded = %d, want the event, volatile ones and that of the other server", got)
	}
	close(hold)
	for n := 0; n < emitted; {
		switch packet := c.next(); {
		case strings.HasPrefix(packet, `42["v",`):
			volatile++
		case !strings.HasPrefix(packet, `42["e",`+strconv.Itoa(n)+`,`):
			t.Fatalf("received %.40s, want event %d", packet, n)
		default:
			n++
		}
	}
	if volatile > emitted/2+1 {
		t.Errorf("%d volatile events of %d arrived, want no more than those before half of the bound", volatile, emitted)
	}
	eventually(t, "room for more", func() bool { return ns.All().Local().Emit("last") == nil })
	if !strings.Contains(log.String(), "--max-broadcasts") {
		t.Errorf("the log does not name the flag:\n%s", log.String())
	}
}

// What other servers say to a namespace whose handler does not return is bounded.
func TestWhatWaitsForServerSideHandlersIsBounded(t *testing.T) {
	gate := make(chan struct{})
	heard := make(chan int, 4096)
	p := newPair(t, sio.Options{}, func(i int, srv *sio.Server) {
		if i == 1 {
			srv.Of("/").HandleServerSide("n", func(m *sio.Msg) error {
				<-gate
				var n int
				err := m.Decode(&n)
				heard <- n
				return err
			})
		}
	})
	payload := strings.Repeat("x", 64<<10)
	for i := range 400 { // 25 MiB
		if err := p.ns[0].ServerSideEmit("n", i, payload); err != nil {
			t.Fatal(err)
		}
	}
	unheard := p.servers[1].Stats().Drops.Unheard
	if unheard < 100 || unheard > 200 {
		t.Errorf("Stats.Drops.Unheard = %d of 400, want those beyond 16 MiB", unheard)
	}
	close(gate)
	for i := range 400 - int(unheard) {
		if n := take(t, heard); n != i {
			t.Fatalf("heard %d, want %d", n, i)
		}
	}
	if err := p.ns[0].ServerSideEmit("n", 400); err != nil {
		t.Fatal(err)
	}
	take(t, heard)
}

// lines is a log that can be looked at.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// While a loop has too much to do, whoever does something to sockets waits, but not the
// adapter, which has other servers' to go on with; nothing of either is lost.
func TestOperatorsWaitForTheLoopsButNotTheAdapter(t *testing.T) {
	hold, held := make(chan struct{}), make(chan struct{})
	p := newPair(t, sio.Options{Loop: loops(1)}, func(i int, srv *sio.Server) {
		srv.Of("/").HandleInline("hold", func(sio.Socket, *sio.Msg) error { close(held); <-hold; return nil })
	})
	ns, s, host := p.ns[0].All().Local(), p.sockets[0], p.stops[0].host
	s.Join("local", "other's")
	s.Rooms()
	p.clients[0].send(`42["hold"]`)
	<-held // the loop does nothing until then
	p.servers[0].Stuff()
	waits := func() int64 { return p.servers[0].Engine().Stats().MailWaits }

	all := rooms.Target{Namespace: "/"}
	host.Join(all, []string{"by another"})
	host.Leave(all, []string{"other's"})
	host.Disconnect(rooms.Target{Namespace: "/", Rooms: []string{"nobody's"}}, false)
	if n := waits(); n != 0 {
		t.Errorf("the adapter was kept waiting %d times", n)
	}
	var done sync.WaitGroup
	for i, f := range []func(){
		func() { ns.Join("joined") },
		func() { ns.Leave("local") },
		func() { ns.To("nobody's").Disconnect(sio.DisconnectOptions{}) },
		func() { s.Join("too") },
		func() { s.Leave("too") },
	} {
		done.Go(f)
		eventually(t, "a wait", func() bool { return waits() == int64(i+1) })
	}
	close(hold)
	done.Wait()
	ns.Join("last")
	for _, room := range s.Rooms() {
		if room == "local" || room == "other's" {
			t.Errorf("the socket is in %s still", room)
		}
	}
	for _, room := range []string{"by another", "joined", "last"} {
		if got := ns.To(room).Sockets(); len(got) != 1 {
			t.Errorf("%d sockets are in %q, want one", len(got), room)
		}
	}
}
