package sio

import (
	"fmt"
	"sync"
	"testing"

	"github.com/sioedge/sioedge/rooms"
)

// A counter is an adapter that counts what it is told of rooms.
type counter struct {
	rooms.Adapter
	mu    sync.Mutex
	rooms map[string]int
}

func (c *counter) Open(string) {}
func (c *counter) Drop(string) {}

func (c *counter) Occupied(_, room string) { c.add(room, 1) }
func (c *counter) Vacated(_, room string)  { c.add(room, -1) }

func (c *counter) add(room string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rooms[room] += n; c.rooms[room] == 0 {
		delete(c.rooms, room)
	}
}

// A room that is joined, or left, on one loop in the moment in which somebody is
// admitted to its namespace on another one is told once, whichever is first.
func TestRoomsAreToldWhileTheirNamespaceOpens(t *testing.T) {
	const times = 10_000
	a := &counter{rooms: map[string]int{}}
	h := &host{srv: &Server{}, adapter: a, known: map[uint32]*known{}}
	for i := range uint32(times) {
		in := &instance{id: i + 1, name: "/x", ns: &Namespace{}}
		h.made(in)
		h.watch(in.id, "left", true)
		var all sync.WaitGroup
		start := make(chan struct{})
		for _, f := range []func(){
			func() { h.opened(in) },
			func() { h.watch(in.id, fmt.Sprint("joined", i), true) },
			func() { h.watch(in.id, "left", false) },
		} {
			all.Go(func() { <-start; f() })
		}
		close(start)
		all.Wait()
	}
	if n := a.rooms["left"]; n != 0 {
		t.Errorf("a room that was left %d times is told to have members still, %d times more than not", times, n)
	}
	delete(a.rooms, "left")
	if len(a.rooms) != times {
		t.Errorf("of %d rooms that were joined, %d are told", times, len(a.rooms))
	}
	for i := range uint32(times) {
		in := &instance{id: i + 1, name: "/x", ns: &Namespace{}}
		h.dropped(in)
		h.watch(in.id, fmt.Sprint("joined", i), false)
	}
	if len(a.rooms) != 0 || len(h.known) != 0 {
		t.Errorf("%d rooms and %d instances are known when all have gone", len(a.rooms), len(h.known))
	}
}
