package sio_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
)

// What an operator does to many is done in steps, between which others are
// served, and is done for whatever the same goroutine asks for next.
func TestOperatorsWorkInSteps(t *testing.T) {
	st := newStage(t, sio.Options{})
	st.ns.HandleInline("read", func(_ sio.Socket, m *sio.Msg) error { return m.Ack() })
	const n = 500
	var all []*extra
	for range n {
		all = append(all, st.enter(0))
	}
	// Who asks for a step at a time sees how many have joined when it is served.
	peer := all[n-1]
	var seen []int
	st.Of("/other").HandleInline("look", func(_ sio.Socket, m *sio.Msg) error {
		seen = append(seen, st.Members("/", "r"))
		if len(seen) < 100 && seen[len(seen)-1] < n {
			peer.send(`42/other,["look"]`)
		}
		return nil
	})
	peer.send("40/other,")
	peer.received()
	st.Of("/other").HandleInline("join", func(sio.Socket, *sio.Msg) error {
		st.ns.All().Join("r", "r2", "r3", "r4")
		peer.send(`42/other,["look"]`)
		return nil
	})
	peer.send(`42/other,["join"]`)
	st.sim.Turn()
	if steps := slices.Compact(slices.Clone(seen)); len(steps) < 4 || !slices.IsSorted(steps) || steps[len(steps)-1] != n {
		t.Errorf("members seen between the steps are %v, want several numbers up to %d", seen, n)
	}
	if err := st.ns.To("r").Emit("x"); err != nil {
		t.Fatal(err)
	}
	st.sim.Turn()
	for i, x := range all {
		if got := x.received(); len(got) != 1 || got[0] != `42["x"]` {
			t.Fatalf("client %d received %q, want what was emitted to the room that it has joined", i, got)
		}
	}
	if got := len(st.ns.To("r").Sockets()); got != n {
		t.Errorf("Sockets() has %d, want %d", got, n)
	}
	remote, err := st.ns.All().FetchSockets(context.Background())
	if err != nil || len(remote) != n || len(remote[n/2].Rooms()) != 5 {
		t.Errorf("FetchSockets = %d sockets, %v, want %d", len(remote), err, n)
	}
	st.ns.To("r").Disconnect(sio.DisconnectOptions{})
	if got := len(st.ns.All().Sockets()); got != 0 {
		t.Errorf("after Disconnect Sockets() has %d, want none", got)
	}
}

// A step is so many joins, however many rooms each socket is to join: what waits for the
// last step waits for as few of them as can be.
func TestOperatorsTakeAsManyStepsAsTheyHaveRooms(t *testing.T) {
	st := newStage(t, sio.Options{})
	const n = 1024
	for range n {
		x := &extra{t: t, peer: st.sim.Connect(0)}
		x.begin()
	}
	l, rounds := st.sim.Engine().Loops()[0], 0
	done := false
	l.OnWork(func() bool { rounds++; return !done })
	for _, names := range [][]string{{"1"}, {"1", "2", "3", "4"}, slices.Repeat([]string{"x"}, 512)} {
		for _, do := range []func(...string){st.ns.All().Join, st.ns.All().Leave} {
			do(names...)
			rounds, done = 0, false
			l.Post(loop.TaskFunc(func(*loop.Loop) { done = true }))
			l.NeedWork()
			st.sim.Turn()
			if most := n/max(256/len(names), 1) + 2; rounds > most || rounds < most-4 {
				t.Errorf("%d sockets and %d rooms: %d steps, want about %d", n, len(names), rounds, most)
			}
		}
	}
}

// A stop ends all, in steps, and who joins meanwhile is refused.
func TestStoppingWorksInSteps(t *testing.T) {
	const n = 300
	left := make(chan sio.Reason, n)
	srv := serve(t, sio.Options{Loop: loops(1)}, func(srv *sio.Server) {
		srv.Of("/").OnDisconnect(func(_ sio.Socket, r sio.Reason) { left <- r })
	})
	var clients []*client
	for range n {
		clients = append(clients, srv.join("40"))
	}
	if err := srv.Shutdown(within(patience)); err != nil {
		t.Fatal(err)
	}
	for range n {
		if r := take(t, left); r != sio.ServerShuttingDown {
			t.Errorf("the reason is %q, want %q", r, sio.ServerShuttingDown)
		}
	}
	for i, c := range clients {
		if p := c.next(); p != "close -" && p != "FIN" {
			t.Errorf("client %d received %s, want the end", i, fmt.Sprint(p))
		}
	}
}
