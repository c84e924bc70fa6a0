package loop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSocketEcho(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "tcp://localhost:0", ":0", "unix:" + filepath.Join(t.TempDir(), "s")} {
		t.Run(addr, func(t *testing.T) {
			e, a := start(t, &hooks{data: lines}, Options{Loops: 2}, addr)
			var wg sync.WaitGroup
			for range 20 {
				c := dial(t, a)
				wg.Add(1)
				go func() {
					defer wg.Done()
					want := []byte("first\nsecond\n")
					for _, b := range [][]byte{want[:3], want[3:8], want[8:]} {
						_, _ = c.Write(b)
					}
					if got := readN(t, c, len(want)); !bytes.Equal(got, want) {
						t.Errorf("echo = %q, want %q", got, want)
					}
				}()
			}
			wg.Wait()
			eventually(t, "20 are accepted", func() bool { return e.Stats().Accepted == 20 })
		})
	}
}

func TestRemoteAddr(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", ":0"} {
		got := make(chan netip.AddrPort, 1)
		_, a := start(t, &hooks{open: func(c Conn) { got <- c.RemoteAddr() }}, Options{Loops: 1}, addr)
		c, err := net.Dial("tcp4", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(a.(*net.TCPAddr).Port)).String())
		if err != nil {
			t.Fatal(err)
		}
		if g, want := <-got, c.LocalAddr().String(); g.String() != want {
			t.Errorf("listening on %s: RemoteAddr() = %v, want %s", addr, g, want)
		}
		_ = c.Close()
	}
}

// Who has just been accepted is known without a system call, also when there have been many,
// and places of connections that have gone are used again.
func TestWhoIsAcceptedIsKnown(t *testing.T) {
	type peer struct {
		addr  netip.AddrPort
		known bool
	}
	got := make(chan peer, 1)
	ask := func(c Conn) {
		_, known := c.l.recent.get(c)
		got <- peer{c.RemoteAddr(), known}
	}
	_, a := start(t, &hooks{open: ask, data: func(c Conn, b []byte) int { ask(c); return len(b) }}, Options{Loops: 1}, "127.0.0.1:0")
	var all []net.Conn
	for i := range 300 {
		c := dial(t, a)
		if g := <-got; g.addr.String() != c.LocalAddr().String() || !g.known {
			t.Fatalf("the address of %v is %v, known without asking: %v", c.LocalAddr(), g.addr, g.known)
		}
		if i%3 == 0 {
			_ = c.Close()
			continue
		}
		all = append(all, c)
	}
	asked := 0
	for _, c := range all {
		if _, err := c.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		g := <-got
		if g.addr.String() != c.LocalAddr().String() {
			t.Errorf("the address of %v is %v", c.LocalAddr(), g.addr)
		}
		if !g.known {
			asked++
		}
	}
	if asked == 0 {
		t.Error("all are kept for ever")
	}
}

const big = 8 << 20

func TestLargeTransferToThePeer(t *testing.T) {
	want := noise(big)
	_, a := start(t, &hooks{data: func(c Conn, b []byte) int {
		for rest := want; len(rest) > 0; {
			n := min(len(rest), 100_001)
			c.WriteShared(rest[:n])
			rest = rest[n:]
		}
		return len(b)
	}}, Options{MaxOutbound: 2 * big}, "127.0.0.1:0")
	c := dial(t, a)
	_, _ = c.Write([]byte("x"))
	if !bytes.Equal(readN(t, c, big), want) {
		t.Fatal("what arrived is not what was written")
	}
}

func TestLargeEcho(t *testing.T) {
	var drained atomic.Int64
	_, a := start(t, &hooks{data: echo, drained: func(Conn) { drained.Add(1) }}, Options{}, "127.0.0.1:0")
	c := dial(t, a)
	want := noise(big)
	go func() { _, _ = c.Write(want) }()
	time.Sleep(50 * time.Millisecond) // so that the queue passes SoftOutbound
	if !bytes.Equal(readN(t, c, big), want) {
		t.Fatal("the echo is not what was sent")
	}
	if drained.Load() == 0 {
		t.Error("Drained was not called, want reading to have paused")
	}
}

func TestSocketWithTooMuchQueuedIsClosed(t *testing.T) {
	reason := make(chan error, 1)
	e, a := start(t, &hooks{
		data: func(c Conn, b []byte) int {
			var tm Timer
			var more func()
			more = func() {
				if c.Valid() {
					c.Write(make([]byte, 30_000))
					c.Loop().Schedule(&tm, 0, more)
				}
			}
			more()
			return len(b)
		},
		close: func(_ Conn, err error) { reason <- err },
	}, Options{Loops: 1, RecvBuffer: 4096, MaxOutbound: 256 << 10}, "127.0.0.1:0")
	c := dial(t, a)
	_ = c.(*net.TCPConn).SetReadBuffer(4096)
	_, _ = c.Write([]byte("x"))
	if err := <-reason; !errors.Is(err, ErrQueueFull) {
		t.Fatalf("Close(%v), want ErrQueueFull", err)
	}
	eventually(t, "it is counted", func() bool { return e.Stats().Closes.Full == 1 })
}

func TestSocketThatTakesNothingIsClosed(t *testing.T) {
	reason := make(chan error, 1)
	e, a := start(t, &hooks{
		data:  func(c Conn, b []byte) int { c.WriteShared(make([]byte, big)); return len(b) },
		close: func(_ Conn, err error) { reason <- err },
	}, Options{Loops: 1, SlowAfter: 50 * time.Millisecond}, "127.0.0.1:0")
	c := dial(t, a)
	_, _ = c.Write([]byte("x"))
	if err := <-reason; !errors.Is(err, ErrSlowPeer) {
		t.Fatalf("Close(%v), want ErrSlowPeer", err)
	}
	eventually(t, "it is counted", func() bool { return e.Stats().Closes.Slow == 1 })
}

func TestGracefulCloseDeliversEverything(t *testing.T) {
	want := noise(big)
	_, a := start(t, &hooks{data: func(c Conn, b []byte) int {
		c.WriteShared(want)
		c.Close()
		return len(b)
	}}, Options{Loops: 1}, "127.0.0.1:0")
	c := dial(t, a)
	// Input that is never consumed would make close(2) reset the connection.
	go func() { _, _ = c.Write(make([]byte, 1<<20)) }()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes and %v, want %d and the end", len(got), err, big)
	}
}

func TestHalfClosedPeerGetsItsAnswer(t *testing.T) {
	want := noise(big)
	_, a := start(t, &hooks{data: func(c Conn, b []byte) int {
		c.WriteShared(want)
		return len(b)
	}}, Options{Loops: 1}, "127.0.0.1:0")
	c := dial(t, a)
	_, _ = c.Write([]byte("x"))
	_ = c.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes and %v, want %d and the end", len(got), err, big)
	}
}

func TestAbortedSocket(t *testing.T) {
	_, a := start(t, &hooks{data: func(c Conn, b []byte) int { c.Abort(); return len(b) }}, Options{Loops: 1}, "127.0.0.1:0")
	c := dial(t, a)
	_, _ = c.Write([]byte("x"))
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Fatalf("read %d bytes, want an end", n)
	}
}

func TestResetIsNoticed(t *testing.T) {
	reason := make(chan error, 1)
	_, a := start(t, &hooks{close: func(_ Conn, err error) { reason <- err }}, Options{Loops: 1}, "127.0.0.1:0")
	c := dial(t, a)
	_, _ = c.Write([]byte("x"))
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
	if err := <-reason; err == nil {
		t.Fatal("Close(nil), want an error")
	}
}

func TestPausedSocketWaits(t *testing.T) {
	opened := make(chan Conn, 1)
	var read atomic.Int64
	e, a := start(t, &hooks{
		open: func(c Conn) { c.PauseRead(); opened <- c },
		data: func(_ Conn, b []byte) int { read.Add(int64(len(b))); return len(b) },
	}, Options{Loops: 1}, "127.0.0.1:0")
	c := dial(t, a)
	conn := <-opened
	_, _ = c.Write(make([]byte, 1000))
	l := e.Loops()[0]
	time.Sleep(20 * time.Millisecond)
	for range 3 {
		l.Ask(func() {})
	}
	if n := read.Load(); n != 0 {
		t.Fatalf("%d bytes read while paused, want 0", n)
	}
	l.Ask(conn.ResumeRead)
	eventually(t, "1000 bytes are read", func() bool { return read.Load() == 1000 })
}

// A reset is told of also if the peer has sent more before it than was read, and
// reading is paused; that a peer has ended its direction alone is none.
func TestResetIsToldOfWhilePaused(t *testing.T) {
	opened := make(chan Conn, 1)
	e, a := start(t, &hooks{open: func(c Conn) { c.PauseRead(); opened <- c }}, Options{Loops: 1}, "127.0.0.1:0")
	c := dial(t, a)
	conn, l := <-opened, e.Loops()[0]
	reset := func() (is bool) {
		l.Ask(func() { is = conn.Reset() })
		return is
	}
	_, _ = c.Write(make([]byte, 1000))
	_ = c.(*net.TCPConn).CloseWrite()
	time.Sleep(20 * time.Millisecond)
	if reset() {
		t.Error("a peer that reads on counts as one that has reset the connection")
	}
	_ = c.Close()
	l.Ask(func() { conn.Write([]byte("x")) }) // which is answered with a reset
	eventually(t, "the reset is told of", func() bool { return reset() || !conn.Valid() })
	l.Ask(func() {
		if !conn.Valid() {
			t.Error("the loop has ended the connection, want the question to be asked first")
		}
	})
}

func TestMoveBetweenRealLoops(t *testing.T) {
	want := noise(big)
	_, a := start(t, &hooks{data: func(c Conn, b []byte) int {
		// Each whole block is echoed, and the connection goes to the next loop.
		const block = 1 << 10
		if len(b) < block {
			return 0
		}
		c.Write(b[:block])
		loops := c.Loop().Engine().Loops()
		c.Move(loops[(c.Loop().Index()+1)%len(loops)])
		return block
	}}, Options{Loops: 3, MaxOutbound: 2 * big, SoftOutbound: big}, "127.0.0.1:0")
	c := dial(t, a)
	go func() { _, _ = c.Write(want) }()
	if !bytes.Equal(readN(t, c, big), want) {
		t.Fatal("the echo is not what was sent")
	}
}

func TestAdopt(t *testing.T) {
	e, _ := start(t, &hooks{data: lines}, Options{}, "127.0.0.1:0")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	c := dial(t, ln.Addr())
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Adopt(nc, []byte("buffered\npar")); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Write([]byte("x")); err == nil {
		t.Error("the adopted net.Conn can be written, want it closed")
	}
	_, _ = c.Write([]byte("tial\n"))
	if got, want := string(readN(t, c, 17)), "buffered\npartial\n"; got != want {
		t.Errorf("echo = %q, want %q", got, want)
	}
	if a, b := net.Pipe(); e.Adopt(a, nil) == nil {
		t.Error("Adopt(pipe) = nil, want an error")
	} else {
		_, _ = a.Close(), b.Close()
	}
}

func TestShutdownFlushes(t *testing.T) {
	want := noise(1 << 20)
	e, a := start(t, &hooks{open: func(c Conn) { c.WriteShared(want) }}, Options{Loops: 2}, "127.0.0.1:0")
	var conns []net.Conn
	for range 10 {
		conns = append(conns, dial(t, a))
	}
	eventually(t, "10 are open", func() bool { return e.Stats().Open == 10 })
	done := make(chan error, 1)
	go func() { done <- e.Shutdown(context.Background()) }()
	for i, c := range conns {
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
			t.Errorf("connection %d read %d bytes and %v, want %d and the end", i, len(got), err, len(want))
		}
		_ = c.Close()
	}
	if err := <-done; err != nil {
		t.Errorf("Shutdown() = %v, want nil", err)
	}
	if c, err := net.Dial(a.Network(), a.String()); err == nil {
		_ = c.Close()
		t.Error("a connection was accepted after Shutdown")
	}
}

func TestShutdownCutsAtTheDeadline(t *testing.T) {
	closed := make(chan error, 1)
	e, a := start(t, &hooks{
		open:  func(c Conn) { c.WriteShared(make([]byte, big)) },
		close: func(_ Conn, err error) { closed <- err },
	}, Options{Loops: 1, LingerTimeout: time.Hour}, "127.0.0.1:0")
	dial(t, a)
	eventually(t, "it is open", func() bool { return e.Stats().Open == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := e.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown() = %v, want DeadlineExceeded", err)
	}
	if err := <-closed; err != ErrClosed {
		t.Errorf("Close(%v), want ErrClosed", err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	var closes atomic.Int64
	e, err := New(&hooks{close: func(Conn, error) { closes.Add(1) }}, Options{Loops: 2, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	a, err := e.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error)
	go func() { ran <- e.Run(ctx) }()
	for range 5 {
		dial(t, a)
	}
	eventually(t, "5 are open", func() bool { return e.Stats().Open == 5 })
	cancel()
	if err := <-ran; err != nil || closes.Load() != 5 {
		t.Fatalf("Run() = %v after %d closes, want nil after 5", err, closes.Load())
	}
	checkGauges(t, e)
}

func TestStopAccepting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	for _, addr := range []string{"127.0.0.1:0", "unix:" + path} {
		e, a := start(t, &hooks{data: echo}, Options{Loops: 2}, addr)
		c := dial(t, a)
		eventually(t, "it is open", func() bool { return e.Stats().Open == 1 })
		if err := e.StopAccepting(context.Background()); err != nil {
			t.Errorf("StopAccepting() = %v", err)
		}
		if c, err := net.Dial(a.Network(), a.String()); err == nil {
			_ = c.Close()
			t.Errorf("%s: accepted after StopAccepting", addr)
		}
		_, _ = c.Write([]byte("x"))
		if got := string(readN(t, c, 1)); got != "x" {
			t.Errorf("%s: echo = %q, want x", addr, got)
		}
	}
	if _, err := os.Lstat(path); err == nil {
		t.Errorf("%s exists after StopAccepting", path)
	}
}

func TestUnixPaths(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	e, err := New(&hooks{}, Options{Loops: 1, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Shutdown(context.Background()) }()
	if _, err := e.Listen("unix:" + path); err == nil {
		t.Error("Listen on a path in use = nil, want an error")
	}
	_ = stale.Close()
	if _, err := e.Listen("unix://" + path); err != nil {
		t.Errorf("Listen on a path left behind = %v, want nil", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Listen("unix:" + file); err == nil {
		t.Error("Listen on a file = nil, want an error")
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file holds %q, %v, want it as it was", b, err)
	}
}

// A unix socket has the permissions that its address names, whatever the umask.
func TestUnixMode(t *testing.T) {
	for _, mode := range []os.FileMode{0o600, 0o660, 0o777} {
		path := filepath.Join(t.TempDir(), "sock")
		start(t, &hooks{data: echo}, Options{Loops: 1}, fmt.Sprintf("unix:%s?mode=%#o", path, mode))
		st, err := os.Lstat(path)
		if err != nil || st.Mode().Perm() != mode {
			t.Errorf("the mode is %v (%v), want %v", st.Mode().Perm(), err, mode)
		}
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte("x"))
		if got := string(readN(t, c, 1)); got != "x" {
			t.Errorf("echo = %q, want x", got)
		}
		_ = c.Close()
	}
	e, err := New(&hooks{}, Options{Loops: 1, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Shutdown(context.Background()) }()
	for _, addr := range []string{"?mode=", "?mode=rw", "?mode=0", "?mode=1777", "?mode=0660&x=1", "?x", "?"} {
		path := filepath.Join(t.TempDir(), "sock")
		if _, err := e.Listen("unix:" + path + addr); err == nil {
			t.Errorf("Listen(unix:…%s) = nil, want an error", addr)
		}
	}
}

func TestListenTwiceIsAnError(t *testing.T) {
	_, a := start(t, &hooks{}, Options{Loops: 2}, "127.0.0.1:0")
	e, err := New(&hooks{}, Options{Loops: 2, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Shutdown(context.Background()) }()
	if _, err := e.Listen(a.String()); err == nil {
		t.Errorf("Listen(%v) a second time = nil, want an error", a)
	}
	for _, bad := range []string{"nonsense", "127.0.0.1:99999", "unix:/nonexistent/dir/s"} {
		if _, err := e.Listen(bad); err == nil {
			t.Errorf("Listen(%q) = nil, want an error", bad)
		}
	}
}

func TestMaxConnsPausesAccepting(t *testing.T) {
	e, a := start(t, &hooks{data: echo}, Options{Loops: 2, MaxConns: 3}, "127.0.0.1:0")
	var conns []net.Conn
	for range 6 {
		conns = append(conns, dial(t, a))
	}
	eventually(t, "3 are open and accepting pauses", func() bool {
		s := e.Stats()
		return s.Open == 3 && s.AcceptPauses > 0
	})
	for served := 0; served < 6; {
		for i, c := range conns {
			if c == nil {
				continue
			}
			_, _ = c.Write([]byte("x"))
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			if _, err := c.Read(make([]byte, 1)); err == nil {
				_ = c.Close()
				conns[i] = nil
				served++
			}
		}
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{Loops: -1}, {Loops: 257}, {ReadBuffer: -1}, {MaxConns: -1}} {
		if e, err := New(&hooks{}, o); err == nil {
			t.Errorf("New(%+v) = %v, nil, want an error", o, e)
		}
	}
}

// TestNothingIsLeftBehind counts descriptors and goroutines around the life of
// engines with connections in every state.
func TestNothingIsLeftBehind(t *testing.T) {
	life := func() {
		e, err := New(&hooks{data: func(c Conn, b []byte) int {
			switch b[0] {
			case 'c':
				c.Close()
			case 'a':
				c.Abort()
			case 'm':
				c.Move(c.Loop().Engine().Loops()[1-c.Loop().Index()])
			case 'w':
				c.WriteShared(make([]byte, big))
			}
			return len(b)
		}}, Options{Loops: 2, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		a, err := e.Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ran := make(chan error)
		go func() { ran <- e.Run(ctx) }()
		for _, what := range []string{"c", "a", "m", "w", "x", "cc"} {
			c := dial(t, a)
			_, _ = c.Write([]byte(what))
			if what == "x" {
				_ = c.Close()
			}
			defer func() { _ = c.Close() }()
		}
		eventually(t, "6 are accepted and 3 closed", func() bool {
			s := e.Stats()
			return s.Accepted == 6 && s.Closed >= 3
		})
		cancel()
		if err := <-ran; err != nil {
			t.Fatal(err)
		}
		checkGauges(t, e)
	}
	life() // what the runtime keeps is made now
	fds, goroutines := openDescriptors(t), runtime.NumGoroutine()
	for range 5 {
		life()
	}
	eventually(t, "descriptors and goroutines are gone", func() bool {
		return openDescriptors(t) <= fds && runtime.NumGoroutine() <= goroutines
	})
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(d)
}

// TestUrgentDataDoesNotSpin sends out-of-band bytes, which the poller reports as
// long as they are there: a client must not keep a loop busy with one byte.
func TestUrgentDataDoesNotSpin(t *testing.T) {
	var turns atomic.Int64
	e, a := start(t, &hooks{data: echo}, Options{Loops: 1}, "127.0.0.1:0")
	l := e.Loops()[0]
	l.Ask(func() { l.OnTurn(func() { turns.Add(1) }) })
	c := dial(t, a)
	rc, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = rc.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil) })
	if err != nil {
		t.Fatal(err)
	}
	if got := string(readN(t, c, 1)); got != "!" {
		t.Fatalf("echo = %q, want !", got)
	}
	before := turns.Load()
	time.Sleep(50 * time.Millisecond)
	if n := turns.Load() - before; n > 20 {
		t.Fatalf("%d steps without anything to do, want a few", n)
	}
}
