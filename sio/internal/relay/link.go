package relay

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// A link is this server's connections to another one, each of which that one has
// proven to be its own before anything is sent on it.
type link struct {
	// Immutable after newLink.
	peer      rooms.Peer
	base      *url.URL
	path      string // where it answers challenges
	proof     proof
	tls       *tls.Config // nil: the usual
	transport *http.Transport

	used time.Time // guarded by links.mu
}

var (
	errNotProven = errors.New("sio: who answers at a server's address cannot prove to be it (--cluster-secret must be the same everywhere)")
	errNoToken   = errors.New("sio: the adapter tells no token of a server")
)

// links are those that there are.
type links struct {
	// Immutable after newForwards.
	secret, path string
	idle         time.Duration
	maxIdle      int

	mu  sync.Mutex
	tls *tls.Config
	all map[linkKey]*link
}

// A linkKey is what makes a server another one.
type linkKey struct{ node, addr, token string }

const (
	// A server that is there is reached at once.
	forwardDialTimeout = 5 * time.Second
	// linkIdle is how long a link is kept that nobody uses.
	linkIdle = 2 * time.Minute
	maxLinks = 1024
)

// to returns the link to a server.
func (ls *links) to(peer rooms.Peer) (*link, error) {
	if peer.Token == "" {
		return nil, errNoToken
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	now, key := time.Now(), linkKey{peer.Node, peer.Addr, peer.Token}
	if l := ls.all[key]; l != nil {
		l.used = now
		return l, nil
	}
	base, err := ParseURL(peer.Addr)
	if err != nil {
		return nil, err
	}
	for k, l := range ls.all {
		if k.node == key.node || now.Sub(l.used) > linkIdle || len(ls.all) >= maxLinks {
			l.transport.CloseIdleConnections() // those that are in use end by themselves
			delete(ls.all, k)
		}
	}
	l := &link{peer: peer, base: base, path: ls.path, proof: proofOf(ls.secret, peer.Node, peer.Addr, peer.Token), tls: ls.tls, used: now}
	l.transport = &http.Transport{
		DialContext:        l.dial,
		DialTLSContext:     l.dialTLS,
		DisableCompression: true, // the answer stays as its client wants it
		// A broadcast answers all polls at once, and they come back at once.
		MaxIdleConns:        ls.maxIdle,
		MaxIdleConnsPerHost: ls.maxIdle,
		// Before the other server closes it: a POST could be lost on it then.
		IdleConnTimeout: ls.idle,
	}
	ls.all[key] = l
	return l, nil
}

// close closes what is idle.
func (ls *links) close() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, l := range ls.all {
		l.transport.CloseIdleConnections()
	}
}

// A server that vanishes, host and all, is noticed by what it does not acknowledge.
const (
	linkProbeAfter = 10 * time.Second
	linkProbeEvery = 5 * time.Second
	linkProbes     = 3
)

// linkDialer connects to other servers.
var linkDialer = net.Dialer{
	Timeout: forwardDialTimeout,
	KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: linkProbeAfter, Interval: linkProbeEvery, Count: linkProbes,
	},
	Control: tuneLink,
}

func (l *link) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := linkDialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return conn, l.prove(ctx, conn)
}

func (l *link) dialTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := linkDialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := l.tls.Clone()
	if c == nil {
		c = &tls.Config{}
	}
	if c.ServerName == "" {
		c.ServerName = l.base.Hostname()
	}
	secure := tls.Client(conn, c)
	_ = conn.SetDeadline(time.Now().Add(forwardDialTimeout))
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, l.prove(ctx, secure)
}

// prove has who answers on a new connection prove that it is the server. If it
// cannot, the connection is closed.
func (l *link) prove(ctx context.Context, conn net.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(forwardDialTimeout))
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err := l.challenge(conn)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return err
	}
	return conn.SetDeadline(time.Time{})
}

func (l *link) challenge(conn net.Conn) error {
	c := rand.Text()
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n%s: %s\r\n\r\n", l.path, l.base.Host, challengeHeader, c); err != nil {
		return err
	}
	const most = 4 << 10 // of the answer, head and all
	r := bufio.NewReaderSize(io.LimitReader(conn, most), most)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	want := l.proof.answer(c)
	got := make([]byte, len(want))
	_, err = io.ReadFull(resp.Body, got)
	if err != nil || resp.StatusCode != http.StatusOK || !equal(string(got), want) {
		return errNotProven
	}
	if n, _ := resp.Body.Read(make([]byte, 1)); n > 0 || resp.Close || r.Buffered() > 0 {
		return errNotProven
	}
	return nil
}
