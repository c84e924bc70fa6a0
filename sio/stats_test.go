package sio_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/parser"
)

// namespace returns the counts of a namespace.
func (srv *server) namespace(name string) sio.NamespaceStats {
	for _, n := range srv.Stats().Namespaces {
		if n.Name == name {
			return n
		}
	}
	srv.t.Fatalf("Stats() has no namespace %s", name)
	return sio.NamespaceStats{}
}

// A loop whose handler does not return keeps nobody from the counters: what it told
// last is in them, and which it is.
func TestStatsOfAStuckLoop(t *testing.T) {
	began, gate := make(chan struct{}), make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	var joined chan sio.Socket
	srv := serve(t, sio.Options{Loop: loops(2)}, func(srv *sio.Server) {
		ns := srv.Of("/")
		joined = sockets(ns)
		ns.HandleInline("stuck", func(sio.Socket, *sio.Msg) error { close(began); <-gate; return nil })
	})
	c := srv.join("40")
	s := take(t, joined)
	before := srv.Stats()
	if len(before.Late) != 0 || before.Loop.Open != 1 || srv.namespace("/").Sockets != 1 {
		t.Fatalf("Stats() = %+v, want one connection and no loop late", before)
	}
	c.send(`42["stuck"]`)
	take(t, began)
	st := make(chan sio.Stats, 1)
	// ends when Stats has, long before the handler
	go func() { st <- srv.Stats() }()
	got := take(t, st)
	if len(got.Late) != 1 || fmt.Sprint(got.Late[0].Loop) != s.LoopIndex() || got.Late[0].For <= 0 {
		t.Errorf("Late = %v, want loop %s", got.Late, s.LoopIndex())
	}
	late := got.Loops[got.Late[0].Loop]
	if was := before.Loops[got.Late[0].Loop]; late.Busy < was.Busy+int64(got.Late[0].For) || late.Lag < got.Late[0].For.Milliseconds() || late.Open != 1 {
		t.Errorf("the loop is busy for %d ns and late by %d ms, want %v more than %d", late.Busy, late.Lag, got.Late[0].For, was.Busy)
	}
	if got.Loop.Open != 1 || got.Namespaces[0].Sockets != 1 || got.Engine.Open != before.Engine.Open {
		t.Errorf("Stats() = %+v, want what the loop told before", got)
	}
	open()
	eventually(t, "the loop", func() bool { return len(srv.Stats().Late) == 0 && srv.namespace("/").Events == 1 })
}

// What clients and goroutines did is counted once each, a pattern's instances
// together, also when these and their sockets have gone; who asks meanwhile disturbs
// nobody.
func TestStatsAreSums(t *testing.T) {
	const clients, events, emitters, emits, rooms = 8, 20, 4, 25, 3
	var all chan sio.Socket
	srv := serve(t, sio.Options{Loop: loops(2), MaxRooms: rooms}, func(srv *sio.Server) {
		ns := srv.Of("/u/:id")
		all = sockets(ns)
		ns.Handle("late", func(sio.Socket, *sio.Msg) error { return nil })
		ns.HandleInline("now", func(s sio.Socket, m *sio.Msg) error { return m.Ack(1) })
		srv.Of("/no").Use(func(sio.Socket) error { return &sio.Error{Message: "no"} })
	})
	stop, asking := make(chan struct{}), sync.WaitGroup{}
	asking.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if srv.Stats().Refused < 0 {
					t.Error("a count is negative")
				}
				time.Sleep(time.Millisecond)
			}
		}
	})
	conns := make([]*client, clients)
	ns := srv.Of("/u/:id")
	for i := range conns {
		conns[i] = srv.dial()
		conns[i].send(fmt.Sprintf("40/u/%d,", i/2))
		conns[i].next()
		s := take(t, all)
		for room := range rooms + 1 {
			s.Join(fmt.Sprint("room ", room))
		}
		conns[i].send("40/no,")
		conns[i].expect(`44/no,{"message":"no"}`)
	}
	var work sync.WaitGroup
	for range emitters {
		work.Go(func() {
			for i := range emits {
				if err := ns.Emit("n", i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i, c := range conns {
		for range events {
			c.send(fmt.Sprintf(`42/u/%d,["late"]`, i/2), fmt.Sprintf(`42/u/%d,1["now"]`, i/2))
		}
	}
	work.Wait()
	const sent = clients * (emitters*emits + events)
	want := sio.NamespaceStats{Name: "/u/:id", Sockets: clients, Instances: clients / 2, Rooms: clients / 2 * rooms, Events: clients * 2 * events, Emits: sent, Joins: clients * rooms,
		In: parser.Packets{Events: clients * 2 * events}, Out: parser.Packets{Events: clients * emitters * emits, Acks: clients * events}, Broadcasts: clients / 2 * emitters * emits}
	eventually(t, "all to be counted", func() bool { return srv.namespace("/u/:id") == want && srv.Stats().Backlog.Tasks == 0 })
	close(stop)
	asking.Wait()
	if st := srv.Stats(); st.Drops.Rooms != clients || st.Refused != clients || srv.namespace("/no").Refused != clients {
		t.Errorf("Stats() = %+v, want %d rooms and as many sockets refused", st, clients)
	}
	for _, c := range conns {
		c.conn.Close()
	}
	want.Sockets, want.Instances, want.Rooms, want.Left.TransportClose = 0, 0, 0, clients
	eventually(t, "their end", func() bool { return srv.namespace("/u/:id") == want })
}

// Who asks while Serve ends sessions whose loops have ended already, or from a handler
// of their sockets, is told what is known, and disturbs nobody.
func TestStatsWhileServeEnds(t *testing.T) {
	const clients = 20
	asked := make(chan sio.Stats, clients)
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		srv.Of("/").OnDisconnect(func(sio.Socket, sio.Reason) { asked <- srv.Stats() })
	})
	for range clients {
		srv.joinPolling() // without a connection that the end of a loop could close
	}
	if err := srv.Engine().Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range clients {
		if st := take(t, asked); len(st.Namespaces) != 1 {
			t.Errorf("Stats() = %+v, want one namespace", st)
		}
	}
	eventually(t, "the end of all", func() bool { return srv.namespace("/").Sockets == 0 && len(srv.Stats().Late) == 0 })
}

// Events that wait for a handler are a gauge, until they are handled or forgotten.
func TestStatsOfBacklogs(t *testing.T) {
	began, gate := make(chan struct{}, 1), make(chan struct{})
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		srv.Of("/").Handle("slow", func(sio.Socket, *sio.Msg) error { began <- struct{}{}; <-gate; return nil })
	})
	c := srv.join("40")
	c.send(`42["slow"]`)
	take(t, began)
	for range 5 {
		c.send(`42["slow"]`)
	}
	eventually(t, "5 events that wait", func() bool { return srv.Stats().Backlog.Tasks == 5 })
	c.send("41") // the handlers of who leaves go on
	eventually(t, "events of who has left", func() bool { return srv.Stats().Backlog.LeftBehind > 0 })
	close(gate)
	for range 5 {
		take(t, began)
	}
	eventually(t, "nothing that waits", func() bool { b := srv.Stats().Backlog; return b.Tasks == 0 && b.LeftBehind == 0 })
}
