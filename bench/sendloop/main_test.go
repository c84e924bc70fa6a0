//go:build linux

package main

import (
	"bufio"
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

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

func TestC(t *testing.T) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc")
	}
	bin := filepath.Join(t.TempDir(), "sendloop")
	if out, err := exec.Command(gcc, "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", bin, "sendloop.c").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	for _, threads := range []string{"1", "2"} {
		t.Run("threads="+threads, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), bin, "0", threads) // killed with the test
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			}()
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			check(t, "ws://"+strings.TrimSpace(strings.TrimPrefix(line, "listening on ")))
		})
	}
}
