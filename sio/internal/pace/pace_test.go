package pace

import (
	"context"
	"testing"
	"time"

	"github.com/sioedge/sioedge/loop"
)

// In equal steps, all end when the time is over, and not much before.
func TestShares(t *testing.T) {
	for _, test := range []struct {
		name        string
		all         int
		over, every time.Duration
		steps       int // within which all end
	}{
		{"many", 100_000, 10 * time.Second, 100 * time.Millisecond, 100},
		{"few", 7, 10 * time.Second, 100 * time.Millisecond, 2},
		{"at once", 5000, 0, 100 * time.Millisecond, 1},
		{"in one step", 5000, 50 * time.Millisecond, 100 * time.Millisecond, 1},
	} {
		left, steps, largest := test.all, 0, 0
		for at := time.Duration(0); left > 0; at += test.every {
			n := share(left, test.every, test.over-at)
			left, steps, largest = left-n, steps+1, max(largest, n)
		}
		if left != 0 || steps != test.steps {
			t.Errorf("%s: %d steps, want %d; %d are left", test.name, steps, test.steps, left)
		}
		if even := test.all/test.steps + least; largest > even {
			t.Errorf("%s: a step ends %d, want at most %d", test.name, largest, even)
		}
	}
}

type nobody struct{}

func (nobody) Open(loop.Conn)             {}
func (nobody) Data(loop.Conn, []byte) int { return 0 }
func (nobody) Drained(loop.Conn)          {}
func (nobody) Close(loop.Conn, error)     {}

// Each loop is walked to its end in portions, one that has nothing too; who waits no
// longer is told so.
func TestRun(t *testing.T) {
	e, err := loop.New(nobody{}, loop.Options{Loops: 3})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	// ends with the engine
	go func() { ran <- e.Run(context.Background()) }()
	defer func() { _ = e.Shutdown(context.Background()); <-ran }()
	left, last := []int{300, 0, 1000}, []uint32{0, 0, 0}
	err = Run(t.Context(), e.Loops(), 0, func(l *loop.Loop, at uint32, n int) (uint32, int) {
		i := l.Index()
		if at != last[i] || n > most {
			t.Errorf("loop %d is asked for %d from %d on, want at most %d from %d on", i, n, at, most, last[i])
		}
		last[i] = at + uint32(n)
		left[i] = max(left[i]-n, 0)
		return last[i], left[i]
	})
	if err != nil || left[0]+left[1]+left[2] != 0 {
		t.Errorf("Run = %v, %v are left", err, left)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = Run(ctx, e.Loops(), time.Hour, func(*loop.Loop, uint32, int) (uint32, int) { cancel(); return 0, 1000 })
	if err != context.Canceled {
		t.Errorf("Run = %v behind its context", err)
	}
}
