package loop

import (
	"bytes"
	"runtime"
	"testing"
	"time"
)

// A loop that keeps its processor while it sleeps stops neither goroutines nor the
// garbage collector, and its timers fire.
func TestKeepProcessors(t *testing.T) {
	before := runtime.GOMAXPROCS(3)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	e, a := start(t, &hooks{data: echo}, Options{Loops: 2, KeepProcessors: true}, "127.0.0.1:0")
	c := dial(t, a)
	for i := range 20 {
		runtime.GC() // stops the world, with the loops asleep
		done := make(chan struct{})
		go close(done)
		<-done
		if _, err := c.Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		if got := readN(t, c, 1); !bytes.Equal(got, []byte{byte(i)}) {
			t.Fatalf("received %x, want %x", got, i)
		}
	}
	fired := make(chan struct{})
	e.Loops()[0].Post(TaskFunc(func(l *Loop) {
		l.Schedule(new(Timer), 30*time.Millisecond, func() { close(fired); l.Yield() })
	}))
	select {
	case <-fired:
	case <-time.After(20 * time.Second):
		t.Fatal("a timer did not fire on an idle loop")
	}
}
