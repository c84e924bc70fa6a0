package sio

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/budget"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/clusterlog"
	"github.com/sioedge/sioedge/sio/internal/framing"
	"github.com/sioedge/sioedge/sio/internal/outbound"
	"github.com/sioedge/sioedge/sio/internal/packetlog"
)

// A clustered sequencer keeps events and sessions in the log of the cluster, an
// adapter that is a [rooms.Log]: see clusterlog.
type clustered struct {
	*recovering
	host    *host           // immutable
	adapter rooms.Log       // immutable
	log     *clusterlog.Log // immutable after start; guarded by mu
	wake    sleepers        // by whoever unlocks; guarded by mu
	armed   bool            // tend will be called; guarded by mu
}

func newClustered(r *recovering, h *host) *clustered {
	q := &clustered{recovering: r, host: h, adapter: h.log}
	r.kept = q
	return q
}

func (q *clustered) start() {
	q.recovering.start()
	q.log = clusterlog.New(clusterlog.Options{
		Source: q.adapter, Lock: &q.mu, Patience: cmp.Or(q.srv.o.Recovery.Patience, time.Second), Most: min(q.most, q.srv.mostReplayed()),
		Later: func(d time.Duration, f func()) { time.AfterFunc(d, func() { q.locked(f) }) },
		Early: func() { q.counts.Early++ },
		Warn:  q.srv.notice.Warn,
		Frame: func(instance string, e rooms.Event, offset string) []byte {
			frames, _ := framing.At(instance, e, offset)
			return frames
		},
	})
	q.adapter.Record(q)
}

// locked calls f, which may post to loops, with mu held.
func (q *clustered) locked(f func()) {
	q.mu.Lock()
	defer func() {
		wake := q.wake
		q.wake = sleepers{}
		q.mu.Unlock()
		q.srv.wake(wake)
	}()
	f()
}

func (q *clustered) behind(namespace string, f func()) { q.keepBehind(namespace, 0, f) }

// keepBehind is behind for what keeps so many bytes until then.
func (q *clustered) keepBehind(namespace string, held int, f func()) {
	q.locked(func() { q.log.After(q.log.Of(namespace), held, f) })
}

func (q *clustered) settle(namespace string) { q.settleLane(q.adapter.Lane(namespace)) }

func (q *clustered) settleAll() {
	q.mu.Lock()
	var names []string
	for name := range q.log.Lanes {
		names = append(names, name)
	}
	q.mu.Unlock()
	for _, name := range names {
		q.settleLane(name)
	}
}

func (q *clustered) settleLane(name string) {
	q.mu.Lock()
	x := q.log.Lane(name)
	if !x.Busy() || slices.ContainsFunc(q.srv.shards, func(sh *shard) bool { return sh.loop.OnLoop() }) {
		q.mu.Unlock()
		return
	}
	done := make(chan struct{})
	q.log.After(x, 0, func() { close(done) })
	q.mu.Unlock()
	<-done
}

func (q *clustered) post(s Socket, t loop.Task) {
	q.behind(s.in.name, func() { s.shard().loop.Post(t) })
}

func (q *clustered) mail(s Socket, text []byte, attachments [][]byte, plain bool) error {
	if s.gone() {
		return ErrClosed
	}
	frames := framing.Append(nil, text, attachments)
	q.keepBehind(s.in.name, len(frames), func() { s.shard().loop.Mail(uint64(s.ref), outbound.Mail(plain, 0), frames, nil) })
	return nil
}

func (q *clustered) atOnce() bool { return false }

// emitTo does without the log: see clusterlog.Direct.
func (q *clustered) emitTo(s Socket, event string, args []any, how sending) error {
	if s.gone() {
		return ErrClosed
	}
	e, err := q.srv.encodeEvent(event, args)
	if err != nil {
		return err
	}
	e.Attachments, e.Plain = framing.CloneAll(e.Attachments), how.plain
	k := how.class.kind(s.in, e)
	q.keepBehind(s.in.name, clusterlog.Size(e), func() {
		offset := q.log.Send(q.log.Of(s.in.name), s.ref, e, s.gone())
		q.tendSoon()
		frames, tail := framing.At(s.in.name, e, offset)
		how.mailTo(s, frames, tail, k)
	})
	return nil
}

func (q *clustered) emit(b BroadcastOperator, e rooms.Event) {
	a, _ := b.cluster()
	t := b.target()
	run := func(p rooms.Place) { q.deliverAt(b, t, e, p) }
	if a != nil && !e.Volatile {
		q.locked(func() { q.log.Append(t, e, run) })
		return
	}
	q.keepBehind(t.Namespace, clusterlog.Size(e), func() { run(0) })
	b.relay(e)
}

func (q *clustered) deliver(b BroadcastOperator, e rooms.Event) {
	q.locked(func() { q.deliverAt(b, b.target(), e, 0) })
}

// deliverAt sends an event to the sockets of this server, and to those that are
// being recovered. Place is 0 if the event cannot be replayed. mu is held.
func (q *clustered) deliverAt(b BroadcastOperator, t rooms.Target, e rooms.Event, place rooms.Place) {
	for _, in := range b.targets() {
		place := place
		if in.name != t.Namespace && q.adapter.Lane(in.name) != q.adapter.Lane(t.Namespace) {
			place = 0 // it means nothing there
		}
		frames, tail := framing.At(in.name, e, q.log.Offset(in.name, e, place))
		if !e.Volatile {
			q.log.Delivered(in.name, t, frames, e.Plain)
		}
		d := b.delivery(in, e, frames)
		d.Message.(*message).tail = tail
		q.wake.add(q.srv.post(d))
	}
}

// Recorded delivers an event that has been read.
func (q *clustered) Recorded(name string, e rooms.Entry) {
	var class *classed // found with nothing locked
	if b, ok := q.host.at(e.Target); ok && e.Own == 0 && e.Op == rooms.Emitted {
		class = b.classed(e.Event).class
	}
	q.locked(func() {
		x := q.log.Lane(name)
		q.pass(name, x, e.Place, time.Now())
		switch {
		case e.Own != 0:
			q.log.Returned(x, e.Own, e.Place)
			return
		case e.Op != rooms.Emitted:
			x.Read()
			return
		}
		if b, ok := q.host.at(e.Target); ok {
			b.volatile, b.plain, b.class = e.Event.Volatile, e.Event.Plain, class
			place := e.Place
			if e.Once {
				place = 0
			}
			q.deliverAt(b, e.Target, e.Event, place)
		}
	})
}

// Passed notes how far a lane has been read.
func (q *clustered) Passed(name string, p rooms.Place) {
	q.locked(func() { q.pass(name, q.log.Lane(name), p, time.Now()) })
}

// pass notes that everything up to p has been delivered, or is about to be. What
// came before has been posted to the loops, which are told now and then.
func (q *clustered) pass(name string, x *clusterlog.Lane, p rooms.Place, now time.Time) {
	if before, tell := x.Pass(p, now); tell {
		q.tell(name, uint64(before))
	}
}

func (q *clustered) change(namespace string, f func(effect uint64)) {
	q.behind(namespace, func() { f(0) })
}

func (q *clustered) changeNow(f func(effect uint64)) { q.locked(func() { f(0) }) }

func (q *clustered) changed(sh *shard, _ uint32, _ string, _ bool, _ uint64) { sh.loop.Check() } // it is in the log

func (q *clustered) revise(b BroadcastOperator, op rooms.Op, names []string) *revision {
	r := b.revision(q.recovering, op, names)
	q.log.Revise(b.target(), op, names)
	q.revisions.Begin(&r.Revision, len(q.srv.shards))
	return r
}

func (q *clustered) reviseGone(s Socket, op rooms.Op, names []string, _ uint64) {
	t := rooms.Target{Namespace: s.in.name, Rooms: []string{s.ID()}}
	q.announce(t, op, names, func() {
		switch op {
		case rooms.Joined:
			q.adapter.Join(t, names)
		case rooms.Left:
			q.adapter.Leave(t, names)
		default:
			q.adapter.Disconnect(t, false)
		}
	})
}

func (q *clustered) announce(t rooms.Target, op rooms.Op, names []string, tell func()) {
	q.locked(func() {
		q.log.Of(t.Namespace).Issue(t, op, names)
		tell()
	})
}

func (q *clustered) freed(ref rooms.Ref) {
	q.mu.Lock()
	q.log.Directs.Forget(ref)
	q.mu.Unlock()
}

func (q *clustered) lane(namespace string) string { return q.adapter.Lane(namespace) }

func (q *clustered) reached(namespace string) uint64 { return uint64(q.log.Of(namespace).Last()) }

// tendSoon drops what need not be kept, and has that be looked after; mu is held.
func (q *clustered) tendSoon() {
	if kept := q.log.Directs.Prune(q.proof, q.most); kept && !q.armed {
		q.armed = true
		q.arm()
	}
}

func (q *clustered) tend() (more bool) {
	q.armed = q.log.Directs.Prune(q.proof, q.most)
	return q.armed
}

func (q *clustered) recoveries() Recoveries {
	q.mu.Lock()
	defer q.mu.Unlock()
	r := q.counts
	events, bytes := q.log.Directs.Kept()
	r.Events, r.Bytes = int64(events), bytes
	return Recoveries(r)
}

func (q *clustered) status(st *rooms.Status) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, x := range q.log.Lanes {
		if x.Slow() && st.Up {
			st.Up, st.Reason = false, "what is added to the log does not come back in time"
		}
	}
}

// save keeps the session of a socket in the cluster, after what loops have not come
// to yet.
func (q *clustered) save(s Socket, x *socketState, loop int) {
	data := s.wireData() // without which it would not be what it was
	q.mu.Lock()
	revoked := false
	q.revisions.Owed(&x.Socket, s.in.ns, loop, func(r *packetlog.Revision) {
		if r.Op == rooms.Disconnected {
			revoked = true
		} else {
			x.Rooms = clusterlog.Moved(x.Rooms, x.ID, r.Names, r.Op == rooms.Joined)
		}
	})
	at := q.log.Of(x.Name).Now()
	direct, whole := q.log.Directs.Take(x.Ref, rooms.Place(x.From))
	whole = whole && data != nil
	switch {
	case revoked:
		q.counts.Revoked++
	case !whole:
		q.counts.Lost++
	}
	q.mu.Unlock()
	if revoked || !whole {
		return
	}
	session, window := x.session(data), q.window
	if x.Expires != 0 {
		window = min(window, session.Expires.Sub(q.srv.wall()))
	}
	session.Until, session.At, session.Behind = time.Now().Add(window), at.Place, at.N
	session.Direct = clusterlog.AppendDirects(direct)
	q.adapter.Keep(session, window)
}

// takeTimeout is how long a client waits for its session.
const takeTimeout = 3 * time.Second

// regain has a connecting socket recovered, or connected as a new one, when the
// log has answered.
func (q *clustered) regain(sh *shard, es eio.Session, slot uint32, c comeback) bool {
	if account, ok := sh.toll(es, 1); ok {
		q.fetch(sh, slot, c, account)
	}
	return true
}

// fetch is the rest of regain. Account is charged with taskCost until the log has
// answered.
func (q *clustered) fetch(sh *shard, slot uint32, c comeback, account *budget.Account) {
	ref, in := sh.ref(slot), sh.instance(slot)
	identity := q.srv.details.identity(ref)
	// ends when the log has answered, or the time is out
	go func() {
		defer account.Done(taskCost)
		ctx, cancel := context.WithTimeout(context.Background(), takeTimeout)
		defer cancel()
		w := q.watch(ctx, in, c, identity)
		posted := sh.loop.Post(loop.TaskFunc(func(*loop.Loop) { q.fetched(sh, ref, w) }))
		if !posted && w != nil {
			q.giveBack(w)
		}
	}()
}

func (q *clustered) fetched(sh *shard, ref rooms.Ref, w *clusterlog.Watcher) {
	slot := sh.lookup(ref)
	switch {
	case slot != 0 && sh.sockets.At(slot).state == connecting && w == nil:
		sh.enterNamespace(sh.session(slot), slot)
	case slot != 0 && sh.sockets.At(slot).state == connecting:
		x := stateOf(w.Session, w.Name)
		x.From = uint64(w.From)
		q.claimed(sh, sh.session(slot), slot, claim{state: x, from: x.From, search: &watch{q, w}})
	case w != nil:
		q.giveBack(w)
	}
}

// watch returns a watcher that has what a client has missed until now; nil if it
// cannot be recovered. A session that is somebody else's is left to it.
func (q *clustered) watch(ctx context.Context, in *instance, c comeback, identity string) *clusterlog.Watcher {
	session, ok, err := q.adapter.Take(ctx, *c.PID)
	if err != nil {
		q.srv.notice.Warn("a session could not be taken from the log", "error", err)
	}
	w := &clusterlog.Watcher{Session: session, Name: in.name, From: session.Since}
	if in.ns.pattern != nil {
		w.Pattern = in.ns.name
	}
	switch {
	case !ok, overdue(session.Expires, q.srv.wall()):
		q.count(&q.counts.Unknown)
		return nil
	case session.Namespace != in.name && (session.Namespace != "" || in.name != "/"), // Node's do not say; most are of that
		!packetlog.Alike(session.Identity, identity):
		q.giveBack(w)
		q.count(&q.counts.Alien)
		return nil
	}
	if !w.Resume(c.Offset) {
		q.count(&q.counts.Lost)
		return nil
	}
	q.srv.registry.announce(in) // who knows a session's private id was admitted to it; what is missed comes from now on
	switch {
	case w.From != 0 && q.log.Watch(ctx, w):
		return w
	case w.Bytes() > q.srv.mostReplayed():
		q.count(&q.counts.TooLarge)
	default:
		q.count(&q.counts.Lost)
	}
	return nil
}

// giveBack keeps the session of a socket again that went before it was recovered,
// for the time that it has.
func (q *clustered) giveBack(w *clusterlog.Watcher) {
	q.mu.Lock()
	q.log.Abandon(w)
	q.mu.Unlock()
	session := w.Session
	session.Since = w.From
	if session.Until.IsZero() { // of a server of Node
		session.Until = time.Now().Add(q.window)
	}
	if left := time.Until(session.Until); left > 0 && !w.Revoked() {
		q.adapter.Keep(session, min(left, q.window))
	}
}

// A watch is a search in the cluster's log: it is done when the socket is claimed.
type watch struct {
	q *clustered
	w *clusterlog.Watcher
}

func (x *watch) step() (done bool) { return true }

func (x *watch) finish(most int64) (missed []*message, names []string, ok, last bool) {
	all, outcome := x.q.log.End(x.w, most)
	counts := &x.q.counts
	switch outcome {
	case clusterlog.Revoked:
		counts.Revoked++
		return nil, nil, false, true
	case clusterlog.TooLarge:
		counts.TooLarge++
		return nil, nil, false, true
	case clusterlog.Lost:
		counts.Lost++
		return nil, nil, false, true
	}
	counts.Recovered++
	counts.Replayed += int64(len(all))
	for _, m := range all {
		missed = append(missed, newMessage(m.Frames, m.Plain))
	}
	return missed, stateOf(x.w.Session, x.w.Name).Rooms, true, true
}

func (x *watch) resumed(ref rooms.Ref) { x.q.log.Directs.Resend(ref, x.w.Again()) }
func (x *watch) back()                 {}
func (x *watch) giveUp()               { x.q.giveBack(x.w) }
