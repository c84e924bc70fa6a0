package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bustest"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/identity"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/presence"
	"github.com/sioedge/sioedge/sio"
)

const (
	testKey  = "a key that opens the interface"
	otherKey = "another key that opens it as well"
	patience = 20 * time.Second
)

// An app is a server with its API, and what a test needs of both.
type app struct {
	t    testing.TB
	srv  *sio.Server
	api  *API
	auth *identity.Authority
	bus  *bustest.Adapter
	web  *httptest.Server // for clients
	in   *httptest.Server // the API
	log  *logged
}

type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start starts a server; bus, if there is one, joins it to others.
func start(t testing.TB, bus *bustest.Bus, change func(*Options)) *app {
	t.Helper()
	return startWith(t, bus, sio.Options{}, change)
}

// startWith is start with options of the server.
func startWith(t testing.TB, bus *bustest.Bus, o sio.Options, change func(*Options)) *app {
	t.Helper()
	a := &app{t: t, log: &logged{}}
	log := slog.New(slog.NewTextHandler(a.log, nil))
	o.Logger, o.KeepHandshake = log, sio.KeepAlways
	if bus != nil {
		a.bus = bus.Adapter()
		o.Adapter = a.bus
	}
	var err error
	a.auth, err = identity.New(config.Auth{Mode: "none"}, nil, identity.Options{Logger: log, Cluster: bus != nil})
	if err == nil {
		a.srv, err = sio.New(o)
	}
	if err != nil {
		t.Fatal(err)
	}
	a.auth.Register(a.srv)
	user := func(s sio.Socket) string { u, _ := userKey.Get(s); return u }
	p := presence.New(a.srv, user, presence.Options{Cluster: bus != nil, Logger: log})
	for _, name := range []string{"/", "/chat", "/rooms/:id"} {
		ns := a.srv.Of(name)
		ns.Use(admit)
		ns.Handle("join", func(s sio.Socket, m *sio.Msg) error {
			var room string
			if err := m.Decode(&room); err != nil {
				return err
			}
			s.Join(room)
			return m.Ack(s.Rooms())
		})
		if name == "/rooms/:id" {
			p.Guard(ns, func() config.Presence { return config.Presence{Enabled: true} })
		}
	}
	ao := Options{Settings: Settings{Keys: []string{testKey, otherKey}}, Authority: a.auth, Presence: p, User: user, Cluster: bus != nil, Version: "test", Logger: log}
	if change != nil {
		change(&ao)
	}
	a.api = New(a.srv, ao)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	// ends with the test
	go func() { done <- a.srv.Serve(ctx) }()
	a.web, a.in = httptest.NewServer(a.srv), httptest.NewServer(a.api)
	t.Cleanup(func() {
		a.api.Stop()
		a.in.CloseClientConnections()
		a.in.Close()
		cancel()
		<-done
		a.web.CloseClientConnections()
		a.web.Close()
		p.Close(context.Background())
		_ = a.auth.Close(context.Background())
		if s := a.log.String(); strings.Contains(s, "panic") || strings.Contains(s, testKey) {
			t.Errorf("the log says %s", s)
		}
	})
	return a
}

var userKey = sio.NewKey[string]()

// admit believes whom a client says that it is.
func admit(s sio.Socket) error {
	var x struct {
		User string
		Data json.RawMessage
	}
	if err := s.Auth(&x); err != nil {
		return err
	}
	if x.Data != nil {
		s.SetData(x.Data)
	}
	return userKey.Set(s, x.User)
}

// A client is one of Socket.IO.
type client struct {
	*bustest.Poller
	ns string // "/chat,", or nothing
	id string
}

// connect joins a namespace as a user, with data, and rooms.
func (a *app) connect(ns, user, data string, rooms ...string) *client {
	a.t.Helper()
	c := &client{Poller: bustest.Poll(a.t, a.web.URL)}
	if ns != "/" {
		c.ns = ns + ","
	}
	auth, _ := json.Marshal(map[string]any{"user": user, "data": json.RawMessage(data)})
	c.Send("40" + c.ns + string(auth))
	var x struct{ SID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(c.Await("40"+c.ns), "40"+c.ns)), &x); err != nil {
		a.t.Fatal(err)
	}
	c.id = x.SID
	for _, room := range rooms {
		c.Send("42" + c.ns + `1["join","` + room + `"]`)
		c.Await("43" + c.ns + "1")
	}
	return c
}

// gets waits for an event.
func (c *client) gets(event string) { c.Await("42" + c.ns + event) }

// ask makes a request with the key and returns the answer, which is what the document
// says that it may be. Fields are pairs of a header's.
func (a *app) ask(method, path, body string, fields ...string) (status int, answer string) {
	a.t.Helper()
	r, err := http.NewRequest(method, a.in.URL+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+testKey)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
		if fields[i+1] == "" {
			r.Header.Del(fields[i])
		}
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	conforms(a.t, r, res, b)
	return res.StatusCode, string(b)
}

// wants makes a request and compares the answer.
func (a *app) wants(method, path, body string, status int, want string) {
	a.t.Helper()
	if got, answer := a.ask(method, path, body); got != status || answer != want {
		a.t.Errorf("%s %s %s = %d %s, want %d %s", method, path, body, got, answer, status, want)
	}
}

// document is that of the API, as others read it.
var theDocument = sync.OnceValue(func() *openapi3.T {
	d, err := openapi3.NewLoader().LoadFromData(Document())
	if err == nil {
		err = d.Validate(context.Background())
	}
	if err != nil {
		panic(err)
	}
	return d
})

// conforms compares an answer with the document.
func conforms(t testing.TB, r *http.Request, res *http.Response, body []byte) {
	t.Helper()
	path := r.URL.EscapedPath()
	found, _, _ := newRouter(routes).find(r.Method, path)
	if found == nil {
		failure(t, r, body)
		return
	}
	d := theDocument()
	op := d.Paths.Find(found.path).GetOperation(found.method)
	if op == nil {
		t.Fatalf("the document has no %s %s", found.method, found.path)
	}
	said := op.Responses.Status(res.StatusCode)
	if said == nil {
		t.Errorf("the document has no answer %d of %s %s: %s", res.StatusCode, found.method, found.path, body)
		return
	}
	kind := res.Header.Get("Content-Type")
	media := said.Value.Content.Get(kind)
	if media == nil || media.Schema == nil {
		t.Errorf("the document has no %s of %s %s, %d", kind, found.method, found.path, res.StatusCode)
		return
	}
	lines := [][]byte{body}
	if kind == "application/x-ndjson" {
		lines = bytes.Split(bytes.TrimSpace(body), []byte("\n"))
	}
	for _, line := range lines {
		if r.Method == http.MethodHead || len(line) == 0 {
			continue
		}
		var v any
		if err := json.Unmarshal(line, &v); err != nil {
			t.Errorf("%s %s answers %s: %v", r.Method, path, line, err)
		} else if err := media.Schema.Value.VisitJSON(v); err != nil {
			t.Errorf("%s %s answers %s, which is not as the document says: %v", r.Method, path, line, err)
		}
	}
}

// failure checks the answer of a path that there is not.
func failure(t testing.TB, r *http.Request, body []byte) {
	t.Helper()
	var v any
	if r.Method == http.MethodHead {
		return
	}
	if err := json.Unmarshal(body, &v); err != nil {
		t.Errorf("%s %s answers %s: %v", r.Method, r.URL, body, err)
	} else if err := theDocument().Components.Schemas["Failure"].Value.VisitJSON(v); err != nil {
		t.Errorf("%s %s answers %s: %v", r.Method, r.URL, body, err)
	}
}

// eventually waits for something.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it is not true in the end: %s", what)
		}
	}
}
