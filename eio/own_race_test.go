//go:build race

package eio

import (
	"testing"

	"github.com/sioedge/sioedge/loop/http1"
)

// TestUseOnAnotherGoroutinePanics: a session is its loop's, which is checked at
// every entry.
func TestUseOnAnotherGoroutinePanics(t *testing.T) {
	opened := make(chan Session, 1)
	m, addr := start(t, &hooks{open: func(s Session, _ *http1.Request) { opened <- s }}, Options{}, 1)
	w := dial(t, addr)
	w.must(wsRequest("EIO=4&transport=websocket"), 101)
	s := <-opened
	l := s.Loop()
	for name, f := range map[string]func(){
		"Valid":     func() { s.Valid() },
		"Send":      func() { s.Send(AppendText(nil, []byte("x"))) },
		"SetUser":   func() { s.SetUser(1) },
		"PauseRead": func() { s.PauseRead() },
		"Close":     func() { s.Close() },
		"Lookup":    func() { m.Lookup(l, s.Ref()) },
		"Count":     func() { m.Count(l) },
		"CloseAll":  func() { m.CloseAll(l) },
		"LoopStats": func() { m.LoopStats(l) },
		"Loads":     func() { m.Loads(l, 0, 0, nil) },
		"Snapshot":  func() { _, _ = s.Snapshot() },
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
	_, _ = s.Ref(), s.ID() // anybody may
	l.Ask(func() { s.Close() })
}
