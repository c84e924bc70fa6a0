package identity

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

// What zero settings mean.
const (
	defaultCache         = 50_000
	defaultRevocations   = 10_000
	defaultRevocationTTL = 24 * time.Hour

	mostToken    = 64 << 10
	mostLeeway   = 10 * time.Minute
	mostCached   = 10_000_000
	mostRevoked  = 1_000_000
	mostLifetime = 10 * 366 * 24 * time.Hour // of a revocation
)

// The modes of auth.
const (
	modeNone   = "none"
	modeJWT    = "jwt"
	modeHeader = "header"
	modeCert   = "certificate"
	modeAsked  = "webhook"     // a backend says it
	modeBoth   = "jwt+webhook" // and what its token does not say
)

// faults collects what is wrong with settings.
type faults struct{ all []error }

func (f *faults) add(key, format string, args ...any) {
	f.all = append(f.all, &config.Fault{Key: key, Err: fmt.Errorf(format, args...)})
}

// err adds an error, which may be a Fault already.
func (f *faults) err(key string, err error) {
	if fault := (*config.Fault)(nil); errors.As(err, &fault) {
		f.all = append(f.all, err)
	} else if err != nil {
		f.all = append(f.all, &config.Fault{Key: key, Err: err})
	}
}

// within checks that a number is none (0), or in a range.
func within[T int | config.Size | time.Duration](f *faults, key string, n, least, most T) {
	if n != 0 && (n < least || n > most) {
		f.add(key, "is %v: it must be from %v to %v", n, least, most)
	}
}

// build makes a verifier of settings. It goes on with the server of keys of old, if that
// is the same.
func (a *Authority) build(auth config.Auth, claims []string, old *verifier) (*verifier, error) {
	auth.Mode = cmp.Or(auth.Mode, modeNone)
	auth.JWT.UserClaim = cmp.Or(auth.JWT.UserClaim, "sub")
	v := &verifier{auth: auth, names: slices.Clone(claims), grants: &a.grants, now: a.now, expires: auth.JWT.Expire != "ignore"}
	f := &faults{}
	within(f, "auth.cache_size", auth.CacheSize, 1, mostCached)
	within(f, "auth.max_token", auth.MaxToken, 64, mostToken)
	within(f, "auth.max_revocations", auth.MaxRevocations, 1, mostRevoked)
	within(f, "auth.revocation_ttl", auth.RevocationTTL, time.Minute, mostLifetime)
	v.readRevoked(f)
	switch auth.Mode {
	case modeNone, modeAsked, modeCert:
	case modeJWT, modeBoth:
		v.readJWT(f)
	case modeHeader:
		readHeader(auth.Header, a.o.Trusts != nil, f)
	default:
		f.add("auth.mode", "is %q: it must be none, jwt, header, certificate, webhook or jwt+webhook", auth.Mode)
	}
	if len(f.all) > 0 {
		return nil, errors.Join(f.all...)
	}
	v.maxToken = int(cmp.Or(auth.MaxToken, defaultMaxToken))
	v.maxRevocations = cmp.Or(auth.MaxRevocations, defaultRevocations)
	v.revocationTTL = cmp.Or(auth.RevocationTTL, defaultRevocationTTL)
	v.cache = newCache(cmp.Or(auth.CacheSize, defaultCache))
	if v.jwt() && auth.JWT.JWKSURL != "" && !a.o.Idle {
		c := jwksConfig{
			url: auth.JWT.JWKSURL, file: auth.JWT.JWKSFile, refresh: cmp.Or(auth.JWT.JWKSRefresh, defaultRefresh),
			floor: cmp.Or(auth.JWT.JWKSFloor, defaultFloor), timeout: cmp.Or(auth.JWT.JWKSTimeout, defaultTimeout),
		}
		if old != nil && old.jwks != nil && old.jwks.jwksConfig == c {
			v.jwks = old.jwks
		} else {
			v.jwks = newJWKS(c, a.notices, func() { a.epoch.Add(1) })
		}
	}
	return v, nil
}

// readJWT checks the settings of tokens, and reads keys.
func (v *verifier) readJWT(f *faults) {
	c := &v.auth.JWT
	within(f, "auth.jwt.leeway", c.Leeway, 0, mostLeeway)
	within(f, "auth.jwt.grace", c.Grace, 0, 24*time.Hour)
	if !slices.Contains([]string{"", "close", "ignore"}, c.Expire) {
		f.add("auth.jwt.expire", "is %q: it must be close or ignore", c.Expire)
	}
	for i, x := range []struct{ setting, value string }{{"auth.jwt.secret", c.Secret}, {"auth.jwt.secret_previous", c.SecretPrevious}} {
		if x.value == "" {
			continue
		}
		if i == 1 && c.Secret == "" {
			f.add(x.setting, "is set, and auth.jwt.secret is not")
		}
		s, err := readSecret(x.setting, x.value)
		f.err(x.setting, err)
		if err == nil {
			v.secrets = append(v.secrets, s)
		}
	}
	if c.PublicKey != "" {
		var err error
		v.keys, err = readKeys("auth.jwt.public_key", c.PublicKey)
		f.err("auth.jwt.public_key", err)
	}
	readJWKSSettings(c, f)
	if c.Secret == "" && c.PublicKey == "" && c.JWKSURL == "" {
		f.add("auth.jwt", "says by which key a token is believed: one of secret, public_key and jwks_url must be set")
	} else if len(f.all) == 0 {
		v.readAlgorithms(f)
	}
}

func readJWKSSettings(c *config.JWT, f *faults) {
	within(f, "auth.jwt.jwks_refresh", c.JWKSRefresh, time.Second, 30*24*time.Hour)
	within(f, "auth.jwt.jwks_floor", c.JWKSFloor, time.Second, time.Hour)
	within(f, "auth.jwt.jwks_timeout", c.JWKSTimeout, 100*time.Millisecond, time.Minute)
	if c.JWKSURL != "" {
		_, err := checkURL(c.JWKSURL, c.JWKSAllowHTTP)
		f.err("auth.jwt.jwks_url", err)
	}
	switch {
	case c.JWKSFile == "":
	case c.JWKSURL == "":
		f.add("auth.jwt.jwks_file", "is where the keys of auth.jwt.jwks_url are kept, and that is not set")
	default:
		if info, err := os.Stat(filepath.Dir(c.JWKSFile)); err != nil || !info.IsDir() {
			f.add("auth.jwt.jwks_file", "is in %s, which is no directory", filepath.Dir(c.JWKSFile))
		}
	}
}

// readAlgorithms notes which algorithms tokens may use: those that keys are for, or of
// these, those that the settings name.
func (v *verifier) readAlgorithms(f *faults) {
	v.may = map[string]*algorithm{}
	named := v.auth.JWT.Algorithms
	for name, alg := range algorithms {
		if len(named) > 0 && !slices.Contains(named, name) {
			continue
		}
		long := slices.ContainsFunc(v.secrets, func(s *secret) bool { return alg.hash > 0 && len(s.key) >= alg.hash })
		if long || alg.hash == 0 && v.auth.JWT.JWKSURL != "" || slices.ContainsFunc(v.keys, func(k *key) bool { return k.fits(name) }) {
			v.may[name] = alg
		}
	}
	for i, name := range named {
		key := fmt.Sprintf("auth.jwt.algorithms[%d]", i)
		switch {
		case strings.EqualFold(name, "none"):
			f.add(key, "is none: a token that is not signed proves nothing")
		case algorithms[name] == nil:
			f.add(key, "is %q: there are %s", name, strings.Join(slices.Sorted(maps.Keys(algorithms)), ", "))
		case v.may[name] == nil && algorithms[name].hash > 0 && len(v.secrets) > 0:
			f.add(key, "is %s, for which auth.jwt.secret must have %d bytes or more (RFC 7518, 3.2)", name, algorithms[name].hash)
		case v.may[name] == nil:
			f.add(key, "is %s, and no key is for that: there is %s", name, kinds(v.keys))
		}
	}
}

// readHeader checks the settings of fields.
func readHeader(c config.Header, trusts bool, f *faults) {
	seen := map[string]bool{}
	for _, x := range []struct{ setting, name string }{{"auth.header.user", c.User}, {"auth.header.scope", c.Scope}, {"auth.header.rooms", c.Rooms}} {
		name := http.CanonicalHeaderKey(x.name)
		switch {
		case x.name == "" && x.setting == "auth.header.user":
			f.add(x.setting, "must name the field that has the user, such as X-User-Id")
		case x.name == "":
		case strings.ContainsFunc(x.name, func(r rune) bool {
			return r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
		}):
			f.add(x.setting, "is %q, which is no name of a field: letters, digits and -", x.name)
		case seen[name]:
			f.add(x.setting, "is %s, as another one is", x.name)
		}
		seen[name] = true
	}
	if !trusts {
		f.add("auth.mode", "is header, and there is no proxy that is trusted to say who a client is: trust_proxy must be set")
	}
}
