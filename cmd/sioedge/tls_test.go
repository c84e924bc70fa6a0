package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeCertificate makes a certificate that has signed itself, and its key.
func writeCertificate(t *testing.T, cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"edge.example.com"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour)}
	signed, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: signed}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// What is wrong with TLS is told with the place where it stands.
func TestCheckOfTLS(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "edge.yaml")
	if err := os.WriteFile(filepath.Join(dir, "c.pem"), []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"listen: [\"tls://:0\"]\n":                                                                                   file + ":1: listen: there is an address with TLS, and no certificate",
		"listen: [\":0\"]\ntls:\n  acme: { domains: [a.example] }\n":                                                 file + ":3: tls.acme.domains: ",
		"listen: [\"tls://:0\"]\ntls:\n  acme: { domains: [\"*.a.example\"] }\n":                                     file + ":3: tls.acme.domains: ",
		"tls:\n  cert: [/no/such]\n  key: [/no/such]\n":                                                              file + ":2: tls.cert: ",
		"tls:\n  cert: [" + dir + "/c.pem]\n  key: [" + dir + "/c.pem]\n":                                            file + ":2: tls.cert: ",
		"tls:\n  cert: [a]\n":                                                                                        file,
		"listen: [\"tls://:0\"]\ntls:\n  cert: [a]\n  key: [b]\n  client_ca: " + dir + "/c.pem\nauth: certificate\n": file + ":5: tls.client_ca: ",
		"auth: certificate\n":                                                                                        "auth.mode: certificate needs tls.client_ca",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := load("", "SIOEDGE_CONFIG="+file)
		if err == nil {
			err = check(l)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
