// Command cluster measures what a message costs through the Redis adapter,
// beside Node's adapter doing the same: a client publishes through one server,
// the members of the room are at another, and the processor time of both and of
// Redis is read before and after. It prints tables of medians and ranges and
// writes them to bench/results.
//
// It runs from the repository's root, and needs redis-server, node and npm.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sioedge/sioedge/bench/host"
)

// settings are the command line.
type settings struct {
	rounds, seconds int
	quick           bool
	only            string
	results, date   string
}

func main() {
	var s settings
	flag.IntVar(&s.rounds, "rounds", 3, "rounds")
	flag.IntVar(&s.seconds, "seconds", 3, "length of each measurement")
	flag.BoolVar(&s.quick, "quick", false, "one round of a second each, unless the other flags say otherwise")
	flag.StringVar(&s.only, "only", "", "scenarios whose names contain this (default all)")
	flag.StringVar(&s.results, "results", filepath.Join("bench", "results"), "directory of the result file; empty for none")
	flag.StringVar(&s.date, "date", time.Now().Format(time.DateOnly), "date of the result file")
	flag.Parse()
	if s.quick {
		host.Shorten(map[string]int{"rounds": 1, "seconds": 1})
	}
	if err := run(s); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(s settings) error {
	if s.rounds < 1 || s.seconds < 1 {
		return errors.New("at least one round and one second")
	}
	ts := slices.DeleteFunc(trials(), func(t trial) bool { return !strings.Contains(t.name, s.only) })
	if len(ts) == 0 {
		return fmt.Errorf("no scenario contains %q", s.only)
	}
	if err := build(); err != nil {
		return err
	}
	began := time.Now()
	r := results{figures: map[string][]figure{}, failures: map[string]string{}}
	for round := range s.rounds {
		for _, t := range ts {
			for _, k := range kinds() {
				try(s, round, t, k, r)
			}
		}
	}
	var out bytes.Buffer
	heading(&out, s.date, time.Since(began))
	tables(&out, ts, kinds(), r)
	fmt.Print("\n", out.String())
	if s.results != "" {
		name, err := host.Save(s.results, s.date+"-cluster", out.Bytes())
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "written to", name)
	}
	if n := len(r.failures); n > 0 {
		return fmt.Errorf("%d measurements are not OK", n)
	}
	return nil
}

// try measures once. What fails does not end the run.
func try(s settings, round int, t trial, k kind, r results) {
	f, err := measure(k, t, s.seconds)
	if err != nil {
		r.failures[key(t, k)] = err.Error()
		fmt.Fprintf(os.Stderr, "round %d  %-52s %-17s failed: %v\n", round+1, t.name, k.name, err)
		return
	}
	r.figures[key(t, k)] = append(r.figures[key(t, k)], f)
	fmt.Fprintf(os.Stderr, "round %d  %-52s %-17s %7.0f/s, CPU µs at A %.2f, B %.2f, Redis %.2f\n", round+1, t.name, k.name,
		f.rate(), f.per(f.a), f.per(f.b), f.per(f.redis))
}

// build builds our server, and installs Node's.
func build() error {
	for _, name := range []string{"redis-server", "node"} {
		if _, err := exec.LookPath(name); err != nil {
			return err
		}
	}
	if err := runIn(".", "go", "build", "-trimpath", "-o", "bin/", "./cmd/sioedge"); err != nil {
		return err
	}
	dir := filepath.Join("bench", "peers", "node")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "@socket.io", "redis-adapter")); err == nil {
		return nil
	}
	return runIn(dir, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
}

func runIn(dir, name string, args ...string) error {
	c := exec.Command(name, args...)
	c.Dir = dir
	if output, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, args[0], err, bytes.TrimSpace(output))
	}
	return nil
}
