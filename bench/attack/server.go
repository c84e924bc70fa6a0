package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/sioedge/sioedge/bench/host"
)

// Programs are the paths of what is attacked.
type programs struct{ server, target string }

// build builds both into a directory.
func build(dir string) (programs, error) {
	cmd := exec.Command("go", "build", "-o", dir+"/", "github.com/sioedge/sioedge/cmd/sioedge", "github.com/sioedge/sioedge/bench/attack/target")
	if out, err := cmd.CombinedOutput(); err != nil {
		return programs{}, fmt.Errorf("%w: %s", err, out)
	}
	return programs{filepath.Join(dir, "sioedge"), filepath.Join(dir, "target")}, nil
}

// A process is a server that is attacked. It belongs to who started it.
type process struct {
	*exec.Cmd
	addr   string
	debug  string // empty: the server, which tells nothing
	broker string // where its Redis is
	twin   string // where the other one of its cluster is; empty: there is none

	mu         sync.Mutex // guards what follows
	lines, log int64      // lines and bytes that were written to the log
	causes     map[string]int
}

// held is what a process holds.
type held struct {
	bytes       int64 // of the heap, alive, and of stacks; of the server, which does not tell: resident
	resident    int64
	descriptors int
	goroutines  int
	sockets     int64
	counters    map[string]int64
}

// start starts the target, or the server with its defaults and its demonstration.
// few is how many descriptors it may have; 0: as many as this process.
func start(p programs, server bool, few uint64, args []string) (*process, error) {
	cmd := []string{p.target}
	if server {
		cmd = []string{p.server, "serve", "--demo", "--listen=127.0.0.1:0", "--log-format=json"}
	}
	cmd = append(cmd, args...)
	if few > 0 {
		cmd = append([]string{"prlimit", fmt.Sprintf("--nofile=%d", few)}, cmd...)
	}
	s := &process{Cmd: exec.Command(cmd[0], cmd[1:]...), causes: map[string]int{}}
	s.SysProcAttr = dependent()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.Stdout, s.Stderr = w, w
	err = s.Start()
	w.Close()
	if err != nil {
		r.Close()
		return nil, err
	}
	listening := make(chan string, 1)
	go s.read(r, listening) // ends with the process
	said, ok := <-listening
	if !ok {
		return nil, fmt.Errorf("%s did not start", strings.Join(cmd, " "))
	}
	s.addr, s.debug, _ = strings.Cut(said, " ")
	return s, nil
}

// read counts what the process writes.
func (s *process) read(r *os.File, listening chan<- string) {
	defer r.Close()
	defer close(listening)
	in := bufio.NewReaderSize(r, 1<<16)
	for first := true; ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if first {
			if addr, ok := listensAt(line); ok {
				listening <- addr
				first = false
			}
			continue
		}
		s.mu.Lock()
		s.lines++
		s.log += int64(len(line))
		if len(s.causes) < 100 {
			s.causes[cause(line)]++
		}
		s.mu.Unlock()
	}
}

// listensAt finds the address in a line of either program that says so.
func listensAt(line string) (string, bool) {
	if rest, ok := strings.CutPrefix(line, "listening "); ok {
		return strings.TrimSpace(rest), true
	}
	var said struct{ Msg, Address string }
	if json.Unmarshal([]byte(line), &said) != nil || said.Msg != "listening" {
		return "", false
	}
	return said.Address, true
}

// cause is what a line of the log says without its values.
func cause(line string) string {
	var said struct{ Msg, Flag string }
	if json.Unmarshal([]byte(line), &said) != nil {
		return line[:min(len(line), 100)]
	}
	return strings.TrimSpace(said.Msg + " " + said.Flag)
}

// logged returns how much was written to the log since it was last called, and the
// causes.
func (s *process) logged() (lines, bytes int64, causes string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for c, n := range s.causes {
		all = append(all, fmt.Sprintf("%d× %s", n, c))
	}
	slices.Sort(all)
	lines, bytes = s.lines, s.log
	s.lines, s.log, s.causes = 0, 0, map[string]int{}
	return lines, bytes, strings.Join(all, "; ")
}

// hold returns what the process holds now.
func (s *process) hold() (h held, err error) {
	if s.debug != "" {
		res, err := http.Get("http://" + s.debug)
		if err != nil {
			return h, err
		}
		defer res.Body.Close()
		var told struct {
			Bytes, Sockets int64
			Goroutines     int
			Server         any
		}
		if err := json.NewDecoder(res.Body).Decode(&told); err != nil {
			return h, err
		}
		h = held{bytes: told.Bytes, sockets: told.Sockets, goroutines: told.Goroutines, counters: map[string]int64{}}
		flatten(h.counters, "", told.Server)
	}
	if h.resident, err = host.Resident(s.Process.Pid); err != nil {
		return h, err
	}
	if s.debug == "" {
		h.bytes = h.resident
	}
	h.descriptors, err = descriptors(s.Process.Pid)
	return h, err
}

// descriptors counts those of a process but for pollers, of which a loop that rests has two.
func descriptors(pid int) (n int, err error) {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd/"
	all, err := os.ReadDir(dir)
	for _, f := range all {
		if to, _ := os.Readlink(dir + f.Name()); to != "anon_inode:[eventpoll]" {
			n++
		}
	}
	return n, err
}

// flatten collects the numbers in v by their names.
func flatten(into map[string]int64, name string, v any) {
	switch v := v.(type) {
	case float64:
		into[name] += int64(v)
	case []any:
		for i, e := range v {
			flatten(into, fmt.Sprintf("%s[%d]", name, i), e)
		}
	case map[string]any:
		for k, e := range v {
			if k != "Directory" { // gauges, whose names are those of counters
				flatten(into, k, e)
			}
		}
	}
}

// traffic are counters that tell of no refusal, and gauges.
var traffic = []string{
	"Accepted", "Open", "Closed", "Moved", "BytesIn", "BytesOut", "Writes", "Away", "MailWaits", "Wakes", "Queued", "Held", "Entries", "Mail", "MailBytes", "Deferred",
	"Ended", "Handler", "Failed", // of loop's closes
	"Polling", "WebSocket", "Polling3", "WebSocket3", "Upgraded", "Probed", "Probing", "TransportClose", "TransportError", "PingTimeout", "ParseError", "ForcedClose",
	"Pauses", "Polls", "Bodies", "Unacked", "Apart", "Accounts",
	"Sockets", "Instances", "Events", "Emits", "Joins", "Tasks", "LeftBehind", "Broadcasts", "Bytes", "Tunnels", "Tunnelled", "Forwarded",
	"Members", "Sets", "Leaves", "Runs", "Visited", "Deflated", "DeflatedFrom", "DeflatedTo", "Inflated",
}

// beyond returns the names and growth of the counters that say what was refused.
func (h held) beyond(before held) string {
	var all []string
	for name, n := range h.counters {
		if d := n - before.counters[name]; d > 0 && !slices.Contains(traffic, name) {
			all = append(all, fmt.Sprintf("%s %d", name, d))
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// stop ends the process.
func (s *process) stop() {
	if s == nil || reflect.ValueOf(s.Process).IsNil() {
		return
	}
	_ = s.Process.Kill()
	_ = s.Wait()
}
