// Package metrics tells Prometheus what the server and the packages of the edge count.
//
// The hot paths count in plain numbers of each loop. A scrape asks the loops for them once,
// by [sio.Server.Stats], which returns within 100 ms whatever a loop does: of one that is
// stuck it has what that told last, and sioedge_loop_late_seconds says since when.
//
// The families of [Metrics] are made once and set in place for each scrape, since those of a
// registry cost several times as much: with a thousand declared namespaces that decides
// whether a scrape is seen in the latency of others. Scrapes are served one at a time.
//
// Label values are words of this program and names that the operator has written into the
// settings: nothing that a client sends is one, nor is a user, a token or a room.
package metrics

import (
	"compress/gzip"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/admin"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/adminui"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/api"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/declare"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/health"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/identity"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/limit"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/listen"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/presence"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/roster"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/webhook"
	"github.com/sioedge/sioedge/sio"
)

// prefix is that of all names but those of Go and of the process.
const prefix = "sioedge_"

// Sources are what there is to tell of. What is nil is left out.
type Sources struct {
	Server    *sio.Server
	Cluster   bool // the server has an adapter
	API       *api.API
	Authority *identity.Authority
	Limiter   *limit.Limiter
	Presence  *presence.Presence
	Router    *declare.Router
	Roster    *roster.Roster
	Health    *health.Health
	Preface   *listen.Preface
	TLS       *listen.TLS
	AdminUI   *adminui.UI
	Admin     *admin.Admin
	Backends  func() map[string]*webhook.Backend // by their names
	// Bridges are likewise, with those that were not to be dialled.
	Bridges func() (map[string]*bridge.Bridge, Dials)
	// Upgrades returns how often another process took over, how often nothing came of that,
	// and for how long nobody was served the last time. Nil: none can.
	Upgrades func() (done, failed int64, pause time.Duration)

	Version string
	Logger  *slog.Logger // nil discards
}

// Metrics are what is told to Prometheus. It is a prometheus.TransactionalGatherer. Any
// goroutine may use it.
type Metrics struct {
	// Immutable.
	from    Sources
	runtime *prometheus.Registry // go_ and process_
	web     http.Handler
	slots   chan struct{} // of scrapes

	reloads [2]atomic.Int64 // those that failed, and that did not
	scrapes [outcomes]atomic.Int64

	mu        sync.Mutex // held from Gather to its done
	catalogue catalogue
	seen      seen
	serial    uint64 // of the scrape
	took      time.Duration
	still     bool // mu is held, for a handover: owned by who calls parts
}

// New returns the metrics of an edge.
func New(from Sources) *Metrics {
	if from.Upgrades == nil {
		from.Upgrades = func() (done, failed int64, pause time.Duration) { return 0, 0, 0 }
	}
	if from.Logger == nil {
		from.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Metrics{from: from, runtime: prometheus.NewRegistry(), slots: make(chan struct{}, maxScrapes)}
	m.runtime.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if all, _ := m.runtime.Gather(); all != nil {
		m.seen.Process.read(all)
		m.seen.Process.Base = m.seen.Process.RSS
	}
	c := &m.catalogue
	c.seen = &m.seen
	for _, add := range []func(*catalogue){clients, endings, traffic, loops, messages, roomsAndBroadcasts, recovery, cluster, tlsOf, auth, limits, rules, presenceOf, webhooks, bridges, apiOf, adminOf} {
		add(c)
	}
	processOf(c, m)
	m.web = m.handler()
	return m
}

// handler returns what answers a scrape whose turn may come. It is compressed by less
// than promhttp would: that is half of the work of a scrape then.
func (m *Metrics) handler() http.Handler {
	compressed, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed), gzhttp.MinSize(1024))
	if err != nil {
		panic("metrics: " + err.Error())
	}
	h := promhttp.HandlerForTransactional(m, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes, EnableOpenMetrics: true, DisableCompression: true, ErrorHandling: promhttp.ContinueOnError,
		ErrorLog: slog.NewLogLogger(m.from.Logger.Handler(), slog.LevelWarn),
	})
	return http.TimeoutHandler(compressed(h), scrapeTimeout, "too late\n")
}

// Gather returns all families, in the order of their names. They are the caller's until
// it calls done; until then others wait. The error is of what could not be had of the
// process: the rest is there.
func (m *Metrics) Gather() (all []*dto.MetricFamily, done func(), err error) {
	m.mu.Lock()
	began := time.Now()
	all, err = m.runtime.Gather()
	m.seen.Process.read(all)
	all = append(all, m.gather()...)
	slices.SortFunc(all, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return all, sync.OnceFunc(func() {
		m.took = time.Since(began)
		m.mu.Unlock()
	}), err
}

// gather returns the families that are not of Go and of the process. mu is held.
func (m *Metrics) gather() []*dto.MetricFamily {
	m.serial++
	m.catalogue.begin(m.serial)
	m.look()
	return m.catalogue.end()
}

// Reloaded counts a reload of the settings, by whether it was one. A nil Metrics counts
// nothing.
func (m *Metrics) Reloaded(err error) {
	switch {
	case m == nil:
	case err != nil:
		m.reloads[0].Add(1)
	default:
		m.reloads[1].Add(1)
	}
}

// Bounds of scrapes.
const (
	// maxScrapes is how many there are at a time: one is made, others wait for it, or are
	// being written to who takes them slowly.
	maxScrapes    = 4
	scrapeTimeout = 10 * time.Second // of one, its turn awaited
	writeTimeout  = 10 * time.Second // of writing it
)

// What becomes of scrapes.
const (
	served = iota
	busy
	outcomes
)

// ServeHTTP answers a scrape: in OpenMetrics or Prometheus' text, compressed or not, as it
// is asked for. It is refused with 503 while there are too many.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "metrics are there to be read", http.StatusMethodNotAllowed)
		return
	}
	select {
	case m.slots <- struct{}{}:
		defer func() { <-m.slots }()
	default:
		m.scrapes[busy].Add(1)
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many scrapes at a time", http.StatusServiceUnavailable)
		return
	}
	m.scrapes[served].Add(1)
	// What has no deadlines waits for nobody.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(scrapeTimeout + writeTimeout))
	w.Header().Set("Cache-Control", "no-store")
	m.web.ServeHTTP(w, r)
}
