package sio_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/wsframe"
)

// look has the stage's server look at its memory, of which so much is in use.
func (st *stage) look(used int64) {
	look := st.Guard(func() int64 { return used })
	done := make(chan struct{})
	// ends when it has looked
	go func() { defer close(done); look() }()
	for {
		select {
		case <-done:
			st.sim.Turn()
			return
		default:
			st.sim.Turn()
		}
	}
}

// opens tells whether new sessions are let in, over each transport.
func (st *stage) opens() (polling, websocket string) {
	p := st.sim.Connect(0)
	p.Send([]byte("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n"))
	polling, _, _ = strings.Cut(string(p.Received()), "\r\n")
	p.Close()
	w := st.sim.Connect(0)
	w.Send(wsframe.AppendClientHandshake(nil, "h", "/socket.io/?EIO=4&transport=websocket", [16]byte{1}))
	websocket, _, _ = strings.Cut(string(w.Received()), "\r\n")
	w.Close()
	return polling[len("HTTP/1.1 "):], websocket[len("HTTP/1.1 "):]
}

// Above the limit nobody new is let in, and volatile events are dropped; those
// who are there go on. A tenth below it, all is as before.
func TestMemoryLimitRefuses(t *testing.T) {
	st := newStage(t, sio.Options{MemoryLimit: 1000})
	st.ns.HandleInline("echo", func(s sio.Socket, m *sio.Msg) error { return s.Emit("echo", m.Raw(0)) })
	x := st.enter(0)
	x.received()
	for _, c := range []struct {
		used      int64
		polling   string
		websocket string
		volatile  []string
	}{
		{1000, "200 OK", "101 Switching Protocols", []string{`42["v"]`}},
		{1001, "503 Service Unavailable", "503 Service Unavailable", nil},
		{950, "503 Service Unavailable", "503 Service Unavailable", nil},
		{899, "200 OK", "101 Switching Protocols", []string{`42["v"]`}},
	} {
		st.look(c.used)
		if p, w := st.opens(); p != c.polling || w != c.websocket {
			t.Errorf("with %d bytes of 1,000 new sessions get %q and %q, want %q and %q", c.used, p, w, c.polling, c.websocket)
		}
		if err := st.ns.All().Volatile().Emit("v"); err != nil {
			t.Error(err)
		}
		st.sim.Turn()
		x.expect(c.volatile...)
		x.send(`42["echo",1]`)
		x.expect(`42["echo",1]`)
		if n := st.Stats().Memory; n != c.used {
			t.Errorf("Stats().Memory = %d, want %d", n, c.used)
		}
	}
	if s := st.Stats(); s.Engine.Pressed != 4 || s.Drops.Volatile < 2 || s.MemoryClosed != 0 {
		t.Errorf("Stats() = %+v, want 4 refused, 2 dropped and nobody closed", s)
	}
}

// If that is not enough, those who take nothing go, who has most first, and no
// more of them than it takes.
func TestMemoryLimitCloses(t *testing.T) {
	st := newStage(t, sio.Options{MemoryLimit: 10_000_000})
	sizes := []int{300_000, 900_000, 600_000, 0}
	var clients []*extra
	for _, n := range sizes {
		x := st.enter(0)
		x.received()
		if n > 0 {
			x.peer.Stall(true)
			if err := x.s.Emit("big", strings.Repeat("x", n)); err != nil {
				t.Fatal(err)
			}
		}
		clients = append(clients, x)
	}
	st.sim.Advance(2 * time.Second)
	gone := func() (all []bool) {
		for _, x := range clients {
			all = append(all, x.s.Gone())
		}
		return all
	}
	st.look(10_000_001) // refuses
	if got := fmt.Sprint(gone()); got != "[false false false false]" {
		t.Errorf("gone after the first look: %s, want nobody", got)
	}
	st.look(9_500_000) // neither
	st.look(10_000_001)
	if got := fmt.Sprint(gone()); got != "[false true true false]" {
		t.Errorf("gone after the second look: %s, want the two largest, which are 1,500,000 bytes of 1,000,001", got)
	}
	st.look(10_000_001)
	if got := fmt.Sprint(gone()); got != "[true true true false]" {
		t.Errorf("gone after the third look: %s, want all that take nothing", got)
	}
	if n := st.Stats().MemoryClosed; n != 3 {
		t.Errorf("Stats().MemoryClosed = %d, want 3", n)
	}
	clients[3].send("42[\"x\"]")
	clients[3].expect()
}

// Who waits for handlers that do nothing is a burden, too.
func TestMemoryLimitClosesWhoIsNotHandled(t *testing.T) {
	gate := make(chan struct{})
	const limit = 1 << 50
	var used atomic.Int64
	var look func()
	srv := serve(t, sio.Options{MemoryLimit: limit}, func(srv *sio.Server) {
		look = srv.Guard(used.Load)
		srv.Of("/").Handle("slow", func(sio.Socket, *sio.Msg) error { <-gate; return nil })
		echo(srv.Of("/a"))
	})
	defer close(gate)
	c, other := srv.join("40"), srv.join("40/a,")
	for range 4 {
		c.write(appendPacket(nil, `42["slow","`+strings.Repeat("x", 400_000)+`"]`))
	}
	eventually(t, "the events", func() bool { return srv.Stats().Engine.Held > 4*400_000 })
	used.Store(limit + 1)
	look()
	look()
	c.ended()
	other.quiet("/a,")
	if n := srv.Stats().MemoryClosed; n != 1 {
		t.Errorf("Stats().MemoryClosed = %d, want 1", n)
	}
}

func TestMemoryLimitIsChecked(t *testing.T) {
	if _, err := sio.New(sio.Options{MemoryLimit: -1}); err == nil {
		t.Error("a negative limit is taken")
	}
	srv, err := sio.New(sio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n := srv.MemoryInUse(); n < 100_000 || n > 1<<40 {
		t.Errorf("%d bytes are in use, which cannot be", n)
	}
}
