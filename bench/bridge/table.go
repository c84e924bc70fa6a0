package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sioedge/sioedge/bench/host"
)

// results are the figures of a trial with a side, and why there may be less.
type results struct {
	figures  map[string][]figure
	failures map[string]string
}

func key(t trial, v side) string { return t.name + "\t" + v.name }

// heading says what was run, where and how.
func heading(w io.Writer, s settings, took time.Duration) {
	fmt.Fprintf(w, "# go run ./bench/bridge %s\n", strings.Join(os.Args[1:], " "))
	fmt.Fprintf(w, "# %s, %.0f minutes; %s; socket.io 4.8.4 with ws\n", s.date, took.Minutes(), host.Machine())
	fmt.Fprintf(w, `#
# The same application in Node, once by itself and once behind sioedge by the bridge, started anew for each measurement, on one
# machine with the clients. CPU is user and system time of the process, medians, ranges in parentheses; the edge's is apart,
# and is no part of the application's. What a core of Node can do is 1 / CPU, not what was done a second: the processes share
# the cores. The load generator never sleeps, so that nobody pays for waking it.
# Idle: RSS is read from outside, and the heap told by the application, both after a garbage collection, before the
# clients came and when they are there; then %s of heartbeats.
# "By the application itself" is io.emit in a loop, 64 in a turn, until all clients have all; behind the edge it is up to 250 times as many, since each costs so little.
# Where a client asks for a broadcast, that event is a part of what it costs. Events and emits go from and to %d clients, with %d under way for each.
`, heartbeats, 8, batch)
}

func tables(w io.Writer, ts []trial, r results) {
	for _, t := range ts {
		fmt.Fprintf(w, "\n%s, %d clients%s\n", t.name, t.clients, map[bool]string{true: ", one round"}[t.once])
		rows := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprint(rows, "  side")
		for _, c := range t.columns {
			fmt.Fprint(rows, "\t", c.title)
		}
		fmt.Fprintln(rows)
		for _, v := range sides() {
			row(rows, t, v, r)
		}
		rows.Flush()
	}
}

func row(w io.Writer, t trial, v side, r results) {
	fmt.Fprintf(w, "  %s", v.name)
	if fs := r.figures[key(t, v)]; len(fs) > 0 {
		for i, c := range t.columns {
			if c.edge && !v.bridged {
				fmt.Fprint(w, "\t–")
				continue
			}
			low, mid, high := spread(fs, c.of)
			fmt.Fprintf(w, "\t"+c.format, mid)
			if i == 0 && len(fs) > 1 {
				fmt.Fprintf(w, " ("+c.format+"–"+c.format+")", low, high)
			}
		}
	}
	if why := r.failures[key(t, v)]; why != "" {
		fmt.Fprintf(w, "\tNOT OK: %s", why)
	}
	fmt.Fprintln(w)
}

// spread is the least, the median and the most; of at least one figure.
func spread(fs []figure, of func(figure) float64) (low, mid, high float64) {
	v := make([]float64, len(fs))
	for i, f := range fs {
		v[i] = of(f)
	}
	slices.Sort(v)
	return v[0], (v[(len(v)-1)/2] + v[len(v)/2]) / 2, v[len(v)-1]
}
