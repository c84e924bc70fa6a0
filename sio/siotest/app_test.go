package siotest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// A lobby tells who is there.
func TestLobby(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	ns := srv.Of("/")
	ns.Use(func(s sio.Socket) error {
		var login struct{ Name string }
		err := s.Auth(&login)
		s.SetData(login.Name)
		return err
	})
	sio.On(ns, "enter", func(s sio.Socket, room string) error { s.Join(room); return nil })
	ns.OnJoin(func(s sio.Socket, room string) { _ = ns.To(room).Emit("present", s.Data(), ns.To(room).Count()) })
	ns.OnLeave(func(s sio.Socket, room string) { _ = ns.To(room).Emit("absent", s.Data(), ns.To(room).Count()) })

	login := func(name string) siotest.Options { return siotest.Options{Auth: map[string]string{"name": name}} }
	ann, bob := srv.ConnectWith("/", login("ann")), srv.ConnectWith("/", login("bob"))
	ann.Emit("enter", "lobby")
	bob.Emit("enter", "lobby")
	var who string
	var n int
	for _, want := range []string{"ann 1", "bob 2"} {
		if ann.Expect("present", &who, &n); fmt.Sprint(who, " ", n) != want {
			t.Errorf("ann hears that there are %s %d, want %s", who, n, want)
		}
	}
	if e := bob.Next(); e.String() != `"present" "bob", 2` {
		t.Errorf("bob hears %v", e)
	}
	bob.Drop()
	if ann.Expect("absent", &who, &n); who != "bob" || n != 1 {
		t.Errorf("ann hears that %s has gone and %d are left", who, n)
	}
	ann.ExpectNothing()
}

// A handler that waits for a channel which the test feeds.
func TestHandlersThatTheTestLetsGoOn(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	ns := srv.Of("/")
	kitchen := make(chan string)
	ns.Handle("order", func(s sio.Socket, m *sio.Msg) error {
		first := <-kitchen
		if err := s.Emit("progress", first); err != nil {
			return err
		}
		sure, err := sio.Ask[bool](s.Context(), s, "still hungry?")
		if err != nil {
			return err
		}
		return m.Ack(sure, <-kitchen)
	})
	ns.Handle("ping", func(_ sio.Socket, m *sio.Msg) error { return m.Ack() })
	a, b := srv.Connect("/"), srv.Connect("/")
	order := a.Start("order")
	if order.Done() {
		t.Error("there is no meal, and the order is done")
	}
	b.EmitAck("ping").Args() // others go on
	srv.Advance(time.Hour)
	kitchen <- "cooking"
	if got := siotest.Expect[string](a, "progress"); got != "cooking" {
		t.Errorf("got %q", got)
	}
	// It is the handler's second wait, which nobody has been told of yet.
	go func() { kitchen <- "ready" }()
	a.Expect("still hungry?").Ack(true)
	if got := order.Args().String(); got != `true, "ready"` {
		t.Errorf("the answer is %s", got)
	}

	// Two that are at one place, and go on one by one.
	one := a.Start("order")
	two := b.Start("order")
	kitchen <- "first"
	a.Expect("progress")
	b.ExpectNothing()
	kitchen <- "second"
	b.Expect("progress")
	go func() { kitchen <- "ready"; kitchen <- "ready" }()
	a.Expect("still hungry?").Ack(true)
	b.Expect("still hungry?").Ack(false)
	if got := one.Args().String() + two.Args().String(); got != `true, "ready"false, "ready"` {
		t.Errorf("the answers are %s", got)
	}
}

func TestWhoIsNotFedIsReported(t *testing.T) {
	release := make(chan struct{})
	got := fail(func(f *failing) {
		srv := siotest.New(f, sio.Options{})
		srv.Patience = 30 * time.Millisecond
		srv.Of("/").Handle("hang", func(sio.Socket, *sio.Msg) error { hangHere(release); return nil })
		srv.Connect("/").Start("hang")
	})
	close(release)
	if len(got) != 1 || !strings.Contains(got[0], "siotest_test.hangHere") {
		t.Errorf("the test failed with %q, want the stack of the handler", got)
	}
}

// Deadlines that are reckoned from either clock come with the server's.
func TestDeadlines(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	ns := srv.Of("/")
	var now func() time.Time
	ns.OnConnect(func(s sio.Socket) error {
		s.ExpireAt(now().Add(time.Minute), func(s sio.Socket) {
			_ = s.Emit("token, please")
			s.ExpireAt(now().Add(time.Minute), nil)
		})
		return nil
	})
	srv.Advance(time.Hour)
	for name, clock := range map[string]func() time.Time{"the machine": time.Now, "the server": srv.Now} {
		now = clock
		c := srv.Connect("/")
		srv.Advance(59 * time.Second)
		c.ExpectNothing()
		srv.Advance(time.Second)
		c.Expect("token, please")
		srv.Advance(time.Minute)
		if d := c.ExpectDisconnect(); d.Code != sio.ExpiredCode || d.Text != "expired" || d.Server != "forced close" {
			t.Errorf("by the clock of %s the client ends with %+v", name, d)
		}
	}
}

// Those who are asked answer by themselves, by the test, or not at all.
func TestVote(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	ns := srv.Of("/")
	sio.OnAck(ns, "vote", func(s sio.Socket, question string) (yes int, err error) {
		ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
		defer cancel()
		answers, err := ns.All().EmitAck(ctx, "vote", question)
		for _, a := range answers {
			var vote bool
			if a.Decode(&vote) == nil && vote {
				yes++
			}
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = nil
		}
		return yes, err
	})
	asker := srv.ConnectWith("/", siotest.Options{Polling: true})
	quick, slow, away := srv.Connect("/"), srv.Connect("/"), srv.Connect("/")
	for _, c := range []*siotest.Client{asker, quick} {
		c.Answer("vote", func(a siotest.Args) []any { return []any{string(a.Raw(0)) == `"tea?"`} })
	}
	result := asker.EmitAck("vote", "tea?")
	slow.Expect("vote").Ack(true)
	away.Stall(true)
	if result.Done() {
		t.Error("one has not voted")
	}
	srv.Advance(time.Minute)
	if yes := result.Args().String(); yes != "3" {
		t.Errorf("%s voted for tea, want 3", yes)
	}
	if e := srv.ExpectEmit("vote"); !e.Reached(asker, quick, slow, away) {
		t.Errorf("it is %v who were asked", e)
	}
}

// An error that a handler tells its client is one that the test sees.
func TestAskingWhatIsRefused(t *testing.T) {
	type room struct{ Name string }
	register := func(srv *sio.Server) {
		sio.OnAck(srv.Of("/"), "enter", func(sio.Socket, string) (room, error) {
			return room{}, &sio.Error{Message: "it is full"}
		})
	}
	got := fail(func(f *failing) {
		srv := siotest.New(f, sio.Options{})
		register(srv.Server)
		siotest.Ask[room](srv.Connect("/"), "enter", "lobby")
	})
	if want := `siotest: client 1 of /: "enter" is acknowledged with an error: {"error":"it is full"}`; len(got) != 1 || got[0] != want {
		t.Errorf("the test failed with %q, want %q", got, want)
	}
	srv := siotest.New(t, sio.Options{})
	register(srv.Server)
	var refused struct{ Error string }
	if srv.Connect("/").EmitAck("enter", "lobby").Decode(&refused); refused.Error != "it is full" {
		t.Errorf("the client was told %q", refused.Error)
	}
}

// The path of requests may be another.
func TestPath(t *testing.T) {
	for _, path := range []string{"/live/", "live", "/a/b"} {
		srv := siotest.New(t, sio.Options{Engine: eio.Options{Path: path}})
		srv.Of("/")
		for _, o := range []siotest.Options{{}, {Polling: true}} {
			srv.ConnectWith("/", o)
		}
	}
}

// Clients of one room that speak differently hear the same.
func TestRoomOfAllKinds(t *testing.T) {
	srv := siotest.New(t, either())
	ns := srv.Of("/chat/:room")
	sio.On(ns, "say", func(s sio.Socket, what json.RawMessage) error {
		return s.Namespace().Instance(s.Name()).Emit("said", what, []byte{1, 2})
	})
	var all []*siotest.Client
	for _, o := range []siotest.Options{{}, {MessagePack: true}, {Polling: true}, {V2: true}} {
		all = append(all, srv.ConnectWith("/chat/1", o))
	}
	other := srv.ConnectWith("/chat/2", siotest.Options{On: all[1]})
	all[1].Emit("say", map[string]any{"a": []int{1}})
	for _, c := range all {
		var what map[string][]int
		var bytes []byte
		if e := c.Expect("said", &what, &bytes); !slices.Equal(what["a"], []int{1}) || !slices.Equal(bytes, []byte{1, 2}) {
			t.Errorf("%v received %v", c, e)
		}
	}
	other.ExpectNothing()
	if e := srv.ExpectEmit("said"); !e.Reached(all...) {
		t.Errorf("emitted %v", e)
	}
}

// Who is thrown out does not come back, though recovery would have had him.
func TestBanned(t *testing.T) {
	srv := siotest.New(t, sio.Options{Recovery: sio.Recovery{Window: time.Minute}})
	ns := srv.Of("/")
	banned := false
	ns.Use(func(sio.Socket) error {
		if banned {
			return &sio.Error{Message: "banned"}
		}
		return nil
	})
	c := srv.Connect("/")
	if err := ns.Emit("hello"); err != nil {
		t.Fatal(err)
	}
	c.Expect("hello")
	banned = true
	if err := c.Socket().Disconnect(sio.DisconnectOptions{Conn: true, Code: 4003, Reason: "banned"}); err != nil {
		t.Fatal(err)
	}
	if d := c.ExpectDisconnect(); d.Code != 4003 || d.Text != "banned" {
		t.Errorf("the client ends with %+v", d)
	}
	var refused *siotest.ConnectError
	if err := c.Reconnect(); !errors.As(err, &refused) || refused.Message != "banned" || c.Connected() || c.Recovered() {
		t.Errorf("coming back = %v, want to be refused", err)
	}
}
