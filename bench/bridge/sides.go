package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/sioedge/sioedge/bench/client"
	"github.com/sioedge/sioedge/bench/host"
	"github.com/sioedge/sioedge/bench/swarm"
)

// A side is a way to run the application.
type side struct {
	name    string
	bridged bool // behind an edge
}

func sides() []side { return []side{{"node", false}, {"node behind sioedge", true}} }

// bridgeKey opens the edge to the application.
const bridgeKey = "a-key-of-the-benchmarks-of-32-bytes-and-more"

// A setting is the application that runs, with what is before it. It belongs to who
// started it.
type setting struct {
	app, edge *host.Server // edge is nil where there is none
	addr      string       // of clients
}

// start starts a side, and returns when a client has got an answer.
func start(v side) (s setting, err error) {
	defer func() {
		if err != nil {
			s.end()
		}
	}()
	app := []string{"node", "--expose-gc", filepath.Join("bench", "peers", "node", "server.js"), "--measured"}
	if v.bridged {
		internal, err := freePlace()
		if err != nil {
			return s, err
		}
		if s.edge, err = host.Start("sioedge", []string{"env", "INTERNAL=" + internal, "KEY=" + bridgeKey,
			filepath.Join("bin", "sioedge"), "serve", "--config", filepath.Join("bench", "bridge", "edge.yaml"), "--log-format", "text"}); err != nil {
			return s, err
		}
		s.addr = s.edge.Addr
		app = append(app, "--bridge", "http://"+internal, "--key", bridgeKey)
	}
	if s.app, err = host.Start("the application", app); err != nil {
		return s, err
	}
	if !v.bridged {
		s.addr = s.app.Addr
	}
	// Behind the edge this waits until the application is linked.
	_, err = s.memory()
	return s, err
}

func (s setting) end() {
	s.app.Kill()
	s.edge.Kill()
	time.Sleep(500 * time.Millisecond) // the kernel frees the sockets
}

// pids are the application's process, and the edge's if there is one.
func (s setting) pids() []int {
	all := []int{s.app.Process.Pid}
	if s.edge != nil {
		all = append(all, s.edge.Process.Pid)
	}
	return all
}

// A use is what the two have used so far.
type use struct{ app, edge host.CPU }

func (s setting) use() (u use, err error) {
	u.app, err = host.CPUOf(s.app.Process.Pid)
	if s.edge != nil {
		var err2 error
		u.edge, err2 = host.CPUOf(s.edge.Process.Pid)
		err = errors.Join(err, err2)
	}
	return u, err
}

// since is what they have used for each of n units, as a figure.
func (u use) since(before use, n float64) (figure, error) {
	if n <= 0 {
		return figure{}, errors.New("nothing was done")
	}
	app, edge := u.app.Since(before.app), u.edge.Since(before.edge)
	µs := func(d time.Duration) float64 { return float64(d) / 1e3 / n }
	return figure{app: µs(app.Total()), user: µs(app.User), edge: µs(edge.Total())}, nil
}

// quiet waits until both have done what they have to: use next to nothing.
func (s setting) quiet() error {
	const look, little = 200 * time.Millisecond, 10 * time.Millisecond
	before, err := s.use()
	for end := time.Now().Add(client.Patience); err == nil && time.Now().Before(end); {
		time.Sleep(look)
		var now use
		if now, err = s.use(); err == nil && now.app.Since(before.app).Total()+now.edge.Since(before.edge).Total() < little {
			return nil
		}
		before = now
	}
	return errors.Join(err, errors.New("the servers do not come to rest"))
}

// config aims the load generator. Its report has the application's use, then the edge's.
func (s setting) config(c swarm.Config) swarm.Config {
	c.URL, c.PIDs, c.BusyPoll = "ws://"+s.addr, s.pids(), true
	return c
}

// launch starts the load generator's processes.
var launch = swarm.Exec(filepath.Join("bin", "sioload"), "run-worker")

// freePlace returns a place of 127.0.0.1 where nobody listens.
func freePlace() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("no free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}
