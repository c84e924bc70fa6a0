package declare

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

// faultsOf returns the faults of a compilation, each as "key: text".
func faultsOf(err error) (all []string) {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			all = append(all, faultsOf(e)...)
		}
		return all
	}
	if f := new(config.Fault); errors.As(err, &f) {
		return []string{f.Error()}
	}
	return []string{"no fault: " + err.Error()}
}

func event(d config.Event) map[string]config.Event { return map[string]config.Event{"e": d} }

func TestEachMistakeIsNamedByItsKey(t *testing.T) {
	no := false
	for _, c := range []struct {
		d    config.Namespace
		want string // the key, and a part of the text
	}{
		{config.Namespace{}, "pattern: is missing"},
		{config.Namespace{Pattern: "c"}, "pattern: does not begin with a slash: /c"},
		{config.Namespace{Pattern: "/a,b"}, "pattern: has a comma"},
		{config.Namespace{Pattern: "/a#b"}, "pattern: has a comma"},
		{config.Namespace{Pattern: "/a?b"}, "pattern: has a comma"},
		{config.Namespace{Pattern: "/a\x00"}, "pattern: has a control"},
		{config.Namespace{Pattern: "/a\xff"}, "pattern: has a control"},
		{config.Namespace{Pattern: "/" + strings.Repeat("a", 1024)}, "pattern: has more than 1024"},
		{config.Namespace{Pattern: "/*rest/a"}, "pattern: goes on behind *rest"},
		{config.Namespace{Pattern: "/:"}, "pattern: has a parameter that is not"},
		{config.Namespace{Pattern: "/:a b"}, "pattern: has a parameter that is not"},
		{config.Namespace{Pattern: "/:user"}, "pattern: has a parameter called user"},
		{config.Namespace{Pattern: "/:args"}, "pattern: has a parameter called args"},
		{config.Namespace{Pattern: "/:a/:a"}, "pattern: has two parameters called a"},
		{config.Namespace{Pattern: "/sioedge.servers"}, "pattern: is where servers"},
		{config.Namespace{Pattern: "/first/:b"}, "pattern: has the same names as that of namespaces[0]"},
		{config.Namespace{Pattern: "/c", Params: map[string]string{"id": "x"}}, "params.id: is no parameter of /c"},
		{config.Namespace{Pattern: "/c/:id", Params: map[string]string{"id": ""}}, "params.id: is empty"},
		{config.Namespace{Pattern: "/c/:id", Params: map[string]string{"id": "("}}, "params.id: error parsing"},
		{config.Namespace{Pattern: "/c/:id", Params: map[string]string{"id": "a)|(b"}}, "params.id: error parsing"},
		{config.Namespace{Pattern: "/c/:id", Params: map[string]string{"id": "(((a{1000}){1000}){1000})"}}, "params.id: error parsing"},
		{config.Namespace{Pattern: "/c/:id", Params: map[string]string{"id": strings.Repeat("a", 257)}}, "params.id: has more than 256"},
		{config.Namespace{Pattern: "/c", Auth: "maybe"}, "auth: is maybe: required, optional or none"},
		{config.Namespace{Pattern: "/c", AllowConnect: []string{"x", "a:*"}}, "allow_connect[1]: a * may be"},
		{config.Namespace{Pattern: "/c", AllowConnect: []string{"{args.0}"}}, "allow_connect[0]: there are no arguments"},
		{config.Namespace{Pattern: "/c", Auth: "none", AllowConnect: []string{"x"}}, "allow_connect: nobody has a user"},
		{config.Namespace{Pattern: "/c", JoinOnConnect: []string{"{args.0}"}}, "join_on_connect[0]: there are no arguments"},
		{config.Namespace{Pattern: "/c", JoinOnConnect: []string{"a", ""}}, "join_on_connect[1]: is empty"},
		{config.Namespace{Pattern: "/c", Auth: "none", JoinOnConnect: []string{"u:{user}"}}, "join_on_connect[0]: nobody has a user"},
		{config.Namespace{Pattern: "/c", ReadOnly: true, Events: event(config.Event{Action: "drop"})}, "events: are all refused"},

		{config.Namespace{Pattern: "/c", Events: event(config.Event{})}, "events.e.action: is missing"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "webhook"})}, "events.e.action: is webhook, and there is no backend for it"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "send"})}, "events.e.action: is send: join"},
		{config.Namespace{Pattern: "/c", Events: map[string]config.Event{"": {Action: "drop"}}}, "events.: an event has no name"},
		{config.Namespace{Pattern: "/c", Events: map[string]config.Event{strings.Repeat("e", 257): {Action: "drop"}}}, ": an event has a name of more"},
		{config.Namespace{Pattern: "/c", Events: map[string]config.Event{"disconnect": {Action: "drop"}}}, "events.disconnect: is a name that Socket.IO"},
		{config.Namespace{Pattern: "/c", Events: map[string]config.Event{"auth:refresh": {Action: "drop"}}}, "events.auth:refresh: is an event of the server's"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "join"})}, "events.e.room: is missing"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "leave"})}, "events.e.room: is missing"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "join", Room: "a", To: []string{"a"}})}, "events.e.to: does nothing with the action join"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "join", Room: "a", MemberOnly: true})}, "events.e.member_only: does nothing"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "join", Room: "a", Volatile: true})}, "events.e.volatile: does nothing"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "join", Room: "a", Self: true})}, "events.e.self: does nothing"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "join", Room: "a", Sender: true})}, "events.e.sender: does nothing"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "join", Room: "a", As: "b"})}, "events.e.as: does nothing"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "drop", Allow: []string{"a"}})}, "events.e.allow: does nothing"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "leave", Room: "a", Skip: 1})}, "events.e.skip: does nothing"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "relay", Skip: -1})}, "events.e.skip: is negative"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "relay", Room: "a"})}, "events.e.room: does nothing with the action relay"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "relay", Allow: []string{"a"}})}, "events.e.allow: does nothing without to"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "relay", MemberOnly: true})}, "events.e.member_only: does nothing without to"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "relay", To: []string{"a", "{b}"}})}, "events.e.to[1]: {b} is no parameter"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "relay", To: []string{"a:*"}})}, "events.e.to[0]: a * may be"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "relay", As: "connect"})}, "events.e.as: is connect, which cannot"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "relay", As: "presence:join"})}, "events.e.as: is presence:join, which cannot"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "relay", As: "*"})}, "events.e.as: is *, which cannot"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "join", Room: "{id}"})}, "events.e.room: {id} is no parameter"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "join", Room: "{args.0}", Allow: []string{"a", "x:{args.0}"}})}, "events.e.allow[1]: there are no arguments"},
		{config.Namespace{Pattern: "/c", Auth: "none", Events: event(config.Event{Action: "join", Room: "{args.0}"})}, "events.e.allow: is missing"},
		{config.Namespace{Pattern: "/c", Auth: "none", Events: event(config.Event{Action: "relay", To: []string{"{args.0}"}, MemberOnly: true})}, "events.e.allow: is missing"},
		{config.Namespace{Pattern: "/c", Auth: "none", Events: event(config.Event{Action: "drop", Require: []string{"x"}})}, "events.e.require: nobody has a user"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "drop", Require: []string{"x:*"}})}, "events.e.require[0]: a * may be"},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "drop", Rate: "fast"})}, "events.e.rate: "},
		{config.Namespace{Pattern: "/c", Events: event(config.Event{Action: "drop", Ack: &no, MaxBytes: -1})}, "events.e.max_bytes: is negative"},

		{config.Namespace{Pattern: "/c", Emit: map[string]config.Class{"p": {Policy: "latest"}}}, `emit.p.policy: is "latest"`},
		{config.Namespace{Pattern: "/c", Emit: map[string]config.Class{"p": {Policy: "close", Key: "x"}}}, "emit.p.key: is of conflate alone"},
		{config.Namespace{Pattern: "/c", Emit: map[string]config.Class{"p": {Policy: "conflate", Key: "*"}}}, "emit.p.key: a * may"},
		{config.Namespace{Pattern: "/c", Emit: map[string]config.Class{"p": {Policy: "conflate", Key: "{user}"}}}, "emit.p.key: nobody has"},
		{config.Namespace{Pattern: "/c", Emit: map[string]config.Class{"*": {Policy: "close"}}}, "emit.*: is no event"},
		{config.Namespace{Pattern: "/c", Emit: map[string]config.Class{"disconnect": {Policy: "close"}}}, "emit.disconnect: is a name"},
		{config.Namespace{Pattern: "/c", Emit: map[string]config.Class{"presence:join": {Policy: "close"}}}, "emit.presence:join: is an event of"},

		{config.Namespace{Pattern: "/c", Limits: config.NamespaceLimits{MaxRooms: -1}}, "limits.max_rooms: is negative"},
		{config.Namespace{Pattern: "/c", JoinOnConnect: []string{"a", "b"}, Limits: config.NamespaceLimits{MaxRooms: 1}}, "limits.max_rooms: is less"},
		{config.Namespace{Pattern: "/c", Limits: config.NamespaceLimits{MaxConnsPerUser: -1}}, "limits.max_conns_per_user: is negative"},
		{config.Namespace{Pattern: "/c", Auth: "none", Limits: config.NamespaceLimits{MaxConnsPerUser: 1}}, "limits.max_conns_per_user: there are no users"},
		{config.Namespace{Pattern: "/c", Limits: config.NamespaceLimits{Events: "x"}}, "limits.events: "},
		{config.Namespace{Pattern: "/c", Limits: config.NamespaceLimits{Bytes: "x"}}, "limits.bytes: "},
		{config.Namespace{Pattern: "/c", History: config.History{Size: -1}}, "history.size: is negative"},
		{config.Namespace{Pattern: "/c", History: config.History{TTL: time.Minute}}, "history.ttl: does nothing"},
		{config.Namespace{Pattern: "/c", History: config.History{Size: 1, TTL: -1}}, "history.ttl: is negative"},
		{config.Namespace{Pattern: "/c", History: config.History{Size: 1, ReplayOnJoin: 2}}, "history.replay_on_join: is more than size"},
		{config.Namespace{Pattern: "/c", History: config.History{Events: []string{"e"}}}, "history.events: does nothing"},
		{config.Namespace{Pattern: "/c", History: config.History{Size: 1, Events: []string{"e", "*"}}}, "history.events[1]: is no event"},
		{config.Namespace{Pattern: "/c", Presence: config.Presence{Debounce: -1}}, "presence.debounce: is negative"},
	} {
		list := []config.Namespace{{Pattern: "/first/:a"}, c.d}
		_, err := Compile(list, Options{Auth: true})
		got := faultsOf(err)
		if !slices.ContainsFunc(got, func(f string) bool { return strings.HasPrefix(f, "namespaces[1].") && strings.Contains(f, c.want) }) {
			t.Errorf("%+v: %q, want %q", c.d, got, c.want)
		}
	}
	for _, auth := range []string{"required", "optional"} {
		_, err := Compile([]config.Namespace{{Pattern: "/", Auth: auth}}, Options{})
		if got := faultsOf(err); len(got) != 1 || !strings.HasPrefix(got[0], "namespaces[0].auth: cannot be "+auth) {
			t.Errorf("without a way to prove who one is: %q", got)
		}
	}
}

func TestAllMistakesAreNamedAtOnce(t *testing.T) {
	_, err := Compile([]config.Namespace{
		{Pattern: "x", Auth: "y", Events: map[string]config.Event{"b": {}, "a": {Action: "join", Room: "{z}"}}},
		{Pattern: "/c", History: config.History{Size: -1}},
	}, Options{Auth: true})
	want := []string{
		"namespaces[0].pattern: does not begin with a slash: /x",
		"namespaces[0].auth: is y: required, optional or none",
		"namespaces[0].events.a.room: {z} is no parameter of the pattern, nor user, claims.NAME or args.N",
		"namespaces[0].events.b.action: is missing: join, leave, relay, drop, webhook or bridge",
		"namespaces[1].history.size: is negative",
	}
	if got := faultsOf(err); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestWhatIsCompiled(t *testing.T) {
	p, err := Compile([]config.Namespace{
		{Pattern: "/c/:id/*rest", AllowConnect: []string{"org:{claims.org}:{claims.team.name}"}, Events: map[string]config.Event{
			"sub":  {Action: "join", Room: "{args.0}"},
			"free": {Action: "join", Room: "x:{id}"},
			"off":  {Action: "leave", Room: "{args.0}"},
			"say":  {Action: "relay", To: []string{"x:{claims.org}"}, Rate: "2/s"},
			"*":    {Action: "drop", Rate: "1/s"},
		}},
		{Pattern: "/open", Auth: "none"},
	}, Options{Auth: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Claims(); !slices.Equal(got, []string{"org", "team.name"}) {
		t.Errorf("claims %q", got)
	}
	r := p.spaces[0]
	if r.need != needRequired || p.spaces[1].need != needNone || r.name.shape != "/c/:/*" || r.any == nil || len(r.events) != 4 || len(r.joins) != 2 {
		t.Errorf("rules %+v", r)
	}
	for name, judged := range map[string]bool{"sub": true, "free": false, "off": false, "say": false} {
		if r.events[name].judged != judged || !r.events[name].ack {
			t.Errorf("%s: judged %v, ack %v", name, r.events[name].judged, r.events[name].ack)
		}
	}
	// Those without a rate of their own do not count with the others.
	for name, n := range map[string]int64{"say": 2, "*": 1, "sub": 0} {
		if rate, ok := r.rates.PerEvent[name]; !ok || rate.N != n {
			t.Errorf("the rate of %s is %v, %v", name, rate, ok)
		}
	}
}

func TestConstraintsAreOfTheWholeValue(t *testing.T) {
	for _, c := range []struct{ expr, is, not string }{
		{"^[0-9]+$", "4 42", "x 4x x4"},
		{"[0-9]+", "42", "4x x4 4\nx 42\n"},
		{"a|b", "a b", "ab xa bx"},
		{"(?m)^a$", "a", "a\nb b\na"},
		{"(?i)abc", "ABC abc", "ab"},
	} {
		expr, err := parseConstraint(c.expr)
		if err != nil {
			t.Fatal(err)
		}
		r := &rules{constraints: []*regexp.Regexp{expr}}
		for _, v := range strings.Split(c.is, " ") {
			if !r.lets(func(int) string { return v }) {
				t.Errorf("%s is not %q", c.expr, v)
			}
		}
		for _, v := range strings.Split(c.not, " ") {
			if r.lets(func(int) string { return v }) {
				t.Errorf("%s is %q", c.expr, v)
			}
		}
	}
	expr, _ := parseConstraint("a*")
	r := &rules{constraints: []*regexp.Regexp{expr}}
	if r.lets(func(int) string { return strings.Repeat("a", 257) }) {
		t.Error("a value of 257 bytes")
	}
}
