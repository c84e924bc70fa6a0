// Package adminui speaks the protocol of @socket.io/admin-ui 0.5.1 in a namespace of the
// public listeners, so that its page, https://admin.socket.io or a copy of it, shows a
// server and acts on it:
//
//	C connects to the namespace, auth {username,password} or {sessionId}
//	S session      sessionId                       after a password
//	S config       {supportedFeatures}             again when they change
//	S all_sockets  [socket]                        in development mode, and again when something of it was lost
//	S server_stats {serverId,clientsCount,…}       every 2 s, of each server
//	S socket_connected, socket_updated, socket_disconnected, room_joined, room_left,
//	  event_received, event_sent                   in development mode
//	C emit, join, leave, _disconnect               unless it is read-only
//
// Who looks decides what is done: while no page is connected to any server of the cluster,
// nothing is counted, observed or told. Servers of the edge tell each other (peerlink) that
// they have pages, and then what these are to be sent, a batch at a time. Servers of Node
// cannot tell: they are asked for the sockets that they have in the namespace, every ten
// seconds. What Node's servers emit there reaches the pages that are connected here, and
// as long as one is connected to one of Node's, what happens here is emitted to it.
//
// A page gets so many events a second at most, of those that wait the newer ones are left
// out, and with more than a thousand sockets in the cluster it gets counts alone.
package adminui

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/admin"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/peerlink"
	"github.com/sioedge/sioedge/loop/notice"
	"github.com/sioedge/sioedge/sio"
)

// Options are those of New.
type Options struct {
	config.Admin          // Namespace has to be one that Check lets pass
	Keys         []string // of the API, one of which is the password if there is no other
	Cluster      bool     // there may be other servers
	Logged       bool     // and what is emitted to them is kept by the cluster
	Logger       *slog.Logger
}

// A UI serves the pages of a server. Any goroutine may use it.
type UI struct {
	// Immutable after New.
	o       Options
	srv     *sio.Server
	ns      *sio.Namespace
	link    *peerlink.Link // nil: the server is alone
	note    *notice.Log
	me      identity
	logins  *admin.Logins
	tap     *tap
	tasks   sync.WaitGroup
	wake    chan struct{} // has one when there is something to do
	stopped context.Context
	stop    context.CancelFunc
	ended   chan struct{} // closed when run has returned; nil: it does not run
	now     func() time.Time

	rules  atomic.Pointer[rules]
	counts counts

	mu      sync.Mutex // of what follows
	pages   map[sio.Socket]struct{}
	peers   map[string]*peer
	node    foreign
	level   level
	stats   differ // of statsMu
	statsMu sync.Mutex
}

// rules are what settings make.
type rules struct {
	config.Admin
	seal []byte   // what session ids are sealed with
	keys [][]byte // digests of keys that are the password
}

// counts are what Stats has.
type counts struct {
	logins, refused, acts, malformed, lost atomic.Int64
}

// Stats are counts since the start, and gauges, which say so.
type Stats struct {
	Pages     int64 // a gauge: that are connected here
	Observing bool  // a gauge: sockets are observed
	Logins    int64 // by password or key
	Refused   int64 // connections that were not let in
	Acts      int64 // that pages had done
	Malformed int64 // acts that cannot be
	Lost      int64 // events that no page was sent, since there were too many
}

// Check tells why a namespace cannot be that of the pages, nil if it can.
func Check(namespace string) error {
	switch {
	case !strings.HasPrefix(namespace, "/") || namespace == "/":
		return errors.New("must begin with a slash and have a name of its own, such as /admin")
	case strings.ContainsAny(namespace, ",#?") || strings.Contains(namespace, "/:") || strings.Contains(namespace, "/*"):
		return errors.New("cannot have a comma, #, ?, or a parameter")
	case len(namespace) > 256:
		return errors.New("is longer than 256 bytes")
	case peerlink.Owns(namespace):
		return errors.New("is where servers speak to each other")
	}
	return nil
}

// New has a server that does not serve yet serve pages.
func New(srv *sio.Server, o Options) *UI {
	u := newUI(srv, o)
	u.ended = make(chan struct{})
	// ends with Close
	go u.run()
	return u
}

// newUI is New without what goes on by itself.
func newUI(srv *sio.Server, o Options) *UI {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	u := &UI{
		o: o, srv: srv, note: notice.New(o.Logger, 0), me: whoIs(srv), logins: admin.NewLogins(), wake: make(chan struct{}, 1), now: time.Now,
		pages: map[sio.Socket]struct{}{}, peers: map[string]*peer{},
	}
	u.stopped, u.stop = context.WithCancel(context.Background())
	u.tap = &tap{namespace: o.Namespace, node: srv.Node(), lost: &u.counts.lost, ready: u.awake, now: u.now}
	u.Reload(o.Admin, o.Keys)
	if o.Mode == development {
		srv.DescribeWith(func(s sio.Socket, transport string, data json.RawMessage) json.RawMessage {
			return describe(s, u.me.node, transport, data)
		})
	}
	srv.Define(o.Namespace, func(ns *sio.Namespace) {
		u.ns = ns
		ns.Use(u.admit)
		ns.OnConnect(u.came)
		ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { u.left(s) })
		for name, act := range acts {
			ns.Handle(name, func(_ sio.Socket, m *sio.Msg) error { u.act(name, act, m); return nil })
		}
		ns.HandleAnyInline(func(sio.Socket, *sio.Msg) error { return nil })
	})
	if u.ns == nil {
		u.ns = srv.Of(o.Namespace)
	}
	if o.Cluster {
		u.join()
	}
	return u
}

// Reload has other settings hold: who may come, and what pages may do. Who is there stays.
func (u *UI) Reload(s config.Admin, keys []string) {
	r := newRules(s, keys)
	old := u.rules.Swap(r)
	if old != nil && old.ReadOnly != r.ReadOnly {
		u.sayFeatures()
	}
}

// Close ends what goes on beside the server. It waits for that, or for ctx.
func (u *UI) Close(ctx context.Context) {
	u.stop()
	if u.ended == nil {
		return
	}
	select {
	case <-u.ended:
	case <-ctx.Done():
	}
}

// Stats returns the counts.
func (u *UI) Stats() Stats {
	u.mu.Lock()
	defer u.mu.Unlock()
	return Stats{
		Pages: int64(len(u.pages)), Observing: u.level.observing(), Logins: u.counts.logins.Load(), Refused: u.counts.refused.Load(),
		Acts: u.counts.acts.Load(), Malformed: u.counts.malformed.Load(), Lost: u.counts.lost.Load(),
	}
}

// awake has run look at what there is to do.
func (u *UI) awake() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}
