// Command target is a program on the library, with handlers of every kind, for
// attacks to be tried on. It prints where it listens, and where it tells what it
// holds: GET / there collects garbage and answers with a Held as JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/rooms/redis"
	"github.com/sioedge/sioedge/sio"
)

// Held is what the program holds.
type Held struct {
	Bytes      int64 // of the heap that are alive, and of stacks
	Goroutines int
	Sockets    int64 // that are connected, by what handlers were told
	Server     sio.Stats
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "target:", err)
		os.Exit(1)
	}
}

func run() error {
	var o sio.Options
	compress := flag.Bool("compress", false, "WebSocket messages are compressed")
	either := flag.Bool("either", false, "clients choose their parser")
	cluster := flag.String("adapter", "", "URL of Redis")
	prefix := flag.String("prefix", "attacked", "of the cluster's channels")
	advertise := flag.Bool("advertise", false, "others of the cluster may forward to it")
	flag.IntVar(&o.MaxForwards, "max-forwards", 0, "as the server's")
	flag.BoolVar(&o.Engine.AllowEIO3, "eio3", false, "Socket.IO 2 is served")
	flag.DurationVar(&o.Recovery.Window, "recovery", 0, "window of recovery")
	flag.DurationVar(&o.Engine.PingInterval, "ping-interval", 0, "as the server's")
	flag.DurationVar(&o.Engine.PingTimeout, "ping-timeout", 0, "as the server's")
	flag.DurationVar(&o.ConnectTimeout, "connect-timeout", 0, "as the server's")
	flag.Parse()
	if *compress {
		o.Engine.Compression = &eio.Compression{}
	}
	if *either {
		o.Parser = sio.EitherParser
	}
	o.Logger = slog.New(slog.NewJSONHandler(os.Stderr, nil))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if *cluster != "" {
		if o.Adapter, err = redis.Parse(*cluster, redis.Options{Prefix: *prefix, Logger: o.Logger}); err != nil {
			return err
		}
	}
	listen := "127.0.0.1:0"
	if *advertise {
		if listen, err = freeAddress(); err != nil {
			return err
		}
		o.Advertise = "http://" + listen
	}
	srv, err := sio.New(o)
	if err != nil {
		return err
	}
	var sockets atomic.Int64
	application(srv, &sockets)
	addr, err := srv.Listen(listen)
	if err != nil {
		return err
	}
	fmt.Println("listening", addr, ln.Addr())
	// ends with the process
	go func() {
		_ = http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(hold(srv, &sockets))
		}))
	}()
	return srv.Serve(context.Background())
}

// freeAddress returns an address that was free a moment ago.
func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

func hold(srv *sio.Server, sockets *atomic.Int64) Held {
	debug.FreeOSMemory() // twice, for what is freed by finalizers
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Held{Bytes: int64(m.HeapAlloc + m.StackInuse), Goroutines: runtime.NumGoroutine(), Sockets: sockets.Load(), Server: srv.Stats()}
}

// slowness is how long slow handlers work.
const slowness = 30 * time.Millisecond

// work takes long, unless the client goes meanwhile.
func work(s sio.Socket) {
	select {
	case <-s.Context().Done():
	case <-time.After(slowness):
	}
}

// application registers what clients may ask for, in all namespaces.
func application(srv *sio.Server, sockets *atomic.Int64) {
	refused := errors.New("not you")
	srv.Of("/refused/:id").Use(func(s sio.Socket) error { return refused })
	srv.Of("/slow/:id").Use(func(s sio.Socket) error { work(s); return nil })
	for _, name := range []string{"/", "/n/:id", "/other/*rest"} {
		ns := srv.Of(name)
		ns.OnConnect(func(sio.Socket) error { sockets.Add(1); return nil })
		ns.OnDisconnect(func(sio.Socket, sio.Reason) { sockets.Add(-1) })
		ns.HandleInline("echo", func(_ sio.Socket, m *sio.Msg) error { return m.Ack(m.Raw(0)) })
		ns.HandleInline("panic inline", func(sio.Socket, *sio.Msg) error { panic("a mistake") })
		ns.Handle("panic", func(sio.Socket, *sio.Msg) error { panic("a mistake") })
		ns.Handle("slow", func(s sio.Socket, _ *sio.Msg) error { work(s); return nil })
		ns.Handle("slow echo", func(s sio.Socket, m *sio.Msg) error { work(s); return m.Ack(m.Raw(0)) })
		ns.Handle("stubborn", func(sio.Socket, *sio.Msg) error { time.Sleep(slowness); return nil })
		sio.On(ns, "typed", func(_ sio.Socket, n int) error { return nil })
		sio.OnAck(ns, "typed echo", func(_ sio.Socket, n int) (int, error) { return n, nil })
		sio.On(ns, "join", func(s sio.Socket, room string) error { s.Join(room); return nil })
		sio.On(ns, "leave", func(s sio.Socket, room string) error { s.Leave(room); return nil })
		sio.On(ns, "publish", func(s sio.Socket, room string) error { return s.To(room).Emit("msg", room) })
		ns.HandleInline("shout", func(s sio.Socket, m *sio.Msg) error {
			return s.Namespace().Emit("shouted", strings.Repeat("x", 1000))
		})
		sio.On(ns, "give", func(s sio.Socket, n int) error { // n KB, in events of 1 KB
			for range min(n, 16_384) {
				if err := s.Emit("given", strings.Repeat("x", 1000)); err != nil {
					return nil // it has gone
				}
			}
			return nil
		})
		ns.Handle("fetch", func(s sio.Socket, _ *sio.Msg) error { // all that servers of a cluster ask each other
			ctx, done := context.WithTimeout(s.Context(), slowness)
			defer done()
			all := s.Namespace().All()
			_, _ = all.FetchSockets(ctx)
			_, _ = all.FetchRooms(ctx)
			_, _ = all.ServerSideAsk(ctx, "asked")
			_, _ = s.To("a room").EmitAck(ctx, "asked")
			return nil
		})
		ns.Handle("ask", func(s sio.Socket, m *sio.Msg) error { // what it will not answer
			ctx, done := context.WithTimeout(s.Context(), slowness)
			defer done()
			_, _ = s.EmitAck(ctx, "asked")
			return nil
		})
	}
}
