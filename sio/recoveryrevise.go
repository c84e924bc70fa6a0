package sio

import (
	"slices"

	"github.com/sioedge/sioedge/rooms"
)

// What operators do to sockets they do to those, too, whose clients are away and
// may come back, or are coming back: rooms are joined and left, and who was
// disconnected is a new one. That and the tasks for the loops are made under the
// log's lock, so a socket is at that moment either away, or found by its loop;
// unless it leaves before its loop gets there, and then it is revised when it is
// saved.

// A selection is whom an operator addresses.
type selection struct {
	srv        *Server
	ns         *Namespace // all of its instances, if name is ""
	name       string
	to, except []string
	sender     rooms.Ref
	direct     bool
}

func (b BroadcastOperator) selection() selection {
	x := selection{srv: b.server(), ns: b.namespace(), name: b.name, to: b.to, except: b.except, sender: b.sender, direct: b.direct}
	if b.in != nil {
		x.name = b.in.name
	}
	return x
}

// A revision is something that is done to sockets that are away.
type revision struct {
	selection
	op     rooms.Op
	names  []string
	effect uint64 // what was emitted up to there came before

	// Guarded by packetLog.mu.
	done []bool // loops on which the sockets of that time have been found
	left int    // how many have not
}

// nothing is the revision of a server without recovery.
var nothing = &revision{}

// revise does something to sockets that are away, and to those that will be until
// the loops have passed. The log is locked until release; that of a cluster is
// already.
func (b BroadcastOperator) revise(op rooms.Op, names []string) *revision {
	srv := b.server()
	l := srv.log
	if l == nil {
		return nothing
	}
	r := &revision{selection: b.selection(), op: op, names: names, done: make([]bool, len(srv.shards)), left: len(srv.shards)}
	if srv.shared != nil {
		srv.shared.revise(b.target(), op, names)
	} else {
		l.mu.Lock()
		r.effect = l.last()
		for _, s := range l.selected(r.selection) {
			l.revise(s, r)
		}
	}
	l.active = append(l.active, r)
	return r
}

func (r *revision) release() {
	if r != nothing && r.srv.shared == nil {
		r.srv.log.mu.Unlock()
	}
}

// revise does it to one socket; mu is held.
func (l *packetLog) revise(s *savedSocket, r *revision) {
	if r.op == rooms.Disconnected {
		l.revoke(s)
		return
	}
	l.move(s, r.names, r.op == rooms.Joined)
}

// passed notes that a loop has found the sockets it has.
func (r *revision) passed(sh *shard) {
	if r == nothing {
		return
	}
	l := r.srv.log
	l.mu.Lock()
	defer l.mu.Unlock()
	r.done[sh.loop.Index()] = true
	if r.left--; r.left == 0 {
		l.active = slices.DeleteFunc(l.active, func(x *revision) bool { return x == r })
	}
}

// selects tells whether a socket that is away, or about to be, is among those
// addressed.
func (x *selection) selects(s *savedSocket) bool {
	own := x.sender != 0 && (x.sender == s.ref || x.sender == s.home)
	switch {
	case s.ns != x.ns || x.name != "" && x.name != s.name || s.status > isClaimed:
		return false
	case x.direct:
		return own && !s.in(x.srv.ids, x.except)
	case own || len(x.to) > 0 && !s.in(x.srv.ids, x.to):
		return false
	}
	return !s.in(x.srv.ids, x.except)
}

// selected returns the sockets that are away among those addressed; mu is held.
func (l *packetLog) selected(x selection) (all []*savedSocket) {
	a := &l.away
	if a.count == 0 {
		return nil
	}
	take := func(s *savedSocket) {
		if s != nil && x.selects(s) {
			all = append(all, s)
		}
	}
	if x.direct {
		take(a.byRef[x.sender])
		return all
	}
	names := []string{x.name}
	if x.name == "" {
		names = nil
		for name, m := range a.everybody {
			if m.s.ns == x.ns {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		for m := a.everybody[name]; m != nil && len(x.to) == 0; m = m.next {
			take(m.s)
		}
		for _, room := range x.to {
			for m := a.room[roomKey{name, room}]; m != nil; m = m.next {
				take(m.s)
			}
		}
	}
	for _, room := range x.to {
		if ref, ok := x.srv.ids.Parse([]byte(room)); ok {
			take(a.byRef[rooms.Ref(ref)])
		}
	}
	if len(x.to) > 1 {
		slices.SortFunc(all, func(s, t *savedSocket) int { return s.index - t.index })
		all = slices.Compact(all)
	}
	return all
}

// move puts a socket that is away into rooms, or out of them; mu is held.
func (l *packetLog) move(s *savedSocket, names []string, join bool) {
	for _, room := range names {
		if join && l.maxRooms > 0 && len(s.rooms) >= l.maxRooms {
			return
		}
		if l.away.change(s, room, join) {
			l.append(logged{name: s.name, ref: s.home, change: &change{room, join, l.last()}}, nil)
		}
	}
}

// revoke ends the session of a socket that is away; mu is held.
func (l *packetLog) revoke(s *savedSocket) {
	l.counts.Revoked++
	l.away.remove(s)
}

// away does something to the socket if its client is away. It is called on a loop.
func (s Socket) away(op rooms.Op, names []string) {
	srv := s.srv()
	if srv.log == nil {
		return
	}
	if srv.shared != nil {
		t := rooms.Target{Namespace: s.in.name, Rooms: []string{s.ID()}}
		srv.issue(t, op, names, func() {
			if op == left {
				srv.cluster.Leave(t, names)
			} else {
				srv.cluster.Disconnect(t, false)
			}
		})
		return
	}
	l := srv.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := l.away.byRef[s.ref]; x != nil && x.status <= isClaimed {
		l.revise(x, &revision{op: op, names: names})
	}
}

// sequence returns up to where events come before something that is posted to
// loops until unlock is called.
func (srv *Server) sequence() (effect uint64, unlock func()) {
	l := srv.log
	if l == nil || srv.shared != nil {
		return 0, func() {}
	}
	l.mu.Lock()
	return l.last(), l.mu.Unlock
}

// changed notes a change of a socket's rooms, if it says which of the events that
// are kept were for it.
func (sh *shard) changed(slot uint32, c change) {
	l := sh.srv.log
	if l == nil || sh.srv.shared != nil || sh.srv.isOld(sh.session(slot)) {
		return
	}
	if _, claimed := sh.claims[slot]; sh.sockets.At(slot).state == connecting && !claimed {
		return // nothing that was emitted before it is connected is for it
	}
	name, home := sh.instance(slot).name, sh.socket(slot).home()
	start := sh.sockets.At(slot).start.get()
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.index.last(name, c.room)
	if _, ok := sh.srv.ids.Parse([]byte(c.room)); ok {
		last = l.last() // a room called as a socket: it is not looked for
	}
	if last > start {
		l.append(logged{name: name, ref: home, change: &c}, nil)
	}
}
