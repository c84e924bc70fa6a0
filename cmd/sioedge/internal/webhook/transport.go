package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

const typePlaceholder = "{type}"

// A wire is how requests reach a backend, made of its settings. Immutable.
type wire struct {
	round   http.RoundTripper
	direct  *straight // nil: all goes by round
	target  *url.URL
	targets map[string]*url.URL // by the kind of all that is in a request; nil: the path has no {type}
	signer  *signer
	timeout time.Duration
	most    int64 // bytes of an answer
	close   func()
}

// newWire returns the wire of a backend. The error is a *config.Fault, by the key
// of the setting.
func newWire(b *config.Backend) (*wire, error) {
	w := &wire{timeout: b.Timeout, most: int64(b.MaxAnswer)}
	socket, err := w.aim(b.URL)
	if err != nil {
		return nil, &config.Fault{Key: "url", Err: err}
	}
	if w.signer, err = newSigner(b.Secret, b.SecretPrevious); err != nil {
		return nil, err
	}
	keys, err := newTLS(b)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: b.Timeout, KeepAlive: 15 * time.Second}
	t := newTransport(b, keys, socket, dialer)
	w.round, w.close = t, t.CloseIdleConnections
	if w.direct = newStraight(w.target, socket, dialer, b.Concurrency); w.direct != nil {
		w.close = func() { w.direct.close(); t.CloseIdleConnections() }
	}
	return w, nil
}

// aim takes an URL apart. The path of a socket, if it is one, is returned.
func (w *wire) aim(text string) (socket string, err error) {
	if rest, ok := strings.CutPrefix(text, "unix:"); ok {
		path := ""
		socket, path, _ = strings.Cut(rest, ":")
		text = "http://localhost/" + strings.TrimPrefix(path, "/")
	}
	if w.target, err = url.Parse(text); err != nil {
		return "", errors.New("is not an URL")
	}
	if strings.Contains(text, typePlaceholder) {
		w.targets = map[string]*url.URL{}
		for _, kind := range append([]string{kindLost}, config.Hooks...) {
			if w.targets[kind], err = url.Parse(strings.ReplaceAll(text, typePlaceholder, kind)); err != nil {
				return "", errors.New("is not an URL")
			}
		}
	}
	return socket, nil
}

// connBuffer is what a connection has of either buffer, in bytes: most requests leave in
// one piece, and most answers come in one.
const connBuffer = 16 << 10

// newTransport returns what makes the connections to a backend: by no proxy, with no
// answer unpacked, and as many kept as there are requests at one time. That redirects
// are not followed is up to who asks it, who is not an http.Client.
func newTransport(b *config.Backend, keys *tls.Config, socket string, dialer *net.Dialer) *http.Transport {
	t := &http.Transport{
		Proxy:                  nil,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        keys,
		TLSHandshakeTimeout:    b.Timeout,
		DisableCompression:     true,
		MaxIdleConns:           b.Concurrency,
		MaxIdleConnsPerHost:    b.Concurrency,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		WriteBufferSize:        connBuffer,
		ReadBufferSize:         connBuffer,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
	}
	if socket != "" {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
	}
	return t
}

// newTLS returns what is believed of a backend, and what it is shown.
func newTLS(b *config.Backend) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if b.CA != "" {
		pem, err := pemOf(b.CA)
		if err != nil {
			return nil, &config.Fault{Key: "ca", Err: err}
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &config.Fault{Key: "ca", Err: errors.New("has no certificate in PEM")}
		}
	}
	if b.Cert == "" {
		return c, nil
	}
	cert, err := pemOf(b.Cert)
	if err != nil {
		return nil, &config.Fault{Key: "cert", Err: err}
	}
	key, err := pemOf(b.Key)
	if err != nil {
		return nil, &config.Fault{Key: "key", Err: err}
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, &config.Fault{Key: "cert", Err: errors.New("is with key no pair in PEM")}
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

// pemOf returns PEM, or what is in the file of that path.
func pemOf(text string) ([]byte, error) {
	b, err := config.PEM(text)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	return b, nil
}

// A parcel is what is sent in one request.
type parcel struct {
	id    string // webhook-id
	kind  string // of all its items, for {type}
	mime  string
	body  []byte
	trace string // traceparent; "": none
}

// appendHead appends the head of its request (RFC 9112, 2), without a Content-Length.
func (p *parcel) appendHead(dst []byte, target *url.URL, timestamp, signature string) []byte {
	for _, text := range [...]string{"POST ", target.RequestURI(), " HTTP/1.1\r\nHost: ", target.Host, "\r\nUser-Agent: sioedge\r\nContent-Type: ", p.mime, "\r\nWebhook-Id: ", p.id, "\r\nWebhook-Timestamp: ", timestamp} {
		dst = append(dst, text...)
	}
	if signature != "" {
		dst = append(append(dst, "\r\nWebhook-Signature: "...), signature...)
	}
	if p.trace != "" && !strings.ContainsFunc(p.trace, unicode.IsControl) {
		dst = append(append(dst, "\r\nTraceparent: "...), p.trace...)
	}
	return append(dst, "\r\n"...)
}

// post sends a parcel and reads the answer, within d at most.
func (w *wire) post(ctx context.Context, p *parcel, d time.Duration) answer {
	target := w.target
	if w.targets != nil {
		target = w.targets[p.kind]
	}
	now := time.Now()
	timestamp, signature := w.signer.sign(p.id, now, p.body)
	if d = min(d, w.timeout); w.direct != nil && len(p.body) <= straightMost {
		resp, err := w.direct.ask(ctx, func(dst []byte) []byte { return p.appendHead(dst, target, timestamp, signature) }, p.body, now.Add(d))
		if err != nil {
			return failure(err)
		}
		defer resp.Body.Close()
		return read(resp, w.most)
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	req := &http.Request{
		Method: http.MethodPost, URL: target, Host: target.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Content-Type":      {p.mime},
			"User-Agent":        {"sioedge"},
			"Webhook-Id":        {p.id},
			"Webhook-Timestamp": {timestamp},
			// It tells net/http that the request may be sent again if a connection that was
			// kept turns out to be closed, which ids allow. An empty one is not sent.
			"Idempotency-Key": {},
		},
		ContentLength: int64(len(p.body)),
		Body:          io.NopCloser(bytes.NewReader(p.body)),
		GetBody:       func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(p.body)), nil },
	}
	if signature != "" {
		req.Header["Webhook-Signature"] = []string{signature}
	}
	if p.trace != "" {
		req.Header["Traceparent"] = []string{p.trace}
	}
	resp, err := w.round.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return failure(err)
	}
	defer resp.Body.Close()
	return read(resp, w.most)
}
