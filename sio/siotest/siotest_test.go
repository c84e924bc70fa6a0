package siotest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// register is a small application.
func register(srv *sio.Server) {
	ns := srv.Of("/")
	sio.OnAck(ns, "join", func(s sio.Socket, room string) (string, error) {
		ctx, cancel := context.WithTimeout(s.Context(), 2*time.Second)
		defer cancel()
		name, err := sio.Ask[string](ctx, s, "who are you?")
		if err != nil {
			return "", &sio.Error{Message: "nobody"}
		}
		s.Join(room)
		return "hello " + name, s.To(room).Emit("joined", name)
	})
	sio.On(ns, "chat", func(s sio.Socket, text string) error { return s.To("r").Emit("chat", text) })
	ns.HandleInline("echo", func(_ sio.Socket, m *sio.Msg) error { return m.Ack(m.Args) })
	ns.Handle("wait", func(s sio.Socket, _ *sio.Msg) error { <-s.Context().Done(); return nil })
	ns.Handle("leave me", func(s sio.Socket, _ *sio.Msg) error { return s.Disconnect(sio.DisconnectOptions{}) })
	admin := srv.Of("/admin/:id")
	admin.Use(func(s sio.Socket) error {
		var auth struct{ Token string }
		if err := s.Auth(&auth); err != nil || auth.Token != "secret" {
			return &sio.Error{Message: "not authorized", Data: map[string]string{"id": s.Param("id")}}
		}
		return nil
	})
	sio.OnAck(admin, "id", func(s sio.Socket, _ int) (string, error) { return s.Param("id"), nil })
}

func either() (o sio.Options) {
	o.Parser, o.Engine.AllowEIO3 = sio.EitherParser, true
	return o
}

func TestEveryKindOfClient(t *testing.T) {
	for name, o := range map[string]siotest.Options{
		"WebSocket": {}, "polling": {Polling: true}, "Socket.IO 2": {V2: true},
		"MessagePack": {MessagePack: true}, "MessagePack over polling": {MessagePack: true, Polling: true},
	} {
		t.Run(name, func(t *testing.T) {
			srv := siotest.New(t, either())
			register(srv.Server)
			a, b := srv.ConnectWith("/", o), srv.ConnectWith("/", o)

			join := a.EmitAck("join", "r")
			if join.Done() {
				t.Error("the question is not answered, and its event is")
			}
			a.Expect("who are you?").Ack("alice")
			b.Answer("who are you?", func(siotest.Args) []any { return []any{"bob"} })
			var hello string
			if join.Decode(&hello); hello != "hello alice" {
				t.Errorf("alice was told %q", hello)
			}
			if hello := siotest.Ask[string](b, "join", "r"); hello != "hello bob" {
				t.Errorf("bob was told %q", hello)
			}
			if got := siotest.Expect[string](a, "joined"); got != "bob" {
				t.Errorf("%q has joined", got)
			}
			b.Emit("chat", "hi")
			if e := srv.ExpectEmit("chat"); !e.Reached(a) || e.Reached(a, b) || e.Reached(b) || e.Socket != b.ID() {
				t.Errorf("emitted %v, want to alice alone, by bob", e)
			}
			if got := a.Expect("chat").String(); got != `"chat" "hi"` {
				t.Errorf("received %s", got)
			}
			a.ExpectNothing()
			b.ExpectNothing()

			var bytes []byte
			a.EmitAck("echo", []byte{1, 2, 3}).Decode(&bytes)
			if !slices.Equal(bytes, []byte{1, 2, 3}) {
				t.Errorf("bytes came back as % x", bytes)
			}

			srv.Advance(10 * time.Minute)
			late := a.EmitAck("join", "r")
			srv.Advance(2 * time.Second)
			var failed struct{ Error string }
			if late.Decode(&failed); failed.Error != "nobody" {
				t.Errorf("who does not say who he is was told %q", failed.Error)
			}
			b.Emit("wait")
			if b.Drop(); b.Connected() {
				t.Error("bob is connected without a connection")
			}
			if d := b.ExpectDisconnect(); d.Reason != siotest.TransportClose || d.Server != eio.TransportClose && d.Server != eio.TransportError {
				t.Errorf("bob was disconnected for %+v", d)
			}

			o.Auth = map[string]string{"token": "secret"}
			if got := siotest.Ask[string](srv.ConnectWith("/admin/7", o), "id"); got != "7" {
				t.Errorf("the id is %q, want 7", got)
			}
			o.Auth = map[string]string{"token": "x"}
			_, err := srv.Try("/admin/7", o)
			var refused *siotest.ConnectError
			if !errors.As(err, &refused) || string(refused.Data) != `{"id":"7"}` || refused.Message != "not authorized" && !o.V2 {
				t.Errorf("connecting without the secret = %#v", err)
			}
		})
	}
}

// Whatever goroutines do, a test sees the same each time.
func TestDeterminism(t *testing.T) {
	run := func() string {
		var log []string // of the handlers, which run one at a time
		srv := siotest.New(nil, sio.Options{Loop: loop.Options{Loops: 3}})
		ns := srv.Of("/")
		ns.OnConnect(func(s sio.Socket) error { s.Join("all"); return ns.Emit("here", len(log)) })
		sio.On(ns, "all", func(s sio.Socket, n int) error {
			log = append(log, fmt.Sprint("all ", n))
			answers, err := ns.To("all").EmitAck(s.Context(), "q", n)
			for _, a := range answers {
				log = append(log, string(a.Raw(0)))
			}
			return err
		})
		ns.OnDisconnect(func(s sio.Socket, why sio.Reason) {
			runtime.Gosched()
			log = append(log, string(why))
			_ = ns.Emit("left", len(log))
		})
		var clients []*siotest.Client
		for i := range 8 {
			c := srv.ConnectWith("/", siotest.Options{Polling: i%3 == 0})
			c.Answer("q", func(a siotest.Args) []any { return []any{i, a} })
			clients = append(clients, c)
		}
		for i, c := range clients {
			c.Emit("all", i)
		}
		for _, c := range clients[:4] {
			c.Stall(true)
		}
		srv.Advance(2 * time.Minute)
		for _, c := range clients[4:] {
			for _, e := range c.Received() {
				log = append(log, e.String())
			}
		}
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		return strings.Join(log, "\n")
	}
	first := run()
	for range 5 {
		if again := run(); again != first {
			t.Fatalf("once it was\n%s\n\nand then\n%s", first, again)
		}
	}
	if n := strings.Count(first, "\n"); n < 100 {
		t.Errorf("%d lines, want some hundred:\n%s", n, first)
	}
}

func TestNamespacesOfOneConnection(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	register(srv.Server)
	ns := srv.Of("/other")
	sio.OnAck(ns, "end", func(s sio.Socket, _ int) (int, error) {
		return 1, s.Disconnect(sio.DisconnectOptions{Conn: true})
	})
	a := srv.Connect("/")
	b := srv.ConnectWith("/other", siotest.Options{On: a})
	if _, err := srv.Try("/nowhere", siotest.Options{On: a}); err == nil || err.Error() != "connect_error: Invalid namespace" {
		t.Errorf("joining what is not there = %v", err)
	}
	b.Emit("end")
	for _, c := range []*siotest.Client{a, b} {
		if d := c.ExpectDisconnect(); d.Reason != siotest.ServerDisconnect || d.Server != sio.ServerDisconnect {
			t.Errorf("%v was disconnected for %+v", c, d)
		}
	}
	c := srv.Connect("/")
	if s := c.Socket(); s.ID() != c.ID() || s.Name() != "/" {
		t.Errorf("the socket of %s is %s in %s", c.ID(), s.ID(), s.Name())
	}
	c.Disconnect()
	if d := c.ExpectDisconnect(); d.Reason != siotest.ClientDisconnect || d.Server != sio.ClientDisconnect {
		t.Errorf("who leaves is disconnected for %+v", d)
	}
}

func TestRefusedRequest(t *testing.T) {
	o := sio.Options{}
	o.Engine.MaxSessions = 1
	srv := siotest.New(t, o)
	srv.Of("/")
	srv.Connect("/")
	for _, o := range []siotest.Options{{}, {Polling: true}} {
		_, err := srv.Try("/", o)
		var refused *siotest.ConnectError
		if !errors.As(err, &refused) || refused.Status != 503 {
			t.Errorf("one client too many: %v, want an answer 503", err)
		}
	}
}

func TestRecovery(t *testing.T) {
	srv := siotest.New(t, sio.Options{Recovery: sio.Recovery{Window: time.Minute}})
	ns := srv.Of("/")
	ns.OnConnect(func(s sio.Socket) error { s.Join("r"); return nil })
	emit := func(n int) {
		t.Helper()
		if err := ns.To("r").Emit("n", n); err != nil {
			t.Fatal(err)
		}
	}
	c := srv.Connect("/")
	emit(1)
	c.Expect("n")
	id := c.ID()
	c.Drop()
	emit(2)
	if err := c.Reconnect(); err != nil || !c.Recovered() || c.ID() != id {
		t.Fatalf("coming back = %v, recovered: %t", err, c.Recovered())
	}
	if n := siotest.Expect[int](c, "n"); n != 2 {
		t.Errorf("received %d, want what was missed: 2", n)
	}
	c.Drop()
	srv.Advance(2 * time.Minute)
	emit(3)
	if err := c.Reconnect(); err != nil || c.Recovered() || c.ID() == id {
		t.Fatalf("coming back too late = %v, recovered: %t", err, c.Recovered())
	}
	c.ExpectNothing()
}

func TestSlowClient(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	ns := srv.Of("/")
	for _, o := range []siotest.Options{{}, {Polling: true}} {
		slow := srv.ConnectWith("/", o)
		slow.Stall(true)
		for i := range 3 {
			if err := errors.Join(ns.Emit("n", i), ns.All().Volatile().Emit("v", i)); err != nil {
				t.Fatal(err)
			}
			srv.Settle()
		}
		slow.ExpectNothing()
		slow.Stall(false)
		for i := range 3 {
			if n := siotest.Expect[int](slow, "n"); n != i {
				t.Errorf("received %d, want %d", n, i)
			}
		}
		slow.ExpectNothing()
		slow.Stall(true)
		srv.Advance(time.Minute)
		slow.Stall(false)
		if d := slow.ExpectDisconnect(); d.Server != eio.PingTimeout {
			t.Errorf("who answers no pings is disconnected for %+v", d)
		}
	}
}

func TestEmits(t *testing.T) {
	srv := siotest.New(t, sio.Options{Loop: loop.Options{Loops: 2}})
	ns, trends := srv.Of("/"), srv.Of("/trends/:id")
	ns.Handle("join", func(s sio.Socket, m *sio.Msg) error { s.Join("r"); return nil })
	a, b, x := srv.Connect("/"), srv.Connect("/"), srv.Connect("/trends/1")
	a.Emit("join")
	b.Emit("join")
	for _, emit := range []func() error{
		func() error { return ns.To("nobody's", "s").Emit("lost", 1, []byte{1}) },
		func() error { return ns.To("r").Except(a.ID()).Volatile().Emit("to b") },
		func() error { return ns.All().Local().Compress(false).Emit("to all") },
		func() error { return trends.Emit("to x") },
	} {
		if err := emit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := ns.Emit("never", func() {}); err == nil {
		t.Error("a function can be encoded")
	}
	var got []string
	for _, e := range srv.Emits() {
		got = append(got, fmt.Sprint(e, e.Local, e.Uncompressed, e.Reached(), e.Reached(b), e.Reached(b, a), e.Reached(x)))
	}
	if want := []string{
		`"lost" 1, {"_placeholder":true,"num":0} (1 attachments) in / to ["nobody's" "s"] for 0 sockets false false true false false false`,
		fmt.Sprintf(`"to b" in / to ["r"] except [%q] volatile for 1 sockets false false false true false false`, a.ID()),
		`"to all" in / for 2 sockets true true false false true false`,
		`"to x" in /trends/:id for 1 sockets false false false false false true`,
	}; !slices.Equal(got, want) {
		t.Errorf("emitted\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(srv.Emits()) != 0 {
		t.Error("what was taken is still there")
	}
}

func TestHandlersThatWait(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	ns := srv.Of("/")
	first, second := make(chan int), make(chan int)
	var order []int
	ns.Handle("sleep", func(_ sio.Socket, m *sio.Msg) error {
		time.Sleep(20 * time.Millisecond)
		return m.Ack()
	})
	ns.OnDisconnect(func(sio.Socket, sio.Reason) { order = append(order, <-first) })
	srv.Of("/b").OnDisconnect(func(sio.Socket, sio.Reason) { first <- 1 })
	ns.Handle("second", func(_ sio.Socket, m *sio.Msg) error { second <- 2; return m.Ack() })
	ns.Handle("select", func(s sio.Socket, m *sio.Msg) error {
		select {
		case <-s.Context().Done():
			return nil
		case n := <-second:
			return m.Ack(n)
		}
	})
	ns.Handle("later", func(s sio.Socket, m *sio.Msg) error {
		go func() {
			time.Sleep(time.Millisecond)
			if err := errors.Join(s.Emit("later", len(s.Rooms())), m.Ack("later")); err != nil {
				t.Error(err)
			}
		}()
		return nil
	})
	ns.HandleInline("inline", func(s sio.Socket, m *sio.Msg) error {
		_, err := s.EmitAck(s.Context(), "q")
		return m.Ack(err == sio.ErrInline)
	})
	a, b := srv.Connect("/"), srv.Connect("/")
	if !siotest.Ask[bool](a, "inline") {
		t.Error("an inline handler may wait for its client")
	}
	a.EmitAck("sleep").Args()

	// One that waits for the test, in a select as it has said.
	selecting := a.EmitAck("select")
	if selecting.Done() {
		t.Error("nothing has been said")
	}
	b.EmitAck("second").Args()
	if selecting.Args().String() != "2" {
		t.Errorf("got %v", selecting.Args())
	}

	// What comes by itself.
	ack := a.EmitAck("later")
	var rooms int
	if a.Await("later", &rooms); rooms != 1 || ack.Await().String() != `"later"` {
		t.Errorf("%d rooms, and %v", rooms, ack.Args())
	}

	// The test asks.
	a.Answer("q", func(a siotest.Args) []any { return []any{a} })
	answers, err := ns.To(a.ID()).EmitAck(t.Context(), "q", 7)
	if err != nil || len(answers) != 1 || string(answers[0].Raw(0)) != "7" {
		t.Errorf("asking = %v, %v", answers, err)
	}

	// One handler waits for another.
	go func() { first <- 0 }()
	b.Drop()
	srv.ConnectWith("/b", siotest.Options{On: a})
	a.Drop()
	if !slices.Equal(order, []int{0, 1}) {
		t.Errorf("handlers have heard %d, want 0 and 1", order)
	}
}

func TestFailingHandlers(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	ns := srv.Of("/")
	mine := errors.New("mine")
	ns.Handle("error", func(sio.Socket, *sio.Msg) error { return mine })
	ns.Handle("panic", func(sio.Socket, *sio.Msg) error { panic("oops") })
	ns.Handle("exit", func(sio.Socket, *sio.Msg) error { runtime.Goexit(); return nil })
	ns.Handle("ok", func(_ sio.Socket, m *sio.Msg) error { return m.Ack() })
	c := srv.Connect("/")
	c.Emit("panic")
	c.Emit("error")
	c.Emit("exit")
	c.EmitAck("ok").Args()
	var panicked *sio.PanicError
	if err := srv.ExpectError("error"); err != mine {
		t.Errorf("the error is %v", err)
	}
	if err := srv.ExpectError("panic"); !errors.As(err, &panicked) || panicked.Value != "oops" {
		t.Errorf("the panic is %v", err)
	}
	if err := srv.ExpectError("exit"); err == nil {
		t.Error("the end of a goroutine is no error")
	}
}

// A failing has the failures of what would be a test.
type failing struct {
	texts []string
	ends  []func()
}

func (f *failing) Helper()                      {}
func (f *failing) Errorf(s string, args ...any) { f.texts = append(f.texts, fmt.Sprintf(s, args...)) }
func (f *failing) Fatalf(s string, args ...any) {
	f.Errorf(s, args...)
	runtime.Goexit()
}
func (f *failing) Cleanup(end func()) { f.ends = append(f.ends, end) }

// fail runs a test, and returns its failures.
func fail(test func(f *failing)) []string {
	f := &failing{}
	var done sync.WaitGroup
	done.Go(func() { test(f) })
	done.Wait()
	for _, end := range f.ends {
		end()
	}
	return f.texts
}

func TestFailuresReadWell(t *testing.T) {
	for want, test := range map[string]func(srv *siotest.Server, c *siotest.Client){
		`siotest: client 1 of /: waiting for "chat": got nothing`:                         func(srv *siotest.Server, c *siotest.Client) { c.Expect("chat") },
		`siotest: client 1 of /: waiting for "chat": got "joined" {"a":1}, nothing else`:  func(srv *siotest.Server, c *siotest.Client) { c.Emit("x"); c.Expect("chat") },
		`siotest: client 1 of /: waiting for nothing: got "joined" {"a":1}, nothing else`: func(srv *siotest.Server, c *siotest.Client) { c.Emit("x"); c.ExpectNothing() },
		`siotest: client 1 of /: waiting for the acknowledgement of "x": it has not come, got "joined" {"a":1}, nothing else`: func(srv *siotest.Server, c *siotest.Client) {
			c.EmitAck("x").Args()
		},
		`siotest: client 1 of /: waiting for a disconnect: it is connected, and got nothing`: func(srv *siotest.Server, c *siotest.Client) { c.ExpectDisconnect() },
		`siotest: client 1 of /: emitting "x": it is disconnected: io client disconnect`:     func(srv *siotest.Server, c *siotest.Client) { c.Disconnect(); c.Emit("x") },
		`siotest: client 1 of /: waiting for "chat": got nothing; it is disconnected: io client disconnect`: func(srv *siotest.Server, c *siotest.Client) {
			c.Disconnect()
			c.Await("chat")
		},
		`siotest: client 1 of /: decoding "joined" {"a":1}: sio: argument 0: json: cannot unmarshal object into Go value of type string`: func(srv *siotest.Server, c *siotest.Client) {
			c.Emit("x")
			siotest.Expect[string](c, "joined")
		},
		`siotest: connecting to "y": connect_error: Invalid namespace`:                                       func(srv *siotest.Server, c *siotest.Client) { srv.Connect("y") },
		`siotest: waiting for the server to emit "chat": it has emitted "joined" {"a":1} in / for 1 sockets`: func(srv *siotest.Server, c *siotest.Client) { c.Emit("x"); srv.ExpectEmit("chat") },
		`siotest: no handler of "x" has returned an error`:                                                   func(srv *siotest.Server, c *siotest.Client) { c.Emit("x"); srv.ExpectError("x") },
		`siotest: handler of "bad": mine`:                                                                    func(srv *siotest.Server, c *siotest.Client) { c.Emit("bad") },
		`siotest: waiting for good weather: it did not happen in 300ms`:                                      func(srv *siotest.Server, c *siotest.Client) { srv.Until("good weather", func() bool { return false }) },
	} {
		got := fail(func(f *failing) {
			srv := siotest.New(f, sio.Options{})
			srv.Patience = 300 * time.Millisecond
			ns := srv.Of("/")
			ns.Handle("x", func(s sio.Socket, _ *sio.Msg) error {
				return s.Emit("joined", map[string]int{"a": 1})
			})
			ns.Handle("bad", func(sio.Socket, *sio.Msg) error { return errors.New("mine") })
			test(srv, srv.Connect("/"))
		})
		if len(got) != 1 || got[0] != want {
			t.Errorf("the test failed with\n%q, want\n%q", got, want)
		}
	}
}

func TestHangingHandlers(t *testing.T) {
	release := make(chan struct{})
	got := fail(func(f *failing) {
		srv := siotest.New(f, sio.Options{})
		srv.Patience = 30 * time.Millisecond
		srv.Of("/").Handle("hang", func(sio.Socket, *sio.Msg) error { hangHere(release); return nil })
		srv.Connect("/").Emit("hang")
	})
	close(release)
	if len(got) == 0 || !strings.Contains(got[0], "1 handlers neither end nor wait in a call of package sio") || !strings.Contains(got[0], "siotest_test.hangHere") {
		t.Errorf("the test failed with %q, want the stack of the handler", got)
	}
}

func hangHere(c chan struct{}) { <-c }

// The end of the test ends everything.
func TestClose(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 10 {
		srv := siotest.New(nil, sio.Options{Recovery: sio.Recovery{Window: time.Minute}})
		register(srv.Server)
		reasons := map[sio.Reason]int{}
		srv.Of("/").OnDisconnect(func(_ sio.Socket, why sio.Reason) { reasons[why]++ })
		for range 3 {
			a, b := srv.Connect("/"), srv.ConnectWith("/", siotest.Options{Polling: true})
			a.Emit("join") // waits
			b.Emit("wait")
		}
		if err := srv.Close(); err != nil || reasons[sio.ServerShuttingDown] != 6 || len(reasons) != 1 {
			t.Fatalf("Close = %v, sockets left for %v, want six of the server's", err, reasons)
		}
	}
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, before there were %d", n, before)
	}
}

// In a bubble, what handlers sleep takes no time.
func TestSynctest(t *testing.T) {
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		srv := siotest.New(t, sio.Options{})
		srv.Patience = 2 * time.Hour
		srv.Of("/").Handle("sleep", func(_ sio.Socket, m *sio.Msg) error {
			time.Sleep(time.Hour)
			return m.Ack()
		})
		srv.Connect("/").EmitAck("sleep").Args()
	})
	if d := time.Since(began); d > 30*time.Minute {
		t.Errorf("an hour of sleep took %v", d)
	}
}

// Clients may be used by goroutines of the test.
func TestConcurrentUse(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	register(srv.Server)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			c := srv.ConnectWith("/", siotest.Options{Polling: i%2 == 0})
			c.Answer("who are you?", func(siotest.Args) []any { return []any{i} })
			for range 10 {
				if got := siotest.Ask[int](c, "echo", i); got != i {
					t.Errorf("got %d, want %d", got, i)
				}
			}
			c.Disconnect()
		})
	}
	all.Wait()
}

// Packets as they are.
func TestRawPackets(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	register(srv.Server)
	for _, o := range []siotest.Options{{}, {Polling: true}} {
		c := srv.Dial(o)
		if got := c.Received(); len(got) != 1 || !strings.HasPrefix(got[0], `0{"sid":"`) {
			t.Errorf("received %q, want an OPEN packet", got)
		}
		c.Send("40", `451-7["echo",{"_placeholder":true,"num":0}]`, "<0102>")
		if got := c.Received(); len(got) != 3 || !strings.HasPrefix(got[0], `40{"sid":"`) || got[1] != `461-7[{"_placeholder":true,"num":0}]` || got[2] != "<0102>" {
			t.Errorf("received %q", got)
		}
		c.Send("4nonsense")
		if got := c.Received(); len(got) == 0 || got[len(got)-1] != "FIN" {
			t.Errorf("received %q, want the end", got)
		}
	}
}
