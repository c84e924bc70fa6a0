package identity

import (
	"errors"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// faultsOf returns the keys and texts of an error of New.
func faultsOf(err error) (keys []string, texts string) {
	var all interface{ Unwrap() []error }
	if !errors.As(err, &all) {
		return nil, ""
	}
	for _, e := range all.Unwrap() {
		var f *config.Fault
		if errors.As(e, &f) {
			keys, texts = append(keys, f.Key), texts+f.Error()+"\n"
		}
	}
	return keys, texts
}

// TestFaults has each setting wrong, once.
func TestFaults(t *testing.T) {
	private := "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n"
	for name, x := range map[string]struct {
		change func(*config.Auth)
		key    string
		text   string
	}{
		"mode":                 {func(a *config.Auth) { a.Mode = "basic" }, "auth.mode", "webhook or jwt+webhook"},
		"no key":               {func(a *config.Auth) { a.JWT.Secret = "" }, "auth.jwt", "one of secret"},
		"short secret":         {func(a *config.Auth) { a.JWT.Secret = "secret" }, "auth.jwt.secret", "HS256 needs 32"},
		"short previous":       {func(a *config.Auth) { a.JWT.SecretPrevious = "secret" }, "auth.jwt.secret_previous", "HS256 needs 32"},
		"only previous":        {func(a *config.Auth) { a.JWT.Secret, a.JWT.SecretPrevious = "", theSecret }, "auth.jwt.secret_previous", "auth.jwt.secret is not"},
		"secret that is PEM":   {func(a *config.Auth) { a.JWT.Secret = pemOf(&p256().PublicKey) }, "auth.jwt.secret", "public key is no secret"},
		"weak RSA":             {func(a *config.Auth) { a.JWT.PublicKey = pemOf(&weakRSA().PublicKey) }, "auth.jwt.public_key", "1024 bits"},
		"private key":          {func(a *config.Auth) { a.JWT.PublicKey = private }, "auth.jwt.public_key", "is private"},
		"broken key":           {func(a *config.Auth) { a.JWT.PublicKey = strings.Replace(pemOf(ed().Public()), "MCow", "MCox", 1) }, "auth.jwt.public_key", "cannot be read"},
		"a second broken key":  {func(a *config.Auth) { a.JWT.PublicKey = pemOf(ed().Public()) + private }, "auth.jwt.public_key", "block 2"},
		"other PEM":            {func(a *config.Auth) { a.JWT.PublicKey = "-----BEGIN X-----\nAAAA\n-----END X-----\n" }, "auth.jwt.public_key", "no public key"},
		"text behind a key":    {func(a *config.Auth) { a.JWT.PublicKey = pemOf(ed().Public()) + "more" }, "auth.jwt.public_key", "not PEM"},
		"no file":              {func(a *config.Auth) { a.JWT.PublicKey = "/nonexistent/key.pem" }, "auth.jwt.public_key", "no such file"},
		"algorithm none":       {func(a *config.Auth) { a.JWT.Algorithms = []string{"HS256", "None"} }, "auth.jwt.algorithms[1]", "proves nothing"},
		"no algorithm":         {func(a *config.Auth) { a.JWT.Algorithms = []string{"HS1"} }, "auth.jwt.algorithms[0]", "HS384"},
		"algorithm of no key":  {func(a *config.Auth) { a.JWT.Algorithms = []string{"RS256"} }, "auth.jwt.algorithms[0]", "no key is for that"},
		"secret too short":     {func(a *config.Auth) { a.JWT.Secret, a.JWT.Algorithms = theSecret[:40], []string{"HS512"} }, "auth.jwt.algorithms[0]", "64 bytes"},
		"URL by http":          {func(a *config.Auth) { a.JWT.JWKSURL = "http://id.example/jwks" }, "auth.jwt.jwks_url", "must be https"},
		"URL of nothing":       {func(a *config.Auth) { a.JWT.JWKSURL = "id.example" }, "auth.jwt.jwks_url", "names no host"},
		"URL by ftp":           {func(a *config.Auth) { a.JWT.JWKSURL = "ftp://id.example/jwks" }, "auth.jwt.jwks_url", "must be https"},
		"no URL":               {func(a *config.Auth) { a.JWT.JWKSURL = "https://%zz/" }, "auth.jwt.jwks_url", "not a URL"},
		"file without URL":     {func(a *config.Auth) { a.JWT.JWKSFile = "/tmp/x" }, "auth.jwt.jwks_file", "jwks_url"},
		"file in no directory": {func(a *config.Auth) { a.JWT.JWKSURL, a.JWT.JWKSFile = "https://127.0.0.1:1/", "/nonexistent/x" }, "auth.jwt.jwks_file", "no directory"},
		"floor":                {func(a *config.Auth) { a.JWT.JWKSFloor = time.Millisecond }, "auth.jwt.jwks_floor", "from 1s"},
		"refresh":              {func(a *config.Auth) { a.JWT.JWKSRefresh = -1 }, "auth.jwt.jwks_refresh", "from 1s"},
		"timeout":              {func(a *config.Auth) { a.JWT.JWKSTimeout = time.Hour }, "auth.jwt.jwks_timeout", "to 1m"},
		"leeway":               {func(a *config.Auth) { a.JWT.Leeway = time.Hour }, "auth.jwt.leeway", "to 10m"},
		"grace":                {func(a *config.Auth) { a.JWT.Grace = -time.Second }, "auth.jwt.grace", "from 0s"},
		"expire":               {func(a *config.Auth) { a.JWT.Expire = "warn" }, "auth.jwt.expire", "close or ignore"},
		"cache":                {func(a *config.Auth) { a.CacheSize = -1 }, "auth.cache_size", "from 1"},
		"token":                {func(a *config.Auth) { a.MaxToken = 1 << 30 }, "auth.max_token", "to 64KiB"},
		"revocations":          {func(a *config.Auth) { a.MaxRevocations = -1 }, "auth.max_revocations", "from 1"},
		"revocation's time":    {func(a *config.Auth) { a.RevocationTTL = time.Second }, "auth.revocation_ttl", "from 1m"},
		"no proxy":             {func(a *config.Auth) { a.Mode, a.Header.User = "header", "X-User" }, "auth.mode", "trust_proxy"},
		"no field":             {func(a *config.Auth) { a.Mode = "header" }, "auth.header.user", "must name"},
		"no name of a field":   {func(a *config.Auth) { a.Mode, a.Header = "header", config.Header{User: "X-User", Scope: "X Scope"} }, "auth.header.scope", "no name"},
		"a field twice":        {func(a *config.Auth) { a.Mode, a.Header = "header", config.Header{User: "X-User", Rooms: "x-user"} }, "auth.header.rooms", "another"},
	} {
		t.Run(name, func(t *testing.T) {
			auth := jwtAuth(nil)
			x.change(&auth)
			o := Options{}
			if strings.HasPrefix(x.key, "auth.header") {
				o.Trusts = func(netip.Addr) bool { return true }
			}
			_, err := New(auth, nil, o)
			keys, texts := faultsOf(err)
			if name == "no field" {
				keys = slices.DeleteFunc(keys, func(k string) bool { return k == "auth.mode" })
			}
			if !slices.Equal(keys, []string{x.key}) && name != "only previous" || !strings.Contains(texts, x.key) || !strings.Contains(texts, x.text) {
				t.Errorf("New = %v, want a fault of %s with %q", err, x.key, x.text)
			}
			if strings.Contains(texts, theSecret) {
				t.Errorf("the fault has the secret: %s", texts)
			}
		})
	}
	auth := jwtAuth(func(c *config.JWT) { c.Secret, c.Leeway, c.Expire = "x", -1, "y" })
	if keys, _ := faultsOf(errOf(New(auth, nil, Options{}))); len(keys) != 3 {
		t.Errorf("of three faults there are %v", keys)
	}
}

// Who looks at settings alone asks nobody.
func TestIdle(t *testing.T) {
	keys := newKeyServer(t, says("{}"))
	a := authority(t, fetching(keys.URL, nil), Options{Idle: true})
	if err := a.Close(t.Context()); err != nil || keys.asked.Load() > 0 {
		t.Errorf("Close = %v; the server was asked %d times", err, keys.asked.Load())
	}
}

func errOf(_ *Authority, err error) error { return err }

func TestKeysInAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.pem")
	if err := os.WriteFile(path, []byte("# two keys\n"+pemOf(&p256().PublicKey, &rsaKey().PublicKey)), 0o600); err != nil {
		t.Fatal(err)
	}
	a := authority(t, jwtAuth(func(c *config.JWT) { c.Secret, c.PublicKey = "", path }), Options{})
	for alg, key := range map[string]any{"ES256": p256(), "PS256": rsaKey()} {
		if got := reason(a, sign(alg, key, header(alg), claimsAt(time.Now(), nil))); got != "" {
			t.Errorf("%s is refused for %q", alg, got)
		}
	}
}

// New settings count for who comes from then on, also for tokens that were verified
// before.
func TestReload(t *testing.T) {
	a := authority(t, jwtAuth(nil), Options{}, "plan")
	srv := serve(t, a, sio.Options{})
	old := hs(srv.Now(), set{"plan": "pro", "tier": 2})
	c := srv.ConnectWith("/", with(old))
	if v, ok := a.Of(c.Socket()).Claim("plan"); v != "pro" || !ok {
		t.Errorf("its plan is %q, %t", v, ok)
	}
	if err := a.Reload(jwtAuth(func(c *config.JWT) { c.Secret = "short" }), nil); err == nil {
		t.Error("settings that are wrong are no error")
	}
	srv.ConnectWith("/", with(old))
	if err := a.Reload(jwtAuth(func(c *config.JWT) { c.Secret, c.SecretPrevious = otherSecret, theSecret }), []string{"tier"}); err != nil {
		t.Fatal(err)
	}
	d := srv.ConnectWith("/", with(old))
	if got, want := string(a.Of(d.Socket()).Claims()), `{"tier":"2"}`; got != want {
		t.Errorf("Claims = %s, want %s", got, want)
	}
	if got := (*Identity)(nil).Claims(); got != nil {
		t.Errorf("Claims of nobody = %s", got)
	}
	if v, _ := a.Of(d.Socket()).Claim("tier"); v != "2" {
		t.Errorf("its tier is %q", v)
	}
	if _, ok := a.Of(d.Socket()).Claim("plan"); ok {
		t.Error("what no template uses is kept")
	}
	if err := a.Reload(jwtAuth(func(c *config.JWT) { c.Secret = otherSecret }), nil); err != nil {
		t.Fatal(err)
	}
	if _, why := refused(t, srv, "/", with(old)); why != BadSignature {
		t.Errorf("a token of the old secret is told %q", why)
	}
	if !c.Connected() || user(t, c) != "u1" {
		t.Error("who was there is not")
	}
	if err := a.Reload(config.Auth{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, why := refused(t, srv, "/", with(old)); why != Missing {
		t.Errorf("without a mode a token is told %q", why)
	}
	srv.Connect("/optional")
}

func TestReloadKeepsAServersKeys(t *testing.T) {
	keys := newKeyServer(t, says(jwksOf(jwk(&rsaKey().PublicKey, "1", nil))))
	a := authority(t, fetching(keys.URL, nil), Options{})
	token := kidToken("RS256", rsaKey(), "1")
	if got := reason(a, token); got != "" {
		t.Fatalf("refused for %q", got)
	}
	if err := a.Reload(fetching(keys.URL, func(c *config.JWT) { c.Leeway = time.Minute }), nil); err != nil {
		t.Fatal(err)
	}
	if got := reason(a, token); got != "" || keys.asked.Load() != 1 {
		t.Errorf("refused for %q; the server was asked %d times", got, keys.asked.Load())
	}
	other := newKeyServer(t, says(jwksOf(jwk(&otherRSA().PublicKey, "1", nil))))
	if err := a.Reload(fetching(other.URL, nil), nil); err != nil {
		t.Fatal(err)
	}
	if got := reason(a, token); got != BadSignature {
		t.Errorf("with another server's keys it is refused for %q", got)
	}
}

// behind is a server behind a proxy, whose address siotest's clients have.
func behind(t *testing.T, trusted bool) (*Authority, *siotest.Server) {
	auth := config.Auth{Mode: "header", Header: config.Header{User: "X-User-Id", Scope: "X-Scope", Rooms: "X-Rooms"}}
	a := authority(t, auth, Options{Trusts: func(peer netip.Addr) bool { return trusted && peer == netip.MustParseAddr("192.0.2.1") }})
	return a, serve(t, a, sio.Options{Engine: eio.Options{Via: func(v eio.Via, r *http1.Request) eio.Via {
		v.Client = netip.MustParseAddrPort("203.0.113.7:1")
		return v
	}}})
}

func TestHeaders(t *testing.T) {
	a, srv := behind(t, true)
	fields := func(pairs ...string) (o siotest.Options) {
		o.Header = http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			o.Header.Add(pairs[i], pairs[i+1])
		}
		return o
	}
	c := srv.ConnectWith("/", fields("x-user-id", "u1", "X-Scope", "read write:*", "X-Rooms", "a:* b"))
	id := a.Of(c.Socket())
	if id.User != "u1" || !id.Has("read") || !id.Has("write:1") || id.Has("admin") || !id.MayJoin("a:1") || id.MayJoin("read") || !id.Expires().IsZero() {
		t.Errorf("it is %+v", id)
	}
	if got := user(t, srv.ConnectWith("/more", siotest.Options{On: c})); got != "u1" {
		t.Errorf("in another namespace it is %q", got)
	}
	if got := refreshed(c, "x"); got.Data.Reason != OtherUser {
		t.Errorf("a token in band is answered %+v", got)
	}
	for name, x := range map[string]struct {
		o    siotest.Options
		want Reason
	}{
		"nothing":                {siotest.Options{}, Missing},
		"a token":                {with(hs(srv.Now(), nil)), Missing},
		"two users":              {fields("X-User-Id", "u1", "X-User-Id", "root"), Malformed},
		"an empty user":          {fields("X-User-Id", ""), BadUser},
		"a long user":            {fields("X-User-Id", strings.Repeat("u", 300)), BadUser},
		"a user that is no text": {fields("X-User-Id", "u\xff"), BadUser},
		"two scopes":             {fields("X-User-Id", "u1", "X-Scope", "a", "X-Scope", "b"), Malformed},
		"long rooms":             {fields("X-User-Id", "u1", "X-Rooms", strings.Repeat("r ", 5000)), Malformed},
	} {
		if _, why := refused(t, srv, "/", x.o); why != x.want {
			t.Errorf("%s is told %q, want %q", name, why, x.want)
		}
	}
	// A kick lasts for who was there.
	if err := a.Revoke(t.Context(), Revocation{User: "u1"}); err != nil {
		t.Fatal(err)
	}
	srv.Settle()
	c.ExpectDisconnect()
	srv.Advance(2 * time.Second)
	srv.ConnectWith("/", fields("X-User-Id", "u1"))

	_, srv = behind(t, false)
	if _, why := refused(t, srv, "/", fields("X-User-Id", "u1")); why != Untrusted {
		t.Errorf("from anybody it is told %q", why)
	}
	if _, why := refused(t, srv, "/optional", fields("X-User-Id", "u1")); why != Untrusted {
		t.Errorf("from anybody, where it need not be, it is told %q", why)
	}
	srv.Connect("/optional")
}

func TestGrants(t *testing.T) {
	a := authority(t, jwtAuth(nil), Options{}, "plan", "a.b", "https://x.example/y", "n", "yes", "list", "long", "none")
	id, err := a.Verify(t.Context(), hs(time.Now(), set{
		"scope": "read  write:*:x *", "rooms": []string{"campaign:42:*", "", "lobby"}, "events": []string{"cursor", "chat:*"}, "namespaces": "/campaigns/42/*",
		"plan": "pro", "a": set{"b": "c"}, "https://x.example/y": "z", "n": 1.5, "yes": true, "list": []int{1}, "long": strings.Repeat("x", 300), "none": nil,
	}))
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct{ got, want bool }{
		"scope":                 {id.Has("read"), true},
		"any scope":             {id.Has("anything"), true},
		"room as permission":    {id.Has("campaign:42:read"), true},
		"room":                  {id.MayJoin("campaign:42:"), true},
		"room without end":      {id.MayJoin("campaign:42"), false},
		"other room":            {id.MayJoin("campaign:43:x"), false},
		"scope is no room":      {id.MayJoin("read"), false},
		"asterisk is asked for": {id.MayJoin("*"), false},
		"event":                 {id.MaySend("chat:x"), true},
		"other event":           {id.MaySend("chat"), false},
		"namespace":             {id.MayEnter("/campaigns/42/trends/x"), true},
		"other namespace":       {id.MayEnter("/"), false},
		"empty":                 {id.MayJoin(""), false},
	} {
		if x.got != x.want {
			t.Errorf("%s: %t, want %t", name, x.got, x.want)
		}
	}
	for name, want := range map[string]string{"plan": "pro", "a.b": "c", "https://x.example/y": "z", "n": "1.5", "yes": "true", "list": "", "long": "", "none": "", "other": ""} {
		if got, ok := id.Claim(name); got != want || ok != (want != "") {
			t.Errorf("Claim(%s) = %q, %t, want %q", name, got, ok, want)
		}
	}
	var nobody *Identity
	if nobody.Has("x") || nobody.MayJoin("x") || !nobody.MayEnter("/") || !nobody.MaySend("x") {
		t.Error("nobody may other things than it may")
	}
	empty, err := a.Verify(t.Context(), hs(time.Now(), set{"events": []string{}, "namespaces": ""}))
	if err != nil || empty.MaySend("x") || empty.MayEnter("/") || empty.Has("x") {
		t.Errorf("who may do nothing may: %v", err)
	}
}

func TestGlob(t *testing.T) {
	for _, x := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "abc", true}, {"a*", "a", true}, {"a*c", "abbc", true}, {"a*c", "ab", false},
		{"*b*", "abc", true}, {"*b", "abcb", true}, {"a*b*c", "aXbYbZc", true}, {"a**c", "ac", true}, {"**", "", true}, {"a*b*c", "acb", false}, {"ab", "a", false},
	} {
		if got := glob(x.pattern, x.name); got != x.want {
			t.Errorf("glob(%q, %q) = %t", x.pattern, x.name, got)
		}
	}
	if glob(strings.Repeat("*a", 100)+"b", strings.Repeat("a", 256)) {
		t.Error("a pattern that tries everything matches")
	}
}
