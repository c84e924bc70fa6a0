package relay

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop/notice"
	"github.com/sioedge/sioedge/rooms"
)

// forwards has requests for sessions of other servers answered by these, so that
// it does not matter which server a client's poll reaches.
type forwards struct {
	// Immutable after newForwards.
	places   *shares
	bodies   *shares // bytes of requests
	flights  flights
	links    links
	answers  *allowance // bytes of answers that are held
	mistakes *mistakes
	deadline time.Duration
	notice   *notice.Log

	done, failed, limited, unproven atomic.Int64
}

const (
	// A poll is answered by the next ping at the latest, or the session ends.
	forwardSlack = 5 * time.Second
	// maxForwardedAnswer bounds an answer: more than is ever queued for a client, as
	// base64 if it is bytes.
	maxForwardedAnswer = 32 << 20
	// maxForwardedAnswers bounds those that are held at a time. What does not fit waits
	// with the other server.
	maxForwardedAnswers = 4 * maxForwardedAnswer
	// forwardedBody is what there is for a request's body, for each place: in all, or a
	// few of the longest. One takes twice its length.
	forwardedBody = 64 << 10
)

func newForwards(o Options) *forwards {
	longest := cmp.Or(o.MaxPayload, eio.DefaultMaxPayload)
	f := &forwards{
		places:   newShares(o.MaxForwards),
		bodies:   newShares(max(o.MaxForwards*forwardedBody, 8*longest)),
		flights:  flights{all: map[*http.Request]rooms.Peer{}},
		answers:  &allowance{free: maxForwardedAnswers},
		mistakes: newMistakes(),
		deadline: cmp.Or(o.PingInterval, eio.DefaultPingInterval) + cmp.Or(o.PingTimeout, eio.DefaultPingTimeout) + forwardSlack,
		notice:   notice.New(o.Logger, 0),
	}
	f.links = links{
		secret: o.Secret, path: "/" + strings.Trim(o.Path, "/") + "/" + challengePath,
		idle: cmp.Or(o.IdleTimeout, 20*time.Second) / 2, maxIdle: o.MaxForwards, all: map[linkKey]*link{},
	}
	return f
}

// tooMany is why a request is not forwarded.
const tooMany = "too many requests are being forwarded"

// serve answers r with what peer answers.
func (f *forwards) serve(w http.ResponseWriter, r *http.Request, peer rooms.Peer) {
	client := clientOf(r.RemoteAddr)
	wait, ok := f.pass(w, r, peer, client)
	if ok && wait > 0 {
		// Not with a place of those that others wait for.
		select {
		case <-time.After(wait):
		case <-r.Context().Done():
		}
	}
}

// pass is serve but for how long the client's next request is to wait.
func (f *forwards) pass(w http.ResponseWriter, r *http.Request, peer rooms.Peer, client string) (wait time.Duration, ok bool) {
	if !f.places.take(client, peer.Node) {
		f.limit(w, client, peer)
		return 0, false
	}
	defer f.places.give(client, peer.Node)
	held := 2 * int(max(r.ContentLength, 0))
	if !f.bodies.takeSome(client, peer.Node, held) {
		f.limit(w, client, peer)
		return 0, false
	}
	defer f.bodies.giveSome(client, peer.Node, held)
	if f.flights.begin(r, peer) {
		w.Header().Set("Connection", "close") // the next request is another server's
	}
	defer f.flights.end(r)
	ctx, cancel := context.WithTimeout(r.Context(), f.deadline)
	defer cancel()
	resp, err := f.ask(ctx, r, peer)
	if err == nil {
		defer resp.Body.Close()
		err = f.copy(ctx, w, resp)
	}
	switch {
	case err == nil:
		f.done.Add(1)
		return f.mistakes.note(client, resp.StatusCode, time.Now()), true
	case r.Context().Err() != nil: // the client does not wait any more
	case errors.Is(err, context.DeadlineExceeded):
		f.warn(peer, err)
		f.fail(w, http.StatusGatewayTimeout, "node "+peer.Node+" does not answer")
	default:
		f.warn(peer, err)
		f.fail(w, http.StatusBadGateway, "node "+peer.Node+" cannot be reached")
	}
	return 0, false
}

// limit refuses a request that is one too many, or too long beside others.
func (f *forwards) limit(w http.ResponseWriter, client string, peer rooms.Peer) {
	f.limited.Add(1)
	f.notice.Warn("too many requests are being forwarded: some are refused", "flag", "--max-forwards", "client", client, "node", peer.Node)
	w.Header().Set("Retry-After", "5")
	f.fail(w, http.StatusServiceUnavailable, tooMany)
}

// ask has peer answer r.
func (f *forwards) ask(ctx context.Context, r *http.Request, peer rooms.Peer) (*http.Response, error) {
	body, err := io.ReadAll(r.Body) // of up to MaxPayload, and in memory already
	if err != nil {
		return nil, err
	}
	l, err := f.links.to(peer)
	if err != nil {
		return nil, err
	}
	out := l.outgoing(ctx, r)
	if len(body) > 0 {
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		out.Body, _ = out.GetBody()
	}
	return l.transport.RoundTrip(out)
}

var errLongAnswer = fmt.Errorf("sio: an answer is longer than %d bytes", maxForwardedAnswer)

// copy gives the client an answer. It is read to its end first: half of a poll's
// must not pass for the whole.
func (f *forwards) copy(ctx context.Context, w http.ResponseWriter, resp *http.Response) error {
	n := resp.ContentLength // servers of this kind say it
	switch {
	case n < 0:
		n = maxForwardedAnswer
	case n > maxForwardedAnswer:
		return errLongAnswer
	}
	if err := f.answers.take(ctx, n); err != nil {
		return err
	}
	defer f.answers.give(n)
	body, err := io.ReadAll(io.LimitReader(resp.Body, n+1))
	switch {
	case err != nil:
		return err
	case int64(len(body)) > n:
		return errLongAnswer
	}
	endToEnd(resp.Header)
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(body) // there is none where there must be none
	return nil
}

// outgoing returns what the server is asked for r, without a body.
func (l *link) outgoing(ctx context.Context, r *http.Request) *http.Request {
	out := r.Clone(ctx) // Host stays, which origins are compared with
	out.URL.Scheme, out.URL.Host = l.base.Scheme, l.base.Host
	out.RequestURI, out.Close = "", false
	out.Body, out.GetBody = http.NoBody, nil
	endToEnd(out.Header)
	out.Header.Del("Expect") // the body is there
	out.Header.Del(eio.ReleaseHeader)
	out.Header.Set(eio.ForwardedHeader, l.proof.request(out.Method, out.URL.RequestURI()))
	if out.Header["User-Agent"] == nil {
		out.Header["User-Agent"] = []string{""} // or one is added
	}
	vouch(out, r)
	return out
}

// vouch adds to out, in both ways that the other server may go by, whose request r is. What
// the client has said of itself stands before it.
func vouch(out, r *http.Request) {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return // it has none
	}
	host := a.Addr().String()
	out.Header.Set("X-Forwarded-For", strings.Join(append(out.Header["X-Forwarded-For"], host), ", "))
	if a.Addr().Is6() {
		host = `"[` + host + `]"`
	}
	element := "for=" + host
	if eio.IsSecure(r) {
		out.Header.Set("X-Forwarded-Proto", "https")
		element += ";proto=https"
	}
	out.Header.Add("Forwarded", element)
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

// warn notes that a server could not be asked.
func (f *forwards) warn(peer rooms.Peer, err error) {
	if errors.Is(err, errNotProven) {
		f.unproven.Add(1)
		f.notice.Warn("a server of the cluster is not who answers at its address: nothing is forwarded there",
			"flag", "--cluster-secret, --advertise", "node", peer.Node, "name", peer.Name, "addr", peer.Addr)
		return
	}
	f.notice.Warn("a request could not be forwarded", "node", peer.Node, "name", peer.Name, "addr", peer.Addr, "error", err)
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
