package loop

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A loop that seldom has something to do sleeps in Go's poller, where its input, its timers
// and what is posted wake it; a busy one does not.
func TestWhoSeldomHasSomethingToDoDozes(t *testing.T) {
	for _, keep := range []bool{false, true} {
		e, a := start(t, &hooks{data: echo}, Options{Loops: 1, KeepProcessors: keep}, "127.0.0.1:0")
		l, c := e.Loops()[0], dial(t, a)
		dozes := func() (n int64, open bool) {
			l.Ask(func() { n, open = l.doze.dozes, l.doze.file != nil })
			return n, open
		}
		before, _ := dozes()
		for i := range 30 {
			time.Sleep(time.Duration(i%10) * time.Millisecond)
			if _, err := c.Write([]byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
			readN(t, c, 1)
			fired := make(chan struct{})
			l.Ask(func() { l.Schedule(new(Timer), 3*time.Millisecond, func() { close(fired) }) })
			<-fired
		}
		after, _ := dozes()
		if after == before {
			t.Errorf("KeepProcessors %v: it has not dozed", keep)
		}
		// One that is busy until it is seen to be.
		for busy, end := false, time.Now().Add(time.Minute); !busy; {
			if time.Now().After(end) {
				t.Fatalf("KeepProcessors %v: it dozes though it is busy", keep)
			}
			for range 100 {
				if _, err := c.Write([]byte{1}); err != nil {
					t.Fatal(err)
				}
				readN(t, c, 1)
			}
			_, open := dozes()
			busy = !open
		}
	}
}

// What a dozer has opened it closes, with its loop and before.
func TestDozersCloseWhatTheyOpen(t *testing.T) {
	descriptors := func() int {
		all, err := filepath.Glob("/proc/self/fd/*")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	before := descriptors()
	for range 20 {
		t.Run("", func(t *testing.T) { // its end is the loops'
			_, a := start(t, &hooks{data: echo}, Options{Loops: 2}, "127.0.0.1:0")
			c := dial(t, a)
			if _, err := c.Write([]byte{1}); err != nil {
				t.Fatal(err)
			}
			readN(t, c, 1)
		})
	}
	if after := descriptors(); after > before+2 {
		t.Errorf("%d descriptors are open, %d before", after, before)
	}
}

// A poller that Go's does not take is waited for as before.
func TestADozerThatIsRefused(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var d dozer
	defer d.close()
	for range 2 {
		if _, _, ok := d.sleep(int(f.Fd()), nil, 0, 10); ok {
			t.Error("it has slept on a plain file")
		}
	}
	if !d.deaf {
		t.Error("it would try again")
	}
}
