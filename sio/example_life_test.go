package sio_test

import (
	"context"
	"fmt"
	"log"
	"strings"
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

// Visitor is who a connection's client is, whichever of its sockets asks.
var Visitor = sio.NewConnKey[string]()

// A client says who it is once, where it comes in; further namespaces know it then.
func ExampleConnKey() {
	srv := siotest.New(nil, sio.Options{KeepHandshake: sio.KeepForFirst})
	defer srv.Close()
	Visitor.OnEnd(func(name string) { fmt.Println(name, "has gone") })
	srv.Of("/").Use(func(s sio.Socket) error {
		var login struct{ Name string }
		if err := s.Auth(&login); err != nil {
			return err
		}
		return Visitor.Set(s, login.Name)
	})
	srv.Of("/admin").Use(func(s sio.Socket) error {
		if name, _ := Visitor.Get(s); name != "Ann" {
			return &sio.Error{Message: "who are you?"}
		}
		return nil
	})

	c := srv.Dial(siotest.Options{})
	c.Send(`40/admin,`)
	c.Send(`40{"name":"Ann"}`, `40/admin,`)
	for _, packet := range c.Received()[1:] { // behind OPEN
		kind, _, _ := strings.Cut(packet, "{")
		fmt.Println(kind)
	}
	c.Drop()
	// Output:
	// 44/admin,
	// 40
	// 40/admin,
	// Ann has gone
}

// A handler is on the event loop while what it needs is there, and on the socket's
// goroutine when it has to ask somebody.
func ExampleMsg_Later() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	known := map[string]string{"A": "Ann"}
	ask := func(s sio.Socket, m *sio.Msg) error { return m.Ack("asked a database") }
	srv.Of("/").HandleInline("name", func(s sio.Socket, m *sio.Msg) error {
		var id string
		if err := m.Decode(&id); err != nil {
			return err
		}
		if name, ok := known[id]; ok {
			return m.Ack(name)
		}
		return m.Later(ask)
	})

	c := srv.Connect("/")
	fmt.Println(c.EmitAck("name", "A").Args())
	fmt.Println(c.EmitAck("name", "B").Args())
	// Output:
	// "Ann"
	// "asked a database"
}
