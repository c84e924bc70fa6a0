package presence

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A world is servers with views, joined by a bus that loses, repeats and reorders, with
// sockets whose truth is known. All is of one seed.
type world struct {
	t     *testing.T
	r     *rand.Rand
	now   time.Time
	runs  int64
	peers []*peer
	wire  []letter
	loss  int // of a hundred
	next  int // number of a socket
}

type peer struct {
	name    string
	v       *view
	sockets map[*seat]bool
}

// A seat is a socket in a room, with what its client believes.
type seat struct {
	id, user string
	at       place
	listed   bool
	users    map[string]bool
	told     []string
}

type letter struct {
	from, to string
	body     []byte
	at       time.Time
}

const (
	debounce = 2 * time.Second
	window   = 30 * time.Second
)

var testLimits = limits{members: 1 << 20, heartbeat: DefaultHeartbeat, lost: DefaultLost}

func newWorld(t *testing.T, seed uint64, servers int) *world {
	w := &world{t: t, r: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_700_000_000, 0)}
	for i := range servers {
		w.peers = append(w.peers, &peer{name: fmt.Sprint("n", i)})
		w.start(w.peers[i])
	}
	return w
}

// start begins a server, which has nobody.
func (w *world) start(p *peer) {
	w.runs++
	p.v = newView(p.name, w.runs, true, testLimits)
	p.sockets = map[*seat]bool{}
}

// settle runs a server's view and takes what comes of it.
func (w *world) settle(p *peer) {
	p.v.step(w.now)
	out := p.v.out
	p.v.out = nil
	for _, e := range out {
		switch {
		case e.call != nil:
			e.call()
		case e.say != nil:
			body, err := json.Marshal(e.say)
			if err != nil {
				w.t.Fatal(err)
			}
			for _, o := range w.peers {
				if o != p && w.r.IntN(100) >= w.loss {
					for range 1 + w.r.IntN(20)/19 {
						w.wire = append(w.wire, letter{p.name, o.name, body, w.now.Add(time.Duration(w.r.IntN(300)) * time.Millisecond)})
					}
				}
			}
		default:
			for s := range p.sockets {
				if s.at == e.at {
					w.told(s, e)
				}
			}
		}
	}
}

func (w *world) told(s *seat, e effect) {
	s.told = append(s.told, fmt.Sprint(e.user, " ", e.joined))
	if s.listed && s.users[e.user] == e.joined {
		w.t.Fatalf("a member of %v is told of %s: joined %v, which it knew: %q", e.at, e.user, e.joined, s.told)
	}
	if s.users[e.user] = true; !e.joined {
		delete(s.users, e.user)
	}
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(50 * time.Millisecond)
		var rest, due []letter
		for _, l := range w.wire {
			if l.at.After(w.now) {
				rest = append(rest, l)
			} else {
				due = append(due, l)
			}
		}
		w.wire = rest
		w.r.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
		for _, l := range due {
			if p := w.peer(l.to); p != nil && p.v != nil {
				var m message
				if err := json.Unmarshal(l.body, &m); err != nil {
					w.t.Fatal(err)
				}
				if err := p.v.hear(l.from, &m, w.now); err != nil {
					w.t.Fatalf("%v in %s", err, l.body)
				}
				w.settle(p)
			}
		}
		for _, p := range w.peers {
			if p.v != nil {
				w.settle(p)
			}
		}
	}
}

func (w *world) peer(name string) *peer {
	for _, p := range w.peers {
		if p.name == name {
			return p
		}
	}
	return nil
}

func (w *world) alive() (all []*peer) {
	for _, p := range w.peers {
		if p.v != nil {
			all = append(all, p)
		}
	}
	return all
}

func (w *world) join(p *peer, user string, at place, recovered bool) *seat {
	w.next++
	s := &seat{id: fmt.Sprint("s", w.next), user: user, at: at, users: map[string]bool{}}
	p.sockets[s] = true
	if !p.v.join(&guard{}, at, user, recovered) {
		w.t.Fatal("a member is refused")
	}
	// The list has its place in the queue, at once or later.
	list := func() {
		all, n := p.v.list(at, 1<<20)
		if n != len(all) {
			w.t.Fatalf("a list of %d has %d", n, len(all))
		}
		p.v.out = append(p.v.out, effect{call: func() {
			clear(s.users)
			for _, m := range all {
				s.users[m.User] = true
			}
			s.listed = true
		}})
	}
	if w.r.IntN(2) == 0 {
		list()
	} else {
		w.settle(p)
		list()
	}
	w.settle(p)
	return s
}

func (w *world) leave(p *peer, s *seat, recoverable bool) {
	delete(p.sockets, s)
	d := debounce
	if recoverable {
		d = window
	}
	p.v.leave(s.at, s.user, d, recoverable, w.now)
	w.settle(p)
}

// act does something.
func (w *world) act() {
	alive := w.alive()
	if len(alive) == 0 {
		w.start(w.peers[w.r.IntN(len(w.peers))])
		return
	}
	p := alive[w.r.IntN(len(alive))]
	at := place{"/r", fmt.Sprint("room ", w.r.IntN(3))}
	var s *seat
	for x := range p.sockets {
		if s == nil || x.id < s.id { // of one seed, whatever the map's order
			s = x
		}
	}
	switch n := w.r.IntN(100); {
	case n < 45:
		w.join(p, fmt.Sprint("u", w.r.IntN(8)), at, false)
	case n < 75 && s != nil:
		w.leave(p, s, false)
	case n < 85 && s != nil: // a flap, or a recovery
		recoverable := w.r.IntN(2) == 0
		w.leave(p, s, recoverable)
		w.pass(time.Duration(w.r.IntN(1500)) * time.Millisecond)
		w.join(p, s.user, s.at, recoverable)
	case n < 90 && s != nil: // to another server
		w.leave(p, s, false)
		w.join(alive[w.r.IntN(len(alive))], s.user, s.at, false)
	case n < 91: // another process takes its place
		w.succeed(p)
	case n < 92: // a crash
		p.v = nil
	case n < 94: // an end
		p.v.end(w.now, debounce)
		w.settle(p)
		p.v = nil
	case n < 98:
		for _, x := range w.peers {
			if x.v == nil {
				w.start(x)
			}
		}
	default:
		w.pass(time.Duration(w.r.IntN(25)) * time.Second)
	}
}

// truth is who is in the rooms: by place and user, connections and servers.
func (w *world) truth() map[place]map[string]Member {
	all := map[place]map[string]Member{}
	for _, p := range w.alive() {
		on := map[[3]string]bool{}
		for s := range p.sockets {
			if all[s.at] == nil {
				all[s.at] = map[string]Member{}
			}
			m := all[s.at][s.user]
			m.User = s.user
			m.Count++
			if k := [3]string{s.at.instance, s.at.room, s.user}; !on[k] {
				on[k] = true
				m.Nodes++
			}
			all[s.at][s.user] = m
		}
	}
	return all
}

// check compares each view, and what each client believes, with the truth.
func (w *world) check() {
	want := w.truth()
	for _, p := range w.alive() {
		got := map[place]map[string]Member{}
		for at := range p.v.rooms {
			all, _ := p.v.list(at, 1<<20)
			got[at] = map[string]Member{}
			for _, m := range all {
				got[at][m.User] = m
			}
		}
		if !maps.EqualFunc(got, want, maps.Equal[map[string]Member]) {
			w.t.Fatalf("server %s shows\n%v, want\n%v", p.name, got, want)
		}
		if n := p.v.members; n != count(want) || len(p.v.waiting) > 0 || p.v.strays > 0 {
			w.t.Fatalf("%d members are counted, %d wait, %d strays, want %d", n, len(p.v.waiting), p.v.strays, count(want))
		}
		for s := range p.sockets {
			users := slices.Sorted(maps.Keys(want[s.at]))
			if believes := slices.Sorted(maps.Keys(s.users)); !slices.Equal(believes, users) {
				w.t.Fatalf("a member of %v on %s believes in %q, want %q: it was told %q", s.at, p.name, believes, users, s.told)
			}
		}
	}
}

func count(all map[place]map[string]Member) (n int) {
	for _, x := range all {
		n += len(x)
	}
	return n
}

// Whatever is lost, repeated, reordered, cut off or crashes: when the servers hear each
// other again all of them show who is there, and each client has been told so, of each
// user in turns.
func TestViewsConverge(t *testing.T) {
	seeds := uint64(300)
	if testing.Short() {
		seeds = 30
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			w := newWorld(t, seed, 3)
			for range 3 {
				w.loss = w.r.IntN(3) * 20
				for range 40 {
					w.act()
					w.pass(time.Duration(w.r.IntN(200)) * time.Millisecond)
				}
				w.loss = 0
				w.pass(window + 3*DefaultLost)
				w.check()
			}
		})
	}
}
