package bridge

import (
	"testing"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
)

// A socket that is disconnected as soon as it was accepted has been in: its client is told
// both, and so are those of the others of a connection that is closed.
func TestDisconnectedBehindAcceptance(t *testing.T) {
	for name, ended := range map[string]struct {
		by  func(dst []byte, m *wire.Message) []byte
		why string
	}{
		"the socket":     {func(dst []byte, m *wire.Message) []byte { return wire.AppendDisconnect(dst, m.Sock) }, "io server disconnect"},
		"the connection": {func(dst []byte, m *wire.Message) []byte { return wire.AppendClose(dst, m.Conn) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, nil)
			a := e.attach("one", func(a *app, m *wire.Message) {
				if m.Kind == wire.KindSocket {
					a.put(func(dst []byte) []byte { return wire.AppendAccept(dst, m.Sock) })
					a.put(func(dst []byte) []byte { return ended.by(dst, m) })
				}
			})
			for range 20 {
				c := e.connect("/", nil)
				a.wait("socket ")
				c.wait("connect /")
				c.wait("disconnect / " + ended.why)
				c.Disconnect(t.Context())
			}
		})
	}
}

// Answers to a broadcast do not wait for those that do not come: an application that stops
// to wait has them.
func TestAnswersDoNotWaitForOthers(t *testing.T) {
	e := newEdge(t, nil)
	a := e.attach("one", accepting)
	for i := range 3 {
		c := e.connect("/", nil)
		c.mute.Store(i == 2)
		c.wait("connect /")
	}
	a.send(wire.AppendBroadcast(nil, wire.Target{Nsp: "/"}, 0, 9, 60_000, []byte(`["q"]`), nil))
	for got := 0; got < 2; got++ {
		if line := a.wait("answers 9 false 0 "); line == `answers 9 false 0 ["answer to q"] ["answer to q"]` {
			got++
		}
	}
}
