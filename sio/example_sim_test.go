package sio_test

import (
	"fmt"
	"log"
	"time"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// A server without sockets and with a clock that the test moves: what would take
// minutes happens at once, and always in the same way.
func ExampleNewSim() {
	srv, sim, err := sio.NewSim(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ns := srv.Of("/")
	ns.HandleInline("ask", func(s sio.Socket, m *sio.Msg) error { return m.Ack("answered") })
	left := make(chan sio.Reason, 1)
	ns.OnDisconnect(func(s sio.Socket, why sio.Reason) { left <- why })

	peer := sim.Connect(0)
	c := &extra{peer: peer} // speaks in packets, as a client over WebSocket
	c.begin()
	c.send(`421["ask"]`)
	fmt.Println(c.received())
	sim.Advance(time.Minute) // the client answers no pings
	fmt.Println(<-left, peer.Closed())
	// Output:
	// [431["answered"]]
	// ping timeout true
}

// A client that has something waiting does not get what is volatile.
func ExampleBroadcastOperator_Volatile() {
	srv := siotest.New(nil, sio.Options{})
	ns := srv.Of("/")
	c := srv.Connect("/")
	emit := func(to sio.Emitter, event string) {
		if err := to.Emit(event); err != nil {
			log.Fatal(err)
		}
		srv.Settle()
	}

	c.Stall(true) // the client does not read
	emit(ns, "first")
	emit(ns.All().Volatile(), "dropped")
	emit(ns, "second")
	c.Stall(false)
	emit(ns.All().Volatile(), "third")
	for _, e := range c.Received() {
		fmt.Println(e)
	}
	// Output:
	// "first"
	// "second"
	// "third"
}
