package sio_test

import (
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/parser"
	"github.com/sioedge/sioedge/sio/siotest"
)

// Who may connect: pages of which origins, and who else AllowRequest lets in.
// Both come before any namespace's middleware.
func ExampleOptions_origins() {
	srv := siotest.New(nil, sio.Options{Engine: eio.Options{
		CORS: &eio.CORS{Origins: []string{"https://*.example.com"}},
		AllowRequest: func(r *http.Request) error {
			if r.URL.Query().Get("key") != "secret" {
				return &eio.Refusal{Message: "no key"}
			}
			return nil
		},
	}})
	defer srv.Close()

	srv.Of("/")

	from := func(origin string, query url.Values) {
		_, err := srv.Try("/", siotest.Options{Polling: true, Query: query, Header: http.Header{"Origin": {origin}}})
		fmt.Println(err)
	}
	from("https://elsewhere.org", url.Values{"key": {"secret"}})
	from("https://app.example.com", nil)
	from("https://app.example.com", url.Values{"key": {"secret"}})
	// Output:
	// connect_error: 403 {"code":4,"message":"origin https://elsewhere.org is not allowed"}
	// connect_error: 403 {"code":4,"message":"no key"}
	// <nil>
}

// A middleware sees every request of Engine.IO.
func ExampleOptions_middleware() {
	srv := siotest.New(nil, sio.Options{Engine: eio.Options{
		Middleware: func(w http.ResponseWriter, r *http.Request) (next bool) {
			if r.Header.Get("User-Agent") == "crawler" {
				http.Error(w, "nothing here for you", http.StatusTeapot)
				return false
			}
			w.Header().Set("X-Server", "example")
			return true
		},
	}})
	defer srv.Close()

	srv.Of("/")

	for _, agent := range []string{"crawler", "browser"} {
		_, err := srv.Try("/", siotest.Options{Header: http.Header{"User-Agent": {agent}}})
		fmt.Println(err)
	}
	// Output:
	// connect_error: 418 nothing here for you
	// <nil>
}

// What handlers return, and how they fail, is told to one function.
func ExampleOptions_onError() {
	srv := siotest.New(nil, sio.Options{
		OnError: func(s sio.Socket, event string, err error) {
			var bad *sio.DecodeError
			var panicked *sio.PanicError
			switch {
			case errors.As(err, &bad):
				fmt.Println(event, "had a wrong argument:", bad.Arg)
			case errors.As(err, &panicked):
				fmt.Println(event, "panicked:", panicked.Value)
			default:
				fmt.Println(event, "failed:", err)
			}
		},
	})
	defer srv.Close()
	ns := srv.Of("/")
	sio.On(ns, "count", func(s sio.Socket, n int) error { panic("at the disco") })
	ns.Handle("save", func(s sio.Socket, m *sio.Msg) error { return errors.New("the disk is full") })
	sio.OnAck(ns, "load", func(s sio.Socket, name string) (string, error) {
		return "", errors.New("the database says too much")
	})

	c := srv.Connect("/")
	c.Emit("count", "many")
	c.Emit("count", 1)
	c.Emit("save")
	fmt.Println(c.EmitAck("load", "x").Args())
	// Output:
	// count had a wrong argument: 0
	// count panicked: at the disco
	// save failed: the disk is full
	// load failed: the database says too much
	// {"error":"internal error"}
}

// Bounds for what one client may ask of the server. Who goes too far is refused,
// or closed, and counted.
func ExampleOptions_limits() {
	srv := siotest.New(nil, sio.Options{
		MaxNamespaces: 1,
		MaxRooms:      2,
		MaxEventName:  16,
		Limits:        parser.Limits{MaxAttachments: 1, MaxDepth: 8},
		Engine:        eio.Options{MaxPayload: 10_000},
		Logger:        slog.New(slog.DiscardHandler),
	})
	defer srv.Close()
	srv.Of("/second")
	srv.Of("/").OnConnect(func(s sio.Socket) error {
		s.Join("a", "b", "c")
		return s.Emit("your rooms", s.Rooms()[1:])
	})

	c := srv.Connect("/")
	fmt.Println(c.Next())
	_, err := srv.Try("/second", siotest.Options{On: c})
	fmt.Println(err)
	fmt.Println(srv.Stats().Drops.Rooms, "room and", srv.Stats().Drops.Namespaces, "namespace too many")
	// Output:
	// "your rooms" ["a","b"]
	// connect_error: too many namespaces
	// 1 room and 1 namespace too many
}

// What has a name of Node's is set in Options, what is below in Engine and Loop.
func ExampleServer_Tune() {
	o := sio.Options{PingInterval: 10 * time.Second, MaxHTTPBufferSize: 100_000}
	o.Engine.MaxSessions = 50_000 // of Engine.IO
	o.Loop.SlowAfter = 5 * time.Second
	srv, err := sio.New(o)
	if err != nil {
		log.Fatal(err)
	}
	srv.Tune() // the process does little else
	fmt.Println(srv.Stats().Drops.Rooms)
	// Output:
	// 0
}
