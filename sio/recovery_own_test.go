package sio_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/sio"
)

// Rooms are joined and left for who is away by the socket's own methods, too, as of OnConnect,
// which may come to it when the client has gone already; and who is in a room of the socket's name is another one.
func TestRoomsOfWhoIsAwayByItsHandle(t *testing.T) {
	long := strings.Repeat("r", 1<<10+1)
	for name, join := range map[string]func(s sio.Socket, rooms ...string){
		"Join": sio.Socket.Join,
		"JoinWait": func(s sio.Socket, rooms ...string) {
			if err := s.JoinWait(t.Context(), rooms...); err != sio.ErrClosed {
				t.Errorf("JoinWait = %v, want ErrClosed", err)
			}
		},
		"JoinReplay": func(s sio.Socket, rooms ...string) { s.JoinReplay(rooms, 1) },
		"Self":       func(s sio.Socket, rooms ...string) { s.Self().Join(rooms...) },
	} {
		t.Run(name, func(t *testing.T) {
			st, g := newGuests(t, sio.Options{}, 1)
			st.ns.KeepHistory(sio.History{Size: 10})
			s := st.ns.All().Sockets()[0]
			other := &guest{st: st, extra: &extra{t: t}}
			other.come("")
			st.ns.Except(g[0].sid).Join(g[0].sid)
			s.Join("a", "left")
			st.sim.Turn()
			g[0].go_()
			st.ns.To("b").Emit("not yet", 1)
			join(s, "b", long)
			st.ns.To("b").Emit("one", 2)
			s.Leave("left")
			st.ns.To("left").Emit("no more", 3)
			st.ns.To("a").Emit("two", 4)
			st.sim.Turn()
			if got := st.ns.All().Sockets()[0].Rooms()[1:]; fmt.Sprint(got) != fmt.Sprint([]string{g[0].sid}) {
				t.Errorf("another one is in %q", got)
			}
			other.go_()
			if !g[0].come("") {
				t.Fatalf("it was not recovered: %+v", st.Recoveries())
			}
			var names []string
			for _, p := range g[0].missed {
				names = append(names, strings.Split(p, `"`)[1])
			}
			if got := fmt.Sprint(names, st.ns.All().Sockets()[0].Rooms()[1:]); got != "[one two] [a b]" {
				t.Errorf("what it has missed, and its rooms, are %s", got)
			}
		})
	}
}

// Who goes between such a call and its loop's turn is in the rooms as of the call.
func TestRoomsOfWhoIsJustLeaving(t *testing.T) {
	for name, join := range map[string]func(s sio.Socket){
		"Join":       func(s sio.Socket) { s.Join("b") },
		"JoinReplay": func(s sio.Socket) { s.JoinReplay([]string{"b"}, 1) },
		"operator":   func(s sio.Socket) { s.Self().Join("b") },
		"in order": func(s sio.Socket) {
			s.Join("c", "d")
			s.Self().Leave("c")
			s.Namespace().To("d").Join("b")
			s.Leave("d")
		},
	} {
		t.Run(name, func(t *testing.T) {
			st, g := newGuests(t, sio.Options{}, 2)
			st.ns.KeepHistory(sio.History{Size: 10})
			st.ns.All().Join("a")
			others := st.ns.All().Sockets()
			st.ns.HandleInline("join", func(s sio.Socket, m *sio.Msg) error {
				for _, other := range others {
					if other.ID() == g[1].sid {
						st.ns.To("b").Emit("not yet", 1)
						join(other) // its task waits behind this step
						st.ns.To("b").Emit("one", 2)
						other.Leave("a")
						st.ns.To("a").Emit("no more", 3)
					}
				}
				g[1].peer.Close()
				return nil
			})
			g[0].send(`42["join"]`)
			if !g[1].come("") {
				t.Fatalf("it was not recovered: %+v", st.Recoveries())
			}
			var names []string
			for _, p := range g[1].missed {
				names = append(names, strings.Split(p, `"`)[1])
			}
			if got := fmt.Sprint(names, st.ns.To(g[1].sid).Sockets()[0].Rooms()[1:]); got != "[one] [b]" {
				t.Errorf("what it has missed, and its rooms, are %s", got)
			}
		})
	}
}

// What a socket's own method wants comes before what an operator does next, also if the
// socket leaves before its loop gets there.
func TestRevocationOfWhoIsJustLeavingByARoom(t *testing.T) {
	for name, early := range map[string]bool{"before it goes": true, "when it has gone": false} {
		t.Run(name, func(t *testing.T) {
			st, g := newGuests(t, sio.Options{}, 3)
			all := st.ns.All().Sockets()
			safe, revoked := g[2].sid, make(chan bool, 1)
			revoke := func() {
				st.ns.To("banned").Disconnect(sio.DisconnectOptions{})
				st.ns.Except("safe", g[0].sid).Disconnect(sio.DisconnectOptions{})
				revoked <- true
			}
			st.ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) {
				if !early && s.ID() == safe {
					revoke()
				}
			})
			st.ns.HandleInline("join", func(s sio.Socket, m *sio.Msg) error {
				for _, other := range all {
					switch other.ID() {
					case g[1].sid:
						other.Join("banned", "safe")
					case safe:
						other.Join("safe")
					}
				}
				if early {
					revoke()
				}
				g[1].peer.Close()
				g[2].peer.Close()
				return nil
			})
			g[0].send(`42["join"]`)
			eventually(t, "the revocation", func() bool { st.sim.Turn(); return len(revoked) > 0 })
			if g[1].come("") || !g[2].come("") {
				t.Errorf("who was in the room and who was not: %+v", st.Recoveries())
			}
		})
	}
}
