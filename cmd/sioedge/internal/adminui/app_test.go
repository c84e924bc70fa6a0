package adminui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

const (
	password = "correct horse"
	apiKey   = "a key of the API that is long enough"
)

// hash is that of the password, as cheap as can be.
var hash = func() string {
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	return string(h)
}()

// settings are those of a page that sees everything.
func settings() config.Admin {
	return config.Admin{Namespace: "/admin", User: "root", Password: hash, Mode: development}
}

// An app is a server with pages, whose clock and turns are the test's.
type app struct {
	*siotest.Server
	t   *testing.T
	ui  *UI
	now time.Time
}

func start(t *testing.T, s config.Admin, o sio.Options) *app {
	t.Helper()
	o.KeepHandshake = sio.KeepAlways
	a := &app{Server: siotest.New(t, o), t: t, now: time.Date(2026, 3, 4, 5, 6, 7, 890_000_000, time.UTC)}
	a.ui = newUI(a.Server.Server, Options{Admin: s, Keys: []string{apiKey}})
	a.ui.now = func() time.Time { return a.now }
	a.ui.tap.now = a.ui.now
	t.Cleanup(a.ui.quit)
	return a
}

// byPassword is the auth of a page.
var byPassword = map[string]any{"username": "root", "password": password}

// page connects one, which has been sent what pages are at first.
func (a *app) page(auth any) *page {
	a.t.Helper()
	p := &page{a.ConnectWith("/admin", siotest.Options{Auth: auth}), a}
	a.flush()
	return p
}

// flush has what has happened told.
func (a *app) flush() {
	a.t.Helper()
	a.Settle()
	a.ui.flush()
	a.Settle()
}

// A page is a client of the pages' namespace.
type page struct {
	*siotest.Client
	a *app
}

// got returns what was received since it was called last, without what is told every so
// often: names of events with arguments as JSON.
func (p *page) got() (all []string) {
	p.a.t.Helper()
	p.a.flush()
	for _, e := range p.Received() {
		if e.Name != statsEvent {
			all = append(all, e.Name+" "+argsOf(e))
		}
	}
	return all
}

func (p *page) wants(want ...string) {
	p.a.t.Helper()
	if got := p.got(); !slices.Equal(got, want) {
		p.a.t.Errorf("received:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// stats returns the last server_stats.
func (p *page) stats() (x serverStats) {
	p.a.t.Helper()
	p.a.flush()
	found := false
	for _, e := range p.Received() {
		if e.Name == statsEvent {
			found = true
			x = serverStats{}
			if err := e.Decode(&x); err != nil {
				p.a.t.Fatal(err)
			}
		}
	}
	if !found {
		p.a.t.Error("no server_stats were received")
	}
	return x
}

// asJSON is v as JSON.
func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// argsOf is an event's arguments as JSON, whole.
func argsOf(e *siotest.Event) string {
	raw, attachments := e.Verbatim()
	text := string(bytes.Join(raw, []byte(",")))
	for _, b := range attachments {
		text += fmt.Sprintf(" <%x>", b)
	}
	return text
}
