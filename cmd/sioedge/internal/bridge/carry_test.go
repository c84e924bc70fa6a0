package bridge

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/link"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/sio"
)

// idleBridge returns a bridge of a server that does not serve.
func idleBridge(t testing.TB) *Bridge {
	srv, _, err := sio.NewSim(sio.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	srv.Of("/")
	return bridgeOf(t, srv, "main")
}

func bridgeOf(t testing.TB, srv *sio.Server, name string) *Bridge {
	b, err := New(srv, name, settings(), Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// world is a bridge as data that has some of everything.
func world() carriedBridge {
	hello := wire.AppendHello(wire.AppendBatch(nil, 0, 1), &wire.Hello{Version: 1, UID: "p", Window: 1 << 20})
	shake := wire.AppendHandshake(nil, &wire.Handshake{ID: "c", Transport: "websocket", Protocol: 4})
	event := wire.AppendEvent(nil, 1, 2, []byte(`["x"]`), nil)
	return carriedBridge{
		Members: []carriedMember{{
			Link:  link.Carried{ID: "s", Hello: hello, Batches: []link.CarriedBatch{{Messages: event, N: 1, Items: []int{1}}}},
			Conns: map[uint64]int{1: 1}, Socks: map[uint64]int{1: 1}, LastConn: 1, LastSock: 1, Load: 1, Requests: []int64{7}, Relays: [][]byte{wire.AppendDrained(nil)},
		}},
		Seats: []carriedSeat{
			{Handshake: shake, Transport: "websocket", Member: 1, Number: 1, Sockets: []int{1}},
			{Handshake: shake, Transport: "polling", Sockets: []int{2}, Waits: true, Waited: time.Second},
		},
		Sockets: []carriedSocket{
			{Seat: 1, Nsp: "/", ID: "a", Member: 1, Number: 1, Stage: open, Known: true, HasData: true, Data: []byte(`{"n":1}`), Gone: true, Asks: []carriedAsk{{Ack: 1, ID: 2, Number: 1, Member: 1}}},
			{Seat: 2, Nsp: "/", ID: "b", Known: true, Held: []int{2}, Gone: true, Leaves: true, Reason: "transport close"},
		},
		Events:  []carriedEvent{{Socket: 1, Ack: 2, Text: []byte(`["x"]`), Size: 10}, {Socket: 2, Ack: wire.None, Text: []byte(`["y"]`), Size: 10}},
		Waiting: []int{2},
	}
}

// What is right is there; what cannot be is refused.
func TestHostileBridges(t *testing.T) {
	for name, change := range map[string]func(x *carriedBridge){
		"":                                 func(*carriedBridge) {},
		"a socket of no connection":        func(x *carriedBridge) { x.Sockets[0].Seat = 0 },
		"a connection that there is not":   func(x *carriedBridge) { x.Sockets[0].Seat = 9 },
		"a stage that there is not":        func(x *carriedBridge) { x.Sockets[0].Stage = gone + 1 },
		"an open socket of no process":     func(x *carriedBridge) { x.Sockets[0].Member = 0 },
		"data that is no JSON":             func(x *carriedBridge) { x.Sockets[0].Data = []byte(`{`) },
		"auth that is no JSON":             func(x *carriedBridge) { x.Sockets[0].Auth = []byte(`}`) },
		"an event of no socket":            func(x *carriedBridge) { x.Events[0].Socket = 0 },
		"an event that is no JSON":         func(x *carriedBridge) { x.Events[0].Text = []byte(`[`) },
		"an event of a negative size":      func(x *carriedBridge) { x.Events[0].Size = -1 },
		"an event that another one holds":  func(x *carriedBridge) { x.Sockets[1].Held = []int{1} },
		"a handshake that is none":         func(x *carriedBridge) { x.Seats[0].Handshake = []byte{1} },
		"a socket of another connection":   func(x *carriedBridge) { x.Seats[0].Sockets = []int{2} },
		"a process that there is not":      func(x *carriedBridge) { x.Seats[0].Member = 2 },
		"a question of no process":         func(x *carriedBridge) { x.Sockets[0].Asks[0].Member = 0 },
		"a number of no connection":        func(x *carriedBridge) { x.Members[0].Conns[1] = 0 },
		"a number of no socket":            func(x *carriedBridge) { x.Members[0].Socks[1] = 3 },
		"one that waits for nothing":       func(x *carriedBridge) { x.Waiting = []int{0} },
		"one that waits twice":             func(x *carriedBridge) { x.Waiting = []int{2, 2} },
		"one that waits without a socket":  func(x *carriedBridge) { x.Seats[1].Sockets = nil },
		"an item that there is not":        func(x *carriedBridge) { x.Members[0].Link.Batches[0].Items = []int{0} },
		"a link without a name":            func(x *carriedBridge) { x.Members[0].Link.ID = "" },
		"one that has waited for no time":  func(x *carriedBridge) { x.Seats[1].Waited = -1 },
		"less than no links in a row died": func(x *carriedBridge) { x.Seats[1].Deaths = -1 },
	} {
		x := world()
		change(&x)
		data, err := carried.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		if err := idleBridge(t).Import(data); (err == nil) != (name == "") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// What is a bridge as data is one again, with all that it had.
func TestABridgeAsData(t *testing.T) {
	data, err := carried.Marshal(world())
	if err != nil {
		t.Fatal(err)
	}
	b := idleBridge(t)
	if err := b.Import(data); err != nil {
		t.Fatal(err)
	}
	if why := b.unavailable(); why == "" {
		t.Error("a process may dial before what it has is there")
	}
	one, err := b.unpackSocket([]byte{1})
	if err != nil || one.stage != open || one.member != b.members[0] || one.x != b.members[0].conns[1] || b.members[0].own(1) != one {
		t.Errorf("the first socket is %+v, %v", one, err)
	}
	x, err := b.unpackSeat([]byte{1, 2})
	if err != nil || !x.waits || x.held != 10 || len(x.sockets) != 1 || b.waiting[0] != x || time.Since(x.since) < time.Second {
		t.Errorf("the second connection is %+v, %v", x, err)
	}
	for _, p := range [][]byte{nil, {0}, {3}, {1, 1}} {
		if k, err := b.unpackSocket(p); err == nil {
			t.Errorf("%v is the socket %+v", p, k)
		}
	}
	for _, p := range [][]byte{nil, {0}, {1}, {1, 0}, {1, 3}, {1, 1, 1}, {2, 1}, {0, 0xa0}} {
		if x, err := b.unpackSeat(p); err == nil {
			t.Errorf("%v is the connection %+v", p, x)
		}
	}
	if err := b.Still(context.Background()); err != nil {
		t.Fatal(err)
	}
	again, err := b.Export()
	if err != nil {
		t.Fatal(err)
	}
	next := idleBridge(t)
	if err := next.Import(again); err != nil {
		t.Errorf("what was exported again is refused: %v", err)
	}
	if n := len(next.members[0].socks); n != 1 || len(next.waiting) != 1 || len(next.waiting[0].sockets[0].held) != 1 {
		t.Errorf("behind two handovers there are %d sockets, and %d wait", n, len(next.waiting))
	}
}

// Whatever comes is refused, or can be handed over again.
func FuzzImport(f *testing.F) {
	data, _ := carried.Marshal(world())
	f.Add(data)
	var srv *sio.Server
	n := 0
	next := func(t testing.TB) *Bridge { // a server is slow to make
		if n++; n%256 == 1 {
			srv = idleBridge(t).srv
		}
		return bridgeOf(t, srv, fmt.Sprint(n))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b := next(t)
		if b.Import(data) != nil {
			return
		}
		if err := b.Still(context.Background()); err != nil {
			t.Fatal(err)
		}
		again, err := b.Export()
		if err != nil {
			t.Fatal(err)
		}
		if err := next(t).Import(again); err != nil {
			t.Errorf("what was exported again is refused: %v", err)
		}
	})
}
