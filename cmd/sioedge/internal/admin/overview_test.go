package admin

import (
	"encoding/json"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// What is counted of each loop is that of all, and an overview is made once for all who
// look at one time.
func TestOverview(t *testing.T) {
	a := start(t, settings())
	for range 3 {
		c := a.srv.Connect("/")
		c.Emit("event", 1)
	}
	a.srv.Of("/").All().Join("room")
	if err := a.srv.Of("/").Emit("news"); err != nil {
		t.Fatal(err)
	}
	a.srv.Advance(0)
	b := a.browser().enter(right)
	var o Overview
	_, text := b.does("GET", "/admin/data/overview", "")
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	l := o.Loops[0]
	if o.Sockets != 3 || o.Rooms != 1 || o.EventsIn != 3 || o.EventsOut != 3 || l.Sockets != 3 || l.EventsIn != 3 || l.EventsOut != 3 || o.Memory.InUse == 0 || o.Adapter != nil || o.Operators != 1 {
		t.Errorf("the overview is %s", text)
	}
	if _, again := a.browser().enter(byKey).does("GET", "/admin/data/overview", ""); again != text {
		t.Errorf("another, at the same time, is %s", again)
	}
}

// What was dropped is named, and what was not is left out.
func TestDrops(t *testing.T) {
	st := &sio.Stats{Drops: sio.Drops{Volatile: 2, Gated: 1}}
	if d := dropsOf(st); len(d) != 2 || d["volatile events"] != 2 || d["events refused by a gate"] != 1 {
		t.Errorf("%v", d)
	}
}

// In readonly what applications store is not shown; what proves who a client is never is.
func TestWhatIsShown(t *testing.T) {
	a := start(t, settings())
	a.srv.Of("/")
	header := http.Header{"Cookie": {"id=hidden"}, "Authorization": {"Bearer hidden"}, "X-Other": {"shown"}}
	c := a.srv.ConnectWith("/", siotest.Options{Header: header, Query: url.Values{"token": {"hidden"}, "room": {"shown too"}}})
	c.Socket().SetData(map[string]string{"plan": "stored"})
	a.srv.Settle()
	b := a.browser().enter(right)
	for _, readOnly := range []bool{false, true} {
		s := settings()
		s.ReadOnly = readOnly
		a.admin.Reload(s)
		for _, text := range []string{second(b.does("GET", "/admin/api/sockets/"+c.ID(), "")), second(b.does("POST", "/admin/api/sockets/query", `{}`))} {
			if strings.Contains(text, "stored") == readOnly || strings.Contains(text, "hidden") || !strings.Contains(text, c.ID()) {
				t.Errorf("readonly %t: %s", readOnly, text)
			}
		}
		if text := second(b.does("GET", "/admin/api/sockets/"+c.ID(), "")); !strings.Contains(text, `"X-Other":"shown"`) || !strings.Contains(text, "shown too") || !strings.Contains(text, `"Cookie":"…"`) || !strings.Contains(text, `"token":"…"`) {
			t.Errorf("readonly %t: the handshake is %s", readOnly, text)
		}
	}
}

func second(_ int, text string) string { return text }

// Who is not looked at has no goroutine of the page's, be it that somebody has looked.
func TestNobodyLooks(t *testing.T) {
	a := start(t, settings())
	a.srv.Of("/")
	own := func() int {
		b := make([]byte, 1<<20)
		return strings.Count(string(b[:runtime.Stack(b, true)]), "internal/admin.(*")
	}
	if n := own(); n != 0 {
		t.Errorf("before anybody looks there are %d calls under way", n)
	}
	b := a.browser().enter(right)
	b.does("GET", "/admin/data/overview", "")
	b.does("GET", "/admin/api/namespaces", "")
	s := b.traces(t, `{"kind":"user","name":"x","share":1}`)
	b.does("GET", "/admin/data/ranks", "")
	if own() == 0 {
		t.Error("nobody looks")
	}
	_ = s.res.Body.Close()
	a.admin.survey.mu.Lock()
	a.admin.survey.asked = time.Now().Add(-surveyIdle)
	a.admin.survey.mu.Unlock()
	eventually(t, "nobody looks any more", func() bool { return own() == 0 })
}
