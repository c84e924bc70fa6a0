package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/bench/swarm"
	"github.com/sioedge/sioedge/bench/swarm/faulty"
)

// TestMain lets this test binary be the worker that load starts.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == workerArg {
		main()
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

func TestExitCodes(t *testing.T) {
	good := start(t, faulty.Faults{})
	bad := start(t, faulty.Faults{Deliver: func(_, _ int, p string) []string { return []string{p, p} }})
	gone := start(t, faulty.Faults{})
	gone.Close()
	for _, c := range []struct {
		name string
		args []string
		want int
		says string
	}{
		{"all is well", []string{good.URL, "--scenario", "broadcast", "--clients", "20", "--messages", "5"}, 0, "nothing lost"},
		{"messages come twice", []string{bad.URL, "--scenario", "broadcast", "--clients", "20", "--messages", "5"}, 1, "duplicated"},
		{"nobody listens", []string{gone.URL, "--clients", "2", "--duration", "10ms"}, 1, "connection refused"},
		{"no URL", nil, 2, "one URL"},
		{"no such flag", []string{good.URL, "--nope"}, 2, "nope"},
		{"no such scenario", []string{good.URL, "--scenario", "nope"}, 2, "nope"},
		{"no number", []string{good.URL, "--clients", "many"}, 2, "many"},
		{"no such process", []string{good.URL, "--pid", "999999999"}, 1, "pid"},
		{"help", []string{"--help"}, 0, "--busy-poll"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			got := run(c.args, &out, &errs)
			if got != c.want || !strings.Contains(out.String()+strings.ReplaceAll(errs.String(), "process", "pid"), c.says) {
				t.Errorf("run(%q) = %d, want %d and %q in:\n%s%s", c.args, got, c.want, c.says, &out, &errs)
			}
		})
	}
}

func TestJSON(t *testing.T) {
	s := start(t, faulty.Faults{})
	var out, errs bytes.Buffer
	if code := run([]string{s.URL, "--scenario", "echo", "--clients", "10", "--messages", "50", "--procs", "2", "--json"}, &out, &errs); code != 0 {
		t.Fatalf("run = %d, want 0: %s%s", code, &out, &errs)
	}
	var rep swarm.Report
	if err := json.Unmarshal(out.Bytes(), &rep); err != nil {
		t.Fatalf("output is not one JSON object: %v\n%s", err, &out)
	}
	if !rep.OK || rep.Procs != 2 || rep.Total.Delivered != 50 || rep.Window.LatencyUS.Count != 50 {
		t.Errorf("report = %+v, want 50 echoes by 2 workers", rep)
	}
}
