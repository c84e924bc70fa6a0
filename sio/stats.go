package sio

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/class"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/history"
	"github.com/sioedge/sioedge/sio/internal/totals"
	"github.com/sioedge/sioedge/sio/parser"
)

// Stats are counts since the start, and gauges, which say so: what there is now.
type Stats struct {
	Loop        loop.Stats           // connections and bytes
	Loops       []loop.Stats         // the same of each loop: Lag and Busy of those that are Late grow meanwhile
	Served      []NamespaceStats     // of each loop: Sockets, Events and Emits of all its namespaces
	Rooms       rooms.Stats          // members of rooms, and broadcasts that are visited
	Spread      rooms.Spread         // how broadcasts came to their recipients
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

	Acks     AckStats   // that clients were asked for
	Drops    Drops      // what was not done, by the reason
	Backlog  Backlog    // what waits
	Recovery Recoveries // what became of clients that came back
	History  HistoryStats

	// Namespaces are in the order in which a client's namespace is looked up among
	// them, literal ones first.
	Namespaces []NamespaceStats

	Memory       int64 // a gauge: bytes that the process used when that was last looked at: with MemoryLimit
	MemoryLimit  int64 // Options.MemoryLimit, as it is: 0 is none
	MemoryClosed int64 // sessions closed for MemoryLimit
	MemoryShort  bool  // MemoryLimit is passed, and not much of it free again: new sessions are refused

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

// SocketStats are what is known of one socket, and of its connection.
type SocketStats struct {
	Transport string         // "polling" or "websocket"
	Address   netip.AddrPort // of the client, as Handshake.Address has it
	Queued    int            // bytes that wait to be sent over the connection; what the kernel has is not among them
	Tasks     int            // events and the like of the socket that wait for handlers, the one at work left out
	Rooms     int            // its own left out
	Acks      int            // acknowledgements that it owes: MaxPendingAcks
	RTT       time.Duration  // of the connection's last ping, in whole ms; 0 if it is not known, as while one is out
}

// Stats returns what is known of the socket; it is false when that has left. It asks the
// socket's loop and waits. What a socket has sent and received is counted by namespace
// alone (NamespaceStats): that would take memory of each, idle or not.
func (s Socket) Stats() (x SocketStats, ok bool) {
	ok = s.ask(func(sh *shard, slot uint32) {
		if es := sh.session(slot); es != (eio.Session{}) {
			x.Transport, x.Address, x.Queued, x.RTT = es.Transport(), es.RemoteAddr(), es.Queued(), es.RTT()
		}
		x.Rooms = int(sh.sockets.At(slot).rooms)
		if e := sh.exts[slot]; e != nil {
			x.Acks = len(e.acks)
			if e.inbox != nil {
				x.Tasks = e.inbox.length()
			}
		}
	})
	return x, ok
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
	Gated      int64 // events and acknowledgements of clients that a gate has not let pass
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

// HistoryStats are of what is kept of rooms, in all namespaces: Namespace.KeepHistory.
type HistoryStats struct {
	Rooms, Events, Bytes int64 // gauges: what is kept, an event of several rooms in each

	Kept    int64 // events that were kept
	Evicted int64 // events of rooms that were dropped for MaxBytes
	Expired int64 // and for TTL
	Asked   int64 // rooms of which other servers were asked
	Merged  int64 // events that came from them

	Replays   int64 // sockets that were sent what was kept of rooms that they joined
	Replayed  int64 // events that they were sent
	Shortened int64 // events that they were not, since more may not be queued for a client
}

// AckStats are acknowledgements that clients were asked for, by what became of them, for
// each client. Those that were not asked for since too many were due are Drops.Acks.
type AckStats struct {
	Answered int64
	Late     int64 // the time was over, or nobody waited any more
	Left     int64 // the client left
}

// NamespaceStats are counts of a namespace, or of all instances of a pattern or
// function together.
type NamespaceStats struct {
	Name       string         // as it was given to Server.Of
	Sockets    int64          // a gauge, those in middlewares among them
	Instances  int64          // a gauge
	Rooms      int64          // a gauge, sockets' own left out: of each instance those with members
	Events     int64          // that clients sent
	Emits      int64          // events and acknowledgements that clients were sent, for each of them
	In, Out    parser.Packets // the same, by their kind: Events are In's with attachments and without, and Emits are Out's; In's Acks are what nobody waited for, too
	Joins      int64          // of rooms, sockets' own left out
	Refused    int64          // sockets that were refused: for want of a place, or by a middleware
	Dropped    int64          // events of Emits that were dropped for slow clients by their Class, for each of them
	Broadcasts int64          // events to rooms or all sockets, for each instance, here or on other servers: counted when the last recipient has been visited
	Left       Departures     // connected sockets that have left
}

// Departures are counted by their Reason: those of the connection are an [eio.Closes], and
// Client, Server and Shutdown are ClientDisconnect, ServerDisconnect and ServerShuttingDown.
type Departures = totals.Departures

// since returns when what is sent now is emitted; 0 if that is direct, and no broadcast.
func (srv *Server) since(direct bool) int64 {
	if direct {
		return 0
	}
	return max(srv.engine.Micros(), 1)
}

// dropped counts events of a namespace that were dropped for slow clients.
func (sh *shard) dropped(k *class.Kind, n int) {
	if ns, ok := k.Owner.(*Namespace); ok {
		sh.space(ns).Dropped += int64(n)
	}
}

// tally is what a loop counts, by the names that Stats have. It is owned by the loop.
type tally struct {
	BadPackets, Violations, Unfinished, Timeouts, Expired, Refused int64

	Acks    AckStats
	Drops   Drops
	Backlog struct{ Tasks int64 } // that were put into inboxes, but for those that were forgotten
	History struct{ Replays, Replayed, Shortened int64 }
}

// told is what a loop has told of itself.
type told struct {
	loop        loop.Stats
	engine      eio.Stats
	compression eio.CompressionStats
	rooms       rooms.Stats
	tally       tally
	spread      rooms.Spread
	spaces      map[*Namespace]NamespaceStats
}

// tell returns what a loop counts.
func (sh *shard) tell() told {
	t := told{sh.loop.Stats(), sh.srv.eio.LoopStats(sh.loop), sh.srv.eio.LoopCompression(sh.loop), sh.local.Stats(), sh.tally, sh.local.Spread(), make(map[*Namespace]NamespaceStats, len(sh.spaces))}
	t.tally.Backlog.Tasks -= sh.taken.Load()
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
		Memory: srv.memory.Used(), MemoryLimit: srv.o.MemoryLimit, MemoryClosed: srv.memory.Closed(), MemoryShort: srv.memory.Above(),
		Forwarded: r.Forwarded, ForwardFailed: r.ForwardFailed, ForwardLimited: r.ForwardLimited, ForwardUnproven: r.ForwardUnproven,
		Tunnels: r.Tunnels, Tunnelled: r.Tunnelled, TunnelFailed: r.TunnelFailed, TunnelLimited: r.TunnelLimited,
	}
	all, late := srv.counts()
	st.Late = late
	spaces := map[*Namespace]NamespaceStats{}
	for i := range all {
		x := &all[i]
		st.Loops = append(st.Loops, x.loop)
		st.Loop.Add(x.loop)
		st.Engine.Add(x.engine)
		st.Compression.Add(x.compression)
		st.Rooms.Add(x.rooms)
		st.Spread.Add(&x.spread)
		totals.Add(&st, &x.tally)
		var served NamespaceStats
		for ns, x := range x.spaces {
			sum := spaces[ns]
			totals.Add(&sum, &x)
			served.Sockets, served.Events, served.Emits = served.Sockets+x.Sockets, served.Events+x.In.Events+x.In.Binary, served.Emits+x.Out.Sum()
			spaces[ns] = sum
		}
		st.Served = append(st.Served, served)
	}
	for _, x := range late {
		st.Loops[x.Loop].Lag = max(st.Loops[x.Loop].Lag, x.For.Milliseconds())
		st.Loops[x.Loop].Busy += int64(x.For)
	}
	named := srv.registry.rooms(srv.rooms.RoomsOf())
	for _, ns := range *srv.registry.all.Load() {
		x := spaces[ns]
		if k := ns.history.Load(); k != nil {
			kept := k.store.Stats()
			totals.Add(&st.History, &kept)
		}
		x.Name, x.Instances, x.Rooms = ns.name, srv.registry.instances(ns), named[ns]
		x.Events, x.Emits = x.In.Events+x.In.Binary, x.Out.Sum()
		st.Namespaces = append(st.Namespaces, x)
	}
	return st
}

// Recovery are the options of connection state recovery: a client that comes
// back within Window gets its id, rooms and data again and exactly what it missed,
// or else it is a new one. Node: connectionStateRecovery.
//
// Every event ends in one more argument then, its offset, as Node's do: the
// JavaScript client takes it off, those in some other languages give it to
// handlers. Clients of Socket.IO 2, which could not come back, do not get it.
type Recovery struct {
	// Window is how long a disconnected socket is remembered: as long as it lacks
	// nothing, from when it left. What it lacks is kept for Window, and for as long
	// before as a client's silence can go unnoticed: a client that comes and goes
	// without receiving what it missed is a new one after that. Zero means that
	// recovery is off. Node: maxDisconnectionDuration, 2 min.
	Window time.Duration
	// MaxBytes bounds the memory of the events kept for those who may come back, in
	// every form that they have been sent in, and of their sockets, which may take
	// up to half of it. When it is passed the oldest go, and with them the recovery
	// of who needs them. What applications have stored by SetData is not counted.
	// Zero means 64 MiB.
	MaxBytes int64
	// RunMiddlewares has a recovered socket go through its middlewares, where
	// Recovered is already true and Data is what it was. A server that
	// authenticates in them wants it: otherwise the private id that a client was
	// given is all that it needs. One that they refuse may come back until its time
	// is over. Node: skipMiddlewares, the other way round.
	RunMiddlewares bool
	// Identity returns who a client is, by what it brought: its Handshake and Auth.
	// It is asked once for each connecting socket, before middlewares, on the event
	// loop, and must not block. Whoever comes back must be who it was, or is a new
	// one, and does no harm to the other. Nil, or "" for both: the private id is
	// enough.
	Identity func(s Socket) string
	// Patience is how long an event may take to come back from the log of the
	// cluster, with an Adapter that is a [rooms.Log]. After that, events are
	// delivered at once, and a client that is recovered may get some twice. Zero
	// means 1 s.
	Patience time.Duration
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
	sh.tally.Violations++
	es.Close()
}

// History says what a namespace keeps of what is emitted to its rooms, for those who
// join them by [Socket.JoinReplay]. The zero value keeps nothing.
type History struct {
	// Size is how many events of each room are kept: the last ones. Zero, or less: none.
	Size int
	// TTL is how long an event is kept, by the server's clock. Zero means that time does
	// not matter.
	TTL time.Duration
	// MaxBytes bounds all rooms of the namespace, and all instances of a pattern,
	// together: their events, each once whoever it was emitted to, and what leads to
	// them. The oldest event goes first, whichever room it is of. Zero means 16 MiB.
	MaxBytes int64
	// Keep says whether an event of a name is kept; nil: all are. It is called as events
	// are emitted, perhaps with locks held: it must not block, nor call the server.
	Keep func(event string) bool
}

// KeepHistory has the last events of each room kept: what is emitted to rooms, here, by
// other servers of the cluster or by Redis emitters, when it is delivered on this
// server. Volatile events are not kept, nor are those that want acknowledgements, those to
// one socket, and those to everybody. An event to several rooms is in the history of
// each. What is kept of a room stays when its last member leaves; of an instance of a
// pattern nothing is added while it has no socket. A second call changes what is kept
// from then on, and drops what does not fit; a zero Size ends it and frees everything.
//
// The message that is sent is kept, not a copy. Other namespaces pay nothing.
func (n *Namespace) KeepHistory(h History) {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.history.Load()
	if h.Size <= 0 {
		n.history.Store(nil)
		return
	}
	o := history.Options{Size: h.Size, TTL: h.TTL, MaxBytes: cmp.Or(h.MaxBytes, 16<<20)}
	k := &keeper{ns: n, size: h.Size, keep: h.Keep}
	if old != nil {
		k.store = old.store
		k.store.Configure(o)
	} else {
		k.store = history.New(o, codec{}, n.srv.now)
	}
	n.history.Store(k)
}

// An ending ends every socket and then every session of a loop, some at a time.
type ending struct {
	sh      *shard
	slot    uint32 // the last that has been looked at
	session uint32 // where eio.CloseSome goes on
	closing bool   // all sockets have left
}

// Run does a step.
func (e *ending) Run(l *loop.Loop) {
	if e.step(l) {
		l.Hold(e)
	}
}

// step is false when all is done.
func (e *ending) step(l *loop.Loop) (more bool) {
	sh := e.sh
	sh.ending = true
	if e.closing {
		e.session = sh.srv.eio.CloseSome(l, e.session)
		return e.session != 0
	}
	for left := 0; left < operatorStep && e.slot < sh.sockets.Max(); {
		e.slot++
		if st := sh.sockets.At(e.slot).state; st == connecting || st == connected {
			sh.leave(sh.session(e.slot), e.slot, ServerShuttingDown)
			left++
		}
	}
	e.closing = e.slot >= sh.sockets.Max()
	return true
}

// end does all of it at once: the loop has ended, and nobody else is served.
func (sh *shard) end() {
	for e := (&ending{sh: sh}); e.step(sh.loop); {
	}
}

// Node returns what the ids of the server's sockets and sessions begin with.
func (srv *Server) Node() string { return string(srv.o.Engine.Node) }

// stored tells those who observe that something was.
func (s Socket) stored() {
	if s.srv().observers.Load() > 0 {
		s.post(func(sh *shard, slot uint32) { sh.saw(slot, Observation{Kind: ObservedData}) })
	}
}
