package eio

import (
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sioedge/sioedge/loop/http1"
)

// The heartbeat that Options mean by zero.
const (
	DefaultPingInterval = 25 * time.Second
	DefaultPingTimeout  = 20 * time.Second
)

// DefaultMaxPayload is what Options.MaxPayload means by zero, in bytes.
const DefaultMaxPayload = 1_000_000

// Options of a Server. The zero value is Node's default.
type Options struct {
	// Path of the HTTP requests, with or without a slash at its end (both are
	// answered). Zero means "/engine.io/". Node: path.
	Path string

	// PingInterval is the time between a pong, or the opening, and the next
	// ping. Zero means 25 s. Node: pingInterval.
	PingInterval time.Duration
	// PingTimeout is how long after a ping the session may stay silent before
	// it is closed with PingTimeout. Zero means 20 s. Node: pingTimeout.
	PingTimeout time.Duration
	// UpgradeTimeout bounds an upgrade that was begun. Zero means 10 s. Node:
	// upgradeTimeout.
	UpgradeTimeout time.Duration
	// CloseTimeout is how long a closed polling session waits for the poll
	// that tells the client. Zero means 30 s.
	CloseTimeout time.Duration

	// MaxPayload bounds an incoming message or request body, in bytes. Zero
	// means 1,000,000. Node: maxHttpBufferSize.
	MaxPayload int
	// MaxFragments bounds the fragments of a WebSocket message. Zero means
	// 65536.
	MaxFragments int
	// MaxQueue, MaxQueueHard and SlowAfter are for what waits for a poll or an
	// upgrade, in bytes as they are held. Above MaxQueue, until it is half of that,
	// the client's posts are not acknowledged, and it is closed with TransportError
	// when it has not asked for more within SlowAfter, or PingTimeout if that is
	// shorter; so it is when MaxQueueHard would be passed. Zero means 256 KiB, 16 MiB
	// and 10 s. (What waits for a WebSocket is the loop's: loop.Options.)
	MaxQueue, MaxQueueHard int
	SlowAfter              time.Duration

	// ConnBudget bounds the bytes that are kept on behalf of one session on the way
	// in: messages in pieces, bodies, and what the Handler charges to
	// Session.Budget. Above half of it the client is not read from until what waits
	// for handlers has been handled; a session that has more kept for it than that
	// is closed with TransportError (1009 over WebSocket), and one whose handlers
	// get nothing done for PingInterval and PingTimeout together with PingTimeout.
	// Zero means 4 MiB, or four times MaxPayload if that is more.
	ConnBudget int

	// MaxSessions bounds the sessions of all loops, those included that wait for
	// their client to come for the news that they are closed; one more is refused
	// with 503. Zero means four times the engine's MaxConns, but at least 65536.
	MaxSessions int
	// MaxSessionsPerIP bounds the sessions that one address (of IPv6, one network of
	// 64 bits) has opened over polling and that have joined nothing: see
	// Session.SetJoined. One connection may have opened a sixteenth of them. One more
	// is refused with 503. Behind a proxy all clients have its address, unless Via
	// tells them apart; then one connection may have opened any of them. Zero means
	// 16384.
	MaxSessionsPerIP int

	// MaxConnsPerIP bounds, each by itself, the connections of one address (of IPv6, one
	// network of 64 bits) and the sessions whose clients have it. One more is refused
	// with 429; a connection, when its request has come. A client that upgrades has up to
	// three connections for a moment. Where Via says that a request is not its
	// peer's, the connection is a proxy's and not counted. Behind a proxy without
	// Via all clients have its address. Who has no address, behind a unix socket,
	// is not counted, and other nodes' requests are not refused (Proven). Zero is any
	// number, as in Node, which has no such option.
	MaxConnsPerIP int
	// AcceptRate bounds new sessions, of all loops, to so many a second, and as many at
	// once. Zero: there is a bound only while a loop is late (loop.Loop.Lag), for new
	// sessions on that loop: when what comes has to wait for 200 ms, for a second, or for
	// 750 ms once. It begins with half as many as there were, or 100 a second, is halved
	// as long as the loop is late, down to 25, and grows again when it is on time. Negative: no bound. Those beyond it are refused with 503, before the
	// upgrade, after which clients back off; sessions that are open go on. Node has no
	// such option.
	AcceptRate int

	// Transports that are served, of "polling" and "websocket". Nil means
	// both. Node: transports.
	Transports []string
	// AllowEIO3 serves clients of Engine.IO 3, which are those of Socket.IO 2, as
	// well; without it they are refused. Such a client pings by itself, and is
	// closed with PingTimeout when it has not for PingInterval and PingTimeout
	// together. Node: allowEIO3.
	AllowEIO3 bool
	// NoUpgrades neither offers nor accepts upgrades. Node: allowUpgrades.
	NoUpgrades bool

	// Compression has WebSocket messages compressed with clients that offer it.
	// Nil: no compression. Node: perMessageDeflate.
	Compression *Compression
	// HTTPCompression has answers to polls compressed. Nil: with its zero value,
	// so it is on. Node: httpCompression.
	HTTPCompression *HTTPCompression

	// HeadTimeout bounds the wait for a connection's first request, and the time
	// from the start of a request to the end of its head; BodyTimeout bounds the
	// time for its body, or each 64 KiB of it, IdleTimeout the wait for the next
	// request, which should be longer than a proxy in front keeps its connections:
	// most do for 60 s. Zero means 10 s, 60 s and 75 s.
	HeadTimeout, BodyTimeout, IdleTimeout time.Duration

	// MaxHeaderBytes bounds the head of a request in bytes, MaxHeaderFields its
	// fields; a larger one is refused with 431. Zero means 32 KiB and 256. Node:
	// --max-http-header-size, maxHeadersCount.
	MaxHeaderBytes, MaxHeaderFields int

	// CORS says from where pages may use the server. Nil: from anywhere, as far
	// as the server is concerned, and no browser is told so: WebSocket alone is
	// for every page. Node: cors.
	CORS *CORS
	// AllowRequest, unless nil, decides on each new session, on a goroutine: it
	// may block. It is not asked about further requests of a session, and an error
	// refuses it: see Refusal. The request has no body; its context is done when
	// the client does not wait any more. Node: allowRequest.
	AllowRequest func(r *http.Request) error
	// Middleware, unless nil, sees every request below Path but those that Route
	// answers and those that CORS settles, each poll included, on a goroutine, and
	// tells whether it goes on. What it sets in w's header is in the answer, that
	// to a WebSocket's handshake too. Once it has written, that is the answer. The
	// request has no body. A middleware of net/http is called like this:
	//
	//	func(w http.ResponseWriter, r *http.Request) (next bool) {
	//		wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { next = true })).ServeHTTP(w, r)
	//		return next
	//	}
	//
	// A panic refuses the request with the code 3. Node: engine.use.
	Middleware func(w http.ResponseWriter, r *http.Request) (next bool)
	// Cookie, unless nil, is a template of the cookie that clients get with the
	// answer that opens a session over polling, for load balancers that keep a
	// client's requests together. Its value is the session's id; whoever knows that
	// can read the session, so it is always HttpOnly. Zero in it means: Name "io",
	// Path "/", SameSite lax. Node: cookie.
	Cookie *http.Cookie

	// InitialHeaders adds to the header of the answer that opens a session, over
	// polling or WebSocket, and Headers to that of every answer to a poll, a post
	// or a WebSocket's handshake. Errors have none of it. They are called on the
	// loop when the request has come, and must not block; r is a view, valid until
	// return. Node: initial_headers, headers.
	InitialHeaders, Headers func(header http.Header, r *http1.Request)
	// OnConnectionError, unless nil, is told of each request that is refused with
	// one of Engine.IO's codes. It is called on the loop and must not block. Node:
	// connection_error.
	OnConnectionError func(e ConnectionError)
	// InitialPacket is a message that each session gets right behind its open
	// packet. Nil: none. Node: initialPacket.
	InitialPacket []byte

	// Via says where a request has come from, that came from peer: behind proxies, what
	// these say of it, as far as they are to be believed; peer itself if they say nothing.
	// It is called on the loop, once for each request, and must not block; peer.Host and r
	// are views, valid until return, and so may be the Host that it returns. Everything
	// that asks for a client's address gets this answer: limits for one address, logs,
	// Session.RemoteAddr, ConnectionError and the RemoteAddr of net/http's requests; Secure
	// is Session.Secure and IsSecure; and Host is the host of the request from then on, with
	// which CORS compares origins. A Client that is none means the peer; of a zone nothing
	// is kept. Nil: the peer, always.
	Via func(peer Via, r *http1.Request) Via

	// Route returns who answers a request that is not Engine.IO's: any path
	// but Path itself. It is called on the loop; the handler it returns runs
	// on a goroutine of its own, with the whole body read. Nil, as function or
	// as result: 404, or the error "Transport unknown" below Path.
	Route func(path string) http.Handler
	// Health, unless nil, tells whether clients are welcome, for balancers that ask: GET
	// and HEAD of HealthPath and of "/", and OPTIONS of either or of "*", are answered 200
	// or 503 with nothing more, whatever their Host or Origin. It is called on the loop and
	// must not block. Requests for Path itself are Engine.IO's in any case, as are those
	// for "/" if that is above it, and a GET of "/" is Route's, if there is one. An empty
	// HealthPath is no path, and leaves "/" to OPTIONS.
	Health     func() bool
	HealthPath string
	// Forward returns who answers a request for a session whose id names another
	// node: a handler that asks that node, with ForwardedHeader set. It is called on
	// the loop and must not block; the handler runs like one of Route, with a body
	// of up to MaxPayload, and its request's context ends with the client's
	// connection. CORS and Middleware have seen the request; of what they add to
	// answers, a field that the handler's answer has too is left out. Nil, as
	// function or as result: the error "Session ID unknown". A request that has been
	// forwarded once is answered so in any case. See Seek for nodes that are not known.
	Forward func(node Node) http.Handler
	// Tunnel is Forward for the upgrade to a WebSocket: it returns who asks the
	// node. Its RoundTrip runs on a goroutine and has to set a bound to its time;
	// the request's context ends with the client's connection or when it has
	// returned. If the answer is 101, its Body has to be an io.ReadWriteCloser, as
	// that of net/http's Transport is: what comes on it and what the client sends is
	// passed on until either side ends, and the Body closed. Any other answer, of up
	// to 64 KiB, goes to the client. An error is FOREIGN_UPGRADE to
	// OnConnectionError, to the client the error "Session ID unknown" with the
	// error's text in ReasonHeader, and it goes on polling; so it is without this
	// function if Forward knows the node.
	Tunnel func(node Node) http.RoundTripper

	// Seek, unless nil, is called when Forward and Tunnel do not know a node, on a
	// goroutine: it may block, for a bounded time. After nil they are asked again. An
	// error refuses the request: ErrNoNode as if there were no Seek, any other with
	// 503. The request has no body; its context is done when the client does not wait
	// any more.
	Seek func(r *http.Request, node Node) error
	// Proven tells whether a request was forwarded by another node, which its
	// ForwardedHeader, claim, is to prove. One that was not is refused with 403. It
	// is called on the loop and must not block; both are views. Nil: all are believed,
	// and a client that sends the header is not forwarded.
	Proven func(r *http1.Request, claim []byte) bool

	// CloseCodes has WebSockets that the server ends closed with a code and a reason that
	// say why: CloseShutdown, CloseSlow and the like. Clients of Socket.IO find them in
	// the details of their disconnect events. Without it there are none, as Node does it.
	CloseCodes bool

	// Node names this process in the ids of its sessions. Zero means a random
	// one.
	Node Node
	// IDKey is what ids are sealed with, IDKeyLen bytes: Server.IDKey of the process
	// whose sessions this one restores. Nil means a random one.
	IDKey []byte

	// Logger gets what an operator should know; peers' misbehaviour is Debug.
	// Nil means slog.Default().
	Logger *slog.Logger
}

// setDefaults replaces what is zero by what that means.
func (o *Options) setDefaults() {
	o.Path = strings.TrimSuffix("/"+strings.Trim(cmp.Or(o.Path, "/engine.io/"), "/"), "/") + "/"
	o.PingInterval = cmp.Or(o.PingInterval, DefaultPingInterval)
	o.PingTimeout = cmp.Or(o.PingTimeout, DefaultPingTimeout)
	o.UpgradeTimeout = cmp.Or(o.UpgradeTimeout, 10*time.Second)
	o.CloseTimeout = cmp.Or(o.CloseTimeout, 30*time.Second)
	o.MaxPayload = cmp.Or(o.MaxPayload, DefaultMaxPayload)
	o.MaxQueue = cmp.Or(o.MaxQueue, 256<<10)
	o.MaxQueueHard = cmp.Or(o.MaxQueueHard, max(16<<20, o.MaxQueue))
	o.SlowAfter = cmp.Or(o.SlowAfter, 10*time.Second)
	o.ConnBudget = cmp.Or(o.ConnBudget, max(minConnBudget, 4*o.MaxPayload))
	o.MaxSessionsPerIP = cmp.Or(o.MaxSessionsPerIP, 16384)
	o.HeadTimeout = cmp.Or(o.HeadTimeout, 10*time.Second)
	o.BodyTimeout = cmp.Or(o.BodyTimeout, time.Minute)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, 75*time.Second)
	o.MaxHeaderBytes = cmp.Or(o.MaxHeaderBytes, http1.MaxHead)
	o.MaxHeaderFields = cmp.Or(o.MaxHeaderFields, http1.MaxFields)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.Transports == nil {
		o.Transports = []string{"polling", "websocket"}
	}
}

// check tells what is wrong with options that have their defaults.
func (o *Options) check() error {
	const most = 24 * 24 * time.Hour // deadlines are kept in 32 bits of ms
	for _, t := range o.Transports {
		if t != "polling" && t != "websocket" {
			return errors.New("eio: unknown transport " + t)
		}
	}
	switch {
	case o.ConnBudget < 2*o.MaxPayload+carryRoom:
		return errors.New("eio: ConnBudget must be at least twice MaxPayload and 256 KiB")
	case o.MaxQueue < 0 || o.MaxQueueHard < o.MaxQueue || o.SlowAfter < 0:
		return errors.New("eio: MaxQueue or SlowAfter is negative, or MaxQueueHard less than MaxQueue")
	case min(o.MaxSessions, o.MaxSessionsPerIP, o.MaxConnsPerIP) < 0:
		return errors.New("eio: a bound on sessions is negative")
	case o.AcceptRate > 1_000_000:
		return errors.New("eio: AcceptRate is more than a million")
	case min(o.HeadTimeout, o.BodyTimeout, o.IdleTimeout) < 0 || o.MaxHeaderBytes < 1024 || o.MaxHeaderFields < 8:
		return errors.New("eio: a timeout is negative, MaxHeaderBytes less than 1024 or MaxHeaderFields less than 8")
	case min(o.PingInterval, o.PingTimeout) < time.Millisecond || max(o.PingInterval, o.PingTimeout) > most:
		return errors.New("eio: PingInterval and PingTimeout must be from 1 ms to 24 days")
	case o.AllowEIO3 && o.PingInterval+o.PingTimeout > most:
		return errors.New("eio: PingInterval and PingTimeout together must be at most 24 days")
	case strings.ContainsFunc(o.Path, func(r rune) bool { return r <= ' ' || r == '?' || r == '#' || r == 0x7f }):
		return errors.New("eio: " + strconv.Quote(o.Path) + " cannot be a path")
	case o.HealthPath != "" && (o.HealthPath[0] != '/' || strings.TrimSuffix(o.HealthPath, "/") == strings.TrimSuffix(o.Path, "/")):
		return errors.New("eio: the HealthPath " + strconv.Quote(o.HealthPath) + " does not begin with a slash, or is Path")
	case len(o.Transports) == 0:
		return errors.New("eio: no transports")
	}
	return nil
}
