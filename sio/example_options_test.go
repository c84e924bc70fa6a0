package sio_test

import (
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/parser"
)

// opening is a request that opens a session over polling.
const opening = "/socket.io/?EIO=4&transport=polling"

// Who may connect: pages of which origins, and who else AllowRequest lets in.
// Both come before any namespace's middleware.
func ExampleOptions_origins() {
	srv, err := sio.New(sio.Options{Engine: eio.Options{
		CORS: &eio.CORS{Origins: []string{"https://*.example.com"}},
		AllowRequest: func(r *http.Request) error {
			if r.URL.Query().Get("key") != "secret" {
				return &eio.Refusal{Message: "no key"}
			}
			return nil
		},
	}})
	if err != nil {
		log.Fatal(err)
	}

	demonstrate(srv, func(p *port) {
		fmt.Println(p.get(opening+"&key=secret", "Origin: https://elsewhere.org"))
		fmt.Println(p.get(opening, "Origin: https://app.example.com"))
		fmt.Println(p.get(opening+"&key=secret", "Origin: https://app.example.com")[:11])
	})
	// Output:
	// 403 {"code":4,"message":"origin https://elsewhere.org is not allowed"}
	// 403 {"code":4,"message":"no key"}
	// 200 0{"sid"
}

// A middleware sees every request of Engine.IO.
func ExampleOptions_middleware() {
	srv, err := sio.New(sio.Options{Engine: eio.Options{
		Middleware: func(w http.ResponseWriter, r *http.Request) (next bool) {
			if r.Header.Get("User-Agent") == "crawler" {
				http.Error(w, "nothing here for you", http.StatusTeapot)
				return false
			}
			w.Header().Set("X-Server", "example")
			return true
		},
	}})
	if err != nil {
		log.Fatal(err)
	}

	demonstrate(srv, func(p *port) {
		fmt.Println(p.get(opening, "User-Agent: crawler"))
		fmt.Println(p.get(opening, "User-Agent: browser")[:11])
	})
	// Output:
	// 418 nothing here for you
	// 200 0{"sid"
}

// What handlers return, and how they fail, is told to one function.
func ExampleOptions_onError() {
	reports := make(chan string, 4)
	srv, err := sio.New(sio.Options{
		OnError: func(s sio.Socket, event string, err error) {
			var bad *sio.DecodeError
			var panicked *sio.PanicError
			switch {
			case errors.As(err, &bad):
				reports <- fmt.Sprint(event, " had a wrong argument: ", bad.Arg)
			case errors.As(err, &panicked):
				reports <- fmt.Sprint(event, " panicked: ", panicked.Value)
			default:
				reports <- fmt.Sprint(event, " failed: ", err)
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	ns := srv.Of("/")
	sio.On(ns, "count", func(s sio.Socket, n int) error { panic("at the disco") })
	ns.Handle("save", func(s sio.Socket, m *sio.Msg) error { return errors.New("the disk is full") })
	sio.OnAck(ns, "load", func(s sio.Socket, name string) (string, error) {
		return "", errors.New("the database says too much")
	})

	demonstrate(srv, func(p *port) {
		c := p.connect()
		c.join("/")
		c.send(`2["count","many"]`, `2["count",1]`, `2["save"]`, `21["load","x"]`)
		for range 4 {
			fmt.Println(<-reports)
		}
		fmt.Println(c.receive())
	})
	// Output:
	// count had a wrong argument: 0
	// count panicked: at the disco
	// save failed: the disk is full
	// load failed: the database says too much
	// 31[{"error":"internal error"}]
}

// Bounds for what one client may ask of the server. Who goes too far is refused,
// or closed, and counted.
func ExampleOptions_limits() {
	srv, err := sio.New(sio.Options{
		MaxNamespaces: 1,
		MaxRooms:      2,
		MaxEventName:  16,
		Limits:        parser.Limits{MaxAttachments: 1, MaxDepth: 8},
		Engine:        eio.Options{MaxPayload: 10_000},
		Logger:        slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	srv.Of("/second")
	srv.Of("/").OnConnect(func(s sio.Socket) error {
		s.Join("a", "b", "c")
		return s.Emit("your rooms", s.Rooms()[1:])
	})

	demonstrate(srv, func(p *port) {
		c := p.connect()
		c.join("/")
		fmt.Println(c.receive())
		c.send("0/second,")
		fmt.Println(c.receive())
		fmt.Println(srv.Stats().Drops.Rooms, "room and", srv.Stats().Drops.Namespaces, "namespace too many")
	})
	// Output:
	// 2["your rooms",["a","b"]]
	// 4/second,{"message":"too many namespaces"}
	// 1 room and 1 namespace too many
}
