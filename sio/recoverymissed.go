package sio

import (
	"cmp"
	"slices"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/rooms"
)

// A gathering finds what a claimed socket has missed. It follows the chains of
// those that the socket is one of, in steps, between which others have the lock:
// what it costs is what was missed. The last step is made under the lock under
// which the socket is connected again.
type gathering struct {
	log  *packetLog
	ids  *eio.IDs
	s    *savedSocket
	from uint64
	most int64 // bytes that may be replayed

	begun    bool
	complete bool                 // all up to upto has been found
	version  int                  // of the socket's rooms
	rooms    []string             // that it is in
	in       map[string]bool      // the same
	changes  map[string][]change  // of that behind from, the newest first
	refs     map[rooms.Ref]string // rooms that it is or was in, by the Ref that a name is made of
	chains   []uint32             // buckets
	isChain  map[uint32]bool

	chain int    // that is followed; -1: that of changes, without which nobody knows who was meant
	place uint64 // where in that
	since uint64 // all up to there has been found
	upto  uint64 // what came later is looked at when all chains have been followed

	found    []found
	bytes    int64
	tooLarge bool
}

type found struct {
	place uint64
	msg   *message
}

const (
	gatherStep = 1024 // entries and names looked at in one piece
	gatherTail = 256  // entries that the last step looks at
)

func (l *packetLog) gather(ids *eio.IDs, s *savedSocket, from uint64, most int64) *gathering {
	return &gathering{log: l, ids: ids, s: s, from: from, most: most}
}

// begin begins, or begins again; mu is held.
func (g *gathering) begin() {
	*g = gathering{
		log: g.log, ids: g.ids, s: g.s, from: g.from, most: g.most, begun: true,
		version: g.s.version, since: g.from, upto: g.log.last(), chain: -1,
		rooms: g.s.rooms, in: make(map[string]bool, len(g.s.rooms)), changes: map[string][]change{},
	}
	g.place = g.log.index.newest[g.log.index.ofRef(g.s.home)]
	for _, room := range g.s.rooms {
		g.in[room] = true
	}
}

// step makes a step; mu is held. It is true when only the last one is left, or
// there is no use in going on.
func (g *gathering) step() (done bool) {
	l := g.log
	if !g.begun || g.version != g.s.version {
		g.begin()
	}
	for work := gatherStep; work > 0; work-- {
		if g.s.status != isClaimed || g.tooLarge || l.lacks(g.since) {
			return true
		}
		if g.place > g.since {
			e := l.at(g.place)
			if a := e.to; a != nil {
				work -= (len(a.rooms) + len(a.refs) + len(a.except) + len(a.exceptRefs)) / 4
			}
			g.look(e)
			g.place = e.before(g.bucket())
			continue
		}
		if g.nextChain() {
			continue
		}
		if l.last()-g.upto <= gatherTail {
			g.complete = true
			return true
		}
		// Once more, for what was emitted meanwhile.
		g.since, g.upto, g.chain = g.upto, l.last(), -1
		g.nextChain()
	}
	return false
}

// bucket returns the bucket of the chain that is followed.
func (g *gathering) bucket() uint32 {
	if g.chain < 0 {
		return g.log.index.ofRef(g.s.home)
	}
	return g.chains[g.chain]
}

// nextChain goes on to the next chain; it is false if that was the last.
func (g *gathering) nextChain() bool {
	if g.chains == nil {
		g.know()
	}
	if g.chain++; g.chain == len(g.chains) {
		return false
	}
	g.place = g.log.index.newest[g.bucket()]
	return true
}

// know makes the list of chains, when all changes are known.
func (g *gathering) know() {
	g.refs, g.isChain = map[rooms.Ref]string{}, map[uint32]bool{}
	x := &g.log.index
	add := func(b uint32) {
		if !g.isChain[b] {
			g.isChain[b] = true
			g.chains = append(g.chains, b)
		}
	}
	add(x.ofRef(g.s.home))
	add(x.ofAll(g.s.name))
	room := func(room string) {
		ref, ok := g.ids.Parse([]byte(room))
		if !ok {
			add(x.ofRoom(g.s.name, room))
			return
		}
		g.refs[rooms.Ref(ref)] = room
		add(x.ofRef(rooms.Ref(ref)))
	}
	for name := range g.in {
		room(name)
	}
	for name := range g.changes {
		room(name)
	}
}

// before returns the place of the entry before e in the chain of a bucket.
func (e *logged) before(bucket uint32) uint64 {
	if e.link.bucket == bucket {
		return e.link.prev
	}
	return e.links[slices.IndexFunc(e.links, func(l chained) bool { return l.bucket == bucket })].prev
}

// look takes an event of the chain that is followed if it was for the socket and
// no chain of the socket's has it that comes before in the event.
func (g *gathering) look(e *logged) {
	switch {
	case g.place > g.upto:
	case g.chain < 0:
		if e.change != nil && e.ref == g.s.home && e.change.effect > g.from {
			g.changes[e.change.room] = append(g.changes[e.change.room], *e.change)
		}
	case e.msg != nil:
		first := e.link.bucket
		for i := 0; !g.isChain[first]; i++ {
			first = e.links[i].bucket
		}
		if first == g.bucket() && g.reached(e, g.place) {
			g.take(g.place, e)
		}
	}
}

func (g *gathering) take(place uint64, e *logged) {
	g.found = append(g.found, found{place, e.msg})
	g.bytes += int64(e.msg.json.Size()) + replayBytes
	g.tooLarge = g.tooLarge || g.bytes > g.most
}

// reached tells whether an event was for the socket when it was emitted.
func (g *gathering) reached(e *logged, place uint64) bool {
	a := e.to
	member := func(room string) bool { return g.member(room, place) }
	named := func(ref rooms.Ref) bool { return g.named(ref, place) }
	switch {
	case e.name != g.s.name:
		return false
	case a == nil:
		return e.ref == 0 || e.ref == g.s.home
	case !a.all && !slices.ContainsFunc(a.refs, named) && !slices.ContainsFunc(a.rooms, member):
		return false
	}
	return !slices.ContainsFunc(a.exceptRefs, named) && !slices.ContainsFunc(a.except, member)
}

// named tells whether an id is the socket's, or that of a room that it was in.
func (g *gathering) named(ref rooms.Ref, place uint64) bool {
	room, ok := g.refs[ref]
	return ref == g.s.home || ok && g.member(room, place)
}

// member tells whether the socket was in a room when the event of a place was
// emitted.
func (g *gathering) member(room string, place uint64) bool {
	is := g.in[room]
	for _, c := range g.changes[room] {
		if c.effect < place {
			break
		}
		is = !c.joined
	}
	return is
}

// finish makes the last step and returns what was missed, in order; mu is held.
// It is false if the socket cannot be recovered. If it is not the last step, the
// others must be made again.
func (g *gathering) finish() (missed []*message, ok, last bool) {
	l := g.log
	if g.complete && g.s.status == isClaimed && (g.version != g.s.version || l.last()-g.upto > gatherTail) {
		g.complete = false
		return nil, false, false
	}
	for place := g.upto + 1; g.complete && !l.lacks(g.upto) && place <= l.last(); place++ {
		if e := l.at(place); e.msg != nil {
			if g.reached(e, place) {
				g.take(place, e)
			}
		}
	}
	switch {
	case g.s.status != isClaimed:
		l.counts.Unknown++
	case g.tooLarge || g.bytes > g.most:
		l.counts.TooLarge++
	case !g.complete || l.lacks(g.upto):
		l.counts.Lost++
	default:
		slices.SortFunc(g.found, func(a, b found) int { return cmp.Compare(a.place, b.place) })
		for _, f := range g.found {
			missed = append(missed, f.msg)
		}
		l.counts.Recovered++
		l.counts.Replayed += int64(len(missed))
		return missed, true, true
	}
	l.away.remove(g.s)
	return nil, false, true
}
