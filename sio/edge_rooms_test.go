package sio_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/sioedge/sioedge/sio"
)

// A party is a namespace with clients a, b, c … on several loops.
type party struct {
	*server
	t       testing.TB
	ns      *sio.Namespace
	clients []*client
	sockets []sio.Socket
}

func newParty(t testing.TB, n int) *party {
	t.Helper()
	p := &party{t: t}
	var joined chan sio.Socket
	p.server = serve(t, sio.Options{KeepHandshake: sio.KeepAlways, Loop: loops(3)}, func(srv *sio.Server) {
		p.ns = srv.Of("/")
		echo(p.ns)
		joined = sockets(p.ns)
	})
	for range n {
		p.clients = append(p.clients, p.join("40"))
		p.sockets = append(p.sockets, take(t, joined))
	}
	return p
}

// reaches asserts who gets an event once, and that nobody else gets it.
func (p *party) reaches(to sio.Emitter, want string) {
	p.t.Helper()
	if err := to.Emit("x"); err != nil {
		p.t.Fatal(err)
	}
	if err := p.ns.Emit("end"); err != nil {
		p.t.Fatal(err)
	}
	got := ""
	for i, c := range p.clients {
		for packet := c.next(); packet != `42["end"]`; packet = c.next() {
			got += string(rune('a' + i))
		}
	}
	if got != want {
		p.t.Errorf("it reached %q, want %q", got, want)
	}
}

func TestEdge39ASocketsOwnRoom(t *testing.T) {
	p := newParty(t, 3)
	a, b := p.sockets[0], p.sockets[1]
	p.reaches(p.ns.To(b.ID()), "b")
	p.reaches(p.ns.To(b.ID(), b.ID(), a.ID()), "ab")
	b.Join(b.ID())
	b.Leave(b.ID()) // it stays: a private message can rely on it
	p.ns.All().Leave(a.ID(), b.ID())
	p.reaches(p.ns.To(b.ID()), "b")
	a.Join(b.ID()) // a room of that name
	p.reaches(p.ns.To(b.ID()), "ab")
	p.reaches(p.ns.Except(b.ID()), "c")
	a.Leave(b.ID())
	p.reaches(p.ns.Except(b.ID()), "ac")
}

func TestEdge40TheSenderIsLeftOut(t *testing.T) {
	p := newParty(t, 4)
	a := p.sockets[0]
	for _, s := range p.sockets[:3] {
		s.Join("r")
	}
	p.reaches(a.Broadcast(), "bcd")
	p.reaches(a.To("r"), "bc")
	p.reaches(a.To("r").To(a.ID()), "bc")
	p.reaches(a.To(a.ID()), "")
	p.reaches(a.Except("r"), "d")
	p.reaches(a, "a")
	p.reaches(a.Volatile(), "a")
	p.reaches(a.Volatile().To("r"), "bc")
	p.reaches(a.Self(), "a")
	p.reaches(a.Volatile().Except("none"), "a") // it stays the client itself
	p.reaches(a.Compress(false).Except("none"), "a")
	p.reaches(a.Self().Except("r"), "")
	p.reaches(a.Volatile().Except(a.ID()), "")
	p.reaches(a.Volatile().Except("r").To("r"), "") // all of r are left out
	p.reaches(p.ns.To("r").To(a.ID()), "abc")
	p.reaches(p.ns, "abcd")
}

func TestEdge41ExceptAndDuplicates(t *testing.T) {
	p := newParty(t, 4)
	for i, rooms := range [][]string{{"r"}, {"r", "q"}, {"q"}, nil} {
		p.sockets[i].Join(rooms...)
	}
	p.reaches(p.ns.To("r", "q"), "abc")
	p.reaches(p.ns.To("r").To("q").To("r"), "abc")
	p.reaches(p.ns.To("r", "q").Except("q"), "a")
	p.reaches(p.ns.To("r").Except("q").Except(p.sockets[0].ID()), "")
	p.reaches(p.ns.Except("q"), "ad")
	p.reaches(p.ns.Except("q", "none"), "ad")
	p.reaches(p.ns.To("none"), "")
	p.reaches(p.ns.To("none", "q"), "bc")
	p.reaches(p.ns.To(), "")
}

// An operator that was narrowed to nothing, by an empty list, is nobody's, whatever
// it is asked to do, here and on other servers.
func TestNarrowedToNothing(t *testing.T) {
	p := newPair(t, sio.Options{}, nil)
	var none []string
	for name, to := range map[string]sio.BroadcastOperator{
		"Namespace.To": p.ns[0].To(none...), "Socket.To": p.sockets[0].To(none...), "To, twice": p.ns[0].To().To(),
		"To, but for a room": p.ns[0].To().Except("r"), "Instance.To": p.ns[0].Instance("/").To(none...),
	} {
		if err := to.Emit("x"); err != nil {
			t.Error(err)
		}
		if answers, err := to.EmitAck(within(patience), "x"); len(answers) != 0 || err != nil {
			t.Errorf("%s: EmitAck = %v, %v, want nothing", name, answers, err)
		}
		to.Join("joined")
		to.Leave("r")
		to.Disconnect(sio.DisconnectOptions{Conn: true})
		if all, err := to.FetchSockets(within(patience)); len(all)+len(to.Sockets()) != 0 || err != nil {
			t.Errorf("%s: FetchSockets = %v, %v, want nobody", name, all, err)
		}
	}
	for i, c := range p.clients {
		c.quiet("")
		if rooms := p.sockets[i].Rooms(); len(rooms) != 1 {
			t.Errorf("the socket is in %q, want its own room alone", rooms)
		}
	}
	if err := p.ns[0].To().To(p.sockets[1].ID()).Emit("x"); err != nil {
		t.Error(err)
	}
	p.clients[1].expect(`42["x"]`)
}

// Operators are values: deriving does not change what they are derived from.
func TestOperatorsAreImmutable(t *testing.T) {
	p := newParty(t, 4)
	for i, room := range []string{"a", "b", "c"} {
		p.sockets[i].Join(room)
	}
	base := p.ns.To("a")
	one, two := base.To("b"), base.To("c")
	without, volatile := one.Except("a"), base.Volatile()
	p.reaches(one, "ab")
	p.reaches(two, "ac")
	p.reaches(without, "b")
	p.reaches(one.Except("b"), "a")
	p.reaches(volatile, "a")
	p.reaches(base, "a")
	rooms := []string{"a", "b"}
	op := p.ns.To(rooms...)
	rooms[0] = "c"
	p.reaches(op, "ab")
	// Many at once, from what is shared.
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 200 {
				op := base.To(fmt.Sprint(i)).Except("x")
				if err := op.Emit("n", i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for range 1600 {
		p.clients[0].next()
	}
	p.reaches(base, "a")
}

func TestEdge42NamesOfRooms(t *testing.T) {
	p := newParty(t, 2)
	names := []string{"", " ", "a b", "räume 部屋 😀", "x,y", `"`, "/", "\x00", "42", "__proto__"}
	p.sockets[0].Join(names...)
	for _, name := range names {
		p.reaches(p.ns.To(name), "a")
	}
	if got, want := p.sockets[0].Rooms(), append([]string{p.sockets[0].ID()}, names...); !slices.Equal(got, want) {
		t.Errorf("Rooms() = %q, want %q", got, want)
	}
}

func TestEdge43RoomsBelongToTheirNamespace(t *testing.T) {
	p := newParty(t, 1)
	other := p.Of("/other")
	joined := sockets(other)
	p.clients[0].join("40/other,")
	s := take(t, joined)
	s.Join("r")
	p.reaches(p.ns.To("r"), "")
	p.reaches(p.ns.To(s.ID()), "") // an id of another namespace
	if got := len(other.To("r").Sockets()); got != 1 {
		t.Errorf("%d sockets are in the room, want 1", got)
	}
	if got := len(p.ns.To(s.ID()).Sockets()); got != 0 {
		t.Errorf("%d sockets are in the room, want none", got)
	}
}

func TestEdge44JoiningTwice(t *testing.T) {
	p := newParty(t, 2)
	a := p.sockets[0]
	a.Join("r", "q", "r")
	a.Join("r")
	a.Join()
	if got, want := a.Rooms(), []string{a.ID(), "r", "q"}; !slices.Equal(got, want) {
		t.Errorf("Rooms() = %v, want %v", got, want)
	}
	p.reaches(p.ns.To("r"), "a")
	a.Leave("unknown", "r")
	a.Leave("r")
	p.reaches(p.ns.To("r"), "")
	if got, want := a.Rooms(), []string{a.ID(), "q"}; !slices.Equal(got, want) {
		t.Errorf("Rooms() = %v, want %v", got, want)
	}
}

// Joining, leaving and disconnecting many, seen at once by who asked for it.
func TestManyAtOnce(t *testing.T) {
	p := newParty(t, 5)
	for i, s := range p.sockets {
		s.Join([]string{"even", "odd"}[i%2])
	}
	for range 50 {
		p.ns.To("even").Join("new", "other")
		p.reaches(p.ns.To("new"), "ace")
		p.sockets[0].To("even").Leave("new")
		p.reaches(p.ns.To("new"), "a")
		p.ns.All().Leave("new", "other")
		p.reaches(p.ns.To("new", "other"), "")
	}
	found := p.ns.To("odd").Sockets()
	if len(found) != 2 || !slices.Contains(found, p.sockets[1]) || !slices.Contains(found, p.sockets[3]) {
		t.Errorf("Sockets() = %v, want b and d", found)
	}
	if n := len(p.sockets[1].To("odd").Sockets()); n != 1 {
		t.Errorf("Sockets() of others = %d, want 1", n)
	}
	p.ns.To("odd").Disconnect(sio.DisconnectOptions{})
	if err := p.ns.Emit("after"); err != nil {
		t.Fatal(err)
	}
	p.clients[1].expect("41")
	p.clients[0].expect(`42["after"]`)
	p.clients[1].join("40")
	p.ns.To("even").Disconnect(sio.DisconnectOptions{Conn: true})
	for _, i := range []int{0, 2, 4} {
		if i != 0 {
			p.clients[i].expect(`42["after"]`)
		}
		p.clients[i].ended("41", "close -")
	}
}

// What a goroutine does with rooms is seen by what it emits next.
func TestRoomsReadYourWrites(t *testing.T) {
	p := newParty(t, 3)
	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	run := func(worker int, s sio.Socket, c *client) {
		for i := range rounds {
			room := fmt.Sprintf("w%d-%d", worker, i%3)
			s.Join(room)
			if i%10 == 0 && !slices.Contains(s.Rooms(), room) {
				t.Errorf("Rooms() lacks %s just joined", room)
			}
			if err := p.ns.To(room).Emit("n", i); err != nil {
				t.Error(err)
			}
			s.Leave(room)
			if i%10 == 0 && slices.Contains(s.Rooms(), room) {
				t.Errorf("Rooms() has %s just left", room)
			}
			if err := p.ns.To(room).Emit("lost", i); err != nil {
				t.Error(err)
			}
		}
	}
	var wg sync.WaitGroup
	for w := range p.sockets {
		wg.Go(func() { run(w, p.sockets[w], p.clients[w]) })
		wg.Go(func() {
			for i := range rounds {
				if got, want := p.clients[w].next(), fmt.Sprintf(`42["n",%d]`, i); got != want {
					t.Errorf("client %d received %s, want %s", w, got, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

// Several goroutines on one room and one socket: it must not be forgotten that
// somebody is in it.
func TestRoomsManyWriters(t *testing.T) {
	p := newParty(t, 4)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			s := p.sockets[w]
			for range 1000 {
				s.Join("shared")
				s.Leave("shared")
			}
			s.Join("shared")
		})
	}
	wg.Wait()
	p.reaches(p.ns.To("shared"), "abcd")
}

// A broadcast in OnDisconnecting, and one in OnDisconnect.
func TestEdge45BroadcastsOfWhoLeaves(t *testing.T) {
	var joined chan sio.Socket
	done := make(chan struct{}, 1)
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		echo(ns)
		joined = sockets(ns)
		ns.OnDisconnecting(func(s sio.Socket, _ sio.Reason) {
			if got := s.Rooms(); !slices.Equal(got, []string{s.ID(), "r", "q"}) && s.Data() == "a" {
				t.Errorf("in OnDisconnecting Rooms() = %v, want its id, r, q", got)
			}
			for _, room := range s.Rooms()[1:] {
				if err := s.To(room).Emit("leaving", room); err != nil {
					t.Error(err)
				}
			}
		})
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) {
			if got := s.Rooms(); len(got) > 0 {
				t.Errorf("in OnDisconnect Rooms() = %v, want none", got)
			}
			if n := len(ns.To("q").Sockets()); n > 0 {
				t.Errorf("in OnDisconnect %d sockets are in its room, want none", n)
			}
			if err := s.To("r").Emit("left"); err != nil {
				t.Error(err)
			}
			done <- struct{}{}
		})
	})
	a, b := srv.join("40"), srv.join("40")
	s := take(t, joined)
	s.SetData("a")
	s.Join("r", "q")
	take(t, joined).Join("r")
	a.send("41")
	take(t, done)
	b.expect(`42["leaving","r"]`, `42["left"]`)
}

// Joining after the end brings no room to life.
func TestEdge47JoiningTooLate(t *testing.T) {
	var joined chan sio.Socket
	during := make(chan sio.Socket)
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		joined = sockets(srv.Of("/"))
		srv.Of("/").OnDisconnecting(func(s sio.Socket, _ sio.Reason) {
			s.Join("late") // as in Node, it is in this one until the handlers have returned
			if got := s.Rooms(); !slices.Contains(got, "late") {
				t.Errorf("in OnDisconnecting Rooms() = %v, want the new one", got)
			}
		})
		srv.Of("/").OnDisconnect(func(s sio.Socket, _ sio.Reason) { s.Join("later"); during <- s })
	})
	c := srv.join("40")
	s := take(t, joined)
	c.send("41")
	take(t, during)
	s.Join("too late")
	srv.Of("/").To("late", "later", "too late").Sockets()
	if n := srv.Held()["rooms"]; n > 0 {
		t.Errorf("%d rooms are held, want none", n)
	}
}

// A broadcast and direct messages to one of its recipients keep their order.
func TestEdge48OrderOfDirectAndBroadcast(t *testing.T) {
	p := newParty(t, 3)
	p.sockets[1].Join("r")
	const n = 1000
	for i := range n {
		to := []sio.Emitter{p.sockets[1], p.ns, p.ns.To("r"), p.ns.To(p.sockets[1].ID()), p.sockets[0].Broadcast(), p.ns.To("r").Except("x")}
		if err := to[i%len(to)].Emit("n", i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		p.clients[1].expect(fmt.Sprintf(`42["n",%d]`, i))
	}
}
