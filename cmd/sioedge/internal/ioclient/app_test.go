package ioclient

import (
	"context"
	"encoding/json"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// serve is as much as the scenario here needs of the application that is described in
// sio/interop/reference-server.mjs.
func serve(srv *sio.Server) {
	private := srv.Of("/private")
	private.Use(func(s sio.Socket) error {
		var auth struct{ Token string }
		if err := s.Auth(&auth); err != nil || auth.Token != "secret" {
			return &sio.Error{Message: "not authorized", Data: map[string]any{"code": 401, "hint": []string{"token"}}}
		}
		return nil
	})
	for _, ns := range []*sio.Namespace{srv.Of("/"), srv.Of("/other"), private} {
		ns.Handle("echo", func(s sio.Socket, m *sio.Msg) error {
			args := make([]any, m.Len())
			for i := range args {
				var v any
				into := make([]any, i+1)
				for j := range into {
					into[j] = new(any)
				}
				into[i] = &v
				if err := m.Decode(into...); err != nil {
					return err
				}
				args[i] = v
			}
			if m.WantsAck() {
				return m.Ack(args...)
			}
			return s.Emit("echo", args...)
		})
		ns.Handle("handshake", func(s sio.Socket, m *sio.Msg) error {
			h := s.Handshake()
			return m.Ack(map[string]any{"query": map[string]string{"a": h.Query().Get("a")}, "headers": map[string]string{"x-test": h.Header().Get("X-Test")}})
		})
		ns.Handle("ask", func(s sio.Socket, m *sio.Msg) error {
			var event string
			var args []json.RawMessage
			if err := m.Decode(&event, &args); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			list := make([]any, len(args))
			for i, a := range args {
				list[i] = a
			}
			answer, err := s.EmitAck(ctx, event, list...)
			if err != nil {
				return m.Ack(map[string]any{"error": "time-out"})
			}
			all := make([]json.RawMessage, answer.Len())
			for i := range all {
				all[i] = answer.Raw(i)
			}
			return m.Ack(map[string]any{"answer": all})
		})
		ns.Handle("burst", func(s sio.Socket, m *sio.Msg) error {
			var event string
			var n int
			if err := m.Decode(&event, &n); err != nil {
				return err
			}
			for i := range n {
				if err := s.Emit(event, i); err != nil {
					return err
				}
			}
			return m.Ack(n)
		})
		ns.Handle("blob", func(_ sio.Socket, m *sio.Msg) error {
			var n int
			if err := m.Decode(&n); err != nil {
				return err
			}
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(i % 251)
			}
			return m.Ack(b)
		})
		ns.Handle("bye", func(s sio.Socket, m *sio.Msg) error { return s.Disconnect(sio.DisconnectOptions{}) })
		ns.Handle("cut", func(s sio.Socket, _ *sio.Msg) error { s.CloseConn(); return nil })
	}
}

const recoveryWindow = time.Minute
