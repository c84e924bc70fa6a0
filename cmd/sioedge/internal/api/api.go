// Package api is the HTTP API: what backends in any language, and operators, ask of a
// server. It is served where clients do not come, to who has a key.
//
//	request ── path, browser?, key ── limits of the key ── body, bounded ── route ── answer
//
// The table in routes.go says what there is: what is served, what the document at
// /api/openapi.json says, and what is counted, are made of it. What is done to sockets is
// package action's, and sio's; what other servers are asked is in cluster.go.
//
// Whoever has a key may do everything. Nobody else learns more than that there is an API:
// pages of browsers are refused, by what browsers say of themselves, keys are compared in
// a time that does not tell how much of one was right, and who fails too often is told
// so more cheaply. No key, no body and no header of a request is ever in a log.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/identity"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/presence"
	"github.com/sioedge/sioedge/loop/notice"
	"github.com/sioedge/sioedge/sio"
)

// Settings are what can be changed while the API serves.
type Settings struct {
	Keys        []string // each of which opens it
	MaxBody     int      // bytes of a body, and of a line of a stream; 0: 1 MiB
	MaxRequests int      // of one key at a time, streams left out; 0: 256
	MaxStreams  int      // of one key at a time; 0: 64
	MaxRoomData int      // bytes that are stored with rooms; 0: 16 MiB
}

// Options are those of New. All but Logger, Reload and Version have to be there.
type Options struct {
	Settings
	Authority *identity.Authority
	Presence  *presence.Presence
	User      func(s sio.Socket) string // the user of a socket, "" for nobody
	// MaxDepth and MaxAttachments bound arguments of events, as sio.Options.Limits do
	// those of clients; 0: 64, and 10.
	MaxDepth, MaxAttachments int
	// Cluster says that the server has an adapter, and others are to be asked.
	Cluster bool
	// Reload reads the configuration again; nil: there is none to read.
	Reload func() (applied, restart []string, err error)
	// Drain has clients leave, Undrain ends that, Draining says how it is, and DrainTimes
	// what is meant if that is not said. The errors are that the server stops, or a NotNow.
	// Nil, all of them: it cannot be drained.
	Drain      func(d Drain) error
	Undrain    func() error
	Draining   func() wire.Draining
	DrainTimes func() (delay, over time.Duration)
	// Upgrade has another process take over, or finds out whether it would be ready, and
	// returns when that is decided. The error is for whoever has asked, and a NotNow if it was
	// not begun. Nil: there is no other process.
	Upgrade func(dryRun bool) (wire.Upgraded, error)
	Version string
	Logger  *slog.Logger // nil discards
}

// An API is the handler of all that begins with /api/. Any goroutine may use it.
type API struct {
	// Immutable.
	srv     *sio.Server
	o       Options
	notice  *notice.Log
	router  *router
	peers   *peers
	started time.Time
	stopped context.Context // done when streams are to end
	stop    context.CancelFunc
	maxAcks int // that of every asking; tests have less

	settings atomic.Pointer[settings]
	failures failures
	memory   memory
	pause    pause
	roomData roomData

	operators key // of no text: ServeOperator
	counts    counts
}

// settings are Settings with what is made of them.
type settings struct {
	Settings
	limits action.Limits
	keys   keys
}

// New returns an API of a server, before that serves: in a cluster it listens to what
// other servers ask.
func New(srv *sio.Server, o Options) *API {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a := &API{srv: srv, o: o, notice: notice.New(o.Logger, 0), started: time.Now(), maxAcks: maxAcks}
	a.stopped, a.stop = context.WithCancel(context.Background())
	a.router = newRouter(routes)
	a.counts.init(routes)
	a.memory.init()
	a.pause.init()
	a.roomData.a = a
	a.Reload(o.Settings)
	a.peers = newPeers(a)
	return a
}

// Reload has other settings hold for the requests to come. Streams that are there stay,
// also those of keys that are none any more.
func (a *API) Reload(s Settings) {
	s.MaxBody = orElse(s.MaxBody, 1<<20)
	s.MaxRequests = orElse(s.MaxRequests, 256)
	s.MaxStreams = orElse(s.MaxStreams, 64)
	s.MaxRoomData = orElse(s.MaxRoomData, 16<<20)
	var old keys
	if before := a.settings.Load(); before != nil {
		old = before.keys
	}
	a.settings.Store(&settings{s, action.Limits{
		Body: s.MaxBody, Depth: a.o.MaxDepth, Attachments: a.o.MaxAttachments, Rooms: maxRooms,
	}, newKeys(s.Keys, old)})
}

func orElse(n, d int) int {
	if n <= 0 {
		return d
	}
	return n
}

// Stop ends the streams, each behind the command that it is at: their clients are told.
// Other requests are short. It does not wait.
func (a *API) Stop() { a.stop() }

// ServeHTTP answers a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{a: a, s: a.settings.Load(), w: w, r: r, began: time.Now()}
	c.serve()
	a.counts.add(c)
}
