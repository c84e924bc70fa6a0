//go:build interop

package interop

import (
	"fmt"
	"testing"
)

// A client whose server has waited with its join gets what Node's server emits to
// the room at once, the first of its members or not: 400 of 400.
func TestClusterJoinsThatAreWaitedFor(t *testing.T) {
	t.Parallel()
	addr := startRedis(t).addr
	for i, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			prefix := fmt.Sprint("joins ", i)
			o := k.node
			o.Name, o.Redis, o.Prefix = "n", addr, prefix
			theirs := node(t, o)
			options := ourOptions{Name: "g", Redis: addr, Adapter: k.adapter, Options: k.ours}
			options.Prefix, options.StreamName = prefix, prefix
			ours, _ := ourServer(t, options)
			cl := &cluster{t: t, browser: startClients(t), servers: []*peer{theirs, ours}}
			allReady(cl.browser, theirs, ours)
			c := cl.connect(t, ours, "c", "/", "first")
			cl.settle(t)
			const n = 400
			for j := range n {
				room := fmt.Sprint("room ", j)
				ours.do(t, command{Op: "joinWait", NS: "/", SID: c.id, Names: []any{room}}, nil)
				theirs.do(t, command{Op: "emit", NS: "/", Event: "e", Rooms: []any{room}, Args: []any{j}}, nil)
			}
			if got := cl.received(t, theirs)["c"]; len(got) != n {
				t.Errorf("%d events of %d arrived", len(got), n)
			}
		})
	}
}
