package api

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
)

// Who has no right key learns that there is an API, and how it is opened.
func TestKeys(t *testing.T) {
	a := start(t, nil, nil)
	const path = wire.OpenAPIPath
	for _, x := range []struct {
		name   string
		fields []string
		want   int
	}{
		{"a key", nil, 200},
		{"in another case", []string{"Authorization", "bearer " + testKey}, 200},
		{"the other key", []string{"Authorization", "Bearer " + otherKey}, 200},
		{"a key of its own field", []string{"Authorization", "", "X-API-Key", otherKey}, 200},
		{"none", []string{"Authorization", ""}, 401},
		{"a wrong one", []string{"Authorization", "Bearer " + testKey + "x"}, 401},
		{"a part of one", []string{"Authorization", "Bearer " + testKey[:len(testKey)-1]}, 401},
		{"an empty one", []string{"Authorization", "Bearer "}, 401},
		{"of another scheme", []string{"Authorization", "Basic " + testKey}, 401},
		{"a long one", []string{"Authorization", "Bearer " + strings.Repeat("x", maxKey+1)}, 401},
		{"of a page", []string{"Origin", "http://127.0.0.1:9000"}, 403},
		{"of a page without an origin", []string{"Origin", "null"}, 403},
		{"of a browser", []string{"Sec-Fetch-Site", "same-origin"}, 403},
	} {
		if status, answer := a.ask("GET", path, "", x.fields...); status != x.want {
			t.Errorf("%s: %d %s, want %d", x.name, status, answer, x.want)
		}
	}
	r, _ := http.NewRequest("GET", a.in.URL+path, nil)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if got := res.Header.Get("WWW-Authenticate"); got != `Bearer realm="sioedge"` || !res.Close {
		t.Errorf("WWW-Authenticate: %q, closed: %v", got, res.Close)
	}
	a.api.Reload(Settings{Keys: []string{otherKey}})
	if status, _ := a.ask("GET", path, ""); status != 401 {
		t.Errorf("a key that is none any more: %d", status)
	}
	if status, _ := a.ask("GET", path, "", "Authorization", "Bearer "+otherKey); status != 200 {
		t.Errorf("a key that stays: %d", status)
	}
}

// Too many failures are told to wait; a right key is not.
func TestTooManyFailures(t *testing.T) {
	a := start(t, nil, nil)
	got := map[int]int{}
	for range 3 * failureBurst {
		status, _ := a.ask("GET", wire.OpenAPIPath, "", "Authorization", "Bearer wrong")
		got[status]++
	}
	if got[401] < failureBurst || got[429] == 0 || got[401]+got[429] != 3*failureBurst {
		t.Errorf("%v, want 401 at first and then 429", got)
	}
	if status, _ := a.ask("GET", wire.OpenAPIPath, ""); status != 200 {
		t.Errorf("a right key is answered %d", status)
	}
	if s := a.api.Stats(); s.Throttled != int64(got[429]) {
		t.Errorf("%d are counted, want %d", s.Throttled, got[429])
	}
}

// What else is opened by keys refuses by the same rules, and failures count with those of
// the API.
func TestKeysOfOthers(t *testing.T) {
	a := start(t, nil, nil)
	keys := NewKeys([]string{testKey, otherKey})
	ask := func(fields ...string) *http.Request {
		r, _ := http.NewRequest("GET", "/bridge", nil)
		r.RemoteAddr = "10.0.0.9:1"
		for i := 0; i+1 < len(fields); i += 2 {
			r.Header.Set(fields[i], fields[i+1])
		}
		return r
	}
	for name, x := range map[string]struct {
		r    *http.Request
		want bool
	}{
		"a key": {ask("Authorization", "Bearer "+testKey), true}, "the other one": {ask("X-API-Key", otherKey), true}, "none": {ask(), false},
		"a part of one": {ask("Authorization", "Bearer "+testKey[1:]), false}, "a long one": {ask("X-API-Key", strings.Repeat("x", maxKey+1)), false},
		"another scheme": {ask("Authorization", "Basic "+testKey), false},
	} {
		if got := keys.Open(x.r); got != x.want || (Keys{}).Open(x.r) {
			t.Errorf("%s opens: %t, want %t, and no keys never do", name, got, x.want)
		}
	}
	for _, r := range []*http.Request{ask("Origin", "http://a"), ask("Sec-Fetch-Site", "cross-site")} {
		if x := RefusePage(r); x == nil || x.Status != 403 {
			t.Errorf("a page is answered %+v", x)
		}
	}
	if x := RefusePage(ask()); x != nil {
		t.Errorf("who is no page is answered %+v", x)
	}
	for i := range failureBurst + 1 {
		x := a.api.RefuseKey(ask("X-API-Key", "wrong"), "a request has a wrong key", "some.keys")
		if want := 401; i < failureBurst && (x.Status != want || !strings.Contains(x.Detail, "some.keys")) || i == failureBurst && (x.Status != 429 || x.Retry <= 0) {
			t.Errorf("failure %d is answered %+v", i, x)
		}
		rec := httptest.NewRecorder()
		x.Write(rec)
		if rec.Code != x.Status || !strings.Contains(rec.Body.String(), `"detail":"`) || (rec.Header().Get("Retry-After") == "") != (x.Status == 401) {
			t.Errorf("it is written as %d %s %v", rec.Code, rec.Body, rec.Header())
		}
	}
	if s := a.api.Stats(); s.Throttled != 1 {
		t.Errorf("%d are counted as throttled, want 1", s.Throttled)
	}
}

func TestFailuresByAddress(t *testing.T) {
	var f failures
	now := time.Unix(1000, 0)
	one := netip.MustParseAddr("10.0.0.1")
	for i := range failureBurst {
		if d := f.fail(one, now); d != 0 {
			t.Fatalf("failure %d has to wait %v", i, d)
		}
	}
	if d := f.fail(one, now); d != failureEvery {
		t.Errorf("one too many has to wait %v, want %v", d, failureEvery)
	}
	if d := f.fail(netip.MustParseAddr("10.0.0.2"), now); d != 0 {
		t.Errorf("another address has to wait %v", d)
	}
	if d := f.fail(one, now.Add(failureEvery)); d != 0 {
		t.Errorf("later it has to wait %v", d)
	}
	// However many addresses there are, what is kept of them is bounded.
	for i := range 3 * maxAddresses {
		f.fail(netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	if len(f.full) > maxAddresses+1 {
		t.Errorf("%d addresses are kept", len(f.full))
	}
	if d := f.fail(netip.MustParseAddr("12.0.0.1"), now); d == 0 {
		t.Error("those that there is no room for are not bounded")
	}
	if d := f.fail(netip.MustParseAddr("12.0.0.1"), now.Add(time.Hour)); d != 0 || len(f.full) > 3 {
		t.Errorf("an hour later it has to wait %v, and %d are kept", d, len(f.full))
	}
}

// What is no request that there is, is told so in the form of all failures.
func TestRequestsThatThereAreNot(t *testing.T) {
	a := start(t, nil, func(o *Options) { o.MaxBody = 1024 })
	for _, x := range []struct {
		method, path, body string
		fields             []string
		status             int
		code               string
	}{
		{"GET", "/api/nothing", "", nil, 404, "unknown_path"},
		{"GET", "/api", "", nil, 404, "unknown_path"},
		{"GET", "/api/../api/openapi.json", "", nil, 404, "unknown_path"},
		{"GET", "//api/openapi.json", "", nil, 404, "unknown_path"},
		{"GET", "/api/emit", "", nil, 405, "method_not_allowed"},
		{"OPTIONS", "/api/emit", "", nil, 405, "method_not_allowed"},
		{"POST", "/api/openapi.json", "{}", nil, 405, "method_not_allowed"},
		{"GET", "/api/openapi.json", "{}", nil, 400, "body"},
		{"POST", "/api/emit", "ev=x", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "content_type"},
		{"POST", "/api/emit", "{}", []string{"Content-Encoding", "gzip"}, 415, "content_encoding"},
		{"POST", "/api/emit", `{"ev":"x"}`, []string{"Content-Type", "application/json; charset=utf-8"}, 200, ""},
		{"POST", "/api/emit", strings.Repeat(" ", 1025), nil, 413, "too_long"},
		{"POST", "/api/emit", strings.Repeat(" ", 10<<20), nil, 413, "too_long"},
		{"POST", "/api/stream", "{}", []string{"Content-Type", "text/plain"}, 415, "content_type"},
	} {
		status, answer := a.ask(x.method, x.path, x.body, x.fields...)
		if status != x.status || x.code != "" && !strings.Contains(answer, `"code":"`+x.code+`"`) {
			t.Errorf("%s %s = %d %s, want %d %s", x.method, x.path, status, answer, x.status, x.code)
		}
	}
	if status, answer := a.ask("HEAD", "/api/openapi.json", ""); status != 200 || answer != "" {
		t.Errorf("HEAD = %d %q", status, answer)
	}
	r, _ := http.NewRequest("PUT", a.in.URL+"/api/openapi.json", nil)
	r.Header.Set("X-Api-Key", testKey)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if got := res.Header.Get("Allow"); got != "GET, HEAD" {
		t.Errorf("Allow: %s", got)
	}
}

// Requests that come without waiting for answers are answered in order.
func TestPipelining(t *testing.T) {
	a := start(t, nil, nil)
	c := a.connect("/", "", "{}")
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.in.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var all strings.Builder
	const n = 50
	for i := range n {
		body := fmt.Sprintf(`{"ev":"e%d"}`, i)
		if i == 7 {
			body = `{"ev":7}`
		}
		fmt.Fprintf(&all, "POST /api/emit HTTP/1.1\r\nHost: x\r\nX-Api-Key: %s\r\nContent-Length: %d\r\n\r\n%s", testKey, len(body), body)
	}
	if _, err := conn.Write([]byte(all.String())); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	for i := range n {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := res.Body.Read(make([]byte, 1000)); err == nil {
			_, _ = res.Body.Read(make([]byte, 1))
		}
		want := 200
		if i == 7 {
			want = 400
		}
		if res.StatusCode != want {
			t.Errorf("request %d is answered %d", i, res.StatusCode)
		}
	}
	c.gets(fmt.Sprintf(`["e%d"]`, n-1))
}

// One key has so much under way at one time, and not more.
func TestBusyKeys(t *testing.T) {
	a := start(t, nil, func(o *Options) { o.MaxRequests, o.MaxStreams = 1, 1 })
	c := a.connect("/", "", "{}")
	for _, path := range []string{"/api/emit?ack=20s", "/api/stream"} {
		w := a.open(path, testKey)
		if path == "/api/stream" {
			w.line(`{"emit":{"ev":"q"}}`)
			w.next()
		} else {
			w.end(`{"ev":"q"}`)
			c.ackID(`["q"]`)
		}
		status, answer := a.ask("POST", path, `{"ev":"q"}`)
		if status != 429 || !strings.Contains(answer, "too_many_requests") {
			t.Errorf("%s: a second one is answered %d %s", path, status, answer)
		}
		if status, answer := a.ask("POST", path, `{`, "Authorization", "Bearer "+otherKey); status == 429 {
			t.Errorf("%s: of another key it is answered %d %s", path, status, answer)
		}
		w.cut()
		eventually(t, "there is room again", func() bool { s, _ := a.ask("POST", path, `{`); return s != 429 })
	}
	if s := a.api.Stats(); s.Busy == 0 {
		t.Error("it is not counted")
	}
}

// A body takes memory when it comes, not when it is announced.
func TestBodiesThatAreAnnounced(t *testing.T) {
	a := start(t, nil, func(o *Options) { o.MaxBody = 32 << 20 })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const callers = 16
	for range callers {
		c, err := net.Dial("tcp", a.in.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST /api/emit HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", testKey, 32<<20)
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") { // which is sent when it is read
			t.Fatalf("it is answered %q, %v", line, err)
		}
	}
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > callers<<20 {
		t.Errorf("%d bodies of which nothing has come take %d MiB", callers, (after.TotalAlloc-before.TotalAlloc)>>20)
	}
}
