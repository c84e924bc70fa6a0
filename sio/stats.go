package sio

import (
	"sync/atomic"

	"github.com/sioedge/sioedge/eio"
)

// Stats counts what was refused since the start. Connections and bytes are
// counted by Engine, compression by eio.Server.
type Stats struct {
	Requests eio.Stats // HTTP requests, WebSocket handshakes among them

	BadPackets int64 // connections closed for a packet that could not be decoded, or was past Limits or MaxEventName
	Violations int64 // connections closed for a packet that may not come when it came
	Unfinished int64 // connections closed because attachments they had announced did not come within Engine.BodyTimeout
	Crossed    int64 // packets that were dropped, as the server had just ended the socket that they were for
	Timeouts   int64 // connections closed because they joined no namespace within ConnectTimeout
	Refused    int64 // namespaces that clients were refused, for whatever reason
	Namespaces int64 // of these: for MaxNamespaces or MaxInstances
	Full       int64 // of these: for want of a place on the client's loop
	Rooms      int64 // rooms that were not joined for MaxRooms
	Acks       int64 // events that were not sent for MaxPendingAcks
	Overloaded int64 // events that were not sent for MaxBroadcasts, volatile ones among them
	Unhandled  int64 // events that were not handled for MaxLeftBehind, as their clients had left
	Unheard    int64 // events between servers that were not handled, since too many waited

	Errors int64 // errors that handlers returned, but for ErrClosed
	Panics int64 // panics of handlers

	Volatile     int64 // volatile events that were dropped, for each socket
	Memory       int64 // bytes that the process used when that was last looked at: with MemoryLimit
	MemoryClosed int64 // sessions closed for MemoryLimit

	Forwarded     int64 // requests for sessions of other servers that these answered
	ForwardFailed int64 // those that they did not: unknown, not reached, too late, or over MaxForwards
	// ForwardLimited are those of ForwardFailed that MaxForwards refused, or that were
	// for one of too many unknown servers; ForwardUnproven those whose server could not
	// prove who it is.
	ForwardLimited, ForwardUnproven int64

	Tunnels      int64 // WebSockets of sessions of other servers that are passed on now
	Tunnelled    int64 // those that were, and are
	TunnelFailed int64 // those that were not: the other server not reached or too late, or over MaxTunnels
	// TunnelLimited are those of TunnelFailed that MaxTunnels refused.
	TunnelLimited int64
}

// tally is what a loop counts of Stats. It is read from anywhere.
type tally struct {
	badPackets, violations, unfinished, timeouts, refused, namespaces, full, rooms, acks atomic.Int64
	crossed, volatile, unhandled                                                         atomic.Int64
}

// Stats returns the counters of all loops. Any goroutine may call it.
func (srv *Server) Stats() Stats {
	r := srv.relay.Stats()
	st := Stats{Requests: srv.eio.Stats(),
		Forwarded: r.Forwarded, ForwardFailed: r.ForwardFailed, ForwardLimited: r.ForwardLimited, ForwardUnproven: r.ForwardUnproven,
		Tunnels: r.Tunnels, Tunnelled: r.Tunnelled, TunnelFailed: r.TunnelFailed, TunnelLimited: r.TunnelLimited,
		Overloaded: srv.overloaded.Load(), Unheard: srv.unheard.Load()}
	st.Errors, st.Panics = srv.failures.errors.Load(), srv.failures.panics.Load()
	st.Memory, st.MemoryClosed = srv.memory.Used(), srv.memory.Closed()
	for _, sh := range srv.shards {
		t := &sh.tally
		st.BadPackets += t.badPackets.Load()
		st.Violations += t.violations.Load()
		st.Unfinished += t.unfinished.Load()
		st.Crossed += t.crossed.Load()
		st.Unhandled += t.unhandled.Load()
		st.Volatile += t.volatile.Load()
		st.Timeouts += t.timeouts.Load()
		st.Refused += t.refused.Load()
		st.Namespaces += t.namespaces.Load()
		st.Full += t.full.Load()
		st.Rooms += t.rooms.Load()
		st.Acks += t.acks.Load()
	}
	return st
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
	sh.tally.violations.Add(1)
	es.Close()
}
