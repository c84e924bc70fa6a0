package presence

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// quietWorld is a world in which nothing is lost, and what is said is heard at once.
func quietWorld(t *testing.T, servers int) *world {
	w := newWorld(t, 1, servers)
	w.pass(time.Second)
	return w
}

// watcher is a socket of another user in the room, of that server.
func (w *world) watcher(server int, at place) *seat {
	s := w.join(w.peers[server], "watcher", at, false)
	w.pass(time.Second)
	s.told = nil
	return s
}

func wantTold(t *testing.T, s *seat, want ...string) {
	t.Helper()
	if fmt.Sprint(s.told) != fmt.Sprint(want) {
		t.Fatalf("%s is told %q, want %q", s.id, s.told, want)
	}
	s.told = nil
}

// Three tabs, on two servers, are one user: who comes with the first and goes with the
// last, when the debounce is over, on each server.
func TestAUserComesOnceAndGoesOnce(t *testing.T) {
	w, at := quietWorld(t, 3), place{"/r", "x"}
	here, there := w.watcher(0, at), w.watcher(2, at)
	a := w.join(w.peers[0], "u", at, false)
	b := w.join(w.peers[0], "u", at, false)
	c := w.join(w.peers[1], "u", at, false)
	w.pass(time.Second)
	wantTold(t, here, "u true")
	wantTold(t, there, "u true")
	w.leave(w.peers[0], a, false)
	w.leave(w.peers[1], c, false)
	w.pass(10 * time.Second)
	w.leave(w.peers[0], b, false)
	w.pass(debounce - 500*time.Millisecond)
	wantTold(t, here)
	wantTold(t, there)
	w.pass(time.Second)
	wantTold(t, here, "u false")
	wantTold(t, there, "u false")
	w.check()
}

func TestWhoIsBackInTimeWasNeverAway(t *testing.T) {
	for _, x := range []struct {
		name        string
		from, to    int
		recoverable bool
		away        time.Duration
		want        string
	}{
		{"a flap", 0, 0, false, debounce - time.Second, "[]"},
		{"a flap to another server", 0, 1, false, debounce - time.Second, "[]"},
		{"too late", 0, 0, false, debounce + time.Second, "[u false u true]"},
		{"a recovery", 0, 0, true, window - time.Second, "[]"},
		{"a recovery on another server", 0, 1, true, window - time.Second, "[]"},
		{"a recovery that comes too late", 0, 0, true, window + time.Second, "[u false u true]"},
	} {
		t.Run(x.name, func(t *testing.T) {
			w, at := quietWorld(t, 3), place{"/r", "x"}
			here, there := w.watcher(0, at), w.watcher(2, at)
			s := w.join(w.peers[x.from], "u", at, false)
			w.pass(time.Second)
			here.told, there.told = nil, nil
			w.leave(w.peers[x.from], s, x.recoverable)
			w.pass(x.away)
			s = w.join(w.peers[x.to], "u", at, x.recoverable)
			w.pass(2 * window)
			for _, m := range []*seat{here, there} {
				if fmt.Sprint(m.told) != x.want {
					t.Errorf("a member is told %q, want %s", m.told, x.want)
				}
				m.told = nil
			}
			// For good: the debounce counts, and not what was recovered before.
			w.leave(w.peers[x.to], s, false)
			w.pass(debounce + time.Second)
			wantTold(t, here, "u false")
			wantTold(t, there, "u false")
			w.check()
		})
	}
}

// One tab has lost its connection and may recover, the other one leaves for good: the
// user is there as long as the first may come.
func TestOneTabMayRecoverWhileAnotherLeaves(t *testing.T) {
	w, at := quietWorld(t, 1), place{"/r", "x"}
	m := w.watcher(0, at)
	a, b := w.join(w.peers[0], "u", at, false), w.join(w.peers[0], "u", at, false)
	m.told = nil
	w.leave(w.peers[0], a, true)
	w.leave(w.peers[0], b, false)
	w.pass(window - time.Second)
	wantTold(t, m)
	w.pass(2 * time.Second)
	wantTold(t, m, "u false")
}

// A server that ends says so: its users are shown for the debounce, one that crashes
// has its forgotten when it has been silent for long enough. Both ways are silent for
// those who come to others meanwhile, and all who stay away are told of once.
func TestUsersOfServersThatEnd(t *testing.T) {
	for _, x := range []struct {
		name  string
		crash bool
		after time.Duration // when it is told
	}{{"cleanly", false, debounce}, {"by a crash", true, DefaultLost}} {
		t.Run(x.name, func(t *testing.T) {
			w, at := quietWorld(t, 3), place{"/r", "x"}
			here, there := w.watcher(0, at), w.watcher(1, at)
			w.join(w.peers[2], "moves", at, false)
			w.join(w.peers[2], "stays away", at, false)
			w.pass(DefaultHeartbeat)
			here.told, there.told = nil, nil
			if p := w.peers[2]; !x.crash {
				p.v.end(w.now, debounce)
				w.settle(p)
			}
			w.peers[2].v = nil
			w.pass(time.Second)
			w.join(w.peers[1], "moves", at, false)
			w.pass(x.after - time.Second - DefaultHeartbeat - time.Second)
			wantTold(t, here)
			w.pass(DefaultHeartbeat + 3*time.Second)
			wantTold(t, here, "stays away false")
			wantTold(t, there, "stays away false")
			w.check()
			w.start(w.peers[2]) // with the same name
			w.join(w.peers[2], "stays away", at, false)
			w.pass(time.Second)
			wantTold(t, here, "stays away true")
			wantTold(t, there, "stays away true")
			w.check()
		})
	}
}

// A server that is heard no more because this one is cut off is not lost.
func TestWhoIsIsolatedForgetsNobody(t *testing.T) {
	w, at := quietWorld(t, 2), place{"/r", "x"}
	m := w.watcher(0, at)
	w.join(w.peers[1], "u", at, false)
	w.pass(time.Second)
	m.told = nil
	w.loss = 100
	for range 20 {
		for _, p := range w.peers {
			p.v.isolated(w.now)
		}
		w.pass(DefaultHeartbeat)
	}
	wantTold(t, m)
	w.loss = 0
	w.pass(DefaultHeartbeat)
	wantTold(t, m)
	w.check()
}

// What is lost is noticed with the next change of the same kind, without waiting for a
// heartbeat; and a server that starts knows the others at once.
func TestGapsAreFilledSoon(t *testing.T) {
	w, at := quietWorld(t, 2), place{"/r", "x"}
	var at2 place // in the same bucket
	for i := 0; at2.room == "" || bucketOf(hashOf(at2, "u")) != bucketOf(hashOf(at, "u")); i++ {
		at2 = place{"/r", fmt.Sprint("y", i)}
	}
	w.pass(DefaultHeartbeat - time.Duration(w.now.UnixNano())%DefaultHeartbeat)
	w.pass(w.peers[0].v.beat.Sub(w.now) + 100*time.Millisecond) // a heartbeat has been just now
	w.loss = 100
	w.join(w.peers[0], "u", at, false)
	w.pass(200 * time.Millisecond)
	w.loss = 0
	w.join(w.peers[0], "u", at2, false)
	w.pass(2 * time.Second)
	w.check()
	if v := w.peers[1].v; v.asked == 0 || v.find(at, "u") == nil {
		t.Error("what was lost was not asked for")
	}
	w.start(w.peers[1])
	w.pass(1500 * time.Millisecond)
	w.check()
}

// Buckets that are long come in slices, what is asked for comes bit by bit, and what is
// told at one time is bounded.
func TestManyMembersAreToldInPieces(t *testing.T) {
	w := quietWorld(t, 2)
	long := strings.Repeat("n", 200)
	const n = 50_000
	v := w.peers[0].v
	for i := range n {
		v.join(&guard{}, place{"/r", fmt.Sprint(long, i%100)}, fmt.Sprint(long, i), false)
	}
	most := 0
	w.peers[1].v.step(w.now)
	for range 400 {
		v.step(w.now)
		for _, e := range v.out {
			if e.say == nil {
				continue
			}
			size := 0
			for _, s := range e.say.Names {
				size += len(s)
			}
			for _, p := range e.say.Parts {
				size += 6 * len(p.Entries)
			}
			most = max(most, size)
		}
		v.out = nil // and lost
		w.now = w.now.Add(50 * time.Millisecond)
	}
	if most > 4*softBytes {
		t.Errorf("%d bytes are said at one time, want %d at most", most, 4*softBytes)
	}
	w.pass(60 * time.Second)
	if got := w.peers[1].v.members; got != n || w.peers[1].v.nodes.Get("n0").Of.hash != v.sum() {
		t.Errorf("the other server knows %d members, want %d", got, n)
	}
	w.pass(20 * time.Second)
	if st := w.peers[0].v.answered; st > 4*buckets {
		t.Errorf("%d buckets were told, want each of %d about once", st, buckets)
	}
}

// Further members than there may be are not shown; when there is room again, those of
// other servers are.
func TestMembersAreBounded(t *testing.T) {
	w, at := quietWorld(t, 2), place{"/r", "x"}
	v := w.peers[0].v
	v.limits.members = 10
	for i := range 20 {
		w.join(w.peers[1], fmt.Sprint("u", i), at, false)
	}
	w.pass(time.Second)
	if v.members != 10 || v.refused == 0 {
		t.Fatalf("%d members, %d refused, want 10 and some", v.members, v.refused)
	}
	if v.join(&guard{}, at, "mine", false) {
		t.Error("a member is counted that is over the bound")
	}
	asked := v.asked
	w.pass(time.Minute)
	if v.asked > asked+1 {
		t.Errorf("what is refused is asked for %d times", v.asked-asked)
	}
	for s := range w.peers[1].sockets {
		if len(w.peers[1].sockets) > 5 {
			w.leave(w.peers[1], s, false)
		}
	}
	w.pass(time.Minute)
	w.check()
}

func TestServersAreBounded(t *testing.T) {
	v := newView("me", 1, true, testLimits)
	now := time.Unix(1, 0)
	for i := range maxNodes + 10 {
		if err := v.hear(fmt.Sprint("n", i), &message{Kind: here, Run: 1}, now); err != nil {
			t.Fatal(err)
		}
	}
	if v.nodes.Len() != maxNodes || v.nodes.Strangers != 10 {
		t.Errorf("%d servers are known, %d are not, want %d and 10", v.nodes.Len(), v.nodes.Strangers, maxNodes)
	}
	v.step(now.Add(DefaultLost))
	if v.nodes.Len() != 0 {
		t.Errorf("%d servers are known that are silent", v.nodes.Len())
	}
}

func TestWhatIsNoMessageChangesNothing(t *testing.T) {
	at := place{"/r", "x"}
	b := bucketOf(hashOf(at, "u"))
	names := []string{"/r", "x", "u"}
	entry := []int32{0, 1, 2, 1}
	good := message{Kind: changes, Run: 1, Names: names, Parts: []part{{Bucket: b, Version: 1, Entries: entry}}}
	edit := func(f func(m *message)) *message {
		m := good
		m.Names, m.Parts = append([]string{}, names...), []part{{Bucket: b, Version: 1, Entries: append([]int32{}, entry...)}}
		f(&m)
		return &m
	}
	v := newView("me", 1, true, testLimits)
	for what, m := range map[string]*message{
		"nothing":                  {},
		"a kind that there is not": edit(func(m *message) { m.Kind = "x" }),
		"a bucket too far":         edit(func(m *message) { m.Parts[0].Bucket = buckets }),
		"a negative bucket":        edit(func(m *message) { m.Parts[0].Bucket = -1 }),
		"the last version":         edit(func(m *message) { m.Parts[0].Version = math.MaxUint64 }),
		"half an entry":            edit(func(m *message) { m.Parts[0].Entries = m.Parts[0].Entries[:3] }),
		"a name too far":           edit(func(m *message) { m.Parts[0].Entries[2] = 3 }),
		"a negative name":          edit(func(m *message) { m.Parts[0].Entries[0] = -1 }),
		"negative connections":     edit(func(m *message) { m.Parts[0].Entries[3] = -2 }),
		"too many connections":     edit(func(m *message) { m.Parts[0].Entries[3] = math.MaxInt32 }),
		"a name too long":          edit(func(m *message) { m.Names[2] = strings.Repeat("u", maxName+1) }),
		"another bucket":           edit(func(m *message) { m.Names[2] = "u2" }),
		"a slice of changes":       edit(func(m *message) { m.Parts[0].Slices = 1 }),
		"a state without slices":   edit(func(m *message) { m.Kind = state }),
		"slices of no power":       edit(func(m *message) { m.Kind, m.Parts[0].Slices = state, 3 }),
		"too many slices":          edit(func(m *message) { m.Kind, m.Parts[0].Slices = state, 128 }),
		"a slice too far":          edit(func(m *message) { m.Kind, m.Parts[0].Slices, m.Parts[0].Slice = state, 1, 1 }),
		"who is gone in a state":   edit(func(m *message) { m.Kind, m.Parts[0].Slices, m.Parts[0].Entries[3] = state, 1, -1 }),
		"hashes that are short":    {Kind: ask, To: "me", Have: make([]byte, 8)},
		"no hashes":                {Kind: ask, To: "me"},
		"a negative linger":        {Kind: bye, Linger: -1},
		"a linger for ever":        {Kind: bye, Linger: math.MaxInt64},
	} {
		if err := v.hear("n", m, time.Unix(1, 0)); !errors.Is(err, errShape) {
			t.Errorf("%s: %v, want that it is no message", what, err)
		}
	}
	if len(v.rooms) != 0 || v.nodes.Len() != 0 {
		t.Errorf("%d rooms and %d servers are known by what is no message", len(v.rooms), v.nodes.Len())
	}
	if err := v.hear("n", &good, time.Unix(1, 0)); err != nil || v.find(at, "u") == nil {
		t.Errorf("what is one: %v", err)
	}
	if err := v.hear("me", &good, time.Unix(1, 0)); err != nil || v.nodes.Len() != 1 {
		t.Errorf("a server listens to itself: %v", err)
	}
}

// Whatever servers say, what is known is bounded and adds up.
func FuzzHear(f *testing.F) {
	v := newView("n", 1, true, testLimits)
	v.join(&guard{}, place{"/r", "x"}, "u", false)
	v.join(&guard{}, place{"/r", "y"}, "u", false)
	v.flush(time.Unix(1, 0))
	v.wanted[bucketOf(hashOf(place{"/r", "x"}, "u"))], v.wants = true, 1
	v.reply(time.Unix(1, 0))
	v.say(&message{Kind: here, Hello: true, Sum: 5})
	v.say((&node{buckets: make([]theirBucket, buckets)}).question("me"))
	v.say(&message{Kind: bye, Linger: 5})
	for _, e := range v.out {
		if e.say != nil {
			body, _ := json.Marshal(e.say)
			f.Add(body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, now := newView("me", 1, true, limits{members: 5, heartbeat: DefaultHeartbeat, lost: DefaultLost}), time.Unix(1, 0)
		v.join(&guard{}, place{"/r", "x"}, "u", false)
		for i := range 3 {
			var m message
			if json.Unmarshal(body, &m) != nil {
				return
			}
			m.Run += int64(i / 2)
			_ = v.hear("n", &m, now)
			v.step(now)
			now = now.Add(time.Second)
		}
		n := 0
		for at, r := range v.rooms {
			n += r.size()
			r.each(func(m *member) {
				if m.conns < 0 || m.nodes == 0 || v.find(at, m.user) != m {
					t.Errorf("a member of %v: %+v", at, m)
				}
			})
		}
		if n != v.members || n > 5 || n < 1 {
			t.Errorf("%d members, %d counted", n, v.members)
		}
		v.step(now.Add(time.Hour))
		v.step(now.Add(2 * time.Hour))
		if v.members != 1 {
			t.Errorf("%d members when the other server has long gone, want 1", v.members)
		}
	})
}

// A server that ends listens to nobody and says nothing more.
func TestWhoHasEndedIsSilent(t *testing.T) {
	v := newView("me", 1, true, testLimits)
	now := time.Unix(1, 0)
	v.step(now)
	v.end(now, time.Second)
	v.out = nil
	v.end(now, time.Second)
	_ = v.hear("n", &message{Kind: here, Run: 1, Hello: true, Sum: 5}, now)
	v.step(now.Add(time.Hour))
	if len(v.out) != 0 {
		t.Errorf("it says %+v", v.out[0].say)
	}
}
