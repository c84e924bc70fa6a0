//go:build interop

package interop

import (
	"fmt"
	"testing"
)

func TestCluster(t *testing.T) {
	addr := startRedis(t).addr
	for i, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			m := newMixed(t, addr, i, k)
			for _, s := range m.servers {
				t.Run("from "+s.name, func(t *testing.T) {
					m.testEmits(t, s)
					m.testBroadcasts(t, s)
					m.testAsks(t, s)
					m.testFetches(t, s)
					m.testRemotes(t, s)
					m.testMoves(t, s)
					m.testNews(t, s)
					m.testServersAnswer(t, s)
					m.testDisconnects(t, s)
				})
			}
			for _, e := range m.emitters {
				t.Run("from "+e.name, func(t *testing.T) {
					m.testEmits(t, e)
					m.testMoves(t, e)
					m.testNews(t, e)
					m.testDisconnects(t, e)
				})
			}
			t.Run("some do not answer", m.testMute)
		})
	}
}

// values are arguments of all kinds.
var values = []any{
	nil, true, false, 0, -1, 127, 128, -129, 65536, -2147483649, 1.5, -0.25, 9007199254740991, "", "é\u2028\"\\\n😀", []any{}, map[string]any{},
	[]any{[]any{1, "x"}}, map[string]any{"a": map[string]any{"b": nil}},
}

// testEmits is for servers and emitters.
func (m *mixed) testEmits(t *testing.T, s *peer) {
	own := m.client("g1")
	node := m.client("n1")
	for _, test := range []struct {
		name string
		command
	}{
		{"to the namespace", command{}},
		{"to a room", command{Rooms: []any{"r1"}}},
		{"to several rooms", command{Rooms: []any{"r1", "r2"}}},
		{"except a room", command{Except: []any{"r2"}}},
		{"to a room except another", command{Rooms: []any{"r1"}, Except: []any{"r2"}}},
		{"except several rooms", command{Except: []any{"r1", "r3"}}},
		{"to a socket of ours", command{Rooms: []any{own.id}}},
		{"to a socket of Node", command{Rooms: []any{node.id}}},
		{"to sockets and a room", command{Rooms: []any{own.id, node.id, "r3"}}},
		{"except a socket of ours", command{Except: []any{own.id}}},
		{"except a socket of Node", command{Except: []any{node.id}}},
		{"to nobody", command{Rooms: []any{"nobody"}}},
		{"to a numeric room", command{Rooms: []any{42}}},
		{"to a numeric room and another", command{Rooms: []any{42, "r3"}}},
		{"except a numeric room", command{Except: []any{42}}},
		{"to a room that looks like a socket", command{Rooms: []any{longRoom}}},
		{"to a room with a pattern's characters", command{Rooms: []any{oddRoom}}},
		{"volatile", command{Volatile: true}},
		{"compress", command{Plain: true, Rooms: []any{"r1"}}},
		{"binary", command{Args: []any{bytes{1, 2, 3}, map[string]any{"a": []any{bytes{0, 255}, "x"}}, bytes{}}}},
		{"binary to a room", command{Rooms: []any{"r2"}, Args: []any{bytes("0123456789")}}},
		{"every kind of value", command{Args: values}},
		{"another namespace", command{NS: "/other", Args: []any{bytes{7}}}},
		{"a room of another namespace", command{NS: "/other", Rooms: []any{"r1"}}},
		{"a namespace with a parameter", command{NS: "/campaigns/7"}},
		{"a room of a namespace with a parameter", command{NS: "/campaigns/7", Rooms: []any{"r1"}}},
		{"100 in order", command{Count: 100}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := test.command
			if c.NS == "" {
				c.NS = "/"
			}
			c.Event = "e"
			if c.Args == nil {
				c.Args = []any{fmt.Sprint(s.name, " ", test.name)}
			}
			m.emits(t, s, c)
		})
	}
}

// testBroadcasts is what a server can and an emitter cannot.
func (m *mixed) testBroadcasts(t *testing.T, s *peer) {
	self := m.of(s, "/")[0].id
	for name, c := range map[string]command{
		"local":                             {Local: true},
		"local to a room":                   {Local: true, Rooms: []any{"r2"}},
		"a socket's broadcast":              {From: self},
		"a socket's broadcast to a room":    {From: self, Rooms: []any{"r2"}},
		"a socket's broadcast except":       {From: self, Except: []any{"r1"}},
		"a socket's volatile broadcast":     {From: self, Volatile: true},
		"a socket's broadcast of binary":    {From: self, Args: []any{bytes{9}}},
		"a socket's local broadcast":        {From: self, Local: true},
		"a socket's broadcast to two rooms": {From: self, Rooms: []any{"r1", "r3"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.NS, c.Event = "/", "e"
			m.emits(t, s, c)
		})
	}
}
