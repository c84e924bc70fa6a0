package loop

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whatever had input not be read, it is read when that is over, and so is the end of the
// stream behind it.
func TestInputThatWaitedIsRead(t *testing.T) {
	const buffer = 4 << 10
	big := noise(maxReads*buffer + 1234) // more than is read in a step
	for name, c := range map[string]struct {
		send []byte
		prep func(c Conn) // at Open, on the loop
		on   func(c Conn) // at the first Data
		then func(c Conn) // later, on the loop
	}{
		"much":                   {send: big},
		"paused before":          {send: []byte("abc"), prep: Conn.PauseRead, then: Conn.ResumeRead},
		"paused at the first":    {send: big, on: Conn.PauseRead, then: Conn.ResumeRead},
		"held back":              {send: big, on: func(c Conn) { c.HoldData(true) }, then: func(c Conn) { c.HoldData(false) }},
		"moved at the first":     {send: big, on: func(c Conn) { c.Move(c.Loop().Engine().Loops()[1-c.Loop().Index()]) }},
		"paused, and then moved": {send: big, prep: Conn.PauseRead, then: func(c Conn) { c.ResumeRead(); c.Move(c.Loop().Engine().Loops()[1-c.Loop().Index()]) }},
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer // of one loop after the other
			opened, ended := make(chan Conn, 2), make(chan error, 2)
			first, here := true, true
			h := &hooks{
				open: func(x Conn) {
					if here && c.prep != nil {
						c.prep(x)
					}
					here = false // not in the loop that it moves to
					opened <- x
				},
				data: func(x Conn, b []byte) int {
					got.Write(b)
					if first && c.on != nil {
						c.on(x)
					}
					first = false
					return len(b)
				},
				close: func(_ Conn, err error) {
					if err != ErrMoved {
						ended <- err
					}
				},
			}
			_, a := start(t, h, Options{Loops: 2, ReadBuffer: buffer}, "127.0.0.1:0")
			nc := dial(t, a)
			x := <-opened
			// All of it, and the end, is there before it is read from again.
			go func() {
				_, _ = nc.Write(c.send)
				_ = nc.(*net.TCPConn).CloseWrite()
			}()
			if c.then != nil {
				eventually(t, "all of it waits", func() bool {
					whole := false
					x.Loop().Ask(func() {
						r := x.record()
						begun := c.on == nil || got.Len() > 0
						whole = begun && pollNow(r.fd, pollPeerEnd) != 0 && got.Len()+inputOf(x) == len(c.send)
					})
					return whole
				})
				x.Loop().Post(TaskFunc(func(*Loop) { c.then(x) }))
			}
			select {
			case err := <-ended:
				if err != io.EOF {
					t.Errorf("it ended with %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("the end of the stream was not read")
			}
			if !bytes.Equal(got.Bytes(), c.send) {
				t.Errorf("%d bytes were read, want %d", got.Len(), len(c.send))
			}
		})
	}
}

// inputOf returns how much of what has come is not read, also of what the loop keeps.
func inputOf(c Conn) int {
	r := c.record()
	n, _ := unix.IoctlGetInt(int(r.fd), unix.SIOCINQ)
	if r.ext != 0 {
		n += len(c.l.exts[r.ext].carry)
	}
	return n
}

// Urgent data ends a read early: what is behind it is read too.
func TestWhatIsBehindUrgentDataIsRead(t *testing.T) {
	got := make(chan byte, 16)
	_, a := start(t, &hooks{data: func(_ Conn, b []byte) int {
		for _, x := range b {
			got <- x
		}
		return len(b)
	}}, Options{Loops: 1}, "127.0.0.1:0")
	nc := dial(t, a).(*net.TCPConn)
	rc, err := nc.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = rc.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, 1)
		_ = unix.Sendto(int(fd), []byte("ab"), unix.MSG_OOB, nil)
		_ = unix.Sendto(int(fd), []byte("cd"), 0, nil)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, 0)
	})
	for _, want := range []byte("abcd") {
		select {
		case x := <-got:
			if x != want {
				t.Fatalf("read %q, want %q", x, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%q was not read", want)
		}
	}
}

// A turn is one wait for the poller. A loop that keeps its processor makes way for goroutines
// now and then where they have one of their own, and each turn where they have not.
func TestTurnsMakeWay(t *testing.T) {
	for _, spare := range []bool{true, false} {
		before := runtime.GOMAXPROCS(1)
		t.Cleanup(func() { runtime.GOMAXPROCS(before) })
		if spare {
			runtime.GOMAXPROCS(3)
		}
		var ran atomic.Int64
		h := &hooks{data: func(c Conn, b []byte) int {
			go ran.Add(1)
			c.Loop().Yield()
			c.Write(b)
			return len(b)
		}}
		e, a := start(t, h, Options{Loops: 1, KeepProcessors: true}, "127.0.0.1:0")
		nc := dial(t, a)
		l := e.Loops()[0]
		var yields, began int64
		l.Ask(func() { yields, began = l.yields, e.nowNs() })
		const n = 200
		for range n {
			if _, err := nc.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			readN(t, nc, 1)
		}
		eventually(t, "what was begun runs", func() bool { return ran.Load() == n })
		var most int64
		l.Ask(func() { yields, most = l.yields-yields, (e.nowNs()-began)/(keepFor*int64(time.Millisecond))+2 })
		switch {
		case spare && yields > most:
			t.Errorf("it has made way %d times for %d turns, want %d at most in this time", yields, n, most)
		case !spare && yields < n/2: // in some a scheduler that ran out of patience did
			t.Errorf("it has made way %d times for %d turns, none of which leaves a processor", yields, n)
		}
	}
}

// Work that is left when the sockets have been served is gone on with, a slice a round,
// without a signal, and sockets are served between two slices.
func TestWorkIsGoneOnWithUnsignalled(t *testing.T) {
	const slices = 50
	var l *Loop
	left, served := 0, 0
	h := &hooks{data: func(c Conn, b []byte) int {
		if left > 0 {
			served++
		} else {
			left = slices
			l.NeedWork()
		}
		c.Write(b)
		return len(b)
	}}
	for _, keep := range []bool{true, false} {
		e, a := start(t, h, Options{Loops: 1, KeepProcessors: keep}, "127.0.0.1:0")
		l = e.Loops()[0]
		done := make(chan bool, 1)
		nc := dial(t, a)
		l.Ask(func() {
			left, served = 0, 0
			l.OnWork(func() bool {
				if left--; left == slices/2 { // what comes meanwhile does not wait for the end
					_, _ = nc.Write([]byte("y"))
					eventually(t, "it has come", func() bool { return pollNow(l.conns.At(1).fd, unix.POLLIN) != 0 })
				}
				if left == 0 {
					done <- served == 1
				}
				return left > 0
			})
		})
		before := e.Stats()
		if _, err := nc.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if !<-done {
			t.Error("a socket was not served between two slices")
		}
		readN(t, nc, 2)
		if n := e.Stats().Wakes - before.Wakes; n > 1 { // Stats itself
			t.Errorf("keep %t: the loop was signalled %d times, want none", keep, n)
		}
	}
}
