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
	t.Cleanup(func() {
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
	})
	return "http://" + addr.String()
}

// node runs a script and fails the test if it fails.
func node(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "node", args...).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("node %v: %v", args, err)
	}
}

func TestInterop(t *testing.T) {
	url := listen(t, sio.Options{Engine: eio.Options{PingInterval: time.Second, PingTimeout: 3 * time.Second}}, serveAll)
	node(t, "run.mjs", url)
}

// TestInteropReference plays the same scenarios against Node's own server, so
// that they are known to ask for nothing but what Node does.
func TestInteropReference(t *testing.T) { node(t, "run.mjs", "reference") }

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

// TestInteropRecovery plays all scenarios with recovery on: it must not change
// anything for clients that stay.
func TestInteropRecovery(t *testing.T) {
	url := listen(t, sio.Options{
		Engine:   eio.Options{PingInterval: time.Second, PingTimeout: 3 * time.Second},
		Recovery: sio.Recovery{Window: time.Minute},
	}, serveAll)
	node(t, "run.mjs", url, "order")
}

// TestInteropCompression plays the scenarios with messages compressed in both
// directions.
func TestInteropCompression(t *testing.T) {
	t.Setenv("DEFLATE", "1")
	var srv *sio.Server
	url := listen(t, sio.Options{
		Engine: eio.Options{
			PingInterval: time.Second, PingTimeout: 3 * time.Second,
			Compression: &eio.Compression{Threshold: 1},
		},
	}, func(s *sio.Server) { srv = s; serveAll(s) })
	node(t, "run.mjs", url)
	if c := srv.CompressionStats(); c.Deflated == 0 || c.Inflated == 0 || c.Polls == 0 {
		t.Errorf("CompressionStats() = %+v, want some of all", c)
	}
}

// TestInteropCompressionReference shows that Node's server passes them too.
func TestInteropCompressionReference(t *testing.T) {
	t.Setenv("DEFLATE", "1")
	node(t, "run.mjs", "reference", "compression:")
}

// TestInteropClient2 plays the scenarios with clients of version 2, which speak
// Engine.IO 3, and TestInteropClient3 with those of version 3; the others on
// Node's server.
func TestInteropClient2(t *testing.T)          { playOld(t, "2", "") }
func TestInteropClient3(t *testing.T)          { playOld(t, "3", "") }
func TestInteropClient2Reference(t *testing.T) { playOld(t, "2", "reference") }
func TestInteropClient3Reference(t *testing.T) { playOld(t, "3", "reference") }

func playOld(t *testing.T, version, target string) {
	t.Setenv("CLIENT", version)
	if target == "" {
		target = listen(t, sio.Options{
			Engine: eio.Options{PingInterval: time.Second, PingTimeout: 3 * time.Second, AllowEIO3: true},
		}, serveAll)
	}
	node(t, "run.mjs", target)
}

// TestInteropMessagePack plays the scenarios with clients of the other parser.
func TestInteropMessagePack(t *testing.T) {
	t.Setenv("PARSER", "msgpack")
	url := listen(t, sio.Options{
		Engine: eio.Options{PingInterval: time.Second, PingTimeout: 3 * time.Second},
		Parser: sio.EitherParser,
	}, serveAll)
	node(t, "run.mjs", url)
}
