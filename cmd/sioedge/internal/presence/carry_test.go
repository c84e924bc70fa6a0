package presence

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// succeed has another process take the place of a server, with its sockets but those that
// stay. Nobody is told anything for it.
func (w *world) succeed(p *peer, stay ...*seat) {
	calls := slices.DeleteFunc(slices.Clone(p.v.out), func(e effect) bool { return e.call == nil })
	data := must(carried.Marshal(p.v.leaveAll(w.now)))
	waiting := 0
	for _, e := range p.v.out {
		if e.say == nil && e.call == nil {
			waiting++
		}
	}
	var e estate
	if err := carried.Unmarshal(data, &e); err != nil {
		w.t.Fatal(err)
	}
	w.runs++
	v := newView(p.name, w.runs, true, testLimits)
	had, err := v.inherit(&e, w.now, func(string) *guard { return &guard{} })
	if err != nil {
		w.t.Fatal(err)
	}
	for s := range p.sockets {
		if slices.Contains(stay, s) {
			delete(p.sockets, s)
		} else if !v.arrive(&guard{}, s.at, s.user) {
			w.t.Fatal("a socket is not counted")
		}
	}
	v.settleAll(had, w.now.Add(stayed))
	for _, e := range v.out {
		if e.say == nil {
			waiting--
		}
	}
	if waiting != 0 {
		w.t.Fatalf("there are %d fewer effects that wait than there were", waiting)
	}
	v.out = append(v.out, calls...)
	p.v = v
}

// Servers whose processes are replaced, again and again, are one server to the others: they
// ask for nothing, and nobody is told of anybody.
func TestAServerGoesOnInOtherProcesses(t *testing.T) {
	w, at := quietWorld(t, 3), place{"/r", "x"}
	here, there := w.watcher(0, at), w.watcher(1, at)
	for i := range 50 {
		w.join(w.peers[i%3], fmt.Sprint("u", i), at, false)
	}
	away := w.join(w.peers[0], "away", at, false)
	w.pass(10 * time.Second)
	here.told, there.told = nil, nil
	asked := w.peers[1].v.asked + w.peers[2].v.asked
	versions := w.peers[0].v.own[0].version
	w.leave(w.peers[0], away, true)
	for range 10 {
		w.succeed(w.peers[0])
		w.pass(time.Second)
	}
	wantTold(t, here)
	wantTold(t, there)
	if n := w.peers[1].v.asked + w.peers[2].v.asked - asked; n != 0 || w.peers[0].v.asked != 0 || w.peers[0].v.own[0].version != versions {
		t.Errorf("the others have asked %d times, this one %d times; a bucket is of version %d, and was of %d", n, w.peers[0].v.asked, w.peers[0].v.own[0].version, versions)
	}
	w.pass(window - 12*time.Second) // from when it left
	wantTold(t, here)
	w.pass(3 * time.Second)
	wantTold(t, here, "away false")
	wantTold(t, there, "away false")
	w.check()
}

// Who comes back to the successor in time was never away.
func TestWhoIsAwayMayComeBackToTheSuccessor(t *testing.T) {
	w, at := quietWorld(t, 2), place{"/r", "x"}
	here, there := w.watcher(0, at), w.watcher(1, at)
	s := w.join(w.peers[0], "u", at, false)
	w.pass(time.Second)
	here.told, there.told = nil, nil
	w.leave(w.peers[0], s, true)
	w.succeed(w.peers[0])
	w.pass(5 * time.Second)
	w.join(w.peers[0], "u", at, true)
	w.pass(2 * window)
	wantTold(t, here)
	wantTold(t, there)
	w.check()
}

// Clients that stay with the process before are shown while they may come over.
func TestWhoStaysIsShownForAWhile(t *testing.T) {
	w, at := quietWorld(t, 2), place{"/r", "x"}
	here, there := w.watcher(0, at), w.watcher(1, at)
	comes, goes := w.join(w.peers[0], "comes", at, false), w.join(w.peers[0], "goes", at, false)
	two := w.join(w.peers[0], "two", at, false)
	w.join(w.peers[0], "two", at, false)
	w.pass(time.Second)
	here.told, there.told = nil, nil
	w.succeed(w.peers[0], comes, goes, two)
	w.pass(stayed - 2*time.Second)
	w.join(w.peers[0], "comes", at, false)
	wantTold(t, here)
	w.pass(3 * time.Second)
	wantTold(t, here, "goes false")
	wantTold(t, there, "goes false")
	w.check()
}

// A Presence that stands still tells nobody; called off, it tells everything.
func TestWhatWaitsWhileItStandsStill(t *testing.T) {
	st := newStage(t, sio.Options{}, Options{})
	a := st.enter("1", "a", "x")
	wantHeard(t, a, "+a@x")
	if err := st.p.stand(t.Context()); err != nil {
		t.Fatal(err)
	}
	st.enter("1", "b", "x")
	a.ExpectNothing()
	p := must(st.p.export())
	st.p.goOn()
	st.Settle()
	wantHeard(t, a, "+b@x")
	var e estate
	if err := carried.Unmarshal(p, &e); err != nil || len(e.Out) != 1 || e.Out[0].User != "b" {
		t.Errorf("what goes along is %+v, %v", e.Out, err)
	}
}

// A whole Presence goes on in another one: users, and who is nobody, by their ids.
func TestAPresenceGoesOn(t *testing.T) {
	o := sio.Options{Engine: eio.Options{Node: "Node", IDKey: make([]byte, eio.IDKeyLen)}}
	one, two := newStage(t, o, Options{}), newStage(t, o, Options{})
	var was, is []sio.Socket
	for _, st := range []*stage{one, two} {
		for i, user := range []string{"ann", "bob", ""} {
			c := st.enter("1", user)
			if st == one {
				c.EmitAck("join", "x").Args()
				was = append(was, c.Socket())
			} else if is = append(is, c.Socket()); i < 2 {
				c.Socket().SetData(user)
			}
		}
	}
	gone := one.enter("1", "eve", "x")
	gone.Disconnect()
	one.Settle()
	if err := two.p.inherit(must(one.p.export())); err != nil {
		t.Fatal(err)
	}
	for i, s := range is {
		if user, ok := counted.Get(was[i]); ok && i == 0 {
			_ = counted.Set(s, user)
		}
		two.p.arrived(s, []string{"x"})
	}
	two.p.taken()
	all, _ := two.p.List(t.Context(), "/r/1", "x")
	got := map[string]int{}
	for _, m := range all {
		got[m.User] = m.Count
	}
	if want := map[string]int{"ann": 1, "bob": 1, "eve": 0, was[2].PublicID(): 1}; !maps.Equal(got, want) {
		t.Errorf("there are %v, want %v", got, want)
	}
}

func TestHostileEstates(t *testing.T) {
	members := func(n ...uint32) []uint32 { return n }
	for name, e := range map[string]estate{
		"a long name":                    {Names: []string{strings.Repeat("x", maxName+1)}},
		"half a member":                  {Names: []string{"a"}, Own: members(0, 0)},
		"a name that there is not":       {Names: []string{"a"}, Own: members(0, 0, 1, 1)},
		"more sockets than there can be": {Names: []string{"a"}, Own: members(0, 0, 0, math.MaxUint32)},
		"a user with a long name":        {Names: []string{"a", strings.Repeat("u", maxUser+1)}, Own: members(0, 0, 1, 1)},
		"half an absence":                {Away: []int64{0}},
		"an absence of nobody":           {Away: []int64{0, 0, 0}},
		"an absence of before":           {Names: []string{"a"}, Own: members(0, 0, 0, 0), Away: []int64{0, 0, -1}},
		"too many versions":              {Versions: make([]uint64, buckets+1)},
		"a version beyond all":           {Versions: []uint64{math.MaxUint64}},
		"a bucket that there is not":     {Wanted: []int{buckets}},
		"too many servers":               {Nodes: make([]nodeForm, maxNodes+1)},
		"a bucket of a server":           {Nodes: []nodeForm{{Name: "n", Run: 1, Buckets: []uint64{buckets, 1, 0, 0, 0}}}},
		"three slices":                   {Nodes: []nodeForm{{Name: "n", Run: 1, Buckets: []uint64{0, 1, 0, 3, 0}}}},
		"half a bucket":                  {Nodes: []nodeForm{{Name: "n", Run: 1, Buckets: []uint64{0, 1}}}},
		"members of a server":            {Nodes: []nodeForm{{Name: "n", Run: 1, Members: members(0, 0, 0, 1)}}},
	} {
		v := newView("n0", 1, true, testLimits)
		if _, err := v.inherit(&e, time.Unix(1_700_000_000, 0), func(string) *guard { return &guard{} }); err == nil {
			t.Errorf("%s is taken over", name)
		}
	}
	st := newStage(t, sio.Options{}, Options{})
	if err := st.p.inherit([]byte{0xff}); err == nil {
		t.Error("rubbish is taken over")
	}
}

func FuzzEstates(f *testing.F) {
	w := newWorld(new(testing.T), 3, 2)
	at := place{"/r", "x"}
	w.join(w.peers[0], "u", at, false)
	w.join(w.peers[1], "v", at, false)
	w.leave(w.peers[0], w.join(w.peers[0], "w", at, false), true)
	w.pass(time.Second)
	f.Add(must(carried.Marshal(w.peers[0].v.leaveAll(w.now))))
	f.Add(must(carried.Marshal(estate{Names: []string{"a"}, Own: []uint32{0, 0, 0, 1, 0, 0, 0, 1}, Out: []effectForm{{Say: []byte(`{"k":"here","r":1}`)}, {User: "x"}}})))
	now := time.Unix(1_700_000_000, 0)
	guards := func(string) *guard { return &guard{} }
	f.Fuzz(func(t *testing.T, p []byte) {
		var e estate
		if carried.Unmarshal(p, &e) != nil {
			return
		}
		v := newView("n0", 1, true, limits{members: 100, heartbeat: DefaultHeartbeat, lost: DefaultLost})
		had, err := v.inherit(&e, now, guards)
		if err != nil {
			return
		}
		v.arrive(&guard{}, at, "u")
		v.settleAll(had, now.Add(stayed))
		v.step(now.Add(time.Second))
		again := v.leaveAll(now.Add(time.Second))
		if err := again.check(); err != nil {
			t.Errorf("it does not go on: %v", err)
		}
		for _, x := range v.out {
			if _, err := json.Marshal(x.say); err != nil {
				t.Error(err)
			}
		}
		v.step(now.Add(24 * time.Hour))
		if all, _ := v.list(at, 100); !slices.ContainsFunc(all, func(m Member) bool { return m.User == "u" }) {
			t.Error("who has come is not there")
		}
	})
}
