package roster

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// succession returns a book that goes on where another one is, by way of data.
func succession(t *testing.T, b *book, run int64, now time.Time, here func(*entry) bool) *book {
	t.Helper()
	data := must(carried.Marshal(b.leaveAll()))
	var x estate
	if err := carried.Unmarshal(data, &x); err != nil {
		t.Fatal(err)
	}
	next := newBook(b.self, run, b.o)
	if err := next.inherit(&x, now); err != nil {
		t.Fatal(err)
	}
	next.settleAll(here)
	return next
}

func everybody(*entry) bool { return true }

// succeed has another process take the place of a server.
func (w *world) succeed(s *server) {
	old := s.b
	w.runs++
	s.b = succession(w.t, old, w.runs, w.now, everybody)
	w.heirs[old] = s.b
	for _, c := range w.order {
		if c.since == old {
			c.since = s.b
		}
	}
	w.note("%s goes on in another process", s.name)
	w.settle(s)
}

// Servers whose processes are replaced are one server to the others: no ledger is told
// again, and backends hear nothing of it.
func TestAServerGoesOnInOtherProcesses(t *testing.T) {
	w := newWorld(t, 1, 3)
	w.pass(time.Second)
	s := w.servers[0]
	var all []*client
	for i := range 30 {
		c := &client{sid: fmt.Sprint("s", i), ids: map[string]bool{}}
		w.clients[c.sid] = c
		w.order = append(w.order, c)
		w.come(w.servers[i%3], c, false)
		all = append(all, c)
	}
	w.leave(all[0], true)
	w.pass(10 * time.Second)
	resyncs, news := w.servers[1].b.resyncs+w.servers[2].b.resyncs, fmt.Sprint(w.news)
	version := s.b.version
	for range 10 {
		w.succeed(s)
		w.pass(time.Second)
	}
	if n := s.b.resyncs + w.servers[1].b.resyncs + w.servers[2].b.resyncs; n != resyncs || s.b.version != version || fmt.Sprint(w.news) != news {
		t.Errorf("ledgers were told %d times, version %d is %d, and backends heard %v of servers", n-resyncs, version, s.b.version, w.news)
	}
	for _, c := range all {
		if len(c.heard) != 1 {
			t.Errorf("the backend has heard %v of %s", c.heard, c.sid)
		}
	}
	w.pass(time.Minute)
	w.check()
	if len(all[0].heard) != 2 {
		t.Errorf("the backend has heard %v of who was away", all[0].heard)
	}
}

// ofAlone is a book of a server without others, with what it does.
func ofAlone(recovery time.Duration) *book {
	o := testRules()
	o.cluster, o.elsewhere, o.recovery = false, false, recovery
	return newBook("n", 1, o)
}

func sidsOf(out []effect, word word) (all []string) {
	for _, e := range out {
		if e.tell != nil && e.tell.word == word {
			all = append(all, e.tell.sid)
		}
	}
	slices.Sort(all)
	return all
}

// A socket that is away when another process takes over is told of once, by that, when its
// time is over; one that stays, by the process that it is with.
func TestWhoIsAwayIsToldOfByTheSuccessor(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	old := ofAlone(window)
	at := placeKey{backend: "default", route: "/", namespace: "/"}
	for _, sid := range []string{"away", "stays", "goes"} {
		old.came(&arrival{sid: sid, user: "u", at: at, tell: true, keep: true}, now)
	}
	for _, e := range old.out {
		old.delivered(e.tell, true, now)
	}
	old.out = nil
	old.left("away", parting{reason: "transport close", recoverable: true, left: now.UnixMilli(), rooms: []byte(`,"rooms":["x"]`)}, 0, now)
	next := succession(t, old, 2, now, func(e *entry) bool { return e.sid == "goes" })
	old.handOn()
	for range 3 { // and on
		next = succession(t, next, 3, now, func(e *entry) bool { return e.sid == "goes" })
	}
	for d := range 60 {
		now := now.Add(time.Duration(d) * time.Second)
		old.step(now)
		next.step(now)
		if early := time.Duration(d)*time.Second < window; early && len(next.out) > 0 {
			t.Fatalf("it is told %d s later", d)
		}
	}
	if got := sidsOf(next.out, goodbye); !slices.Equal(got, []string{"away"}) || string(next.out[0].tell.parting.rooms) != `,"rooms":["x"]` {
		t.Errorf("the successor tells that %q have gone", got)
	}
	if len(old.out) > 0 {
		t.Errorf("the process before tells of %+v", old.out[0].tell)
	}
	old.left("stays", parting{reason: "transport close", recoverable: true, left: now.UnixMilli()}, 0, now)
	old.step(now.Add(time.Second))
	next.left("goes", parting{reason: "transport close", left: now.UnixMilli()}, 0, now)
	next.step(now.Add(2 * time.Minute))
	if was, is := sidsOf(old.out, goodbye), sidsOf(next.out, goodbye); !slices.Equal(was, []string{"stays"}) || !slices.Equal(is, []string{"away", "goes"}) {
		t.Errorf("that they have gone is told of %q and %q", was, is)
	}
	if n, left := old.untold(); n != 1 || left != 1 {
		t.Errorf("%d and %d are untold, want the one that stayed", n, left)
	}
}

// What is being told is told by the successor, by the same ids, also what nobody was given
// yet.
func TestWhatIsBeingToldIsToldBySuccessors(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	old := ofAlone(0)
	at := placeKey{backend: "default", route: "/", namespace: "/"}
	old.came(&arrival{sid: "comes", user: "u", at: at, tell: true, keep: true}, now)
	old.came(&arrival{sid: "stranger", user: "u", at: at, tell: true}, now)
	old.came(&arrival{sid: "goes", user: "u", at: at, keep: true}, now)
	old.left("goes", parting{reason: "transport close", left: now.UnixMilli()}, 0, now)
	old.step(now)
	for name, given := range map[string]bool{"what was given away": true, "what was not": false} {
		if given {
			old.out = slices.DeleteFunc(old.out, func(e effect) bool { return e.tell.e != nil })
		}
		next := succession(t, old, 2, now, everybody)
		next.step(now)
		if in, out := sidsOf(next.out, hello), sidsOf(next.out, goodbye); !slices.Equal(in, []string{"comes", "stranger"}) || !slices.Equal(out, []string{"goes"}) {
			t.Errorf("%s: it tells of %q, and %q", name, in, out)
		}
		for _, e := range next.out {
			next.delivered(e.tell, true, now)
		}
		if len(next.own.entries) != 1 || next.queue("default").away != 0 {
			t.Errorf("%s: %d are left, %d are under way", name, len(next.own.entries), next.queue("default").away)
		}
	}
}

// A Roster that stands still tells nobody; called off, it tells everything.
func TestWhatWaitsWhileItStandsStill(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	b := &recorder{hooks: action.Connected.Of() | action.Disconnect.Of()}
	now := time.Now()
	r := New(srv.Server, Options{Backends: func() map[string]action.Backend { return map[string]action.Backend{"default": b} }, now: func() time.Time { return now }})
	ns := srv.Of("/")
	ns.OnConnect(func(s sio.Socket) error {
		r.Came(s, action.Entry{Namespace: "/", Route: "/", User: "u"}, b, b.hooks)
		return nil
	})
	ns.OnDisconnecting(r.Left)
	if err := r.stand(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := srv.Connect("/")
	if got := b.told(); len(got) != 0 {
		t.Errorf("it tells %q", got)
	}
	data := must(r.export())
	r.goOn()
	if got := b.told(); len(got) != 1 {
		t.Errorf("called off, it tells %q", got)
	}
	if err := r.inherit(data); err != nil {
		t.Fatal(err)
	}
	r.arrived(c.Socket(), nil)
	r.taken()
	r.goOn()
	if got := b.told(); len(got) != 2 || b.items[0].ID != b.items[1].ID {
		t.Errorf("a successor tells %q, of which the ids are to be the same", got)
	}
}

func TestHostileEstates(t *testing.T) {
	own := func(e ...entryForm) estate {
		return estate{Run: 1, Version: 5, Places: [][]string{{"b", "r", "/"}}, Ledgers: []ledgerForm{{Entries: e}}}
	}
	with := func(f func(x *estate)) estate { x := own(); f(&x); return x }
	for name, x := range map[string]estate{
		"nothing":                   {},
		"two of its own":            with(func(x *estate) { x.Ledgers = append(x.Ledgers, ledgerForm{}) }),
		"a ledger of nobody":        with(func(x *estate) { x.Ledgers = append(x.Ledgers, ledgerForm{Of: 7}) }),
		"half a place":              with(func(x *estate) { x.Places[0] = []string{"b"} }),
		"a place of even names":     with(func(x *estate) { x.Places[0] = []string{"b", "r", "/", "p"} }),
		"a place that there is not": own(entryForm{SID: "s", Place: 1}),
		"no name":                   own(entryForm{}),
		"a long name":               own(entryForm{SID: strings.Repeat("s", maxName+1)}),
		"a state beyond all":        own(entryForm{SID: "s", State: 3}),
		"gone, and not how":         own(entryForm{SID: "s", State: uint8(ready)}),
		"removed":                   own(entryForm{SID: "s", Flags: removed}),
		"a version to come":         own(entryForm{SID: "s", Version: 6}),
		"claims nothing":            own(entryForm{SID: "s", Flags: claiming}),
		"rooms that are no JSON":    own(entryForm{SID: "s", State: uint8(ready), Parting: &partingForm{Rooms: []byte("x")}}),
		"tells nothing":             own(entryForm{SID: "s", Telling: &tellingForm{}}),
		"tells that it is gone":     own(entryForm{SID: "s", Telling: &tellingForm{Word: uint8(goodbye)}}),
		"removed later":             with(func(x *estate) { x.Removed = []goneForm{{"s", 6}} }),
		"too many keepers":          with(func(x *estate) { x.Keepers = make([]keeperForm, keepers+1) }),
		"a keeper of later":         with(func(x *estate) { x.Keepers = []keeperForm{{Acked: 6}} }),
		"no number":                 with(func(x *estate) { x.Queues = []queueForm{{"b", math.NaN()}} }),
		"tells of no place":         with(func(x *estate) { x.Out = []effectForm{{Tell: &tellingForm{Word: uint8(hello), Place: 1}}} }),
	} {
		if b := ofAlone(0); b.inherit(&x, time.Unix(1_700_000_000, 0)) == nil {
			t.Errorf("%s is taken over", name)
		}
	}
}

func FuzzEstates(f *testing.F) {
	w := newWorld(new(testing.T), 7, 3)
	w.faults = crashes | stops | cuts | losses | failures
	for range 200 {
		w.act()
		w.pass(100 * time.Millisecond)
	}
	for _, s := range w.alive() {
		f.Add(must(carried.Marshal(s.b.leaveAll())))
	}
	now := w.now
	f.Fuzz(func(t *testing.T, p []byte) {
		var x estate
		if carried.Unmarshal(p, &x) != nil {
			return
		}
		b := newBook("n0", 9, testRules())
		if b.inherit(&x, now) != nil {
			return
		}
		b.settleAll(func(e *entry) bool { return len(e.sid)%2 == 0 })
		for i := range 5 {
			b.step(now.Add(time.Duration(i) * time.Minute))
			out := b.out
			b.out = nil
			for _, e := range out {
				if e.tell != nil {
					e.tell.members(nil)
					b.delivered(e.tell, i%2 == 0, now)
				}
			}
		}
		again := b.leaveAll()
		if err := again.check(); err != nil {
			t.Errorf("it does not go on: %v", err)
		}
	})
}
