//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/redis"
)

// A house is the host of a server, in whatever process that is: it has one socket, and
// notes what comes to it.
type house struct {
	node string

	mu     sync.Mutex
	last   map[string]int
	wrongs []string
}

func (h *house) Node() string      { return h.node }
func (h *house) Advertise() string { return "" }
func (h *house) Token() string     { return "" }
func (h *house) Load() rooms.Load  { return rooms.Load{} }

func (h *house) Deliver(_ rooms.Target, e rooms.Event) {
	var event, who string
	var n int
	if err := json.Unmarshal(e.Data, &[]any{&event, &who, &n}); err != nil || event != "n" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if n != h.last[who]+1 && len(h.wrongs) < 20 {
		h.wrongs = append(h.wrongs, fmt.Sprintf("%s: %d behind %d", who, n, h.last[who]))
	}
	h.last[who] = n
}

func (h *house) had(who string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last[who]
}

func (h *house) DeliverAck(_ context.Context, _ rooms.Target, _ rooms.Event, counted func(int), answer func(rooms.Value)) {
	counted(1)
	answer(rooms.Value{Data: []byte(`"` + h.node + `"`)})
}
func (h *house) Join(rooms.Target, []string)   {}
func (h *house) Leave(rooms.Target, []string)  {}
func (h *house) Disconnect(rooms.Target, bool) {}
func (h *house) Count(rooms.Target) int        { return 1 }
func (h *house) RoomNames(string) []string     { return []string{"r", h.node} }
func (h *house) Members(rooms.Target) []rooms.Member {
	return []rooms.Member{{ID: h.node, Handshake: json.RawMessage(`{}`), Rooms: []string{"r"}, Data: json.RawMessage(`{}`)}}
}

func (h *house) ServerSide(_ string, _ rooms.Event, answer func(rooms.Value)) {
	if answer != nil {
		answer(rooms.Value{Data: []byte(`"` + h.node + `"`)})
	}
}

// A lineage is a server that goes from one process, or what is one here, to the next.
type lineage struct {
	t     *testing.T
	host  *house
	make  func() rooms.Movable
	now   rooms.Movable
	moved int
}

func (x *lineage) open(a rooms.Movable) {
	x.t.Helper()
	if err := a.Start(x.host); err != nil {
		x.t.Fatal(err)
	}
	a.Open("/")
}

func (x *lineage) end(a rooms.Movable) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := a.Close(ctx); err != nil {
		x.t.Error(err)
	}
}

// hand gives the server to another process; before is called when both are subscribed, and
// between when what comes is divided.
func (x *lineage) hand(before, between func()) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	must := func(err error) {
		x.t.Helper()
		if err != nil {
			x.t.Fatal(err)
		}
	}
	offer, err := x.now.Offer()
	must(err)
	next := x.make()
	must(next.Inherit(offer))
	x.open(next)
	offer, err = x.now.Offer()
	must(err)
	must(next.Follow(ctx, offer))
	before()
	place, err := x.now.Mark(ctx)
	must(err)
	between()
	next.Occupied("/", "r")
	must(next.Succeed(place))
	must(x.now.Gone(ctx, false))
	x.end(x.now)
	x.now = next
	x.moved++
}

// moving are the kinds with those of older servers.
func moving() []kind {
	return append(kinds, kind{name: "classic, Node's of version 7", node: nodeOptions{Kind: "classic7"}, adapter: redis.PubSub, classic: true})
}

// While a server of ours goes from process to process ten times, servers of Node, and
// others of ours, say something and ask without pause: each message comes once and in
// order, to each of them, all questions are answered in full, and Node's see nothing.
func TestNodeSeesNoHandover(t *testing.T) {
	r := startRedis(t)
	for i, k := range moving() {
		t.Run(k.name, func(t *testing.T) {
			o := k.node
			o.Redis, o.Prefix = r.addr, fmt.Sprintf("moves%d", i)
			nodes := map[string]*peer{}
			for _, name := range []string{"n0", "n1"} {
				o.Name = name
				text, err := json.Marshal(o)
				if err != nil {
					t.Fatal(err)
				}
				nodes[name] = startProcess(t, name, nil, "node", "moves.mjs", string(text))
			}
			mine := func(name string) *lineage {
				mo := k.ours
				mo.Prefix, mo.StreamName, mo.Name, mo.Logger = o.Prefix, o.Prefix, name, slog.New(slog.DiscardHandler)
				x := &lineage{t: t, host: &house{node: name, last: map[string]int{}}, make: func() rooms.Movable { return k.adapter(r.addr, mo).(rooms.Movable) }}
				x.now = x.make()
				x.open(x.now)
				x.now.Occupied("/", "r")
				t.Cleanup(func() { x.end(x.now) })
				return x
			}
			x, other := mine("nod0"), mine("nod1")
			for _, p := range nodes {
				p.ready()
			}
			for _, y := range []*lineage{x, other} {
				eventually(t, "being up", func() bool { s := y.now.Status(); return s.Up && len(s.Peers) == 1 })
			}
			for _, p := range nodes {
				eventually(t, "that all are counted", func() bool {
					var n int
					p.do(t, command{Op: "fetch"}, &n)
					return n == 4
				})
				p.do(t, command{Op: "talk", Names: []any{"", "r"}, Every: 1}, nil)
				p.do(t, command{Op: "ask", Count: 4}, nil)
			}
			said := map[string]int{}
			say := func(y *lineage, times int) {
				for range times {
					for _, names := range [][]string{nil, {"r"}} {
						said[y.host.node]++
						y.now.Emit(rooms.Target{Namespace: "/", Rooms: names}, rooms.Event{Data: fmt.Appendf(nil, `["n",%q,%d]`, y.host.node, said[y.host.node])})
					}
				}
			}
			more := func() {
				say(other, 10)
				at := other.host.had("n0")
				eventually(t, "more of Node's", func() bool { return other.host.had("n0") > at+50 })
			}
			for range 10 {
				say(x, 20)
				at := x.host.had("n0")
				x.hand(more, more)
				eventually(t, "more of Node's", func() bool { return x.host.had("n0") > at+50 })
			}
			say(x, 20)
			for name, p := range nodes {
				var n int
				p.do(t, command{Op: "hush"}, &n)
				said[name] = n
				wellAsked(t, p, 10)
			}
			for _, y := range []*lineage{x, other} {
				for who, n := range said {
					if who != y.host.node {
						eventually(t, fmt.Sprintf("that %s hears %d of %s", y.host.node, n, who), func() bool { return y.host.had(who) >= n })
					}
				}
				for _, wrong := range y.host.wrongs {
					t.Errorf("at %s: %s", y.host.node, wrong)
				}
			}
			everybodyHeard(t, said, nodes, nil)
		})
	}
}

// outcomeIsLate tells whether a question was not answered in time.
func outcomeIsLate(outcome string) bool {
	return strings.Contains(outcome, "timeout") || strings.Contains(outcome, "timed out")
}
