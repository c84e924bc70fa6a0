package identity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/loop/notice"
)

const (
	maxJWKS         = 1 << 20 // bytes of an answer, or of a file
	maxJWKSHeader   = 64 << 10
	maxWaiters      = 1024 // tokens that wait for an answer of the server
	defaultRefresh  = 10 * time.Minute
	defaultFloor    = 30 * time.Second
	defaultTimeout  = 5 * time.Second
	firstRetry      = time.Second
	maxIdleJWKSConn = 1
)

// A jwks has the keys that a server publishes (RFC 7517). They are fetched when it
// begins, every so often, and when a token names one that is not known; not more often
// than floor for that, and once for all tokens that wait. If the server does not answer
// as it should, the keys are those that it gave last.
type jwks struct {
	// Immutable after newJWKS.
	jwksConfig
	shown   string // the URL for people: without a password
	client  *http.Client
	notices *notice.Log
	changed func() // is called when the keys have changed
	ctx     context.Context
	end     context.CancelFunc
	ended   sync.WaitGroup

	set atomic.Pointer[keySet] // nil: there never were any

	fetched, failed, waiters atomic.Int64

	// Guarded by mu.
	mu      sync.Mutex
	flight  *flight
	last    time.Time // when the last flight began
	problem error     // of the last one; nil: none
	since   time.Time // when the keys were fetched
}

// A flight is a request to the server.
type flight struct {
	done chan struct{}
	err  error // once done
}

// A jwksConfig is where keys come from.
type jwksConfig struct {
	url                     string
	file                    string // "": the keys are kept in memory alone
	refresh, floor, timeout time.Duration
}

// checkURL tells what is wrong with the URL of a server of keys. Who can change what it
// answers can sign any token: so it is HTTPS, unless it is on this machine or plain says
// otherwise.
func checkURL(text string, plain bool) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("is not a URL")
	case u.Host == "":
		return nil, errors.New("names no host")
	case u.Scheme == "https":
	case u.Scheme != "http":
		return nil, fmt.Errorf("has the scheme %.32q: it must be https", u.Scheme)
	case !plain && !isLoopback(u.Hostname()):
		return nil, errors.New("is http: whoever is in between could sign tokens; it must be https, unless auth.jwt.jwks_allow_http says that it may")
	}
	return u, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// newJWKS begins to fetch keys, in the background. The URL is one that checkURL takes.
func newJWKS(c jwksConfig, notices *notice.Log, changed func()) *jwks {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = maxJWKSHeader
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost, transport.DisableKeepAlives = maxIdleJWKSConn, maxIdleJWKSConn, true
	u, _ := url.Parse(c.url)
	j := &jwks{
		jwksConfig: c, shown: u.Redacted(), notices: notices, changed: changed,
		client: &http.Client{
			Transport: transport,
			CheckRedirect: func(r *http.Request, _ []*http.Request) error {
				return fmt.Errorf("it redirects to %.128q, which is not followed", r.URL.Redacted())
			},
		},
	}
	j.ctx, j.end = context.WithCancel(context.Background())
	j.ended.Add(1)
	// ends with close
	go j.keep()
	return j
}

// close ends what newJWKS has begun.
func (j *jwks) close() {
	j.mu.Lock()
	j.end()
	j.mu.Unlock() // nothing begins any more
	j.ended.Wait()
}

// keep fetches the keys again and again.
func (j *jwks) keep() {
	defer j.ended.Done()
	retry := firstRetry
	for {
		err := j.fetch(j.ctx, true)
		wait := j.refresh + rand.N(j.refresh/8+1) // many servers that began together do not go on so
		if err != nil {
			wait, retry = min(retry, j.floor), min(retry*2, time.Hour)
		} else {
			retry = firstRetry
		}
		timer := time.NewTimer(wait)
		select {
		case <-j.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

var errTooSoon = errors.New("the server was asked a moment ago")

// fetch has the server asked, and waits for that. If it is not due, floor decides.
func (j *jwks) fetch(ctx context.Context, due bool) error {
	j.mu.Lock()
	f := j.flight
	switch {
	case f != nil:
	case j.ctx.Err() != nil:
		defer j.mu.Unlock()
		return j.ctx.Err()
	case !due && time.Since(j.last) < j.floor && !j.last.IsZero():
		defer j.mu.Unlock()
		if j.problem != nil {
			return j.problem
		}
		return errTooSoon
	default:
		f = &flight{done: make(chan struct{})}
		j.flight, j.last = f, time.Now()
		j.ended.Add(1)
		// ends with the request, which has a time-out
		go j.fly(f)
	}
	j.mu.Unlock()
	if !due {
		if j.waiters.Add(1) > maxWaiters {
			j.waiters.Add(-1)
			return errors.New("too many tokens wait for the server's answer")
		}
		defer j.waiters.Add(-1)
	}
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fly is one request.
func (j *jwks) fly(f *flight) {
	defer j.ended.Done()
	body, err := j.get()
	var set *keySet
	if err == nil {
		set, err = parseJWKS(body, "auth.jwt.jwks_url")
	}
	if err != nil {
		j.failed.Add(1)
		j.lost(err)
	} else {
		j.fetched.Add(1)
		if len(set.dropped) > 0 {
			j.notices.Warn("keys of the JWKS server cannot be used", "setting", "auth.jwt.jwks_url", "url", j.shown, "used", len(set.keys), "dropped", len(set.dropped), "first", set.dropped[0])
		}
		j.take(set)
	}
	j.mu.Lock()
	j.flight, j.problem = nil, err
	if err == nil {
		j.since = time.Now()
	}
	j.mu.Unlock()
	f.err = err
	close(f.done)
}

// take has the keys be those of a set.
func (j *jwks) take(set *keySet) {
	old := j.set.Swap(set)
	if old != nil && old.same(set) {
		return
	}
	if old != nil {
		j.changed()
	}
	if j.file != "" {
		if err := set.write(j.file); err != nil {
			j.notices.Warn("the keys of the JWKS server cannot be kept", "setting", "auth.jwt.jwks_file", "error", err)
		}
	}
}

// lost handles that the server has not answered as it should. In place of keys that it
// never gave there may be those that are in a file.
func (j *jwks) lost(err error) {
	if j.ctx.Err() != nil {
		return
	}
	if j.set.Load() == nil && j.file != "" {
		set, fileErr := readJWKS(j.file)
		if fileErr == nil {
			j.set.Store(set)
		} else {
			j.notices.Warn("there are no kept keys in place of the JWKS server's", "setting", "auth.jwt.jwks_file", "error", fileErr)
		}
	}
	n := 0
	if set := j.set.Load(); set != nil {
		n = len(set.keys)
	}
	j.notices.Warn("the JWKS server cannot be used", "setting", "auth.jwt.jwks_url", "url", j.shown, "keys in its place", n, "error", err)
}

// get asks the server.
func (j *jwks) get() ([]byte, error) {
	ctx, cancel := context.WithTimeout(j.ctx, j.timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, j.url, nil)
	if err != nil {
		return nil, errors.New("its URL is none")
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	r.Header.Set("User-Agent", "sioedge")
	answer, err := j.client.Do(r)
	if err != nil {
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err // without the URL, which may have a password
		}
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %.64q", answer.Status)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxJWKS+1))
	switch {
	case err != nil:
		return nil, err
	case len(body) > maxJWKS:
		return nil, fmt.Errorf("its answer has more than %d bytes", maxJWKS)
	}
	return body, nil
}

// find returns the keys that a token may have been signed with by alg: those of an id,
// or, if it names none, all that fit.
func (j *jwks) find(ctx context.Context, id, alg string) ([]*key, *Refusal) {
	set := j.set.Load()
	if set == nil { // it has begun a moment ago, or its server is down
		if err := j.await(ctx); err != nil {
			return nil, refuse(Unavailable, "auth.jwt.jwks_url", "there are no keys of the JWKS server: %v", err)
		}
		set = j.set.Load()
	}
	all, known := set.find(id, alg)
	if len(all) > 0 || known {
		return all, unfit(all, set.byID[id], alg)
	}
	if err := j.fetch(ctx, false); err != nil && !errors.Is(err, errTooSoon) {
		return nil, refuse(Unavailable, "auth.jwt.jwks_url", "it is of a key %s that is not known, and the JWKS server cannot be asked: %v", quote(id), err)
	}
	set = j.set.Load()
	if all, known = set.find(id, alg); len(all) > 0 || known {
		return all, unfit(all, set.byID[id], alg)
	}
	if id == "" {
		return nil, refuse(BadAlgorithm, "auth.jwt.jwks_url", "it says %s, which no key is for: there is %s", alg, kinds(set.keys))
	}
	return nil, refuse(UnknownKey, "auth.jwt.jwks_url", "the JWKS server has no key %s; there is %s", quote(id), kinds(set.keys))
}

// unfit says that a key that a token names is not for its algorithm.
func unfit(all, named []*key, alg string) *Refusal {
	if len(all) > 0 {
		return nil
	}
	return refuse(BadAlgorithm, "auth.jwt.jwks_url", "it says %s, and names %s", alg, kinds(named))
}

// await waits for the first keys.
func (j *jwks) await(ctx context.Context) error {
	err := j.fetch(ctx, false)
	if j.set.Load() != nil {
		return nil
	}
	if err == nil || errors.Is(err, errTooSoon) {
		err = errors.New("it was asked in vain")
	}
	return err
}
