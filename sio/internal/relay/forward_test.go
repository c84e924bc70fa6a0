package relay

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// proves is a server called node that proves to be who has a token, and answers other
// requests by h.
func proves(token string, h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c := r.Header.Get(challengeHeader); c != "" {
			scheme := "http://"
			if r.TLS != nil {
				scheme = "https://"
			}
			_, _ = io.WriteString(w, proofOf("", "node", scheme+r.Host, token).answer(c))
			return
		}
		h(w, r)
	})
}

// A server that takes too long, and one whose answer is cut: the client gets an
// error and nothing of the answer, as half of a poll's would look like the whole.
func TestForwardToAServerThatFails(t *testing.T) {
	stuck := make(chan struct{})
	s := httptest.NewServer(proves("token", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stuck" {
			<-stuck
			return
		}
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "4half")
	}))
	defer s.Close()
	defer close(stuck)
	f := newForwards(Options{Logger: slog.New(slog.DiscardHandler), MaxForwards: 1})
	defer f.links.close()
	peer := rooms.Peer{Node: "node", Addr: s.URL, Token: "token"}
	for _, c := range []struct {
		path     string
		deadline time.Duration
		status   int
		body     string
	}{
		{"/stuck", 20 * time.Millisecond, http.StatusGatewayTimeout, `{"message":"node node does not answer"}`},
		{"/half", time.Minute, http.StatusBadGateway, `{"message":"node node cannot be reached"}`},
	} {
		f.deadline = c.deadline
		w := httptest.NewRecorder()
		f.serve(w, httptest.NewRequest("GET", c.path, nil), peer)
		if w.Code != c.status || w.Body.String() != c.body {
			t.Errorf("GET %s = %d %q, want %d %q", c.path, w.Code, w.Body, c.status, c.body)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w := httptest.NewRecorder()
	f.serve(w, httptest.NewRequest("GET", "/stuck", nil).WithContext(ctx), peer)
	if w.Body.Len() > 0 || f.done.Load() != 0 || f.failed.Load() != 2 || f.places.inUse() != 0 {
		t.Errorf("a client that has gone gets %q; %d done, %d failed, %d under way, want nothing, 0, 2 and 0",
			w.Body, f.done.Load(), f.failed.Load(), f.places.inUse())
	}
}

// Requests one after another go over one connection, a request with a body too.
func TestForwardKeepsItsConnections(t *testing.T) {
	var conns atomic.Int64
	s := httptest.NewUnstartedServer(proves("token", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if got := r.Header["Accept-Encoding"]; got != nil {
			t.Errorf("Accept-Encoding = %q, want none, as the client sent none", got)
		}
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "1")
		_, _ = w.Write(b)
	}))
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	f := newForwards(Options{Logger: slog.New(slog.DiscardHandler), MaxForwards: 4})
	defer f.links.close()
	for range 5 {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/", strings.NewReader("4x"))
		r.Close = true // of the client's connection, which is another
		f.serve(w, r, rooms.Peer{Node: "node", Addr: s.URL, Token: "token"})
		if w.Code != 200 || w.Body.String() != "4x" || w.Header().Get("X-Hop") != "" {
			t.Errorf("POST = %d %q %v, want 200 4x without X-Hop", w.Code, w.Body, w.Header())
		}
	}
	if n := conns.Load(); n != 1 || f.done.Load() != 5 {
		t.Errorf("%d connections for %d requests, want 1 for 5", n, f.done.Load())
	}
}

// An answer that is longer than any for a poll is not held, whether its length is
// told or not; what is held is given back.
func TestForwardedAnswersAreBounded(t *testing.T) {
	block := make([]byte, 1<<20)
	s := httptest.NewServer(proves("token", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		if r.URL.Path == "/told" {
			w.Header().Set("Content-Length", strconv.Itoa(n))
		}
		for ; n > 0; n -= len(block) {
			if _, err := w.Write(block[:min(n, len(block))]); err != nil {
				return
			}
		}
	}))
	defer s.Close()
	f := newForwards(Options{Logger: slog.New(slog.DiscardHandler), MaxForwards: 1})
	defer f.links.close()
	for _, path := range []string{"/told", "/chunked"} {
		for _, c := range []struct{ n, status int }{{maxForwardedAnswer, 200}, {maxForwardedAnswer + 1, 502}, {1 << 40, 502}} {
			w := httptest.NewRecorder()
			f.serve(w, httptest.NewRequest("GET", fmt.Sprint(path, "?n=", c.n), nil), rooms.Peer{Node: "node", Addr: s.URL, Token: "token"})
			if w.Code != c.status || c.status == 200 && w.Body.Len() != c.n {
				t.Errorf("an answer of %d bytes, %s: %d with %d bytes, want %d", c.n, path, w.Code, w.Body.Len(), c.status)
			}
		}
	}
	if f.answers.free != maxForwardedAnswers {
		t.Errorf("%d bytes are free, want all %d", f.answers.free, maxForwardedAnswers)
	}
}

// What the bodies of requests take that wait with another server is bounded, and no
// client has more than half of it; requests without one are forwarded as before.
func TestForwardedBodiesAreBounded(t *testing.T) {
	const size, places = 256 << 10, 64
	stuck := make(chan struct{})
	asked := make(chan struct{}, places)
	s := httptest.NewServer(proves("token", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			asked <- struct{}{}
			<-stuck
		}
	}))
	defer s.Close()
	f := newForwards(Options{Logger: slog.New(slog.DiscardHandler), MaxForwards: places, MaxPayload: size})
	defer f.links.close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ask := func(method, client string, size int) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/", strings.NewReader(strings.Repeat("x", size))).WithContext(ctx)
		r.RemoteAddr = client + ":1"
		w := httptest.NewRecorder()
		f.serve(w, r, rooms.Peer{Node: "node", Addr: s.URL, Token: "token"})
		return w
	}
	var all sync.WaitGroup
	post := func(client string) {
		all.Go(func() {
			if w := ask("POST", client, size); w.Code != 200 {
				t.Errorf("%s, who is within its share, is answered %d", client, w.Code)
			}
		})
		<-asked
	}
	for range places * forwardedBody / 2 / (2 * size) {
		post("192.0.2.1")
	}
	if w := ask("POST", "192.0.2.1", size); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("one more than half of what there is: %d, want 503 and when to come again", w.Code)
	}
	if w := ask("GET", "192.0.2.1", 0); w.Code != 200 {
		t.Errorf("a poll of the same client: %d", w.Code)
	}
	post("192.0.2.2")
	close(stuck)
	all.Wait()
	if n := f.bodies.inUse(); n != 0 || f.limited.Load() != 1 {
		t.Errorf("%d bytes are held when all have been answered, and %d were refused, want 0 and 1", n, f.limited.Load())
	}
}

// Whoever forges ids waits for his refusals, with a place of nobody; others do not.
func TestForgersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newForwards(Options{Logger: slog.New(slog.DiscardHandler), MaxForwards: 1})
		peer := rooms.Peer{Node: "node", Addr: "http://h", Token: "token"}
		l, err := f.links.to(peer)
		if err != nil {
			t.Fatal(err)
		}
		l.transport.RegisterProtocol("http", refuser{})
		ask := func(client string) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = client
			w := httptest.NewRecorder()
			if f.serve(w, r, peer); w.Code != 400 {
				t.Errorf("%s is answered %d, want 400", client, w.Code)
			}
		}
		begun := time.Now()
		for range int(mistakesAtOnce) {
			ask("192.0.2.1:1")
		}
		if d := time.Since(begun); d != 0 {
			t.Errorf("the first refusals take %v, want nothing", d)
		}
		done := make(chan bool)
		// ends when the refusal has been given
		go func() { ask("192.0.2.1:2"); close(done) }()
		synctest.Wait()
		ask("192.0.2.2:1") // the only place is free
		if time.Since(begun) != 0 {
			t.Error("another client waits, want only who forges")
		}
		<-done
		if d := time.Since(begun); d != mistakePause {
			t.Errorf("one more refusal takes %v, want %v", d, mistakePause)
		}
	})
}

// A refuser answers as a server does that does not know a session.
type refuser struct{}

func (refuser) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 400, ContentLength: 1, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("x"))}, nil
}
