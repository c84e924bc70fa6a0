package identity

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
)

const (
	hsHeader = `{"alg":"HS256","typ":"JWT"}`
	secretly = "HS256"
)

// A forged is a token that somebody brings, and what becomes of it.
type forged struct {
	name   string
	token  func(now time.Time) string
	keys   string // the settings: see settingsOf
	reason Reason // that the client sees; "": it is admitted
	log    string // what the log says beside
}

// settingsOf are those of the rows.
func settingsOf(name string) config.Auth {
	return jwtAuth(func(c *config.JWT) {
		switch name {
		case "":
		case "all":
			c.SecretPrevious, c.PublicKey = otherSecret, pemOf(&rsaKey().PublicKey, &p256().PublicKey, ed().Public())
		case "rsa":
			c.Secret, c.PublicKey = "", pemOf(&rsaKey().PublicKey)
		case "p256":
			c.Secret, c.PublicKey = "", pemOf(&p256().PublicKey)
		case "p384":
			c.Secret, c.PublicKey = "", pemOf(&p384().PublicKey)
		case "RS256":
			c.Secret, c.PublicKey, c.Algorithms = "", pemOf(&rsaKey().PublicKey), []string{"RS256"}
		case "short":
			c.Secret = theSecret[:40]
		case "exp":
			c.RequireExpiry = true
		case "nested":
			c.UserClaim = "https://id.example/user.name"
		}
	})
}

// text makes a token of texts, with the secret.
func texts(header, payload string) func(time.Time) string {
	return func(time.Time) string { return sign(secretly, []byte(theSecret), header, payload) }
}

// claimed makes a good token but for some claims.
func claimed(change set) func(time.Time) string {
	return func(now time.Time) string { return hs(now, change) }
}

// later is a claim that is a moment.
func later(claim string, d time.Duration) func(time.Time) string {
	return func(now time.Time) string { return hs(now, set{claim: now.Add(d).Unix()}) }
}

// by makes a good token with a key, whose header may say anything.
func by(alg string, key func() any, header string) func(time.Time) string {
	return func(now time.Time) string { return sign(alg, key(), header, claimsAt(now, nil)) }
}

// spoilt makes a good token and changes it.
func spoilt(f func(head, body, sig string) string) func(time.Time) string {
	return func(now time.Time) string {
		p := strings.Split(hs(now, nil), ".")
		return f(p[0], p[1], p[2])
	}
}

func header(alg string) string { return fmt.Sprintf(`{"alg":%q}`, alg) }

func secretKey() any      { return []byte(theSecret) }
func rsaPrivate() any     { return rsaKey() }
func publicAsSecret() any { return []byte(pemOf(&rsaKey().PublicKey)) }

// signatures are tokens whose signature, key or algorithm is wrong.
var signatures = []forged{
	{"is signed with the secret", claimed(nil), "", "", ""},
	{"is signed with the previous secret", by("HS256", func() any { return []byte(otherSecret) }, hsHeader), "all", "", ""},
	{"is signed by RS256", by("RS256", rsaPrivate, header("RS256")), "all", "", ""},
	{"is signed by PS384", by("PS384", rsaPrivate, header("PS384")), "all", "", ""},
	{"is signed by ES256", by("ES256", func() any { return p256() }, header("ES256")), "all", "", ""},
	{"is signed by EdDSA", by("EdDSA", func() any { return ed() }, header("EdDSA")), "all", "", ""},
	{"is signed by HS512", by("HS512", secretKey, header("HS512")), "", "", ""},
	{"says none", func(now time.Time) string { return b64(header("none")) + "." + b64(claimsAt(now, nil)) + "." }, "", BadAlgorithm, "not signed"},
	{"says None", func(now time.Time) string { return b64(header("None")) + "." + b64(claimsAt(now, nil)) + "." }, "", BadAlgorithm, "not signed"},
	{"says nOnE, and is signed", by("HS256", secretKey, header("nOnE")), "", BadAlgorithm, "not signed"},
	{"says none, where there are public keys", func(now time.Time) string { return b64(header("none")) + "." + b64(claimsAt(now, nil)) + "." }, "rsa", BadAlgorithm, "not signed"},
	{"says no algorithm", by("HS256", secretKey, `{"typ":"JWT"}`), "", BadAlgorithm, "says none (alg)"},
	{"says an empty algorithm", by("HS256", secretKey, header("")), "", BadAlgorithm, ""},
	{"says an algorithm that is a number", by("HS256", secretKey, `{"alg":256}`), "", Malformed, "alg is not text"},
	{"says an algorithm that is null", by("HS256", secretKey, `{"alg":null}`), "", Malformed, "alg is not text"},
	{"says an algorithm that is a list", by("HS256", secretKey, `{"alg":["HS256"]}`), "", Malformed, "alg is not text"},
	{"says an algorithm that there is not", by("HS256", secretKey, header("HS1")), "", BadAlgorithm, "there is no algorithm"},
	{"says an algorithm in lower case", by("HS256", secretKey, header("hs256")), "", BadAlgorithm, "there is no algorithm"},
	{"says an algorithm with a space", by("HS256", secretKey, header("HS256 ")), "", BadAlgorithm, "there is no algorithm"},
	{"is HS256 with the public key, PEM, as secret", by("HS256", publicAsSecret, hsHeader), "rsa", BadAlgorithm, "there is no secret"},
	{"is HS256 with the public key, where there is a secret too", by("HS256", publicAsSecret, hsHeader), "all", BadSignature, "either secret"},
	{"is HS256 with the public key, DER, as secret", by("HS256", func() any { return must(x509.MarshalPKIXPublicKey(&rsaKey().PublicKey)) }, hsHeader), "all", BadSignature, ""},
	{"is HS256 with an empty secret", by("HS256", func() any { return []byte{} }, hsHeader), "rsa", BadAlgorithm, ""},
	{"says ES256, where the key is on P-384", by("ES256", func() any { return p256() }, header("ES256")), "p384", BadAlgorithm, "P-384"},
	{"is signed by P-384 and says ES384, where the key is on P-256", by("ES384", func() any { return p384() }, header("ES384")), "p256", BadAlgorithm, "P-256"},
	{"is ES512, where the key is on P-256", by("ES512", func() any { return p521() }, header("ES512")), "all", BadAlgorithm, ""},
	{"says PS256, and is signed by RS256", by("RS256", rsaPrivate, header("PS256")), "all", BadSignature, ""},
	{"says RS256, and is signed by PS256", by("PS256", rsaPrivate, header("RS256")), "all", BadSignature, ""},
	{"says RS256, and is signed with the secret", by("HS256", secretKey, header("RS256")), "all", BadSignature, ""},
	{"says HS256, and is signed by RS256", by("RS256", rsaPrivate, hsHeader), "all", BadSignature, ""},
	{"is RS512, where there may be RS256", by("RS512", rsaPrivate, header("RS512")), "RS256", BadAlgorithm, "there may be RS256"},
	{"is HS512, with a secret that is too short for it", by("HS512", func() any { return []byte(theSecret[:40]) }, header("HS512")), "short", BadAlgorithm, "64 bytes"},
	{"is of another RSA key", by("RS256", func() any { return otherRSA() }, header("RS256")), "rsa", BadSignature, "RSA key of 2048 bits"},
	{"is of another secret", by("HS256", func() any { return []byte(otherSecret) }, hsHeader), "", BadSignature, "secret"},
	{"has its own key in it (jwk)", by("RS256", func() any { return otherRSA() }, `{"alg":"RS256","jwk":{"kty":"RSA","n":"`+b64("n")+`","e":"AQAB"}}`), "rsa", BadSignature, ""},
	{"says where its key is (jku)", by("RS256", func() any { return otherRSA() }, `{"alg":"RS256","jku":"https://evil.example/jwks.json","kid":"1"}`), "rsa", BadSignature, ""},
	{"says where its certificate is (x5u)", by("RS256", func() any { return otherRSA() }, `{"alg":"RS256","x5u":"https://evil.example/c.pem","x5c":["MII="]}`), "rsa", BadSignature, ""},
	{"has a changed signature", spoilt(func(h, b, s string) string { return h + "." + b + "." + flip(s) }), "", BadSignature, ""},
	{"has no signature", spoilt(func(h, b, _ string) string { return h + "." + b + "." }), "", BadSignature, ""},
	{"has half a signature", spoilt(func(h, b, s string) string { return h + "." + b + "." + s[:20] }), "", BadSignature, ""},
	{"has a changed payload", spoilt(func(h, b, s string) string { return h + "." + flip(b) + "." + s }), "", BadSignature, ""},
	{"has a changed header", spoilt(func(h, b, s string) string { return b64(`{"alg":"HS256","typ":"jwt"}`) + "." + b + "." + s }), "", BadSignature, ""},
	{"has the signature of another one", spoilt(func(h, _, s string) string { return h + "." + b64(`{"sub":"root"}`) + "." + s }), "", BadSignature, ""},
	{"has a zero signature by ES256", func(now time.Time) string {
		return b64(header("ES256")) + "." + b64(claimsAt(now, nil)) + "." + b64(make([]byte, 64))
	}, "p256", BadSignature, ""},
}

// flip changes the first character.
func flip(s string) string {
	if s[0] == 'A' {
		return "B" + s[1:]
	}
	return "A" + s[1:]
}

// forms are tokens that are none, or could be read in two ways.
var forms = []forged{
	{"is text", func(time.Time) string { return "token" }, "", Malformed, "1 parts"},
	{"has two parts", spoilt(func(h, b, _ string) string { return h + "." + b }), "", Malformed, "2 parts"},
	{"has four parts", spoilt(func(h, b, s string) string { return h + "." + b + "." + s + "." }), "", Malformed, "4 parts"},
	{"is encrypted", spoilt(func(h, b, s string) string { return h + "." + b + "." + s + ".." }), "", Malformed, "encrypted"},
	{"is dots", func(time.Time) string { return ".." }, "", Malformed, "header is empty"},
	{"has padding", spoilt(func(h, b, s string) string { return h + "." + b + "." + s + "=" }), "", Malformed, "not base64url"},
	{"has a line's end in it", spoilt(func(h, b, s string) string { return h + ".\n" + b + "." + s }), "", Malformed, "not base64url"},
	{"has a space before it", spoilt(func(h, b, s string) string { return " " + h + "." + b + "." + s }), "", Malformed, "not base64url"},
	{"has base64 in place of base64url", spoilt(func(h, b, s string) string { return h + "." + b + "." + s[:len(s)-1] + "+" }), "", Malformed, "not base64url"},
	{"has a signature spelled otherwise", spoilt(func(h, b, s string) string { return h + "." + b + "." + s[:len(s)-1] + next(s[len(s)-1]) }), "", Malformed, "signature is not base64url"},
	{"is very long", claimed(set{"x": strings.Repeat("x", 9000)}), "", Malformed, "there may be 8192"},
	{"has a very long header", func(time.Time) string { return strings.Repeat("A", 20_000) + ".e30.e30" }, "", Malformed, "there may be 8192"},
	{"has a deep header", texts(`{"alg":"HS256","x":`+strings.Repeat("[", 1000)+strings.Repeat("]", 1000)+"}", "{}"), "", Malformed, "nested"},
	{"has a deep payload", texts(hsHeader, `{"sub":"u1","x":`+strings.Repeat(`{"a":`, 17)+"1"+strings.Repeat("}", 17)+"}"), "", Malformed, "nested"},
	{"has a header that is no JSON", texts("alg=HS256", "{}"), "", Malformed, "header is not valid JSON"},
	{"has a header that is a list", texts(`["HS256"]`, "{}"), "", Malformed, "header is not a JSON object"},
	{"has a header and more", texts(hsHeader+hsHeader, "{}"), "", Malformed, "header is not valid JSON"},
	{"has a payload that is no JSON", texts(hsHeader, "sub=u1"), "", Malformed, "payload is not valid JSON"},
	{"has a payload that is a list", texts(hsHeader, `["u1"]`), "", Malformed, "payload is not a JSON object"},
	{"has a payload that is null", texts(hsHeader, "null"), "", Malformed, "payload is not a JSON object"},
	{"has a payload that is another token", func(now time.Time) string { return sign("HS256", []byte(theSecret), hsHeader, hs(now, nil)) }, "", Malformed, "payload"},
	{"has a user twice", texts(hsHeader, `{"sub":"u1","sub":"root"}`), "", Malformed, `\"sub\" twice`},
	{"has a user twice, once spelled otherwise", texts(hsHeader, `{"sub":"u1","s\u0075b":"root"}`), "", Malformed, "twice"},
	{"has something twice further in", texts(hsHeader, `{"sub":"u1","x":[{"a":1,"a":2}]}`), "", Malformed, "twice"},
	{"has an algorithm twice", texts(`{"alg":"HS256","alg":"none"}`, `{"sub":"u1"}`), "", Malformed, "twice"},
	{"has too many claims", texts(hsHeader, manyClaims(300)), "", Malformed, "more than 256 members"},
	{"has bytes that are no text", texts(hsHeader, "{\"sub\":\"u\xff\"}"), "", Malformed, "payload is not valid JSON"},
	{"must be understood otherwise", texts(`{"alg":"HS256","crit":["exp"]}`, "{}"), "", Malformed, "crit"},
	{"says that nothing must be understood", texts(`{"alg":"HS256","crit":[]}`, "{}"), "", Malformed, "crit"},
	{"has a payload that is not encoded", texts(`{"alg":"HS256","b64":false}`, "{}"), "", Malformed, "b64"},
	{"has a payload that is encoded, as always", by("HS256", secretKey, `{"alg":"HS256","b64":true}`), "", "", ""},
	{"says that it is encrypted", texts(`{"alg":"HS256","enc":"A256GCM"}`, "{}"), "", Malformed, "encrypted"},
	{"names a key that is a number", texts(`{"alg":"HS256","kid":7}`, "{}"), "", Malformed, "kid is not text"},
	{"names a key at length", texts(`{"alg":"HS256","kid":"`+strings.Repeat("k", 300)+`"}`, "{}"), "", UnknownKey, "300 bytes"},
	{"names a key that is a file", by("HS256", secretKey, `{"alg":"HS256","kid":"../../dev/null"}`), "", "", ""},
}

// next is the character whose last bits, which mean nothing, are others.
func next(c byte) string {
	const all = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(all[strings.IndexByte(all, c)^1])
}

func manyClaims(n int) string {
	var b strings.Builder
	b.WriteString(`{"sub":"u1"`)
	for i := range n {
		fmt.Fprintf(&b, `,"c%d":1`, i)
	}
	return b.String() + "}"
}

// contents are tokens that somebody has signed whose claims will not do.
var contents = []forged{
	{"has ended", later("exp", -time.Hour), "", Expired, "1h0m"},
	{"ended a moment ago, within leeway", later("exp", -29*time.Second), "", "", ""},
	{"ended just beyond leeway", later("exp", -31*time.Second), "", Expired, "leeway is 30s"},
	{"ends at a text", claimed(set{"exp": "4102444800"}), "", Malformed, "exp is"},
	{"ends within a second", func(now time.Time) string { return hs(now, set{"exp": float64(now.Unix()) + 60.5}) }, "", "", ""},
	{"ended before there were computers", claimed(set{"exp": -1}), "", Expired, ""},
	{"ends never, by a number that is none", texts(hsHeader, `{"sub":"u1","iss":"https://id.example","aud":"web","exp":1e400}`), "", Malformed, "exp is"},
	{"ends long before all time", texts(hsHeader, `{"sub":"u1","iss":"https://id.example","aud":"web","exp":-1e300}`), "", Malformed, "exp is"},
	{"ends at milliseconds", func(now time.Time) string { return hs(now, set{"exp": now.UnixMilli() + 600_000}) }, "", Malformed, "milliseconds"},
	{"ends at a number that overflows", claimed(set{"exp": 9223372036854775807.0 * 4}), "", Malformed, "milliseconds"},
	{"ends at null", texts(hsHeader, `{"sub":"u1","iss":"https://id.example","aud":"web","exp":null}`), "", Malformed, "exp is"},
	{"ends at true", claimed(set{"exp": true}), "", Malformed, "exp is"},
	{"ends at a list", claimed(set{"exp": []int{4102444800}}), "", Malformed, "exp is"},
	{"does not end, where it may not", claimed(set{"exp": nil}), "exp", Malformed, "there is no exp"},
	{"does not end, where it may", claimed(set{"exp": nil}), "", "", ""},
	{"ends in capital letters", claimed(set{"exp": nil, "EXP": 1}), "", "", ""},
	{"has not begun", later("nbf", time.Minute), "", NotYet, "nbf is"},
	{"begins in a moment, within leeway", later("nbf", 20*time.Second), "", "", ""},
	{"begins at a text", claimed(set{"nbf": "now"}), "", Malformed, "nbf is"},
	{"was issued tomorrow", later("iat", 24*time.Hour), "", NotYet, "iat is"},
	{"was issued at a text", claimed(set{"iat": "now"}), "", Malformed, "iat is"},
	{"is of another issuer", claimed(set{"iss": "https://evil.example"}), "", BadIssuer, "https://id.example"},
	{"is of an issuer with more", claimed(set{"iss": "https://id.example/"}), "", BadIssuer, ""},
	{"is of no issuer", claimed(set{"iss": nil}), "", BadIssuer, "there is no iss"},
	{"is of a list of issuers", claimed(set{"iss": []string{"https://id.example"}}), "", BadIssuer, ""},
	{"is for others too", claimed(set{"aud": []string{"billing", "realtime"}}), "", "", ""},
	{"is for others", claimed(set{"aud": []string{"billing", "mail"}}), "", BadAudience, "billing"},
	{"is for one that begins as we do", claimed(set{"aud": "realtime2"}), "", BadAudience, ""},
	{"is for several in one text", claimed(set{"aud": "billing realtime"}), "", BadAudience, ""},
	{"is for nobody", claimed(set{"aud": nil}), "", BadAudience, "there is no aud"},
	{"is for an empty list", claimed(set{"aud": []string{}}), "", BadAudience, ""},
	{"is for a number", claimed(set{"aud": 7}), "", Malformed, "aud"},
	{"is for a list with a number", claimed(set{"aud": []any{"realtime", 7}}), "", Malformed, "aud"},
	{"has no user", claimed(set{"sub": nil}), "", BadUser, "there is no"},
	{"has a user in capital letters", claimed(set{"sub": nil, "SUB": "u1"}), "", BadUser, "there is no"},
	{"has an empty user", claimed(set{"sub": ""}), "", BadUser, ""},
	{"has a user that is a number", claimed(set{"sub": 42}), "", "", ""},
	{"has a user that is half a number", claimed(set{"sub": 4.2}), "", BadUser, ""},
	{"has a user that is true", claimed(set{"sub": true}), "", BadUser, ""},
	{"has a user that is an object", claimed(set{"sub": set{"id": 1}}), "", BadUser, ""},
	{"has a user that is null", texts(hsHeader, `{"sub":null,"iss":"https://id.example","aud":"web"}`), "", BadUser, ""},
	{"has a very long user", claimed(set{"sub": strings.Repeat("u", 257)}), "", BadUser, "257 bytes"},
	{"has a user of two lines", claimed(set{"sub": "u1\nadmin"}), "", BadUser, "control characters"},
	{"has a user further in", claimed(set{"sub": nil, "https://id.example/user": set{"name": "u1"}}), "nested", "", ""},
	{"has a scope that is a number", claimed(set{"scope": 7}), "", Malformed, "scope"},
	{"has rooms that are numbers", claimed(set{"rooms": []int{1, 2}}), "", Malformed, "rooms"},
	{"has namespaces that are an object", claimed(set{"namespaces": set{"/": 1}}), "", Malformed, "namespaces"},
	{"has an id that is a number", claimed(set{"jti": 7}), "", Malformed, "jti"},
}

// TestHostileTokens brings each of them to a server.
func TestHostileTokens(t *testing.T) {
	rows := append(append(append([]forged(nil), signatures...), forms...), contents...)
	if len(rows) < 50 {
		t.Fatalf("there are %d rows", len(rows))
	}
	seen := map[Reason]bool{}
	for _, row := range rows {
		seen[row.reason] = true
		t.Run(row.name, func(t *testing.T) {
			var log said
			a := authority(t, settingsOf(row.keys), Options{Logger: log.logger()})
			srv := serve(t, a, sio.Options{})
			token := row.token(srv.Now())
			code, why := refused(t, srv, "/", with(token))
			if why != row.reason || why != "" && code != 401 {
				t.Fatalf("the client is told %d %q, want %q; the log says %s", code, why, row.reason, log.String())
			}
			for _, path := range []string{"Authorization", "access_token"} {
				if _, why := refused(t, srv, "/", brings(path, token)); why != row.reason && !strings.ContainsAny(token, "\n =+") {
					t.Errorf("by %s the client is told %q, want %q", path, why, row.reason)
				}
			}
			checkLog(t, log.String(), token, row)
			if n := a.Stats(); (n.Refused[row.reason] > 0) != (row.reason != "") {
				t.Errorf("Stats = %+v", n)
			}
		})
	}
	for _, r := range []Reason{Expired, NotYet, BadSignature, BadAlgorithm, UnknownKey, BadIssuer, BadAudience, BadUser, Malformed} {
		if !seen[r] {
			t.Errorf("no row is for %q", r)
		}
	}
}

// checkLog looks at what is said of a token: why it is refused, and nothing that could
// be used.
func checkLog(t *testing.T, log, token string, row forged) {
	t.Helper()
	if row.reason == "" {
		if log != "" {
			t.Errorf("the log says %s", log)
		}
		return
	}
	if !strings.Contains(log, "a client is refused: "+string(row.reason)) || !strings.Contains(log, row.log) {
		t.Errorf("the log says %s, want %q and %q", log, row.reason, row.log)
	}
	sig := token[strings.LastIndexByte(token, '.')+1:]
	for _, x := range []string{token, sig, theSecret, "BEGIN"} {
		if len(x) > 8 && strings.Contains(log, x) {
			t.Errorf("the log has %.40q in it: %s", x, log)
		}
	}
	if len(log) > 4096 {
		t.Errorf("the log has %d bytes", len(log))
	}
}
