package adminui

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// refused connects a page that is not let in, and returns what it is told.
func (a *app) refused(auth any) string {
	a.t.Helper()
	_, err := a.Try("/admin", siotest.Options{Auth: auth})
	var e *siotest.ConnectError
	if !errors.As(err, &e) {
		a.t.Fatalf("%v was let in: %v", auth, err)
	}
	return e.Message
}

// Who has the password gets a session, which is enough from then on, for a day.
func TestLogin(t *testing.T) {
	a := start(t, settings(), sio.Options{})
	id := siotest.Expect[string](a.page(byPassword).Client, "session")
	p := a.page(map[string]any{"sessionId": id})
	p.Expect("config")
	for _, e := range p.Received() {
		if e.Name == "session" {
			t.Error("a session was got by a session")
		}
	}
	if st := a.ui.Stats(); st.Logins != 1 || st.Pages != 2 || st.Refused != 0 {
		t.Errorf("%+v", st)
	}
	a.now = a.now.Add(sessionTime - time.Second)
	a.page(map[string]any{"sessionId": id})
	a.now = a.now.Add(time.Second)
	if m := a.refused(map[string]any{"sessionId": id}); m != "invalid credentials" {
		t.Errorf("by an old session: %s", m)
	}
}

func TestLoginsThatAreWrong(t *testing.T) {
	a := start(t, settings(), sio.Options{})
	id := siotest.Expect[string](a.page(byPassword).Client, "session")
	last := "0"
	if strings.HasSuffix(id, "0") {
		last = "1"
	}
	for _, auth := range []any{
		nil, map[string]any{}, map[string]any{"username": "root"}, map[string]any{"username": "root", "password": "wrong"},
		map[string]any{"username": "", "password": password}, map[string]any{"username": "Root", "password": password},
		map[string]any{"username": "root", "password": apiKey}, map[string]any{"username": "root", "password": hash},
		map[string]any{"username": 1, "password": password}, map[string]any{"username": "root", "password": []int{1}},
		map[string]any{"sessionId": id[:len(id)-1] + last}, map[string]any{"sessionId": id[2:]}, map[string]any{"sessionId": strings.Repeat("0", len(id))},
		map[string]any{"sessionId": strings.ToUpper(id) + "z"}, map[string]any{"sessionId": true},
		map[string]any{"username": "root", "password": strings.Repeat("x", 1<<20/2)},
	} {
		if m := a.refused(auth); m != "invalid credentials" {
			t.Errorf("%.80v: %s", auth, m)
		}
	}
	if st := a.ui.Stats(); st.Logins != 1 || st.Refused != 16 {
		t.Errorf("%+v", st)
	}
}

// Without a password a key of the API is one; it is none beside a password.
func TestLoginByKey(t *testing.T) {
	s := settings()
	s.Password = ""
	a := start(t, s, sio.Options{})
	id := siotest.Expect[string](a.page(map[string]any{"username": "root", "password": apiKey}).Client, "session")
	a.page(map[string]any{"sessionId": id})
	for _, auth := range []any{byPassword, map[string]any{"username": "x", "password": apiKey}, map[string]any{"username": "root", "password": ""}} {
		if m := a.refused(auth); m != "invalid credentials" {
			t.Errorf("%v: %s", auth, m)
		}
	}
	a.ui.Reload(s, []string{"another key of the API"})
	a.refused(map[string]any{"sessionId": id})
	a.page(map[string]any{"username": "root", "password": "another key of the API"})
	a.ui.Reload(s, nil)
	a.refused(map[string]any{"username": "root", "password": ""})
}

// Another password ends the sessions of the last; who is there stays.
func TestSessionsEndWithThePassword(t *testing.T) {
	a := start(t, settings(), sio.Options{})
	p := a.page(byPassword)
	id := siotest.Expect[string](p.Client, "session")
	s := settings()
	s.User = "another"
	a.ui.Reload(s, nil)
	a.refused(map[string]any{"sessionId": id})
	a.refused(byPassword)
	if !p.Connected() {
		t.Error("a page has gone")
	}
}

// Servers with the same password know each other's sessions.
func TestSessionsOfOtherServers(t *testing.T) {
	one, other := newRules(settings(), nil), newRules(settings(), []string{apiKey})
	now := time.Now()
	if !other.knows(one.session(now), now) {
		t.Error("a session is not known")
	}
	s := settings()
	s.Password = ""
	if newRules(s, []string{apiKey}).knows(newRules(s, []string{"x"}).session(now), now) {
		t.Error("a session of another key is known")
	}
}

// Guesses are not looked at when there are too many, and a session is let in meanwhile.
func TestGuesses(t *testing.T) {
	a := start(t, settings(), sio.Options{})
	id := siotest.Expect[string](a.page(byPassword).Client, "session")
	said := map[string]int{}
	for range 15 {
		said[a.refused(map[string]any{"username": "root", "password": "guess"})]++
	}
	if len(said) != 2 || said["invalid credentials"] != 10 {
		t.Errorf("what guesses were told: %v", said)
	}
	if m := a.refused(byPassword); !strings.HasPrefix(m, "too many logins have failed: wait ") {
		t.Errorf("behind too many guesses: %s", m)
	}
	for range 30 {
		a.refused(map[string]any{}) // is none
	}
	a.page(map[string]any{"sessionId": id})
}
