package identity

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

// FuzzTokens brings anything, by all ways. Nobody is somebody without the secret, and
// nothing breaks; what is signed is believed as it stands.
func FuzzTokens(f *testing.F) {
	now := time.Unix(1_764_000_000, 0)
	good := hs(now, set{"exp": now.Unix() + 600})
	auth := jwtAuth(func(c *config.JWT) { c.PublicKey = pemOf(&p256().PublicKey, ed().Public()) })
	a := authority(f, auth, Options{}, "a.b", "plan")
	v := a.v.Load()
	v.now = func() time.Time { return now }
	for _, row := range append(append([]forged(nil), forms...), contents...) {
		if row.keys == "" {
			f.Add([]byte(`"`+strings.ReplaceAll(row.token(now), "\n", "")+`"`), "Bearer x", "{}", hsHeader)
		}
	}
	f.Add([]byte(`"`+good+`"`), "Bearer "+good, claimsAt(now, nil), hsHeader)
	f.Add([]byte("null"), "bearer  "+good, claimsAt(now, set{"scope": "a b", "rooms": []string{"*"}, "a": set{"b": 1}}), `{"alg":"HS256","kid":"x"}`)
	known := map[string]bool{good: true}
	f.Fuzz(func(t *testing.T, auth []byte, field, payload, head string) {
		if json.Valid(auth) {
			if token, r := fromAuth(auth); r == nil && token != "" && !known[token] {
				check(t, a, v, token)
			}
		}
		if token, _ := fromRequest([]string{field}, []string{field}); token != "" && !known[token] {
			check(t, a, v, token)
		}
		v.says(field)
		token := sign("HS256", []byte(theSecret), head, payload)
		j, r := v.judge(t.Context(), token, new(scratch))
		if r != nil {
			return
		}
		var claims map[string]any
		if err := json.Unmarshal([]byte(payload), &claims); err != nil {
			t.Fatalf("a payload is believed that is none: %q", payload)
		}
		user := j.id.User
		if user == "" || len(user) > maxUser || !utf8.ValidString(user) || user != v.says(token) {
			t.Errorf("the user is %q, before it was verified %q", user, v.says(token))
		}
		if s, ok := claims["sub"].(string); ok && s != user {
			t.Errorf("the user is %q, and encoding/json has %q", user, s)
		}
		if exp, ok := claims["exp"].(float64); ok && float64(now.Unix()) >= exp+31 {
			t.Errorf("it is believed, and ended at %v", exp)
		}
	})
}

// check has a token refused that nobody has signed, for a reason that there is.
func check(t *testing.T, a *Authority, v *verifier, token string) {
	t.Helper()
	j, r := v.judge(t.Context(), token, new(scratch))
	if r == nil && !strings.HasPrefix(j.by.name(), "the secret") { // a corpus may have good ones of the secret
		t.Fatalf("%q is believed: %+v", token, j.id)
	}
	if r != nil && (r.Detail == "" || len(r.Error()) > 4096) {
		t.Errorf("%q is refused with %q", token, r.Error())
	}
	a.Explain(t.Context(), token)
}

func BenchmarkVerify(b *testing.B) {
	auth := jwtAuth(func(c *config.JWT) { c.PublicKey = pemOf(&p256().PublicKey, &rsaKey().PublicKey, ed().Public()) })
	a := authority(b, auth, Options{}, "plan")
	v := a.v.Load()
	payload := claimsAt(time.Now(), set{"jti": "0b6f3a52-5a53-4b0b-9b43-3fca1a1b3f7c", "scope": "read write", "rooms": []string{"campaign:42:*", "lobby"}, "plan": "pro", "exp": time.Now().Unix() + 36000})
	for _, x := range []struct {
		alg string
		key any
	}{{"HS256", []byte(theSecret)}, {"ES256", p256()}, {"RS256", rsaKey()}, {"EdDSA", ed()}} {
		token := sign(x.alg, x.key, header(x.alg), payload)
		b.Run("alg="+x.alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tmp := scratches.Get().(*scratch)
				if _, r := v.judge(b.Context(), token, tmp); r != nil {
					b.Fatal(r)
				}
				tmp.done()
			}
		})
		b.Run("alg="+x.alg+"/cached", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, r := a.verify(b.Context(), v, token); r != nil {
					b.Fatal(r)
				}
			}
		})
	}
}

// BenchmarkMemory is what a connection takes whose client is somebody, beside what its
// value takes in package sio.
func BenchmarkMemory(b *testing.B) {
	a := authority(b, jwtAuth(nil), Options{})
	const n = 20_000
	var tokens []string
	for i := range n {
		tokens = append(tokens, hs(time.Now(), set{"sub": fmt.Sprint("user-", i), "jti": fmt.Sprint("token-", i), "scope": "read write", "rooms": "lobby"}))
	}
	v := a.v.Load()
	for b.Loop() {
		all := make([]*conn, n)
		before := heap()
		for i, token := range tokens {
			j, r := v.judge(b.Context(), token, new(scratch))
			if r != nil {
				b.Fatal(r)
			}
			all[i] = &conn{first: j.id}
		}
		b.ReportMetric(float64(heap()-before)/n, "B/client")
		runtime.KeepAlive(all)
	}
}

// heap returns the bytes that are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
