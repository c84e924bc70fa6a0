package sio_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// What belongs to a socket: data of the application's, and a context that ends
// what was begun for it.
func ExampleSocket_Context() {
	type User struct{ Name string }

	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	stopped := make(chan string)
	ns := srv.Of("/")
	ns.OnConnect(func(s sio.Socket) error {
		s.SetData(&User{"Ann"})
		ctx := s.Context()
		// ends when the socket leaves
		go func() {
			<-ctx.Done()
			stopped <- "stopped"
		}()
		return nil
	})
	ns.Handle("who?", func(s sio.Socket, m *sio.Msg) error {
		return m.Ack(s.Data().(*User).Name)
	})

	c := srv.Connect("/")
	fmt.Println(siotest.Ask[string](c, "who?"))
	c.Disconnect()
	fmt.Println(<-stopped)
	// Output:
	// Ann
	// stopped
}

// The reasons for which sockets leave are Node's.
func ExampleNamespace_OnDisconnect() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	ns := srv.Of("/")
	ns.Use(func(s sio.Socket) error { s.Join("lobby"); return nil })
	ns.Handle("bye", func(s sio.Socket, m *sio.Msg) error { s.Disconnect(sio.DisconnectOptions{}); return nil })
	ns.OnDisconnecting(func(s sio.Socket, why sio.Reason) {
		fmt.Println("leaving", s.Rooms()[1:])
	})
	ns.OnDisconnect(func(s sio.Socket, why sio.Reason) { fmt.Println(why) })

	srv.Connect("/").Disconnect()
	srv.Connect("/").Emit("bye")
	srv.Connect("/").Drop()
	// Output:
	// leaving [lobby]
	// client namespace disconnect
	// leaving [lobby]
	// server namespace disconnect
	// leaving [lobby]
	// transport close
}

// A close code and a reason, which a browser's client finds in the details of its
// disconnect event.
func ExampleSocket_CloseConnWith() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	ns := srv.Of("/")
	sio.On(ns, "version", func(s sio.Socket, v int) error {
		if v < 3 {
			return s.CloseConnWith(4001, "please reload")
		}
		return nil
	})

	c := srv.Connect("/")
	c.Emit("version", 2)
	end := c.ExpectDisconnect()
	fmt.Println(end.Code, end.Text)
	fmt.Println(end.Server) // what OnDisconnect is told
	// Output:
	// 4001 please reload
	// forced close
}

// A client that was away for a moment has its id, its rooms and its data again,
// and gets what it missed before it is told that it is back.
func ExampleSocket_Recovered() {
	srv := siotest.New(nil, sio.Options{Recovery: sio.Recovery{Window: 2 * time.Minute}})
	defer srv.Close()
	ns := srv.Of("/")
	ns.OnConnect(func(s sio.Socket) error {
		if s.Recovered() {
			return s.Emit("welcome back", s.Data())
		}
		s.Join("news")
		s.SetData("Ann")
		return s.Emit("welcome")
	})

	c := srv.Connect("/")
	c.Expect("welcome")
	id := c.ID()
	c.Drop()
	if err := ns.To("news").Emit("news", "while away"); err != nil {
		log.Fatal(err)
	}
	if err := c.Reconnect(); err != nil {
		log.Fatal(err)
	}
	var news, name string
	c.Expect("news", &news)
	c.Expect("welcome back", &name)
	fmt.Println(news)
	fmt.Println("the same id:", c.ID() == id)
	fmt.Println("welcome back", name)
	// Output:
	// while away
	// the same id: true
	// welcome back Ann
}

// The end: sockets are told, what is queued is sent, handlers may finish.
func ExampleServer_Shutdown() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	srv.Of("/").OnDisconnect(func(s sio.Socket, why sio.Reason) { fmt.Println(why) })

	srv.Connect("/")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(srv.Shutdown(ctx))
	// Output:
	// server shutting down
	// <nil>
}

// User is the key of a socket's user, for the whole program.
var User = sio.NewKey[*struct{ Name string }]()

// Values that stay here, by keys with types, and data that goes where the socket goes.
func ExampleKey() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	ns := srv.Of("/")
	ns.Use(func(s sio.Socket) error {
		var login struct{ Name string }
		if err := s.Auth(&login); err != nil {
			return err
		}
		s.SetData(login.Name)
		return User.Set(s, &login)
	})
	ns.Handle("who?", func(s sio.Socket, m *sio.Msg) error {
		user, _ := User.Get(s)
		name, err := sio.DataOf[string](s)
		if err != nil {
			return err
		}
		return m.Ack(user.Name, name)
	})

	c := srv.ConnectWith("/", siotest.Options{Auth: map[string]string{"name": "Ann"}})
	fmt.Println(c.EmitAck("who?").Args())
	// Output:
	// "Ann", "Ann"
}
