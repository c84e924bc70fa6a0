// Package bridge gives the clients of namespaces to processes of an application, which are
// linked to this server, and does what these say.
//
// A connection of a client has a seat, which is at one process at a time, with all sockets of
// the connection that are of this bridge. When that process goes, or hands them over, the
// seat waits, with the events that come and those that the process has not worked off, until
// the mover opens it at another one.
//
//	Connect → ask → [3] … [33] accept → Came        client.go, seat.go
//	Event → [4], or held while the seat waits        events.go
//	[35] … [52]                                      emits.go, broadcast.go, relay.go
//	Ended, [48] … [50] → wait → mover → [3] taken    takeover.go
package bridge

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/link"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/loop/notice"
	"github.com/sioedge/sioedge/sio"
)

// Options are what a Bridge needs beside its settings.
type Options struct {
	// Recovery is how long the server remembers clients that have left; zero: it does not.
	Recovery time.Duration
	// Stays says that there was a bridge of this name before: what clients have with this one
	// does not go to another process, to which nothing goes then.
	Stays bool
	// Version is the server's, which processes are told.
	Version string
	// Logger is told of what processes do wrong, now and then. Nil: slog.Default.
	Logger *slog.Logger
}

// A Bridge is one application. It implements action.Bridge; any goroutine may call its
// methods.
type Bridge struct {
	// Immutable after New.
	srv     *sio.Server
	name    string
	key     string // of its settings, for the log
	o       Options
	notice  *notice.Log
	seats   sio.ConnKey[*seat]
	sockets sio.Key[*socket]
	brought sio.Key[*wire.Identity] // of a socket that its client had before, until Came
	links   *link.Sessions
	// mostDeaths is how many links in a row may end with events of a connection not worked
	// off, before these are taken for the reason.
	mostDeaths int

	settings atomic.Pointer[config.Bridge]
	owned    atomic.Pointer[map[*sio.Namespace]bool]
	tally    tally

	// Guarded by mu, as is what seats, sockets, members and events say of themselves. It
	// is held for a few instructions, and while a message is Put, and let go by unlock.
	mu      sync.Mutex
	members []*member // that have attached, and are not over, in order
	turn    int       // of members, for those with as few sockets as others
	waiting []*seat   // without a process, the one that waits longest first; some do not any more
	moves   bool      // the mover runs
	expiry  *time.Timer
	closing []sio.Socket // whose connections unlock closes
	free    []*event
	stopped bool

	moving   moving
	carrying *carrying // what Export has returned; nil: it was not called
	arrived  *arrival  // what Import was given, until Serving; nil: nothing

	peersTold    int  // how often lately: see peersBurst
	peersChanged bool // since
}

// New returns a Bridge without processes, and without namespaces; the name is that in the
// settings. It is called before the server serves.
func New(srv *sio.Server, name string, settings config.Bridge, o Options) (*Bridge, error) {
	if name == "" {
		return nil, errors.New("bridge: there is no name")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	b := &Bridge{mostDeaths: 3, srv: srv, name: name, key: "bridges." + name, o: o, notice: notice.New(o.Logger, 0), seats: sio.NewConnKey[*seat](), sockets: sio.NewKey[*socket](), brought: sio.NewKey[*wire.Identity]()}
	b.owned.Store(&map[*sio.Namespace]bool{})
	b.settings.Store(&settings)
	b.links = link.NewSessions(b.linkOptions())
	b.moving.begin()
	if !o.Stays {
		b.carryKeys()
	}
	b.seats.OnEnd(b.connEnded)
	b.expiry = time.AfterFunc(time.Hour, b.expire)
	b.expiry.Stop()
	return b, nil
}

func (b *Bridge) linkOptions() link.Options {
	x := b.settings.Load()
	return link.Options{
		Window: int(x.Window), MaxMessage: int(x.MaxMessage), Timeout: x.Timeout, Grace: x.Grace, Logger: b.o.Logger,
		Welcome: func() wire.Welcome {
			return wire.Welcome{Edge: b.srv.Node(), Server: b.o.Version, Settings: b.told(b.settings.Load())}
		},
	}
}

// told are settings as processes are told them.
func (b *Bridge) told(x *config.Bridge) wire.Settings {
	return wire.Settings{
		Window: uint64(x.Window), MaxMessage: uint64(x.MaxMessage), MaxData: uint64(x.MaxData),
		Timeout: uint64(x.Timeout.Milliseconds()), Grace: uint64(x.Grace.Milliseconds()), Takeover: uint64(x.Takeover.Milliseconds()),
		Data: x.Data, Recovery: uint64(b.o.Recovery.Milliseconds()),
	}
}

// Reload has other settings hold: what concerns a link for those that are dialled from now
// on, all else at once. Processes are told what has changed.
func (b *Bridge) Reload(settings config.Bridge) error {
	was, is := b.told(b.settings.Load()), b.told(&settings)
	b.settings.Store(&settings)
	b.links.Reload(b.linkOptions())
	is.Has = changed(was, is)
	b.mu.Lock()
	defer b.unlock()
	if is.Has != 0 {
		for _, m := range b.members {
			m.s.Put(nil, true, func(dst []byte) []byte { return wire.AppendSettings(dst, &is) })
		}
	}
	b.arm()
	return nil
}

// changed returns which settings are other ones, of those that are not a link's own: window,
// max_message, timeout and grace are those with which it began.
func changed(a, b wire.Settings) (has wire.Setting) {
	for _, x := range []struct {
		bit  wire.Setting
		same bool
	}{
		{wire.HasMaxData, a.MaxData == b.MaxData}, {wire.HasTakeover, a.Takeover == b.Takeover}, {wire.HasData, a.Data == b.Data},
	} {
		if !x.same {
			has |= x.bit
		}
	}
	return has
}

// Name returns the bridge's name in the settings.
func (b *Bridge) Name() string { return b.name }

// Add has a namespace be of this bridge, for good: processes may emit to it. It is called
// before clients can join it.
func (b *Bridge) Add(ns *sio.Namespace) {
	b.mu.Lock()
	defer b.unlock()
	old := *b.owned.Load()
	if old[ns] {
		return
	}
	all := maps.Clone(old)
	all[ns] = true
	b.owned.Store(&all)
	ns.OnUpgrade(b.upgraded)
}

// Owns tells whether a namespace is of this bridge.
func (b *Bridge) Owns(ns *sio.Namespace) bool { return (*b.owned.Load())[ns] }

// Close ends the links, which processes are told, when their clients have gone, or ctx is
// done. It is called when the server has shut down.
func (b *Bridge) Close(ctx context.Context) {
	for !b.idle() && ctx.Err() == nil {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	b.mu.Lock()
	b.stopped = true
	b.expiry.Stop()
	all := append([]*member(nil), b.members...)
	for _, x := range b.waiting {
		if x.waits {
			b.giveUp(x, &b.tally.stopped)
		}
	}
	b.waiting = nil
	b.unlock()
	for _, m := range all {
		m.s.Close(wire.CodeDraining, "the edge stops")
	}
}

// idle tells whether no client is left.
func (b *Bridge) idle() bool {
	b.mu.Lock()
	defer b.unlock()
	for _, m := range b.members {
		if m.load > 0 || len(m.conns) > 0 {
			return false
		}
	}
	for _, x := range b.waiting {
		if x.waits {
			return false
		}
	}
	return true
}

// unlock lets mu go, and then closes the connections that are to be.
func (b *Bridge) unlock() {
	closing := b.closing
	b.closing = nil
	b.mu.Unlock()
	for _, s := range closing {
		if s != (sio.Socket{}) { // of a namespace that there is not any more
			s.CloseConn()
		}
	}
}
