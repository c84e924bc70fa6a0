//go:build interop

package interop

import (
	"fmt"
	"slices"
	"testing"

	"github.com/sioedge/sioedge/sio"
)

// What servers of Node, their emitter and ours emit to a room is kept by servers of
// ours that have members of it; one that has had none asks them. Servers of Node do not
// answer, and are not disturbed.
func TestHistoryOfRooms(t *testing.T) {
	t.Parallel()
	addr := startRedis(t).addr
	for i, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			prefix := fmt.Sprint("history ", i)
			o := k.node
			o.Name, o.Redis, o.Prefix = "n", addr, prefix
			sources := []*peer{node(t, o)}
			options := ourOptions{Redis: addr, Adapter: k.adapter, Options: k.ours}
			options.Prefix, options.StreamName = prefix, prefix
			var ours []*peer
			for _, name := range []string{"first", "second"} {
				options.Name = name
				p, n := ourServer(t, options)
				n.srv.Of("/").KeepHistory(sio.History{Size: 100})
				ours = append(ours, p)
			}
			if k.classic {
				sources = append(sources, node(t, nodeOptions{Name: "Node's emitter", Kind: "emitter", Redis: addr, Prefix: prefix}))
			}
			sources = append(sources, ours[0])
			cl := &cluster{t: t, browser: startClients(t), servers: []*peer{sources[0], ours[0], ours[1]}}
			allReady(append([]*peer{cl.browser, ours[1]}, sources...)...)
			a, b := cl.connect(t, ours[0], "a", "/"), cl.connect(t, ours[1], "b", "/")
			cl.settle(t)
			ours[0].do(t, command{Op: "joinReplay", NS: "/", SID: a.id, Names: []any{"r"}}, nil)
			n := 0
			emit := func() {
				for _, s := range sources {
					s.do(t, command{Op: "emit", NS: "/", Event: "e", Rooms: []any{"r"}, Args: []any{n}}, nil)
					n++
				}
			}
			received := func() map[string][]string {
				all := map[string][]string{}
				for _, s := range sources { // what one of them emitted says nothing of the others
					for name, events := range cl.received(t, s) {
						all[name] = append(all[name], events...)
					}
				}
				return all
			}
			want := func(from int) {
				t.Helper()
				var all []string
				for i := from; i < n; i++ {
					all = append(all, fmt.Sprintf(`["e",%d]`, i))
				}
				got := received()["b"]
				if len(got) != len(all) {
					t.Errorf("b received %q, want %q", got, all)
				}
				for _, e := range all {
					if !slices.Contains(got, e) {
						t.Errorf("b received %q, want %s among it", got, e)
					}
				}
			}
			emit()
			received()
			ours[1].do(t, command{Op: "joinReplay", NS: "/", SID: b.id, Names: []any{"r"}}, nil)
			want(0)
			emit()
			want(n - len(sources))
			ours[1].do(t, command{Op: "takeOut", NS: "/", SID: b.id, Names: []any{"r"}}, nil)
			emit()
			received()
			ours[1].do(t, command{Op: "joinReplay", NS: "/", SID: b.id, Names: []any{"r"}}, nil)
			want(0)
			var heard []any
			sources[0].do(t, command{Op: "heard"}, &heard)
			if len(heard) > 0 {
				t.Errorf("the server of Node has heard %v", heard)
			}
		})
	}
}
