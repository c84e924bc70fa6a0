package listen

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/notice"
	"github.com/sioedge/sioedge/loop/tlslink"
)

// TLS is what addresses with TLS are served with: certificates of files, which are looked
// at again as they change, and of an authority. What it serves with is replaced at once
// and for new connections alone. Keys of session tickets are kept over that, and change
// by themselves each day, so that sessions are resumed on whichever loop.
type TLS struct {
	opener *tlslink.Opener
	base   *tls.Config // asks now of each connection, and has the keys of tickets
	acme   *authority  // nil: no certificate is asked for
	log    *slog.Logger
	notes  *notice.Log

	now atomic.Pointer[served]

	reloads, failures atomic.Int64

	// Guarded by mu.
	mu     sync.Mutex
	warned map[string]time.Time // when the log said of a certificate that it ends soon
}

// served is what new connections are served with.
type served struct {
	settings config.TLS
	config   *tls.Config
	files    []fileState
	tried    []fileState // those of which it is known that they are no good; nil: none
}

// ends is how long before its end the log says so of a certificate.
const ends = 14 * 24 * time.Hour

// NewTLS makes a TLS of settings; handshakes is how many compute at a time. The error
// joins a config.Fault for each setting that is wrong.
func NewTLS(s config.TLS, handshakes int, log *slog.Logger) (*TLS, error) {
	t := &TLS{log: log, notes: notice.New(log, 0), warned: map[string]time.Time{}}
	t.base = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: t.choose}
	t.opener = tlslink.New(tlslink.Options{Config: func() *tls.Config { return t.base }, Handshakes: handshakes, Logger: log})
	var err error
	if len(s.ACME.Domains) > 0 {
		if t.acme, err = newAuthority(s.ACME, log); err != nil {
			return nil, err
		}
	}
	v, err := t.load(s)
	if err != nil {
		return nil, err
	}
	t.now.Store(v)
	t.look(time.Now())
	return t, nil
}

// Opener returns what connections go through.
func (t *TLS) Opener() loop.Opener { return t.opener }

// choose returns what a client is served with.
func (t *TLS) choose(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if t.acme != nil && len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acme.ALPNProto {
		return t.acme.proof, nil // the authority has no certificate of a client's
	}
	return t.now.Load().config, nil
}

// load makes what is served of settings. The error joins faults.
func (t *TLS) load(s config.TLS) (*served, error) {
	v := &served{settings: s, files: look(s)}
	c, err := configOf(s)
	if err != nil {
		return nil, err
	}
	if t.acme != nil {
		c.GetCertificate = t.acme.certificate
	}
	v.config = c
	return v, nil
}

// Reload makes new settings, or what their files have become, ready to be served with.
// The error joins faults: what there is stays. Those of ACME need a restart.
func (t *TLS) Reload(s config.TLS) (apply func(), err error) {
	v, err := t.load(s)
	if err != nil {
		t.failures.Add(1)
		return nil, err
	}
	return func() {
		t.now.Store(v)
		t.reloads.Add(1)
		t.look(time.Now())
	}, nil
}

// Run looks at files, and gets certificates of an authority, until ctx is done.
func (t *TLS) Run(ctx context.Context) {
	if t.acme != nil {
		done := make(chan struct{})
		defer func() { <-done }()
		// ends with ctx
		go func() { defer close(done); t.acme.run(ctx) }()
	}
	for {
		timer := time.NewTimer(t.now.Load().settings.Reload)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		t.poll()
	}
}

// poll reads the files again if they have changed.
func (t *TLS) poll() {
	v := t.now.Load()
	files := look(v.settings)
	switch {
	case slices.Equal(files, v.files), v.tried != nil && slices.Equal(files, v.tried):
	default:
		next, err := t.load(v.settings)
		if err != nil {
			t.failures.Add(1)
			t.log.Error("certificates have changed and are not good: those from before are served", "error", err)
			same := *v
			same.tried = files
			t.now.CompareAndSwap(v, &same)
			break
		}
		if t.now.CompareAndSwap(v, next) { // nobody has reloaded meanwhile
			t.reloads.Add(1)
			t.log.Info("certificates have changed: new connections get them", "names", names(next.config))
		}
	}
	t.look(time.Now())
}

// look says of certificates that they end soon, each day.
func (t *TLS) look(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.certificates() {
		if now.Add(ends).Before(c.NotAfter) || now.Sub(t.warned[c.id]) < 24*time.Hour {
			continue
		}
		if len(t.warned) > 1000 {
			clear(t.warned)
		}
		t.warned[c.id] = now
		what := "a certificate ends soon"
		if now.After(c.NotAfter) {
			what = "a certificate has ended: clients refuse it"
		}
		t.log.Warn(what, "names", c.Names, "end", c.NotAfter.Format(time.RFC3339))
	}
}

// A Certificate is one that is served.
type Certificate struct {
	Names    []string
	NotAfter time.Time
	ACME     bool // of an authority that was asked for it

	id string
}

// TLSStats are counts since the start, and what is served now.
type TLSStats struct {
	Link         tlslink.Stats
	Certificates []Certificate
	NotAfter     time.Time // the first end of any of them; zero: there is none
	Reloads      int64     // times that new certificates or settings were taken
	Failures     int64     // times that they were not, because of what was wrong with them
	Issued       int64     // certificates that an authority has given, those of its cache among them
	Refused      int64     // times that it has not
}

// Stats returns what is known. Any goroutine may call it; nil has counted nothing.
func (t *TLS) Stats() (s TLSStats) {
	if t == nil {
		return s
	}
	s.Link, s.Certificates, s.Reloads, s.Failures = t.opener.Stats(), t.certificates(), t.reloads.Load(), t.failures.Load()
	if t.acme != nil {
		s.Issued, s.Refused = t.acme.issued.Load(), t.acme.refused.Load()
	}
	for _, c := range s.Certificates {
		if s.NotAfter.IsZero() || c.NotAfter.Before(s.NotAfter) {
			s.NotAfter = c.NotAfter
		}
	}
	return s
}

// certificates returns those that are served now.
func (t *TLS) certificates() (all []Certificate) {
	add := func(c *tls.Certificate, acme bool) {
		l := c.Leaf
		all = append(all, Certificate{Names: namesOf(c), NotAfter: l.NotAfter, ACME: acme, id: l.SerialNumber.String() + cmp.Or(l.Subject.CommonName, l.Issuer.CommonName)})
	}
	if v := t.now.Load(); v != nil {
		for i := range v.config.Certificates {
			add(&v.config.Certificates[i], false)
		}
	}
	if t.acme != nil {
		for _, c := range t.acme.all() {
			add(c, true)
		}
	}
	return all
}
