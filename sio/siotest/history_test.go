package siotest_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// Every kind of client is sent what was kept as if it were emitted now.
func TestHistoryInEveryForm(t *testing.T) {
	for _, recovery := range []time.Duration{0, time.Minute} {
		srv := siotest.New(t, sio.Options{
			Parser: sio.EitherParser, Recovery: sio.Recovery{Window: recovery},
			Engine: eio.Options{AllowEIO3: true, Compression: &eio.Compression{Threshold: 100}},
		})
		ns := srv.Of("/")
		ns.KeepHistory(sio.History{Size: 10})
		ns.Handle("join", func(s sio.Socket, _ *sio.Msg) error {
			s.JoinReplay([]string{"r"}, 10)
			return s.To("r").Emit("joined")
		})
		long := strings.Repeat("long ", 100)
		for _, err := range []error{
			ns.To("r").Emit("text", "last"), ns.To("r").Emit("bytes", []byte{1, 2}, long, []byte{3}), ns.To("r").Emit("nothing"),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		for name, o := range map[string]siotest.Options{
			"JSON": {}, "polling": {Polling: true}, "MessagePack": {MessagePack: true}, "Socket.IO 2": {V2: true},
		} {
			c := srv.ConnectWith("/", o)
			c.Emit("join")
			offset := 0 // one argument more
			if recovery > 0 && !o.V2 {
				offset = 1
			}
			var text string
			e := c.Expect("text", &text)
			if text != "last" || e.Args.Len() != 1+offset {
				t.Errorf("%s: %v", name, e)
			}
			e = c.Expect("bytes")
			text = ""
			if err := e.Args.Decode(new(any), &text); err != nil {
				t.Error(err)
			}
			if b := e.Args.Binary(); e.Args.Len() != 3+offset || len(b) != 2 || !bytes.Equal(b[0], []byte{1, 2}) || !bytes.Equal(b[1], []byte{3}) || text != long {
				t.Errorf("%s: %v", name, e)
			}
			if e := c.Expect("nothing"); e.Args.Len() != offset {
				t.Errorf("%s: %v", name, e)
			}
			for range c.Received() { // that others have joined
				continue
			}
			c.Disconnect()
		}
	}
}

// With recovery, who comes back gets what it has missed, and nothing that was replayed
// to it.
func TestHistoryAndRecovery(t *testing.T) {
	srv := siotest.New(t, sio.Options{Recovery: sio.Recovery{Window: time.Minute}})
	ns := srv.Of("/")
	ns.KeepHistory(sio.History{Size: 10})
	ns.OnConnect(func(s sio.Socket) error {
		s.JoinReplay([]string{"r"}, 10)
		return nil
	})
	emit := func(n int) {
		t.Helper()
		if err := ns.To("r").Emit("e", n); err != nil {
			t.Fatal(err)
		}
	}
	emit(1)
	emit(2)
	c := srv.Connect("/")
	want := func(n int) {
		t.Helper()
		var got int
		if c.Expect("e", &got); got != n {
			t.Errorf("received %d, want %d", got, n)
		}
	}
	want(1)
	want(2)
	c.Drop()
	emit(3)
	if err := c.Reconnect(); err != nil || !c.Recovered() {
		t.Fatal("not recovered", err)
	}
	want(3)
	emit(4)
	want(4)
	c.ExpectNothing()
}

// What is old by the server's clock is replayed to nobody, and what exceeds the bytes
// neither: the oldest goes first.
func TestHistoryIsBounded(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	ns := srv.Of("/")
	ns.KeepHistory(sio.History{Size: 1000, TTL: time.Minute, MaxBytes: 64 << 10})
	has := func(room string, want ...int) {
		t.Helper()
		srv.Settle()
		all, err := ns.History(context.Background(), "/", room)
		var got []int
		for _, e := range all {
			var n int
			if err := e.Args.Decode(&n); err != nil || e.Name != "e" || e.Args.Len() != 1 {
				t.Errorf("%+v: %v", e, err)
			}
			if age := srv.Now().Sub(e.Time); age < 0 || age > time.Minute {
				t.Errorf("event %d is of %s ago", n, age)
			}
			got = append(got, n)
		}
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("room %s has %v, %v, want %v", room, got, err, want)
		}
	}
	put := func(room string, n int) {
		t.Helper()
		if err := ns.To(room).Emit("e", n); err != nil {
			t.Fatal(err)
		}
	}
	put("a", 1)
	srv.Advance(40 * time.Second)
	put("a", 2)
	has("a", 1, 2)
	srv.Advance(30 * time.Second)
	has("a", 2)
	srv.Advance(30 * time.Second)
	has("a")
	put("b", 1)
	for n := range 3 {
		if err := ns.To("c").Emit("e", make([]byte, 30<<10), n); err != nil {
			t.Fatal(err)
		}
	}
	has("b")
	if h := srv.Stats().History; h.Bytes > 64<<10 || h.Events != 2 || h.Rooms != 1 || h.Evicted != 2 || h.Expired != 2 {
		t.Errorf("Stats: %+v", h)
	}
}

// Each instance of a pattern has rooms of its own, whose history outlives it.
func TestHistoryOfInstances(t *testing.T) {
	srv := siotest.New(t, sio.Options{})
	ns := srv.Of("/:shop/board")
	ns.KeepHistory(sio.History{Size: 10})
	ns.Handle("join", func(s sio.Socket, _ *sio.Msg) error {
		s.JoinReplay([]string{"r"}, 5)
		return nil
	})
	a, b := srv.Connect("/a/board"), srv.Connect("/b/board")
	for _, to := range []sio.BroadcastOperator{ns.To("r"), ns.Instance("/a/board").To("r")} {
		if err := to.Emit("e"); err != nil {
			t.Fatal(err)
		}
	}
	b.Emit("join")
	b.Expect("e")
	b.ExpectNothing()
	a.Disconnect()
	a = srv.Connect("/a/board")
	a.Emit("join")
	a.Expect("e")
	a.Expect("e")
	a.ExpectNothing()
	all, err := ns.History(context.Background(), "/a/board", "r")
	if err != nil || len(all) != 2 {
		t.Errorf("History = %v, %v", all, err)
	}
}
