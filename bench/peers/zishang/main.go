// Zishang is the Socket.IO server of github.com/zishang520/socket.io with the
// application that the load generator needs.
//
//	zishang [-recovery]
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/zishang520/socket.io/servers/socket/v3"
)

func main() {
	recovery := flag.Bool("recovery", false, "connection state recovery")
	flag.Parse()
	options := socket.DefaultServerOptions()
	options.SetServeClient(false)
	if *recovery {
		r := socket.DefaultConnectionStateRecovery()
		r.SetMaxDisconnectionDuration(2 * 60 * 1000)
		options.SetConnectionStateRecovery(r)
	}
	io := socket.NewServer(nil, options)
	if err := io.On("connection", func(args ...any) { serve(io, args[0].(*socket.Socket)) }); err != nil {
		fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		fatal(err)
	}
	http.Handle("/socket.io/", io.ServeHandler(nil))
	fmt.Println("listening on", l.Addr())
	fatal(http.Serve(l, nil))
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "zishang:", err)
	os.Exit(1)
}

func serve(io *socket.Server, s *socket.Socket) {
	on := func(event string, f func(args []any) []any) {
		_ = s.On(event, func(args ...any) {
			var ack socket.Ack
			if n := len(args); n > 0 {
				if a, ok := args[n-1].(socket.Ack); ok {
					ack, args = a, args[:n-1]
				}
			}
			result := f(args)
			if ack != nil {
				ack(result, nil)
			}
		})
	}
	room := func(args []any) socket.Room {
		name, _ := args[0].(string)
		return socket.Room(name)
	}
	done := []any{true}
	on("echo", func(args []any) []any { return args })
	on("join", func(args []any) []any { s.Join(room(args)); return done })
	on("leave", func(args []any) []any { s.Leave(room(args)); return done })
	on("publish", func(args []any) []any {
		if r := room(args); r != "" {
			_ = io.To(r).Emit("msg", args[1:]...)
		} else {
			io.Emit("msg", args[1:]...)
		}
		return done
	})
}
