package sio

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
)

// moveSession has the session of a socket go on in another server, its asks unanswered.
func moveSession(t *testing.T, s Socket, to *Server, sim *loop.Sim) *wire {
	t.Helper()
	from := s.shard()
	x := from.snapshot(s.ref.Slot())
	x.From = 0
	st, err := from.session(s.ref.Slot()).Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{t, sim.Connect(s.ref.Loop())}
	sh := to.shards[s.ref.Loop()]
	es, err := to.eio.Restore(sh.loop, st, sh.loop.Conn)
	if err == nil {
		err = sh.restoreSession(es, []*socketState{x}, func(uint64) *pendingAck { return nil })
	}
	if err != nil {
		t.Fatalf("the session was not restored (%v)", err)
	}
	return w
}

// A Socket that a program keeps as data is the one that handlers get in the successor; one
// that has left has left there, also where its namespace is not live any more. Who waits for
// a client's answer gets it there.
func TestSocketsAsData(t *testing.T) {
	from, sim := newFrozen(t, nil)
	from.Of("/room/:id")
	w := newWire(t, sim, 1)
	w.send(`0{}`)
	s := from.shards[1].socket(from.shards[1].find(from.shards[1].session(1), []byte("/")))
	gone := newWire(t, sim, 1)
	gone.send(`0/room/7,`)
	left := from.shards[1].socket(2)
	if left.Name() != "/room/7" {
		t.Fatalf("the second socket is of %q", left.Name())
	}
	gone.peer.Close()
	sim.Turn()
	id, err := s.EmitAckID(time.Minute, func(Args, error) { t.Error("the one that goes is answered") }, "question")
	if err != nil {
		t.Fatal(err)
	}
	sim.Turn()
	one, other := s.Pack([]byte("x"))[1:], left.Pack(nil)

	to, sim2 := newFrozen(t, from.eio.IDKey())
	to.Of("/room/:id")
	seen := make(chan Socket, 1)
	to.Of("/").HandleInline("seen", func(s Socket, _ *Msg) error { seen <- s; return nil })
	moved := moveSession(t, s, to, sim2)
	got, err := to.Unpack(one)
	if err != nil || got.Gone() || got.ID() != s.ID() || got.Conn() != s.Conn() {
		t.Fatalf("Unpack = %v, %v", got, err)
	}
	answers := make(chan string, 1)
	got.AwaitAck(id, time.Minute, func(a Args, err error) { answers <- fmt.Sprint(string(a.Raw(0)), err) }, "question")
	sim2.Turn()
	moved.send(`2["seen"]`)
	if h := <-seen; h != got {
		t.Errorf("a handler gets %v, which is not what Unpack returns", h)
	}
	moved.send(fmt.Sprintf(`3%d["yes"]`, id))
	if a := <-answers; a != `"yes"<nil>` && a != `"yes" <nil>` {
		t.Errorf("the answer is %s", a)
	}
	if got, err := to.Unpack(other); err != nil || !got.Gone() || got.Name() != "/room/7" || got.ID() != left.ID() || got.Param("id") != "7" {
		t.Errorf("one that has left is %v, %v", got, err)
	}
	none, err := to.Unpack(Socket{}.Pack(nil))
	if err != nil || none != (Socket{}) {
		t.Errorf("no socket is %v, %v", none, err)
	}
	silent := make(chan error, 1)
	goneNow, _ := to.Unpack(other)
	goneNow.AwaitAck(3, time.Minute, func(_ Args, err error) { silent <- err }, "question")
	sim2.Turn()
	if err := <-silent; err != ErrClosed {
		t.Errorf("who waits for one that has left gets %v", err)
	}
	for n := range one {
		if p := one[:n]; n > 0 && n < len(one) {
			if _, err := to.Unpack(p); err == nil {
				t.Errorf("Unpack of %d bytes of %d succeeds", n, len(one))
			}
		}
	}
}

// Whatever comes, it is a socket or an error.
func FuzzUnpack(f *testing.F) {
	srv, _, err := NewSim(Options{Engine: eio.Options{Node: "Node"}, Loop: loop.Options{Loops: 2}})
	if err != nil {
		f.Fatal(err)
	}
	srv.Of("/a/:b")
	srv.OfFunc(func(string, json.RawMessage) bool { return false })
	f.Add([]byte{})
	f.Add(slices.Concat(make([]byte, 7), []byte{1}, make([]byte, 8), []byte{0}, []byte("/a/c")))
	f.Fuzz(func(t *testing.T, p []byte) {
		s, err := srv.Unpack(p)
		if err != nil || len(p) == 0 {
			return
		}
		_, _, _ = s.ID(), s.Name(), s.Namespace().Name()
		if again, err := srv.Unpack(s.Pack(nil)); err != nil || again.Pack(nil) == nil || again.ID() != s.ID() {
			t.Errorf("%v comes back as %v, %v", s, again, err)
		}
		if !s.Gone() {
			t.Error("there is a socket in an empty server")
		}
	})
}
