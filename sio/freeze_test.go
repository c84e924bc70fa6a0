package sio

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/wsframe"
)

// A wire is a client of a simulation.
type wire struct {
	t    *testing.T
	peer *loop.Peer
}

func newWire(t *testing.T, sim *loop.Sim, on int) *wire {
	w := &wire{t, sim.Connect(on)}
	w.open()
	return w
}

// open opens a session over WebSocket.
func (w *wire) open() {
	w.peer.Send(wsframe.AppendClientHandshake(nil, "h", "/socket.io/?EIO=4&transport=websocket&token=t", [16]byte{1}))
	w.peer.Received()
}

func (w *wire) send(packet string) {
	h := wsframe.Header{Fin: true, Op: wsframe.Text, Masked: true, Mask: [4]byte{1, 2, 3, 4}, Length: int64(len(packet) + 1)}
	b := wsframe.AppendHeader(nil, h)
	data := []byte("4" + packet)
	for i := range data {
		data[i] ^= h.Mask[i%4]
	}
	w.peer.Send(append(b, data...))
}

// received returns the packets that came since the last call.
func (w *wire) received() (packets []string) {
	w.t.Helper()
	for b := w.peer.Received(); len(b) > 0; {
		h, n, err := wsframe.ParseHeader(b)
		if err != nil || n == 0 || len(b) < n+int(h.Length) {
			w.t.Fatalf("received % x, want whole frames (%v)", b, err)
		}
		packets = append(packets, strings.TrimPrefix(string(b[n:n+int(h.Length)]), "4"))
		b = b[n+int(h.Length):]
	}
	return packets
}

// events returns the events among what was received, without their offsets.
func (w *wire) events() (all []string) {
	w.t.Helper()
	for _, p := range w.received() {
		var args []any
		if !strings.HasPrefix(p, "2") || json.Unmarshal([]byte(p[strings.Index(p, "["):]), &args) != nil {
			w.t.Fatalf("received %s, want an event", p)
		}
		if s, ok := args[len(args)-1].(string); ok && strings.HasPrefix(s, "~") {
			args = args[:len(args)-1]
		}
		all = append(all, strings.TrimSpace(fmt.Sprintln(args...)))
	}
	return all
}

// A frozen server has namespace / with an echo. It goes on with the ids of one whose
// key it has.
func newFrozen(t testing.TB, key []byte) (*Server, *loop.Sim) {
	srv, sim, err := NewSim(Options{KeepHandshake: KeepAlways, Engine: eio.Options{Node: "Node", IDKey: key}, Recovery: Recovery{Window: time.Minute}, Loop: loop.Options{Loops: 2}})
	if err != nil {
		t.Fatal(err)
	}
	srv.Of("/").HandleInline("echo", func(s Socket, m *Msg) error { return s.Emit("echoed", m.Args) })
	return srv, sim
}

var frozen, connFrozen = NewKey[int](), NewConnKey[int]()

// What a socket is lies in plain data: it goes on in another server, in its place or
// in another one, and its client notices nothing.
func TestASocketGoesOnInAnotherServer(t *testing.T) {
	from, sim := newFrozen(t, nil)
	newWire(t, sim, 1) // a session without a socket
	clients, sockets := map[int]*wire{}, map[int]Socket{}
	var pids [2]string
	for i := range 2 {
		w := newWire(t, sim, i)
		w.send(`0{"token":"t"}`)
		var answer struct{ SID, PID string }
		if got := w.received(); len(got) != 1 || json.Unmarshal([]byte(got[0][1:]), &answer) != nil {
			t.Fatalf("CONNECT is answered %q", got)
		}
		clients[i], pids[i] = w, answer.PID
		sockets[i], _ = socketOf(from, answer.SID)
		sockets[i].Join("both", fmt.Sprint("room ", i))
		sockets[i].SetData(i)
		if err := errors.Join(frozen.Set(sockets[i], i), connFrozen.Set(sockets[i], 10+i)); err != nil {
			t.Fatal(err)
		}
		sockets[i].ExpireAt(from.Now().Add(time.Hour), nil)
	}
	for i := range 2 {
		_ = from.Of("/").To("both").Emit("before", i)
		if err := sockets[i].EmitAckFunc(time.Minute, func(Args, error) {}, "question"); err != nil {
			t.Fatal(err)
		}
	}
	sim.Turn()
	for i := range 2 {
		if got := clients[i].events(); !slices.Equal(got, []string{"before 0", "question", "before 1"}) && !slices.Equal(got, []string{"before 0", "before 1", "question"}) {
			t.Fatalf("client %d received %q", i, got)
		}
	}

	// Freeze, and go on elsewhere, where one of the two places is taken.
	states, sessions := map[int]*socketState{}, map[int]*eio.SessionState{}
	for i, s := range sockets {
		sh := s.shard()
		states[i] = sh.snapshot(s.ref.Slot())
		states[i].From = 0
		st, err := sh.session(s.ref.Slot()).Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		sessions[i] = st
	}
	to, sim2 := newFrozen(t, from.eio.IDKey())
	other := newWire(t, sim2, 1)
	for _, packet := range []string{"0", "1", "0"} { // the place has had one since
		other.send(packet)
	}
	other.received()
	answered := map[int]string{}
	for i := range 2 {
		clients[i] = &wire{t, sim2.Connect(i)}
		sh := to.shards[i]
		es, err := to.eio.Restore(sh.loop, sessions[i], sh.loop.Conn) // connections have the places that they had
		if err != nil {
			t.Fatal(err)
		}
		if err := sh.restoreSession(es, []*socketState{states[i]}, func(id uint64) *pendingAck {
			return &pendingAck{done: func(a Args, err error) { answered[i] = fmt.Sprint(string(a.Raw(0)), err) }}
		}); err != nil {
			t.Fatalf("socket %d was not restored: %v", i, err)
		}
		slot := sh.find(es, []byte("/"))
		was := sockets[i]
		sockets[i] = sh.socket(slot)
		if same := sockets[i].ref == was.ref; same != (i == 0) {
			t.Errorf("socket %d is in its place: %t", i, same)
		}
		if sockets[i].ID() != was.ID() {
			t.Errorf("socket %d has the id %s, want %s", i, sockets[i].ID(), was.ID())
		}
	}
	if _, err := to.shards[0].restoreSocket(to.shards[0].session(sockets[0].ref.Slot()), states[0], nil); err != errSomebodys {
		t.Error("a socket was restored a second time")
	}
	for i := range 2 {
		goesOn(t, to, sim2, i, sockets, clients, states, answered)
	}
	for i := range 2 { // its private id is good here, too
		clients[i].peer.Close()
		_ = to.Of("/").To(states[i].ID).Emit("missed", i)
		sim2.Turn()
		w := newWire(t, sim2, i)
		w.send(fmt.Sprintf(`0{"pid":%q}`, pids[i]))
		got := w.received()
		if len(got) == 0 || !strings.Contains(got[len(got)-1], states[i].ID) || !strings.Contains(strings.Join(got, " "), fmt.Sprintf(`["missed",%d`, i)) {
			t.Errorf("client %d came back and received %q", i, got)
		}
	}
}

// goesOn looks at everything that a client and a program can see of a socket.
func goesOn(t *testing.T, srv *Server, sim *loop.Sim, i int, sockets map[int]Socket, clients map[int]*wire, states map[int]*socketState, answered map[int]string) {
	t.Helper()
	s, w := sockets[i], clients[i]
	if got := s.Rooms(); !slices.Equal(got, []string{s.ID(), "both", fmt.Sprint("room ", i)}) {
		t.Errorf("socket %d is in %q", i, got)
	}
	var auth struct{ Token string }
	if err := s.Auth(&auth); err != nil || auth.Token != "t" || s.Data() != i || s.Handshake().Query().Get("token") != "t" || s.Recovered() {
		t.Errorf("socket %d has the data %v, auth %+v (%v), recovered: %t", i, s.Data(), auth, err, s.Recovered())
	}
	own, _ := frozen.Get(s)
	if shared, _ := connFrozen.Get(s); own != i || shared != 10+i {
		t.Errorf("socket %d has the values %d and %d", i, own, shared)
	}
	_ = srv.Of("/").To("both").Emit("after", 1)
	_ = srv.Of("/").To(s.ID()).Emit("after", 2)
	_ = s.Emit("after", 3)
	_ = s.To("both").Emit("not its own")
	_ = srv.Of("/").Except(s.ID()).Emit("not it")
	sim.Turn()
	if got := w.events(); !slices.Equal(got, []string{"after 1", "after 2", "after 3"}) {
		t.Errorf("client %d received %q", i, got)
	}
	w.send(`2["echo",7]`)
	if got := w.events(); !slices.Equal(got, []string{"echoed 7"}) {
		t.Errorf("client %d received %q, want its echo", i, got)
	}
	for k, other := range clients {
		if k != i {
			other.received()
		}
	}
	id := states[i].owed[0]
	if next := s.in.acks.Load(); next <= id || next < states[i].nextAck {
		t.Errorf("the next question has the number %d, that of one that is open", next)
	}
	w.send(fmt.Sprintf(`3%d["yes"]`, id))
	if answered[i] != `"yes"<nil>` && answered[i] != `"yes" <nil>` {
		t.Errorf("the answer of client %d is %q", i, answered[i])
	}
	if at := s.shard().deadlines.Of(s.ref.Slot()); at != states[i].Expires || at == 0 {
		t.Errorf("socket %d has its deadline at %d, want %d", i, at, states[i].Expires)
	}
}

// socketOf returns the socket with an id of its Ref.
func socketOf(srv *Server, id string) (Socket, bool) {
	ref, ok := srv.idRef(id)
	if !ok {
		return Socket{}, false
	}
	return srv.shards[ref.Loop()].socket(ref.Slot()), true
}
