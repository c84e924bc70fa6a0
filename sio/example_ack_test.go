package sio_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// The client asks and is answered; the server asks the client in turn.
func ExampleOnAck() {
	type Order struct {
		Item  string `json:"item"`
		Count int    `json:"count"`
	}
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
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

	demonstrate(srv, func(p *port) {
		c := p.connect()
		c.join("/")
		c.send(`21["order",{"item":"tea","count":3}]`)
		fmt.Println(c.receive())
		c.send("30[true]")
		fmt.Println(c.receive())
		c.send(`22["order",{"item":"tea","count":30}]`)
		fmt.Println(c.receive())
	})
	// Output:
	// 20["sure?",3]
	// 31["3 tea ordered"]
	// 32[{"error":"we have no more than 10"}]
}

// A client that does not answer in time, and one that leaves instead.
func ExampleAsk() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	sio.On(srv.Of("/"), "begin", func(s sio.Socket, patience string) error {
		wait, err := time.ParseDuration(patience)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), wait)
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

	demonstrate(srv, func(p *port) {
		c := p.connect()
		c.join("/")
		c.send(`2["begin","10s"]`)
		fmt.Println(c.receive())
		c.send(`30["Ann"]`)
		fmt.Println(c.receive())
		c.send(`2["begin","1ms"]`)
		fmt.Println(c.receive())
		fmt.Println(c.receive())
		c.send(`2["begin","10s"]`)
		fmt.Println(c.receive())
		c.send("1")
	})
	// Output:
	// 20["who are you?"]
	// 2["hello","Ann"]
	// 21["who are you?"]
	// 2["too late"]
	// 22["who are you?"]
	// gone
}

// An answer of several values, one of them binary.
func ExampleSocket_EmitAck() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
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

	demonstrate(srv, func(p *port) {
		c := p.connect()
		c.join("/")
		fmt.Println(c.receive())
		c.send(`61-0["png",{"_placeholder":true,"num":0}]`, "<89504e47>")
		fmt.Println(c.receive())
	})
	// Output:
	// 20["picture?",64,64]
	// 2["thanks","png",4]
}

// A question to all that are in a room.
func ExampleBroadcastOperator_EmitAck() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	voters := srv.Of("/")
	voters.Use(func(s sio.Socket) error { s.Join("voters"); return nil })

	demonstrate(srv, func(p *port) {
		for _, vote := range []string{`["yes"]`, `["yes"]`, `["no"]`} {
			c := p.connect()
			c.join("/")
			// ends when it has answered
			go func() { c.send("3" + idOf(c.receive()) + vote) }()
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
	})
	// Output:
	// 2 of 3
}

// The vote ends after a minute, or when the first voter says so. Who has not
// answered by then is left out.
func ExampleBroadcastOperator_EmitAck_partial() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	voters := srv.Of("/")
	voters.HandleInline("end", func(s sio.Socket, m *sio.Msg) error { cancel(); return nil })

	demonstrate(srv, func(p *port) {
		first, second := p.connect(), p.connect()
		first.join("/")
		second.join("/")
		// ends when it has answered
		go func() { first.send("3"+idOf(first.receive())+`["yes"]`, `2["end"]`) }()
		answers, err := voters.All().EmitAck(ctx, "vote", "shall we?")
		fmt.Println(len(answers), err)
	})
	// Output:
	// 1 context canceled
}

// idOf returns the id of an event that is to be acknowledged.
func idOf(packet string) string {
	id, _, _ := strings.Cut(strings.TrimPrefix(packet, "2"), "[")
	return id
}
