package sio_test

import (
	"context"
	"log"
	"net/http"

	"github.com/sioedge/sioedge/sio"
)

// Socket.IO on the port of an existing net/http server. Its loops have to run
// beside it.
func ExampleServer_ServeHTTP() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	sio.On(srv.Of("/"), "hello", func(s sio.Socket, name string) error {
		return s.Emit("hello", "Hello, "+name)
	})
	// ends with the program
	go func() { log.Fatal(srv.Serve(context.Background())) }()

	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("/", http.FileServer(http.Dir("public")))
	log.Fatal(http.ListenAndServe(":3000", mux))
}
