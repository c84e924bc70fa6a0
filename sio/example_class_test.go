package sio_test

import (
	"fmt"
	"log"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// A market board: who is too slow for all prices sees the latest of each symbol, and
// never a queue; who keeps up sees all of them.
func ExampleNamespace_SetClass() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	board := srv.Of("/board")
	board.SetClass("price", func(a sio.Args) sio.Class {
		var symbol string
		if a.Decode(&symbol) != nil {
			return sio.Class{}
		}
		return sio.Class{Policy: sio.Conflate, Key: symbol}
	})

	fast, slow := srv.Connect("/board"), srv.Connect("/board")
	slow.Stall(true) // it reads nothing for a while
	for price := 1; price <= 3; price++ {
		for _, symbol := range []string{"ACME", "INIT"} {
			if err := board.Emit("price", symbol, price); err != nil {
				log.Fatal(err)
			}
		}
		if err := board.Emit("trades", 10*price); err != nil {
			log.Fatal(err)
		}
		srv.Advance(0)
	}
	slow.Stall(false)

	fmt.Println(len(fast.Received()))
	fmt.Println(slow.Received())
	fmt.Println(srv.Stats().Namespaces[0].Dropped)
	// Output:
	// 9
	// ["price" "ACME", 3 "price" "INIT", 3 "trades" 10 "trades" 20 "trades" 30]
	// 4
}

// A class for one emit.
func ExampleBroadcastOperator_Class() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	ns := srv.Of("/")
	c := srv.Connect("/")
	c.Stall(true)
	for i := range 3 {
		if err := ns.All().Class(sio.Class{Policy: sio.Conflate}).Emit("progress", i); err != nil {
			log.Fatal(err)
		}
		srv.Advance(0)
	}
	c.Stall(false)
	fmt.Println(c.Received())
	// Output:
	// ["progress" 2]
}
