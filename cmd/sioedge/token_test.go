package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

const tokenSecret = "--jwt-secret=0123456789abcdef0123456789abcdef"

// tokenRun runs sioedge token.
func tokenRun(t *testing.T, input string, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	cmd := command()
	cmd.SetArgs(append([]string{"token"}, args...))
	cmd.SetIn(strings.NewReader(input))
	cmd.SetOut(&out)
	err := cmd.Execute()
	return strings.TrimSpace(out.String()), err
}

func tokenGen(t *testing.T, args ...string) string {
	t.Helper()
	token, err := tokenRun(t, "", append([]string{"gen"}, args...)...)
	if err != nil {
		t.Fatalf("token gen %q: %v", args, err)
	}
	return token
}

func TestTokensThatAreMadeAreBelieved(t *testing.T) {
	settings := []string{tokenSecret, "--jwt-issuer=https://id", "--jwt-audience=a,b", "--jwt-user-claim=user.id"}
	token := tokenGen(t, append(settings, "--user=u7", "--rooms=a:*,b", "--scope=read write", "--namespaces=/x", "--events=e", `--claims={"plan":"pro","n":9007199254740993}`, "--ttl=630s")...)
	out, err := tokenRun(t, "", append(settings, "verify", token)...)
	if err != nil {
		t.Fatalf("it is not believed: %v\n%s", err, out)
	}
	for _, want := range []string{`valid: user "u7"`, "the secret of auth.jwt.secret with HS256", "in 10m", `"plan": "pro"`, "9007199254740993", `"a:*"`, `"scope": "read write"`} {
		if !strings.Contains(out, want) {
			t.Errorf("it says\n%s\nwant %s", out, want)
		}
	}
	if strings.Contains(out, "not verified") {
		t.Errorf("it says\n%s", out)
	}
	for _, input := range []string{token, token + "\n"} {
		for _, args := range [][]string{{"verify", "-"}, {"verify"}} {
			if out, err := tokenRun(t, input, append(settings, args...)...); err != nil {
				t.Errorf("by standard input: %v\n%s", err, out)
			}
		}
	}
}

// Each kind of key has its algorithm.
func TestTokensByPrivateKeys(t *testing.T) {
	dir := t.TempDir()
	write := func(name, kind string, der []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecDER, ecErr := x509.MarshalECPrivateKey(e)
	edDER, edErr := x509.MarshalPKCS8PrivateKey(private)
	for alg, x := range map[string]struct {
		path   string
		public any
	}{
		"RS256": {write("rsa", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(r), nil), &r.PublicKey},
		"ES384": {write("ec", "EC PRIVATE KEY", ecDER, ecErr), &e.PublicKey},
		"EdDSA": {write("ed", "PRIVATE KEY", edDER, edErr), public},
	} {
		der, err := x509.MarshalPKIXPublicKey(x.public)
		pub := write(alg, "PUBLIC KEY", der, err)
		out, err := tokenRun(t, "", "verify", "--jwt-public-key", pub, tokenGen(t, "--user=u", "--key", x.path, "--kid=k1"))
		if err != nil || !strings.Contains(out, "with "+alg) || !strings.Contains(out, `"kid": "k1"`) {
			t.Errorf("%s: %v\n%s", alg, err, out)
		}
	}
	if _, err := tokenRun(t, "", "gen", "--user=u", "--key", filepath.Join(dir, "RS256")); err == nil || !strings.Contains(err.Error(), "private key") {
		t.Errorf("a public key to sign with: %v", err)
	}
	if _, err := tokenRun(t, "", "gen", "--user=u", "--key", filepath.Join(dir, "ec"), "--alg=ES256"); err == nil {
		t.Error("a key with another curve's algorithm is no error")
	}
}

// What is wrong with a token is said in words.
func TestWhyATokenIsNotBelieved(t *testing.T) {
	good := tokenGen(t, tokenSecret, "--user=u7")
	for name, x := range map[string]struct {
		token string
		args  []string
		want  []string
	}{
		"expired":      {tokenGen(t, tokenSecret, "--user=u7", "--ttl=-1h"), nil, []string{"token expired", "exp was ", "1h0m", "leeway is 30s", `"sub": "u7"`}},
		"not yet":      {tokenGen(t, tokenSecret, "--user=u7", `--claims={"nbf":4102444800}`), nil, []string{"token not yet valid", "nbf is 2100-01-01"}},
		"another key":  {tokenGen(t, "--jwt-secret=fedcba9876543210fedcba9876543210", "--user=u7"), nil, []string{"signature invalid", "the secret of auth.jwt.secret", "setting: auth.jwt.secret", "claims (not verified)"}},
		"issuer":       {good, []string{"--jwt-issuer=https://id"}, []string{"issuer", "there is no iss", `"https://id"`, "auth.jwt.issuer"}},
		"audience":     {tokenGen(t, tokenSecret, "--user=u7", `--claims={"aud":"web"}`), []string{"--jwt-audience=app"}, []string{"audience", "web", `["app"]`}},
		"user":         {tokenGen(t, tokenSecret), nil, []string{"user", `no "sub"`, "auth.jwt.user_claim"}},
		"algorithm":    {good, []string{"--jwt-secret=0123456789abcdef0123456789abcdef0123456789abcdef", "--jwt-algorithms=HS384"}, []string{"algorithm", "there may be HS384"}},
		"no token":     {"hello", nil, []string{"malformed", "1 parts"}},
		"nothing":      {"", nil, []string{"malformed"}},
		"for terminal": {tokenGen(t, tokenSecret, "--user=u7", `--claims={"x":"\u009b31m\u202e"}`, "--ttl=-1h"), nil, []string{"token expired"}},
		"no end":       {tokenGen(t, tokenSecret, "--user=u7", "--ttl=0"), nil, []string{"malformed", "no exp", "auth.jwt.require_expiry"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := tokenRun(t, x.token, append(append([]string{"verify", tokenSecret}, x.args...), "-")...)
			if err == nil {
				t.Fatalf("it is believed:\n%s", out)
			}
			for _, want := range append(x.want, "not valid: ") {
				if !strings.Contains(out, want) {
					t.Errorf("it says\n%s\nwant %s", out, want)
				}
			}
			if strings.ContainsAny(out, "\u009b\u202e\x1b") || strings.Contains(out, tokenSecret[13:]) {
				t.Errorf("it says %q", out)
			}
		})
	}
	if out, err := tokenRun(t, "", "verify", good); err == nil || !strings.Contains(err.Error(), "auth.jwt") {
		t.Errorf("without a key: %v\n%s", err, out)
	}
	if out, err := tokenRun(t, "", "verify", tokenSecret, "a", "b"); err == nil {
		t.Errorf("two tokens are no error:\n%s", out)
	}
}

func TestTokensThatCannotBeMade(t *testing.T) {
	for name, args := range map[string][]string{
		"no key":       {"--user=u"},
		"none":         {tokenSecret, "--alg=none"},
		"no algorithm": {tokenSecret, "--alg=HS1"},
		"wrong key":    {tokenSecret, "--alg=RS256"},
		"no claims":    {tokenSecret, "--claims=[1]"},
		"two claims":   {tokenSecret, "--claims={}{}"},
		"no file":      {"--key=/nonexistent"},
		"no place":     {tokenSecret, "--user=u", "--jwt-user-claim=a.b", "--jwt-scope-claim=a.b.c", "--scope=s"},
		"no claim":     {tokenSecret, "--scope=s", "--jwt-scope-claim="},
		"argument":     {tokenSecret, "x"},
	} {
		if out, err := tokenRun(t, "", append([]string{"gen"}, args...)...); err == nil {
			t.Errorf("%s: it is made: %s", name, out)
		}
	}
	token := tokenGen(t, tokenSecret, "--user=u", `--claims={"iat":null,"exp":1.5}`)
	out, _ := tokenRun(t, token, "verify", tokenSecret)
	if strings.Contains(out, "iat") || !strings.Contains(out, "1.5") {
		t.Errorf("what --claims says is not in it:\n%s", out)
	}
}

// check asks nobody, the server of keys neither.
func TestCheckFetchesNoKeys(t *testing.T) {
	var asked atomic.Int64
	keys := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer keys.Close()
	cmd := command()
	cmd.SetArgs([]string{"check", "--auth=jwt", "--jwks-url", keys.URL})
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	if err := cmd.Execute(); err != nil || asked.Load() > 0 {
		t.Errorf("check = %v; the server was asked %d times", err, asked.Load())
	}
}
