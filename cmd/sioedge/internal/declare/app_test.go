package declare

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/identity"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/limit"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/presence"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

const secret = "0123456789abcdef0123456789abcdef"

// An app is a server without a network that runs declarations.
type app struct {
	*siotest.Server
	t      *testing.T
	auth   *identity.Authority
	limits *limit.Limiter
	router *Router
	log    *logged
}

// logged is what a server writes to its log.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), text)
}

// jwtSettings believe tokens of the secret.
var jwtSettings = config.Auth{Mode: "jwt", JWT: config.JWT{
	Secret: secret, UserClaim: "sub", ScopeClaim: "scope", RoomsClaim: "rooms", NamespacesClaim: "namespaces", EventsClaim: "events", Expire: "close", Grace: 10 * time.Second,
}}

func newAuthority(t testing.TB, auth config.Auth, log *slog.Logger, cluster bool) *identity.Authority {
	t.Helper()
	a, err := identity.New(auth, []string{"org", "team.name", "symbol"}, identity.Options{Logger: log, Cluster: cluster})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func compile(t testing.TB, list ...config.Namespace) *Program {
	t.Helper()
	p, err := Compile(list, Options{Auth: true})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func start(t *testing.T, o sio.Options, list ...config.Namespace) *app {
	t.Helper()
	a := &app{t: t, log: &logged{}}
	a.serve(o, jwtSettings, nil)
	a.apply(list...)
	return a
}

// serve starts the server, without namespaces.
func (a *app) serve(o sio.Options, auth config.Auth, backend func(string) action.Backend) {
	t := a.t
	t.Helper()
	log := slog.New(slog.NewTextHandler(a.log, nil))
	a.auth = newAuthority(t, auth, log, false)
	a.auth.Options(&o)
	a.Server = siotest.New(t, o)
	a.auth.Register(a.Server.Server)
	var err error
	if a.limits, err = limit.New(config.Limits{}, limit.Options{Now: a.Now, Logger: log}); err != nil {
		t.Fatal(err)
	}
	p := presence.New(a.Server.Server, userOf(a.auth), presence.Options{Recovery: o.Recovery.Window, Logger: log})
	t.Cleanup(func() { p.Close(t.Context()) })
	a.router = New(a.Server.Server, Parts{Authority: a.auth, Limiter: a.limits, Presence: p, Backend: backend, Logger: log})
}

func (a *app) apply(list ...config.Namespace) {
	a.t.Helper()
	if err := a.router.Apply(compile(a.t, list...)); err != nil {
		a.t.Fatal(err)
	}
}

// token signs claims (pairs of name and value), for ten minutes from now on.
func token(now time.Time, user string, claims map[string]any) string {
	all := map[string]any{"sub": user, "exp": now.Unix() + 600}
	maps.Copy(all, claims)
	body, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(body)
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

type claimed = map[string]any

// as is how a user connects.
func (a *app) as(user string, claims claimed) siotest.Options {
	return siotest.Options{Auth: map[string]string{"token": token(a.Now(), user, claims)}}
}

func (a *app) connect(namespace, user string, claims claimed) *siotest.Client {
	a.t.Helper()
	return a.ConnectWith(namespace, a.as(user, claims))
}

// try returns the connect error, "" if there is none.
func (a *app) try(namespace string, o siotest.Options) string {
	a.t.Helper()
	c, err := a.Try(namespace, o)
	if err == nil {
		c.Disconnect()
		return ""
	}
	e := err.(*siotest.ConnectError)
	return fmt.Sprintf("%s %s", e.Message, e.Data)
}

// ask emits an event and returns the answer as JSON.
func ask(c *siotest.Client, event string, args ...any) string {
	a := c.EmitAck(event, args...)
	if !a.Done() {
		return "no answer"
	}
	return string(a.Args().Raw(0))
}

// refusedFor returns how often something was refused in a namespace.
func (a *app) refusedFor(namespace, reason string) int64 {
	for _, r := range a.router.Stats().Refused {
		if r.Namespace == namespace && r.Reason == reason {
			return r.Count
		}
	}
	return 0
}
