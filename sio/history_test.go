package sio_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// Who joins a room is sent the last events of it, and then what comes.
func TestJoinReplay(t *testing.T) {
	st := newStage(t, sio.Options{})
	st.ns.KeepHistory(sio.History{Size: 3})
	x := st.enter(0)
	for i := range 5 {
		st.emit(st.ns.To("r"), "e", i)
	}
	st.emit(st.ns.To("r").Volatile(), "volatile")
	st.emit(st.ns, "all")
	st.emit(st.ns.To(x.s.ID()), "direct")
	x.expect(`42["all"]`, `42["direct"]`)
	x.s.JoinReplay([]string{"r"}, 2)
	st.emit(st.ns.To("r"), "e", 5)
	x.expect(`42["e",3]`, `42["e",4]`, `42["e",5]`)
	x.s.JoinReplay([]string{"r"}, 2) // it is in there
	x.s.Leave("r")
	st.emit(st.ns.To("r"), "e", 6) // nobody is in the room
	x.expect()
	x.s.JoinReplay([]string{"r"}, 100)
	st.sim.Turn()
	x.expect(`42["e",4]`, `42["e",5]`, `42["e",6]`)
	h := st.Stats().History
	if h.Rooms != 1 || h.Events != 3 || h.Kept != 7 || h.Replays != 2 || h.Replayed != 5 || h.Bytes < 300 || h.Bytes > 6000 {
		t.Errorf("Stats: %+v", h)
	}
	st.ns.KeepHistory(sio.History{})
	if h := st.Stats().History; h.Rooms+h.Events+h.Bytes != 0 {
		t.Errorf("without history: %+v", h)
	}
	x.s.Leave("r")
	x.s.JoinReplay([]string{"r"}, 100)
	st.emit(st.ns.To("r"), "e", 7)
	x.expect(`42["e",7]`)
}

// emit emits an event and has it delivered.
func (st *stage) emit(to sio.Emitter, event string, args ...any) {
	st.t.Helper()
	if err := to.Emit(event, args...); err != nil {
		st.t.Fatal(err)
	}
	st.sim.Turn()
}

// What was not for a socket it is not sent later; what was for several rooms comes
// once, and what it has had not again.
func TestJoinReplayOfWhatWasMeantForIt(t *testing.T) {
	st := newStage(t, sio.Options{})
	st.ns.KeepHistory(sio.History{Size: 10, Keep: func(event string) bool { return event != "not\"kept" }})
	x, y := st.enter(0), st.enter(0)
	st.emit(x.s.To("r"), "by x")
	st.emit(st.ns.To("r").Except(y.s.ID()), "not for y")
	st.emit(st.ns.To("r").Except("q"), "not for q")
	st.emit(st.ns.To("r", "s"), "for two")
	st.emit(st.ns.To("r"), "not\"kept")
	st.emit(st.ns.To("s"), "for s")
	st.emit(st.ns.To("r", x.s.ID()), "for x and r")
	x.expect(`42["for x and r"]`)
	x.s.Join("q")
	x.s.JoinReplay([]string{"r", "s", "r"}, 10)
	y.s.JoinReplay([]string{"r"}, 10)
	st.sim.Turn()
	x.expect(`42["not for y"]`, `42["for two"]`, `42["for s"]`)
	y.expect(`42["by x"]`, `42["not for q"]`, `42["for two"]`, `42["for x and r"]`)
	y.s.JoinReplay([]string{"s"}, 10) // it is in r, by which it has had one
	st.sim.Turn()
	y.expect(`42["for s"]`)
}

// In a middleware rooms are joined when the socket is admitted, unless they have been
// left meanwhile; what was emitted since is sent, however much that is.
func TestJoinReplayInAMiddleware(t *testing.T) {
	called, admit := make(chan sio.Socket, 1), make(chan error)
	var ns *sio.Namespace
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		ns = srv.Of("/")
		ns.KeepHistory(sio.History{Size: 10})
		ns.Use(func(s sio.Socket) error {
			s.JoinReplay([]string{"r", "left", "q"}, 1)
			s.Join("r")
			s.Leave("left")
			called <- s
			return <-admit
		})
	})
	emit := func(rooms ...string) {
		t.Helper()
		for _, room := range rooms {
			if err := ns.To(room).Emit(room); err != nil {
				t.Fatal(err)
			}
		}
	}
	emit("r", "r", "left")
	for _, refused := range []bool{false, true} {
		c := srv.dial()
		c.send("40")
		s := take(t, called)
		emit("q", "r", "left", "q")
		if got := s.Rooms(); len(got) != 0 {
			t.Errorf("it is in %q before it is admitted", got)
		}
		if refused {
			admit <- &sio.Error{Message: "no"}
			c.expect(`44{"message":"no"}`)
			eventually(t, "forgetting its rooms", func() bool { return srv.Stats().Directory.Rooms == 0 })
			break
		}
		admit <- nil
		c.next()
		emit("left", "r")
		c.expect(`42["r"]`, `42["q"]`, `42["r"]`, `42["q"]`, `42["r"]`)
		s.Disconnect(sio.DisconnectOptions{})
		c.expect("41")
	}
}

// A stay is what a socket was sent of a room, between joining and leaving it.
type stay struct {
	n   int
	own string // was emitted behind joining
	got []string
}

// A visitor is a socket that comes into rooms and goes, and its client.
type visitor struct {
	s      sio.Socket
	c      interface{ next() string }
	visits map[string]*stay
	plan   [][]string // rooms of each
}

// listen reads until the event "end".
func (v *visitor) listen(t *testing.T) {
	rooms := map[string]string{}
	for {
		var args []string
		p := v.c.next()
		if err := json.Unmarshal([]byte(strings.TrimPrefix(p, "42")), &args); err != nil {
			t.Errorf("received %s: %v", p, err)
			return
		}
		switch args[0] {
		case "end":
			return
		case "in":
			rooms[args[2]] = args[1]
		case "out":
			delete(rooms, args[1])
		default:
			x := v.visits[rooms[args[1]]]
			if x == nil {
				t.Errorf("received %s, and is in %v", p, rooms)
				return
			}
			x.got = append(x.got, args[2])
		}
	}
}

// Between what is replayed and what comes live nothing is missing and nothing comes
// twice, and all is in the order in which everybody else gets it, whatever loops and
// goroutines do.
func TestJoinReplayIsExact(t *testing.T) {
	for name, o := range map[string]sio.Options{
		"alone":         {},
		"with recovery": {Recovery: sio.Recovery{Window: time.Minute}},
	} {
		t.Run(name, func(t *testing.T) { joinReplayIsExact(t, o) })
	}
}

func joinReplayIsExact(t *testing.T, o sio.Options) {
	const visitors, emitters, all = 8, 3, 200
	visits := 200
	if testing.Short() || raceEnabled {
		visits = 30
	}
	var ns *sio.Namespace
	var joined chan sio.Socket
	o.Loop.Loops = 4
	o.PingInterval = time.Hour // the clients take pings for events
	srv := serve(t, o, func(srv *sio.Server) {
		ns = srv.Of("/")
		joined = sockets(ns)
		ns.KeepHistory(sio.History{Size: all})
	})
	rooms := []string{"a", "b", "c"}
	var people []*visitor
	for i := range visitors {
		v := &visitor{visits: map[string]*stay{}}
		if i%3 == 2 {
			p := srv.poll()
			p.send("40")
			p.next()
			v.c = p
		} else {
			c := srv.dial()
			c.send("40")
			c.next()
			v.c = c
		}
		v.s = take(t, joined)
		people = append(people, v)
	}
	witness := &visitor{visits: map[string]*stay{}, c: people[0].c, s: people[0].s}
	for _, room := range rooms {
		witness.visits[room] = &stay{}
		must(t, witness.s.Emit("in", room, room))
	}
	witness.s.Join(rooms...)
	people[0] = witness

	stop := make(chan struct{})
	var emitting, visiting, listening sync.WaitGroup
	emit := func(room, what string) {
		if err := ns.To(room).Emit("e", room, what); err != nil {
			t.Error(err)
		}
	}
	for e := range emitters {
		emitting.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				emit(rooms[rand.IntN(len(rooms))], fmt.Sprintf("%d-%d", e, i))
				if i%8 == 0 {
					time.Sleep(time.Microsecond)
				}
			}
		})
	}
	for i, v := range people {
		if i > 0 {
			for k := range visits {
				some, n := slices.Clone(rooms), []int{1, 3, 30, all}[rand.IntN(4)]
				rand.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
				v.plan = append(v.plan, some[:1+rand.IntN(len(some))])
				for _, room := range v.plan[k] {
					v.visits[fmt.Sprint(k, room)] = &stay{n: n, own: fmt.Sprintf("own %d-%d", i, k)}
				}
			}
			visiting.Go(func() { v.come(t, emit) })
		}
		listening.Go(func() { v.listen(t) })
	}
	visiting.Wait()
	close(stop)
	emitting.Wait()
	must(t, ns.Emit("end"))
	listening.Wait()
	for _, v := range people[1:] {
		for name, x := range v.visits {
			x.check(t, v.s.ID()+" "+name, witness.visits[name[len(name)-1:]].got)
		}
	}
	st := srv.Stats()
	if st.Directory.Rooms != len(rooms) || st.History.Shortened != 0 {
		t.Errorf("%d rooms, %+v", st.Directory.Rooms, st.History)
	}
}

// come comes and goes.
func (v *visitor) come(t *testing.T, emit func(room, what string)) {
	for k, some := range v.plan {
		x := v.visits[fmt.Sprint(k, some[0])]
		for _, room := range some {
			must(t, v.s.Emit("in", fmt.Sprint(k, room), room))
		}
		v.s.JoinReplay(some, x.n)
		for _, room := range some {
			emit(room, x.own)
		}
		time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
		v.s.Leave(some...)
		for _, room := range some {
			must(t, v.s.Emit("out", room))
		}
	}
}

// check tells whether what was received is a piece of all that was emitted to a room.
func (x *stay) check(t *testing.T, name string, all []string) {
	t.Helper()
	if len(x.got) == 0 || !slices.Contains(x.got, x.own) {
		t.Errorf("%s: received %q, want %q among it", name, x.got, x.own)
		return
	}
	at, own := slices.Index(all, x.got[0]), slices.Index(x.got, x.own)
	if at < 0 || at+len(x.got) > len(all) || !slices.Equal(x.got, all[at:at+len(x.got)]) {
		t.Errorf("%s: received\n%q, want a piece of\n%q", name, x.got, all)
	}
	if at > 0 && own < x.n {
		t.Errorf("%s: of %d that were asked for, %d came before what was emitted next", name, x.n, own)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}
