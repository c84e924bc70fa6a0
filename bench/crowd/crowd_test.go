package crowd

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
)

// serve runs the application, which answers wrongly where fault says so.
func serve(t *testing.T, fault func(s sio.Socket, event string, n int64) (times int)) string {
	t.Helper()
	srv, err := sio.New(sio.Options{AllowEIO3: true, Parser: sio.EitherParser, PerMessageDeflate: &eio.Compression{Threshold: 1}})
	if err != nil {
		t.Fatal(err)
	}
	ns := srv.Of("/")
	var echoes, messages atomic.Int64
	ns.HandleInline("echo", func(s sio.Socket, m *sio.Msg) error {
		if fault(s, "echo", echoes.Add(1)) == 0 {
			return nil
		}
		return m.Ack(m.Args)
	})
	ns.HandleInline("join", func(s sio.Socket, m *sio.Msg) error {
		var room string
		if err := m.Decode(&room); err != nil {
			return err
		}
		s.Join(room)
		return m.Ack(true)
	})
	ns.HandleInline("publish", func(s sio.Socket, m *sio.Msg) error {
		var room string
		if err := m.Decode(&room); err != nil {
			return err
		}
		for range fault(s, "publish", messages.Add(1)) {
			if err := ns.To(room).Emit("msg", m.From(1)); err != nil {
				return err
			}
		}
		return nil
	})
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	// ends with Shutdown
	go func() { done <- srv.Serve(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = srv.Shutdown(ctx)
		<-done
	})
	return addr.String()
}

// crowdOf runs a crowd until all has happened that until wants.
func crowdOf(t *testing.T, c Config, until func(r Report) bool) Report {
	t.Helper()
	x := New(c)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := x.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	for r := x.Now(); !until(r); r = x.Now() {
		if ctx.Err() != nil {
			t.Fatalf("it does not come to that: %s %q", r.String(), r.Problems)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return x.Stop()
}

func well(sio.Socket, string, int64) int { return 1 }

// Clients of all kinds talk to a server that does nothing wrong, and find nothing wrong.
func TestAllKindsTalk(t *testing.T) {
	addr := serve(t, well)
	c := Config{Addr: addr, Clients: 3 * len(Kinds), Every: 50 * time.Millisecond, Publish: 100 * time.Millisecond, Name: "t"}
	r := crowdOf(t, c, func(r Report) bool {
		return r.Echoes > 500 && r.Messages > 500 && r.Sessions > int64(c.Clients)+3 // some have upgraded, left and come again
	})
	if !r.Flawless() {
		t.Errorf("%s: %q", r.String(), r.Problems)
	}
	for _, k := range Kinds {
		if r.Clients[k] == 0 {
			t.Errorf("no client is %s", k)
		}
	}
}

// What is lost or comes twice is found.
func TestFaultsAreFound(t *testing.T) {
	for name, fault := range map[string]struct {
		does func(s sio.Socket, event string, n int64) int
		is   func(r Report) bool
	}{
		"an answer does not come": {func(_ sio.Socket, event string, n int64) int {
			return map[bool]int{true: 0, false: 1}[event == "echo" && n == 20]
		}, func(r Report) bool { return r.Lost > 0 }},
		"a message is lost": {func(_ sio.Socket, event string, n int64) int {
			return map[bool]int{true: 0, false: 1}[event == "publish" && n == 5]
		}, func(r Report) bool { return r.Lost > 0 }},
		"a message comes twice": {func(_ sio.Socket, event string, n int64) int {
			return map[bool]int{true: 2, false: 1}[event == "publish" && n == 5]
		}, func(r Report) bool { return r.Doubled > 0 }},
		"a client is cut off": {func(s sio.Socket, event string, n int64) int {
			if event == "echo" && n == 20 {
				s.Disconnect(sio.DisconnectOptions{Conn: true})
			}
			return 1
		}, func(r Report) bool { return r.Disconnects == 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			addr := serve(t, fault.does)
			r := crowdOf(t, Config{Addr: addr, Clients: 4, Kinds: []Kind{WebSocket, Polling}, Patience: time.Second, Every: 20 * time.Millisecond, Publish: 20 * time.Millisecond}, fault.is)
			if r.Flawless() || !fault.is(r) {
				t.Errorf("%s", r.String())
			}
		})
	}
}

// The shares of a report are of those that were asked for in a time.
func TestLatencies(t *testing.T) {
	at := time.UnixMilli(1_000_000)
	r := Report{Slots: []Slot{{10_000, 98}, {10_001, 900}}, Late: []Late{{1_000_010, 70}, {1_000_020, 400}, {1_000_150, 9000}}}
	got := r.Latencies(at, at.Add(99*time.Millisecond), 0.5, 0.985, 1)
	want := []time.Duration{lateAfter, 70 * time.Millisecond, 400 * time.Millisecond}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("the shares are %v, want %v", got, want)
		}
	}
	if got := (&Report{}).Latencies(at, at, 0.5); got[0] != 0 {
		t.Errorf("of nothing it is %v", got)
	}
}
