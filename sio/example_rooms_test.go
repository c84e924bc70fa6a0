package sio_test

import (
	"context"
	"fmt"
	"log"
	"slices"
	"time"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// A socket speaks to the others: to those in a room, to all, to all but some.
func ExampleSocket_To() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	ns := srv.Of("/")
	sio.On(ns, "join", func(s sio.Socket, rooms []string) error {
		s.Join(rooms...)
		return nil
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

	rooms := [][]string{{"sopranos"}, {"tenors", "basses"}, {"tenors", "soloists"}}
	var singers []*siotest.Client
	for _, r := range rooms {
		c := srv.Connect("/")
		c.Emit("join", r)
		singers = append(singers, c)
	}
	singers[0].Emit("speak")
	for i, s := range singers {
		fmt.Println(rooms[i], s.Received())
	}
	// Output:
	// [sopranos] []
	// [tenors basses] ["to everybody else" "to the men" "to the choir"]
	// [tenors soloists] ["to everybody else" "to the men"]
}

// A socket's rooms. The first is its own id.
func ExampleSocket_Join() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	srv.Of("/").OnConnect(func(s sio.Socket) error {
		s.Join("news", "sports", "weather")
		s.Leave("sports")
		rooms := s.Rooms()
		return s.Emit("your rooms", rooms[0] == s.ID(), rooms[1:])
	})

	fmt.Println(srv.Connect("/").Next())
	// Output:
	// "your rooms" true, ["news","weather"]
}

// A private message: a socket's id is a room.
func ExampleNamespace_To() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	chat := srv.Of("/")
	chat.Handle("private", func(s sio.Socket, m *sio.Msg) error {
		var to, text string
		if err := m.Decode(&to, &text); err != nil {
			return err
		}
		return chat.To(to).Emit("private", text)
	})

	ann, bob := srv.Connect("/"), srv.Connect("/")
	ann.Emit("private", bob.ID(), "hi Bob")
	fmt.Println(bob.Next())
	// Output:
	// "private" "hi Bob"
}

// Operators do to many what a Socket's methods do to one.
func ExampleBroadcastOperator_Sockets() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
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

	var players []*siotest.Client
	for _, name := range []string{"Ann", "Bob", "Cy"} {
		players = append(players, srv.ConnectWith("/", siotest.Options{Auth: map[string]string{"name": name}}))
	}
	game := ns.To("game")
	ns.All().Join("game")
	srv.Settle()
	fmt.Println(names(game))
	game.Except("guests").Join("members")
	game.Leave("game")
	srv.Settle()
	fmt.Println(names(game), names(ns.To("members")))
	ns.To("members").Disconnect(sio.DisconnectOptions{})
	fmt.Println(players[0].ExpectDisconnect().Reason, names(ns.All()))
	// Output:
	// [Ann Bob Cy]
	// [] [Ann Bob Cy]
	// io server disconnect []
}

// The sockets of all servers, where there are several; who they are is a copy.
func ExampleBroadcastOperator_FetchSockets() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	ns := srv.Of("/")
	ns.Use(func(s sio.Socket) error {
		s.SetData(map[string]any{"name": "Ann"})
		s.Join("lobby")
		return nil
	})

	c := srv.Connect("/")
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
		fmt.Println(user.Name, slices.Contains(s.Rooms(), "lobby"), s.ID() == c.ID())
	}
	// Output:
	// Ann true true
}
