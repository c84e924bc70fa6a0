//go:build interop

package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
	"github.com/sioedge/sioedge/wsframe"
)

const (
	mainKey   = "key-of-the-bridge-main--------"
	rogueKey  = "key-of-the-bridge-rogue-------"
	bridgeTwo = `
bridges:
  main: { keys: ["` + mainKey + `"], data: eager, timeout: 2s, grace: 300ms, takeover: 2s }
  rogue: { keys: ["` + rogueKey + `"], timeout: 2s, grace: 300ms, takeover: 1s, max_links: 4, max_message: 2MB, window: 256KiB, max_data: 1KiB }
api: { keys: ["` + bridgeKey + `"] }
drain: 2s
namespaces:
  - { pattern: /, bridge: main }
  - { pattern: /rogue, bridge: rogue }
  - { pattern: /both/:id, bridge: rogue }
`
)

// A hostileWorld is an edge with two bridges: one with an application that behaves, whose
// clients must notice nothing of what is done to the other.
type hostileWorld struct {
	*bridged
	e    *edge
	x    *agents
	base int // bytes of memory before
	uid  int
	open []*rogueLink
}

// mostMemory is what an edge may take more while it is attacked, in bytes: of the window,
// the message and the queues of a few links and clients, and garbage.
const mostMemory = 160 << 20

func startHostile(t *testing.T) *hostileWorld {
	e := start(t, write(t, bridgeTwo), "--internal-listen", "127.0.0.1:0", "--loops", "1", "--accept-rate", "-1")
	h := &hostileWorld{bridged: &bridged{t: t, n: 20, edges: []*edge{e}}, e: e, x: &agents{t: t}}
	h.apps = []*program{startProgram(t, "bridge-app.mjs", map[string]any{"package": bridgePackage(t), "key": mainKey, "edges": []string{"http://" + e.api}})}
	h.clients = startProgram(t, "bridge-clients.mjs", map[string]any{"urls": []string{e.url}, "clients": h.n, "rate": 400})
	h.clients.ask("enter", nil, nil)
	h.heard(h.apps[0])
	h.clients.ask("go", nil, nil)
	h.moving()
	h.base = h.memory()
	return h
}

// memory returns the resident bytes of the edge.
func (h *hostileWorld) memory() (n int) {
	h.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.e.cmd.Process.Pid))
	if err != nil {
		h.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	if _, err := fmt.Sscan(rest, &n); err != nil {
		h.t.Fatal(err)
	}
	return n << 10
}

// link is a link of a process of the bridge rogue, of which everything is read.
func (h *hostileWorld) link() *rogueLink {
	h.t.Helper()
	h.uid++
	l := linkTo(h.t, h.e.api, "rogue", rogueKey, rogueHello(fmt.Sprint("rogue-", h.uid), "/rogue"))
	l.read()
	h.open = append(h.open, l)
	return l
}

// logged waits for a line of the log that has all these texts.
func (h *hostileWorld) logged(texts ...string) {
	h.t.Helper()
	eventually(h.t, fmt.Sprintf("a line of the log with %q", texts), func() bool {
		h.e.mu.Lock()
		defer h.e.mu.Unlock()
		return slices.ContainsFunc(h.e.log, func(line map[string]any) bool {
			all := fmt.Sprint(line)
			return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(all, text) })
		})
	})
}

// endsWith compares how the edge ends a link.
func (h *hostileWorld) endsWith(l *rogueLink, want string) {
	h.t.Helper()
	if got := l.ends(); got != want {
		h.t.Errorf("the link ends with %s, want %s", got, want)
	}
}

// What applications do that are broken, or mean harm, is refused where they can see it, and
// no client of another application notices.
func TestBridgeHostile(t *testing.T) {
	h := startHostile(t)
	now := traffic{Disconnects: []int{0}}
	for _, c := range []struct {
		name string
		run  func(h *hostileWorld)
	}{
		{"keys that are none, or another's", (*hostileWorld).keys},
		{"garbage", (*hostileWorld).garbage},
		{"messages that are not as they must be", (*hostileWorld).misshapen},
		{"numbers that are not its own", (*hostileWorld).numbers},
		{"namespaces of another bridge", (*hostileWorld).namespaces},
		{"a link that stands still", (*hostileWorld).still},
		{"a message that never ends", (*hostileWorld).endless},
		{"a process that works nothing off", (*hostileWorld).idle},
		{"a process that lets nobody in", (*hostileWorld).closedDoor},
		{"questions to all without end", (*hostileWorld).questions},
		{"broadcasts to who reads nothing", (*hostileWorld).flood},
		{"huge data", (*hostileWorld).huge},
		{"too many links", (*hostileWorld).links},
		{"links that come and go", (*hostileWorld).churn},
	} {
		began := time.Now()
		c.run(h)
		for _, l := range h.open {
			_ = l.conn.Close()
		}
		h.open = nil
		h.moving()
		now = h.steady(now)
		if n := h.memory(); n > h.base+mostMemory {
			t.Errorf("the edge had %d MiB before, and %d MiB", h.base>>20, n>>20)
		}
		t.Logf("%s: %v, %d MiB", c.name, time.Since(began).Round(time.Millisecond), h.memory()>>20)
	}
	t.Logf("%d MiB, %d MiB at the most; %+v", h.base>>20, h.memory()>>20, now)
}

func (h *hostileWorld) keys() {
	const protocol = "Sec-WebSocket-Protocol: " + wire.Subprotocol
	for _, c := range []struct {
		what   string
		status int
		target string
		key    string
		fields []string
	}{
		{"no key", 401, "/bridge?name=rogue", "", nil},
		{"a wrong key", 401, "/bridge?name=rogue", strings.Repeat("x", 29), nil},
		{"another's key", 403, "/bridge?name=main", rogueKey, nil},
		{"no such bridge", 404, "/bridge?name=nobody", rogueKey, nil},
		{"no name", 400, "/bridge", rogueKey, nil},
		{"another version", 400, "/bridge?name=rogue", rogueKey, []string{"Sec-WebSocket-Protocol: sioedge-bridge.2"}},
		{"no version", 400, "/bridge?name=rogue", rogueKey, []string{"X-Nothing: 1"}},
		{"a page", 403, "/bridge?name=rogue", rogueKey, []string{protocol, "Origin: https://example.com"}},
		{"a page's requests", 403, "/bridge?name=rogue", rogueKey, []string{protocol, "Sec-Fetch-Site: cross-site"}},
	} {
		if status, _ := knock(h.t, h.e.api, c.target, c.key, c.fields...); status != c.status {
			h.t.Errorf("%s: %d, want %d", c.what, status, c.status)
		}
	}
}

func (h *hostileWorld) garbage() {
	noise := make([]byte, 3000)
	for i := range noise {
		noise[i] = byte(rand.IntN(256))
	}
	noise[0] |= 0x80 // else it may be a number
	for _, c := range []struct {
		what, want string
		op         wsframe.Op
		payload    []byte
	}{
		{"text", "1003 protocol", wsframe.Text, []byte("[0]")},
		{"nothing", "1007 protocol", wsframe.Binary, nil},
		{"noise", "1007 protocol", wsframe.Binary, noise},
		{"a map", "1007 protocol", wsframe.Binary, []byte{0x80}},
		{"an array of four billions", "1007 protocol", wsframe.Binary, []byte{0xdd, 0xff, 0xff, 0xff, 0xff}},
		{"arrays in arrays", "1007 protocol", wsframe.Binary, bytes.Repeat([]byte{0x91}, 1<<20)},
	} {
		l := h.link()
		l.frame(c.op, c.payload)
		h.t.Log(c.what)
		h.endsWith(l, c.want)
	}
	l := h.link()
	_, _ = l.conn.Write([]byte("GET / HTTP/1.1\r\n\r\n")) // it may have ended
	h.endsWith(l, "1002 protocol")
	l = h.link()
	l.frame(wsframe.Binary, make([]byte, 2_000_001))
	h.endsWith(l, "1009 protocol")
	h.logged("max_message")
}

func (h *hostileWorld) misshapen() {
	hello := rogueHello("twice", "/rogue")
	for what, messages := range map[string][][]byte{
		"hello twice":           {wire.AppendHello(nil, hello)},
		"a message of the edge": {wire.AppendDrained(nil), {0x91, 0x0c}, {0x93, 4, 1, 2}},
		"too few members":       {{0x91, 33}},
		"a text for a number":   {{0x92, 33, 0xa1, 'x'}},
		"a negative number":     {{0x92, 33, 0xff}},
	} {
		l := h.link()
		l.batch(messages...)
		h.t.Log(what)
		h.endsWith(l, "1008 protocol")
	}
	// Before hello.
	l := linkTo(h.t, h.e.api, "rogue", rogueKey, nil)
	l.read()
	l.batch(wire.AppendAccept(nil, 1))
	h.endsWith(l, "1008 protocol")
	// Of a hello.
	for what, change := range map[string]func(x *wire.Hello){
		"another version": func(x *wire.Hello) { x.Version = 2 },
		"a name":          func(x *wire.Hello) { x.UID = "a b" },
		"no window":       func(x *wire.Hello) { x.Window = 0 },
	} {
		x := rogueHello("wrong", "/rogue")
		change(x)
		l := linkTo(h.t, h.e.api, "rogue", rogueKey, x)
		l.read()
		h.t.Log(what)
		h.endsWith(l, "1008 protocol")
	}
	// What was never sent is worked off.
	l = h.link()
	l.mu.Lock()
	l.batches = 1 << 40
	l.mu.Unlock()
	l.batch(wire.AppendAccept(nil, 1))
	h.endsWith(l, "1008 protocol")
}

// numbers has a process use those that others have been given.
func (h *hostileWorld) numbers() {
	l := h.link()
	for n := range uint64(300) {
		l.batch(wire.AppendAccept(nil, n), wire.AppendRefuse(nil, n, []byte(`{"message":"x"}`)), wire.AppendEmit(nil, n, 0, wire.None, []byte(`["n",-1]`), nil),
			wire.AppendReply(nil, n, 0, []byte(`[-1]`), nil), wire.AppendJoin(nil, n, []string{"local-0-0"}), wire.AppendLeave(nil, n, []string{"local-0-0"}),
			wire.AppendData(nil, n, []byte(`{"up":-1}`)), wire.AppendClosed(nil, n, nil), wire.AppendHandOver(nil, n, nil), wire.AppendDisconnect(nil, n), wire.AppendClose(nil, n),
			wire.AppendForget(nil, int64(n)))
	}
	h.works(l)
	l.batch(wire.AppendDraining(nil), wire.AppendHandedOver(nil))
}

// works checks that a link is as it was: a client comes in by it.
func (h *hostileWorld) works(l *rogueLink) {
	h.t.Helper()
	c := h.x.dial("4", h.e.url, "/rogue", options{recover: true})
	eventually(h.t, "that a client comes in by the link", func() bool {
		l.admit()
		c.mu.Lock()
		defer c.mu.Unlock()
		return slices.ContainsFunc(c.seen, func(s sight) bool { return s.On == "connect" })
	})
	c.connected()
	c.event("hello")
	c.op("leave", nil)
}

// namespaces has a process speak to clients of another bridge.
func (h *hostileWorld) namespaces() {
	l := h.link()
	to := wire.Target{Nsp: "/"}
	for range 100 {
		l.batch(wire.AppendBroadcast(nil, to, 0, wire.None, 0, []byte(`["tick","evil",1]`), nil), wire.AppendBroadcast(nil, to, 0, 1, 1000, []byte(`["q",1]`), nil),
			wire.AppendJoinAll(nil, to, []string{"evil"}), wire.AppendLeaveAll(nil, to, []string{"local-0-0", "wide-0"}), wire.AppendRelay(nil, nil, "/", []byte{0x90}),
			wire.AppendRelay(nil, []string{h.apps[0].id()}, "/rogue", []byte{0x90}), wire.AppendDisconnectAll(nil, to, true))
	}
	l.batch(wire.AppendChange(nil, &wire.Change{Namespaces: []string{"/", "/rogue"}, HasNamespaces: true}))
	l.batch(wire.AppendDisconnectAll(nil, to, true))
	h.works(l)
	h.moving()
	if n := h.clients.number("heard", map[string]any{"uid": "evil"}); n > 0 {
		h.t.Errorf("%d clients heard another bridge's process", n)
	}
	h.logged("not of its bridge", "rogue")
	l.batch(wire.AppendDraining(nil), wire.AppendHandedOver(nil))
}

// still opens links on which nothing comes any more: their clients are closed, and come
// back.
func (h *hostileWorld) still() {
	h.uid++
	l := linkTo(h.t, h.e.api, "rogue", rogueKey, rogueHello("still", "/rogue")) // is not read from
	silent := linkTo(h.t, h.e.api, "rogue", rogueKey, nil)                      // does not even say hello
	c := h.x.dial("4", h.e.url, "/rogue", options{recover: true})
	for _, dead := range []*rogueLink{l, silent} {
		dead.dead = true
		dead.read()
		h.gone(dead)
	}
	h.works(h.link()) // by which the first comes in, too
	c.op("leave", nil)
}

// gone reads until a link is ended by the other side.
func (h *hostileWorld) gone(l *rogueLink) {
	h.t.Helper()
	select {
	case <-l.closed:
	case <-time.After(patience):
		h.t.Error("the edge does not end the link")
	}
}

// endless sends the beginning of a message, and of a frame.
func (h *hostileWorld) endless() {
	var all []*rogueLink
	for range 3 {
		l := h.link()
		b := wsframe.AppendMaskedFrame(nil, wsframe.Binary, make([]byte, 1_900_000), [4]byte{})
		_, _ = l.conn.Write(b[:len(b)-1]) // it may have ended
		all = append(all, l)
	}
	l := h.link()
	b := wsframe.AppendMaskedFrame(nil, wsframe.Binary, make([]byte, 100_000), [4]byte{})
	b[0] &^= 0x80 // more fragments follow
	for range 1000 {
		if _, err := l.conn.Write(b); err != nil {
			break
		}
	}
	for _, l := range append(all, l) {
		_ = l.conn.(*net.TCPConn).CloseWrite()
		h.gone(l)
	}
}

// enter has clients come in at a link, with those that the process before has left behind.
func (h *hostileWorld) enter(l *rogueLink, n int, o options) (all []*client) {
	for range n {
		all = append(all, h.x.dial("4", h.e.url, "/rogue", o))
	}
	for _, c := range all {
		eventually(h.t, "that a client comes in", func() bool {
			l.admit()
			c.mu.Lock()
			defer c.mu.Unlock()
			return slices.ContainsFunc(c.seen, func(s sight) bool { return s.On == "connect" })
		})
		c.connected()
	}
	return all
}

// idle takes events without end, and works nothing off: its clients are not read from.
func (h *hostileWorld) idle() {
	l := h.link()
	l.mu.Lock()
	l.silent = true
	l.mu.Unlock()
	all := h.enter(l, 10, options{})
	for _, c := range all {
		c.op("burst", map[string]any{"event": "x", "args": []any{strings.Repeat("x", 20_000)}, "n": 500})
	}
	h.moving()
	h.moving()
	l.mu.Lock()
	events := l.events
	l.mu.Unlock()
	if events == 0 || events > 1000 {
		h.t.Errorf("a process that works nothing off is sent %d events of 20 KB", events)
	}
	h.logged("bridges.rogue.window")
	_ = l.conn.Close()
	for _, c := range all {
		c.op("leave", nil)
	}
}

// closedDoor answers nobody who wants in, and no event.
func (h *hostileWorld) closedDoor() {
	l := h.link()
	var all []*client
	for range 20 {
		all = append(all, h.x.dial("4", h.e.url, "/rogue", options{}))
	}
	l.sockets(len(all))
	for _, c := range all {
		c.op("leave", nil)
	}
	c := h.enter(l, 1, options{})[0]
	// 1024 may be owed (limits.max_pending_acks).
	for range 3 {
		c.op("questions", map[string]any{"event": "x", "n": 1000})
	}
	h.moving()
	_ = l.conn.Close()
	c.op("leave", nil)
}

// questions asks everybody, again and again, and waits for the answers for ever.
func (h *hostileWorld) questions() {
	l := h.link()
	all := h.enter(l, 5, options{})
	for i := range 200 {
		var many [][]byte
		for k := range 100 {
			many = append(many, wire.AppendBroadcast(nil, wire.Target{Nsp: "/rogue"}, 0, int64(i*100+k), 1<<40, []byte(`["never"]`), nil))
		}
		if !l.batch(many...) {
			break
		}
	}
	h.moving()
	h.logged("too many wait for answers")
	_ = l.conn.Close()
	for _, c := range all {
		c.op("leave", nil)
	}
}

// flood sends to clients that read nothing, and to rooms without end.
func (h *hostileWorld) flood() {
	l := h.link()
	all := h.enter(l, 5, options{})
	socks := l.sockets(len(all))
	for _, c := range all {
		c.op("pause", map[string]any{"on": true})
	}
	big := []byte(`["big","` + strings.Repeat("x", 500_000) + `"]`)
	for range 200 {
		if !l.batch(wire.AppendBroadcast(nil, wire.Target{Nsp: "/rogue"}, 0, wire.None, 0, big, nil)) {
			break
		}
	}
	for i := range 20 {
		var rooms []string
		for k := range 2000 {
			rooms = append(rooms, fmt.Sprint("room ", i, " ", k))
		}
		if !l.batch(wire.AppendJoin(nil, socks[len(socks)-1], rooms), wire.AppendJoinAll(nil, wire.Target{Nsp: "/rogue"}, rooms)) {
			break
		}
	}
	h.moving()
	for _, c := range all {
		c.op("pause", map[string]any{"on": false})
		c.op("leave", nil)
	}
	_ = l.conn.Close()
}

// huge sends data of a socket that is more than may be kept.
func (h *hostileWorld) huge() {
	l := h.link()
	c := h.enter(l, 1, options{recover: true})[0]
	for _, s := range l.sockets(1) {
		l.batch(wire.AppendData(nil, s, []byte(`"`+strings.Repeat("x", 100_000)+`"`)))
	}
	h.logged("bridges.rogue.max_data")
	_ = l.conn.Close()
	c.op("leave", nil)
}

// links opens more than there may be.
func (h *hostileWorld) links() {
	var all []*rogueLink
	for range 4 {
		all = append(all, h.link())
	}
	eventually(h.t, "one link more is refused, which", func() bool {
		status, l := knock(h.t, h.e.api, "/bridge?name=rogue", rogueKey)
		_ = l.conn.Close()
		return status == 503
	})
	h.logged("bridges.rogue.max_links")
	for _, l := range all {
		_ = l.conn.Close()
	}
	eventually(h.t, "there is room for a link again, which", func() bool {
		status, l := knock(h.t, h.e.api, "/bridge?name=rogue", rogueKey)
		_ = l.conn.Close()
		return status == 101
	})
}

// churn opens and ends links, with the same name and others.
func (h *hostileWorld) churn() {
	for i := range 100 {
		status, l := knock(h.t, h.e.api, "/bridge?name=rogue", rogueKey)
		if status == 101 {
			l.batch(wire.AppendHello(nil, rogueHello(fmt.Sprint("churn-", i%3), "/rogue")))
		}
		_ = l.conn.Close()
	}
}
