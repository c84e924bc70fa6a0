package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A key opens the API. Of it there is a digest alone, of one length: so that comparing
// tells nothing of the key, be it how long it is.
type key struct {
	digest [sha256.Size]byte

	requests, streams atomic.Int64 // gauges
}

type keys []*key

// newKeys returns keys of texts; what is known of those that there were stays.
func newKeys(texts []string, old keys) (all keys) {
	for _, text := range texts {
		k := &key{digest: sha256.Sum256([]byte(text))}
		for _, o := range old {
			if o.digest == k.digest {
				k = o
			}
		}
		all = append(all, k)
	}
	return all
}

// find returns the key that a text is, nil if it is none. It compares with all of them.
func (all keys) find(text string) (found *key) {
	return all.digest(Digest(text))
}

// digest is find for what is known of a key.
func (all keys) digest(digest [sha256.Size]byte) (found *key) {
	for _, k := range all {
		if subtle.ConstantTimeCompare(k.digest[:], digest[:]) == 1 {
			found = k
		}
	}
	return found
}

// maxKey bounds what is looked at as a key, in bytes.
const maxKey = 4096

// given returns the key that a request has, "" for none.
func given(h http.Header) string {
	text := h.Get("Authorization")
	if text == "" {
		return h.Get("X-Api-Key")
	}
	scheme, text, _ := strings.Cut(text, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(text)
}

// admit finds out by which key a request comes. Who has none is told so, and if that is
// often, told to wait: a right key counts all the same, since keys cannot be guessed, and
// who shares an address with a client that has a wrong one is not to suffer.
func (c *call) admit() *problem {
	if c.operator {
		return c.admitOperator()
	}
	if isPage(c.r) {
		return fail(http.StatusForbidden, "browser", "pages in browsers may not use this API: it is for backends, which send no Origin")
	}
	if len(c.s.keys) == 0 {
		return fail(http.StatusForbidden, "no_keys", "the HTTP API is closed, since it has no key: give one of at least 24 bytes as $SIOEDGE_API_KEY, --api-key or api.keys")
	}
	text := given(c.r.Header)
	if text != "" && len(text) <= maxKey {
		if c.key = c.s.keys.find(text); c.key != nil {
			return nil
		}
	}
	return c.a.failed(c.r, text != "", "a request of the HTTP API has a wrong key, or none (api.keys, --api-key)", "api.keys (--api-key, $SIOEDGE_API_KEY)")
}

// isPage tells whether a request is of a page in a browser. None has business here: not
// one that DNS has sent to this address either.
func isPage(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return len(r.Header["Origin"]) > 0 || site != "" && site != "none"
}

// failed counts and logs a request that has a wrong key, or none; what is the line of the
// log, and keys are where those are from that would do.
func (a *API) failed(r *http.Request, some bool, what, keys string) *problem {
	from := addressOf(r)
	if wait := a.failures.fail(from, time.Now()); wait > 0 {
		a.counts.throttled.Add(1)
		p := fail(http.StatusTooManyRequests, "too_many_failures", "too many requests with a wrong key, or none, from this address")
		p.retry = wait
		return p
	}
	a.notice.Warn(what, "address", from.String(), "key", some)
	if !some {
		return fail(http.StatusUnauthorized, "no_key", "a key is missing (Authorization: Bearer …, or X-API-Key): one of "+keys)
	}
	return fail(http.StatusUnauthorized, "wrong_key", "that is no key: it must be one of "+keys)
}

// addressOf returns whom failures are counted for: the zero one is all that come by a Unix
// socket. Of IPv6 it is the network that one customer usually has.
func addressOf(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := at.Addr().Unmap().WithZone("")
	if addr.Is6() {
		p, _ := addr.Prefix(64)
		return p.Addr()
	}
	return addr
}

// Failures may come so many at once, and so many a second, of an address; so many
// addresses are told apart, and those beyond are taken together.
const (
	failureBurst  = 10
	failureEvery  = time.Second
	maxAddresses  = 4096
	forgetFailure = failureBurst * failureEvery
)

// failures counts requests without a key, by address.
type failures struct {
	mu   sync.Mutex
	full map[netip.Addr]time.Time // when none of its failures counts any more
}

// fail counts one and returns how long to wait, 0 if it was not one too many.
func (f *failures) fail(addr netip.Addr, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full == nil {
		f.full = map[netip.Addr]time.Time{}
	}
	if _, known := f.full[addr]; !known && len(f.full) >= maxAddresses {
		for x, t := range f.full {
			if !t.After(now) {
				delete(f.full, x)
			}
		}
		if len(f.full) >= maxAddresses {
			addr = netip.IPv6Unspecified()
		}
	}
	t := f.full[addr]
	if t.Before(now) {
		t = now
	}
	if over := t.Add(failureEvery).Sub(now) - forgetFailure; over > 0 {
		return over
	}
	f.full[addr] = t.Add(failureEvery)
	return 0
}

// enter counts what a key has under way; it is a problem if that is too much.
func (c *call) enter() *problem {
	n, most, option := &c.key.requests, c.s.MaxRequests, "api.max_requests"
	if c.operator {
		most = min(most, maxOperators)
	}
	if c.route.stream {
		n, most, option = &c.key.streams, c.s.MaxStreams, "api.max_streams"
	}
	if n.Add(1) <= int64(most) {
		c.left = n
		return nil
	}
	n.Add(-1)
	c.a.counts.busy.Add(1)
	c.a.notice.Warn("a key of the HTTP API has too many requests under way", "setting", option)
	p := fail(http.StatusTooManyRequests, "too_many_requests", "as many requests of this key are under way as may be ("+option+")")
	p.retry = time.Second
	return p
}
