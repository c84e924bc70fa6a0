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

// A column is one value of a figure.
type column struct {
	title, format string
	of            func(figure) float64
}

func columns(t trial) []column {
	all := []column{
		{"messages/s", "%.0f", figure.rate},
		{"CPU µs a message at A", "%.2f", func(f figure) float64 { return f.per(f.a) }},
		{"at B", "%.2f", func(f figure) float64 { return f.per(f.b) }},
		{"at Redis", "%.2f", func(f figure) float64 { return f.per(f.redis) }},
		{"together", "%.2f", func(f figure) float64 { return f.per(f.a + f.b + f.redis) }},
	}
	if t.nobody {
		all = append(all, column{"bytes from Redis to B", "%.1f", func(f figure) float64 { return float64(f.toB) / float64(f.messages) }})
	}
	return all
}

// results are the figures of a trial with a kind, and why there may be less.
type results struct {
	figures  map[string][]figure
	failures map[string]string
}

func key(t trial, k kind) string { return t.name + "\t" + k.name }

// heading says what was run, where and how.
func heading(w io.Writer, date string, took time.Duration) {
	fmt.Fprintf(w, "# go run ./bench/cluster %s\n", strings.Join(os.Args[1:], " "))
	fmt.Fprintf(w, "# %s, %.0f minutes; %s, %s\n", date, took.Minutes(), host.Machine(), host.Said("redis-server", "--version"))
	fmt.Fprintf(w, `#
# Two servers of a kind, A and B, and a Redis of their own, started anew for each measurement, on one machine with the
# client. One client publishes through A with %d messages under way; members of the room are at B, and each must get
# each message once and in order. CPU is that of the process, from silence to silence, after as long a warm-up; medians,
# ranges in parentheses. The processes share the cores, so messages/s says what the machine does with all of them, and CPU
# what each one costs. Where B is slow, as with many members, A and Redis get few messages at once, and each costs them more:
# their own costs are compared where there is one member.
# A room without members: one message of %d goes to a member at B instead, so that Redis is never far behind A; B speaks
# to Redis through a tap that counts. sioedge has recovery on; Node's adapter has none.
`, window, chunk)
}

func tables(w io.Writer, ts []trial, ks []kind, r results) {
	for _, t := range ts {
		fmt.Fprintf(w, "\n%s\n", t.name)
		rows := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprint(rows, "  servers")
		for _, c := range columns(t) {
			fmt.Fprint(rows, "\t", c.title)
		}
		fmt.Fprintln(rows)
		for i, k := range ks {
			row(rows, t, k, r)
			if i%2 == 1 {
				ratio(rows, t, ks[i-1], k, r)
			}
		}
		rows.Flush()
	}
}

func row(w io.Writer, t trial, k kind, r results) {
	fmt.Fprintf(w, "  %s", k.name)
	if fs := r.figures[key(t, k)]; len(fs) > 0 {
		for _, c := range columns(t) {
			low, mid, high := spread(fs, c.of)
			fmt.Fprintf(w, "\t"+c.format, mid)
			if len(fs) > 1 {
				fmt.Fprintf(w, " ("+c.format+"–"+c.format+")", low, high)
			}
		}
	}
	if why := r.failures[key(t, k)]; why != "" {
		fmt.Fprintf(w, "\tNOT OK: %s", why)
	}
	fmt.Fprintln(w)
}

// ratio compares the medians of two kinds, if there are both.
func ratio(w io.Writer, t trial, first, second kind, r results) {
	ours, theirs := r.figures[key(t, first)], r.figures[key(t, second)]
	if len(ours) == 0 || len(theirs) == 0 {
		return
	}
	fmt.Fprint(w, "  the second over the first")
	for _, c := range columns(t) {
		_, a, _ := spread(ours, c.of)
		_, b, _ := spread(theirs, c.of)
		if a > 0 {
			fmt.Fprintf(w, "\t%.2f", b/a)
		} else {
			fmt.Fprint(w, "\t-")
		}
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
