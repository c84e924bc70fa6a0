package webhook

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

// post makes one request of settings.
func post(t *testing.T, own config.Backend) answer {
	t.Helper()
	w, err := newWire(&own)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	return w.post(context.Background(), &parcel{id: "01J", kind: "event", mime: "application/json", body: []byte(`{"events":[]}`)}, time.Hour)
}

// Whatever a server of net/http or a bare one answers is one of the outcomes, with nothing
// of it in the words for the log.
func TestAnswersOfMisbehavingServers(t *testing.T) {
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer inside.Close()
	const word = "s3cr3t-of-the-backend"
	for name, x := range map[string]struct {
		want   Outcome
		status int
		answer http.HandlerFunc
	}{
		"204":     {Answered, 204, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }},
		"no body": {Answered, 200, func(w http.ResponseWriter, r *http.Request) { w.Header()["Content-Type"] = nil }},
		"json": {Answered, 200, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			io.WriteString(w, `{}`)
		}},
		"redirect": {Redirected, 307, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, inside.URL+"/"+word, http.StatusTemporaryRedirect)
		}},
		"moved": {Redirected, 301, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, inside.URL, http.StatusMovedPermanently)
		}},
		"html": {Foreign, 200, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>"+word) }},
		"no type": {Foreign, 200, func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = nil
			io.WriteString(w, word)
		}},
		"a type too many": {Foreign, 200, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "json/"+word)
			io.WriteString(w, word)
		}},
		"gzip": {Foreign, 200, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			z.Write(make([]byte, 10<<20)) // 10 KiB on the wire
			z.Close()
		}},
		"10 MB": {Garbled, 200, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for range 10 {
				w.Write(bytes.Repeat([]byte("x"), 1<<20))
			}
		}},
		"10 MB, announced": {Garbled, 200, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(10<<20))
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(200)
		}},
		"a reset": {Broken, 0, func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }},
		"a reset in the body": {Broken, 0, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, `{"results":[`)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}},
		"slow": {TimedOut, 0, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-r.Context().Done() }},
		"slow in the body": {TimedOut, 0, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.(http.Flusher).Flush()
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}},
		"400": {Refused, 400, func(w http.ResponseWriter, r *http.Request) { http.Error(w, word, 400) }},
		"401": {Denied, 401, func(w http.ResponseWriter, r *http.Request) { http.Error(w, word, http.StatusUnauthorized) }},
		"404": {Denied, 404, http.NotFound},
		"410": {Gone, 410, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(410) }},
		"429": {Busy, 429, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(429) }},
		"500": {Failed, 500, func(w http.ResponseWriter, r *http.Request) { http.Error(w, strings.Repeat(word, 1000), 500) }},
		"503": {Busy, 503, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) }},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewUnstartedServer(x.answer)
			srv.Config.ErrorLog = nil
			srv.Start()
			defer srv.Close()
			own := settings()
			own.URL, own.Timeout = srv.URL, 5*time.Second
			if x.want == TimedOut {
				own.Timeout = 100 * time.Millisecond
			}
			a := post(t, own)
			if a.outcome != x.want || a.status != x.status && x.status != 0 {
				t.Errorf("the answer is %v with status %d, want %v with %d", a.outcome, a.status, x.want, x.status)
			}
			if a.outcome != Answered && a.body != nil {
				t.Error("an answer that is none has a body")
			}
			if strings.Contains(a.why, word) {
				t.Errorf("the log would have what the backend says: %s", a.why)
			}
		})
	}
}

// What is not HTTP, and nobody at all, is an outcome too.
func TestServersThatAreNone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("SSH-2.0-s3cr3t\r\n"))
			c.Close()
		}
	}()
	own := settings()
	own.URL = "http://" + l.Addr().String()
	if a := post(t, own); a.outcome != Broken || strings.Contains(a.why, "s3cr3t") {
		t.Errorf("garbage is %v: %s", a.outcome, a.why)
	}
	l.Close()
	if a := post(t, own); a.outcome != Unreachable {
		t.Errorf("nobody is %v: %s", a.outcome, a.why)
	}
}

// The proxy of the environment is not used.
func TestNoProxyOfTheEnvironment(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the proxy was asked") }))
	defer proxy.Close()
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	own := settings()
	own.URL = "http://backend.invalid/"
	if a := post(t, own); a.outcome != Unreachable {
		t.Errorf("the answer is %v", a.outcome)
	}
}

// A Unix socket is reached, at a path of the URL if one is given.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var at atomic.Value
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { at.Store(r.Host + r.URL.String()); w.WriteHeader(204) })}
	go srv.Serve(l)
	defer srv.Close()
	for url, want := range map[string]string{"unix:" + path: "localhost/", "unix:" + path + ":/hook/{type}?x=1": "localhost/hook/event?x=1"} {
		own := settings()
		own.URL = url
		if a := post(t, own); a.outcome != Answered || at.Load() != want {
			t.Errorf("%s: %v at %v", url, a.outcome, at.Load())
		}
	}
}

// authority makes certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	a.pem, _, a.key = a.issue(t, a.cert)
	return a
}

// issue returns a certificate and its key in PEM.
func (a *authority) issue(t *testing.T, c *x509.Certificate) (cert, key string, k *ecdsa.PrivateKey) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	by := a.key
	if by == nil {
		by = k
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &k.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})), k
}

// Over TLS it is HTTP/2, with a certificate of the client, by an authority of the
// settings; a server of another is not believed, and files are read again by a reload.
func TestTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	cert, key, _ := ca.issue(t, &x509.Certificate{SerialNumber: big.NewInt(2), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour)})
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	var seen atomic.Value
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Proto + " " + r.TLS.PeerCertificates[0].Subject.CommonName)
		w.WriteHeader(204)
	}))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ca.pem))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = nil
	srv.StartTLS()
	defer srv.Close()
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	client := &x509.Certificate{SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "edge"}, NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	mine, mykey, _ := ca.issue(t, client)
	theirs, theirkey, _ := other.issue(t, client)
	own := settings()
	own.URL, own.CA, own.Cert, own.Key = srv.URL, file("ca.pem", ca.pem), mine, mykey
	if a := post(t, own); a.outcome != Answered || seen.Load() != "HTTP/2.0 edge" {
		t.Errorf("the answer is %v (%s) to %v", a.outcome, a.why, seen.Load())
	}
	for name, change := range map[string]func(own *config.Backend){
		"another authority":   func(own *config.Backend) { own.CA = other.pem },
		"that of the system":  func(own *config.Backend) { own.CA = "" },
		"another certificate": func(own *config.Backend) { own.Cert, own.Key = theirs, theirkey },
		"no certificate":      func(own *config.Backend) { own.Cert, own.Key = "", "" },
	} {
		x := own
		change(&x)
		if a := post(t, x); a.outcome != Unreachable && a.outcome != Broken { // TLS 1.3 tells it late
			t.Errorf("%s: the answer is %v", name, a.outcome)
		}
	}
	for want, change := range map[string]func(own *config.Backend){
		"ca: cannot be read":        func(own *config.Backend) { own.CA = "/nowhere.pem" },
		"ca: has no certificate":    func(own *config.Backend) { own.CA = file("x", "text") },
		"cert: cannot be read":      func(own *config.Backend) { own.Cert = "/nowhere.pem" },
		"cert: is with key no pair": func(own *config.Backend) { own.Key = theirkey },
	} {
		x := own
		if change(&x); true {
			if _, err := newWire(&x); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("newWire = %v, want %s", err, want)
			}
		}
	}
}

// A connection is used again, also behind answers that nobody reads; one that the server
// has closed meanwhile costs nothing but another.
func TestConnectionsAreKept(t *testing.T) {
	var conns atomic.Int64
	status := 204
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		if status != 204 {
			w.Write(bytes.Repeat([]byte("x"), 5000))
		}
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	own := settings()
	own.URL = srv.URL
	w, err := newWire(&own)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	for _, status = range []int{204, 500, 404, 204} {
		w.post(context.Background(), &parcel{mime: "application/json", body: []byte("{}")}, time.Hour)
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("four requests took %d connections", n)
	}
	for range 20 {
		srv.CloseClientConnections()
		if a := w.post(context.Background(), &parcel{mime: "application/json", body: []byte("{}")}, time.Hour); a.outcome != Answered {
			t.Fatalf("a request on a connection that was closed is %v: %s", a.outcome, a.why)
		}
	}
}
