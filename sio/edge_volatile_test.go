package sio_test

import (
	"testing"

	"github.com/sioedge/sioedge/sio"
)

// What volatile and the like say holds for the operator that they return:
// nothing is stored on the socket for whoever emits next.
func TestEdge24NothingIsStoredOnTheSocket(t *testing.T) {
	st := newStage(t, sio.Options{})
	x := st.enter(0)
	x.s.Join("r")
	x.peer.Stall(true)
	emit := func(to sio.Emitter, event string) {
		t.Helper()
		if err := to.Emit(event); err != nil {
			t.Fatal(err)
		}
		st.sim.Turn()
	}
	emit(x.s, "fills the queue")
	volatile, everybody := x.s.Volatile(), st.ns.All()
	x.s.Compress(false)
	derived := everybody.Volatile()
	emit(x.s, "1")
	emit(everybody, "2")
	emit(st.ns.To("r"), "3")
	for range 2 {
		emit(volatile, "dropped")
		emit(volatile.Compress(false), "dropped")
		emit(derived.To("r"), "dropped")
	}
	emit(x.s, "4")
	x.peer.Stall(false)
	x.expect(`42["fills the queue"]`, `42["1"]`, `42["2"]`, `42["3"]`, `42["4"]`)
	emit(volatile, "now")
	emit(derived.To("r"), "and now")
	x.expect(`42["now"]`, `42["and now"]`)
}

// A question is asked also if it was called volatile: an answer is due.
func TestEdge33QuestionsAreNotVolatile(t *testing.T) {
	var joined chan sio.Socket
	srv := serve(t, sio.Options{}, func(srv *sio.Server) { joined = sockets(srv.Of("/")) })
	p := srv.joinPolling()
	s := take(t, joined)
	for i, to := range []sio.BroadcastOperator{s.Volatile(), srv.Of("/").All().Volatile()} {
		got := make(chan answers, 1)
		// ends when the client has answered
		go func() {
			all, err := to.EmitAck(within(patience), "ask")
			got <- answers{all, err}
		}()
		p.expect([]string{`420["ask"]`, `421["ask"]`}[i]) // no poll waited
		p.send([]string{`430["yes"]`, `431["yes"]`}[i])
		if a := take(t, got); a.err != nil || len(a.all) != 1 || string(a.all[0].Raw(0)) != `"yes"` {
			t.Errorf("EmitAck = %v, %v, want one yes", a.all, a.err)
		}
	}
}

// The answer to a poll takes one volatile event; the next finds no poll.
func TestEdge35OnePollTakesOne(t *testing.T) {
	var joined chan sio.Socket
	srv := serve(t, sio.Options{}, func(srv *sio.Server) { joined = sockets(srv.Of("/")) })
	p := srv.joinPolling()
	s := take(t, joined)
	get := p.pending()
	eventually(t, "the poll", s.Writable)
	for _, event := range []string{"first", "second"} {
		if err := s.Volatile().Emit(event); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the answer to the poll", func() bool { return !s.Writable() })
	}
	if got := take(t, get); got != `42["first"]` {
		t.Errorf("the poll = %q, want the first event alone", got)
	}
	if err := s.Emit("kept"); err != nil {
		t.Fatal(err)
	}
	p.wantGet(200, `42["kept"]`)
}

// Who is away misses volatile events for good, those that carry an offset
// included.
func TestEdge36VolatileEventsAreNotRecovered(t *testing.T) {
	left := make(chan string, 8)
	srv, dial, ns := recoverers(t, sio.Options{}, func(ns *sio.Namespace) {
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { left <- s.ID() })
	})
	r := dial()
	if err := ns.All().Volatile().Emit("v", 1); err != nil {
		t.Fatal(err)
	}
	if p := r.next(); p != `42["v",1]` {
		t.Errorf("received %s, want the volatile event without an offset", p)
	}
	r.cut()
	gone(t, left, r.sid)
	for _, emit := range []error{
		ns.Emit("kept", 1),
		ns.All().Volatile().Emit("v", 2), ns.All().Volatile().Emit("v", "text"), ns.To(r.sid).Volatile().Emit("v", []byte{1}),
		ns.Emit("kept", 2),
	} {
		if emit != nil {
			t.Fatal(emit)
		}
	}
	r.connect()
	if r.recoveredAs != r.sid || len(r.events) != 2 || r.events[0] != "kept 1" || r.events[1] != "kept 2" {
		t.Errorf("events = %q as %s, want the two that were kept, as %s", r.events, r.recoveredAs, r.sid)
	}
	if n := srv.Recoveries().Replayed; n != 2 {
		t.Errorf("%d events were replayed, want 2", n)
	}
}

// While an upgrade is tried, what can be sent at once is what a poll takes.
func TestEdge37VolatileDuringAnUpgrade(t *testing.T) {
	var joined chan sio.Socket
	srv := serve(t, sio.Options{}, func(srv *sio.Server) { echo(srv.Of("/")); joined = sockets(srv.Of("/")) })
	emit := func(to sio.Emitter, event string) {
		t.Helper()
		if err := to.Emit(event); err != nil {
			t.Fatal(err)
		}
	}
	p := srv.joinPolling()
	s := take(t, joined)
	get := p.pending()
	eventually(t, "the poll", s.Writable)
	c := srv.handshake("EIO=4&transport=websocket&sid=" + p.sid)
	emit(s.Volatile(), "by the poll")
	if got := take(t, get); got != `42["by the poll"]` {
		t.Errorf("the poll = %q, want the volatile event", got)
	}
	c.send("2probe")
	c.expect("3probe")
	if s.Writable() {
		t.Error("Writable() = true without a poll, want false until the upgrade is done")
	}
	emit(s.Volatile(), "dropped")
	emit(s, "kept")
	c.send("5")
	c.expect(`42["kept"]`)
	eventually(t, "the upgrade", s.Writable)
	emit(s.Volatile(), "now")
	c.quiet("", `42["now"]`)
}
