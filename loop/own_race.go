//go:build race

package loop

import (
	"fmt"
	"sync/atomic"
)

// owner is the goroutine that may touch a loop's state. Two wrong accesses that
// never meet are not seen by the race detector; check sees each of them.
type owner struct{ goroutine atomic.Uint64 }

// check panics on another goroutine than the loop's. Without one (a Sim, or
// before Engine.Run) there is nothing to compare with.
func (o *owner) check() {
	if own := o.goroutine.Load(); own != 0 && own != goroutineID() {
		panic(fmt.Sprintf("loop: used on goroutine %d, owned by goroutine %d", goroutineID(), own))
	}
}

// checked says that transitions of lives are checked too.
const checked = true
