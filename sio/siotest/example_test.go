package siotest_test

import (
	"context"
	"fmt"
	"time"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// What main registers, and the test too.
func serveLobby(srv *sio.Server) {
	lobby := srv.Of("/")
	lobby.Use(func(s sio.Socket) error {
		var login struct{ Name string }
		if err := s.Auth(&login); err != nil || login.Name == "" {
			return &sio.Error{Message: "who are you?"}
		}
		s.SetData(login.Name)
		return nil
	})
	lobby.OnConnect(func(s sio.Socket) error {
		s.Join("lobby")
		return s.To("lobby").Emit("joined", s.Data())
	})
	sio.On(lobby, "say", func(s sio.Socket, text string) error {
		return s.To("lobby").Emit("said", s.Data(), text)
	})
	sio.OnAck(lobby, "move", func(s sio.Socket, to string) (string, error) {
		ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
		defer cancel()
		sure, err := sio.Ask[bool](ctx, s, "sure?")
		if err != nil || !sure {
			return "", &sio.Error{Message: "stayed"}
		}
		s.Leave("lobby")
		s.Join(to)
		return to, nil
	})
}

// The test of a chat: here without a *testing.T, which New takes in a test.
func Example() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	serveLobby(srv.Server)

	_, err := srv.Try("/", siotest.Options{})
	fmt.Println(err)

	login := func(name string) siotest.Options { return siotest.Options{Auth: map[string]string{"name": name}} }
	alice := srv.ConnectWith("/", login("alice"))
	bob := srv.ConnectWith("/", login("bob"))
	fmt.Println(alice.Expect("joined"))

	bob.Emit("say", "hello")
	var who, text string
	alice.Expect("said", &who, &text)
	fmt.Println(who, "says", text)
	bob.ExpectNothing()

	// The handler asks back, and its answer waits for that of the test.
	moved := bob.EmitAck("move", "kitchen")
	bob.Expect("sure?").Ack(true)
	fmt.Println("bob is in the", moved.Args())

	// Who does not answer in time stays.
	moved = alice.EmitAck("move", "kitchen")
	srv.Advance(10 * time.Second)
	fmt.Println("alice:", moved.Args())

	// Whom it reached, also if that is nobody.
	alice.Emit("say", "is anybody here?")
	fmt.Println(srv.ExpectEmit("said"))
	fmt.Println(srv.ExpectEmit("said").Reached())
	// Output:
	// connect_error: who are you?
	// "joined" "bob"
	// bob says hello
	// bob is in the "kitchen"
	// alice: {"error":"stayed"}
	// "said" "bob", "hello" in / to ["lobby"] for 1 sockets
	// true
}

// A client that lost its connection comes back, and has what it missed.
func ExampleClient_Reconnect() {
	srv := siotest.New(nil, sio.Options{Recovery: sio.Recovery{Window: time.Minute}})
	defer srv.Close()
	news := srv.Of("/news")
	c := srv.Connect("/news")
	emit := func(text string) {
		if err := news.Emit("news", text); err != nil {
			panic(err)
		}
	}
	emit("one")
	fmt.Println(siotest.Expect[string](c, "news"))
	c.Drop()
	emit("two")
	fmt.Println(c.Reconnect(), c.Recovered())
	fmt.Println(siotest.Expect[string](c, "news"))
	// Output:
	// one
	// <nil> true
	// two
}
