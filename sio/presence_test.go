package sio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio"
)

func TestCountsAreOfWhoIsConnectedAndAddressed(t *testing.T) {
	st := newStage(t, sio.Options{Loop: loops(3)})
	var all []*extra
	for i := range 12 {
		x := st.enter(i % 3)
		for _, d := range []int{2, 3} {
			if i%d == 0 {
				x.s.Join(fmt.Sprint("by ", d))
			}
		}
		all = append(all, x)
	}
	st.sim.Turn()
	first, last := all[0].s, all[11].s
	for what, x := range map[string]struct {
		b    sio.BroadcastOperator
		want int
	}{
		"everybody":                   {st.ns.All(), 12},
		"a room":                      {st.ns.To("by 2"), 6},
		"a room that is not there":    {st.ns.To("by 4"), 0},
		"a union":                     {st.ns.To("by 2", "by 3"), 8},
		"the same twice":              {st.ns.To("by 2", "by 2"), 6},
		"all but a room":              {st.ns.Except("by 3"), 8},
		"a room but another":          {st.ns.To("by 2").Except("by 3"), 4},
		"an id":                       {st.ns.To(first.ID()), 1},
		"an id and a room with it":    {st.ns.To(first.ID(), "by 2"), 6},
		"an id and a room without it": {st.ns.To(last.ID(), "by 2"), 7},
		"all but an id":               {st.ns.Except(first.ID()), 11},
		"the others":                  {first.Broadcast(), 11},
		"the others in a room":        {first.To("by 2"), 5},
		"itself":                      {first.Self(), 1},
		"itself but for a room":       {first.Self().Except("by 2"), 0},
		"nobody":                      {st.ns.To(), 0},
		"a long name":                 {st.ns.To(strings.Repeat("x", 1<<16), ""), 0},
	} {
		if got := x.b.Count(); got != x.want || len(x.b.Sockets()) != x.want {
			t.Errorf("%s: Count() = %d with %d Sockets, want %d", what, got, len(x.b.Sockets()), x.want)
		}
		if got, err := x.b.CountAll(context.Background()); err != nil || got != x.want {
			t.Errorf("%s: CountAll() = %d, %v, want %d", what, got, err, x.want)
		}
	}
	for _, x := range all {
		x.peer.Close()
	}
	if n := st.ns.Count() + st.ns.To("by 2").Count() + first.Self().Count() + st.ns.To(first.ID()).Count(); n != 0 {
		t.Errorf("%d sockets are counted when all have left", n)
	}
}

// Who has joined in a middleware is not there before it has been admitted.
func TestCountsLeaveOutWhoIsNotAdmittedYet(t *testing.T) {
	inside, goOn := make(chan sio.Socket), make(chan error)
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		srv.Of("/").Use(func(s sio.Socket) error { s.Join("r"); inside <- s; return <-goOn })
	})
	ns := srv.Of("/")
	c := srv.dial()
	c.send("40")
	s := take(t, inside)
	s.Rooms() // it has joined
	if n := ns.Count() + ns.To("r").Count() + ns.To("r", "q").Count(); n != 0 {
		t.Errorf("%d sockets are counted before one is admitted, want none", n)
	}
	if _, ok := ns.Lookup(s.ID()); ok {
		t.Error("Lookup finds who is not admitted")
	}
	goOn <- nil
	c.expect(`40{"sid":"$sid"}`)
	if ns.Count() != 1 || ns.To("r").Count() != 1 || ns.To("r", "q").Count() != 1 {
		t.Errorf("counts are %d, %d, %d, want 1", ns.Count(), ns.To("r").Count(), ns.To("r", "q").Count())
	}
	if got, ok := ns.Lookup(c.id); !ok || got != s {
		t.Errorf("Lookup = %v, %v, want the socket", got, ok)
	}
}

func TestInstancesAreCountedAndListed(t *testing.T) {
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		srv.Of("/")
		srv.Of("/rooms/:id")
		srv.OfFunc(func(string, json.RawMessage) bool { return false })
	})
	ns := srv.Of("/rooms/:id")
	a, b, c := srv.join("40/rooms/1,"), srv.join("40/rooms/1,"), srv.join("40/rooms/2,")
	for name, want := range map[string]int{"/rooms/1": 2, "/rooms/2": 1, "/rooms/3": 0, "/": 0} {
		if got := ns.Instance(name).Count(); got != want {
			t.Errorf("Count of %s = %d, want %d", name, got, want)
		}
	}
	if got := ns.Count(); got != 3 {
		t.Errorf("Count = %d, want 3", got)
	}
	names := ns.Instances()
	if slices.Sort(names); !slices.Equal(names, []string{"/rooms/1", "/rooms/2"}) || !slices.Equal(srv.Of("/").Instances(), []string{"/"}) {
		t.Errorf("Instances = %q and %q", names, srv.Of("/").Instances())
	}
	var made []string
	for _, n := range srv.Namespaces() {
		made = append(made, n.Name())
	}
	if !slices.Equal(made, []string{"/", "/rooms/:id", "(function)"}) {
		t.Errorf("Namespaces = %q", made)
	}
	for _, x := range []*client{a, b, c} {
		if s, ok := ns.Lookup(x.id); !ok || s.ID() != x.id {
			t.Errorf("Lookup(%s) = %v, %v", x.id, s, ok)
		}
		if _, ok := srv.Of("/").Lookup(x.id); ok {
			t.Error("another namespace finds the socket too")
		}
	}
}

func TestLookupFindsNobodyByWhatIsNoId(t *testing.T) {
	var joined chan sio.Socket
	srv := serve(t, sio.Options{}, func(srv *sio.Server) { joined = sockets(srv.Of("/")) })
	ns := srv.Of("/")
	c := srv.join("40")
	s := take(t, joined)
	s.Join("room")
	for _, id := range []string{"", "room", c.id[:19], c.id + "x", strings.Repeat("-", 20), strings.Repeat("x", 1<<20), "\xff\x00", strings.ToUpper(c.id) + ""} {
		if got, ok := ns.Lookup(id); ok && id != c.id {
			t.Errorf("Lookup(%.30q) = %v, want nobody", id, got.ID())
		}
	}
	c.conn.Close()
	eventually(t, "the end of the socket", s.Gone)
	next := srv.join("40") // in the same place, perhaps
	take(t, joined)
	if _, ok := ns.Lookup(c.id); ok {
		t.Error("Lookup finds a socket that has left")
	}
	if _, ok := ns.Lookup(next.id); !ok {
		t.Error("Lookup does not find who is there")
	}
}

func TestLookupFindsWhoWasRecovered(t *testing.T) {
	var joined chan sio.Socket
	_, connect, ns := recoverers(t, sio.Options{}, func(ns *sio.Namespace) { joined = sockets(ns) })
	r := connect()
	s := take(t, joined)
	if err := ns.Emit("n"); err != nil {
		t.Fatal(err)
	}
	r.takes(1)
	r.cut()
	eventually(t, "the end of the socket", s.Gone)
	if _, ok := ns.Lookup(r.sid); ok {
		t.Error("Lookup finds who is away")
	}
	r.connect()
	back := take(t, joined)
	if got, ok := ns.Lookup(r.sid); !ok || got != back || !back.Recovered() {
		t.Errorf("Lookup = %v, %v, want the socket that came back", got, ok)
	}
	thief := connect()
	take(t, joined).Join(r.sid) // names of rooms may be anything
	if got, ok := ns.Lookup(r.sid); !ok || got != back {
		t.Errorf("Lookup = %v, %v, want the one whose id it is", got, ok)
	}
	if n := ns.To(r.sid).Count(); n != 2 {
		t.Errorf("%d are in the room, want 2", n)
	}
	thief.cut()
}

func TestPagesHaveEachSocketOnce(t *testing.T) {
	st := newStage(t, sio.Options{Loop: loops(3)})
	want := map[string]bool{}
	for i := range 300 {
		x := st.enter(i % 3)
		x.s.SetData(i)
		if i%2 == 0 {
			x.s.Join("even")
			want[x.s.ID()] = true
		}
	}
	st.sim.Turn()
	for _, size := range []int{0, 1, 7, 64, 100, 1000} {
		seen, pages := map[string]bool{}, 0
		for page, err := range st.ns.To("even").Pages(context.Background(), size) {
			if err != nil {
				t.Fatal(err)
			}
			pages++
			if most := max(size, 1); len(page) == 0 || size > 0 && len(page) > most {
				t.Fatalf("a page of %d, want up to %d", len(page), most)
			}
			for _, r := range page {
				var n int
				if err := r.Data(&n); err != nil || n%2 != 0 || seen[r.ID()] || !slices.Contains(r.Rooms(), "even") {
					t.Fatalf("a page has %s with %d and %q, seen before: %v", r.ID(), n, r.Rooms(), seen[r.ID()])
				}
				seen[r.ID()] = true
			}
		}
		if n := (len(want) + max(size, 1) - 1) / max(size, 1); len(seen) != len(want) || size > 0 && pages != n {
			t.Errorf("size %d: %d sockets in %d pages, want %d in %d", size, len(seen), pages, len(want), n)
		}
	}
	for range st.ns.All().Pages(context.Background(), 10) {
		break
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n := 0
	for page, err := range st.ns.All().Pages(ctx, 10) {
		if n++; n == 1 {
			cancel()
		} else if !errors.Is(err, context.Canceled) || page != nil || n > 2 {
			t.Fatalf("page %d is %v, %v, want the end", n, page, err)
		}
	}
	if n != 2 {
		t.Errorf("%d pages before ctx was done, want one and the error", n)
	}
	for range st.ns.To().Pages(context.Background(), 10) {
		t.Error("a page of nobody")
	}
}

// Whoever asks from where the last part ended gets each socket once, also those that
// others leave behind; a place that is none is where nobody is.
func TestSocketsFromAPlace(t *testing.T) {
	st := newStage(t, sio.Options{Loop: loops(3)})
	want := map[sio.Socket]bool{}
	for i := range 300 {
		x := st.enter(i % 3)
		if i%2 == 0 {
			x.s.Join("even")
			want[x.s] = true
		}
	}
	st.sim.Turn()
	even := st.ns.To("even")
	for _, size := range []int{1, 7, 64, 100, 1000} {
		seen, parts := map[sio.Socket]bool{}, 0
		for at, more := uint64(0), true; more; more = at != 0 {
			var part []sio.Socket
			part, at = even.SocketsFrom(at, size)
			if parts++; len(part) > size || at != 0 && len(part) != size {
				t.Fatalf("a part of %d, want %d", len(part), size)
			}
			for _, s := range part {
				if !want[s] || seen[s] {
					t.Fatalf("a part has %s, seen before: %v", s.ID(), seen[s])
				}
				seen[s] = true
			}
		}
		if len(seen) != len(want) {
			t.Errorf("size %d: %d sockets in %d parts, want %d", size, len(seen), parts, len(want))
		}
	}
	for _, at := range []uint64{3 << 32, 2<<32 | 1<<32 - 1, 1<<64 - 1} {
		if part, next := even.SocketsFrom(at, 10); len(part) != 0 || next != 0 {
			t.Errorf("from %x there are %d, and more at %x", at, len(part), next)
		}
	}
	if part, next := st.ns.To().SocketsFrom(0, 10); len(part) != 0 || next != 0 {
		t.Error("nobody has a part")
	}
}

func TestRoomCountsAreThoseOfTheRooms(t *testing.T) {
	st := newStage(t, sio.Options{Loop: loops(2)})
	for i := range 200 {
		x := st.enter(i % 2)
		x.s.Join(fmt.Sprint(i%50), "all")
	}
	st.sim.Turn()
	got := map[string]int{}
	for room, n := range st.ns.All().RoomCounts() {
		got[room] += n
	}
	if len(got) != 51 || got["all"] != 200 || got["7"] != 4 {
		t.Errorf("%d rooms, %d in all, %d in 7, want 51, 200, 4", len(got), got["all"], got["7"])
	}
	for range st.ns.All().RoomCounts() {
		break
	}
}

// Counts over a cluster; one server that does not answer leaves what is known.
func TestCountAllIsOfTheCluster(t *testing.T) {
	p := newPair(t, sio.Options{}, nil)
	p.sockets[1].Join("r")
	p.sockets[0].Join("r", "q")
	eventually(t, "joining", func() bool { return len(p.sockets[1].Rooms()) == 2 && len(p.sockets[0].Rooms()) == 3 })
	for what, x := range map[string]struct {
		b    sio.BroadcastOperator
		want int
	}{
		"everybody":              {p.ns[0].All(), 2},
		"a room":                 {p.ns[0].To("r"), 2},
		"a room of one server":   {p.ns[1].To("q"), 1},
		"a room but another":     {p.ns[1].To("r").Except("q"), 1},
		"an id of another":       {p.ns[0].To(p.sockets[1].ID()), 1},
		"this server alone":      {p.ns[0].All().Local(), 1},
		"nobody":                 {p.ns[0].To(), 0},
		"the others of a socket": {p.sockets[0].Broadcast(), 1},
	} {
		if n, err := x.b.CountAll(within(patience)); err != nil || n != x.want {
			t.Errorf("%s: CountAll = %d, %v, want %d", what, n, err, x.want)
		}
		n := 0
		for page, err := range x.b.Pages(within(patience), 1) {
			if n += len(page); err != nil || len(page) != 1 {
				t.Errorf("%s: a page of %d, %v", what, len(page), err)
			}
		}
		if n != x.want {
			t.Errorf("%s: %d sockets in Pages, want %d", what, n, x.want)
		}
	}
	p.silent = []string{p.servers[1].Node()}
	var missing *rooms.IncompleteError
	if n, err := p.ns[0].All().CountAll(within(patience)); n != 1 || !errors.As(err, &missing) {
		t.Errorf("CountAll with a server that does not answer = %d, %v, want 1 and its name", n, err)
	}
	var last error
	n := 0
	for page, err := range p.ns[0].All().Pages(within(patience), 10) {
		n, last = n+len(page), err
	}
	if n != 1 || !errors.As(last, &missing) {
		t.Errorf("Pages with a server that does not answer have %d, %v, want 1 and its name", n, last)
	}
}

// Sockets' own rooms are left out, whatever the ids look like.
func TestRoomCountsAreWithoutOwnRoomsOfOldClients(t *testing.T) {
	srv := serve(t, old(), func(srv *sio.Server) {
		for _, name := range []string{"/", "/a"} {
			srv.Of(name).OnConnect(func(s sio.Socket) error { s.Join("mine", "/a#mine"); return s.Emit("in") })
		}
	})
	c := srv.joinOld()
	c.expect(`42["in"]`)
	c.send("40/a,")
	c.expect("40/a,", `42/a,["in"]`)
	for _, name := range []string{"/", "/a"} {
		var got []string
		for room := range srv.Of(name).All().RoomCounts() {
			got = append(got, room)
		}
		if slices.Sort(got); !slices.Equal(got, []string{"/a#mine", "mine"}) {
			t.Errorf("the rooms of %s are %q, want those that were joined", name, got)
		}
	}
}
