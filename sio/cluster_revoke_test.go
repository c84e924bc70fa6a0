package sio_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio"
)

// What is done to sockets reaches those whose clients are away, from any server
// and to any server.
func TestClusterRevocationReachesWhoIsAway(t *testing.T) {
	for name, revoke := range map[string]func(ns *sio.Namespace, s sio.Socket, id string){
		"by id": func(ns *sio.Namespace, _ sio.Socket, id string) {
			ns.To(id).Disconnect(sio.DisconnectOptions{Conn: true})
		},
		"by room": func(ns *sio.Namespace, _ sio.Socket, _ string) { ns.To("r").Disconnect(sio.DisconnectOptions{}) },
		"everybody": func(ns *sio.Namespace, _ sio.Socket, _ string) {
			ns.All().Disconnect(sio.DisconnectOptions{Conn: true})
		},
		"by its handle": func(_ *sio.Namespace, s sio.Socket, _ string) { s.Disconnect(sio.DisconnectOptions{Conn: true}) },
	} {
		for by := range 2 {
			for to := range 2 {
				t.Run(fmt.Sprint(name, " by ", by, " to ", to), func(t *testing.T) {
					c := newCluster(t, time.Minute)
					r, s := c.dial(0)
					s.Join("r")
					c.move(r, to)
					c.ns[1].Emit("missed", 1)
					revoke(c.ns[by], s, r.sid)
					c.read()
					sid := r.sid
					if r.connect(); r.recoveredAs == sid || len(r.events) > 0 {
						t.Errorf("who was disconnected was recovered, with %q", r.events)
					}
				})
			}
		}
	}
}

// Also when the server has not read yet what it has added itself.
func TestClusterRevocationOnItsWay(t *testing.T) {
	c := newCluster(t, time.Minute)
	r, s := c.dial(0)
	stays, _ := c.dial(0)
	s.Join("r")
	for _, r := range []*recoverer{r, stays} {
		c.move(r, 0)
	}
	c.read()
	c.books[0].hold(true)
	c.ns[0].To("r").Disconnect(sio.DisconnectOptions{Conn: true})
	for _, r := range []*recoverer{r, stays} {
		if r.connect(); (r.recoveredAs == r.sid) != (r == stays) {
			t.Errorf("recovered as %s", r.recoveredAs)
		}
	}
	if got := c.servers[0].Recoveries(); got.Revoked != 1 || got.Recovered != 1 {
		t.Errorf("Recoveries = %+v", got)
	}
	c.books[0].hold(false)
}

// Rooms are joined and left for who is away, at the place in the log where that is.
func TestClusterRoomsOfWhoIsAway(t *testing.T) {
	c := newCluster(t, time.Minute)
	r, s := c.dial(0)
	s.Join("a")
	c.ns[0].To("a").Leave("nothing") // an operation that came before it left
	c.move(r, 1)
	step := func(f func()) {
		f()
		c.read() // so that the order of both servers is known
	}
	step(func() { c.ns[0].To("a").Emit("one", 1) })
	step(func() { c.ns[0].To("b").Emit("not yet", 2) })
	step(func() { c.ns[1].To("a").Join("b") })
	step(func() { c.ns[0].To("b").Emit("two", 3) })
	step(func() { c.ns[0].To(r.sid).Leave("a") })
	step(func() { c.ns[1].To("a").Emit("no more", 4) })
	step(func() { c.ns[1].Except("a").Emit("three", 5) })
	r.connect()
	if got := fmt.Sprint(r.events); got != "[one 1 two 3 three 5]" || r.recoveredAs != r.sid {
		t.Errorf("events = %s as %s", got, r.recoveredAs)
	}
	if got := take(t, c.sockets[1]).Rooms(); !slices.Equal(got, []string{r.sid, "b"}) {
		t.Errorf("Rooms = %q", got)
	}
}

// A session is of its namespace and of its client, and nobody else's attempt takes
// it away. One of a server that does not say so is of the root.
func TestClusterSessionsAreTheirOwners(t *testing.T) {
	c := newCluster(t, time.Minute)
	c.servers[1].Of("/other")
	r, s := c.dial(0)
	s.Join("r")
	c.move(r, 1)
	c.read()
	x := c.servers[1].dial()
	x.send(fmt.Sprintf(`40/other,{"pid":%q}`, r.pid))
	if p := x.next(); !strings.HasPrefix(p, "40/other,{") || strings.Contains(p, r.sid) {
		t.Errorf("received %s, want a new session", p)
	}
	if r.connect(); r.recoveredAs != r.sid {
		t.Errorf("it was not recovered after another had tried: %+v", c.servers[1].Recoveries())
	}
	c.books[0].Keep(rooms.Session{ID: "foreign", PID: "theirs", Rooms: []string{"foreign"}, Since: 1}, time.Minute)
	x.send(`41/other,`, `40/other,{"pid":"theirs"}`)
	if p := x.next(); strings.Contains(p, "foreign") {
		t.Errorf("received %s, want a new session", p)
	}
	y := c.servers[1].dial()
	y.send(`40{"pid":"theirs"}`)
	y.expect(`40{"sid":"foreign","pid":"theirs"}`)
	if got := c.servers[1].Recoveries(); got.Alien != 2 || got.Recovered != 2 {
		t.Errorf("Recoveries = %+v", got)
	}
}
