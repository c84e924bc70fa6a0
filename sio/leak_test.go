package sio_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
)

// Clients come, use everything and go in all ways: nothing of them stays, in
// the tables, in the rooms, or as a goroutine.
func TestNothingStaysOfAClient(t *testing.T) {
	srv := serve(t, sio.Options{Loop: loops(3)}, func(srv *sio.Server) {
		for _, name := range []string{"/", "/a", "/rooms/:id"} {
			ns := srv.Of(name)
			ns.Use(func(s sio.Socket) error {
				s.Join("early")
				var auth map[string]any
				if err := s.Auth(&auth); err != nil || auth["refuse"] != nil {
					return &sio.Error{Message: "refused"}
				}
				return nil
			})
			ns.OnConnect(func(s sio.Socket) error {
				s.SetData(s.ID())
				s.Context()
				s.Join("all", "of "+s.ID(), "one", "two", "three")
				return s.To("all").Emit("joined", s.ID())
			})
			ns.Handle("ask me", func(s sio.Socket, m *sio.Msg) error {
				ctx, cancel := context.WithTimeout(s.Context(), 20*time.Millisecond)
				defer cancel()
				if _, err := s.EmitAck(ctx, "who?"); err == nil {
					t.Error("somebody answered")
				}
				if _, err := ns.To("all").EmitAck(ctx, "who?"); err == nil {
					select { // it had nobody to ask: s has left, and its context is about to end
					case <-s.Context().Done():
					case <-time.After(20 * time.Second):
						t.Error("EmitAck = nil, want the context's error")
					}
				}
				return m.Ack([]byte("bytes"))
			})
			ns.HandleInline("inline", func(s sio.Socket, m *sio.Msg) error { s.Leave("one"); return m.Ack(m.Raw(0)) })
			ns.OnDisconnecting(func(s sio.Socket, _ sio.Reason) { s.Join("late") })
			ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { s.SetData("late") })
		}
	})
	round := func() {
		var wg sync.WaitGroup
		for i := range 72 {
			wg.Go(func() { visit(srv, i) })
		}
		wg.Wait()
		eventually(t, "the end of all sessions", func() bool { return srv.Held()["sessions"] == 0 })
		eventually(t, "the end of all that was held", func() bool {
			for _, n := range srv.Held() {
				if n != 0 {
					return false
				}
			}
			return srv.Inboxes() == 0
		})
	}
	round()
	before := goroutines()
	for range 2 {
		round()
	}
	eventually(t, "the end of all goroutines", func() bool { return goroutines() <= before })
}

// A client that does nothing for a while holds no more than when it came.
func TestIdleSocketsAreSmall(t *testing.T) {
	srv := serve(t, sio.Options{}, func(srv *sio.Server) {
		echo(srv.Of("/"))
		srv.Of("/").OnConnect(func(sio.Socket) error { return nil })
		srv.Of("/").Handle("slow", func(s sio.Socket, m *sio.Msg) error { time.Sleep(1200 * time.Millisecond); return m.Ack() })
	})
	c := srv.join(`40{"token":1}`)
	c.send(`421["slow"]`)
	c.expect("431[]") // a sweep has found it busy
	eventually(t, "the end of the inbox", func() bool {
		h := srv.Held()
		return srv.Inboxes()+h["extensions"]+h["details"]+h["handshakes"] == 0
	})
	c.quiet("")
}

// goroutines counts, when those that are ending have had a chance to.
func goroutines() int {
	runtime.Gosched()
	return runtime.NumGoroutine()
}

// visit is one client's visit, of several kinds.
func visit(srv *server, i int) {
	if i%4 == 3 {
		p := srv.poll()
		defer p.http.CloseIdleConnections()
		p.send(`40/a,{"token":"x"}`, fmt.Sprintf("40/rooms/%d,", i), `451-["x",{"_placeholder":true,"num":0}]`)
		if i%8 == 3 {
			c := p.upgrade(func() {})
			c.send(`42/a,["ask me"]`)
			c.conn.Close()
			return
		}
		p.post("1")
		return
	}
	c := srv.dial()
	defer c.conn.Close()
	c.send(`40{"token":"x"}`)
	if i%5 == 0 {
		c.send(`40/a,{"refuse":true}`)
	} else {
		c.send("40/a,")
	}
	c.send(fmt.Sprintf("40/rooms/%d,", i%3))
	for joined := 0; joined < 3; {
		if p := c.next(); len(p) > 1 && (p[:2] == "40" || p[:2] == "44") {
			joined++
		}
	}
	c.send(`421["inline",{"a":1}]`, `422["ask me"]`)
	switch i % 3 {
	case 0:
		for c.next() != "<6279746573>" { // the acknowledgement's attachment
		}
	case 1:
		c.send(`452-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, "<01>") // and no more
	}
	switch i % 6 {
	case 0:
		c.send("41", "41/a,")
	case 1:
		c.send("4abc")
	case 2:
		c.send("1")
	}
}
