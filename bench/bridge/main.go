// Command bridge measures an application in Node by itself, and the same one behind
// sioedge by the bridge, one after the other in one run: the processor time and the
// memory of the application, and those of the edge apart. It prints tables of medians
// and ranges and writes them to bench/results.
//
// It is what make bench-bridge runs, from the repository's root, and needs node and npm.
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
	rounds, seconds  int
	clients, members int // idle, and of broadcasts
	quick            bool
	only             string
	results, date    string
}

func main() {
	var s settings
	flag.IntVar(&s.rounds, "rounds", 3, "rounds; idle clients are measured once")
	flag.IntVar(&s.seconds, "seconds", 3, "length of each measurement; heartbeats take 25")
	flag.IntVar(&s.clients, "clients", 5000, "idle clients")
	flag.IntVar(&s.members, "members", 15000, "clients that broadcasts go to")
	flag.BoolVar(&s.quick, "quick", false, "one round of a second each with 1,000 idle clients and 2,000 for broadcasts, unless the other flags say otherwise")
	flag.StringVar(&s.only, "only", "", "scenarios whose names contain this (default all)")
	flag.StringVar(&s.results, "results", filepath.Join("bench", "results"), "directory of the result file; empty for none")
	flag.StringVar(&s.date, "date", time.Now().Format(time.DateOnly), "date of the result file")
	flag.Parse()
	if s.quick {
		host.Shorten(map[string]int{"rounds": 1, "seconds": 1, "clients": 1000, "members": 2000})
	}
	if err := run(s); err != nil {
		fmt.Fprintln(os.Stderr, "bridge:", err)
		os.Exit(1)
	}
}

func run(s settings) error {
	if s.rounds < 1 || s.seconds < 1 || s.clients < 1 || s.members < 1 {
		return errors.New("at least one round, one second and one client")
	}
	ts := slices.DeleteFunc(trials(s), func(t trial) bool { return !strings.Contains(t.name, s.only) })
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
			if t.once && round > 0 {
				continue
			}
			for _, v := range sides() {
				try(round, t, v, r)
			}
		}
	}
	var out bytes.Buffer
	heading(&out, s, time.Since(began))
	tables(&out, ts, r)
	fmt.Print("\n", out.String())
	if s.results != "" {
		name, err := host.Save(s.results, s.date+"-bridge", out.Bytes())
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
func try(round int, t trial, v side, r results) {
	f, err := measure(v, t)
	if err != nil {
		r.failures[key(t, v)] = err.Error()
		fmt.Fprintf(os.Stderr, "round %d  %-58s %-22s failed: %v\n", round+1, t.name, v.name, err)
		return
	}
	r.figures[key(t, v)] = append(r.figures[key(t, v)], f)
	c := t.columns[0]
	fmt.Fprintf(os.Stderr, "round %d  %-58s %-22s "+c.format+" %s\n", round+1, t.name, v.name, c.of(f), c.title)
}

// build builds the edge and the load generator, and installs the application.
func build() error {
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			return err
		}
	}
	if err := runIn(".", "go", "build", "-trimpath", "-o", "bin/", "./cmd/sioedge", "./cmd/sioload"); err != nil {
		return err
	}
	return runIn(filepath.Join("bench", "peers", "node"), "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
}

func runIn(dir, name string, args ...string) error {
	c := exec.Command(name, args...)
	c.Dir = dir
	if output, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, args[0], err, bytes.TrimSpace(output))
	}
	return nil
}
