package declare

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

func TestReload(t *testing.T) {
	chat := config.Namespace{Pattern: "/c/:id", Params: map[string]string{"id": "[0-9]+"}, Auth: "none",
		Events: map[string]config.Event{"join": {Action: "join", Room: "c:{id}"}, "say": {Action: "relay", To: []string{"c:{id}"}, Self: true}}}
	a := start(t, sio.Options{}, chat, config.Namespace{Pattern: "/old", Auth: "none", Events: map[string]config.Event{"x": {Action: "drop"}}})
	c, old := a.Connect("/c/1"), a.Connect("/old")
	ask(c, "join")

	// A parameter with another name and other values, an event more and one less, and a
	// namespace more and one less.
	renamed := config.Namespace{Pattern: "/c/:name", Params: map[string]string{"name": "[a-z]+"}, Auth: "none",
		Events: map[string]config.Event{"say": {Action: "relay", To: []string{"c:{name}"}, Self: true, As: "said"}, "ping": {Action: "drop"}}}
	a.apply(renamed, config.Namespace{Pattern: "/new", Auth: "none"})
	ask(c, "say", 1)
	c.Expect("said")
	if got := ask(c, "join"); got != `{"error":"unknown event","data":{"code":404}}` {
		t.Errorf("an event that is gone: %s", got)
	}
	if got := ask(c, "ping"); got != `{"ok":true}` {
		t.Errorf("a new event: %s", got)
	}
	if got := ask(old, "x"); got != `{"ok":true}` {
		t.Errorf("who was in a namespace that is gone: %s", got)
	}
	for name, want := range map[string]string{"/c/1": "Invalid namespace ", "/c/a": "", "/old": "Invalid namespace ", "/new": ""} {
		if got := a.try(name, siotest.Options{}); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if n := a.router.Stats().Namespaces; n != 2 {
		t.Errorf("%d namespaces", n)
	}

	a.apply(chat, config.Namespace{Pattern: "/old", Auth: "none"})
	if got := a.try("/old", siotest.Options{}); got != "" {
		t.Errorf("a namespace that is back: %q", got)
	}
	if got := ask(old, "x"); got != `{"error":"unknown event","data":{"code":404}}` {
		t.Errorf("its events are those of now: %s", got)
	}
	a.apply()
	if got := a.try("/c/1", siotest.Options{}); got != "Invalid namespace " {
		t.Errorf("without declarations: %q", got)
	}
}

func TestANamespaceOfTheServersOwnIsNotDeclared(t *testing.T) {
	a := start(t, sio.Options{})
	own := a.Of("/own")
	err := a.router.Apply(compile(t, config.Namespace{Pattern: "/own", Auth: "none"}, config.Namespace{Pattern: "/x", Auth: "none"}))
	if got := faultsOf(err); !slices.Equal(got, []string{"namespaces[0].pattern: is a namespace of the server's own"}) {
		t.Errorf("faults %q", got)
	}
	if got := a.Connect("/own").Socket().Namespace(); got != own {
		t.Error("it is another one")
	}
	a.Connect("/x")
}

// Who comes back with another token is in the rooms that this one allows.
func TestRecoveryWithAnotherToken(t *testing.T) {
	a := start(t, sio.Options{Recovery: sio.Recovery{Window: time.Minute}}, config.Namespace{
		Pattern: "/", Auth: "required", AllowConnect: []string{"in"}, JoinOnConnect: []string{"all", "user:{user}", "org:{claims.org}"},
		Events: map[string]config.Event{
			"own":     {Action: "join", Room: "own:{user}:{args.0}", Allow: []string{"own:*"}},
			"granted": {Action: "join", Room: "g:{args.0}"},
			"team":    {Action: "join", Room: "team:{claims.org}:{args.0}", Allow: []string{"team:*"}},
			"paid":    {Action: "join", Room: "paid:{args.0.x}", Allow: []string{"paid:*"}, Require: []string{"pay:{args.0.x}"}},
			"vip":     {Action: "join", Room: "vip", Require: []string{"vip"}},
		},
	})
	all := claimed{"scope": "in vip pay:a pay:b", "rooms": []string{"g:a", "g:b"}, "org": "one"}
	auth := map[string]string{"token": token(a.Now(), "ann", all)}
	c := a.ConnectWith("/", siotest.Options{Auth: auth})
	for _, x := range []struct {
		event string
		arg   any
	}{{"own", "x"}, {"team", "x"}, {"granted", "a"}, {"granted", "b"}, {"paid", map[string]string{"x": "a"}}, {"paid", map[string]string{"x": "b"}}, {"vip", nil}} {
		if got := ask(c, x.event, x.arg); !strings.Contains(got, `"ok":true`) {
			t.Fatalf("%s %v: %s", x.event, x.arg, got)
		}
	}
	c.Socket().Join("the backend's")
	a.Of("/").Emit("x") // has an offset
	c.Expect("x")

	comeBack := func(now claimed) {
		t.Helper()
		c.Drop()
		auth["token"] = token(a.Now(), "ann", now)
		if err := c.Reconnect(); err != nil {
			t.Fatal(err)
		}
		if !c.Recovered() {
			t.Fatalf("not recovered: %+v\n%s", a.Recoveries(), a.log.b.String())
		}
	}
	rooms := func() []string { return slices.Sorted(slices.Values(c.Socket().Rooms()[1:])) }
	comeBack(all)
	want := []string{"all", "g:a", "g:b", "org:one", "own:ann:x", "paid:a", "paid:b", "team:one:x", "the backend's", "user:ann", "vip"}
	if got := rooms(); !slices.Equal(got, want) {
		t.Errorf("with the same permissions: %q, want %q", got, want)
	}
	comeBack(claimed{"scope": "in pay:b", "rooms": []string{"g:b"}, "org": "two"})
	want = []string{"all", "g:b", "org:two", "own:ann:x", "paid:b", "the backend's", "user:ann"}
	if got := rooms(); !slices.Equal(got, want) {
		t.Errorf("with fewer: %q, want %q", got, want)
	}

	// In band it is the same; and who may not be there at all has to leave.
	if got := ask(c, "auth:refresh", token(a.Now(), "ann", claimed{"scope": "in vip", "org": "three"})); !strings.Contains(got, `"ok":true`) {
		t.Errorf("refresh: %s", got)
	}
	want = []string{"all", "org:three", "own:ann:x", "the backend's", "user:ann"}
	if got := rooms(); !slices.Equal(got, want) {
		t.Errorf("with a new token: %q, want %q", got, want)
	}
	ask(c, "auth:refresh", token(a.Now(), "ann", nil))
	if end := c.ExpectDisconnect(); end.Reason != siotest.ServerDisconnect {
		t.Errorf("without the permission: %+v", end)
	}
}

func TestATokenEnds(t *testing.T) {
	a := start(t, sio.Options{}, config.Namespace{Pattern: "/", Auth: "required"})
	c := a.connect("/", "ann", nil)
	a.Advance(595 * time.Second)
	c.Expect("auth:expiring")
	if got := ask(c, "auth:refresh", token(a.Now(), "ann", nil)); !strings.Contains(got, `"ok":true`) {
		t.Errorf("refresh: %s", got)
	}
	a.Advance(500 * time.Second)
	if !c.Connected() {
		t.Fatal("ended with the first token")
	}
	a.Advance(101 * time.Second)
	if end := c.ExpectDisconnect(); end.Code != sio.ExpiredCode {
		t.Errorf("%+v", end)
	}
}

func TestHistory(t *testing.T) {
	a := start(t, sio.Options{}, config.Namespace{
		Pattern: "/c/:id", Auth: "none", JoinOnConnect: []string{"lobby"},
		Events: map[string]config.Event{
			"join": {Action: "join", Room: "r:{args.0}", Allow: []string{"r:*"}},
			"say":  {Action: "relay", To: []string{"r:{args.0}", "lobby"}, Allow: []string{"*"}, Self: true},
		},
		History: config.History{Size: 3, TTL: time.Minute, ReplayOnJoin: 2, Events: []string{"say", "presence:join"}[:1]},
	})
	ann := a.Connect("/c/1")
	for i := range 4 {
		ask(ann, "say", "x", i)
	}
	a.Of("/c/:id").Instance("/c/1").To("r:x").Emit("other", 1)
	bob := a.Connect("/c/1")
	said := func(c *siotest.Client) (all []int) {
		for _, e := range c.Received() {
			var room string
			var n int
			if err := e.Args.Decode(&room, &n); err != nil || e.Name != "say" {
				t.Errorf("got %v, %v", e, err)
			}
			all = append(all, n)
		}
		return all
	}
	if got := said(bob); !slices.Equal(got, []int{2, 3}) {
		t.Errorf("of the room that all are in: %v", got)
	}
	bob.Socket().Leave("lobby")
	ask(bob, "join", "x")
	if got := said(bob); !slices.Equal(got, []int{2, 3}) {
		t.Errorf("of the room that was joined: %v", got)
	}
	ask(bob, "join", "x")
	if got := said(bob); got != nil {
		t.Errorf("joined once more: %v", got)
	}
	a.Advance(time.Hour)
	if got := said(a.Connect("/c/1")); got != nil {
		t.Errorf("after its time: %v", got)
	}
}

// A market board: who reads slowly sees the latest price of each symbol, and no queue.
func TestClasses(t *testing.T) {
	board := config.Namespace{Pattern: "/market/:id", Auth: "none", JoinOnConnect: []string{"board"}, Emit: map[string]config.Class{
		"price": {Policy: "conflate", Key: "{args.0.symbol}"}, "tick": {Policy: "conflate"}, "news": {Policy: "drop-new"}}}
	a := start(t, sio.Options{}, board)
	ns := a.Of("/market/:id")
	reads := func() (got []string) {
		t.Helper()
		slow := a.Connect("/market/1")
		slow.Stall(true)
		emit := func(event string, args ...any) {
			if err := ns.Instance("/market/1").To("board").Emit(event, args...); err != nil {
				t.Fatal(err)
			}
			a.Settle()
		}
		emit("plug", strings.Repeat("x", 200_000)) // what is on its way already is not taken back
		for i := range 3 {
			for _, symbol := range []string{"BTC/USD", "a:b", "*"} {
				emit("price", map[string]any{"symbol": symbol, "p": i})
			}
			emit("price", map[string]any{"p": i})
			emit("tick", i)
		}
		slow.Stall(false)
		for _, e := range slow.Received() {
			if e.Name != "plug" {
				got = append(got, e.Name+" "+e.Args.String())
			}
		}
		slow.Disconnect()
		return got
	}
	want := []string{
		`price {"p":0}`, `price {"p":1}`, // without their key, as the last but one
		`price {"p":2,"symbol":"*"}`, `price {"p":2,"symbol":"BTC/USD"}`, `price {"p":2,"symbol":"a:b"}`, `price {"p":2}`, `tick 2`,
	}
	if got := slices.Sorted(slices.Values(reads())); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if !a.log.has("an event to conflate has no key") {
		t.Error("the log says nothing of events without their key")
	}
	board.Emit = nil
	a.apply(board)
	if got := reads(); len(got) != 15 {
		t.Errorf("without classes: %q", got)
	}
}

func TestKeysDifferIfTheirValuesDo(t *testing.T) {
	x := mustTemplate(t, "{args.0}{args.1.x}", mayArgs|isKey)
	seen := map[string]bool{}
	for _, args := range [][2]string{{`"a"`, `{"x":"bc"}`}, {`"ab"`, `{"x":"c"}`}, {`"a:1"`, `{"x":"b"}`}, {`""`, `{"x":"abc"}`}, {`"abc"`, `{"x":""}`}, {`1`, `{"x":23}`}, {`12`, `{"x":3}`}} {
		key, why := x.appendKey(nil, [][]byte{[]byte(args[0]), []byte(args[1])})
		if why != "" || seen[string(key)] {
			t.Errorf("the key of %q is %q, %s", args, key, why)
		}
		seen[string(key)] = true
	}
	if _, why := x.appendKey(nil, [][]byte{[]byte(`1`), []byte(`null`)}); why != noValue {
		t.Errorf("without a value: %q", why)
	}
}

// A token is the connection's: what one namespace is brought counts for all of them.
func TestANewTokenCountsForAllNamespaces(t *testing.T) {
	rooms := config.Namespace{Pattern: "/rooms", JoinOnConnect: []string{"org:{claims.org}"}, Events: map[string]config.Event{"join": {Action: "join", Room: "{args.0}"}}}
	a := start(t, sio.Options{}, rooms, config.Namespace{Pattern: "/paid", AllowConnect: []string{"pay"}}, config.Namespace{Pattern: "/side"})
	first := a.connect("/rooms", "ann", claimed{"scope": "pay", "rooms": []string{"a", "b"}, "org": "one"})
	paid, side := a.ConnectWith("/paid", siotest.Options{On: first}), a.ConnectWith("/side", siotest.Options{On: first})
	other := a.connect("/rooms", "ann", claimed{"rooms": []string{"a"}, "org": "one"}) // another connection
	for _, room := range []string{"a", "b"} {
		if got := ask(first, "join", room); got != `{"ok":true,"room":"`+room+`"}` {
			t.Fatal(got)
		}
	}
	ask(other, "join", "a")
	if got := ask(side, "auth:refresh", token(a.Now(), "ann", claimed{"rooms": []string{"b"}, "org": "two"})); !strings.Contains(got, `"ok":true`) {
		t.Fatal(got)
	}
	if got := first.Socket().Rooms()[1:]; !slices.Equal(got, []string{"b", "org:two"}) {
		t.Errorf("rooms %q", got)
	}
	if got := paid.ExpectDisconnect(); got.Reason != siotest.ServerDisconnect {
		t.Errorf("%+v", got)
	}
	if got := other.Socket().Rooms()[1:]; !slices.Equal(got, []string{"org:one", "a"}) {
		t.Errorf("of another connection: %q", got)
	}
	if !side.Connected() || !first.Connected() {
		t.Error("those that are allowed have gone")
	}
}

func TestPresenceIsAsDeclared(t *testing.T) {
	d := config.Namespace{Pattern: "/c/:id", JoinOnConnect: []string{"c:{id}"}, Presence: config.Presence{Enabled: true},
		History: config.History{Size: 10, ReplayOnJoin: 10}, Events: map[string]config.Event{"*": {Action: "relay", To: []string{"c:{id}"}}}}
	off := d
	off.Presence = config.Presence{}
	a := start(t, sio.Options{}, off)
	ann := a.connect("/c/1", "ann", nil)
	if got := ask(ann, "presence:get", "c:1"); got != `{"error":"unknown event","data":{"code":404}}` {
		t.Errorf("before it is declared: %s", got)
	}
	a.apply(d)
	bob := a.connect("/c/1", "bob", nil)
	var got struct{ Room, User string }
	for got.User != "bob" { // she is told of herself, who was there before
		if ann.Await("presence:join", &got); got.Room != "c:1" {
			t.Fatalf("%+v", got)
		}
	}
	if got := ask(bob, "presence:get", "c:1"); !strings.Contains(got, `"count":2`) {
		t.Errorf("who is there: %s", got)
	}
	if got := bob.Received(); len(got) > 1 { // that it has come itself, at most
		t.Errorf("presence is replayed: %v", got)
	}
	a.apply(off)
	a.connect("/c/1", "eve", nil)
	ann.ExpectNothing()
}

// A token that is replaced while its socket is in the middlewares counts too.
func TestANewTokenBeforeTheSocketIsAdmitted(t *testing.T) {
	a := start(t, sio.Options{}, config.Namespace{Pattern: "/", Events: map[string]config.Event{"join": {Action: "join", Room: "{args.0}"}}})
	replaced := false
	a.Of("/").Use(func(s sio.Socket) error { // behind the router's
		s.Join("what the first token allowed")
		if replaced {
			a.router.refreshed(s)
		}
		return nil
	})
	for _, replaced = range []bool{false, true} {
		s := a.connect("/", "ann", nil).Socket()
		if got := s.In("what the first token allowed"); got == replaced {
			t.Errorf("replaced %v, in the room %v", replaced, got)
		}
		if _, ok := stale.Get(s); ok {
			t.Error("it is remembered")
		}
	}
}
