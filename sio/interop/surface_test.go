//go:build interop

package interop

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

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

// mount starts a server that is below a path of one of net/http, and returns its
// URL.
func mount(t *testing.T, o sio.Options, register func(*sio.Server)) string {
	t.Helper()
	o.KeepHandshake = sio.KeepAlways
	srv, err := sio.New(o)
	if err != nil {
		t.Fatal(err)
	}
	register(srv)
	served := make(chan error, 1)
	// ends when the server is shut down
	go func() { served <- srv.Serve(context.Background()) }()
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	h := httptest.NewServer(mux)
	t.Cleanup(func() {
		h.Close()
		stop(t, srv, served)
	})
	return h.URL
}
