package sio_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/wsframe"
)

// A stage is a server without sockets or goroutines, for what depends on how
// fast a peer reads, and for counting allocations. Handlers have to be inline.
type stage struct {
	*sio.Server
	t   testing.TB
	sim *loop.Sim
	ns  *sio.Namespace
}

func newStage(t testing.TB, o sio.Options) *stage {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	if o.OnError == nil {
		o.OnError = func(_ sio.Socket, event string, err error) { t.Errorf("%s: %v", event, err) }
	}
	return newStageWith(t, o)
}

// newStageWith is newStage with the logger of the options, and its errors.
func newStageWith(t testing.TB, o sio.Options) *stage {
	t.Helper()
	if o.Loop.Loops == 0 {
		o.Loop.Loops = 1
	}
	srv, sim, err := sio.NewSim(o)
	if err != nil {
		t.Fatal(err)
	}
	return &stage{srv, t, sim, srv.Of("/")}
}

// An extra is a client of a stage.
type extra struct {
	t    testing.TB
	peer *loop.Peer
	s    sio.Socket
}

// enter connects a client over WebSocket to the namespace.
func (st *stage) enter(loop int) *extra {
	st.t.Helper()
	before := st.ns.All().Sockets()
	x := &extra{t: st.t, peer: st.sim.Connect(loop)}
	if got := x.begin(); len(got) != 1 || !strings.HasPrefix(got[0], "40{") {
		st.t.Fatalf("the answer to CONNECT is %q", got)
	}
	for _, s := range st.ns.All().Sockets() {
		if !contains(before, s) {
			x.s = s
		}
	}
	return x
}

// begin joins the main namespace, and returns the answer.
func (x *extra) begin() []string {
	x.peer.Send(wsframe.AppendClientHandshake(nil, "h", "/socket.io/?EIO=4&transport=websocket", [16]byte{1}))
	x.peer.Received()
	x.send("40")
	return x.received()
}

func contains(all []sio.Socket, s sio.Socket) bool {
	for _, t := range all {
		if t == s {
			return true
		}
	}
	return false
}

func (x *extra) send(packets ...string) {
	var b []byte
	for _, p := range packets {
		b = appendPacket(b, p)
	}
	x.peer.Send(b)
}

// received returns the packets that came since the last call.
func (x *extra) received() (packets []string) {
	b := x.peer.Received()
	for len(b) > 0 {
		h, n, err := wsframe.ParseHeader(b)
		if err != nil || n == 0 || len(b) < n+int(h.Length) {
			x.t.Fatalf("received % x, want whole frames (%v)", b, err)
		}
		data := b[n : n+int(h.Length)]
		b = b[n+int(h.Length):]
		switch h.Op {
		case wsframe.Text:
			packets = append(packets, string(data))
		default:
			packets = append(packets, fmt.Sprintf("<%s>", hex.EncodeToString(data)))
		}
	}
	return packets
}

func (x *extra) expect(want ...string) {
	x.t.Helper()
	if got := x.received(); fmt.Sprint(got) != fmt.Sprint(want) {
		x.t.Fatalf("received %q, want %q", got, want)
	}
}

// A volatile event is dropped for a client that has something queued, and only
// for that one.
func TestEdge34To38Volatile(t *testing.T) {
	st := newStage(t, sio.Options{})
	fast, slow := st.enter(0), st.enter(0)
	emit := func(to sio.Emitter, event string, args ...any) {
		t.Helper()
		if err := to.Emit(event, args...); err != nil {
			t.Fatal(err)
		}
		st.sim.Turn()
	}
	for _, x := range []*extra{fast, slow} {
		emit(x.s.Volatile(), "idle")
		x.expect(`42["idle"]`)
	}
	slow.peer.Stall(true)
	emit(st.ns, "n", 1) // fills the queue of the slow one
	emit(st.ns.All().Volatile(), "v", 1)
	emit(st.ns.All().Volatile(), "binary", []byte{1}, []byte{2})
	emit(slow.s.Volatile(), "v", 2)
	emit(slow.s.Volatile(), "binary", []byte{1})
	emit(st.ns, "n", 2)
	fast.expect(`42["n",1]`, `42["v",1]`, `452-["binary",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`,
		"<01>", "<02>", `42["n",2]`)
	slow.expect()
	slow.peer.Stall(false)
	slow.expect(`42["n",1]`, `42["n",2]`)
	emit(st.ns.All().Volatile(), "v", 3)
	slow.expect(`42["v",3]`)
	fast.expect(`42["v",3]`)
}

// Two in one go both arrive if the client can take them.
func TestEdge34And38VolatileInARow(t *testing.T) {
	st := newStage(t, sio.Options{})
	x := st.enter(0)
	for i := range 3 {
		if err := x.s.Volatile().Emit("v", i); err != nil {
			t.Fatal(err)
		}
	}
	st.sim.Turn()
	x.expect(`42["v",0]`, `42["v",1]`, `42["v",2]`)
}

// What one inline handler emits, in any way, arrives in that order.
// However many a broadcast goes to, a loop looks at its sockets after a slice of
// them.
func TestOthersAreServedDuringABroadcast(t *testing.T) {
	for _, members := range []int{300, 3000} {
		st := newStage(t, sio.Options{})
		st.ns.HandleInline("join", func(s sio.Socket, _ *sio.Msg) error { s.Join("all"); return nil })
		var peers []*loop.Peer
		for range members {
			p := st.sim.Connect(0)
			p.Send(wsframe.AppendClientHandshake(nil, "h", "/socket.io/?EIO=4&transport=websocket", [16]byte{1}))
			p.Send(appendPacket(appendPacket(nil, "40"), `42["join"]`))
			p.Received()
			peers = append(peers, p)
		}
		have := func() (n int) {
			for _, p := range peers {
				if len(p.Received()) > 0 {
					n++
				}
			}
			return n
		}
		served, echoes := 0, 0
		var reader *extra
		st.ns.HandleInline("echo", func(_ sio.Socket, m *sio.Msg) error {
			n := have()
			if served += n; n > 100 {
				t.Errorf("%d of %d members between two echoes of another client, want up to 100", n, members)
			}
			if echoes++; served < members && echoes < members {
				reader.send(`421["echo"]`)
			}
			return m.Ack()
		})
		reader = st.enter(0)
		if err := st.ns.To("all").Emit("news"); err != nil {
			t.Fatal(err)
		}
		reader.send(`421["echo"]`)
		if served != members || echoes < members/100 {
			t.Errorf("%d of %d members have the broadcast after %d echoes of another client", served, members, echoes)
		}
	}
}

func TestInlineOrder(t *testing.T) {
	st := newStage(t, sio.Options{Loop: loop.Options{Loops: 3}})
	st.ns.HandleInline("go", func(s sio.Socket, m *sio.Msg) error {
		s.Join("r")
		to := []sio.Emitter{s, st.ns, st.ns.To("r"), st.ns.To(s.ID())}
		for i := range 100 {
			if err := to[i%len(to)].Emit("n", i); err != nil {
				return err
			}
		}
		return m.Ack()
	})
	x := st.enter(1)
	st.enter(0)
	x.send(`421["go"]`)
	var want []string
	for i := range 100 {
		want = append(want, fmt.Sprintf(`42["n",%d]`, i))
	}
	x.expect(append(want, "431[]")...)
}

// A client that takes a few bytes at a time receives the same as any other.
func TestShortWrites(t *testing.T) {
	st := newStage(t, sio.Options{Loop: loop.Options{Loops: 1, MaxOutbound: 1 << 20}})
	slow, fast := st.enter(0), st.enter(0)
	slow.peer.Limit(7)
	for i := range 50 {
		if err := st.ns.Emit("b", i, bytes.Repeat([]byte{byte(i)}, i*10)); err != nil {
			t.Fatal(err)
		}
		if i%7 == 0 {
			st.sim.Turn()
		}
		if err := slow.s.Emit("d", i); err != nil {
			t.Fatal(err)
		}
		if err := fast.s.Emit("d", i); err != nil {
			t.Fatal(err)
		}
	}
	st.sim.Turn()
	if a, b := slow.received(), fast.received(); fmt.Sprint(a) != fmt.Sprint(b) || len(a) != 150 {
		t.Errorf("the slow client received %d packets, the fast one %d, want the same 150", len(a), len(b))
	}
}

// Nothing that is common allocates by itself.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	st := newStage(t, sio.Options{})
	st.ns.HandleInline("echo", func(_ sio.Socket, m *sio.Msg) error { return m.Ack(m.Raw(0)) })
	st.ns.HandleInline("note", func(sio.Socket, *sio.Msg) error { return nil })
	gated := st.Of("/gated")
	gated.HandleInline("note", func(sio.Socket, *sio.Msg) error { return nil })
	gated.Gate(func(_ sio.Socket, in sio.Inbound) sio.Verdict {
		if string(in.Event) == "drop" {
			return sio.Drop
		}
		return sio.Pass
	})
	x := st.enter(0)
	x.peer.Send(appendPacket(nil, "40/gated,"))
	x.peer.Discard(true)
	run := func(name, packet string, want float64) {
		frame := appendPacket(nil, packet)
		buf := make([]byte, len(frame))
		if got := testing.AllocsPerRun(1000, func() {
			copy(buf, frame) // it is unmasked in place
			x.peer.Send(buf)
		}); got > want {
			t.Errorf("%s: %v allocations, want %v", name, got, want)
		}
	}
	run("an event to an inline handler", `42["note",{"a":[1,2,3]}]`, 0)
	run("an event that passes a gate", `42/gated,["note",1]`, 0)
	run("an event that does not", `42/gated,["drop",1]`, 0)
	// The argument of Ack becomes an any, and the list of arguments escapes.
	run("an event that is acknowledged", `42171["echo",{"a":[1,2,3]}]`, 2)

	// A broadcast costs the same for few recipients and for many.
	cost := func(members int) float64 {
		st := newStage(t, sio.Options{})
		for range members {
			x := st.enter(0)
			x.peer.Discard(true)
			x.s.Join("room")
		}
		st.sim.Turn()
		return testing.AllocsPerRun(200, func() {
			if err := st.ns.To("room").Emit("news", "today"); err != nil {
				t.Error(err)
			}
			st.sim.Turn()
		})
	}
	if few, many := cost(2), cost(400); many > few || few > 25 {
		t.Errorf("a broadcast to 2 allocates %v times and one to 400 %v times, want the same", few, many)
	} else {
		t.Logf("%v allocations a broadcast", few)
	}
}
