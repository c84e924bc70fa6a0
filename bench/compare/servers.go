package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A server is something to measure. It prints an address of 127.0.0.1.
type server struct {
	name     string
	cmd      []string
	recovery []string // added to cmd where connection state recovery matters
	protocol string   // of the load generator; empty for Socket.IO
	extra    bool     // takes part only in the trials that name it
	like     string   // takes part, and has its turns, where the server of this name does; empty: as extra says
	most     int      // connections it is given; zero: as many as asked for
	rate     int      // connections a second it is given
	build    func(*server) error
	missing  string // why it is not there
}

var out = filepath.Join("bin", "bench")

// Names that the trials know.
const (
	ourselves = "sioedge"
	oneLoop   = "sioedge 1 loop"
	limit     = "C send" // a bare loop, which can do nothing but broadcast
)

// allServers are ourselves, the limits, and the peers.
func allServers() []*server {
	node := filepath.Join("bench", "peers", "node", "server.js")
	eiows := filepath.Join("bench", "peers", "eiows", "node_modules", "eiows")
	serve := []string{"bin/sioedge", "serve", "--demo", "--listen", "127.0.0.1:0", "--log-format", "text", "--recovery", "2m"}
	return []*server{
		{name: ourselves, cmd: serve, rate: 4000, build: buildOurselves},
		{name: oneLoop, cmd: append(slices.Clone(serve), "--loops", "1"), extra: true, rate: 4000, build: buildOurselves},
		{name: limit, cmd: []string{filepath.Join(out, "sendloop-c"), "0"}, extra: true, rate: 4000, build: buildC},
		{name: limit + " 2 threads", cmd: []string{filepath.Join(out, "sendloop-c"), "0", "2"}, extra: true, rate: 4000, build: buildC},
		{name: "Go send", cmd: []string{filepath.Join(out, "sendloop-go"), "0"}, extra: true, rate: 4000, build: func(*server) error {
			return goBuild(".", "sendloop-go", "./bench/sendloop")
		}},
		{name: "node", cmd: []string{"node", node}, recovery: []string{"--recovery"}, rate: 2500, build: buildNode},
		{name: "node-eiows", cmd: []string{"node", node, "--eiows", eiows}, recovery: []string{"--recovery"}, rate: 2500, build: buildEiows},
		{name: "zishang", cmd: []string{filepath.Join(out, "zishang")}, recovery: []string{"-recovery"}, rate: 2000, most: 5000, build: buildPeer},
		{name: "gorilla", cmd: []string{filepath.Join(out, "gorilla")}, rate: 3000, build: buildPeer},
		{name: "centrifuge", cmd: []string{filepath.Join(out, "centrifuge")}, protocol: "centrifuge", rate: 3000, build: buildPeer},
		{name: "uwebsockets", cmd: []string{filepath.Join(out, "uwebsockets")}, rate: 4000, build: findBuilt},
	}
}

// before are ourselves as of an earlier revision, to be measured in the same run.
func before(revision string) []*server {
	name := "before"
	build := func(*server) error { return buildRevision(revision, name) }
	var all []*server
	for _, now := range allServers()[:2] {
		v := *now
		v.name = strings.Replace(now.name, ourselves, name, 1)
		v.cmd = append([]string{filepath.Join(out, name)}, now.cmd[1:]...)
		v.like, v.build = now.name, build
		all = append(all, &v)
	}
	return all
}

// buildRevision builds the server of a revision from a tree of its own.
func buildRevision(revision, name string) error {
	bin, err := filepath.Abs(filepath.Join(out, name))
	if err != nil {
		return err
	}
	tree, err := os.MkdirTemp("", "sioedge-before")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tree)
	archive := filepath.Join(tree, "tree.tar")
	if err := runIn(".", time.Minute, "git", "archive", "--output", archive, revision); err != nil {
		return err
	}
	if err := runIn(tree, time.Minute, "tar", "-xf", archive); err != nil {
		return err
	}
	// The browser client's files are no part of the tree.
	files, _ := filepath.Glob(filepath.Join("cmd", "sioedge", "client", "*.js*"))
	for _, from := range files {
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(tree, from), b, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return runIn(tree, 5*time.Minute, "go", "build", "-trimpath", "-o", bin, "./cmd/sioedge")
}

// build builds the servers and the load generator. Only without the last, or
// without any server, there is nothing to measure.
func build(servers []*server) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if err := runIn(".", time.Minute*5, "go", "build", "-trimpath", "-o", "bin/", "./cmd/sioload"); err != nil {
		return err
	}
	there := 0
	for _, v := range servers {
		fmt.Fprintln(os.Stderr, "building", v.name)
		if err := v.build(v); err != nil {
			v.missing = err.Error()
			fmt.Fprintf(os.Stderr, "no %s: %s\n", v.name, v.missing)
			continue
		}
		there++
	}
	if there == 0 {
		return errors.New("no server could be built")
	}
	return nil
}

func buildOurselves(*server) error {
	return runIn(".", 5*time.Minute, "go", "build", "-trimpath", "-o", "bin/", "./cmd/sioedge")
}

func buildC(*server) error {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return errors.New("no gcc")
	}
	return runIn(".", time.Minute, gcc, "-O2", "-pthread", "-o", filepath.Join(out, "sendloop-c"), filepath.Join("bench", "sendloop", "sendloop.c"))
}

// buildPeer builds the module that has the server's name.
func buildPeer(v *server) error { return goBuild(filepath.Join("bench", "peers", v.name), v.name, ".") }

func goBuild(dir, name, pkg string) error {
	bin, err := filepath.Abs(filepath.Join(out, name))
	if err != nil {
		return err
	}
	return runIn(dir, 10*time.Minute, "go", "build", "-o", bin, pkg)
}

func buildNode(*server) error {
	dir := filepath.Join("bench", "peers", "node")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "socket.io")); err == nil {
		return nil
	}
	return runIn(dir, 5*time.Minute, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
}

// buildEiows compiles eiows, which fetches Node's own sources for that.
func buildEiows(v *server) error {
	if err := buildNode(v); err != nil {
		return err
	}
	dir := filepath.Join("bench", "peers", "eiows")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "eiows")); err != nil {
		if err := runIn(dir, 15*time.Minute, "npm", "ci", "--no-audit", "--no-fund"); err != nil {
			return err
		}
	}
	return runIn(dir, time.Minute, "node", "-e", `require("eiows")`)
}

// findBuilt takes what somebody has put there.
func findBuilt(v *server) error {
	if _, err := os.Stat(v.cmd[0]); err != nil {
		return fmt.Errorf("%s is not there; see bench/peers/README.md", v.cmd[0])
	}
	return nil
}

// runIn runs a command; its error is the line of the output that says most.
func runIn(dir string, limit time.Duration, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = dir
	output, err := c.CombinedOutput()
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w: %s", name, args[0], err, telling(output))
}

// telling is the first line with an error in it, else the last one.
func telling(output []byte) string {
	last := ""
	for line := range bytes.SplitSeq(output, []byte("\n")) {
		s := strings.TrimSpace(string(line))
		if strings.Contains(s, "fatal:") || strings.HasPrefix(s, "Error:") {
			return s
		}
		if s != "" && !strings.Contains(s, "complete log") {
			last = s
		}
	}
	return last
}
