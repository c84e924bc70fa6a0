package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const someResult = `# go run ./bench/compare -quick
# 2026-11-30, 2 minutes; a processor, 2 cores
#
# What it says.

idle, 2000 clients, one round
  server   CPU µs for one connection and second  user µs  RSS B a connection  over C
  sioedge  0.731 (0.700–0.800)                   0.100    297                 1.200
  C        0.609                                 0.010    15                  1.000
  node     2.600                                 1.000    14406               4.269   NOT OK: 3 clients were disconnected
  zishang  failed: it fell over

jitter, 500 clients, one round
  server   share delivered  share recovered
  sioedge  1.0000           1.000
  node     0.9312           0.990

memory over ten waves, 100 clients, one round
  server   RSS MB when ten waves have come and gone  before  after one  two  five
  sioedge  33.2                                      26.7    28.5       29.7  31.6

edge: TLS: go run ./bench/tls

| what | plain |
  sioedge  1 2

edge: bridge: go run ./bench/bridge -rounds 1

# go run ./bench/bridge -rounds 1

idle, 200 clients, one round
  side                 application: heap B a client  RSS B  edge: RSS B
  node                 14193                         16533  –
  node behind sioedge  6544                          7141   3435

missing: bun: no npm
`

func TestReadmeGetsItsTables(t *testing.T) {
	path := filepath.Join(t.TempDir(), "README.md")
	empty := func(block string) string { return beginOf(block) + "old\n" + until }
	page := "before\n" + empty("peers") + "between\n" + empty("costs") + empty("one core") + empty("bridge") + empty("better") + "after\n"
	if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := (settings{readme: path, from: "bench/results/x.txt"}).tell(someResult); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := string(b)
	for _, want := range []string{
		"before\n" + beginOf("peers") + "2026-11-30, 2 minutes; a processor, 2 cores ([result](bench/results/x.txt)).\n\n",
		"| | sioedge | C | Node socket.io | zishang520 |\n|---|---|---|---|---|\n",
		"| memory of an idle connection, B | 297 | 15.0 | 14,406 ‡ | failed |\n",
		"| heartbeats of an idle connection, µs a second | 0.73 | 0.61 | 2.60 ‡ | failed |\n",
		"| messages delivered while a tenth is cut off at any moment | 100 % |  | 93.1 % |  |\n",
		beginOf("bridge") + "2026-11-30, 2 minutes; a processor, 2 cores ([result](bench/results/x.txt)).\n\n| | Node socket.io | behind sioedge | the edge's |\n",
		"| heap of an idle client after a collection, B | 14,193 | 6,544 |  |\n| RSS of an idle client, B | 16,533 | 7,141 | 3,435 |\n" + until,
		"‡ not all went well", until + "between\n" + beginOf("costs"),
		"| after one wave of clients has come and gone | 28.5 |\n| after ten | 33.2 |\n",
		empty("one core"), // of which the result says nothing
		beginOf("better") + "- uWebSockets: ", until + "after\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("README lacks %q:\n%s", want, got)
		}
	}
	if err := (settings{readme: path}).tell("# x\n# y\n\none core: idle, 5 clients\n  server   CPU ms a second  RSS B\n  sioedge  1.00  2\n"); err != nil {
		t.Errorf("a result of one trial: %v", err)
	}
	if err := os.WriteFile(path, []byte("no place\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := (settings{readme: path}).tell(someResult); err == nil || !strings.Contains(err.Error(), beginOf("peers")[:10]) {
		t.Errorf("a README without its lines: %v, want an error that names them", err)
	}
}

func TestLinesOfReadmeAreOfTrialsServersAndColumns(t *testing.T) {
	trials := map[string]trial{}
	for _, tr := range allTrials(settings{rounds: 1, clients: 15000, seconds: 1}) {
		trials[tr.name] = tr
	}
	servers := map[string]*server{}
	for _, v := range allServers() {
		servers[v.name] = v
	}
	for _, table := range readmeTables() {
		if table.block == "bridge" { // of another benchmark
			continue
		}
		for _, p := range table.places {
			if servers[p.server] == nil {
				t.Errorf("%s: no server %q", table.block, p.server)
			}
		}
		for _, l := range table.lines {
			tr, there := trials[l.trial]
			if !there {
				t.Errorf("%s: no trial %q", table.block, l.trial)
				continue
			}
			found := l.column == ""
			for _, c := range tr.columns {
				found = found || strings.HasPrefix(c.title, l.column)
			}
			if !found {
				t.Errorf("%s: %s has no column %q", table.block, l.trial, l.column)
			}
			for _, v := range l.second {
				if !tr.takes(servers[v]) {
					t.Errorf("%s: %s does not take part in %s", table.block, v, l.trial)
				}
			}
		}
	}
}

func TestShortNumbersHaveThreeDigits(t *testing.T) {
	for v, want := range map[float64]string{0.734: "0.73", 6.05: "6.05", 15.04: "15.0", 297: "297", 14406: "14,406", 1234567.4: "1,234,567", 9.999: "10.00", -1234: "-1,234"} {
		if got := short(v); got != want {
			t.Errorf("short(%v) = %s, want %s", v, got, want)
		}
	}
}
