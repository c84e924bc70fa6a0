//go:build !race

package rooms

// own has the loop's own check made that this is its goroutine, in builds with the
// race detector.
func (*Local) own() {}
