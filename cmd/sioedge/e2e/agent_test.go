//go:build interop

package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait for something that must happen.
const patience = 30 * time.Second

// Kinds of clients: those of npm by their major version, and that of Python.
const py = "python"

var kinds = []string{"4", "3", "2", py}

// An agent is a process with clients of some kinds, as a test sees it.
type agent struct {
	t *testing.T
	*talk
}

// A talk is what is said to a process, and by it.
type talk struct {
	in io.Writer

	mu      sync.Mutex
	next    int
	answers map[int]chan answer
	clients map[string]*client
}

type answer struct {
	Result json.RawMessage
	Error  string
}

// One process for all npm clients, and one for Python's, which end with this one.
var (
	npm    = sync.OnceValues(func() (*talk, error) { return startAgent("node", "agent.mjs") })
	python = sync.OnceValues(func() (*talk, error) { return startAgent("/usr/bin/python3", "agent.py") })
)

// startAgent starts a process, which ends when its input does.
func startAgent(program ...string) (*talk, error) {
	a := &talk{answers: map[int]chan answer{}, clients: map[string]*client{}}
	cmd := exec.Command(program[0], program[1:]...)
	if program[0] == "node" {
		cmd.Stderr = os.Stderr // Python's says what it has not closed when it ends
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if a.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	// ends with the process
	go a.read(out)
	return a, cmd.Start()
}

// agents are the processes as a test sees them.
type agents struct{ t *testing.T }

func (x *agents) of(kind string) *agent {
	x.t.Helper()
	start := npm
	if kind == py {
		start = python
	}
	a, err := start()
	if err != nil {
		x.t.Fatal(err)
	}
	return &agent{x.t, a}
}

// A sight is what a client has seen.
type sight struct {
	C, On, Sid, Reason, Text, Event string
	ID, Code                        int
	Recovered                       bool
	Args                            []json.RawMessage
	Error                           json.RawMessage
	Result                          json.RawMessage
}

func (a *talk) read(r io.Reader) {
	lines := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var s sight
		if err := json.Unmarshal(line, &s); err != nil {
			fmt.Fprintf(os.Stderr, "an agent says %q: %v\n", line, err)
			continue
		}
		a.mu.Lock()
		if s.C != "" {
			if c := a.clients[s.C]; c != nil {
				c.see(s)
			}
		} else if ch := a.answers[s.ID]; ch != nil {
			delete(a.answers, s.ID)
			text := ""
			_ = json.Unmarshal(s.Error, &text)
			ch <- answer{s.Result, text}
		}
		a.mu.Unlock()
	}
}

// do has the agent do something, and returns what comes of it.
func (a *talk) do(op string, args map[string]any) (json.RawMessage, error) {
	ch := make(chan answer, 1)
	a.mu.Lock()
	a.next++
	id := a.next
	a.answers[id] = ch
	line := map[string]any{"id": id, "op": op}
	for k, v := range args {
		line[k] = v
	}
	text, err := json.Marshal(line)
	if err == nil {
		_, err = a.in.Write(append(text, '\n'))
	}
	a.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case x := <-ch:
		if x.Error != "" {
			return nil, fmt.Errorf("%s: %s", op, x.Error)
		}
		return x.Result, nil
	case <-time.After(patience):
		return nil, fmt.Errorf("%s: no answer of the agent", op)
	}
}

func (a *agent) must(op string, args map[string]any) json.RawMessage {
	a.t.Helper()
	r, err := a.do(op, args)
	if err != nil {
		a.t.Fatal(err)
	}
	return r
}

// A client is a socket of one of the kinds.
type client struct {
	a    *agent
	kind string
	name string
	sid  string

	mu    sync.Mutex
	seen  []sight
	fresh chan struct{} // there is something new
}

func (c *client) see(s sight) {
	c.mu.Lock()
	c.seen = append(c.seen, s)
	c.mu.Unlock()
	select {
	case c.fresh <- struct{}{}:
	default:
	}
}

// options of a client, beside its kind.
type options struct {
	auth       any
	headers    map[string]string
	query      map[string]string
	transports []string
	on         *client // whose connection is used
	recover    bool    // it comes back by itself
	tls        map[string]any
}

// dial begins to connect a client.
func (x *agents) dial(kind, url, namespace string, o options) *client {
	x.t.Helper()
	a := x.of(kind)
	a.mu.Lock()
	c := &client{a: a, kind: kind, name: fmt.Sprintf("%s of %s, number %d", kind, namespace, len(a.clients)), fresh: make(chan struct{}, 1)}
	a.clients[c.name] = c
	a.mu.Unlock()
	args := map[string]any{"c": c.name, "version": kind, "url": url, "namespace": namespace, "auth": o.auth, "recover": o.recover}
	if o.headers != nil {
		args["headers"] = o.headers
	}
	if o.query != nil {
		args["query"] = o.query
	}
	if o.transports != nil {
		args["transports"] = o.transports
	}
	if o.tls != nil {
		args["tls"] = o.tls
	}
	if o.on != nil {
		args["on"] = o.on.name
	}
	a.must("connect", args)
	return c
}

// enter connects a client, which must be admitted.
func (x *agents) enter(kind, url, namespace string, o options) *client {
	x.t.Helper()
	c := x.dial(kind, url, namespace, o)
	c.connected()
	return c
}

// bearer are options of a client with a token: clients of Socket.IO 2 have no auth.
func bearer(kind, token string) options {
	if kind == "2" {
		return options{query: map[string]string{"access_token": token}}
	}
	return options{auth: map[string]string{"token": token}}
}

// await takes the first of what the client has seen for which ok.
func (c *client) await(what string, ok func(s *sight) bool) sight {
	c.a.t.Helper()
	end := time.After(patience)
	for {
		c.mu.Lock()
		i := slices.IndexFunc(c.seen, func(s sight) bool { return ok(&s) })
		if i >= 0 {
			s := c.seen[i]
			c.seen = slices.Delete(c.seen, i, i+1)
			c.mu.Unlock()
			return s
		}
		c.mu.Unlock()
		select {
		case <-c.fresh:
		case <-end:
			c.a.t.Fatalf("%s: %s did not come; it has seen %s", c.name, what, c.story())
		}
	}
}

// story is what the client has seen and the test not taken.
func (c *client) story() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, s := range c.seen {
		args, _ := json.Marshal(s.Args)
		all = append(all, strings.Join(strings.Fields(fmt.Sprint(s.On, " ", s.Event, " ", string(args), " ", string(s.Error), " ", s.Reason, " ", s.Code, " ", s.Text)), " "))
	}
	return cmp.Or(strings.Join(all, "; "), "nothing")
}

func (c *client) connected() sight {
	c.a.t.Helper()
	s := c.await("connect", func(s *sight) bool { return s.On == "connect" || s.On == "connect_error" })
	if s.On != "connect" {
		c.a.t.Fatalf("%s is refused: %s", c.name, s.Error)
	}
	c.sid = s.Sid
	return s
}

// refused waits for a connect_error, and compares it as JSON; a client of Socket.IO 2
// gets the data alone.
func (c *client) refused(message, data string) {
	c.a.t.Helper()
	s := c.await("connect_error", func(s *sight) bool { return s.On == "connect" || s.On == "connect_error" })
	var e struct {
		Message string
		Data    json.RawMessage
	}
	_ = json.Unmarshal(s.Error, &e)
	switch {
	case s.On == "connect":
		c.a.t.Fatalf("%s is let in", c.name)
	case c.kind == "2" && data != "":
		if !sameJSON(s.Error, data) {
			c.a.t.Fatalf("%s is told %s, want %s", c.name, s.Error, data)
		}
	case e.Message != message || data != "" && !sameJSON(e.Data, data):
		c.a.t.Fatalf("%s is told %s, want %s and %s", c.name, s.Error, message, data)
	}
}

func sameJSON(a json.RawMessage, b string) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return false
	}
	p, _ := json.Marshal(x)
	q, _ := json.Marshal(y)
	return string(p) == string(q)
}

// event waits for an event and returns its arguments as JSON, without brackets.
func (c *client) event(name string) string {
	c.a.t.Helper()
	s := c.await(name, func(s *sight) bool { return s.On == "event" && s.Event == name })
	return list(s.Args)
}

// hears waits for an event whose first argument is this, with those before it kept. With
// recovery, one more is the offset.
func (c *client) hears(name, arg string) {
	c.a.t.Helper()
	c.await(name+" "+arg, func(s *sight) bool {
		return s.On == "event" && s.Event == name && len(s.Args) > 0 && sameJSON(s.Args[0], arg)
	})
}

func list(args []json.RawMessage) string {
	all := make([]string, len(args))
	for i, a := range args {
		var b bytes.Buffer
		_ = json.Compact(&b, a) // it has been decoded
		all[i] = b.String()
	}
	return strings.Join(all, ",")
}

// hasNot fails if the client has seen an event of that name.
func (c *client) hasNot(name string) {
	c.a.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.seen {
		if s.On == "event" && s.Event == name {
			c.a.t.Fatalf("%s has got %s %s", c.name, name, list(s.Args))
		}
	}
}

// disconnected waits for the end, and returns it.
func (c *client) disconnected() sight {
	c.a.t.Helper()
	return c.await("disconnect", func(s *sight) bool { return s.On == "disconnect" })
}

// ask sends an event and returns what it is acknowledged with, as JSON without brackets.
func (c *client) ask(event string, args ...any) string {
	c.a.t.Helper()
	if args == nil {
		args = []any{}
	}
	r := c.a.must("ask", map[string]any{"c": c.name, "event": event, "args": args})
	var all []json.RawMessage
	if err := json.Unmarshal(r, &all); err != nil {
		c.a.t.Fatalf("the acknowledgement of %s is %s", event, r)
	}
	return list(all)
}

// asks compares what an event is acknowledged with.
func (c *client) asks(want, event string, args ...any) {
	c.a.t.Helper()
	if got := c.ask(event, args...); !sameJSON(json.RawMessage(got), want) {
		c.a.t.Fatalf("%s: %s %v is answered %s, want %s", c.name, event, args, got, want)
	}
}

func (c *client) emit(event string, args ...any) {
	c.a.t.Helper()
	if args == nil {
		args = []any{}
	}
	c.a.must("emit", map[string]any{"c": c.name, "event": event, "args": args})
}

// op does something else to the client.
func (c *client) op(op string, more map[string]any) {
	c.a.t.Helper()
	args := map[string]any{"c": c.name}
	for k, v := range more {
		args[k] = v
	}
	c.a.must(op, args)
}
