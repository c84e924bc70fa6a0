package sio

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio/internal/passage"
)

// A returner is a client that comes back with what it was given.
type returner struct {
	t                    *testing.T
	name, sid, pid, last string // of the namespace; the offset that it had last
	w                    *wire
}

// come connects, and returns what came before the answer, without offsets.
func (r *returner) come(sim *loop.Sim) (missed []string, recovered bool) {
	r.t.Helper()
	r.w = newWire(r.t, sim, 0)
	auth := "{}"
	if r.pid != "" {
		auth = fmt.Sprintf(`{"pid":%q}`, r.pid)
		if r.last != "" {
			auth = fmt.Sprintf(`{"pid":%q,"offset":%q}`, r.pid, r.last)
		}
	}
	r.w.send("0" + r.prefix() + auth)
	for _, p := range r.packets() {
		if !strings.HasPrefix(p, "0"+r.prefix()) {
			missed = append(missed, r.take(p))
			continue
		}
		var answer struct{ SID, PID string }
		if err := json.Unmarshal([]byte(p[1+len(r.prefix()):]), &answer); err != nil {
			r.t.Fatal(err)
		}
		recovered = answer.SID == r.sid
		r.sid, r.pid = answer.SID, answer.PID
		return missed, recovered
	}
	r.t.Fatal("CONNECT is not answered")
	return nil, false
}

func (r *returner) prefix() string {
	if r.name == "/" {
		return ""
	}
	return r.name + ","
}

// take returns the name of an event, and has its offset.
func (r *returner) take(p string) string {
	r.t.Helper()
	var args []any
	if err := json.Unmarshal([]byte(strings.TrimPrefix(p[1:], r.prefix())), &args); err != nil {
		r.t.Fatalf("%s: %v", p, err)
	}
	if s, ok := args[len(args)-1].(string); ok && strings.HasPrefix(s, "~") {
		r.last = s
	}
	return args[0].(string)
}

// takes returns what has come.
func (r *returner) takes() (names []string) {
	for _, p := range r.packets() {
		names = append(names, r.take(p))
	}
	return names
}

// packets returns what has come but for pings.
func (r *returner) packets() []string {
	return slices.DeleteFunc(r.w.received(), func(p string) bool { return p == "2" })
}

func (r *returner) leave(sim *loop.Sim) {
	r.w.peer.Close()
	sim.Turn()
}

// What is emitted to an instance of which everybody is away is kept for them, whichever way
// it is emitted, as of any other namespace; and nobody gets what is for others.
func TestWhatIsEmittedWhileEverybodyIsAway(t *testing.T) {
	namespaces := map[string]func(srv *Server) *Namespace{
		"a pattern's": func(srv *Server) *Namespace { return srv.Of("/x/:id") },
		"a function's": func(srv *Server) *Namespace {
			return srv.OfFunc(func(name string, _ json.RawMessage) bool { return name[:3] == "/x/" })
		},
	}
	ways := map[string]struct {
		emit func(srv *Server, ns *Namespace, s Socket) error
		want string
	}{
		"by name":         {func(_ *Server, ns *Namespace, _ Socket) error { return ns.Instance("/x/1").Emit("e", 1) }, "[e]"},
		"by another name": {func(_ *Server, ns *Namespace, _ Socket) error { return ns.Instance("/x/2").Emit("e", 1) }, "[]"},
		"found":           {func(srv *Server, _ *Namespace, _ Socket) error { b, _ := srv.Find("/x/1"); return b.Emit("e", 1) }, "[e]"},
		"to all":          {func(_ *Server, ns *Namespace, _ Socket) error { return ns.Emit("e", 1) }, "[e]"},
		"to a room":       {func(_ *Server, ns *Namespace, _ Socket) error { return ns.To("r").Emit("e", 1) }, "[e]"},
		"to a room of it": {func(_ *Server, ns *Namespace, _ Socket) error { return ns.Instance("/x/1").To("r").Emit("e", 1) }, "[e]"},
		"to another room": {func(_ *Server, ns *Namespace, _ Socket) error { return ns.To("q").Emit("e", 1) }, "[]"},
		"to nobody":       {func(_ *Server, ns *Namespace, _ Socket) error { return ns.To().Emit("e", 1) }, "[]"},
		"to its id":       {func(_ *Server, ns *Namespace, s Socket) error { return ns.To(s.ID()).Emit("e", 1) }, "[e]"},
		"but for a room":  {func(_ *Server, ns *Namespace, _ Socket) error { return ns.Except("r").Emit("e", 1) }, "[]"},
		"but for another": {func(_ *Server, ns *Namespace, _ Socket) error { return ns.Instance("/x/1").Except("q").Emit("e", 1) }, "[e]"},
		"to all but it":   {func(_ *Server, ns *Namespace, s Socket) error { return ns.Except(s.ID()).Emit("e", 1) }, "[]"},
		"by its handle":   {func(_ *Server, _ *Namespace, s Socket) error { return s.Namespace().To("r").Emit("e", 1) }, "[e]"},
		"by a handle's":   {func(_ *Server, _ *Namespace, s Socket) error { return s.To("r").Emit("e", 1) }, "[]"},
		"volatile":        {func(_ *Server, ns *Namespace, _ Socket) error { return ns.All().Volatile().Emit("e", 1) }, "[]"},
		"with its offset": {func(_ *Server, ns *Namespace, _ Socket) error {
			at, err := ns.All().EmitOffset("e")
			return errors.Join(err, oneOf(at))
		}, "[e]"},
		"that joins and leaves": {func(_ *Server, ns *Namespace, _ Socket) error {
			ns.All().Join("q")
			ns.All().Leave("r")
			return ns.To("q").Emit("e", 1)
		}, "[e]"},
	}
	for of, namespace := range namespaces {
		for way, test := range ways {
			srv, sim := newFrozen(t, nil)
			ns := namespace(srv)
			r := &returner{t: t, name: "/x/1"}
			r.come(sim)
			s, _ := socketOf(srv, r.sid)
			s.Join("r")
			sim.Turn()
			r.leave(sim)
			if len(ns.Instances()) != 0 {
				t.Fatal("the instance is live without sockets")
			}
			if err := test.emit(srv, ns, s); err != nil {
				t.Errorf("%s, %s: %v", of, way, err)
			}
			missed, back := r.come(sim)
			if got := fmt.Sprint(missed); got != test.want || !back {
				t.Errorf("%s, %s: it is back: %t, and has missed %s, want %s", of, way, back, got, test.want)
			}
		}
	}
}

func oneOf(offset string) error {
	if offset == "" {
		return errors.New("there is no offset")
	}
	return nil
}

// A handle of a socket whose instance has ended is good for those who are in the one that
// has its name now.
func TestHandlesOfAnInstanceThatHasEnded(t *testing.T) {
	srv, sim := newFrozen(t, nil)
	srv.Of("/x/:id")
	r := &returner{t: t, name: "/x/1"}
	r.come(sim)
	s, _ := socketOf(srv, r.sid)
	all := Socket{in: s.in}.all()
	r.leave(sim)
	if _, back := r.come(sim); !back {
		t.Fatal("it is not back")
	}
	if err := all.Emit("e", 1); err != nil {
		t.Fatal(err)
	}
	sim.Turn()
	if got := r.takes(); !slices.Equal(got, []string{"e"}) {
		t.Errorf("it gets %q of a handle of before", got)
	}
	r.leave(sim)
	if missed, _ := r.come(sim); len(missed) != 0 {
		t.Errorf("it has missed %q", missed)
	}
}

// all addresses the socket's instance.
func (s Socket) all() BroadcastOperator { return BroadcastOperator{in: s.in} }

// handed gives what a server has beside its sockets to another one, in order.
func handed(t *testing.T, from, to *Server) {
	t.Helper()
	data := map[string][]byte{}
	for i, sh := range from.shards { // places that were used are not used again
		for slot := uint32(1); slot <= sh.sockets.Max(); slot++ {
			if to.shards[i].sockets.AllocAt(slot, sh.sockets.Gen(slot)) {
				to.shards[i].sockets.Free(slot)
			}
		}
	}
	for _, p := range from.ownParts() {
		var err error
		if data[p.Name], err = p.Export(); err != nil {
			t.Fatalf("%s: %v", p.Name, err)
		}
	}
	for _, p := range to.ownParts() {
		if err := p.Import(data[p.Name]); err != nil {
			t.Fatalf("%s: %v", p.Name, err)
		}
	}
	for _, p := range to.ownParts() {
		if p.Taken != nil {
			p.Taken()
		}
	}
}

// A client that is away when its server goes to another process, and that to another, ten
// times, comes back as what it was, and misses nothing.
func TestWhoIsAwayComesBackToASuccessor(t *testing.T) {
	for _, name := range []string{"/", "/x/1"} {
		srv, sim := newFrozen(t, nil)
		key := srv.eio.IDKey()
		prepare := func(srv *Server) {
			srv.Of("/x/:id")
			CarryKey(srv, "frozen", frozen, nil, nil)
		}
		prepare(srv)
		away, other := &returner{t: t, name: name}, &returner{t: t, name: name}
		away.come(sim)
		other.come(sim)
		s, _ := socketOf(srv, away.sid)
		s.Join("r")
		s.SetData(map[string]any{"name": "é"})
		if err := frozen.Set(s, 7); err != nil {
			t.Fatal(err)
		}
		emit := func(srv *Server, event string) {
			b, _ := srv.Find(name)
			if err := b.To("r").Emit(event, 1); err != nil {
				t.Fatal(err)
			}
		}
		sim.Turn()
		emit(srv, "had")
		sim.Turn()
		away.takes()
		away.leave(sim)
		other.leave(sim)
		want := []string{}
		for i := range 10 {
			event := fmt.Sprint("missed ", i)
			emit(srv, event)
			want = append(want, event)
			next, sim2 := newFrozen(t, key)
			prepare(next)
			sim2.Advance(time.Duration(i) * time.Second / 10)
			handed(t, srv, next)
			srv, sim = next, sim2
		}
		emit(srv, "last")
		missed, back := away.come(sim)
		if want = append(want, "last"); !slices.Equal(missed, want) || !back {
			t.Errorf("%s: it is back: %t, and has missed %q, want %q", name, back, missed, want)
		}
		s, _ = socketOf(srv, away.sid)
		v, _ := frozen.Get(s)
		data, _ := s.Data().(map[string]any)
		if v != 7 || data["name"] != "é" || !slices.Contains(s.Rooms(), "r") || !s.Recovered() {
			t.Errorf("%s: it has %v and %v, in %q", name, v, data, s.Rooms())
		}
		if missed, back := other.come(sim); len(missed) != 0 || !back {
			t.Errorf("%s: the other one is back: %t, and has missed %q", name, back, missed)
		}
		if r := srv.Recoveries(); r.Recovered != 2 || r.Replayed != 11 {
			t.Errorf("%s: Recoveries = %+v", name, r)
		}
		emit(srv, "live")
		sim.Turn()
		if got := away.takes(); !slices.Equal(got, []string{"live"}) {
			t.Errorf("%s: then it gets %q", name, got)
		}
	}
}

// What was stored with a socket that is away, and cannot be read, makes its client a new
// one; what cannot be written calls the handover off.
func TestDataThatCannotTravel(t *testing.T) {
	srv, sim := newFrozen(t, nil)
	r := &returner{t: t, name: "/"}
	r.come(sim)
	s, _ := socketOf(srv, r.sid)
	s.SetData(1)
	r.leave(sim)
	next, sim2 := newFrozen(t, srv.eio.IDKey())
	next.o.DecodeData = func([]byte) (any, error) { panic("broken") }
	handed(t, srv, next)
	if _, back := r.come(sim2); back || next.Recoveries().Lost != 1 {
		t.Errorf("it is back with what cannot be read: %+v", next.Recoveries())
	}
	srv.o.EncodeData = func(any) ([]byte, error) { return nil, errors.New("broken") }
	q := srv.seq.(*logged)
	if _, err := q.export(); err == nil {
		t.Error("what cannot be encoded goes along")
	}
}

// Who stays with the old process is known to the successor as of now, and what the old one
// sends it is of another log.
func TestOffsetsOfWhoStaysBehind(t *testing.T) {
	srv, sim := newFrozen(t, nil)
	r := &returner{t: t, name: "/"}
	r.come(sim)
	next, sim2 := newFrozen(t, srv.eio.IDKey())
	q := srv.seq.(*logged)
	s, _ := socketOf(srv, r.sid)
	sh := s.shard()
	stay := sh.snapshot(s.ref.Slot()).saved(s.in.ns)
	if stay.ID != r.sid || stay.PID != r.pid {
		t.Fatalf("it is kept as %+v", stay)
	}
	before := r.last
	handed(t, srv, next)
	q.moved()
	if err := srv.Of("/").Emit("here", 1); err != nil {
		t.Fatal(err)
	}
	sim.Turn()
	r.takes()
	if r.last == "" || r.last[:5] == before {
		t.Errorf("its offset is %q", r.last)
	}
	if _, back := r.come(sim2); back {
		t.Error("who was sent something by the old process is back, without what the successor has emitted")
	}
}

// Instances are there before their sockets, with nobody asked whether they may, and go if
// nobody comes.
func TestInstancesGoAlong(t *testing.T) {
	srv, sim := newFrozen(t, nil)
	open := true
	namespaces := func(srv *Server) {
		srv.OfFunc(func(string, json.RawMessage) bool { return false })
		srv.OfFunc(func(name string, _ json.RawMessage) bool { return open && name[:3] == "/f/" })
		srv.Of("/x/:id")
	}
	namespaces(srv)
	var all []*returner
	for _, name := range []string{"/", "/x/1", "/f/1"} {
		r := &returner{t: t, name: name}
		r.come(sim)
		s, _ := socketOf(srv, r.sid)
		s.in.acks.Store(41)
		all = append(all, r)
	}
	next, _ := newFrozen(t, srv.eio.IDKey())
	namespaces(next)
	open = false
	data, err := srv.registry.export()
	if err != nil {
		t.Fatal(err)
	}
	if err := next.registry.inherit(data); err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		in := next.registry.rejoin(r.name)
		if in == nil || in.acks.Load() != 41 {
			t.Fatalf("there is %+v of %s", in, r.name)
		}
		if r.name == "/x/1" {
			next.registry.release(in)
		}
	}
	if next.registry.settle(); next.registry.called("/x/1") != nil || next.registry.called("/f/1") == nil {
		t.Error("an instance without sockets is live, or one with them is not")
	}
	for _, x := range []carriedInstance{{"/none", "/none", 1}, {"7", "/f/2", 1}, {"-1", "/f/2", 1}, {"1", "/f/:a", 1}, {"/", "/x/3", 1}, {"/x/:id", "/y/1", 1}, {"1", strings.Repeat("/f", 1000), 1}} {
		p, _ := passage.Marshal([]carriedInstance{x})
		if err := next.registry.inherit(p); err != nil || len(next.registry.inherited) > 0 {
			t.Errorf("%+v is an instance: %v", x, err)
		}
	}
	if next.registry.inherit([]byte{1, 2, 3}) == nil {
		t.Error("three bytes are instances")
	}
}

// What is kept of rooms goes along, with offsets of its own log.
func TestHistoryGoesAlong(t *testing.T) {
	srv, sim := newFrozen(t, nil)
	srv.Of("/").KeepHistory(History{Size: 3})
	srv.Of("/x").KeepHistory(History{Size: 3})
	for i := range 5 {
		if err := srv.Of("/").To("r", "q").Emit(fmt.Sprint("e", i), i, []byte{1}); err != nil {
			t.Fatal(err)
		}
	}
	sim.Turn()
	next, sim2 := newFrozen(t, srv.eio.IDKey())
	next.Of("/").KeepHistory(History{Size: 3})
	handed(t, srv, next)
	r := &returner{t: t, name: "/"}
	r.come(sim2)
	s, _ := socketOf(next, r.sid)
	s.JoinReplay([]string{"r"}, 2)
	sim2.Turn()
	var got []string
	for _, p := range r.w.received() {
		if strings.HasPrefix(p, "51-") {
			got = append(got, p[3:8])
		}
	}
	if want := []string{`["e3"`, `["e4"`}; !slices.Equal(got, want) {
		t.Errorf("who joins is sent %q, want %q", got, want)
	}
	if n := len(next.registry.labelled("/").history.Load().store.Last(nil, "/", "q", 9, 1<<40)); n != 3 {
		t.Errorf("%d events are kept of the other room, want 3", n)
	}
}

// Parts that are none are refused.
func TestOwnPartsThatAreBroken(t *testing.T) {
	srv, _ := newFrozen(t, nil)
	srv.Of("/").KeepHistory(History{Size: 3})
	for _, p := range srv.ownParts() {
		if p.Import([]byte("something else")) == nil {
			t.Errorf("%s takes anything", p.Name)
		}
	}
}
