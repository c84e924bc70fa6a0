package loop

import (
	"context"
	"net"
	"runtime"
	"testing"
)

// A handler that ends its loop's goroutine ends the engine, and not only, without
// a word, what that loop was there for.
func TestGoexitEndsTheEngine(t *testing.T) {
	const clients = 4
	for name, exits := range map[string]func(h *hooks){
		"in Open": func(h *hooks) {
			n := 0
			h.open = func(Conn) {
				if n++; n == clients {
					runtime.Goexit()
				}
			}
		},
		"in Data": func(h *hooks) { h.data = func(Conn, []byte) int { runtime.Goexit(); return 0 } },
		"in a task": func(h *hooks) {
			h.data = func(c Conn, b []byte) int {
				c.Loop().Post(TaskFunc(func(*Loop) { runtime.Goexit() }))
				return len(b)
			}
		},
		"before others are closed": func(h *hooks) {
			var all []Conn
			h.open = func(c Conn) { all = append(all, c) }
			h.data = func(c Conn, b []byte) int {
				c.AwaitDrained()
				for _, other := range all {
					if other != c {
						other.Close()
					}
				}
				return len(b)
			}
			h.drained = func(Conn) { runtime.Goexit() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := &hooks{}
			exits(h)
			closed := make(chan error, clients+1)
			h.close = func(_ Conn, err error) { closed <- err }
			e, err := New(h, Options{Loops: 1, Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			a, err := e.Listen("127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ran := make(chan error, 1)
			go func() { ran <- e.Run(context.Background()) }()
			var peers []net.Conn
			for range clients {
				peers = append(peers, dial(t, a))
			}
			eventually(t, "all are open", func() bool { return e.Stats().Accepted == clients })
			_, _ = peers[0].Write([]byte("x"))
			if err := <-ran; err != ErrExited {
				t.Errorf("Run() = %v, want ErrExited", err)
			}
			if n := e.live.Load(); n != 0 || len(closed) != clients {
				t.Fatalf("%d connections live and %d closed, want 0 and %d", n, len(closed), clients)
			}
			for _, c := range peers {
				if err := <-closed; err != ErrClosed {
					t.Errorf("a connection was closed for %v, want ErrClosed", err)
				}
				if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
					t.Errorf("a client got %d bytes, %v, want the end", n, err)
				}
			}
			if e.Loops()[0].Ask(func() {}) {
				t.Error("the loop runs")
			}
			if err := e.Shutdown(context.Background()); err != nil {
				t.Errorf("Shutdown() = %v, want nil", err)
			}
			checkGauges(t, e)
		})
	}
}
