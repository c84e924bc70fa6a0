package sio_test

import (
	"fmt"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// A chat whose rooms have a memory: who joins one is sent its last messages first.
func ExampleSocket_JoinReplay() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	chat := srv.Of("/")
	chat.KeepHistory(sio.History{
		Size: 100,
		Keep: func(event string) bool { return event == "message" }, // and not who is typing
	})
	sio.On(chat, "join", func(s sio.Socket, room string) error {
		s.JoinReplay([]string{room}, 2)
		return nil
	})
	sio.On(chat, "say", func(s sio.Socket, text string) error {
		return chat.To("kitchen").Emit("message", text)
	})

	alice, bob := srv.Connect("/"), srv.Connect("/")
	for _, text := range []string{"hello?", "anybody?", "well."} {
		alice.Emit("say", text)
	}
	bob.Emit("join", "kitchen")
	alice.Emit("say", "bob!")
	for range 3 {
		fmt.Println(bob.Next())
	}
	// Output:
	// "message" "anybody?"
	// "message" "well."
	// "message" "bob!"
}
