package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/loop/notice"
	"github.com/sioedge/sioedge/sio"
)

// Options of a Backend.
type Options struct {
	// Node names this server in what is told. Empty: as sio has it.
	Node string
	// ConnectTimeout is how long clients may take to connect: half of it is as long as
	// Connect takes. Zero means 45 s.
	ConnectTimeout time.Duration
	// Limits bound what a backend answers.
	Limits action.Limits
	// Logger is told of failures. Nil: slog.Default.
	Logger *slog.Logger
}

// A Backend is an [action.Backend] that is reached by HTTP. Any goroutine may use it.
type Backend struct {
	// Immutable after New.
	srv            *sio.Server
	name           string
	key            string // of its settings
	node           string
	connectTimeout time.Duration
	limits         action.Limits
	notice         *notice.Log
	ids            *ids
	lanes          []lane
	doors          []lane // of clients that wait to connect
	answers        *cache
	breaker        *breaker
	slots          *slots
	ctx            context.Context // of requests
	cancel         context.CancelFunc

	own   atomic.Pointer[config.Backend]
	form  atomic.Pointer[form]
	wire  atomic.Pointer[wire]
	hooks atomic.Uint32

	room    store        // bytes of events
	kept    atomic.Int64 // bytes of what else waits
	lost    lostLog
	tally   tally
	life    life // of lanes
	knocks  life // of doors
	halt    halt
	hurry   hurry
	round   atomic.Pointer[round]
	carried restored
	stopped atomic.Bool   // nothing is taken any more
	closed  chan struct{} // nothing is waited for any more
}

var _ action.Backend = (*Backend)(nil)

// New returns a backend with settings all of whose fields are set, as
// [config.Settings.BackendsOf] has them. The error is a *config.Fault.
func New(srv *sio.Server, name string, own config.Backend, o Options) (*Backend, error) {
	b := &Backend{srv: srv, name: name, key: "backends." + name, node: o.Node, connectTimeout: o.ConnectTimeout, limits: o.Limits, ids: newIDs(), closed: make(chan struct{})}
	if name == config.DefaultBackend {
		b.key = "webhook"
	}
	if b.node == "" {
		b.node = srv.Node()
	}
	if b.connectTimeout == 0 {
		b.connectTimeout = 45 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	b.notice = notice.New(o.Logger, 0)
	b.answers = newCache(own.CacheSize)
	b.slots = &slots{most: own.Concurrency}
	b.breaker = newBreaker(name, func(s State) {
		b.notice.Warn("webhook: the breaker of a backend is "+s.String(), "backend", name, "see", b.key)
	})
	b.lanes, b.doors = make([]lane, own.Lanes), make([]lane, max(1, min(own.Lanes, own.Concurrency/4)))
	for i := range b.lanes {
		b.lanes[i].b = b
	}
	for i := range b.doors {
		b.doors[i].b, b.doors[i].urgent = b, true
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.hurry.init()
	b.newRound()
	if err := b.Reload(own); err != nil {
		b.cancel()
		return nil, err
	}
	return b, nil
}

// Reload has the backend go on with other settings, but for Lanes, and reads certificates
// again. What waits is told as it was written. The error is a *config.Fault: nothing has
// changed.
func (b *Backend) Reload(own config.Backend) error {
	hooks, err := action.Hooks(own.Events)
	if err != nil {
		return &config.Fault{Key: b.key + ".events", Err: err}
	}
	w, err := newWire(&own)
	var f *config.Fault
	if errors.As(err, &f) {
		return &config.Fault{Key: b.key + "." + f.Key, Err: f.Err}
	}
	b.own.Store(&own)
	b.hooks.Store(uint32(hooks))
	b.form.Store(newForm(b.node, &own))
	queue := int64(own.Queue)
	b.room.most.Store(queue - queue/4) // the rest is of what clients do not wait for
	for i := range b.lanes {
		b.lanes[i].room.most.Store(min(max(queue/8, 2*int64(own.MaxBatchBytes)), queue))
	}
	b.slots.resize(own.Concurrency)
	b.answers.resize(own.CacheSize)
	if old := b.wire.Swap(w); old != nil {
		old.close()
	}
	return nil
}

// Hooks are the kinds that the backend wants.
func (b *Backend) Hooks() action.Hook { return action.Hook(b.hooks.Load()) }

// Forget drops all answers that are kept: what clients may do has changed, as when tokens
// are revoked.
func (b *Backend) Forget() { b.answers.forget() }

// Close takes nothing any more, and tells what waits until ctx ends. What is left then is
// lost, and the error says how much that was. It is called once.
func (b *Backend) Close(ctx context.Context) error {
	b.stopped.Store(true)
	b.Release() // of what was not
	if b.knocks.wait(ctx) == nil {
		_ = b.life.wait(ctx)
	}
	before := b.tally.lostAll()
	close(b.closed)
	b.halt.begin(false)
	b.halt.begin(true)
	b.cancel()
	for _, lanes := range [][]lane{b.lanes, b.doors} {
		for i := range lanes {
			lanes[i].start() // to give up what is in it
		}
	}
	_ = b.knocks.wait(context.Background())
	_ = b.life.wait(context.Background())
	b.wire.Load().close()
	if n := b.tally.lostAll() - before; n > 0 {
		return fmt.Errorf("webhook: %s was not told of %d events: %w", b.name, n, context.Cause(ctx))
	}
	return nil
}
