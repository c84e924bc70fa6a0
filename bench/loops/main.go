// Command loops measures what several event loops cost each other, and what is large:
// broadcasts, echoes and connections on 1 to 16 loops, broadcasts from many goroutines
// at once, a million rooms, a room of a million members, 100,000 namespaces. Where cores are
// few, counts tell what time does not: how often a lock is waited for, and where, how
// often a loop is woken, how often a thread waits. It prints a table and, with -o, writes
// it to a file.
//
//	go run ./bench/loops -o bench/results
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sioedge/sioedge/bench/host"
)

// settings are the command line.
type settings struct {
	parts, only         string
	loops               string
	rounds, millis      int
	clients, senders    int
	rooms, sessions     int
	members, namespaces int
	quick, recovery     bool
	results, date       string
}

func main() {
	var s settings
	flag.StringVar(&s.parts, "parts", "memory,sockets,senders,rooms,crowd,namespaces", "what is measured, of these")
	flag.StringVar(&s.only, "only", "", "of memory and sockets, works whose names contain this (default all)")
	flag.StringVar(&s.loops, "loops", "1,2,4,8,16", "numbers of loops, in memory")
	flag.IntVar(&s.rounds, "rounds", 3, "rounds; what is large is measured once")
	flag.IntVar(&s.millis, "millis", 2000, "length of each measurement, in ms")
	flag.IntVar(&s.clients, "clients", 2000, "clients, in memory and with sockets; a multiple of 20")
	flag.IntVar(&s.senders, "sender-loops", 4, "loops, where many goroutines emit")
	flag.IntVar(&s.rooms, "rooms", 1_000_000, "rooms")
	flag.IntVar(&s.sessions, "sessions", 100_000, "sessions that are in these rooms, and others beside the namespaces")
	flag.IntVar(&s.members, "members", 1_000_000, "members of one room")
	flag.IntVar(&s.namespaces, "namespaces", 100_000, "namespaces")
	flag.BoolVar(&s.recovery, "recovery", false, "with recovery, whose log all that is emitted goes through: of memory, sockets and senders")
	flag.BoolVar(&s.quick, "quick", false, "one round of 200 ms each with 200 clients, and a hundredth of what is large, unless the other flags say otherwise")
	flag.StringVar(&s.results, "o", "", "directory of the result file; empty for none")
	flag.StringVar(&s.date, "date", time.Now().Format(time.DateOnly), "date of the result file")
	flag.Parse()
	if s.quick {
		host.Shorten(map[string]int{"rounds": 1, "millis": 200, "clients": 200, "rooms": 10_000, "sessions": 1000, "members": 10_000, "namespaces": 1000})
	}
	if err := run(s); err != nil {
		fmt.Fprintln(os.Stderr, "loops:", err)
		os.Exit(1)
	}
}

// parts are what can be measured, in the order in which it is.
var parts = []struct {
	name    string
	measure func(w io.Writer, s settings) error
}{
	{"memory", inMemory}, {"sockets", withSockets}, {"senders", manySenders}, {"rooms", manyRooms}, {"crowd", oneRoom}, {"namespaces", manyNamespaces},
}

func run(s settings) error {
	if s.rounds < 1 || s.millis < 1 || s.clients < 20 || s.clients%20 != 0 || min(s.rooms, s.sessions, s.members, s.namespaces) < 100 {
		return errors.New("at least one round of a millisecond, a multiple of 20 clients, and 100 of everything else")
	}
	wanted := map[string]bool{}
	for name := range strings.SplitSeq(s.parts, ",") {
		wanted[name] = true
	}
	var body bytes.Buffer
	w, began := io.MultiWriter(&body, os.Stdout), time.Now()
	for _, p := range parts {
		if !wanted[p.name] {
			continue
		}
		delete(wanted, p.name)
		if err := p.measure(w, s); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	for name := range wanted {
		return fmt.Errorf("there is no part %q", name)
	}
	head := heading(s, time.Since(began))
	fmt.Print("\n", head)
	if s.results == "" {
		return nil
	}
	name, err := host.Save(s.results, s.date+"-loops", append([]byte(head), body.Bytes()...))
	if err == nil {
		fmt.Fprintln(os.Stderr, "written to", filepath.Clean(name))
	}
	return err
}

// numbers parses a list of numbers of loops.
func numbers(list string) (all []int, err error) {
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 256 {
			return nil, fmt.Errorf("%q is no number of loops", text)
		}
		all = append(all, n)
	}
	return all, nil
}

// heading says what was run, where and how.
func heading(s settings, took time.Duration) string {
	return fmt.Sprintf("# go run ./bench/loops %s\n# %s, %.0f minutes; %s\n", strings.Join(os.Args[1:], " "), s.date, took.Minutes(), host.Machine()) + `#
# Real loops have clients in the same process: at the other ends of pairs of Unix sockets ("in memory"), or of TCP on loopback
# ("sockets"). Two threads are the clients; what they use is taken off, of CPU time and of switches. GOMAXPROCS is the number of
# loops, or of cores if that is more, and two for the clients. There may be more loops than cores: then what is done a second
# and how long a lock is waited for say little, since who holds a lock may not be running, and counts say what there is.
# "Lock waits" are from the mutex profile, of every wait that parked a goroutine or, of the runtime's own locks, a thread; "waited" is their sum
# by runtime/metrics. "Wakes" are writes to a loop's descriptor: by others, or by itself to go on with something; "turns" are
# waits for the poller that ended, "sends" are system calls that sent, "switches" are those of getrusage, voluntary or not.
# All are per 1,000 units of work. Medians of the rounds.
# Simulated loops (loop.Sim) are one goroutine, whose peers are buffers that are counted and dropped: everything above the
# system calls is the code that serves sockets. Memory is the live heap; what a peer takes in the simulation is in no figure.
`
}
