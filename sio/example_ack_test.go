package sio_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// The client asks and is answered; the server asks the client in turn.
func ExampleOnAck() {
	type Order struct {
		Item  string `json:"item"`
		Count int    `json:"count"`
	}
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	sio.OnAck(srv.Of("/"), "order", func(s sio.Socket, o Order) (string, error) {
		if o.Count > 10 {
			return "", &sio.Error{Message: "we have no more than 10"}
		}
		ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
		defer cancel()
		sure, err := sio.Ask[bool](ctx, s, "sure?", o.Count)
		if err != nil || !sure {
			return "cancelled", err
		}
		return fmt.Sprintf("%d %s ordered", o.Count, o.Item), nil
	})

	c := srv.Connect("/")
	order := c.EmitAck("order", Order{"tea", 3})
	question := c.Next()
	fmt.Println(question)
	question.Ack(true)
	fmt.Println(order.Args())
	fmt.Println(c.EmitAck("order", Order{"tea", 30}).Args())
	// Output:
	// "sure?" 3
	// "3 tea ordered"
	// {"error":"we have no more than 10"}
}

// A client that does not answer in time, and one that leaves instead.
func ExampleAsk() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	srv.Of("/").Handle("begin", func(s sio.Socket, _ *sio.Msg) error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		name, err := sio.Ask[string](ctx, s, "who are you?")
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return s.Emit("too late")
		case errors.Is(err, sio.ErrClosed):
			fmt.Println("gone")
			return nil
		case err != nil:
			return err
		}
		return s.Emit("hello", name)
	})

	c := srv.Connect("/")
	c.Emit("begin")
	c.Expect("who are you?").Ack("Ann")
	fmt.Println(c.Next())
	c.Emit("begin")
	c.Expect("who are you?")
	srv.Advance(10 * time.Second)
	fmt.Println(c.Next())
	c.Emit("begin")
	c.Disconnect()
	// Output:
	// "hello" "Ann"
	// "too late"
	// gone
}

// An answer of several values, one of them binary.
func ExampleSocket_EmitAck() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	srv.Of("/").OnConnect(func(s sio.Socket) error {
		ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
		defer cancel()
		answer, err := s.EmitAck(ctx, "picture?", 64, 64)
		if err != nil {
			return err
		}
		var kind string
		var pixels []byte
		if err := answer.Decode(&kind, &pixels); err != nil {
			return err
		}
		return s.Emit("thanks", kind, len(pixels))
	})

	c := srv.Connect("/")
	c.Expect("picture?").Ack("png", []byte("\x89PNG"))
	fmt.Println(c.Next())
	// Output:
	// "thanks" "png", 4
}

// A question to all that are in a room.
func ExampleBroadcastOperator_EmitAck() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	voters := srv.Of("/")
	voters.Use(func(s sio.Socket) error { s.Join("voters"); return nil })

	for _, vote := range []string{"yes", "yes", "no"} {
		srv.Connect("/").Answer("vote", func(siotest.Args) []any { return []any{vote} })
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answers, err := voters.To("voters").EmitAck(ctx, "vote", "shall we?")
	if err != nil {
		log.Fatal(err)
	}
	yes := 0
	for _, a := range answers {
		var vote string
		if err := a.Decode(&vote); err == nil && vote == "yes" {
			yes++
		}
	}
	fmt.Println(yes, "of", len(answers))
	// Output:
	// 2 of 3
}

// The vote ends after a minute, or when the first voter says so. Who has not
// answered by then is left out.
func ExampleBroadcastOperator_EmitAck_partial() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	voters := srv.Of("/")
	voters.HandleInline("end", func(s sio.Socket, m *sio.Msg) error { cancel(); return nil })

	first := srv.Connect("/")
	srv.Connect("/") // does not answer
	// ends when it has answered
	go func() {
		first.Await("vote").Ack("yes")
		first.Emit("end")
	}()
	answers, err := voters.All().EmitAck(ctx, "vote", "shall we?")
	fmt.Println(len(answers), err)
	// Output:
	// 1 context canceled
}

// A question for which no goroutine waits.
func ExampleAskFunc() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	srv.Of("/").OnConnect(func(s sio.Socket) error {
		sio.AskFunc(s, 10*time.Second, "who are you?", nil, func(name string, err error) {
			fmt.Println(name, err)
		})
		return nil
	})

	c := srv.Connect("/")
	c.Expect("who are you?").Ack("Ann")
	srv.Connect("/")
	srv.Advance(10 * time.Second)
	// Output:
	// Ann <nil>
	//  context deadline exceeded
}
