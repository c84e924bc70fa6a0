package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
)

// A probe is something that is asked for while a loop is busy with something large: again
// when it has come.
type probe struct {
	name  string
	peer  *loop.Peer
	ask   func() error
	asked int // the round in which it was
	waits bool
	most  int // rounds that it had to wait
	times int // that it has come
}

// A watch counts the rounds of a loop, and how long they take; between two rounds a loop
// sees to what is ready.
type watch struct {
	on     bool
	done   func() bool
	rounds int
	last   time.Duration // CPU time of the thread: where there is none, slices take 0
	took   []time.Duration
	probes []*probe
	err    error
}

// round is called once in each round of the loop.
func (h *watch) round() (more bool) {
	if !h.on {
		return false
	}
	h.took = append(h.took, threadTime()-h.last)
	h.rounds++
	for _, p := range h.probes {
		if p.waits && len(p.peer.Received()) > 0 {
			p.waits, p.times, p.most = false, p.times+1, max(p.most, h.rounds-p.asked)
		}
	}
	if h.done() {
		h.on = slices.ContainsFunc(h.probes, func(p *probe) bool { return p.waits }) // the last ones
	} else {
		h.ask()
	}
	h.last = threadTime()
	return h.on
}

func (h *watch) ask() {
	for _, p := range h.probes {
		if !p.waits {
			p.waits, p.asked = true, h.rounds
			h.err = errors.Join(h.err, p.ask())
		}
	}
}

// oneRoom has a room of very many members joined, emitted to and left, on one loop.
func oneRoom(w io.Writer, s settings) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	n := s.members
	x, err := newSim(1, n+3, 0)
	if err != nil {
		return err
	}
	l, h := x.Engine().Loops()[0], &watch{}
	l.OnWork(h.round)
	names := []string{"an event of another client", "an emit to another client", "a broadcast to a room of one"}
	for i, name := range names {
		peer := x.enter()
		peer.Discard(false)
		peer.Received()
		if len(x.sockets) <= i {
			return errors.New("a client has not come")
		}
		s := x.sockets[i]
		s.Join("few")
		if i < 2 {
			s.Leave("few")
		}
		h.probes = append(h.probes, &probe{name: name, peer: peer, ask: []func() error{
			func() error { peer.Send(packet(`421["echo"]`)); return nil },
			func() error { return s.Emit("msg", text) },
			func() error { return x.ns.To("few").Emit("msg", text) },
		}[i]})
	}
	for range n {
		x.enter()
	}
	x.Turn()
	if len(x.sockets) != n+3 {
		return fmt.Errorf("%d of %d clients have come", len(x.sockets), n+3)
	}
	for _, p := range h.probes {
		p.peer.Received()
	}
	fmt.Fprintf(w, "\nsimulated, one loop: one room of %d members. Between two slices of it the loop sees to what is ready: how long other things wait, in slices\n", n)
	return errors.Join(x.sizes(w, l, h, n), h.err)
}

// sizes does what is done to a large room, in turn.
func (x *sim) sizes(w io.Writer, l *loop.Loop, h *watch, n int) error {
	last := x.peers[len(x.peers)-1]
	behind := func() func() bool {
		done := false
		l.Post(loop.TaskFunc(func(*loop.Loop) { done = true }))
		return func() bool { return done }
	}
	sent := func(k int) func() bool {
		want := last.Count() + int64(k*len(message(`42["msg","`+text+`"]`)))
		return func() bool { return last.Count() >= want }
	}
	members := func(want int) func() error {
		return func() error {
			if st := x.srv.Stats(); st.Rooms.Memberships != want {
				return fmt.Errorf("%d memberships, want %d", st.Rooms.Memberships, want)
			}
			return nil
		}
	}
	all := x.ns.All().Except("few", x.sockets[0].ID(), x.sockets[1].ID())
	for _, step := range []struct {
		name  string
		do    func() (done func() bool, err error)
		check func() error
	}{
		{"join, by one operator", func() (func() bool, error) { all.Join("crowd"); return behind(), nil }, members(n + 1)},
		{"a broadcast", func() (func() bool, error) { return sent(1), x.ns.To("crowd").Emit("msg", text) }, nil},
		{"64 broadcasts, queued", func() (func() bool, error) { return sent(64), emit(x.ns.To("crowd"), 64) }, nil},
		{"a broadcast to all but a room", func() (func() bool, error) { return sent(1), x.ns.To("crowd").Except("few").Emit("msg", text) }, nil},
		{"leave, by one operator", func() (func() bool, error) { x.ns.To("crowd").Leave("crowd"); return behind(), nil }, members(1)},
		{"join, each by itself", func() (func() bool, error) { x.each(func(s sio.Socket) { s.Join("crowd") }); return behind(), nil }, members(n + 1)},
		{"leave, each by itself", func() (func() bool, error) { x.each(func(s sio.Socket) { s.Leave("crowd") }); return behind(), nil }, members(1)},
	} {
		took, err := takes(func() (err error) {
			h.begin()
			if h.done, err = step.do(); err != nil {
				return err
			}
			l.NeedWork()
			h.last = threadTime()
			x.Turn()
			return nil
		})
		if err == nil && step.check != nil {
			err = step.check()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		h.tell(w, step.name, took, n)
	}
	runtime.KeepAlive(x)
	return nil
}

// each calls f of all sockets but the probes'.
func (x *sim) each(f func(s sio.Socket)) {
	for _, s := range x.sockets[3:] {
		f(s)
	}
}

func (h *watch) begin() {
	h.on, h.rounds, h.took = true, 0, h.took[:0]
	for _, p := range h.probes {
		p.waits, p.most, p.times = false, 0, 0
	}
}

// tell writes what was seen.
func (h *watch) tell(w io.Writer, name string, took cost, n int) {
	slices.Sort(h.took)
	fmt.Fprintf(w, "%30s: %.3f µs and %.1f B a member, %d slices: median %.3f ms of CPU, longest %.2f\n", name,
		micros(took.cpu)/float64(n), float64(took.bytes)/float64(n), len(h.took), millis(h.took[len(h.took)/2]), millis(h.took[len(h.took)-1]))
	for _, p := range h.probes {
		fmt.Fprintf(w, "%30s  %s waited for %d slices at most, of %d times\n", "", p.name, p.most, p.times)
	}
}

func millis(d time.Duration) float64 { return micros(d) / 1000 }
