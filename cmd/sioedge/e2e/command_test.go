//go:build interop

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const apiKey = "key-of-the-api-" + mark + "-0123456789"

const office = `
auth:
  mode: jwt
  jwt: { secret: $SECRET }
api: { keys: [$KEY] }
log: { level: debug }
namespaces:
  - pattern: /
    join_on_connect: ["all", "user:{user}"]
    events:
      enter: { action: join, room: "{args.0}", allow: ["room:*"] }
  - pattern: /news/:topic
`

// A caller runs commands that ask the HTTP API of a server.
type caller struct {
	t    *testing.T
	args []string // which server, and with which key
}

// begin starts one.
func (x *caller) begin(in io.Reader, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	x.t.Helper()
	path, err := binary()
	if err != nil {
		x.t.Fatal(err)
	}
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd = exec.Command(path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, stdout, stderr
	if err := cmd.Start(); err != nil {
		x.t.Fatal(err)
	}
	return cmd, stdout, stderr
}

// run runs one to its end.
func (x *caller) run(in, name string, args ...string) (stdout, stderr string, code int) {
	x.t.Helper()
	cmd, out, errs := x.begin(strings.NewReader(in), slices.Concat([]string{name}, x.args, args)...)
	_ = cmd.Wait() // the code tells
	if strings.Contains(out.String()+errs.String(), apiKey) {
		x.t.Errorf("%s %q says the key: %s%s", name, args, out, errs)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// does runs one that must succeed, and returns what it writes.
func (x *caller) does(name string, args ...string) string {
	x.t.Helper()
	out, errs, code := x.run("", name, args...)
	if code != 0 {
		x.t.Fatalf("%s %q ends with %d: %s%s", name, args, code, out, errs)
	}
	return out
}

// elements are what ls --json lists, each element by its name as the test says.
func elements[T any](x *caller, name func(T) string, args ...string) map[string]T {
	x.t.Helper()
	all := map[string]T{}
	for line := range strings.Lines(x.does("ls", append(args, "--json")...)) {
		var e T
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			x.t.Fatalf("ls %q writes %s", args, line)
		}
		if _, twice := all[name(e)]; twice {
			x.t.Errorf("ls %q lists %s twice", args, name(e))
		}
		all[name(e)] = e
	}
	return all
}

// A listed is an element of a list, of any kind.
type listed struct {
	SID, Node, Nsp, User, Room, Name string
	Rooms                            []string
	Sockets, Nodes, Sessions         int
	Self                             bool
}

// Two servers, clients of three kinds, and what an operator does at a terminal or in a
// script.
func TestCommands(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	x := &agents{t: t}
	var servers []*edge
	var callers []*caller
	for range 2 {
		file := write(t, office, "$SECRET", secret, "$KEY", apiKey)
		servers = append(servers, start(t, file, "--adapter", "redis://"+redis, "--internal-listen", "unix:"+filepath.Join(t.TempDir(), "api")))
		callers = append(callers, &caller{t, []string{"--url", "unix:" + strings.TrimPrefix(servers[len(servers)-1].api, "unix:"), "--config", file}})
	}
	user := func(kind, name string) options { return bearer(kind, token(t, name, time.Hour, nil)) }
	ann := x.enter("4", servers[0].url, "/", user("4", "ann"))
	ann2 := x.enter("3", servers[1].url, "/", user("3", "ann"))
	bob := x.enter("3", servers[1].url, "/", user("3", "bob"))
	dan := x.enter(py, servers[0].url, "/", user(py, "dan"))
	eve := x.enter("4", servers[1].url, "/news/sport", user("4", "eve"))
	for _, c := range []*client{ann, bob} {
		c.ask("enter", "room:red")
	}
	here := callers[0]
	for _, x := range callers {
		eventually(t, "the servers know each other", func() bool {
			return len(elements(x, func(e listed) string { return e.Node }, "nodes")) == 2
		})
	}
	t.Run("emit", func(t *testing.T) { testEmit(t, here, []*client{ann, bob, dan, eve}) })
	t.Run("acknowledgements", func(t *testing.T) { testAcks(t, here, ann, bob) })
	t.Run("stream", func(t *testing.T) { testStream(t, here, ann, bob) })
	for i, x := range callers {
		t.Run(fmt.Sprint("ls of server ", i), func(t *testing.T) { testLists(t, x, []*client{ann, ann2, bob, dan, eve}) })
	}
	t.Run("client", func(t *testing.T) { testTerminal(t, here, servers[1], ann) })
	t.Run("kick", func(t *testing.T) { testKick(t, here, []*client{ann, ann2, bob, dan, eve}) })
}

// testEmit emits from the server of the first client.
func testEmit(t *testing.T, x *caller, all []*client) {
	ann, bob, dan, eve := all[0], all[1], all[2], all[3]
	x.does("emit", "--to", "room:red", "said", `{"a":1}`, "two words", "3")
	for _, c := range []*client{ann, bob} {
		if got := c.event("said"); got != `{"a":1},"two words",3` {
			t.Errorf("%s hears %s", c.name, got)
		}
	}
	x.does("emit", "--to", "all", "--except", "room:red", "others")
	dan.event("others")
	photo := filepath.Join(t.TempDir(), "photo")
	if err := os.WriteFile(photo, []byte("hi\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	x.does("emit", "--to", bob.sid, "photo", "@"+photo)
	if got := bob.event("photo"); got != `{"type":"Buffer","data":[104,105,0]}` {
		t.Errorf("the photo is %s", got)
	}
	x.does("emit", "--nsp", "/news/sport", "goal", "1")
	if got := eve.event("goal"); got != "1" {
		t.Errorf("the goal is %s", got)
	}
	for range 2 { // the second is the first
		x.does("emit", "--to", "user:bob", "--id", "once", "once")
	}
	x.does("emit", "fence")
	for _, c := range []*client{ann, bob, dan} {
		c.event("fence")
	}
	bob.event("once")
	for name, not := range map[string][]*client{"said": {dan, eve}, "others": {ann, bob, eve}, "photo": {ann, dan, eve}, "goal": {ann, bob, dan}, "once": {ann, bob, dan}, "fence": {eve}} {
		for _, c := range not {
			c.a.t = t
			c.hasNot(name)
		}
	}
	if _, errs, code := x.run("", "emit", "--nsp", "/nowhere", "x"); code != 1 || !strings.Contains(errs, "nsp") {
		t.Errorf("to a namespace that there is not: %d, %s", code, errs)
	}
}

func testAcks(t *testing.T, x *caller, ann, bob *client) {
	ann.op("answer", map[string]any{"event": "question", "args": []any{map[string]int{"n": 1}}})
	bob.op("answer", map[string]any{"event": "question", "args": []any{"two"}})
	out := x.does("emit", "--to", "room:red", "--ack", "10s", "question", "?")
	got := slices.Sorted(strings.Lines(out))
	if len(got) != 2 || strings.TrimSpace(got[0]) != `"two"` || strings.TrimSpace(got[1]) != `{"n":1}` {
		t.Errorf("acknowledged is %q", got)
	}
	ann.op("answer", map[string]any{"event": "again", "args": []any{true}})
	out, errs, code := x.run("", "emit", "--to", "room:red", "--ack", "400ms", "again")
	if strings.TrimSpace(out) != "true" || code != 5 || !strings.Contains(errs, "1 of 2 have not answered") {
		t.Errorf("one does not answer: %d, %q, %q", code, out, errs)
	}
}

// testStream has emit - take lines as they come: the first is heard before the last is
// written.
func testStream(t *testing.T, x *caller, ann, bob *client) {
	r, w := io.Pipe()
	cmd, out, errs := x.begin(r, slices.Concat([]string{"emit", "-", "--json"}, x.args)...)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	line(`{"ev":"tick","to":["room:red"],"args":["first"]}`)
	if got := ann.event("tick"); got != `"first"` {
		t.Errorf("the first is %s", got)
	}
	bob.event("tick")
	const n = 500
	for i := range n {
		line(`{"ev":"tick","to":["room:red"],"args":[%d]}`, i)
	}
	line(`{"id":"wrong","emit":{"nsp":"/nowhere","ev":"x"}}`)
	line(`{"id":"moved","join":{"in":[%q],"rooms":["room:blue"]}}`, ann.sid)
	_ = w.Close()
	_ = cmd.Wait() // the code tells
	for _, c := range []*client{ann, bob} {
		for i := range n {
			if got := c.event("tick"); got != fmt.Sprint(i) {
				t.Fatalf("%s hears %s, not %d", c.name, got, i)
			}
		}
	}
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(errs.String(), "1 of 503 commands failed") || strings.Count(out.String(), "\n") != 503 {
		t.Errorf("it ends with %d, %s, after %d lines", code, errs, strings.Count(out.String(), "\n"))
	}
}

func testLists(t *testing.T, x *caller, all []*client) {
	x = &caller{t, x.args}
	ann, ann2, bob, dan, eve := all[0], all[1], all[2], all[3], all[4]
	sockets := elements(x, func(e listed) string { return e.SID })
	for c, want := range map[*client]string{
		ann: "all room:blue room:red user:ann", ann2: "all user:ann", bob: "all room:red user:bob", dan: "all user:dan",
	} {
		e := sockets[c.sid]
		rooms := slices.DeleteFunc(e.Rooms, func(r string) bool { return r == c.sid })
		slices.Sort(rooms)
		if strings.Join(rooms, " ") != want || !strings.HasSuffix(want, e.User) && e.User == "" {
			t.Errorf("%s is listed as %+v", c.name, e)
		}
	}
	if len(sockets) != 4 || sockets[ann.sid].Node == sockets[bob.sid].Node || sockets[ann.sid].Node != sockets[dan.sid].Node {
		t.Errorf("the sockets are %v", sockets)
	}
	if other := elements(x, func(e listed) string { return e.SID }, "--nsp", "/news/sport"); len(other) != 1 || other[eve.sid].User != "eve" {
		t.Errorf("the sockets of another namespace are %v", other)
	}
	if some := elements(x, func(e listed) string { return e.SID }, "sockets", "--room", "room:red", "--user", "bob"); len(some) != 1 || some[bob.sid].SID == "" {
		t.Errorf("bob in red is %v", some)
	}
	// Page by page it is the same.
	paged, cursor := 0, ""
	for {
		out, errs, code := x.run("", "ls", "sockets", "--limit", "3", "--json", "--cursor", cursor)
		if code != 0 {
			t.Fatal(errs)
		}
		paged += strings.Count(out, "\n")
		_, next, more := strings.Cut(errs, "--cursor ")
		if !more {
			break
		}
		cursor = strings.TrimSpace(next)
	}
	if paged != 4 {
		t.Errorf("pages have %d sockets", paged)
	}
	rooms := elements(x, func(e listed) string { return e.Room }, "rooms", "--all")
	for name, n := range map[string]int{"all": 4, "room:red": 2, "room:blue": 1, "user:ann": 2, "user:bob": 1, "user:dan": 1} {
		if rooms[name].Sockets != n {
			t.Errorf("of %s are listed %+v, want %d", name, rooms[name], n)
		}
	}
	users := elements(x, func(e listed) string { return e.User }, "users")
	if len(users) != 3 || users["ann"].Sockets != 2 || users["ann"].Nodes != 2 || users["bob"].Sockets != 1 || users["dan"].Nodes != 1 {
		t.Errorf("the users are %v", users)
	}
	nodes, sum := map[string]listed{}, 0
	eventually(t, "each server has said how many there are", func() bool { // once a second
		nodes, sum = elements(x, func(e listed) string { return e.Node }, "nodes"), 0
		for _, e := range nodes {
			sum += e.Sockets
		}
		return sum == 5
	})
	for name, e := range nodes {
		if e.Self == (name != sockets[ann.sid].Node) && e.Self == (name != sockets[bob.sid].Node) {
			t.Errorf("a server is %+v", e)
		}
	}
	if len(nodes) != 2 {
		t.Errorf("the servers are %v", nodes)
	}
	if spaces := elements(x, func(e listed) string { return e.Name }, "namespaces"); len(spaces) < 2 || spaces["/"].Sockets != 2 {
		t.Errorf("the namespaces are %v", spaces)
	}
}

// testTerminal has a client at a terminal be one of those who hear.
func testTerminal(t *testing.T, x *caller, of *edge, ann *client) {
	cmd, out, errs := x.begin(nil, "client", of.url, "--token", token(t, "tim", time.Hour, nil), "--exec", "ask enter room:green", "--once", "--for", "20s", "--json")
	eventually(t, "the client at the terminal enters", func() bool {
		return len(elements(&caller{t, x.args}, func(e listed) string { return e.SID }, "--room", "room:green")) == 1
	})
	x.does("emit", "--to", "room:green", "hello", `{"to":"tim"}`)
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), `{"to":"tim"}`) {
		t.Errorf("it ends with %v, after %s%s", err, out, errs)
	}
	ann.hasNot("hello")
	cmd, _, errs = x.begin(nil, "client", of.url, "--token", "no token of "+mark, "--exec", "ask enter room:green")
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 4 {
		t.Errorf("without a token it ends with %d, %s", cmd.ProcessState.ExitCode(), errs)
	}
}

func testKick(t *testing.T, x *caller, all []*client) {
	ann, ann2, bob, dan, eve := all[0], all[1], all[2], all[3], all[4]
	if out := x.does("kick", "--sid", bob.sid); strings.TrimSpace(out) != "1 disconnected" { // of another server
		t.Errorf("kick says %q", out)
	}
	if end := bob.disconnected(); end.Reason != "io server disconnect" {
		t.Errorf("bob sees %+v", end)
	}
	x.does("kick", "--room", "user:dan", "--yes")
	dan.disconnected()
	if out := x.does("kick", "--user", "ann", "--code", "4403", "--reason", "banned", "--json"); !sameJSON(json.RawMessage(out), `{"sockets":2}`) {
		t.Errorf("kick says %q", out)
	}
	if end := ann.disconnected(); end.Reason != "io server disconnect" { // and so stays away
		t.Errorf("ann sees %+v", end)
	}
	ann2.disconnected()
	x.does("emit", "--nsp", "/news/sport", "goal", "2")
	eve.event("goal")
	x.does("kick", "--nsp", "/news/sport", "--sid", eve.sid, "--code", "4403", "--reason", "moved on")
	if end := eve.disconnected(); end.Reason != "io server disconnect" { // the code is the connection's, which ends behind that
		t.Errorf("eve sees %+v", end)
	}
	eventually(t, "all who were told to leave have", func() bool { return len(elements(&caller{t, x.args}, func(e listed) string { return e.SID })) == 0 })
}
