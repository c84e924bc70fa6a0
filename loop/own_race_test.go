//go:build race

package loop

import "testing"

func TestUseOnAnotherGoroutinePanics(t *testing.T) {
	opened := make(chan Conn, 1)
	e, a := start(t, &hooks{open: func(c Conn) { opened <- c }}, Options{Loops: 1}, "127.0.0.1:0")
	dial(t, a)
	c := <-opened
	for name, f := range map[string]func(){
		"Write":    func() { c.Write([]byte("x")) },
		"Close":    func() { c.Close() },
		"Schedule": func() { e.Loops()[0].Schedule(new(Timer), 1, func() {}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s on the test's goroutine returned, want a panic", name)
				}
			}()
			f()
		}()
	}
	e.Loops()[0].Ask(func() { c.Write([]byte("x")) })
}
