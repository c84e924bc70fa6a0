package swarm

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// serve starts a server of this module with the application that the load
// needs, and returns its URL.
func serve(t *testing.T, o sio.Options) string {
	t.Helper()
	srv, err := sio.New(o)
	if err != nil {
		t.Fatal(err)
	}
	args := func(m *sio.Msg, from int) (all []any) {
		for i := from; i < m.Len(); i++ {
			all = append(all, json.RawMessage(m.Raw(i)))
		}
		return all
	}
	ns := srv.Of("/")
	ns.HandleInline("echo", func(_ sio.Socket, m *sio.Msg) error { return m.Ack(args(m, 0)...) })
	ns.HandleInline("join", func(s sio.Socket, m *sio.Msg) error {
		var room string
		if err := m.Decode(&room); err != nil {
			return err
		}
		s.Join(room)
		return m.Ack(true)
	})
	ns.HandleInline("publish", func(_ sio.Socket, m *sio.Msg) error {
		var room string
		if err := m.Decode(&room); err != nil {
			return err
		}
		to := ns.All()
		if room != "" {
			to = ns.To(room)
		}
		return to.Emit("msg", args(m, 1)...)
	})
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	// ends with Shutdown
	go func() { done <- srv.Serve(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown = %v, want nil", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	})
	return "ws://" + addr.String()
}

func TestReadersEchoBesideABroadcastTheyDoNotGet(t *testing.T) {
	t.Parallel()
	url := serve(t, sio.Options{})
	for _, procs := range []int{1, 3} {
		rep := measureAt(t, Config{URL: url, Scenario: Reader, Clients: 60, Active: 5, EchoRate: 200, Messages: 100, Inflight: 2, Procs: procs})
		wantOK(t, rep)
		if rep.Total.Delivered != 100*55 || rep.Window.LatencyUS.Count != 100*55 {
			t.Errorf("procs=%d: delivered %d, %d latencies, want %d", procs, rep.Total.Delivered, rep.Window.LatencyUS.Count, 100*55)
		}
		if rep.Window.ReaderUS.Count == 0 {
			t.Errorf("procs=%d: no echo came back", procs)
		}
	}
}

func TestPublishersSendToTheirOwnRooms(t *testing.T) {
	t.Parallel()
	url := serve(t, sio.Options{})
	for _, procs := range []int{1, 2} {
		// 10 rooms of 6 clients.
		rep := measureAt(t, Config{URL: url, Scenario: Rooms, Clients: 60, Rooms: 10, Publishers: 4, OwnRoom: true, Messages: 200, Procs: procs})
		wantOK(t, rep)
		if rep.Total.Delivered != 200*6 {
			t.Errorf("procs=%d: delivered %d, want %d", procs, rep.Total.Delivered, 200*6)
		}
	}
}

// jitter cuts a fifth of 50 clients for a tenth of a second, for half a second.
func jitter(url string, procs int) Config {
	return Config{URL: url, Scenario: Jitter, Clients: 50, Cut: 0.2, Away: 100 * time.Millisecond, MsgRate: 200,
		Duration: 700 * time.Millisecond, Procs: procs}
}

func TestJitterLosesNothingWithRecovery(t *testing.T) {
	t.Parallel()
	url := serve(t, sio.Options{Recovery: sio.Recovery{Window: time.Minute}})
	for _, procs := range []int{1, 2} {
		for _, auth := range []string{"", `{"token":"x"}`} {
			cfg := jitter(url, procs)
			cfg.Auth = auth
			rep := measureAt(t, cfg)
			wantOK(t, rep)
			if c := rep.Total; c.Cut == 0 || c.Recovered != c.Cut || c.Lost != 0 || c.Delivered != c.Sent*50 || rep.DeliveredShare != 1 {
				t.Errorf("procs=%d: cut %d, recovered %d, delivered %d of %d, lost %d, share %v, want all of them",
					procs, c.Cut, c.Recovered, c.Delivered, c.Sent*50, c.Lost, rep.DeliveredShare)
			}
		}
	}
}

func TestJitterWithoutRecoveryCountsWhatWasMissed(t *testing.T) {
	t.Parallel()
	rep := measureAt(t, jitter(serve(t, sio.Options{}), 2))
	wantOK(t, rep)
	c := rep.Total
	if c.Cut == 0 || c.Recovered != 0 || c.Lost == 0 || c.Delivered+c.Lost != c.Sent*50 || c.Live != 50 {
		t.Errorf("cut %d, recovered %d, delivered %d, lost %d, live %d, want %d in all and 50 live",
			c.Cut, c.Recovered, c.Delivered, c.Lost, c.Live, c.Sent*50)
	}
	if rep.DeliveredShare <= 0 || rep.DeliveredShare >= 1 {
		t.Errorf("share = %v, want less than all", rep.DeliveredShare)
	}
}

func TestAvalancheEndsWhenAllAreBack(t *testing.T) {
	t.Parallel()
	url := serve(t, sio.Options{})
	for _, procs := range []int{1, 2} {
		rep := measureAt(t, Config{URL: url, Scenario: Avalanche, Clients: 50, Procs: procs})
		wantOK(t, rep)
		if c := rep.Total; c.Cut != 50 || c.Delivered != 50 || c.Live != 50 || c.Connects != 100 || rep.Window.LatencyUS.Count != 50 {
			t.Errorf("procs=%d: cut %d, back %d, live %d, connects %d, %d latencies, want 50, 50, 50, 100, 50",
				procs, c.Cut, c.Delivered, c.Live, c.Connects, rep.Window.LatencyUS.Count)
		}
	}
}
