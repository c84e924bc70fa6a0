package sio_test

import (
	"encoding/json"
	"fmt"
	"log"
	"strings"

	"github.com/sioedge/sioedge/sio"
)

// Namespaces with parameters. Each name that clients join is an instance of its
// own.
func ExampleServer_Of() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	trends := srv.Of("/campaigns/:id/trends")
	trends.OnConnect(func(s sio.Socket) error {
		return s.Emit("trends of", s.Param("id"))
	})
	files := srv.Of("/files/*path")
	files.OnConnect(func(s sio.Socket) error {
		return s.Emit("changes below", s.Param("path"))
	})

	demonstrate(srv, func(p *port) {
		c := p.connect()
		c.join("/campaigns/42/trends")
		fmt.Println(c.receive())
		c.join("/files/music/2026")
		fmt.Println(c.receive())
		c.send("0/campaigns,")
		fmt.Println(c.receive())
	})
	// Output:
	// 2/campaigns/42/trends,["trends of","42"]
	// 2/files/music/2026,["changes below","music/2026"]
	// 4/campaigns,{"message":"Invalid namespace"}
}

// To all instances of a namespace, and to one.
func ExampleNamespace_Instance() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	boards := srv.Of("/boards/:id")

	demonstrate(srv, func(p *port) {
		ann, bob := p.connect(), p.connect()
		ann.join("/boards/1")
		bob.join("/boards/2")
		if err := boards.Instance("/boards/2").Emit("only", "in 2"); err != nil {
			log.Fatal(err)
		}
		if err := boards.Emit("closing", "soon"); err != nil {
			log.Fatal(err)
		}
		fmt.Println(ann.receive())
		fmt.Println(bob.receive())
		fmt.Println(bob.receive())
	})
	// Output:
	// 2/boards/1,["closing","soon"]
	// 2/boards/2,["only","in 2"]
	// 2/boards/2,["closing","soon"]
}

// Namespaces whose names only a function can tell.
func ExampleServer_OfFunc() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	tenants := map[string]bool{"acme": true}
	ns := srv.OfFunc(func(name string, auth json.RawMessage) bool {
		tenant, ok := strings.CutPrefix(name, "/tenant-")
		return ok && tenants[tenant]
	})
	ns.OnConnect(func(s sio.Socket) error { return s.Emit("welcome to", s.Name()) })

	demonstrate(srv, func(p *port) {
		c := p.connect()
		c.send("0/tenant-nobody,")
		fmt.Println(c.receive())
		c.join("/tenant-acme")
		fmt.Println(c.receive())
	})
	// Output:
	// 4/tenant-nobody,{"message":"Invalid namespace"}
	// 2/tenant-acme,["welcome to","/tenant-acme"]
}

// A namespace that admits who knows the word, and tells the others why not.
func ExampleNamespace_Use() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
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

	demonstrate(srv, func(p *port) {
		c := p.connect()
		c.send(`0/admin,{"token":"guess"}`)
		fmt.Println(c.receive())
		c.send(`0/admin,{"name":"Ann","token":"secret"}`)
		c.receive() // the answer, with an id
		fmt.Println(c.receive())
	})
	// Output:
	// 4/admin,{"message":"not authorized","data":{"code":401}}
	// 2/admin,["welcome","Ann"]
}

// What the client's first request said.
func ExampleSocket_Handshake() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	srv.Of("/").OnConnect(func(s sio.Socket) error {
		h := s.Handshake()
		return s.Emit("you are", h.Header().Get("User-Agent"), h.Query().Get("transport"), h.Address().Addr().IsLoopback())
	})

	demonstrate(srv, func(p *port) {
		c := p.connect("User-Agent: example")
		c.join("/")
		fmt.Println(c.receive())
	})
	// Output:
	// 2["you are","example","websocket",true]
}
