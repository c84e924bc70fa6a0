package health

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bustest"
	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio"
)

const patience = 30 * time.Second

// A subject is a server with its health.
type subject struct {
	*Health
	t      *testing.T
	public string // URL
	mux    *http.ServeMux
}

// start serves a server whose health is not looked at but by the test.
func start(t *testing.T, o sio.Options, change func(*Options)) *subject {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	ho := Options{Cluster: o.Adapter != nil, Required: func() bool { return true }, Logger: log}
	if change != nil {
		change(&ho)
	}
	x := &subject{Health: New(ho), t: t, mux: http.NewServeMux()}
	o.Logger, o.Engine.Health, o.Engine.HealthPath, o.Loop.Loops = log, x.Welcome, "/healthz", 2
	srv, err := sio.New(o)
	if err != nil {
		t.Fatal(err)
	}
	srv.Of("/")
	x.Bind(srv)
	x.Handle(x.mux)
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x.public = "http://" + addr.String()
	served := make(chan error, 1)
	// ends with the test
	go func() { served <- srv.Serve(context.Background()) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = srv.Shutdown(ctx)
		<-served
	})
	return x
}

// open opens a session over polling and returns its URL.
func (x *subject) open() (url string, status int) {
	x.t.Helper()
	res, err := http.Get(x.public + "/socket.io/?EIO=4&transport=polling")
	if err != nil {
		x.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	_, sid, _ := strings.Cut(string(b), `"sid":"`)
	sid, _, _ = strings.Cut(sid, `"`)
	return x.public + "/socket.io/?EIO=4&transport=polling&sid=" + sid, res.StatusCode
}

func (x *subject) ask(path, accept string) (status int, answer string) {
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	x.mux.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// onPublic is what a balancer sees.
func (x *subject) onPublic() int {
	x.t.Helper()
	res, err := http.Get(x.public + "/healthz")
	if err != nil {
		x.t.Fatal(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body) // so that the connection is kept
	return res.StatusCode
}

func (x *subject) wants(path string, status int, answer string) {
	x.t.Helper()
	if got, text := x.ask(path, "*/*"); got != status || text != answer {
		x.t.Errorf("%s is answered %d %q, want %d %q", path, got, text, status, answer)
	}
}

// run has it be looked at, until the end of the test.
func (x *subject) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	// ends with the test
	go func() { x.Run(ctx); close(done) }()
	x.t.Cleanup(func() { cancel(); <-done })
	x.until("it serves", func() bool { return x.begun.Load() })
}

func (x *subject) until(what string, ok func() bool) {
	x.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			x.t.Fatalf("%s did not happen", what)
		}
	}
}

// A server that takes over from another one serves before it is looked at.
func TestBegin(t *testing.T) {
	x := start(t, sio.Options{}, nil)
	x.Begin()
	x.wants("/readyz", 200, "ok\n")
	if got := x.onPublic(); got != 200 {
		t.Errorf("balancers see %d", got)
	}
}

// A server is not ready before it serves, and lives.
func TestReady(t *testing.T) {
	x := start(t, sio.Options{}, nil)
	x.wants("/livez", 200, "ok\n")
	x.wants("/readyz", 503, "start: the server does not serve yet\n")
	if got := x.onPublic(); got != 503 {
		t.Errorf("before it serves balancers see %d", got)
	}
	x.run()
	x.wants("/readyz", 200, "ok\n")
	x.wants("/healthz", 200, "ok\n")
	x.wants("/readyz?verbose=text", 200, "[+]start ok\n[+]drain ok\n[+]memory ok\n[+]connections ok\n[+]loops ok\nok\n")
	if _, text := x.ask("/readyz?verbose", "text/plain"); !strings.HasPrefix(text, "[+]start ok\n") {
		t.Errorf("who prefers text is answered %q", text)
	}
	_, text := x.ask("/readyz?verbose", "*/*")
	var r Report
	if err := json.Unmarshal([]byte(text), &r); err != nil || r.Status != "ok" || len(r.Checks) != 5 || !r.Checks[4].OK || r.Checks[4].Name != "loops" {
		t.Errorf("the report is %s, %v", text, err)
	}
	if got := x.onPublic(); got != 200 {
		t.Errorf("balancers see %d", got)
	}
	w := httptest.NewRecorder()
	x.mux.ServeHTTP(w, httptest.NewRequest("POST", "/readyz", nil))
	if w.Code != 405 {
		t.Errorf("POST is answered %d", w.Code)
	}
}

// What stands beside is seen by who wants to see all, and changes nothing.
func TestReadyBesideOthers(t *testing.T) {
	x := start(t, sio.Options{}, func(o *Options) {
		o.Beside = func() []Check { return []Check{{Name: "bridge main", OK: true, Reason: "no process is there"}} }
	})
	x.run()
	x.wants("/readyz", 200, "ok\n")
	x.wants("/readyz?verbose=text", 200, "[+]start ok\n[+]drain ok\n[+]memory ok\n[+]connections ok\n[+]loops ok\n[+]bridge main ok (no process is there)\nok\n")
	x.wants("/livez?verbose=text", 200, "[+]loops ok\nok\n")
}

// A loop that does not come is told by its number; it lives again when it has.
func TestStuckLoop(t *testing.T) {
	x := start(t, sio.Options{}, nil)
	x.run()
	stuck, free := make(chan struct{}), make(chan struct{})
	l := x.srv.Engine().Loops()[1]
	go l.Ask(func() { close(stuck); <-free }) // ends with the test
	<-stuck
	x.wants("/livez", 200, "ok\n") // is not long enough
	since := x.srv.Engine().Late(0)
	if len(since) != 1 || since[0].Loop != 1 {
		t.Errorf("late are %v", since)
	}
	all := []Check{stuckLoops(since, time.Nanosecond, 2)}
	if wrong := failed(all); !strings.HasPrefix(wrong, "loops: loop 1 has not come for ") || !strings.Contains(wrong, "(1 of 2") {
		t.Errorf("it is said %q", wrong)
	}
	if c := stuckLoops(since, StuckAfter, 2); !c.OK {
		t.Errorf("a moment is too long: %v", c)
	}
	close(free)
	x.until("it comes again", func() bool { x.Live(); return len(x.srv.Engine().Late(0)) == 0 })
}

// Short memory, no room and a cluster that is gone are not ready; an adapter that need not
// be is said all the same.
func TestNotReady(t *testing.T) {
	x := start(t, sio.Options{MemoryLimit: 1}, nil)
	x.run()
	x.until("memory is short", func() bool { x.Look(); return !x.Welcome() })
	if _, text := x.ask("/readyz", ""); !strings.HasPrefix(text, "memory: ") || !strings.HasSuffix(text, "bytes are in use (limits.memory)\n") {
		t.Errorf("it is said %q", text)
	}
	if got := x.onPublic(); got != 503 {
		t.Errorf("balancers see %d", got)
	}

	o := sio.Options{MemoryLimit: math.MaxInt64}
	o.Loop.MaxConns = 1
	x = start(t, o, nil)
	x.run()
	if got := x.onPublic(); got != 200 { // and keeps its connection
		t.Errorf("balancers see %d", got)
	}
	x.until("the connection is counted", func() bool { x.Look(); return !x.Welcome() })
	x.wants("/readyz", 503, "connections: there are as many as may be, 1 (limits.max_conns)\n")
	if got := x.onPublic(); got != 503 { // by the same one
		t.Errorf("balancers see %d", got)
	}

	bus, required := new(bustest.Bus), atomic.Bool{}
	x = start(t, sio.Options{MemoryLimit: math.MaxInt64, Adapter: &down{Adapter: bus.Adapter()}}, func(o *Options) { o.Required = required.Load })
	x.run()
	required.Store(true)
	x.Look()
	x.wants("/readyz", 503, "adapter: not connected: no route\n")
	if got := x.onPublic(); got != 503 {
		t.Errorf("balancers see %d", got)
	}
	required.Store(false)
	x.Look()
	x.wants("/readyz", 200, "ok\n")
	if got := x.onPublic(); got != 200 {
		t.Errorf("balancers see %d", got)
	}
	if _, text := x.ask("/readyz?verbose=text", ""); !strings.Contains(text, "[+]adapter ok (not connected: no route)\n") {
		t.Errorf("it is said %q", text)
	}
}

// Draining is red at once, also on connections that there are; everybody is served until
// the delay is over; then they leave, and the server takes nobody until it is undrained.
func TestDrain(t *testing.T) {
	x := start(t, sio.Options{Engine: eio.Options{CloseCodes: true}}, nil)
	x.run()
	session, _ := x.open()
	if got := x.onPublic(); got != 200 {
		t.Errorf("balancers see %d", got)
	}
	if err := x.Drain(time.Hour, time.Hour); err != nil {
		t.Fatal(err)
	}
	if got := x.onPublic(); got != 503 {
		t.Errorf("while it drains balancers see %d", got)
	}
	if _, status := x.open(); status != 200 {
		t.Errorf("during the delay a new session is answered %d", status)
	}
	if st := x.Draining(); st.Phase != Waiting || st.Remaining != 2 || st.Since.IsZero() {
		t.Errorf("draining is %+v", st)
	}
	x.wants("/readyz", 503, "drain: waiting: 2 sessions are left\n")
	poll := make(chan int, 1)
	// ends with its answer
	go func() {
		for { // the open packet first
			res, err := http.Get(session)
			if err != nil || res.StatusCode != 200 {
				poll <- res.StatusCode
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
	}()
	if err := x.Drain(0, 0); err != nil { // it is in a hurry now
		t.Fatal(err)
	}
	x.until("all have left", func() bool { return x.Draining().Phase == Drained })
	if got := <-poll; got != 503 && got != 400 {
		t.Errorf("a poll is answered %d", got)
	}
	if _, status := x.open(); status != 503 {
		t.Errorf("a new session is answered %d", status)
	}
	if err := x.Undrain(); err != nil {
		t.Fatal(err)
	}
	if _, status := x.open(); status != 200 || x.onPublic() != 200 || x.Draining() != (State{Phase: Serving}) {
		t.Errorf("undrained, a new session is answered %d, balancers see %d, it is %v", status, x.onPublic(), x.Draining())
	}
	if err := x.Undrain(); err != nil { // once more is nothing
		t.Error(err)
	}
}

// A server that stops has what drains end; nothing is taken back then, and who has no time
// left is told so.
func TestStop(t *testing.T) {
	x := start(t, sio.Options{}, nil)
	x.run()
	for range 20 {
		x.open()
	}
	if err := x.Drain(time.Hour, time.Hour); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := x.Stop(ctx, time.Hour, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Stop = %v", err)
	}
	if st := x.Draining(); st.Phase != Waiting || st.Remaining != 20 {
		t.Errorf("it is %+v", st)
	}
	for what, err := range map[string]error{"Drain": x.Drain(0, 0), "Undrain": x.Undrain(), "Stop": x.Stop(t.Context(), 0, 0)} {
		if !errors.Is(err, ErrStopping) {
			t.Errorf("%s = %v of a server that stops", what, err)
		}
	}
	x = start(t, sio.Options{}, nil)
	x.open()
	if err := x.Stop(t.Context(), 0, time.Second); err != nil || x.Draining().Phase != Drained {
		t.Errorf("Stop = %v, %+v", err, x.Draining())
	}
}

// down is an adapter that is not connected.
type down struct{ rooms.Adapter }

func (*down) Status() rooms.Status { return rooms.Status{Reason: "no route"} }
