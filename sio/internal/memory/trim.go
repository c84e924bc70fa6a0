package memory

import (
	"context"
	"runtime/debug"
	"time"
)

// trimEvery is how often Trim looks at the number of connections.
const trimEvery = 2 * time.Second

// Trim gives memory back to the system when many clients have come or gone and
// it has become calm again: what they needed for a moment would otherwise stay
// resident for minutes. It costs one garbage collection. open tells how many there
// are. It returns when ctx is done.
func Trim(ctx context.Context, open func() int64) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	var trimmed, last int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n := open()
		if calm := within(n, last, 100); calm && !within(n, trimmed, 10) {
			debug.FreeOSMemory()
			trimmed = n
		}
		last = n
	}
}

// within tells whether a and b differ by less than a part of them, or by little.
func within(a, b, part int64) bool {
	d := max(a, b) - min(a, b)
	return d < 500 || d*part < max(a, b)
}
