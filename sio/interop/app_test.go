//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/sio"
)

// serveAll registers the application of reference-server.mjs, whose table says
// what each event does.
func serveAll(srv *sio.Server) {
	serve(srv.Of("/"))
	serve(srv.Of("/other"))
	serve(srv.Of("/campaigns/:id/trends"))

	early := srv.Of("/early")
	serve(early)
	early.OnConnect(func(s sio.Socket) error {
		for i := range 5 {
			if err := s.Emit("early", i); err != nil {
				return err
			}
		}
		return nil
	})

	restricted := srv.Of("/private")
	restricted.Use(func(s sio.Socket) error {
		var auth struct{ Token, User any }
		if err := s.Auth(&auth); err != nil || auth.Token != "secret" {
			return &sio.Error{Message: "not authorized", Data: map[string]any{"code": 401, "hint": []string{"token"}}}
		}
		s.SetData(auth.User)
		return nil
	})
	serve(restricted)
	serveUnusual(srv)
}

func serve(ns *sio.Namespace) {
	messaging(ns)
	acknowledging(ns)
	rooms(ns)
	lifecycle(ns)
	unusual(ns)
}

// raw returns arguments as they came, attachments included.
func raw(a sio.Args, from int) []any {
	var args []any
	for i := from; i < a.Len(); i++ {
		if len(a.Binary()) == 0 {
			args = append(args, a.Raw(i))
			continue
		}
		dst := make([]any, i+1)
		for j := range dst {
			dst[j] = new(any)
		}
		if err := a.Decode(dst...); err != nil {
			panic(err)
		}
		args = append(args, *dst[i].(*any))
	}
	return args
}

func messaging(ns *sio.Namespace) {
	ns.Handle("echo", func(s sio.Socket, m *sio.Msg) error {
		if m.WantsAck() {
			return m.Ack(raw(m.Args, 0)...)
		}
		return s.Emit("echo", raw(m.Args, 0)...)
	})
	ns.Handle("handshake", func(s sio.Socket, m *sio.Msg) error {
		h := s.Handshake()
		headers, query := map[string]string{}, map[string]string{}
		for k, v := range h.Header() {
			headers[strings.ToLower(k)] = strings.Join(v, ", ")
		}
		for k, v := range h.Query() {
			query[k] = v[len(v)-1]
		}
		auth := map[string]any{}
		if err := s.Auth(&auth); err != nil {
			return err
		}
		return m.Ack(map[string]any{"id": s.ID(), "nsp": s.Name(), "auth": auth, "query": query, "headers": headers})
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
	var mu sync.Mutex
	noted := map[sio.Socket][]int{}
	sio.On(ns, "order", func(s sio.Socket, i int) error {
		mu.Lock()
		noted[s] = append(noted[s], i)
		mu.Unlock()
		return s.Emit("order", i)
	})
	ns.Handle("ordered", func(s sio.Socket, m *sio.Msg) error {
		mu.Lock()
		defer mu.Unlock()
		all := append([]int{}, noted[s]...)
		delete(noted, s)
		return m.Ack(all)
	})
	sio.OnAck(ns, "measure", func(_ sio.Socket, v any) (int, error) {
		switch v := v.(type) {
		case sio.Binary:
			return len(v), nil
		case string:
			return len(v), nil
		}
		return 0, &sio.Error{Message: "neither bytes nor text"}
	})
	sio.OnAck(ns, "blob", func(_ sio.Socket, n int) ([]byte, error) {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i % 251)
		}
		return b, nil
	})
}

func acknowledging(ns *sio.Namespace) {
	var mu sync.Mutex
	held := map[sio.Socket][]*sio.Msg{}
	ns.Handle("hold", func(s sio.Socket, m *sio.Msg) error {
		mu.Lock()
		defer mu.Unlock()
		held[s] = append(held[s], m)
		return nil
	})
	ns.Handle("release", func(s sio.Socket, m *sio.Msg) error {
		mu.Lock()
		all := held[s]
		delete(held, s)
		mu.Unlock()
		for _, h := range slices.Backward(all) {
			if err := h.Ack(h.Raw(0)); err != nil {
				return err
			}
		}
		return m.Ack(len(all))
	})
	ns.Handle("ack-twice", func(_ sio.Socket, m *sio.Msg) error {
		if err := m.Ack(m.Raw(0)); err != nil {
			return err
		}
		return m.Ack("again")
	})
	ns.Handle("ask", func(s sio.Socket, m *sio.Msg) error {
		var event string
		var args []any
		var ms int
		if err := m.Decode(&event, &args, &ms); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(ms)*time.Millisecond)
		defer cancel()
		answer, err := s.EmitAck(ctx, event, args...)
		if err != nil {
			return m.Ack(map[string]any{"error": "time-out"})
		}
		return m.Ack(map[string]any{"answer": append([]any{}, raw(answer, 0)...)})
	})
	ns.Handle("ask-room", func(s sio.Socket, m *sio.Msg) error {
		var room, event string
		var args []any
		var ms int
		if err := m.Decode(&room, &event, &args, &ms); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(ms)*time.Millisecond)
		defer cancel()
		all, err := here(s).To(room).EmitAck(ctx, event, args...)
		answers := []any{}
		for _, a := range all {
			var first any
			if err := a.Decode(&first); err != nil {
				return err
			}
			answers = append(answers, first)
		}
		result := map[string]any{"answers": answers}
		if err != nil {
			result["error"] = "time-out"
		}
		return m.Ack(result)
	})
}

func rooms(ns *sio.Namespace) {
	others := func(s sio.Socket) []string {
		names := slices.DeleteFunc(s.Rooms(), func(room string) bool { return room == s.ID() })
		sort.Strings(names)
		return append([]string{}, names...)
	}
	sio.OnAck(ns, "join", func(s sio.Socket, names json.RawMessage) ([]string, error) {
		var many []string
		if json.Unmarshal(names, &many) != nil {
			var one string
			if err := json.Unmarshal(names, &one); err != nil {
				return nil, err
			}
			many = []string{one}
		}
		s.Join(many...)
		return others(s), nil
	})
	sio.OnAck(ns, "leave", func(s sio.Socket, room string) ([]string, error) {
		s.Leave(room)
		return others(s), nil
	})
	ns.Handle("cast", func(s sio.Socket, m *sio.Msg) error {
		var how struct {
			From          string
			Rooms, Except []string
			Volatile      bool
		}
		var event string
		var args []any
		if err := m.Decode(&how, &event, &args); err != nil {
			return err
		}
		to := here(s)
		if how.From == "socket" {
			to = s.Broadcast()
		}
		if to = to.Except(how.Except...); len(how.Rooms) > 0 {
			to = to.To(how.Rooms...)
		}
		if how.Volatile {
			to = to.Volatile()
		}
		if err := to.Emit(event, args...); err != nil {
			return err
		}
		return m.Ack(true)
	})
	sio.OnAck(ns, "count", func(s sio.Socket, room string) (int, error) { return len(here(s).To(room).Sockets()), nil })
}

func lifecycle(ns *sio.Namespace) {
	sio.On(ns, "bye", func(s sio.Socket, closing bool) error {
		s.Disconnect(sio.DisconnectOptions{Conn: closing})
		return nil
	})
	ns.Handle("kick", func(s sio.Socket, m *sio.Msg) error {
		var room string
		var closing bool
		if err := m.Decode(&room, &closing); err != nil {
			return err
		}
		err := m.Ack(true)
		here(s).To(room).Disconnect(sio.DisconnectOptions{Conn: closing})
		return err
	})
	sio.OnAck(ns, "watch", func(s sio.Socket, id string) (bool, error) {
		s.Join("watch:" + id)
		return true, nil
	})
	ns.OnDisconnect(func(s sio.Socket, reason eio.Reason) {
		if err := here(s).To("watch:"+s.ID()).Emit("gone", s.ID(), string(reason)); err != nil {
			panic(err)
		}
	})
	sio.OnAck(ns, "whoami", func(s sio.Socket, _ any) (any, error) { return s.Data(), nil })
	sio.OnAck(ns, "param", func(s sio.Socket, _ any) (any, error) {
		if id := s.Param("id"); id != "" {
			return id, nil
		}
		return nil, nil
	})
}

// here addresses the sockets in the same instance of the namespace.
func here(s sio.Socket) sio.BroadcastOperator { return s.Namespace().Instance(s.Name()) }
