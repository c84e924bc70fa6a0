package sio_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/sioedge/sioedge/sio"
)

// roomNews registers functions of rooms that report what they are told.
func roomNews(ns *sio.Namespace) chan string {
	news := make(chan string, 1<<16)
	ns.OnJoin(func(s sio.Socket, room string) { news <- fmt.Sprint("join ", room, " ", s.Data()) })
	ns.OnLeave(func(s sio.Socket, room string) { news <- fmt.Sprint("leave ", room, " ", s.Data()) })
	ns.OnRoomCreated(func(in, room string) { news <- "created " + in + " " + room })
	ns.OnRoomDeleted(func(in, room string) { news <- "deleted " + in + " " + room })
	return news
}

func wantNews(t *testing.T, news chan string, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := take(t, news); got != w {
			t.Fatalf("%q is told, want %q", got, w)
		}
	}
	if len(news) > 0 {
		t.Fatalf("%q is told, want nothing more", take(t, news))
	}
}

// enter joins a namespace with a name in the auth.
func (c *client) enter(namespace, name string) {
	c.t.Helper()
	c.send(fmt.Sprintf(`40%s,{"name":%q}`, namespace, name))
	c.expect("40" + namespace + `,{"sid":"$sid"}`)
}

func TestRoomsAreToldOfInOrderAndInPairs(t *testing.T) {
	var news chan string
	var joined chan sio.Socket
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/rooms/:id")
		news, joined = roomNews(ns), sockets(ns)
		ns.Use(func(s sio.Socket) error {
			var who struct{ Name string }
			_ = s.Auth(&who)
			s.SetData(who.Name)
			s.Join("hall")
			if who.Name == "refused" {
				return errors.New("no")
			}
			return nil
		})
		ns.OnDisconnecting(func(s sio.Socket, _ sio.Reason) {
			news <- fmt.Sprint("disconnecting ", s.Data(), len(s.Rooms()))
			s.Join("last")
		})
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { news <- fmt.Sprint("disconnect ", s.Data()) })
	})
	refused := srv.dial()
	refused.send(`40/rooms/1,{"name":"refused"}`)
	refused.expect(`44/rooms/1,{"message":"internal error"}`)

	a := srv.dial()
	a.enter("/rooms/1", "a")
	s := take(t, joined)
	wantNews(t, news, "created /rooms/1 hall", "join hall a")
	s.Join("x", "hall", s.ID(), "y", "x")
	s.Leave("y", "z", s.ID())
	s.Rooms()
	wantNews(t, news, "created /rooms/1 x", "join x a", "created /rooms/1 y", "join y a", "leave y a", "deleted /rooms/1 y")

	b := srv.dial()
	b.enter("/rooms/1", "b")
	sb := take(t, joined)
	wantNews(t, news, "join hall b")
	srv.Of("/rooms/:id").Instance("/rooms/1").Join("x")
	sb.Rooms()
	wantNews(t, news, "join x b")

	c := srv.dial()
	c.enter("/rooms/2", "c")
	take(t, joined)
	wantNews(t, news, "created /rooms/2 hall", "join hall c")

	a.send("41/rooms/1,")
	wantSlowNews(t, news, "disconnecting a3", "leave hall a", "leave x a", "created /rooms/1 last", "join last a", "leave last a", "deleted /rooms/1 last", "disconnect a")
	b.conn.Close()
	wantSlowNews(t, news, "disconnecting b3", "leave hall b", "deleted /rooms/1 hall", "leave x b", "deleted /rooms/1 x", "created /rooms/1 last", "join last b", "leave last b", "deleted /rooms/1 last", "disconnect b")
	c.conn.Close()
	wantSlowNews(t, news, "disconnecting c2", "leave hall c", "deleted /rooms/2 hall", "created /rooms/2 last", "join last c", "leave last c", "deleted /rooms/2 last", "disconnect c")
}

// wantSlowNews compares without the order of rooms: "last" is joined before the others
// are left.
func wantSlowNews(t *testing.T, news chan string, want ...string) {
	t.Helper()
	left := map[string]int{}
	for _, w := range want {
		left[w]++
	}
	var got []string
	for range want {
		n := take(t, news)
		got = append(got, n)
		if left[n]--; left[n] < 0 {
			t.Fatalf("%q is told, want %q", got, want)
		}
	}
	if got[0] != want[0] || got[len(got)-1] != want[len(want)-1] {
		t.Fatalf("%q is told, want it to begin and end as %q", got, want)
	}
}

// A client that comes back within the window can be told from one that is new, and
// one that may come back from one that has left for good.
func TestAFlapCanBeTold(t *testing.T) {
	type news struct {
		what, id             string
		recovered, mayReturn bool
	}
	told := make(chan news, 64)
	var joined chan sio.Socket
	_, connect, _ := recoverers(t, sio.Options{}, func(ns *sio.Namespace) {
		joined = sockets(ns)
		tell := func(what string) func(s sio.Socket, room string) {
			return func(s sio.Socket, room string) {
				told <- news{what + room, s.ID(), s.Recovered(), s.Recoverable()}
			}
		}
		ns.OnJoin(tell("join "))
		ns.OnLeave(tell("leave "))
	})
	wants := func(want ...news) {
		t.Helper()
		for _, w := range want {
			if got := take(t, told); got != w {
				t.Fatalf("%+v is told, want %+v", got, w)
			}
		}
	}
	r := connect()
	s := take(t, joined)
	s.Join("a", "b")
	id := s.ID()
	wants(news{"join a", id, false, false}, news{"join b", id, false, false})
	r.cut()
	wants(news{"leave a", id, false, true}, news{"leave b", id, false, true})
	eventually(t, "the end of the socket", s.Gone)
	eventually(t, "that what was kept of it is forgotten", func() bool { return !s.Recoverable() })
	r.connect()
	take(t, joined)
	wants(news{"join a", id, true, false}, news{"join b", id, true, false})
	r.send("41")
	wants(news{"leave a", id, true, false}, news{"leave b", id, true, false})
}

// Whoever joins and leaves what, on however many loops: for each room, created and
// deleted take turns, and between them it has as many sockets as it is told.
func TestRoomsAreToldOfInOrderUnderLoad(t *testing.T) {
	var mu sync.Mutex
	members, open := map[string]map[sio.Socket]bool{}, map[string]bool{}
	check := func(ok bool, format string, args ...any) {
		if !ok {
			t.Errorf(format, args...)
		}
	}
	events := 0
	var joined chan sio.Socket
	srv := serve(t, sio.Options{Loop: loops(4)}, func(srv *sio.Server) {
		ns := srv.Of("/")
		joined = sockets(ns)
		locked := func(f func()) { mu.Lock(); defer mu.Unlock(); events++; f() }
		ns.OnRoomCreated(func(_, room string) {
			locked(func() {
				check(!open[room], "%s is created twice", room)
				open[room] = true
				members[room] = map[sio.Socket]bool{}
			})
		})
		ns.OnJoin(func(s sio.Socket, room string) {
			locked(func() {
				check(open[room] && !members[room][s], "%s is joined twice, or before it is there", room)
				members[room][s] = true
			})
		})
		ns.OnLeave(func(s sio.Socket, room string) {
			locked(func() { check(members[room][s], "%s is left by who was not in it", room); delete(members[room], s) })
		})
		ns.OnRoomDeleted(func(_, room string) {
			locked(func() {
				check(open[room] && len(members[room]) == 0, "%s is deleted with %d sockets in it", room, len(members[room]))
				open[room] = false
			})
		})
	})
	var clients []*client
	var all []sio.Socket
	for range 16 {
		clients = append(clients, srv.join("40"))
		all = append(all, take(t, joined))
	}
	var done sync.WaitGroup
	for g := range 4 {
		done.Add(1)
		go func() { // ends when it has done its part
			defer done.Done()
			rnd := rand.New(rand.NewPCG(uint64(g), 1))
			for range 500 {
				room := fmt.Sprint("room ", rnd.IntN(5))
				switch s := all[rnd.IntN(len(all))]; rnd.IntN(8) {
				case 0:
					srv.Of("/").To(room).Leave(room)
				case 1:
					srv.Of("/").To(room).Join(fmt.Sprint("room ", rnd.IntN(5)))
				case 2, 3, 4:
					s.Leave(room)
				default:
					s.Join(room)
				}
			}
		}()
	}
	done.Wait()
	for i, c := range clients {
		if i%2 == 0 {
			c.conn.Close()
		} else {
			c.send("41")
		}
	}
	eventually(t, "the end of all rooms", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, is := range open {
			if is {
				return false
			}
		}
		return srv.Of("/").Count() == 0 && len(open) == 5
	})
	t.Logf("%d events", events)
}

// Functions that panic or end their goroutine hold up nothing.
func TestFunctionsOfRoomsMayFail(t *testing.T) {
	told := make(chan string, 16)
	var joined chan sio.Socket
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		joined = sockets(ns)
		ns.OnJoin(func(_ sio.Socket, room string) {
			switch room {
			case "panic":
				panic("mine")
			case "exit":
				runtime.Goexit()
			}
			told <- "join " + room
		})
		ns.OnLeave(func(_ sio.Socket, room string) {
			told <- "leave " + room
			if room == "exit" {
				runtime.Goexit()
			}
		})
		ns.OnDisconnect(func(sio.Socket, sio.Reason) { told <- "disconnect" })
	})
	c := srv.join("40")
	take(t, joined).Join("panic", "exit", "fine")
	wantNews(t, told, "join fine")
	if a, b := take(t, srv.log.new), take(t, srv.log.new); !strings.HasPrefix(a, "join: sio: panic: mine") || !strings.Contains(b, "Goexit") {
		t.Errorf("OnError is told %q and %q", a, b)
	}
	c.send("41")
	for _, want := range []string{"leave panic", "leave exit", "leave fine", "disconnect"} {
		if got := take(t, told); got != want {
			t.Fatalf("%s is told, want %s", got, want)
		}
	}
}

// What waits for functions that block is bounded: the client whose socket joins is not
// read from, and beyond the bound of all nothing is joined.
func TestWhatWaitsForFunctionsOfRoomsIsBounded(t *testing.T) {
	goOn := make(chan struct{})
	var joined chan sio.Socket
	o := sio.Options{MaxLeftBehind: 1 << 20, MaxRooms: 60_000}
	srv := serve(t, o, func(srv *sio.Server) {
		ns := srv.Of("/")
		joined = sockets(ns)
		ns.OnJoin(func(sio.Socket, string) { <-goOn })
	})
	c := srv.join("40")
	s := take(t, joined)
	for i := range 20_000 {
		s.Join(fmt.Sprint("room ", i))
	}
	if n := len(s.Rooms()); n >= 20_000 || n < 1000 {
		t.Errorf("%d rooms were joined, want some, and not all", n)
	}
	if line := take(t, srv.log.new); line != "join: "+sio.ErrOverloaded.Error() {
		t.Errorf("OnError is told %q", line)
	}
	if err := s.JoinWait(within(patience), "one more"); !errors.Is(err, sio.ErrOverloaded) {
		t.Errorf("JoinWait = %v, want %v", err, sio.ErrOverloaded)
	}
	d := srv.dial()
	d.send("40")
	d.expect(`44{"message":"server is overloaded"}`)
	if st := srv.Stats(); st.Drops.Jammed < st.Drops.Rooms+1 || st.Drops.Rooms == 0 || st.Backlog.Moves <= 1<<20 {
		t.Errorf("Stats() has %+v and %+v, want the rooms and the namespace that were refused, and what waits", st.Drops, st.Backlog)
	}
	close(goOn)
	eventually(t, "that rooms can be joined", func() bool { return s.JoinWait(within(patience), "again") == nil })
	c.conn.Close()
}

func TestShutdownTellsOfRoomsThatAreLeft(t *testing.T) {
	var news chan string
	var joined chan sio.Socket
	srv := serve(t, sio.Options{}, func(srv *sio.Server) { news, joined = roomNews(srv.Of("/")), sockets(srv.Of("/")) })
	srv.join("40")
	s := take(t, joined)
	s.SetData("s")
	s.Join("a")
	wantNews(t, news, "created / a", "join a s")
	if err := srv.Shutdown(within(patience)); err != nil {
		t.Fatal(err)
	}
	wantNews(t, news, "leave a s", "deleted / a")
}

// Without functions of rooms, nothing is kept for them.
func TestRoomsWithoutFunctionsCostNothing(t *testing.T) {
	st := newStage(t, sio.Options{})
	x := st.enter(0)
	join := func() {
		x.s.Join("a")
		x.s.Leave("a")
		st.sim.Turn()
	}
	join()
	without := testing.AllocsPerRun(100, join)
	told := make(chan bool, 1<<10)
	st.ns.OnJoin(func(sio.Socket, string) { told <- true })
	if with := testing.AllocsPerRun(100, join); with <= without {
		t.Errorf("%.0f allocations without functions, %.0f with", without, with)
	}
	for range 101 {
		take(t, told)
	}
}

// Functions that are added while there are sockets are told of their rooms, and then
// of what happens, in pairs.
func TestFunctionsOfRoomsMayComeLate(t *testing.T) {
	var joined chan sio.Socket
	srv := serve(t, sio.Options{}, func(srv *sio.Server) { joined = sockets(srv.Of("/rooms/:id")) })
	a, b := srv.dial(), srv.dial()
	a.enter("/rooms/1", "a")
	sa := take(t, joined)
	sa.SetData("a")
	sa.Join("x")
	sa.Rooms()
	told := make(chan string, 4)
	srv.Of("/rooms/:id").OnJoin(func(s sio.Socket, room string) { told <- fmt.Sprint(room, " ", s.Data()) })
	wantNews(t, told, "x a")
	news := roomNews(srv.Of("/rooms/:id"))
	b.enter("/rooms/1", "b")
	sb := take(t, joined)
	sb.SetData("b")
	sb.Join("x")
	wantNews(t, news, "join x b")
	sa.Leave("x")
	wantNews(t, news, "leave x a")
	a.send("41/rooms/1,")
	eventually(t, "the end of the socket", sa.Gone)
	late := make(chan string, 4)
	srv.Of("/rooms/:id").OnRoomDeleted(func(_, room string) { late <- room })
	sb.Leave("x")
	wantNews(t, news, "leave x b", "deleted /rooms/1 x")
	wantNews(t, late, "x")
}

// One that ends its goroutine keeps none of the others from being called.
func TestFunctionsOfRoomsMayExit(t *testing.T) {
	var joined chan sio.Socket
	var news chan string
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		exit := func(sio.Socket, string) { runtime.Goexit() }
		ns.OnJoin(exit)
		ns.OnLeave(exit)
		ns.OnRoomCreated(func(string, string) { runtime.Goexit() })
		ns.OnRoomDeleted(func(string, string) { runtime.Goexit() })
		joined, news = sockets(ns), roomNews(ns)
	})
	srv.join("40")
	s := take(t, joined)
	s.SetData("s")
	s.Join("a", "b")
	s.Leave("a")
	wantNews(t, news, "created / a", "join a s", "created / b", "join b s", "leave a s", "deleted / a")
}
