package sio_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/wsframe"
)

// A guest is a client of a stage that comes back as it is told to.
type guest struct {
	*extra
	st       *stage
	sid, pid string
	missed   []string
}

// come connects, and has the ids of the answer and what came before it.
func (g *guest) come(auth string) (recovered bool) {
	g.t.Helper()
	g.extra = &extra{t: g.st.t, peer: g.st.sim.Connect(0)}
	g.peer.Send(wsframe.AppendClientHandshake(nil, "h", "/socket.io/?EIO=4&transport=websocket", [16]byte{1}))
	g.peer.Received()
	if auth == "" && g.pid != "" {
		auth = fmt.Sprintf(`{"pid":%q}`, g.pid)
	}
	g.send("40" + auth)
	var answer struct{ SID, PID string }
	g.missed = nil
	for _, p := range g.received() {
		if strings.HasPrefix(p, "40") {
			if err := json.Unmarshal([]byte(p[2:]), &answer); err != nil {
				g.t.Fatal(err)
			}
			break
		}
		g.missed = append(g.missed, p)
	}
	if answer.SID == "" {
		g.t.Fatalf("no answer to CONNECT")
	}
	recovered = answer.SID == g.sid
	g.sid, g.pid = answer.SID, answer.PID
	return recovered
}

func (g *guest) go_() {
	g.peer.Close()
	g.st.sim.Turn()
}

func newGuests(t *testing.T, o sio.Options, n int) (*stage, []*guest) {
	if o.Recovery.Window == 0 {
		o.Recovery.Window = time.Minute
	}
	st := newStage(t, o)
	var all []*guest
	for range n {
		g := &guest{st: st, extra: &extra{t: t}}
		g.come("")
		all = append(all, g)
	}
	return st, all
}

// Revocation reaches who is away: each way to disconnect ends what is kept, and
// nobody else's.
func TestRevocationReachesWhoIsAway(t *testing.T) {
	for name, revoke := range map[string]func(st *stage, s sio.Socket, id string){
		"by id": func(st *stage, _ sio.Socket, id string) { st.ns.To(id).Disconnect(sio.DisconnectOptions{Conn: true}) },
		"by room": func(st *stage, _ sio.Socket, _ string) {
			st.ns.To("none", "banned").Disconnect(sio.DisconnectOptions{})
		},
		"all but the other": func(st *stage, _ sio.Socket, _ string) {
			st.ns.Except("other").Disconnect(sio.DisconnectOptions{Conn: true})
		},
		"by its handle": func(st *stage, s sio.Socket, _ string) { s.Disconnect(sio.DisconnectOptions{Conn: true}) },
		"out of the room that it needs": func(st *stage, s sio.Socket, id string) {
			st.ns.To(id).Leave("banned")
			s.Join("of no use")
			st.ns.To("banned").Disconnect(sio.DisconnectOptions{Conn: true})
			st.ns.To(id).Disconnect(sio.DisconnectOptions{Conn: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			st, g := newGuests(t, sio.Options{}, 2)
			var handle sio.Socket
			for _, s := range st.ns.All().Sockets() {
				if s.ID() == g[0].sid {
					handle = s
					s.Join("banned")
				} else {
					s.Join("other")
				}
			}
			st.sim.Turn()
			for _, g := range g {
				g.go_()
			}
			st.ns.Emit("missed")
			revoke(st, handle, g[0].sid)
			st.sim.Turn()
			if g[0].come("") || len(g[0].missed) > 0 {
				t.Errorf("who was disconnected was recovered, with %q", g[0].missed)
			}
			if !g[1].come("") || len(g[1].missed) != 1 {
				t.Errorf("the other was not recovered: %+v", st.Recoveries())
			}
			if r := st.Recoveries(); r.Revoked != 1 || r.Unknown != 1 || r.Away != 0 {
				t.Errorf("Recoveries = %+v", r)
			}
		})
	}
}

// Rooms are joined and left for who is away, from then on.
func TestRoomsOfWhoIsAway(t *testing.T) {
	st, g := newGuests(t, sio.Options{}, 1)
	st.ns.All().Join("a")
	st.sim.Turn()
	g[0].go_()
	st.ns.To("a").Emit("one", 1)
	st.ns.To("b").Emit("not yet", 2)
	st.ns.To("a").Join("b")
	st.ns.To("b").Emit("two", 3)
	st.ns.To(g[0].sid).Leave("a")
	st.ns.To("a").Emit("no more", 4)
	st.ns.Except("a").Emit("three", 5)
	st.ns.To("b").Leave("none")
	if !g[0].come("") {
		t.Fatalf("it was not recovered: %+v", st.Recoveries())
	}
	var names []string
	for _, p := range g[0].missed {
		names = append(names, strings.Split(p, `"`)[1])
	}
	if got := fmt.Sprint(names, st.ns.All().Sockets()[0].Rooms()[1:]); got != "[one two three] [b]" {
		t.Errorf("what it has missed, and its rooms, are %s", got)
	}
}

// Who leaves between an operator's call and its loop's turn is not forgotten: it is
// neither in its loop nor among those that are saved at that moment.
func TestRevocationOfWhoIsJustLeaving(t *testing.T) {
	st, g := newGuests(t, sio.Options{}, 2)
	st.ns.OnDisconnecting(func(s sio.Socket, _ sio.Reason) {})
	st.ns.HandleInline("kick", func(s sio.Socket, m *sio.Msg) error {
		st.ns.To(g[1].sid).Disconnect(sio.DisconnectOptions{Conn: true}) // its task waits behind this step
		g[1].peer.Close()
		return nil
	})
	g[0].send(`42["kick"]`)
	if g[1].come("") {
		t.Errorf("it was recovered: %+v", st.Recoveries())
	}
}

// Nor is who has come back and is being asked by its middlewares; it goes through
// them as a new one then.
func TestRevocationOfWhoIsComingBack(t *testing.T) {
	st, g := newGuests(t, sio.Options{Recovery: sio.Recovery{RunMiddlewares: true}}, 1)
	asked, admit := make(chan bool), make(chan bool)
	st.ns.Use(func(s sio.Socket) error { asked <- s.Recovered(); <-admit; return nil })
	g[0].go_()
	x := &extra{t: t, peer: st.sim.Connect(0)}
	x.peer.Send(wsframe.AppendClientHandshake(nil, "h", "/socket.io/?EIO=4&transport=websocket", [16]byte{1}))
	x.peer.Received()
	x.send(fmt.Sprintf(`40{"pid":%q}`, g[0].pid))
	if !<-asked {
		t.Fatal("it is not being recovered")
	}
	st.ns.To(g[0].sid).Disconnect(sio.DisconnectOptions{Conn: true})
	admit <- true
	// Its loop is the simulation's, which has to be turned.
	again := make(chan bool, 1)
	go func() { again <- <-asked; admit <- true }() // ends when it has been asked again
	eventually(t, "the answer", func() bool {
		st.sim.Turn()
		got := x.received()
		return len(got) > 0 && !strings.Contains(got[0], g[0].sid)
	})
	if <-again {
		t.Error("its middlewares took it for recovered")
	}
}

// What was missed counts against the hard bound of a queue alone; what cannot be
// sent makes a new session, once, and nobody is closed for it.
func TestRecoveryOfMuch(t *testing.T) {
	for _, x := range []struct {
		n    int
		want bool
	}{{300, true}, {560, false}} {
		st, g := newGuests(t, sio.Options{Loop: loop.Options{MaxOutbound: 1 << 20, SoftOutbound: 64 << 10}}, 1)
		g[0].go_()
		for range x.n {
			st.ns.Emit("large", strings.Repeat("x", 2000))
		}
		auth := fmt.Sprintf(`{"pid":%q}`, g[0].pid)
		if got := g[0].come(auth); got != x.want || len(g[0].missed) != x.n*b2i(x.want) {
			t.Errorf("%d events: recovered %t with %d, want %t; %+v", x.n, got, len(g[0].missed), x.want, st.Recoveries())
		}
		if r := st.Recoveries(); r.TooLarge != int64(1-b2i(x.want)) || r.Away != 0 {
			t.Errorf("Recoveries = %+v", r)
		}
	}
}

// A polling client that missed much, and one that goes during its recovery again
// and again: its time goes on.
func TestRecoveryThatIsGivenUp(t *testing.T) {
	st, g := newGuests(t, sio.Options{
		Engine:   eio.Options{PingInterval: time.Second, PingTimeout: time.Second},
		Recovery: sio.Recovery{Window: 5 * time.Second, RunMiddlewares: true},
	}, 1)
	sid := g[0].sid
	admit := make(chan bool)
	st.ns.Use(func(s sio.Socket) error { <-admit; return nil })
	g[0].go_()
	auth := fmt.Sprintf(`{"pid":%q}`, g[0].pid)
	for range 6 {
		x := &extra{t: t, peer: st.sim.Connect(0)}
		x.peer.Send(wsframe.AppendClientHandshake(nil, "h", "/socket.io/?EIO=4&transport=websocket", [16]byte{1}))
		x.peer.Received()
		x.send("40" + auth) // waits in its middleware
		if r := st.Recoveries(); r.Unknown != 0 {
			t.Fatalf("Recoveries = %+v", r)
		}
		x.peer.Close()
		st.sim.Advance(time.Second)
		admit <- true
	}
	close(admit)
	if r := st.Recoveries(); r.Away != 0 || r.Bytes != 0 {
		t.Errorf("%s is kept for ever: %+v", sid, r)
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// An answer that was on its way before a connection was lost does not say that its
// client is there; one to a question that was asked afterwards does.
func TestTakeoverAsksAnew(t *testing.T) {
	for _, alive := range []bool{false, true} {
		st, g := newGuests(t, sio.Options{Engine: eio.Options{PingInterval: 10 * time.Second, PingTimeout: 10 * time.Second}}, 1)
		st.sim.Advance(11 * time.Second)
		g[0].expect("2")
		x := &extra{t: t, peer: st.sim.Connect(0)}
		x.peer.Send(wsframe.AppendClientHandshake(nil, "h", "/socket.io/?EIO=4&transport=websocket", [16]byte{1}))
		x.peer.Received()
		x.send(fmt.Sprintf(`40{"pid":%q}`, g[0].pid))
		g[0].send("3")
		st.sim.Advance(200 * time.Millisecond)
		g[0].expect("2")
		if alive {
			g[0].send("3")
		}
		st.sim.Advance(2 * time.Second)
		got := x.received()
		if len(got) == 0 || strings.Contains(got[0], g[0].sid) == alive || g[0].peer.Closed() == alive {
			t.Errorf("alive %t: the newcomer received %q", alive, got)
		}
		if r := st.Recoveries(); r.Alive != int64(b2i(alive)) {
			t.Errorf("Recoveries = %+v", r)
		}
	}
}

// Clients of Socket.IO 2 get no offset, in any way that events take, over either
// parser's connection.
func TestClientsOfSocketIO2GetNoOffset(t *testing.T) {
	st, g := newGuests(t, sio.Options{Engine: eio.Options{AllowEIO3: true}}, 1)
	old := &extra{t: t, peer: st.sim.Connect(0)}
	old.peer.Send(wsframe.AppendClientHandshake(nil, "h", "/socket.io/?EIO=3&transport=websocket", [16]byte{1}))
	old.peer.Received()
	st.ns.Emit("all", 1)
	st.ns.Emit("binary", []byte{1})
	st.sim.Turn()
	st.ns.All().Volatile().Emit("volatile")
	for _, s := range st.ns.All().Sockets() {
		if err := s.Emit("direct", "text"); err != nil {
			t.Fatal(err)
		}
	}
	st.sim.Turn()
	old.expect(`42["all",1]`, `451-["binary",{"_placeholder":true,"num":0}]`, "<0401>", `42["volatile"]`, `42["direct","text"]`)
	if got := fmt.Sprint(g[0].received()); strings.Count(got, `"~`) != 4 {
		t.Errorf("the other received %s, want offsets", got)
	}
}

// An event for a socket alone, unless it is in a room, is not replayed to it if it
// was: nor is one that was not for it in any other way.
func TestWhatASocketWasExceptedFromIsNotReplayed(t *testing.T) {
	st, g := newGuests(t, sio.Options{}, 1)
	s := st.ns.All().Sockets()[0]
	s.Join("muted")
	for _, b := range []sio.BroadcastOperator{s.Self().Except("muted"), s.Self().Except(s.ID()), s.Self().Except("other")} {
		if err := b.Emit("news"); err != nil {
			t.Fatal(err)
		}
	}
	st.sim.Turn()
	if got := g[0].received(); len(got) != 1 {
		t.Fatalf("received %q, want one event", got)
	}
	g[0].go_() // it has not said what it has
	if !g[0].come("") || len(g[0].missed) != 1 {
		t.Errorf("recovered with %q, want the one event again: %+v", g[0].missed, st.Recoveries())
	}
}
