//go:build interop

// Package interop tests the server with the real thing: the unmodified npm
// client in Node, and a browser. make interop and make browser install what
// they need.
package interop

import (
	"cmp"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/demo"
	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
)

// listen starts a server and returns its URL.
func listen(t *testing.T, o sio.Options, register func(*sio.Server)) string {
	t.Helper()
	o.KeepHandshake = sio.KeepAlways // applications ask for it in handlers of events
	srv, err := sio.New(o)
	if err != nil {
		t.Fatal(err)
	}
	register(srv)
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	// ends when the server is shut down
	go func() { served <- srv.Serve(context.Background()) }()
	t.Cleanup(func() { stop(t, srv, served) })
	return "http://" + addr.String()
}

// stop shuts a server down.
func stop(t *testing.T, srv *sio.Server, served <-chan error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if n := srv.Engine().Stats().Panics; n > 0 {
		t.Errorf("%d panics", n)
	}
}

// node runs a script and fails the test if it fails. What it prints is shown as it
// comes.
func node(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("node %v: %v", args, err)
	}
}

// TestInterop plays the scenarios with each kind of client against servers with
// the options of its variant and against Node's own, and prints the table of what
// is the same and what differs. $FILTER is part of the names to play.
func TestInterop(t *testing.T) {
	engine := func() eio.Options {
		return eio.Options{PingInterval: time.Second, PingTimeout: 3 * time.Second}
	}
	// What handlers and middlewares do is known; it is not for the log.
	quiet := func(sio.Socket, string, error) {}
	old, deflate := engine(), engine()
	old.AllowEIO3 = true
	deflate.Compression = &eio.Compression{Threshold: 1}

	var deflating *sio.Server
	plain := listen(t, sio.Options{Engine: engine(), OnError: quiet}, serveAll)
	node(t, "run.mjs", "--filter", os.Getenv("FILTER"),
		"4="+plain,
		"3="+plain,
		"2="+listen(t, sio.Options{Engine: old, OnError: quiet}, serveAll),
		"msgpack="+listen(t, sio.Options{Engine: engine(), OnError: quiet, Parser: sio.EitherParser}, serveAll),
		"recovery="+listen(t, sio.Options{Engine: engine(), OnError: quiet, Recovery: sio.Recovery{Window: time.Minute}}, serveAll),
		"deflate="+listen(t, sio.Options{Engine: deflate, OnError: quiet}, func(s *sio.Server) { deflating = s; serveAll(s) }),
		"mounted="+mount(t, sio.Options{Engine: engine(), OnError: quiet}, serveAll),
	)
	if c := deflating.Stats().Compression; os.Getenv("FILTER") == "" && (c.Deflated == 0 || c.Inflated == 0 || c.Polls == 0) {
		t.Errorf("Stats().Compression = %+v, want some of all", c)
	}
}

func TestBrowser(t *testing.T) {
	url := listen(t, sio.Options{Client: client(t), Handler: demo.Page()}, func(srv *sio.Server) { demo.Serve(srv.Of("/chat")) })
	node(t, "browser.mjs", url)
}

// client returns the browser client's files out of the npm package.
func client(t *testing.T) fs.FS {
	const dir = "node_modules/socket.io-client/dist"
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
	return os.DirFS(dir)
}

// TestInteropChaos cuts the connections of 200 clients at random while messages
// flow; $CHAOS is for how many seconds. Nothing may be lost, repeated or
// swapped.
func TestInteropChaos(t *testing.T) {
	url := listen(t, sio.Options{
		Engine:   eio.Options{PingInterval: time.Second, PingTimeout: 3 * time.Second},
		Recovery: sio.Recovery{Window: time.Minute},
	}, serveAll)
	node(t, "chaos.mjs", url, cmp.Or(os.Getenv("CHAOS"), "20"))
}
