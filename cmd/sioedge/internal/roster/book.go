package roster

import (
	"container/heap"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/alive"
)

// A book is what a server knows of the sockets that backends were told of: of its own,
// and of those of servers that have it keep theirs. It has no clock and sends nothing by
// itself: what there is to do waits in out. Whoever has it locks it.
type book struct {
	// Immutable.
	self string
	run  int64 // when this server began, by which it is told from one of its name before
	o    rules

	own     *ledger
	places  map[placeKey]*place
	waiting waiters
	queues  map[string]*queue // by backend
	out     []effect
	closing bool // what leaves now is told soon, or by another server
	ended   bool
	handed  bool  // another process tells of all, but of what leaves here from now on
	roomy   int64 // bytes of rooms that are kept

	claims  map[*entry]*claim   // of own: those that are claiming
	claimed map[*entry]*claimed // that another server has a claim to
	telling map[*entry]*telling // what is being told

	peers     alive.Set[peer]
	copies    map[string]*ledger // of servers that are there, by name
	lost      map[life]*ledger   // of those that are not
	returning map[string]*ledger // of those that are after all
	stream
	counts
}

// rules are those of Options, with their defaults.
type rules struct {
	cluster, elsewhere bool
	recovery           time.Duration
	heartbeat, lost    time.Duration
	entries            int
	keepFor            time.Duration
	rate               func(backend string) int
}

// A life is a server from its start to its end.
type life struct {
	node string
	run  int64
}

// counts are what is counted for Stats.
type counts struct {
	connected, disconnected, silent, recovered, again                    int64
	refused, unkept, strays, dropped, retried, roomless, nobody          int64
	nodesLost, nodesBack, resyncs, rowsSaid, rowsHeard, claimsLost, told int64
}

// An effect is something that the book wants done.
type effect struct {
	say   *message // to the other servers
	tell  *telling // to a backend
	news  *news    // to all backends
	loses string   // a backend that is not told of a disconnect, for want of room
}

// A telling is what a backend is told of a socket.
type telling struct {
	e         *entry // nil: nobody wants to know whether it was taken
	word      word
	gen       uint32
	place     *place
	sid, user string
	lane      uint64
	born, at  int64
	parting   parting // of goodbye
	recovered bool    // of hello
}

// news is of a server.
type news struct {
	node  string
	state string // lost, back, came, left
	id    string // by which a double is known
}

const (
	// grace is how long a server waits beyond what is enough, for what others may
	// have said meanwhile.
	grace = 2 * time.Second
	// retryMost is the longest pause between tries to tell a backend.
	retryMost  = 5 * time.Minute
	retryFirst = 5 * time.Second
	maxRoomy   = 64 << 20
)

func newBook(self string, run int64, o rules) *book {
	return &book{
		self: self, run: run, o: o, own: newLedger(self, run), places: map[placeKey]*place{}, queues: map[string]*queue{}, telling: map[*entry]*telling{},
		claims: map[*entry]*claim{}, claimed: map[*entry]*claimed{}, stream: stream{takings: map[*entry]*taking{}, met: true},
		copies: map[string]*ledger{}, lost: map[life]*ledger{}, returning: map[string]*ledger{},
	}
}

// An arrival is a socket that has come.
type arrival struct {
	sid, user string
	at        placeKey
	names     []string
	lane      uint64
	recovered bool
	tell      bool // the backend wants to be told
	keep      bool // it wants to be told when the socket has gone
}

// came notes a socket of this server, and has its backend told.
func (b *book) came(a *arrival, now time.Time) {
	e := b.own.entries[a.sid]
	switch {
	case e != nil:
		b.cameBack(e, a)
		return
	case !a.keep:
		if a.tell && !a.recovered {
			b.greetStranger(a, now)
		}
		return
	case len(b.own.entries) >= b.o.entries:
		b.refused++
		b.out = append(b.out, effect{loses: a.at.backend})
		if a.tell {
			b.greetStranger(a, now)
		}
		return
	}
	e = &entry{sid: a.sid, user: a.user, place: b.at(a.at, a.names), home: b.own, born: now.UnixMilli(), lane: a.lane, index: -1, sockets: 1}
	b.own.entries[a.sid] = e
	switch {
	case a.recovered && b.o.cluster && b.o.elsewhere:
		e.flags |= claiming
		b.claims[e] = &claim{since: now}
	case a.recovered: // its disconnect was told, or it was none of those that are kept
		e.gen = uint32(now.Unix())
		b.again++
		b.greet(e, true, now)
	case a.tell:
		b.greet(e, false, now)
	}
	b.touch(e)
}

// cameBack notes a socket that was here before, or is still: its client has another
// connection.
func (b *book) cameBack(e *entry, a *arrival) {
	e.sockets++
	e.lane, e.user = a.lane, a.user
	b.depart(e, nil)
	b.unschedule(e)
	if e.state != present && !e.is(told) {
		b.recovered++
	}
	e.state = present
	if c := b.claimed[e]; c != nil && c.yielded { // the other server may have it already
		e.flags |= claiming | known
		b.claims[e] = &claim{}
	}
	delete(b.claimed, e)
	if e.is(moved) && !e.is(claiming) {
		e.hop += 2 // the other server may have had it, with one
		b.takings[e] = &taking{}
	}
	b.touch(e)
	b.settle(e)
}

// left notes that a socket of this server has gone. Its client may come back to one that
// is recoverable.
func (b *book) left(sid string, p parting, lane uint64, now time.Time) {
	e := b.own.entries[sid]
	if e == nil {
		b.strays++
		return
	}
	if e.sockets > 0 {
		e.sockets--
	}
	if e.sockets > 0 {
		return // another one has taken over
	}
	e.lane = lane
	if b.roomy+int64(len(p.rooms)) > maxRoomy {
		p.rooms = nil
		b.roomless++
	}
	b.depart(e, &p)
	if p.recoverable && b.o.recovery > 0 && (!b.closing || b.handsOver()) {
		b.schedule(e, now.Add(b.o.recovery+grace).UnixMilli())
	} else {
		e.state = ready
	}
	b.touch(e)
	b.settle(e)
}

// depart sets how an entry left.
func (b *book) depart(e *entry, p *parting) {
	if e.parting != nil {
		b.roomy -= int64(len(e.parting.rooms))
	}
	if e.parting = p; p != nil {
		b.roomy += int64(len(p.rooms))
	}
}

// settle does what can be done about an entry that has changed.
func (b *book) settle(e *entry) {
	switch c := b.claimed[e]; {
	case e.is(removed) || e.word != nothing || e.is(claiming):
	case c != nil && e.sockets == 0:
		b.yield(e, c)
	case e.home != b.own && (e.is(told) || !e.home.active):
	case e.is(told|tried) && e.state == present:
		e.gen++
		e.flags &^= told | tried
		b.again++
		b.greet(e, true, time.Time{})
		b.touch(e)
	case e.state != ready:
	case e.is(told):
		b.silent++
		b.remove(e)
	default:
		b.queue(e.place.backend).push(e)
	}
}

// expire has what has waited for long enough be told.
func (b *book) expire(now time.Time) {
	at := now.UnixMilli()
	for len(b.waiting) > 0 && b.waiting[0].due <= at {
		e := heap.Pop(&b.waiting).(*entry)
		e.state = ready
		b.settle(e)
	}
}

// remove forgets an entry of this server; of those who keep it, too.
func (b *book) remove(e *entry) {
	b.unschedule(e)
	b.depart(e, nil)
	delete(b.claimed, e)
	delete(b.claims, e)
	if b.takings[e] != nil && e.is(told) {
		b.confirm(e.sid, e.next(), e.hop)
	}
	delete(b.takings, e)
	delete(e.home.entries, e.sid)
	b.unplace(e)
	e.flags |= removed
	if e.home == b.own {
		b.touch(e)
		if len(b.own.entries) == 0 {
			b.own.entries = map[string]*entry{} // maps do not shrink
		}
	} else if !e.is(told) && !e.home.since.IsZero() {
		e.home.open--
	}
}

// delivered says what has become of a telling: the backend has taken it, or was not told
// and never will be by that way.
func (b *book) delivered(t *telling, taken bool, now time.Time) {
	e := t.e
	if e == nil {
		return
	}
	e.word = nothing
	delete(b.telling, e)
	if t.word == goodbye {
		q := b.queue(t.place.backend)
		q.away--
		switch {
		case taken:
			b.disconnected++
		case !e.is(removed) && (e.state == ready || b.rests(e)):
			b.retry(e, now)
		}
		if taken && !e.is(removed) && e.gen == t.gen {
			e.set(told, true)
			if e.home != b.own {
				e.home.open--
			}
		}
	}
	b.settle(e)
}

// rests tells whether an entry of a lost server is to be told by this one, and waits for
// nothing: another one was to tell it for a while.
func (b *book) rests(e *entry) bool {
	return e.home != b.own && e.home.active && e.state == away && e.index < 0 && b.claimed[e] == nil
}

// retry has a disconnect that was lost be told later: it is in the ledger still.
func (b *book) retry(e *entry, now time.Time) {
	if e.home != b.own && !e.home.active {
		e.state = away // the server that speaks for it now does
		return
	}
	p := e.parting
	if now.Sub(time.UnixMilli(p.left)) > b.o.keepFor {
		b.dropped++
		b.remove(e)
		return
	}
	pause := retryMost
	if p.tries < 7 {
		pause = min(retryFirst<<p.tries, retryMost)
		p.tries++
	}
	b.retried++
	b.schedule(e, now.Add(pause).UnixMilli())
}

// drop forgets an entry whose backend is not there any more, or does not want to know.
func (b *book) drop(t *telling) {
	e := t.e
	if e == nil {
		return
	}
	b.nobody++
	e.word = nothing
	delete(b.telling, e)
	if t.word == goodbye {
		b.queue(t.place.backend).away--
	}
	switch {
	case e.is(removed):
	case t.word != goodbye:
		b.settle(e)
	default:
		b.remove(e)
	}
}

// step does what is due, and returns when something will be next.
func (b *book) step(now time.Time) (next time.Time) {
	b.expire(now)
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if b.o.cluster && !b.ended {
		b.watch(now)
		b.reconcile(now, sooner)
		b.speak(now, sooner)
	}
	for name, q := range b.queues {
		sooner(b.pump(name, q, now))
	}
	if len(b.waiting) > 0 {
		sooner(time.UnixMilli(b.waiting[0].due))
	}
	return next
}
