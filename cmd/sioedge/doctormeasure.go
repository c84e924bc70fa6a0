package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/capacity"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/trial"
)

// measured are the costs of this machine, as far as servers of this program can be
// measured in a moment. They listen on loopback alone, and end with ctx.
func measured(ctx context.Context, program string) (capacity.Costs, error) {
	return trial.Measure(func(args ...string) (*trial.Server, error) {
		return startTrial(ctx, program, append([]string{"serve", "--internal-listen", "", "--log-format", "json", "--drain", "1s", "--drain-delay", "0s"}, args...))
	}, capacity.Measured)
}

// startTrial starts a server and returns when it listens. Nothing of this process's
// environment is a setting of it.
func startTrial(ctx context.Context, program string, args []string) (*trial.Server, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{}
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = in, in
	err = cmd.Start()
	in.Close()
	if err != nil {
		out.Close()
		return nil, err
	}
	end := func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		out.Close()
	}
	late := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	said := "nothing"
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var line struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			// ends with the server
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return &trial.Server{Addr: line.Address, PID: cmd.Process.Pid, End: end}, nil
		}
		said = lines.Text()
	}
	end()
	return nil, fmt.Errorf("a server to be measured did not start; it said %.200q", said)
}
