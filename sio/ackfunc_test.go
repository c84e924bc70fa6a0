package sio_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// told returns a function for EmitAckFunc, and what it is told.
func told() (done func(sio.Args, error), heard chan answer) {
	heard = make(chan answer, 64)
	return func(a sio.Args, err error) { heard <- answer{a, err} }, heard
}

func TestAFunctionGetsTheAnswerOrWhyThereIsNone(t *testing.T) {
	var joined chan sio.Socket
	srv := serve(t, sio.Options{MaxPendingAcks: 2}, func(srv *sio.Server) { echo(srv.Of("/")); joined = sockets(srv.Of("/")) })
	c := srv.join("40")
	s := take(t, joined)
	done, heard := told()
	ask := func(d time.Duration, args ...any) {
		t.Helper()
		if err := s.EmitAckFunc(d, done, "ask", args...); err != nil {
			t.Fatalf("EmitAckFunc: %v", err)
		}
	}

	ask(0, 1, []byte{1})
	c.expect(`451-0["ask",1,{"_placeholder":true,"num":0}]`, "<01>")
	c.send(`461-0["a",{"_placeholder":true,"num":0}]`, "<0203>")
	a := take(t, heard)
	var text string
	var data []byte
	if err := errors.Join(a.err, a.args.Decode(&text, &data)); err != nil || text != "a" || string(data) != "\x02\x03" {
		t.Errorf("the answer is %q, % x, %v, want a, 02 03", text, data, err)
	}
	c.send("430[]") // once more

	ask(time.Millisecond)
	if a := take(t, heard); !errors.Is(a.err, context.DeadlineExceeded) {
		t.Errorf("too late is %v, want %v", a.err, context.DeadlineExceeded)
	}
	c.send("43" + c.question("ask") + "[]") // late

	ask(time.Hour)
	ask(time.Hour)
	ask(time.Hour)
	if a := take(t, heard); !errors.Is(a.err, sio.ErrTooManyAcks) {
		t.Errorf("one too many is %v, want %v", a.err, sio.ErrTooManyAcks)
	}
	c.question("ask")
	c.question("ask")
	c.send("41")
	for range 2 {
		if a := take(t, heard); !errors.Is(a.err, sio.ErrClosed) {
			t.Errorf("a client that leaves is %v, want %v", a.err, sio.ErrClosed)
		}
	}
	eventually(t, "the end of the socket", s.Gone)
	for what, err := range map[string]error{
		"who has left": s.EmitAckFunc(0, done, "ask"),
		"no time":      s.EmitAckFunc(-1, done, "ask"),
	} {
		if !errors.Is(err, sio.ErrClosed) {
			t.Errorf("%s: EmitAckFunc = %v, want %v", what, err, sio.ErrClosed)
		}
	}
	sio.AskFunc(s, 0, "ask", nil, func(_ int, err error) { done(sio.Args{}, err) })
	if a := take(t, heard); !errors.Is(a.err, sio.ErrClosed) {
		t.Errorf("AskFunc of who has left is told %v, want %v", a.err, sio.ErrClosed)
	}
	if len(heard) > 0 {
		t.Errorf("%d answers too many, the first %v", len(heard), take(t, heard))
	}
}

func TestAFunctionIsNotCalledWhenNothingWasAsked(t *testing.T) {
	var joined chan sio.Socket
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) { echo(srv.Of("/")); joined = sockets(srv.Of("/")) })
	c := srv.join("40")
	s := take(t, joined)
	done, heard := told()
	if err := s.EmitAckFunc(0, done, "ask", func() {}); err == nil {
		t.Error("EmitAckFunc of a function = nil, want an error")
	}
	if err := s.EmitAckFunc(0, done, "connect"); err == nil {
		t.Error("EmitAckFunc of a reserved event = nil, want an error")
	}
	if err := s.EmitAckFunc(-time.Second, done, "ask"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("EmitAckFunc with a negative time = %v, want %v", err, context.DeadlineExceeded)
	}
	c.quiet("")
	if len(heard) > 0 {
		t.Errorf("the function was told %v, want nothing", take(t, heard))
	}
	sio.AskFunc(s, time.Hour, "n", []any{1}, func(n int, err error) { done(sio.Args{}, fmt.Errorf("%d %w", n, err)) })
	c.send("43" + c.question("n") + `["x"]`)
	var decode *sio.DecodeError
	if a := take(t, heard); !errors.As(a.err, &decode) {
		t.Errorf("an answer of another type is told as %v, want a DecodeError", a.err)
	}
}

// What the wrappers of emits do to a question.
func TestAFunctionIsCalledOnceWhateverWrappersDo(t *testing.T) {
	var joined chan sio.Socket
	refused := errors.New("refused")
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		echo(srv.Of("/"))
		joined = sockets(srv.Of("/"))
		srv.Of("/").UseEmit(func(next sio.EmitFunc) sio.EmitFunc {
			return func(to sio.BroadcastOperator, event string, args ...any) error {
				switch event {
				case "stop":
					return nil
				case "refuse":
					return refused
				case "twice":
					_ = next(to, event, args...)
				}
				return next(to, event, args...)
			}
		})
	})
	c := srv.join("40")
	s := take(t, joined)
	done, heard := told()
	if err := s.EmitAckFunc(0, done, "refuse"); err != refused {
		t.Errorf("EmitAckFunc = %v, want %v", err, refused)
	}
	if err := s.EmitAckFunc(0, done, "stop"); err != nil {
		t.Errorf("EmitAckFunc = %v, want nil", err)
	}
	if a := take(t, heard); a.err != nil || a.args.Len() != 0 {
		t.Errorf("what was not sent is told as %v, want no answer", a)
	}
	if err := s.EmitAckFunc(0, done, "twice"); err != nil {
		t.Errorf("EmitAckFunc = %v, want nil", err)
	}
	id := c.question("twice")
	c.expect(`42["twice"]`)
	c.send("43"+id+"[]", "43"+id+"[]")
	take(t, heard)
	c.quiet("")
	if len(heard) > 0 {
		t.Errorf("%d answers too many", len(heard))
	}
}

// done is a handler among the handlers of the socket.
func TestAFunctionHasItsTurnAmongTheHandlers(t *testing.T) {
	order := make(chan string, 16)
	goOn := make(chan struct{})
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		echo(ns)
		ns.Handle("begin", func(s sio.Socket, m *sio.Msg) error {
			err := s.EmitAckFunc(0, func(sio.Args, error) { order <- "answer"; panic("mine") }, "ask")
			<-goOn
			order <- "begin"
			return err
		})
		ns.Handle("next", func(sio.Socket, *sio.Msg) error { order <- "next"; return nil })
		ns.OnDisconnecting(func(sio.Socket, sio.Reason) { order <- "disconnecting" })
		ns.HandleInline("inline", func(s sio.Socket, m *sio.Msg) error {
			return s.EmitAckFunc(0, func(_ sio.Args, err error) { order <- fmt.Sprint("inline ", err) }, "ask")
		})
	})
	c := srv.join("40")
	c.send(`42["begin"]`)
	c.send("43"+c.question("ask")+"[]", `42["next"]`)
	close(goOn)
	for _, want := range []string{"begin", "answer", "next"} {
		if got := take(t, order); got != want {
			t.Fatalf("%s has its turn, want %s", got, want)
		}
	}
	if line := take(t, srv.log.new); !strings.HasPrefix(line, "ask: sio: panic: mine") {
		t.Errorf("OnError is told %q, want the panic, with the name of the event", line)
	}
	c.send(`42["inline"]`)
	c.question("ask")
	c.send("41")
	for _, want := range []string{"inline sio: socket is closed", "disconnecting"} {
		if got := take(t, order); got != want {
			t.Fatalf("%s has its turn, want %s", got, want)
		}
	}
}

// Answers that wait for a function are charged to who sends them.
func TestAnswersThatWaitAreCharged(t *testing.T) {
	var joined chan sio.Socket
	goOn := make(chan struct{})
	o := sio.Options{}
	o.Engine.MaxPayload = 1 << 20
	srv := simulate(t, o, func(srv *sio.Server) {
		srv.Of("/").Handle("hold", func(sio.Socket, *sio.Msg) error { <-goOn; return nil })
		joined = sockets(srv.Of("/"))
	})
	defer close(goOn)
	c := srv.join("40")
	s := take(t, joined)
	var ended atomic.Int64
	const asked = 64
	for range asked {
		if err := s.EmitAckFunc(time.Hour, func(sio.Args, error) { ended.Add(1) }, "ask"); err != nil {
			t.Fatal(err)
		}
	}
	c.send(`42["hold"]`)
	big := `["` + strings.Repeat("x", 1<<19) + `"]`
	go func() { // ends when all is sent, or nothing more is read
		for id := range asked {
			c.send(fmt.Sprint("43", id, big))
		}
	}()
	eventually(t, "a pause of reading", func() bool { return srv.Stats().Engine.Pauses > 0 })
}

// However many questions are open, nobody waits for them.
func TestQuestionsTakeNoGoroutine(t *testing.T) {
	const clients, each = 100, 1000
	st := newStage(t, sio.Options{})
	var all []*extra
	for range clients {
		x := st.enter(0)
		x.peer.Discard(true)
		all = append(all, x)
	}
	before := runtime.NumGoroutine()
	done := make(chan error, clients*each)
	for _, x := range all {
		for range each {
			if err := x.s.EmitAckFunc(10*time.Second, func(_ sio.Args, err error) { done <- err }, "ask"); err != nil {
				t.Fatal(err)
			}
		}
	}
	st.sim.Turn()
	if n := runtime.NumGoroutine(); n > before+10 {
		t.Errorf("%d goroutines for %d questions, want none", n-before, clients*each)
	}
	st.sim.Advance(10 * time.Second)
	for range clients * each {
		if err := take(t, done); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a question ended with %v, want %v", err, context.DeadlineExceeded)
		}
	}
}

// Who waits for as long as a Duration can be does so.
func TestAFunctionMayWaitForEver(t *testing.T) {
	st := newStage(t, sio.Options{})
	x := st.enter(0)
	done, heard := told()
	if err := x.s.EmitAckFunc(math.MaxInt64, done, "ask"); err != nil {
		t.Fatal(err)
	}
	st.sim.Advance(10 * time.Second)
	x.send(`430["late"]`)
	if a := take(t, heard); a.err != nil {
		t.Errorf("the function is told %v, want the answer", a.err)
	}
}
