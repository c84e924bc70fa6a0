//go:build interop

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"syscall"
	"testing"
	"time"
)

// trends is the file of a product: who may see the trends of a campaign, and who else
// is there.
const trends = `
eio3: true
auth:
  mode: jwt
  jwt: { secret: $SECRET, leeway: 0s, grace: 12s }
namespaces:
  - pattern: /
    auth: none
  - pattern: /campaigns/:id/trends
    params: { id: "[0-9]+" }
    allow_connect: ["campaign:{id}:read"]
    join_on_connect: ["campaign:{id}", "user:{user}"]
    events:
      subscribe: { action: join, room: "{args.0}", allow: ["trend:{id}:*", "public:*"] }
      unsubscribe: { action: leave, room: "{args.0}" }
      cursor: { action: relay, to: ["campaign:{id}"], member_only: true, sender: true, max_bytes: 256 }
      note: { action: relay, to: ["{args.0}"], allow: ["trend:{id}:*"], member_only: true, skip: 1, as: noted }
      debug: { action: drop }
    presence: { enabled: true, debounce: 1s }
    limits: { max_rooms: 6, max_conns_per_user: 3 }
  - pattern: /board
    auth: none
    events:
      post: { action: relay, to: ["{args.0}"], allow: ["topic:*"], self: true, skip: 1, as: posted }
      watch: { action: join, room: "{args.0}", allow: ["topic:*"] }
    history: { size: 10, ttl: 10m, replay_on_join: 3 }
  - pattern: /rates
    auth: none
    events:
      drop: { action: relay, rate: "1/m burst 3 drop", self: true }
      nack: { action: drop, rate: "1/m burst 3 nack" }
      delay: { action: relay, rate: "20/s burst 1 delay", self: true }
      close: { action: drop, rate: "1/m burst 3 close" }
  - pattern: /look/*rest
    auth: none
    readonly: true
`

const (
	ok        = `{"ok":true}`
	forbidden = `{"error":"forbidden","data":{"code":403}}`
)

var values = []string{"$SECRET", secret}

func reader(t *testing.T, user string) string {
	return token(t, user, time.Hour, claims{"scope": "campaign:42:read campaign:41:read"})
}

// Each kind of client lives through the whole of it, on one server.
func TestEdgeTrends(t *testing.T) {
	e := start(t, write(t, trends, values...))
	x := &agents{t: t}
	watch := x.enter("4", e.url, "/campaigns/42/trends", bearer("4", reader(t, "watcher")))
	for _, kind := range kinds {
		t.Run("client="+kind, func(t *testing.T) {
			x := &agents{t: t}
			user := "user of " + kind
			c := x.enter(kind, e.url, "/campaigns/42/trends", bearer(kind, reader(t, user)))
			watch.hears("presence:join", `{"room":"campaign:42","user":"`+user+`"}`)
			c.asks(`{"ok":true,"room":"trend:42:sales"}`, "subscribe", "trend:42:sales")
			c.asks(`{"ok":true,"room":"public:news"}`, "subscribe", "public:news")
			for _, room := range []any{"trend:43:sales", "campaign:43", "user:watcher"} {
				c.asks(forbidden, "subscribe", room)
			}
			for _, bad := range []any{"", map[string]any{"a": 1}, strings.Repeat("x", 300), nil, watch.sid} {
				if got := c.ask("subscribe", bad); !strings.Contains(got, `"error"`) || !strings.Contains(got, "400") {
					t.Errorf("subscribe %v is answered %s", bad, got)
				}
			}
			watch.asks(`{"ok":true,"room":"trend:42:sales"}`, "subscribe", "trend:42:sales")
			c.asks(ok, "note", "trend:42:sales", map[string]int{"n": 1})
			watch.hears("noted", `{"n":1}`)
			c.asks(ok, "unsubscribe", "trend:42:sales")
			c.asks(forbidden, "note", "trend:42:sales", 2)

			c.emit("cursor", map[string]int{"x": 1, "y": 2})
			got := watch.event("cursor")
			if !strings.HasPrefix(got, `{"x":1,"y":2},{`) || !strings.Contains(got, `"user":"`+user+`"`) || kind == "2" && strings.Contains(got, c.sid) || kind != "2" && !strings.Contains(got, c.sid) {
				t.Errorf("the cursor is relayed as %s, of %s", got, c.sid)
			}
			c.asks(`{"error":"too large","data":{"code":413}}`, "cursor", strings.Repeat("x", 300))
			c.asks(`{"error":"unknown event","data":{"code":404}}`, "presence:leave", 1)
			c.asks(`{"error":"unknown event","data":{"code":404}}`, "nothing")
			c.asks(ok, "debug", 1)
			list := c.ask("presence:get", "campaign:42")
			if !strings.Contains(list, `{"user":"watcher","count":1,"nodes":1}`) || !strings.Contains(list, `{"user":"`+user+`","count":1,"nodes":1}`) {
				t.Errorf("the list is %s", list)
			}
			c.asks(forbidden, "presence:get", "campaign:43")
			c.op("leave", nil)
			watch.hears("presence:leave", `{"room":"campaign:42","user":"`+user+`"}`)
			watch.asks(ok, "unsubscribe", "trend:42:sales")
			watch.hears("presence:leave", `{"room":"trend:42:sales","user":"`+user+`"}`)
		})
	}
}

func TestEdgeWhoIsRefused(t *testing.T) {
	e := start(t, write(t, trends, values...))
	for _, kind := range kinds {
		t.Run("client="+kind, func(t *testing.T) {
			x := &agents{t: t}
			x.of(kind)
			good := reader(t, "u of "+kind)
			for what, c := range map[string]struct{ ns, token, message, data string }{
				"no token":          {"/campaigns/42/trends", "", "unauthorized", `{"code":401,"reason":"token missing"}`},
				"no permission":     {"/campaigns/43/trends", good, "forbidden", `{"code":403}`},
				"a forged token":    {"/campaigns/42/trends", forged(good), "unauthorized", `{"code":401,"reason":"signature invalid"}`},
				"an expired token":  {"/campaigns/42/trends", token(t, "u", -time.Minute, nil), "unauthorized", `{"code":401,"reason":"token expired"}`},
				"no such namespace": {"/campaigns/x/trends", good, "Invalid namespace", ""},
				"nor that":          {"/campaign", good, "Invalid namespace", ""},
				"nor the servers'":  {"/sioedge.servers", good, "Invalid namespace", ""},
			} {
				t.Run(what, func(t *testing.T) {
					o := options{}
					if c.token != "" {
						o = bearer(kind, c.token)
					}
					x := &agents{t: t}
					x.dial(kind, e.url, c.ns, o).refused(c.message, c.data)
				})
			}
			// A namespace without a token of its own has that of the connection.
			if kind != py {
				first := x.enter(kind, e.url, "/campaigns/42/trends", bearer(kind, good))
				x.enter(kind, e.url, "/campaigns/41/trends", options{on: first})
			}
			x.enter(kind, e.url, "/campaigns/42/trends", options{headers: map[string]string{"Authorization": "Bearer " + good}})
		})
	}
	// A user has so many connections, and the next one is refused.
	x := &agents{t: t}
	for range 3 {
		x.enter("4", e.url, "/campaigns/42/trends", bearer("4", reader(t, "busy")))
	}
	x.dial("4", e.url, "/campaigns/42/trends", bearer("4", reader(t, "busy"))).refused("too many connections", `{"code":429}`)
	look := x.enter("4", e.url, "/look/at/this", options{})
	look.asks(`{"error":"read-only","data":{"code":403}}`, "subscribe", "x")
}

func TestEdgeHistoryIsReplayed(t *testing.T) {
	e := start(t, write(t, trends, values...))
	for _, kind := range kinds {
		t.Run("client="+kind, func(t *testing.T) {
			x := &agents{t: t}
			topic := "topic:" + kind
			a := x.enter(kind, e.url, "/board", options{})
			for i := range 5 {
				a.asks(ok, "post", topic, i)
			}
			b := x.enter(kind, e.url, "/board", options{})
			b.asks(fmt.Sprintf(`{"ok":true,"room":%q}`, topic), "watch", topic)
			a.asks(ok, "post", topic, 5)
			for i := 2; i <= 5; i++ {
				if got := b.event("posted"); got != fmt.Sprint(i) {
					t.Fatalf("%s is replayed, want %d", got, i)
				}
			}
			b.hasNot("posted")
		})
	}
}

func TestEdgeRates(t *testing.T) {
	e := start(t, write(t, trends, values...))
	for _, kind := range kinds {
		t.Run("client="+kind, func(t *testing.T) {
			x := &agents{t: t}
			c := x.enter(kind, e.url, "/rates", options{})
			for i := range 6 {
				c.emit("drop", i)
			}
			for range 3 {
				c.asks(ok, "nack")
			}
			c.asks(`{"error":"rate limit","data":{"code":429}}`, "nack")
			for i := range 3 {
				if got := c.event("drop"); got != fmt.Sprint(i) {
					t.Errorf("event %s is relayed, want %d", got, i)
				}
			}
			c.hasNot("drop")
			began := time.Now()
			for i := range 11 {
				c.emit("delay", i)
			}
			for i := range 11 {
				if got := c.event("delay"); got != fmt.Sprint(i) {
					t.Errorf("event %s is relayed, want %d", got, i)
				}
			}
			if d := time.Since(began); d < 400*time.Millisecond {
				t.Errorf("11 events at 20 a second come within %v", d)
			}
			for range 4 {
				c.emit("close")
			}
			if end := c.disconnected(); kind == "4" && (end.Code != 4029 || end.Reason != "transport close") {
				t.Errorf("it is disconnected by %q, code %d %s, want 4029", end.Reason, end.Code, end.Text)
			}
		})
	}
}

// A token that ends: its client is warned, and closed unless it brings another one.
func TestEdgeExpiry(t *testing.T) {
	t.Parallel()
	e := start(t, write(t, trends, values...))
	for _, kind := range kinds {
		t.Run("client="+kind, func(t *testing.T) {
			t.Parallel()
			x := &agents{t: t}
			x.of(kind)
			scope := claims{"scope": "campaign:42:read"}
			short := func() string { return token(t, "short of "+kind, 16*time.Second, scope) }
			stays := x.enter(kind, e.url, "/campaigns/42/trends", bearer(kind, short()))
			goes := x.enter(kind, e.url, "/campaigns/42/trends", bearer(kind, short()))
			if got := stays.event("auth:expiring"); !strings.Contains(got, `"expires":`) {
				t.Errorf("the warning is %s", got)
			}
			goes.event("auth:expiring")
			if got := stays.ask("auth:refresh", forged(short())); !strings.Contains(got, `"error":"unauthorized"`) {
				t.Errorf("a forged token is answered %s", got)
			}
			if got := stays.ask("auth:refresh", token(t, "somebody else", time.Hour, scope)); !strings.Contains(got, `"reason":"other user"`) {
				t.Errorf("another user's token is answered %s", got)
			}
			if got := stays.ask("auth:refresh", token(t, "short of "+kind, time.Hour, scope)); !strings.Contains(got, `"ok":true`) {
				t.Errorf("a new token is answered %s", got)
			}
			end := goes.disconnected()
			if kind == "4" && (end.Code != 4401 || end.Text != "token expired") {
				t.Errorf("it is disconnected by %q, code %d %s, want 4401", end.Reason, end.Code, end.Text)
			}
			stays.asks(ok, "debug")
		})
	}
}

func TestEdgeKeysRotate(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.rotate("k1")
	e := start(t, write(t, `
auth:
  mode: jwt
  jwt: { jwks_url: $URL, jwks_floor: 1s, leeway: 0s }
namespaces:
  - pattern: /private
    events: { debug: { action: drop } }
`, "$URL", i.URL+"/jwks.json"))
	x := &agents{t: t}
	k1 := i.key("k1")
	first := x.enter("4", e.url, "/private", bearer("4", i.token("k1", "u", k1)))
	x.dial("4", e.url, "/private", bearer("4", token(t, "u", time.Hour, nil))).refused("unauthorized", "")
	i.rotate("k2")
	time.Sleep(1100 * time.Millisecond) // the floor
	x.enter("4", e.url, "/private", bearer("4", i.token("k2", "u", i.key("k2"))))
	x.dial("4", e.url, "/private", bearer("4", i.token("k2", "u", k1))).refused("unauthorized", "")
	i.mu.Lock()
	i.down = true
	i.mu.Unlock()
	x.enter("4", e.url, "/private", bearer("4", i.token("k2", "v", i.key("k2"))))
	first.asks(ok, "debug")
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.asks > 10 {
		t.Errorf("the keys were fetched %d times", i.asks)
	}
}

func TestEdgeReload(t *testing.T) {
	file := write(t, trends, values...)
	e := start(t, file)
	x := &agents{t: t}
	c := x.enter("4", e.url, "/campaigns/42/trends", bearer("4", reader(t, "u")))
	c.asks(forbidden, "subscribe", "extra:1")
	board := x.enter("4", e.url, "/board", options{})
	next := strings.Replace(trends, `"public:*"]`, `"public:*", "extra:*"]`, 1)
	next = strings.Replace(next, "- pattern: /board", "- pattern: /other", 1)
	line := e.reload(next, values...)
	if s := fmt.Sprint(line["applied"]); !strings.Contains(s, "namespaces") {
		t.Errorf("the reload says %v", line)
	}
	c.asks(`{"ok":true,"room":"extra:1"}`, "subscribe", "extra:1")
	x.enter("4", e.url, "/other", options{})
	x.dial("4", e.url, "/board", options{}).refused("Invalid namespace", "")
	board.asks(`{"ok":true,"room":"topic:x"}`, "watch", "topic:x") // who is there goes on

	// A file with a mistake changes nothing.
	rewrite(t, file, strings.Replace(next, "action: drop", "action: fly", 1), values...)
	e.signal(syscall.SIGHUP)
	e.said("not reloaded")
	c.asks(`{"ok":true,"room":"extra:2"}`, "subscribe", "extra:2")
	c.asks(ok, "debug")
}

func TestEdgeCheck(t *testing.T) {
	if out, code := command(t, "check", "--config", write(t, trends, values...)); code != 0 {
		t.Errorf("a good file: %d, %s", code, out)
	}
	bad := strings.NewReplacer("action: join", "action: jion", "debounce: 1s", "debounce: soon").Replace(trends) + "colour: blue\n"
	wantFaults(t, write(t, bad, values...), "namespaces[1].events.subscribe.action", "namespaces[1].presence.debounce", "colour")
	// What is well-formed and makes no sense.
	bad = strings.NewReplacer(`"20/s burst 1 delay"`, `"20 a second"`, `["campaign:{id}", "user:{user}"]`, `["campaign:{ide}"]`).Replace(trends) + "colour: blue\n"
	wantFaults(t, write(t, bad, values...), "namespaces[1].join_on_connect[0]", "namespaces[3].events.delay.rate", "colour")
}

// wantFaults checks a file, and wants each of the keys to be named with a line.
func wantFaults(t *testing.T, path string, keys ...string) {
	t.Helper()
	out, code := command(t, "check", "--config", path)
	if code != 1 {
		t.Errorf("a bad file: exit code %d", code)
	}
	for _, want := range keys {
		found := false
		for line := range strings.Lines(out) {
			found = found || strings.HasPrefix(line, path+":") && strings.Contains(line, want)
		}
		if !found {
			t.Errorf("%s is not named with file and line in\n%s", want, out)
		}
	}
}

// Presence, rooms and relays over three servers with Redis, and what an emitter of Node
// publishes.
func TestEdgeOverThreeServers(t *testing.T) {
	t.Parallel()
	text := strings.NewReplacer(values...).Replace(trends)
	all, redis := cluster(t, 3, text)
	x := &agents{t: t}
	const ns = "/campaigns/42/trends"
	watch := x.enter("4", all[0].url, ns, bearer("4", reader(t, "watcher")))
	var clients []*client
	for i, kind := range kinds {
		c := x.enter(kind, all[i%3].url, ns, bearer(kind, reader(t, "user of "+kind)))
		c.asks(`{"ok":true,"room":"trend:42:sales"}`, "subscribe", "trend:42:sales")
		watch.hears("presence:join", `{"room":"campaign:42","user":"user of `+kind+`"}`)
		clients = append(clients, c)
	}
	for _, c := range clients {
		eventually(t, "the whole list", func() bool { return strings.Contains(c.ask("presence:get", "campaign:42"), `"count":5`) })
	}
	// One user with tabs on all servers comes once, and goes once.
	var tabs []*client
	for _, e := range all {
		tabs = append(tabs, x.enter("4", e.url, ns, bearer("4", reader(t, "tabs"))))
	}
	watch.hears("presence:join", `{"room":"campaign:42","user":"tabs"}`)
	eventually(t, "three connections", func() bool {
		return strings.Contains(watch.ask("presence:get", "campaign:42"), `{"user":"tabs","count":3,"nodes":3}`)
	})
	for _, c := range tabs {
		c.op("leave", nil)
	}
	watch.hears("presence:leave", `{"room":"campaign:42","user":"tabs"}`)
	watch.mustBeSilent("presence:join", "presence:leave", "tabs")

	for i, c := range clients {
		c.asks(ok, "note", "trend:42:sales", i)
		for j, o := range clients {
			if i != j {
				o.hears("noted", fmt.Sprint(i))
			}
		}
	}
	x.of("4").must("publish", map[string]any{"redis": "redis://" + redis, "namespace": ns, "room": "trend:42:sales", "event": "price", "args": []any{map[string]any{"symbol": "A", "price": 7}}})
	for _, c := range clients {
		c.hears("price", `{"symbol":"A","price":7}`)
	}
	watch.hasNot("price")

	// A server that ends says so; one that crashes is missed after a while.
	lost := x.enter("4", all[2].url, ns, bearer("4", reader(t, "lost")))
	watch.hears("presence:join", `{"room":"campaign:42","user":"lost"}`)
	all[2].stop()
	lost.disconnected()
	watch.hears("presence:leave", `{"room":"campaign:42","user":"lost"}`)
	watch.hears("presence:leave", `{"room":"campaign:42","user":"user of 2"}`)
	clients[1].asks(ok, "debug")
	all[1].kill()
	clients[1].disconnected()
	watch.hears("presence:leave", `{"room":"campaign:42","user":"user of 3"}`)
	if list := watch.ask("presence:get", "campaign:42"); !strings.Contains(list, `"count":3`) {
		t.Errorf("the list is %s, want who is on the last server", list)
	}
}

// mustBeSilent fails if the client has heard one of two events of a user.
func (c *client) mustBeSilent(a, b, user string) {
	c.a.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.seen {
		if args := list(s.Args); (s.Event == a || s.Event == b) && strings.Contains(args, `"`+user+`"`) {
			c.a.t.Fatalf("%s has heard %s %s once more", c.name, s.Event, args)
		}
	}
}

// Who comes back in time recovers its rooms, and nobody notices.
func TestEdgeRecoveryIsSilent(t *testing.T) {
	t.Parallel()
	e := start(t, write(t, trends, values...), "--recovery", "1m")
	x := &agents{t: t}
	const ns = "/campaigns/42/trends"
	watch := x.enter("4", e.url, ns, bearer("4", reader(t, "watcher")))
	o := bearer("4", reader(t, "flaps"))
	o.recover = true
	c := x.enter("4", e.url, ns, o)
	c.asks(`{"ok":true,"room":"trend:42:sales"}`, "subscribe", "trend:42:sales")
	watch.asks(`{"ok":true,"room":"trend:42:sales"}`, "subscribe", "trend:42:sales")
	watch.hears("presence:join", `{"room":"campaign:42","user":"flaps"}`)
	watch.asks(ok, "note", "trend:42:sales", "first")
	c.event("noted")
	c.op("drop", nil)
	c.disconnected()
	watch.asks(ok, "note", "trend:42:sales", "missed")
	if s := c.connected(); !s.Recovered {
		t.Error("it did not recover")
	}
	if got := c.event("noted"); !strings.HasPrefix(got, `"missed",`) {
		t.Errorf("it is sent %s, want what it missed", got)
	}
	time.Sleep(1500 * time.Millisecond) // the debounce
	watch.mustBeSilent("presence:join", "presence:leave", "flaps")
	c.op("leave", nil) // it would come back again and again
}

// A drain tells clients to come back elsewhere, and other ends have codes too.
func TestEdgeCloseCodes(t *testing.T) {
	t.Parallel()
	e := start(t, write(t, trends, values...), "--max-payload", "10000", "--connect-timeout", "2s")
	x := &agents{t: t}
	x.of("4")
	wants := func(c *client, code int, text string) {
		t.Helper()
		if end := c.disconnected(); end.Code != code || end.Text != text || end.Reason != "transport close" {
			t.Errorf("%s is disconnected by %q, code %d %s, want %d %s", c.name, end.Reason, end.Code, end.Text, code, text)
		}
	}
	mute := x.dial("mute", e.url, "", options{})
	big := x.enter("4", e.url, "/board", options{})
	big.emit("post", "topic:x", strings.Repeat("x", 20_000))
	wants(big, 4009, "payload too big")
	wants(mute, 4408, "connect timeout")
	c := x.enter("4", e.url, "/", options{})
	e.stop()
	wants(c, 4000, "server shutting down")
}

const market = `
queue: { max: 64KiB }
tcp: { send_buffer: 65536, notsent_lowat: 16KiB }
namespaces:
  - pattern: /market
    events:
      watch: { action: join, room: board }
      price: { action: relay, to: [board] }
      news: { action: relay, to: [board] }
      done: { action: relay, to: [board] }
    emit:
      price: { policy: conflate, key: "{args.0.symbol}" }
`

// A slow reader of a market board gets the latest price of each symbol, and not all that
// were before, and what has no class all the same.
func TestEdgeSlowReadersGetTheLatest(t *testing.T) {
	t.Parallel()
	e := start(t, write(t, market))
	x := &agents{t: t}
	slow, fast, from := x.enter("4", e.url, "/market", options{}), x.enter("4", e.url, "/market", options{}), x.enter("4", e.url, "/market", options{})
	for _, c := range []*client{slow, fast} {
		c.asks(`{"ok":true,"room":"board"}`, "watch")
	}
	slow.op("pause", map[string]any{"on": true})
	const n, symbols = 1000, 4
	pad := strings.Repeat("x", 20_000)
	for i := range n {
		from.emit("price", map[string]any{"symbol": fmt.Sprint("s", i%symbols), "price": i, "pad": pad})
	}
	from.asks(ok, "done")
	fast.event("done")
	slow.op("pause", map[string]any{"on": false})
	slow.event("done")
	prices := func(c *client) (all int, last map[string]int) {
		last = map[string]int{}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, s := range c.seen {
			var p struct {
				Symbol string
				Price  int
			}
			if s.Event == "price" && json.Unmarshal(s.Args[0], &p) == nil {
				if p.Price < last[p.Symbol] {
					t.Errorf("%s: the price of %s goes from %d back to %d", c.name, p.Symbol, last[p.Symbol], p.Price)
				}
				last[p.Symbol] = p.Price
				all++
			}
		}
		return all, last
	}
	want := map[string]int{"s0": n - 4, "s1": n - 3, "s2": n - 2, "s3": n - 1}
	if all, last := prices(fast); !maps.Equal(last, want) { // all of them, unless this machine has much else to do
		t.Errorf("who is fast gets %d prices, the last %v, want %v", all, last, want)
	}
	if all, last := prices(slow); all >= n || !maps.Equal(last, want) {
		t.Errorf("who is slow gets %d prices, the last %v, want fewer than %d and %v", all, last, n, want)
	}
}

// Who takes nothing of what has no class is closed, and finds out why when it reads again.
func TestEdgeSlowReadersAreTold(t *testing.T) {
	t.Parallel()
	e := start(t, write(t, market), "--queue-hard-max", "1MiB")
	x := &agents{t: t}
	slow, from := x.enter("4", e.url, "/market", options{}), x.enter("4", e.url, "/market", options{})
	slow.asks(`{"ok":true,"room":"board"}`, "watch")
	slow.op("pause", map[string]any{"on": true})
	// At once: who is told to go is not waited for.
	from.op("burst", map[string]any{"event": "news", "args": []any{strings.Repeat("x", 20_000)}, "n": 1000})
	from.asks(ok, "done")
	slow.op("pause", map[string]any{"on": false})
	if end := slow.disconnected(); end.Code != 4008 || end.Text != "slow consumer" {
		t.Errorf("it is disconnected by %q, code %d %s, want 4008", end.Reason, end.Code, end.Text)
	}
}
