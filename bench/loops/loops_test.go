package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
)

// Each part runs, and tells of what it has done.
func TestEachPart(t *testing.T) {
	s := settings{loops: "1,2", rounds: 1, millis: 10, clients: 20, senders: 2, rooms: 200, sessions: 100, members: 500, namespaces: 100}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			var b strings.Builder
			if err := p.measure(&b, s); err != nil {
				t.Fatal(err)
			}
			for _, want := range map[string][]string{
				"memory":     {"an echo, inline, one at a time", "switches"},
				"sockets":    {"a connection, and its end"},
				"senders":    {"to a room each", "64"},
				"rooms":      {"10 members: join", "B a room stay"},
				"crowd":      {"a broadcast", "slices at most"},
				"namespaces": {"one of its own each", "an instance"},
			}[p.name] {
				if !strings.Contains(b.String(), want) {
					t.Errorf("the part lacks %q:\n%s", want, b.String())
				}
			}
			if strings.Contains(b.String(), "NaN") {
				t.Errorf("there is a figure of nothing:\n%s", b.String())
			}
		})
	}
}

// Figures are per unit, or per thousand; locks are those that came since.
func TestFigures(t *testing.T) {
	at := time.Now()
	before := reading{at: at, places: map[string]int64{"a": 1}, loops: loop.Stats{Wakes: 10}}
	after := reading{usage: usage{cpu: 4 * time.Millisecond, switches: 6}, at: at.Add(2 * time.Second), waited: time.Millisecond,
		places: map[string]int64{"a": 1, "b": 4}, loops: loop.Stats{Wakes: 12, Turns: 8, Writes: 2000}}
	f := after.since(before, 2000)
	want := figure{units: 2000, rate: 1000, cpu: 2, locks: 2, waited: 500, wakes: 1, turns: 4, sends: 1000, switches: 3}
	if !maps.Equal(f.places, map[string]int64{"b": 4}) {
		t.Errorf("places are %v, want b alone", f.places)
	}
	if got := f.worst(6); !slices.Equal(got, []string{"    2.00  b"}) {
		t.Errorf("worst = %q", got)
	}
	f.places = nil
	if a, b := [...]float64{f.units, f.rate, f.cpu, f.locks, f.waited, f.wakes, f.turns, f.sends, f.switches}, [...]float64{want.units, want.rate, want.cpu, want.locks, want.waited, want.wakes, want.turns, want.sends, want.switches}; a != b {
		t.Errorf("figure %v, want %v", a, b)
	}
}
