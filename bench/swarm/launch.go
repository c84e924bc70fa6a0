package swarm

import (
	"fmt"
	"io"
	"os"
	"os/exec"
)

// A Launcher starts worker index.
type Launcher func(index int) (*Process, error)

// A Process is a running worker. It ends by itself when In is closed.
type Process struct {
	In   io.WriteCloser // commands to it
	Out  io.ReadCloser  // events from it
	Wait func() error   // returns when it has ended; called once, after Out's end
	Kill func()         // ends it at once; may be called at any time
}

// Exec launches workers as processes: path with args must call Worker on its
// standard input and output. Their standard error is this process's.
func Exec(path string, args ...string) Launcher {
	return func(int) (*Process, error) {
		cmd := exec.Command(path, args...)
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, fmt.Errorf("swarm: worker: %w", err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, fmt.Errorf("swarm: worker: %w", err)
		}
		if err := cmd.Start(); err != nil {
			return nil, fmt.Errorf("swarm: worker: %w", err)
		}
		return &Process{In: in, Out: out, Wait: cmd.Wait, Kill: func() { _ = cmd.Process.Kill() }}, nil
	}
}

// Goroutines launches workers as goroutines of this process, for tests and
// small loads: they share its descriptor limit.
func Goroutines() Launcher {
	return func(int) (*Process, error) {
		inR, inW, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("swarm: worker: %w", err)
		}
		outR, outW, err := os.Pipe()
		if err != nil {
			inR.Close()
			inW.Close()
			return nil, fmt.Errorf("swarm: worker: %w", err)
		}
		done := make(chan error, 1)
		// ends when told to quit or when inW is closed
		go func() {
			err := Worker(inR, outW)
			inR.Close()
			outW.Close()
			done <- err
		}()
		return &Process{In: inW, Out: outR, Wait: func() error { return <-done }, Kill: func() { inW.Close() }}, nil
	}
}
