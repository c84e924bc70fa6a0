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

// A mover is a socket on its way from one simulated server to another.
type mover struct {
	session *eio.SessionState
	socket  *socketState
}

// goer connects a client on loop 0.
func goer(t *testing.T, srv *Server, sim *loop.Sim) Socket {
	t.Helper()
	w := newWire(t, sim, 0)
	w.send("0")
	var answer struct{ SID string }
	if got := w.received(); len(got) != 1 || json.Unmarshal([]byte(got[0][1:]), &answer) != nil {
		t.Fatalf("CONNECT is answered %q", got)
	}
	s, _ := socketOf(srv, answer.SID)
	return s
}

func pack(t *testing.T, s Socket) mover {
	t.Helper()
	sh := s.shard()
	es, err := sh.session(s.ref.Slot()).Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return mover{es, sh.snapshot(s.ref.Slot())}
}

func (m mover) goOn(t *testing.T, to *Server, sim *loop.Sim) *wire {
	t.Helper()
	w := &wire{t, sim.Connect(0)}
	sh := to.shards[0]
	es, err := to.eio.Restore(sh.loop, m.session, sh.loop.Conn)
	if err == nil {
		err = sh.restoreSession(es, []*socketState{m.socket}, func(uint64) *pendingAck { return nil })
	}
	if err != nil {
		t.Fatalf("it does not go on: %v", err)
	}
	return w
}

// Functions of deadlines stay behind: another one is called in their place, when they come,
// and of those that have come and were not seen to.
func TestDeadlinesGoOn(t *testing.T) {
	from, sim := newFrozen(t, nil)
	mine := func(Socket) { t.Error("a function is called of a deadline that has not come") }
	at := from.Now().Add(20 * time.Second) // before anybody has to answer a ping
	later, none, bare := goer(t, from, sim), goer(t, from, sim), goer(t, from, sim)
	later.ExpireAt(at, mine)
	bare.ExpireAt(at, nil)
	come := goer(t, from, sim)
	blocked := make(chan struct{})
	come.ExpireAt(from.Now(), func(Socket) { <-blocked })
	defer close(blocked)
	sim.Turn()

	to, sim2 := newFrozen(t, from.eio.IDKey())
	due := make(chan uint64, 10)
	to.CarryDeadlines(func(s Socket) { due <- s.Number() })
	var clients []*wire
	for _, s := range []Socket{later, none, bare, come} {
		clients = append(clients, pack(t, s).goOn(t, to, sim2))
	}
	if len(due) > 0 {
		t.Error("a function is called before the loops run")
	}
	sim2.Advance(time.Second)
	if n := <-due; n != come.Number() {
		t.Errorf("the deadline of %d comes, want that of %d, which had", n, come.Number())
	}
	sim2.Advance(to.Now().Sub(at).Abs() - time.Second)
	if len(due) > 0 {
		t.Error("a deadline comes a second early")
	}
	sim2.Advance(2 * time.Second)
	if n := <-due; n != later.Number() {
		t.Errorf("the deadline of %d comes, want that of %d", n, later.Number())
	}
	for i, open := range []bool{true, true, false, true} {
		if !clients[i].peer.Closed() != open {
			t.Errorf("the connection of client %d is open: %t", i, !open)
		}
	}
}

// Parts are told of each socket that has come, when its values are there.
func TestPartsAreToldOfSockets(t *testing.T) {
	from, sim := newFrozen(t, nil)
	s := goer(t, from, sim)
	s.Join("a", "b")
	if err := connFrozen.Set(s, 7); err != nil {
		t.Fatal(err)
	}
	sim.Turn()
	to, sim2 := newFrozen(t, from.eio.IDKey())
	var told []string
	to.Carry(Part{Name: "x", Socket: func(s Socket, rooms []string) {
		v, _ := connFrozen.Get(s)
		told = append(told, fmt.Sprint(s.ID(), s.Number(), rooms, v))
	}})
	to.Carry(Part{Name: "y"})
	pack(t, s).goOn(t, to, sim2)
	if want := []string{fmt.Sprint(s.ID(), s.Number(), []string{"a", "b"}, 7)}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

// Loops that stand still are not asked for what they count.
func TestCountsOfLoopsThatStandStill(t *testing.T) {
	srv, sim := newFrozen(t, nil)
	goer(t, srv, sim)
	var all []told
	for _, sh := range srv.shards {
		all = append(all, sh.tell())
	}
	srv.standing.Store(&all)
	goer(t, srv, sim)
	if n := srv.Stats().Engine.Opened.Sum(); n != 1 {
		t.Errorf("%d were opened, want 1: the other one came when they stood still", n)
	}
	srv.standing.Store(nil)
	if n := srv.Stats().Engine.Opened.Sum(); n != 2 {
		t.Errorf("%d were opened, want 2", n)
	}
}
