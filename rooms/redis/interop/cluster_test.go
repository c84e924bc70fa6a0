//go:build interop

package interop

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis"
	"github.com/sioedge/sioedge/sio"
)

// A kind is an adapter, here and in Node, with options.
type kind struct {
	name    string
	node    nodeOptions // without name, address and prefix
	adapter func(addr string, o redis.Options) rooms.Adapter
	ours    redis.Options // without name and prefix
	null    bool          // Node's servers say null where nothing is said
	classic bool          // emitters reach it, Node's has allRooms, and what servers say to each other is JSON, without bytes
}

// kinds are those that are tested. Prefixes keep them apart.
var kinds = []kind{
	{name: "classic", node: nodeOptions{Kind: "classic"}, adapter: redis.PubSub, classic: true},
	{name: "classic, Node answers on specific channels", node: nodeOptions{Kind: "classic", OwnResponses: true},
		adapter: redis.PubSub, classic: true},
	{name: "classic, we answer on specific channels and subscribe to patterns", node: nodeOptions{Kind: "classic"},
		adapter: redis.PubSub, ours: redis.Options{OwnResponses: true, Patterns: true}, classic: true},
	{name: "sharded, dynamic", node: nodeOptions{Kind: "sharded", Mode: "dynamic"}, adapter: redis.Sharded},
	{name: "sharded, static", node: nodeOptions{Kind: "sharded", Mode: "static"},
		adapter: redis.Sharded, ours: redis.Options{Mode: redis.Static}},
	{name: "sharded, dynamic-private", node: nodeOptions{Kind: "sharded", Mode: "dynamic-private"},
		adapter: redis.Sharded, ours: redis.Options{Mode: redis.DynamicPrivate}},
	{name: "streams", node: nodeOptions{Kind: "streams"}, adapter: redis.Streams, null: true},
}

// A client is a connected socket of a client in clients.mjs.
type client struct {
	name, ns, id string
	home         *peer
	rooms        []any
}

// in tells whether the client is in one of the rooms. Numbers are other rooms
// than their digits in Node; clients are in both or in none.
func (c *client) in(rooms []any) bool {
	return slices.ContainsFunc(rooms, func(room any) bool {
		return fmt.Sprint(room) == c.id || slices.ContainsFunc(c.rooms, func(r any) bool { return fmt.Sprint(r) == fmt.Sprint(room) })
	})
}

// A cluster is some servers and clients at them.
type cluster struct {
	t       testing.TB
	browser *peer // clients.mjs
	servers []*peer
	clients []*client
	number  int // of the last fence
}

// startClients starts clients.mjs.
func startClients(t testing.TB) *peer {
	return startProcess(t, "clients", nil, "node", "clients.mjs")
}

// connect adds a client, in rooms.
func (cl *cluster) connect(t testing.TB, home *peer, name, ns string, rooms ...any) *client {
	t.Helper()
	return cl.enter(t, command{Name: name, NS: ns, URL: home.url}, home, rooms...)
}

func (cl *cluster) enter(t testing.TB, c command, home *peer, rooms ...any) *client {
	t.Helper()
	x := &client{name: c.Name, ns: c.NS, home: home, rooms: rooms}
	c.Op = "connect"
	cl.browser.do(t, c, &x.id)
	if len(rooms) > 0 {
		// It may know that it is connected before its server's own handler does.
		home.do(t, command{Op: "put", NS: c.NS, SID: x.id, Names: rooms}, nil)
	}
	cl.clients = append(cl.clients, x)
	return x
}

// leave takes clients away.
func (cl *cluster) leave(t testing.TB, gone ...*client) {
	t.Helper()
	cl.browser.do(t, command{Op: "close", Names: anys(names(gone))}, nil)
	cl.clients = slices.DeleteFunc(cl.clients, func(c *client) bool { return slices.Contains(gone, c) })
}

// of returns the clients of a server in a namespace.
func (cl *cluster) of(home *peer, ns string) (all []*client) {
	for _, c := range cl.clients {
		if c.home == home && c.ns == ns {
			all = append(all, c)
		}
	}
	return all
}

func names(clients []*client) (all []string) {
	for _, c := range clients {
		all = append(all, c.name)
	}
	return all
}

func anys[T any](list []T) (all []any) {
	for _, v := range list {
		all = append(all, v)
	}
	return all
}

func (cl *cluster) namespaces() []string {
	set := map[string]bool{}
	for _, c := range cl.clients {
		set[c.ns] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// fence has a server send an event behind all that it sent before, and returns
// what each client received before it; late are those that did not get it within
// so many ms.
func (cl *cluster) fence(t testing.TB, from *peer, ms int) (noted map[string][]string, late []string) {
	t.Helper()
	cl.number++
	for _, ns := range cl.namespaces() {
		from.do(t, command{Op: "emit", NS: ns, Event: "end", Args: []any{cl.number}}, nil)
	}
	var got struct {
		Late  []string
		Noted map[string][]json.RawMessage
	}
	cl.browser.do(t, command{Op: "fence", Clients: names(cl.clients), Number: cl.number, Timeout: ms}, &got)
	noted = map[string][]string{}
	for name, list := range got.Noted {
		for _, entry := range list {
			noted[name] = append(noted[name], canonical(t, entry))
		}
	}
	return noted, got.Late
}

// canonical returns v as JSON with sorted keys.
func canonical(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	var same any
	if err == nil {
		err = json.Unmarshal(b, &same)
	}
	if err == nil {
		b, err = json.Marshal(same)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// patienceMS is patience for clients.mjs, which answers sooner than is waited.
const patienceMS = 45_000

// received is fence where all must come.
func (cl *cluster) received(t testing.TB, from *peer) map[string][]string {
	t.Helper()
	noted, late := cl.fence(t, from, patienceMS)
	if len(late) > 0 {
		t.Fatalf("what %s emitted did not reach %q", from.name, late)
	}
	return noted
}

// meant returns the names of the clients that an emit of a server is for.
func (cl *cluster) meant(from *peer, c command) (all []string) {
	for _, x := range cl.clients {
		if x.ns == c.NS && x.id != c.From && (!c.Local || x.home == from) && (len(c.Rooms) == 0 || x.in(c.Rooms)) && !x.in(c.Except) {
			all = append(all, x.name)
		}
	}
	return all
}

// settle waits until everything that the servers and emitters emit reaches
// whomever it is for: subscriptions take a moment.
func (cl *cluster) settle(t testing.TB, from ...*peer) {
	t.Helper()
	for _, s := range append(from, cl.servers...) {
		eventually(t, "what "+s.name+" emits reaching everybody", func() bool { return cl.settled(t, s) })
	}
	for _, s := range append(from, cl.servers...) { // what was late
		cl.received(t, s)
	}
}

func (cl *cluster) settled(t testing.TB, s *peer) bool {
	t.Helper()
	want := map[string]int{}
	for _, ns := range cl.namespaces() {
		for _, room := range append([]any{nil}, cl.rooms(ns)...) {
			c := command{Op: "emit", NS: ns, Event: "settle"}
			if room != nil {
				c.Rooms = []any{room}
			}
			s.do(t, c, nil)
			for _, name := range cl.meant(s, c) {
				want[name]++
			}
		}
	}
	const moment = 500 // ms
	noted, late := cl.fence(t, s, moment)
	for name, n := range want {
		if len(noted[name]) != n {
			return false
		}
	}
	return len(late) == 0
}

// rooms returns the rooms of a namespace, the clients' own among them.
func (cl *cluster) rooms(ns string) (all []any) {
	seen := map[any]bool{}
	for _, c := range cl.clients {
		if c.ns != ns {
			continue
		}
		for _, room := range append([]any{c.id}, c.rooms...) {
			if !seen[fmt.Sprint(room)] {
				all = append(all, room)
			}
			seen[fmt.Sprint(room)] = true
		}
	}
	return all
}

// emits has a server emit and checks who received it: each that it is for, once,
// and nobody else.
func (cl *cluster) emits(t testing.TB, from *peer, c command) {
	t.Helper()
	c.Op = "emit"
	from.do(t, c, nil)
	got := cl.received(t, from)
	var entries []string
	for i := range max(c.Count, 1) {
		entry := append([]any{c.Event}, c.Args...)
		if c.Count > 0 {
			entry = append(entry, i)
		}
		entries = append(entries, canonical(t, entry))
	}
	meant := cl.meant(from, c)
	for _, x := range cl.clients {
		var want []string
		if slices.Contains(meant, x.name) {
			want = entries
		}
		if !slices.Equal(got[x.name], want) {
			t.Errorf("%s received %q of %s, want %q", x.name, got[x.name], from.name, want)
		}
	}
}

// A mixed is two servers of Node and two of ours, with clients, and emitters.
type mixed struct {
	*cluster
	kind     kind
	n0, n1   *peer   // Node's
	g0, g1   *peer   // ours
	emitters []*peer // Node's and ours, or none
}

// longRoom is a name as long as an id, which adapters take for a socket's.
const longRoom = "abcdefghijabcdefghij"

// oddRoom is a name with what means something in patterns and channels.
const oddRoom = `a#b*c?[é]\`

// newMixed starts a cluster; the first of a Redis has the usual prefix.
func newMixed(t testing.TB, redisAddr string, number int, k kind) *mixed {
	t.Helper()
	prefix := "socket.io"
	if number > 0 {
		prefix = fmt.Sprintf("prefix %d", number)
	}
	m := &mixed{cluster: &cluster{t: t, browser: startClients(t)}, kind: k}
	o, ours := k.node, ourOptions{Redis: redisAddr, Adapter: k.adapter, Options: k.ours}
	o.Redis, o.Prefix = redisAddr, prefix
	ours.Prefix, ours.StreamName = prefix, prefix
	start := func(name string) *peer {
		o.Name = name
		return node(t, o)
	}
	m.n0, m.n1 = start("n0"), start("n1")
	if k.classic {
		o.Kind = "emitter"
		m.emitters = []*peer{start("Node's emitter"), ourEmitter(t, ours)}
	}
	var here [2]*sio.Server
	startOurs := func(name string) (*peer, *sio.Server) {
		ours.Name = name
		p, n := ourServer(t, ours)
		return p, n.srv
	}
	m.g0, here[0] = startOurs("g0")
	m.g1, here[1] = startOurs("g1")
	m.servers = []*peer{m.n0, m.n1, m.g0, m.g1}
	allReady(append(append(m.emitters, m.browser), m.servers...)...)
	m.populate(t)
	m.settle(t, m.emitters...)
	for _, srv := range here {
		eventually(t, "being up", func() bool { s := srv.Cluster(); return s.Up && len(s.Peers) == 1 })
	}
	return m
}

// populate connects the clients.
func (m *mixed) populate(t testing.TB) {
	t.Helper()
	for i, s := range m.servers {
		rooms := [][]any{
			{"r1", 42, "42", oddRoom}, {"r2", 42, "42", longRoom}, {"r1", "r2", "42"}, {"r2", "42", longRoom, oddRoom},
		}[i]
		m.connect(t, s, s.name, "/", rooms...)
	}
	m.connect(t, m.n0, "n0b", "/", "r3")
	m.connect(t, m.g0, "g0b", "/", "r3")
	m.connect(t, m.n1, "n1 other", "/other", "r1")
	m.connect(t, m.g1, "g1 other", "/other", "r1")
	m.connect(t, m.n0, "n0 campaign", "/campaigns/7", "r1")
	m.connect(t, m.g0, "g0 campaign", "/campaigns/7", "r1")
	m.connect(t, m.g1, "g1 campaign", "/campaigns/8")
}

// client returns the one of a name.
func (cl *cluster) client(name string) *client {
	for _, c := range cl.clients {
		if c.name == name {
			return c
		}
	}
	panic("no client is called " + name)
}
