//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/bench/client"
	"github.com/sioedge/sioedge/bench/swarm"
)

// check runs the scenarios that sendloop answers to.
func check(t *testing.T, url string) {
	t.Helper()
	for _, cfg := range []swarm.Config{
		{Scenario: swarm.Idle, Clients: 10, Duration: 50 * time.Millisecond},
		{Scenario: swarm.Broadcast, Clients: 50, Messages: 20},
		{Scenario: swarm.Broadcast, Clients: 50, Messages: 20, Inflight: 8, Namespace: "/chat", Procs: 2},
		{Scenario: swarm.Broadcast, Clients: 3, Messages: 5, Size: 300_000},
	} {
		cfg.URL, cfg.Timeout, cfg.Rate = url, time.Minute, 1e5
		rep, err := swarm.Run(t.Context(), cfg, swarm.Goroutines(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := uint64(cfg.Messages * cfg.Clients); !rep.OK || rep.Total.Delivered != want {
			t.Errorf("%s to %d clients: delivered %d, want %d; %q %v", cfg.Scenario, cfg.Clients, rep.Total.Delivered, want, rep.Problems, rep.Errors)
		}
	}
}

func TestGo(t *testing.T) {
	s, err := listen(0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- s.run(ctx) }() // ends with ctx
	check(t, "ws://127.0.0.1:"+strconv.Itoa(s.port))
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// buildC compiles sendloop.c, and returns the program.
func buildC(t *testing.T) string {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc")
	}
	bin := filepath.Join(t.TempDir(), "sendloop")
	if out, err := exec.Command(gcc, "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", bin, "sendloop.c").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return bin
}

// startC starts a program that ends with the test, and returns its address.
func startC(t *testing.T, bin string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin, append([]string{"0"}, args...)...) // killed with the test
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
}

func TestC(t *testing.T) {
	bin := buildC(t)
	for _, threads := range []string{"1", "2"} {
		t.Run("threads="+threads, func(t *testing.T) { check(t, "ws://"+startC(t, bin, threads)) })
	}
}

// Of main.go nothing but a broadcast is asked.
func TestCAnswersAsServersDo(t *testing.T) {
	url := "ws://" + startC(t, buildC(t))
	for _, cfg := range []swarm.Config{
		{Scenario: swarm.Echo, Clients: 20, Messages: 1000, Inflight: 4},
		{Scenario: swarm.Echo, Clients: 3, Messages: 20, Size: 300_000, Namespace: "/chat1"},
		{Scenario: swarm.Rooms, Clients: 40, Rooms: 4, Publishers: 8, Messages: 200, Procs: 2},
		{Scenario: swarm.Rooms, Clients: 30, Rooms: 3, Publishers: 3, Messages: 50, OwnRoom: true, Namespace: "/chat"},
		{Scenario: swarm.Churn, Clients: 20, Messages: 100},
	} {
		cfg.URL, cfg.Timeout, cfg.Rate = url, time.Minute, 1e5
		rep, err := swarm.Run(t.Context(), cfg, swarm.Goroutines(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !rep.OK || rep.Total.Delivered < uint64(cfg.Messages) {
			t.Errorf("%s: delivered %d of %d messages; %q %v", cfg.Scenario, rep.Total.Delivered, cfg.Messages, rep.Problems, rep.Errors)
		}
	}
	ask := func(send, want string) {
		t.Helper()
		c, err := client.Dial(strings.TrimPrefix(url, "ws://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, packet := range strings.Split(send, "\n") {
			if err := c.Send(packet); err != nil {
				t.Fatal(err)
			}
		}
		for _, packet := range strings.Split(want, "\n") {
			if err := c.Await(packet); err != nil {
				t.Errorf("%q was answered to %q: %v", packet, send, err)
			}
		}
	}
	ask(`4217["echo","a",[1],{"b":2}]`, `4317["a",[1],{"b":2}]`)
	ask(`421["echo"]`, `431[]`)
	ask(`42["echo","nobody asks"]`+"\n"+`422["join","r"]`, `432[true]`)
	ask(`421["join","r"]`+"\n"+`422["publish","r","to","me"]`, "431[true]\n"+`42["msg","to","me"]`+"\n432[true]")
	ask(`421["join","r"]`+"\n"+`422["leave","r"]`+"\n"+`42["publish","r",1]`+"\n"+`423["echo"]`, "431[true]\n432[true]\n433[]")
}

func TestCPingsAndWantsPongs(t *testing.T) {
	addr := startC(t, buildC(t), "1", "1000")
	silent, err := client.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	cfg := swarm.Config{Scenario: swarm.Idle, Clients: 50, Duration: 4 * time.Second, URL: "ws://" + addr}
	rep, err := swarm.Run(t.Context(), cfg, swarm.Goroutines(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !rep.OK || rep.Total.Pings < 50 {
		t.Errorf("%d pings to 50 clients in 4 s; %q %v", rep.Total.Pings, rep.Problems, rep.Errors)
	}
	if err := silent.Listen(func([]byte) {}); !errors.Is(err, io.EOF) { // it has not been read from, so that it answered no ping
		t.Errorf("who sends no pong: %v, want its end", err)
	}
}
