//go:build interop

package interop

import (
	"fmt"
	"slices"
	"testing"
)

// answered is what somebody answers who is asked in a way, as reply in lines.mjs
// says. Where bytes cannot be, JSON has Node's form of them.
func answered(name, way string, json bool) any {
	switch way {
	case "binary":
		b := append([]byte(name), 0, 255)
		if json {
			return buffer(b)
		}
		return bytes(b)
	case "nested":
		if json {
			return map[string]any{"from": name, "bytes": []any{buffer([]byte(name))}}
		}
		return map[string]any{"from": name, "bytes": []any{bytes(name)}}
	case "nothing":
		return undefined
	case "null":
		return nil
	}
	return name
}

// buffer is how JSON.stringify writes a Buffer.
func buffer(b []byte) any {
	list := make([]int, len(b))
	for i := range b {
		list[i] = int(b[i])
	}
	return map[string]any{"type": "Buffer", "data": list}
}

// sorted returns values as JSON, in an order.
func sorted(t testing.TB, list []any) (all []string) {
	for _, v := range list {
		all = append(all, canonical(t, v))
	}
	slices.Sort(all)
	return all
}

// sorted returns answers as JSON, in an order.
func (m *mixed) sorted(t testing.TB, list []any) []string {
	all := sorted(t, list)
	for i := range all {
		if m.kind.null && all[i] == canonical(t, undefined) {
			all[i] = "null"
		}
	}
	slices.Sort(all)
	return all
}

// enough is a time-out that no answer exceeds, in ms.
const enough = 30_000

// testAsks has clients acknowledge broadcasts.
func (m *mixed) testAsks(t *testing.T, s *peer) {
	for _, way := range []string{"text", "binary", "nested", "nothing", "null"} {
		m.asks(t, s, "acknowledged with "+way, way, command{NS: "/"})
	}
	m.asks(t, s, "acknowledged in a room", "text", command{NS: "/", Rooms: []any{"r1"}})
	m.asks(t, s, "acknowledged in rooms except", "text", command{NS: "/", Rooms: []any{"r1", "r2"}, Except: []any{oddRoom}})
	m.asks(t, s, "acknowledged by a socket of ours", "binary", command{NS: "/", Rooms: []any{m.client("g1").id}})
	m.asks(t, s, "acknowledged by a socket of Node", "binary", command{NS: "/", Rooms: []any{m.client("n1").id}})
	m.asks(t, s, "acknowledged by nobody", "text", command{NS: "/", Rooms: []any{"nobody"}})
	m.asks(t, s, "acknowledged in another namespace", "text", command{NS: "/other", Args: []any{bytes{1}}})
	m.asks(t, s, "acknowledged in a namespace with a parameter", "text", command{NS: "/campaigns/7"})
	m.asks(t, s, "a broadcast of a socket is acknowledged", "text", command{NS: "/", From: m.of(s, "/")[0].id})
}

func (m *mixed) asks(t *testing.T, s *peer, name, way string, c command) {
	t.Run(name, func(t *testing.T) {
		c.Op, c.Event, c.Timeout, c.Args = "ask", "ask", enough, append([]any{way}, c.Args...)
		var got answers
		s.do(t, c, &got)
		var want []any
		meant := m.meant(s, c)
		for _, name := range meant {
			want = append(want, answered(name, way, false))
		}
		if a, b := m.sorted(t, got.Answers), m.sorted(t, want); !slices.Equal(a, b) || got.Error != "" {
			t.Errorf("the answers are %q %s, want %q", a, got.Error, b)
		}
		entry := canonical(t, append(append([]any{"ask"}, c.Args...), "$ack"))
		noted := m.received(t, s)
		for _, x := range m.clients {
			if want := slices.Contains(meant, x.name); want != (len(noted[x.name]) == 1) || want && noted[x.name][0] != entry {
				t.Errorf("%s received %q, want %s: %t", x.name, noted[x.name], entry, want)
			}
		}
	})
}

// testMute asks with clients and servers that do not answer: what the others say
// comes with the error. All servers ask at once.
func (m *mixed) testMute(t *testing.T) {
	const little = 2500 // ms
	var asked []<-chan answer
	for _, s := range m.servers {
		asked = append(asked, s.send(command{Op: "ask", NS: "/", Event: "ask", Timeout: little, Args: []any{"all but", "n1", "g1"}}))
	}
	servers := []*peer{m.g0, m.g1}
	var answering []<-chan answer
	for i, s := range servers {
		mute := []any{"all but", "n1", servers[1-i].name}
		answering = append(answering, s.send(command{Op: "askServers", NS: "/", Event: "ask", Timeout: little, Args: mute}))
	}
	check := func(who string, c <-chan answer, p *peer, want ...any) {
		t.Helper()
		var got answers
		if err := p.wait(c).decode(&got); err != nil {
			t.Fatalf("%s: %v", who, err)
		}
		if a, b := sorted(t, got.Answers), sorted(t, want); !slices.Equal(a, b) || got.Error == "" {
			t.Errorf("%s has the answers %q %q, want %q and an error", who, a, got.Error, b)
		}
	}
	for i, s := range m.servers {
		check(s.name, asked[i], s, "n0", "g0", "n0b", "g0b")
	}
	for i, s := range servers {
		check(s.name+", of servers,", answering[i], s, "n0")
	}
	for _, s := range m.servers {
		var heard []any
		s.do(t, command{Op: "heard"}, &heard)
	}
	m.received(t, m.n0)
}

// testFetches looks at sockets and rooms from a server.
func (m *mixed) testFetches(t *testing.T, s *peer) {
	for name, c := range map[string]command{
		"fetchSockets":                                  {NS: "/"},
		"fetchSockets of a room":                        {NS: "/", Rooms: []any{"r1"}},
		"fetchSockets of rooms except":                  {NS: "/", Rooms: []any{"r1", "r3"}, Except: []any{oddRoom}},
		"fetchSockets of a socket of ours":              {NS: "/", Rooms: []any{m.client("g0").id}},
		"fetchSockets of a socket of Node":              {NS: "/", Rooms: []any{m.client("n0").id}},
		"fetchSockets of nobody":                        {NS: "/", Rooms: []any{"nobody"}},
		"fetchSockets of another namespace":             {NS: "/other"},
		"fetchSockets of a namespace with a parameter":  {NS: "/campaigns/7"},
		"fetchSockets of this server":                   {NS: "/", Local: true},
		"fetchSockets of a numeric room":                {NS: "/", Rooms: []any{42}},
		"fetchSockets of a room that looks like an id":  {NS: "/", Rooms: []any{longRoom}},
		"fetchSockets without those of a room's number": {NS: "/", Except: []any{42}},
	} {
		t.Run(name, func(t *testing.T) {
			c.Op, c.Timeout = "fetch", enough
			var got []any
			s.do(t, c, &got)
			var want []any
			for _, name := range m.meant(s, c) {
				x := m.client(name)
				rooms := append(strs(x.rooms), x.id)
				slices.Sort(rooms)
				auth := canonical(t, map[string]any{"name": name})
				want = append(want, found{x.id, slices.Compact(rooms), []byte(auth), []byte(auth), name, "websocket", "127.0.0.1"})
			}
			if a, b := sorted(t, got), sorted(t, want); !slices.Equal(a, b) {
				t.Errorf("the sockets are\n%s, want\n%s", a, b)
			}
			if s == m.g0 || s == m.g1 {
				c.Op = "count"
				n := -1
				if s.do(t, c, &n); n != len(want) {
					t.Errorf("CountAll = %d, want %d", n, len(want))
				}
			}
		})
	}
	if s == m.g0 || s == m.g1 || m.kind.classic {
		t.Run("allRooms", func(t *testing.T) {
			for _, ns := range m.namespaces() {
				var got []string
				s.do(t, command{Op: "rooms", NS: ns, Timeout: enough}, &got)
				want := strs(m.rooms(ns))
				slices.Sort(want)
				if slices.Sort(got); !slices.Equal(slices.Compact(got), slices.Compact(want)) {
					t.Errorf("the rooms of %s are %q, want %q", ns, got, want)
				}
			}
		})
	}
}

// testRemotes reaches sockets of each server through RemoteSocket.
func (m *mixed) testRemotes(t *testing.T, s *peer) {
	for _, name := range []string{"n0", "n1", "g0", "g1"} {
		x := m.client(name)
		c := command{Op: "remote", NS: "/", Rooms: []any{x.id}, Timeout: enough}
		t.Run("RemoteSocket of "+name, func(t *testing.T) {
			emit := c
			emit.What, emit.Event, emit.Args = "emit", "e", []any{"x", bytes{1}}
			s.do(t, emit, nil)
			noted := m.received(t, s)
			for _, y := range m.clients {
				if got, want := noted[y.name], y == x; want != (len(got) == 1) || want && got[0] != `["e","x",{"$b":"01"}]` {
					t.Errorf("%s received %q, want it: %t", y.name, got, want)
				}
			}
			ask := c
			ask.What, ask.Event, ask.Args = "ask", "ask", []any{"binary"}
			var got []any
			s.do(t, ask, &got)
			if a, b := sorted(t, got), sorted(t, []any{answered(name, "binary", false)}); !slices.Equal(a, b) {
				t.Errorf("the answer is %q, want %q", a, b)
			}
			m.received(t, s)
			move := c
			move.What, move.Names = "join", []any{"far", "away"}
			s.do(t, move, nil)
			m.await(t, x, "far", "away")
			move.What = "leave"
			s.do(t, move, nil)
			m.await(t, x)
		})
	}
}

// await waits until a client is in its rooms and in these, and no others.
func (cl *cluster) await(t *testing.T, x *client, more ...string) {
	t.Helper()
	want := append(strs(x.rooms), append(more, x.id)...)
	slices.Sort(want)
	want = slices.Compact(want)
	eventually(t, fmt.Sprintf("%s being in %q", x.name, want), func() bool {
		var got []string
		x.home.do(t, command{Op: "roomsOf", NS: x.ns, SID: x.id}, &got)
		slices.Sort(got)
		return slices.Equal(got, want)
	})
}

// testMoves has sockets of all servers join and leave.
func (m *mixed) testMoves(t *testing.T, s *peer) {
	t.Run("socketsJoin and socketsLeave", func(t *testing.T) {
		all := m.of(m.n0, "/")
		for _, home := range m.servers[1:] {
			all = append(all, m.of(home, "/")...)
		}
		s.do(t, command{Op: "join", NS: "/", Names: []any{"j1", "j2"}}, nil)
		for _, x := range all {
			m.await(t, x, "j1", "j2")
		}
		s.do(t, command{Op: "leave", NS: "/", Rooms: []any{"r1", "r3"}, Except: []any{oddRoom}, Names: []any{"j1"}}, nil)
		s.do(t, command{Op: "join", NS: "/", Rooms: []any{m.client("g1").id, m.client("n1").id}, Names: []any{"j3"}}, nil)
		for _, x := range all {
			switch {
			case x.in([]any{"r1", "r3"}) && !x.in([]any{oddRoom}):
				m.await(t, x, "j2")
			case x.name == "g1" || x.name == "n1":
				m.await(t, x, "j1", "j2", "j3")
			default:
				m.await(t, x, "j1", "j2")
			}
		}
		s.do(t, command{Op: "leave", NS: "/", Names: []any{"j1", "j2", "j3"}}, nil)
		for _, x := range all {
			m.await(t, x)
		}
	})
}

// testNews sends events to the servers.
func (m *mixed) testNews(t *testing.T, s *peer) {
	t.Run("serverSideEmit", func(t *testing.T) {
		bin := any(bytes{1, 2})
		if m.kind.classic {
			bin = buffer([]byte{1, 2})
		}
		sent := [][]any{{"news"}, {"news", "x", 1, map[string]any{"y": []any{nil}}}, {"ask", "é"}, {"news", bytes{1, 2}}, {"news", "last"}}
		var want []string
		for i, e := range sent {
			s.do(t, command{Op: "servers", NS: "/", Event: e[0].(string), Args: e[1:]}, nil)
			if i == 3 {
				e = []any{"news", bin}
			}
			want = append(want, canonical(t, append([]any{"/"}, e...)))
		}
		for _, other := range m.servers {
			var got []string
			if other != s {
				eventually(t, "the servers' hearing", func() bool {
					got = append(got, m.heard(t, other)...)
					return len(got) >= len(want)
				})
			}
			got = append(got, m.heard(t, other)...)
			if other == s && len(got) > 0 {
				t.Errorf("%s heard %q of itself", s.name, got)
			} else if other != s && !slices.Equal(got, want) {
				t.Errorf("%s heard %q, want %q", other.name, got, want)
			}
		}
	})
}

func (cl *cluster) heard(t *testing.T, s *peer) (all []string) {
	t.Helper()
	var heard []any
	s.do(t, command{Op: "heard"}, &heard)
	for _, v := range heard {
		all = append(all, canonical(t, v))
	}
	return all
}

// testServersAnswer has the other servers answer.
func (m *mixed) testServersAnswer(t *testing.T, s *peer) {
	t.Run("serverSideEmit with answers", func(t *testing.T) {
		for _, ns := range []string{"/", "/other"} {
			for _, way := range []string{"text", "binary", "nested", "nothing", "null"} {
				var got answers
				s.do(t, command{Op: "askServers", NS: ns, Event: "ask", Timeout: enough, Args: []any{way}}, &got)
				var want []any
				for _, other := range m.servers {
					if other != s {
						want = append(want, answered(other.name, way, m.kind.classic))
					}
				}
				if a, b := m.sorted(t, got.Answers), m.sorted(t, want); !slices.Equal(a, b) || got.Error != "" {
					t.Errorf("%s: the answers with %s are %q %s, want %q", ns, way, a, got.Error, b)
				}
			}
		}
		for _, other := range m.servers {
			want := 10
			if other == s {
				want = 0
			}
			if got := m.heard(t, other); len(got) != want {
				t.Errorf("%s heard %q, want %d", other.name, got, want)
			}
		}
	})
}

// testDisconnects disconnects sockets of all servers, with and without their
// connections.
func (m *mixed) testDisconnects(t *testing.T, s *peer) {
	for _, closing := range []bool{false, true} {
		t.Run(fmt.Sprintf("disconnectSockets(%t)", closing), func(t *testing.T) {
			gone, beside := m.leavers(t, "bye")
			s.do(t, command{Op: "disconnect", NS: "/", Rooms: []any{"bye"}, Close: closing}, nil)
			m.haveGone(t, s, gone, beside, closing)
		})
	}
	if slices.Contains(m.emitters, s) {
		return
	}
	t.Run("RemoteSocket.disconnect", func(t *testing.T) {
		gone, beside := m.leavers(t, "bye")
		for _, x := range gone {
			s.do(t, command{Op: "remote", What: "disconnect", NS: "/", Rooms: []any{x.id}, Timeout: enough}, nil)
		}
		m.haveGone(t, s, gone, beside, false)
	})
}

// leavers connects a client to each server, in a room, and one beside it on the
// same connection.
func (m *mixed) leavers(t *testing.T, room string) (gone, beside []*client) {
	t.Helper()
	for _, home := range m.servers {
		name := "leaver of " + home.name
		gone = append(gone, m.connect(t, home, name, "/", room))
		beside = append(beside, m.enter(t, command{Name: "beside " + name, Share: name, NS: "/other"}, home))
	}
	return gone, beside
}

// haveGone waits until clients have been disconnected, and those beside them if
// their connections were closed, and checks that nobody else was.
func (m *mixed) haveGone(t *testing.T, s *peer, gone, beside []*client, closing bool) {
	t.Helper()
	expect := slices.Clone(gone)
	if closing {
		expect = append(expect, beside...)
	}
	for _, x := range expect {
		var came bool
		m.browser.do(t, command{Op: "count", Name: x.name, Number: 1, Timeout: patienceMS}, &came)
		if !came {
			t.Errorf("%s was not disconnected", x.name)
		}
	}
	var noted map[string][][]string
	m.browser.do(t, command{Op: "take", Clients: names(expect)}, &noted)
	for name, list := range noted {
		if fmt.Sprint(list) != "[[$disconnect io server disconnect]]" {
			t.Errorf("%s noted %q, want that the server disconnected it", name, list)
		}
	}
	m.leave(t, expect...)
	for name, list := range m.received(t, s) { // by all that are left
		if len(list) > 0 {
			t.Errorf("%s received %q", name, list)
		}
	}
	if !closing {
		m.leave(t, beside...)
	}
}
