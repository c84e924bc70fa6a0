package sio_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio"
)

// A journal is what a logger wrote.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) lines() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Split(strings.TrimSuffix(j.b.String(), "\n"), "\n")
}

// serveLogged is serve with a log and without OnError.
func serveLogged(t *testing.T, register func(srv *sio.Server)) (*server, *journal) {
	j := &journal{}
	srv := serve(t, sio.Options{Logger: slog.New(slog.NewTextHandler(j, nil))}, func(srv *sio.Server) {
		srv.NoticeOnce() // a test may take longer than the usual interval
		register(srv)
	})
	return srv, j
}

// Every method that returns an error and reaches one socket says when it has
// gone, and none waits.
func TestErrorsOfWhoHasGone(t *testing.T) {
	ctx := context.Background()
	methods := map[string]func(s sio.Socket) error{
		"Emit":               func(s sio.Socket) error { return s.Emit("x") },
		"Volatile().Emit":    func(s sio.Socket) error { return s.Volatile().Emit("x") },
		"Compress().Emit":    func(s sio.Socket) error { return s.Compress(false).Emit("x") },
		"EmitAck":            func(s sio.Socket) error { _, err := s.EmitAck(ctx, "x"); return err },
		"Compress().EmitAck": func(s sio.Socket) error { _, err := s.Compress(false).EmitAck(ctx, "x"); return err },
		"Volatile().EmitAck": func(s sio.Socket) error { _, err := s.Volatile().EmitAck(ctx, "x"); return err },
		"Ask":                func(s sio.Socket) error { _, err := sio.Ask[int](ctx, s, "x"); return err },
		"Event.Emit":         func(s sio.Socket) error { return sio.Event[int]("x").Emit(s, 1) },
		"CloseConnWith":      func(s sio.Socket) error { return s.CloseConnWith(4000, "") },
		"JoinWait":           func(s sio.Socket) error { return s.JoinWait(ctx, "r") },
	}
	for _, mode := range []string{"alone", "cluster"} {
		var late *sio.Msg
		left, during := make(chan sio.Socket, 1), make(chan map[string]error, 1)
		o := sio.Options{}
		if mode == "cluster" {
			o.Adapter = newLedger().book()
		}
		srv := serve(t, o, func(srv *sio.Server) {
			ns := srv.Of("/")
			ns.Handle("late", func(_ sio.Socket, m *sio.Msg) error { late = m; return nil })
			ns.OnDisconnecting(func(s sio.Socket, _ sio.Reason) {
				got := map[string]error{}
				for _, name := range []string{"EmitAck", "Compress().EmitAck", "Volatile().EmitAck", "Ask"} {
					got[name] = methods[name](s)
				}
				during <- got
			})
			ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { left <- s })
		})
		c := srv.join("40")
		c.send(`427["late"]`, "41")
		for name, err := range take(t, during) {
			if !errors.Is(err, sio.ErrClosed) {
				t.Errorf("%s: %s of who leaves = %v, want %v", mode, name, err, sio.ErrClosed)
			}
		}
		s := take(t, left)
		methods["Msg.Ack"] = func(sio.Socket) error { return late.Ack(1) }
		for name, f := range methods {
			if err := f(s); !errors.Is(err, sio.ErrClosed) {
				t.Errorf("%s: %s of who has gone = %v, want %v", mode, name, err, sio.ErrClosed)
			}
		}
	}
}

// What clients make handlers do wrong is written once for each kind of mistake, in
// lines of a bounded length, and all of it counted.
func TestLogLinesThatClientsCause(t *testing.T) {
	srv, j := serveLogged(t, func(srv *sio.Server) {
		ns := srv.Of("/")
		echo(ns)
		sio.On(ns, "number", func(sio.Socket, int) error { return nil })
		ns.Handle("panic", func(_ sio.Socket, m *sio.Msg) error { panic("unlike " + string(m.Raw(0))) })
		ns.HandleInline("inline", func(_ sio.Socket, m *sio.Msg) error { panic("inline " + string(m.Raw(0))) })
		ns.HandleInline("closed", func(sio.Socket, *sio.Msg) error { return fmt.Errorf("gone: %w", sio.ErrClosed) })
		ns.HandleAny(func(_ sio.Socket, m *sio.Msg) error { return errors.New("no such event " + m.Event()) })
	})
	c := srv.join("40")
	long := `"` + strings.Repeat("9", 100_000) + `"`
	const n = 200
	for i := range n {
		arg := fmt.Sprint(i)
		if i == 0 {
			arg = long
		}
		c.send(`42["number",`+long+`]`, `42["panic",`+arg+`]`, `42["inline",`+arg+`]`, `42["closed"]`, fmt.Sprintf(`42["any %d"]`, i))
	}
	c.quiet("")
	srv.dial().send("4nonsense")
	srv.dial().send("4nonsense")
	eventually(t, "the end of who sent nonsense", func() bool { return srv.Stats().BadPackets == 2 })
	lines := j.lines()
	if len(lines) != 4 {
		t.Errorf("%d mistakes of four kinds wrote %d lines, want 4", 5*n, len(lines))
	}
	text := ""
	for _, line := range lines {
		if len(line) > 12<<10 {
			t.Errorf("a line has %d bytes", len(line))
		}
		text += line
	}
	if !strings.Contains(text, "failure_test.go") || !strings.Contains(text, "namespace=/") {
		t.Errorf("no line has the stack of a panic:\n%.3000s", text)
	}
	if st := srv.Stats(); st.Errors != 2*n || st.Panics != 2*n {
		t.Errorf("Stats() has %d errors and %d panics, want %d of each", st.Errors, st.Panics, 2*n)
	}
}

// A handler that ends its goroutine (as a test's FailNow does) ends that call: the
// client is answered, what follows is done, and Shutdown does not wait for it.
func TestHandlersThatExit(t *testing.T) {
	left := make(chan string, 10)
	var log *errorLog
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		echo(ns)
		ns.Handle("exit", func(sio.Socket, *sio.Msg) error { runtime.Goexit(); return nil })
		sio.OnAck(ns, "exit and answer", func(sio.Socket, int) (int, error) { runtime.Goexit(); return 0, nil })
		ns.OnDisconnecting(func(sio.Socket, sio.Reason) { runtime.Goexit() })
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { left <- s.Name(); runtime.Goexit() })
		mw, on := srv.Of("/mw"), srv.Of("/connect")
		mw.Use(func(sio.Socket) error { runtime.Goexit(); return nil })
		on.OnConnect(func(sio.Socket) error { runtime.Goexit(); return nil })
		on.OnDisconnect(func(s sio.Socket, _ sio.Reason) { left <- s.Name() })
	})
	log = srv.log
	c := srv.join("40")
	c.send(`42["exit"]`, `421["exit and answer",1]`)
	c.expect(`431[{"error":"internal error"}]`)
	c.quiet("")
	c.send("40/mw,")
	c.expect(`44/mw,{"message":"internal error"}`)
	c.send("40/connect,")
	c.expect(`40/connect,{"sid":"$sid"}`, "41/connect,")
	if got := take(t, left); got != "/connect" {
		t.Errorf("%s was left", got)
	}
	c.send("41")
	if got := take(t, left); got != "/" {
		t.Errorf("%s was left", got)
	}
	eventually(t, "six reports", func() bool { log.mu.Lock(); defer log.mu.Unlock(); return len(log.seen) == 6 })
	if got := log.seen[0]; got != "exit: sio: the handler called runtime.Goexit" {
		t.Errorf("OnError got %q", got)
	}
}

// An inline handler that ends its goroutine ends the server: nobody is left with a
// loop that is no more.
func TestInlineHandlerThatExits(t *testing.T) {
	srv, err := sio.New(sio.Options{Loop: loops(2), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	left := make(chan string, 10)
	ns := srv.Of("/")
	ns.HandleInline("exit", func(sio.Socket, *sio.Msg) error { runtime.Goexit(); return nil })
	ns.OnDisconnect(func(s sio.Socket, r sio.Reason) { left <- string(r) })
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background()) }() // ends by the handler
	to := &server{Server: srv, t: t, addr: addr.String()}
	clients := []*client{to.join("40"), to.join("40"), to.join("40")}
	clients[0].send(`42["exit"]`)
	if err := <-served; !errors.Is(err, loop.ErrExited) {
		t.Errorf("Serve: %v, want ErrExited", err)
	}
	for range clients {
		take(t, left)
	}
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	wantNothingHeld(t, srv.Held())
}

func TestServerSideHandlersThatExit(t *testing.T) {
	got := make(chan int, 10)
	p := newPair(t, sio.Options{}, func(i int, srv *sio.Server) {
		srv.Of("/").HandleServerSide("n", func(m *sio.Msg) error {
			var n int
			if err := m.Decode(&n); err != nil {
				return err
			}
			got <- n
			runtime.Goexit()
			return nil
		})
	})
	for n := range 5 {
		if err := p.ns[0].ServerSideEmit("n", n); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 5 {
		if x := take(t, got); x != n {
			t.Errorf("the handler got %d, want %d", x, n)
		}
	}
}

type unencodable struct{}

func (unencodable) MarshalJSON() ([]byte, error) { panic("no JSON of this") }

// clumsy is an adapter whose EmitAck panics.
type clumsy struct{ *stop }

func (clumsy) EmitAck(context.Context, rooms.Target, rooms.Event, func(int), func(rooms.Value)) error {
	panic("clumsy")
}

// Panics of what the server calls beside handlers end that call, and the client is
// answered.
func TestPanicsBesideHandlers(t *testing.T) {
	j := &journal{}
	o := sio.Options{
		Adapter: clumsy{(&bus{}).stop()}, Logger: slog.New(slog.NewTextHandler(j, nil)),
		OnError: func(_ sio.Socket, event string, err error) { panic("OnError: " + event) },
	}
	srv := serve(t, o, func(srv *sio.Server) {
		ns := srv.Of("/")
		echo(ns)
		sio.OnAck(ns, "ack", func(sio.Socket, any) (any, error) { return nil, &sio.Error{Message: "shown", Data: unencodable{}} })
		sio.OnAck(ns, "result", func(sio.Socket, any) (any, error) { return unencodable{}, nil })
		ns.HandleInline("inline", func(sio.Socket, *sio.Msg) error { return errors.New("x") })
		srv.Of("/refused").Use(func(sio.Socket) error { return &sio.Error{Message: "shown", Data: unencodable{}} })
	})
	c := srv.join("40")
	c.send("40/refused,")
	c.expect(`44/refused,{"message":"shown"}`)
	c.send(`421["ack",1]`, `42["inline"]`)
	c.expect(`431[{"error":"shown"}]`)
	c.send(`422["result",1]`)
	c.expect(`432[{"error":"internal error"}]`)
	c.quiet("")
	var panicked *sio.PanicError
	if _, err := srv.Of("/a").All().EmitAck(within(patience), "q"); !errors.As(err, &panicked) || panicked.Value != "clumsy" {
		t.Errorf("EmitAck with an adapter that panics = %v, want its panic", err)
	}
	if text := strings.Join(j.lines(), "\n"); !strings.Contains(text, "Options.OnError panicked") {
		t.Errorf("the log has no word of OnError's panic:\n%s", text)
	}
}

// Each call of Shutdown returns when the server has stopped.
func TestASecondShutdownWaits(t *testing.T) {
	began, gate := make(chan struct{}), make(chan struct{})
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		srv.Of("/").Handle("slow", func(sio.Socket, *sio.Msg) error { close(began); <-gate; return nil })
	})
	srv.join("40").send(`42["slow"]`)
	take(t, began)
	first, second := make(chan error, 1), make(chan error, 1)
	// ends when the handler has returned
	go func() { first <- srv.Shutdown(context.Background()) }()
	eventually(t, "the beginning of the end", func() bool { return srv.Held()["sessions"] == 0 })
	if err := srv.Shutdown(done()); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown with a context that is done = %v, want its error", err)
	}
	// ends as the first does
	go func() { second <- srv.Shutdown(context.Background()) }()
	select {
	case err := <-second:
		t.Fatalf("the second Shutdown returned %v while a handler runs", err)
	case err := <-first:
		t.Fatalf("the first Shutdown returned %v while a handler runs", err)
	default:
	}
	close(gate)
	if err1, err2 := take(t, first), take(t, second); err1 != nil || err2 != nil {
		t.Errorf("Shutdown = %v and %v, want nil", err1, err2)
	}
}

var _ json.Marshaler = unencodable{}

// Whoever asks for what a client brought when that is not kept any more reads why in
// the log, and not while it is, or when the socket has gone.
func TestForgottenHandshakeIsLogged(t *testing.T) {
	for _, o := range []sio.KeepHandshake{sio.KeepUntilJoined, sio.KeepAlways, sio.KeepForFirst} {
		keep := o == sio.KeepAlways
		j, joined := &journal{}, make(chan sio.Socket, 1)
		srv := serve(t, sio.Options{KeepHandshake: o, Logger: slog.New(slog.NewTextHandler(j, nil))}, func(srv *sio.Server) {
			ns := srv.Of("/")
			echo(ns)
			look := func(s sio.Socket) error {
				if s.Handshake().URL() == "" {
					return errors.New("no handshake")
				}
				return s.Auth(new(any))
			}
			ns.Use(look)
			ns.OnConnect(func(s sio.Socket) error { defer func() { joined <- s }(); return look(s) })
			ns.Handle("auth", func(s sio.Socket, m *sio.Msg) error { s.Auth(new(any)); s.Handshake(); return m.Ack() })
		})
		c := srv.join(`40{"token":1}`)
		s := take(t, joined)
		srv.Of("/").All().Sockets() // behind what OnConnect has posted
		c.quiet("")
		if log := strings.Join(j.lines(), ""); log != "" {
			t.Errorf("KeepHandshake %v: before, the log has %q", o, log)
		}
		c.send(`421["auth"]`, `422["auth"]`)
		c.expect("431[]", "432[]")
		c.conn.Close()
		eventually(t, "the end of the socket", func() bool { return s.Auth(new(any)) == sio.ErrClosed })
		s.Handshake()
		lines := strings.Join(j.lines(), "\n")
		if got := strings.Count(lines, "Options.KeepHandshake"); keep != (got == 0) || got > 1 || !keep && !strings.Contains(lines, "method=Auth flag=--keep-handshake") {
			t.Errorf("KeepHandshake %v: after two questions the log has %q", o, lines)
		}
	}
}

// The id of a client of Socket.IO 2 is its session's, and in no line of a log.
func TestOldIDsAreNotLogged(t *testing.T) {
	for _, packet := range []string{"", "40/a,"} {
		j := &journal{}
		o := old()
		o.Logger = slog.New(slog.NewTextHandler(j, nil))
		sockets := make(chan sio.Socket, 1)
		srv := serve(t, o, func(srv *sio.Server) {
			for _, name := range []string{"/", "/a"} {
				srv.Of(name).Handle("fail", func(s sio.Socket, m *sio.Msg) error {
					o.Logger.Info("here", "socket", s)
					sockets <- s
					return errors.New("failed")
				})
			}
		})
		c := srv.joinOld()
		if packet != "" {
			c.send(packet)
			c.expect(packet)
		}
		c.send("42" + strings.TrimPrefix(packet, "40") + `["fail"]`)
		s := take(t, sockets)
		eventually(t, "the line", func() bool { return strings.Contains(strings.Join(j.lines(), ""), "error=failed") })
		_, sid, _ := strings.Cut("#"+s.ID(), "#")
		sid = sid[strings.LastIndex(sid, "#")+1:]
		if log := strings.Join(j.lines(), "\n"); strings.Contains(log, sid) || strings.Count(log, "socket") < 2 {
			t.Errorf("the log of a client with the session %s is %q", sid, log)
		}
	}
}
