package quiet

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// What a handler that ran beside others did while the loops had just turned is
// turned over before a Settle ends.
func TestTheLastTurnIsBehindTheLastHandler(t *testing.T) {
	for name, settle := range map[string]func(*Watch, func()) error{
		"all":     func(w *Watch, turn func()) error { return w.Settle(turn, time.Minute) },
		"leaving": func(w *Watch, turn func()) error { return w.SettleLeaving(turn, time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			w := New()
			w.Now = func() time.Duration { return 0 }
			fed, answered := make(chan bool), make(chan struct{})
			var posted, delivered atomic.Bool
			w.Go(func() {
				<-fed
				posted.Store(true)
				_ = w.Wait(context.Background(), answered)
			})
			if err := w.SettleLeaving(func() {}, time.Minute); err != nil {
				t.Fatal(err)
			}
			feed := func() {
				fed <- true
				for parkedAll := false; !parkedAll; time.Sleep(time.Millisecond) {
					w.mu.Lock()
					parkedAll = w.actors[0].state == parked
					w.mu.Unlock()
				}
			}
			err := settle(w, func() {
				delivered.Store(posted.Load())
				if feed != nil {
					feed()
					feed = nil
				}
			})
			if err != nil || !delivered.Load() {
				t.Errorf("Settle ended with %v; what the handler posted was delivered: %v", err, delivered.Load())
			}
			close(answered)
			if err := w.Settle(func() {}, time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
}
