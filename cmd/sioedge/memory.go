package main

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// trimEvery is how often trim looks at the number of connections.
const trimEvery = 2 * time.Second

// trim gives memory back to the system when many clients have come or gone and
// it has become calm again: what they needed for a moment would otherwise stay
// resident for minutes. It costs one garbage collection. It returns when ctx is
// done.
func trim(ctx context.Context, srv *sio.Server) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	var trimmed, last int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		open := srv.Engine().Stats().Open
		if calm := within(open, last, 100); calm && !within(open, trimmed, 10) {
			debug.FreeOSMemory()
			trimmed = open
		}
		last = open
	}
}

// within tells whether a and b differ by less than a part of them, or by little.
func within(a, b, part int64) bool {
	d := max(a, b) - min(a, b)
	return d < 500 || d*part < max(a, b)
}
