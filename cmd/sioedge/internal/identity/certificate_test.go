package identity

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"slices"
	"testing"
)

// The names of a certificate by their kind; a user is one of them if it is the only one.
func TestNamesInCertificates(t *testing.T) {
	u, _ := url.Parse("spiffe://example.org/device/7")
	c := &x509.Certificate{Subject: pkix.Name{CommonName: "alice"}, DNSNames: []string{"a.example", "b.example"}, EmailAddresses: []string{"a@example.org"}, URIs: []*url.URL{u}}
	for kind, want := range map[string][]string{
		"cn": {"alice"}, "dns": {"a.example", "b.example"}, "email": {"a@example.org"}, "uri": {"spiffe://example.org/device/7"}, "serial": nil,
	} {
		if got := namesIn(c, kind); !slices.Equal(got, want) {
			t.Errorf("namesIn(%s) = %q, want %q", kind, got, want)
		}
	}
}
