package sio_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// A chat with rooms.
func Example() {
	type Chat struct{ Room, Text string }

	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	chat := srv.Of("/")
	sio.On(chat, "join", func(s sio.Socket, room string) error {
		s.Join(room)
		return s.To(room).Emit("joined", s.ID())
	})
	sio.On(chat, "chat", func(s sio.Socket, m Chat) error {
		return s.To(m.Room).Emit("chat", m.Text)
	})
	if err := srv.ListenAndServe(":3000"); !errors.Is(err, sio.ErrServerClosed) {
		log.Fatal(err)
	}
}

// An event whose argument is decoded before the handler is called. What does not
// fit the type never reaches it.
func ExampleOn() {
	type Move struct {
		Piece string `json:"piece"`
		To    string `json:"to"`
	}
	srv := siotest.New(nil, sio.Options{
		OnError: func(s sio.Socket, event string, err error) {
			var e *sio.DecodeError
			fmt.Println(event, "was not handled:", errors.As(err, &e) && e.Arg == 0)
		},
	})
	defer srv.Close()
	sio.On(srv.Of("/"), "move", func(s sio.Socket, m Move) error {
		return s.Emit("moved", m.Piece+m.To)
	})

	c := srv.Connect("/")
	c.Emit("move", "to the left")
	c.Emit("move", Move{"N", "f3"})
	fmt.Println(c.Next())
	// Output:
	// move was not handled: true
	// "moved" "Nf3"
}

// Several arguments, of which the client may leave some out.
func ExampleNamespace_Handle() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	srv.Of("/").Handle("sum", func(s sio.Socket, m *sio.Msg) error {
		x, y := 0.0, 1.0
		if err := m.Decode(&x, &y); err != nil {
			return err
		}
		return m.Ack(x+y, m.Len())
	})

	c := srv.Connect("/")
	fmt.Println(c.EmitAck("sum", 40, 2).Args())
	fmt.Println(c.EmitAck("sum", 40).Args())
	// Output:
	// 42, 2
	// 41, 1
}

// A relay: events that have no handler of their own go to the others as they
// came, attachments included, and are not decoded.
func ExampleNamespace_HandleAny() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	srv.Of("/").HandleAny(func(s sio.Socket, m *sio.Msg) error {
		return s.Broadcast().Emit(m.Event(), m.Args)
	})

	ann, bob := srv.Connect("/"), srv.Connect("/")
	ann.Emit("anything", map[string][]int{"at": {1, 2}}, "now")
	ann.Emit("file", []byte{1, 2})
	fmt.Println(bob.Next())
	fmt.Println(bob.Next().Binary())
	// Output:
	// "anything" {"at":[1,2]}, "now"
	// [[1 2]]
}

// What comes often and takes no time is handled on the event loop, without a
// goroutine and without decoding.
func ExampleNamespace_HandleInline() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	srv.Of("/").HandleInline("cursor", func(s sio.Socket, m *sio.Msg) error {
		return s.Broadcast().Volatile().Emit("cursor", m.Raw(0))
	})

	ann, bob := srv.Connect("/"), srv.Connect("/")
	ann.Emit("cursor", map[string]int{"x": 17, "y": 4})
	fmt.Println(bob.Next())
	// Output:
	// "cursor" {"x":17,"y":4}
}

// A wrapper around the handlers of all events.
func ExampleNamespace_UseEvent() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	ns := srv.Of("/")
	ns.UseEvent(func(next sio.Handler) sio.Handler {
		return func(s sio.Socket, m *sio.Msg) error {
			if strings.HasPrefix(m.Event(), "admin:") && s.Data() != "admin" {
				return m.Ack("not for you")
			}
			fmt.Println("handling", m.Event())
			return next(s, m)
		}
	})
	ns.Handle("admin:stop", func(s sio.Socket, m *sio.Msg) error { return m.Ack("stopped") })
	ns.Handle("ask", func(s sio.Socket, m *sio.Msg) error { return m.Ack("answered") })

	c := srv.Connect("/")
	fmt.Println(c.EmitAck("admin:stop").Args())
	fmt.Println(c.EmitAck("ask").Args())
	// Output:
	// "not for you"
	// handling ask
	// "answered"
}

// A span for each event, with what its handler does below it, as OpenTelemetry's
// are: startSpan stands for tracer.Start, and what it returns for the span.
func ExampleNamespace_UseEvent_tracing() {
	type parent struct{}
	startSpan := func(ctx context.Context, name string) (context.Context, func(err error)) {
		above, _ := ctx.Value(parent{}).(string)
		path := above + "/" + name
		return context.WithValue(ctx, parent{}, path), func(err error) { fmt.Println(path, "ended:", err) }
	}
	srv := siotest.New(nil, sio.Options{OnError: func(sio.Socket, string, error) {}})
	defer srv.Close()
	ns := srv.Of("/")
	ns.UseEvent(func(next sio.Handler) sio.Handler {
		return func(s sio.Socket, m *sio.Msg) error {
			ctx, end := startSpan(m.Context(), m.Event()) // with s.Name(), s.ID() and m.Len() as attributes
			err := next(s, m.WithContext(ctx))
			end(err)
			return err
		}
	})
	ns.Handle("order", func(s sio.Socket, m *sio.Msg) error {
		_, end := startSpan(m.Context(), "SELECT") // as a database's package would
		end(nil)
		return errors.New("sold out")
	})

	c := srv.Connect("/")
	c.Emit("order", 1)
	c.Emit("nobody handles this")
	// Output:
	// /order/SELECT ended: <nil>
	// /order ended: sold out
	// /nobody handles this ended: <nil>
}

// A wrapper around all that is emitted.
func ExampleNamespace_UseEmit() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	ns := srv.Of("/")
	ns.UseEmit(func(next sio.EmitFunc) sio.EmitFunc {
		return func(to sio.BroadcastOperator, event string, args ...any) error {
			if event == "debug" {
				return nil // to nobody
			}
			return next(to, event, append(args[:len(args):len(args)], "v2")...)
		}
	})
	ns.OnConnect(func(s sio.Socket) error {
		if err := s.Emit("debug", "connected"); err != nil {
			return err
		}
		return s.Emit("welcome")
	})

	fmt.Println(srv.Connect("/").Next())
	// Output:
	// "welcome" "v2"
}

// An event whose argument the compiler checks where it is emitted and where it
// is handled.
func ExampleEvent() {
	type Move struct {
		X int `json:"x"`
		Y int `json:"y"`
	}
	const Moved = sio.Event[Move]("moved")

	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	board := srv.Of("/")
	Moved.On(board, func(s sio.Socket, m Move) error {
		m.X++
		return Moved.Emit(board, m)
	})

	c := srv.Connect("/")
	c.Emit("moved", Move{1, 2})
	fmt.Println(c.Next())
	// Output:
	// "moved" {"x":2,"y":2}
}
