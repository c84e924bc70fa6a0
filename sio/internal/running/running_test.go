package running

import (
	"sync"
	"testing"
	"testing/synctest"
)

func TestWaitIsUntilNothingRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Count
		c.Wait() // nothing does
		t1, t2 := c.Begin(), c.Begin()
		waited := false
		go func() { c.Wait(); waited = true }()
		synctest.Wait()
		c.End(t1)
		synctest.Wait()
		if waited {
			t.Error("Wait has returned while something runs")
		}
		c.End(t2)
		synctest.Wait()
		if !waited {
			t.Error("Wait has not returned, and nothing runs")
		}
	})
}

// What begins from nothing while others wait is no race, as it is of a sync.WaitGroup.
func TestMoreMayBeginWhileSomebodyWaits(t *testing.T) {
	var c Count
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 2000 {
				c.End(c.Begin())
			}
		})
		all.Go(func() {
			for range 200 {
				c.Wait()
			}
		})
	}
	all.Wait()
	c.Wait()
}
