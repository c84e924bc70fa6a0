package eio

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/handle"
)

// A seat is the handler of an engine whose server another takes the place of. What the
// loop has of connections stays where it is, as if it had been taken along.
type seat struct {
	now *Server
	old map[loop.Conn]*Server // of connections that have stayed
}

func (s *seat) of(c loop.Conn) *Server {
	if srv := s.old[c]; srv != nil {
		return srv
	}
	return s.now
}

func (s *seat) Open(c loop.Conn)                       { s.now.Open(c) }
func (s *seat) Data(c loop.Conn, b []byte) int         { return s.of(c).Data(c, b) }
func (s *seat) Drained(c loop.Conn)                    { s.of(c).Drained(c) }
func (s *seat) Close(c loop.Conn, err error)           { s.of(c).Close(c, err) }
func (s *seat) Finish(c loop.Conn) bool                { return s.of(c).Finish(c) }
func (s *seat) LastWord(c loop.Conn, err error) []byte { return s.of(c).LastWord(c, err) }
func (s *seat) Rest(p []byte, sent int) int            { return s.now.Rest(p, sent) }
func (s *seat) server(h Handler, o Options) (err error) {
	o.Logger = quiet
	if s.now, err = NewServer(h, o); err == nil {
		s.now.spread = func(d time.Duration) time.Duration { return d }
	}
	return err
}

// newSeat makes a server on a simulation that another can take the place of.
func newSeat(t testing.TB, h Handler, o Options) (*seat, *loop.Sim) {
	t.Helper()
	s := &seat{old: map[loop.Conn]*Server{}}
	if err := s.server(h, o); err != nil {
		t.Fatal(err)
	}
	sim := loop.NewSim(s, loop.Options{Loops: 1, Logger: quiet})
	s.now.Bind(sim.Engine().Loops())
	return s, sim
}

// all are the connections of a loop that a server knows of.
func (sh *shard) all() iter.Seq[loop.Conn] {
	return func(yield func(loop.Conn) bool) {
		for slot := uint32(1); slot < 1000; slot++ {
			for gen := uint32(1); gen < 100; gen++ {
				if c := sh.loop.Conn(handle.Key{Slot: slot, Gen: gen}); c.Valid() && !yield(c) {
					return
				}
			}
		}
	}
}

// A travel is what goes from one server to another, as it is written down.
type travel struct {
	stays           Stays
	table           []byte
	conns, sessions [][]byte
}

func packed(t testing.TB, v any) []byte {
	t.Helper()
	b, err := cbor.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unpacked[T any](t testing.TB, b []byte) *T {
	t.Helper()
	v := new(T)
	if err := cbor.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
	return v
}

// leave takes all out of the server of a seat that can go.
func (s *seat) leave(t testing.TB, l *loop.Loop) (x travel) {
	t.Helper()
	sh := s.now.shards[0]
	state := func(c loop.Conn) (loop.ConnState, error) { return loop.ConnState{Key: c.Key()}, nil }
	gone := map[loop.Conn]bool{}
	var err error
	x.stays, err = sh.export(sh.all(), state, func(st *ConnState) error {
		x.conns = append(x.conns, packed(t, st))
		gone[l.Conn(st.Key)] = true
		return nil
	}, func(_ Session, st *SessionState) error {
		x.sessions = append(x.sessions, packed(t, st))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	x.table = s.now.ExportTable(l)
	sh.forget(func(loop.Conn) {})
	for c := range sh.all() {
		if !gone[c] {
			s.old[c] = s.now
		}
	}
	return x
}

// come has what has left be in another server, and returns its sessions.
func (s *seat) come(t testing.TB, h Handler, o Options, l *loop.Loop, x travel) (all []Session) {
	t.Helper()
	old := s.now
	o.IDKey = old.IDKey()
	if err := s.server(h, o); err != nil {
		t.Fatal(err)
	}
	s.now.Bind([]*loop.Loop{l})
	sh := s.now.shards[0]
	l.OnTurn(func() { old.shards[0].flushPollers(); sh.flushPollers() })
	if err := s.now.ImportTable(l, x.table); err != nil {
		t.Fatal(err)
	}
	for _, b := range x.conns {
		st := unpacked[ConnState](t, b)
		if err := sh.checkConn(st); err != nil {
			t.Fatal(err)
		}
		c := l.Conn(st.Key) // as Attach has it
		c.SetTag(0)
		c.HoldData(false)
		c.ResumeRead()
		c.Redeliver()
		sh.adopt(c, st)
	}
	for _, b := range x.sessions {
		es, err := s.now.Restore(l, unpacked[SessionState](t, b), func(k handle.Key) loop.Conn {
			if c := l.Conn(k); s.old[c] == nil {
				return c
			}
			return loop.Conn{}
		})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, es)
	}
	return all
}

// checkForgotten checks that nothing is left of sessions that have gone.
func checkForgotten(t testing.TB, srv *Server) {
	t.Helper()
	sh := srv.shards[0]
	if n := len(sh.https) - 1 - len(sh.freeHTTP); n != 0 || sh.exchanges != [states]int64{} {
		t.Errorf("%d HTTP connections are left, and exchanges %v", n, sh.exchanges)
	}
	if n := len(sh.exts) - 1 - len(sh.freeExts); n != 0 || sh.sessions.Len() != 0 || sh.open != 0 || srv.sessions.Load() != 0 {
		t.Errorf("%d extensions and %d sessions are left, and %d of the server", n, sh.sessions.Len(), srv.sessions.Load())
	}
	if len(sh.delays)+len(sh.accounts)+len(sh.owners)+len(sh.peers)+len(sh.clients)+sh.deadlines.armed != 0 || sh.heldBytes.Load() != 0 {
		t.Errorf("%d delays, %d accounts, %d owners, %d peers, %d addresses, %d deadlines and %d bytes are left",
			len(sh.delays), len(sh.accounts), len(sh.owners), len(sh.peers), len(sh.clients), sh.deadlines.armed, sh.heldBytes.Load())
	}
	st := sh.tally
	if n := st.Open.Sum() + st.Probing + st.Queued + st.Entries + st.BodyBytes + st.Swamped; n != 0 {
		t.Errorf("counts are left: %+v", st)
	}
	for _, g := range []*perAddress{srv.guests, srv.peers, srv.overs, srv.owners} {
		for i := range g.shards {
			if of := g.shards[i].of; len(of) != 0 {
				t.Errorf("addresses are counted: %v", of)
			}
		}
	}
}

func newMovingWorld(t testing.TB, o Options) *world {
	w := &world{t: t, o: o}
	w.o.Node = NewNode()
	w.o.AllowEIO3 = true
	w.o.HeadTimeout, w.o.IdleTimeout = cmp.Or(o.HeadTimeout, time.Hour), cmp.Or(o.IdleTimeout, time.Hour)
	w.seat, w.sim = newSeat(t, w, w.o)
	w.srv = w.seat.now
	w.connect()
	return w
}

// moveAll has all connections and sessions go on elsewhere.
func (w *world) moveAll() {
	l, old := w.sim.Engine().Loops()[0], w.seat.now
	x := w.seat.leave(w.t, l)
	checkForgotten(w.t, old)
	was := w.s
	for _, es := range w.seat.come(w.t, w, w.o, l, x) {
		if was.sh != nil && es.Ref() == was.Ref() {
			w.s = es
		}
	}
	w.srv = w.seat.now
}

// TestWholeServersGoOn: whenever all connections and sessions are taken from one server to
// another, clients and handlers see what they would have seen.
func TestWholeServersGoOn(t *testing.T) {
	all := dialogues()
	maps.Copy(all, halves())
	for name, c := range all {
		play := func(at int) []string {
			w := newMovingWorld(t, c.o)
			for i, step := range c.steps {
				step(w)
				w.look()
				w.out = append(w.out, fmt.Sprintf("-- %d", i))
				if i == at {
					w.moveAll()
				}
			}
			if r := w.s.at(); r != nil {
				w.do(w.s.Cut)
			}
			for _, p := range w.peers {
				p.Close()
			}
			w.sim.Advance(2 * time.Minute)
			checkForgotten(t, w.srv)
			return w.out
		}
		want := play(-1)
		for at := range c.steps {
			if got := play(at); strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("%s, moved after step %d:\n%s\nwant\n%s", name, at, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	}
}

// TestExportAllocatesLittle: states are made many at a time, for loops stand still meanwhile.
func TestExportAllocatesLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector changes what is allocated")
	}
	const n = 10 * statesAtOnce
	s, sim := newSeat(t, &hooks{}, Options{MaxSessionsPerIP: 1 << 20})
	for i := range n {
		p := sim.Connect(0)
		switch i % 3 {
		case 0:
			p.Send(wsRequest("EIO=4&transport=websocket"))
		case 1:
			p.Send(getRequest("EIO=4&transport=polling"))
		}
	}
	sh := s.now.shards[0]
	var conns []loop.Conn
	for c := range sh.all() {
		conns = append(conns, c)
	}
	state := func(c loop.Conn) (loop.ConnState, error) { return loop.ConnState{Key: c.Key()}, nil }
	if len(conns) != n {
		t.Fatalf("%d connections, want %d", len(conns), n)
	}
	allocs := testing.AllocsPerRun(10, func() {
		_, err := sh.export(slices.Values(conns), state, func(*ConnState) error { return nil }, func(Session, *SessionState) error { return nil })
		if err != nil {
			t.Error(err)
		}
	})
	if each := allocs / n; each > 0.1 {
		t.Errorf("%.2f allocations for a connection and what is on it, want at most 0.1", each)
	}
}
