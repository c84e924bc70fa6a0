package swarm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/bench/swarm/faulty"
)

// workerEnv makes this test binary a worker, so that Exec can be tested.
const workerEnv = "SWARM_TEST_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) != "" {
		if err := Worker(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func start(t *testing.T, f faulty.Faults) *faulty.Server {
	t.Helper()
	s, err := faulty.Start(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// measure runs cfg against a server with faults f.
func measure(t *testing.T, f faulty.Faults, cfg Config) *Report {
	t.Helper()
	cfg.URL = start(t, f).URL
	return measureAt(t, cfg)
}

func measureAt(t *testing.T, cfg Config) *Report {
	t.Helper()
	cfg.Timeout = time.Minute
	if cfg.Rate == 0 {
		cfg.Rate = 1e5
	}
	rep, err := Run(t.Context(), cfg, Goroutines(), nil)
	if err != nil {
		t.Fatalf("Run(%+v): %v", cfg, err)
	}
	return rep
}

func wantOK(t *testing.T, rep *Report) {
	t.Helper()
	if !rep.OK || rep.Total.Failed != 0 || rep.Connected != rep.Clients {
		t.Errorf("%s: ok = %v, %d of %d connected, problems %q, errors %v", rep.Scenario, rep.OK, rep.Connected, rep.Clients, rep.Problems, rep.Errors)
	}
}

func TestScenarios(t *testing.T) {
	const clients = 200
	for _, procs := range []int{1, 3} {
		for _, c := range []struct {
			name      string
			cfg       Config
			delivered uint64 // 0: not known beforehand
		}{
			{"idle", Config{Scenario: Idle, Duration: 300 * time.Millisecond}, 0},
			{"broadcast", Config{Scenario: Broadcast, Messages: 20}, 20 * clients},
			{"broadcast in bursts", Config{Scenario: Broadcast, Messages: 40, Inflight: 8, Burst: true}, 40 * clients},
			{"broadcast in flight", Config{Scenario: Broadcast, Messages: 40, Inflight: 8, Namespace: "/chat", Size: 300}, 40 * clients},
			{"broadcast at a rate", Config{Scenario: Broadcast, Messages: 20, MsgRate: 100, Publishers: 3}, 20 * clients},
			{"broadcast of 70,000 bytes", Config{Scenario: Broadcast, Messages: 2, Size: 70_000}, 2 * clients},
			{"broadcast busy polling", Config{Scenario: Broadcast, Messages: 10, BusyPoll: true}, 10 * clients},
			{"echo", Config{Scenario: Echo, Messages: 1000}, 1000},
			{"echo of a few", Config{Scenario: Echo, Messages: 300, Active: 7, Inflight: 3, Namespace: "/chat"}, 300},
			{"echo at a rate", Config{Scenario: Echo, Messages: 300, MsgRate: 1000}, 300},
			// Each room has 10 clients.
			{"rooms", Config{Scenario: Rooms, Rooms: 20, Publishers: 5, Messages: 500}, 500 * 10},
			{"rooms at a rate", Config{Scenario: Rooms, Rooms: 20, Messages: 100, MsgRate: 500, Namespace: "/chat"}, 100 * 10},
			{"churn", Config{Scenario: Churn, Rate: 1000, Messages: 400}, 400},
			{"for a time, with a warm-up", Config{Scenario: Broadcast, Warmup: 200 * time.Millisecond, Duration: 200 * time.Millisecond}, 0},
		} {
			t.Run(fmt.Sprintf("%s/procs=%d", c.name, procs), func(t *testing.T) {
				c.cfg.Clients, c.cfg.Procs = clients, procs
				rep := measure(t, faulty.Faults{}, c.cfg)
				wantOK(t, rep)
				if rep.Window == nil {
					t.Fatal("no window")
				}
				if c.delivered > 0 && (rep.Total.Delivered != c.delivered || rep.Total.Sent != uint64(c.cfg.Messages)) {
					t.Errorf("sent %d, delivered %d, want %d, %d", rep.Total.Sent, rep.Total.Delivered, c.cfg.Messages, c.delivered)
				}
				if c.delivered > 0 && (rep.Window.Delivered != c.delivered || uint64(rep.Window.LatencyUS.Count) != c.delivered) {
					t.Errorf("window: delivered %d, %d latencies, want %d", rep.Window.Delivered, rep.Window.LatencyUS.Count, c.delivered)
				}
				if c.cfg.Warmup > 0 && rep.Total.Delivered <= rep.Window.Delivered {
					t.Errorf("delivered %d in the window of %d, want less", rep.Window.Delivered, rep.Total.Delivered)
				}
				if len(rep.Workers) != procs || rep.ClientBytes <= 0 || rep.ClientBytes > 500 {
					t.Errorf("%d workers, %v client bytes", len(rep.Workers), rep.ClientBytes)
				}
			})
		}
	}
}

// TestFaults has each kind of misbehaviour and counts it exactly.
func TestFaults(t *testing.T) {
	at := func(client, n int, instead func(p string) []string) func(int, int, string) []string {
		return func(c, k int, p string) []string {
			if c == client && k == n {
				return instead(p)
			}
			return []string{p}
		}
	}
	lose := func(string) []string { return nil }
	var held string
	swap := func(c, k int, p string) []string {
		switch {
		case c == 5 && k == 3:
			held = p
			return nil
		case c == 5 && k == 4:
			return []string{p, held}
		}
		return []string{p}
	}
	damage := func(p string) []string { return []string{p[:20] + "?" + p[21:]} }
	base := Config{Scenario: Broadcast, Clients: 20, Messages: 10, Drain: 300 * time.Millisecond, Inflight: 4}
	echo := Config{Scenario: Echo, Clients: 20, Messages: 200, Drain: 300 * time.Millisecond, Inflight: 2}
	for _, c := range []struct {
		name   string
		faults faulty.Faults
		cfg    Config
		want   Counts
	}{
		{"lost in the middle", faulty.Faults{Deliver: at(3, 2, lose)}, base, Counts{Delivered: 199, Lost: 1}},
		{"lost at the end", faulty.Faults{Deliver: at(3, 9, lose)}, base, Counts{Delivered: 199, Lost: 1}},
		{"all lost", faulty.Faults{Deliver: func(int, int, string) []string { return nil }},
			Config{Scenario: Broadcast, Clients: 20, Messages: 3, Drain: 100 * time.Millisecond, MsgRate: 1000}, Counts{Lost: 60}},
		{"twice", faulty.Faults{Deliver: at(3, 2, func(p string) []string { return []string{p, p} })}, base, Counts{Delivered: 200, Duplicated: 1}},
		{"swapped", faulty.Faults{Deliver: swap}, base, Counts{Delivered: 200, OutOfOrder: 1}},
		{"damaged", faulty.Faults{Deliver: at(3, 2, damage)}, base, Counts{Delivered: 199, Lost: 1, Strange: 1}},
		{"to a wrong room", faulty.Faults{Deliver: at(3, 2, func(p string) []string {
			return []string{p[:17] + "0001" + p[21:], p}
		})}, base, Counts{Delivered: 200, Misrouted: 1}},
		{"ack lost", faulty.Faults{Ack: at(3, 1, lose)}, echo, Counts{Delivered: 199, Lost: 1}},
		{"ack twice", faulty.Faults{Ack: at(3, 1, func(p string) []string { return []string{p, p} })}, echo, Counts{Delivered: 200, Duplicated: 1}},
		{"ack of another echo", faulty.Faults{Ack: at(3, 1, func(p string) []string {
			return []string{strings.Replace(p, "431[", "432[", 1)}
		})}, echo, Counts{Delivered: 199, Lost: 1, Strange: 1}},
	} {
		for _, procs := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s/procs=%d", c.name, procs), func(t *testing.T) {
				c.cfg.Procs = procs
				rep := measure(t, c.faults, c.cfg)
				got := Counts{Delivered: rep.Total.Delivered, Lost: rep.Total.Lost, Duplicated: rep.Total.Duplicated,
					OutOfOrder: rep.Total.OutOfOrder, Misrouted: rep.Total.Misrouted, Strange: rep.Total.Strange}
				if got != c.want || rep.OK {
					t.Errorf("ok = %v, counts %+v, want %+v; %q", rep.OK, got, c.want, rep.Problems)
				}
			})
		}
	}
}

// A closed loop whose message is lost must end, and say so.
func TestStall(t *testing.T) {
	lose := func(c, n int, p string) []string {
		if c == 1 && n == 5 {
			return nil
		}
		return []string{p}
	}
	rep := measure(t, faulty.Faults{Deliver: lose}, Config{Scenario: Broadcast, Clients: 10, Messages: 100, Drain: time.Millisecond})
	if !rep.Stalled || rep.OK || rep.Total.Sent != 6 || rep.Total.Lost != 1 {
		t.Errorf("stalled = %v, ok = %v, sent %d, lost %d, want true, false, 6, 1", rep.Stalled, rep.OK, rep.Total.Sent, rep.Total.Lost)
	}
}

func TestRefusals(t *testing.T) {
	refuse := func(answer string) func(int) string {
		return func(c int) string {
			if c%4 == 0 {
				return answer
			}
			return ""
		}
	}
	rep := measure(t, faulty.Faults{Refuse: refuse(`44{"message":"no"}`)}, Config{Scenario: Broadcast, Clients: 40, Messages: 10})
	if rep.Total.Failed != 10 || rep.Connected != 30 || rep.Total.Delivered != 300 || rep.Total.Lost != 0 || rep.OK {
		t.Errorf("failed %d, connected %d, delivered %d, lost %d, ok %v, want 10, 30, 300, 0, false",
			rep.Total.Failed, rep.Connected, rep.Total.Delivered, rep.Total.Lost, rep.OK)
	}
	if n := rep.Errors[`namespace refused: 44{"message":"no"}`]; n != 10 {
		t.Errorf("errors = %v, want the refusal 10 times", rep.Errors)
	}

	rep = measure(t, faulty.Faults{BadAccept: true}, Config{Clients: 5, Duration: 10 * time.Millisecond})
	if rep.Total.Failed != 5 || rep.Window != nil || rep.OK {
		t.Errorf("with a wrong Sec-WebSocket-Accept: failed %d, window %v, ok %v, want 5, nil, false", rep.Total.Failed, rep.Window, rep.OK)
	}

	rep = measure(t, faulty.Faults{Refuse: refuse("2")}, Config{Clients: 4, Duration: 10 * time.Millisecond, ConnectTimeout: 500 * time.Millisecond})
	if rep.Errors["connect timeout before the CONNECT answer"] != 1 {
		t.Errorf("errors = %v, want one connect timeout", rep.Errors)
	}
}

// Receivers that are lost on the way are counted as such, and neither stop the
// closed loop nor make messages lost.
func TestDisconnections(t *testing.T) {
	for _, procs := range []int{1, 2} {
		var s atomic.Pointer[faulty.Server]
		drop := func(c, n int, p string) []string {
			if c%5 == 4 && n == 10 { // not a publisher: those are the first
				go s.Load().Drop(c) // ends at once
				return nil
			}
			return []string{p}
		}
		s.Store(start(t, faulty.Faults{Deliver: drop}))
		rep := measureAt(t, Config{URL: s.Load().URL, Scenario: Broadcast, Clients: 50, Messages: 60, Inflight: 3, Procs: procs, Rate: 1000})
		if rep.Total.Disconnected != 10 || rep.Total.Lost != 0 || rep.Total.Sent != 60 || rep.OK || rep.Stalled {
			t.Errorf("procs=%d: disconnected %d, lost %d, sent %d, ok %v, stalled %v, want 10, 0, 60, false, false",
				procs, rep.Total.Disconnected, rep.Total.Lost, rep.Total.Sent, rep.OK, rep.Stalled)
		}
	}
}

func TestCutAndFragmentedInput(t *testing.T) {
	for _, f := range []faulty.Faults{{Cut: 1}, {Cut: 7}, {Fragment: true}, {Fragment: true, Cut: 3}} {
		rep := measure(t, f, Config{Scenario: Broadcast, Clients: 4, Messages: 5, Size: 200})
		wantOK(t, rep)
		if rep.Total.Delivered != 20 {
			t.Errorf("%+v: delivered %d, want 20", f, rep.Total.Delivered)
		}
	}
}

func TestPingsAreAnswered(t *testing.T) {
	s := start(t, faulty.Faults{Ping: 50 * time.Millisecond})
	rep := measureAt(t, Config{URL: s.URL, Clients: 10, Duration: 300 * time.Millisecond})
	wantOK(t, rep)
	if rep.Total.Pings < 10 || s.Pongs() < 10 {
		t.Errorf("%d pings, %d pongs, want 10 at least", rep.Total.Pings, s.Pongs())
	}
}

func TestChurnLeavesPolitely(t *testing.T) {
	s := start(t, faulty.Faults{})
	rep := measureAt(t, Config{URL: s.URL, Scenario: Churn, Clients: 10, Rate: 500, Messages: 30})
	wantOK(t, rep)
	if s.Left() != 30 || rep.Total.Connects != 40 {
		t.Errorf("%d DISCONNECT packets, %d connects, want 30, 40", s.Left(), rep.Total.Connects)
	}
}

func TestExec(t *testing.T) {
	t.Setenv(workerEnv, "1")
	s := start(t, faulty.Faults{})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var shown atomic.Int32
	rep, err := Run(t.Context(), Config{URL: s.URL, Scenario: Rooms, Clients: 30, Rooms: 3, Procs: 2, Publishers: 2,
		Duration: 1200 * time.Millisecond, Rate: 1000, PIDs: pids()}, Exec(self), func(st Status) {
		shown.Add(1)
		if !strings.Contains(st.String(), "30/30 connected") {
			t.Errorf("status = %q", st)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	wantOK(t, rep)
	if shown.Load() == 0 {
		t.Error("no progress was shown")
	}
	if len(pids()) > 0 && (rep.Server == nil || rep.Server.CPUUS <= 0 || rep.Server.RSSBefore <= 0 || rep.Server.KsoftirqdPerDelivery == nil) {
		t.Errorf("server = %+v, want its use of CPU and memory", rep.Server)
	}
	if n := len(pids()); n > 0 && (len(rep.Server.Each) != n || rep.Server.Each[0].RSSConnected != rep.Server.RSSConnected || rep.Server.Each[0].CPUSeconds <= 0) {
		t.Errorf("each of the server's processes = %+v, want the only one's use of %+v", rep.Server.Each, rep.Server)
	}
}

func TestInterrupt(t *testing.T) {
	s := start(t, faulty.Faults{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rep, err := Run(ctx, Config{URL: s.URL, Scenario: Broadcast, Clients: 10, Duration: time.Hour, Rate: 1000}, Goroutines(), func(st Status) {
		if st.Counts.Delivered > 0 {
			cancel()
		}
	})
	if err != nil || !rep.Interrupted || rep.OK || rep.Total.Delivered == 0 || rep.Total.Lost != 0 {
		t.Errorf("interrupted = %+v, %v, want a report with deliveries", rep, err)
	}
	rep, err = Run(t.Context(), Config{URL: s.URL, Clients: 10, Duration: time.Hour, Rate: 1000, Timeout: 300 * time.Millisecond}, Goroutines(), nil)
	if err != nil || !rep.TimedOut || rep.OK {
		t.Errorf("timed out = %+v, %v, want a report that says so", rep, err)
	}
}

// A worker that dies ends the run with an error.
func TestLostWorker(t *testing.T) {
	s := start(t, faulty.Faults{})
	launch := func(i int) (*Process, error) {
		p, err := Goroutines()(i)
		if err == nil && i == 1 {
			time.AfterFunc(300*time.Millisecond, p.Kill)
		}
		return p, err
	}
	rep, err := Run(t.Context(), Config{URL: s.URL, Clients: 10, Procs: 2, Duration: time.Hour, Rate: 1000}, launch, nil)
	if err == nil || !strings.Contains(err.Error(), "worker 1") {
		t.Errorf("Run = %v, %v, want an error about worker 1", rep, err)
	}
}

func TestReportJSON(t *testing.T) {
	rep := measure(t, faulty.Faults{}, Config{Scenario: Broadcast, Clients: 5, Messages: 5})
	b, err := json.Marshal(rep)
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		OK         *bool
		Bottleneck *bool
		BusyPoll   *bool    `json:"busy_poll"`
		Client     *float64 `json:"client_bytes"`
		Total      map[string]float64
		Window     struct {
			Delivered float64
			Latency   map[string]float64 `json:"latency_us"`
		}
	}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	if m.OK == nil || m.Bottleneck == nil || m.BusyPoll == nil || m.Client == nil || m.Window.Delivered != 25 {
		t.Errorf("report lacks a field: %s", b)
	}
	for _, name := range []string{"failed", "disconnected", "sent", "delivered", "lost", "duplicated", "out_of_order"} {
		if _, ok := m.Total[name]; !ok {
			t.Errorf("total lacks %q: %s", name, b)
		}
	}
	for _, name := range []string{"p50", "p90", "p99", "p999", "max"} {
		if _, ok := m.Window.Latency[name]; !ok {
			t.Errorf("latency lacks %q: %s", name, b)
		}
	}
	var table bytes.Buffer
	if err := rep.WriteTable(&table); err != nil || !strings.Contains(table.String(), "sent 5") {
		t.Errorf("WriteTable = %v:\n%s", err, &table)
	}
}
