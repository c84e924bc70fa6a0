//go:build !linux

package loop

import "testing"

// noSpin: a poller that tells of something once does not tell of it for ever.
func noSpin(*testing.T, *Engine) {}
