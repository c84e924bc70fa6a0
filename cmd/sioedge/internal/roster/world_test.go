package roster

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A world is servers with books, joined by a bus that loses, repeats and reorders, with
// clients whose truth is known, and a backend that fails now and then. All is of one
// seed.
type world struct {
	t       *testing.T
	r       *rand.Rand
	now     time.Time
	runs    int64
	servers []*server
	wire    []letter
	later   []later
	loss    int // of a hundred
	failing int // of a hundred
	clients map[string]*client
	order   []*client
	log     []string
	faults  int
	news    map[string]int
	crashed time.Time // the last one
	ended   map[*book]time.Time
	heirs   map[*book]*book // of processes that have taken over
}

type server struct {
	name string
	b    *book // nil: it is down
	cut  bool
	deaf bool // of cut: it does not know
	load int
}

// A client is one that keeps its socket, or has lost it.
type client struct {
	sid      string
	on       *server // nil: it has no connection
	since    *book   // of on
	until    time.Time
	gone     bool
	excused  bool // a server that it was on was cut off
	unknown  bool // all servers that knew of it have crashed
	saved    bool
	moves    int
	confused bool     // a server may have said that it is gone, and ended
	missed   bool     // the backend was not told that it is there
	heard    []saying // by the backend, each id once
	ids      map[string]bool
}

// A saying is what the backend was told.
type saying struct {
	word word
	gen  uint32
	at   time.Time
	text string
}

type letter struct {
	from, to string
	body     []byte
	at       time.Time
}

type later struct {
	at time.Time
	do func()
}

// What goes wrong in a world.
const (
	crashes  = 1 << iota // of servers
	stops                // servers end as they should
	cuts                 // servers are cut off
	losses               // of messages
	failures             // of the backend
)

const window = 30 * time.Second

func testRules() rules {
	return rules{cluster: true, elsewhere: true, recovery: window, heartbeat: 5 * time.Second, lost: 20 * time.Second, entries: 1 << 20,
		keepFor: time.Hour, rate: func(string) int { return 50 }}
}

func newWorld(t *testing.T, seed uint64, servers int) *world {
	w := &world{t: t, r: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_700_000_000, 0), clients: map[string]*client{}, news: map[string]int{}, ended: map[*book]time.Time{}, heirs: map[*book]*book{}}
	for i := range servers {
		w.servers = append(w.servers, &server{name: fmt.Sprint("n", i)})
		w.start(w.servers[i])
	}
	return w
}

func (w *world) start(s *server) {
	w.runs++
	s.b, s.cut, s.deaf = newBook(s.name, w.runs, testRules()), false, false
	w.note("%s starts", s.name)
}

func (w *world) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%6.2fs ", w.now.Sub(time.Unix(1_700_000_000, 0)).Seconds())+fmt.Sprintf(format, args...))
}

func (w *world) fail(c *client, format string, args ...any) {
	w.t.Helper()
	var about []string
	for _, l := range w.log {
		if c == nil || strings.Contains(l, c.sid+" ") || !someSocket.MatchString(l) {
			about = append(about, l)
		}
	}
	w.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(about, "\n"))
}

var dbg = os.Getenv("DBG")

var someSocket = regexp.MustCompile(` s\d+ `)

// settle runs a server's book and takes what comes of it.
func (w *world) settle(s *server) {
	for s.b != nil {
		s.b.step(w.now)
		out := s.b.out
		s.b.out = nil
		if len(out) == 0 {
			return
		}
		for _, e := range out {
			switch {
			case e.say != nil:
				w.send(s, e.say)
			case e.tell != nil:
				w.tell(s, e.tell)
			case e.news != nil:
				w.note("%s says of %s: %s", s.name, e.news.node, e.news.state)
				w.news[e.news.state]++
				for _, o := range w.alive() {
					if e.news.state == "lost" && o.name == e.news.node && e.news.id == nodeID("lost", o.name, o.b.run, o.b.stint) {
						w.doubt(o) // it was not heard, since so much is lost
					}
				}
			}
		}
	}
}

// doubt excuses what is told of the clients of a server that others cannot hear.
func (w *world) doubt(s *server) {
	for _, c := range w.order {
		c.excused = c.excused || c.on == s || s.b.own.entries[c.sid] != nil
	}
}

func (w *world) send(s *server, m *message) {
	body, err := json.Marshal(m)
	if err != nil {
		w.t.Fatal(err)
	}
	if dbg != "" && strings.Contains(string(body), dbg) {
		w.note("%s says %s", s.name, body)
	}
	for _, o := range w.servers {
		if o == s || s.cut || o.cut || w.r.IntN(100) < w.loss {
			continue
		}
		for range 1 + w.r.IntN(20)/19 {
			w.wire = append(w.wire, letter{s.name, o.name, body, w.now.Add(time.Duration(w.r.IntN(300)) * time.Millisecond)})
		}
	}
}

// tell is what the backend is told.
func (w *world) tell(s *server, t *telling) {
	c, b := w.clients[t.sid], s.b
	w.note("%s tells of %s : word %d, generation %d, %s, of %s", s.name, c.sid, t.word, t.gen, t.parting.reason, t.e.home.node)
	if t.word == goodbye && !w.isGone(c) && !c.excused {
		w.fail(c, "the backend is told by %s that %s has gone, which has not", s.name, c.sid)
	}
	fails := w.r.IntN(100) < w.failing
	took := !fails || w.r.IntN(3) == 0
	d := time.Duration(w.r.IntN(400)) * time.Millisecond
	if fails {
		d += time.Duration(w.r.IntN(8)) * time.Second
	}
	if s.load++; s.load > 1<<20 {
		w.t.Fatal("a server tells for ever")
	}
	w.after(d, func() {
		if s.b != b && (w.r.IntN(2) == 0 || w.now.Sub(w.ended[b]) > time.Second) {
			return // it has ended meanwhile
		}
		if t.word == hello {
			c.missed = !took
		}
		if took {
			w.hear(c, t)
		}
		if s.b == b {
			b.delivered(t, !fails, w.now)
			w.settle(s)
		}
	})
}

// hear is what the backend notes.
func (w *world) hear(c *client, t *telling) {
	id := fmt.Sprint(t.word, t.gen)
	if c.ids[id] {
		return // a double
	}
	c.ids[id] = true
	if n := len(c.heard); n > 0 {
		last := c.heard[n-1]
		if ok := t.gen > last.gen || t.gen == last.gen && t.word > last.word; !ok && !(c.excused && c.moves > 0) { // servers that could not hear each other told both
			w.fail(c, "the backend hears word %d of generation %d of %s behind word %d of generation %d", t.word, t.gen, c.sid, last.word, last.gen)
		}
	}
	w.note("backend hears of %s : word %d, generation %d", c.sid, t.word, t.gen)
	c.heard = append(c.heard, saying{t.word, t.gen, w.now, t.parting.reason})
}

func (w *world) after(d time.Duration, f func()) { w.later = append(w.later, later{w.now.Add(d), f}) }

// isGone tells whether a client cannot come back to its socket.
func (w *world) isGone(c *client) bool {
	return c.gone || c.on == nil && !c.until.After(w.now)
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(50 * time.Millisecond)
		var due []later
		w.later = slices.DeleteFunc(w.later, func(l later) bool {
			if l.at.After(w.now) {
				return false
			}
			due = append(due, l)
			return true
		})
		for _, l := range due {
			l.do()
		}
		var rest, come []letter
		for _, l := range w.wire {
			if l.at.After(w.now) {
				rest = append(rest, l)
			} else {
				come = append(come, l)
			}
		}
		w.wire = rest
		if w.loss > 0 {
			w.r.Shuffle(len(come), func(i, j int) { come[i], come[j] = come[j], come[i] })
		}
		for _, l := range come {
			i := slices.IndexFunc(w.servers, func(s *server) bool { return s.name == l.to })
			if s := w.servers[i]; s.b != nil {
				var m message
				if err := json.Unmarshal(l.body, &m); err != nil {
					w.t.Fatal(err)
				}
				if err := s.b.hear(l.from, &m, w.now); err != nil {
					w.t.Fatalf("%v in %s", err, l.body)
				}
				w.settle(s)
			}
		}
		for _, s := range w.servers {
			if s.b != nil {
				if s.cut && !s.deaf {
					s.b.isolated(w.now)
				}
				w.settle(s)
			}
		}
	}
}

func (w *world) alive() (all []*server) {
	for _, s := range w.servers {
		if s.b != nil {
			all = append(all, s)
		}
	}
	return all
}

func (w *world) come(s *server, c *client, recovered bool) {
	if recovered && c.since != s.b {
		c.moves++
	}
	c.on, c.since = s, s.b
	w.note("%s comes to %s, recovered %v", c.sid, s.name, recovered)
	if s.cut {
		c.excused = true
	}
	s.b.came(&arrival{sid: c.sid, user: "u", at: placeKey{backend: "default", route: "/r/:id", namespace: "/r/1", params: paramsKey([]string{"id", "1"})},
		names: []string{"id", "1"}, recovered: recovered, tell: true, keep: true}, w.now)
	w.settle(s)
}

// leave has a client lose its connection. The server knows it a bit later.
func (w *world) leave(c *client, recoverable bool) {
	s, b := c.on, c.since
	c.on = nil
	c.saved = recoverable && !s.cut
	c.until = w.now
	if recoverable && (!s.cut || w.r.IntN(2) == 0) {
		c.until = w.now.Add(window)
	}
	if !recoverable {
		c.gone = true
	}
	w.note("%s leaves %s, recoverable %v", c.sid, s.name, recoverable)
	w.after(time.Duration(w.r.IntN(120))*time.Millisecond, func() {
		for w.heirs[b] != nil {
			b = w.heirs[b]
		}
		if s.b == b {
			b.left(c.sid, parting{reason: "transport close", left: w.now.UnixMilli(), recoverable: recoverable}, 0, w.now)
			w.settle(s)
		}
	})
}

// crash ends a server, and all that its clients had there.
func (w *world) crash(s *server) {
	w.note("%s crashes", s.name)
	w.confuse(s)
	b := s.b
	s.b, w.ended[b], w.crashed = nil, w.now, w.now
	for _, c := range w.order {
		if c.on == s {
			c.on, c.gone = nil, true
		}
		c.unknown = c.unknown || !w.isKnown(c)
		c.excused = c.excused || w.loss > 0 && c.moves > 0 // what was said about that may be lost, too
		if e := b.own.entries[c.sid]; e != nil && c.on == nil && !c.gone {
			c.excused = c.excused || !w.isAway(c, s.name) // who keeps it thinks that it was there
		}
	}
	w.forgotten()
}

// confuse notes the sockets that a server which ends may have said to have gone, and that
// are there: their server cannot hear of it.
func (w *world) confuse(s *server) {
	all := slices.Collect(maps.Values(s.b.lost))
	for _, l := range slices.AppendSeq(all, maps.Values(s.b.returning)) {
		for sid := range l.entries {
			w.clients[sid].confused = true
		}
	}
}

// isAway tells whether all who keep the ledger of a server know that a client has left it.
func (w *world) isAway(c *client, name string) bool {
	for _, s := range w.alive() {
		if l := s.b.copies[name]; l != nil && (l.entries[c.sid] == nil || l.entries[c.sid].parting == nil) {
			return false
		}
	}
	return true
}

// forgotten excuses what is told of those that are away, and of which no server that lives
// knows how they left.
func (w *world) forgotten() {
	for _, c := range w.order {
		c.excused = c.excused || c.on == nil && !w.isGone(c) && !w.isLeft(c)
	}
}

// isLeft tells whether servers know that a client has left, and may come back, and none
// thinks that it is there.
func (w *world) isLeft(c *client) (left bool) {
	for e := range w.known(c) {
		if e.parting == nil {
			return false
		}
		left = true
	}
	return left
}

// known yields what servers know of a client, at this moment.
func (w *world) known(c *client) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for _, s := range w.alive() {
			all := []*ledger{s.b.own}
			all = slices.AppendSeq(all, maps.Values(s.b.copies))
			all = slices.AppendSeq(all, maps.Values(s.b.lost))
			all = slices.AppendSeq(all, maps.Values(s.b.returning))
			for _, l := range all {
				if e := l.entries[c.sid]; e != nil && !yield(e) {
					return
				}
			}
		}
	}
}

// thinks tells whether a server knows something of a client.
func (w *world) thinks(s *server, c *client) bool {
	for e := range w.known(c) {
		if l := e.home; s.b.own == l || s.b.copies[l.node] == l || s.b.lost[life{l.node, l.run}] == l || s.b.returning[l.node] == l {
			return true
		}
	}
	return false
}

// isAlone tells whether no other server can hear one.
func (w *world) isAlone(s *server) bool {
	return s.cut || !slices.ContainsFunc(w.alive(), func(o *server) bool { return o != s && !o.cut })
}

// isKnown tells whether a server knows of a client what the backend does.
func (w *world) isKnown(c *client) bool {
	gen := uint32(0)
	if n := len(c.heard); n > 0 {
		gen = c.heard[n-1].gen
	}
	for e := range w.known(c) {
		if e.gen >= gen && !e.is(claiming) && e.home.done.IsZero() {
			return true
		}
	}
	return false
}

// stop ends a server as it should end.
func (w *world) stop(s *server) {
	w.note("%s stops", s.name)
	for _, c := range w.order {
		if c.on == s {
			w.leave(c, true)
		}
	}
	if !s.b.handsOver() || w.isAlone(s) {
		for _, c := range w.order {
			c.excused = c.excused || s.b.own.entries[c.sid] != nil // there is nobody who can wait
			for _, l := range s.b.lost {
				c.excused = c.excused || l.entries[c.sid] != nil
			}
		}
	}
	alone := w.isAlone(s)
	w.confuse(s)
	s.b.shut(w.now)
	w.settle(s)
	for i := 0; i < 100; i++ {
		if n, _ := s.b.untold(); n == 0 {
			break
		}
		w.pass(100 * time.Millisecond)
	}
	w.pass(time.Duration(w.r.IntN(1000)+150) * time.Millisecond)
	for i := 0; i < 100 && !s.b.kept() && len(s.b.stream.keepers) > 0; i++ {
		w.pass(100 * time.Millisecond)
	}
	if s.b != nil {
		alone = alone || w.isAlone(s)
		dropped, sum := s.b.abandoned(), 0
		for key, l := range s.b.lost {
			for sid, e := range l.entries {
				if l.done.IsZero() && !s.b.heldElsewhere(key) && !e.is(told) {
					sum++
					w.clients[sid].unknown = true // as is counted
				}
			}
		}
		if dropped != sum {
			w.fail(nil, "%s counts %d that are told by nobody, want %d", s.name, dropped, sum)
		}
		s.b.end()
		w.settle(s)
		s.b, w.ended[s.b] = nil, w.now
		if w.loss > 0 {
			w.crashed = w.now // its good-bye may be lost, and others rely on it
		}
	}
	w.forgotten()
	for _, c := range w.order {
		c.unknown = c.unknown || (alone || w.now.Sub(w.crashed) < 25*time.Second) && !w.isKnown(c)
	}
	w.note("%s has stopped", s.name)
}

func (w *world) pick(f func(c *client) bool) *client {
	var all []*client
	for _, c := range w.order {
		if f(c) {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[w.r.IntN(len(all))]
}

// act does something.
func (w *world) act() {
	alive := w.alive()
	if len(alive) == 0 {
		w.start(w.servers[w.r.IntN(len(w.servers))])
		return
	}
	s := alive[w.r.IntN(len(alive))]
	connected := w.pick(func(c *client) bool { return c.on != nil })
	lost := w.pick(func(c *client) bool { return c.on == nil && !w.isGone(c) && c.saved })
	switch n := w.r.IntN(100); {
	case n < 35:
		c := &client{sid: fmt.Sprint("s", len(w.order)), ids: map[string]bool{}}
		w.clients[c.sid] = c
		w.order = append(w.order, c)
		w.come(s, c, false)
	case n < 50 && connected != nil:
		w.leave(connected, false)
	case n < 65 && connected != nil:
		w.leave(connected, true)
	case n < 84 && lost != nil && !s.cut:
		w.come(s, lost, true)
	case n < 85:
		w.succeed(s)
	case n < 88 && w.faults&crashes != 0:
		w.crash(s)
	case n < 90 && w.faults&stops != 0:
		w.stop(s)
	case n < 92 && w.faults&cuts != 0:
		s.cut, s.deaf = true, w.r.IntN(2) == 0
		w.note("%s is cut off, deaf %v", s.name, s.deaf)
		for _, c := range w.order {
			c.excused = c.excused || c.on == s || s.deaf || c.on == nil && !w.isGone(c) ||
				w.thinks(s, c) // and its client has gone elsewhere, which it may not know
		}
	case n < 96 && w.faults != 0:
		w.heal()
	default:
		w.pass(time.Duration(w.r.IntN(25)) * time.Second)
	}
}

func (w *world) heal() {
	for _, x := range w.servers {
		if x.cut {
			w.note("%s is joined", x.name)
		}
		if x.cut = false; x.b == nil {
			w.start(x)
		}
	}
}
