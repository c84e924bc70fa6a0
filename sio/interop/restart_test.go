//go:build interop

package interop

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// TestInteropRestart: clients come back by themselves to the server that follows
// one that has stopped, also over polling, where "closed" may be final.
func TestInteropRestart(t *testing.T) {
	begin := func(addr string) (srv *sio.Server, served chan error, at string) {
		srv, err := sio.New(sio.Options{})
		if err != nil {
			t.Fatal(err)
		}
		serveAll(srv)
		a, err := srv.Listen(addr)
		if err != nil {
			t.Fatal(err)
		}
		served = make(chan error, 1)
		// ends when the server is shut down
		go func() { served <- srv.Serve(context.Background()) }()
		return srv, served, a.String()
	}
	srv, served, addr := begin("127.0.0.1:0")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "restart.mjs", "http://"+addr)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "connected" {
	}
	stop(t, srv, served)
	srv, served, _ = begin(addr)
	defer stop(t, srv, served)
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the clients did not come back: %v; %s", err, strings.Join(said, "; "))
	}
}
