package admin

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// How long a session lasts without a request, and at most; how many there are: one more
// has the one that was not seen for longest end.
const (
	maxIdle     = 30 * time.Minute
	maxAge      = 12 * time.Hour
	maxSessions = 256
)

type digest = [sha256.Size]byte

// digestOf is that of texts, none of which has a zero byte that matters.
func digestOf(texts ...string) digest { return sha256.Sum256([]byte(strings.Join(texts, "\x00"))) }

// A session is of somebody who has logged in.
type session struct {
	// Immutable.
	who        string // for people
	token      string // that requests which change something show
	credential digest // of what it was made with: of a key, or of user and password
	byKey      bool
	made       time.Time

	seen time.Time // guarded by sessions.mu
}

// sessions are those that there are, by digests of what their cookies say.
type sessions struct {
	mu      sync.Mutex
	all     map[digest]*session
	evicted int64
}

// random returns a text of 256 bits that nobody can guess.
func random() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// add returns what the cookie of a new session says.
func (x *sessions) add(s *session, now time.Time) (cookie string) {
	cookie = random()
	s.token, s.made, s.seen = random(), now, now
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.all == nil {
		x.all = map[digest]*session{}
	}
	var oldest digest
	for id, o := range x.all {
		if o.over(now) {
			delete(x.all, id)
		} else if first := x.all[oldest]; first == nil || o.seen.Before(first.seen) {
			oldest = id
		}
	}
	if len(x.all) >= maxSessions {
		delete(x.all, oldest)
		x.evicted++
	}
	x.all[digestOf(cookie)] = s
	return cookie
}

func (s *session) over(now time.Time) bool {
	return now.Sub(s.seen) >= maxIdle || now.Sub(s.made) >= maxAge
}

// find returns the session of a cookie, nil if there is none. It is seen then, unless
// somebody only watches.
func (x *sessions) find(cookie string, now time.Time, watching bool) *session {
	id := digestOf(cookie)
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.all[id]
	if s == nil {
		return nil
	}
	if s.over(now) {
		delete(x.all, id)
		return nil
	}
	if !watching {
		s.seen = now
	}
	return s
}

// remove ends the session of a cookie.
func (x *sessions) remove(cookie string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.all, digestOf(cookie))
}

// count returns how many there are, and have ended since there were too many.
func (x *sessions) count() (n int, evicted int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.all), x.evicted
}

// cookieName is that of the session's cookie. Browsers tell servers of one host apart by
// no port: several of them there have cookies of several names.
func cookieName(r *http.Request) string {
	name := "sioedge_admin"
	if _, port, err := net.SplitHostPort(r.Host); err == nil && strings.Trim(port, "0123456789") == "" {
		name += "_" + port
	}
	return name
}

// maxCookie bounds what is looked at as one, in bytes.
const maxCookie = 64

func cookieOf(r *http.Request) string {
	c, err := r.Cookie(cookieName(r))
	if err != nil || len(c.Value) > maxCookie {
		return ""
	}
	return c.Value
}

// secure tells whether the browser has come by TLS, to here or to a proxy: whoever says so
// of a request of its own gets a cookie that it may not send back.
func secure(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

// setCookie has the browser keep a cookie as long as it runs; an empty one is forgotten.
func setCookie(w http.ResponseWriter, r *http.Request, value string) {
	c := &http.Cookie{Name: cookieName(r), Value: value, Path: Path, HttpOnly: true, Secure: secure(r), SameSite: http.SameSiteStrictMode}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// sessionOf returns the session of a request, nil if it has none: also if what that was
// made with would not do any more.
func (a *Admin) sessionOf(r *http.Request) *session {
	return a.recall(r, r.Header.Get(watchingField) != "")
}

// watchingField is there in requests that nobody has caused: the page shows by itself what
// goes on, and a session does not last for that.
const watchingField = "X-Admin-Watching"

// lives tells whether the session of a request is still there, which is not prolonged.
func (a *Admin) lives(r *http.Request) bool { return a.recall(r, true) != nil }

func (a *Admin) recall(r *http.Request, watching bool) *session {
	cookie := cookieOf(r)
	if cookie == "" {
		return nil
	}
	s := a.sessions.find(cookie, a.now(), watching)
	if s == nil {
		return nil
	}
	if s.byKey && !a.o.API.Opens(s.credential) || !s.byKey && s.credential != a.rules.Load().credential {
		a.sessions.remove(cookie)
		return nil
	}
	return s
}
