package declare

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/identity"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// A backend answers as its functions say, and notes what it is told.
type backend struct {
	connect func(s sio.Socket, e action.Entry) (*action.Result, error)
	refresh func(e action.Entry, token json.RawMessage) (*action.Result, error)
	event   func(s sio.Socket, m *sio.Msg) error

	mu   sync.Mutex
	told []string
}

func (b *backend) note(format string, args ...any) {
	b.mu.Lock()
	b.told = append(b.told, fmt.Sprintf(format, args...))
	b.mu.Unlock()
}

// take returns what was noted since.
func (b *backend) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	told := b.told
	b.told = nil
	return told
}

func (b *backend) Hooks() action.Hook { return 0 }

func (b *backend) Connect(s sio.Socket, e action.Entry) (*action.Result, error) {
	b.note("connect %s %s %v user=%s claims=%s recovered=%v", e.Namespace, e.Route, e.Params, e.User, e.Claims, e.Recovered)
	if b.connect == nil {
		return nil, nil
	}
	return b.connect(s, e)
}

func (b *backend) Refresh(_ sio.Socket, e action.Entry, token json.RawMessage) (*action.Result, error) {
	b.note("refresh user=%s token=%s", e.User, token)
	if b.refresh == nil {
		return nil, nil
	}
	return b.refresh(e, token)
}

func (b *backend) Event(s sio.Socket, m *sio.Msg, e action.Entry, o action.EventOptions) error {
	args, _ := m.Verbatim()
	b.note("event %s %s user=%s timeout=%s", m.Event(), slices.Concat(args...), e.User, o.Timeout)
	if b.event == nil {
		return nil
	}
	return b.event(s, m)
}

func (b *backend) Tell(k action.Kind, p action.Peer, body func([]byte) []byte) {
	b.note("%s %s %s", k, p.Namespace, body(nil))
}

// known are the settings of backends that there are in these tests.
var known = map[string]config.Backend{
	"default": {Events: []string{"connect", "event"}},
	"quiet":   {Events: []string{"room"}},
}

// startWith is start with backends of the names in known, all of which are b.
func startWith(t *testing.T, o sio.Options, co Options, auth config.Auth, b *backend, list ...config.Namespace) *app {
	t.Helper()
	co.Backends = known
	a := &app{t: t, log: &logged{}}
	a.serve(o, auth, func(name string) action.Backend {
		if _, ok := known[name]; !ok {
			return nil
		}
		return b
	})
	p, err := Compile(list, co)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.router.Apply(p); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestBackendsFaults(t *testing.T) {
	event := func(e config.Event) config.Namespace {
		return config.Namespace{Pattern: "/a", Events: map[string]config.Event{"x": e}}
	}
	for name, x := range map[string]struct {
		d    config.Namespace
		o    Options
		want string
	}{
		"an unknown backend":            {config.Namespace{Pattern: "/a", Backend: "quite"}, Options{Backends: known}, `namespaces[0].backend: is "quite", and there is no such backend; did you mean quiet?`},
		"one that is like no other":     {config.Namespace{Pattern: "/a", Backend: "elsewhere"}, Options{Backends: known}, `namespaces[0].backend: is "elsewhere", and there is no such backend: there are default, quiet`},
		"the default one":               {config.Namespace{Pattern: "/a", Backend: "default"}, Options{}, "namespaces[0].backend: is default, and webhook.url is not set: webhook.url, or one of backends"},
		"hooks of none":                 {config.Namespace{Pattern: "/a", Backend: "none", Hooks: []string{"event"}}, Options{Backends: known}, "namespaces[0].hooks: are of a backend, and the namespace has none: there are default, quiet"},
		"node of a namespace":           {config.Namespace{Pattern: "/a", Hooks: []string{"node"}}, Options{Backends: known}, "namespaces[0].hooks: cannot have node"},
		"events of readonly":            {config.Namespace{Pattern: "/a", ReadOnly: true, Hooks: []string{"event"}}, Options{Backends: known}, "namespaces[0].hooks: have event"},
		"webhook without one":           {event(config.Event{Action: "webhook"}), Options{}, "namespaces[0].events.x.action: is webhook, and there is no backend for it: webhook.url"},
		"webhook of an unknown one":     {event(config.Event{Action: "webhook", Backend: "defualt"}), Options{Backends: known}, "namespaces[0].events.x.backend: is \"defualt\", and there is no such backend; did you mean default?"},
		"webhook of none":               {event(config.Event{Action: "webhook", Backend: "none"}), Options{Backends: known}, "namespaces[0].events.x.backend: is none, and the action is webhook"},
		"a negative timeout":            {event(config.Event{Action: "webhook", Timeout: -1}), Options{Backends: known}, "namespaces[0].events.x.timeout: is negative"},
		"a timeout of a relay":          {event(config.Event{Action: "relay", Timeout: 1}), Options{Backends: known}, "namespaces[0].events.x.timeout: does nothing with the action relay"},
		"a backend of a relay":          {event(config.Event{Action: "relay", Backend: "quiet"}), Options{Backends: known}, "namespaces[0].events.x.backend: does nothing with the action relay"},
		"rooms that are not looked at":  {event(config.Event{Action: "webhook", To: []string{"{args.0}"}}), Options{Backends: known}, "namespaces[0].events.x.to: does nothing with the action webhook"},
		"members of no room":            {event(config.Event{Action: "webhook", MemberOnly: true}), Options{Backends: known}, "namespaces[0].events.x.member_only: does nothing without to"},
		"no acknowledgement":            {event(config.Event{Action: "webhook", Ack: new(bool)}), Options{Backends: known}, "namespaces[0].events.x.ack: does nothing with the action webhook"},
		"asking nobody":                 {config.Namespace{Pattern: "/a", Backend: "quiet"}, Options{Asks: true, Backends: known}, "namespaces[0].auth: needs a backend with the hook connect"},
		"required of nobody":            {config.Namespace{Pattern: "/a", Backend: "quiet", Auth: "required"}, Options{Backends: known}, "namespaces[0].auth: cannot be required: auth.mode is none, and no backend has the hook connect"},
		"a user where nobody is asked":  {config.Namespace{Pattern: "/a", Backend: "quiet", JoinOnConnect: []string{"{user}"}}, Options{Backends: known}, "namespaces[0].join_on_connect[0]: nobody has a user"},
		"a user where nobody is wanted": {config.Namespace{Pattern: "/a", Auth: "none", JoinOnConnect: []string{"{user}"}}, Options{Backends: known}, "namespaces[0].join_on_connect[0]: nobody has a user"},
	} {
		_, err := Compile([]config.Namespace{x.d}, x.o)
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: Compile = %v, want %s", name, err, x.want)
		}
	}
}

// What is right compiles, and says which backends it needs.
func TestBackendsOfAProgram(t *testing.T) {
	p, err := Compile([]config.Namespace{
		{Pattern: "/", JoinOnConnect: []string{"user:{user}"}},
		{Pattern: "/none", Backend: "none", Events: map[string]config.Event{"x": {Action: "webhook", Backend: "quiet", To: []string{"{args.0}"}, MemberOnly: true}}},
		{Pattern: "/free", Auth: "none"},
	}, Options{Backends: known})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(p.Backends(), p.Asks()); got != "[default quiet] true" {
		t.Error(got)
	}
	for i, want := range []need{needOptional, needNone, needNone} {
		if p.spaces[i].need != want {
			t.Errorf("need of %s is %d, want %d", p.spaces[i].name.text, p.spaces[i].need, want)
		}
	}
}

// A backend says who a client is, where it is, and what it is sent.
func TestABackendLetsIn(t *testing.T) {
	b := &backend{connect: func(s sio.Socket, e action.Entry) (*action.Result, error) {
		var auth struct{ Who string }
		if err := s.Auth(&auth); err != nil {
			return nil, err
		}
		if auth.Who == "eve" {
			return nil, &sio.Error{Message: "not allowed", Data: json.RawMessage(`{"code":403}`)}
		}
		x, err := action.ParseResults([]byte(`{"results":[{"id":"1","user":"`+auth.Who+`","scope":["write"],"data":{"plan":"pro"},"join":["lobby"],`+
			`"emit":[{"ev":"welcome","args":[{"v":3}]}],"actions":[{"op":"data","set":{"seen":1}}]}]}`), action.Limits{})
		if err != nil {
			return nil, err
		}
		return &x[0], nil
	}}
	a := startWith(t, sio.Options{}, Options{}, config.Auth{}, b, config.Namespace{
		Pattern: "/rooms/:id", JoinOnConnect: []string{"user:{user}", "room:{id}"},
		Events: map[string]config.Event{
			"whoami": {Action: "relay", To: []string{"user:{user}"}, Self: true, Sender: true, Require: []string{"write"}},
			"read":   {Action: "relay", Require: []string{"read"}},
		},
	})
	c := a.ConnectWith("/rooms/7", siotest.Options{Auth: map[string]string{"who": "ann"}})
	var v struct{ V int }
	if c.Expect("welcome", &v); v.V != 3 {
		t.Errorf("welcome %v", v)
	}
	s := c.Socket()
	if rooms := s.Rooms(); !slices.Equal(rooms[1:], []string{"user:ann", "room:7", "lobby"}) {
		t.Errorf("rooms are %v", rooms)
	}
	if data, _ := s.Data().(json.RawMessage); string(data) != `{"plan":"pro","seen":1}` {
		t.Errorf("data is %s", data)
	}
	if id := a.auth.Of(s); id == nil || id.User != "ann" {
		t.Errorf("it is %v", id)
	}
	if got := ask(c, "whoami"); got != `{"ok":true}` {
		t.Error(got)
	}
	if got := ask(c, "read"); got != `{"error":"forbidden","data":{"code":403}}` {
		t.Error(got)
	}
	if got := b.take(); len(got) != 1 || got[0] != "connect /rooms/7 /rooms/:id [id] user= claims= recovered=false" {
		t.Errorf("the backend was told %q", got)
	}
	if got := a.try("/rooms/7", siotest.Options{Auth: map[string]string{"who": "eve"}}); got != `not allowed {"code":403}` {
		t.Error(got)
	}
	if n := a.refusedFor("/rooms/:id", "backend"); n != 1 {
		t.Errorf("%d refusals are counted", n)
	}
}

// What a token does not let in is not the backend's business; what it says is.
func TestABackendIsToldOfTokens(t *testing.T) {
	b := &backend{}
	a := startWith(t, sio.Options{}, Options{Auth: true}, jwtSettings, b, config.Namespace{Pattern: "/a"})
	if got := a.try("/a", siotest.Options{}); !strings.HasPrefix(got, "unauthorized") {
		t.Error(got)
	}
	if got := a.try("/a", a.as("u7", claimed{"namespaces": []string{"/b"}})); !strings.HasPrefix(got, "forbidden") {
		t.Error(got)
	}
	if got := b.take(); got != nil {
		t.Errorf("the backend was told %q", got)
	}
	c := a.connect("/a", "u7", claimed{"org": "x"})
	if got := b.take(); len(got) != 1 || !strings.Contains(got[0], `user=u7 claims={`) || !strings.Contains(got[0], `"org":"x"`) {
		t.Errorf("the backend was told %q", got)
	}
	if id := a.auth.Of(c.Socket()); id == nil || id.User != "u7" {
		t.Errorf("it is %v", id)
	}
	b.connect = func(sio.Socket, action.Entry) (*action.Result, error) { return nil, sio.ErrClosed }
	a.try("/a", a.as("u7", nil))
	if n := a.refusedFor("/a", "unavailable"); n != 1 {
		t.Errorf("%d are counted of whom the backend has not said anything", n)
	}
}

// With auth.mode webhook, somebody is who the backend says, or nobody.
func TestABackendHasToSayWho(t *testing.T) {
	who := ""
	b := &backend{connect: func(sio.Socket, action.Entry) (*action.Result, error) { return &action.Result{User: who}, nil }}
	a := startWith(t, sio.Options{}, Options{Asks: true}, config.Auth{Mode: "webhook"}, b, config.Namespace{Pattern: "/a"}, config.Namespace{Pattern: "/b", Auth: "optional"}, config.Namespace{Pattern: "/c", Auth: "none"})
	if got := a.try("/a", siotest.Options{}); got != `unauthorized {"code":401,"reason":"user"}` {
		t.Error(got)
	}
	if got := a.try("/b", siotest.Options{}); got != "" {
		t.Error(got)
	}
	who = "bad\nname"
	if got := a.try("/b", siotest.Options{}); got != `unauthorized {"code":401,"reason":"user"}` {
		t.Error(got)
	}
	who = "ann"
	if got := a.try("/a", siotest.Options{}); got != "" {
		t.Error(got)
	}
	if c := a.Connect("/c"); a.auth.Of(c.Socket()) != nil {
		t.Error("who is nobody is somebody")
	}
	if !a.log.has("auth is none") {
		t.Error("and nothing is said of it")
	}
}

// A backend has no more rooms to give than a client may have.
func TestABackendsRoomsAreBounded(t *testing.T) {
	b := &backend{connect: func(sio.Socket, action.Entry) (*action.Result, error) {
		return &action.Result{Join: []string{"a", "b"}}, nil
	}}
	d := config.Namespace{Pattern: "/a", JoinOnConnect: []string{"a"}, Limits: config.NamespaceLimits{MaxRooms: 2}}
	a := startWith(t, sio.Options{}, Options{}, config.Auth{}, b, d)
	if rooms := a.Connect("/a").Socket().Rooms(); !slices.Equal(rooms[1:], []string{"a", "b"}) {
		t.Errorf("rooms are %v", rooms)
	}
	d.Limits.MaxRooms = 1
	p, err := Compile([]config.Namespace{d}, Options{Backends: known})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.router.Apply(p); err != nil {
		t.Fatal(err)
	}
	if got := a.try("/a", siotest.Options{}); got != `too many rooms {"code":429}` {
		t.Error(got)
	}
}

// What a backend says ends when it says, and the client is told before.
func TestWhatABackendSaysEnds(t *testing.T) {
	b := &backend{}
	a := startWith(t, sio.Options{}, Options{Asks: true}, config.Auth{Mode: "webhook", JWT: jwtSettings.JWT}, b,
		config.Namespace{Pattern: "/a", Hooks: []string{"connect", "refresh"}, Events: map[string]config.Event{"x": {Action: "drop", Require: []string{"x"}}}})
	b.connect = func(sio.Socket, action.Entry) (*action.Result, error) {
		return &action.Result{User: "ann", ExpireAt: a.Now().Unix() + 60, Scope: []string{"x"}}, nil
	}
	c, d := a.Connect("/a"), a.Connect("/a")
	a.Advance(55 * time.Second)
	var e identity.Expiring
	if c.Expect("auth:expiring", &e); e.Expires == 0 {
		t.Error("it does not say when")
	}
	b.refresh = func(_ action.Entry, token json.RawMessage) (*action.Result, error) {
		switch string(token) {
		case `"bad"`:
			return nil, &sio.Error{Message: "no", Data: json.RawMessage(`{"code":401}`)}
		case `"down"`:
			return nil, errors.New("it is down")
		case `"bob"`:
			return &action.Result{User: "bob"}, nil
		}
		return &action.Result{ExpireAt: a.Now().Unix() + 600, Join: []string{"more"}, Data: json.RawMessage(`{"n":2}`)}, nil
	}
	b.take()
	for _, x := range []struct{ token, want string }{
		{"bad", `{"data":{"code":401},"error":"no"}`}, {"down", `{"data":{"code":503},"error":"unavailable"}`}, {"bob", `{"data":{"code":401,"reason":"other user"},"error":"unauthorized"}`},
	} {
		if got := ask(c, "auth:refresh", x.token); got != x.want {
			t.Errorf("with %s: %s", x.token, got)
		}
	}
	if got := ask(c, "auth:refresh", "good"); !strings.HasPrefix(got, `{"expires":`) {
		t.Error(got)
	}
	if got := b.take(); len(got) != 4 || got[3] != `refresh user=ann token="good"` {
		t.Errorf("the backend was told %q", got)
	}
	if got := ask(c, "x"); got != `{"ok":true}` { // what it has said before holds
		t.Error(got)
	}
	if data, _ := c.Socket().Data().(json.RawMessage); string(data) != `{"n":2}` || !c.Socket().In("more") {
		t.Errorf("data is %s, rooms are %v", data, c.Socket().Rooms())
	}
	a.Advance(10 * time.Second)
	if !c.Connected() || d.Connected() {
		t.Errorf("connected are %v, %v: want who has a new token", c.Connected(), d.Connected())
	}
}

// Events without a rule, and those whose rule says so, go to the backend, if they pass
// what else the rules say.
func TestEventsGoToABackend(t *testing.T) {
	b := &backend{event: func(_ sio.Socket, m *sio.Msg) error {
		if m.Event() == "full" {
			return errors.New("too much waits")
		}
		if m.WantsAck() {
			return m.Ack("of the backend")
		}
		return nil
	}}
	a := startWith(t, sio.Options{}, Options{}, config.Auth{}, b, config.Namespace{Pattern: "/a", Events: map[string]config.Event{
		"own":       {Action: "drop"},
		"slow":      {Action: "webhook", Timeout: time.Second, MaxBytes: 5},
		"say":       {Action: "webhook", To: []string{"{args.0}"}, MemberOnly: true},
		"enter":     {Action: "join", Room: "{args.0}", Allow: []string{"*"}},
		"elsewhere": {Action: "webhook", Backend: "quiet"},
	}})
	c := a.Connect("/a")
	b.take()
	for _, x := range []struct {
		event string
		arg   any
		want  string
		told  string
	}{
		{"any", 1, `"of the backend"`, "event any 1 user= timeout=0s"},
		{"own", 1, `{"ok":true}`, ""},
		{"slow", "a", `"of the backend"`, `event slow "a" user= timeout=1s`},
		{"slow", "aaaa", `{"error":"too large","data":{"code":413}}`, ""},
		{"say", "r", `{"error":"forbidden","data":{"code":403}}`, ""},
		{"enter", "r", `{"ok":true,"room":"r"}`, ""},
		{"say", "r", `"of the backend"`, `event say "r" user= timeout=0s`},
		{"elsewhere", 1, `"of the backend"`, "event elsewhere 1 user= timeout=0s"},
		{"full", 1, `{"error":"unavailable","data":{"code":503}}`, "event full 1 user= timeout=0s"},
		{"presence:join", 1, `{"error":"unknown event","data":{"code":404}}`, ""},
	} {
		if got := ask(c, x.event, x.arg); got != x.want {
			t.Errorf("%s is answered %s, want %s", x.event, got, x.want)
		}
		if got := strings.Join(b.take(), ","); got != x.told {
			t.Errorf("of %s the backend was told %q, want %q", x.event, got, x.told)
		}
	}
}

// Whoever comes back must be who it was, also if only the backend knows that.
func TestABackendIsAskedAgain(t *testing.T) {
	who := "ann"
	b := &backend{connect: func(sio.Socket, action.Entry) (*action.Result, error) { return &action.Result{User: who}, nil }}
	a := startWith(t, sio.Options{Recovery: sio.Recovery{Window: time.Minute}}, Options{Asks: true}, config.Auth{Mode: "webhook"}, b, config.Namespace{Pattern: "/a"})
	for _, x := range []struct {
		then string
		same bool
		told int
	}{{"ann", true, 1}, {"bob", false, 2}} {
		who = "ann"
		c := a.Connect("/a")
		a.router.srv.Of("/a").Emit("offset", 1)
		c.Expect("offset", new(int))
		c.Drop()
		b.take()
		who = x.then
		if err := c.Reconnect(); err != nil {
			t.Fatal(err)
		}
		if c.Recovered() != x.same {
			t.Errorf("as %s it is recovered: %v", who, c.Recovered())
		}
		if got := b.take(); len(got) != x.told || !strings.HasSuffix(got[0], "recovered=true") {
			t.Errorf("as %s the backend was told %q", who, got)
		}
		if id := a.auth.Of(c.Socket()); id.User != who {
			t.Errorf("%s is %s", who, id.User)
		}
	}
}

// Of rooms that come and go at once nothing is told.
func TestABackendIsToldOfRooms(t *testing.T) {
	b := &backend{}
	a := startWith(t, sio.Options{}, Options{}, config.Auth{}, b, config.Namespace{Pattern: "/a", Backend: "quiet", Events: map[string]config.Event{
		"enter": {Action: "join", Room: "{args.0}", Allow: []string{"*"}}, "leave": {Action: "leave", Room: "{args.0}"},
	}})
	a.router.rooms.delay = 50 * time.Millisecond
	c := a.Connect("/a")
	ask(c, "enter", "brief")
	ask(c, "leave", "brief")
	ask(c, "enter", "lasting")
	var got []string
	for len(got) == 0 {
		time.Sleep(10 * time.Millisecond)
		got = b.take()
	}
	if !slices.Equal(got, []string{`room /a ,"room":"lasting","state":"created"`}) {
		t.Errorf("the backend was told %q", got)
	}
	a.router.rooms.delay = time.Hour
	ask(c, "leave", "lasting")
	ask(c, "enter", "late")
	a.router.Close()
	if got := b.take(); !slices.Equal(got, []string{`room /a ,"room":"lasting","state":"deleted"`, `room /a ,"room":"late","state":"created"`}) {
		t.Errorf("the backend was told %q", got)
	}
}
