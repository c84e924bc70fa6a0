//go:build interop

package interop

import (
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/rooms/redis"
)

// A master is a node of a Redis Cluster of a test's own.
type master struct {
	redisServer
	id, dir string
}

// startMasters starts three, which have a third of the slots each. What one of
// them has is served when another is dead.
func startMasters(t testing.TB) (all []*master) {
	t.Helper()
	const n, slots = 3, 1 << 14
	for range n {
		m := &master{redisServer: redisServer{t: t, addr: clusterAddr(t)}, dir: t.TempDir()}
		m.begin()
		t.Cleanup(m.kill)
		m.id = m.must("CLUSTER MYID")
		all = append(all, m)
	}
	for i, m := range all {
		host, port, _ := net.SplitHostPort(m.addr)
		all[0].must(fmt.Sprintf("CLUSTER MEET %s %s", host, port))
		m.must(fmt.Sprintf("CLUSTER ADDSLOTSRANGE %d %d", slots*i/n, slots*(i+1)/n-1))
	}
	for _, m := range all {
		eventually(t, "the cluster", func() bool {
			info, err := m.ask("CLUSTER INFO")
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_size:%d\r", n))
		})
	}
	return all
}

// clusterAddr is freeAddr where the port of the cluster's bus is free too.
func clusterAddr(t testing.TB) string {
	t.Helper()
	const bus = 10_000
	for range 100 {
		addr := freeAddr(t)
		_, port, _ := net.SplitHostPort(addr)
		n, _ := strconv.Atoi(port)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", n+bus)); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

// begin starts it where it was before, with what it knew.
func (m *master) begin() {
	m.t.Helper()
	_, port, _ := net.SplitHostPort(m.addr)
	m.cmd = exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
		"--cluster-enabled", "yes", "--cluster-require-full-coverage", "no", "--cluster-node-timeout", "1000")
	m.cmd.Dir = m.dir
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	eventually(m.t, "redis-server", func() bool {
		answer, err := m.ask("PING")
		return err == nil && strings.HasPrefix(answer, "+PONG")
	})
}

// must returns an answer, of one line, which must not be an error.
func (m *master) must(command string) string {
	m.t.Helper()
	answer, err := m.ask(command)
	if err != nil || strings.HasPrefix(answer, "-") {
		m.t.Fatalf("%s = %s, %v", command, answer, err)
	}
	lines := strings.Split(answer, "\r\n")
	if strings.HasPrefix(answer, "$") {
		return lines[1]
	}
	return lines[0][1:]
}

// ownerOf returns the index of the master that has a channel.
func ownerOf(all []*master, channel string) int {
	all[0].t.Helper()
	i := -1
	eventually(all[0].t, "having a channel", func() bool {
		i = slices.IndexFunc(all, func(m *master) bool {
			answer, err := m.ask("EXISTS " + channel)
			return err == nil && strings.HasPrefix(answer, ":")
		})
		return i >= 0
	})
	return i
}

// epochs returns whether all know the same last change, and none are of the same:
// before that, a node may take a slot back.
func epochs(all []*master) bool {
	all[0].t.Helper()
	last, own := map[string]bool{}, map[string]bool{}
	for _, m := range all {
		info, err := m.ask("CLUSTER INFO")
		if err != nil {
			return false
		}
		for line := range strings.Lines(info) {
			if n, ok := strings.CutPrefix(line, "cluster_current_epoch:"); ok {
				last[n] = true
			} else if n, ok := strings.CutPrefix(line, "cluster_my_epoch:"); ok {
				own[n] = true
			}
		}
	}
	return len(last) == 1 && len(own) == len(all)
}

// moveChannel moves the slot of a channel to another master.
func moveChannel(all []*master, channel string) {
	all[0].t.Helper()
	i := ownerOf(all, channel)
	from, to := all[i], all[(i+1)%len(all)]
	slot := from.must("CLUSTER KEYSLOT " + channel)
	to.must(fmt.Sprintf("CLUSTER SETSLOT %s IMPORTING %s", slot, from.id))
	from.must(fmt.Sprintf("CLUSTER SETSLOT %s MIGRATING %s", slot, to.id))
	for _, m := range []*master{to, from, all[(i+2)%len(all)]} {
		m.must(fmt.Sprintf("CLUSTER SETSLOT %s NODE %s", slot, to.id))
	}
	eventually(to.t, "agreeing on the slot", func() bool { return epochs(all) })
}

// newSlots starts a server of Node and two of ours on masters, with two clients
// each, in rooms; two rooms are where the masters of the first and the second are.
func newSlots(t testing.TB, all []*master, mode string) (cl *cluster, g0 *peer, status func() []string) {
	t.Helper()
	cl = &cluster{t: t, browser: startClients(t)}
	o := struct {
		Nodes  []string `json:"nodes"`
		Prefix string   `json:"prefix"`
		Mode   string   `json:"mode"`
	}{Prefix: mode, Mode: mode}
	for _, m := range all {
		o.Nodes = append(o.Nodes, m.addr)
	}
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cl.servers = append(cl.servers, startProcess(t, "n0", nil, "node", "slots.mjs", string(text)))
	var here []*ours
	for _, name := range []string{"g0", "g1"} {
		p, n := ourServer(t, ourOptions{Name: name, Redis: all[0].addr, Adapter: redis.Sharded, Options: redis.Options{Prefix: mode, Mode: modeOf[mode]}})
		cl.servers, here = append(cl.servers, p), append(here, n)
	}
	allReady(append(cl.servers, cl.browser)...)
	for _, s := range cl.servers {
		cl.connect(t, s, s.name, "/", "a", "b", "c", "d", "e")
		cl.connect(t, s, s.name+" too", "/", "a", "c", "e")
	}
	cl.whole(t, "a", "b", "c", "d", "e")
	return cl, cl.servers[1], func() (down []string) {
		for _, n := range here {
			if s := n.srv.Cluster(); !s.Up {
				down = append(down, n.name+": "+s.Reason)
			}
		}
		return down
	}
}

var modeOf = map[string]redis.Mode{"dynamic": redis.Dynamic, "static": redis.Static, "dynamic-private": redis.DynamicPrivate}

// everything has servers emit to rooms, and to all, and checks that each client
// receives what is for it, once. There is no order between channels.
func (cl *cluster) everything(t testing.TB, rooms ...any) {
	t.Helper()
	want, got := map[string][]string{}, map[string][]string{}
	for _, s := range cl.servers {
		for _, room := range append(rooms, nil) {
			c := command{Op: "emit", NS: "/", Event: "e", Args: []any{s.name, room}, Count: 3}
			if room != nil {
				c.Rooms = []any{room}
			}
			s.do(t, c, nil)
			for _, name := range cl.meant(s, c) {
				for i := range c.Count {
					want[name] = append(want[name], canonical(t, []any{c.Event, s.name, room, i}))
				}
			}
		}
	}
	eventually(t, "receiving all", func() bool {
		for name, list := range cl.received(t, cl.servers[0]) {
			got[name] = append(got[name], list...)
		}
		return !slices.ContainsFunc(cl.clients, func(c *client) bool { return len(got[c.name]) < len(want[c.name]) })
	})
	for _, c := range cl.clients {
		slices.Sort(want[c.name])
		slices.Sort(got[c.name])
		if !slices.Equal(got[c.name], want[c.name]) {
			t.Errorf("%s received %q, want %q", c.name, got[c.name], want[c.name])
		}
	}
}

// whole waits until whatever a server emits reaches all, and takes what is late.
func (cl *cluster) whole(t testing.TB, rooms ...any) {
	t.Helper()
	number := 0
	eventually(t, "reaching all", func() bool {
		number++
		missing := map[string]bool{}
		for _, s := range cl.servers {
			for _, room := range append(rooms, nil) {
				c := command{Op: "emit", NS: "/", Event: "whole", Args: []any{number, s.name, room}}
				if room != nil {
					c.Rooms = []any{room}
				}
				s.do(t, c, nil)
				for _, name := range cl.meant(s, c) {
					missing[name+canonical(t, append([]any{c.Event}, c.Args...))] = true
				}
			}
		}
		for range 10 {
			const moment = 200 // ms
			noted, _ := cl.fence(t, cl.servers[0], moment)
			for name, list := range noted {
				for _, entry := range list {
					delete(missing, name+entry)
				}
			}
			if len(missing) == 0 {
				return true
			}
		}
		return false
	})
}

// Servers of Node and of ours on several masters reach each other; what both emit
// reaches ours when slots have moved and masters have died too; and clients here get
// what is emitted here whatever becomes of Redis.
func TestMixedOnMastersWhoseSlotsMove(t *testing.T) {
	all := startMasters(t)
	for _, mode := range []string{"dynamic", "static", "dynamic-private"} {
		t.Run(mode, func(t *testing.T) {
			cl, g0, down := newSlots(t, all, mode)
			names := []any{"a", "b", "c", "d", "e"}
			cl.everything(t, names...)
			var n int
			cl.servers[0].do(t, command{Op: "fetch", NS: "/"}, &n)
			if n != len(cl.clients) {
				t.Errorf("Node's server finds %d sockets, want %d", n, len(cl.clients))
			}
			// Node's client does not always subscribe again to what has moved, and
			// then never: from here on, its server only emits.
			cl.leave(t, cl.of(cl.servers[0], "/")...)

			channel := func(room string) string {
				if mode == "static" {
					return mode + "#/#"
				}
				return mode + "#/#" + room + "#"
			}
			here := &cluster{t: t, browser: cl.browser, servers: []*peer{g0}, clients: cl.of(g0, "/"), number: 1 << 20}
			local := func(room string) {
				t.Helper()
				here.emits(t, g0, command{NS: "/", Rooms: []any{room}, Event: "here", Count: 10})
			}
			moved := []string{channel("a"), channel("c"), mode + "#/#"}
			slices.Sort(moved)
			for _, moving := range slices.Compact(moved) {
				moveChannel(all, moving)
				local("a")
				local("b")
			}
			cl.whole(t, names...)
			cl.everything(t, names...)
			eventually(t, "being up again", func() bool { return len(down()) == 0 })

			i := ownerOf(all, channel("a"))
			all[i].kill()
			for range 10 {
				local("a")
				local("b")
			}
			eventually(t, "knowing that a master is dead", func() bool { return len(down()) == 2 })
			local("a")
			all[i].begin()
			eventually(t, "being up again", func() bool { return len(down()) == 0 })
			cl.whole(t, names...)
			cl.everything(t, names...)
		})
	}
}
