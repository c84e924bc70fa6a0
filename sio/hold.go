package sio

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sioedge/sioedge/sio/internal/running"
)

// A hold has what handlers have to do wait in its inbox, for a successor's handlers, or
// for these. What only this process can do is done nevertheless, and what waits before it:
// functions that wait for an answer or a deadline, OnConnect, what Msg.Later goes on in, and
// all that is left of sockets that leave.
type hold struct {
	on atomic.Bool // written with mu held

	mu     sync.Mutex // is locked behind those of inboxes
	parked []*inbox
}

// park notes an inbox that waits. It is false if that is not to; b.mu is held.
func (h *hold) park(b *inbox) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.on.Load() {
		return false
	}
	if !b.parked {
		b.parked = true
		h.parked = append(h.parked, b)
	}
	return true
}

// parks tells whether what is in the inbox waits for the end of a hold; b.mu is held.
func (b *inbox) parks() bool {
	h, all := &b.sh.srv.hold, b.tasks.Waiting()
	if !h.on.Load() || b.behind || len(all) == 0 {
		return false
	}
	for i := range all {
		if t := &all[i]; t.own || t.run != nil && !t.anew {
			return false
		}
	}
	return h.park(b)
}

// goOn starts what was parked; b.mu is held.
func (b *inbox) goOn() {
	b.parked = false
	if b.begins() {
		b.start()
	}
}

// holdHandlers has no handlers begin on goroutines, what would begin them wait in its
// inbox, and returns when those that run have returned. On an error they go on, if
// releaseHandlers is called.
func (srv *Server) holdHandlers(ctx context.Context) error {
	h := &srv.hold
	h.mu.Lock()
	h.on.Store(true)
	h.mu.Unlock()
	select {
	case <-srv.handlers.NewTurn():
		return nil
	case <-ctx.Done():
		return srv.stillRuns(ctx)
	}
}

// settleHandlers waits for the rest: for what a hold does not keep from beginning.
func (srv *Server) settleHandlers(ctx context.Context) error {
	select {
	case <-srv.handlers.Idle():
		return nil
	case <-ctx.Done():
		return srv.stillRuns(ctx)
	}
}

// releaseHandlers ends holdHandlers.
func (srv *Server) releaseHandlers() {
	h := &srv.hold
	h.mu.Lock()
	h.on.Store(false)
	all := h.parked
	h.parked = nil
	h.mu.Unlock()
	for _, b := range all {
		b.mu.Lock()
		b.goOn()
		b.mu.Unlock()
	}
}

// settleAll waits until what was emitted has been posted to the loops.
func (srv *Server) settleAll(ctx context.Context) error {
	settled := make(chan struct{})
	// ends when it has, with ctx or later
	go func() {
		srv.seq.settleAll()
		close(settled)
	}()
	select {
	case <-settled:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("sio: what was emitted has not come back from the log of the cluster: %w", context.Cause(ctx))
	}
}

// stillRuns is the error for handlers that have not returned in time.
func (srv *Server) stillRuns(ctx context.Context) error {
	names := map[string]int{}
	for _, sh := range srv.shards {
		sh.loop.Ask(func() {
			for _, b := range sh.inboxes {
				b.mu.Lock()
				if b.running && b.now != "" {
					names[fmt.Sprintf("%q of %s", b.now, b.s.in.name)]++
				}
				b.mu.Unlock()
			}
		})
	}
	var some []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if len(some) < 5 {
			some = append(some, fmt.Sprintf("%d of %s", names[name], name))
		}
	}
	return fmt.Errorf("sio: %d handlers have not returned, or wait for others that have not (%s): %w",
		srv.handlers.Running(), strings.Join(some, ", "), context.Cause(ctx))
}

// enter is called by who does something to a socket, from any goroutine, with nothing
// locked: it waits while the server's sockets are handed over, but on a loop. Behind that
// it is ErrClosed, and nobody is there any more.
func (s Socket) enter() (running.Pass, error) { return s.srv().enter(s.ref.Loop()) }

func (srv *Server) enter(lane int) (running.Pass, error) {
	p, ok := srv.gate.Enter(lane, srv.mayWait)
	if !ok {
		return p, ErrClosed
	}
	return p, nil
}

func (srv *Server) mayWait() bool { return !srv.engine.OnLoop() }
