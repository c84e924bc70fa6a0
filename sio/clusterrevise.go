package sio

import (
	"slices"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// With the log of a cluster, sessions of clients that are away are kept apart from
// any server, and what operators do to them is in the log: whoever takes a session
// reads there what was done to it since. The rest is between reading and
// delivering: watchers are told of what is read, and of what this server has added
// and not read yet.

// The Ops, where rooms is the name of a parameter.
const (
	joined       = rooms.Joined
	left         = rooms.Left
	disconnected = rooms.Disconnected
)

// An issue is something that this server has added to the log and not read yet.
type issue struct {
	at     time.Time
	place  rooms.Place // that had been read then
	target rooms.Target
	op     rooms.Op
	names  []string
}

// issueAge is how long it may take to be read: after that it has been lost.
const issueAge = 30 * time.Second

// issue has the others told of what is done to sockets.
func (srv *Server) issue(t rooms.Target, op rooms.Op, names []string, tell func()) {
	l := srv.shared
	if l == nil {
		tell()
		return
	}
	l.mu.Lock()
	defer l.unlock()
	x := l.of(t.Namespace)
	x.age()
	x.issues = append(x.issues, issue{time.Now(), x.last, t, op, names})
	tell()
}

// age forgets what was lost.
func (x *lane) age() {
	for len(x.issues) > 0 && time.Since(x.issues[0].at) > issueAge {
		x.issues = x.issues[1:]
	}
}

// read notes that the first issue was read.
func (x *lane) read() {
	if len(x.issues) > 0 {
		x.issues[0] = issue{}
		x.issues = x.issues[1:]
	}
}

// locked calls f with the lock of a cluster's log, if there is one.
func (srv *Server) locked(f func()) {
	if srv.shared != nil {
		srv.shared.mu.Lock()
		defer srv.shared.unlock()
	}
	f()
}

// revise tells those who are coming back; mu is held.
func (l *clusterLog) revise(t rooms.Target, op rooms.Op, names []string) {
	for w := range l.watchers {
		if w.meant(t) {
			w.see(sight{target: t, op: op, names: names}, l.most())
		}
	}
}

// meant tells whether a target is of the namespace that a watcher is in.
func (w *watcher) meant(t rooms.Target) bool {
	return t.Namespace == w.in.name || w.in.ns.pattern != nil && t.Namespace == w.in.ns.name
}

// A sight is what a watcher sees: an event, or something that is done.
type sight struct {
	target rooms.Target
	frames []byte
	plain  bool
	op     rooms.Op
	names  []string
}

// see notes what comes, until what came before is known.
func (w *watcher) see(x sight, most int64) {
	if w.caughtUp {
		w.take(x, most)
		return
	}
	if w.waiting += int64(len(x.frames)) + replayBytes; w.waiting > most {
		w.spilled = true
		return
	}
	w.later = append(w.later, x)
}

// catchUp takes what has come since.
func (w *watcher) catchUp(most int64) {
	w.mingle(most)
	for _, x := range w.later {
		w.take(x, most)
	}
	w.later, w.waiting, w.caughtUp, w.full = nil, 0, true, w.full || w.spilled
}

// take does what is seen.
func (w *watcher) take(x sight, most int64) {
	if w.revoked || !w.wants(x.target) {
		return
	}
	switch x.op {
	case rooms.Emitted:
		w.add(x.frames, x.plain, most)
	case rooms.Disconnected:
		w.revoked = true
	default:
		w.session.Rooms = moved(w.session.Rooms, w.session.ID, x.names, x.op == rooms.Joined)
	}
}

// moved returns the rooms of a socket that joins or leaves some.
func moved(all []string, id string, names []string, join bool) []string {
	all = slices.Clone(all)
	for _, name := range names {
		i := slices.Index(all, name)
		switch {
		case name == id:
		case join && i < 0:
			all = append(all, name)
		case !join && i >= 0:
			all = slices.Delete(all, i, i+1)
		}
	}
	return all
}

// revised does to a socket that leaves what loops have not come to yet, and tells
// whether it may come back; mu is held.
func (l *clusterLog) revised(s *savedSocket, loop int) bool {
	for _, r := range l.srv.log.active {
		switch {
		case r.done[loop] || !r.selects(s):
		case r.op == rooms.Disconnected:
			l.srv.log.counts.Revoked++
			return false
		default:
			s.rooms = moved(s.rooms, s.id, r.names, r.op == rooms.Joined)
		}
	}
	return true
}
