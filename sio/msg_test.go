package sio_test

import (
	"testing"

	"github.com/sioedge/sioedge/sio"
)

func TestMsgWithOtherArguments(t *testing.T) {
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		ns := srv.Of("/")
		ns.UseEvent(func(next sio.Handler) sio.Handler {
			return func(s sio.Socket, m *sio.Msg) error {
				if m.Len() == 0 {
					return next(s, m)
				}
				other, err := m.With([]byte{1}, map[string]any{"was": m.Raw(0)})
				if err != nil {
					return err
				}
				if _, err := m.With(func() {}); err == nil {
					t.Error("With(a function) has no error, want one")
				}
				return next(s, other)
			}
		})
		echo(ns)
	})
	c := srv.join("40")
	c.send(`427["echo","a"]`)
	c.expect(`461-7[{"_placeholder":true,"num":0},{"was":"a"}]`, "<01>")
	c.send(`42["echo","a"]`)
	c.expect(`451-["echo",{"_placeholder":true,"num":0},{"was":"a"}]`, "<01>")
}
