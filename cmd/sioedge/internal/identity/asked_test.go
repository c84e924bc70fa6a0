package identity

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// serveAsked serves namespaces whose clients somebody is asked about: what is said is in
// says, by namespace; seen is what was asked.
func serveAsked(t *testing.T, a *Authority, need Need, says map[string]func(id *Identity) (Given, error)) (srv *siotest.Server, seen func() string) {
	t.Helper()
	var o sio.Options
	a.Options(&o)
	srv = siotest.New(t, o)
	a.Register(srv.Server)
	claims := ""
	for name, say := range says {
		ns := srv.Of(name)
		ns.Use(func(s sio.Socket) error {
			_, err := a.AdmitAsked(s, need, func(id *Identity, c json.RawMessage) (Given, error) {
				claims = string(c)
				return say(id)
			})
			return err
		})
		ns.OnConnect(func(s sio.Socket) error { a.Connected(s); return nil })
		ns.Handle(RefreshEvent, a.Refresh)
	}
	return srv, func() string { return claims }
}

func saying(g Given) func(*Identity) (Given, error) {
	return func(*Identity) (Given, error) { return g, nil }
}

// What is said counts beside a token, and of each namespace's sockets alone.
func TestWhatIsSaidCountsBesideAToken(t *testing.T) {
	a := authority(t, jwtAuth(nil), Options{})
	srv, claims := serveAsked(t, a, Required, map[string]func(*Identity) (Given, error){
		"/":      saying(Given{}),
		"/other": saying(Given{User: "other", Scope: []string{"more"}, Rooms: []string{"r:*"}}),
		"/no": func(id *Identity) (Given, error) {
			return Given{}, &sio.Error{Message: "no " + id.User, Data: 1}
		},
	})
	token := tokenFor(srv, time.Hour, set{"scope": "read"})
	c := srv.ConnectWith("/", with(token))
	id := a.Of(c.Socket())
	if id == nil || id.given() != nil {
		t.Fatalf("it is %+v", id)
	}
	if !strings.Contains(claims(), `"scope":"read"`) {
		t.Errorf("the claims are %s", claims())
	}
	d := srv.ConnectWith("/other", with(token))
	o := a.Of(d.Socket())
	if o.User != "other" || !o.Has("read") || !o.Has("more") || !o.MayJoin("r:1") || o.Expires() != id.Expires() || o.proven().User != id.User {
		t.Errorf("it is %+v", o)
	}
	if a.Of(c.Socket()).Has("more") {
		t.Error("what is said of one counts for another")
	}
	_, err := srv.Try("/no", with(token))
	if e := (*siotest.ConnectError)(nil); !errors.As(err, &e) || e.Message != "no "+id.User {
		t.Errorf("it is refused with %v", err)
	}
	// The token of who is somebody else is revoked: both have to go.
	if err := a.Revoke(t.Context(), Revocation{User: id.User}); err != nil {
		t.Fatal(err)
	}
	srv.Settle()
	if c.Connected() || d.Connected() {
		t.Errorf("connected are %v, %v", c.Connected(), d.Connected())
	}
}

// Where nobody brings anything that a key verifies, somebody is who it is said to be.
func TestWhoIsSaid(t *testing.T) {
	for name, x := range map[string]struct {
		need Need
		g    Given
		user string
		why  Reason
	}{
		"nobody, and must be somebody": {Required, Given{}, "", BadUser},
		"nobody, with permissions":     {Required, Given{Scope: []string{"a"}}, "", BadUser},
		"nobody, and may be":           {Optional, Given{}, "", ""},
		"nobody, and may have more":    {Optional, Given{Scope: []string{"a"}}, "", ""},
		"somebody":                     {Required, Given{User: "ann"}, "ann", ""},
		"a user that cannot be":        {Optional, Given{User: "a\x00"}, "", BadUser},
		"what has ended":               {Optional, Given{User: "ann", Expires: time.Unix(1, 0)}, "", Expired},
		"where nobody is somebody":     {None, Given{User: "ann"}, "", ""},
	} {
		a := authority(t, config.Auth{Mode: "webhook"}, Options{})
		srv, _ := serveAsked(t, a, x.need, map[string]func(*Identity) (Given, error){"/": saying(x.g)})
		if x.why != "" {
			if _, why := refused(t, srv, "/", siotest.Options{}); why != x.why {
				t.Errorf("%s: it is refused for %q", name, why)
			}
			continue
		}
		c := srv.Connect("/")
		if got := a.Of(c.Socket()); got.user() != x.user || got.Has("a") != (x.g.Scope != nil) {
			t.Errorf("%s: it is %+v", name, got)
		}
		if st := a.Stats(); x.user != "" && (st.Admitted != 1 || st.Anonymous != 0) {
			t.Errorf("%s: Stats = %+v", name, st)
		}
	}
}

// A new token keeps what was said, which may end sooner than it.
func TestANewTokenKeepsWhatWasSaid(t *testing.T) {
	a := authority(t, jwtAuth(nil), Options{})
	var soon time.Time
	srv, _ := serveAsked(t, a, Required, map[string]func(*Identity) (Given, error){"/": func(*Identity) (Given, error) {
		return Given{Scope: []string{"more"}, Expires: soon}, nil
	}})
	soon = srv.Now().Add(time.Minute).Truncate(time.Second)
	c := srv.ConnectWith("/", with(tokenFor(srv, time.Hour, nil)))
	if got := a.Of(c.Socket()).Expires(); !got.Equal(soon) {
		t.Errorf("it ends at %v, want %v", got, soon)
	}
	if got := refreshed(c, tokenFor(srv, 2*time.Hour, set{"scope": "new"})); !got.OK || *got.Expires != soon.Unix() {
		t.Errorf("the answer is %+v", got)
	}
	if id := a.Of(c.Socket()); !id.Has("more") || !id.Has("new") {
		t.Errorf("it is %+v", id)
	}
	answer, ok := a.Renew(c.Socket(), json.RawMessage(`"`+tokenFor(srv, 2*time.Hour, nil)+`"`), func(id *Identity, claims json.RawMessage) (Given, error) {
		if id.User != "u1" && id.User == "" || !strings.Contains(string(claims), `"exp"`) {
			t.Errorf("asked is about %+v, %s", id, claims)
		}
		return Given{Expires: soon.Add(time.Hour), Scope: []string{}}, nil
	})
	if id := a.Of(c.Socket()); !ok || id.Has("more") || !id.Expires().Equal(soon.Add(time.Hour)) {
		t.Errorf("%v: it is %+v", answer, id)
	}
	if answer, ok := a.Renew(c.Socket(), json.RawMessage(`"`+tokenFor(srv, 2*time.Hour, nil)+`"`), func(*Identity, json.RawMessage) (Given, error) {
		return Given{}, errors.New("internal words")
	}); ok || strings.Contains(jsonOf(t, answer), "internal") {
		t.Errorf("the answer is %v", answer)
	}
}

// A token in a mode without keys is bounded, and tried so often.
func TestANewTokenThatNobodyVerifies(t *testing.T) {
	a := authority(t, config.Auth{Mode: "webhook", MaxToken: 100}, Options{})
	srv, _ := serveAsked(t, a, Optional, map[string]func(*Identity) (Given, error){"/": saying(Given{User: "ann"}), "/nobody": saying(Given{})})
	c, asked := srv.Connect("/"), 0
	renew := func(c *siotest.Client, token string) string {
		answer, _ := a.Renew(c.Socket(), json.RawMessage(token), func(*Identity, json.RawMessage) (Given, error) { asked++; return Given{}, nil })
		return jsonOf(t, answer)
	}
	for _, x := range []struct {
		c     *siotest.Client
		token string
		want  string
	}{
		{c, `{"any":"thing"}`, `"ok":true`}, {c, `"` + strings.Repeat("x", 100) + `"`, "malformed"}, {c, "null", "token missing"},
		{srv.Connect("/nobody"), `"x"`, "other user"},
	} {
		if got := renew(x.c, x.token); !strings.Contains(got, x.want) {
			t.Errorf("%s: %s, want %s", x.token, got, x.want)
		}
	}
	if asked != 1 {
		t.Errorf("it was asked %d times", asked)
	}
	for range 20 {
		renew(c, `"x"`)
	}
	if got := renew(c, `"x"`); !strings.Contains(got, "too many") || asked > 10 {
		t.Errorf("%s, asked %d times", got, asked)
	}
	if got := jsonOf(t, refreshed(c, "x")); !strings.Contains(got, "other user") { // nobody would be asked
		t.Error(got)
	}
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
