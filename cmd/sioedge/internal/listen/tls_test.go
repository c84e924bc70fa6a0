package listen

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/loop"
)

// signer signs certificates.
type signer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newSigner(t testing.TB) *signer {
	t.Helper()
	s := &signer{}
	s.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	of := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, of, of, &s.key.PublicKey, s.key)
	if err != nil {
		t.Fatal(err)
	}
	s.cert, _ = x509.ParseCertificate(der)
	s.pem = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return s
}

// sign returns a certificate for names and its key, in PEM.
func (s *signer) sign(t testing.TB, end time.Time, names ...string) (cert, key string) {
	t.Helper()
	k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<60))
	of := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: names[0]}, DNSNames: names, NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: end,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, of, s.cert, &k.PublicKey, s.key)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := x509.MarshalPKCS8PrivateKey(k)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b}))
}

func (s *signer) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(s.cert)
	return p
}

// settingsOf returns settings with pairs of PEM.
func settingsOf(pairs ...string) (s config.TLS) {
	s.MinVersion, s.ClientAuth, s.Reload = "1.2", "require", time.Hour
	for i := 0; i < len(pairs); i += 2 {
		s.Cert, s.Key = append(s.Cert, pairs[i]), append(s.Key, pairs[i+1])
	}
	return s
}

var later = time.Now().AddDate(0, 6, 0)

// echoes is a Handler.
type echoes struct{}

func (echoes) Open(loop.Conn)                     {}
func (echoes) Data(c loop.Conn, b []byte) (n int) { c.Write(b); return len(b) }
func (echoes) Drained(loop.Conn)                  {}
func (echoes) Close(loop.Conn, error)             {}

// serveTLS serves echoes behind t.
func serveTLS(t testing.TB, s *TLS) string {
	t.Helper()
	return serveOpener(t, s.Opener())
}

// serveOpener serves echoes behind o.
func serveOpener(t testing.TB, o loop.Opener) string {
	t.Helper()
	e, err := loop.New(echoes{}, loop.Options{Loops: 2, OpeningTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	a, err := e.ListenWith("127.0.0.1:0", loop.ListenOptions{Opener: o})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	// ends with the engine
	go func() { ended <- e.Run(context.Background()) }()
	t.Cleanup(func() {
		cut, cancel := context.WithCancel(context.Background())
		cancel()
		_ = e.Shutdown(cut)
		<-ended
	})
	return a.String()
}

// ask says something over a new connection, and returns its state.
func ask(t testing.TB, addr string, c *tls.Config) (*tls.Conn, tls.ConnectionState, error) {
	t.Helper()
	d := &net.Dialer{Timeout: time.Minute}
	conn, err := tls.DialWithDialer(d, "tcp", addr, c)
	if err != nil {
		return nil, tls.ConnectionState{}, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, conn.ConnectionState(), say(conn)
}

func say(c *tls.Conn) error {
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 5))
	return err
}

func newTLS(t testing.TB, s config.TLS, log *slog.Logger) *TLS {
	t.Helper()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	v, err := NewTLS(s, 4, log)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The certificate is that of the name that is asked for, and the first for all others.
func TestNames(t *testing.T) {
	ca := newSigner(t)
	a, ak := ca.sign(t, later, "a.example", "*.a.example")
	b, bk := ca.sign(t, later, "b.example")
	addr := serveTLS(t, newTLS(t, settingsOf(a, ak, b, bk), nil))
	for asked, want := range map[string]string{
		"a.example": "a.example", "x.a.example": "a.example", "x.y.a.example": "a.example", "B.example": "b.example", "c.example": "a.example", "": "a.example",
	} {
		_, s, err := ask(t, addr, &tls.Config{ServerName: asked, InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
		if err != nil || s.PeerCertificates[0].Subject.CommonName != want || s.NegotiatedProtocol != "http/1.1" {
			t.Errorf("asked for %q: %v, %v", asked, s.PeerCertificates, err)
		}
	}
}

// Files change: new connections get what is in them, those that are there notice
// nothing, sessions are resumed; what is no good changes nothing and is counted.
func TestFilesThatChange(t *testing.T) {
	ca, dir := newSigner(t), t.TempDir()
	certFile, keyFile := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	write := func(cert, key string) {
		for file, text := range map[string]string{certFile: cert, keyFile: key} {
			next := file + ".next"
			if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(next, file); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(ca.sign(t, later, "one.example"))
	var log bytes.Buffer
	v := newTLS(t, settingsOf(certFile, keyFile), slog.New(slog.NewTextHandler(&log, nil)))
	addr := serveTLS(t, v)
	client := &tls.Config{ServerName: "x", InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	first, s, err := ask(t, addr, client)
	if err != nil || s.PeerCertificates[0].Subject.CommonName != "one.example" {
		t.Fatal(s.PeerCertificates, err)
	}
	v.poll()
	if v.Stats().Reloads != 0 {
		t.Error("files that are as they were were taken again")
	}
	write("garbage", "garbage")
	v.poll()
	v.poll()
	if st := v.Stats(); st.Reloads != 0 || st.Failures != 1 || !strings.Contains(log.String(), certFile) {
		t.Errorf("Stats() = %+v, log %s", st, &log)
	}
	cert, _ := ca.sign(t, later, "other.example")
	_, key := ca.sign(t, later, "other.example")
	write(cert, key) // not its key
	v.poll()
	if st := v.Stats(); st.Reloads != 0 || st.Failures != 2 {
		t.Errorf("Stats() = %+v", st)
	}
	write(ca.sign(t, later, "two.example"))
	v.poll()
	if st := v.Stats(); st.Reloads != 1 || st.Failures != 2 || st.Certificates[0].Names[0] != "two.example" || st.NotAfter.IsZero() {
		t.Errorf("Stats() = %+v", st)
	}
	if err := say(first); err != nil {
		t.Errorf("a connection from before: %v", err)
	}
	if _, s, err := ask(t, addr, client); err != nil || !s.DidResume {
		t.Errorf("a session from before was not resumed: %v", err)
	}
	client.ClientSessionCache = nil
	if _, s, err := ask(t, addr, client); err != nil || s.PeerCertificates[0].Subject.CommonName != "two.example" {
		t.Errorf("a new connection got %v, %v", s.PeerCertificates, err)
	}
	// And settings.
	next := settingsOf(ca.sign(t, later, "three.example"))
	next.MinVersion = "1.3"
	apply, err := v.Reload(next)
	if err != nil {
		t.Fatal(err)
	}
	apply()
	if _, _, err := ask(t, addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("TLS 1.2 is spoken still")
	}
	if _, err := v.Reload(settingsOf("no such file", "")); err == nil {
		t.Error("settings with a file that there is not were taken")
	}
}

// Certificates of clients are asked for, and must be those of the authority.
func TestClientCertificates(t *testing.T) {
	ca, other := newSigner(t), newSigner(t)
	s := settingsOf(ca.sign(t, later, "a.example"))
	s.ClientCA = ca.pem
	pair := func(ca *signer, end time.Time) []tls.Certificate {
		cert, key := ca.sign(t, end, "alice")
		p, err := tls.X509KeyPair([]byte(cert), []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{p}
	}
	for _, auth := range []string{"require", "optional"} {
		s.ClientAuth = auth
		v := newTLS(t, s, nil)
		addr := serveTLS(t, v)
		for _, c := range []struct {
			name  string
			certs []tls.Certificate
			good  bool
		}{
			{"none", nil, auth == "optional"},
			{"one", pair(ca, later), true},
			{"of another authority", pair(other, later), false},
			{"one that has ended", pair(ca, time.Now().Add(-time.Hour)), false},
		} {
			cc := &tls.Config{ServerName: "a.example", RootCAs: ca.pool()}
			cc.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if c.certs == nil {
					return new(tls.Certificate), nil
				}
				return &c.certs[0], nil
			}
			if _, _, err := ask(t, addr, cc); (err == nil) != c.good {
				t.Errorf("%s, %s: %v", auth, c.name, err)
			}
		}
	}
}

// What is wrong is said with the key that it is wrong in.
func TestCheckTLS(t *testing.T) {
	ca := newSigner(t)
	a, ak := ca.sign(t, later, "a.example")
	_, bk := ca.sign(t, later, "b.example")
	old, oldKey := ca.sign(t, time.Now().Add(-time.Hour), "c.example")
	bad := settingsOf(a, ak)
	bad.ClientCA = "-----BEGIN NOTHING"
	for _, c := range []struct {
		name string
		s    config.TLS
		want string
	}{
		{"good", settingsOf(a, ak), ""},
		{"no key", config.TLS{Cert: []string{a}}, "tls.key: there are 0 keys for 1 certificates"},
		{"another key", settingsOf(a, bk), "tls.key: "},
		{"no file", settingsOf("/no/such", ak), "tls.cert: "},
		{"no file of a key", settingsOf(a, "/no/such"), "tls.key: "},
		{"a key for a certificate", settingsOf(ak, ak), "tls.cert: "},
		{"ended", settingsOf(old, oldKey), "tls.cert: the one that is given as PEM: the certificate has ended"},
		{"client_ca", bad, "tls.client_ca: "},
	} {
		err := CheckTLS(c.s, time.Now())
		switch {
		case c.want == "" && err == nil:
		case c.want == "" || err == nil || !strings.HasPrefix(err.Error(), c.want):
			t.Errorf("%s: CheckTLS() = %v, want %s", c.name, err, c.want)
		case strings.Contains(err.Error(), "PRIVATE KEY"):
			t.Errorf("%s: a key is shown", c.name)
		}
	}
}

// A certificate that ends soon is said once a day.
func TestCertificateThatEnds(t *testing.T) {
	var log bytes.Buffer
	v := newTLS(t, settingsOf(newSigner(t).sign(t, time.Now().Add(ends/2), "a.example")), slog.New(slog.NewTextHandler(&log, nil)))
	v.poll()
	v.look(time.Now().Add(time.Hour))
	if n := strings.Count(log.String(), "ends soon"); n != 1 {
		t.Errorf("said %d times: %s", n, &log)
	}
	v.look(time.Now().Add(ends))
	if n := strings.Count(log.String(), "has ended"); n != 1 {
		t.Errorf("said %d times: %s", n, &log)
	}
}

// A PROXY preface comes in front of TLS.
func TestTLSBehindAPreface(t *testing.T) {
	v := newTLS(t, settingsOf(newSigner(t).sign(t, later, "a.example")), nil)
	o := Options{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Logger: slog.New(slog.DiscardHandler)}
	addr := serveOpener(t, o.preface("any", v.Opener()))
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := io.WriteString(raw, "PROXY TCP4 198.51.100.7 10.0.0.1 81 443\r\n"); err != nil {
		t.Fatal(err)
	}
	c := tls.Client(raw, &tls.Config{ServerName: "a.example", InsecureSkipVerify: true})
	if err := say(c); err != nil {
		t.Error(err)
	}
	if st := v.Stats(); st.Link.Done != 1 {
		t.Errorf("Stats() = %+v", st.Link)
	}
}
