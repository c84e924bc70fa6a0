package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

const secret = "a secret that is long enough"

// settings are those of a backend, as defaults have them.
func settings() config.Backend {
	return config.Backend{
		URL: "http://app.test/hook", Secret: secret, Timeout: 3 * time.Second, Events: config.Hooks, OnError: "close",
		Lanes: 4, Concurrency: 4, MaxBatch: 256, MaxBatchBytes: 1 << 20, MaxAnswer: 1 << 20, Queue: 16 << 20, RetryFor: 10 * time.Minute,
		Format: "compact", Binary: "base64", ForwardHeaders: []string{"cookie", "authorization", "user-agent", "traceparent"},
		CacheTTL: 5 * time.Minute, CacheSize: 100, DisconnectRate: 1000,
	}
}

// An told item, as an application reads it.
type told struct {
	ID, Type, Nsp, Route, SID, User, Conn, Ev, Reason string
	Time                                              int64
	Params                                            map[string]string
	Args                                              []json.RawMessage
	Attachments                                       []string
	Ack, Recovered                                    bool
	Data, Auth, Claims, Token                         json.RawMessage
	Counts                                            map[string]int
	Since                                             int64
	Handshake                                         struct {
		Transport, URL, Address string
		Secure, XDomain         bool
		Query                   map[string]any
		Headers                 map[string]string
	}
}

// A request as an application has it.
type request struct {
	id     string
	header http.Header
	url    string
	node   string
	items  []told
	files  map[string][]byte
}

// An application is a backend without a network. Answer says what it answers, and is
// called for one request at a time of each lane; nil: 204.
type application struct {
	t      testing.TB
	answer func(r *request, req *http.Request) (*http.Response, error)

	mu       sync.Mutex
	requests []*request
}

func (a *application) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	v, _ := standardwebhooks.NewWebhookRaw([]byte(secret))
	if err := v.Verify(body, req.Header); err != nil {
		a.t.Errorf("a request is not signed: %v", err)
	}
	r := readRequest(a.t, req, body)
	a.mu.Lock()
	a.requests = append(a.requests, r)
	answer := a.answer
	a.mu.Unlock()
	if answer == nil {
		return respond(204, ""), nil
	}
	return answer(r, req)
}

// set changes what it answers.
func (a *application) set(f func(r *request, req *http.Request) (*http.Response, error)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = f
}

// got returns the requests since the last call.
func (a *application) got() []*request {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.requests
	a.requests = nil
	return all
}

// readRequest reads one as an application does.
func readRequest(t testing.TB, req *http.Request, body []byte) *request {
	r := &request{id: req.Header.Get("Webhook-Id"), header: req.Header, url: req.URL.String()}
	kind, params, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if err != nil {
		t.Error(err)
	}
	if kind == "multipart/form-data" {
		form, err := multipart.NewReader(bytes.NewReader(body), params["boundary"]).ReadForm(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		body = []byte(form.Value["events"][0])
		r.files = map[string][]byte{}
		for name, f := range form.File {
			file, err := f[0].Open()
			if err != nil {
				t.Fatal(err)
			}
			r.files[name], _ = io.ReadAll(file)
		}
	}
	var all struct {
		Node   string
		Events []told
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if kind == "application/cloudevents-batch+json" {
		err = d.Decode(&[]json.RawMessage{})
	} else {
		err = d.Decode(&all)
	}
	if err != nil || d.More() {
		t.Errorf("a request cannot be read: %v: %.300s", err, body)
	}
	r.node, r.items = all.Node, all.Events
	return r
}

func respond(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body))}
}

// results answers each item with what of returns, JSON members that begin with a comma.
func results(r *request, of func(x *told) string) *http.Response {
	var all []string
	for i := range r.items {
		if m := of(&r.items[i]); m != "" {
			all = append(all, `{"id":"`+r.items[i].ID+`"`+m+`}`)
		}
	}
	return respond(200, `{"results":[`+strings.Join(all, ",")+`]}`)
}

// A world is a server without a network, in a bubble of synctest, with an application
// that all events and clients go to.
type world struct {
	*siotest.Server
	t   *testing.T
	app *application
	b   *Backend
	log *logged
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

// inWorld runs f in a bubble. The settings are changed by change.
func inWorld(t *testing.T, change func(own *config.Backend), f func(w *world)) {
	inWorldOf(t, sio.Options{}, change, f)
}

// inWorldOf is inWorld with options of the server.
func inWorldOf(t *testing.T, o sio.Options, change func(own *config.Backend), f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, app: &application{t: t}, log: &logged{}}
		w.Server = siotest.New(t, o)
		own := settings()
		if change != nil {
			change(&own)
		}
		var err error
		w.b, err = New(w.Server.Server, "main", own, Options{Node: "edge-1", Logger: slog.New(slog.NewTextHandler(w.log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		w.swap()
		ns := w.Of("/")
		entry := func(s sio.Socket) action.Entry {
			return action.Entry{Namespace: s.Name(), Route: "/", User: "u7"}
		}
		ns.Use(func(s sio.Socket) error {
			if !w.b.Hooks().Has(action.Connect) {
				return nil
			}
			r, err := w.b.Connect(s, action.Entry{Namespace: s.Name(), Route: "/", Claims: json.RawMessage(`{"sub":"u7"}`)})
			if err != nil {
				return err
			}
			return r.Enter(s)
		})
		ns.HandleAnyInline(func(s sio.Socket, m *sio.Msg) error {
			o := action.EventOptions{}
			if m.Event() == "soon" {
				o.Timeout = time.Second
			}
			return w.b.Event(s, m, entry(s), o)
		})
		f(w)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if !w.b.stopped.Load() {
			if err := w.b.Close(ctx); err != nil {
				t.Error(err)
			}
		}
		s := w.counts()
		if s.Queued != 0 || s.Inflight != 0 || s.Waiting != 0 {
			t.Errorf("at the end %d bytes are counted, %d requests, %d that wait", s.Queued, s.Inflight, s.Waiting)
		}
		for _, secret := range []string{secret, "tok3n"} {
			if strings.Contains(w.log.String(), secret) {
				t.Errorf("the log has a secret:\n%s", w.log)
			}
		}
	})
}

// onlyEvents has clients let in without a question.
func onlyEvents(own *config.Backend) { own.Events = []string{"event", "disconnect"} }

// counts returns the counters when nothing goes on any more: a request is counted when
// what it has had done is done, behind what the client hears of it.
func (w *world) counts() Stats {
	w.t.Helper()
	synctest.Wait()
	return w.b.Stats()
}

// swap has requests go to the application.
func (w *world) swap() {
	own := *w.b.wire.Load()
	own.round, own.direct, own.close = w.app, nil, func() {}
	w.b.wire.Store(&own)
}

// tell tells of something that is kept.
func (w *world) tell(k action.Kind, lane uint64, n int) (done <-chan bool) {
	ch := make(chan bool, 1)
	w.b.Tell(k, action.Peer{Lane: lane, ID: fmt.Sprintf("%s-%d", k, n), Namespace: "/", SID: "s", Done: func(taken bool) { ch <- taken }}, func(dst []byte) []byte {
		return append(dst, `,"reason":"x"`...)
	})
	return ch
}

// said returns the events' names of requests, in order.
func said(all []*request) (names []string) {
	for _, r := range all {
		for _, x := range r.items {
			names = append(names, x.Ev)
		}
	}
	return names
}
