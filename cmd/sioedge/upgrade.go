package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/listen"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/successor"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/handover"
)

// internalFile is the name of the listener for operators and backends on its way to the
// process that takes over.
const internalFile = "internal"

// upgrades are how other processes take over.
type upgrades struct {
	program string // where this one was started from
	asked   chan upgradeOrder
	under   atomic.Bool // one is under way
	counts  successor.Counts
	slack   successor.Slack // while clients are given away

	addresses listen.Addresses   // once it listens
	ln        *handover.Listener // nil: nobody finds it
}

// An upgradeOrder is somebody's who wants another process to take over.
type upgradeOrder struct {
	dry    bool
	conn   *net.UnixConn // of a process that is there; nil: one is started
	answer chan upgraded // which has room for it
}

// upgraded is what became of an order.
type upgraded struct {
	wire.Upgraded
	err error
}

func newOrder() upgradeOrder { return upgradeOrder{answer: make(chan upgraded, 1)} }

// An upgrading is an upgrade that is under way.
type upgrading struct {
	order  upgradeOrder
	cancel context.CancelFunc
	done   chan struct{}    // closed when it is decided
	child  *successor.Child // nil: somebody else has started the process
	handed sio.Handed       // once done, if it has taken over
	gone   bool             // it has
}

// decided is closed when it is; nil of none.
func (u *upgrading) decided() <-chan struct{} {
	if u == nil {
		return nil
	}
	return u.done
}

// beginUpgrade begins one beside the one that is under way, if that is nil. It runs on
// the goroutine that waits for signals.
func (e *edge) beginUpgrade(under *upgrading, o upgradeOrder) *upgrading {
	var not *api.NotNow
	switch {
	case under != nil:
		not = &api.NotNow{Code: "upgrading", Why: "an upgrade is under way already"}
	case e.health.Red():
		not = &api.NotNow{Code: "draining", Why: "the server drains: there are no clients to give to another process (undrain)"}
	}
	if not != nil {
		e.log.Warn("no upgrade is begun", "why", not.Why)
		if o.conn != nil {
			_ = o.conn.Close()
		}
		o.answer <- upgraded{err: not}
		return under
	}
	ctx, cancel := context.WithCancel(context.Background())
	u := &upgrading{order: o, cancel: cancel, done: make(chan struct{})}
	e.upgrades.under.Store(true)
	settings := e.now
	// ends when the other process has everything, or nothing comes of it
	go func() {
		defer close(u.done)
		defer cancel()
		up, err := e.upgrade(ctx, settings, u)
		if err != nil || o.dry {
			e.upgrades.under.Store(false)
		}
		o.answer <- upgraded{up, err}
	}()
	return u
}

// upgrade has another process take over.
func (e *edge) upgrade(ctx context.Context, l *config.Loaded, u *upgrading) (up wire.Upgraded, err error) {
	defer func() {
		switch {
		case err == nil && !u.order.dry:
			e.upgrades.counts.Done(u.handed.Pause)
		case err != nil:
			e.upgrades.counts.Failed()
			e.log.Error("the upgrade has come to nothing, and everything is as before", "dry-run", u.order.dry, "error", err)
		}
	}()
	conn := u.order.conn
	if conn == nil {
		program := cmp.Or(l.Handover.Program, e.upgrades.program)
		e.log.Info("upgrade: a process is started to take over", "program", program, "dry-run", u.order.dry, "version", version(), "build", build())
		e.adopt(l)
		if u.child, conn, err = successor.Start(program); err != nil {
			return up, err
		}
	} else {
		e.log.Info("upgrade: a process is there to take over", "handover", l.Handover.Socket, "version", version(), "build", build())
	}
	h, err := e.handOver(ctx, l, conn, u.order.dry)
	if err != nil {
		return up, u.explain(ctx, err)
	}
	u.handed, u.gone = h, !u.order.dry
	if u.order.dry && u.child != nil {
		_ = u.child.End(5 * time.Second)
	}
	return e.sayHanded(u), nil
}

// handOver is [sio.Server.Handover] with what the edge has.
func (e *edge) handOver(ctx context.Context, l *config.Loaded, conn *net.UnixConn, dry bool) (sio.Handed, error) {
	files, note, err := e.handingFiles()
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	if err != nil {
		_ = conn.Close()
		return sio.Handed{}, err
	}
	return e.srv.Handover(ctx, conn, sio.HandoverOptions{
		Version: version(), Build: build(), Note: note, Files: files, DryRun: dry,
		Ready: l.Handover.ReadyTimeout, Hold: l.Handover.HoldTimeout, Take: l.Handover.TakeTimeout,
	})
}

// explain says why nothing came of it. The process that was started has ended then.
func (u *upgrading) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = errors.New("it was called off, as the server is to stop")
	}
	if u.child == nil {
		return err
	}
	ended := u.child.End(time.Second)
	if ended != nil && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)) {
		return fmt.Errorf("the new process has not taken over: %w (what it said is where this log is)", ended)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the new process has not done its part in time, and was ended: %w", err)
	}
	return err
}

// sayHanded says what an upgrade was like.
func (e *edge) sayHanded(u *upgrading) wire.Upgraded {
	h := u.handed
	up := wire.Upgraded{
		DryRun: u.order.dry, Node: e.srv.Node(), PID: h.Successor.PID, Version: h.Successor.Version, Build: h.Successor.Build,
		Connections: h.Conns, Sessions: h.Sessions, Sockets: h.Sockets, Pause: ms(h.Pause), Steps: sayWhere(h.Steps),
		Stays: wire.Stays{TLS: h.Stays.TLS, Mounted: h.Stays.Mounted, Opening: h.Stays.Opening, Tunnels: h.Stays.Tunnels},
	}
	if u.child != nil {
		up.PID = u.child.PID()
	}
	if u.order.dry {
		e.log.Info("the new process would be ready to take over", "process", up.PID, "its-version", up.Version, "its-build", up.Build)
		return up
	}
	e.log.Info("handed over: another process has the clients", "process", up.PID, "its-version", up.Version, "its-build", up.Build,
		"connections", up.Connections, "sessions", up.Sessions, "sockets", up.Sockets, "pause", h.Pause.String(), "steps", h.Steps.String(),
		"stay-tls", up.Stays.TLS, "stay-mounted", up.Stays.Mounted, "stay-opening", up.Stays.Opening, "stay-tunnels", up.Stays.Tunnels)
	return up
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func sayWhere(s sio.Steps) wire.Steps {
	return wire.Steps{
		Quiet: ms(s.Quiet), Settle: ms(s.Settle), Split: ms(s.Split), Freeze: ms(s.Freeze),
		Parts: ms(s.Parts), Loops: ms(s.Loops), Taken: ms(s.Taken), Serving: ms(s.Serving),
	}
}

// callOff has an upgrade that is under way come to nothing, unless it is decided: then
// the process that has taken over is to stop as well.
func (e *edge) callOff(u *upgrading) (gone bool) {
	if u == nil {
		return false
	}
	u.cancel()
	<-u.done
	if pid := u.pid(); u.gone && pid > 1 {
		_ = syscall.Kill(pid, syscall.SIGTERM) // it may have ended
	}
	return u.gone
}

// pid is the process that has taken over; 0: it is not known here.
func (u *upgrading) pid() int {
	if u.child != nil {
		return u.child.PID()
	}
	return u.handed.Successor.PID
}

// upgradeFor has another process take over, for the API.
func (e *edge) upgradeFor(dry bool) (wire.Upgraded, error) {
	o := newOrder()
	o.dry = dry
	select {
	case e.upgrades.asked <- o:
		a := <-o.answer
		return a.Upgraded, a.err
	case <-e.stopping:
		return wire.Upgraded{}, &api.NotNow{Code: "stopping", Why: "the server stops"}
	}
}

// invite has processes take over that come by themselves, one at a time. It ends when
// the listener is closed.
func (e *edge) invite() {
	for {
		conn, err := e.upgrades.ln.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				e.log.Error("no process can take over by the socket any more", "error", err)
			}
			return
		}
		o := newOrder()
		o.conn = conn
		select {
		case e.upgrades.asked <- o:
			<-o.answer // it is in the log
		case <-e.stopping:
			_ = conn.Close()
			return
		}
	}
}
