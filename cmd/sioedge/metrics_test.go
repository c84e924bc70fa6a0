package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// confiding is a backend that says of everybody who and where it is.
func confiding(t *testing.T) string {
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request struct{ Events []struct{ ID, Type string } }
		_ = json.NewDecoder(r.Body).Decode(&request)
		var results []map[string]any
		for _, x := range request.Events {
			switch x.Type {
			case "connect":
				results = append(results, map[string]any{"id": x.ID, "user": "hush-user", "join": []string{"hush-room"}, "data": map[string]any{"plan": "hush-plan"}})
			case "event":
				results = append(results, map[string]any{"id": x.ID, "ack": []any{"fine"}})
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"results": results})
	}))
	t.Cleanup(h.Close)
	return h.URL
}

// A visitor is a client of HTTP long-polling that has much to hide.
type visitor struct {
	t   *testing.T
	url string
}

func visit(t *testing.T, addr string) *visitor {
	v := &visitor{t, "http://" + addr + "/socket.io/?EIO=4&transport=polling&access_token=hush-query"}
	text := v.do(http.MethodGet, "")
	_, sid, ok := strings.Cut(text, `"sid":"`)
	sid, _, _ = strings.Cut(sid, `"`)
	if !ok {
		t.Fatalf("no session: %s", text)
	}
	v.url += "&sid=" + sid
	return v
}

func (v *visitor) do(method, body string) string {
	v.t.Helper()
	r, err := http.NewRequest(method, v.url, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer hush-bearer")
	r.Header.Set("Cookie", "session=hush-cookie")
	r.Header.Set("User-Agent", "hush-agent")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		v.t.Fatalf("%d %s %v", res.StatusCode, b, err)
	}
	return string(b)
}

// until polls until it is sent something.
func (v *visitor) until(what string) {
	v.t.Helper()
	for began := time.Now(); ; {
		text := v.do(http.MethodGet, "")
		if strings.Contains(text, what) {
			return
		}
		if strings.Contains(text, "2") {
			v.do(http.MethodPost, "3")
		}
		if time.Since(began) > time.Minute {
			v.t.Fatalf("it is not sent %s, but %s", what, text)
		}
	}
}

// What a server that has been used tells Prometheus is well-formed, has what happened, and
// nothing of who clients are and what they say.
func TestMetrics(t *testing.T) {
	settings := fmt.Sprintf(`loops: 1
api: {keys: [%s]}
auth: {mode: webhook}
backends: {main: {url: '%s', secret: hush-secret-of-many-bytes}}
limits: {events: "1000/s"}
namespaces:
  - {pattern: "/orders/:id", backend: main, events: {"*": {action: webhook}}}
`, apiKey, confiding(t))
	s, socket, file := internalOf(t, settings)
	v := visit(t, s.addr)
	v.do(http.MethodPost, `40/orders/hush-namespace,{"token":"hush-token"}`)
	v.until("40/orders/hush-namespace,")
	v.do(http.MethodPost, `42/orders/hush-namespace,7["hush-event","hush-argument"]`)
	v.until(`43/orders/hush-namespace,7["fine"]`)
	if status, answer := request(t, socket, "POST", "/api/emit", apiKey, `{"nsp":"/orders/hush-namespace","to":["hush-room"],"ev":"hush-event","args":["hush-argument"]}`); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	v.until("hush-argument")
	request(t, socket, "GET", "/api/rooms/%2Forders%2Fhush-namespace/hush-room", apiKey, "")
	request(t, socket, "GET", "/api/hush-path", apiKey, "")
	request(t, socket, "GET", "/api/info", "hush-key", "")
	writeSettings(t, file, "drain: hush-setting\n")
	if err := s.process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.next(t, "not reloaded, and nothing is changed")

	status, text := request(t, socket, "GET", "/metrics", "", "")
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	for line := range strings.Lines(text) {
		if strings.Contains(line, "hush") || strings.Contains(line, apiKey) {
			t.Errorf("it says %s", line)
		}
	}
	for _, line := range []string{
		`connections{transport="polling",eio="4"} 1`, `sockets{route="/orders/:id"} 1`, `rooms{route="/orders/:id"} 1`,
		`events_received_total{route="/orders/:id",kind="event"} 1`, `events_sent_total{route="/orders/:id",kind="event"} 1`,
		`events_sent_total{route="/orders/:id",kind="ack"} 1`, `broadcasts_total{route="/orders/:id"} 1`,
		`webhook_requests_total{backend="main",type="connect",code="ok"} 1`, `webhook_requests_total{backend="main",type="batch",code="ok"} 1`,
		`webhook_batch_size_bucket{backend="main",le="1"} 1`, `webhook_connects_total{backend="main",result="admitted"} 1`,
		`webhook_told_total{backend="main",kind="event"} 1`, `webhook_breaker_state{backend="main"} 0`,
		`api_requests_total{endpoint="emit",code="200"} 1`, `api_requests_total{endpoint="none",code="404"} 1`, `api_requests_total{endpoint="info",code="401"} 1`,
		`config_reloads_total{result="failure"} 1`, `config_reloads_total{result="success"} 0`, `declared_namespaces 1`,
		`loop_late_seconds{loop="0"} 0`, `loop_connections{loop="0"}`, `ready 1`, `draining 0`, `fds_limit`, `bytes_per_connection`,
	} {
		if !strings.Contains(text, "\nsioedge_"+line) {
			name, _, _ := strings.Cut(line, "{")
			var is []string
			for said := range strings.Lines(text) {
				if strings.HasPrefix(said, "sioedge_"+name) {
					is = append(is, said)
				}
			}
			t.Errorf("it does not say %s, but\n%s", line, strings.Join(is[:min(len(is), 20)], ""))
		}
	}
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = strings.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool (make promtool) says %v: %s", err, out)
	}
}

// Metrics can be left out, and pages of browsers get none.
func TestMetricsAreNotForEverybody(t *testing.T) {
	_, socket, _ := internalOf(t, "metrics: false\n")
	if status, _ := request(t, socket, "GET", "/metrics", "", ""); status != http.StatusNotFound {
		t.Errorf("where there are none, it is answered %d", status)
	}
}
