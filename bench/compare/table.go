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

// heading says what was run, where and how.
func heading(w io.Writer, s settings, took time.Duration) {
	fmt.Fprintf(w, "# go run ./bench/compare %s\n", strings.Join(os.Args[1:], " "))
	fmt.Fprintf(w, "# %s, %.0f minutes; %s\n", s.date, took.Minutes(), host.Machine())
	fmt.Fprint(w, `#
# Every server gets the same clients over loopback, one server after the other in each round; medians, ranges in
# parentheses. CPU is utime and stime of the server's process (and of ksoftirqd where it can be seen) over the measured
# window, divided by the unit of work; "over C" is the ratio to a bare loop in C (in the queued broadcasts to the one of
# 64 B). The load generator never sleeps, so that no server pays for waking it, and keeps one core to itself: with two
# loops on two cores, three threads share them, so that "1 loop" has been added where that tells. In the rows of "one
# core", and for the reader, each server has a core to itself.
# Latencies count from when a message was due. sioedge has recovery on everywhere, the others where it is measured; "library" has
# no options at all, "tuned" means Server.Tune. uwebsockets has its handlers in JavaScript, on its core in C++. centrifuge and
# Centrifugo speak their own JSON protocol: its envelope is longer, so its "64 B" are 85.
# Where an application answers events, its own time is not in the server's. To an HTTP API clients of this process post, one request after
# the other on each connection; emits come 64 at a time, by one stream or one emitter.
`)
}

func tables(w io.Writer, trials []trial, servers []*server, results map[string][]figure, failures map[string]string) {
	for _, t := range trials {
		fmt.Fprintf(w, "\n%s, %d clients%s\n", t.name, t.clients, map[bool]string{true: ", one round"}[t.once])
		rows := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprint(rows, "  server")
		for _, c := range t.columns {
			fmt.Fprint(rows, "\t", c.title)
		}
		base := median(results[t.over+"\t"+limit], t.columns[0].of)
		if base > 0 {
			fmt.Fprint(rows, "\tover C")
		}
		fmt.Fprintln(rows)
		for _, v := range servers {
			key := t.name + "\t" + v.name
			switch {
			case len(results[key]) > 0:
				row(rows, t, v, results[key], base)
			case failures[key] != "":
				fmt.Fprintf(rows, "  %s\tfailed: %s\n", v.name, failures[key])
			}
		}
		rows.Flush()
	}
	for _, v := range servers {
		if v.missing != "" {
			fmt.Fprintf(w, "\nmissing: %s: %s\n", v.name, v.missing)
		}
	}
}

func row(w io.Writer, t trial, v *server, fs []figure, base float64) {
	fmt.Fprintf(w, "  %s", v.name)
	for i, c := range t.columns {
		fmt.Fprintf(w, "\t"+c.format, median(fs, c.of))
		if i == 0 && len(fs) > 1 {
			low, high := extremes(fs, c.of)
			fmt.Fprintf(w, " ("+c.format+"–"+c.format+")", low, high)
		}
	}
	if base > 0 {
		fmt.Fprintf(w, "\t%.3f", median(fs, t.columns[0].of)/base)
	}
	var notes []string
	if n := clientsOf(v, t); n != t.clients {
		notes = append(notes, fmt.Sprintf("%d clients", n))
	}
	for _, f := range fs {
		if len(f.problems) > 0 {
			notes = append(notes, "NOT OK: "+strings.Join(f.problems, ", "))
		}
		notes = append(notes, f.notes...)
	}
	if len(notes) > 0 {
		fmt.Fprintf(w, "\t%s", strings.Join(notes, "; "))
	}
	fmt.Fprintln(w)
}

func values(fs []figure, of func(figure) float64) []float64 {
	v := make([]float64, len(fs))
	for i, f := range fs {
		v[i] = of(f)
	}
	slices.Sort(v)
	return v
}

func extremes(fs []figure, of func(figure) float64) (low, high float64) {
	v := values(fs, of)
	return v[0], v[len(v)-1]
}

func median(fs []figure, of func(figure) float64) float64 {
	v := values(fs, of)
	if len(v) == 0 {
		return 0
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
