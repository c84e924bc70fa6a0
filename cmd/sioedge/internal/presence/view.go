package presence

import (
	"container/heap"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/alive"
)

// A place is a room of an instance of a namespace.
type place struct{ instance, room string }

// A view is what a server knows of who is where in the cluster: of its own sockets,
// and what the other servers tell of theirs. It has no clock and sends nothing by
// itself: what there is to tell waits in out, in order. Whoever has it locks it.
type view struct {
	// Immutable.
	self    string
	run     int64 // when this server began, by which it is told from one of its name before
	cluster bool  // there are others to tell
	limits  limits

	rooms   map[place]*room
	members int // in all rooms
	waiting absences
	out     []effect
	own     []ownBucket // of this server's members, with cluster
	changed map[*member]struct{}
	nodes   alive.Set[*node]
	pending
	counts
}

// limits are those of Options, with their defaults.
type limits struct {
	members         int
	heartbeat, lost time.Duration
}

// counts are what is counted for Stats.
type counts struct {
	refused, strays, lost, asked, answered int64
}

// A room has somebody in it, here or elsewhere.
type room struct {
	at    place
	guard *guard // of the namespace, once a socket of this server was here; nil before
	few   []*member
	many  map[string]*member // by user, when there are more than fewMembers
	mine  int                // members that are this server's too
}

// fewMembers is how many are looked for one by one: a map is several hundred bytes,
// and most rooms are small.
const fewMembers = 8

// A member is a user in a room, who is shown there for as long as this is.
type member struct {
	room  *room
	user  string
	away  *absence // of sockets of this server that may come back; nil: there are none
	conns int32    // connections on all servers
	own   int32    // on this one
	nodes uint16   // servers that have it
	mine  bool     // this one does: own is not 0, or they are away
}

// An absence is of a member whose sockets have left this server, or some of them.
type absence struct {
	m       *member
	sockets int32 // that their clients may recover
	until   time.Time
	index   int // in view.waiting, -1: it has sockets here, and is not waited for
}

// An effect is something that the view has done, and that has to be told.
type effect struct {
	guard  *guard // of a join or a leave
	at     place
	user   string
	joined bool
	say    *message // to the other servers
	call   func()   // anything, in its place
}

func newView(self string, run int64, cluster bool, l limits) *view {
	v := &view{self: self, run: run, cluster: cluster, limits: l, rooms: map[place]*room{}}
	if cluster {
		v.own = make([]ownBucket, buckets)
		v.changed = map[*member]struct{}{}
	}
	return v
}

// find returns the member of that name, nil if there is none.
func (v *view) find(at place, user string) *member {
	if r := v.rooms[at]; r != nil {
		return r.find(user)
	}
	return nil
}

func (r *room) find(user string) *member {
	if r.many != nil {
		return r.many[user]
	}
	for _, m := range r.few {
		if m.user == user {
			return m
		}
	}
	return nil
}

// each calls f with all members.
func (r *room) each(f func(m *member)) {
	for _, m := range r.few {
		f(m)
	}
	for _, m := range r.many {
		f(m)
	}
}

func (r *room) size() int { return len(r.few) + len(r.many) }

// enter returns the member of that name, made if there is none. It is nil if there
// are as many as there may be.
func (v *view) enter(at place, user string) (m *member, made bool) {
	if m = v.find(at, user); m != nil {
		return m, false
	}
	if v.members >= v.limits.members {
		v.refused++
		return nil, false
	}
	r := v.rooms[at]
	if r == nil {
		r = &room{at: at}
		v.rooms[at] = r
	}
	m = &member{room: r, user: user}
	switch {
	case r.many != nil:
		r.many[user] = m
	case len(r.few) < fewMembers:
		r.few = append(r.few, m)
	default:
		r.many = map[string]*member{user: m}
		for _, x := range r.few {
			r.many[x.user] = x
		}
		r.few = nil
	}
	v.members++
	return m, true
}

// settle tells of a member that is new, or forgets one that no server has any more,
// and tells that.
func (v *view) settle(m *member, made bool) {
	switch {
	case made:
		v.tell(m, true)
	case m.nodes == 0:
		v.tell(m, false)
		v.forget(m)
	}
}

// tell has the sockets of this server that are in the room told. Where none are,
// nobody is.
func (v *view) tell(m *member, joined bool) {
	if r := m.room; r.mine > 0 {
		v.out = append(v.out, effect{guard: r.guard, at: r.at, user: m.user, joined: joined})
	}
}

func (v *view) forget(m *member) {
	r := m.room
	v.members--
	if r.many != nil {
		delete(r.many, m.user)
	} else {
		for i, x := range r.few {
			if x == m {
				last := len(r.few) - 1
				r.few[i], r.few[last] = r.few[last], nil
				r.few = r.few[:last]
				break
			}
		}
	}
	if r.size() == 0 {
		delete(v.rooms, r.at)
	}
	if len(v.rooms) == 0 {
		v.rooms = map[place]*room{} // maps do not shrink
	}
}

// join counts a socket of this server. It is false if that is not counted, since there
// are as many members as there may be; its leave must not be either.
func (v *view) join(g *guard, at place, user string, recovered bool) bool {
	m, made := v.enter(at, user)
	if m == nil {
		return false
	}
	m.room.guard = g
	before, had := m.own, m.mine
	if !m.mine {
		m.mine = true
		m.nodes++
		m.room.mine++
	}
	m.own++
	m.conns++
	if a := m.away; a != nil {
		if recovered && a.sockets > 0 {
			a.sockets--
		}
		if a.index >= 0 {
			heap.Remove(&v.waiting, a.index)
		}
		if a.sockets == 0 {
			m.away = nil
		}
	}
	v.touch(m, before, had)
	v.settle(m, made)
	return true
}

// leave ends the count of a socket that join has counted. The user is shown for so
// long still. With recoverable, its client may come back until then, and join is told.
func (v *view) leave(at place, user string, d time.Duration, recoverable bool, now time.Time) {
	m := v.find(at, user)
	if m == nil || m.own == 0 {
		v.strays++
		return
	}
	m.own--
	m.conns--
	v.touch(m, m.own+1, true)
	until := now.Add(d)
	a := m.away
	if a != nil && a.sockets > 0 && a.until.After(until) {
		until = a.until
	}
	if a == nil && (recoverable || m.own == 0 && until.After(now)) {
		a = &absence{m: m, index: -1}
		m.away = a
	}
	if a != nil {
		a.until = until
	}
	if recoverable {
		a.sockets++
	}
	switch {
	case m.own > 0:
	case until.After(now):
		heap.Push(&v.waiting, a)
	default:
		v.drop(m)
	}
}

// drop ends what this server has of a member without sockets.
func (v *view) drop(m *member) {
	m.mine, m.away = false, nil
	m.nodes--
	m.room.mine--
	v.touch(m, 0, true)
	v.settle(m, false)
}

// expire drops the members that have been away for long enough.
func (v *view) expire(now time.Time) {
	for len(v.waiting) > 0 && !v.waiting[0].until.After(now) {
		a := heap.Pop(&v.waiting).(*absence)
		v.drop(a.m)
	}
}

// list returns who is in a room, most at most, and how many there are.
func (v *view) list(at place, most int) (all []Member, n int) {
	r := v.rooms[at]
	if r == nil {
		return nil, 0
	}
	n = r.size()
	all = make([]Member, 0, min(n, most))
	r.each(func(m *member) {
		if len(all) < most {
			all = append(all, Member{m.user, int(m.conns), int(m.nodes)})
		}
	})
	return all, n
}

// absences is a heap of those that are waited for, by until.
type absences []*absence

func (h absences) Len() int           { return len(h) }
func (h absences) Less(i, j int) bool { return h[i].until.Before(h[j].until) }
func (h absences) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push appends x.
func (h *absences) Push(x any) {
	a := x.(*absence)
	a.index = len(*h)
	*h = append(*h, a)
}

// Pop takes the last one.
func (h *absences) Pop() any {
	last := len(*h) - 1
	a := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	a.index = -1
	return a
}
