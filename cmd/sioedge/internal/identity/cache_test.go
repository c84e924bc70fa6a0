package identity

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
)

func sumOf(i int) tokenSum { return sumToken(fmt.Sprint(i)) }

func TestTheCacheIsBounded(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	c := newCache(640)
	for i := range 10_000 {
		c.put(sumOf(i), 1, &Identity{User: fmt.Sprint(i), grants: noGrants}, now.Unix()+int64(i), now)
	}
	if n, bytes := c.held(); n > 640 || n < 600 || bytes > 640*bytesPerEntry || bytes < int64(n)*entryBytes {
		t.Errorf("it holds %d entries of %d bytes", n, bytes)
	}
	big := &grants{rooms: []string{string(make([]byte, 8000))}}
	for i := range 1000 {
		c.put(sumOf(i), 1, &Identity{grants: big}, 0, now)
	}
	n, bytes := c.held()
	if bytes > 640*bytesPerEntry {
		t.Errorf("it holds %d entries of %d bytes", n, bytes)
	}
	// Of other keys, nothing counts, and it is empty when there is something again.
	if c.get(sumOf(999), 2, now) != nil {
		t.Error("what other keys have verified is known")
	}
	for i := range 1000 {
		c.put(sumOf(i), 2, &Identity{grants: noGrants}, now.Unix()+10, now)
	}
	c.put(sumOf(5), 1, &Identity{User: "old", grants: noGrants}, 0, now)
	if id := c.get(sumOf(5), 2, now); id != nil && id.User == "old" {
		t.Error("what older keys have verified is known")
	}
	for i := range 1000 {
		if c.get(sumOf(i), 2, now.Add(10*time.Second)) != nil {
			t.Fatal("what has ended is known")
		}
	}
	if n, bytes := c.held(); n != 0 || bytes != 0 {
		t.Errorf("at the end it holds %d entries of %d bytes", n, bytes)
	}
}

func TestTokensAreVerifiedOnce(t *testing.T) {
	a := authority(t, jwtAuth(nil), Options{})
	srv := serve(t, a, sio.Options{})
	token := tokenFor(srv, 100*time.Second, nil)
	c, d := srv.ConnectWith("/", with(token)), srv.ConnectWith("/", with(token))
	if a.Of(c.Socket()) != a.Of(d.Socket()) {
		t.Error("two sockets of a token do not share what is known of it")
	}
	if n := a.Stats(); n.Verified != 1 || n.Cached != 1 || n.CacheEntries != 1 || n.CacheBytes == 0 {
		t.Errorf("Stats = %+v", n)
	}
	srv.Advance(3 * time.Minute)
	if _, why := refused(t, srv, "/", with(token)); why != Expired {
		t.Errorf("when it has ended it is told %q", why)
	}
}

// Equal permissions are there once, as long as somebody has them.
func TestGrantsAreShared(t *testing.T) {
	a := authority(t, jwtAuth(nil), Options{})
	one := must(a.Verify(t.Context(), hs(time.Now(), set{"rooms": "a b", "jti": "1"})))
	two := must(a.Verify(t.Context(), hs(time.Now(), set{"rooms": []string{"a", "b"}, "jti": "2"})))
	other := must(a.Verify(t.Context(), hs(time.Now(), set{"scope": "a b"})))
	if one.grants != two.grants || one.grants == other.grants || one == two {
		t.Error("equal permissions are not the same")
	}
	var table interned
	for i := range 1000 {
		table.of(&grants{rooms: []string{fmt.Sprint(i)}})
	}
	for end := time.Now().Add(20 * time.Second); ; runtime.GC() {
		table.mu.Lock()
		n := len(table.m)
		table.mu.Unlock()
		if n == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d permissions are kept that nobody has", n)
		}
	}
}

// All at once, for the race detector: who comes, who brings a new token, who is revoked,
// new settings, new keys, and Stats.
func TestEverythingAtOnce(t *testing.T) {
	keys := newKeyServer(t, says(jwksOf(jwk(&p256().PublicKey, "1", nil))))
	auth := fetching(keys.URL, func(c *config.JWT) { c.Secret, c.Grace = theSecret, time.Second })
	auth.CacheSize = 32
	a := authority(t, auth, Options{})
	now := time.Now()
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := range 40 {
				switch w {
				case 0:
					_ = a.Reload(auth, []string{"x"})
				case 1:
					_ = a.Revoke(t.Context(), Revocation{User: fmt.Sprint("v", i)})
				case 2:
					due(a)
					_ = reason(a, kidToken("ES256", p256(), fmt.Sprint(i)))
				case 3:
					a.Stats()
				default:
					id, err := a.Verify(t.Context(), hs(now, set{"sub": fmt.Sprint("u", i), "rooms": fmt.Sprint("r", i%3)}))
					if err != nil || !id.MayJoin(fmt.Sprint("r", i%3)) {
						t.Errorf("Verify = %v", err)
					}
					if got := reason(a, kidToken("ES256", p256(), "1")); got != "" {
						t.Errorf("refused for %q", got)
					}
				}
			}
		})
	}
	all.Wait()
}
