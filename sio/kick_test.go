package sio_test

import (
	"testing"

	"github.com/sioedge/sioedge/sio"
)

// A handler that disconnects its socket sees nothing more of it, whatever its
// client has sent in the meantime. So does Node.
func TestNoHandlerRunsAfterDisconnect(t *testing.T) {
	gate, left := make(chan struct{}), make(chan sio.Reason, 1)
	srv := simulate(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		sio.On(ns, "kick", func(s sio.Socket, closing bool) error {
			<-gate
			s.Disconnect(sio.DisconnectOptions{Conn: closing})
			return nil
		})
		ns.Handle("x", func(sio.Socket, *sio.Msg) error { t.Error("the handler of x ran"); return nil })
		ns.OnDisconnect(func(_ sio.Socket, r sio.Reason) { left <- r })
		echo(srv.Of("/a"))
	})
	for i := range 20 {
		c := srv.join("40/a,")
		c.join("40")
		c.send([]string{`42["kick",false]`, `42["kick",true]`}[i%2], `42["x"]`, `421["x"]`)
		c.quiet("/a,") // they wait
		gate <- struct{}{}
		if i%2 == 1 {
			c.expect("41/a,")
		}
		c.expect("41")
		if r := take(t, left); r != sio.ServerDisconnect {
			t.Errorf("the reason is %q, want %q", r, sio.ServerDisconnect)
		}
	}
}

func TestNoInlineHandlerRunsAfterDisconnect(t *testing.T) {
	st := newStage(t, sio.Options{})
	st.ns.HandleInline("kick", func(s sio.Socket, _ *sio.Msg) error { s.Disconnect(sio.DisconnectOptions{}); return nil })
	st.ns.HandleInline("x", func(sio.Socket, *sio.Msg) error { t.Error("the handler of x ran"); return nil })
	x := st.enter(0)
	x.send(`42["kick"]`, `42["x"]`)
	x.expect("41")
}
