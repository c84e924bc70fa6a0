package identity

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxUser  = 256 // bytes
	maxValue = 256 // bytes of a claim that templates use
	// lastSecond is the end of the year 9999: what is later was meant in ms, as most
	// often, or is nothing.
	lastSecond = 253402300799
)

// quote shows what somebody else chose.
func quote(s string) string {
	if len(s) > 64 {
		return strconv.Quote(strings.ToValidUTF8(s[:64], "")) + "…"
	}
	return strconv.Quote(s)
}

// read makes an Identity of the claims of a token that a key has verified.
func (v *verifier) read(claims object) (*Identity, *Refusal) {
	id := &Identity{}
	if r := v.readTimes(claims, id); r != nil {
		return nil, r
	}
	if r := v.checkParties(claims); r != nil {
		return nil, r
	}
	if jti := claims.member("jti"); jti != nil {
		if !isText(jti) {
			return nil, refuse(Malformed, "", "jti is not text")
		}
		id.jti = hashID(text(jti))
	}
	value := claims.lookUp(v.auth.JWT.UserClaim)
	if value == nil {
		return nil, refuse(BadUser, "auth.jwt.user_claim", "there is no %s in it", quote(v.auth.JWT.UserClaim))
	}
	if id.User = plain(value); id.User == "" {
		return nil, refuse(BadUser, "auth.jwt.user_claim", "%s is neither text nor a whole number", quote(v.auth.JWT.UserClaim))
	}
	if err := checkUser(id.User); err != nil {
		return nil, refuse(BadUser, "auth.jwt.user_claim", "%s %v", quote(v.auth.JWT.UserClaim), err)
	}
	if r := v.readGrants(claims, id); r != nil {
		return nil, r
	}
	v.keepClaims(claims, id)
	return id, nil
}

// checkUser tells what is wrong with the name of a user.
func checkUser(user string) error {
	switch {
	case user == "":
		return fmt.Errorf("is empty")
	case len(user) > maxUser:
		return fmt.Errorf("has %d bytes, there may be %d", len(user), maxUser)
	case !utf8.ValidString(user) || strings.ContainsFunc(user, unicode.IsControl):
		return fmt.Errorf("has control characters")
	}
	return nil
}

// plain returns a value as text: of a string, or of a whole number as users and the
// like have one; else "".
func plain(value []byte) string {
	switch {
	case isText(value):
		return text(value)
	case bytes.ContainsAny(value, ".eE"):
		return ""
	}
	if n, err := strconv.ParseInt(string(value), 10, 64); err == nil {
		return strconv.FormatInt(n, 10)
	}
	return ""
}

// seconds reads a claim that is a moment: a number of seconds, not always whole (RFC
// 7519, 2).
func seconds(claims object, name string) (at float64, ok bool, r *Refusal) {
	value := claims.member(name)
	if value == nil {
		return 0, false, nil
	}
	at, err := strconv.ParseFloat(string(value), 64)
	switch {
	case err != nil || isText(value):
		return 0, false, refuse(Malformed, "", "%s is %s, which is not a number of seconds", name, quote(string(value)))
	case at > lastSecond:
		return 0, false, refuse(Malformed, "", "%s is %s, which is behind the year 9999: it must be seconds, not milliseconds", name, quote(string(value)))
	case at < -lastSecond:
		return 0, false, refuse(Malformed, "", "%s is %s, which is before all time", name, quote(string(value)))
	}
	return at, true, nil
}

// moment is a number of seconds as a time, to the millisecond, as deadlines are.
func moment(at float64) time.Time { return time.UnixMilli(int64(math.Floor(at * 1000))) }

// readTimes reads from when until when a token is valid, and checks it.
func (v *verifier) readTimes(claims object, id *Identity) *Refusal {
	now, leeway := v.now(), v.auth.JWT.Leeway
	exp, some, r := seconds(claims, "exp")
	switch {
	case r != nil:
		return r
	case some:
		end := moment(exp)
		if !now.Before(end.Add(leeway)) {
			return refuse(Expired, "", "exp was %s, %s ago; leeway is %s", stamp(end), ago(now.Sub(end)), leeway)
		}
		id.expires = end.UnixMilli()
	case v.auth.JWT.RequireExpiry:
		return refuse(Malformed, "auth.jwt.require_expiry", "there is no exp in it")
	}
	for _, name := range [...]string{"nbf", "iat"} {
		at, some, r := seconds(claims, name)
		if r != nil {
			return r
		}
		if !some {
			continue
		}
		begin := moment(at)
		if now.Add(leeway).Before(begin) {
			return refuse(NotYet, "", "%s is %s, %s from now; leeway is %s", name, stamp(begin), ago(begin.Sub(now)), leeway)
		}
		if name == "iat" {
			id.issued = begin.Unix()
		}
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// ago is a duration for people.
func ago(d time.Duration) string { return d.Round(time.Second).String() }

// checkParties checks who made a token, and for whom.
func (v *verifier) checkParties(claims object) *Refusal {
	if want := v.auth.JWT.Issuer; want != "" {
		switch iss := claims.member("iss"); {
		case iss == nil:
			return refuse(BadIssuer, "auth.jwt.issuer", "there is no iss in it, it must be %s", quote(want))
		case !isText(iss) || text(iss) != want:
			return refuse(BadIssuer, "auth.jwt.issuer", "iss is %s, it must be %s", quote(string(iss)), quote(want))
		}
	}
	want := v.auth.JWT.Audience
	if len(want) == 0 {
		return nil
	}
	aud := claims.member("aud")
	var have []string
	switch {
	case aud == nil:
		return refuse(BadAudience, "auth.jwt.audience", "there is no aud in it, it must have one of %q", want)
	case isText(aud):
		have = []string{text(aud)} // whole, with spaces: RFC 7519, 4.1.3
	default:
		var err error
		if have, err = list(aud); err != nil {
			return refuse(Malformed, "", "aud %v", err)
		}
	}
	if !slices.ContainsFunc(have, func(a string) bool { return slices.Contains(want, a) }) {
		return refuse(BadAudience, "auth.jwt.audience", "aud is %s, it must have one of %q", quote(string(aud)), want)
	}
	return nil
}

// readGrants reads what a token permits.
func (v *verifier) readGrants(claims object, id *Identity) *Refusal {
	g := &grants{}
	for _, x := range []struct {
		claim string
		to    *[]string
		some  *bool
	}{
		{v.auth.JWT.ScopeClaim, &g.scope, nil}, {v.auth.JWT.RoomsClaim, &g.rooms, nil},
		{v.auth.JWT.NamespacesClaim, &g.namespaces, &g.someNamespaces}, {v.auth.JWT.EventsClaim, &g.events, &g.someEvents},
	} {
		if x.claim == "" {
			continue
		}
		value := claims.lookUp(x.claim)
		all, err := list(value)
		if err != nil {
			return refuse(Malformed, "", "%s %v", quote(x.claim), err)
		}
		*x.to = all
		if x.some != nil {
			*x.some = value != nil
		}
	}
	id.grants = v.grants.of(g)
	return nil
}

// keepClaims keeps the claims that templates use. Those that are too long for a name, or
// of another kind, are none.
func (v *verifier) keepClaims(claims object, id *Identity) {
	for i, name := range v.names {
		value := claims.lookUp(name)
		if value == nil {
			continue
		}
		s := scalar(value)
		if s == "" || len(s) > maxValue {
			continue
		}
		if id.claims == nil {
			id.claims = &kept{names: v.names, values: make([]string, len(v.names))}
		}
		id.claims.values[i] = s
	}
}

// scalar returns a string, a number or a boolean as text, else "".
func scalar(value []byte) string {
	switch value[0] {
	case '"':
		return text(value)
	case '{', '[', 'n':
		return ""
	}
	return string(value)
}

var idSeed = maphash.MakeSeed()

// idKey is what ids of tokens are hashed with: that of the process whose clients this one
// has taken over, or one of its own.
var idKey atomic.Pointer[[sha256.Size]byte]

func init() {
	key := new([sha256.Size]byte)
	_, _ = rand.Read(key[:]) // never fails
	idKey.Store(key)
}

// hashID returns what stands for the id of a token: 64 bits of a keyed hash, which
// nobody outside can have collide, in place of text. 0 is none.
func hashID(jti string) uint64 {
	if jti == "" {
		return 0
	}
	var few [1 << 10]byte // of most: they need no memory of the heap
	sum := sha256.Sum256(append(append(few[:0], idKey.Load()[:]...), jti...))
	return binary.LittleEndian.Uint64(sum[:]) | 1
}

// size is what an Identity takes in memory, about.
func (id *Identity) size() int {
	n := 96 + len(id.User)
	if id.claims != nil {
		n += 48
		for _, s := range id.claims.values {
			n += 16 + len(s)
		}
	}
	return n
}
