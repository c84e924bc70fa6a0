// Package admin is the page for operators: what goes on in a server, who is there, and
// what can be done about it, in a browser. It is served on the internal listener, at
// /admin/, and has no build step: the files are in page/, as they are sent.
//
//	request ── name of the host ── files of the page
//	                            └─ login, limited ── session ── same page, token ── overview, ranks, trace
//	                                                                            └── the HTTP API (ServeOperator)
//
// Who is there is asked of the HTTP API's own endpoints below /admin/api/, so that the
// page shows what programs see. What only the page has is in overview.go, ranks.go,
// instances.go and trace.go. While nobody has the page open there is no goroutine, no
// timer, and nothing is counted for it.
package admin

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/loop/notice"
	"github.com/sioedge/sioedge/sio"
)

// Path is where the page is.
const Path = "/admin/"

// Options are those of New. All but Logger have to be there.
type Options struct {
	config.Admin
	Server   *sio.Server
	API      *api.API
	User     func(s sio.Socket) string // the user of a socket, "" for nobody
	Backends func() []Backend          // in the order of their names
	Bridges  func() []Bridge           // likewise
	Draining func() bool
	Config   func() string // the settings with secrets masked, as YAML
	Version  string
	Logger   *slog.Logger // nil discards
}

// An Admin is the handler of all that begins with Path. Any goroutine may use it.
type Admin struct {
	// Immutable.
	o       Options
	notice  *notice.Log
	mux     *http.ServeMux
	started time.Time
	stopped context.Context // done when what does not end by itself is to
	stop    context.CancelFunc
	// Tests have others.
	now      func() time.Time
	patience time.Duration // loginTime

	surveyEvery, traceTime time.Duration

	rules    atomic.Pointer[rules]
	sessions sessions
	logins   *Logins

	snapshots snapshots
	survey    survey
	traces    atomic.Int64 // a gauge
	counts    counts
}

// rules are what settings make.
type rules struct {
	config.Admin
	credential digest // of user and password; that of nobody if there is no password
}

// New returns the page of a server.
func New(o Options) *Admin {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Admin{o: o, notice: notice.New(o.Logger, 0), started: time.Now(), now: time.Now, patience: loginTime, mux: http.NewServeMux()}
	a.stopped, a.stop = context.WithCancel(context.Background())
	a.logins = NewLogins()
	a.logins.now = func() time.Time { return a.now() }
	a.survey.a, a.survey.most, a.surveyEvery, a.traceTime = a, maxTalkers, surveyEvery, traceTime
	a.Reload(o.Admin)
	a.mux.HandleFunc("GET "+Path+"{$}", file)
	a.mux.HandleFunc("GET "+Path+"{file}", file)
	a.mux.HandleFunc("POST "+Path+"login", a.login)
	a.mux.HandleFunc("GET "+Path+"session", a.known(a.session))
	a.mux.HandleFunc("POST "+Path+"logout", a.known(a.logout))
	a.mux.HandleFunc("GET "+Path+"data/overview", a.known(a.overview))
	a.mux.HandleFunc("GET "+Path+"data/config", a.known(a.settings))
	a.mux.HandleFunc("GET "+Path+"data/instances", a.known(a.instances))
	a.mux.HandleFunc("GET "+Path+"data/ranks", a.known(a.ranks))
	a.mux.HandleFunc("POST "+Path+"data/trace", a.known(a.trace))
	a.mux.HandleFunc(Path+"api/", a.known(a.ask))
	return a
}

// Reload has other settings hold: those of the namespace and of what is enabled are not
// its. Sessions of a password that is none any more have ended.
func (a *Admin) Reload(s config.Admin) {
	r := &rules{Admin: s}
	if s.Password != "" {
		r.credential = digestOf(s.User, s.Password)
	}
	a.rules.Store(r)
}

// Stop ends what does not end by itself. It does not wait.
func (a *Admin) Stop() { a.stop() }

// fields of every answer. Nothing but its own files may run in the page, no other page may
// have it in a frame, and no cache keeps what it shows.
var fields = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'none'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
	"X-Frame-Options":              "DENY",
	"X-Content-Type-Options":       "nosniff",
	"Referrer-Policy":              "no-referrer",
	"Cache-Control":                "no-store",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Permissions-Policy":           "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

// ServeHTTP answers a request.
func (a *Admin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for name, value := range fields {
		h.Set(name, value)
	}
	if !a.rules.Load().names(r.Host) {
		a.counts.misnamed.Add(1)
		a.notice.Warn("a request for the page for operators names a host that is not its own (admin.hosts, --admin-hosts)", "host", r.Host, "address", r.RemoteAddr)
		w.Header().Set("Connection", "close")
		refuse(w, http.StatusMisdirectedRequest, "host", "this page is not served under the name that was asked for: add it to admin.hosts (--admin-hosts), or use an address")
		return
	}
	a.mux.ServeHTTP(w, r)
}

// ask has the HTTP API answer.
func (a *Admin) ask(w http.ResponseWriter, r *http.Request) {
	s := sessionOf(r)
	if r.Method != http.MethodGet && !strings.HasSuffix(r.URL.Path, "/query") {
		a.o.Logger.Info("an operator has something done on the page", "operator", s.who, "path", notice.Cut(r.URL.EscapedPath()), "address", r.RemoteAddr)
	}
	http.StripPrefix(strings.TrimSuffix(Path, "/"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.o.API.ServeOperator(w, r, a.rules.Load().ReadOnly)
	})).ServeHTTP(w, r)
}

// settings shows the configuration.
func (a *Admin) settings(w http.ResponseWriter, r *http.Request) {
	answer(w, http.StatusOK, map[string]string{"yaml": a.o.Config()})
}
