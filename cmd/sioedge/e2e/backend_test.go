//go:build interop

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"
)

// hookSecret signs requests to backends: whsec_ and 32 bytes.
const hookSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// A backend is a process of Node that is asked and told by HTTP: backend.mjs.
type backend struct {
	t   *testing.T
	url string

	mu    sync.Mutex
	items []item
}

// An item is what a backend was told.
type item struct {
	ID, Type, Nsp, Route, Sid, User, Ev, Node, Reason string
	Params                                            map[string]string
	Rooms                                             []string
	Args                                              json.RawMessage
	Ack, Recovered                                    bool
}

func startBackend(t *testing.T) *backend {
	t.Helper()
	b := &backend{t: t}
	cmd := exec.Command("node", "backend.mjs", hookSecret)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	var up struct{ Port int }
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &up) != nil || up.Port == 0 {
		t.Fatalf("the backend says %q", lines.Text())
	}
	b.url = fmt.Sprintf("http://127.0.0.1:%d/sio", up.Port)
	// ends with the process
	go func() {
		for lines.Scan() {
			var line struct {
				Item  item
				Wrong string
			}
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.Wrong != "" {
				t.Errorf("the backend says %s", lines.Text())
				continue
			}
			b.mu.Lock()
			b.items = append(b.items, line.Item)
			b.mu.Unlock()
		}
	}()
	return b
}

// was waits until the backend has been told something.
func (b *backend) was(what string, ok func(x *item) bool) (found item) {
	b.t.Helper()
	eventually(b.t, "the backend was told of "+what+", which", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		i := slices.IndexFunc(b.items, func(x item) bool { return ok(&x) })
		if i >= 0 {
			found = b.items[i]
		}
		return i >= 0
	})
	return found
}

// events returns the arguments of the events of a user with a name, in order.
func (b *backend) events(user, ev string) (args []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range b.items {
		if x.Type == "event" && x.User == user && x.Ev == ev {
			args = append(args, string(x.Args))
		}
	}
	return args
}

const served = `
eio3: true
webhook: { url: $BACKEND, secret: $HOOK }
auth: webhook
namespaces:
  - pattern: /
    hooks: [connect, event, connected, disconnect, room]
    join_on_connect: ["own:{user}"]
    events:
      local: drop
  - pattern: /rooms/:id
    params: { id: "[0-9]+" }
    auth: optional
`

// Each kind of client, whom a backend in Node lets in, answers, and moves about.
func TestBackend(t *testing.T) {
	b := startBackend(t)
	e := start(t, write(t, served, "$BACKEND", b.url, "$HOOK", hookSecret))
	x := &agents{t: t}
	watch := x.enter("4", e.url, "/", bearer("4", "watcher"))
	for _, kind := range []string{"4", "3", "2"} {
		t.Run("client="+kind, func(t *testing.T) {
			x, user := &agents{t: t}, "user of "+kind
			x.dial(kind, e.url, "/", bearer(kind, "eve")).refused("not allowed", `{"code":403,"user":"eve"}`)
			x.dial(kind, e.url, "/rooms/x", bearer(kind, user)).refused("Invalid namespace", "")
			c := x.enter(kind, e.url, "/", bearer(kind, user))
			c.hears("welcome", `{"user":"`+user+`"}`)
			c.asks(ok, "local")
			c.asks(`{"user":"`+user+`","data":{"plan":"pro"}}`, "whoami")
			if got := c.ask("echo", 1, map[string]any{"a": map[string]string{"$binary": "aGk="}}); got != `1,{"a":{"type":"Buffer","data":[104,105]}}` {
				t.Errorf("echoed is %s", got)
			}
			c.emit("say", "lobby", "hello")
			watch.hears("said", `{"user":"`+user+`","text":"hello"}`)
			watch.asks("true", "say", "red of "+kind, "nobody is there")
			c.asks("true", "enter", "red of "+kind)
			watch.asks("true", "say", "red of "+kind, "somebody is")
			c.hears("said", `{"user":"watcher","text":"somebody is"}`)
			c.asks("true", "exit", "red of "+kind)
			watch.asks("true", "say", "red of "+kind, "nobody is")
			c.asks("true", "mark", map[string]any{"seen": 1, "plan": nil})
			c.asks(`{"user":"`+user+`","data":{"seen":1}}`, "whoami")
			c.hasNot("said")
			c.emit("ban", "watcher")
			watch.event("banned")
			if end := c.disconnected(); end.Reason != "io server disconnect" { // and so stays away
				t.Errorf("it ends with %+v", end)
			}
			d := x.enter(kind, e.url, "/rooms/42", bearer(kind, user))
			d.asks(`{"user":"`+user+`","data":{"plan":"pro"}}`, "whoami")
			got := b.was("a room", func(x *item) bool { return x.Ev == "whoami" && x.User == user && x.Nsp == "/rooms/42" })
			b.was("who was let in", func(x *item) bool { return x.Type == "connected" && x.Sid == c.sid || kind == "2" })
			b.was("who has gone", func(x *item) bool {
				return x.Type == "disconnect" && x.User == user && x.Nsp == "/" && x.Reason == "server namespace disconnect" && slices.Contains(x.Rooms, "lobby")
			})
			if got.Route != "/rooms/:id" || got.Params["id"] != "42" || !got.Ack || got.Node == "" {
				t.Errorf("it was told %+v", got)
			}
		})
	}
}

// Events of a client come to the backend in their order, each once, whatever its pace.
func TestBackendOrder(t *testing.T) {
	b := startBackend(t)
	e := start(t, write(t, served, "$BACKEND", b.url, "$HOOK", hookSecret))
	x := &agents{t: t}
	const n = 2000
	all := []*client{x.enter("4", e.url, "/", bearer("4", "ann")), x.enter("4", e.url, "/", bearer("4", "bob"))}
	for _, c := range all {
		c.op("burst", map[string]any{"event": "count", "args": []any{}, "n": n})
	}
	for i, c := range all {
		user := []string{"ann", "bob"}[i]
		c.ask("whoami")
		eventually(t, "the last event of "+user, func() bool { return len(b.events(user, "count")) >= n })
		got := b.events(user, "count")
		for k, args := range got {
			if args != fmt.Sprintf("[%d]", k) {
				t.Fatalf("event %d is %s", k, args)
			}
		}
		if len(got) != n {
			t.Errorf("%d events of %d came", len(got), n)
		}
	}
}

// Three servers and one backend: what it answers reaches clients wherever they are.
func TestBackendOfACluster(t *testing.T) {
	b := startBackend(t)
	redis := startRedis(t)
	text := write(t, served, "$BACKEND", b.url, "$HOOK", hookSecret)
	x := &agents{t: t}
	var all []*client
	for i := range 3 {
		e := start(t, text, "--adapter", "redis://"+redis)
		all = append(all, x.enter("4", e.url, "/", bearer("4", fmt.Sprint("u", i))))
	}
	for i, c := range all {
		c.asks("true", "enter", "red")
		c.emit("say", "lobby", fmt.Sprint("from ", i))
		for k, other := range all {
			if k != i {
				other.hears("said", fmt.Sprintf(`{"user":"u%d","text":"from %d"}`, i, i))
			}
		}
	}
	all[0].asks("true", "say", "red", "all are here")
	for _, other := range all[1:] {
		other.hears("said", `{"user":"u0","text":"all are here"}`)
	}
	all[2].emit("ban", "u0")
	all[0].event("banned")
	all[2].disconnected()
	nodes := map[string]bool{}
	b.mu.Lock()
	for _, x := range b.items {
		nodes[x.Node] = true
	}
	b.mu.Unlock()
	if len(nodes) != 3 {
		t.Errorf("the backend was told by %v", nodes)
	}
}

// The sockets of a server that is killed are told of by another one.
func TestBackendHearsOfACrash(t *testing.T) {
	b := startBackend(t)
	redis := startRedis(t)
	text := write(t, served, "$BACKEND", b.url, "$HOOK", hookSecret)
	x := &agents{t: t}
	var all []*edge
	for range 3 {
		all = append(all, start(t, text, "--adapter", "redis://"+redis))
	}
	c := x.enter("4", all[0].url, "/", bearer("4", "ann"))
	stays := x.enter("4", all[1].url, "/", bearer("4", "bob"))
	time.Sleep(8 * time.Second) // others have it
	all[0].kill()
	got := b.was("who was on it", func(x *item) bool { return x.Type == "disconnect" && x.Sid == c.sid })
	if got.Reason != "node_lost" || got.User != "ann" {
		t.Errorf("it was told %+v", got)
	}
	stays.asks(`{"user":"bob","data":{"plan":"pro"}}`, "whoami")
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.IndexFunc(b.items, func(x item) bool { return x.Type == "disconnect" && x.Sid == stays.sid }); i >= 0 {
		t.Errorf("of who is there it was told %+v", b.items[i])
	}
}

// While the backend is away, who connects comes back until it is there again, and secrets
// change without a connection being lost.
func TestBackendIsAwayAndReloads(t *testing.T) {
	b := startBackend(t)
	e := start(t, write(t, served, "$BACKEND", "http://127.0.0.1:1/sio", "$HOOK", hookSecret))
	x := &agents{t: t}
	o := bearer("4", "ann")
	o.recover = true
	c := x.dial("4", e.url, "/", o)
	c.disconnected()
	e.reload(served, "$BACKEND", b.url, "$HOOK", "another-secret-of-24-bytes-or-more, secret_previous: "+hookSecret)
	c.connected()
	c.asks(`{"user":"ann","data":{"plan":"pro"}}`, "whoami")
}
