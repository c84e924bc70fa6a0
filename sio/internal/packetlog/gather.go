package packetlog

import (
	"cmp"
	"slices"

	"github.com/sioedge/sioedge/rooms"
)

// A Gathering finds what a claimed socket has missed. It follows the chains of
// those that the socket is one of, in steps, between which others have the lock:
// what it costs is what was missed. The last step is made under the lock under
// which the socket is connected again.
type Gathering struct {
	log  *Log
	s    *Saved
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
	msg   Message
}

const (
	gatherStep = 1024 // entries and names looked at in one piece
	gatherTail = 256  // entries that the last step looks at
)

// Gather begins to find what a socket that was claimed has missed since a place, of
// which so many bytes may be replayed.
func (l *Log) Gather(s *Saved, from uint64, most int64) *Gathering {
	return &Gathering{log: l, s: s, from: from, most: most}
}

// ReplayBytes is what an event takes in a queue beside its bytes.
const ReplayBytes = 96

// Rooms returns the rooms that the socket is in when Finish has returned what it has
// missed. They are not to be changed.
func (g *Gathering) Rooms() []string { return g.rooms }

// begin begins, or begins again.
func (g *Gathering) begin() {
	*g = Gathering{
		log: g.log, s: g.s, from: g.from, most: g.most, begun: true,
		version: g.s.version, since: g.from, upto: g.log.Last(), chain: -1,
		rooms: g.s.Rooms, in: make(map[string]bool, len(g.s.Rooms)), changes: map[string][]change{},
	}
	g.place = g.log.index.newest[g.log.index.ofRef(g.s.Home)]
	for _, room := range g.s.Rooms {
		g.in[room] = true
	}
}

// Step makes a step. It is true when only the last one is left, or
// there is no use in going on.
func (g *Gathering) Step() (done bool) {
	l := g.log
	if !g.begun || g.version != g.s.version {
		g.begin()
	}
	for work := gatherStep; work > 0; work-- {
		if g.s.status != isClaimed || g.tooLarge || l.lacks(g.since) {
			return true
		}
		if g.place > g.since {
			e := l.entries.at(g.place)
			if a := e.To; a != nil {
				work -= (len(a.Rooms) + len(a.Refs) + len(a.Except) + len(a.ExceptRefs)) / 4
			}
			g.look(e)
			g.place = e.before(g.bucket())
			continue
		}
		if g.nextChain() {
			continue
		}
		if l.Last()-g.upto <= gatherTail {
			g.complete = true
			return true
		}
		// Once more, for what was emitted meanwhile.
		g.since, g.upto, g.chain = g.upto, l.Last(), -1
		g.nextChain()
	}
	return false
}

// bucket returns the bucket of the chain that is followed.
func (g *Gathering) bucket() uint32 {
	if g.chain < 0 {
		return g.log.index.ofRef(g.s.Home)
	}
	return g.chains[g.chain]
}

// nextChain goes on to the next chain; it is false if that was the last.
func (g *Gathering) nextChain() bool {
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
func (g *Gathering) know() {
	g.refs, g.isChain = map[rooms.Ref]string{}, map[uint32]bool{}
	x := &g.log.index
	add := func(b uint32) {
		if !g.isChain[b] {
			g.isChain[b] = true
			g.chains = append(g.chains, b)
		}
	}
	add(x.ofRef(g.s.Home))
	add(x.ofAll(g.s.Name))
	room := func(room string) {
		ref, ok := g.log.o.Named(room)
		if !ok {
			add(x.ofRoom(g.s.Name, room))
			return
		}
		g.refs[ref] = room
		add(x.ofRef(ref))
	}
	for name := range g.in {
		room(name)
	}
	for name := range g.changes {
		room(name)
	}
}

// look takes an event of the chain that is followed if it was for the socket and
// no chain of the socket's has it that comes before in the event.
func (g *Gathering) look(e *entry) {
	switch {
	case g.place > g.upto:
	case g.chain < 0:
		if e.change != nil && e.Ref == g.s.Home && e.change.effect > g.from {
			g.changes[e.Room] = append(g.changes[e.Room], *e.change)
		}
	case e.Message != nil:
		first := e.link.bucket
		for i := 0; !g.isChain[first]; i++ {
			first = e.To.links[i].bucket
		}
		if first == g.bucket() && g.reached(e, g.place) {
			g.take(g.place, e)
		}
	}
}

func (g *Gathering) take(place uint64, e *entry) {
	g.found = append(g.found, found{place, e.Message})
	g.bytes += int64(e.Message.Size()) + ReplayBytes
	g.tooLarge = g.tooLarge || g.bytes > g.most
}

// reached tells whether an event was for the socket when it was emitted.
func (g *Gathering) reached(e *entry, place uint64) bool {
	a := e.To
	member := func(room string) bool { return g.member(room, place) }
	named := func(ref rooms.Ref) bool { return g.named(ref, place) }
	switch {
	case e.Name != g.s.Name:
		return false
	case a == nil && e.Ref != 0:
		return e.Ref == g.s.Home
	case a == nil:
		return (e.Room == "" || member(e.Room)) && (e.Except == 0 || !named(e.Except))
	case !a.All && !slices.ContainsFunc(a.Refs, named) && !slices.ContainsFunc(a.Rooms, member):
		return false
	}
	return !slices.ContainsFunc(a.ExceptRefs, named) && !slices.ContainsFunc(a.Except, member)
}

// named tells whether an id is the socket's, or that of a room that it was in.
func (g *Gathering) named(ref rooms.Ref, place uint64) bool {
	room, ok := g.refs[ref]
	return ref == g.s.Home || ok && g.member(room, place)
}

// member tells whether the socket was in a room when the event of a place was
// emitted.
func (g *Gathering) member(room string, place uint64) bool {
	is := g.in[room]
	for _, c := range g.changes[room] {
		if c.effect < place {
			break
		}
		is = !c.joined
	}
	return is
}

// Finish makes the last step and returns what was missed, in order, of which so many
// bytes may be replayed. It is false if the socket cannot be recovered, which is
// counted. If it is not the last step, the others must be made again.
func (g *Gathering) Finish(most int64) (missed []Message, ok, last bool) {
	l := g.log
	g.most = most
	if g.complete && g.s.status == isClaimed && (g.version != g.s.version || l.Last()-g.upto > gatherTail) {
		g.complete = false
		return nil, false, false
	}
	for place := g.upto + 1; g.complete && !l.lacks(g.upto) && place <= l.Last(); place++ {
		if e := l.entries.at(place); e.Message != nil {
			if g.reached(e, place) {
				g.take(place, e)
			}
		}
	}
	switch {
	case g.s.status != isClaimed:
		l.o.Counts.Unknown++
	case g.tooLarge || g.bytes > g.most:
		l.o.Counts.TooLarge++
	case !g.complete || l.lacks(g.upto):
		l.o.Counts.Lost++
	default:
		slices.SortFunc(g.found, func(a, b found) int { return cmp.Compare(a.place, b.place) })
		for _, f := range g.found {
			missed = append(missed, f.msg)
		}
		l.o.Counts.Recovered++
		l.o.Counts.Replayed += int64(len(missed))
		return missed, true, true
	}
	l.away.remove(g.s)
	return nil, false, true
}
