package sio_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// Who is in which room, by the names that clients give.
func ExampleNamespace_OnJoin() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ns := srv.Of("/")
	var here sync.Map // room and name
	told := make(chan bool)
	ns.OnJoin(func(s sio.Socket, room string) {
		here.Store(fmt.Sprint(s.Data(), " in ", room), true)
		told <- true
	})
	ns.OnLeave(func(s sio.Socket, room string) {
		if !s.Recoverable() { // else its client may be back before anybody notices
			here.Delete(fmt.Sprint(s.Data(), " in ", room))
		}
		told <- true
	})
	ns.OnRoomDeleted(func(namespace, room string) { fmt.Println(room, "is empty"); told <- true })
	sio.On(ns, "join", func(s sio.Socket, name string) error {
		s.SetData(name)
		s.Join("lobby")
		return nil
	})

	demonstrate(srv, func(p *port) {
		c := p.connect()
		c.join("/")
		c.send(`2["join","ann"]`)
		<-told
		here.Range(func(who, _ any) bool { fmt.Println(who); return true })
		fmt.Println(ns.To("lobby").Count(), "in the lobby")
		c.send("1")
		<-told
		<-told
	})
	// Output:
	// ann in lobby
	// 1 in the lobby
	// lobby is empty
}

// A page at a time, of however many sockets.
func ExampleBroadcastOperator_Pages() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ns := srv.Of("/")
	ns.Use(func(s sio.Socket) error { s.Join("lobby"); return nil })

	demonstrate(srv, func(p *port) {
		for range 5 {
			p.connect().join("/")
		}
		ctx := context.Background()
		for page, err := range ns.To("lobby").Pages(ctx, 2) {
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(len(page), "sockets")
		}
	})
	// Output:
	// 2 sockets
	// 2 sockets
	// 1 sockets
}

// A token lasts for a while. Shortly before its end the client is asked for another,
// which it may not have.
func ExampleSocket_ExpireAt() {
	srv, sim, err := sio.NewSim(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	asked, done := make(chan bool), make(chan error)
	ns := srv.Of("/")
	ns.OnConnect(func(s sio.Socket) error {
		end := srv.Now().Add(2 * time.Second)
		s.ExpireAt(end.Add(-time.Second), func(s sio.Socket) {
			s.ExpireAt(end, nil)
			sio.AskFunc(s, time.Second/2, "token, please", nil, func(token string, err error) { done <- err })
			asked <- true
		})
		asked <- true
		return nil
	})

	peer := sim.Connect(0)
	c := simulated(peer)
	c.join("/")
	<-asked
	sim.Turn()
	sim.Advance(time.Second)
	<-asked
	sim.Turn()
	fmt.Println(c.receive())
	sim.Advance(time.Second / 2)
	fmt.Println(errors.Is(<-done, context.DeadlineExceeded))
	sim.Advance(time.Second / 2)
	fmt.Println(peer.Closed())
	// Output:
	// 20["token, please"]
	// true
	// true
}
