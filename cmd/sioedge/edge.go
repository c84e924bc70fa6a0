package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/sioedge/sioedge/cmd/sioedge/demo"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/adminui"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/api"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/declare"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/health"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/identity"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/journal"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/limit"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/listen"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/metrics"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/presence"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/roster"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio"
)

// An edge is a server with what the settings have made of it.
type edge struct {
	now    *config.Loaded // once it serves: of the goroutine that waits for signals
	log    *slog.Logger
	level  *slog.LevelVar
	file   *journal.File // of log; nil: it is in none
	srv    *sio.Server
	client bool // the browser's files are served
	brief  bool // a request is known for the first namespace that a connection joins, and not behind that

	authority *identity.Authority
	limiter   *limit.Limiter
	presence  *presence.Presence
	router    *declare.Router
	backends  *backends // nil before register
	bridges   *bridges  // likewise
	roster    *roster.Roster
	internal  *internal
	ui        *adminui.UI                   // nil: there is none
	shown     atomic.Pointer[config.Loaded] // on the page for operators; nil: there is none
	preface   listen.Preface
	tls       *listen.TLS     // nil: no address has TLS
	manager   *listen.Manager // nil before it listens
	told      *metrics.Metrics

	health   *health.Health
	journal  *journal.Journal      // nil before register
	required atomic.Bool           // settings.Adapter.Required
	times    atomic.Pointer[times] // of the settings

	upgrades upgrades
	before   *succession // of the process whose clients it takes over; nil: there is none

	reloads  chan chan reloaded // who wants a reload
	halts    chan api.Drain     // who wants it to stop
	stopping chan struct{}      // closed when it stops, and nobody reloads any more
}

// assemble makes a server of settings, which does not listen yet. One that is alone
// joins no cluster. The error has all that is wrong, placed.
func assemble(l *config.Loaded, log *slog.Logger, alone bool) (*edge, error) {
	return assembleBehind(nil, l, log, alone)
}

// assembleBehind is assemble for a server that takes over from another process's.
func assembleBehind(before *succession, l *config.Loaded, log *slog.Logger, alone bool) (*edge, error) {
	e := &edge{now: l, log: log, before: before, reloads: make(chan chan reloaded), halts: make(chan api.Drain), stopping: make(chan struct{})}
	e.upgrades.asked = make(chan upgradeOrder)
	program, err := compile(l)
	faults := []error{err, checkListen(l), checkAdminUI(l)}
	o, err := options(l, log)
	faults = append(faults, err)
	if alone {
		o.Adapter = nil
	}
	e.limiter, err = limit.New(l.Limits, limit.Options{Logger: log})
	faults = append(faults, err)
	if e.authority, err = authority(l, program, o, log, alone); err != nil {
		faults = append(faults, err)
	} else {
		e.authority.Options(&o)
	}
	if tells(program) && o.KeepHandshake == sio.KeepForFirst {
		o.KeepHandshake = sio.KeepUntilJoined
	}
	adminUIOptions(l, &o)
	e.brief = o.KeepHandshake == sio.KeepForFirst
	if err := errors.Join(faults...); err != nil {
		e.close(context.Background())
		return nil, l.Place(err)
	}
	if e.tls, err = newTLS(l, log, alone); err != nil {
		e.close(context.Background())
		return nil, l.Place(err)
	}
	e.health = e.newHealth(o.Adapter != nil)
	e.times.Store(timesOf(l))
	o.Engine.Health, o.Engine.HealthPath = e.health.Welcome, l.Health.Path
	before.options(&o)
	if e.srv, err = sio.New(o); err != nil {
		e.close(context.Background())
		return nil, l.Place(blame(err))
	}
	e.srv.Carry(e.part())
	e.health.Bind(e.srv)
	e.journal = journal.New(e.srv, log)
	e.journal.Apply(connSample(l))
	e.client = o.Client != nil
	if err := e.register(program, o); err != nil {
		_ = e.srv.Shutdown(context.Background())
		e.close(context.Background())
		return nil, l.Place(err)
	}
	e.internal = e.newInternal(o.Adapter != nil)
	return e, nil
}

// compile compiles the declarations. What it returns with an error has none.
func compile(l *config.Loaded) (*declare.Program, error) {
	all, asks := l.Namespaces, strings.Contains(l.Auth.Mode, "webhook")
	if l.Demo {
		boards, err := config.Declarations("board.yaml", demo.Board)
		if err != nil {
			panic("sioedge: the demonstration's board cannot be: " + err.Error())
		}
		for i := range boards {
			boards[i].Backend = config.NoBackend
		}
		all = slices.Concat(all, boards)
	}
	p, err := declare.Compile(all, declare.Options{Auth: l.Auth.Mode != "none" && l.Auth.Mode != "webhook", Asks: asks, Backends: l.BackendsOf(), Bridges: l.BridgesOf()})
	if err != nil {
		return new(declare.Program), err
	}
	return p, taken(l)
}

// tells tells whether backends, or bridges, are told of the request of each socket.
func tells(p *declare.Program) bool { return p.Asks() || len(p.Bridges()) > 0 }

// taken returns a fault for each namespace with rules that the demonstration has for
// itself.
func taken(l *config.Loaded) error {
	var faults []error
	for i, ns := range l.Namespaces {
		if l.Demo && (ns.Pattern == "/" || ns.Pattern == demoChat) && !ns.Plain() {
			faults = append(faults, &config.Fault{Key: fmt.Sprintf("namespaces[%d].pattern", i), Err: errors.New("is a namespace of the demonstration (--demo)")})
		}
	}
	return errors.Join(faults...)
}

// demoChat is the namespace of the demonstration's chat.
const demoChat = "/chat"

// authority returns who says who clients are. If that is nobody now, a reload may change
// it.
func authority(l *config.Loaded, p *declare.Program, o sio.Options, log *slog.Logger, alone bool) (*identity.Authority, error) {
	known := identity.Options{Logger: log, Cluster: o.Adapter != nil, Trusts: listen.Trusts(l.TrustProxy), Idle: alone}
	known.Keeper, _ = o.Adapter.(identity.Keeper)
	return identity.New(l.Auth, p.Claims(), known)
}

// register has the server do what is declared.
func (e *edge) register(program *declare.Program, o sio.Options) error {
	cluster := o.Adapter != nil
	_, logged := o.Adapter.(rooms.Log)
	e.authority.Register(e.srv)
	e.limiter.Register(e.srv)
	if e.ui = e.newAdminUI(o); e.ui != nil {
		e.srv.Carry(e.ui.Part())
	}
	e.presence = presence.New(e.srv, e.user, presence.Options{
		Cluster: cluster, Recovery: o.Recovery.Window, Resync: logged && o.Recovery.Window > 0, Logger: e.log,
	})
	var err error
	if e.backends, err = newBackends(e.srv, &e.now.Settings, program, e.log); err != nil {
		return err
	}
	e.srv.Carry(e.backends.part())
	if e.bridges, err = newBridges(e.srv, &e.now.Settings, e.log); err != nil {
		return err
	}
	e.srv.Carry(e.bridges.part())
	e.authority.OnRevoke(e.backends.forget)
	e.roster = roster.New(e.srv, roster.Options{
		Cluster: cluster, Elsewhere: logged && o.Recovery.Window > 0, Recovery: o.Recovery.Window,
		Backends: e.backends.named, Rate: e.backends.disconnects, MaxEntries: e.now.Limits.MaxBackendSockets, Logger: e.log,
	})
	e.router = declare.New(e.srv, declare.Parts{
		Authority: e.authority, Limiter: e.limiter, Presence: e.presence, Backend: e.backends.get, Bridge: e.bridges.get, Roster: e.roster, Logged: e.journal.On,
		Cluster: cluster, Logger: e.log,
	})
	if e.now.Demo {
		demo.Serve(e.srv.Of(demoChat))
		serveLoad(e.srv.Of("/"), cluster)
	}
	return e.declare(program, e.now)
}

// declare has the namespaces of a program served. Those of the demonstration are as they
// are.
func (e *edge) declare(program *declare.Program, l *config.Loaded) error {
	var faults []error
	config.Each(e.router.Apply(program), func(err error) {
		for i, ns := range l.Namespaces {
			var f *config.Fault
			if l.Demo && ns.Plain() && errors.As(err, &f) && f.Key == fmt.Sprintf("namespaces[%d].pattern", i) {
				return
			}
		}
		faults = append(faults, err)
	})
	return errors.Join(faults...)
}

// user names the user of a socket, "" for nobody.
func (e *edge) user(s sio.Socket) string {
	if id := e.authority.Of(s); id != nil {
		return id.User
	}
	return ""
}

// apply makes new settings hold. If it returns an error, a placed one, the old ones do.
func (e *edge) apply(next *config.Loaded) error {
	program, err := compile(next)
	if err != nil {
		return next.Place(err)
	}
	if err := e.limiter.Reload(next.Limits); err != nil {
		return next.Place(err)
	}
	undo := func() { // what was there has been good
		_ = e.limiter.Reload(e.now.Limits)
		was, _ := compile(e.now)
		_ = e.authority.Reload(e.now.Auth, was.Claims())
		_ = e.backends.reload(backendsOf(&e.now.Settings, was))
		_ = e.bridges.reload(e.now.BridgesOf())
	}
	if err := e.authority.Reload(next.Auth, program.Claims()); err != nil {
		_ = e.limiter.Reload(e.now.Limits)
		return next.Place(err)
	}
	defer func() { e.backends.prune(e.now.Drain); e.bridges.prune(e.now.Drain) }() // of what there was, or has not come to be
	if err := errors.Join(e.backends.reload(backendsOf(&next.Settings, program)), e.bridges.reload(next.BridgesOf())); err != nil {
		undo()
		return next.Place(err)
	}
	certificates := func() {}
	if e.tls != nil {
		if certificates, err = e.tls.Reload(next.TLS); err != nil {
			undo()
			return next.Place(err)
		}
	}
	if err := e.internal.apply(next); err != nil {
		undo()
		return err
	}
	if e.brief && tells(program) {
		e.log.Warn("backends or bridges are asked about clients, and know the fields of a request (headers, query) for the first namespace alone that a connection joins, until a restart")
	}
	certificates()
	e.required.Store(next.Adapter.Required)
	e.times.Store(timesOf(next))
	e.journal.Apply(connSample(next))
	_ = e.level.UnmarshalText([]byte(next.Log.Level)) // has been checked
	return next.Place(e.declare(program, next))
}

// close ends what goes on beside the server, when that has ended.
func (e *edge) close(ctx context.Context) {
	if e.ui != nil {
		e.ui.Close(ctx)
	}
	if e.journal != nil {
		e.journal.Close()
	}
	if e.router != nil {
		e.router.Close()
	}
	linked := make(chan struct{})
	// ends soon behind ctx
	go func() {
		defer close(linked)
		if e.bridges != nil {
			e.bridges.close(ctx)
		}
	}()
	if e.backends != nil {
		e.backends.close(ctx)
	}
	<-linked
	if e.authority == nil {
		return
	}
	if err := e.authority.Close(ctx); err != nil {
		e.log.Warn("stopped while keys were fetched, or servers asked", "error", err)
	}
}
