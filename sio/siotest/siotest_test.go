package siotest_test

import (
	"context"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/sio/siotest"
)

func chat(srv *sio.Server) {
	ns := srv.Of("/")
	sio.OnAck(ns, "join", func(s sio.Socket, room string) (string, error) {
		ctx, cancel := context.WithTimeout(s.Context(), 2*time.Second)
		defer cancel()
		name, err := sio.Ask[string](ctx, s, "who are you?")
		if err != nil {
			return "", &sio.Error{Message: "nobody"}
		}
		s.Join(room)
		return "hello " + name, s.To(room).Emit("joined", name)
	})
	sio.On(ns, "chat", func(s sio.Socket, text string) error { return s.To("r").Emit("chat", text) })
	ns.HandleInline("echo", func(_ sio.Socket, m *sio.Msg) error { return m.Ack(m.Args) })
	ns.Handle("wait", func(s sio.Socket, m *sio.Msg) error { <-s.Context().Done(); return nil })
}

func TestAll(t *testing.T) {
	for name, o := range map[string]siotest.Options{
		"websocket": {}, "polling": {Polling: true}, "msgpack": {MessagePack: true}, "msgpack polling": {MessagePack: true, Polling: true}, "v2": {V2: true},
	} {
		t.Run(name, func(t *testing.T) {
			so := sio.Options{Parser: sio.EitherParser}
			so.Engine.AllowEIO3 = true
			srv := siotest.New(t, so)
			chat(srv.Server)
			a := srv.ConnectWith("/", o)
			b := srv.ConnectWith("/", o)
			join := a.EmitAck("join", "r")
			a.Expect("who are you?").Ack("alice")
			if got := siotest.Ask[string](b, "echo", "x"); got != "x" {
				t.Errorf("got %q", got)
			}
			b.Answer("who are you?", func(siotest.Args) []any { return []any{"bob"} })
			var hello string
			if join.Decode(&hello); hello != "hello alice" {
				t.Errorf("got %q", hello)
			}
			if hello := siotest.Ask[string](b, "join", "r"); hello != "hello bob" {
				t.Errorf("got %q", hello)
			}
			if got := siotest.Expect[string](a, "joined"); got != "bob" {
				t.Errorf("got %q", got)
			}
			b.Emit("chat", "hi")
			if e := srv.ExpectEmit("chat"); !e.Reached(a) {
				t.Error(e)
			}
			a.Expect("chat")
			a.ExpectNothing()
			var bin []byte
			a.EmitAck("echo", []byte{1, 2, 3}).Decode(&bin)
			if string(bin) != "\x01\x02\x03" {
				t.Errorf("got %x", bin)
			}
			srv.Advance(time.Hour)
			late := a.EmitAck("join", "r")
			srv.Advance(2 * time.Second)
			var e map[string]string
			if late.Decode(&e); e["error"] != "nobody" {
				t.Errorf("got %v", e)
			}
			b.Emit("wait")
			b.Drop()
			if d := b.ExpectDisconnect(); d.Server == "" {
				t.Errorf("got %v", d)
			} else {
				t.Log(d)
			}
		})
	}
}
