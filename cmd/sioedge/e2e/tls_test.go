//go:build interop

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// signer signs certificates.
type signer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newSigner(t *testing.T) *signer {
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

// sign returns a certificate of a name and its key, in PEM.
func (s *signer) sign(t *testing.T, name string) (cert, key string) {
	t.Helper()
	k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<60))
	of := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().AddDate(0, 6, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, of, s.cert, &k.PublicKey, s.key)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := x509.MarshalPKCS8PrivateKey(k)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b}))
}

const overTLS = `
auth: { mode: certificate }
tls: { cert: ["$DIR/cert.pem"], key: ["$DIR/key.pem"], client_ca: "$DIR/ca.pem", client_auth: optional, reload: 1s }
namespaces:
  - pattern: /
    events:
      say: { action: relay, to: "all" }
    join_on_connect: ["all"]
`

// npm's clients over TLS, by wss and by https with an upgrade, are who their certificates
// say, notice nothing of another certificate, and those without one are refused.
func TestOverTLS(t *testing.T) {
	dir, ca := t.TempDir(), newSigner(t)
	put := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".next", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".next", path); err != nil {
			t.Fatal(err)
		}
	}
	renew := func() {
		cert, key := ca.sign(t, "localhost")
		put("key.pem", key)
		put("cert.pem", cert)
	}
	put("ca.pem", ca.pem)
	renew()
	file := write(t, overTLS, "$DIR", dir)
	e := start(t, file, "--eio3", "--listen", "tls://127.0.0.1:0")
	addr := e.said("listening")["address"].(string)
	url := "https://localhost" + addr[strings.LastIndexByte(addr, ':'):]
	of := func(name string, transports ...string) options {
		secret := map[string]any{"ca": ca.pem}
		if name != "" {
			secret["cert"], secret["key"] = ca.sign(t, name)
		}
		return options{transports: transports, tls: secret}
	}
	x := &agents{t}
	var all []*client
	for _, kind := range []string{"4", "2"} {
		all = append(all, x.enter(kind, url, "/", of("alice", "websocket")), x.enter(kind, url, "/", of("bob", "polling", "websocket")), x.enter(kind, url, "/", of("carol", "polling")))
	}
	for i, c := range all {
		c.emit("say", i)
		for k, other := range all {
			if k != i {
				other.event("say")
			}
		}
	}
	if c := x.dial("4", url, "/", of("", "websocket")); true {
		c.refused("unauthorized", "")
	}
	state := func() *x509.Certificate {
		conn, err := tls.Dial("tcp", addr, &tls.Config{ServerName: "localhost", RootCAs: pool(ca)})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0]
	}
	was := state()
	renew()
	e.said("certificates have changed: new connections get them")
	if state().Equal(was) {
		t.Error("new connections get the certificate of before")
	}
	for i, c := range all {
		c.emit("say", "still "+string(rune('a'+i)))
		all[(i+1)%len(all)].event("say")
	}
	for _, c := range all {
		c.hasNot("disconnect")
	}
}

func pool(s *signer) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(s.cert)
	return p
}
