package sio_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/sioedge/sioedge/sio"
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
	srv, err := sio.New(sio.Options{
		OnError: func(s sio.Socket, event string, err error) {
			var e *sio.DecodeError
			fmt.Println(event, "was not handled:", errors.As(err, &e) && e.Arg == 0)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	sio.On(srv.Of("/"), "move", func(s sio.Socket, m Move) error {
		return s.Emit("moved", m.Piece+m.To)
	})

	demonstrate(srv, func(p *port) {
		c := p.connect()
		c.join("/")
		c.send(`2["move","to the left"]`)
		c.send(`2["move",{"piece":"N","to":"f3"}]`)
		fmt.Println(c.receive())
	})
	// Output:
	// move was not handled: true
	// 2["moved","Nf3"]
}

// Several arguments, of which the client may leave some out.
func ExampleNamespace_Handle() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	srv.Of("/").Handle("sum", func(s sio.Socket, m *sio.Msg) error {
		x, y := 0.0, 1.0
		if err := m.Decode(&x, &y); err != nil {
			return err
		}
		return m.Ack(x+y, m.Len())
	})

	demonstrate(srv, func(p *port) {
		c := p.connect()
		c.join("/")
		c.send(`21["sum",40,2]`)
		fmt.Println(c.receive())
		c.send(`22["sum",40]`)
		fmt.Println(c.receive())
	})
	// Output:
	// 31[42,2]
	// 32[41,1]
}

// A relay: events that have no handler of their own go to the others as they
// came, attachments included, and are not decoded.
func ExampleNamespace_HandleAny() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	srv.Of("/").HandleAny(func(s sio.Socket, m *sio.Msg) error {
		return s.Broadcast().Emit(m.Event(), m.Args)
	})

	demonstrate(srv, func(p *port) {
		ann, bob := p.connect(), p.connect()
		ann.join("/")
		bob.join("/")
		ann.send(`2["anything",{"at":[1,2]},"now"]`, `51-["file",{"_placeholder":true,"num":0}]`, "<0102>")
		fmt.Println(bob.receive())
		fmt.Println(bob.receive(), bob.receive())
	})
	// Output:
	// 2["anything",{"at":[1,2]},"now"]
	// 51-["file",{"_placeholder":true,"num":0}] <0102>
}

// What comes often and takes no time is handled on the event loop, without a
// goroutine and without decoding.
func ExampleNamespace_HandleInline() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	srv.Of("/").HandleInline("cursor", func(s sio.Socket, m *sio.Msg) error {
		return s.Broadcast().Volatile().Emit("cursor", m.Raw(0))
	})

	demonstrate(srv, func(p *port) {
		ann, bob := p.connect(), p.connect()
		ann.join("/")
		bob.join("/")
		ann.send(`2["cursor",{"x":17,"y":4}]`)
		fmt.Println(bob.receive())
	})
	// Output:
	// 2["cursor",{"x":17,"y":4}]
}

// A wrapper around the handlers of all events.
func ExampleNamespace_UseEvent() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
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

	demonstrate(srv, func(p *port) {
		c := p.connect()
		c.join("/")
		c.send(`21["admin:stop"]`)
		fmt.Println(c.receive())
		c.send(`22["ask"]`)
		fmt.Println(c.receive())
	})
	// Output:
	// 31["not for you"]
	// handling ask
	// 32["answered"]
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
	srv, err := sio.New(sio.Options{OnError: func(sio.Socket, string, error) {}})
	if err != nil {
		log.Fatal(err)
	}
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

	demonstrate(srv, func(p *port) {
		c := p.connect()
		c.join("/")
		c.send(`2["order",1]`, `2["nobody handles this"]`)
		c.send("1") // leave
	})
	// Output:
	// /order/SELECT ended: <nil>
	// /order ended: sold out
	// /nobody handles this ended: <nil>
}

// A wrapper around all that is emitted.
func ExampleNamespace_UseEmit() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
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

	demonstrate(srv, func(p *port) {
		c := p.connect()
		c.join("/")
		fmt.Println(c.receive())
	})
	// Output:
	// 2["welcome","v2"]
}

// An event whose argument the compiler checks where it is emitted and where it
// is handled.
func ExampleEvent() {
	type Move struct {
		X int `json:"x"`
		Y int `json:"y"`
	}
	const Moved = sio.Event[Move]("moved")

	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	board := srv.Of("/")
	Moved.On(board, func(s sio.Socket, m Move) error {
		m.X++
		return Moved.Emit(board, m)
	})

	demonstrate(srv, func(p *port) {
		c := p.connect()
		c.join("/")
		c.send(`2["moved",{"x":1,"y":2}]`)
		fmt.Println(c.receive())
	})
	// Output:
	// 2["moved",{"x":2,"y":2}]
}
