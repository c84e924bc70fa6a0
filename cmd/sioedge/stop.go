package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/health"
)

// signals are what the process is told from outside.
type signals struct{ hup, usr1, usr2, quit chan os.Signal }

// listenToSignals has signals kept for heed. They end by stop.
func listenToSignals() *signals {
	s := &signals{make(chan os.Signal, 1), make(chan os.Signal, 1), make(chan os.Signal, 1), make(chan os.Signal, 1)}
	signal.Notify(s.hup, syscall.SIGHUP)
	signal.Notify(s.usr1, syscall.SIGUSR1)
	signal.Notify(s.usr2, syscall.SIGUSR2)
	// Whoever can reach the server may have it stopped, and is told then.
	signal.Notify(s.quit, syscall.SIGTERM, os.Interrupt)
	return s
}

func (s *signals) stop() {
	for _, c := range []chan os.Signal{s.hup, s.usr1, s.usr2, s.quit} {
		signal.Stop(c)
	}
}

// An ending is how the server is to end.
type ending struct {
	delay, over time.Duration // when clients are to leave then, and over which time
	handed      *upgrading    // not nil: another process has them
	soon        bool          // that is to stop, too
}

// heed does what it is told, until that is to stop, or another process has taken over.
func (e *edge) heed(ctx context.Context, s *signals) ending {
	var u *upgrading // nil: no upgrade is under way
	for {
		hup, reloads := s.hup, e.reloads
		if u != nil {
			hup, reloads = nil, nil // they wait for what comes of it
		}
		select {
		case <-hup:
			_, _ = e.reload() // which is in the log
		case <-s.usr1:
			e.usr1()
		case answer := <-reloads:
			var r reloaded
			r.Change, r.err = e.reload()
			answer <- r
		case <-s.usr2:
			u = e.beginUpgrade(u, newOrder())
		case o := <-e.upgrades.asked:
			u = e.beginUpgrade(u, o)
		case <-u.decided():
			if u.gone {
				return ending{handed: u}
			}
			u = nil
		case o := <-e.halts:
			return e.ending(u, o.Delay, o.Over)
		case <-ctx.Done():
			return e.ending(u, e.now.DrainDelay, leaving(e.now))
		case is := <-s.quit:
			delay := e.now.DrainDelay
			if is == os.Interrupt && term.IsTerminal(int(os.Stderr.Fd())) {
				delay = 0 // somebody waits at the keyboard
			}
			return e.ending(u, delay, leaving(e.now))
		}
	}
}

// ending is that of a server that is told to stop: an upgrade is called off, and if it is
// too late for that, what has the clients stops.
func (e *edge) ending(u *upgrading, delay, over time.Duration) ending {
	if e.callOff(u) {
		return ending{handed: u, soon: true}
	}
	return ending{delay: delay, over: over}
}

// leaving is over which time clients leave: what else is to be sent and told needs some,
// too.
func leaving(l *config.Loaded) time.Duration { return l.Drain / 2 }

// stop ends the server: clients leave over a time, behind a delay, and what is left may
// take half as long as the settings say.
func (e *edge) stop(delay, over time.Duration) {
	e.log.Info("stopping; once more, and it ends at once", "drain-delay", delay.String(), "drain", e.now.Drain.String())
	close(e.stopping)
	if e.upgrades.ln != nil {
		_ = e.upgrades.ln.Remove()
	}
	longest := delay + over + e.now.Drain - leaving(e.now)
	e.manager.Stopping(longest)
	deadline, done := context.WithTimeout(context.Background(), longest)
	defer done()
	leave, left := context.WithTimeout(deadline, delay+over+e.now.Drain/8) // whoever is late goes with the server
	defer left()
	if err := e.health.Stop(leave, delay, over); err != nil {
		e.log.Warn("not all clients have left in time", "error", err)
	}
	e.end(deadline, e.stopInternal(deadline))
}

// stopInternal ends the listener for operators and backends, until when what it returns is
// open.
func (e *edge) stopInternal(deadline context.Context) <-chan struct{} {
	ended := make(chan struct{})
	// ends with deadline, or what it waits for
	go func() { defer close(ended); e.internal.stop(deadline) }()
	return ended
}

// end ends the server, when its clients have left, and waits for internal.
func (e *edge) end(deadline context.Context, internal <-chan struct{}) {
	defer func() { <-internal }()
	e.presence.Close(deadline)
	sent, ended := context.WithTimeout(deadline, e.now.Drain/4) // the rest is for backends to be told
	defer ended()
	if err := e.srv.Shutdown(sent); err != nil {
		e.log.Warn("stopped before everything was sent", "error", err)
	}
	e.close(deadline)
}

// newHealth makes the health of a server that is not there yet.
func (e *edge) newHealth(cluster bool) *health.Health {
	e.required.Store(e.now.Adapter.Required)
	return health.New(health.Options{Cluster: cluster, Required: e.required.Load, Beside: e.linked, Logger: e.log})
}

// drainFor has clients leave, for the API.
func (e *edge) drainFor(d api.Drain) error {
	if !d.Stop {
		if e.upgrades.under.Load() {
			return &api.NotNow{Code: "upgrading", Why: "an upgrade is under way: clients are being given to another process"}
		}
		return e.health.Drain(d.Delay, d.Over)
	}
	select {
	case <-e.stopping:
		return health.ErrStopping
	case e.halts <- d:
		return nil
	}
}

// draining says how that is.
func (e *edge) draining() wire.Draining {
	st := e.health.Draining()
	d := wire.Draining{Phase: string(st.Phase), Remaining: st.Remaining}
	if !st.Since.IsZero() {
		d.Since = st.Since.UnixMilli()
	}
	return d
}

// drainTimes are what an order to drain means if it does not say how.
func (e *edge) drainTimes() (delay, over time.Duration) {
	t := e.times.Load()
	return t.delay, t.over
}

// times are when clients leave.
type times struct{ delay, over time.Duration }

func timesOf(l *config.Loaded) *times { return &times{l.DrainDelay, leaving(l)} }
