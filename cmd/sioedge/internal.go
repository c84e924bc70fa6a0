package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/admin"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/api"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/listen"
)

// An internal is the listener for operators and backends: of health, metrics, the API and
// what else handlers has.
type internal struct {
	api   *api.API
	admin *admin.Admin // nil: there is none
	web   *http.Server
	log   *slog.Logger

	sockets *listen.Sockets // that systemd has passed; nil: none
	before  *succession     // whose listener it may be; nil: nobody's

	mu     sync.Mutex // of the goroutine that waits for signals, and tests
	listen string     // "" once it listens, or is not to
	addr   net.Addr   // nil: it does not listen
	as     string     // what the settings call that: listen.As
	conns  *bounded   // nil: it does not listen

	announced bool
}

// internalHeader bounds the header of a request, in bytes.
const internalHeader = 32 << 10

// bounds are what requests may take, in time, before their bodies are the API's, which has
// its long answers take longer; and how many connections there are, of one address too.
type bounds struct {
	head, body, answer, idle time.Duration
	conns                    int
}

var internalBounds = bounds{head: 10 * time.Second, body: 40 * time.Second, answer: 60 * time.Second, idle: 75 * time.Second, conns: 4096}

// server returns one of HTTP with these bounds.
func (b bounds) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: b.head, ReadTimeout: b.body, WriteTimeout: b.answer, IdleTimeout: b.idle, MaxHeaderBytes: internalHeader,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo), // what is said there is of who asks
		ConnState: func(c net.Conn, st http.ConnState) {
			if c, ok := c.(*bounding); ok {
				c.become(st)
			}
		},
	}
}

// newInternal makes the listener of an edge whose server does not serve yet.
func (e *edge) newInternal(cluster bool) *internal {
	l := e.now
	in := &internal{log: e.log, listen: l.Internal.Listen, before: e.before}
	in.api = api.New(e.srv, api.Options{
		Settings: apiSettings(l), Authority: e.authority, Presence: e.presence, User: e.user, Cluster: cluster,
		MaxDepth: l.Limits.MaxDepth, MaxAttachments: l.Limits.MaxAttachments, Reload: e.reloadFor, Drain: e.drainFor, Undrain: e.health.Undrain, Draining: e.draining, DrainTimes: e.drainTimes, Upgrade: e.upgradeFor, Version: version(), Logger: e.log,
	})
	e.srv.Carry(in.api.Part())
	e.bridges.api = in.api
	if in.admin = e.newAdmin(in); in.admin != nil {
		e.srv.Carry(in.admin.Part())
	}
	in.web = internalBounds.server(e.handlers(in))
	return in
}

// handlers returns who answers what on the internal listener. Whatever is no API's is
// kept from pages of browsers by noPages, or by itself.
func (e *edge) handlers(in *internal) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/api/", in.api)
	e.health.Handle(mux)
	mux.Handle("/debug/pprof/", profiles(in.api))
	mux.Handle("/bridge", e.bridges)
	if in.admin != nil {
		mux.Handle(admin.Path, in.admin)
	}
	if e.now.Metrics {
		mux.Handle("/metrics", noPages(e.metricsOf(in)))
	}
	return mux
}

// noPages is h for who is no page in a browser: one that DNS has sent to this address
// could read the answer. The address bar may ask.
func noPages(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if site := r.Header.Get("Sec-Fetch-Site"); len(r.Header["Origin"]) > 0 || site != "" && site != "none" {
			http.Error(w, "pages in browsers may not ask for this", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func apiSettings(l *config.Loaded) api.Settings {
	return api.Settings{Keys: l.APIKeys(), MaxBody: int(l.API.MaxBody), MaxRequests: l.API.MaxRequests, MaxStreams: l.API.MaxStreams, MaxRoomData: int(l.API.MaxRoomData)}
}

// apply has the API go by settings, and listens if it is to and does not yet. The error is
// placed, and nothing has changed then.
func (in *internal) apply(l *config.Loaded) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.listen != "" {
		if err := in.open(); err != nil && needed(l) {
			return l.Place(&config.Fault{Key: "internal.listen", Err: err})
		} else if err != nil {
			in.log.Warn("nothing listens for operators and backends: no health, no metrics (--internal-listen)", "address", in.listen, "error", err)
		}
	}
	in.api.Reload(apiSettings(l))
	return nil
}

// needed tells whether the internal listener must be had. That is so where it, or what is
// asked for on it, is set: an address that is nobody's choice may be another server's.
func needed(l *config.Loaded) bool {
	return l.Admin.Enabled || len(l.Bridges) > 0 || slices.ContainsFunc(l.SetKeys(), func(key string) bool { return key == "internal" || key == "internal.listen" || key == "api.keys" })
}

func (in *internal) open() error {
	ln, err := in.bind()
	if err != nil {
		return err
	}
	in.as = listen.As(in.listen)
	in.listen, in.addr, in.conns = "", ln.Addr(), internalBounds.listener(ln, in.log)
	in.say()
	// ends with stop, or with the process if it does not take over
	go func() {
		in.before.await()
		if err := in.web.Serve(in.conns); !errors.Is(err, http.ErrServerClosed) {
			in.log.Error("nobody listens for operators and backends any more", "error", err)
		}
	}()
	return nil
}

// bind returns what it listens on: the socket of the process before, or its own.
func (in *internal) bind() (net.Listener, error) {
	if f := in.before.internal(in.listen); f != nil {
		defer f.Close()
		return listen.InternalOf(f, in.listen)
	}
	return listen.Internal(in.listen, in.sockets)
}

// announce says where it listens, from now on: behind the listeners for clients, which
// whoever reads the log looks for first.
func (in *internal) announce() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.announced = true
	in.say()
}

func (in *internal) say() {
	if in.announced && in.addr != nil {
		in.log.Info("listening for operators and backends", "address", in.addr.String(), "network", in.addr.Network())
	}
}

// stop ends it: streams are told, and what is under way is waited for, as long as ctx
// lasts.
func (in *internal) stop(ctx context.Context) {
	in.api.Stop()
	if in.admin != nil {
		in.admin.Stop()
	}
	if err := in.web.Shutdown(ctx); err != nil {
		_ = in.web.Close()
	}
}

// reloadFor has the goroutine that waits for signals reload, for the API.
func (e *edge) reloadFor() (applied, restart []string, err error) {
	answer := make(chan reloaded, 1)
	select {
	case e.reloads <- answer:
		r := <-answer
		return r.Applied, r.Restart, r.err
	case <-e.stopping:
		return nil, nil, errors.New("the server stops")
	}
}

// A reloaded is what reading the settings again has brought.
type reloaded struct {
	config.Change
	err error
}
