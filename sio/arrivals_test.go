package sio

import (
	"testing"

	"github.com/sioedge/sioedge/loop"
)

// TestArrivalsThatHaveGoneAreForgotten: sessions that end before ConnectTimeout
// leave nothing behind until then.
func TestArrivalsThatHaveGoneAreForgotten(t *testing.T) {
	srv, sim, err := NewSim(Options{Loop: loop.Options{Loops: 1}})
	if err != nil {
		t.Fatal(err)
	}
	srv.Of("/")
	for range 10_000 {
		p := sim.Connect(0)
		p.Send([]byte("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
		sim.Turn()
		p.Close()
		sim.Turn()
	}
	if n := cap(srv.shards[0].arrivals.queue); n > 2048 {
		t.Errorf("%d arrivals are remembered, want no more than 2048", n)
	}
}
