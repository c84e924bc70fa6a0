package main

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// profiled serves the profiles of an edge with these flags.
func profiled(t *testing.T, args string) (url string, in *internal) {
	t.Helper()
	l := settings(t, args)
	e, err := assemble(l, slog.New(slog.DiscardHandler), true)
	if err != nil {
		t.Fatal(err)
	}
	b := internalBounds
	b.answer = time.Second // less than a profile takes
	addr := serveBounded(t, b, e.internal.web.Handler)
	t.Cleanup(func() {
		_ = e.srv.Shutdown(t.Context())
		e.close(t.Context())
	})
	return "http://" + addr + "/debug/pprof/", e.internal
}

func fetch(t *testing.T, url string, change func(r *http.Request)) (status int, header http.Header, body string) {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

// Profiles are for who has a key, in any of three ways, and for no page; there is none
// without keys. What is given on the command line is not told.
func TestProfiles(t *testing.T) {
	at, _ := profiled(t, "--loops=1")
	if status, _, body := fetch(t, at, nil); status != 404 || !strings.Contains(body, "--api-key") {
		t.Errorf("without keys it is %d %q", status, body)
	}
	at, _ = profiled(t, "--loops=1 --api-key="+apiKey)
	for what, change := range map[string]func(r *http.Request){
		"Bearer":    func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+apiKey) },
		"X-API-Key": func(r *http.Request) { r.Header.Set("X-API-Key", apiKey) },
		"Basic":     func(r *http.Request) { r.SetBasicAuth("", apiKey) },
	} {
		if status, _, body := fetch(t, at, change); status != 200 || !strings.Contains(body, "goroutine") {
			t.Errorf("%s: %d %q", what, status, body)
		}
	}
	key := func(r *http.Request) { r.SetBasicAuth("x", apiKey) }
	for path, want := range map[string]int{
		"goroutine?debug=1": 200, "heap": 200, "symbol": 200, "nosuch": 404, "profile?seconds=301": 400, "trace?seconds=NaN": 400, "heap?seconds=-1": 400, "goroutine?seconds=x": 400,
		"profile?seconds=1": 200, // as long as answers may take otherwise
	} {
		if status, _, body := fetch(t, at+path, key); status != want {
			t.Errorf("%s is %d %q", path, status, body)
		}
	}
	if status, _, body := fetch(t, at+"cmdline", key); status != 200 || body != os.Args[0] {
		t.Errorf("the command line is %d %q", status, body)
	}
	if status, h, _ := fetch(t, at, nil); status != 401 || !strings.HasPrefix(h.Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("without a key it is %d %v", status, h)
	}
	if status, _, _ := fetch(t, at, func(r *http.Request) { key(r); r.Header.Set("Origin", "http://x") }); status != 403 {
		t.Errorf("a page is answered %d", status)
	}
	guessed := 0
	for range 20 {
		if status, _, _ := fetch(t, at, func(r *http.Request) { r.SetBasicAuth("", "wrong"+apiKey) }); status == 401 {
			guessed++
		}
	}
	if guessed > 15 {
		t.Errorf("%d keys could be tried in a row", guessed)
	}
}

// While one profile is taken there is no other.
func TestOneProfileAtATime(t *testing.T) {
	at, _ := profiled(t, "--loops=1 --api-key="+apiKey)
	key := func(r *http.Request) { r.SetBasicAuth("", apiKey) }
	first := make(chan int, 1)
	stop := make(chan struct{})
	// ends with its answer
	go func() {
		r := httptest.NewRequest("GET", at+"trace?seconds=300", nil).WithContext(t.Context())
		r.RequestURI = ""
		key(r)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			first <- 0
			return
		}
		first <- res.StatusCode
		<-stop
		_ = res.Body.Close()
	}()
	if got := <-first; got != 200 { // its header comes at once
		t.Fatalf("a trace is answered %d", got)
	}
	if status, h, body := fetch(t, at+"goroutine", key); status != 429 || h.Get("Retry-After") == "" {
		t.Errorf("another one is answered %d %q", status, body)
	}
	close(stop)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if status, _, _ := fetch(t, at+"goroutine", key); status == 200 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("when its client has gone there is still no other")
		}
	}
}
