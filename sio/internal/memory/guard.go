// Package memory bounds the memory of the process as a whole: each connection is
// bounded, but there are many.
package memory

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
	"github.com/sioedge/sioedge/loop/notice"
)

// A Guard compares the memory in use with a limit. Above it new sessions are refused,
// and volatile events are to be dropped; if that is not enough by the next look, the
// sessions for which most is held are closed, those first for which nothing happens.
type Guard struct {
	// Sample returns the bytes that the process uses: [InUse] unless it is set before
	// Run.
	Sample func() int64

	// Immutable after Bind.
	limit  int64
	server *eio.Server
	loops  []*loop.Loop
	notice *notice.Log

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

// NewGuard returns a Guard of the sessions of a server, with a limit in bytes. It does
// nothing until Run.
func NewGuard(limit int64, server *eio.Server, log *notice.Log) *Guard {
	return &Guard{Sample: InUse, limit: limit, server: server, notice: log}
}

// Bind tells it the server's loops, before Run.
func (g *Guard) Bind(loops []*loop.Loop) { g.loops = loops }

// Above tells whether too much is in use. Any goroutine may call it.
func (g *Guard) Above() bool { return g.above.Load() }

// Used returns the bytes that were in use at the last look. Any goroutine may call it.
func (g *Guard) Used() int64 { return g.used.Load() }

// Limit returns the limit in bytes. Any goroutine may call it.
func (g *Guard) Limit() int64 { return g.limit }

// Closed counts the sessions that were closed. Any goroutine may call it.
func (g *Guard) Closed() int64 { return g.closed.Load() }

// relief is where it ends: a tenth below the limit.
func (g *Guard) relief() int64 { return g.limit - g.limit/10 }

// Run looks at the memory every second until ctx is done.
func (g *Guard) Run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			g.Look()
		case <-ctx.Done():
			return
		}
	}
}

// Look looks at it now, as Run does every second. No loop may call it, as it waits for
// all of them.
func (g *Guard) Look() {
	g.looking.Lock()
	defer g.looking.Unlock()
	n := g.Sample()
	if n > g.limit {
		runtime.GC() // what is garbage does not count
		n = g.Sample()
	}
	g.used.Store(n)
	was := g.above.Load()
	switch {
	case n > g.limit:
		g.notice.Warn("memory is above its limit: new sessions are refused, volatile events dropped",
			"flag", "--memory-limit", "bytes", n, "limit", g.limit)
		g.press(true)
		if was {
			g.shed(n - g.relief())
		}
	case was && n < g.relief():
		g.notice.Info("memory is below its limit again", "flag", "--memory-limit", "bytes", n, "limit", g.limit)
		g.press(false)
	}
}

func (g *Guard) press(on bool) {
	g.above.Store(on)
	g.server.Press(on)
}

// A burden is a session on a loop.
type burden struct {
	loop *loop.Loop
	eio.Load
}

// shed closes sessions until as many bytes are given back.
func (g *Guard) shed(bytes int64) {
	var all []burden
	for _, l := range g.loops {
		all = append(all, g.burdens(l)...)
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
		x.loop.Post(loop.TaskFunc(func(l *loop.Loop) {
			if es, ok := g.server.Lookup(l, x.Session); ok {
				g.closed.Add(1)
				es.Cut()
			}
		}))
	}
	if n > 0 {
		g.notice.Warn("clients are closed because memory is above its limit", "flag", "--memory-limit", "clients", n, "bytes", freed)
	}
}

// burdens returns the sessions of a loop for which much is held. It asks the loop, a
// part at a time.
func (g *Guard) burdens(of *loop.Loop) (all []burden) {
	done := make(chan struct{})
	from := uint32(0)
	var part func(l *loop.Loop)
	part = func(l *loop.Loop) {
		from = g.server.Loads(l, from, leastLoad, func(x eio.Load) { all = append(all, burden{l, x}) })
		if from == 0 {
			close(done)
			return
		}
		// Behind what else is to be done; a loop that ends has no sessions.
		time.AfterFunc(time.Millisecond, func() {
			if !of.Post(loop.TaskFunc(part)) {
				close(done)
			}
		})
	}
	if !of.Post(loop.TaskFunc(part)) {
		return nil
	}
	<-done
	return all
}

// InUse returns what Go's runtime has from the system and uses: without
// what is free in its heap, and what it has given back.
func InUse() int64 {
	sample := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(sample)
	n := sample[0].Value.Uint64() - sample[1].Value.Uint64() - sample[2].Value.Uint64()
	return int64(min(n, math.MaxInt64))
}
