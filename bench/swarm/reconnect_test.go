package swarm

import (
	"testing"
	"time"
)

// The back-off is that of the JavaScript client with its defaults.
func TestBackoffIsTheStockClients(t *testing.T) {
	w, _ := pair(t, Config{Clients: 1})
	for failed, want := range [][2]time.Duration{
		{500 * time.Millisecond, 1500 * time.Millisecond}, {time.Second, 3 * time.Second}, {2 * time.Second, 5 * time.Second}, {4 * time.Second, 5 * time.Second},
	} {
		low, high := time.Hour, time.Duration(0)
		for range 1000 {
			d := w.backoff(failed)
			low, high = min(low, d), max(high, d)
		}
		if span := (want[1] - want[0]) / 10; low < want[0] || high > want[1] || low > want[0]+span || high < want[1]-span {
			t.Errorf("backoff(%d) is between %v and %v, want %v and %v", failed, low, high, want[0], want[1])
		}
	}
}
