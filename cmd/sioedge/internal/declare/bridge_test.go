package declare

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// A crossing is a bridge that notes what it is told, and answers as its functions say.
type crossing struct {
	connect func(s sio.Socket) error
	event   func(s sio.Socket, m *sio.Msg) error
	came    func(s sio.Socket) error

	mu   sync.Mutex
	told []string
}

func (b *crossing) note(format string, args ...any) {
	b.mu.Lock()
	b.told = append(b.told, fmt.Sprintf(format, args...))
	b.mu.Unlock()
}

// take returns what was noted since.
func (b *crossing) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	told := b.told
	b.told = nil
	return strings.Join(told, "; ")
}

func (b *crossing) Connect(s sio.Socket, e action.Entry) error {
	b.note("connect %s %s user=%s claims=%s recovered=%v rooms=%v", e.Namespace, e.Route, e.User, e.Claims, e.Recovered, s.Rooms())
	if b.connect == nil {
		return nil
	}
	return b.connect(s)
}

func (b *crossing) Came(s sio.Socket) error {
	b.note("came %v", s.Connected())
	if b.came == nil {
		return nil
	}
	return b.came(s)
}

func (b *crossing) Event(s sio.Socket, m *sio.Msg) error {
	args, _ := m.Verbatim()
	b.note("%s %s", m.Event(), slices.Concat(args...))
	if b.event == nil {
		return nil
	}
	return b.event(s, m)
}

func (b *crossing) Left(_ sio.Socket, reason sio.Reason) { b.note("left %s", reason) }

func (b *crossing) Add(ns *sio.Namespace) { b.note("has %s", ns.Name()) }

// spans are the settings of bridges that there are in these tests.
var spans = map[string]config.Bridge{"main": {}, "other": {}}

// startBridged is startWith bridges of those names, which may be taken away.
func startBridged(t *testing.T, b *backend, bridges map[string]*crossing, list ...config.Namespace) *app {
	t.Helper()
	a := &app{t: t, log: &logged{}}
	a.serve(sio.Options{}, jwtSettings, func(string) action.Backend { return b })
	a.router.parts.Bridge = func(name string) action.Bridge {
		if b, ok := bridges[name]; ok {
			return b
		}
		return nil
	}
	a.applyBridged(list...)
	return a
}

func (a *app) applyBridged(list ...config.Namespace) {
	a.t.Helper()
	p, err := Compile(list, Options{Auth: true, Backends: known, Bridges: spans})
	if err != nil {
		a.t.Fatal(err)
	}
	if err := a.router.Apply(p); err != nil {
		a.t.Fatal(err)
	}
}

func TestBridgeFaults(t *testing.T) {
	of := func(n config.Namespace) config.Namespace {
		n.Pattern, n.Bridge = "/a", "main"
		return n
	}
	event := func(name string, e config.Event) config.Namespace {
		return of(config.Namespace{Events: map[string]config.Event{name: e}})
	}
	for name, x := range map[string]struct {
		d       config.Namespace
		bridges map[string]config.Bridge
		want    string
	}{
		"an unknown one":                {config.Namespace{Pattern: "/a", Bridge: "mian"}, spans, `namespaces[0].bridge: is "mian", and there is no such bridge; did you mean main?`},
		"one that is like no other":     {config.Namespace{Pattern: "/a", Bridge: "elsewhere"}, spans, `namespaces[0].bridge: is "elsewhere", and there is no such bridge: there are main, other`},
		"one where there are none":      {config.Namespace{Pattern: "/a", Bridge: "main"}, nil, `namespaces[0].bridge: is "main", and there is no such bridge: bridges says`},
		"readonly":                      {of(config.Namespace{ReadOnly: true}), spans, "namespaces[0].bridge: has the handlers of events, and all are refused"},
		"events of a backend":           {of(config.Namespace{Hooks: []string{"event"}}), spans, "namespaces[0].hooks: have event, and the events without a rule go to the bridge"},
		"a backend for nothing":         {of(config.Namespace{Backend: "quiet"}), spans, "namespaces[0].backend: does nothing: the namespace has a bridge"},
		"all others are the edge's":     {event("*", config.Event{Action: "drop"}), spans, "namespaces[0].events.*: is every event without a rule"},
		"the action without one":        {config.Namespace{Pattern: "/a", Events: map[string]config.Event{"x": {Action: "bridge"}}}, spans, "namespaces[0].events.x.action: is bridge, and the namespace has none"},
		"a backend of the action":       {event("x", config.Event{Action: "bridge", Backend: "quiet"}), spans, "namespaces[0].events.x.backend: does nothing with the action bridge"},
		"a timeout of it":               {event("x", config.Event{Action: "bridge", Timeout: 1}), spans, "namespaces[0].events.x.timeout: does nothing with the action bridge"},
		"no acknowledgement":            {event("x", config.Event{Action: "bridge", Ack: new(bool)}), spans, "namespaces[0].events.x.ack: does nothing with the action bridge"},
		"rooms that are not looked at":  {event("x", config.Event{Action: "bridge", To: []string{"{args.0}"}}), spans, "namespaces[0].events.x.to: does nothing with the action bridge"},
		"what a relay has":              {event("x", config.Event{Action: "bridge", Volatile: true}), spans, "namespaces[0].events.x.volatile: does nothing with the action bridge"},
		"a user where nobody is wanted": {of(config.Namespace{Auth: "none", JoinOnConnect: []string{"{user}"}}), spans, "namespaces[0].join_on_connect[0]: nobody has a user"},
	} {
		_, err := Compile([]config.Namespace{x.d}, Options{Auth: true, Backends: known, Bridges: x.bridges})
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: Compile = %v, want %s", name, err, x.want)
		}
	}
	for name, d := range map[string]config.Namespace{
		"alone":                  of(config.Namespace{}),
		"no backend":             of(config.Namespace{Backend: "none"}),
		"hooks of a backend":     of(config.Namespace{Backend: "quiet", Hooks: []string{"connect", "disconnect"}}),
		"a webhook of a backend": of(config.Namespace{Backend: "quiet", Events: map[string]config.Event{"x": {Action: "webhook"}}}),
		"rules of the edge":      event("x", config.Event{Action: "relay"}),
		"what others are":        event("*", config.Event{Action: "bridge", Rate: "5/s", MaxBytes: 9}),
		"rooms of the sender":    event("x", config.Event{Action: "bridge", To: []string{"{args.0}"}, MemberOnly: true}),
	} {
		p, err := Compile([]config.Namespace{d}, Options{Auth: true, Backends: known, Bridges: spans})
		if err != nil || !slices.Equal(p.Bridges(), []string{"main"}) {
			t.Errorf("%s: Compile = %v, %v", name, p, err)
		}
	}
}

// Behind identity, permissions and rooms the application says who may connect; it gets the
// events that have no rule, and is told once of who came and left.
func TestBridge(t *testing.T) {
	b := &crossing{}
	a := startBridged(t, nil, map[string]*crossing{"main": b}, config.Namespace{
		Pattern: "/a/:id", Bridge: "main", AllowConnect: []string{"a:{id}"}, JoinOnConnect: []string{"of:{claims.org}"},
		Events: map[string]config.Event{
			"here": {Action: "join", Room: "r"}, "big": {Action: "bridge", MaxBytes: 5}, "edit": {Action: "bridge", Require: []string{"edit"}},
			"in": {Action: "bridge", To: []string{"{args.0}"}, MemberOnly: true},
		},
	})
	if got := b.take(); got != "has /a/:id" {
		t.Errorf("at first it is told %s", got)
	}
	may := claimed{"scope": "a:1", "org": "acme"}
	if got := a.try("/a/2", a.as("ann", may)); !strings.HasPrefix(got, "forbidden") || b.take() != "" {
		t.Errorf("without permission: %s, and the bridge is asked", got)
	}
	if got := a.try("/a/1", siotest.Options{}); !strings.HasPrefix(got, "unauthorized") || b.take() != "" {
		t.Errorf("nobody: %s, and the bridge is asked", got)
	}
	c := a.connect("/a/1", "ann", may)
	if got, want := b.take(), `connect /a/1 /a/:id user=ann claims={"org":"acme"} recovered=false rooms=[of:acme]; came true`; got != want {
		t.Errorf("told %s, want %s", got, want)
	}
	b.event = func(s sio.Socket, m *sio.Msg) error { return m.Ack("of the application") }
	for _, x := range []struct{ event, arg, want, told string }{
		{"any", "x", `"of the application"`, `any "x"`},
		{"presence:get", "x", `"of the application"`, `presence:get "x"`},
		{"auth:expiring", "x", `{"error":"unknown event","data":{"code":404}}`, ""},
		{"here", "x", `{"ok":true,"room":"r"}`, ""},
		{"big", "x", `"of the application"`, `big "x"`},
		{"big", "xxxxx", `{"error":"too large","data":{"code":413}}`, ""},
		{"edit", "x", `{"error":"forbidden","data":{"code":403}}`, ""},
		{"in", "r", `"of the application"`, `in "r"`},
		{"in", "other", `{"error":"forbidden","data":{"code":403}}`, ""},
	} {
		if got := ask(c, x.event, x.arg); got != x.want {
			t.Errorf("%s %s is answered %s, want %s", x.event, x.arg, got, x.want)
		}
		if got := b.take(); got != x.told {
			t.Errorf("%s %s: told %s, want %s", x.event, x.arg, got, x.told)
		}
	}
	b.event = func(sio.Socket, *sio.Msg) error { return errors.New("too much waits") }
	if got, want := ask(c, "any"), `{"error":"unavailable","data":{"code":503}}`; got != want || a.refusedFor("/a/:id", "unavailable") != 1 {
		t.Errorf("an event that cannot be sent is answered %s, want %s", got, want)
	}
	b.take()
	c.Disconnect()
	a.Settle()
	if got, want := b.take(), "left client namespace disconnect"; got != want {
		t.Errorf("told %s, want %s", got, want)
	}
}

// Who is refused, is let go, or leaves while it is asked about, is told what the
// application says, and nothing is told of it more than once.
func TestBridgeRefusals(t *testing.T) {
	b := &crossing{}
	bridges := map[string]*crossing{"main": b}
	a := startBridged(t, nil, bridges, config.Namespace{Pattern: "/a", Bridge: "main", Auth: "none"})
	b.connect = func(sio.Socket) error { return &sio.Error{Message: "not you", Data: map[string]int{"x": 1}} }
	if got := a.try("/a", siotest.Options{}); got != `not you {"x":1}` || a.refusedFor("/a", "backend") != 1 {
		t.Errorf("refused: %s", got)
	}
	b.connect = func(s sio.Socket) error { s.CloseConn(); return errors.New("no process") }
	if _, err := a.Try("/a", siotest.Options{}); err == nil || a.refusedFor("/a", "unavailable") != 1 {
		t.Errorf("without a process: %v", err)
	}
	if got := b.take(); strings.Contains(got, "left") || strings.Contains(got, "came") {
		t.Errorf("of who was refused it is told %s", got)
	}
	b.connect, b.came = nil, func(s sio.Socket) error { return s.Disconnect(sio.DisconnectOptions{}) }
	_, _ = a.Try("/a", siotest.Options{})
	a.Settle()
	if got := b.take(); strings.Count(got, "came") != 1 || strings.Count(got, "left") != 1 {
		t.Errorf("of who may not stay: %s", got)
	}
	delete(bridges, "main")
	if got, err := a.Try("/a", siotest.Options{}); err == nil || a.refusedFor("/a", "unavailable") != 2 || !a.log.has("there is no such bridge at this moment") {
		t.Errorf("without the bridge: %v, %v", got, err)
	}
}

// When other settings have another bridge, or one where there was none, who is there has to
// come back, and is told of by the bridge that has it.
func TestBridgeChanges(t *testing.T) {
	main, other := &crossing{}, &crossing{}
	space := config.Namespace{Pattern: "/a", Auth: "none", Backend: "none"}
	a := startBridged(t, nil, map[string]*crossing{"main": main, "other": other}, space)
	before := a.Connect("/a")
	space.Bridge = "main"
	a.applyBridged(space)
	main.take()
	if got := ask(before, "x"); got != `{"error":"unavailable","data":{"code":503}}` && got != "no answer" || before.Connected() || main.take() != "" {
		t.Errorf("from before the bridge: %s, and it is connected: %v", got, before.Connected())
	}
	c, d := a.Connect("/a"), a.Connect("/a")
	space.Bridge = "other"
	a.applyBridged(space)
	main.take()
	if got := other.take(); got != "has /a" {
		t.Errorf("the other bridge is told %s", got)
	}
	if c.Emit("x"); c.Connected() || other.take() != "" {
		t.Error("who is of the bridge that was is connected")
	}
	a.Settle()
	if got := main.take(); got != "left forced close" {
		t.Errorf("the bridge that was is told %s", got)
	}
	e := a.Connect("/a")
	e.Emit("x")
	if got, want := other.take(), "connect /a /a user= claims= recovered=false rooms=[]; came true; x "; got != want {
		t.Errorf("the other bridge is told %s, want %s", got, want)
	}
	space.Bridge = ""
	a.applyBridged(space)
	if got := ask(d, "x"); got != `{"error":"unknown event","data":{"code":404}}` {
		t.Errorf("without a bridge: %s", got)
	}
	d.Disconnect()
	a.Settle()
	if got := main.take(); got != "left client namespace disconnect" {
		t.Errorf("the bridge that was is told %s", got)
	}
}

// Several bridges, a backend and the rules of the edge are behind one connection.
func TestBridgesBesideOthers(t *testing.T) {
	main, other, hooks := &crossing{}, &crossing{}, &backend{}
	list := []config.Namespace{
		{Pattern: "/main", Bridge: "main", Auth: "none", Hooks: []string{"connect"}, Backend: "quiet"},
		{Pattern: "/other", Bridge: "other", Auth: "none"},
		{Pattern: "/hooks", Backend: "default", Auth: "none"},
		{Pattern: "/plain", Backend: "none", Auth: "none", Events: map[string]config.Event{"x": {Action: "relay", Self: true}}},
	}
	a := startBridged(t, hooks, map[string]*crossing{"main": main, "other": other}, list...)
	c := a.Connect("/main")
	if got := strings.Join(hooks.take(), ""); !strings.HasPrefix(got, "connect /main") {
		t.Errorf("the backend of hooks is told %s", got)
	}
	on := siotest.Options{On: c}
	rest := []*siotest.Client{a.ConnectWith("/other", on), a.ConnectWith("/hooks", on), a.ConnectWith("/plain", on)}
	hooks.take()
	main.take()
	other.take()
	for i, c := range append(rest, c) {
		c.Emit("x", i)
	}
	a.Settle()
	if m, o, h, p := main.take(), other.take(), strings.Join(hooks.take(), ""), len(rest[2].Received()); m != "x 3" || o != "x 0" || h != "event x 1 user= timeout=0s" || p != 1 {
		t.Errorf("told %q, %q, %q, and %d events are relayed", m, o, h, p)
	}
}
