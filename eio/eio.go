package eio

import (
	"cmp"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/loop/notice"
)

// A Reason says why a session ended, in Node's words: applications compare
// them. They are also the reasons of Socket.IO's disconnect event.
type Reason string

// The reasons of Engine.IO.
const (
	TransportClose Reason = "transport close" // the peer closed, or left the connection
	TransportError Reason = "transport error" // protocol violation of the transport, or a write that failed
	PingTimeout    Reason = "ping timeout"
	ParseError     Reason = "parse error"  // an undecodable packet or payload
	ForcedClose    Reason = "forced close" // Session.Close
)

// A Handler is the protocol above. All methods are called on the session's
// loop and must not block.
type Handler interface {
	// Open announces a session. The request is the session's first one; it is
	// a view, valid until return.
	Open(s Session, r *http1.Request)
	// Message hands over a message; data is valid, and may be modified, until
	// return.
	Message(s Session, data []byte, binary bool)
	// Close is called exactly once per Open. The session is gone: its methods
	// do nothing any more, but User still answers within this call.
	Close(s Session, reason Reason)
}

// An Upgrader is a Handler that is told when a session has gone from polling to a
// WebSocket.
type Upgrader interface {
	Handler
	Upgraded(s Session)
}

// A Server speaks Engine.IO on the connections of an engine. It is the
// engine's loop.Handler.
type Server struct {
	// Immutable after Start.
	o         Options
	h         Handler
	upgrader  Upgrader // h, if it is one
	ids       *IDs
	shards    []*shard
	websocket bool
	upgrades  string // the JSON array of the open packet of polling sessions
	spread    func(d time.Duration) time.Duration
	http      *HTTPCompression // o's two with what zero values mean
	deflate   *Compression
	cors      *cors        // nil: no checks
	cookie    *http.Cookie // nil: none
	limits    http1.Limits
	notice    *notice.Log

	guests *perAddress
	peers  *perAddress // connections, for MaxConnsPerIP
	overs  *perAddress // those that are too many, until they have their answer
	owners *perAddress // sessions, likewise

	pace pace

	latest loop.Latest[counts]

	sessions atomic.Int64 // of all loops
	draining atomic.Bool  // refuses new sessions; set by Drain
	pressed  atomic.Bool  // by Press
	handed   atomic.Bool  // by Forget: sessions are elsewhere
}

// NewServer returns a Server that gives its sessions to h. Bind connects it to
// the loops before they run.
func NewServer(h Handler, o Options) (*Server, error) {
	o.setDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Server{o: o, h: h, spread: spreadFirst, guests: newPerAddress(), peers: newPerAddress(), overs: newPerAddress(), owners: newPerAddress(), notice: notice.New(o.Logger, 0),
		limits: http1.Limits{Head: o.MaxHeaderBytes, Fields: o.MaxHeaderFields}, upgrades: "[]"}
	s.upgrader, _ = h.(Upgrader)
	s.websocket = slices.Contains(o.Transports, "websocket")
	if s.websocket && !o.NoUpgrades {
		s.upgrades = `["websocket"]`
	}
	var err error
	if s.deflate, s.http, err = compressionOptions(&o); err != nil {
		return nil, err
	}
	if o.CORS != nil {
		if s.cors, err = newCORS(o.CORS); err != nil {
			return nil, err
		}
	}
	if o.Cookie != nil {
		if s.cookie, err = newCookie(o.Cookie); err != nil {
			return nil, err
		}
	}
	const purpose = "engine.io session"
	node := cmp.Or(o.Node, NewNode())
	if o.IDKey == nil {
		s.ids, err = NewIDs(node, purpose)
	} else {
		s.ids, err = NewIDsWithKey(node, purpose, o.IDKey)
	}
	return s, err
}

// Bind makes the server's part of each loop. It is called once, before the
// loops run, on any goroutine.
func (s *Server) Bind(loops []*loop.Loop) {
	if s.o.MaxSessions == 0 {
		s.o.MaxSessions = max(4*loops[0].Engine().MaxConns(), 1<<16)
	}
	for _, l := range loops {
		s.shards = append(s.shards, newShard(s, l))
	}
}

// spreadFirst places the first ping of a session at random in the second half
// of the interval, so that clients that arrived together are not pinged
// together for ever. Short intervals are left alone: tests and impatient
// operators expect them to the letter.
func spreadFirst(interval time.Duration) time.Duration {
	if interval < 5*time.Second {
		return interval
	}
	return interval - rand.N(interval/2)
}

// Count returns the number of open sessions of l. It must be called on l.
func (s *Server) Count(l *loop.Loop) int {
	l.Check()
	return s.shards[l.Index()].open
}

func (s *Server) serves(transport string) bool {
	return slices.Contains(s.o.Transports, transport)
}
