package sio_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/sioedge/sioedge/bench/crowd"
	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
)

// A relay of servers: each takes over the clients of the one before.
type succession struct {
	t      *testing.T
	o      sio.Options
	setup  func(srv *sio.Server)
	srv    *server
	served chan error
}

// begin has a first server listen and serve.
func begin(t *testing.T, o sio.Options, setup func(srv *sio.Server)) *succession {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Loop.Loops == 0 {
		o.Loop.Loops = 2
	}
	x := &succession{t: t, o: o, setup: setup}
	srv := x.make(nil)
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x.take(srv, addr.String())
	x.serve()
	t.Cleanup(func() { x.end(x.srv, x.served) })
	return x
}

func (x *succession) make(in *sio.Inheritance) *sio.Server {
	x.t.Helper()
	o := x.o
	o.Inherit = in
	srv, err := sio.New(o)
	if err != nil {
		x.t.Fatal(err)
	}
	x.setup(srv)
	return srv
}

func (x *succession) take(srv *sio.Server, addr string) {
	x.srv = &server{srv, x.t, addr, nil, nil}
}

func (x *succession) serve() {
	srv, served := x.srv, make(chan error, 1)
	x.served = served
	// ends when the server has been shut down
	go func() { served <- srv.Serve(context.Background()) }()
}

// end shuts a server down; nothing is left of its clients.
func (x *succession) end(srv *server, served chan error) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		x.t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; err != nil {
		x.t.Errorf("Serve: %v", err)
	}
	if n := srv.Engine().Stats().Panics; n > 0 {
		x.t.Errorf("%d panics on the loops", n)
	}
	wantNothingHeld(x.t, srv.Held())
}

// socketpair returns a connection between two processes, or what is one.
func socketpair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	both := make([]*net.UnixConn, 2)
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		both[i] = c.(*net.UnixConn)
	}
	return both[0], both[1]
}

// An outcome is what has come of a handover.
type outcome struct {
	h   sio.Handed
	err error
}

// handOver begins to.
func (x *succession) handOver(ctx context.Context, conn *net.UnixConn, o sio.HandoverOptions) chan outcome {
	c, srv := make(chan outcome, 1), x.srv
	// ends when it has, or has not
	go func() {
		h, err := srv.Handover(ctx, conn, o)
		c <- outcome{h, err}
	}()
	return c
}

// heir returns a server that is about to take over.
func (x *succession) heir(conn *net.UnixConn) (*sio.Server, error) {
	x.t.Helper()
	in, err := sio.Inherit(context.Background(), conn, "v2", "b2")
	if err != nil {
		return nil, err
	}
	srv := x.make(in)
	at, err := srv.Listen("127.0.0.1:0")
	if err != nil || at.String() != x.srv.addr {
		x.t.Fatalf("it listens to %v, want %s (%v)", at, x.srv.addr, err)
	}
	return srv, nil
}

// next has the next server take over.
func (x *succession) next() sio.Handed {
	x.t.Helper()
	mine, others := socketpair(x.t)
	done := x.handOver(context.Background(), mine, sio.HandoverOptions{Version: "v1", Build: "b1"})
	srv, err := x.heir(others)
	if err != nil {
		x.t.Fatal(err)
	}
	before, served := x.srv, x.served
	x.take(srv, x.srv.addr)
	x.serve()
	got := take(x.t, done)
	if got.err != nil {
		x.t.Fatalf("Handover: %v", got.err)
	}
	if s := got.h.Steps; s.Loops <= 0 || s.Quiet+s.Settle+s.Split+s.Freeze+s.Parts+s.Loops+s.Taken+s.Serving != got.h.Pause {
		x.t.Errorf("a pause of %v has the steps %v", got.h.Pause, s)
	}
	x.end(before, served)
	return got.h
}

// Clients go on in another server: they, their rooms and what is stored with them.
func TestClientsGoOnInAnotherServer(t *testing.T) {
	x := begin(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		echo(ns)
		ns.Handle("join", func(s sio.Socket, m *sio.Msg) error { s.Join("room"); s.SetData("mine"); return m.Ack() })
		ns.Handle("data", func(s sio.Socket, m *sio.Msg) error {
			data, err := sio.DataOf[string](s)
			if err != nil {
				return err
			}
			return m.Ack(data, s.In("room"), s.ID())
		})
	})
	c, p := x.srv.join("40"), x.srv.joinPolling()
	c.send(`421["join"]`)
	c.expect(`431[]`)
	p.send(`421["join"]`)
	p.expect(`431[]`)
	waits := p.pending()
	for range 3 {
		eventually(t, "a poll", func() bool { return x.srv.Stats().Engine.Polls > 0 })
		h := x.next()
		if h.Sessions != 2 || h.Sockets != 2 || h.Conns < 2 || h.Successor.Version != "v2" || h.Pause <= 0 || h.Pause > time.Minute {
			t.Errorf("Handover = %+v", h)
		}
		if err := x.srv.Of("/").To("room").Emit("news", 1); err != nil {
			t.Fatal(err)
		}
		c.expect(`42["news",1]`)
		p.take(take(t, waits))
		p.expect(`42["news",1]`)
		c.send(`422["data"]`, `423["echo",7]`)
		c.expect(`432["mine",true,"`+c.id+`"]`, `433[7]`)
		p.send(`422["data"]`)
		p.expect(`432["mine",true,"` + p.id + `"]`)
		waits = p.pending()
	}
	c.conn.Close()
	p.http.CloseIdleConnections()
}

// Clients of every kind go on through ten handovers, one behind the other, while they send
// and are sent numbers: nobody is cut off, nothing is lost, comes twice, or out of order.
// Handlers are inline, or on goroutines.
func TestTrafficGoesOnThroughTenHandovers(t *testing.T) {
	for name, inline := range map[string]bool{"inline": true, "on goroutines": false} {
		t.Run(name, func(t *testing.T) {
			o := sio.Options{AllowEIO3: true, Parser: sio.EitherParser, PerMessageDeflate: &eio.Compression{Threshold: 1}}
			x := begin(t, o, func(srv *sio.Server) { crowded(srv.Of("/"), inline) })
			quick := crowd.New(crowd.Config{Name: "quick", Addr: x.srv.addr, Clients: 20, Every: 10 * time.Millisecond, Publish: 10 * time.Millisecond,
				Kinds: []crowd.Kind{crowd.WebSocket, crowd.Polling, crowd.Deflate, crowd.EIO3, crowd.MsgPack}})
			slow := crowd.New(crowd.Config{Name: "slow", Addr: x.srv.addr, Clients: 12, Every: 100 * time.Millisecond, Publish: 300 * time.Millisecond,
				Kinds: []crowd.Kind{crowd.Upgrading, crowd.Halves, crowd.HalfPosts, crowd.Slow}})
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			for _, c := range []*crowd.Crowd{quick, slow} {
				if err := c.Connect(ctx); err != nil {
					t.Fatal(err)
				}
			}
			for range 10 {
				before := quick.Now()
				x.next()
				eventually(t, "traffic", func() bool {
					now := quick.Now()
					return now.Echoes > before.Echoes+50 && now.Messages > before.Messages+50
				})
			}
			for _, c := range []*crowd.Crowd{slow, quick} {
				if r := c.Stop(); !r.Flawless() {
					t.Errorf("%s\n%q", r.String(), r.Problems)
				}
			}
		})
	}
}

// crowded is the application of a crowd.
func crowded(ns *sio.Namespace, inline bool) {
	handle := ns.Handle
	if inline {
		handle = ns.HandleInline
	}
	handle("echo", func(_ sio.Socket, m *sio.Msg) error { return m.Ack(m.Args) })
	handle("join", func(s sio.Socket, m *sio.Msg) error {
		var room string
		if err := m.Decode(&room); err != nil {
			return err
		}
		s.Join(room)
		return m.Ack(true)
	})
	handle("publish", func(_ sio.Socket, m *sio.Msg) error {
		var room string
		if err := m.Decode(&room); err != nil {
			return err
		}
		return ns.To(room).Emit("msg", m.From(1))
	})
}
