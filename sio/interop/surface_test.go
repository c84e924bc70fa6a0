//go:build interop

package interop

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/sio"
)

// TestInteropSurface has the client meet origins, refusals, cookies, headers and
// close codes.
func TestInteropSurface(t *testing.T) {
	url := listen(t, sio.Options{Engine: eio.Options{
		CORS:   &eio.CORS{Origins: []string{"https://*.app.example"}, Credentials: true},
		Cookie: &http.Cookie{},
		AllowRequest: func(r *http.Request) error {
			if r.URL.Query().Get("ticket") == "stale" {
				return &eio.Refusal{Message: "stale ticket"}
			}
			return nil
		},
		InitialHeaders: func(h http.Header, _ *http1.Request) { h.Set("X-First", "yes") },
		Headers:        func(h http.Header, _ *http1.Request) { h.Set("X-Each", "yes") },
	}}, func(srv *sio.Server) {
		serveAll(srv)
		srv.Of("/").Handle("close-with", func(s sio.Socket, m *sio.Msg) error {
			var code uint16
			var reason string
			if err := m.Decode(&code, &reason); err != nil {
				return err
			}
			return s.CloseConnWith(code, reason)
		})
	})
	node(t, "surface.mjs", url)
}

// TestInteropMounted plays all scenarios with a server that is below a path of
// one of net/http.
func TestInteropMounted(t *testing.T) {
	srv, err := sio.New(sio.Options{Engine: eio.Options{PingInterval: time.Second, PingTimeout: 3 * time.Second, AllowEIO3: true}})
	if err != nil {
		t.Fatal(err)
	}
	serveAll(srv)
	served := make(chan error, 1)
	// ends when the server is shut down
	go func() { served <- srv.Serve(context.Background()) }()
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	h := httptest.NewServer(mux)
	defer h.Close()
	node(t, "run.mjs", h.URL)
	if n := srv.Engine().Stats().Panics; n > 0 {
		t.Errorf("%d panics", n)
	}
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}
