// Package relay has requests for sessions of other servers answered by these, so that
// it does not matter which server of a cluster a client's request reaches:
//
//	poll, POST  -> A  -- forwarded ----------> B, whose session it is    Forward
//	upgrade     -> A  == tunnel =============> B                         Tunnel
//	id of a server that A does not know: all others are asked once       Seek
//	A connects to B  -- challenge, answer, request with a proof          Route, Proven
//
// Which server a session is of is in its id; where that server is, the cluster's
// adapter knows. A Relay is given to eio.Options as what it calls. All of it is bounded,
// and shared between clients and servers so that none can have all (shares.go); who is
// refused again and again waits for its answers (mistakes.go); a server that stops has
// the polls that wait elsewhere answered first (flights.go).
package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/rooms"
)

// Options configure a Relay.
type Options struct {
	Node      string // of this server
	Advertise string // the base URL at which others reach it; empty: they do not
	Secret    string // must be the same for all servers
	Path      string // Engine.IO's

	MaxForwards int // requests at a time
	MaxTunnels  int // WebSockets at a time

	// These are eio.Options', zero too.
	MaxPayload                             int
	PingInterval, PingTimeout, IdleTimeout time.Duration

	Logger *slog.Logger // not nil
}

// A Cluster knows the other servers: see rooms.Adapter.
type Cluster interface {
	Peer(node string) (rooms.Peer, bool)
	Seek(ctx context.Context, node string)
	Status() rooms.Status
}

// A Relay passes on what is for other servers. But for Join any goroutine may call its
// methods.
type Relay struct {
	// Immutable after Join.
	cluster   Cluster // nil: there are no others
	token     string  // of which proof is derived
	proof     proof
	prove     func(token string) proof
	forwards  *forwards
	tunnels   *tunnels
	searches  *searches
	challenge http.Handler // answers those of other servers
}

// Stats count since the start, but for Tunnels.
type Stats struct {
	Forwarded       int64 // requests that other servers answered
	ForwardFailed   int64 // those that they did not: unknown, not reached, too late, or over MaxForwards
	ForwardLimited  int64 // of these: for MaxForwards, or for one of too many unknown servers
	ForwardUnproven int64 // of these: their server could not prove who it is
	Tunnels         int64 // WebSockets that are passed on now
	Tunnelled       int64 // those that were, and are
	TunnelFailed    int64 // those that were not: not reached, too late, or over MaxTunnels
	TunnelLimited   int64 // of these: for MaxTunnels, or for one of too many unknown servers
}

// New returns a Relay that knows no other server yet.
func New(o Options) *Relay {
	f := newForwards(o)
	r := &Relay{token: newToken(), forwards: f, tunnels: newTunnels(f, o), searches: newSearches()}
	r.prove = func(token string) proof { return proofOf(o.Secret, o.Node, o.Advertise, token) }
	r.proof = r.prove(r.token)
	r.challenge = http.HandlerFunc(r.answerChallenge)
	return r
}

// Join says who knows the others. It must be called before anything else but Token.
func (r *Relay) Join(c Cluster) { r.cluster = c }

// Token is what the cluster must tell the others of this server, see rooms.Host.
func (r *Relay) Token() string { return r.token }

// Inherit has this server be, to the others, who another process was: it has that one's
// token. It must be called before anybody is served.
func (r *Relay) Inherit(token string) { r.token, r.proof = token, r.prove(token) }

// Close closes the connections to other servers that are idle. Others end with what
// they are used for.
func (r *Relay) Close() { r.forwards.links.close() }

// Land has the other servers answer the polls that wait with them, and waits until
// nothing is being forwarded, for two seconds at most. What comes from now on is
// told to come to another server next.
func (r *Relay) Land(ctx context.Context) { r.forwards.land(ctx) }

// Stats returns the counters.
func (r *Relay) Stats() Stats {
	f, t := r.forwards, r.tunnels
	return Stats{
		Forwarded: f.done.Load(), ForwardFailed: f.failed.Load(), ForwardLimited: f.limited.Load(), ForwardUnproven: f.unproven.Load(),
		Tunnels: t.open.Load(), Tunnelled: t.done.Load(), TunnelFailed: t.failed.Load(), TunnelLimited: t.limited.Load(),
	}
}

// Forward is eio.Options.Forward.
func (r *Relay) Forward(node eio.Node) http.Handler {
	peer, ok := r.peer(node)
	if !ok {
		return nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { r.forwards.serve(w, req, peer) })
}

// Tunnel is eio.Options.Tunnel.
func (r *Relay) Tunnel(node eio.Node) http.RoundTripper {
	peer, ok := r.peer(node)
	if !ok {
		return nil
	}
	return tunnelTo{r.tunnels, peer}
}

// peer returns a server that can be asked.
func (r *Relay) peer(node eio.Node) (rooms.Peer, bool) {
	if r.cluster == nil {
		return rooms.Peer{}, false
	}
	peer, ok := r.cluster.Peer(string(node))
	return peer, ok && reachable(peer) == nil
}

// Seek is eio.Options.Seek.
func (r *Relay) Seek(req *http.Request, node eio.Node) error {
	err := r.searches.find(req.Context(), r.cluster, string(node), clientOf(req.RemoteAddr))
	if err == nil || req.Context().Err() != nil {
		return err
	}
	failed, limited := &r.forwards.failed, &r.forwards.limited
	if strings.EqualFold(req.Header.Get("Upgrade"), "websocket") {
		failed, limited = &r.tunnels.failed, &r.tunnels.limited
	}
	failed.Add(1)
	if errors.Is(err, errManySought) {
		limited.Add(1)
		r.forwards.notice.Warn("requests for servers that nobody knows are refused: their ids may be forged", "node", string(node), "client", req.RemoteAddr)
	}
	return err
}

// Proven is eio.Options.Proven: it tells whether another server of the cluster has
// forwarded a request.
func (r *Relay) Proven(req *http1.Request, claim []byte) bool {
	return r.cluster != nil && equal(string(claim), r.proof.request(string(req.Method), string(req.Target)))
}

// Route returns what answers the challenges of other servers if that is what is at a
// path, or nil.
func (r *Relay) Route(path string) http.Handler {
	if r.cluster == nil || path != r.forwards.links.path {
		return nil
	}
	return r.challenge
}

// answerChallenge proves to another server who this one is.
func (r *Relay) answerChallenge(w http.ResponseWriter, req *http.Request) {
	c := req.Header.Get(challengeHeader)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain")
	if c == "" || len(c) > maxChallenge {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = w.Write([]byte(r.proof.answer(c)))
}

// ParseURL parses what Options.Advertise can be: a base URL, without a path.
func ParseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	if bare := u.Scheme + "://" + u.Host; u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.TrimSuffix(s, "/") != bare {
		return nil, fmt.Errorf("sio: %q is not the base URL of a server, such as http://10.0.0.5:3000", s)
	}
	return u, nil
}
