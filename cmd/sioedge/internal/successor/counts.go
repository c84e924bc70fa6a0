package successor

import (
	"sync/atomic"
	"time"
)

// Counts are of upgrades that this process has had a part in. Any goroutine may use them.
type Counts struct{ done, failed, pause atomic.Int64 }

// Done counts an upgrade, in which nobody was served for so long.
func (c *Counts) Done(pause time.Duration) {
	c.done.Add(1)
	c.pause.Store(int64(pause))
}

// Failed counts one that came to nothing.
func (c *Counts) Failed() { c.failed.Add(1) }

// Read returns how many there were, and for how long nobody was served in the last one.
func (c *Counts) Read() (done, failed int64, pause time.Duration) {
	return c.done.Load(), c.failed.Load(), time.Duration(c.pause.Load())
}
