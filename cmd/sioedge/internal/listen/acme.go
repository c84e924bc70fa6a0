package listen

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

// authority has certificates issued (RFC 8555), and proves by a handshake of its own
// that names are this server's (RFC 8737). Handshakes of clients get what is there, and
// wait for nobody.
type authority struct {
	domains []string
	manager *autocert.Manager
	proof   *tls.Config // for the authority
	log     *slog.Logger

	issued, refused atomic.Int64

	// Guarded by mu.
	mu    sync.RWMutex
	certs map[string]*tls.Certificate // by name
}

const (
	acmeTimeout = 30 * time.Second // of one request to the authority
	acmeRetry   = 70 * time.Second // autocert does not ask again for a minute
	acmeMost    = time.Hour        // between two tries
	acmeLook    = time.Minute      // how often it is seen whether a certificate was renewed
)

// newAuthority makes an authority of settings. The error is a fault.
func newAuthority(s config.ACME, log *slog.Logger) (*authority, error) {
	client := &acme.Client{DirectoryURL: cmp.Or(s.Directory, autocert.DefaultACMEDirectory), UserAgent: "sioedge"}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if s.CA != "" {
		b, err := config.PEM(s.CA)
		pool := x509.NewCertPool()
		if err == nil && !pool.AppendCertsFromPEM(b) {
			err = errors.New("has no certificate in PEM")
		}
		if err != nil {
			return nil, fault("tls.acme.ca", "%s: %w", shown(s.CA), err)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	client.HTTPClient = &http.Client{Transport: transport, Timeout: acmeTimeout}
	a := &authority{log: log, certs: map[string]*tls.Certificate{}}
	for _, d := range s.Domains {
		if net.ParseIP(d) != nil || strings.ContainsAny(d, "*/: ") || !strings.Contains(d, ".") {
			return nil, fault("tls.acme.domains", "%q is not a name that tls-alpn-01 can be for: no wildcard, no address", d)
		}
		a.domains = append(a.domains, strings.ToLower(strings.TrimSuffix(d, ".")))
	}
	a.manager = &autocert.Manager{Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(s.Cache), HostPolicy: autocert.HostWhitelist(a.domains...), Email: s.Email, Client: client}
	a.proof = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: protocols, GetCertificate: a.manager.GetCertificate, SessionTicketsDisabled: true}
	return a, nil
}

// certificate is tls.Config.GetCertificate: nil leaves it to the certificates of files.
func (a *authority) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if hello.ServerName == "" {
		return a.certs[a.domains[0]], nil
	}
	return a.certs[strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))], nil
}

// all returns the certificates that there are.
func (a *authority) all() (all []*tls.Certificate) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, d := range a.domains {
		if c := a.certs[d]; c != nil {
			all = append(all, c)
		}
	}
	return all
}

// run gets certificates, and sees that they are renewed, until ctx is done.
func (a *authority) run(ctx context.Context) {
	var all sync.WaitGroup
	for _, d := range a.domains {
		all.Add(1)
		// ends with ctx
		go func() { defer all.Done(); a.keep(ctx, d) }()
	}
	all.Wait()
}

// keep has a certificate for a name.
func (a *authority) keep(ctx context.Context, domain string) {
	// What autocert goes by to know that a key of ECDSA will do.
	hello := &tls.ClientHelloInfo{ServerName: domain, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}
	wait := acmeRetry
	for {
		next := acmeLook
		if c, err := a.get(ctx, hello); err == nil {
			a.store(domain, c)
			wait = acmeRetry
		} else if ctx.Err() == nil {
			a.refused.Add(1)
			a.log.Error("no certificate was issued", "name", domain, "error", err, "next", wait.String())
			next, wait = wait, min(2*wait, acmeMost)
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// get asks for a certificate, which is in memory, in the cache, or the authority's to
// give. It returns when ctx is done, and leaves autocert to its own time-outs then.
func (a *authority) get(ctx context.Context, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	type result struct {
		cert *tls.Certificate
		err  error
	}
	done := make(chan result, 1)
	// ends by autocert's time-outs
	go func() {
		c, err := a.manager.GetCertificate(hello)
		done <- result{c, err}
	}()
	select {
	case r := <-done:
		return r.cert, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (a *authority) store(domain string, c *tls.Certificate) {
	if c.Leaf == nil {
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			return
		}
		c.Leaf = leaf
	}
	a.mu.Lock()
	was := a.certs[domain]
	a.certs[domain] = c
	a.mu.Unlock()
	if was == nil || !was.Leaf.Equal(c.Leaf) {
		a.issued.Add(1)
		a.log.Info("there is a certificate of the authority", "name", domain, "end", c.Leaf.NotAfter.Format(time.RFC3339))
	}
}
