package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
)

// A hook is a backend that lets in whoever brings no token, and echoes events.
type hook struct {
	*httptest.Server

	mu     sync.Mutex
	secret string
	wait   time.Duration
	told   []string // types, and names of events
}

func newHook(t *testing.T, secret string) *hook {
	h := &hook{secret: secret}
	h.Server = httptest.NewServer(http.HandlerFunc(h.serve))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	mac := hmac.New(sha256.New, []byte(h.secret))
	wait := h.wait
	h.mu.Unlock()
	time.Sleep(wait)
	fmt.Fprintf(mac, "%s.%s.%s", r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"), body)
	if !strings.Contains(r.Header.Get("webhook-signature"), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil))) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var request struct {
		Events []struct {
			ID, Type, Ev string
			Ack          bool
			Args         json.RawMessage
		}
	}
	if json.Unmarshal(body, &request) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var results []map[string]any
	h.mu.Lock()
	for _, x := range request.Events {
		h.told = append(h.told, strings.TrimSpace(x.Type+" "+x.Ev))
		result := map[string]any{"id": x.ID}
		if x.Ack {
			result["ack"] = x.Args
		}
		results = append(results, result)
	}
	h.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"results": results})
}

func (h *hook) set(secret string, wait time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.secret, h.wait = secret, wait
}

func (h *hook) has(what string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, x := range h.told {
		if x == what {
			n++
		}
	}
	return n
}

// Backends change while clients are there: other secrets and URLs hold for the next
// request, one that is gone is asked nothing any more, and a mistake changes nothing.
func TestReloadOfBackends(t *testing.T) {
	const first, second = "the first secret of the backend", "the second secret of the backend"
	one, two := newHook(t, first), newHook(t, second)
	text := func(url, secret, more string) string {
		return fmt.Sprintf("webhook: { url: %s, secret: %s, ack_errors: true, timeout: 10s }\n%snamespaces: [{ pattern: /a }]\n", url, secret, more)
	}
	path := settingsFile(t, text(one.URL, first, ""))
	s := startServer(t, "--config", path, "--loops=1")
	x := &talker{t, s.addr, "", map[string]*talkerConn{}}
	x.talk("o" + upgrade + `
o< 101
o~ 0{"sid":
o: 40/a,
o~ 40/a,{"sid":
o: 42/a,1["say","x"]
o= 43/a,1["x"]`)
	if one.has("connect") != 1 || one.has("event say") != 1 {
		t.Errorf("the backend was told %q", one.told)
	}
	one.set(second, 0)
	s.reload(t, path, text(one.URL, second, ""))
	x.talk("o: 42/a,2[\"say\",\"y\"]\no= 43/a,2[\"y\"]")

	for _, wrong := range []struct{ more, fault string }{
		{"backends: { b: { url: " + one.URL + ", ca: /nowhere.pem } }\n", "backends.b"},
		{"api: { keys: [short] }\n", "api.keys"},
	} {
		writeSettings(t, path, text(two.URL, second, wrong.more))
		if err := s.process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if l := s.next(t, "not reloaded, and nothing is changed"); len(l.Errors) != 1 || !strings.Contains(l.Errors[0], wrong.fault) {
			t.Errorf("the log says %+v, want a fault of %s", l, wrong.fault)
		}
		x.talk("o: 42/a,3[\"say\",\"z\"]\no= 43/a,3[\"z\"]")
		if len(two.told) > 0 {
			t.Errorf("the other was told %q", two.told)
		}
	}
	s.reload(t, path, text(two.URL, second, ""))
	x.talk("o: 42/a,4[\"say\",\"z\"]\no= 43/a,4[\"z\"]")
	if two.has("event say") != 1 {
		t.Errorf("the other was told %q", two.told)
	}
	s.reload(t, path, "namespaces: [{ pattern: /a }]\n")
	x.talk(`o: 42/a,5["say","z"]
o~ 43/a,5[{"error":"unknown event"`)
}

// What backends are still to be told when the server stops they are told before it ends,
// within drain.
func TestBackendsAreToldBeforeTheEnd(t *testing.T) {
	const secret = "the only secret of the backend"
	h := newHook(t, secret)
	path := settingsFile(t, fmt.Sprintf("drain: 20s\nwebhook: { url: %s, secret: %s, events: [event, room], timeout: 10s }\nnamespaces: [{ pattern: /a, events: { in: { action: join, room: r } } }]\n", h.URL, secret))
	s := startServer(t, "--config", path, "--loops=1")
	x := &talker{t, s.addr, "", map[string]*talkerConn{}}
	x.talk("o" + upgrade + `
o< 101
o~ 0{"sid":
o: 40/a,
o~ 40/a,{"sid":
o: 42/a,1["in"]
o~ "ok":true`)
	h.set(secret, 300*time.Millisecond)
	x.talk("o: 42/a,[\"one\"]\no: 42/a,[\"two\"]\no: 42/a,2[\"in\"]\no~ \"ok\":true")
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.next(t, "stopped")
	for _, what := range []string{"event one", "event two"} {
		if h.has(what) != 1 {
			t.Errorf("the backend was told %q", h.told)
		}
	}
}

// check makes no connection, and finds what is wrong.
func TestCheckOfBackends(t *testing.T) {
	for text, want := range map[string]string{
		"webhook: { url: 'http://127.0.0.1:1/', secret: '0123456789abcdef0123456789' }\n":                   "",
		"webhook: { url: 'http://127.0.0.1:1/', secret: '0123456789abcdef0123456789', ca: /nowhere.pem }\n": ": webhook.ca",
		"webhook: { url: 'http://127.0.0.1:1/', secret: whsec_x0123456789abcdef012345678 }\n":               ": webhook.secret",
		"namespaces: [{ pattern: /, backend: app }]\n":                                                      ":1: namespaces[0].backend: is \"app\", and there is no such backend",
		"auth: { mode: webhook }\n": "namespaces[0].auth: needs a backend with the hook connect",
		"auth: { mode: webhook }\nwebhook: { url: 'http://127.0.0.1:1/', secret: '0123456789abcdef0123456789' }\n":             "",
		"auth: { mode: jwt+webhook }\nwebhook: { url: 'http://127.0.0.1:1/', secret: '0123456789abcdef0123456789' }\n":         "auth.jwt",
		"auth: { mode: webhook }\nnamespaces: [{ pattern: /, auth: none }]\n":                                                  "",
		"demo: true\nauth: { mode: webhook }\nwebhook: { url: 'http://127.0.0.1:1/', secret: '0123456789abcdef0123456789' }\n": "",
	} {
		l, err := config.Load(config.Sources{Environ: []string{"SIOEDGE_CONFIG=" + settingsFile(t, text)}})
		if err == nil {
			err = check(l)
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: check = %v, want %q", text, err, want)
		}
	}
}

// Whose requests others can read is said.
func TestWhichBackendsAreReadable(t *testing.T) {
	s := &config.Settings{Secret: strings.Repeat("s", 32), Backends: map[string]config.Backend{}}
	for name, url := range map[string]string{
		"a": "http://203.0.113.9/x", "b": "http://app.example.com/x", "c": "https://app.example.com/", "d": "http://127.0.0.1:1/", "e": "http://[::1]/", "f": "http://10.1.2.3/",
		"g": "http://localhost/", "h": "http://app:8080/", "i": "unix:/run/x.sock", "j": "http://app.svc.internal/", "k": "http://[2001:db8::1]/",
	} {
		s.Backends[name] = config.Backend{URL: url}
	}
	if got := readable(s); !slices.Equal(got, []string{"a", "b", "k"}) {
		t.Error(got)
	}
}
