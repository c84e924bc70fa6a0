package sio

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/budget"
	"github.com/sioedge/sioedge/rooms"
)

// takeTimeout is how long a client waits for its session.
const takeTimeout = 3 * time.Second

// A watcher gathers what a socket misses while it is being recovered.
type watcher struct {
	// Immutable once it watches, but for the session's rooms.
	session rooms.Session
	in      *instance
	from    rooms.Place

	had    spot      // up to there it has had everything, with those for it alone
	direct []*direct // for it alone, from when it was connected

	// Guarded by clusterLog.mu once it watches.
	missed   []*message
	places   []rooms.Place // of those, until it has caught up
	again    []*direct     // those among them
	bytes    int64
	full     bool // there was more than may be kept
	revoked  bool // it was disconnected
	caughtUp bool // what came before is known
	spilled  bool // more has come until then than may be kept
	later    []sight
	waiting  int64 // bytes of that
}

func (w *watcher) wants(t rooms.Target) bool {
	in := func(names []string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(w.session.Rooms, name) })
	}
	return (len(t.Rooms) == 0 || in(t.Rooms)) && !in(t.Except)
}

func (w *watcher) add(frames []byte, plain bool, most int64) {
	w.bytes += int64(len(frames)) + replayBytes
	if w.full = w.full || w.bytes > most; !w.full {
		w.missed = append(w.missed, newMessage(frames, plain))
	}
}

// watched tells the watchers of an event; mu is held.
func (l *clusterLog) watched(in *instance, t rooms.Target, e rooms.Event, frames []byte) {
	if len(l.watchers) == 0 || e.Volatile {
		return
	}
	for w := range l.watchers {
		if w.in == in {
			w.see(sight{target: t, frames: frames, plain: e.Plain}, l.most())
		}
	}
}

// count counts a recovery that has failed.
func (l *clusterLog) count(n *int64) {
	l.mu.Lock()
	*n++
	l.mu.Unlock()
}

// restore returns a watcher that has what a client has missed until now; nil if
// it cannot be recovered. A session that is somebody else's is left to it.
func (l *clusterLog) restore(ctx context.Context, in *instance, pid, identity string, offset *string) *watcher {
	counts := &l.srv.log.counts
	session, ok, err := l.log.Take(ctx, pid)
	if err != nil {
		l.srv.notice.Warn("a session could not be taken from the log", "error", err)
	}
	w := &watcher{session: session, in: in, from: session.Since}
	switch {
	case !ok, overdue(session.Expires, l.srv.wall()):
		l.count(&counts.Unknown)
		return nil
	case session.Namespace != in.name && (session.Namespace != "" || in.name != "/"): // Node's do not say; most are of that
		l.giveBack(w)
		l.count(&counts.Alien)
		return nil
	case session.Identity != identity:
		l.giveBack(w)
		l.count(&counts.Alien)
		return nil
	}
	var sound bool
	if w.direct, sound = parseDirects(session.Direct); !sound {
		l.count(&counts.Lost)
		return nil
	}
	l.srv.registry.announce(in) // who knows a session's private id was admitted to it; what is missed comes from now on
	if !slices.Contains(session.Rooms, session.ID) {
		w.session.Rooms = append(slices.Clone(session.Rooms), session.ID)
	}
	w.had = spot{place: w.from}
	if offset != nil {
		had, ok := parseSpot(*offset)
		if !ok || had.place == session.At && had.n > session.Behind {
			w.had, w.from = spot{}, 0
		} else if w.had.less(had) {
			w.had, w.from = had, had.place
		}
	}
	switch {
	case w.from != 0 && l.watch(ctx, w):
		return w
	case w.bytes > l.srv.mostReplayed():
		l.count(&counts.TooLarge)
	default:
		l.count(&counts.Lost)
	}
	return nil
}

// most is how many bytes are gathered for a client: not more than it may be sent.
func (l *clusterLog) most() int64 { return min(l.srv.log.most, l.srv.mostReplayed()) }

// watch has w watch, and gives it what it has missed before. What there is until
// now is read at first, so that little comes while the rest is read.
func (l *clusterLog) watch(ctx context.Context, w *watcher) bool {
	to, ok := l.reach(w)
	for !ok { // another server is faster, or the offset is none
		select {
		case <-ctx.Done():
			return false
		case <-time.After(5 * time.Millisecond):
		}
		to, ok = l.reach(w)
	}
	if !l.read(ctx, w, w.from, to) {
		return false
	}
	rest := l.begin(w)
	ok = l.read(ctx, w, to, rest)
	l.mu.Lock()
	defer l.mu.Unlock()
	w.catchUp(l.most())
	if !ok || w.full {
		delete(l.watchers, w)
		return false
	}
	return true
}

// read gives a watcher what is in the log between two places. Of what was done to
// sockets, that counts which came when this one was away.
func (l *clusterLog) read(ctx context.Context, w *watcher, from, to rooms.Place) bool {
	most, pattern := l.most(), ""
	if w.in.ns.pattern != nil {
		pattern = w.in.ns.name
	}
	complete, err := l.log.Missed(ctx, w.in.name, pattern, from, to, func(e rooms.Entry) bool {
		switch {
		case e.Op != rooms.Emitted && e.Place <= w.session.At:
		case e.Op != rooms.Emitted:
			w.take(sight{target: e.Target, op: e.Op, names: e.Names}, most)
		case w.wants(e.Target):
			frames, _ := frameAt(w.in.name, e.Event, e.Place.String())
			w.add(frames, e.Event.Plain, most)
			w.places = append(w.places, e.Place)
		}
		return !w.full
	})
	if err != nil {
		l.srv.notice.Warn("the log could not be read", "error", err)
	}
	return err == nil && complete
}

// reach returns up to where the log of a watcher's namespace has been delivered. It
// is false if that is not as far as its client is.
func (l *clusterLog) reach(w *watcher) (to rooms.Place, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.of(w.in.name)
	return x.last, x.last >= max(w.from, w.session.At)
}

// begin has w get what is delivered from now on, and returns up to where it has to
// be read.
func (l *clusterLog) begin(w *watcher) (to rooms.Place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.of(w.in.name)
	w.full = x.lost
	for _, a := range x.ahead { // not read yet, but not to be delivered then
		if w.meant(a.target) {
			frames, _ := frameAt(w.in.name, a.event, l.offset(w.in, a.event, 0))
			w.see(sight{target: a.target, frames: frames, plain: a.event.Plain}, l.most())
		}
	}
	l.watchers[w] = struct{}{}
	return x.last
}

// end ends a watch and returns what was missed; mu is held. It is false if that
// was too much, or the socket was disconnected.
func (l *clusterLog) end(w *watcher, most int64) (missed []*message, ok bool) {
	delete(l.watchers, w)
	x := l.of(w.in.name)
	x.age()
	for _, i := range x.issues {
		if w.meant(i.target) && w.session.At <= i.place {
			w.take(sight{target: i.target, op: i.op, names: i.names}, most)
		}
	}
	counts := &l.srv.log.counts
	switch {
	case w.revoked:
		counts.Revoked++
		return nil, false
	case w.bytes > most:
		counts.TooLarge++
		return nil, false
	case w.full:
		counts.Lost++
		return nil, false
	}
	if x.last == w.session.At { // numbers go on from those of the other server
		x.direct = max(x.direct, w.session.Behind)
	}
	w.session.At, w.session.Behind = x.last, x.direct
	counts.Recovered++
	counts.Replayed += int64(len(w.missed))
	return w.missed, true
}

// abandon ends the watch of a socket that is refused.
func (l *clusterLog) abandon(w *watcher) {
	l.mu.Lock()
	delete(l.watchers, w)
	l.mu.Unlock()
}

// giveBack keeps the session of a socket again that went before it was recovered,
// for the time that it has.
func (l *clusterLog) giveBack(w *watcher) {
	l.abandon(w)
	session := w.session
	session.Since = w.from
	if session.Until.IsZero() { // of a server of Node
		session.Until = time.Now().Add(l.srv.log.window)
	}
	if left := time.Until(session.Until); left > 0 && !w.revoked {
		l.log.Keep(session, min(left, l.srv.log.window))
	}
}

// keep keeps the session of a socket that has gone from a loop.
func (l *clusterLog) keep(s Socket, x *savedSocket, loop int) {
	l.mu.Lock()
	at, ok := l.of(x.name).now(), l.revised(x, loop)
	direct, whole := l.directs.take(x.ref, rooms.Place(x.from))
	if ok && !whole {
		l.srv.log.counts.Lost++
	}
	l.mu.Unlock()
	if !ok || !whole {
		return
	}
	window, expires := l.srv.log.window, time.Time{}
	if x.expires != 0 {
		expires = time.UnixMilli(x.expires)
		window = min(window, expires.Sub(l.srv.wall()))
	}
	l.log.Keep(rooms.Session{
		ID: x.id, PID: x.pid, Rooms: append([]string{x.id}, x.rooms...), Data: s.wireData(), Namespace: x.name, Since: rooms.Place(x.from),
		Until: time.Now().Add(l.srv.log.window), At: at.place, Behind: at.n, Identity: x.identity, Direct: appendDirects(direct),
		Expires: expires,
	}, window)
}

// fetch has a connecting socket recovered, or connected as a new one, when the
// log has answered. Account is charged with taskCost until then.
func (sh *shard) fetch(slot uint32, pid string, offset *string, account *budget.Account) {
	ref, in, l := sh.ref(slot), sh.instance(slot), sh.srv.shared
	identity := sh.srv.identity(ref)
	// ends when the log has answered, or the time is out
	go func() {
		defer account.Done(taskCost)
		ctx, cancel := context.WithTimeout(context.Background(), takeTimeout)
		defer cancel()
		w := l.restore(ctx, in, pid, identity, offset)
		posted := sh.loop.Post(loop.TaskFunc(func(*loop.Loop) { sh.fetched(ref, w) }))
		if !posted && w != nil {
			l.giveBack(w)
		}
	}()
}

func (sh *shard) fetched(ref rooms.Ref, w *watcher) {
	slot := sh.lookup(ref)
	switch {
	case slot != 0 && sh.sockets.At(slot).state == connecting && w == nil:
		sh.enterNamespace(sh.session(slot), slot)
	case slot != 0 && sh.sockets.At(slot).state == connecting:
		saved := &savedSocket{name: w.in.name, id: w.session.ID, pid: w.session.PID, data: dataOf(w.session.Data), from: uint64(w.from)}
		if !w.session.Expires.IsZero() {
			saved.expires = w.session.Expires.UnixMilli()
		}
		sh.claimed(sh.session(slot), slot, claim{saved: saved, from: uint64(w.from), watch: w})
	case w != nil:
		sh.srv.shared.giveBack(w)
	}
}

// dataOf is a socket's data as another server has kept it. There is none if that
// is Node's of a socket without.
func dataOf(data json.RawMessage) any {
	if len(data) == 0 || string(data) == "{}" || string(data) == "null" {
		return nil
	}
	return data
}
