package metrics

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// What is answered is as it is asked for.
func TestNegotiation(t *testing.T) {
	m := New(Sources{Version: "v1.2.3"})
	for _, x := range []struct{ name, accept, encoding, kind, end string }{
		{"nothing is asked for", "", "", "text/plain; version=0.0.4", "\n"},
		{"text", "text/plain;version=0.0.4", "", "text/plain; version=0.0.4", "\n"},
		{"OpenMetrics", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "", "application/openmetrics-text; version=1.0.0", "# EOF\n"},
		{"gzip", "text/plain", "gzip", "text/plain; version=0.0.4", "\n"},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := scrape(t, m, "Accept", x.accept, "Accept-Encoding", x.encoding)
			body := io.Reader(w.Body)
			if got := w.Header().Get("Content-Encoding"); got != x.encoding {
				t.Fatalf("the encoding is %q", got)
			}
			if x.encoding != "" {
				var err error
				if body, err = gzip.NewReader(body); err != nil {
					t.Fatal(err)
				}
			}
			b, err := io.ReadAll(body)
			if err != nil {
				t.Fatal(err)
			}
			if kind := w.Header().Get("Content-Type"); w.Code != http.StatusOK || !strings.HasPrefix(kind, x.kind) || !strings.HasSuffix(string(b), x.end) {
				t.Errorf("%d, %s, … %q", w.Code, kind, b[max(len(b)-20, 0):])
			}
			if !strings.Contains(string(b), `sioedge_build_info{version="v1.2.3",go="go`) {
				t.Error("there is no sioedge_build_info")
			}
		})
	}
	r := httptest.NewRequest(http.MethodPost, "/metrics", nil)
	w := httptest.NewRecorder()
	if m.ServeHTTP(w, r); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST is answered %d", w.Code)
	}
}

// A held writer is of who does not take the answer.
type held struct {
	*httptest.ResponseRecorder
	writing, end chan struct{}
	once         sync.Once
}

func (h *held) Write(b []byte) (int, error) {
	h.once.Do(func() { close(h.writing) })
	<-h.end
	return h.ResponseRecorder.Write(b)
}

// So many scrapes are under way at a time, those that are taken slowly among them; others
// are refused, and that is counted. Who takes its answer slowly holds up nobody else.
func TestTooManyScrapes(t *testing.T) {
	m := New(Sources{})
	end := make(chan struct{})
	var all sync.WaitGroup
	for range maxScrapes - 1 {
		h := &held{ResponseRecorder: httptest.NewRecorder(), writing: make(chan struct{}), end: end}
		// ends with end
		all.Go(func() { m.ServeHTTP(h, httptest.NewRequest(http.MethodGet, "/metrics", nil)) })
		<-h.writing
	}
	if w := scrape(t, m); w.Code != http.StatusOK {
		t.Errorf("one that there is a place for is answered %d", w.Code)
	}
	h := &held{ResponseRecorder: httptest.NewRecorder(), writing: make(chan struct{}), end: end}
	all.Go(func() { m.ServeHTTP(h, httptest.NewRequest(http.MethodGet, "/metrics", nil)) })
	<-h.writing
	w := scrape(t, m)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("one too many is answered %d", w.Code)
	}
	close(end)
	all.Wait()
	x := exposition(t, scrape(t, m).Body.String())
	if n := x[`scrapes_total{result="busy"}`]; n != 1 {
		t.Errorf("%v were refused, want 1", n)
	}
	if n := x[`scrapes_total{result="served"}`]; n != maxScrapes+2 {
		t.Errorf("%v were served, want %d", n, maxScrapes+2)
	}
}

// Scrapes at the same time are each a whole.
func TestScrapesAtTheSameTime(t *testing.T) {
	m := New(Sources{})
	var all sync.WaitGroup
	for range maxScrapes {
		all.Go(func() { // ends with its scrapes
			for range 10 {
				if w := scrape(t, m, "Accept", "application/openmetrics-text"); w.Code != http.StatusOK || !strings.HasSuffix(w.Body.String(), "# EOF\n") {
					t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
				}
			}
		})
	}
	all.Wait()
}
