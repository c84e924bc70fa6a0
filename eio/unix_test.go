package eio

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/http1"
)

// TestPeersOfUnixSocketsHaveNoAddress: whoever asks for it gets none, and not a
// text that is none.
func TestPeersOfUnixSocketsHaveNoAddress(t *testing.T) {
	seen := make(chan string, 4)
	tell := func(r *http.Request) { seen <- r.RemoteAddr }
	srv, err := NewServer(&hooks{open: func(s Session, _ *http1.Request) {
		if s.RemoteAddr().IsValid() {
			t.Errorf("RemoteAddr() = %v, want the zero AddrPort", s.RemoteAddr())
		}
		s.Close()
	}}, Options{
		Logger:        quiet,
		MaxConnsPerIP: 1, // nobody is bounded who has none
		AllowRequest:  func(r *http.Request) error { tell(r); return nil },
		Middleware:    func(_ http.ResponseWriter, r *http.Request) bool { tell(r); return true },
		Route: func(path string) http.Handler {
			return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { tell(r) })
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := loop.New(srv, loop.Options{Loops: 1, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	srv.Bind(e.Loops())
	path := filepath.Join(t.TempDir(), "sock")
	if _, err := e.Listen("unix:" + path); err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	// ends with the engine
	go func() { ran <- e.Run(context.Background()) }()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("GET /r HTTP/1.1\r\nHost: h\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(getRequest("EIO=4&transport=polling")); err != nil {
		t.Fatal(err)
	}
	other, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Write([]byte("GET /r HTTP/1.1\r\nHost: h\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if got := <-seen; got != "" {
			t.Errorf("RemoteAddr = %q, want it empty", got)
		}
	}
	_, _ = c.Close(), other.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := e.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-ran; err != nil {
		t.Error(err)
	}
}
