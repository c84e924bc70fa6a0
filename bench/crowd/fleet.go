package crowd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// A Fleet is crowds in processes of their own, for more clients than one has descriptors
// for. One goroutine uses it.
type Fleet struct{ workers []*worker }

type worker struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// opening is how long a fleet's clients may take to come, beyond what their rate says.
const opening = 2 * time.Minute

// Start has workers run, each a process that calls Work, and returns when all clients are
// in their rooms. Stop ends them, and so does the end of this process.
func Start(command []string, c Config, procs int) (f *Fleet, err error) {
	f = &Fleet{}
	defer func() {
		if err != nil {
			f.kill()
		}
	}()
	for i := range procs {
		own := c
		own.Clients, own.Rate = c.Clients*(i+1)/procs-c.Clients*i/procs, c.withDefaults().Rate/float64(procs)
		own.Name = fmt.Sprintf("%s%d", c.Name, i)
		w := &worker{cmd: exec.Command(command[0], command[1:]...)}
		w.cmd.Stderr = os.Stderr
		if w.in, err = w.cmd.StdinPipe(); err != nil {
			return f, err
		}
		out, err := w.cmd.StdoutPipe()
		if err != nil {
			return f, err
		}
		w.out = json.NewDecoder(out)
		if err := w.cmd.Start(); err != nil {
			return f, err
		}
		f.workers = append(f.workers, w)
		if err := json.NewEncoder(w.in).Encode(own); err != nil {
			return f, err
		}
	}
	_, err = f.reports() // that they have come
	return f, err
}

// reports takes a report of each worker.
func (f *Fleet) reports() (all Report, err error) {
	for _, w := range f.workers {
		var said struct {
			Report
			Error string
		}
		if err := w.out.Decode(&said); err != nil {
			return all, fmt.Errorf("crowd: a worker has ended: %w", err)
		}
		if said.Error != "" {
			return all, errors.New(said.Error)
		}
		all.Merge(said.Report)
	}
	return all, nil
}

func (f *Fleet) ask(what string) (Report, error) {
	for _, w := range f.workers {
		if _, err := io.WriteString(w.in, what+"\n"); err != nil {
			return Report{}, err
		}
	}
	return f.reports()
}

// Now is Crowd.Now of all.
func (f *Fleet) Now() (Report, error) { return f.ask("now") }

// Stop is Crowd.Stop of all.
func (f *Fleet) Stop() (Report, error) {
	r, err := f.ask("stop")
	for _, w := range f.workers {
		_ = w.in.Close()
		err = errors.Join(err, w.cmd.Wait())
	}
	return r, err
}

func (f *Fleet) kill() {
	for _, w := range f.workers {
		_ = w.cmd.Process.Kill()
		_ = w.cmd.Wait()
	}
}

// Work is what a worker does, over its standard input and output.
func Work(in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	first, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	var c Config
	if err := json.Unmarshal(first, &c); err != nil {
		return err
	}
	x, say := New(c), json.NewEncoder(out)
	ctx, done := context.WithTimeout(context.Background(), opening+time.Duration(float64(c.Clients)/x.c.Rate*float64(time.Second)))
	defer done()
	if err := x.Connect(ctx); err != nil {
		return errors.Join(err, say.Encode(map[string]string{"Error": err.Error()}))
	}
	if err := say.Encode(x.Now()); err != nil {
		return err
	}
	for {
		switch line, err := lines.ReadString('\n'); {
		case err != nil: // whoever wanted it is gone
			return nil
		case line == "stop\n":
			return say.Encode(x.Stop())
		default:
			if err := say.Encode(x.Now()); err != nil {
				return err
			}
		}
	}
}
