package loop

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// hooks is a handler of functions; a nil one does nothing (Data: consumes all).
type hooks struct {
	open    func(c Conn)
	data    func(c Conn, b []byte) int
	drained func(c Conn)
	close   func(c Conn, err error)
}

func (h *hooks) Open(c Conn) {
	if h.open != nil {
		h.open(c)
	}
}

func (h *hooks) Data(c Conn, b []byte) int {
	if h.data != nil {
		return h.data(c, b)
	}
	return len(b)
}

func (h *hooks) Drained(c Conn) {
	if h.drained != nil {
		h.drained(c)
	}
}

func (h *hooks) Close(c Conn, err error) {
	if h.close != nil {
		h.close(c, err)
	}
}

func echo(c Conn, b []byte) int { c.Write(b); return len(b) }

// lines is a Data function that echoes whole lines and leaves the rest.
func lines(c Conn, b []byte) int {
	n := bytes.LastIndexByte(b, '\n') + 1
	c.Write(b[:n])
	return n
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func newSim(h Handler, o Options) *Sim {
	if o.Loops == 0 {
		o.Loops = 1
	}
	o.Logger = quiet
	return NewSim(h, o)
}

// start runs an engine that listens at addr until the test ends.
func start(t *testing.T, h Handler, o Options, addr string) (*Engine, net.Addr) {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet
	}
	e, err := New(h, o)
	if err != nil {
		t.Fatal(err)
	}
	a, err := e.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	run(t, e)
	return e, a
}

// run runs an engine until the test ends.
func run(t *testing.T, e *Engine) {
	t.Helper()
	ran := make(chan error, 1)
	go func() { ran <- e.Run(context.Background()) }()
	e.Loops()[0].Ask(func() {}) // until it runs
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = e.Shutdown(ctx)
		if err := <-ran; err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
		if n := e.live.Load(); n != 0 {
			t.Errorf("%d connections live after Run, want 0", n)
		}
		checkGauges(t, e)
	})
}

// checkGauges checks what must be zero when no connection is left.
func checkGauges(t *testing.T, e *Engine) {
	t.Helper()
	if s := e.Stats(); s.Open != 0 || s.Queued != 0 || s.Held != 0 || s.Entries != 0 {
		t.Errorf("Stats() = %+v, want 0 open, queued and held", s)
	}
	for _, l := range e.loops {
		if n := l.conns.Len(); n != 0 {
			t.Errorf("loop %d has %d records, want 0", l.index, n)
		}
		if used := len(l.exts) - 1 - len(l.freeExts); used != 0 {
			t.Errorf("loop %d has %d exts in use, want 0", l.index, used)
		}
	}
}

func dial(t testing.TB, a net.Addr) net.Conn {
	t.Helper()
	c, err := net.DialTimeout(a.Network(), a.String(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func readN(t *testing.T, c net.Conn, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if m, err := io.ReadFull(c, b); err != nil {
		t.Fatalf("read %d of %d bytes: %v", m, n, err)
	}
	return b
}

// noise returns n bytes that do not repeat.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

// journal collects what happened, in order, from any goroutine.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(s string) {
	j.mu.Lock()
	j.lines = append(j.lines, s)
	j.mu.Unlock()
}

func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.lines
	j.lines = nil
	return s
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
