//go:build !race

package loop

import "sync/atomic"

// owner is the goroutine that may touch a loop's state. Only in builds with the
// race detector it is checked.
type owner struct{ goroutine atomic.Uint64 }

func (*owner) check() {}

// checked says that transitions of lives are checked too.
const checked = false
