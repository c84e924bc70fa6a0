package sio

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sioedge/sioedge/rooms"
)

// A server that takes too long, and one whose answer is cut: the client gets an
// error and nothing of the answer, as half of a poll's would look like the whole.
func TestForwardToAServerThatFails(t *testing.T) {
	stuck := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
	defer f.transport.CloseIdleConnections()
	peer := rooms.Peer{Node: "node", Addr: s.URL}
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
	if w.Body.Len() > 0 || f.done.Load() != 0 || f.failed.Load() != 2 || f.underWay.Load() != 0 {
		t.Errorf("a client that has gone gets %q; %d done, %d failed, %d under way, want nothing, 0, 2 and 0",
			w.Body, f.done.Load(), f.failed.Load(), f.underWay.Load())
	}
}

// Requests one after another go over one connection, a request with a body too.
func TestForwardKeepsItsConnections(t *testing.T) {
	var conns atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
	defer f.transport.CloseIdleConnections()
	for range 5 {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/", strings.NewReader("4x"))
		r.Close = true // of the client's connection, which is another
		f.serve(w, r, rooms.Peer{Node: "node", Addr: s.URL + "/"})
		if w.Code != 200 || w.Body.String() != "4x" || w.Header().Get("X-Hop") != "" {
			t.Errorf("POST = %d %q %v, want 200 4x without X-Hop", w.Code, w.Body, w.Header())
		}
	}
	if n := conns.Load(); n != 1 || f.done.Load() != 5 {
		t.Errorf("%d connections for %d requests, want 1 for 5", n, f.done.Load())
	}
}
