package identity

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

const (
	defaultMaxToken = 8 << 10 // bytes
	maxKeyID        = 256     // bytes of kid
	maxTries        = 8       // keys that are tried for a token that names none
)

// A verifier is the settings of one moment, checked. Immutable.
type verifier struct {
	auth    config.Auth
	names   []string              // of the claims that are kept
	may     map[string]*algorithm // that tokens may use
	secrets []*secret
	keys    []*key
	jwks    *jwks // nil: none
	expires bool  // live sockets end with their tokens
	cache   *cache
	grants  *interned
	now     func() time.Time

	maxToken, maxRevocations int
	revocationTTL            time.Duration

	listed revocations // in the settings
}

// jwt tells whether clients bring tokens that keys verify.
func (v *verifier) jwt() bool { return v.auth.Mode == modeJWT || v.auth.Mode == modeBoth }

// proves tells whether clients can prove who they are without anybody being asked.
func (v *verifier) proves() bool {
	return v.jwt() || v.auth.Mode == modeHeader || v.auth.Mode == modeCert
}

// A judgement is what is known of a token once it has been judged.
type judgement struct {
	id *Identity
	// header and payload are those of the token, JSON, as far as it came; the payload is
	// there only if a key has verified it.
	header, payload []byte
	alg, keyID      string
	by              interface{ name() string } // what has verified it; nil: nothing has
}

// judge says whether a token is believed, and whose it is. It may wait for keys. What is
// JSON in the judgement is in s.
func (v *verifier) judge(ctx context.Context, token string, s *scratch) (j judgement, r *Refusal) {
	head, body, signature, r := v.split(token)
	if r != nil {
		return j, r
	}
	if j.header, r = s.object("header", head); r != nil {
		return j, r
	}
	if r = j.readHeader(); r != nil {
		return j, r
	}
	sig, err := s.decode(signature)
	if err != nil {
		return j, refuse(Malformed, "", "the signature is not base64url")
	}
	signed := token[:len(head)+1+len(body)]
	if j.by, r = v.verify(ctx, &j, signed, sig, s); r != nil {
		return j, r
	}
	payload, r := s.object("payload", body)
	if r != nil {
		return j, r
	}
	j.payload = payload
	s.claims = s.claims.read(payload)
	j.id, r = v.read(s.claims)
	return j, r
}

// split bounds a token, and takes it apart.
func (v *verifier) split(token string) (head, body, signature string, r *Refusal) {
	if len(token) > v.maxToken {
		return "", "", "", refuse(Malformed, "auth.max_token", "it has %d bytes, there may be %d", len(token), v.maxToken)
	}
	dots := 0
	for i := range len(token) {
		switch c := token[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '.':
			dots++
		default: // the decoder of base64 would pass over the end of a line
			return "", "", "", refuse(Malformed, "", "there is %q in it, which is not base64url", token[i:i+1])
		}
	}
	switch dots {
	case 2:
	case 4:
		return "", "", "", refuse(Malformed, "", "it has five parts: it is encrypted (JWE)")
	default:
		return "", "", "", refuse(Malformed, "", "it has %d parts, there must be three", dots+1)
	}
	head, body, _ = strings.Cut(token, ".")
	body, signature, _ = strings.Cut(body, ".")
	return head, body, signature, nil
}

// readHeader reads what decides of a header. What would have a verifier do something
// that this one does not is refused (RFC 7515, 4.1.11).
func (j *judgement) readHeader() *Refusal {
	err := each(j.header, func(name, value []byte) error {
		switch string(name) {
		case "alg", "kid":
			if !isText(value) {
				return refuse(Malformed, "", "%s is not text", name)
			}
			if string(name) == "alg" {
				j.alg = text(value)
			} else {
				j.keyID = text(value)
			}
		case "crit":
			return refuse(Malformed, "", "it has extensions that must be understood (crit), and are not")
		case "b64": // RFC 7797
			if string(value) != "true" {
				return refuse(Malformed, "", "its payload is not encoded (b64)")
			}
		case "enc":
			return refuse(Malformed, "", "it is encrypted (enc)")
		}
		return nil
	})
	if r := (*Refusal)(nil); errors.As(err, &r) {
		return r
	}
	if len(j.keyID) > maxKeyID {
		return refuse(UnknownKey, "", "the id of its key has %d bytes, there may be %d", len(j.keyID), maxKeyID)
	}
	return nil
}

// verify finds the key of a token and checks the signature with it. It returns what
// the key is.
func (v *verifier) verify(ctx context.Context, j *judgement, signed string, sig []byte, s *scratch) (by interface{ name() string }, r *Refusal) {
	alg := v.may[j.alg]
	if alg == nil {
		return nil, v.notAllowed(j.alg)
	}
	if alg.hash > 0 {
		return v.verifySecret(alg, signed, sig, s)
	}
	for _, k := range v.keys {
		if k.fits(j.alg) && alg.method.Verify(signed, sig, k.key) == nil {
			return k, nil
		}
	}
	candidates := slices.DeleteFunc(slices.Clone(v.keys), func(k *key) bool { return !k.fits(j.alg) })
	if v.jwks == nil {
		if len(candidates) == 0 {
			return nil, refuse(BadAlgorithm, "auth.jwt.public_key", "it says %s, which no key is for: there is %s", j.alg, kinds(v.keys))
		}
		return nil, refuse(BadSignature, "auth.jwt.public_key", "no key has made it with %s: there is %s", j.alg, kinds(candidates))
	}
	fetched, r := v.jwks.find(ctx, j.keyID, j.alg)
	if r != nil {
		return nil, r
	}
	if len(fetched) > maxTries {
		return nil, refuse(UnknownKey, "auth.jwt.jwks_url", "it names no key (kid), and %d may be meant", len(fetched))
	}
	for _, k := range fetched {
		if alg.method.Verify(signed, sig, k.key) == nil {
			return k, nil
		}
	}
	return nil, refuse(BadSignature, "auth.jwt.jwks_url", "it was not made by %s, with %s", kinds(fetched), j.alg)
}

// name is what people call a key.
func (k *key) name() string {
	if k.id == "" {
		return k.is + " of " + k.from
	}
	return k.is + " of " + k.from + ", kid " + quote(k.id)
}

// kinds lists keys for people.
func kinds(all []*key) string {
	var b strings.Builder
	for i, k := range all[:min(len(all), maxTries)] {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(k.name())
	}
	if len(all) == 0 {
		return "none"
	}
	return b.String()
}

// notAllowed says what is wrong with an algorithm.
func (v *verifier) notAllowed(alg string) *Refusal {
	switch {
	case alg == "":
		return refuse(BadAlgorithm, "", "it says none (alg)")
	case strings.EqualFold(alg, "none"):
		return refuse(BadAlgorithm, "", "it is not signed (alg %s)", quote(alg))
	case algorithms[alg] == nil:
		return refuse(BadAlgorithm, "", "there is no algorithm %s", quote(alg))
	case len(v.auth.JWT.Algorithms) > 0 && !slices.Contains(v.auth.JWT.Algorithms, alg):
		return refuse(BadAlgorithm, "auth.jwt.algorithms", "it says %s, there may be %s", alg, strings.Join(v.auth.JWT.Algorithms, ", "))
	case algorithms[alg].hash > 0 && len(v.secrets) > 0:
		return refuse(BadAlgorithm, "auth.jwt.secret", "it says %s, for which no secret is long enough: that needs %d bytes", alg, algorithms[alg].hash)
	case algorithms[alg].hash > 0:
		return refuse(BadAlgorithm, "auth.jwt.secret", "it says %s, and there is no secret", alg)
	}
	return refuse(BadAlgorithm, "auth.jwt.public_key", "it says %s, which no key is for: there is %s", alg, kinds(v.keys))
}

func (v *verifier) verifySecret(alg *algorithm, signed string, sig []byte, s *scratch) (by interface{ name() string }, r *Refusal) {
	for _, x := range v.secrets {
		if x.made(alg, signed, sig, s) {
			return x, nil
		}
	}
	return nil, refuse(BadSignature, "auth.jwt.secret", "it was not made with %s and %s", alg.method.Alg(), v.secretNames())
}

func (v *verifier) secretNames() string {
	if len(v.secrets) > 1 {
		return "either secret"
	}
	return v.secrets[0].name()
}
