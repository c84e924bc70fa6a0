package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// A part is another benchmark of this tree, which has servers and tables of its own.
type part struct {
	name  string
	cmd   []string
	brief bool // in -quick too
}

// parts are what comes after the trials.
func parts(s settings) []part {
	some := func(all int) string {
		if s.quick {
			all /= 10
		}
		return strconv.Itoa(all)
	}
	return []part{
		{"edge: TLS", []string{"go", "run", "./bench/tls", "-conns", some(1000), "-deliveries", some(200_000), "-echoes", some(100_000), "-handshakes", some(2000)}, true},
		{"edge: bridge", []string{"go", "run", "./bench/bridge", "-results", "", "-rounds", strconv.Itoa(s.rounds), "-seconds", strconv.Itoa(s.seconds),
			"-clients", strconv.Itoa(min(s.clients, 5000)), "-members", strconv.Itoa(s.clients)}, false},
	}
}

// take runs a part and writes what it prints.
func (p part) take(w io.Writer) {
	fmt.Fprintln(os.Stderr, strings.Join(p.cmd, " "))
	cmd := exec.Command(p.cmd[0], p.cmd[1:]...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, os.Stderr
	err := cmd.Run()
	fmt.Fprintf(w, "\n%s: %s\n\n%s\n", p.name, strings.Join(p.cmd, " "), bytes.TrimSpace(said.Bytes()))
	if err != nil {
		fmt.Fprintf(w, "failed: %v\n", err)
	}
}

// chosen tells whether a scenario takes part: one that was asked for by the beginning of
// its name, or else any that is not too long for a quick run.
func (s settings) chosen(name string, brief bool) bool {
	if len(s.only) == 0 {
		return brief || !s.quick
	}
	return slices.ContainsFunc(s.only, func(p string) bool { return strings.HasPrefix(name, p) })
}

// serves is the same of a server, by its whole name.
func (s settings) serves(v *server) bool {
	if len(s.peers) == 0 {
		return v.brief || !s.quick
	}
	return slices.Contains(s.peers, v.name)
}
