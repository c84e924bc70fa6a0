package sio_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/sio"
)

// A namespace with parameters has an instance for each name that is joined:
// handlers are shared, rooms and broadcasts of one instance are its own.
func TestNamespacesWithParameters(t *testing.T) {
	var joined chan sio.Socket
	srv := simulate(t, sio.Options{Loop: loops(3)}, func(srv *sio.Server) {
		trends := srv.Of("/campaigns/:id/trends")
		echo(trends)
		trends.Use(func(s sio.Socket) error {
			if s.Param("id") == "0" {
				return &sio.Error{Message: "no campaign " + s.Param("id")}
			}
			s.Join("early")
			return nil
		})
		joined = sockets(trends)
		sio.OnAck(trends, "where", func(s sio.Socket, _ any) (string, error) {
			return s.Name() + " " + s.Param("id") + s.Param("other"), nil
		})
		srv.Of("/campaigns/7/trends").Handle("where", func(_ sio.Socket, m *sio.Msg) error { return m.Ack("literal") })
	})
	ns := srv.Of("campaigns/:id/trends")
	in := func(id string) string { return "/campaigns/" + id + "/trends," }
	c := srv.dial()
	var all []sio.Socket
	for _, id := range []string{"1", "2", "a%20b", "7"} {
		if c.join("40" + in(id)); id != "7" {
			all = append(all, take(t, joined))
		}
	}
	c.send("40" + in("0"))
	c.expect("44" + in("0") + `{"message":"no campaign 0"}`)
	c.send("40/campaigns/1")
	c.expect(`44/campaigns/1,{"message":"Invalid namespace"}`)
	for id, want := range map[string]string{
		"1": "/campaigns/1/trends 1", "a%20b": "/campaigns/a%20b/trends a b", "7": "literal",
	} {
		c.send("42" + in(id) + `5["where"]`)
		c.expect("43" + in(id) + fmt.Sprintf("5[%q]", want))
	}
	one, two, three := all[0], all[1], all[2]
	if one.Namespace() != ns || one == two || one.Name() != "/campaigns/1/trends" {
		t.Errorf("the first socket is of %s in %s", one.Namespace().Name(), one.Name())
	}
	d := srv.join("40" + in("1"))
	other := take(t, joined)

	emit := func(to sio.Emitter, at string, want ...*client) {
		t.Helper()
		if err := to.Emit("x"); err != nil {
			t.Fatal(err)
		}
		for _, c := range want {
			c.expect("42" + in(at) + `["x"]`)
		}
		c.quiet(in("1"))
		d.quiet(in("1"))
	}
	emit(ns.Instance("/campaigns/1/trends"), "1", c, d)
	emit(ns.Instance("/campaigns/2/trends"), "2", c)
	emit(ns.Instance("/campaigns/3/trends"), "3")
	emit(one.Broadcast(), "1", d)
	emit(other.To("early"), "1", c)
	emit(ns.Instance("/campaigns/1/trends").To("early").Except(other.ID()), "1", c)
	emit(ns.Instance("/campaigns/2/trends").To(one.ID()), "2") // of another instance
	emit(ns.To(three.ID()), "a%20b", c)
	if n := len(ns.All().Sockets()); n != 4 {
		t.Errorf("%d sockets are in all instances, want 4", n)
	}
	ns.Instance("/campaigns/1/trends").Disconnect(sio.DisconnectOptions{})
	c.expect("41" + in("1"))
	d.expect("41" + in("1"))
	eventually(t, "the end of the instance", func() bool { return srv.Held()["patterns' namespaces"] == 2 })
	if err := ns.Emit("bye"); err != nil {
		t.Fatal(err)
	}
	got := c.next() + c.next()
	if !strings.Contains(got, in("2")) || !strings.Contains(got, in("a%20b")) {
		t.Errorf("received %s, want bye in both instances", got)
	}
}

func TestNamespacesByFunction(t *testing.T) {
	srv := simulate(t, sio.Options{MaxInstances: 3, MaxNamespaces: 4}, func(srv *sio.Server) {
		echo(srv.Of("/x/:id"))
		echo(srv.OfFunc(func(name string, auth json.RawMessage) bool {
			return strings.HasPrefix(name, "/f") && string(auth) == `{"in":true}`
		}))
	})
	c := srv.dial()
	c.send(`40/f1,{"in":false}`, "40/f1,")
	c.expect(`44/f1,{"message":"Invalid namespace"}`, `44/f1,{"message":"Invalid namespace"}`)
	c.join(`40/f1,{"in":true}`)
	c.quiet("/f1,")
	c.send(`40/f1,`) // twice
	c.ended("close -")

	c = srv.dial()
	for i := range 3 {
		c.join(fmt.Sprintf("40/x/%d,", i))
	}
	c.send("40/x/3,")
	c.expect(`44/x/3,{"message":"too many namespaces"}`)
	d := srv.join("40/x/0,") // there already
	d.send("40/x/4,")
	d.expect(`44/x/4,{"message":"too many namespaces"}`)
	c.send("41/x/1,")
	c.quiet("/x/0,")
	d.join("40/x/4,")
}

// Whoever joins an instance is admitted by the function that it is of: Node asks
// none when the namespace is there.
func TestAnInstanceHasOneOwner(t *testing.T) {
	joined := make(chan string, 10)
	register := func(srv *sio.Server, who string) {
		ns := srv.OfFunc(func(name string, auth json.RawMessage) bool {
			return name == "/board" && strings.Contains(string(auth), who)
		})
		echo(ns)
		ns.OnConnect(func(s sio.Socket) error { joined <- who; return nil })
	}
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) { register(srv, "admin"); register(srv, "guest") })
	admin := srv.join(`40/board,{"i":"admin"}`)
	if got := take(t, joined); got != "admin" {
		t.Fatalf("the first is %s's", got)
	}
	guest := srv.dial()
	guest.send(`40/board,{"i":"guest"}`)
	guest.expect(`44/board,{"message":"Invalid namespace"}`)
	both := srv.join(`40/board,{"i":"guest and admin"}`)
	if got := take(t, joined); got != "admin" {
		t.Errorf("who both admit is %s's, want admin's, whose instance is live", got)
	}
	admin.send("41/board,")
	both.send("41/board,")
	eventually(t, "the end of the instance", func() bool { return srv.Held()["patterns' namespaces"] == 0 })
	guest.join(`40/board,{"i":"guest"}`)
	if got := take(t, joined); got != "guest" {
		t.Errorf("the next one is %s's, want guest's", got)
	}
}

// Names that would be another thing's between servers are nobody's.
func TestNamesThatCollideAreRefused(t *testing.T) {
	p := newPair(t, sio.Options{}, func(_ int, srv *sio.Server) {
		echo(srv.Of("/:tenant"))
		echo(srv.Of("/:tenant/*rest"))
		echo(srv.OfFunc(func(string, json.RawMessage) bool { return true }))
	})
	c := p.clients[0]
	for _, name := range []string{"/:tenant", "/#general", "/a#b", "/a/*rest", "/a/:b", "/*", "/a/b/#"} {
		c.send("40" + name + ",")
		c.expect("44" + name + `,{"message":"Invalid namespace"}`)
	}
	if !p.stops[0].knows("/:tenant") || p.stops[0].knows("/#general") {
		t.Error("the adapter was told of a name that is refused, or of the end of the pattern")
	}
	for _, name := range []string{"/a#b", "a,b"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Of(%s) did not panic", name)
				}
			}()
			p.servers[0].Of(name)
		}()
	}
}

func TestEdge66NamespacesPerConnection(t *testing.T) {
	srv := simulate(t, sio.Options{MaxNamespaces: 2}, func(srv *sio.Server) { echo(srv.Of("/:a")) })
	c := srv.dial()
	c.join("40/1,")
	c.join("40/2,")
	c.send("40/3,")
	c.expect(`44/3,{"message":"too many namespaces"}`)
	c.send("41/1,")
	c.join("40/3,")
}
