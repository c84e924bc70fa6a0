package sio_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// What of a client waits when its server goes is done by the successor: events behind a
// handler that runs, in their order and with their acknowledgements, a CONNECT whose
// middlewares wait, a packet whose attachments have not come. Handlers that run are waited
// for, functions of rooms and OnDisconnect are not called, and who asked a client is told.
func TestWhatWaitsGoesAlong(t *testing.T) {
	var generation atomic.Int64
	began, gate := make(chan string, 10), make(chan struct{})
	asked, moves := make(chan error, 1), make(chan string, 100)
	x := begin(t, sio.Options{KeepHandshake: sio.KeepAlways}, func(srv *sio.Server) {
		n := generation.Add(1)
		ns := srv.Of("/")
		echo(ns)
		ns.OnJoin(func(_ sio.Socket, room string) { moves <- fmt.Sprint("join ", room) })
		ns.OnLeave(func(_ sio.Socket, room string) { moves <- fmt.Sprint("leave ", room) })
		ns.OnRoomCreated(func(_, room string) { moves <- "created " + room })
		ns.OnRoomDeleted(func(_, room string) { moves <- "deleted " + room })
		ns.Handle("block", func(_ sio.Socket, m *sio.Msg) error { began <- "block"; <-gate; return m.Ack(n) })
		ns.Handle("who", func(_ sio.Socket, m *sio.Msg) error { return m.Ack(n, values(m.Args.From(0))[0]) })
		ns.Handle("join", func(s sio.Socket, m *sio.Msg) error { s.Join("r"); return m.Ack() })
		ns.Handle("leave", func(s sio.Socket, m *sio.Msg) error { s.Leave("r"); return m.Ack() })
		ns.HandleInline("size", func(_ sio.Socket, m *sio.Msg) error { return m.Ack(len(m.Binary()), n) })
		ns.OnDisconnect(func(sio.Socket, sio.Reason) { moves <- "disconnect" })
		srv.Of("/late").Use(func(s sio.Socket) error {
			var auth struct{ Token string }
			if err := s.Auth(&auth); err != nil || auth.Token != "t" {
				return fmt.Errorf("auth is %+v: %w", auth, err)
			}
			began <- fmt.Sprint("late ", n)
			return nil
		})
		echo(srv.Of("/late"))
		if n == 1 {
			echo(srv.Of("/gone"))
		}
	})
	c, d := x.srv.join("40"), x.srv.dial()
	c.join("40/gone,")
	c.send(`421["join"]`)
	c.expect(`431[]`)
	for _, want := range []string{"created r", "join r"} {
		if got := take(t, moves); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
	s, ok := x.srv.Of("/").Lookup(c.id)
	if !ok {
		for _, s = range x.srv.Of("/").All().Sockets() {
		}
	}
	// ends with the handover
	go func() {
		_, err := s.EmitAck(context.Background(), "question")
		asked <- err
	}()
	c.expect(`420["question"]`)
	c.send(`422["block"]`)
	take(t, began)
	c.send(`423["who","a"]`, `424["who","b"]`, `452-5["size",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, "<01>")
	mine, others := socketpair(t)
	done := x.handOver(context.Background(), mine, sio.HandoverOptions{})
	srv, err := x.heir(others)
	if err != nil {
		t.Fatal(err)
	}
	before, served := x.srv, x.served
	x.take(srv, x.srv.addr)
	x.serve()
	eventually(t, "a hold", before.Holds)
	d.send(`40/late,{"token":"t"}`)
	eventually(t, "a middleware that waits", func() bool { return before.Parked() > 0 })
	close(gate)
	got := take(t, done)
	if got.err != nil || got.h.Sockets != 2 || got.h.Sessions != 2 {
		t.Fatalf("Handover = %+v, %v", got.h, got.err)
	}
	if err := take(t, asked); !errors.Is(err, sio.ErrClosed) {
		t.Errorf("who asks a client is told %v", err)
	}
	if err := s.Emit("x"); !errors.Is(err, sio.ErrClosed) {
		t.Errorf("Emit in the server that went: %v", err)
	}
	x.end(before, served)
	if got := take(t, began); got != "late 2" {
		t.Errorf("a middleware is called: %s", got)
	}
	seen := map[string]bool{}
	for range 4 {
		seen[c.next()] = true
	}
	for _, p := range []string{"432[1]", `433[2,"a"]`, `434[2,"b"]`, "41/gone,"} {
		if !seen[p] {
			t.Errorf("the client is not told %s, but %v", p, seen)
		}
	}
	d.expect(`40/late,{"sid":"$sid"}`)
	c.send("<02>", `30["an answer that nobody waits for"]`)
	c.expect("435[2,2]")
	c.send(`426["leave"]`)
	c.expect("436[]")
	for _, want := range []string{"leave r", "deleted r"} {
		if got := take(t, moves); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	c.conn.Close()
	d.conn.Close()
}

// A handler that does not return has the handover fail, which says what it is of; all goes
// on, and what waited is done.
func TestHandlersThatDoNotReturn(t *testing.T) {
	began, gate := make(chan bool, 1), make(chan struct{})
	x := begin(t, sio.Options{}, func(srv *sio.Server) {
		echo(srv.Of("/"))
		srv.Of("/").Handle("block", func(_ sio.Socket, m *sio.Msg) error { began <- true; <-gate; return m.Ack() })
	})
	c := x.srv.join("40")
	c.send(`421["block"]`, `422["echo",1]`)
	take(t, began)
	mine, others := socketpair(t)
	done := x.handOver(context.Background(), mine, sio.HandoverOptions{Hold: 10 * time.Millisecond})
	srv, err := x.heir(others)
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Serve(context.Background()); !errors.Is(err, sio.ErrRefused) {
		t.Errorf("the successor serves: %v", err)
	}
	if got := take(t, done); !errors.Is(got.err, context.DeadlineExceeded) || !strings.Contains(got.err.Error(), `1 of "block" of /`) {
		t.Errorf("Handover: %v", got.err)
	}
	close(gate)
	c.expect("431[]", "432[1]")
	x.next()
	c.send(`423["echo",2]`)
	c.expect("433[2]")
	c.conn.Close()
}

// What a program emits while its server goes has been sent when Emit returns nil, once, and
// in order; or Emit returns ErrClosed. Nothing is in between.
func TestEmitsWhileAServerGoes(t *testing.T) {
	x := begin(t, sio.Options{}, func(srv *sio.Server) { echo(srv.Of("/")) })
	c := x.srv.join("40")
	for range 5 {
		sent, before := make(chan int, 1), x.srv
		// ends when the server has gone
		go func() {
			n := 0
			for before.Of("/").Emit("n", n) == nil {
				n++
				time.Sleep(20 * time.Microsecond)
			}
			sent <- n
		}()
		c.expect(`42["n",0]`)
		x.next()
		n := take(t, sent)
		for i := 1; i < n; i++ {
			c.expect(fmt.Sprintf(`42["n",%d]`, i))
		}
		c.quiet("")
	}
	c.conn.Close()
}

// Data of sockets goes as the options say; what cannot be encoded has the handover fail.
func TestDataGoesAsTheOptionsSay(t *testing.T) {
	type mine struct{ n int }
	var broken atomic.Bool
	o := sio.Options{}
	o.EncodeData = func(data any) ([]byte, error) {
		if broken.Load() {
			return nil, errors.New("broken")
		}
		return fmt.Appendf(nil, "%d", data.(mine).n), nil
	}
	o.DecodeData = func(p []byte) (any, error) {
		var m mine
		_, err := fmt.Sscan(string(p), &m.n)
		return m, err
	}
	x := begin(t, o, func(srv *sio.Server) {
		ns := srv.Of("/")
		echo(ns)
		ns.HandleInline("set", func(s sio.Socket, m *sio.Msg) error { s.SetData(mine{7}); return m.Ack() })
		ns.HandleInline("get", func(s sio.Socket, m *sio.Msg) error { return m.Ack(s.Data().(mine).n) })
	})
	c := x.srv.join("40")
	c.send(`421["set"]`)
	c.expect("431[]")
	broken.Store(true)
	a, b := socketpair(t)
	done := x.handOver(context.Background(), a, sio.HandoverOptions{})
	srv, err := x.heir(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Serve(context.Background()); !errors.Is(err, sio.ErrRefused) {
		t.Errorf("Serve of the successor: %v", err)
	}
	if got := take(t, done); got.err == nil || !strings.Contains(got.err.Error(), "broken") {
		t.Errorf("Handover: %v", got.err)
	}
	broken.Store(false)
	x.next()
	c.send(`422["get"]`)
	c.expect("432[7]")
	c.conn.Close()
}

// A part that panics calls the handover off; clients go on where they were, and a later one
// succeeds.
func TestAPartThatPanicsCallsAHandoverOff(t *testing.T) {
	var panics string
	when := func(step string) {
		if panics == step {
			panic("a part's " + step)
		}
	}
	x := begin(t, sio.Options{}, func(srv *sio.Server) {
		echo(srv.Of("/"))
		srv.Carry(sio.Part{
			Name:   "bad",
			Hold:   func(context.Context) error { when("Hold"); return nil },
			Export: func() ([]byte, error) { when("Export"); return []byte("x"), nil },
			Import: func([]byte) error { return nil },
		})
	})
	c := x.srv.join("40")
	for _, panics = range []string{"Hold", "Export"} {
		mine, others := socketpair(t)
		done := x.handOver(context.Background(), mine, sio.HandoverOptions{})
		srv, err := x.heir(others)
		if err != nil {
			t.Fatal(err)
		}
		if err := srv.Serve(context.Background()); !errors.Is(err, sio.ErrRefused) {
			t.Errorf("%s: Serve: %v", panics, err)
		}
		var p *sio.PanicError
		if got := take(t, done); !errors.As(got.err, &p) {
			t.Errorf("%s: Handover: %v", panics, got.err)
		}
		c.send(`421["echo",7]`)
		c.expect(`431[7]`)
	}
	panics = ""
	x.next()
	c.send(`422["echo",8]`)
	c.expect(`432[8]`)
	c.conn.Close()
}

// A successor that has said that it serves can be asked for its clients at once, and has
// them handed over when it does.
func TestASuccessorGoesAtOnce(t *testing.T) {
	said, gate := make(chan bool, 2), make(chan struct{})
	x := begin(t, sio.Options{}, func(srv *sio.Server) {
		echo(srv.Of("/"))
		srv.Carry(sio.Part{Name: "slow", Serving: func() { said <- true; <-gate }})
	})
	c := x.srv.join("40")
	mine, others := socketpair(t)
	done := x.handOver(context.Background(), mine, sio.HandoverOptions{})
	second, err := x.heir(others)
	if err != nil {
		t.Fatal(err)
	}
	first, served := x.srv, x.served
	x.take(second, x.srv.addr)
	x.serve()
	take(t, said) // Serve has not got to its loops
	if got := take(t, done); got.err != nil {
		t.Fatalf("Handover: %v", got.err)
	}
	x.end(first, served)

	ctx, cancel := context.WithCancel(context.Background())
	mine, _ = socketpair(t)
	done = x.handOver(ctx, mine, sio.HandoverOptions{})
	cancel()
	if got := take(t, done); !errors.Is(got.err, context.Canceled) {
		t.Errorf("Handover of one that does not serve yet, called off: %v", got.err)
	}
	mine, others = socketpair(t)
	done = x.handOver(context.Background(), mine, sio.HandoverOptions{})
	time.AfterFunc(10*time.Millisecond, func() { close(gate) })
	third, err := x.heir(others)
	if err != nil {
		t.Fatal(err)
	}
	served = x.served
	x.take(third, x.srv.addr)
	x.serve()
	if got := take(t, done); got.err != nil {
		t.Fatalf("Handover: %v", got.err)
	}
	x.end(&server{second, t, x.srv.addr, nil, nil}, served)
	c.send(`421["echo",7]`)
	c.expect(`431[7]`)
	c.conn.Close()
}
