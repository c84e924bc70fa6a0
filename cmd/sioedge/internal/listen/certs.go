package listen

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

// CheckTLS returns what is wrong with settings, faults, those among it that do not keep
// the server from being started, such as a certificate that has ended.
func CheckTLS(s config.TLS, now time.Time) error {
	c, err := configOf(s)
	if err != nil {
		return err
	}
	var faults []error
	for i := range c.Certificates {
		switch l := c.Certificates[i].Leaf; {
		case now.After(l.NotAfter):
			faults = append(faults, fault("tls.cert", "%s: the certificate has ended at %s", shown(s.Cert[i]), l.NotAfter.Format(time.RFC3339)))
		case now.Before(l.NotBefore):
			faults = append(faults, fault("tls.cert", "%s: the certificate is not valid before %s", shown(s.Cert[i]), l.NotBefore.Format(time.RFC3339)))
		}
	}
	return errors.Join(faults...)
}

func fault(key, format string, args ...any) error {
	return &config.Fault{Key: key, Err: fmt.Errorf(format, args...)}
}

// shown is what may be told of PEM, or the path of a file of it.
func shown(text string) string {
	if config.IsPEM(text) {
		return "the one that is given as PEM"
	}
	return text
}

// configOf returns what settings say, without an authority's certificates.
func configOf(s config.TLS) (*tls.Config, error) {
	c := &tls.Config{
		MinVersion:                  tls.VersionTLS12,
		NextProtos:                  []string{"http/1.1"},
		DynamicRecordSizingDisabled: true, // what a step owes a connection is one record
	}
	if s.MinVersion == "1.3" {
		c.MinVersion = tls.VersionTLS13
	}
	var faults []error
	if len(s.Cert) != len(s.Key) {
		faults = append(faults, fault("tls.key", "there are %d keys for %d certificates (--tls-cert)", len(s.Key), len(s.Cert)))
	}
	for i := range min(len(s.Cert), len(s.Key)) {
		pair, err := pair(s.Cert[i], s.Key[i])
		faults = append(faults, err)
		c.Certificates = append(c.Certificates, pair)
	}
	if s.ClientCA != "" {
		b, err := config.PEM(s.ClientCA)
		if c.ClientCAs = x509.NewCertPool(); err == nil && !c.ClientCAs.AppendCertsFromPEM(b) {
			err = errors.New("has no certificate in PEM")
		}
		if err != nil {
			faults = append(faults, fault("tls.client_ca", "%s: %w", shown(s.ClientCA), err))
		}
		c.ClientAuth = tls.RequireAndVerifyClientCert
		if s.ClientAuth == "optional" {
			c.ClientAuth = tls.VerifyClientCertIfGiven
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return c, nil
}

// pair returns a certificate with its key. The error is a fault of the one or the other.
func pair(cert, key string) (tls.Certificate, error) {
	certPEM, err := config.PEM(cert)
	if err != nil {
		return tls.Certificate{}, fault("tls.cert", "%w", err)
	}
	keyPEM, err := config.PEM(key)
	if err != nil {
		return tls.Certificate{}, fault("tls.key", "%w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	switch {
	case err == nil:
	case pemHas(certPEM):
		return tls.Certificate{}, fault("tls.key", "%s: %w, for the certificate of %s", shown(key), err, shown(cert))
	default:
		return tls.Certificate{}, fault("tls.cert", "%s: %w", shown(cert), err)
	}
	if pair.Leaf == nil { // as GODEBUG can have it
		pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0])
	}
	return pair, err
}

// pemHas tells whether there is a certificate in PEM.
func pemHas(b []byte) bool { return x509.NewCertPool().AppendCertsFromPEM(b) }

// namesOf returns whom a certificate is for.
func namesOf(c *tls.Certificate) []string {
	all := slices.Clone(c.Leaf.DNSNames)
	for _, ip := range c.Leaf.IPAddresses {
		all = append(all, net.IP(ip).String())
	}
	if len(all) == 0 {
		all = []string{c.Leaf.Subject.CommonName}
	}
	return all
}

// names returns whom all certificates are for.
func names(c *tls.Config) (all []string) {
	for i := range c.Certificates {
		all = append(all, namesOf(&c.Certificates[i])...)
	}
	return all
}

// A fileState says whether a file is another, or has changed.
type fileState struct {
	path  string
	time  int64
	size  int64
	inode uint64
}

// look returns the states of all files that settings name; that of one that cannot be
// read is its path alone.
func look(s config.TLS) (all []fileState) {
	for _, list := range [][]string{s.Cert, s.Key, {s.ClientCA}} {
		for _, text := range list {
			if text == "" || config.IsPEM(text) {
				continue
			}
			f := fileState{path: text}
			if info, err := os.Stat(text); err == nil {
				f.time, f.size = info.ModTime().UnixNano(), info.Size()
				if sys, ok := info.Sys().(*syscall.Stat_t); ok {
					f.inode = uint64(sys.Ino)
				}
			}
			all = append(all, f)
		}
	}
	return all
}

// protocols are what a listener with certificates of an authority speaks to that.
var protocols = []string{acme.ALPNProto}
