package sio_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/sioedge/sioedge/sio"
)

var visits = sio.NewKey[int]()

// application is what both processes do, in the same way.
func application(o sio.Options) (*sio.Server, error) {
	srv, err := sio.New(o)
	if err != nil {
		return nil, err
	}
	sio.CarryKey(srv, "visits", visits, nil, nil) // as JSON
	srv.Of("/").Handle("visit", func(s sio.Socket, m *sio.Msg) error {
		n, _ := visits.Get(s)
		if err := visits.Set(s, n+1); err != nil {
			return err
		}
		return m.Ack(n + 1)
	})
	_, err = srv.Listen(":3000")
	return srv, err
}

// The process that goes gives all it has to the one at the other end of a Unix socket.
func ExampleServer_Handover() {
	srv, err := application(sio.Options{})
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		if err := srv.Serve(context.Background()); err != nil {
			log.Print(err)
		}
	}()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: "/run/app.sock", Net: "unix"})
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := ln.AcceptUnix() // who may connect is the business of package sio/handover
		if err != nil {
			log.Fatal(err)
		}
		handed, err := srv.Handover(context.Background(), conn, sio.HandoverOptions{})
		if err != nil {
			log.Print(err) // all goes on as before
			continue
		}
		fmt.Println(handed.Sockets, "sockets, in", handed.Pause)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		fmt.Println(srv.Shutdown(ctx)) // of what could not go
		return
	}
}

// The process that comes takes everything over before it serves anybody.
func ExampleInherit() {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: "/run/app.sock", Net: "unix"})
	if err != nil {
		log.Fatal(err)
	}
	in, err := sio.Inherit(context.Background(), conn, "2.0", "")
	if err != nil {
		log.Fatal(err)
	}
	srv, err := application(sio.Options{Inherit: in})
	if err != nil {
		in.Refuse(err) // the other goes on
		log.Fatal(err)
	}
	fmt.Println(srv.Serve(context.Background()))
}
