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
	complete bool                // all up to upto has been found
	version  int                 // of the socket's rooms
	in       map[string]bool     // rooms that it is in
	changes  map[string][]change // of that behind from, the newest first
	keys     []string            // rooms that it is or was in
	index    map[string]int      // of those in keys
	refs     map[rooms.Ref]int   // the same, by the Ref that a name is made of

	phase int    // of the chain that is followed: phases below, then keys
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

// The chains, in the order of following. The first is followed twice: for changes,
// without which nobody knows what the others mean, and for events.
const (
	changesPhase = iota
	ownPhase
	everybodyPhase
	roomsPhase
)

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
		version: g.s.version, since: g.from, upto: g.log.last(), place: g.log.newest.ref[g.s.home],
		in: make(map[string]bool, len(g.s.rooms)), changes: map[string][]change{},
	}
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
			g.place = g.before(e)
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
		g.since, g.upto, g.phase = g.upto, l.last(), changesPhase
		g.nextChain()
	}
	return false
}

// nextChain goes on to the next chain; it is false if that was the last.
func (g *gathering) nextChain() bool {
	if g.phase == changesPhase && g.index == nil {
		g.know()
	}
	g.phase++
	n := &g.log.newest
	switch {
	case g.phase == ownPhase:
		g.place = n.ref[g.s.home]
	case g.phase == everybodyPhase:
		g.place = n.everybody[g.s.name]
	case g.phase-roomsPhase < len(g.keys):
		room := g.keys[g.phase-roomsPhase]
		if ref, ok := g.ids.Parse([]byte(room)); ok {
			g.place = n.ref[rooms.Ref(ref)]
		} else {
			g.place = n.room[roomKey{g.s.name, room}]
		}
	default:
		return false
	}
	return true
}

// know makes the list of rooms, when all changes are known.
func (g *gathering) know() {
	g.keys, g.index, g.refs = slices.Clone(g.s.rooms), map[string]int{}, map[rooms.Ref]int{}
	for room := range g.changes {
		if !g.in[room] {
			g.keys = append(g.keys, room)
		}
	}
	for i, room := range g.keys {
		g.index[room] = i
		if ref, ok := g.ids.Parse([]byte(room)); ok {
			g.refs[rooms.Ref(ref)] = i
		}
	}
}

// look takes an event of the chain that is followed if it was for the socket and
// is not found in an earlier one.
func (g *gathering) look(e *logged) {
	switch {
	case g.place > g.upto:
	case g.phase == changesPhase:
		if e.change != nil && e.change.effect > g.from {
			g.changes[e.change.room] = append(g.changes[e.change.room], *e.change)
		}
	case e.msg != nil:
		if phase, ok := g.reached(e, g.place); ok && phase == g.phase {
			g.take(g.place, e)
		}
	}
}

func (g *gathering) take(place uint64, e *logged) {
	g.found = append(g.found, found{place, e.msg})
	g.bytes += int64(e.msg.json.Size())
	g.tooLarge = g.bytes > g.most
}

// before returns the place of the entry before e in the chain that is followed.
func (g *gathering) before(e *logged) uint64 {
	a := e.to
	switch {
	case a == nil:
		return e.prev
	case g.phase == everybodyPhase:
		return a.prev[0]
	case g.phase < roomsPhase:
		return a.prev[len(a.rooms)+slices.Index(a.refs, g.s.home)]
	}
	room := g.keys[g.phase-roomsPhase]
	if ref, ok := g.ids.Parse([]byte(room)); ok {
		return a.prev[len(a.rooms)+slices.Index(a.refs, rooms.Ref(ref))]
	}
	return a.prev[slices.Index(a.rooms, room)]
}

// reached tells whether an event was for the socket when it was emitted, and
// which chain has it first.
func (g *gathering) reached(e *logged, place uint64) (phase int, ok bool) {
	a := e.to
	switch {
	case e.name != g.s.name:
		return 0, false
	case a == nil && e.ref == 0:
		return everybodyPhase, true
	case a == nil:
		return ownPhase, e.ref == g.s.home
	case a.all:
		phase, ok = everybodyPhase, true
	}
	for i := 0; i < len(a.refs) && !ok; i++ {
		phase, ok = g.named(a.refs[i], place)
	}
	for i := 0; i < len(a.rooms) && !ok; i++ {
		phase, ok = roomsPhase+g.index[a.rooms[i]], g.member(a.rooms[i], place)
	}
	if !ok {
		return 0, false
	}
	for _, ref := range a.exceptRefs {
		if _, ok := g.named(ref, place); ok {
			return 0, false
		}
	}
	return phase, !slices.ContainsFunc(a.except, func(room string) bool { return g.member(room, place) })
}

// named tells whether an id is the socket's, or that of a room that it was in.
func (g *gathering) named(ref rooms.Ref, place uint64) (phase int, ok bool) {
	if ref == g.s.home {
		return ownPhase, true
	}
	if i, ok := g.refs[ref]; ok && g.member(g.keys[i], place) {
		return roomsPhase + i, true
	}
	return 0, false
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
			if _, ok := g.reached(e, place); ok {
				g.take(place, e)
			}
		}
	}
	switch {
	case g.s.status != isClaimed:
		l.counts.Unknown++
	case g.tooLarge:
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
