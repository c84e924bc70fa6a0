//go:build interop

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const secret = "0123456789abcdef0123456789abcdef"

// claims are those of a token, beside sub and exp.
type claims map[string]any

// token returns one that lasts for so long.
func token(t *testing.T, user string, lasts time.Duration, more claims) string {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, withUser(user, lasts, more)).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func withUser(user string, lasts time.Duration, more claims) jwt.MapClaims {
	all := jwt.MapClaims{"sub": user, "iat": time.Now().Unix(), "exp": time.Now().Add(lasts).Unix()}
	for k, v := range more {
		all[k] = v
	}
	return all
}

// An issuer publishes its keys, and changes them.
type issuer struct {
	*httptest.Server
	t *testing.T

	mu   sync.Mutex
	keys map[string]*ecdsa.PrivateKey
	down bool
	asks int
}

func newIssuer(t *testing.T) *issuer {
	i := &issuer{t: t, keys: map[string]*ecdsa.PrivateKey{}}
	i.Server = httptest.NewServer(http.HandlerFunc(i.serve))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) serve(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asks++
	if i.down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	b64 := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.FillBytes(make([]byte, 32))) }
	keys := []map[string]string{}
	for kid, k := range i.keys {
		keys = append(keys, map[string]string{"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid, "x": b64(k.X), "y": b64(k.Y)})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"keys": keys})
}

// rotate makes kid the one key that is published.
func (i *issuer) rotate(kid string) {
	i.t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = map[string]*ecdsa.PrivateKey{kid: k}
}

// token returns one that is signed with a key, published or not.
func (i *issuer) token(kid, user string, k *ecdsa.PrivateKey) string {
	i.t.Helper()
	x := jwt.NewWithClaims(jwt.SigningMethodES256, withUser(user, time.Hour, nil))
	x.Header["kid"] = kid
	text, err := x.SignedString(k)
	if err != nil {
		i.t.Fatal(err)
	}
	return text
}

func (i *issuer) key(kid string) *ecdsa.PrivateKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[kid]
}

// forged is a token whose signature is another's.
func forged(text string) string {
	parts := strings.Split(text, ".")
	first := "A"
	if parts[2][0] == 'A' {
		first = "B"
	}
	return parts[0] + "." + parts[1] + "." + first + parts[2][1:]
}
