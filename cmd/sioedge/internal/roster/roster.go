// Package roster tells backends who is there, and tells them when somebody has gone,
// whatever becomes of the server that somebody was on.
//
// # What a backend sees
//
// Of each socket of which it was told, by its decision to let it in (connect) or
// afterwards (connected), a backend is told once that it has gone (disconnect), when its
// client cannot come back to it any more: at once, or, with recovery, when the window of
// that is over. Who comes back in time, here or to another server, was never away.
//
//	connected   {nsp, route, sid, user, params, recovered}
//	disconnect  {nsp, route, sid, user, params, reason, rooms, connectedMs, recoverable}
//	node        {node, state}     came, left, lost, back
//
// Each is told at least once; of one socket, one thing after the other: the next when the
// backend has taken the one before. An item has an id that is made of the socket's, of
// what it is and of a generation, which is the same on all servers, so that a double is
// known by it, whoever tells it. So there is one connected and one disconnect of a socket,
// unless the backend was told that a socket has gone and it has not: then it is told that
// it is there again, by connected with recovered true, and later that it has gone, both
// with ids of the next generation. That is so when
//
//   - a client came back while the disconnect was under way;
//   - its server was held to be lost, since it could not be heard for Options.Lost, and is
//     not: "lost" of that server, and the disconnects of its sockets with the reason
//     node_lost, are followed by "back" and by connected of those that are there still,
//     once the two hear each other again. What the server told meanwhile are doubles;
//   - it came back on another server that could not ask the one it left, so that it is not
//     known what the backend was told: connected is told after half a minute then.
//
// A disconnect by another server has no rooms, and as connectedMs what is known of it.
//
// # How nothing is forgotten
//
// A server has a ledger of the sockets that backends know. An entry goes when the backend
// has taken the disconnect, not when that was sent: one that was lost on the way, which
// the webhook says, is told again, at growing intervals, for Options.Keep. Not more
// disconnects a second are told than the backend may get, and not more than some at a
// time; the others wait in the ledger.
//
// Two other servers keep each ledger (stream.go). When a server falls silent, the one of
// them that knows more tells of its sockets, or the other one if that is lost too
// (copy.go). A client that recovers on another server takes its socket along (claim.go).
// A server that ends tells what it can until the drain is over, and leaves the rest, and
// those whose clients may come back to other servers, to those two.
//
// What has happened within some ten milliseconds before a server crashes may not be known
// to others: a socket that came then is lost, and one that left then and may be recovered
// is told to have gone too early. If both who keep a ledger crash with its server, it is
// lost.
package roster

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/peerlink"
	"github.com/sioedge/sioedge/loop/notice"
	"github.com/sioedge/sioedge/sio"
)

// Defaults of Options.
const (
	DefaultHeartbeat  = 5 * time.Second
	DefaultLost       = 20 * time.Second
	DefaultMaxEntries = 1_000_000
	DefaultKeep       = 24 * time.Hour
	DefaultRate       = 1000
)

// Options are those of New.
type Options struct {
	// Cluster says that the server has an adapter: the others are told, and heard.
	Cluster bool
	// Elsewhere says that a client may recover its socket on another server.
	Elsewhere bool
	// Recovery is the window of sio.Recovery. Zero: nobody comes back.
	Recovery time.Duration
	// Backends returns the backends by name, those that there are at this moment. The map
	// is not changed. It is called often.
	Backends func() map[string]action.Backend
	// Rate returns how many disconnects a second a backend may be told of. Nil, or zero:
	// DefaultRate.
	Rate func(backend string) int
	// Heartbeat is how often a server says that it is there, Lost how long one may be
	// silent before others tell of its sockets. Zero: DefaultHeartbeat, DefaultLost.
	Heartbeat, Lost time.Duration
	// MaxEntries bounds the sockets of this server that are kept, and half of those of
	// others. A backend is told how many it will not be told of: see action.Loser. Zero:
	// DefaultMaxEntries.
	MaxEntries int
	// Keep is how long it is tried to tell of a disconnect. Zero: DefaultKeep.
	Keep time.Duration
	// Logger gets what is refused or lost, now and then; nil discards.
	Logger *slog.Logger

	// now is the clock of tests, which then call step themselves.
	now func() time.Time
}

// A Roster is of one server. Any goroutine may use it.
type Roster struct {
	// Immutable.
	srv    *sio.Server
	o      Options
	link   *peerlink.Link
	notice *notice.Log
	wake   chan struct{}
	done   chan struct{} // closed when run has ended
	over   chan struct{} // closed to end it
	manual bool          // tests call step

	looked time.Time // at the adapter; owned by run
	unsaid atomic.Int64

	// Guarded by mu. Nothing that is not the book's is called with it held.
	mu     sync.Mutex
	b      *book
	next   time.Time // when run will look
	names  map[action.Backend]string
	came   bool // that this server has come was told
	still  bool // nothing is told: see carry.go
	heir   bool // run has not begun
	acting int  // that do what the book has said
	acted  *sync.Cond
	coming coming // of a successor

	doneMu sync.Mutex
	told   []outcome
}

// An outcome is what has become of a telling.
type outcome struct {
	t     *telling
	taken bool
}

// topic is that of the servers.
const topic = "roster"

// New returns a Roster of a server, before that serves. It ends with the server's
// Shutdown.
func New(srv *sio.Server, o Options) *Roster {
	o.Heartbeat, o.Lost = cmp.Or(o.Heartbeat, DefaultHeartbeat), cmp.Or(o.Lost, DefaultLost)
	o.MaxEntries, o.Keep = cmp.Or(o.MaxEntries, DefaultMaxEntries), cmp.Or(o.Keep, DefaultKeep)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	rate := o.Rate
	if rate == nil {
		rate = func(string) int { return 0 }
	}
	manual := o.now != nil
	if !manual {
		o.now = time.Now
	}
	r := &Roster{srv: srv, o: o, notice: notice.New(o.Logger, 0), wake: make(chan struct{}, 1), done: make(chan struct{}), over: make(chan struct{}), still: srv.Inherits(), heir: srv.Inherits(), manual: manual}
	r.acted = sync.NewCond(&r.mu)
	r.b = newBook(srv.Node(), o.now().UnixNano(), rules{
		cluster: o.Cluster, elsewhere: o.Elsewhere && o.Cluster, recovery: o.Recovery, heartbeat: o.Heartbeat, lost: o.Lost, entries: o.MaxEntries, keepFor: o.Keep,
		rate: func(name string) int { return cmp.Or(rate(name), DefaultRate) },
	})
	if o.Cluster {
		r.link = peerlink.New(srv, o.Logger)
		r.link.Handle(topic, r.heard)
	}
	srv.OnShutdown(r.part)
	r.carry()
	switch {
	case manual:
		close(r.done)
	case !r.heir:
		// ends with part
		go r.run()
	}
	return r
}

// Came has a backend told of a socket that was admitted, if hooks has Connected, and notes
// that it knows of it, if hooks has Disconnect: by that, or since it let it in. Hooks that
// the backend does not want are none. It is called before anything else is told of the
// socket, and does not wait for the backend.
func (r *Roster) Came(s sio.Socket, e action.Entry, b action.Backend, hooks action.Hook) {
	hooks &= b.Hooks()
	tell, keep := hooks.Has(action.Connected), hooks.Has(action.Disconnect)
	if !tell && !keep {
		return
	}
	name, ok := r.nameOf(b)
	if !ok {
		return // it is not there any more
	}
	a := arrival{sid: s.ID(), user: e.User, lane: action.LaneOf(s.Conn()), recovered: e.Recovered || s.Recovered(), tell: tell, keep: keep}
	for _, name := range e.Params {
		a.names = append(a.names, name, s.Param(name))
	}
	a.at = placeKey{backend: name, route: e.Route, namespace: e.Namespace, params: paramsKey(a.names)}
	r.do(func(now time.Time) { r.b.came(&a, now) })
}

// Left notes that a socket leaves for which Came was called. It is called in a function of
// OnDisconnecting, where the rooms of the socket are known, and whether it is recoverable.
func (r *Roster) Left(s sio.Socket, reason sio.Reason) {
	p := parting{reason: string(reason), recoverable: s.Recoverable(), rooms: appendRooms(nil, s.ID(), s.Rooms())}
	sid, lane := s.ID(), action.LaneOf(s.Conn())
	r.do(func(now time.Time) {
		p.left = now.UnixMilli()
		r.b.left(sid, p, lane, now)
	})
}

// nameOf returns the name of a backend.
func (r *Roster) nameOf(b action.Backend) (string, bool) {
	r.mu.Lock()
	name, ok := r.names[b]
	r.mu.Unlock()
	if ok {
		return name, true
	}
	names := map[action.Backend]string{}
	for name, x := range r.o.Backends() {
		names[x] = name
	}
	r.mu.Lock()
	r.names = names
	r.mu.Unlock()
	name, ok = names[b]
	return name, ok
}

// do changes the book, and does what comes of it.
func (r *Roster) do(f func(now time.Time)) {
	r.mu.Lock()
	now := r.o.now()
	f(now)
	next := r.b.step(now)
	if !next.IsZero() && (r.next.IsZero() || next.Before(r.next)) {
		r.poke()
	}
	r.next = next
	if r.still {
		r.mu.Unlock()
		return
	}
	out := r.b.out
	r.b.out = nil
	r.acting++
	r.mu.Unlock()
	for i := range out {
		r.effect(&out[i])
	}
	r.mu.Lock()
	if r.acting--; r.acting == 0 {
		r.acted.Broadcast()
	}
	r.mu.Unlock()
}

func (r *Roster) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// effect does what an effect says.
func (r *Roster) effect(e *effect) {
	switch {
	case e.say != nil:
		if err := r.link.Emit(topic, e.say); err != nil {
			r.unsaid.Add(1)
			r.notice.Warn("the roster could not be told to other servers", "error", err)
		}
	case e.tell != nil:
		r.tell(e.tell)
	case e.news != nil:
		r.tellNews(e.news)
	default:
		r.notice.Warn("a backend will not be told that a socket has gone: there are too many", "backend", e.loses, "option", "limits.max_backend_sockets", "bound", r.o.MaxEntries)
		if b, ok := r.o.Backends()[e.loses].(action.Loser); ok {
			b.Lose(action.Disconnect, 1)
		}
	}
}

// tell tells a backend of a socket.
func (r *Roster) tell(t *telling) {
	b, kind := r.o.Backends()[t.place.backend], action.Connected
	if t.word == goodbye {
		kind = action.Disconnect
	}
	if b == nil || !b.Hooks().Has(kind) {
		r.do(func(time.Time) { r.b.drop(t) })
		return
	}
	p := action.Peer{
		ID: socketID(kind.String(), t.sid, t.gen), Lane: t.lane, Namespace: t.place.namespace, Route: t.place.route, SID: t.sid, User: t.user,
		Time: time.UnixMilli(cmp.Or(t.at, r.o.now().UnixMilli())),
	}
	if t.e != nil {
		p.Done = func(taken bool) { r.outcome(t, taken) }
	}
	if t.lane == 0 { // of another server's
		p.Lane = action.LaneOfText(t.sid)
	}
	b.Tell(kind, p, t.members)
}

// tellNews tells all backends of a server.
func (r *Roster) tellNews(n *news) {
	for _, b := range r.o.Backends() {
		if b.Hooks().Has(action.Node) {
			b.Tell(action.Node, action.Peer{ID: n.id, Lane: action.LaneOfText(n.node), Time: r.o.now()}, n.members)
		}
	}
}

// heard is told by the other servers.
func (r *Roster) heard(from string, body json.RawMessage) (answer any, err error) {
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	r.do(func(now time.Time) { err = r.b.hear(from, &m, now) })
	return nil, err
}

// run does what is due.
func (r *Roster) run() {
	defer close(r.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		r.step()
		r.mu.Lock()
		next := r.next
		r.mu.Unlock()
		wait := time.Hour
		if !next.IsZero() {
			wait = max(next.Sub(r.o.now()), time.Millisecond)
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-r.wake:
		case <-r.over:
			return
		}
	}
}

// step does what is due by now.
func (r *Roster) step() {
	up := true
	if now := r.o.now(); r.o.Cluster && now.Sub(r.looked) >= time.Second {
		up, r.looked = r.srv.Cluster().Up, now
	}
	all := r.outcomes()
	r.do(func(now time.Time) {
		if !r.came {
			r.came = true
			r.b.announce("came")
		}
		if !up {
			r.b.isolated(now)
		}
		for _, x := range all {
			r.b.delivered(x.t, x.taken, now)
		}
	})
}

// part is called when all sockets have left, and their handlers have returned. It waits
// until backends have been told of them, as long as the server may take for its end, and
// leaves the rest to others.
func (r *Roster) part(ctx context.Context) {
	if r.neverServed() {
		return
	}
	wait := ctx
	if end, ok := ctx.Deadline(); ok { // there has to be time to say good-bye
		d := time.Until(end)
		var cancel context.CancelFunc
		wait, cancel = context.WithDeadline(ctx, end.Add(-min(d/10, 500*time.Millisecond)))
		defer cancel()
	}
	r.do(r.b.shut)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for waits := true; waits; { // for what run does
		r.mu.Lock()
		untold, left := r.b.untold()
		waits = untold > 0 || left > 0 && len(r.b.stream.keepers) > 0 && !r.b.kept()
		r.mu.Unlock()
		if !waits {
			break
		}
		select {
		case <-again.C:
		case <-wait.Done():
			waits = false
		}
	}
	r.end()
}

// end ends the roster.
func (r *Roster) end() {
	left, keepers, abandoned := 0, 0, 0
	r.do(func(time.Time) {
		if r.b.ended {
			return
		}
		_, left = r.b.untold()
		keepers = len(r.b.stream.keepers)
		if keepers == 0 {
			r.b.dropped += int64(left)
		}
		abandoned = r.b.abandoned()
		r.b.dropped += int64(abandoned)
		if !r.b.handed {
			r.b.announce("left")
		}
		r.b.end()
		close(r.over)
	})
	switch {
	case left == 0:
	case keepers == 0:
		r.o.Logger.Warn("stopped before backends were told of all sockets that have gone", "sockets", left, "see", "drain")
	default:
		r.o.Logger.Info("other servers tell backends of sockets that have gone", "sockets", left)
	}
	if abandoned > 0 {
		r.o.Logger.Warn("stopped before backends were told of all sockets of servers that were lost", "sockets", abandoned, "see", "drain")
	}
	<-r.done
}
