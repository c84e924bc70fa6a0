package tlslink

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/histogram"
	"github.com/sioedge/sioedge/loop/notice"
)

// ErrNoServerName is what a callback of Options.Config returns, wrapped or not, for a
// name that there is no certificate for: it is counted as that.
var ErrNoServerName = errors.New("tlslink: no certificate for that name")

// Options are the settings of an Opener.
type Options struct {
	// Config returns what a connection is served with, and is called once for each, on
	// its goroutine; what it returned is not modified any more. Its callbacks must not
	// wait for anybody: they have one of the slots. DynamicRecordSizingDisabled should
	// be set, here and in what GetConfigForClient returns: several messages are then
	// one record. It may not be nil.
	Config func() *tls.Config

	// Handshakes is how many compute at a time. Zero: GOMAXPROCS.
	Handshakes int

	// Logger gets a line about what an operator can mend, rate limited. Nil:
	// slog.Default().
	Logger *slog.Logger
}

// An Opener runs the TLS handshakes of connections, whose Link is then a *Link. It is
// for all loops of an engine. See the package's comment.
type Opener struct {
	config func() *tls.Config
	slots  slots
	counts counts
	notes  *notice.Log

	mu    sync.Mutex
	times histogram.Histogram
}

var _ loop.Opener = (*Opener)(nil)

// New makes an Opener.
func New(o Options) *Opener {
	if o.Handshakes <= 0 {
		o.Handshakes = runtime.GOMAXPROCS(0)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Opener{config: o.Config, slots: slots{free: o.Handshakes}, notes: notice.New(o.Logger, 0)}
}

// Begin is loop.Opener's.
func (o *Opener) Begin(c loop.Conn) loop.Opening {
	return &shake{o: o, c: c}
}

// Stats returns what the Opener has counted. Any goroutine may call it.
func (o *Opener) Stats() Stats {
	s := o.counts.stats()
	s.Waiting = o.slots.waiting()
	o.mu.Lock()
	defer o.mu.Unlock()
	s.Times = o.times
	return s
}

// failed counts a handshake that has come to nothing.
func (o *Opener) failed(why Reason) { o.counts.failed[why].Add(1) }

// done counts a handshake.
func (o *Opener) done(s tls.ConnectionState, took time.Duration) {
	o.counts.done.Add(1)
	if s.DidResume {
		o.counts.resumed.Add(1)
	}
	if s.Version < tls.VersionTLS13 {
		o.counts.old.Add(1)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.times.Add(took.Microseconds())
}

// broken counts, and says, what was wrong with the TLS of a connection.
func (o *Opener) broken(err error) {
	why := reasonOf(err)
	if why == Garbage && strings.Contains(err.Error(), "handshake message") {
		why = Renegotiation
	}
	o.counts.broken[why].Add(1)
	if why != Truncated && why != Alert { // these are those of clients that leave
		o.notes.Warn("a client was closed for what is wrong with its TLS", "reason", why.String(), "error", err)
	}
}
