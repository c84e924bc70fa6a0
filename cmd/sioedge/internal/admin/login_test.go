package admin

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// Who knows the password, or a key, gets a session, whose cookie no script and no other
// page has; who has none sees nothing.
func TestLogin(t *testing.T) {
	a := start(t, settings())
	for name, body := range map[string]string{"password": right, "key": byKey} {
		t.Run(name, func(t *testing.T) {
			b := a.browser()
			b.wants("GET", "/admin/session", "", 401, `"no_session"`)
			b.wants("GET", "/admin/api/info", "", 401, `"no_session"`)
			b.wants("GET", "/admin/data/overview", "", 401, `"no_session"`)
			b.enter(body)
			c := b.last.Cookies()[0]
			if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure || c.Path != "/admin/" || len(c.Value) != 43 {
				t.Errorf("the cookie is %+v", c)
			}
			b.wants("GET", "/admin/session", "", 200, b.token)
			b.wants("GET", "/admin/api/info", "", 200, `"node"`)
			b.wants("GET", "/admin/data/overview", "", 200, `"loops":[{`)
			b.wants("GET", "/admin/data/config", "", 200, `********`)
			b.wants("POST", "/admin/api/emit", `{"ev":"x"}`, 200, `{}`)
			b.wants("POST", "/admin/logout", "", 200, `{}`)
			b.wants("GET", "/admin/session", "", 401, `"no_session"`)
		})
	}
	a.browser().enter(right).wants("GET", "/admin/", "", 200, "<!doctype html>")
	a.browser().enter(byKey).wants("GET", "/admin/nothing", "", 404, `"unknown_path"`)
	b := a.browser()
	b.wants("POST", "/admin/login", right, 200, `"token"`, with("X-Forwarded-Proto", "https"))
	if c := b.last.Cookies()[0]; !c.Secure {
		t.Errorf("the cookie that was got by TLS is %+v", c)
	}
}

func TestLoginThatIsWrong(t *testing.T) {
	a := start(t, settings())
	for _, body := range []string{
		`{"user":"admin","password":"wrong"}`, `{"user":"root","password":"` + password + `"}`, `{"user":"","password":""}`, `{}`,
		`{"user":"admin","password":"` + strings.Repeat("x", maxPassword+1) + `"}`, `{"key":"wrong"}`, `{"key":"` + testKey + ` "}`,
	} {
		a.browser().wants("POST", "/admin/login", body, 401, `{"error":{"code":"wrong","message":"that is not right"}}`)
	}
	if s := a.admin.Stats(); s.Sessions != 0 || s.LoggedIn != 0 || s.Wrong != 7 {
		t.Errorf("%+v", s)
	}
}

// Without a password there is none that is right.
func TestLoginWithoutPassword(t *testing.T) {
	s := settings()
	s.Password = ""
	a := start(t, s)
	a.browser().wants("POST", "/admin/login", right, 401, `"wrong"`)
	a.browser().wants("POST", "/admin/login", `{"user":"admin"}`, 401, `"wrong"`)
	a.browser().enter(byKey)
}

// Guesses are refused without their passwords being compared, of one address and of all;
// who is right counts for nothing, and keys are never refused for others' guesses.
func TestGuesses(t *testing.T) {
	a := start(t, settings())
	now := time.Now()
	a.admin.now = func() time.Time { return now }
	b := a.browser()
	for range 3 * attemptBurst {
		b.enter(right)
	}
	for range attemptBurst {
		b.wants("POST", "/admin/login", `{"user":"admin","password":"x"}`, 401, `"wrong"`)
	}
	a.admin.logins.x.turn <- struct{}{} // nothing is compared any more
	for _, body := range []string{`{"user":"admin","password":"x"}`, right, `{"key":"x"}`} {
		b.wants("POST", "/admin/login", body, 429, `"too_many_failures"`)
		if after := b.last.Header.Get("Retry-After"); after != "5" {
			t.Errorf("Retry-After is %q", after)
		}
	}
	<-a.admin.logins.x.turn
	if s := a.admin.Stats(); s.Throttled != 3 || s.Wrong != attemptBurst || s.LoggedIn != 3*attemptBurst {
		t.Errorf("%+v", s)
	}
	b.enter(byKey)
	now = now.Add(attemptEvery)
	b.enter(right)

	x := attempts{}
	x.init()
	refused := 0
	for i := range globalBurst + 5 {
		if x.fail(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), now) > 0 {
			refused++
		}
	}
	if refused != 5 {
		t.Errorf("of all addresses %d are refused, want 5", refused)
	}
	for i := range 3 * maxAddresses {
		now = now.Add(globalEvery)
		x.fail(netip.AddrFrom4([4]byte{11, byte(i >> 8), byte(i)}), now)
	}
	if len(x.full) > maxAddresses {
		t.Errorf("%d addresses are known", len(x.full))
	}
}

// Of passwords that come at one time one is compared, and a few wait.
func TestPasswordsAtOneTime(t *testing.T) {
	a := start(t, settings())
	x := &a.admin.logins.x
	x.turn <- struct{}{}
	for range maxWaiting {
		x.waiting <- struct{}{}
	}
	a.browser().wants("POST", "/admin/login", right, 429, `"too_many_failures"`)
	for range maxWaiting {
		<-x.waiting
	}
	<-x.turn
	a.browser().enter(right)
}

// Sessions end by themselves, with what they were made with, and if there are too many.
func TestSessionsEnd(t *testing.T) {
	a := start(t, settings())
	now := time.Now()
	a.admin.now = func() time.Time { return now }
	idle, busy, key := a.browser().enter(right), a.browser().enter(right), a.browser().enter(byKey)
	now = now.Add(maxIdle - time.Second)
	busy.wants("GET", "/admin/session", "", 200, "")
	now = now.Add(time.Second)
	idle.wants("GET", "/admin/session", "", 401, "")
	for range int(maxAge/maxIdle) * 2 {
		now = now.Add(maxIdle / 2)
		busy.does("GET", "/admin/session", "")
	}
	busy.wants("GET", "/admin/session", "", 401, "")
	key.wants("GET", "/admin/session", "", 401, "")
	if s := a.admin.Stats(); s.Sessions != 0 {
		t.Errorf("%d sessions are kept", s.Sessions)
	}

	first := a.browser().enter(right)
	for range maxSessions + 20 {
		now = now.Add(time.Millisecond)
		a.browser().enter(byKey)
	}
	if s := a.admin.Stats(); s.Sessions != maxSessions || s.Evicted != 21 {
		t.Errorf("%+v", s)
	}
	first.wants("GET", "/admin/session", "", 401, "")

	byPassword, byTheKey := a.browser().enter(right), a.browser().enter(byKey)
	s := settings()
	s.User = "another"
	a.admin.Reload(s)
	byPassword.wants("GET", "/admin/session", "", 401, "")
	byTheKey.wants("GET", "/admin/session", "", 200, "")
	a.api.Reload(apiSettings("a key that replaces the other"))
	byTheKey.wants("GET", "/admin/session", "", 401, "")
}

// What changes something is of this page, by what the browser says and by what no other
// page knows; what another page asks for is refused too.
func TestOtherPages(t *testing.T) {
	a := start(t, settings())
	b := a.browser().enter(right)
	emit := func(status int, change ...func(*http.Request)) {
		t.Helper()
		b.wants("POST", "/admin/api/emit", `{"ev":"x"}`, status, "", change...)
	}
	emit(200)
	emit(200, without("Sec-Fetch-Site"))
	emit(200, without("Origin"))
	emit(403, without("Origin"), without("Sec-Fetch-Site"))
	emit(403, without(tokenField))
	emit(403, with(tokenField, strings.Repeat("A", 43)))
	emit(403, with("Sec-Fetch-Site", "cross-site"))
	emit(403, with("Sec-Fetch-Site", "same-site"))
	emit(403, with("Sec-Fetch-Site", "none"))
	emit(403, without("Sec-Fetch-Site"), with("Origin", "https://evil.example"))
	emit(403, without("Sec-Fetch-Site"), with("Origin", "null"))
	b.wants("POST", "/admin/logout", "", 403, "", without(tokenField))
	b.wants("POST", "/admin/login", right, 403, "", with("Sec-Fetch-Site", "cross-site"))
	b.wants("POST", "/admin/login", right, 403, "", without("Origin"), without("Sec-Fetch-Site"))
	b.wants("GET", "/admin/api/info", "", 403, "", with("Sec-Fetch-Site", "cross-site"))
	b.wants("GET", "/admin/api/info", "", 200, "", without("Sec-Fetch-Site"))
	b.wants("POST", "/admin/login", right, 415, "", with("Content-Type", "text/plain"))
	if s := a.admin.Stats(); s.Foreign != 12 {
		t.Errorf("%+v", s)
	}
	b.wants("POST", "/admin/login", `{"user":`, 400, `"malformed"`)
	b.wants("POST", "/admin/login", `{"user":"`+strings.Repeat("x", maxLogin)+`"}`, 413, `"too_long"`)
}

// A name that DNS leads here is not served, unless it is one of the settings.
func TestNamesOfHosts(t *testing.T) {
	s := settings()
	s.Hosts = []string{"admin.example.com"}
	a := start(t, s)
	for host, ok := range map[string]bool{
		"127.0.0.1": true, "127.0.0.1:9000": true, "[::1]:9000": true, "localhost:9000": true, "LOCALHOST": true, "a.localhost:1": true, "admin.example.com": true,
		"Admin.Example.com.:443": true, "evil.example": false, "admin.example.com.evil.example": false, "localhost.evil.example": false, "": false, "xadmin.example.com": false,
		"127.0.0.1.evil.example": false,
	} {
		if got := a.admin.rules.Load().names(host); got != ok {
			t.Errorf("%q: %t", host, got)
		}
	}
	a.browser().wants("GET", "/admin/", "", 421, `"host"`, func(r *http.Request) { r.Host = "evil.example" })
	a.browser().wants("POST", "/admin/login", right, 421, `"host"`, func(r *http.Request) { r.Host = "evil.example" })
	if s := a.admin.Stats(); s.Misnamed != 2 {
		t.Errorf("%+v", s)
	}
}

// Every answer says that no other page may have it in a frame, and what may run in it.
func TestFields(t *testing.T) {
	a := start(t, settings())
	b := a.browser()
	for _, path := range []string{"/admin/", "/admin/nothing", "/admin/session", "/admin/api/info", "/admin/data/overview"} {
		b.does("GET", path, "")
		for name, want := range fields {
			if got := b.last.Header.Get(name); got != want && !(name == "Cache-Control" && got == "no-store") {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
	}
	b.enter(right)
	b.does("GET", "/admin/api/info", "")
	if csp := b.last.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; script-src 'self';") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("the policy is %s", csp)
	}
}

// A body that does not come ends its request.
func TestSlowLogin(t *testing.T) {
	a := start(t, settings())
	a.admin.patience = 50 * time.Millisecond
	c, err := net.Dial("tcp", a.web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /admin/login HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	b, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 400 ") {
		t.Errorf("%v: %s", err, b)
	}
}

// In readonly nothing is changed, and what applications store with sockets is not shown.
func TestReadOnly(t *testing.T) {
	s := settings()
	s.ReadOnly = true
	a := start(t, s)
	b := a.browser().enter(right)
	for _, path := range []string{"emit", "raw", "batch", "sockets/join", "sockets/leave", "sockets/disconnect", "sockets/data", "users/x/disconnect", "tokens/revoke", "server-side-emit", "reload"} {
		b.wants("POST", "/admin/api/"+path, `{}`, 403, `"readonly"`)
	}
	b.wants("POST", "/admin/api/stream", `{}`, 403, `"stream"`)
	b.wants("POST", "/admin/api/sockets/query", `{}`, 200, `{"sockets":[]}`)
	b.wants("POST", "/admin/api/sockets/query", `{"where":{"data.a":1}}`, 403, `"readonly"`)
	b.wants("GET", "/admin/session", "", 200, `"readonly":true`)
}
