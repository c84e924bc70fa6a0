package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/sio"
)

const (
	mainKey  = "a key of processes of main"
	otherKey = "a key of processes of other"
)

// A worker is a process of an application: it lets everybody in, and answers events with
// what they have.
type worker struct {
	name string
	net.Conn
	r    *bufio.Reader
	done chan struct{} // closed when it reads no more

	mu   sync.Mutex
	got  uint64   // batches
	told []string // names of events, and what becomes of sockets
}

// dial dials a bridge on the socket of an internal listener; the error has the status of
// who refuses.
func dial(t *testing.T, socket, query, key string) (*worker, error) {
	t.Helper()
	d := ws.Dialer{
		Protocols: []string{wire.Subprotocol}, Header: ws.HandshakeHeaderHTTP{"Authorization": []string{"Bearer " + key}},
		NetDial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}
	c, r, _, err := d.Dial(t.Context(), "ws://sioedge/bridge"+query)
	if err != nil {
		return nil, err
	}
	if r == nil {
		r = bufio.NewReader(c)
	}
	w := &worker{name: query, Conn: c, r: r, done: make(chan struct{})}
	w.write(wire.AppendHello(wire.AppendBatch(nil, 0, 1), &wire.Hello{Version: 1, UID: "p1", Window: 1 << 20, Namespaces: []string{"/"}}))
	go w.read() // ends with the connection
	t.Cleanup(func() { _ = c.Close(); <-w.done })
	w.wait(t, "welcome")
	return w, nil
}

func (w *worker) write(b []byte) {
	_ = ws.WriteFrame(w.Conn, ws.MaskFrame(ws.NewFrame(ws.OpBinary, true, b))) // or the connection has ended
}

func (w *worker) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, what)
}

func (w *worker) read() {
	defer close(w.done)
	for {
		h, err := ws.ReadHeader(w.r)
		var payload []byte
		if err == nil {
			payload = make([]byte, h.Length) // an edge's, which is believed here
			_, err = io.ReadFull(w.r, payload)
		}
		if err != nil {
			w.note("end")
			return
		}
		switch h.OpCode {
		case ws.OpPing:
			_ = ws.WriteFrame(w.Conn, ws.MaskFrame(ws.NewPongFrame(payload)))
		case ws.OpClose:
			_ = w.Close()
		case ws.OpBinary:
			w.batch(payload)
		}
	}
}

// batch works off a batch.
func (w *worker) batch(b []byte) {
	_, r, err := wire.ParseBatch(b, wire.Edge)
	if err != nil {
		w.note(err.Error())
		return
	}
	counted, n := r.Len() > 0, 0
	var m wire.Message
	var out []byte
	for ok, err := r.Next(&m); ok; ok, err = r.Next(&m) {
		if err != nil {
			w.note(err.Error())
			return
		}
		switch m.Kind {
		case wire.KindWelcome:
			counted = false
			w.note("welcome")
		case wire.KindConnection:
			for _, h := range m.Handshake.Headers {
				if h.Name == "x-mine" {
					w.note("header " + h.Value)
				}
			}
		case wire.KindSocket:
			w.note("socket " + string(m.Nsp))
			out, n = wire.AppendAccept(out, m.Sock), n+1
		case wire.KindEvent:
			w.note("event " + string(m.JSON))
			if m.ID != wire.None {
				out, n = wire.AppendReply(out, m.Sock, m.ID, fmt.Appendf(nil, "[%q]", w.name), nil), n+1
			}
		case wire.KindLeft:
			w.note("left " + string(m.Text))
			out, n = wire.AppendClosed(out, m.Sock, nil), n+1
		case wire.KindEnding:
			w.note("ending " + string(m.Code))
		}
	}
	if counted {
		w.got++
		w.write(append(wire.AppendBatch(nil, w.got, n), out...))
	}
}

// wait waits until it was told something.
func (w *worker) wait(t *testing.T, what string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if w.has(what) > 0 {
			return
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	t.Fatalf("%s was not told %q, but %q", w.name, what, w.told)
}

// has returns how often it was told something.
func (w *worker) has(what string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.told {
		if x == what {
			n++
		}
	}
	return n
}

// Who may dial, and who is told what instead.
func TestWhoMayDialABridge(t *testing.T) {
	srv, err := sio.New(sio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Shutdown(context.Background()) })
	s := &config.Settings{API: config.API{Keys: []string{apiKey}}, Bridges: map[string]config.Bridge{
		"main": {Keys: []string{mainKey, mainKey + " that was before"}, MaxLinks: 1}, "other": {Keys: []string{otherKey}, MaxLinks: 1}, "plain": {MaxLinks: 1},
	}}
	x, err := newBridges(srv, s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	x.api = api.New(srv, api.Options{Settings: api.Settings{Keys: s.APIKeys()}})
	bearer := func(key string) http.Header { return http.Header{"Authorization": {"Bearer " + key}} }
	ask := func(from, query string, h http.Header) *httptest.ResponseRecorder {
		r, w := httptest.NewRequest("GET", "/bridge"+query, nil), httptest.NewRecorder()
		r.Header, r.RemoteAddr = h, from+":1"
		x.ServeHTTP(w, r)
		return w
	}
	const noWebSocket = 400 // of who is let in, and does not go on as a process does
	for name, c := range map[string]struct {
		query  string
		h      http.Header
		status int
		says   string
	}{
		"its key":                   {"?name=main", bearer(mainKey), noWebSocket, "WebSocket"},
		"its other key":             {"?name=main", bearer(mainKey + " that was before"), noWebSocket, "WebSocket"},
		"a field of its own":        {"?name=main", http.Header{"X-Api-Key": {mainKey}}, noWebSocket, "WebSocket"},
		"the API's, of one without": {"?name=plain", bearer(apiKey), noWebSocket, "WebSocket"},
		"none":                      {"?name=main", http.Header{}, 401, "a key is missing"},
		"a wrong one":               {"?name=main", bearer(mainKey + "x"), 401, "that is no key"},
		"a wrong one of no bridge":  {"?name=nowhere", bearer("x"), 401, "that is no key"},
		"another scheme":            {"?name=main", http.Header{"Authorization": {"Basic " + mainKey}}, 401, ""},
		"in the query":              {"?name=main&key=" + strings.ReplaceAll(mainKey, " ", "+"), http.Header{}, 401, ""},
		"another bridge's":          {"?name=main", bearer(otherKey), 403, "the key is of another bridge"},
		"the API's, of one with":    {"?name=main", bearer(apiKey), 403, "the key is of another bridge"},
		"no such bridge":            {"?name=mian", bearer(mainKey), 404, `there is no bridge "mian"`},
		"no name":                   {"", bearer(mainKey), 400, "several"},
		"a bad query":               {"?name=%zz", bearer(mainKey), 400, ""},
		"a page":                    {"?name=main", http.Header{"Authorization": {"Bearer " + mainKey}, "Origin": {"http://localhost"}}, 403, "pages in browsers"},
		"a page's WebSocket":        {"?name=main", http.Header{"Authorization": {"Bearer " + mainKey}, "Sec-Fetch-Site": {"cross-site"}}, 403, "pages in browsers"},
	} {
		w := ask("10.0.0.1", c.query, c.h)
		var p struct {
			Status        int
			Title, Detail string
		}
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != c.status || p.Status != c.status || p.Title == "" || !strings.Contains(p.Detail, c.says) {
			t.Errorf("%s: %d %s, want %d and %q", name, w.Code, w.Body, c.status, c.says)
		}
	}
	var got [600]int
	for range 50 {
		got[ask("10.0.0.2", "?name=main", bearer("wrong")).Code]++
	}
	if got[401] < 5 || got[429] < 30 {
		t.Errorf("wrong keys are answered 401 %d times, 429 %d times", got[401], got[429])
	}
	if w := ask("10.0.0.2", "?name=main", bearer(mainKey)); w.Code != noWebSocket {
		t.Errorf("a right key is answered %d", w.Code)
	}
	x.running()["main"].dialled.Add(2)
	if w := ask("10.0.0.3", "?name=main", bearer(mainKey)); w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "max_links") {
		t.Errorf("one too many is answered %d %s", w.Code, w.Body)
	}
	x.running()["main"].dialled.Add(-2)
	if w := ask("10.0.0.3", "?name=other", bearer(otherKey)); w.Code != noWebSocket {
		t.Errorf("another bridge answers %d meanwhile", w.Code)
	}
	for i, want := range [dials]int64{dialPage: 2, dialOther: 2, dialUnknown: 3, dialFull: 1, dialKey: 55} {
		if n := x.refused[i].Load(); n != want {
			t.Errorf("%d are counted as reason %d, want %d", n, i, want)
		}
	}
	if err := x.reload(map[string]config.Bridge{"main": {MaxLinks: 1}}); err != nil {
		t.Fatal(err)
	}
	x.prune(time.Millisecond)
	if w := ask("10.0.0.3", "", bearer(mainKey)); w.Code != 403 || !strings.Contains(w.Body.String(), "bridges are closed") {
		t.Errorf("without keys: %d %s", w.Code, w.Body)
	}
	if err := x.reload(nil); err != nil {
		t.Fatal(err)
	}
	x.prune(time.Millisecond)
	if w := ask("10.0.0.3", "", bearer(mainKey)); w.Code != 404 || x.get("main") != nil {
		t.Errorf("without bridges: %d %s", w.Code, w.Body)
	}
	x.close(t.Context())
}

// bridgesText are settings of two bridges, a backend and rules of the edge.
func bridgesText(hook string) string {
	return fmt.Sprintf(`loops: 1
drain: 4s
drain_delay: 0s
webhook: { url: %q, secret: "the only secret of the backend", events: [connect, event], ack_errors: true }
bridges: { main: { keys: [%q], timeout: 1s, takeover: 30s }, other: %q }
namespaces:
  - { pattern: /plain, backend: none, events: { say: { action: relay, self: true } } }
  - { pattern: /main, bridge: main, events: { here: { action: join, room: r } } }
  - { pattern: /other, bridge: other }
  - { pattern: /hook }
`, hook, mainKey, otherKey)
}

// One connection has namespaces of two bridges, of a backend, and of neither. A link lives
// longer than requests may take, and a bridge that is not in the settings any more lets its
// clients go.
func TestBridgesOfAServer(t *testing.T) {
	h := newHook(t, "the only secret of the backend")
	s, socket, file := internalOf(t, bridgesText(h.URL))
	s.next(t, "listening for operators and backends")
	for status := 0; status != 200; time.Sleep(time.Millisecond) { // it serves behind that it listens
		status, _ = request(t, socket, "GET", "/readyz", "", "")
	}
	if status, answer := request(t, socket, "GET", "/readyz?verbose", "", ""); status != 200 || strings.Count(answer, `"ok":true,"reason":"no process is there; 0 connections wait for one"`) != 2 {
		t.Errorf("readyz without processes: %d %s", status, answer)
	}
	main, err := dial(t, socket, "?name=main", mainKey)
	if err != nil {
		t.Fatal(err)
	}
	other, err := dial(t, socket, "?name=other", otherKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t, socket, "?name=other", mainKey); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("with a key of another bridge: %v", err)
	}
	x := &talker{t, s.addr, "", map[string]*talkerConn{}}
	mine := strings.Replace(upgrade, " | ", " | X-Mine: 7 | ", 1)
	x.talk("o" + mine + `
o< 101
o~ 0{"sid":
o: 40/plain,
o~ 40/plain,{"sid":
o: 40/main,
o~ 40/main,{"sid":
o: 40/other,
o~ 40/other,{"sid":
o: 40/hook,
o~ 40/hook,{"sid":
o: 42/plain,["say","x"]
o= 42/plain,["say","x"]
o: 42/main,1["any",1]
o= 43/main,1["?name=main"]
o: 42/main,2["here"]
o~ 43/main,2[{"ok":true
o: 42/other,3["any",2]
o= 43/other,3["?name=other"]
o: 42/hook,4["any",3]
o= 43/hook,4[3]`)
	for what, n := range map[string]int{`event ["any",1]`: 1, `event ["here"]`: 0, "socket /main": 1, "socket /other": 0, "header 7": 1} {
		if got := main.has(what); got != n {
			t.Errorf("main is told %d times of %s, want %d", got, what, n)
		}
	}
	if h.has("event any") != 1 || h.has("connect") != 1 {
		t.Errorf("the backend was told %q", h.told)
	}
	s.reload(t, file, strings.Replace(fmt.Sprintf("internal: {listen: 'unix:%s'}\n%s", socket, bridgesText(h.URL)), mainKey, mainKey+" now", 1))
	if _, err := dial(t, socket, "?name=main", mainKey); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("with a key that was: %v", err)
	}
	if _, err := dial(t, socket, "?name=main", mainKey+" now"); err != nil {
		t.Errorf("with the other key: %v", err)
	}
	x.talk(`o: 42/main,5["any",1]
o= 43/main,5["?name=main"]`)
	without := strings.Replace(strings.Replace(bridgesText(h.URL), fmt.Sprintf(", other: %q", otherKey), "", 1), "  - { pattern: /other, bridge: other }\n", "", 1)
	s.reload(t, file, fmt.Sprintf("internal: {listen: 'unix:%s'}\n%s", socket, without))
	if _, err := dial(t, socket, "?name=other", otherKey); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a bridge that was: %v", err)
	}
	other.wait(t, "ending draining")
	for { // who was there has to come back
		if _, err := x.conns["o"].message(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("the client of a bridge that was: %v", err)
		}
	}
	if status, answer := request(t, socket, "GET", "/readyz?verbose", "", ""); status != 200 || !strings.Contains(answer, `{"name":"bridge main","ok":true,"reason":"1 processes, `) {
		t.Errorf("readyz: %d %s", status, answer)
	}
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.next(t, "stopped")
	main.wait(t, "ending draining")
}

// What is wrong with bridges is found by check, and what is hardly meant is said.
func TestCheckOfBridges(t *testing.T) {
	for text, want := range map[string]string{
		"bridges: { main: { keys: [" + apiKey + "] } }\nnamespaces: [{ pattern: /, bridge: main }]\n": "",
		"bridges: { main: {} }\nnamespaces: [{ pattern: /, bridge: mian }]\n":                         ":2: namespaces[0].bridge: is \"mian\", and there is no such bridge; did you mean main?",
		"namespaces: [{ pattern: /, bridge: main }]\n":                                                ":1: namespaces[0].bridge: is \"main\", and there is no such bridge",
		"bridges: { main: { keys: [short] } }\n":                                                      ":1: bridges.main.keys[0]: must have at least 24 bytes",
		"internal: ''\nbridges: { main: {} }\n":                                                       ":1: internal.listen: is empty",
	} {
		l, err := config.Load(config.Sources{Environ: []string{"SIOEDGE_CONFIG=" + settingsFile(t, text)}})
		if err == nil {
			err = check(l)
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: check = %v, want %q", text, err, want)
		}
	}
	s := startServer(t, "--config", settingsFile(t, "bridges: { main: {} }\n"))
	if l := s.next(t, "a setting is hardly meant"); l.Level != "WARN" || !strings.Contains(l.Error, ":1: bridges.main: is named by no namespace") {
		t.Errorf("the log says %+v", l)
	}
	if l := s.next(t, "a setting is hardly meant"); !strings.Contains(l.Error, ":1: bridges.main: has no key") {
		t.Errorf("the log says %+v", l)
	}
}
