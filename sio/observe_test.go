package sio_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// sights are what an observer has seen, as text.
type sights struct {
	mu  sync.Mutex
	all []string
}

func (x *sights) see(o *sio.Observation) {
	text := ""
	switch o.Kind {
	case sio.ObservedConnect:
		text = fmt.Sprint("connect ", o.Transport(), " ", o.Rooms())
	case sio.ObservedDisconnect:
		text = fmt.Sprint("disconnect ", o.Reason, " ", o.Rooms(), " ", o.In(o.Socket.ID()))
	case sio.ObservedJoin:
		text = fmt.Sprint("join ", o.Room, " ", o.In(o.Room))
	case sio.ObservedLeave:
		text = "leave " + o.Room
	case sio.ObservedEvent:
		text = fmt.Sprint("event ", o.Event(), " ", argsText(o.Args()), " ", o.WantsAck())
	case sio.ObservedEmit:
		text = fmt.Sprint("emit ", o.Event(), " ", argsText(o.Args()), " ", o.WantsAck(), " ", o.To)
	case sio.ObservedUpgrade:
		text = "upgrade " + o.Transport()
	case sio.ObservedData:
		text = fmt.Sprint("data ", o.Socket.Data())
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.all = append(x.all, o.Socket.Name()+" "+text)
}

// argsText is arguments as JSON, with their attachments.
func argsText(a sio.Args) string {
	raw, attachments := a.Verbatim()
	var texts []string
	for _, arg := range raw {
		texts = append(texts, string(arg))
	}
	return fmt.Sprint("[", strings.Join(texts, ","), "] ", attachments)
}

// take returns what was seen since it was called last.
func (x *sights) take() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := x.all
	x.all = nil
	return all
}

func (x *sights) want(t *testing.T, want ...string) {
	t.Helper()
	if got := x.take(); !slices.Equal(got, want) {
		t.Errorf("seen:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What happens to a socket is seen, in its order, with and without recovery, whose
// offsets are not, until the observer is stopped.
func TestObserve(t *testing.T) {
	for _, window := range []time.Duration{0, time.Minute} {
		for _, packed := range []bool{false, true} {
			t.Run(fmt.Sprint(window, packed), func(t *testing.T) { observe(t, window, packed) })
		}
	}
}

func observe(t *testing.T, window time.Duration, packed bool) {
	srv := siotest.New(t, sio.Options{Recovery: sio.Recovery{Window: window}, Parser: sio.EitherParser})
	ns := srv.Of("/")
	ns.Use(func(s sio.Socket) error { s.Join("hall"); return nil })
	ns.Handle("echo", func(s sio.Socket, m *sio.Msg) error { return m.Ack(m.Args) })
	x := &sights{}
	stop := srv.Observe(x.see)
	srv.Settle()
	c := srv.ConnectWith("/", siotest.Options{MessagePack: packed})
	s := c.Socket()
	x.want(t, "/ connect websocket [hall]")
	c.EmitAck("echo", 1, []byte{2})
	c.Emit("nobody handles it")
	x.want(t, `/ event echo [1,{"_placeholder":true,"num":0}] [[2]] true`, `/ event nobody handles it [] [] false`)
	s.Join("r", "r")
	s.SetData("d")
	srv.Settle()
	_ = s.EditData(func(any) (any, error) { return "e", nil })
	srv.Settle()
	x.want(t, "/ join r true", "/ data d", "/ data e")
	_ = s.Emit("one", "a", []byte{3})
	_ = ns.To("r", "q").Emit("room", "b")
	_ = ns.Emit("all")
	srv.Settle()
	_ = s.Volatile().Emit("volatile")
	srv.Settle()
	x.want(t, `/ emit one ["a",{"_placeholder":true,"num":0}] [[3]] false []`, `/ emit room ["b"] [] false [r q]`, `/ emit all [] [] false []`, `/ emit volatile [] [] false []`)
	c.Answer("asked", func(siotest.Args) []any { return []any{1} })
	_ = s.EmitAckFunc(time.Second, func(sio.Args, error) {}, "asked", 1)
	srv.Settle()
	x.want(t, `/ emit asked [1] [] true []`)
	if _, err := ns.To("r").EmitAck(context.Background(), "asked", 2); err != nil {
		t.Error(err)
	}
	x.want(t, `/ emit asked [2] [] true []`)
	s.Leave("r")
	srv.Settle()
	x.want(t, "/ leave r")
	c.Disconnect()
	srv.Settle()
	x.want(t, "/ disconnect client namespace disconnect [hall] true", "/ leave hall")
	stop()
	stop()
	srv.Connect("/").Emit("unseen")
	x.want(t)
}

// One that is recovered is seen with its rooms; what it missed is not seen again.
func TestObserveWhoIsRecovered(t *testing.T) {
	srv := siotest.New(t, sio.Options{Recovery: sio.Recovery{Window: time.Minute}})
	ns := srv.Of("/")
	c := srv.Connect("/")
	c.Socket().Join("r")
	_ = ns.Emit("first")
	srv.Settle()
	c.Drop()
	x := &sights{}
	defer srv.Observe(x.see)()
	_ = ns.Emit("missed")
	srv.Settle()
	x.want(t)
	if err := c.Reconnect(); err != nil || !c.Recovered() {
		t.Fatal(err, c.Recovered())
	}
	x.want(t, "/ connect websocket [r]")
}

// An upgrade is seen by each namespace of the connection.
func TestObserveUpgrade(t *testing.T) {
	x := &sights{}
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		srv.Of("/")
		srv.Of("/other")
		srv.Observe(x.see)
	})
	p := srv.joinPolling()
	p.send("40/other,")
	p.next()
	eventually(t, "two sockets", func() bool { return slices.Contains(x.take(), "/other connect polling []") })
	p.upgrade(func() {})
	eventually(t, "the upgrade", func() bool {
		return slices.Equal(x.take(), []string{"/ upgrade websocket", "/other upgrade websocket"})
	})
}

// A function that panics is not called again; others are, and clients do not notice.
func TestObserverThatPanics(t *testing.T) {
	srv, j := serveLogged(t, func(srv *sio.Server) { echo(srv.Of("/")) })
	calls := 0
	x := &sights{}
	srv.Observe(func(*sio.Observation) { calls++; panic("oh") })
	srv.Observe(x.see)
	c := srv.join("40")
	c.send(`421["echo",1]`)
	c.expect(`431[1]`)
	eventually(t, "a line of it", func() bool { return strings.Contains(strings.Join(j.lines(), ""), "function of Observe panicked") })
	if calls != 1 {
		t.Errorf("it was called %d times", calls)
	}
	if got := x.take(); len(got) < 2 {
		t.Errorf("the other has seen %q", got)
	}
}

// Who observes can stop within a call, and observe once more.
func TestObserversComeAndGo(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	srv.Of("/")
	var stop func()
	first, second := 0, 0
	stop = srv.Observe(func(*sio.Observation) {
		first++
		stop()
		srv.Observe(func(*sio.Observation) { second++ })
	})
	srv.Settle()
	c := srv.Connect("/")
	c.Emit("x")
	c.Emit("x")
	if first != 1 || second != 2 {
		t.Errorf("called %d and %d times, want 1 and 2", first, second)
	}
}

// A namespace is told of the upgrade of each of its sockets, also behind a function that
// panics.
func TestOnUpgrade(t *testing.T) {
	told := make(chan string, 8)
	srv := serve(t, sio.Options{OnError: func(_ sio.Socket, event string, _ error) { told <- "error of " + event }}, func(srv *sio.Server) {
		srv.Of("/").OnUpgrade(func(s sio.Socket) { told <- s.Name() })
		srv.Of("/other").OnUpgrade(func(sio.Socket) { panic("oh") })
		srv.Of("/other").OnUpgrade(func(s sio.Socket) { told <- s.Name() })
		srv.Of("/none")
	})
	p := srv.joinPolling()
	for _, name := range []string{"/other", "/none"} {
		p.send("40" + name + ",")
		p.next()
	}
	p.upgrade(func() {})
	for _, want := range []string{"/", "error of upgrade", "/other"} {
		if got := take(t, told); got != want {
			t.Errorf("told %s, want %s", got, want)
		}
	}
}

// What is emitted when sent has been called comes behind the question.
func TestEmitAckSentIsBeforeWhatFollows(t *testing.T) {
	for _, window := range []time.Duration{0, time.Minute} {
		srv := serve(t, sio.Options{Recovery: sio.Recovery{Window: window}}, func(srv *sio.Server) { srv.Of("/") })
		c := srv.dial()
		c.send("40")
		c.next()
		ns, asked := srv.Of("/"), make(chan error)
		for i := range 50 {
			sent := make(chan struct{})
			go func() {
				_, err := ns.All().EmitAckSent(within(patience), func() { close(sent) }, func(sio.Args) {}, "q")
				asked <- err
			}()
			<-sent
			_ = ns.Emit("then")
			q, then := c.next(), c.next()
			c.send(fmt.Sprintf("43%d[]", i)) // which the server may read before it has sent what it is of, otherwise
			if !strings.Contains(q, `["q"`) || !strings.Contains(then, `["then"`) {
				t.Fatalf("got %s, %s", q, then)
			}
			if err := <-asked; err != nil {
				t.Fatal(err)
			}
		}
	}
}
