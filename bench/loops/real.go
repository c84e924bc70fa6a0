package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
)

// drivers is how many threads the clients are on.
const drivers = 2

// roomSize is how many members a small room has.
const roomSize = 10

// text is what is sent: with the event's name, an event of 64 bytes and more.
var text = strings.Repeat("x", 64)

// offsetTail is what a client is sent behind an event with recovery: ,"its offset".
const offsetTail = 16

// An event is what clients get: so many bytes, which end so.
type event struct {
	size int
	ends []byte
}

// event is that of all that is emitted.
func (b *bed) event() event {
	frame := message(`42["msg","` + text + `"]`)
	if b.recovery {
		return event{len(frame) + offsetTail, frame[len(frame)-1:]}
	}
	return event{len(frame), frame}
}

// A bed is a server with real loops, and its clients.
type bed struct {
	srv      *sio.Server
	ns, live *sio.Namespace
	loops    int
	dial     dial
	recovery bool
	drivers  []*driver
	served   chan error
	before   int // GOMAXPROCS
}

// newBed starts a server. Sockets: clients come by TCP.
func newBed(s settings, loops int, sockets bool) (b *bed, err error) {
	b = &bed{loops: loops, recovery: s.recovery, served: make(chan error, 1)}
	// A ping would come between what is counted.
	o := sio.Options{PingInterval: time.Hour, Loop: loop.Options{Loops: loops}}
	if s.recovery {
		o.Recovery = sio.Recovery{Window: time.Minute}
	}
	if b.srv, err = sio.New(o); err != nil {
		return nil, err
	}
	b.before = runtime.GOMAXPROCS(max(runtime.NumCPU(), loops) + drivers)
	runtime.SetMutexProfileFraction(1)
	b.handle()
	b.dial = b.pair
	if sockets {
		addr, err := b.srv.Listen("127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		b.dial = func() (*client, error) { return tcp(addr.(*net.TCPAddr).Port) }
	}
	for i := range drivers {
		b.drivers = append(b.drivers, newDriver(i))
	}
	go func() { b.served <- b.srv.Serve(context.Background()) }() // ends with Shutdown
	b.srv.Engine().Loops()[0].Ask(func() {})
	return b, nil
}

// handle registers what the clients ask for.
func (b *bed) handle() {
	b.ns = b.srv.Of("/")
	b.live = b.srv.Of("/live/:id")
	b.ns.HandleInline("join", func(s sio.Socket, m *sio.Msg) error {
		var room string
		if err := m.Decode(&room); err != nil {
			return err
		}
		s.Join(room, "all")
		return m.Ack()
	})
	echo := func(_ sio.Socket, m *sio.Msg) error { return m.Ack(text) }
	b.ns.HandleInline("echo", echo)
	b.ns.Handle("later", echo)
	tell := func(_ sio.Socket, m *sio.Msg) error {
		var room string
		if err := m.Decode(&room); err != nil {
			return err
		}
		return b.ns.To(room).Emit("msg", text)
	}
	b.ns.HandleInline("tell", tell)
	b.ns.Handle("tell-later", tell)
}

// crowd has clients connect, and join rooms of ten, and one for all.
func (b *bed) crowd(n int) error {
	return b.all(func(d *driver) (err error) {
		for i := range (n/drivers + roomSize - 1) / roomSize {
			d.rooms = append(d.rooms, fmt.Sprintf("room-%d-%d", d.number, i))
		}
		for len(d.clients) < n/drivers {
			some, err := d.join(min(roomSize, n/drivers-len(d.clients)), b.dial, "/")
			if err != nil {
				return err
			}
			join := packet(fmt.Sprintf(`421["join",%q]`, d.room(len(d.clients))))
			for _, c := range some {
				if err := errors.Join(c.write(join), d.await(c, "431[")); err != nil {
					return err
				}
			}
			d.clients = append(d.clients, some...)
		}
		return nil
	}, nil)
}

// room is that of a client by its place.
func (d *driver) room(i int) string { return d.rooms[i/roomSize] }

func (b *bed) close() error {
	for _, d := range b.drivers {
		closeAll(d.clients)
		close(d.jobs)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience*time.Second)
	defer cancel()
	err := errors.Join(b.srv.Shutdown(ctx), <-b.served)
	runtime.GOMAXPROCS(b.before)
	return err
}

// A work is something that is measured; step does a piece of it, and returns of how many
// units.
type work struct {
	name string
	step func(b *bed) (n int, err error)
}

// measure does a work for a time, after a piece that does not count.
func (b *bed) measure(w work, millis int) (figure, error) {
	if _, err := w.step(b); err != nil {
		return figure{}, fmt.Errorf("%s: %w", w.name, err)
	}
	before, n := b.read(false), 0
	for end := time.Now().Add(time.Duration(millis) * time.Millisecond); time.Now().Before(end); {
		some, err := w.step(b)
		if err != nil {
			return figure{}, fmt.Errorf("%s: %w", w.name, err)
		}
		n += some
	}
	return b.read(true).since(before, n), nil
}

// works are those on several loops.
func works() []work {
	return []work{
		{"a broadcast to all", broadcast(1)},
		{"a broadcast to all, 64 queued", broadcast(64)},
		{"an echo, inline, one of each client at once", echo("echo", false)},
		{"an echo, inline, one at a time", echo("echo", true)},
		{"an echo on a goroutine, one of each client at once", echo("later", false)},
		{"an echo on a goroutine, one at a time", echo("later", true)},
		{"a broadcast to a room of 10 that a client asks for, inline", tell("tell")},
		{"the same on a goroutine", tell("tell-later")},
		{"a connection, and its end", connect("/")},
		{"a connection to a namespace of its own, and its end", connect("/live/%d")},
	}
}

// broadcast emits to all, k at once, from a goroutine that is no loop.
func broadcast(k int) func(b *bed) (int, error) {
	return func(b *bed) (int, error) {
		e := b.event()
		return k, b.all(func(d *driver) error {
			for _, c := range d.clients {
				if err := d.take(c, k*e.size, e.ends); err != nil {
					return err
				}
			}
			return nil
		}, func() error { return emit(b.ns.To("all"), k) })
	}
}

func emit(to sio.BroadcastOperator, k int) error {
	for range k {
		if err := to.Emit("msg", text); err != nil {
			return err
		}
	}
	return nil
}

// echo has each client send an event and get the acknowledgement: one client after the
// other of each thread, or all at once.
func echo(event string, alone bool) func(b *bed) (int, error) {
	ask, answer := packet(`421["`+event+`","`+text+`"]`), message(`431["`+text+`"]`)
	return func(b *bed) (int, error) {
		err := b.all(func(d *driver) error {
			if alone {
				for _, c := range d.clients {
					if err := errors.Join(c.write(ask), d.take(c, len(answer), answer)); err != nil {
						return err
					}
				}
				return nil
			}
			for _, c := range d.clients {
				if err := c.write(ask); err != nil {
					return err
				}
			}
			for _, c := range d.clients {
				if err := d.take(c, len(answer), answer); err != nil {
					return err
				}
			}
			return nil
		}, nil)
		return b.clients(), err
	}
}

// tell has each client tell its room something.
func tell(event string) func(b *bed) (int, error) {
	return func(b *bed) (int, error) {
		e := b.event()
		err := b.all(func(d *driver) error {
			for i, c := range d.clients {
				if err := c.write(packet(`42["` + event + `","` + d.room(i) + `"]`)); err != nil {
					return err
				}
			}
			for _, c := range d.clients {
				if err := d.take(c, roomSize*e.size, e.ends); err != nil {
					return err
				}
			}
			return nil
		}, nil)
		return b.clients(), err
	}
}

// connect has clients come and go, 50 at once on each thread.
func connect(namespace string) func(b *bed) (int, error) {
	const some = 50
	return func(b *bed) (int, error) {
		return some * drivers, b.all(func(d *driver) error {
			name := namespace
			if strings.Contains(name, "%") {
				name = fmt.Sprintf(name, d.number) // of all that come with it
			}
			all, err := d.join(some, b.dial, name)
			closeAll(all)
			return err
		}, nil)
	}
}

func (b *bed) clients() (n int) {
	for _, d := range b.drivers {
		n += len(d.clients)
	}
	return n
}

func inMemory(w io.Writer, s settings) error { return onLoops(w, s, "in memory", s.loops, false) }

func withSockets(w io.Writer, s settings) error { return onLoops(w, s, "sockets", "2", true) }

// onLoops measures all works on each number of loops, and then tells of each work.
func onLoops(w io.Writer, s settings, where, loops string, sockets bool) error {
	counts, err := numbers(loops)
	if err != nil {
		return err
	}
	some := slices.DeleteFunc(works(), func(x work) bool { return !strings.Contains(x.name, s.only) })
	figures := map[string]map[int][]figure{}
	for range s.rounds {
		for _, n := range counts {
			if err := onBed(s, n, sockets, some, figures); err != nil {
				return fmt.Errorf("%d loops: %w", n, err)
			}
		}
	}
	fmt.Fprintf(w, "\n%s, %d clients%s\n", where, s.clients, map[bool]string{true: ", with recovery"}[s.recovery])
	for _, x := range some {
		fmt.Fprintf(w, "\n%s: %s\n", where, x.name)
		t := newTable(w, "loops")
		for _, n := range counts {
			t.row(fmt.Sprint(n), figures[x.name][n])
		}
		t.flush()
		tellPlaces(w, fmt.Sprintf("%d loops", counts[len(counts)-1]), median(figures[x.name][counts[len(counts)-1]]))
	}
	return nil
}

// onBed adds a figure of each work on so many loops.
func onBed(s settings, loops int, sockets bool, all []work, figures map[string]map[int][]figure) (err error) {
	b, err := newBed(s, loops, sockets)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.crowd(s.clients); err != nil {
		return err
	}
	for _, x := range all {
		f, err := b.measure(x, s.millis)
		if err != nil {
			return err
		}
		if figures[x.name] == nil {
			figures[x.name] = map[int][]figure{}
		}
		figures[x.name][loops] = append(figures[x.name][loops], f)
	}
	return nil
}

// A table has a figure in each row.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer, of string) table {
	t := table{tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)}
	fmt.Fprintf(t.w, "%s\ta second\tCPU µs\tlock waits\twaited µs\twakes\tturns\tsends\tswitches\t\n", of)
	return t
}

func (t table) row(of string, all []figure) {
	f := median(all)
	fmt.Fprintf(t.w, "%s\t%.0f\t%.2f\t%.2f\t%.1f\t%.1f\t%.1f\t%.0f\t%.1f\t\n", of, f.rate, f.cpu, f.locks, f.waited, f.wakes, f.turns, f.sends, f.switches)
}

func (t table) flush() { t.w.Flush() }

// tellPlaces tells where locks are waited for.
func tellPlaces(w io.Writer, of string, f figure) {
	lines := f.worst(6)
	if len(lines) == 0 {
		fmt.Fprintf(w, "  no lock is waited for, %s\n", of)
		return
	}
	fmt.Fprintf(w, "  lock waits by where the lock was given back, %s:\n", of)
	for _, line := range lines {
		fmt.Fprintln(w, "  ", line)
	}
}
