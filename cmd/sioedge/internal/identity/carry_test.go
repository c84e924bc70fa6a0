package identity

import (
	"crypto/sha256"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/carried"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// another has this process be another one, as far as ids of tokens go.
func another() { idKey.Store(&[sha256.Size]byte{1, byte(time.Now().UnixNano())}) }

// succeed has one Authority leave what it knows to another, of connections too: those of
// these clients of the one are those of the other's.
func succeed(t *testing.T, from, to *Authority, was, is []*siotest.Client) {
	t.Helper()
	estate := must(from.export())
	var conns [][]byte
	for _, c := range was {
		k, _ := from.key.Get(c.Socket())
		conns = append(conns, must(from.encodeConn(k)))
	}
	another()
	if err := to.inherit(estate); err != nil {
		t.Fatal(err)
	}
	for i, c := range is {
		k, err := to.decodeConn(conns[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := to.key.Set(c.Socket(), k); err != nil {
			t.Fatal(err)
		}
	}
	to.taken()
}

// Who clients are goes along, with what they may do, and how each of a connection's sockets
// is called; and what is revoked, also by ids of tokens.
func TestWhoClientsAreGoesAlong(t *testing.T) {
	a := authority(t, jwtAuth(nil), Options{}, "org", "plan")
	b := authority(t, jwtAuth(nil), Options{}, "org", "plan")
	says := map[string]func(*Identity) (Given, error){
		"/": saying(Given{}), "/other": saying(Given{User: "other", Scope: []string{"more"}, Rooms: []string{"r:*"}, Expires: time.Now().Add(time.Hour)}),
	}
	one, _ := serveAsked(t, a, Required, says)
	two, _ := serveAsked(t, b, Required, says)
	token := func(jti string) siotest.Options {
		return with(tokenFor(one, 30*time.Minute, set{"scope": "read", "rooms": []string{"a"}, "org": "acme", "jti": jti, "namespaces": []string{"/", "/other"}}))
	}
	var was, is []*siotest.Client
	for _, srv := range []*siotest.Server{one, two} {
		c := srv.ConnectWith("/", token("t1"))
		other := srv.ConnectWith("/other", siotest.Options{On: c})
		second := srv.ConnectWith("/", token("t2"))
		if srv == one {
			was = []*siotest.Client{c, other, second}
		} else {
			is = []*siotest.Client{c, other, second}
		}
	}
	if err := a.Revoke(t.Context(), Revocation{JTI: "t3"}); err != nil {
		t.Fatal(err)
	}
	if err := a.Revoke(t.Context(), Revocation{User: "u9", Until: time.Now().Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	for _, c := range is {
		b.key.Delete(c.Socket())
	}
	succeed(t, a, b, []*siotest.Client{was[0], was[2]}, []*siotest.Client{is[0], is[2]})

	first, other, second := b.Of(is[0].Socket()), b.Of(is[1].Socket()), b.Of(is[2].Socket())
	if first == nil || other == nil || second == nil {
		t.Fatalf("they are %v, %v and %v", first, other, second)
	}
	if org, _ := first.Claim("org"); first.User != "u1" || org != "acme" || !first.Has("read") || first.Has("more") || !first.MayJoin("a") || first.MayEnter("/elsewhere") || !first.Expires().Equal(a.Of(was[0].Socket()).Expires()) {
		t.Errorf("the first is %+v", first)
	}
	if org, _ := other.Claim("org"); other.User != "other" || org != "acme" || !other.Has("more") || !other.MayJoin("r:1") || other.proven() == nil || other.proven().User != "u1" {
		t.Errorf("the other is %+v", other)
	}
	if first.grants != second.grants {
		t.Error("two that may do the same have it twice")
	}
	// It goes on: revocations of before, and new ones by what tokens were called.
	for name, want := range map[string]Reason{"t3": Revoked, "t1": ""} {
		if got := reason(b, tokenFor(two, time.Minute, set{"jti": name})); got != want {
			t.Errorf("a token called %s is refused for %q, want %q", name, got, want)
		}
	}
	if got := reason(b, tokenFor(two, time.Minute, set{"sub": "u9"})); got != Revoked {
		t.Errorf("a token of a user who is revoked is refused for %q", got)
	}
	if err := b.Revoke(t.Context(), Revocation{JTI: "t1"}); err != nil {
		t.Fatal(err)
	}
	if is[0].ExpectDisconnect(); !is[2].Connected() {
		t.Error("the token that was not revoked has ended")
	}
}

// A socket that came with a request that is not believed, and new tokens that were tried,
// are remembered.
func TestWhatFewConnectionsHaveGoesAlong(t *testing.T) {
	a, b := authority(t, withGrace(0), Options{}), authority(t, withGrace(0), Options{})
	one, two := serve(t, a, sio.Options{}), serve(t, b, sio.Options{})
	old := tokenFor(one, -time.Hour, nil)
	was, is := one.ConnectWith("/none", brings("Authorization", old)), two.Connect("/none")
	tried, trying := one.ConnectWith("/", with(tokenFor(one, time.Hour, nil))), two.ConnectWith("/optional", siotest.Options{})
	for range fewTries + 2 {
		refreshed(tried, "rubbish")
	}
	succeed(t, a, b, []*siotest.Client{was, tried}, []*siotest.Client{is, trying})
	if _, r := b.before(is.Socket()); r == nil || r.Reason != Expired || r.Detail == "" {
		t.Errorf("it is refused for %v", r)
	}
	c, _ := b.key.Get(trying.Socket())
	if c.try(two.Now()) {
		t.Error("it may try one more token")
	}
}

// The successor verifies before it has fetched any keys.
func TestKeysGoAlong(t *testing.T) {
	k := newKeyServer(t, says(jwksOf(jwk(&p256().PublicKey, "e", nil))))
	a := authority(t, fetching(k.URL, nil), Options{})
	token := kidToken("ES256", p256(), "e")
	if r := reason(a, token); r != "" {
		t.Fatal(r)
	}
	estate := must(a.export())
	k.set(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", 500) })
	b := authority(t, fetching(k.URL, nil), Options{})
	if err := b.inherit(estate); err != nil {
		t.Fatal(err)
	}
	if r := reason(b, token); r != "" {
		t.Errorf("it is refused: %s", r)
	}
	if since := b.Stats().KeysSince; since.After(time.Now()) || since.Before(time.Now().Add(-time.Hour)) {
		t.Errorf("the keys are of %v", since)
	}
	elsewhere := authority(t, fetching(k.URL+"/else", nil), Options{})
	if err := elsewhere.inherit(estate); err != nil {
		t.Fatal(err)
	}
	if r := reason(elsewhere, token); r != Unavailable {
		t.Errorf("keys of another server are believed: %q", r)
	}
}

// Deadlines that another process has set are those of the warning, and of the end.
func TestDeadlinesAreResumed(t *testing.T) {
	a := authority(t, withGrace(15*time.Second), Options{})
	srv := serve(t, a, sio.Options{})
	c := srv.ConnectWith("/", with(tokenFor(srv, time.Minute, nil)))
	c.Socket().ExpireAt(srv.Now().Add(46*time.Second), a.resume)
	srv.Advance(47 * time.Second)
	if e := siotest.Expect[Expiring](c, ExpiringEvent); e.Expires != a.Of(c.Socket()).Expires().Unix() {
		t.Errorf("it is told %+v", e)
	}
	c.Socket().ExpireAt(a.Of(c.Socket()).Expires(), a.resume) // it was told
	srv.Advance(14 * time.Second)
	if end := c.ExpectDisconnect(); end.Code != sio.ExpiredCode {
		t.Errorf("it ends with %+v", end)
	}
	if n := a.Stats(); n.Warned != 1 || n.Expired != 1 {
		t.Errorf("Stats = %+v", n)
	}
	early := srv.ConnectWith("/", with(tokenFor(srv, time.Minute, nil)))
	early.Socket().ExpireAt(srv.Now(), a.resume) // a new token has come meanwhile
	srv.Advance(time.Second)
	early.ExpectNothing()
	srv.Advance(46 * time.Second)
	early.Expect(ExpiringEvent)
}

func TestHostileEstates(t *testing.T) {
	a := authority(t, fetching("https://127.0.0.1:1/", nil), Options{})
	key := make([]byte, sha256.Size)
	for name, x := range map[string]any{
		"text": "x", "no key": estate{}, "a short key": estate{Key: key[1:]},
		"a user of too many bytes": estate{Key: key, Users: []barred{{Name: strings.Repeat("u", maxUser+1)}}},
		"no user":                  estate{Key: key, Users: []barred{{}}},
		"a token without an id":    estate{Key: key, Tokens: []barred{{}}},
		"a long id":                estate{Key: key, Tokens: []barred{{Name: strings.Repeat("x", maxJTI+1)}}},
		"no keys":                  estate{Key: key, JWKS: &jwksForm{URL: "https://127.0.0.1:1/", Keys: []byte("{}")}},
		"endless keys":             estate{Key: key, JWKS: &jwksForm{URL: "https://127.0.0.1:1/", Keys: make([]byte, maxJWKS+1)}},
	} {
		if err := a.inherit(must(carried.Marshal(x))); err == nil {
			t.Errorf("%s is taken over", name)
		}
	}
	if a.revoked.n.Load() != 0 {
		t.Error("something is revoked")
	}
	id := func(x idForm) []byte { return must(carried.Marshal(x)) }
	for name, x := range map[string]connForm{
		"no identity":               {First: []byte("x")},
		"a user with a newline":     {First: id(idForm{User: "a\nb"})},
		"the year 100000":           {First: id(idForm{User: "u", Expires: 1 << 60})},
		"claims without values":     {First: id(idForm{User: "u", Names: []string{"a"}})},
		"by nobody's word":          {First: id(idForm{User: "u", By: &idForm{User: "v"}})},
		"by another by another":     {Own: id(idForm{Given: &givenForm{}, By: &idForm{Given: &givenForm{}, By: &idForm{User: "v"}}})},
		"a time that cannot be":     {Own: id(idForm{Given: &givenForm{Expires: -1}})},
		"a reason that there isn't": {Refused: &refusalForm{Reason: "because"}},
		"one of more":               {More: []heldForm{{ID: []byte{0xff}}}},
	} {
		if _, err := a.decodeConn(must(carried.Marshal(x))); err == nil {
			t.Errorf("%s is taken over", name)
		}
	}
	if _, err := a.decodeConn([]byte{0xff}); err == nil {
		t.Error("rubbish is taken over")
	}
}

// Whatever comes, there is an error or something that can be asked and goes on.
func FuzzEstates(f *testing.F) {
	a := must(New(config.Auth{}, nil, Options{}))
	a.Register(siotest.New(f, sio.Options{}).Server)
	key := make([]byte, sha256.Size)
	f.Add(must(carried.Marshal(estate{Key: key, All: [2]int64{1, 1 << 40}, Users: []barred{{"u", 1, 1 << 40}}, Tokens: []barred{{"t", 0, 1 << 40}}})))
	f.Add(must(carried.Marshal(connForm{First: must(carried.Marshal(idForm{User: "u", Names: []string{"a"}, Values: []string{"b"}, Grants: &grantsForm{Scope: []string{"s"}}})), Socket: []byte("s"), More: []heldForm{{}}})))
	f.Fuzz(func(t *testing.T, p []byte) {
		if a.inherit(p) == nil {
			if err := a.inherit(must(a.export())); err != nil {
				t.Error(err)
			}
		}
		if c, err := a.decodeConn(p); err == nil {
			a.taken()
			if again, err := a.decodeConn(must(a.encodeConn(c))); err != nil || (again.first == nil) != (c.first == nil) {
				t.Errorf("it goes on as %+v, %v", again, err)
			}
			c.first.Has("x")
			c.first.Claim("a")
			_ = a.isRevoked(&Identity{User: "u"}, time.Now())
		}
	})
}
