//go:build interop

package interop

import (
	"slices"
	"testing"

	"github.com/sioedge/sioedge/rooms/redis"
)

// Servers of version 7 ask for single sockets, and in another dialect of
// MessagePack.
func TestClusterOfVersion7(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	cl := &cluster{t: t, browser: startClients(t)}
	old := node(t, nodeOptions{Kind: "classic7", Name: "old", Redis: r.addr, Prefix: "socket.io"})
	g0, _ := ourServer(t, ourOptions{Name: "g0", Redis: r.addr})
	g1, _ := ourServer(t, ourOptions{Name: "g1", Redis: r.addr, Options: redis.Options{OwnResponses: true}})
	cl.servers = []*peer{old, g0, g1}
	allReady(old, g0, g1, cl.browser)
	for _, s := range cl.servers {
		cl.connect(t, s, s.name, "/", "r1", "of "+s.name)
	}
	m := &mixed{cluster: cl, kind: kind{classic: true}}
	cl.settle(t)

	call := func(method string, dst any, args ...any) {
		t.Helper()
		old.do(t, command{Op: "legacy", NS: "/", Event: method, Args: args}, dst)
	}
	for _, rooms := range [][]any{nil, {"r1"}, {"of g0", "of g1"}, {"nobody"}} {
		var got, want []string
		call("sockets", &got, rooms...)
		for _, name := range cl.meant(old, command{NS: "/", Rooms: rooms}) {
			for _, c := range cl.clients {
				if c.name == name {
					want = append(want, c.id)
				}
			}
		}
		slices.Sort(want)
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("sockets(%v) = %q, want %q", rooms, got, want)
		}
	}
	for _, c := range cl.clients {
		call("remoteJoin", nil, c.id, "joined") // fails unless the socket's server answers
		cl.await(t, c, "joined")
		call("remoteLeave", nil, c.id, "joined")
		cl.await(t, c)
	}
	for _, s := range cl.servers {
		t.Run("from "+s.name, func(t *testing.T) {
			for name, c := range map[string]command{
				"to the namespace": {Args: []any{"x"}},
				"to a room":        {Rooms: []any{"of g0"}, Args: []any{bytes{1, 2}}},
				"binary":           {Args: []any{bytes{0, 255}, []any{bytes("x")}}},
				"every value":      {Args: values},
				"volatile":         {Volatile: true, Except: []any{"of old"}},
			} {
				t.Run(name, func(t *testing.T) {
					c.NS, c.Event = "/", "e"
					cl.emits(t, s, c)
				})
			}
			for _, way := range []string{"text", "binary", "nothing"} {
				m.asks(t, s, "acknowledged with "+way, way, command{NS: "/"})
			}
			m.testServersAnswer(t, s)
		})
	}
	for _, s := range cl.servers {
		var got []any
		s.do(t, command{Op: "fetch", NS: "/", Timeout: enough}, &got)
		var rooms []string
		s.do(t, command{Op: "rooms", NS: "/", Timeout: enough}, &rooms)
		if len(got) != 3 || len(rooms) != 7 {
			t.Errorf("%s fetches %d sockets and %q, want 3 and 7 rooms", s.name, len(got), rooms)
		}
	}
	for _, closing := range []bool{false, true} {
		var gone, beside []*client
		for _, home := range cl.servers {
			gone = append(gone, cl.connect(t, home, "leaver of "+home.name, "/"))
			beside = append(beside, cl.enter(t, command{Name: "beside " + home.name, Share: "leaver of " + home.name, NS: "/other"}, home))
		}
		for _, c := range gone {
			call("remoteDisconnect", nil, c.id, closing)
		}
		m.haveGone(t, old, gone, beside, closing)
	}
}
