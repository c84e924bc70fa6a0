// Command compare measures the server beside its peers and beside a bare loop
// of send, with the same clients, one after the other in one run, several
// rounds: the processor time of the server process for a unit of work, its
// memory, and what its clients see. It prints tables of medians and ranges and
// writes them to bench/results.
//
// It is what make bench runs, from the repository's root. The peers are built
// from bench/peers; one that cannot be built is named with the reason.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sioedge/sioedge/bench/host"
)

// settings are the command line.
type settings struct {
	rounds, clients, seconds int
	quick                    bool
	only, peers              []string // empty: all
	results, date            string
	before                   string // a revision; empty: none
	readme                   string // whose tables are to be replaced; empty: none
	from                     string // the result file that they are from; empty: this run's
}

func main() {
	var s settings
	var only, peers string
	flag.IntVar(&s.rounds, "rounds", 3, "rounds; some scenarios have one only")
	flag.IntVar(&s.clients, "clients", 15000, "connections; some servers and scenarios have fewer, which the table says")
	flag.IntVar(&s.seconds, "seconds", 3, "length of each measurement")
	flag.BoolVar(&s.quick, "quick", false, "one round of a second each with 2,000 connections, of some scenarios and servers, unless the other flags say otherwise")
	flag.StringVar(&only, "only", "", "scenarios, by the beginning of their names, with commas between (default all)")
	flag.StringVar(&peers, "peers", "", "servers, by name, with commas between (default all)")
	flag.StringVar(&s.results, "results", filepath.Join("bench", "results"), "directory of the result file; empty for none")
	flag.StringVar(&s.before, "before", "", "revision of this repository to measure in the same run, as another server")
	flag.StringVar(&s.readme, "readme", "", "a file in which the tables are to be replaced")
	flag.StringVar(&s.from, "from", "", "with -readme: the result file they are to be from, in place of a new run")
	flag.StringVar(&s.date, "date", time.Now().Format(time.DateOnly), "date of the result file")
	flag.Parse()
	s.only, s.peers = split(only), split(peers)
	if s.quick {
		host.Shorten(map[string]int{"rounds": 1, "clients": 2000, "seconds": 1})
	}
	if err := run(s); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

func run(s settings) error {
	if s.from != "" {
		b, err := os.ReadFile(s.from)
		if err != nil {
			return err
		}
		return s.tell(string(b))
	}
	if s.rounds < 1 || s.clients < 100 || s.seconds < 1 {
		return errors.New("at least one round, 100 clients and one second")
	}
	servers := slices.DeleteFunc(allServers(), func(v *server) bool { return !s.serves(v) })
	if s.before != "" {
		servers = append(servers, before(s.before)...)
	}
	if len(servers) == 0 {
		return fmt.Errorf("no server of %q; there are %s", s.peers, names(allServers()))
	}
	trials := slices.DeleteFunc(allTrials(s), func(t trial) bool { return !s.chosen(t.name, t.brief) })
	others := slices.DeleteFunc(parts(s), func(p part) bool { return len(s.peers) > 0 || !s.chosen(p.name, p.brief) })
	if len(trials)+len(others) == 0 {
		return fmt.Errorf("no scenario begins with any of %q", s.only)
	}
	servers = slices.DeleteFunc(servers, func(v *server) bool {
		return !slices.ContainsFunc(trials, func(t trial) bool { return t.takes(v) })
	})
	if len(trials) > 0 {
		if err := build(servers); err != nil {
			return err
		}
	}
	began := time.Now()
	results, failures := takeTurns(s, trials, servers)
	var tail bytes.Buffer
	for _, p := range others {
		p.take(&tail)
	}
	var out bytes.Buffer
	heading(&out, s, time.Since(began))
	tables(&out, trials, servers, results, failures)
	_, _ = tail.WriteTo(&out)
	fmt.Print("\n", out.String())
	if s.results != "" {
		name, err := host.Save(s.results, s.date, out.Bytes())
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "written to", name)
		s.from = name
	}
	return s.tell(out.String())
}

// takeTurns measures all rounds.
func takeTurns(s settings, trials []trial, servers []*server) (results map[string][]figure, failures map[string]string) {
	results, failures = map[string][]figure{}, map[string]string{}
	for round := range s.rounds {
		for _, t := range trials {
			if round >= t.rounds(s) {
				continue
			}
			for _, v := range turns(t, servers, s.quick) {
				try(round, t, v, results, failures)
			}
		}
	}
	return results, failures
}

// turns returns the servers in the order of a round. Where ratios to the limit
// count, which are close to one, those in question have two turns, the second
// in reverse, so that whatever else the machine does meets them all alike.
func turns(t trial, servers []*server, quick bool) []*server {
	all := slices.DeleteFunc(slices.Clone(servers), func(v *server) bool { return v.missing != "" || !t.takes(v) })
	if !t.limits() || t.once || quick {
		return all
	}
	back := slices.DeleteFunc(slices.Clone(all), func(v *server) bool { return !v.near })
	slices.Reverse(back)
	return slices.Concat(all, back)
}

// try measures once. A server that fails a scenario does not end the run.
func try(round int, t trial, v *server, results map[string][]figure, failures map[string]string) {
	key := t.name + "\t" + v.name
	f, err := measure(v, t)
	if err != nil {
		failures[key] = err.Error()
		fmt.Fprintf(os.Stderr, "round %d  %-34s %-13s failed: %v\n", round+1, t.name, v.name, err)
		return
	}
	results[key] = append(results[key], f)
	c := t.columns[0]
	fmt.Fprintf(os.Stderr, "round %d  %-34s %-13s "+c.format+" %s\n", round+1, t.name, v.name, c.of(f), c.title)
}

func names(servers []*server) string {
	var all []string
	for _, v := range servers {
		all = append(all, v.name)
	}
	return strings.Join(all, ", ")
}
