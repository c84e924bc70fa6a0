package admin

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

// A stream is a trace that is under way.
type stream struct {
	t     *testing.T
	res   *http.Response
	lines *bufio.Scanner
}

// traces begins one; it is under way when traces returns.
func (b *browser) traces(t *testing.T, question string) *stream {
	t.Helper()
	r, err := http.NewRequest("POST", b.app.web.URL+"/admin/data/trace", strings.NewReader(question))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Origin", b.app.web.URL)
	r.Header.Set(tokenField, b.token)
	res, err := b.web.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		t.Fatalf("a trace is answered %d", res.StatusCode)
	}
	s := &stream{t, res, bufio.NewScanner(res.Body)}
	s.lines.Buffer(nil, 1<<20)
	if !s.lines.Scan() {
		t.Fatal("a trace has no first line")
	}
	b.app.srv.Settle() // loops have heard of it
	return s
}

// next returns the next line that says something.
func (s *stream) next() traceLine {
	s.t.Helper()
	for s.lines.Scan() {
		var x traceLine
		if err := json.Unmarshal(s.lines.Bytes(), &x); err != nil {
			s.t.Fatal(err)
		}
		if x != (traceLine{}) {
			return x
		}
	}
	s.t.Fatalf("the trace has ended: %v", s.lines.Err())
	return traceLine{}
}

// wants is next with what it must be.
func (s *stream) wants(want string) {
	s.t.Helper()
	x := s.next()
	if got := strings.Join(strings.Fields(fmt.Sprint(x.What, " ", x.Nsp, " ", x.Event, " ", x.Room, " ", x.To, " ", x.Text, " ", x.Ack, " ", x.End)), " "); got != want {
		s.t.Errorf("the line is %q, want %q", got, want)
	}
}

func TestTrace(t *testing.T) {
	a := start(t, settings())
	ns := a.srv.Of("/")
	for _, name := range []string{"/", "/rooms/:id"} {
		a.srv.Of(name).HandleAny(func(s sio.Socket, m *sio.Msg) error {
			if m.WantsAck() {
				return m.Ack("done")
			}
			return nil
		})
	}
	x, y, z := a.srv.Connect("/"), a.srv.Connect("/"), a.srv.Connect("/rooms/7")
	x.Socket().Join("r1")
	b := a.browser().enter(right)
	room, route, user, socket := b.traces(t, `{"kind":"room","name":"r1","nsp":"/","share":1}`), b.traces(t, `{"kind":"route","name":"/rooms/:id","share":1}`),
		b.traces(t, `{"kind":"user","name":"user of /rooms/7","share":1}`), b.traces(t, `{"kind":"socket","name":"`+y.ID()+`","share":1}`)

	x.Emit("said", "hello", map[string]int{"a": 1})
	y.EmitAck("asked", []byte{1, 2, 3})
	z.Emit("moved")
	if err := ns.To("r1").Emit("news", 17); err != nil {
		t.Fatal(err)
	}
	a.srv.Settle()
	room.wants(`in / said "hello", {"a":1} false`)
	room.wants(`out / news r1 17 false`)
	for _, s := range []*stream{route, user} {
		s.wants(`in /rooms/7 moved false`)
	}
	line := socket.next()
	if line.What != "in" || line.Event != "asked" || !line.Ack || line.Text != `{"_placeholder":true,"num":0}` || line.Cut != 3 || line.SID != y.ID() {
		t.Errorf("the line is %+v", line)
	}
	y.Socket().Join("r2", "r1")
	a.srv.Settle()
	socket.wants("join / r2 false")
	socket.wants("join / r1 false")
	room.wants("join / r1 false")
	x.Socket().Leave("r1")
	a.srv.Settle()
	room.wants("leave / r1 false")
	z.Disconnect()
	a.srv.Settle()
	route.wants("disconnect /rooms/7 client namespace disconnect false")

	// It ends with what let it begin.
	b.does("POST", "/admin/logout", "")
	for _, s := range []*stream{room, route, socket} {
		s.wants("false The session has ended")
		if s.lines.Scan() {
			t.Error("it goes on")
		}
	}
}

// A trace ends by itself, with the page, and with the server.
func TestTracesEnd(t *testing.T) {
	a := start(t, settings())
	b := a.browser().enter(right)
	gone := func() {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); a.admin.traces.Load() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("a trace goes on")
			}
		}
	}
	s := b.traces(t, `{"kind":"user","name":"x","share":1}`)
	_ = s.res.Body.Close()
	gone()
	a.admin.traceTime = 10 * time.Millisecond
	b.traces(t, `{"kind":"user","name":"x","share":1}`).wants("false The time is over")
	gone()
	a.admin.traceTime = time.Hour
	s = b.traces(t, `{"kind":"user","name":"x","share":1}`)
	ro := settings()
	ro.ReadOnly = true
	a.admin.Reload(ro)
	s.wants("false Nothing may be traced any more")
	gone()
	a.admin.Reload(settings())
	s = b.traces(t, `{"kind":"user","name":"x","share":1}`)
	a.admin.Stop()
	s.wants("false The server stops")
	gone()
}

// What is asked for is bounded: how much, how often and by whom.
func TestTraceBounds(t *testing.T) {
	s := settings()
	s.ReadOnly = true
	a := start(t, s)
	const good = `{"kind":"user","name":"x","share":1}`
	b := a.browser().enter(right)
	b.wants("POST", "/admin/data/trace", good, 403, `"readonly"`)
	a.admin.Reload(settings())
	b.wants("POST", "/admin/data/trace", good, 403, `"origin"`, without(tokenField))
	for _, body := range []string{`{}`, `{"kind":"user","share":1}`, `{"kind":"all","name":"x","share":1}`, `{"kind":"user","name":"x"}`, `{"kind":"user","name":"x","share":2}`,
		`{"kind":"user","name":"` + strings.Repeat("x", traceName+1) + `","share":1}`, `[`} {
		b.wants("POST", "/admin/data/trace", body, 400, `"malformed"`)
	}
	b.wants("POST", "/admin/data/trace", `{"kind":"`+strings.Repeat("x", 5*traceName)+`"}`, 413, `"too_long"`)
	for range maxTraces {
		b.traces(t, good)
	}
	b.wants("POST", "/admin/data/trace", good, 429, `"too_many_traces"`)
	if s := a.admin.Stats(); s.Traces != maxTraces || s.Traced != maxTraces || s.Untraced != 1 {
		t.Errorf("%+v", s)
	}
}

// More lines than there may be are left out and counted, and of events a share is told.
func TestTraceRate(t *testing.T) {
	a := start(t, settings())
	ns := a.srv.Of("/")
	ns.HandleAnyInline(func(sio.Socket, *sio.Msg) error { return nil })
	c := a.srv.Connect("/")
	seen := 0
	tr := &tracing{q: traceQuestion{Kind: "route", Name: "/", Share: 1}, user: a.admin.o.User, lines: make(chan *traceLine, traceQueue)}
	stop := a.srv.Observe(func(o *sio.Observation) { seen++; tr.see(o) })
	defer stop()
	a.srv.Settle()
	tr.full = time.Now().Add(time.Hour) // as many as may be have been there
	flood(c, 50)
	if seen != 50 || len(tr.lines) != 0 || tr.leftOut.Load() != 50 {
		t.Errorf("of %d events %d are told, and %d left out", seen, len(tr.lines), tr.leftOut.Load())
	}
	tr.full = time.Time{}
	flood(c, 50)
	if len(tr.lines) != 50 {
		t.Errorf("%d of 50 are told", len(tr.lines))
	}
	for len(tr.lines) < cap(tr.lines) { // nobody reads
		tr.lines <- nil
	}
	tr.full = time.Time{}
	flood(c, 1)
	if tr.leftOut.Load() != 51 {
		t.Errorf("%d are left out", tr.leftOut.Load())
	}
	few := &tracing{q: traceQuestion{Kind: "route", Name: "/", Share: 1e-12}, user: a.admin.o.User, lines: make(chan *traceLine, 8)}
	end := a.srv.Observe(few.see)
	defer end()
	a.srv.Settle()
	flood(c, 20)
	c.Socket().Join("r")
	a.srv.Settle()
	if len(few.lines) != 1 || (<-few.lines).What != "join" {
		t.Error("of a share of next to nothing, not just what is no event is told")
	}
}

func flood(c *siotest.Client, n int) {
	for i := range n {
		c.Emit("x", i)
	}
}

// Arguments are cut to what is shown, at whole runes.
func TestTextOf(t *testing.T) {
	for _, list := range []string{`[]`, `["x"]`, `[1,2.50,null]`, `["` + strings.Repeat("ü", 2000) + `"]`, `["` + strings.Repeat("x", 1000) + `","` + strings.Repeat("漢", 40) + `",3]`, "[\"\xff\xfe\"]",
		`["` + strings.Repeat("x", traceText-2) + `",1,2]`} {
		args, err := sio.ParseArgs([]byte(list), nil)
		if err != nil {
			continue
		}
		text, left := textOf(args)
		whole := 0
		for i := range args.Len() {
			whole += len(args.Raw(i))
		}
		if !utf8.ValidString(text) || len(text) > traceText || len(text) < traceText/2 && left > 0 || left > whole || left == 0 && len(text) < whole {
			t.Errorf("%.20s…: %d bytes are shown, and %d not", list, len(text), left)
		}
	}
}
