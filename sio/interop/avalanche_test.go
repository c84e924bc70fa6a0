//go:build interop

package interop

import (
	"context"
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio"
)

// TestInteropAvalanche: clients that come all at once to a server that is late are
// refused with 503, back off by themselves, and get in when it has become better. It
// shows what they saw, and how long it took.
func TestInteropAvalanche(t *testing.T) {
	srv, err := sio.New(sio.Options{Loop: loop.Options{Loops: 1}, Engine: eio.Options{AllowEIO3: true}})
	if err != nil {
		t.Fatal(err)
	}
	serveAll(srv)
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	// ends when the server is shut down
	go func() { served <- srv.Serve(context.Background()) }()
	defer stop(t, srv, served)

	over := time.Now().Add(6 * time.Second)
	loaded := make(chan struct{})
	// ends when the load is over
	go func() {
		defer close(loaded)
		for time.Now().Before(over) {
			srv.Engine().Loops()[0].Ask(func() { time.Sleep(900 * time.Millisecond) })
			time.Sleep(50 * time.Millisecond)
		}
	}()
	node(t, "avalanche.mjs", "http://"+addr.String(), "600")
	<-loaded
	st := srv.Stats().Engine
	t.Logf("%d new sessions were refused because the loop was late; %d were opened", st.Late, st.Opened.Sum())
}
