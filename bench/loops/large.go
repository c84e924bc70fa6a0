package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
)

// A sim is a server on simulated loops, and its clients.
type sim struct {
	*loop.Sim
	srv     *sio.Server
	ns      *sio.Namespace
	loops   int
	peers   []*loop.Peer
	sockets []sio.Socket
}

func newSim(loops, clients, instances int) (*sim, error) {
	srv, s, err := sio.NewSim(sio.Options{MaxInstances: instances, Engine: eio.Options{MaxSessions: clients + 1}, Loop: loop.Options{Loops: loops}})
	if err != nil {
		return nil, err
	}
	x := &sim{Sim: s, srv: srv, ns: srv.Of("/"), loops: loops}
	x.ns.HandleInline("here", func(s sio.Socket, m *sio.Msg) error {
		x.sockets = append(x.sockets, s)
		return nil
	})
	x.ns.HandleInline("echo", func(_ sio.Socket, m *sio.Msg) error { return m.Ack() })
	return x, nil
}

const opening = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// enter connects a client, whose messages are counted and not kept.
func (x *sim) enter() *loop.Peer {
	p := x.Connect(len(x.peers) % x.loops)
	p.Discard(true)
	x.peers = append(x.peers, p)
	p.Send([]byte(opening)) // what is sent is unmasked where it lies
	p.Send(packet("40"))
	p.Send(packet(`42["here"]`))
	return p
}

func (x *sim) enterAll(n int) error {
	for range n {
		x.enter()
	}
	if len(x.sockets) != n {
		return fmt.Errorf("%d of %d clients have come", len(x.sockets), n)
	}
	return nil
}

// A cost is what was done, in CPU and live heap.
type cost struct {
	cpu   time.Duration
	bytes int64
}

// takes returns what f takes.
func takes(f func() error) (c cost, err error) {
	before, start := heap(), ofProcess()
	err = f()
	c.cpu = ofProcess().minus(start).cpu
	c.bytes = heap() - before
	return c, err
}

func heap() int64 {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A turning calls Turn now and then.
type turning struct {
	x *sim
	n int
}

// next is called behind each thing that is done.
func (t *turning) next() {
	if t.n++; t.n%64 == 0 {
		t.x.Turn()
	}
}

// sizes are how many members each room has.
var sizes = []struct {
	name string
	of   func(room int) int
}{
	{"1 member", func(int) int { return 1 }},
	{"1 to 10 members", func(room int) int { return 1 + room%10 }},
	{"10 members", func(int) int { return 10 }},
}

func manyRooms(w io.Writer, s settings) error {
	fmt.Fprintf(w, "\nsimulated loops, 2 of them: %d rooms, of %d sessions\n", s.rooms, s.sessions)
	for _, size := range sizes {
		if err := roomsOf(w, s, size.name, size.of); err != nil {
			return fmt.Errorf("%s: %w", size.name, err)
		}
	}
	return nil
}

// roomsOf has rooms joined, emitted to and left.
func roomsOf(w io.Writer, s settings, name string, size func(room int) int) error {
	x, err := newSim(2, s.sessions, 0)
	if err == nil {
		err = x.enterAll(s.sessions)
	}
	if err != nil {
		return err
	}
	t, members := turning{x: x}, 0
	each := func(f func(s sio.Socket, room string)) {
		members = 0
		for i := range s.rooms {
			room := fmt.Sprint("room-", i)
			for k := range size(i) {
				f(x.sockets[(i*7+k*13)%len(x.sockets)], room)
				members++
				t.next()
			}
		}
		x.Turn()
	}
	joined, _ := takes(func() error { each(func(s sio.Socket, room string) { s.Join(room) }); return nil })
	if st := x.srv.Stats(); st.Directory.Rooms != s.rooms || st.Rooms.Memberships != members {
		return fmt.Errorf("%d rooms and %d memberships, want %d and %d", st.Directory.Rooms, st.Rooms.Memberships, s.rooms, members)
	}
	visited := x.srv.Stats().Rooms.Visited
	emitted, err := takes(func() error {
		for i := range s.rooms {
			if err := x.ns.To(fmt.Sprint("room-", i)).Emit("msg", text); err != nil {
				return err
			}
			t.next()
		}
		x.Turn()
		return nil
	})
	if err != nil {
		return err
	}
	if n := x.srv.Stats().Rooms.Visited - visited; n != uint64(members) {
		return fmt.Errorf("%d deliveries, want %d", n, members)
	}
	left, _ := takes(func() error { each(func(s sio.Socket, room string) { s.Leave(room) }); return nil })
	if n := x.srv.Stats().Directory.Rooms; n != 0 {
		return fmt.Errorf("%d rooms are left", n)
	}
	rooms, all := float64(s.rooms), float64(members)
	fmt.Fprintf(w, "%16s: join %.2f µs a member; %.0f B a room, %.0f a member; emit %.2f µs a room, %.2f a delivery; leave %.2f µs a member; %.1f B a room stay\n",
		name, micros(joined.cpu)/all, float64(joined.bytes)/rooms, float64(joined.bytes)/all, micros(emitted.cpu)/rooms, micros(emitted.cpu)/all,
		micros(left.cpu)/all, float64(joined.bytes+emitted.bytes+left.bytes)/rooms)
	runtime.KeepAlive(x)
	return nil
}

func manyNamespaces(w io.Writer, s settings) error {
	n := s.namespaces
	x, err := newSim(2, n, n+1)
	if err != nil {
		return err
	}
	live := x.srv.Of("/live/:id")
	if err := x.enterAll(n); err != nil {
		return err
	}
	each := func(kind string, name func(i int) string) func() error {
		return func() error {
			for i, p := range x.peers {
				p.Send(packet(kind + name(i) + ","))
			}
			return nil
		}
	}
	check := func(want int) error {
		if got := len(live.Instances()); got != want {
			return fmt.Errorf("%d namespaces, want %d", got, want)
		}
		return nil
	}
	fmt.Fprintf(w, "\nsimulated loops, 2 of them: %d namespaces of one pattern, of a client each, which is in / too\n", n)
	for _, kind := range []struct {
		name string
		of   func(i int) string
		want int
	}{
		{"one for all, for comparison", func(int) string { return "/live/all" }, 1},
		{"one of its own each", func(i int) string { return fmt.Sprint("/live/", i) }, n},
	} {
		made, err := takes(each("40", kind.of))
		if err = errors.Join(err, check(kind.want)); err != nil {
			return err
		}
		fmt.Fprintf(w, "%28s: join %.2f µs and %.0f B a client", kind.name, micros(made.cpu)/float64(n), float64(made.bytes)/float64(n))
		if kind.want > 1 {
			if err := emitEach(w, x, live, n); err != nil {
				return err
			}
		}
		ended, err := takes(each("41", kind.of))
		if err = errors.Join(err, check(0)); err != nil {
			return err
		}
		fmt.Fprintf(w, "; end %.2f µs; %.1f B a client stay\n", micros(ended.cpu)/float64(n), float64(made.bytes+ended.bytes)/float64(n))
	}
	runtime.KeepAlive(x)
	return nil
}

// emitEach emits to each instance by its name, and then to all by the pattern.
func emitEach(w io.Writer, x *sim, live *sio.Namespace, n int) error {
	t := turning{x: x}
	one, err := takes(func() error {
		for i := range n {
			if err := live.Instance(fmt.Sprint("/live/", i)).Emit("msg", text); err != nil {
				return err
			}
			t.next()
		}
		x.Turn()
		return nil
	})
	if err != nil {
		return err
	}
	all, err := takes(func() error {
		err := live.All().Emit("msg", text)
		x.Turn()
		return err
	})
	fmt.Fprintf(w, "; emit to one %.2f µs; emit to the pattern %.2f µs an instance", micros(one.cpu)/float64(n), micros(all.cpu)/float64(n))
	return err
}
