// Package health says whether a server lives, and whether clients should be sent to it,
// and has them leave before it stops.
//
//	/livez    do the loops come round        no: restart it
//	/readyz   is it well, and to stay        no: send nobody
//	public    the last, without a reason, from what was found out a moment ago
//
// Draining is not ready from its first moment on. Only after a delay, in which balancers
// look away and everybody is still served, do clients leave, one after the other.
package health

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/notice"
	"github.com/sioedge/sioedge/sio"
)

const (
	// StuckAfter is how long a loop may not have come before the server does not live.
	StuckAfter = 10 * time.Second
	lookEvery  = time.Second
)

// Options are those of New.
type Options struct {
	Cluster  bool        // the server has an adapter
	Required func() bool // without it the server is not ready; any goroutine calls it
	// Beside are further things to see at /readyz?verbose, on which it does not depend: each is
	// OK. Nil: there are none. Any goroutine calls it.
	Beside func() []Check
	Logger *slog.Logger
}

// A Health is that of one server. Any goroutine may use it.
type Health struct {
	// Immutable after Bind.
	o   Options
	srv *sio.Server

	begun  atomic.Bool // it serves
	red    atomic.Bool // it drains
	unwell atomic.Bool // by the last look

	drain drain

	mu    sync.Mutex
	found string // what the last look found wrong; "" nothing
}

// New returns one, for a server that Bind names later.
func New(o Options) *Health { return &Health{o: o} }

// Bind says whose health it is, before that serves.
func (h *Health) Bind(srv *sio.Server) { h.srv = srv }

// Begin says that the server is about to serve: clients are welcome before Run has looked.
func (h *Health) Begin() { h.begun.Store(true) }

// Run looks every second how the server is, until ctx is done. The server serves from now
// on.
func (h *Health) Run(ctx context.Context) {
	h.Begin()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		h.Look()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Look finds out how the server is, as Run does every second. It logs what has changed.
func (h *Health) Look() {
	wrong := failed(h.state())
	h.unwell.Store(wrong != "")
	h.mu.Lock()
	was := h.found
	h.found = wrong
	h.mu.Unlock()
	switch {
	case wrong != "" && was == "":
		h.o.Logger.Warn("not ready: balancers are told to send nobody", "why", notice.Cut(wrong))
	case wrong == "" && was != "":
		h.o.Logger.Info("ready again")
	}
}

// Welcome tells whether clients should be sent here, from what the last look found, and
// from whether the server drains now. It does not wait.
func (h *Health) Welcome() bool { return h.begun.Load() && !h.red.Load() && !h.unwell.Load() }

// Red tells whether the server drains. It does not wait.
func (h *Health) Red() bool { return h.red.Load() }

// A Check is one thing that is looked at.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
}

// Live checks whether the loops come. It waits for them, for 100 ms at most.
func (h *Health) Live() []Check {
	e := h.srv.Engine()
	e.Gather(loop.StatsWait, func(*loop.Loop) {})
	return []Check{stuckLoops(e.Late(0), StuckAfter, len(e.Loops()))}
}

// stuckLoops checks that none of n loops is late for so long.
func stuckLoops(late []loop.LateLoop, long time.Duration, n int) Check {
	late = slices.DeleteFunc(late, func(l loop.LateLoop) bool { return l.For < long })
	if len(late) == 0 {
		return Check{Name: "loops", OK: true}
	}
	return Check{Name: "loops", Reason: fmt.Sprintf("loop %d has not come for %s (%d of %d have not)", late[0].Loop, late[0].For.Round(time.Second), len(late), n)}
}

// Ready checks all that matters to who sends clients. It waits for the loops as Live does.
func (h *Health) Ready() []Check {
	start, drain := Check{Name: "start", OK: h.begun.Load()}, Check{Name: "drain", OK: !h.red.Load()}
	if !start.OK {
		start.Reason = "the server does not serve yet"
	}
	if !drain.OK {
		st := h.Draining()
		drain.Reason = fmt.Sprintf("%s: %d sessions are left", st.Phase, st.Remaining)
	}
	all := append(append([]Check{start, drain}, h.state()...), h.Live()...)
	if h.o.Beside != nil {
		all = append(all, h.o.Beside()...)
	}
	return all
}

// state checks what a look sees.
func (h *Health) state() []Check {
	st := h.srv.Stats()
	memory, conns := Check{Name: "memory", OK: !st.MemoryShort}, Check{Name: "connections", OK: true}
	if !memory.OK {
		memory.Reason = fmt.Sprintf("%d bytes are in use (limits.memory)", st.Memory)
	}
	if most := h.srv.Engine().MaxConns(); st.Loop.Open >= int64(most) {
		conns.OK, conns.Reason = false, fmt.Sprintf("there are as many as may be, %d (limits.max_conns)", most)
	}
	all := []Check{memory, conns}
	if !h.o.Cluster {
		return all
	}
	a := Check{Name: "adapter", OK: true}
	if x := h.srv.Cluster(); !x.Up {
		a.OK, a.Reason = !h.o.Required(), "not connected"
		if x.Reason != "" {
			a.Reason += ": " + notice.Cut(x.Reason)
		}
	}
	return append(all, a)
}

// failed says which checks have failed and why, "" if none.
func failed(all []Check) string {
	var wrong []string
	for _, c := range all {
		if !c.OK {
			wrong = append(wrong, c.Name+": "+c.Reason)
		}
	}
	return strings.Join(wrong, "; ")
}
