// Package presence knows who is in which room, over a whole cluster, and tells clients
// when somebody comes or goes.
//
// # What clients see
//
// A user comes with the first of its sockets and goes with the last, whichever servers
// they are of; a socket that is nobody's counts as one by its id. The members of a room
// are sent presence:join and presence:leave, {"room", "user"}, and may ask presence:get
// with the name of a room that they are in: the answer is an [Answer].
//
// A user who has left is shown until a debounce is over, and as long as its client may
// recover a socket; who is back by then, here or on another server, was never away for
// the others.
//
// # Exactly once, and in order
//
// Each server has a view of the whole cluster (view.go), which its own changes and the
// messages of the others change, one at a time. Its own members are told by that view
// alone: of each user who appears in it or is gone from it, by a local emit. So no two
// servers have to agree on who tells, no member hears anything twice, and what each
// hears is how the view has changed, in that order: joins and leaves of a user take
// turns, whatever is lost between servers.
//
// Lists are taken from the same view, and what was told before and after it waits in the
// same queue, which one goroutine at a time empties. A member thus misses no change
// between a list and the next event: the answer to presence:get, and what [Presence.Show]
// calls, have their place among the events.
//
// # Between servers
//
// Servers tell what has changed, in batches, and everything to one that has missed
// something (replica.go). One that is silent for too long is forgotten with its members,
// by each server for its own; one that ends says so, and its members are shown for the
// debounce still, in which they may come to others. Servers of Node do not take part.
package presence

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/peerlink"
	"github.com/sioedge/sioedge/loop/notice"
	"github.com/sioedge/sioedge/sio"
)

// Events of clients and for them.
const (
	Join  = "presence:join"  // a user has come: {"room", "user"}
	Leave = "presence:leave" // a user has gone: {"room", "user"}
	Get   = "presence:get"   // of clients: the name of a room; the answer is an Answer
	// List is an Answer too. It is sent to who has recovered, with Options.Resync.
	List = "presence:list"
)

// Defaults of Options.
const (
	DefaultHeartbeat  = 5 * time.Second
	DefaultLost       = 20 * time.Second
	DefaultMaxMembers = 1_000_000
	DefaultMaxList    = 10_000

	maxUser    = 256      // bytes: longer ones are not shown
	maxWaiting = 16 << 10 // effects: who causes more waits
	maxResync  = 256      // members that one is told of unasked
)

// Options are those of New. The zero value is for a server without others.
type Options struct {
	// Cluster says that the server has an adapter: the others are told, and heard.
	Cluster bool
	// Recovery is the window of sio.Recovery: for so long a client that has gone may
	// come back unnoticed. Zero: it cannot.
	Recovery time.Duration
	// Resync is for clusters that keep sessions in a log, where a client comes back to
	// any server, but without the events of presence that it has missed: it is sent List
	// for each of its rooms.
	Resync bool
	// Heartbeat is how often a server says that it is there, Lost how long one may be
	// silent before its members are forgotten. Zero: DefaultHeartbeat, DefaultLost.
	Heartbeat, Lost time.Duration
	// MaxMembers bounds the members of all rooms of the cluster together: further ones
	// are not shown. Zero: DefaultMaxMembers.
	MaxMembers int
	// MaxList bounds the members in an Answer. Zero: DefaultMaxList.
	MaxList int
	// Logger gets what is refused, now and then; nil discards.
	Logger *slog.Logger

	// now is the clock of tests, which then call step themselves.
	now func() time.Time
}

// A Member is a user in a room.
type Member struct {
	User  string `json:"user"`
	Count int    `json:"count"` // connections; 0: away, and may be back soon
	Nodes int    `json:"nodes"` // servers that they are of
}

// An Answer says who is in a room.
type Answer struct {
	OK      bool     `json:"ok"`
	Room    string   `json:"room"`
	Count   int      `json:"count"`   // users
	Members []Member `json:"members"` // by name; fewer than Count if they are too many
}

// Stats are counts since the start, and gauges, which say so.
type Stats struct {
	Rooms, Members, Servers int   // gauges: of the cluster; other servers that are known
	Waiting                 int   // a gauge: events that are to be emitted
	Joins, Leaves           int64 // that were told
	Refused                 int64 // members that are not shown: Options.MaxMembers, or too long a name
	Strays                  int64 // leaves of who was not counted
	Lost                    int64 // servers that fell silent
	Strangers               int64 // messages of servers that are too many
	Asked, Answered         int64 // servers that were asked for what was missed; buckets that were told
	Failed                  int64 // emits that returned an error
	Links                   peerlink.Stats
}

// A Presence is of one server. Any goroutine may use it.
type Presence struct {
	// Immutable.
	srv    *sio.Server
	user   func(sio.Socket) string
	o      Options
	link   *peerlink.Link
	notice *notice.Log
	wake   chan struct{} // something is due sooner
	done   chan struct{} // closed when run has ended
	manual bool          // tests call step

	looked time.Time // at the adapter; owned by run

	// Guarded by mu. Nothing that is not the view's is called with it held.
	mu                             sync.Mutex
	v                              *view
	next                           time.Time // when run will look
	draining                       bool      // somebody empties v.out
	still                          bool      // nobody does: see carry
	heir                           bool      // run has not begun
	room                           *sync.Cond
	closed                         bool
	guards                         map[*sio.Namespace]*guard
	joins, leaves, failed, refused int64
	coming                         coming // of a successor
}

// A guard is of a namespace.
type guard struct {
	ns *sio.Namespace
	on func() config.Presence
}

// topic is that of the servers.
const topic = "presence"

// New returns a Presence of a server, before that serves. User names the user of a
// socket, from its middlewares on; "" is nobody.
func New(srv *sio.Server, user func(sio.Socket) string, o Options) *Presence {
	o.Heartbeat = cmp.Or(o.Heartbeat, DefaultHeartbeat)
	o.Lost = cmp.Or(o.Lost, DefaultLost)
	o.MaxMembers = cmp.Or(o.MaxMembers, DefaultMaxMembers)
	o.MaxList = cmp.Or(o.MaxList, DefaultMaxList)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	manual := o.now != nil
	if !manual {
		o.now = time.Now
	}
	p := &Presence{srv: srv, user: user, o: o, notice: notice.New(o.Logger, 0), guards: map[*sio.Namespace]*guard{},
		wake: make(chan struct{}, 1), done: make(chan struct{}), manual: manual}
	p.room = sync.NewCond(&p.mu)
	p.v = newView(srv.Node(), o.now().UnixNano(), o.Cluster, limits{o.MaxMembers, o.Heartbeat, o.Lost})
	if o.Cluster {
		p.link = peerlink.New(srv, o.Logger)
		p.link.Handle(topic, p.heard)
	}
	p.still, p.heir = srv.Inherits(), srv.Inherits()
	p.carry()
	switch {
	case manual:
		close(p.done)
	case !p.heir:
		// ends with Close
		go p.run()
	}
	return p
}

// Guard has the rooms of a namespace, of all its instances, looked after, and its
// clients be told while on says so, which is asked whenever somebody comes or goes. It
// is called when presence is wanted for the first time: sockets that are in rooms by
// then count too. From then on all are counted, also while it is not on, so that it can
// be at any time. A second call replaces on.
func (p *Presence) Guard(ns *sio.Namespace, on func() config.Presence) {
	p.mu.Lock()
	g := p.guards[ns]
	if g != nil {
		g.on = on
		p.mu.Unlock()
		return
	}
	g = &guard{ns: ns, on: on}
	p.guards[ns] = g
	p.mu.Unlock()
	ns.Handle(Get, func(s sio.Socket, m *sio.Msg) error { return p.get(g, s, m) })
	ns.OnJoin(func(s sio.Socket, room string) { p.joined(g, s, room) })
	ns.OnLeave(func(s sio.Socket, room string) { p.left(g, s, room) })
}

// config returns what is said of a guard's namespace.
func (p *Presence) config(g *guard) config.Presence {
	p.mu.Lock()
	on := g.on
	p.mu.Unlock()
	return on()
}

// do changes the view, and tells what comes of it.
func (p *Presence) do(f func(now time.Time)) {
	p.mu.Lock()
	for len(p.v.out) >= maxWaiting && p.draining {
		p.room.Wait()
	}
	p.change(f)
	p.drain()
}

// change is the first half of do. mu is held.
func (p *Presence) change(f func(now time.Time)) {
	now := p.o.now()
	f(now)
	next := p.v.step(now)
	if sooner := !next.IsZero() && (p.next.IsZero() || next.Before(p.next)); sooner {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	p.next = next
}

// drain tells what waits, unless somebody does already, and unlocks mu, which is held.
func (p *Presence) drain() {
	defer p.mu.Unlock()
	if p.draining || p.still {
		return
	}
	p.draining = true
	for len(p.v.out) > 0 && !p.still {
		batch := p.v.out
		p.v.out = nil
		p.room.Broadcast()
		p.mu.Unlock()
		joins, leaves, failed := int64(0), int64(0), int64(0)
		for i := range batch {
			e := &batch[i]
			told, err := p.tell(e)
			switch {
			case err != nil:
				failed++
				p.notice.Warn("presence could not be told", "room", e.at.room, "namespace", e.at.instance, "error", err)
			case told && e.joined:
				joins++
			case told:
				leaves++
			}
		}
		p.mu.Lock()
		p.joins, p.leaves, p.failed = p.joins+joins, p.leaves+leaves, p.failed+failed
	}
	p.draining = false
	p.room.Broadcast()
}

// A note is what members are told.
type note struct {
	Room string `json:"room"`
	User string `json:"user"`
}

// tell does what an effect says. Told: it was a join or a leave.
func (p *Presence) tell(e *effect) (told bool, err error) {
	defer func() {
		if x := recover(); x != nil {
			err = fmt.Errorf("presence: panic: %v", x)
		}
	}()
	switch {
	case e.call != nil:
		e.call()
		return false, nil
	case e.say != nil:
		return false, p.link.Emit(topic, e.say)
	case !p.config(e.guard).Enabled:
		return false, nil
	}
	event := Leave
	if e.joined {
		event = Join
	}
	return true, e.guard.ns.Instance(e.at.instance).To(e.at.room).Local().Emit(event, note{e.at.room, e.user})
}

// List returns who is in a room of an instance of a namespace, in the whole cluster, in
// no order, Options.MaxList at most. It does not wait: of a server that has just come,
// or that could not be heard, what is known. The error is that of ctx.
func (p *Presence) List(ctx context.Context, instance, room string) ([]Member, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all, _ := p.v.list(place{instance, room}, p.o.MaxList)
	return all, ctx.Err()
}

// Show is List in order with what members are told: f gets who is in the room, and how
// many there are, and is called once everything has been emitted that led to that, and
// before anything else is. So who has joined the room and is sent the list by f misses
// nothing. All is f's. It must not wait for anything, nor call methods of p; it may be
// called before Show returns, or by another goroutine later.
func (p *Presence) Show(instance, room string, f func(all []Member, n int)) {
	p.mu.Lock()
	p.change(func(time.Time) {
		all, n := p.v.list(place{instance, room}, p.o.MaxList)
		p.v.out = append(p.v.out, effect{call: func() { f(all, n) }})
	})
	p.drain()
}

// Close says that this server ends: what its sockets do from now on is told to nobody,
// and its users are shown by the others for as long as they may come back to one of
// these. It is called before the server is shut down.
func (p *Presence) Close(context.Context) {
	linger := time.Duration(0)
	if p.o.Resync {
		linger = p.o.Recovery
	}
	p.mu.Lock()
	var all []func() config.Presence
	for _, g := range p.guards {
		all = append(all, g.on)
	}
	p.mu.Unlock()
	for _, on := range all {
		linger = max(linger, on().Debounce)
	}
	p.do(func(now time.Time) {
		if !p.closed {
			p.v.end(now, min(linger, maxLinger*time.Millisecond))
			p.closed = true
		}
	})
	p.mu.Lock()
	never := p.heir
	p.mu.Unlock()
	if never {
		return
	}
	p.poke()
	<-p.done
}

func (p *Presence) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run does what is due.
func (p *Presence) run() {
	defer close(p.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if p.step() {
			return
		}
		p.mu.Lock()
		next := p.next
		p.mu.Unlock()
		wait := time.Hour
		if !next.IsZero() {
			wait = max(next.Sub(p.o.now()), 0)
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-p.wake:
		}
	}
}

// step does what is due by now. Ended: that is nothing any more.
func (p *Presence) step() (ended bool) {
	up := true
	if now := p.o.now(); p.o.Cluster && now.Sub(p.looked) >= time.Second {
		up, p.looked = p.srv.Cluster().Up, now
	}
	p.do(func(now time.Time) {
		if !up {
			p.v.isolated(now)
		}
		ended = p.closed
	})
	return ended
}

// Stats returns the counts.
func (p *Presence) Stats() Stats {
	p.mu.Lock()
	v := p.v
	st := Stats{
		Rooms: len(v.rooms), Members: v.members, Servers: v.nodes.Len(), Waiting: len(v.out), Joins: p.joins, Leaves: p.leaves,
		Refused: v.refused + p.refused, Strays: v.strays, Lost: v.lost, Strangers: v.nodes.Strangers, Asked: v.asked, Answered: v.answered, Failed: p.failed,
	}
	p.mu.Unlock()
	if p.link != nil {
		st.Links = p.link.Stats()
	}
	return st
}
