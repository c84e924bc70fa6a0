package sio

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/rooms"
)

// forwards has requests for sessions of other servers answered by these, so that
// it does not matter which server a client's poll reaches.
type forwards struct {
	// Immutable after newForwards.
	transport *http.Transport
	most      int64
	deadline  time.Duration
	logger    *slog.Logger

	underWay, done, failed atomic.Int64
	warned                 atomic.Int64 // when a failure was logged, in seconds
}

const (
	// A server that is there is reached at once.
	forwardDialTimeout = 5 * time.Second
	// A poll is answered by the next ping at the latest, or the session ends.
	forwardSlack = 5 * time.Second
)

func newForwards(o Options) *forwards {
	e := &o.Engine
	return &forwards{
		most:     int64(o.MaxForwards),
		deadline: cmp.Or(e.PingInterval, eio.DefaultPingInterval) + cmp.Or(e.PingTimeout, eio.DefaultPingTimeout) + forwardSlack,
		logger:   o.Logger,
		transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: forwardDialTimeout}).DialContext,
			TLSHandshakeTimeout: forwardDialTimeout,
			DisableCompression:  true, // the answer stays as its client wants it
			// A broadcast answers all polls at once, and they come back at once.
			MaxIdleConns:        o.MaxForwards,
			MaxIdleConnsPerHost: o.MaxForwards,
			// Before the other server closes it: a POST could be lost on it then.
			IdleConnTimeout: cmp.Or(e.IdleTimeout, 20*time.Second) / 2,
		},
	}
}

// forward is eio.Options.Forward.
func (srv *Server) forward(node eio.Node) http.Handler {
	if srv.cluster == nil {
		return nil
	}
	peer, ok := srv.cluster.Peer(string(node))
	if !ok || peer.Addr == "" {
		srv.forwards.failed.Add(1)
		return nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { srv.forwards.serve(w, r, peer) })
}

// serve answers r with what peer answers.
func (f *forwards) serve(w http.ResponseWriter, r *http.Request, peer rooms.Peer) {
	defer f.underWay.Add(-1)
	if f.underWay.Add(1) > f.most {
		unavailable(w.Header())
		f.fail(w, http.StatusServiceUnavailable, "too many requests are being forwarded")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), f.deadline)
	defer cancel()
	resp, body, err := f.ask(ctx, r, peer)
	switch {
	case err == nil:
		f.done.Add(1)
		maps.Copy(w.Header(), resp.Header)
		w.WriteHeader(resp.StatusCode)
		_, _ = w.Write(body) // there is none where there must be none
	case r.Context().Err() != nil: // the client does not wait any more
	case errors.Is(err, context.DeadlineExceeded):
		f.warn(peer, err)
		f.fail(w, http.StatusGatewayTimeout, "node "+peer.Node+" does not answer")
	default:
		f.warn(peer, err)
		f.fail(w, http.StatusBadGateway, "node "+peer.Node+" cannot be reached")
	}
}

// ask has peer answer r. The answer is read to its end: half of a poll's must not
// pass for the whole.
func (f *forwards) ask(ctx context.Context, r *http.Request, peer rooms.Peer) (*http.Response, []byte, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, nil, err
	}
	out, err := outgoing(ctx, r, peer)
	if err != nil {
		return nil, nil, err
	}
	if len(body) > 0 {
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		out.Body, _ = out.GetBody()
	}
	resp, err := f.transport.RoundTrip(out)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	endToEnd(resp.Header)
	body, err = io.ReadAll(resp.Body)
	return resp, body, err
}

// outgoing returns what peer is asked for r, without a body.
func outgoing(ctx context.Context, r *http.Request, peer rooms.Peer) (*http.Request, error) {
	base, err := baseURL(peer.Addr)
	if err != nil {
		return nil, err
	}
	out := r.Clone(ctx) // Host stays, which origins are compared with
	out.URL.Scheme, out.URL.Host = base.Scheme, base.Host
	out.RequestURI, out.Close = "", false
	out.Body, out.GetBody = http.NoBody, nil
	endToEnd(out.Header)
	out.Header.Del("Expect") // the body is there
	out.Header.Set(eio.ForwardedHeader, "1")
	if out.Header["User-Agent"] == nil {
		out.Header["User-Agent"] = []string{""} // or one is added
	}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		out.Header.Set("X-Forwarded-For", strings.Join(append(out.Header["X-Forwarded-For"], host), ", "))
	}
	return out, nil
}

// fail answers a request that could not be forwarded.
func (f *forwards) fail(w http.ResponseWriter, status int, reason string) {
	f.failed.Add(1)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(eio.ReasonHeader, reason)
	w.WriteHeader(status)
	message, _ := json.Marshal(reason) // a string can always be encoded
	_, _ = fmt.Fprintf(w, `{"message":%s}`, message)
}

// warn logs a failure, of those within a second the first.
func (f *forwards) warn(peer rooms.Peer, err error) {
	if now := time.Now().Unix(); f.warned.Swap(now) != now {
		f.logger.Warn("a request could not be forwarded", "node", peer.Node, "name", peer.Name, "addr", peer.Addr, "error", err)
	}
}

// baseURL parses what Options.Advertise can be.
func baseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	if bare := u.Scheme + "://" + u.Host; u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.TrimSuffix(s, "/") != bare {
		return nil, fmt.Errorf("sio: %q is not the base URL of a server, such as http://10.0.0.5:3000", s)
	}
	return u, nil
}

// hopByHop are fields that are about one connection (RFC 9110, 7.6.1, and
// those that are so by custom).
var hopByHop = []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// endToEnd removes what is not for the next connection.
func endToEnd(h http.Header) {
	for _, v := range h["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			h.Del(textproto.TrimString(name))
		}
	}
	for _, name := range hopByHop {
		h.Del(name)
	}
}
