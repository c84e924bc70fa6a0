package admin

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/identity"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/presence"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

const (
	testKey  = "a key that opens the interface"
	password = "correct horse"
)

var hash = sync.OnceValue(func() string {
	b, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	return string(b)
})

// An app is a server with its page.
type app struct {
	t     testing.TB
	srv   *siotest.Server // nil of serve
	api   *api.API
	admin *Admin
	web   *httptest.Server
	log   *logged
	users atomic.Int64 // how often the user of a socket was asked for
}

type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start makes a server without a network, with its page.
func start(t testing.TB, s config.Admin) *app {
	t.Helper()
	srv := siotest.New(t, sio.Options{KeepHandshake: sio.KeepAlways})
	a := serve(t, srv.Server, s)
	a.srv = srv
	return a
}

// serve makes the page of a server.
func serve(t testing.TB, srv *sio.Server, s config.Admin) *app {
	t.Helper()
	a := &app{t: t, log: &logged{}}
	log := slog.New(slog.NewTextHandler(a.log, nil))
	auth, err := identity.New(config.Auth{Mode: "none"}, nil, identity.Options{Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	srv.Of("/")
	user := func(s sio.Socket) string { a.users.Add(1); return "user of " + s.Name() }
	a.api = api.New(srv, api.Options{
		Settings: api.Settings{Keys: []string{testKey}}, Authority: auth, User: user, Version: "test", Logger: log,
		Presence: presence.New(srv, user, presence.Options{Logger: log}),
	})
	a.admin = New(Options{
		Admin: s, Server: srv, API: a.api, User: user, Backends: func() []Backend { return nil }, Bridges: func() []Bridge { return []Bridge{{Name: "main", Processes: 2}} }, Draining: func() bool { return false },
		Config: func() string { return "secret: '********'\n" }, Version: "test", Logger: log,
	})
	a.web = httptest.NewServer(a.admin)
	t.Cleanup(func() {
		a.admin.Stop()
		a.web.CloseClientConnections()
		a.web.Close()
		for _, secret := range []string{testKey, password, hash()} {
			if strings.Contains(a.log.String(), secret) {
				t.Errorf("the log says %q", secret)
			}
		}
	})
	return a
}

// settings are those of most tests.
func settings() config.Admin { return config.Admin{User: "admin", Password: hash()} }

// A browser is an operator's.
type browser struct {
	app   *app
	web   http.Client
	token string
	last  *http.Response // its body was read
}

func (a *app) browser() *browser {
	jar, _ := cookiejar.New(nil)
	return &browser{app: a, web: http.Client{Jar: jar, Timeout: 30 * time.Second}}
}

// does sends a request as a page of this origin does, unless change has it otherwise.
func (b *browser) does(method, path, body string, change ...func(*http.Request)) (int, string) {
	b.app.t.Helper()
	r, err := http.NewRequest(method, b.app.web.URL+path, strings.NewReader(body))
	if err != nil {
		b.app.t.Fatal(err)
	}
	if method != http.MethodGet {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Origin", b.app.web.URL)
		r.Header.Set(tokenField, b.token)
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for _, f := range change {
		f(r)
	}
	res, err := b.web.Do(r)
	if err != nil {
		b.app.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.app.t.Fatal(err)
	}
	b.last = res
	return res.StatusCode, string(text)
}

// wants is does with what must be answered.
func (b *browser) wants(method, path, body string, status int, part string, change ...func(*http.Request)) {
	b.app.t.Helper()
	if got, text := b.does(method, path, body, change...); got != status || !strings.Contains(text, part) {
		b.app.t.Errorf("%s %s = %d %s, want %d and %s", method, path, got, text, status, part)
	}
}

// enter logs in.
func (b *browser) enter(body string) *browser {
	b.app.t.Helper()
	var x struct{ Token string }
	status, text := b.does("POST", "/admin/login", body)
	if err := json.Unmarshal([]byte(text), &x); err != nil || status != http.StatusOK || x.Token == "" {
		b.app.t.Fatalf("a login is answered %d %s", status, text)
	}
	b.token = x.Token
	return b
}

const (
	right = `{"user":"admin","password":"` + password + `"}`
	byKey = `{"key":"` + testKey + `"}`
)

func without(name string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Del(name) }
}

func with(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func apiSettings(keys ...string) api.Settings { return api.Settings{Keys: keys} }
