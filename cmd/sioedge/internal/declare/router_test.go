package declare

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// trends is the namespace that the guide begins with.
var trends = config.Namespace{
	Pattern:       "/campaigns/:id/trends",
	Params:        map[string]string{"id": "^[0-9]+$"},
	Auth:          "required",
	AllowConnect:  []string{"campaign:{id}:read"},
	JoinOnConnect: []string{"campaign:{id}", "user:{user}"},
	Events: map[string]config.Event{
		"subscribe":   {Action: "join", Room: "{args.0}", Allow: []string{"trend:{id}:*", "public:*"}},
		"unsubscribe": {Action: "leave", Room: "{args.0}"},
		"cursor":      {Action: "relay", To: []string{"campaign:{id}"}, MemberOnly: true, Volatile: true, MaxBytes: 64},
		"debug":       {Action: "drop"},
	},
	Limits: config.NamespaceLimits{MaxRooms: 4},
}

const campaign = "/campaigns/42/trends"

func TestAnApplicationWithoutCode(t *testing.T) {
	a := start(t, sio.Options{}, trends)
	reader := claimed{"scope": "campaign:42:read"}
	ann, bob := a.connect(campaign, "ann", reader), a.connect(campaign, "bob", reader)
	other := a.connect("/campaigns/7/trends", "eve", claimed{"rooms": []string{"campaign:*"}})
	if got := ann.Socket().Rooms()[1:]; !slices.Equal(got, []string{"campaign:42", "user:ann"}) {
		t.Errorf("rooms %q", got)
	}

	if got := ask(ann, "subscribe", "trend:42:eur"); got != `{"ok":true,"room":"trend:42:eur"}` {
		t.Errorf("subscribe: %s", got)
	}
	a.Of("/campaigns/:id/trends").Instance(campaign).To("trend:42:eur").Emit("trend", 1.5)
	if got := siotest.Expect[float64](ann, "trend"); got != 1.5 {
		t.Errorf("trend %v", got)
	}
	bob.ExpectNothing()
	if got := ask(ann, "unsubscribe", "trend:42:eur"); got != `{"ok":true}` || ann.Socket().In("trend:42:eur") {
		t.Errorf("unsubscribe: %s", got)
	}
	if got := ask(ann, "unsubscribe", "never:joined"); got != `{"ok":true}` {
		t.Errorf("unsubscribe from where she is not: %s", got)
	}

	if got := ask(ann, "cursor", map[string]int{"x": 1}, []byte{1, 2}); got != `{"ok":true}` {
		t.Errorf("cursor: %s", got)
	}
	var bytes []byte
	bob.Expect("cursor", new(any), &bytes)
	if !slices.Equal(bytes, []byte{1, 2}) {
		t.Errorf("bytes %v", bytes)
	}
	ann.ExpectNothing()
	other.ExpectNothing()
	if got := ask(ann, "debug"); got != `{"ok":true}` {
		t.Errorf("debug: %s", got)
	}
	if st := a.router.Stats(); st.Namespaces != 1 || len(st.Refused) != 0 {
		t.Errorf("stats %+v", st)
	}
}

// How a client came is kept for namespaces that have to know who it is, or tell a backend.
func TestARequestIsKeptForWhoAsks(t *testing.T) {
	for _, c := range []struct {
		ns   config.Namespace
		kept bool
	}{
		{config.Namespace{Pattern: "/n/:id", Auth: "none", JoinOnConnect: []string{"n:{id}"}}, false},
		{config.Namespace{Pattern: "/n/:id", Auth: "optional"}, true},
		{trends, true},
	} {
		a := start(t, sio.Options{}, c.ns)
		conn := a.Dial(siotest.Options{})
		a.Of("/late").OnConnect(func(s sio.Socket) error { return s.Emit("kept", s.Handshake().URL() != "") })
		conn.Send("40/late,")
		if got := conn.Received(); got[len(got)-1] != fmt.Sprintf(`42/late,["kept",%t]`, c.kept) {
			t.Errorf("%s, auth %s: %q, want %t", c.ns.Pattern, c.ns.Auth, got, c.kept)
		}
	}
}

func TestWhoIsNotLetIn(t *testing.T) {
	open := config.Namespace{Pattern: "/open", Auth: "none"}
	optional := config.Namespace{Pattern: "/optional/:x", Auth: "optional", JoinOnConnect: []string{"all", "x:{x}", "user:{user}", "org:{claims.org}"}}
	a := start(t, sio.Options{}, trends, open, optional)
	now := a.Now()
	const forbidden = `forbidden {"code":403}`
	for _, c := range []struct {
		namespace string
		o         siotest.Options
		want      string // a part
	}{
		{campaign, siotest.Options{}, `unauthorized {"code":401,"reason":"token missing"`},
		{campaign, siotest.Options{Auth: map[string]string{"token": "x"}}, `unauthorized {"code":401`},
		{campaign, a.as("ann", nil), forbidden},
		{campaign, a.as("ann", claimed{"scope": "campaign:4:read"}), forbidden},
		{campaign, a.as("ann", claimed{"scope": "campaign:42:*"}), ""},
		{campaign, a.as("ann", claimed{"scope": "campaign:42:read", "namespaces": []string{"/other"}}), forbidden},
		{campaign, a.as("ann", claimed{"scope": "campaign:42:read", "namespaces": []string{"/campaigns/42/*"}}), ""},
		{campaign, a.as("a:b", claimed{"scope": "*"}), `bad request {"code":400}`},
		{campaign, a.as("ann*", claimed{"scope": "*"}), `bad request {"code":400}`},
		{"/campaigns/x/trends", a.as("ann", claimed{"scope": "*"}), "Invalid namespace"},
		{"/campaigns/4%32/trends", a.as("ann", claimed{"scope": "*"}), "Invalid namespace"},
		{"/campaigns/42/trends/", a.as("ann", claimed{"scope": "*"}), "Invalid namespace"},
		{"/", a.as("ann", claimed{"scope": "*"}), "Invalid namespace"},
		{"/open", siotest.Options{}, ""},
		{"/open", siotest.Options{Auth: map[string]string{"token": "x"}}, ""},
		{"/optional/a", siotest.Options{}, ""},
		{"/optional/a:b", siotest.Options{}, `bad request {"code":400}`},
		{"/optional/*", siotest.Options{}, "Invalid namespace"},
		{"/optional/a*", siotest.Options{}, `bad request {"code":400}`},
		{"/optional/a", siotest.Options{Auth: map[string]string{"token": token(now.Add(-time.Hour), "ann", nil)}}, "unauthorized"},
	} {
		got := a.try(c.namespace, c.o)
		if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %q", c.namespace, got, c.want)
		}
	}
	const pattern = "/campaigns/:id/trends"
	if n, m, o := a.refusedFor(pattern, "permission"), a.refusedFor(pattern, "token"), a.refusedFor(pattern, "value"); n != 2 || m != 1 || o != 2 {
		t.Errorf("counted %d, %d, %d", n, m, o)
	}
	for _, key := range []string{"namespaces[0].allow_connect", "namespaces[0].join_on_connect[1]"} {
		if !a.log.has("declaration=" + key) {
			t.Errorf("the log does not name %s", key)
		}
	}
	if got := a.Of(pattern).Instances(); len(got) != 0 {
		t.Errorf("instances %q", got)
	}
	anonymous := a.Connect("/optional/a")
	if got := anonymous.Socket().Rooms()[1:]; !slices.Equal(got, []string{"all", "x:a"}) {
		t.Errorf("rooms of nobody: %q", got)
	}
	if got := a.connect("/optional/a", "ann", claimed{"org": "acme"}).Socket().Rooms()[1:]; !slices.Equal(got, []string{"all", "x:a", "user:ann", "org:acme"}) {
		t.Errorf("rooms of ann: %q", got)
	}
}

// All that an event can be refused for, in the order in which it is looked at.
func TestRefusedEventsAreAnsweredCountedAndLogged(t *testing.T) {
	no := false
	d := config.Namespace{
		Pattern: "/c/:id", Auth: "required", JoinOnConnect: []string{"c:{id}", "announcements"},
		Events: map[string]config.Event{
			"join":    {Action: "join", Room: "{args.0}", Allow: []string{"trend:{id}:*", "own:{user}:*"}},
			"granted": {Action: "join", Room: "g:{args.0.room}"},
			"leave":   {Action: "leave", Room: "l:{args.0}", Allow: []string{"l:a*"}},
			"say":     {Action: "relay", To: []string{"c:{id}", "r:{args.0}"}, Allow: []string{"c:*", "r:*"}, MemberOnly: true},
			"admin":   {Action: "drop", Require: []string{"admin:{id}", "root"}, MaxBytes: 8},
			"perarg":  {Action: "drop", Require: []string{"do:{args.0}"}},
			"org":     {Action: "join", Room: "org:{claims.org}"},
			"silent":  {Action: "join", Room: "{args.0}", Ack: &no},
			"blob":    {Action: "drop", MaxBytes: 8},
			"quiet":   {Action: "drop", Ack: &no},
		},
		Limits: config.NamespaceLimits{MaxRooms: 3},
	}
	a := start(t, sio.Options{}, d, config.Namespace{Pattern: "/ro", Auth: "none", ReadOnly: true}, config.Namespace{Pattern: "/none", Auth: "none"})
	c := a.connect("/c/42", "ann", claimed{"scope": "do:it", "rooms": []string{"g:a*"}})
	const (
		forbidden = `{"error":"forbidden","data":{"code":403}}`
		ok        = `{"ok":true}`
	)
	bad := func(p problem) string {
		return fmt.Sprintf(`{"error":"bad request","data":{"code":400,"reason":%q}}`, p)
	}
	for _, x := range []struct {
		event  string
		args   []any
		want   string
		reason string // "": not refused
		key    string // of the declaration
	}{
		{"nothing", nil, `{"error":"unknown event","data":{"code":404}}`, "unknown", "events"},
		{"auth:expiring", nil, `{"error":"unknown event","data":{"code":404}}`, "unknown", "events"},
		{"presence:join", nil, `{"error":"unknown event","data":{"code":404}}`, "unknown", "events"},
		{"admin", []any{"123456789"}, forbidden, "permission", "events.admin.require"},
		{"perarg", []any{"it"}, ok, "", ""},
		{"perarg", []any{"that"}, forbidden, "permission", "events.perarg.require"},
		{"perarg", []any{"it:*"}, forbidden, "permission", "events.perarg.require"},
		{"perarg", nil, forbidden, "permission", "events.perarg.require"},
		{"blob", []any{"123456"}, ok, "", ""},
		{"blob", []any{"1234567"}, `{"error":"too large","data":{"code":413}}`, "max_bytes", "events.blob.max_bytes"},
		{"blob", []any{1, []byte("1234567")}, `{"error":"too large","data":{"code":413}}`, "max_bytes", "events.blob.max_bytes"},
		{"join", nil, bad(noValue), "value", "events.join.room"},
		{"join", []any{nil}, bad(wrongKind), "value", "events.join.room"},
		{"join", []any{"trend:42:*"}, bad(badChar), "value", "events.join.room"},
		{"join", []any{c.ID()}, bad(likeSocket), "value", "events.join.room"},
		{"join", []any{"trend:7:x"}, forbidden, "room", "events.join.room"},
		{"join", []any{"announcements"}, forbidden, "room", "events.join.room"},
		{"join", []any{"own:bob:x"}, forbidden, "room", "events.join.room"},
		{"granted", []any{map[string]string{"room": "b"}}, forbidden, "room", "events.granted.room"},
		{"granted", []any{map[string]string{"room": "x:a"}}, bad(badChar), "value", "events.granted.room"},
		{"granted", []any{map[string]string{"room": "abc"}}, `{"ok":true,"room":"g:abc"}`, "", ""},
		{"granted", []any{map[string]string{"room": "abc"}}, `{"ok":true,"room":"g:abc"}`, "", ""}, // once more
		{"join", []any{"own:ann:x"}, `{"error":"too many rooms","data":{"code":429}}`, "max_rooms", "events.join.room"},
		{"org", nil, forbidden, "user", "events.org.room"},
		{"leave", []any{"b"}, forbidden, "room", "events.leave.room"},
		{"leave", []any{"abc"}, ok, "", ""},
		{"say", []any{"none"}, forbidden, "member_only", "events.say.member_only"},
		{"silent", []any{"x"}, "no answer", "room", "events.silent.room"},
		{"quiet", nil, "no answer", "", ""},
	} {
		before := a.refusedFor("/c/:id", x.reason)
		if got := ask(c, x.event, x.args...); got != x.want {
			t.Errorf("%s %v: %s, want %s", x.event, x.args, got, x.want)
		}
		if x.reason == "" {
			continue
		}
		if n := a.refusedFor("/c/:id", x.reason) - before; n != 1 {
			t.Errorf("%s %v: counted %d times as %s", x.event, x.args, n, x.reason)
		}
	}
	for _, key := range []string{"events", "events.admin.require", "events.blob.max_bytes", "events.join.room", "events.say.member_only"} {
		if !a.log.has("declaration=namespaces[0]." + key + " ") {
			t.Errorf("the log does not name %s", key)
		}
	}
	if got := c.Socket().Rooms()[1:]; !slices.Equal(got, []string{"c:42", "announcements", "g:abc"}) {
		t.Errorf("rooms %q", got)
	}
	c.Emit("nothing") // nobody is answered who has not asked
	c.ExpectNothing()

	if got := ask(a.Connect("/ro"), "x"); got != `{"error":"read-only","data":{"code":403}}` || a.refusedFor("/ro", "readonly") != 1 {
		t.Errorf("read-only: %s", got)
	}
	if got := ask(a.Connect("/none"), "x"); got != `{"error":"unknown event","data":{"code":404}}` {
		t.Errorf("a namespace without events: %s", got)
	}
	limited := a.connect("/c/42", "bob", claimed{"events": []string{"leave", "admin"}})
	if got := ask(limited, "blob"); got != forbidden || a.refusedFor("/c/:id", "token") != 1 {
		t.Errorf("an event that the token does not let out: %s", got)
	}
	if got := ask(limited, "leave", "abc"); got != ok {
		t.Errorf("one that it does: %s", got)
	}
}

func TestRelay(t *testing.T) {
	a := start(t, sio.Options{}, config.Namespace{
		Pattern: "/r/:id", Auth: "optional", JoinOnConnect: []string{"r:{id}"},
		Events: map[string]config.Event{
			"all":    {Action: "relay"},
			"self":   {Action: "relay", Self: true},
			"room":   {Action: "relay", To: []string{"r:{id}"}, As: "said"},
			"both":   {Action: "relay", To: []string{"x", "r:{id}"}, Self: true},
			"sender": {Action: "relay", To: []string{"r:{id}"}, Sender: true},
			"skip":   {Action: "relay", To: []string{"r:{id}"}, Skip: 2},
			"far":    {Action: "relay", To: []string{"r:{id}"}, Skip: 9, Sender: true},
			"*":      {Action: "relay", To: []string{"r:{id}"}, Sender: true},
		},
	})
	ann, bob, nobody := a.connect("/r/1", "ann", nil), a.connect("/r/1", "bob", nil), a.Connect("/r/1")
	elsewhere := a.connect("/r/2", "eve", nil)
	nobody.Socket().Leave("r:1")
	nobody.Socket().Join("x")
	for _, c := range []struct {
		event, as string
		args      string
		to        []*siotest.Client
	}{
		{"all", "all", `1, "a", {"x":null}`, []*siotest.Client{bob, nobody}},
		{"self", "self", `1, "a", {"x":null}`, []*siotest.Client{ann, bob, nobody}},
		{"room", "said", `1, "a", {"x":null}`, []*siotest.Client{bob}},
		{"both", "both", `1, "a", {"x":null}`, []*siotest.Client{ann, bob, nobody}},
		{"sender", "sender", `1, "a", {"x":null}, {"id":"` + ann.ID() + `","user":"ann"}`, []*siotest.Client{bob}},
		{"skip", "skip", `{"x":null}`, []*siotest.Client{bob}},
		{"far", "far", `{"id":"` + ann.ID() + `","user":"ann"}`, []*siotest.Client{bob}},
		{"other", "other", `1, "a", {"x":null}, {"id":"` + ann.ID() + `","user":"ann"}`, []*siotest.Client{bob}},
	} {
		if got := ask(ann, c.event, 1, "a", map[string]any{"x": nil}); got != `{"ok":true}` {
			t.Errorf("%s: %s", c.event, got)
		}
		for _, to := range []*siotest.Client{ann, bob, nobody, elsewhere} {
			got := to.Received()
			if !slices.Contains(c.to, to) {
				if len(got) > 0 {
					t.Errorf("%s: %v got %v", c.event, to, got)
				}
				continue
			}
			if len(got) != 1 || got[0].Name != c.as || got[0].Args.String() != c.args {
				t.Errorf("%s: %v got %v, want %s%s", c.event, to, got, c.as, c.args)
			}
		}
	}
	nobody.Emit("sender")
	if got := bob.Received(); len(got) != 1 || got[0].Args.String() != `{"id":"`+nobody.ID()+`"}` {
		t.Errorf("of nobody: %v", got)
	}
	// What the server says itself is said by nobody else.
	for _, event := range ownEvents {
		ann.Emit(event, map[string]string{"room": "r:1", "user": "eve"})
	}
	for _, c := range []*siotest.Client{bob, nobody} {
		c.ExpectNothing()
	}
}

func TestVolatileRelaysAreDroppedForWhoIsSlow(t *testing.T) {
	a := start(t, sio.Options{}, config.Namespace{Pattern: "/", Auth: "none", Events: map[string]config.Event{
		"cursor": {Action: "relay", Volatile: true}, "chat": {Action: "relay"}}})
	ann, slow := a.Connect("/"), a.Connect("/")
	slow.Stall(true)
	long := strings.Repeat("x", 100_000)
	for range 5 {
		ann.Emit("chat", long)
	}
	ann.Emit("cursor", 1)
	slow.Stall(false)
	for _, e := range slow.Received() {
		if e.Name == "cursor" {
			t.Error("a volatile event has waited")
		}
	}
	ann.Emit("cursor", 2)
	slow.Expect("cursor")
}

// A subscribe and what needs it may be in one packet of the network.
func TestAJoinCountsForTheNextEvent(t *testing.T) {
	a := start(t, sio.Options{}, config.Namespace{Pattern: "/", Auth: "none", Events: map[string]config.Event{
		"join":  {Action: "join", Room: "r:{args.0}", Allow: []string{"r:*"}},
		"leave": {Action: "leave", Room: "r:{args.0}"},
		"say":   {Action: "relay", To: []string{"r:{args.0}"}, Allow: []string{"r:*"}, MemberOnly: true},
	}})
	c := a.Dial(siotest.Options{})
	c.Send("40")
	c.Received()
	c.Send(`420["join","a"]`, `421["say","a"]`, `422["leave","a"]`, `423["say","a"]`)
	want := []string{`430[{"ok":true,"room":"r:a"}]`, `431[{"ok":true}]`, `432[{"ok":true}]`, `433[{"error":"forbidden","data":{"code":403}}]`}
	if got := c.Received(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestTheServersBoundOfRoomsIsSaid(t *testing.T) {
	a := start(t, sio.Options{MaxRooms: 1}, config.Namespace{Pattern: "/", Auth: "none", Events: map[string]config.Event{
		"join": {Action: "join", Room: "r:{args.0}", Allow: []string{"*"}}}})
	c := a.Connect("/")
	if got := ask(c, "join", "a"); got != `{"ok":true,"room":"r:a"}` {
		t.Error(got)
	}
	if got := ask(c, "join", "b"); got != `{"error":"too many rooms","data":{"code":429}}` {
		t.Error(got)
	}
	_ = a.ExpectError("join")
}

func TestLimits(t *testing.T) {
	a := start(t, sio.Options{}, config.Namespace{
		Pattern: "/", Auth: "required", Limits: config.NamespaceLimits{MaxConnsPerUser: 2, Events: "5/s nack"},
		Events: map[string]config.Event{"a": {Action: "drop", Rate: "1/s nack"}, "b": {Action: "drop"}},
	})
	c := a.connect("/", "ann", nil)
	a.connect("/", "ann", nil)
	if got := a.try("/", a.as("ann", nil)); got != `too many connections {"code":429}` {
		t.Errorf("a third connection: %q", got)
	}
	if got := a.try("/", a.as("bob", nil)); got != "" {
		t.Errorf("another user: %q", got)
	}
	oks := func(event string, n int) (ok int) {
		for range n {
			if ask(c, event) == `{"ok":true}` {
				ok++
			}
		}
		return ok
	}
	if n := oks("a", 3); n != 1 {
		t.Errorf("%d of an event whose rate is 1/s passed", n)
	}
	if n := oks("b", 9); n > 4 || n < 2 {
		t.Errorf("%d of the others, where 5/s pass together", n)
	}
	// Rates are those of now.
	a.Advance(10 * time.Second)
	a.apply(config.Namespace{Pattern: "/", Auth: "required", Events: map[string]config.Event{"a": {Action: "drop"}}})
	if n := oks("a", 9); n != 9 {
		t.Errorf("%d passed without a rate", n)
	}
}
