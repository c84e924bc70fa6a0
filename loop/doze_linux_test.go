package loop

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A loop that seldom has something to do sleeps in Go's poller, where its input, its timers
// and what is posted wake it; a busy one does not.
func TestWhoSeldomHasSomethingToDoDozes(t *testing.T) {
	for _, keep := range []bool{false, true} {
		e, a := start(t, &hooks{data: echo}, Options{Loops: 1, KeepProcessors: keep}, "127.0.0.1:0")
		l, c := e.Loops()[0], dial(t, a)
		dozes := func() (n int64) {
			l.Ask(func() { n = l.doze.dozes })
			return n
		}
		before := dozes()
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
		if dozes() == before {
			t.Errorf("KeepProcessors %v: it has not dozed", keep)
		}
		// One that is busy does so no more.
		for busy, end := false, time.Now().Add(time.Minute); !busy; {
			if time.Now().After(end) {
				t.Fatalf("KeepProcessors %v: it dozes though it is busy", keep)
			}
			before = dozes()
			for range 100 {
				if _, err := c.Write([]byte{1}); err != nil {
					t.Fatal(err)
				}
				readN(t, c, 1)
			}
			busy = dozes() == before
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

// What comes while the loop runs does not get through the door: nobody else is woken.
func TestTheDoorIsShutWhileTheLoopRuns(t *testing.T) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(epoll)
	bell, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(bell)
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, bell, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		t.Fatal(err)
	}
	var d dozer
	defer d.close()
	ring := func() {
		if _, err := unix.Write(bell, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
			t.Error(err)
		}
	}
	events := make([]unix.EpollEvent, 4)
	for range 3 {
		time.AfterFunc(10*time.Millisecond, ring)
		if !d.sleep(epoll, 0, -1) {
			t.Fatal("it has not slept")
		}
		ring()
		if n, _ := poll(d.door, events); n != 0 {
			t.Error("what comes meanwhile gets through")
		}
		if n, errno := poll(epoll, events); n != 1 || errno != 0 {
			t.Errorf("%d events, %v", n, errno)
		}
		if _, err := unix.Read(bell, make([]byte, 8)); err != nil {
			t.Error(err)
		}
		if !d.sleep(epoll, time.Now().UnixNano(), 5) || d.until != -1 {
			t.Errorf("it ended before its time: %+v", d)
		}
		ring()
		if n, _ := poll(d.door, events); n != 0 {
			t.Error("what comes behind the time gets through")
		}
		if _, err := unix.Read(bell, make([]byte, 8)); err != nil {
			t.Error(err)
		}
	}
}

// What is no epoll is waited for as before.
func TestADozerThatIsRefused(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var d dozer
	for range 2 {
		if d.sleep(int(f.Fd()), 0, 10) {
			t.Error("it has slept on a plain file")
		}
	}
	if !d.deaf || d.file != nil {
		t.Error("it would try again, or holds what it has opened")
	}
}
