package identity

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// A keyServer publishes keys, as it is told.
type keyServer struct {
	*httptest.Server
	asked atomic.Int64

	mu     sync.Mutex
	answer http.HandlerFunc
}

func newKeyServer(t testing.TB, answer http.HandlerFunc) *keyServer {
	k := &keyServer{answer: answer}
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.asked.Add(1)
		k.mu.Lock()
		f := k.answer
		k.mu.Unlock()
		f(w, r)
	}))
	t.Cleanup(k.Close)
	return k
}

func (k *keyServer) set(answer http.HandlerFunc) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.answer = answer
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
}

// jwk returns a public key as JSON, with what else is said of it.
func jwk(key crypto.PublicKey, kid string, change set) json.RawMessage {
	k := must(jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid}, Marshal: jwkset.JWKMarshalOptions{Private: true}}))
	var all map[string]any
	_ = json.Unmarshal(must(json.Marshal(k.Marshal())), &all)
	delete(all, "alg")
	for name, v := range change {
		all[name] = v
	}
	return must(json.Marshal(all))
}

func jwksOf(keys ...json.RawMessage) string {
	return string(must(json.Marshal(map[string]any{"keys": keys})))
}

// fetching are settings with a server of keys alone.
func fetching(url string, change func(*config.JWT)) config.Auth {
	return jwtAuth(func(c *config.JWT) {
		c.Secret, c.JWKSURL, c.JWKSTimeout = "", url, 5*time.Second
		if change != nil {
			change(c)
		}
	})
}

// token makes a good token that names its key.
func kidToken(alg string, key any, kid string) string {
	return sign(alg, key, fmt.Sprintf(`{"alg":%q,"kid":%q}`, alg, kid), claimsAt(time.Now(), nil))
}

// reason is why a token is refused, "" if it is not.
func reason(a *Authority, token string) Reason {
	_, err := a.Verify(a.ctx, token)
	var r *Refusal
	if errors.As(err, &r) {
		return r.Reason
	}
	return ""
}

// due lets the server be asked again.
func due(a *Authority) {
	j := a.v.Load().jwks
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last = time.Now().Add(-24 * time.Hour)
}

func TestKeysOfAServer(t *testing.T) {
	srv := newKeyServer(t, says(jwksOf(
		jwk(&rsaKey().PublicKey, "r", nil), jwk(&p256().PublicKey, "e", set{"use": "sig", "alg": "ES256"}), jwk(ed().Public(), "d", set{"key_ops": []string{"verify"}}),
		jwk(&otherRSA().PublicKey, "enc", set{"use": "enc"}), jwk(&p384().PublicKey, "wrong", set{"alg": "ES256"}), jwk([]byte(theSecret), "oct", nil),
		jwk(&p521().PublicKey, "ops", set{"key_ops": []string{"encrypt"}}), jwk(&weakRSA().PublicKey, "weak", nil),
	)))
	var log said
	a := authority(t, fetching(srv.URL, nil), Options{Logger: log.logger()})
	for name, x := range map[string]struct {
		token string
		want  Reason
	}{
		"RSA":                    {kidToken("RS256", rsaKey(), "r"), ""},
		"RSA, PS":                {kidToken("PS512", rsaKey(), "r"), ""},
		"P-256":                  {kidToken("ES256", p256(), "e"), ""},
		"Ed25519":                {kidToken("EdDSA", ed(), "d"), ""},
		"no kid":                 {sign("EdDSA", ed(), header("EdDSA"), claimsAt(time.Now(), nil)), ""},
		"no kid, no such key":    {sign("ES512", p521(), header("ES512"), claimsAt(time.Now(), nil)), BadAlgorithm},
		"another key's name":     {kidToken("RS256", otherRSA(), "r"), BadSignature},
		"a key of another kind":  {kidToken("ES256", p256(), "r"), BadAlgorithm},
		"a key for encryption":   {kidToken("RS256", otherRSA(), "enc"), UnknownKey},
		"a key on another curve": {kidToken("ES384", p384(), "wrong"), UnknownKey},
		"a secret":               {kidToken("HS256", []byte(theSecret), "oct"), BadAlgorithm},
		"a key for other things": {kidToken("ES512", p521(), "ops"), UnknownKey},
		"a weak key":             {kidToken("RS256", weakRSA(), "weak"), UnknownKey},
		"an unknown key":         {kidToken("RS256", rsaKey(), "x"), UnknownKey},
		"an empty name":          {kidToken("ES256", p256(), ""), ""},
	} {
		if got := reason(a, x.token); got != x.want {
			t.Errorf("%s: refused for %q, want %q", name, got, x.want)
		}
	}
	if n := srv.asked.Load(); n != 1 {
		t.Errorf("the server was asked %d times, want once", n)
	}
	if got := log.String(); !strings.Contains(got, "dropped=5") || !strings.Contains(got, "auth.jwt.jwks_url") || strings.Contains(got, theSecret) {
		t.Errorf("the log says %s", got)
	}
	if n := a.Stats(); n.Keys != 3 || n.JWKSFetched != 1 || n.KeysSince.IsZero() {
		t.Errorf("Stats = %+v", n)
	}
}

func TestKeysRotate(t *testing.T) {
	srv := newKeyServer(t, says(jwksOf(jwk(&rsaKey().PublicKey, "1", nil))))
	a := authority(t, fetching(srv.URL, nil), Options{})
	old, young := kidToken("RS256", rsaKey(), "1"), kidToken("RS256", otherRSA(), "2")
	if got := reason(a, old); got != "" {
		t.Fatalf("refused for %q", got)
	}
	srv.set(says(jwksOf(jwk(&rsaKey().PublicKey, "1", nil), jwk(&otherRSA().PublicKey, "2", nil))))
	for range 20 {
		if got := reason(a, young); got != UnknownKey {
			t.Fatalf("a moment later the new key is refused for %q", got)
		}
	}
	if n := srv.asked.Load(); n != 1 {
		t.Fatalf("the server was asked %d times within the floor", n)
	}
	due(a)
	for name, token := range map[string]string{"new": young, "old": old} {
		if got := reason(a, token); got != "" {
			t.Errorf("the %s key is refused for %q", name, got)
		}
	}
	// The old one is withdrawn: what it has verified counts no more.
	srv.set(says(jwksOf(jwk(&otherRSA().PublicKey, "2", nil))))
	due(a)
	if got := reason(a, kidToken("RS256", rsaKey(), "3")); got != UnknownKey {
		t.Errorf("a third key is refused for %q", got)
	}
	if got := reason(a, old); got != UnknownKey {
		t.Errorf("the old token is refused for %q", got)
	}
	if got := reason(a, young); got != "" {
		t.Errorf("the new token is refused for %q", got)
	}
}

func TestKeysAreFetchedAgain(t *testing.T) {
	srv := newKeyServer(t, says(jwksOf(jwk(&rsaKey().PublicKey, "1", nil))))
	var changed atomic.Int64
	j := newJWKS(jwksConfig{url: srv.URL, refresh: 5 * time.Millisecond, floor: time.Hour, timeout: time.Second}, authority(t, config.Auth{}, Options{}).notices, func() { changed.Add(1) })
	defer j.close()
	for srv.asked.Load() < 3 {
		time.Sleep(time.Millisecond)
	}
	srv.set(says(jwksOf(jwk(&otherRSA().PublicKey, "2", nil))))
	for changed.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, r := j.find(t.Context(), "2", "RS256"); r != nil {
		t.Errorf("the new key: %v", r)
	}
}

// Whatever a server does in place of answering, the keys that it gave last stay.
func TestServersOfKeysThatFail(t *testing.T) {
	good := jwksOf(jwk(&rsaKey().PublicKey, "1", nil))
	var many []json.RawMessage
	for i := range 2 * maxKeys {
		many = append(many, jwk(&p256().PublicKey, fmt.Sprint(i), set{"use": "enc"}))
	}
	for name, answer := range map[string]http.HandlerFunc{
		"it fails":        func(w http.ResponseWriter, _ *http.Request) { http.Error(w, good, 500) },
		"it has nothing":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
		"it is elsewhere": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"it is slow":      func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"it is slow half way": func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(good[:20]))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
		"it answers for ever":  endless,
		"it says too much":     says(`{"x":"` + strings.Repeat("x", maxJWKS) + `",` + good[1:]),
		"a page":               says("<html>sign in</html>"),
		"nothing":              says(""),
		"a list":               says(`["keys"]`),
		"no keys":              says("{}"),
		"keys that are a text": says(`{"keys":"x"}`),
		"an empty list":        says(`{"keys":[]}`),
		"keys that are none":   says(`{"keys":[1,"x",null,{},[],{"kty":7},{"kty":"RSA"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"OKP","crv":"Ed25519","x":"AA"},{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`),
		"many that are none":   says(jwksOf(many...)),
		"it is deep":           says(strings.Repeat(`{"keys":[`, 100_000)),
		"it hangs up":          func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"long fields": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", maxJWKSHeader))
			_, _ = w.Write([]byte(good))
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := newKeyServer(t, answer)
			srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
			var log said
			a := authority(t, fetching(srv.URL, func(c *config.JWT) { c.JWKSTimeout = 200 * time.Millisecond }), Options{Logger: log.logger()})
			token := kidToken("RS256", rsaKey(), "1")
			if got := reason(a, token); got != Unavailable {
				t.Errorf("without keys a token is refused for %q", got)
			}
			if got := log.String(); !strings.Contains(got, "auth.jwt.jwks_url") || len(got) > 8192 {
				t.Errorf("the log says %s", got)
			}
			srv.set(says(good))
			due(a)
			if got := reason(a, token); got != "" {
				t.Fatalf("when it answers a token is refused for %q", got)
			}
			srv.set(answer)
			due(a)
			if got := reason(a, kidToken("RS256", rsaKey(), "2")); got != Unavailable {
				t.Errorf("an unknown key is refused for %q", got)
			}
			if got := reason(a, kidToken("PS256", rsaKey(), "1")); got != "" {
				t.Errorf("with the last keys a token is refused for %q", got)
			}
			if n := a.Stats(); n.JWKSFailed < 2 || n.Keys != 1 {
				t.Errorf("Stats = %+v", n)
			}
		})
	}
}

func endless(w http.ResponseWriter, r *http.Request) {
	line := []byte(strings.Repeat(" ", 64<<10))
	for r.Context().Err() == nil {
		if _, err := w.Write(line); err != nil {
			return
		}
	}
}

// Many tokens with keys that nobody knows have the server asked once.
func TestOneRequestForMany(t *testing.T) {
	asked := make(chan struct{})
	answer := make(chan struct{})
	var once sync.Once
	srv := newKeyServer(t, func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(asked) })
		<-answer
		says(jwksOf(jwk(&rsaKey().PublicKey, "1", nil)))(w, r)
	})
	a := authority(t, fetching(srv.URL, nil), Options{})
	token := kidToken("RS256", rsaKey(), "1")
	<-asked
	var all sync.WaitGroup
	var wrong atomic.Int64
	for range 50 {
		all.Go(func() {
			if reason(a, token) != "" {
				wrong.Add(1)
			}
		})
	}
	for a.v.Load().jwks.waiters.Load() < 50 {
		time.Sleep(time.Millisecond)
	}
	close(answer)
	all.Wait()
	if n := srv.asked.Load(); n != 1 || wrong.Load() > 0 {
		t.Errorf("the server was asked %d times, and %d tokens refused", n, wrong.Load())
	}
	// And those that wait are bounded.
	j := a.v.Load().jwks
	j.waiters.Add(maxWaiters)
	due(a)
	if got := reason(a, kidToken("RS256", rsaKey(), "2")); got != Unavailable {
		t.Errorf("one too many is refused for %q", got)
	}
	j.waiters.Add(-maxWaiters)
}

// Keys that were kept are used at a start while their server is down, and not when it
// answers.
func TestKeptKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	srv := newKeyServer(t, says(jwksOf(jwk(rsaKey(), "1", nil)))) // with its private part, by mistake
	auth := fetching(srv.URL, func(c *config.JWT) { c.JWKSFile = file })
	token := kidToken("RS256", rsaKey(), "1")
	if got := reason(authority(t, auth, Options{}), token); got != "" {
		t.Fatalf("refused for %q", got)
	}
	b := must(os.ReadFile(file))
	if strings.Contains(string(b), `"d"`) || !strings.Contains(string(b), `"kid":"1"`) {
		t.Errorf("the file has %s", b)
	}
	if info := must(os.Stat(file)); info.Mode().Perm() != 0o600 {
		t.Errorf("the file may be read by others: %v", info.Mode())
	}
	srv.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	a := authority(t, auth, Options{})
	if got := reason(a, token); got != "" {
		t.Errorf("with what was kept a token is refused for %q", got)
	}
	srv.set(says(jwksOf(jwk(&otherRSA().PublicKey, "2", nil))))
	due(a)
	if got := reason(a, kidToken("RS256", otherRSA(), "2")); got != "" {
		t.Errorf("a new key is refused for %q", got)
	}
	if got := reason(a, token); got != UnknownKey {
		t.Errorf("what was kept is refused for %q when the server answers", got)
	}
	for name, text := range map[string]string{"garbage": "garbage", "too long": strings.Repeat(" ", maxJWKS+1), "empty": ""} {
		var log said
		srv.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := reason(authority(t, auth, Options{Logger: log.logger()}), token); got != Unavailable || !strings.Contains(log.String(), "auth.jwt.jwks_file") {
			t.Errorf("with a file that is %s a token is refused for %q; the log says %s", name, got, log.String())
		}
	}
}

// While there are no keys a client is not told that it is not believed, which would keep
// it away: its connection is closed, and it comes back.
func TestClientsComeBackForKeys(t *testing.T) {
	keys := newKeyServer(t, says("not yet"))
	a := authority(t, fetching(keys.URL, nil), Options{})
	srv := serve(t, a, sio.Options{})
	conn := srv.Dial(siotest.Options{})
	conn.Send(`40{"token":"` + kidToken("RS256", rsaKey(), "1") + `"}`)
	for _, p := range conn.Received() {
		if strings.HasPrefix(p, "44") {
			t.Errorf("it is told %s", p)
		}
	}
	if a.Stats().Refused[Unavailable] != 1 {
		t.Errorf("Stats = %+v", a.Stats())
	}
	keys.set(says(jwksOf(jwk(&rsaKey().PublicKey, "1", nil))))
	due(a)
	srv.ConnectWith("/", with(kidToken("RS256", rsaKey(), "1")))
}
