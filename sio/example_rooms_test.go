package sio_test

import (
	"context"
	"fmt"
	"log"
	"slices"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// A socket speaks to the others: to those in a room, to all, to all but some.
func ExampleSocket_To() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ns := srv.Of("/")
	sio.On(ns, "join", func(s sio.Socket, rooms []string) error {
		s.Join(rooms...)
		return s.Emit("joined")
	})
	ns.Handle("speak", func(s sio.Socket, m *sio.Msg) error {
		if err := s.Broadcast().Emit("to everybody else"); err != nil {
			return err
		}
		if err := s.To("tenors", "basses").Emit("to the men"); err != nil {
			return err
		}
		return s.To("tenors", "basses").Except("soloists").Emit("to the choir")
	})

	demonstrate(srv, func(p *port) {
		rooms := []string{`["sopranos"]`, `["tenors","basses"]`, `["tenors","soloists"]`}
		var singers []*demo
		for _, r := range rooms {
			c := p.connect()
			c.join("/")
			c.send(`2["join",` + r + `]`)
			c.receive()
			singers = append(singers, c)
		}
		singers[0].send(`2["speak"]`)
		for i, n := range []int{3, 2} {
			for range n {
				fmt.Println(rooms[i+1], singers[i+1].receive())
			}
		}
	})
	// Output:
	// ["tenors","basses"] 2["to everybody else"]
	// ["tenors","basses"] 2["to the men"]
	// ["tenors","basses"] 2["to the choir"]
	// ["tenors","soloists"] 2["to everybody else"]
	// ["tenors","soloists"] 2["to the men"]
}

// A socket's rooms. The first is its own id.
func ExampleSocket_Join() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	srv.Of("/").OnConnect(func(s sio.Socket) error {
		s.Join("news", "sports", "weather")
		s.Leave("sports")
		rooms := s.Rooms()
		return s.Emit("your rooms", rooms[0] == s.ID(), rooms[1:])
	})

	demonstrate(srv, func(p *port) {
		c := p.connect()
		c.join("/")
		fmt.Println(c.receive())
	})
	// Output:
	// 2["your rooms",true,["news","weather"]]
}

// A private message: a socket's id is a room.
func ExampleNamespace_To() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	chat := srv.Of("/")
	chat.Handle("private", func(s sio.Socket, m *sio.Msg) error {
		var to, text string
		if err := m.Decode(&to, &text); err != nil {
			return err
		}
		return chat.To(to).Emit("private", text)
	})

	demonstrate(srv, func(p *port) {
		ann, bob := p.connect(), p.connect()
		ann.join("/")
		bob.join("/")
		ann.send(fmt.Sprintf(`2["private",%q,"hi Bob"]`, bob.sid))
		fmt.Println(bob.receive())
	})
	// Output:
	// 2["private","hi Bob"]
}

// Operators do to many what a Socket's methods do to one.
func ExampleBroadcastOperator_Sockets() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ns := srv.Of("/")
	ns.Use(func(s sio.Socket) error {
		var login struct{ Name string }
		err := s.Auth(&login)
		s.SetData(login.Name)
		return err
	})
	names := func(b sio.BroadcastOperator) (all []string) {
		for _, s := range b.Sockets() {
			all = append(all, s.Data().(string))
		}
		slices.Sort(all)
		return all
	}

	demonstrate(srv, func(p *port) {
		var players []*demo
		for _, name := range []string{"Ann", "Bob", "Cy"} {
			c := p.connect()
			c.send(fmt.Sprintf(`0{"name":%q}`, name))
			c.receive()
			players = append(players, c)
		}
		game := ns.To("game")
		ns.All().Join("game")
		fmt.Println(names(game))
		game.Except("guests").Join("members")
		game.Leave("game")
		fmt.Println(names(game), names(ns.To("members")))
		ns.To("members").Disconnect(sio.DisconnectOptions{})
		fmt.Println(players[0].receive(), names(ns.All()))
	})
	// Output:
	// [Ann Bob Cy]
	// [] [Ann Bob Cy]
	// 1 []
}

// The sockets of all servers, where there are several; who they are is a copy.
func ExampleBroadcastOperator_FetchSockets() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ns := srv.Of("/")
	ns.Use(func(s sio.Socket) error {
		s.SetData(map[string]any{"name": "Ann"})
		s.Join("lobby")
		return nil
	})

	demonstrate(srv, func(p *port) {
		c := p.connect()
		c.join("/")
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		all, err := ns.To("lobby").FetchSockets(ctx)
		if err != nil {
			log.Fatal(err)
		}
		for _, s := range all {
			var user struct{ Name string }
			if err := s.Data(&user); err != nil {
				log.Fatal(err)
			}
			fmt.Println(user.Name, slices.Contains(s.Rooms(), "lobby"), s.ID() == c.sid)
		}
	})
	// Output:
	// Ann true true
}
