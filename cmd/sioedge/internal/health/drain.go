package health

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A Phase is how far draining is.
type Phase string

// The phases, in their order.
const (
	Serving Phase = "serving"
	Waiting Phase = "waiting" // not ready, and everybody is served
	Closing Phase = "closing" // clients leave, and no new ones are taken
	Drained Phase = "drained" // none are left, and no new ones are taken
)

// A State is how draining is.
type State struct {
	Phase     Phase
	Since     time.Time // zero while Serving
	Remaining int64     // sessions that are still to leave; 0 while Serving
}

// ErrStopping is for who wants a server that stops to do something else.
var ErrStopping = errors.New("the server stops")

// drain is guarded by mu; what it runs is not.
type drain struct {
	mu       sync.Mutex
	phase    Phase // "" is Serving
	since    time.Time
	stopping bool
	cancel   context.CancelFunc // of what runs; nil: nothing does
	done     chan struct{}      // closed when that has ended
}

// Draining returns how draining is. It asks the loops, and waits for 100 ms at most.
func (h *Health) Draining() State {
	h.drain.mu.Lock()
	st := State{Phase: h.drain.phase, Since: h.drain.since}
	h.drain.mu.Unlock()
	if st.Phase == "" {
		return State{Phase: Serving}
	}
	st.Remaining = h.srv.Stats().Engine.Open.Sum()
	return st
}

// Drain has the server be not ready from now on, and clients leave, evenly over a time,
// when delay is over. If that is under way, it goes on like this from where it is. It
// does not wait. The error is ErrStopping.
func (h *Health) Drain(delay, over time.Duration) error {
	ctx, cancel := context.WithCancel(context.Background())
	ended, err := h.begin(cancel, false)
	if err != nil {
		cancel()
		return err
	}
	// ends with Undrain, Stop, the next Drain, or when all have left
	go func() {
		defer cancel()
		ended(h.run(ctx, delay, over))
	}()
	return nil
}

// Stop is Drain for a server that stops: nothing else is done from now on. It waits until
// nobody is left, or ctx is done; its error is ctx's then.
func (h *Health) Stop(ctx context.Context, delay, over time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended, err := h.begin(cancel, true)
	if err != nil {
		return err
	}
	err = h.run(ctx, delay, over)
	ended(err)
	return err
}

// Undrain has the server be ready, and take clients again. The error is ErrStopping.
func (h *Health) Undrain() error {
	if err := h.halt(); err != nil {
		return err
	}
	h.drain.mu.Lock()
	defer h.drain.mu.Unlock()
	if h.drain.stopping {
		return ErrStopping
	}
	if h.drain.phase != "" && h.drain.cancel == nil {
		h.drain.phase, h.drain.since = "", time.Time{}
		h.srv.Resume()
		h.red.Store(false)
		h.o.Logger.Info("not draining any more: clients are welcome again")
	}
	return nil
}

// halt ends what runs, and waits for that.
func (h *Health) halt() error {
	for {
		h.drain.mu.Lock()
		cancel, done, stopping := h.drain.cancel, h.drain.done, h.drain.stopping
		h.drain.mu.Unlock()
		if stopping {
			return ErrStopping
		}
		if cancel == nil {
			return nil
		}
		cancel()
		<-done
	}
}

// begin notes what runs from now on, in place of what did.
func (h *Health) begin(cancel context.CancelFunc, stops bool) (ended func(error), err error) {
	for {
		if err := h.halt(); err != nil {
			return nil, err
		}
		h.drain.mu.Lock()
		if h.drain.cancel == nil && !h.drain.stopping {
			break
		}
		h.drain.mu.Unlock() // somebody else was quicker
	}
	defer h.drain.mu.Unlock()
	h.red.Store(true)
	d, done := &h.drain, make(chan struct{})
	d.cancel, d.done, d.stopping = cancel, done, stops
	if d.phase == "" {
		d.phase, d.since = Waiting, time.Now()
	}
	return func(error) {
		d.mu.Lock()
		d.cancel = nil
		d.mu.Unlock()
		close(done)
	}, nil
}

// run goes through the phases.
func (h *Health) run(ctx context.Context, delay, over time.Duration) error {
	h.drain.mu.Lock()
	waiting := h.drain.phase == Waiting
	h.drain.mu.Unlock()
	if waiting {
		h.o.Logger.Info("draining: not ready, and everybody is served", "delay", delay.String())
		wait := time.NewTimer(delay)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	h.become(Closing)
	h.o.Logger.Info("draining: clients leave", "sessions", h.srv.Stats().Engine.Open.Sum(), "over", over.String())
	if err := h.srv.Drain(ctx, over); err != nil {
		return err
	}
	h.become(Drained)
	h.o.Logger.Info("drained: no client is left")
	return nil
}

func (h *Health) become(p Phase) {
	h.drain.mu.Lock()
	h.drain.phase = p
	h.drain.mu.Unlock()
}
