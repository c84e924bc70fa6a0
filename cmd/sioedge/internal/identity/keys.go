package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"sync"

	"github.com/golang-jwt/jwt/v5"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

const (
	minSecret = 32   // bytes; RFC 7518, 3.2: as long as the hash
	minRSA    = 2048 // bits; RFC 7518, 3.3
	maxRSA    = 8192 // bits: more take clients no time to ask for, and the server much
)

// An algorithm is one of RFC 7518, 3.1 and RFC 8037.
type algorithm struct {
	method jwt.SigningMethod
	// hash is how long a secret must be, in bytes; 0 if it is not for secrets.
	hash int
	// fits tells whether it may be used with a public key.
	fits func(crypto.PublicKey) bool
}

// algorithms are all that there are. "none" is none of them, in whatever spelling.
var algorithms = map[string]*algorithm{
	"HS256": {method: jwt.SigningMethodHS256, hash: 32, fits: never}, "HS384": {method: jwt.SigningMethodHS384, hash: 48, fits: never}, "HS512": {method: jwt.SigningMethodHS512, hash: 64, fits: never},
	"RS256": {method: jwt.SigningMethodRS256, fits: isRSA}, "RS384": {method: jwt.SigningMethodRS384, fits: isRSA}, "RS512": {method: jwt.SigningMethodRS512, fits: isRSA},
	"PS256": {method: jwt.SigningMethodPS256, fits: isRSA}, "PS384": {method: jwt.SigningMethodPS384, fits: isRSA}, "PS512": {method: jwt.SigningMethodPS512, fits: isRSA},
	"ES256": {method: jwt.SigningMethodES256, fits: isOn(elliptic.P256())}, "ES384": {method: jwt.SigningMethodES384, fits: isOn(elliptic.P384())}, "ES512": {method: jwt.SigningMethodES512, fits: isOn(elliptic.P521())},
	"EdDSA": {method: jwt.SigningMethodEdDSA, fits: func(k crypto.PublicKey) bool { _, ok := k.(ed25519.PublicKey); return ok }},
}

func never(crypto.PublicKey) bool { return false }

func isRSA(k crypto.PublicKey) bool { _, ok := k.(*rsa.PublicKey); return ok }

func isOn(curve elliptic.Curve) func(crypto.PublicKey) bool {
	return func(k crypto.PublicKey) bool {
		x, ok := k.(*ecdsa.PublicKey)
		return ok && x.Curve == curve
	}
}

// A key is a public key of somebody who makes tokens. Immutable.
type key struct {
	id   string // "": tokens need not name it
	alg  string // "": all that it fits
	is   string // for people: a P-256 key
	from string // the setting that it is of
	key  crypto.PublicKey
}

// fits tells whether an algorithm may be used with the key.
func (k *key) fits(name string) bool {
	return (k.alg == "" || k.alg == name) && algorithms[name].fits(k.key)
}

// known makes a key, or says what is wrong with it.
func known(public crypto.PublicKey) (*key, error) {
	switch x := public.(type) {
	case *rsa.PublicKey:
		if n := x.N.BitLen(); n < minRSA || n > maxRSA {
			return nil, fmt.Errorf("is an RSA key of %d bits: there must be %d to %d", n, minRSA, maxRSA)
		}
		if x.E < 3 || x.E&1 == 0 {
			return nil, errors.New("is an RSA key with a public exponent that is none")
		}
		return &key{key: x, is: fmt.Sprintf("an RSA key of %d bits", x.N.BitLen())}, nil
	case *ecdsa.PublicKey:
		if !slices.Contains([]elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}, x.Curve) {
			return nil, errors.New("is on a curve that no algorithm is for: there are P-256, P-384 and P-521")
		}
		return &key{key: x, is: "a " + x.Curve.Params().Name + " key"}, nil
	case ed25519.PublicKey:
		return &key{key: x, is: "an Ed25519 key"}, nil
	}
	return nil, fmt.Errorf("is a key of a kind that no algorithm is for (%T)", public)
}

// readKeys returns the keys that a setting has, as PEM or as the path of a file of it.
func readKeys(setting, value string) (all []*key, err error) {
	rest, err := config.PEM(value)
	if err != nil {
		return nil, err
	}
	for n := 1; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		k, err := keyOf(block)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d (%.64q) %w", n, block.Type, err)
		}
		k.from = setting
		all = append(all, k)
	}
	switch {
	case len(all) == 0:
		return nil, errors.New("there is no key in it: PEM begins with -----BEGIN PUBLIC KEY-----")
	case len(strings.TrimSpace(string(rest))) > 0:
		return nil, errors.New("what follows the last key is not PEM")
	}
	return all, nil
}

func keyOf(block *pem.Block) (*key, error) {
	var public any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = c.PublicKey
		}
	default:
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return nil, errors.New("is private: whoever verifies needs the public key alone")
		}
		return nil, errors.New("is no public key")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	return known(public)
}

// A secret is what HS tokens are signed with.
type secret struct {
	key  []byte
	from string
	macs map[*algorithm]*sync.Pool // of hash.Hash, for those that the key is long enough for
}

func newSecret(key []byte, from string) *secret {
	s := &secret{key, from, map[*algorithm]*sync.Pool{}}
	for _, alg := range algorithms {
		if m, ok := alg.method.(*jwt.SigningMethodHMAC); ok && len(key) >= alg.hash {
			s.macs[alg] = &sync.Pool{New: func() any { return hmac.New(m.Hash.New, key) }}
		}
	}
	return s
}

// name is what people call a secret.
func (s *secret) name() string { return "the secret of " + s.from }

// made tells whether the secret has made a signature. It starts from the state of a MAC
// that has the key in it already, which is half of the work for a token.
func (s *secret) made(alg *algorithm, signed string, sig []byte, tmp *scratch) bool {
	macs := s.macs[alg]
	if macs == nil {
		return false
	}
	mac := macs.Get().(hash.Hash)
	defer macs.Put(mac)
	mac.Reset()
	tmp.text = append(tmp.text[:0], signed...)
	_, _ = mac.Write(tmp.text) // never fails
	tmp.sum = mac.Sum(tmp.sum[:0])
	return hmac.Equal(tmp.sum, sig)
}

// readSecret says what is wrong with a secret.
func readSecret(setting, value string) (*secret, error) {
	switch {
	case config.IsPEM(value):
		return nil, &config.Fault{Key: setting, Err: errors.New("is PEM: a public key is no secret, anybody could sign with it; it belongs in auth.jwt.public_key")}
	case len(value) < minSecret:
		return nil, &config.Fault{Key: setting, Err: fmt.Errorf("has %d bytes: HS256 needs %d or more (RFC 7518, 3.2), such as openssl rand -base64 32", len(value), minSecret)}
	}
	return newSecret([]byte(value), setting), nil
}
