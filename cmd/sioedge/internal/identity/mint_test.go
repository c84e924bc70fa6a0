package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// The keys of the tests, made once.
var (
	rsaKey      = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	otherRSA    = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	weakRSA     = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 1024)) })
	p256        = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	p384        = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	p521        = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)) })
	ed          = sync.OnceValue(func() ed25519.PrivateKey { _, k, err := ed25519.GenerateKey(rand.Reader); return must(k, err) })
	theSecret   = strings.Repeat("0123456789abcdef", 4)
	otherSecret = strings.Repeat("fedcba9876543210", 4)
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// pemOf returns public keys as PEM.
func pemOf(keys ...any) string {
	var b strings.Builder
	for _, k := range keys {
		_ = pem.Encode(&b, &pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(k))})
	}
	return b.String()
}

// b64 is a part of a token.
func b64[T string | []byte](s T) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// sign makes a token of two texts, whatever is in them.
func sign(alg string, key any, header, payload string) string {
	signed := b64(header) + "." + b64(payload)
	return signed + "." + b64(must(jwt.GetSigningMethod(alg).Sign(signed, key)))
}

// A set is claims, with those that change; nil takes one away.
type set map[string]any

// claimsAt returns the claims of a good token.
func claimsAt(now time.Time, change set) string {
	all := set{"sub": "u1", "iss": "https://id.example", "aud": "realtime", "iat": now.Unix(), "exp": now.Unix() + 600}
	maps.Copy(all, change)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return string(must(json.Marshal(all)))
}

// hs makes a token with the secret.
func hs(now time.Time, change set) string {
	return sign("HS256", []byte(theSecret), `{"alg":"HS256","typ":"JWT"}`, claimsAt(now, change))
}

// jwtAuth is settings that the good token passes.
func jwtAuth(change func(*config.JWT)) config.Auth {
	auth := config.Auth{Mode: "jwt", JWT: config.JWT{
		Secret: theSecret, Issuer: "https://id.example", Audience: []string{"web", "realtime"}, Leeway: 30 * time.Second, UserClaim: "sub",
		ScopeClaim: "scope", RoomsClaim: "rooms", NamespacesClaim: "namespaces", EventsClaim: "events", Expire: "close",
	}}
	if change != nil {
		change(&auth.JWT)
	}
	return auth
}

// A said is a log that can be looked at.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *said) logger() *slog.Logger { return slog.New(slog.NewTextHandler(s, nil)) }

// authority returns an Authority that ends with the test.
func authority(t testing.TB, auth config.Auth, o Options, claims ...string) *Authority {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a, err := New(auth, claims, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Errorf("Close: %v", err)
		}
	})
	return a
}

// serve registers an Authority with a server whose namespaces ask for what their names
// say: /, /optional and /none.
func serve(t testing.TB, a *Authority, o sio.Options) *siotest.Server {
	t.Helper()
	a.Options(&o)
	srv := siotest.New(t, o)
	a.Register(srv.Server)
	for name, need := range map[string]Need{"/": Required, "/more": Required, "/optional": Optional, "/none": None} {
		enter(a, srv.Of(name), need)
	}
	return srv
}

// enter has a namespace ask for something.
func enter(a *Authority, ns *sio.Namespace, need Need) {
	ns.Use(func(s sio.Socket) error { _, err := a.Admit(s, need); return err })
	ns.OnConnect(func(s sio.Socket) error { a.Connected(s); return nil })
	ns.Handle(RefreshEvent, a.Refresh)
	ns.Handle("who", func(s sio.Socket, m *sio.Msg) error {
		if id := a.Of(s); id != nil {
			return m.Ack(id.User)
		}
		return m.Ack(nil)
	})
}

// with is what a client brings.
func with(token string) siotest.Options {
	return siotest.Options{Auth: map[string]any{"token": token}}
}

// refused returns the code and the reason that a client is told of a refusal; "" if it
// is admitted.
func refused(t testing.TB, srv *siotest.Server, ns string, o siotest.Options) (code int, why Reason) {
	t.Helper()
	_, err := srv.Try(ns, o)
	if err == nil {
		return 0, ""
	}
	e, ok := err.(*siotest.ConnectError)
	var data struct {
		Code   int
		Reason Reason
	}
	if !ok || e.Message != "unauthorized" || json.Unmarshal(e.Data, &data) != nil {
		t.Fatalf("connecting failed with %v, want unauthorized", err)
	}
	return data.Code, data.Reason
}

// user asks a client's server who it is.
func user(t testing.TB, c *siotest.Client) string {
	t.Helper()
	var name string
	c.EmitAck("who").Decode(&name)
	return name
}

// brings is a client that brings a token in its request.
func brings(where, token string) siotest.Options {
	if where == "Authorization" {
		return siotest.Options{Header: http.Header{"Authorization": {"Bearer " + token}}}
	}
	return siotest.Options{Query: url.Values{"access_token": {token}}}
}
