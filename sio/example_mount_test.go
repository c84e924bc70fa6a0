package sio_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"

	"github.com/sioedge/sioedge/sio"
)

// Socket.IO on the port of a server of net/http. Its loops have to run beside it.
func ExampleServer_Serve() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	// ends with the program
	go func() { log.Fatal(srv.Serve(context.Background())) }()

	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("/", http.FileServer(http.Dir("public")))
	log.Fatal(http.ListenAndServe(":3000", mux))
}

// A site with Socket.IO at one of its paths. Serve runs beside it.
func ExampleServer_ServeHTTP() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	sio.On(srv.Of("/"), "hello", func(s sio.Socket, name string) error {
		return s.Emit("hello", "Hello, "+name)
	})
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "the rest of the site") })

	site := httptest.NewServer(mux)
	defer site.Close()
	serveBeside(srv, func() {
		fmt.Println(get(site.URL + "/index.html"))
		fmt.Println(get(site.URL + opening)[:11])
	})
	// Output:
	// 200 the rest of the site
	// 200 0{"sid"
}

// A port that HTTP shares with another protocol: who begins with G, of GET, or P,
// of POST, is given to the server, with what has been read.
func ExampleServer_Adopt() {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	srv.Of("/").OnConnect(func(s sio.Socket) error { return s.Emit("welcome") })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	sort := func(conn net.Conn) {
		r := bufio.NewReader(conn)
		if first, err := r.Peek(1); err == nil && (first[0] == 'G' || first[0] == 'P') {
			seen, _ := r.Peek(r.Buffered())
			if srv.Adopt(conn, seen) == nil {
				return
			}
		}
		io.WriteString(conn, "another protocol\n")
		conn.Close()
	}
	// ends with the listener
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			// ends when it is known what the client speaks
			go sort(conn)
		}
	}()

	serveBeside(srv, func() { fmt.Println(get("http://" + ln.Addr().String() + opening)[:11]) })
	// Output:
	// 200 0{"sid"
}
