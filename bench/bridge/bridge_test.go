package main

import (
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/bench/host"
	"github.com/sioedge/sioedge/bench/swarm"
)

func TestTablesHaveMediansRangesAndFailures(t *testing.T) {
	ts := trials(settings{rounds: 3, seconds: 1, clients: 10, members: 20})
	node, edge := sides()[0], sides()[1]
	of := func(app float64) figure { return figure{app: app, edge: 7.25, heap: 1234, edgeRSS: 321} }
	r := results{
		figures: map[string][]figure{key(ts[0], node): {of(4)}, key(ts[0], edge): {of(4)},
			key(ts[1], node): {of(4), of(2), of(3)}, key(ts[5], edge): {of(20)}},
		failures: map[string]string{key(ts[1], edge): "it fell over"},
	}
	var b strings.Builder
	tables(&b, ts, r)
	for _, want := range []string{"idle, 10 clients, one round", "1234", "321", "3.00 (2.00–4.00)", "–", "NOT OK: it fell over", "7.25", "50000"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("tables lack %q:\n%s", want, b.String())
		}
	}
	if n := strings.Count(b.String(), "321"); n != 1 {
		t.Errorf("the edge's memory is told %d times, want once, where there is an edge:\n%s", n, b.String())
	}
}

func TestWhatTheEdgeUsesIsApart(t *testing.T) {
	f, err := figureOf([]swarm.Use{{CPUSeconds: 2, UserSeconds: 1}, {CPUSeconds: 4}}, 1000)
	if want := (figure{app: 2000, user: 1000, edge: 4000}); err != nil || f != want {
		t.Errorf("figureOf = %+v, %v, want %+v", f, err, want)
	}
	if f, err = figureOf([]swarm.Use{{CPUSeconds: 2}}, 1000); err != nil || f.edge != 0 {
		t.Errorf("figureOf without an edge = %+v, %v", f, err)
	}
	if _, err = figureOf([]swarm.Use{{CPUSeconds: 2}}, 0); err == nil {
		t.Error("figureOf of nothing = nil, want an error")
	}
	cpu := func(ms time.Duration) host.CPU { return host.CPU{User: ms * time.Millisecond} }
	f, err = use{cpu(500), cpu(900)}.since(use{cpu(100), cpu(100)}, 1000)
	if want := (figure{app: 400, user: 400, edge: 800}); err != nil || f != want {
		t.Errorf("since = %+v, %v, want %+v", f, err, want)
	}
}
