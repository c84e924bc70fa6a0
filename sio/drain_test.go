package sio_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
)

// Drain ends the sessions that there are, their sockets by the reason of a shutdown, and
// refuses new ones, while the server goes on answering; behind Resume it takes them again.
func TestDrain(t *testing.T) {
	const n = 40
	left := make(chan sio.Reason, 2*n)
	var srv *server
	inline := make(chan error, 1)
	srv = serve(t, sio.Options{Engine: eio.Options{CloseCodes: true}}, func(s *sio.Server) {
		s.Of("/").OnDisconnect(func(_ sio.Socket, r sio.Reason) { left <- r })
		s.Of("/").HandleInline("drain", func(sio.Socket, *sio.Msg) error { inline <- s.Drain(context.Background(), 0); return nil })
	})
	clients := []*client{}
	for range n {
		clients = append(clients, srv.join("40"))
	}
	clients[0].send(`42["drain"]`)
	if err := take(t, inline); !errors.Is(err, sio.ErrInline) {
		t.Errorf("on a loop Drain = %v, want ErrInline", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := srv.Drain(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain = %v of a context that is done", err)
	}
	if st := srv.Stats(); st.Engine.Open.Sum() != n {
		t.Errorf("%d sessions are left of %d", st.Engine.Open.Sum(), n)
	}
	status := func() (int, http.Header) {
		t.Helper()
		res, err := http.Get("http://" + srv.addr + "/socket.io/?EIO=4&transport=polling")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
		return res.StatusCode, res.Header
	}
	if got, h := status(); got != 503 || h.Get("Retry-After") == "" {
		t.Errorf("a new session is answered %d %v while it drains", got, h)
	}
	srv.Resume()
	if got, _ := status(); got != 200 {
		t.Errorf("a new session is answered %d behind Resume", got)
	}
	if err := srv.Drain(within(patience), time.Second); err != nil {
		t.Errorf("Drain = %v", err)
	}
	for range n {
		if r := take(t, left); r != sio.ServerShuttingDown {
			t.Fatalf("a socket has left with %q, want %q", r, sio.ServerShuttingDown)
		}
	}
	for _, c := range clients {
		if got := c.next(); !strings.HasPrefix(got, fmt.Sprint("close ", eio.CloseShutdown)) {
			t.Fatalf("a client is told %q", got)
		}
	}
	if st := srv.Stats(); st.Engine.Open.Sum() != 0 || st.Engine.Draining != 1 {
		t.Errorf("%d sessions are left, %d were refused", st.Engine.Open.Sum(), st.Engine.Draining)
	}
	if err := srv.Shutdown(within(patience)); err != nil {
		t.Error(err)
	}
	srv.Resume() // does nothing any more
}
