package identity

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

func withGrace(d time.Duration) config.Auth {
	return jwtAuth(func(c *config.JWT) { c.Grace = d })
}

// tokenFor is a good token that ends in so long.
func tokenFor(srv *siotest.Server, d time.Duration, change set) string {
	all := set{"exp": srv.Now().Add(d).Unix()}
	for k, v := range change {
		all[k] = v
	}
	return hs(srv.Now(), all)
}

// An answer is what auth:refresh is answered.
type answer struct {
	OK      bool
	Expires *int64
	Error   string
	Data    struct {
		Code   int
		Reason Reason
	}
}

func refreshed(c *siotest.Client, token any) (a answer) {
	c.EmitAck(RefreshEvent, token).Decode(&a)
	return a
}

// Its client is told before a token ends, and then the connection is closed; it comes
// back with a new token.
func TestASocketEndsWithItsToken(t *testing.T) {
	a := authority(t, withGrace(15*time.Second), Options{})
	srv := serve(t, a, sio.Options{})
	token := tokenFor(srv, 100*time.Second, nil)
	c := srv.ConnectWith("/", with(token))
	srv.Advance(84 * time.Second)
	c.ExpectNothing()
	srv.Advance(3 * time.Second)
	if e := siotest.Expect[Expiring](c, ExpiringEvent); e.Expires != a.Of(c.Socket()).Expires().Unix() {
		t.Errorf("it is told that its token ends at %d", e.Expires)
	}
	srv.Advance(11 * time.Second)
	if !c.Connected() {
		t.Fatal("it is disconnected before its token ends")
	}
	srv.Advance(3 * time.Second)
	end := c.ExpectDisconnect()
	if end.Code != 4401 || end.Text != "token expired" || end.Reason != siotest.TransportClose {
		t.Errorf("it is disconnected with %+v", end)
	}
	if n := a.Stats(); n.Warned != 1 || n.Expired != 1 {
		t.Errorf("Stats = %+v", n)
	}
	// Within leeway the token is good, until that is over.
	late := srv.ConnectWith("/", with(token))
	srv.Advance(35 * time.Second)
	if end := late.ExpectDisconnect(); end.Code != 4401 {
		t.Errorf("who came late is disconnected with %+v", end)
	}
	if _, why := refused(t, srv, "/", with(token)); why != Expired {
		t.Errorf("after that it is told %q", why)
	}
}

// Where less is left than the warning's time, that is half of it: a client that answers
// with tokens as short as that is not told at once again.
func TestShortTokensAreWarnedOfWhenHalfIsOver(t *testing.T) {
	a := authority(t, withGrace(time.Hour), Options{})
	srv := serve(t, a, sio.Options{})
	c := srv.ConnectWith("/", with(tokenFor(srv, 100*time.Second, nil)))
	srv.Advance(40 * time.Second)
	c.ExpectNothing()
	srv.Advance(15 * time.Second)
	c.Expect(ExpiringEvent)
}

func TestTokensThatNeedNotEndTheSocket(t *testing.T) {
	for name, auth := range map[string]config.Auth{
		"ignored":   jwtAuth(func(c *config.JWT) { c.Expire, c.Grace = "ignore", 15*time.Second }),
		"endless":   withGrace(15 * time.Second),
		"no notice": withGrace(0),
	} {
		t.Run(name, func(t *testing.T) {
			a := authority(t, auth, Options{})
			srv := serve(t, a, sio.Options{})
			change := set{}
			if name == "endless" {
				change["exp"] = nil
			}
			c := srv.ConnectWith("/", with(tokenFor(srv, 100*time.Second, change)))
			srv.Advance(200 * time.Second)
			c2 := c.Received()
			if len(c2) != 0 || c.Connected() == (name == "no notice") {
				t.Errorf("it received %v, and is connected: %t", c2, c.Connected())
			}
		})
	}
}

// A new token takes the place of the old one, on all sockets of the connection that are
// the same user; what it permits may be more or less.
func TestRefresh(t *testing.T) {
	a := authority(t, withGrace(15*time.Second), Options{})
	srv := serve(t, a, sio.Options{})
	c := srv.ConnectWith("/", with(tokenFor(srv, 100*time.Second, set{"rooms": "old"})))
	more := srv.ConnectWith("/more", siotest.Options{On: c})
	other := srv.ConnectWith("/optional", siotest.Options{On: c, Auth: set{"token": tokenFor(srv, 100*time.Second, set{"sub": "u2"})}})
	srv.Advance(86 * time.Second)
	for _, c := range []*siotest.Client{c, more, other} {
		c.Expect(ExpiringEvent)
	}
	got := refreshed(more, tokenFor(srv, 1000*time.Second, set{"rooms": "new", "sub": "u1"}))
	if want := srv.Now().Add(1000 * time.Second).Unix(); !got.OK || got.Expires == nil || *got.Expires < want-2 || *got.Expires > want {
		t.Fatalf("it is answered %+v", got)
	}
	for _, c := range []*siotest.Client{c, more} {
		if id := a.Of(c.Socket()); id.MayJoin("old") || !id.MayJoin("new") {
			t.Error("a socket of the user has what the old token permits")
		}
	}
	if a.Of(other.Socket()).User != "u2" {
		t.Error("another user's socket has changed")
	}
	if got := refreshed(other, tokenFor(srv, 2000*time.Second, set{"sub": "u2"})); !got.OK {
		t.Fatalf("the other is answered %+v", got)
	}
	srv.Advance(500 * time.Second)
	for _, c := range []*siotest.Client{c, more, other} {
		c.ExpectNothing()
	}
	srv.Advance(490 * time.Second)
	c.Expect(ExpiringEvent)
	more.Expect(ExpiringEvent)
	// One that does not end is a token too, and one that ends sooner.
	if got := refreshed(c, tokenFor(srv, 0, set{"exp": nil})); !got.OK || got.Expires != nil {
		t.Errorf("a token without end is answered %+v", got)
	}
	if got := refreshed(c, tokenFor(srv, 50*time.Second, nil)); !got.OK {
		t.Errorf("a shorter token is answered %+v", got)
	}
	srv.Advance(40 * time.Second)
	more.Expect(ExpiringEvent)
	srv.Advance(15 * time.Second)
	if end := more.ExpectDisconnect(); end.Code != 4401 {
		t.Errorf("it is disconnected with %+v", end)
	}
	if n := a.Stats(); n.Refreshed != 4 {
		t.Errorf("Stats = %+v", n)
	}
}

// A new token that is refused ends nothing, and is no way to try many.
func TestRefusedRefreshes(t *testing.T) {
	a := authority(t, withGrace(15*time.Second), Options{})
	srv := serve(t, a, sio.Options{})
	c := srv.ConnectWith("/", with(tokenFor(srv, 1000*time.Second, nil)))
	nobody := srv.Connect("/optional")
	for _, x := range []struct {
		name  string
		c     *siotest.Client
		token any
		want  Reason
		code  int
	}{
		{"another user's", c, hs(srv.Now(), set{"sub": "u2"}), OtherUser, 401},
		{"one that has ended", c, tokenFor(srv, -time.Hour, nil), Expired, 401},
		{"none", c, nil, Missing, 401},
		{"a number", c, 7, Malformed, 401},
		{"an object", c, set{"token": "x"}, Malformed, 401},
		{"nobody's", nobody, hs(srv.Now(), nil), OtherUser, 401},
	} {
		got := refreshed(x.c, x.token)
		if got.OK || got.Error != "unauthorized" || got.Data.Reason != x.want || got.Data.Code != x.code {
			t.Errorf("%s: it is answered %+v, want %q", x.name, got, x.want)
		}
	}
	if got := refreshed(c, 7); got.Data.Reason != Malformed {
		t.Errorf("the last but one is answered %+v", got)
	}
	for range 3 {
		if got := refreshed(c, hs(srv.Now(), nil)); got.Data.Reason != TooMany && !got.OK {
			t.Errorf("one of many is answered %+v", got)
		}
	}
	if got := refreshed(c, hs(srv.Now(), nil)); got.Data.Reason != TooMany || got.Data.Code != 429 {
		t.Errorf("one too many is answered %+v", got)
	}
	if !c.Connected() || a.Of(c.Socket()).User != "u1" {
		t.Error("it is not who it was")
	}
	srv.Advance(2 * time.Minute)
	if got := refreshed(c, hs(srv.Now(), nil)); !got.OK {
		t.Errorf("later it is answered %+v", got)
	}
	c.Emit(RefreshEvent, hs(srv.Now(), nil)) // without an acknowledgement
	c.Emit(RefreshEvent)
	c.ExpectNothing()
}

// Who comes back is who it was, and not beyond its token.
func TestRecovery(t *testing.T) {
	recovery := sio.Options{Recovery: sio.Recovery{Window: 10 * time.Minute}}
	start := func(t *testing.T) (*Authority, *siotest.Server) {
		a := authority(t, withGrace(15*time.Second), Options{})
		return a, serve(t, a, recovery)
	}
	t.Run("in time", func(t *testing.T) {
		a, srv := start(t)
		c := srv.ConnectWith("/", with(tokenFor(srv, 100*time.Second, nil)))
		srv.Of("/").Emit("first")
		c.Expect("first")
		c.Drop()
		srv.Advance(20 * time.Second)
		srv.Of("/").Emit("missed")
		if err := c.Reconnect(); err != nil || !c.Recovered() {
			t.Fatalf("Reconnect = %v, recovered: %t", err, c.Recovered())
		}
		c.Expect("missed")
		if a.Of(c.Socket()).User != "u1" {
			t.Error("it is nobody")
		}
		srv.Advance(66 * time.Second)
		c.Expect(ExpiringEvent)
		srv.Advance(15 * time.Second)
		if end := c.ExpectDisconnect(); end.Text != "token expired" {
			t.Errorf("it is disconnected with %+v", end)
		}
	})
	t.Run("too late", func(t *testing.T) {
		_, srv := start(t)
		c := srv.ConnectWith("/", with(tokenFor(srv, 100*time.Second, nil)))
		srv.Of("/").Emit("first")
		c.Expect("first")
		c.Drop()
		srv.Advance(115 * time.Second) // the token is good within leeway, and the socket has ended
		if err := c.Reconnect(); err != nil || c.Recovered() {
			t.Fatalf("Reconnect = %v, recovered: %t", err, c.Recovered())
		}
	})
	t.Run("revoked", func(t *testing.T) {
		a, srv := start(t)
		c := srv.ConnectWith("/", with(tokenFor(srv, 100*time.Second, nil)))
		c.Drop()
		if err := a.Revoke(t.Context(), Revocation{User: "u1"}); err != nil {
			t.Fatal(err)
		}
		e, ok := c.Reconnect().(*siotest.ConnectError)
		if !ok || string(e.Data) != `{"code":401,"reason":"revoked"}` {
			t.Errorf("it is told %v", e)
		}
	})
}

// A private id is worth nothing to anybody else.
func TestSomebodyElseDoesNotRecover(t *testing.T) {
	a := authority(t, withGrace(0), Options{})
	srv := serve(t, a, sio.Options{Recovery: sio.Recovery{Window: 10 * time.Minute}})
	pid := func(conn *siotest.Conn, auth string) (sid, pid string, answer string) {
		conn.Send("40" + auth)
		got := conn.Received()
		answer = got[len(got)-1]
		var x struct{ SID, PID string }
		_ = json.Unmarshal([]byte(answer[2:]), &x)
		return x.SID, x.PID, answer
	}
	good := hs(srv.Now(), nil)
	for name, x := range map[string]struct {
		token string
		want  string
	}{
		"another user":    {hs(srv.Now(), set{"sub": "u2"}), "40"},
		"a forged token":  {good[:len(good)-4] + "AAAA", "44"},
		"the client":      {good, "recovered"},
		"no token at all": {"", "44"},
	} {
		t.Run(name, func(t *testing.T) {
			victim := srv.Dial(siotest.Options{})
			sid, id, answer := pid(victim, `{"token":`+strconv.Quote(good)+`}`)
			if id == "" {
				t.Fatalf("there is no private id in %s", answer)
			}
			victim.Drop()
			thief := srv.Dial(siotest.Options{})
			got, _, answer := pid(thief, `{"token":`+strconv.Quote(x.token)+`,"pid":`+strconv.Quote(id)+`}`)
			if x.want == "recovered" {
				if got != sid {
					t.Errorf("it is told %s, want that it is %s", answer, sid)
				}
			} else if answer[:2] != x.want || got == sid {
				t.Errorf("it is told %s, want %s…", answer, x.want)
			}
			// And the client itself may still come back.
			back := srv.Dial(siotest.Options{})
			if got, _, answer := pid(back, `{"token":`+strconv.Quote(good)+`,"pid":`+strconv.Quote(id)+`}`); got != sid && x.want != "recovered" {
				t.Errorf("the client is told %s", answer)
			}
		})
	}
}

// Revoked tokens end at once, for good, and what is left of the connection too.
func TestRevoke(t *testing.T) {
	a := authority(t, withGrace(0), Options{})
	srv := serve(t, a, sio.Options{})
	now := srv.Now()
	old, young := hs(now, set{"jti": "t1", "iat": now.Unix() - 100}), hs(now, set{"jti": "t2", "iat": now.Unix() - 50})
	one, two := srv.ConnectWith("/", with(old)), srv.ConnectWith("/", with(young))
	more := srv.ConnectWith("/none", siotest.Options{On: one})
	other := srv.ConnectWith("/", with(hs(now, set{"sub": "u2", "iat": now.Unix() - 100})))
	undated := srv.ConnectWith("/", with(hs(now, set{"sub": "u3", "iat": nil})))
	revoke := func(r Revocation, gone ...*siotest.Client) {
		t.Helper()
		if err := a.Revoke(t.Context(), r); err != nil {
			t.Fatalf("Revoke(%+v) = %v", r, err)
		}
		srv.Settle()
		for _, c := range gone {
			if end := c.ExpectDisconnect(); end.Reason != siotest.ServerDisconnect {
				t.Errorf("after %+v, %v is disconnected with %+v", r, c, end)
			}
		}
	}
	revoke(Revocation{JTI: "t3"})
	revoke(Revocation{JTI: "t1"}, one, more)
	if !two.Connected() {
		t.Fatal("another token of the user is revoked")
	}
	if _, why := refused(t, srv, "/", with(old)); why != Revoked {
		t.Errorf("a revoked token is told %q", why)
	}
	revoke(Revocation{User: "u1", Before: now.Add(-60 * time.Second)})
	if !two.Connected() {
		t.Fatal("what was issued later is revoked")
	}
	revoke(Revocation{User: "u3", Before: now.Add(-time.Hour)}, undated)
	revoke(Revocation{User: "u1"}, two)
	if !other.Connected() {
		t.Fatal("another user is revoked")
	}
	revoke(Revocation{Before: now.Add(-99 * time.Second)}, other)
	srv.Advance(5 * time.Second)
	again := srv.ConnectWith("/", with(hs(srv.Now(), nil)))
	if got := refreshed(again, young); got.Data.Reason != Revoked {
		t.Errorf("a revoked token in band is told %+v", got)
	}
	revoke(Revocation{User: "u1", Before: srv.Now().Add(time.Hour)}, again)
	if _, why := refused(t, srv, "/", with(hs(srv.Now().Add(20*time.Second), nil))); why != Revoked {
		t.Errorf("a barred user is told %q", why)
	}
	if n := a.Stats(); n.Revocations != 5 || n.Cast != 5 || n.Refused[Revoked] != 3 {
		t.Errorf("Stats = %+v", n)
	}
	srv.Advance(25 * time.Hour)
	if n := a.Stats(); n.Revocations != 0 {
		t.Errorf("a day later %d are in force", n.Revocations)
	}
}

// What is listed in the settings is revoked as long as it is listed.
func TestRevokedInTheSettings(t *testing.T) {
	auth := withGrace(0)
	a := authority(t, auth, Options{})
	srv := serve(t, a, sio.Options{})
	now := srv.Now()
	token := hs(now, set{"jti": "t1", "iat": now.Unix() - 100})
	c := srv.ConnectWith("/", with(token))
	other := srv.ConnectWith("/", with(hs(now, set{"sub": "u2", "jti": "t2", "iat": now.Unix() - 100})))
	before := now.Add(-time.Minute).Format(time.RFC3339)
	for _, list := range [][]config.Revoked{{{JTI: "t1"}}, {{User: "u1", Before: before}}, {{User: "u3", Before: before}, {JTI: "t1"}}} {
		auth.Revoked = list
		if err := a.Reload(auth, nil); err != nil {
			t.Fatal(err)
		}
		srv.Settle()
		if end := c.ExpectDisconnect(); end.Reason != siotest.ServerDisconnect {
			t.Errorf("with %+v the client is disconnected with %+v", list, end)
		}
		if _, why := refused(t, srv, "/", with(token)); why != Revoked {
			t.Errorf("with %+v the token is told %q", list, why)
		}
		auth.Revoked = nil
		if err := a.Reload(auth, nil); err != nil {
			t.Fatal(err)
		}
		c = srv.ConnectWith("/", with(token)) // it is not listed any more
	}
	if !other.Connected() {
		t.Error("another user is revoked")
	}
	auth.Revoked = []config.Revoked{{}, {User: "u"}, {JTI: "t", User: "u", Before: before}, {Before: "yesterday"}}
	err := a.Reload(auth, nil)
	for i := range auth.Revoked {
		if key := fmt.Sprintf("auth.revoked[%d]", i); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("nothing is said of %s: %v", key, err)
		}
	}
}

func TestRevocationsThatCannotBe(t *testing.T) {
	auth := withGrace(0)
	auth.MaxRevocations = 2
	a := authority(t, auth, Options{})
	for name, r := range map[string]Revocation{
		"of nothing":        {},
		"of two things":     {JTI: "t", User: "u"},
		"of an id and time": {JTI: "t", Before: time.Now()},
		"of a long user":    {User: string(make([]byte, 300))},
		"of two lines":      {User: "a\nb"},
		"of a long id":      {JTI: string(make([]byte, 1000))},
		"over":              {User: "u", Until: time.Now().Add(-time.Second)},
		"for ever":          {User: "u", Until: time.Now().AddDate(100, 0, 0)},
		"of all to come":    {User: "u", Before: time.Now().AddDate(100, 0, 0)},
	} {
		if err := a.Revoke(t.Context(), r); err == nil {
			t.Errorf("Revoke of one that is %s is no error", name)
		}
	}
	for i, want := range []error{nil, nil, ErrFull} {
		if err := a.Revoke(t.Context(), Revocation{JTI: strconv.Itoa(i)}); err != want {
			t.Errorf("number %d: %v, want %v", i, err, want)
		}
	}
	if err := a.Revoke(t.Context(), Revocation{JTI: "0"}); err != nil {
		t.Errorf("one that is in force already: %v", err)
	}
	if n := a.Stats(); n.Revocations != 2 || n.RevocationsFull != 1 {
		t.Errorf("Stats = %+v", n)
	}
}

// A token is for all namespaces of a connection that have none of their own.
func TestWhereATokenComesFrom(t *testing.T) {
	a := authority(t, withGrace(0), Options{})
	srv := serve(t, a, sio.Options{})
	one, two, bad := hs(srv.Now(), nil), hs(srv.Now(), set{"sub": "u2"}), hs(srv.Now(), set{"aud": "x"})
	all := func(auth, header, query string) (o siotest.Options) {
		if auth != "" {
			o = with(auth)
		}
		if header != "" {
			o.Header = brings("Authorization", header).Header
		}
		if query != "" {
			o.Query = brings("access_token", query).Query
		}
		return o
	}
	for name, x := range map[string]struct {
		o    siotest.Options
		user string
	}{
		"auth.token":                   {all(one, "", ""), "u1"},
		"auth.token before a field":    {all(one, two, two), "u1"},
		"a field":                      {all("", one, ""), "u1"},
		"a field before a parameter":   {all("", one, two), "u1"},
		"a parameter":                  {all("", "", one), "u1"},
		"auth.token that is a field":   {with("Bearer " + one), "u1"},
		"a bad field, not looked at":   {all(one, bad, bad), "u1"},
		"a bad token, nothing else":    {all(bad, one, one), ""},
		"nothing":                      {siotest.Options{}, ""},
		"an empty token":               {with(""), ""},
		"auth that has something else": {siotest.Options{Auth: set{"user": "u1"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := srv.Try("/", x.o)
			if (err == nil) != (x.user != "") {
				t.Fatalf("connecting: %v", err)
			}
			if err != nil {
				return
			}
			if got := user(t, c); got != x.user {
				t.Errorf("it is %q, want %q", got, x.user)
			}
			more := srv.ConnectWith("/more", siotest.Options{On: c})
			if got := user(t, more); got != x.user {
				t.Errorf("in another namespace it is %q, want %q", got, x.user)
			}
			if got := user(t, srv.ConnectWith("/optional", siotest.Options{On: c, Auth: set{"token": two}})); got != "u2" {
				t.Errorf("in a namespace with its own token it is %q", got)
			}
			if got := user(t, srv.ConnectWith("/none", siotest.Options{On: c})); got != "" {
				t.Errorf("where nobody is asked it is %q", got)
			}
		})
	}
	twice := siotest.Options{Header: map[string][]string{"Authorization": {"Bearer " + one, "Bearer " + two}}}
	if _, why := refused(t, srv, "/", twice); why != Malformed {
		t.Errorf("two fields are told %q", why)
	}
	twice = siotest.Options{Query: map[string][]string{"access_token": {one, two}}}
	if _, why := refused(t, srv, "/", twice); why != Malformed {
		t.Errorf("two parameters are told %q", why)
	}
	basic := siotest.Options{Header: map[string][]string{"Authorization": {"Basic dTE6cA=="}}}
	if _, why := refused(t, srv, "/", basic); why != Missing {
		t.Errorf("a password is told %q", why)
	}
	if _, why := refused(t, srv, "/", with("")); why != Missing {
		t.Errorf("an empty token is told %q", why)
	}
	if _, why := refused(t, srv, "/", siotest.Options{Auth: set{"token": 7}}); why != Malformed {
		t.Errorf("a number is told %q", why)
	}
}

// Nobody may enter where that is allowed, but somebody who is not believed is not
// nobody.
func TestOptional(t *testing.T) {
	a := authority(t, withGrace(0), Options{})
	srv := serve(t, a, sio.Options{})
	if c := srv.Connect("/optional"); user(t, c) != "" || a.Of(c.Socket()).Has("x") || a.Of(c.Socket()).MayJoin("x") {
		t.Error("nobody is somebody")
	}
	if _, why := refused(t, srv, "/optional", with(hs(srv.Now(), set{"aud": "x"}))); why != BadAudience {
		t.Errorf("a bad token is told %q", why)
	}
	if n := a.Stats(); n.Anonymous != 1 {
		t.Errorf("Stats = %+v", n)
	}
	// What the request brings is known to the namespace behind one that does not ask.
	o := brings("Authorization", hs(srv.Now(), nil))
	c := srv.ConnectWith("/none", o)
	if got := user(t, srv.ConnectWith("/more", siotest.Options{On: c})); got != "u1" {
		t.Errorf("behind a namespace that does not ask it is %q", got)
	}
	c = srv.ConnectWith("/none", brings("Authorization", hs(srv.Now(), set{"aud": "x"})))
	if _, why := refused(t, srv, "/more", siotest.Options{On: c}); why != BadAudience {
		t.Errorf("behind a namespace that does not ask a bad token is told %q", why)
	}
	// And a token that has ended since is worth nothing to further namespaces.
	c = srv.ConnectWith("/none", brings("Authorization", tokenFor(srv, 10*time.Second, nil)))
	srv.Advance(time.Minute)
	if _, why := refused(t, srv, "/more", siotest.Options{On: c}); why != Expired {
		t.Errorf("a token that has ended is told %q", why)
	}
}

// A connection that joins and leaves namespaces for ever keeps no more than it has.
func TestSocketsThatHaveLeftAreForgotten(t *testing.T) {
	a := authority(t, withGrace(0), Options{})
	srv := serve(t, a, sio.Options{})
	enter(a, srv.Of("/n/:x"), Required)
	c := srv.ConnectWith("/", with(hs(srv.Now(), nil)))
	for i := range 100 {
		srv.ConnectWith("/n/"+strconv.Itoa(i), siotest.Options{On: c}).Disconnect()
	}
	x, _ := a.key.Get(c.Socket())
	if n := len(x.rest.more); n > 2*fewSockets {
		t.Errorf("%d sockets are kept of one", n)
	}
	if user(t, c) != "u1" {
		t.Error("it is nobody")
	}
}
