package sio_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/wsframe"
)

// One connection that joins and leaves, over and over, never gets an id or a
// Socket that somebody had before it, however long it goes on; and whoever keeps
// what it had, has nobody.
func TestSocketsNeverRepeat(t *testing.T) {
	const left = 3 // generations of a slot
	st := newStage(t, sio.Options{})
	var all []sio.Socket
	st.ns.HandleInline("own", func(s sio.Socket, _ *sio.Msg) error { return nil })
	st.Wear(left)
	x := &extra{t: t, peer: st.sim.Connect(0)}
	x.peer.Send(clientHandshake("4"))
	x.peer.Received()
	ids := map[string]bool{}
	for n := range 4 * left {
		x.send("40")
		got := x.received()
		if len(got) != 1 || !strings.HasPrefix(got[0], "40{") || ids[got[0]] {
			t.Fatalf("the answer to CONNECT %d is %q, after %d others", n, got, len(ids))
		}
		ids[got[0]] = true
		s := st.ns.All().Sockets()[0]
		s.SetData(n)
		s.Join("room")
		st.sim.Turn()
		for i, old := range all {
			if old == s || old.ID() == s.ID() || old.Connected() || !old.Gone() || old.Data() != nil || old.Rooms() != nil {
				t.Fatalf("socket %d is somebody again when %d is connected", i, n)
			}
			if err := old.Emit("secret"); !errors.Is(err, sio.ErrClosed) {
				t.Fatalf("Emit to socket %d = %v, want ErrClosed", i, err)
			}
			old.Join("else")
			old.Leave("room")
			old.Disconnect(sio.DisconnectOptions{Conn: true})
			if err := st.ns.To(old.ID()).Emit("secret"); err != nil {
				t.Fatal(err)
			}
		}
		st.sim.Turn()
		x.expect()
		if rooms := s.Rooms(); s.Data() != n || len(rooms) != 2 || rooms[1] != "room" {
			t.Fatalf("socket %d has data %v and rooms %q, want its own", n, s.Data(), rooms)
		}
		all = append(all, s)
		x.send(`42["own"]`)
		x.send("41")
	}
	if n := st.Retired(); n != 4 {
		t.Errorf("%d slots are retired, want 4", n)
	}
}

// Who joins when no slot is left is refused, and counted.
func TestNoRoomForASocket(t *testing.T) {
	for _, o := range []sio.Options{{}, {Engine: eio.Options{AllowEIO3: true}}} {
		st := newStage(t, o)
		st.Of("/more")
		st.Of("/lots/:n")
		x := st.enter(0)
		st.LimitSockets(1)
		for n, name := range []string{"/more", "/more", "/lots/1"} {
			x.send("40" + name + ",")
			x.expect("44" + name + `,{"message":"server is full"}`)
			if got := st.Stats(); got.Drops.Full != int64(n+1) || got.Refused != got.Drops.Full {
				t.Errorf("Stats() = %d refused, %d for want of room, want %d", got.Refused, got.Drops.Full, n+1)
			}
		}
		if o.Engine.AllowEIO3 {
			y := &extra{t: t, peer: st.sim.Connect(0)}
			y.peer.Send(clientHandshake("3"))
			if got := string(y.peer.Received()); !strings.Contains(got, `44"server is full"`) {
				t.Errorf("a client of Socket.IO 2 got %q", got)
			}
		}
		x.send("41", "40")
		if got := x.received(); len(got) != 1 || !strings.HasPrefix(got[0], "40{") {
			t.Errorf("the answer to CONNECT when there is room again is %q", got)
		}
	}
}

func TestRecordNeedsNoPadding(t *testing.T) {
	if n, align := sio.RecordSize(); align != 4 || n > 28 {
		t.Errorf("a record is %d bytes aligned to %d, want at most 28 aligned to 4", n, align)
	}
}

func clientHandshake(revision string) []byte {
	return wsframe.AppendClientHandshake(nil, "h", "/socket.io/?EIO="+revision+"&transport=websocket", [16]byte{1})
}

// The ids of namespaces' instances come to an end, too: none becomes that of
// another that is there.
func TestInstancesDoNotShareAnID(t *testing.T) {
	st := newStage(t, sio.Options{})
	st.Of("/lots/:n")
	one, other := st.enter(0), st.enter(0)
	st.WearIDs()
	for n := range 4 {
		name := fmt.Sprintf("/lots/%d", n)
		other.send("40" + name + ",")
		if got := other.received(); len(got) != 1 || !strings.HasPrefix(got[0], "40"+name+",{") {
			t.Fatalf("the answer to CONNECT is %q", got)
		}
		for _, in := range st.Of("/lots/:n").All().Sockets() {
			if err := in.Namespace().Instance(in.Name()).Emit("x"); err != nil {
				t.Fatal(err)
			}
		}
		st.sim.Turn()
		one.expect()
		other.received()
	}
	if err := st.ns.Emit("root"); err != nil {
		t.Fatal(err)
	}
	st.sim.Turn()
	one.expect(`42["root"]`)
	other.expect(`42["root"]`)
}
