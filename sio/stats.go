package sio

import (
	"cmp"
	"context"
	"math"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
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
	st.Memory, st.MemoryClosed = srv.memory.used.Load(), srv.memory.closed.Load()
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

// violated ends a session whose client sent what it may not send in its state.
func (sh *shard) violated(es eio.Session) {
	sh.tally.violations.Add(1)
	es.Close()
}

// A memoryGuard bounds the memory of the process as a whole: each connection is
// bounded, but there are many. Above Options.MemoryLimit new sessions are
// refused and volatile events dropped; if that is not enough by the next look,
// the sessions for which most is held are closed, those first for which nothing
// happens.
type memoryGuard struct {
	srv   *Server
	limit int64
	// sample returns the bytes that the process uses.
	sample func() int64

	looking sync.Mutex
	above   atomic.Bool  // the limit, and not yet below relief
	used    atomic.Int64 // at the last look
	closed  atomic.Int64 // sessions
}

const (
	lookEvery = time.Second
	// leastLoad is what must be held for a session that closing it is worth it.
	leastLoad = 16 << 10
)

func newMemoryGuard(srv *Server, limit int64) *memoryGuard {
	return &memoryGuard{srv: srv, limit: limit, sample: memoryInUse}
}

// relief is where it ends: a tenth below the limit.
func (g *memoryGuard) relief() int64 { return g.limit - g.limit/10 }

// run looks at the memory until ctx is done.
func (g *memoryGuard) run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			g.look()
		case <-ctx.Done():
			return
		}
	}
}

// look compares the memory in use with the limit. It is called by no loop.
func (g *memoryGuard) look() {
	g.looking.Lock()
	defer g.looking.Unlock()
	n := g.sample()
	if n > g.limit {
		runtime.GC() // what is garbage does not count
		n = g.sample()
	}
	g.used.Store(n)
	was := g.above.Load()
	switch {
	case n > g.limit:
		g.srv.notice.Warn("memory is above its limit: new sessions are refused, volatile events dropped",
			"flag", "--memory-limit", "bytes", n, "limit", g.limit)
		g.press(true)
		if was {
			g.shed(n - g.relief())
		}
	case was && n < g.relief():
		g.srv.notice.Info("memory is below its limit again", "flag", "--memory-limit", "bytes", n, "limit", g.limit)
		g.press(false)
	}
}

func (g *memoryGuard) press(on bool) {
	g.above.Store(on)
	g.srv.eio.Press(on)
}

// A burden is a session on a loop.
type burden struct {
	sh *shard
	eio.Load
}

// shed closes sessions until as many bytes are given back.
func (g *memoryGuard) shed(bytes int64) {
	var all []burden
	for _, sh := range g.srv.shards {
		all = append(all, sh.burdens()...)
	}
	slices.SortFunc(all, func(a, b burden) int {
		if a.Stalled != b.Stalled {
			if a.Stalled {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.Bytes, a.Bytes)
	})
	n, freed := 0, int64(0)
	for ; n < len(all) && freed < bytes; n++ {
		freed += int64(all[n].Bytes)
		x := all[n]
		x.sh.loop.Post(loop.TaskFunc(func(l *loop.Loop) {
			if es, ok := g.srv.eio.Lookup(l, x.Session); ok {
				g.closed.Add(1)
				es.Cut()
			}
		}))
	}
	if n > 0 {
		g.srv.notice.Warn("clients are closed because memory is above its limit", "flag", "--memory-limit", "clients", n, "bytes", freed)
	}
}

// burdens returns the loop's sessions for which much is held. It asks the loop,
// a part at a time.
func (sh *shard) burdens() (all []burden) {
	done := make(chan struct{})
	from := uint32(0)
	var part func(l *loop.Loop)
	part = func(l *loop.Loop) {
		from = sh.srv.eio.Loads(l, from, leastLoad, func(x eio.Load) { all = append(all, burden{sh, x}) })
		if from == 0 {
			close(done)
			return
		}
		// Behind what else is to be done; a loop that ends has no sessions.
		time.AfterFunc(time.Millisecond, func() {
			if !sh.loop.Post(loop.TaskFunc(part)) {
				close(done)
			}
		})
	}
	if !sh.loop.Post(loop.TaskFunc(part)) {
		return nil
	}
	<-done
	return all
}

// memoryInUse returns what Go's runtime has from the system and uses: without
// what is free in its heap, and what it has given back.
func memoryInUse() int64 {
	sample := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(sample)
	n := sample[0].Value.Uint64() - sample[1].Value.Uint64() - sample[2].Value.Uint64()
	return int64(min(n, math.MaxInt64))
}
