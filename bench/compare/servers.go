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
	path     string   // of its WebSockets; empty for the protocol's own
	app      []string // an application beside it, started first; {app} in cmd is its address
	extra    bool     // takes part only in the trials that name it
	near     bool     // to the limit, or it: has two turns where ratios count
	brief    bool     // takes part in a quick run
	like     string   // takes part, and has its turns, where the server of this name does; empty: as extra says
	most     int      // connections it is given; zero: as many as asked for
	rate     int      // connections a second it is given
	build    func(*server) error
	missing  string // why it is not there
}

var out = filepath.Join("bin", "bench")

// Names that the trials know.
const (
	ourselves  = "sioedge"
	oneLoop    = "sioedge 1 loop"
	limit      = "C" // a bare loop: bench/sendloop
	twoThreads = "C 2 threads"
	goSend     = "Go send" // the same, of broadcasts alone
	library    = "library"
	tuned      = "library tuned"

	declared = "sioedge declared" // what declarations do, for clients with tokens
	nodeJWT  = "node, tokens"     // an application that does the same
	fugo     = "centrifugo"

	hooked    = "sioedge webhook" // what an application behind it does
	fugoProxy = "centrifugo proxy"
	withAPI   = "sioedge API"
	byStream  = "sioedge stream"
	withRedis = "sioedge Redis"
)

// secret is what clients' tokens, and webhooks, are signed with, and a key of APIs.
const secret = "a secret of the benchmarks, of 32 bytes and more"

// Places in commands, for what is known when they run.
const (
	appPlace      = "{app}"      // host:port of the application
	internalPlace = "{internal}" // host:port where nobody listens
	portPlace     = "{port}"     // the port of such a place
)

// redis runs a Redis that keeps nothing, and says when it answers.
const redis = `{ until redis-cli -p $0 ping; do sleep 0.05; done >/dev/null 2>&1; echo listening on 127.0.0.1:$0; } &
exec redis-server --port $0 --bind 127.0.0.1 --save '' --appendonly no`

// allServers are ourselves, the limits, and the peers.
func allServers() []*server {
	serve := []string{"bin/sioedge", "serve", "--demo", "--listen", "127.0.0.1:0", "--log-format", "text", "--recovery", "2m"}
	bare := []string{filepath.Join(out, "sendloop-c"), "0"}
	program := []string{filepath.Join(out, "library")}
	buildLibrary := func(*server) error { return goBuild(".", "library", "./bench/library") }
	return slices.Concat([]*server{
		{name: ourselves, brief: true, cmd: serve, near: true, rate: 4000, build: buildOurselves},
		{name: oneLoop, cmd: append(slices.Clone(serve), "--loops", "1"), extra: true, near: true, rate: 4000, build: buildOurselves},
		{name: library, brief: true, cmd: program, extra: true, near: true, rate: 4000, build: buildLibrary},
		{name: tuned, cmd: append(slices.Clone(program), "-tune"), extra: true, rate: 4000, build: buildLibrary},
		{name: limit, brief: true, cmd: bare, extra: true, near: true, rate: 4000, build: buildC},
		{name: twoThreads, cmd: append(slices.Clone(bare), "2"), extra: true, rate: 4000, build: buildC},
		{name: goSend, cmd: []string{filepath.Join(out, "sendloop-go"), "0"}, extra: true, rate: 4000, build: func(*server) error {
			return goBuild(".", "sendloop-go", "./bench/sendloop")
		}},
	}, peers(), []*server{
		{name: declared, brief: true, cmd: []string{"bin/sioedge", "serve", "--config", filepath.Join("bench", "compare", "edge.yaml"), "--listen", "127.0.0.1:0",
			"--log-format", "text", "--jwt-secret", secret, "--recovery", "2m"}, extra: true, rate: 4000, build: buildOurselves},
		{name: nodeJWT, cmd: []string{"node", nodeServer, "--tokens", secret}, extra: true, rate: 2500, build: buildNode},
		{name: fugo, cmd: centrifugo("CENTRIFUGO_HTTP_API_KEY=" + secret), extra: true,
			protocol: "centrifuge", path: fugoPath, rate: 3000, build: buildCentrifugo},
	}, withApplications())
}

// withApplications are the servers that have an application beside them, or are one's.
func withApplications() []*server {
	app := []string{"node", filepath.Join("bench", "peers", "node", "backend.js"), secret}
	serve := []string{"bin/sioedge", "serve", "--listen", "127.0.0.1:0", "--log-format", "text"}
	with := func(more ...string) []string { return append(slices.Clone(serve), more...) }
	listens := with("--api-key", secret, "--internal-listen", internalPlace)
	buildBoth := func(v *server) error { return errors.Join(buildOurselves(v), buildNode(v)) }
	return []*server{
		{name: hooked, brief: true, cmd: with("--config", filepath.Join("bench", "compare", "webhook.yaml"), "--webhook-url", "http://"+appPlace+"/sio",
			"--webhook-secret", secret, "--webhook-timeout", "10s"), app: app, extra: true, rate: 4000, build: buildBoth},
		// It asks for one client's events one after the other, and keeps 255 connections.
		{name: fugoProxy, cmd: centrifugo("CENTRIFUGO_RPC_PROXY_ENDPOINT=http://"+appPlace+"/rpc", "CENTRIFUGO_RPC_PROXY_TIMEOUT=10s", "CENTRIFUGO_RPC_WITHOUT_NAMESPACE_PROXY_ENABLED=true"), app: app, extra: true,
			protocol: "centrifuge", path: fugoPath, rate: 3000, most: 250, build: func(v *server) error {
				return errors.Join(buildCentrifugo(v), buildNode(v))
			}},
		{name: withAPI, brief: true, cmd: listens, extra: true, build: buildOurselves},
		{name: byStream, cmd: listens, extra: true, build: buildOurselves},
		{name: withRedis, cmd: with("--adapter", "redis://"+appPlace), app: []string{"sh", "-c", redis, portPlace}, extra: true, build: buildBoth},
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

func goBuild(dir, name, pkg string) error {
	bin, err := filepath.Abs(filepath.Join(out, name))
	if err != nil {
		return err
	}
	return runIn(dir, 10*time.Minute, "go", "build", "-o", bin, pkg)
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
