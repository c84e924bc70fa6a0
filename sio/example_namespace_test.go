package sio_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"strings"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// Namespaces with parameters. Each name that clients join is an instance of its
// own.
func ExampleServer_Of() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	trends := srv.Of("/campaigns/:id/trends")
	trends.OnConnect(func(s sio.Socket) error {
		return s.Emit("trends of", s.Param("id"))
	})
	files := srv.Of("/files/*path")
	files.OnConnect(func(s sio.Socket) error {
		return s.Emit("changes below", s.Param("path"))
	})

	fmt.Println(srv.Connect("/campaigns/42/trends").Next())
	fmt.Println(srv.Connect("/files/music/2026").Next())
	_, err := srv.Try("/campaigns", siotest.Options{})
	fmt.Println(err)
	// Output:
	// "trends of" "42"
	// "changes below" "music/2026"
	// connect_error: Invalid namespace
}

// To all instances of a namespace, and to one.
func ExampleNamespace_Instance() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	boards := srv.Of("/boards/:id")

	ann, bob := srv.Connect("/boards/1"), srv.Connect("/boards/2")
	if err := boards.Instance("/boards/2").Emit("only", "in 2"); err != nil {
		log.Fatal(err)
	}
	if err := boards.Emit("closing", "soon"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(ann.Received())
	fmt.Println(bob.Received())
	// Output:
	// ["closing" "soon"]
	// ["only" "in 2" "closing" "soon"]
}

// Namespaces whose names only a function can tell.
func ExampleServer_OfFunc() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	tenants := map[string]bool{"acme": true}
	ns := srv.OfFunc(func(name string, auth json.RawMessage) bool {
		tenant, ok := strings.CutPrefix(name, "/tenant-")
		return ok && tenants[tenant]
	})
	ns.OnConnect(func(s sio.Socket) error { return s.Emit("welcome to", s.Name()) })

	_, err := srv.Try("/tenant-nobody", siotest.Options{})
	fmt.Println(err)
	fmt.Println(srv.Connect("/tenant-acme").Next())
	// Output:
	// connect_error: Invalid namespace
	// "welcome to" "/tenant-acme"
}

// A namespace that admits who knows the word, and tells the others why not.
func ExampleNamespace_Use() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	admin := srv.Of("/admin")
	admin.Use(func(s sio.Socket) error {
		var login struct{ Name, Token string }
		if err := s.Auth(&login); err != nil || login.Token != "secret" {
			return &sio.Error{Message: "not authorized", Data: map[string]int{"code": 401}}
		}
		s.SetData(login.Name)
		return nil
	})
	admin.OnConnect(func(s sio.Socket) error { return s.Emit("welcome", s.Data()) })

	_, err := srv.Try("/admin", siotest.Options{Auth: map[string]string{"token": "guess"}})
	var refused *siotest.ConnectError
	if errors.As(err, &refused) {
		fmt.Println(refused.Message, string(refused.Data))
	}
	c := srv.ConnectWith("/admin", siotest.Options{Auth: map[string]string{"name": "Ann", "token": "secret"}})
	fmt.Println(c.Next())
	// Output:
	// not authorized {"code":401}
	// "welcome" "Ann"
}

// What the client's first request said.
func ExampleSocket_Handshake() {
	srv := siotest.New(nil, sio.Options{})
	defer srv.Close()
	srv.Of("/").OnConnect(func(s sio.Socket) error {
		h := s.Handshake()
		return s.Emit("you are", h.Header().Get("User-Agent"), h.Query().Get("transport"), h.Address().IsValid())
	})

	c := srv.ConnectWith("/", siotest.Options{Header: http.Header{"User-Agent": {"example"}}})
	fmt.Println(c.Next())
	// Output:
	// "you are" "example", "websocket", true
}
