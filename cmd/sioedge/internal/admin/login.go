package admin

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api"
)

// Bounds of a login: what its body has, in bytes, and how long that may take to come; what
// is looked at of a password or a key.
const (
	maxLogin    = 8 << 10
	loginTime   = 10 * time.Second
	maxPassword = 1024
	maxKey      = 4096
)

// A credential is the body of a login: a user with a password, or a key of the API.
type credential struct {
	User, Password, Key string
}

// login makes a session. Who does not know the user, or the password, learns which of them
// it was neither by what is said nor by how long it took.
func (a *Admin) login(w http.ResponseWriter, r *http.Request) {
	if !sameOrigin(r) {
		a.forbid(w, r)
		return
	}
	var c credential
	if !a.readJSON(w, r, maxLogin, &c) {
		return
	}
	s, wait := a.check(r, &c)
	switch {
	case wait > 0:
		a.counts.throttled.Add(1)
		w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
		a.notice.Warn("logins to the page for operators are refused: too many have failed", "address", r.RemoteAddr)
		refuse(w, http.StatusTooManyRequests, "too_many_failures", "too many logins have failed: wait, or use a key of the API")
	case s == nil:
		a.counts.wrong.Add(1)
		a.notice.Warn("a login to the page for operators has failed", "address", r.RemoteAddr, "key", c.Key != "")
		refuse(w, http.StatusUnauthorized, "wrong", "that is not right")
	default:
		a.counts.loggedIn.Add(1)
		if old := cookieOf(r); old != "" {
			a.sessions.remove(old)
		}
		setCookie(w, r, a.sessions.add(s, a.now()))
		a.o.Logger.Info("an operator has logged in to the page", "operator", s.who, "address", r.RemoteAddr)
		a.describe(w, s)
	}
}

// check finds out who logs in, nil for nobody; or how long to wait.
func (a *Admin) check(r *http.Request, c *credential) (*session, time.Duration) {
	if c.Key != "" {
		if d := api.Digest(c.Key); len(c.Key) <= maxKey && a.o.API.Opens(d) {
			return &session{who: "by a key of the API", credential: d, byKey: true}, 0
		}
		return nil, a.logins.Failed(addressOf(r))
	}
	rules := a.rules.Load()
	if rules.Password == "" {
		return nil, a.logins.Failed(addressOf(r))
	}
	right, wait := a.logins.Password(r.Context(), addressOf(r), rules.Admin, c.User, c.Password)
	if !right {
		return nil, wait
	}
	return &session{who: rules.User, credential: rules.credential}, 0
}

// describe says what the page has to know of its session.
func (a *Admin) describe(w http.ResponseWriter, s *session) {
	answer(w, http.StatusOK, map[string]any{
		"user": s.who, "token": s.token, "readonly": a.rules.Load().ReadOnly, "node": a.o.Server.Node(), "version": a.o.Version,
	})
}

// session is for a page that was loaded again.
func (a *Admin) session(w http.ResponseWriter, r *http.Request) { a.describe(w, sessionOf(r)) }

// logout ends the session.
func (a *Admin) logout(w http.ResponseWriter, r *http.Request) {
	a.sessions.remove(cookieOf(r))
	setCookie(w, r, "")
	answer(w, http.StatusOK, struct{}{})
}

// readJSON reads a body of so many bytes at most; if it is not as it must be, that was
// answered.
func (a *Admin) readJSON(w http.ResponseWriter, r *http.Request, most int64, v any) bool {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(a.patience)) // what cannot do that has no deadline
	if r.Header.Get("Content-Type") != "application/json" {
		w.Header().Set("Connection", "close")
		refuse(w, http.StatusUnsupportedMediaType, "content_type", "Content-Type must be application/json")
		return false
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	switch {
	case err != nil:
		w.Header().Set("Connection", "close")
		refuse(w, http.StatusBadRequest, "body", "the body has not come as a whole")
	case int64(len(b)) > most:
		w.Header().Set("Connection", "close")
		refuse(w, http.StatusRequestEntityTooLarge, "too_long", "the body is too long")
	case json.Unmarshal(b, v) != nil:
		refuse(w, http.StatusBadRequest, "malformed", "the body is not what is expected")
	default:
		return true
	}
	return false
}

// Failures may come so many at once, and one in so long, of an address, and of all
// together; so many addresses are told apart, and those beyond are taken together. One
// password is compared at a time, and so many wait for it: that is slow on purpose.
const (
	attemptBurst = 10
	attemptEvery = 5 * time.Second
	globalBurst  = 30
	globalEvery  = 5 * time.Second
	maxAddresses = 1024
	maxWaiting   = 8
)

// attempts bounds logins that fail.
type attempts struct {
	mu   sync.Mutex
	full map[netip.Addr]time.Time // when none of its failures counts any more
	all  time.Time                // that for all addresses

	turn    chan struct{} // has one place
	waiting chan struct{}
}

func (x *attempts) init() {
	x.full = map[netip.Addr]time.Time{}
	x.turn, x.waiting = make(chan struct{}, 1), make(chan struct{}, maxWaiting)
}

// spend takes one of a bucket that is full again at a time, and returns that time then, or
// how long to wait.
func spend(full, now time.Time, every time.Duration, burst int) (time.Time, time.Duration) {
	if full.Before(now) {
		full = now
	}
	if over := full.Add(every).Sub(now) - time.Duration(burst)*every; over > 0 {
		return full, over
	}
	return full.Add(every), 0
}

// fail counts a failure of an address, and returns how long to wait, 0 if it was not one
// too many.
func (x *attempts) fail(addr netip.Addr, now time.Time) time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, known := x.full[addr]; !known && len(x.full) >= maxAddresses {
		for a, t := range x.full {
			if !t.After(now) {
				delete(x.full, a)
			}
		}
		if len(x.full) >= maxAddresses {
			addr = netip.IPv6Unspecified()
		}
	}
	own, wait := spend(x.full[addr], now, attemptEvery, attemptBurst)
	if wait > 0 {
		return wait
	}
	all, wait := spend(x.all, now, globalEvery, globalBurst)
	if wait > 0 {
		return wait
	}
	x.full[addr], x.all = own, all
	return 0
}

// forgive takes back what was counted of an address, which was right, and one of all.
func (x *attempts) forgive(addr netip.Addr) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.full, addr)
	x.all = x.all.Add(-globalEvery)
}

// compare compares a password with its hash, in its turn: 1 if it is right. It is false if
// too many wait.
func (x *attempts) compare(ctx context.Context, hash, password string) (right int, ok bool) {
	select {
	case x.waiting <- struct{}{}:
	default:
		return 0, false
	}
	defer func() { <-x.waiting }()
	select {
	case x.turn <- struct{}{}:
	case <-ctx.Done():
		return 0, false
	}
	defer func() { <-x.turn }()
	if bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil {
		right = 1
	}
	return right, true
}

// addressOf returns whom failures are counted for: the zero one is all that come by a Unix
// socket. Of IPv6 it is the network that one customer usually has.
func addressOf(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return networkOf(at.Addr())
}

func networkOf(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		p, _ := addr.Prefix(64)
		return p.Addr()
	}
	return addr
}
