//go:build interop

package interop

import (
	"testing"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
)

func TestTmpOld(t *testing.T) {
	t.Setenv("CLIENT", "2")
	e := eio.Options{PingInterval: time.Second, PingTimeout: 3 * time.Second, AllowEIO3: true}
	node(t, "run.mjs", listen(t, sio.Options{Engine: e, Recovery: sio.Recovery{Window: time.Minute}}, serveAll), "order")
	t.Setenv("DEFLATE", "1")
	e.Compression = &eio.Compression{Threshold: 1}
	node(t, "run.mjs", listen(t, sio.Options{Engine: e}, serveAll))
}
