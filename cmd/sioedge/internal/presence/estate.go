package presence

import (
	"container/heap"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
)

// An estate is a view as it goes to a successor, which the other servers take for the same
// server. Times are in ms, and how far off something is. Names are given by their place in
// Names.
type estate struct {
	Names    []string `cbor:"1,keyasint"`
	Run      int64    `cbor:"2,keyasint"`
	Beat     int64    `cbor:"3,keyasint"`
	Versions []uint64 `cbor:"4,keyasint,omitempty"` // of the buckets
	Wanted   []int    `cbor:"5,keyasint,omitempty"` // buckets
	// Own are this server's members in groups of four: namespace, room, user and sockets.
	Own []uint32 `cbor:"6,keyasint,omitempty"`
	// Away are absences in groups of three: the member in Own, sockets that may come back,
	// and until when.
	Away  []int64      `cbor:"7,keyasint,omitempty"`
	Nodes []nodeForm   `cbor:"8,keyasint,omitempty"`
	Out   []effectForm `cbor:"9,keyasint,omitempty"`
}

// A nodeForm is another server.
type nodeForm struct {
	Name  string `cbor:"1,keyasint"`
	Run   int64  `cbor:"2,keyasint"`
	Heard int64  `cbor:"3,keyasint,omitempty"`
	Gone  bool   `cbor:"4,keyasint,omitempty"`
	Ends  bool   `cbor:"5,keyasint,omitempty"` // it has said so, and
	In    int64  `cbor:"6,keyasint,omitempty"` // is forgotten then
	Dirty bool   `cbor:"7,keyasint,omitempty"`
	Short bool   `cbor:"8,keyasint,omitempty"`
	// Buckets are in groups of five: which, version, coming, slices and have.
	Buckets []uint64 `cbor:"9,keyasint,omitempty"`
	// Members are in groups of four, as Own: namespace, room, user and connections.
	Members []uint32 `cbor:"10,keyasint,omitempty"`
}

// An effectForm is one that was not told yet.
type effectForm struct {
	Namespace string `cbor:"1,keyasint,omitempty"`
	Room      string `cbor:"2,keyasint,omitempty"`
	User      string `cbor:"3,keyasint,omitempty"`
	Joined    bool   `cbor:"4,keyasint,omitempty"`
	Say       []byte `cbor:"5,keyasint,omitempty"` // a message, JSON
}

// names are what an estate is written with.
type names struct {
	all   []string
	index map[string]uint32
}

func (n *names) of(s string) uint32 {
	i, ok := n.index[s]
	if !ok {
		i = uint32(len(n.all))
		n.index[s] = i
		n.all = append(n.all, s)
	}
	return i
}

// leaveAll returns what the view has for a successor. It goes on, but for what it has to
// tell the others.
func (v *view) leaveAll(now time.Time) estate {
	if v.cluster {
		v.flush(now)
	}
	n := &names{index: map[string]uint32{}}
	e := estate{Run: v.run, Beat: left(v.beat, now)}
	for at, r := range v.rooms {
		if r.mine == 0 {
			continue
		}
		instance, room := n.of(at.instance), n.of(at.room)
		r.each(func(m *member) {
			if !m.mine {
				return
			}
			if a := m.away; a != nil {
				e.Away = append(e.Away, int64(len(e.Own)/4), int64(a.sockets), left(a.until, now))
			}
			e.Own = append(e.Own, instance, room, n.of(m.user), uint32(m.own))
		})
	}
	for i := range v.own {
		e.Versions = append(e.Versions, v.own[i].version)
		if v.wanted[i] {
			e.Wanted = append(e.Wanted, i)
		}
	}
	for name, p := range v.nodes.All() {
		e.Nodes = append(e.Nodes, p.Of.leave(name, n, now))
	}
	for i := range v.out {
		if x := &v.out[i]; x.say != nil {
			if p, err := json.Marshal(x.say); err == nil {
				e.Out = append(e.Out, effectForm{Say: p})
			}
		} else if x.call == nil {
			e.Out = append(e.Out, effectForm{Namespace: x.at.instance, Room: x.at.room, User: x.user, Joined: x.joined})
		}
	}
	e.Names = n.all
	return e
}

func (n *node) leave(name string, names *names, now time.Time) nodeForm {
	x := nodeForm{Name: name, Run: n.Run, Heard: max(now.Sub(n.Heard).Milliseconds(), 0), Gone: n.Gone, Ends: !n.leaves.IsZero(), Dirty: n.dirty, Short: n.short}
	if x.Ends {
		x.In = left(n.leaves, now)
	}
	for i := range n.buckets {
		b := &n.buckets[i]
		if b.version > 0 || b.slices > 0 {
			x.Buckets = append(x.Buckets, uint64(i), b.version, b.coming, uint64(b.slices), b.have)
		}
		for m, conns := range b.members {
			x.Members = append(x.Members, names.of(m.room.at.instance), names.of(m.room.at.room), names.of(m.user), uint32(conns))
		}
	}
	return x
}

// left is how long it is until then, in ms.
func left(t, now time.Time) int64 { return max(t.Sub(now).Milliseconds(), 0) }

// after is the moment that left was told of.
func after(now time.Time, ms int64) time.Time {
	return now.Add(time.Duration(min(ms, mostMillis)) * time.Millisecond)
}

const mostMillis = int64(1) << 40

var errEstate = errors.New("presence: that is no state of one")

// A coming is a view's members before their sockets are there.
type coming struct {
	had   map[*member]int32 // sockets that they had
	later []arrival         // sockets of whom it is not known yet who they are
}

// inherit makes an empty view what another one was, its sockets left out: arrive adds those
// that come, settleAll ends it. GuardOf names the guard of an instance, nil for none.
func (v *view) inherit(e *estate, now time.Time, guardOf func(instance string) *guard) (had map[*member]int32, err error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	had, all := map[*member]int32{}, make([]*member, len(e.Own)/4)
	for i := range all {
		x := e.Own[4*i:]
		g := guardOf(e.Names[x[0]])
		if g == nil {
			continue // nobody is counted there any more
		}
		m, _ := v.enter(place{e.Names[x[0]], e.Names[x[1]]}, e.Names[x[2]])
		if m == nil || m.mine {
			continue // there are too many
		}
		v.possess(g, m)
		had[m], all[i] = int32(x[3]), m
	}
	for x := e.Away; len(x) > 0; x = x[3:] {
		if m := all[x[0]]; m != nil && m.away == nil {
			m.away = &absence{m: m, sockets: int32(x[1]), until: after(now, x[2]), index: -1}
		}
	}
	if v.cluster {
		v.run, v.beaten, v.beat = e.Run, now, after(now, e.Beat)
		for i, version := range e.Versions {
			v.own[i].version = version
		}
		for _, b := range e.Wanted {
			v.wanted[b] = true
		}
		for _, wanted := range v.wanted {
			if wanted {
				v.wants++
			}
		}
		for i := range e.Nodes {
			v.inheritNode(&e.Nodes[i], e.Names, now)
		}
	}
	v.out = nil // who is there was there before
	for i := range e.Out {
		v.inheritEffect(&e.Out[i], guardOf)
	}
	return had, nil
}

// possess has a member be this server's, with no socket yet.
func (v *view) possess(g *guard, m *member) {
	m.room.guard = g
	m.mine = true
	m.nodes++
	m.room.mine++
}

func (v *view) inheritNode(x *nodeForm, names []string, now time.Time) {
	p, _ := v.nodes.Hear(x.Name, x.Run, now.Add(-time.Duration(min(x.Heard, mostMillis))*time.Millisecond))
	if p == nil || p.Of != nil || x.Name == v.self {
		return
	}
	n := &node{Peer: p, buckets: make([]theirBucket, buckets)}
	p.Of, p.Gone = n, x.Gone
	n.dirty = x.Dirty
	if x.Ends {
		n.leaves = after(now, x.In)
	}
	for b := x.Buckets; len(b) > 0; b = b[5:] {
		y := &n.buckets[b[0]]
		y.version, y.coming, y.slices, y.have = b[1], b[2], int(b[3]), b[4]
	}
	for m := x.Members; len(m) > 0; m = m[4:] {
		v.put(n, place{names[m[0]], names[m[1]]}, names[m[2]], int32(m[3]))
	}
	n.short = n.short || x.Short
}

func (v *view) inheritEffect(x *effectForm, guardOf func(instance string) *guard) {
	if x.Say != nil {
		var m message
		if json.Unmarshal(x.Say, &m) == nil && m.check() == nil && v.cluster {
			v.out = append(v.out, effect{say: &m})
		}
		return
	}
	if g := guardOf(x.Namespace); g != nil {
		v.out = append(v.out, effect{guard: g, at: place{x.Namespace, x.Room}, user: x.User, joined: x.Joined})
	}
}

// arrive counts a socket that has come with the view. Nobody is told.
func (v *view) arrive(g *guard, at place, user string) (ok bool) {
	m, _ := v.enter(at, user)
	if m == nil {
		return false
	}
	if !m.mine {
		v.possess(g, m)
	}
	m.own++
	m.conns++
	return true
}

// settleAll ends inherit, when all sockets are there. Members whose sockets have stayed with
// the other process are shown until then.
func (v *view) settleAll(had map[*member]int32, until time.Time) {
	for _, r := range v.rooms {
		r.each(func(m *member) {
			if !m.mine {
				return
			}
			was, known := had[m]
			if m.own == 0 {
				if m.away == nil {
					m.away = &absence{m: m, until: until, index: -1}
				} else if was > 0 && m.away.until.Before(until) {
					m.away.until = until
				}
				heap.Push(&v.waiting, m.away)
			}
			if !v.cluster {
				return
			}
			h := hashOf(m.room.at, m.user)
			b := &v.own[bucketOf(h)]
			b.hash ^= stamp(h, m.own)
			if b.members == nil {
				b.members = map[*member]struct{}{}
			}
			b.members[m] = struct{}{}
			if !known || was != m.own {
				v.changed[m] = struct{}{}
			}
		})
	}
}

// check says what is wrong with an estate.
func (e *estate) check() error {
	for _, s := range e.Names {
		if len(s) > maxName {
			return fmt.Errorf("%w: a name of %d bytes", errEstate, len(s))
		}
	}
	if len(e.Away)%3 != 0 || len(e.Versions) > buckets || len(e.Nodes) > maxNodes || e.Beat < 0 {
		return fmt.Errorf("%w: %d of away, %d versions, %d servers", errEstate, len(e.Away), len(e.Versions), len(e.Nodes))
	}
	if err := e.checkMembers(e.Own, math.MaxInt32); err != nil {
		return err
	}
	for x := e.Away; len(x) > 0; x = x[3:] {
		if x[0] < 0 || x[0] >= int64(len(e.Own)/4) || x[1] < 0 || x[1] > math.MaxInt32 || x[2] < 0 {
			return fmt.Errorf("%w: an absence of member %d", errEstate, x[0])
		}
	}
	for _, version := range e.Versions {
		if version > math.MaxInt64 {
			return fmt.Errorf("%w: version %d", errEstate, version)
		}
	}
	for _, b := range e.Wanted {
		if b < 0 || b >= buckets {
			return fmt.Errorf("%w: bucket %d", errEstate, b)
		}
	}
	for i := range e.Nodes {
		if err := e.checkNode(&e.Nodes[i]); err != nil {
			return err
		}
	}
	return nil
}

func (e *estate) checkNode(x *nodeForm) error {
	if len(x.Buckets)%5 != 0 || x.Heard < 0 || x.In < 0 {
		return fmt.Errorf("%w: server %.64q", errEstate, x.Name)
	}
	for b := x.Buckets; len(b) > 0; b = b[5:] {
		if b[0] >= buckets || b[1] == math.MaxUint64 || b[3] > maxSlices || b[3]&(b[3]-1) != 0 {
			return fmt.Errorf("%w: bucket %d of server %.64q", errEstate, b[0], x.Name)
		}
	}
	return e.checkMembers(x.Members, math.MaxInt32/maxNodes)
}

func (e *estate) checkMembers(all []uint32, most uint32) error {
	if len(all)%4 != 0 {
		return fmt.Errorf("%w: %d numbers are no members", errEstate, len(all))
	}
	for ; len(all) > 0; all = all[4:] {
		for _, i := range all[:3] {
			if int(i) >= len(e.Names) {
				return fmt.Errorf("%w: name %d of %d", errEstate, i, len(e.Names))
			}
		}
		if all[3] > most || len(e.Names[all[2]]) > maxUser {
			return fmt.Errorf("%w: %d sockets", errEstate, all[3])
		}
	}
	return nil
}
