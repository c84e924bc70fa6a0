package sio_test

import (
	"fmt"
	"testing"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
)

// BenchmarkStats is all that a scrape asks of the library, of 15,000 clients in 1,000
// namespaces with a room each.
func BenchmarkStats(b *testing.B) {
	const clients, patterns = 15_000, 1000
	st := newStage(b, sio.Options{Loop: loop.Options{Loops: 2}})
	for i := range patterns {
		st.Of(fmt.Sprintf("/n%d/:id", i))
	}
	for i := range clients {
		x := &extra{t: b, peer: st.sim.Connect(i % 2)}
		x.begin()
		x.send(fmt.Sprintf("40/n%d/%d,", i%patterns, i%3))
		x.peer.Discard(true)
	}
	for i := range patterns {
		st.Of(fmt.Sprintf("/n%d/:id", i)).All().Join("room")
	}
	st.sim.Turn()
	sockets, rooms := int64(0), int64(0)
	for _, n := range st.Stats().Namespaces {
		sockets, rooms = sockets+n.Sockets, rooms+n.Rooms
	}
	if sockets != 2*clients || rooms != 3*patterns {
		b.Fatalf("%d sockets and %d rooms, want %d and %d", sockets, rooms, 2*clients, 3*patterns)
	}
	b.ReportAllocs()
	for b.Loop() {
		if s := st.Stats(); len(s.Namespaces) <= patterns {
			b.Fatalf("%d namespaces", len(s.Namespaces))
		}
	}
}
