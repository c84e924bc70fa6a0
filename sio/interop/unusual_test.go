//go:build interop

package interop

import (
	"context"
	"sync"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// serveUnusual registers the namespaces with middlewares that are out of the
// ordinary.
func serveUnusual(srv *sio.Server) {
	type auth struct {
		Room   string
		Refuse *struct {
			Message string
			Data    any
		}
	}
	gate := srv.Of("/gate")
	gate.Use(func(s sio.Socket) error {
		var a auth
		if err := s.Auth(&a); err != nil {
			return err
		}
		if a.Room != "" {
			s.Join(a.Room)
		}
		return s.Emit("gate", 1)
	}, func(s sio.Socket) error {
		var a auth
		if err := s.Auth(&a); err != nil {
			return err
		}
		if err := s.Emit("gate", 2); err != nil {
			return err
		}
		if a.Refuse != nil {
			return &sio.Error{Message: a.Refuse.Message, Data: a.Refuse.Data}
		}
		return nil
	})
	serve(gate)
	gate.OnConnect(func(s sio.Socket) error { return s.Emit("gate", 3) })

	srv.Of("/broken").Use(func(sio.Socket) error { panic("a middleware that fails") })
	srv.Of("/silent").Use(func(s sio.Socket) error {
		<-s.Context().Done()
		return context.Cause(s.Context())
	})
}

// unusual has what shows where the two servers differ.
func unusual(ns *sio.Namespace) {
	ns.Handle("cut", func(s sio.Socket, _ *sio.Msg) error {
		s.CloseConn()
		return nil
	})
	sio.OnAck(ns, "recovered", func(s sio.Socket, _ any) (bool, error) { return s.Recovered(), nil })
	sio.OnAck(ns, "parts", func(s sio.Socket, n int) (bool, error) {
		parts := make([]any, n)
		for i := range parts {
			parts[i] = []byte{byte(i)}
		}
		return s.Emit("parts", parts...) == nil, nil
	})
	ns.Handle("volatile-pair", func(s sio.Socket, m *sio.Msg) error {
		var event string
		var ms int
		if err := m.Decode(&event, &ms); err != nil {
			return err
		}
		if err := s.Volatile().Emit(event, 1); err != nil {
			return err
		}
		time.Sleep(time.Duration(ms) * time.Millisecond)
		if err := s.Volatile().Emit(event, 2); err != nil {
			return err
		}
		return m.Ack(true)
	})
	ns.Handle("last-words", func(s sio.Socket, _ *sio.Msg) error {
		s.Disconnect(sio.DisconnectOptions{})
		return s.Emit("last-words")
	})
	sio.On(ns, "owe", func(s sio.Socket, event string) error {
		outcome := "answered"
		if _, err := s.EmitAck(context.Background(), event); err != nil {
			outcome = "closed"
		}
		return here(s).To("watch:"+s.ID()).Emit("owed", outcome)
	})
	ns.Handle("throw", func(sio.Socket, *sio.Msg) error { panic("a handler that fails") })

	var mu sync.Mutex
	stuck := map[string]chan struct{}{}
	gate := func(room string) chan struct{} {
		mu.Lock()
		defer mu.Unlock()
		if stuck[room] == nil {
			stuck[room] = make(chan struct{})
		}
		return stuck[room]
	}
	ns.Handle("stick", func(s sio.Socket, m *sio.Msg) error {
		var room string
		if err := m.Decode(&room); err != nil {
			return err
		}
		select {
		case <-gate(room):
		case <-s.Context().Done():
		}
		return nil
	})
	sio.OnAck(ns, "unstick", func(_ sio.Socket, room string) (bool, error) {
		close(gate(room))
		return true, nil
	})
}
