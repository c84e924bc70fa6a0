package swarm

import (
	"errors"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// pids is this process where its use can be read.
func pids() []int {
	if runtime.GOOS != "linux" {
		return nil
	}
	return []int{os.Getpid()}
}

func TestConfigErrors(t *testing.T) {
	for _, c := range []struct {
		field string
		cfg   Config
	}{
		{"URL", Config{}},
		{"URL", Config{URL: "wss://127.0.0.1"}},
		{"URL", Config{URL: "ftp://127.0.0.1"}},
		{"URL", Config{URL: "ws://:80"}},
		{"Scenario", Config{URL: "ws://h", Scenario: "x"}},
		{"Namespace", Config{URL: "ws://h", Namespace: "chat"}},
		{"Auth", Config{URL: "ws://h", Auth: "token"}},
		{"Clients", Config{URL: "ws://h", Clients: -1}},
		{"Rate", Config{URL: "ws://h", MsgRate: -1}},
		{"Publishers", Config{URL: "ws://h", Clients: 2, Publishers: 3}},
		{"Rooms", Config{URL: "ws://h", Clients: 2, Rooms: 3, Scenario: Rooms}},
		{"Active", Config{URL: "ws://h", Clients: 2, Active: 3}},
		{"Procs", Config{URL: "ws://h", Clients: 2, Procs: 3}},
		{"Protocol", Config{URL: "ws://h", Protocol: "x"}},
		{"Protocol", Config{URL: "ws://h", Protocol: Centrifuge, Namespace: "/chat"}},
		{"Active", Config{URL: "ws://h", Clients: 2, Scenario: Reader, Active: 2}},
		{"Cut", Config{URL: "ws://h", Scenario: Jitter, Cut: 1}},
		{"Duration", Config{URL: "ws://h", Scenario: Jitter, Duration: time.Second}},
		{"Messages", Config{URL: "ws://h", Scenario: Avalanche, Messages: 5}},
		{"Sources", Config{URL: "ws://h", Sources: []string{"home"}}},
	} {
		_, err := c.cfg.WithDefaults()
		var bad *ConfigError
		if !errors.As(err, &bad) || !strings.Contains(bad.Field, c.field) {
			t.Errorf("WithDefaults(%+v) = %v, want a *ConfigError about %s", c.cfg, err, c.field)
		}
	}
}

func TestDefaults(t *testing.T) {
	c, err := Config{URL: "ws://h"}.WithDefaults()
	if err != nil || c.Clients != 100 || c.Duration != 10*time.Second || c.Scenario != Idle || c.Size != 64 || c.Timeout < time.Minute {
		t.Errorf("WithDefaults = %+v, %v", c, err)
	}
	c, err = Config{URL: "ws://h", Messages: 1, Size: 1, Namespace: "/a-long-name"}.WithDefaults()
	if err != nil || c.Duration != 0 || c.Size != newWire(c, 0).minSize() {
		t.Errorf("WithDefaults = duration %v, size %d, %v, want 0 and the smallest size", c.Duration, c.Size, err)
	}
}

func TestParseTarget(t *testing.T) {
	for _, c := range []struct{ url, host, path string }{
		{"ws://127.0.0.1:3000", "127.0.0.1:3000", "/socket.io/?EIO=4&transport=websocket"},
		{"http://h", "h:80", "/socket.io/?EIO=4&transport=websocket"},
		{"ws://[::1]:1/my/?token=a", "[::1]:1", "/my/?token=a&EIO=4&transport=websocket"},
	} {
		got, err := parseTarget(c.url)
		if err != nil || got.host != c.host || got.path != c.path {
			t.Errorf("parseTarget(%s) = %+v, %v, want %s, %s", c.url, got, err, c.host, c.path)
		}
	}
}

func TestWorkers(t *testing.T) {
	for _, c := range []struct {
		clients, procs, limit, want int
		bad                         bool
	}{
		{clients: 1, limit: 20_000, want: 1},
		{clients: 15_000, limit: 20_000, want: 1},
		{clients: 15_001, limit: 20_000, want: 2},
		{clients: 100_000, limit: 20_000, want: 7},
		{clients: 1000, limit: 756, want: 2},
		{clients: 19_000, procs: 1, limit: 20_000, want: 1},
		{clients: 30_000, procs: 4, limit: 20_000, want: 4},
		{clients: 30_000, procs: 1, limit: 20_000, bad: true},
	} {
		cfg := Config{Clients: c.clients, Procs: c.procs}
		got, err := cfg.workers(c.limit)
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("workers(%d clients, %d procs, limit %d) = %d, %v, want %d", c.clients, c.procs, c.limit, got, err, c.want)
		}
	}
}

func TestSharesAddUp(t *testing.T) {
	for n := 1; n < 9; n++ {
		for total := range 40 {
			sum, messages := 0, map[Scenario]int{}
			for i := range n {
				sum += share(total, i, n)
				for _, s := range []Scenario{Broadcast, Echo, Churn} {
					w := &worker{job: job{Index: i, Workers: n}}
					w.cfg = Config{Scenario: s, Messages: total, Publishers: 3, Active: 5}
					w.job.Config = w.cfg
					messages[s] += w.messages()
				}
			}
			if sum != total || messages[Broadcast] != total || messages[Echo] != total || messages[Churn] != total {
				t.Fatalf("%d shared by %d workers = %d, messages %v", total, n, sum, messages)
			}
		}
	}
}

func TestSources(t *testing.T) {
	loopback, far := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.1.2.3")
	own := &Config{Sources: []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}}
	if got := strings.Join(own.sourcesOf(0, 2, far), " "); got != "10.0.0.1 10.0.0.3" {
		t.Errorf("sourcesOf(0 of 2) = %s", got)
	}
	if got := strings.Join(own.sourcesOf(4, 5, far), " "); got != "10.0.0.2" {
		t.Errorf("sourcesOf(4 of 5) = %s", got)
	}
	auto := &Config{}
	if got := auto.sourcesOf(0, 3, far); got != nil {
		t.Errorf("sourcesOf(a distant target) = %v, want none", got)
	}
	if runtime.GOOS != "linux" {
		return
	}
	a, b := auto.sourcesOf(0, 2, loopback), auto.sourcesOf(1, 2, loopback)
	if len(a) != 1 || len(b) != 1 || a[0] == b[0] {
		t.Errorf("sourcesOf(loopback) = %v, %v, want one each, different", a, b)
	}
}

func TestBottlenecks(t *testing.T) {
	rep := func(g Generator, busyPoll bool) *Report {
		return &Report{Procs: 1, BusyPoll: busyPoll, Window: &Window{Sent: 100}, Workers: []Generator{g}}
	}
	for _, c := range []struct {
		name string
		rep  *Report
		want int
	}{
		{"calm", rep(Generator{Busy: 0.5, CPU: 0.4}, false), 0},
		{"busy", rep(Generator{Busy: 0.9}, false), 1},
		{"all its time in system calls", rep(Generator{Busy: 0.5, CPU: 0.99}, false), 1},
		{"busy polling with time to spare", rep(Generator{Busy: 0.5, CPU: 1}, true), 0},
		{"busy polling without", rep(Generator{Busy: 0.95, CPU: 1}, true), 1},
		{"late twice in a hundred", rep(Generator{Late: 2}, false), 1},
		{"late once in a hundred", rep(Generator{Late: 1}, false), 0},
		{"busy while connecting", rep(Generator{ConnectBusy: 0.9}, false), 1},
	} {
		if got := c.rep.bottlenecks(2); len(got) != c.want {
			t.Errorf("%s: bottlenecks = %q, want %d", c.name, got, c.want)
		}
	}
	if got := rep(Generator{}, true).bottlenecks(1); len(got) != 1 {
		t.Errorf("busy polling on the only processor: %q, want a reason", got)
	}
}

func TestScheduleDoesNotDrift(t *testing.T) {
	s := everyNS(1000, 3, 1, 2)
	s.k = 3_000_000
	if got, want := s.due()-s.start, int64(1e6*time.Second); got < want-1000 || got > want+1000 {
		t.Errorf("after 3,000,000 steps of a third of a second: %d ns, want %d", got, want)
	}
}
