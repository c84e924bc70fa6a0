package sio

import (
	"slices"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/rooms"
)

// Stats are counts since the start, and gauges, which say so: what there is now.
type Stats struct {
	Loop        loop.Stats           // connections and bytes
	Rooms       rooms.Stats          // members of rooms, and broadcasts that are visited
	Directory   rooms.DirectoryStats // gauges: rooms and namespaces there are
	Engine      eio.Stats            // sessions, and HTTP requests with WebSocket handshakes among them
	Compression eio.CompressionStats // of messages and answers

	BadPackets int64 // connections closed for a packet that could not be decoded, or was past Limits or MaxEventName
	Violations int64 // connections closed for a packet that may not come when it came
	Unfinished int64 // connections closed because attachments they had announced did not come within Engine.BodyTimeout
	Timeouts   int64 // connections closed because they joined no namespace within ConnectTimeout
	Expired    int64 // deadlines of sockets that came: Socket.ExpireAt
	Refused    int64 // namespaces that clients were refused, for whatever reason
	Errors     int64 // errors that handlers returned, but for ErrClosed
	Panics     int64 // panics of handlers

	Drops    Drops      // what was not done, by the reason
	Backlog  Backlog    // what waits
	Recovery Recoveries // what became of clients that came back

	// Namespaces are in the order in which a client's namespace is looked up among
	// them, literal ones first.
	Namespaces []NamespaceStats

	Memory       int64 // a gauge: bytes that the process used when that was last looked at: with MemoryLimit
	MemoryClosed int64 // sessions closed for MemoryLimit

	Forwarded     int64 // requests for sessions of other servers that these answered
	ForwardFailed int64 // those that they did not: unknown, not reached, too late, or over MaxForwards
	// ForwardLimited are those of ForwardFailed that MaxForwards refused, or that were
	// for one of too many unknown servers; ForwardUnproven those whose server could not
	// prove who it is.
	ForwardLimited, ForwardUnproven int64

	Tunnels      int64 // a gauge: WebSockets of sessions of other servers that are passed on
	Tunnelled    int64 // those that were, and are
	TunnelFailed int64 // those that were not: the other server not reached or too late, or over MaxTunnels
	// TunnelLimited are those of TunnelFailed that MaxTunnels refused.
	TunnelLimited int64

	// Late are the loops that did not tell within 100 ms: what is said of them is what
	// they told last. While Serve ends what is left of sessions, all are.
	Late []loop.LateLoop
}

// Drops are what was not done, by the reason.
type Drops struct {
	Namespaces int64 // namespaces that were refused for MaxNamespaces or MaxInstances: of Stats.Refused
	Full       int64 // namespaces that were refused for want of a place on the client's loop: of Stats.Refused
	Rooms      int64 // rooms that were not joined for MaxRooms, or for their names
	Jammed     int64 // what was refused since too much waits for functions of rooms (MaxLeftBehind): rooms, which are of Rooms too, and namespaces, of Stats.Refused
	Acks       int64 // events that were not sent for MaxPendingAcks
	Overloaded int64 // events that were not sent for MaxBroadcasts, volatile ones among them
	Volatile   int64 // volatile events that were dropped, for each socket
	Crossed    int64 // packets of clients for sockets that the server had just ended
	Unhandled  int64 // events that were not handled for MaxLeftBehind, as their clients had left
	Unheard    int64 // events between servers that were not handled, since too many waited
}

// Backlog is what waits: all of it are gauges. What waits to be sent is counted by
// Loop and Engine.
type Backlog struct {
	Tasks      int64 // events and connections that wait for handlers on goroutines
	LeftBehind int64 // bytes of events that wait of sockets that have left: MaxLeftBehind
	Moves      int64 // bytes of what waits for functions of rooms, such as Namespace.OnJoin: MaxLeftBehind
	Broadcasts int64 // bytes of events that wait for loops to visit their recipients: MaxBroadcasts
}

// NamespaceStats are counts of a namespace, or of all instances of a pattern or
// function together.
type NamespaceStats struct {
	Name      string // as it was given to Server.Of
	Sockets   int64  // a gauge, those in middlewares among them
	Instances int64  // a gauge
	Events    int64  // that clients sent
	Emits     int64  // events and acknowledgements that clients were sent, for each of them
	Joins     int64  // of rooms, sockets' own left out
	Refused   int64  // sockets that were refused: for want of a place, or by a middleware
}

// space is what a loop counts of a namespace.
type space struct{ sockets, events, emits, joins, refused int64 }

func (x *space) add(y space) {
	x.sockets += y.sockets
	x.events += y.events
	x.emits += y.emits
	x.joins += y.joins
	x.refused += y.refused
}

// tally is what a loop counts. It is owned by the loop.
type tally struct {
	badPackets, violations, unfinished, timeouts, refused       int64
	namespaces, full, rooms, acks, volatile, crossed, unhandled int64
	expired, jammed                                             int64
	tasks                                                       int64 // that were put into inboxes, but for those that were forgotten
}

// told is what a loop has told of itself.
type told struct {
	loop        loop.Stats
	engine      eio.Stats
	compression eio.CompressionStats
	rooms       rooms.Stats
	tally       tally
	spaces      map[*Namespace]space
}

// tell returns what a loop counts.
func (sh *shard) tell() told {
	t := told{sh.loop.Stats(), sh.srv.eio.LoopStats(sh.loop), sh.srv.eio.LoopCompression(sh.loop), sh.local.Stats(), sh.tally, make(map[*Namespace]space, len(sh.spaces))}
	t.tally.tasks -= sh.taken.Load()
	for ns, x := range sh.spaces {
		t.spaces[ns] = *x
	}
	return t
}

// gather asks the loops for what they count, and returns that, of those that are late
// what they told last.
func (srv *Server) gather() (all []told, late []loop.LateLoop) {
	var missing []int
	if srv.ending.TryRLock() {
		all, missing = srv.latest.Gather(srv.engine, func(l *loop.Loop) told { return srv.shards[l.Index()].tell() })
		srv.ending.RUnlock()
	} else {
		all, missing = srv.latest.Last(len(srv.shards))
	}
	since := srv.engine.Late(0)
	for _, i := range missing {
		x := loop.LateLoop{Loop: i, For: loop.StatsWait} // it may have come now
		if at := slices.IndexFunc(since, func(y loop.LateLoop) bool { return y.Loop == i }); at >= 0 {
			x = since[at]
		}
		late = append(late, x)
	}
	return all, late
}

// Stats returns the counts of all loops, by one question to each. Any goroutine may
// call it: it returns after 100 ms at the latest, see Stats.Late.
func (srv *Server) Stats() Stats {
	r := srv.relay.Stats()
	st := Stats{
		Errors: srv.failures.errors.Load(), Panics: srv.failures.panics.Load(),
		Drops:    Drops{Overloaded: srv.overloaded.Load(), Unheard: srv.unheard.Load()},
		Backlog:  Backlog{LeftBehind: srv.leftBehind.Load(), Moves: srv.moving.Load(), Broadcasts: srv.rooms.Waiting()},
		Recovery: srv.Recoveries(), Directory: srv.rooms.Stats(),
		Memory: srv.memory.Used(), MemoryClosed: srv.memory.Closed(),
		Forwarded: r.Forwarded, ForwardFailed: r.ForwardFailed, ForwardLimited: r.ForwardLimited, ForwardUnproven: r.ForwardUnproven,
		Tunnels: r.Tunnels, Tunnelled: r.Tunnelled, TunnelFailed: r.TunnelFailed, TunnelLimited: r.TunnelLimited,
	}
	all, late := srv.gather()
	st.Late = late
	spaces := map[*Namespace]space{}
	for i := range all {
		st.Loop.Add(all[i].loop)
		st.Engine.Add(all[i].engine)
		st.Compression.Add(all[i].compression)
		st.Rooms.Add(all[i].rooms)
		st.add(&all[i].tally)
		for ns, x := range all[i].spaces {
			sum := spaces[ns]
			sum.add(x)
			spaces[ns] = sum
		}
	}
	for _, ns := range *srv.registry.all.Load() {
		x := spaces[ns]
		st.Namespaces = append(st.Namespaces, NamespaceStats{Name: ns.name, Sockets: x.sockets, Instances: srv.registry.count(ns),
			Events: x.events, Emits: x.emits, Joins: x.joins, Refused: x.refused})
	}
	return st
}

// add adds what a loop counts.
func (st *Stats) add(t *tally) {
	st.BadPackets += t.badPackets
	st.Violations += t.violations
	st.Unfinished += t.unfinished
	st.Timeouts += t.timeouts
	st.Expired += t.expired
	st.Refused += t.refused
	st.Backlog.Tasks += t.tasks
	d := &st.Drops
	d.Namespaces += t.namespaces
	d.Full += t.full
	d.Rooms += t.rooms
	d.Jammed += t.jammed
	d.Acks += t.acks
	d.Volatile += t.volatile
	d.Crossed += t.crossed
	d.Unhandled += t.unhandled
}

// Recoveries counts what became of attempts to recover.
type Recoveries struct {
	Recovered int64 // sockets that were recovered
	Replayed  int64 // events that they had missed
	Unknown   int64 // nobody knew the session: too late, used, revoked, or of another server
	Lost      int64 // the events it needs are not kept any more, or its offset is none
	TooLarge  int64 // it had missed more than may be queued for a client
	Alien     int64 // somebody else than it was by Recovery.Identity
	Alive     int64 // the client that had it was there, and answered
	Early     int64 // events that were delivered before the log of the cluster had them

	Revoked int64 // sessions of clients that were away, ended by Disconnect
	Evicted int64 // sessions that were forgotten before their time, by MaxBytes
	Dropped int64 // events that somebody may have needed, dropped by MaxBytes

	Away   int64 // sessions that are kept now
	Events int64 // events that are kept now
	Bytes  int64 // what all that is kept takes now, about
}

// Recoveries returns what became of attempts to recover.
func (srv *Server) Recoveries() Recoveries { return srv.seq.recoveries() }

// violated ends a session whose client sent what it may not send in its state.
func (sh *shard) violated(es eio.Session) {
	sh.tally.violations++
	es.Close()
}
