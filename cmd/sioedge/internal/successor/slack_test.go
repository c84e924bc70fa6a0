package successor

import (
	"runtime/debug"
	"testing"
)

// Garbage is let lie for a while, and then as before; never less than before.
func TestSlack(t *testing.T) {
	now := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	defer debug.SetGCPercent(now())
	for before, want := range map[int]int{50: slack, 100: slack, slack: slack, 1000: 1000, -1: -1} {
		debug.SetGCPercent(before)
		var s Slack
		for range 2 {
			s.TakeBack()
			s.Give()
			s.Give()
			if got := now(); got != want {
				t.Errorf("of %d it is %d, want %d", before, got, want)
			}
			s.TakeBack()
			if got := now(); got != before {
				t.Errorf("of %d it is %d when it is over", before, got)
			}
		}
	}
}
