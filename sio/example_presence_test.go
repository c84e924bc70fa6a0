package sio_test

import (
	"context"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// Who is in which room, by the names that clients give.
func ExampleNamespace_OnJoin() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	ns := srv.Of("/")
	var here sync.Map // room and name
	ns.OnJoin(func(s sio.Socket, room string) {
		here.Store(fmt.Sprint(s.Data(), " in ", room), true)
	})
	ns.OnLeave(func(s sio.Socket, room string) {
		if !s.Recoverable() { // else its client may be back before anybody notices
			here.Delete(fmt.Sprint(s.Data(), " in ", room))
		}
	})
	ns.OnRoomDeleted(func(namespace, room string) { fmt.Println(room, "is empty") })
	sio.On(ns, "join", func(s sio.Socket, name string) error {
		s.SetData(name)
		s.Join("lobby")
		return nil
	})

	c := srv.Connect("/")
	c.Emit("join", "ann")
	here.Range(func(who, _ any) bool { fmt.Println(who); return true })
	fmt.Println(ns.To("lobby").Count(), "in the lobby")
	c.Disconnect()
	// Output:
	// ann in lobby
	// 1 in the lobby
	// lobby is empty
}

// A page at a time, of however many sockets.
func ExampleBroadcastOperator_Pages() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	ns := srv.Of("/")
	ns.Use(func(s sio.Socket) error { s.Join("lobby"); return nil })

	for range 5 {
		srv.Connect("/")
	}
	ctx := context.Background()
	for page, err := range ns.To("lobby").Pages(ctx, 2) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(len(page), "sockets")
	}
	// Output:
	// 2 sockets
	// 2 sockets
	// 1 sockets
}

// A token lasts for a while. Shortly before its end the client is asked for another,
// which it may not have.
func ExampleSocket_ExpireAt() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	ns := srv.Of("/")
	ns.OnConnect(func(s sio.Socket) error {
		end := srv.Now().Add(time.Hour)
		s.ExpireAt(end.Add(-time.Minute), func(s sio.Socket) {
			s.ExpireAt(end, nil)
			sio.AskFunc(s, 10*time.Second, "token, please", nil, func(token string, err error) { fmt.Println(err) })
		})
		return nil
	})

	c := srv.Connect("/")
	srv.Advance(59 * time.Minute)
	fmt.Println(c.Next())
	srv.Advance(10 * time.Second)
	srv.Advance(50 * time.Second)
	end := c.ExpectDisconnect()
	fmt.Println(end.Code, end.Text)
	// Output:
	// "token, please"
	// context deadline exceeded
	// 4401 expired
}
