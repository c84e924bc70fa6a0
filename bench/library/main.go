// Command library is a program on package sio as its documentation has it: no options,
// and the application that sioload measures with, all of it on the loops. It prints
// where it listens.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/sioedge/sioedge/sio"
)

func main() {
	tune := flag.Bool("tune", false, "Server.Tune, as a program calls that does little else")
	flag.Parse()
	if err := run(*tune); err != nil {
		fmt.Fprintln(os.Stderr, "library:", err)
		os.Exit(1)
	}
}

func run(tune bool) error {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		return err
	}
	if tune {
		srv.Tune()
	}
	register(srv.Of("/"))
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("listening on", addr)
	return srv.Serve(context.Background())
}

// register registers the application, which is that of sioedge's demonstration.
func register(ns *sio.Namespace) {
	ns.HandleInline("echo", func(_ sio.Socket, m *sio.Msg) error { return m.Ack(m.Args) })
	ns.HandleInline("join", func(s sio.Socket, m *sio.Msg) error {
		var room string
		if err := m.Decode(&room); err != nil {
			return err
		}
		s.Join(room)
		return m.Ack(true)
	})
	ns.HandleInline("leave", func(s sio.Socket, m *sio.Msg) error {
		var room string
		if err := m.Decode(&room); err != nil {
			return err
		}
		s.Leave(room)
		return m.Ack(true)
	})
	ns.HandleInline("publish", func(_ sio.Socket, m *sio.Msg) error {
		var room string
		if err := m.Decode(&room); err != nil {
			return err
		}
		to := ns.All()
		if room != "" {
			to = ns.To(room)
		}
		if err := to.Emit("msg", m.From(1)); err != nil {
			return err
		}
		return m.Ack(true)
	})
}
