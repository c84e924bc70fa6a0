package identity

import (
	"cmp"
	"crypto/x509"

	"github.com/sioedge/sioedge/sio"
)

// fromCertificate returns who a client is by its certificate, nil if it has none. Only one
// that has been verified is known of, by those who are in tls.client_ca.
func fromCertificate(v *verifier, s sio.Socket) (*Identity, *Refusal) {
	cert := s.Handshake().Certificate()
	if cert == nil {
		return nil, nil
	}
	const key = "auth.certificate.user"
	from := cmp.Or(v.auth.Certificate.User, "cn")
	names := namesIn(cert, from)
	switch {
	case len(names) == 0 || names[0] == "":
		return nil, refuse(BadUser, key, "the certificate has no %s", from)
	case len(names) > 1: // which of them a user is, is nobody's to guess
		return nil, refuse(BadUser, key, "the certificate has %d names of the kind %s, there may be one", len(names), from)
	}
	if err := checkUser(names[0]); err != nil {
		return nil, refuse(BadUser, key, "the %s of the certificate %v", from, err)
	}
	id := &Identity{User: names[0], issued: v.now().Unix()}
	id.grants = v.grants.of(&grants{})
	return id, nil
}

// namesIn returns the names of a kind in a certificate.
func namesIn(c *x509.Certificate, kind string) (all []string) {
	switch kind {
	case "cn":
		return []string{c.Subject.CommonName}
	case "dns":
		return c.DNSNames
	case "email":
		return c.EmailAddresses
	case "uri":
		for _, u := range c.URIs {
			all = append(all, u.String())
		}
	}
	return all
}
