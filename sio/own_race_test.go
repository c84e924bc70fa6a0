//go:build race

package sio_test

import (
	"testing"

	"github.com/sioedge/sioedge/sio"
)

// What belongs to a loop is checked where it is entered.
func TestUseOfAShardOnAnotherGoroutinePanics(t *testing.T) {
	srv := serve(t, sio.Options{}, func(srv *sio.Server) { echo(srv.Of("/")) })
	joined := sockets(srv.Of("/"))
	srv.join("40")
	s := take(t, joined)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a look at a socket's record on the test's goroutine returned, want a panic")
			}
		}()
		s.Slot()
	}()
	if !s.Connected() {
		t.Error("the socket is gone")
	}
}
