package sio_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// What belongs to a socket: data of the application's, and a context that ends
// what was begun for it.
func ExampleSocket_Context() {
	type User struct{ Name string }

	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
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

	demonstrate(srv, func(p *port) {
		c := p.connect()
		c.join("/")
		c.send(`21["who?"]`)
		fmt.Println(c.receive())
		c.send("1")
		fmt.Println(<-stopped)
	})
	// Output:
	// 31["Ann"]
	// stopped
}

// The reasons for which sockets leave are Node's.
func ExampleNamespace_OnDisconnect() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	left := make(chan string)
	ns := srv.Of("/")
	ns.Use(func(s sio.Socket) error { s.Join("lobby"); return nil })
	ns.Handle("bye", func(s sio.Socket, m *sio.Msg) error { s.Disconnect(sio.DisconnectOptions{}); return nil })
	ns.OnDisconnecting(func(s sio.Socket, why sio.Reason) {
		left <- fmt.Sprint("leaving ", s.Rooms()[1:])
	})
	ns.OnDisconnect(func(s sio.Socket, why sio.Reason) { left <- string(why) })

	demonstrate(srv, func(p *port) {
		for _, leave := range []func(c *demo){
			func(c *demo) { c.send("1") },
			func(c *demo) { c.send(`2["bye"]`) },
			func(c *demo) { c.conn.Close() },
		} {
			c := p.connect()
			c.join("/")
			leave(c)
			fmt.Println(<-left)
			fmt.Println(<-left)
		}
	})
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
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	left := make(chan sio.Reason, 1)
	ns := srv.Of("/")
	ns.OnDisconnect(func(s sio.Socket, why sio.Reason) { left <- why })
	sio.On(ns, "version", func(s sio.Socket, v int) error {
		if v < 3 {
			return s.CloseConnWith(4001, "please reload")
		}
		return nil
	})

	demonstrate(srv, func(p *port) {
		c := p.connect()
		c.join("/")
		c.send(`2["version",2]`)
		fmt.Println(c.receive())
		fmt.Println(<-left)
	})
	// Output:
	// 4001 please reload
	// forced close
}

// A client that was away for a moment has its id, its rooms and its data again,
// and gets what it missed before it is told that it is back.
func ExampleSocket_Recovered() {
	srv, err := sio.New(sio.Options{Recovery: sio.Recovery{Window: 2 * time.Minute}})
	if err != nil {
		log.Fatal(err)
	}
	away := make(chan sio.Reason)
	ns := srv.Of("/")
	ns.OnConnect(func(s sio.Socket) error {
		if s.Recovered() {
			return s.Emit("welcome back", s.Data())
		}
		s.Join("news")
		s.SetData("Ann")
		return s.Emit("welcome")
	})
	ns.OnDisconnect(func(s sio.Socket, why sio.Reason) { away <- why })

	demonstrate(srv, func(p *port) {
		c := p.connect()
		c.join("/")
		event, offset := logged(c.receive())
		fmt.Println(event)
		c.conn.Close()
		<-away
		if err := ns.To("news").Emit("news", "while away"); err != nil {
			log.Fatal(err)
		}

		again := p.connect()
		again.send(fmt.Sprintf(`0{"pid":%q,"offset":%q}`, c.pid, offset))
		event, _ = logged(again.receive())
		fmt.Println(event)
		fmt.Println("the same id:", strings.Contains(again.receive(), c.sid))
		event, _ = logged(again.receive())
		fmt.Println(event)
		again.conn.Close()
		<-away
	})
	// Output:
	// [welcome]
	// [news while away]
	// the same id: true
	// [welcome back Ann]
}

// logged splits an event into its arguments and the offset behind them, which
// clients of a server with recovery remember.
func logged(packet string) (event []any, offset string) {
	if err := json.Unmarshal([]byte(packet[1:]), &event); err != nil {
		log.Fatal(err)
	}
	last := len(event) - 1
	return event[:last], event[last].(string)
}

// The end: sockets are told, what is queued is sent, handlers may finish.
func ExampleServer_Shutdown() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	srv.Of("/").OnDisconnect(func(s sio.Socket, why sio.Reason) { fmt.Println(why) })

	demonstrate(srv, func(p *port) {
		c := p.connect()
		c.join("/")
		// ends when the server has closed
		go c.drain()

		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		fmt.Println(srv.Shutdown(ctx))
	})
	// Output:
	// server shutting down
	// <nil>
}
