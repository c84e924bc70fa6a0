package sio_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// What is known of a socket: what waits both ways, its rooms, and how far away it is.
func TestSocketStats(t *testing.T) {
	srv := siotest.New(t, sio.Options{PingInterval: time.Second})
	ns := srv.Of("/")
	gate := make(chan bool)
	ns.Handle("wait", func(sio.Socket, *sio.Msg) error { <-gate; return nil })
	c := srv.Connect("/")
	s := c.Socket()
	x, ok := s.Stats()
	if !ok || x.Transport != "websocket" || !x.Address.IsValid() || x.Queued != 0 || x.Tasks != 0 || x.Rooms != 0 || x.RTT != 0 {
		t.Errorf("at first: %+v, %t", x, ok)
	}
	srv.Advance(3 * time.Second)
	if x, _ = s.Stats(); x.RTT < time.Millisecond || x.RTT > time.Second {
		t.Errorf("the last ping took %v", x.RTT)
	}
	s.Join("a", "b")
	for range 3 {
		c.Start("wait")
	}
	c.Stall(true)
	if err := s.Emit("long", strings.Repeat("x", 1<<20)); err != nil {
		t.Fatal(err)
	}
	if x, _ = s.Stats(); x.Rooms != 2 || x.Tasks != 2 || x.Queued < 1<<19 {
		t.Errorf("with much that waits: %+v", x)
	}
	close(gate)
	c.Stall(false)
	srv.Settle()
	c.Expect("long")
	if x, _ = s.Stats(); x.Tasks != 0 || x.Queued != 0 {
		t.Errorf("with nothing that waits: %+v", x)
	}
	c.Drop()
	srv.Settle()
	if x, ok = s.Stats(); ok || x != (sio.SocketStats{}) {
		t.Errorf("of who has left: %+v", x)
	}
}
