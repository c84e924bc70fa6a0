package sio_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/sio"
	"github.com/sioedge/sioedge/wsframe"
)

// Everything at once from everywhere, on sockets that come and go. It is for
// the race detector, and for what is left behind.
func TestChaos(t *testing.T) {
	visits := 30
	if testing.Short() {
		visits = 10
	}
	var mu sync.Mutex
	var known []sio.Socket // many of them have left
	srv := serve(t, sio.Options{Loop: loops(3)}, func(srv *sio.Server) {
		for _, name := range []string{"/", "/a", "/p/:id"} {
			ns := srv.Of(name)
			note := func(s sio.Socket) error { mu.Lock(); known = append(known, s); mu.Unlock(); return nil }
			ns.Use(note)
			ns.OnConnect(func(s sio.Socket) error { s.Join("all"); return nil })
			ns.Handle("work", func(s sio.Socket, m *sio.Msg) error { return s.To("all").Emit("worked", s.Rooms()) })
			ns.HandleInline("inline", func(s sio.Socket, m *sio.Msg) error { s.Join("inline"); return ns.To("inline").Emit("x", []byte{1}) })
			ns.OnDisconnecting(func(s sio.Socket, _ sio.Reason) { s.To("all").Emit("leaving", s.Data()) })
			ns.OnDisconnect(func(s sio.Socket, _ sio.Reason) { s.Join("all"); s.Context() })
		}
	})
	var clients, meddlers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		meddlers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				mu.Lock()
				n := len(known)
				if n > 0 {
					meddle(known[n-1-rand.IntN(min(n, 20))])
				}
				mu.Unlock()
				time.Sleep(100 * time.Microsecond)
			}
		})
	}
	for i := range 8 {
		clients.Go(func() {
			for j := range visits {
				c := srv.dial()
				c.send("40", "40/a,", fmt.Sprintf("40/p/%d,", j%3))
				c.next()
				for _, p := range []string{`42["work"]`, `42["inline"]`, `42/a,["work"]`, "43[]", "430[1]", "41", `42/a,["inline"]`, "41/a,", "40/a,"} {
					if rand.IntN(2) == 0 {
						c.send(p)
					}
				}
				if (i+j)%2 == 0 {
					c.send("1")
				}
				c.conn.Close()
			}
		})
	}
	clients.Wait()
	close(stop)
	meddlers.Wait()
	eventually(t, "the end of all sessions", func() bool { return srv.Held()["sessions"] == 0 })
}

// meddle does something with a socket that may be there or not. Errors are
// expected.
func meddle(s sio.Socket) {
	ns := s.Namespace()
	switch rand.IntN(16) {
	case 0:
		s.Join("all", "x", s.ID())
	case 1:
		s.Leave("all", "x")
	case 2:
		s.Emit("direct", []byte{1, 2})
	case 3:
		ns.Emit("everybody")
	case 4:
		s.To("all", "x").Except("inline").Emit("room", 1)
	case 5:
		s.Disconnect(sio.DisconnectOptions{Conn: rand.IntN(2) == 0})
	case 6:
		s.SetData(time.Now())
	case 7:
		ctx, cancel := context.WithTimeout(s.Context(), time.Millisecond)
		s.EmitAck(ctx, "ask")
		cancel()
	case 8:
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		ns.To("all").EmitAck(ctx, "ask", []byte{1})
		cancel()
	case 9:
		ns.To("all").Join("y", "z")
	case 10:
		ns.All().Leave("y", "all")
	case 11:
		ns.To(s.ID()).Disconnect(sio.DisconnectOptions{})
	case 12:
		s.Volatile().Emit("volatile")
	case 13:
		s.Handshake()
		s.Transport()
		s.Connected()
	case 14:
		ns.All().Sockets()
	default:
		s.CloseConn()
	}
}

// Whatever a client sends, nothing panics and nothing of it stays.
func FuzzClient(f *testing.F) {
	for _, seed := range []string{
		"40\n42[\"echo\",1]\n41", "40/a,{\"x\":1}\n451-1[\"echo\",{\"_placeholder\":true,\"num\":0}]\n<01>\n40", "40\n43[]\n4312[1]\n3\n2\n1",
		"40/p/1,\n42/p/1,[\"ask\"]\n43/p/1,0[1]\n41/p/1,", "4", "40\n44\"x\"", "<00>", "40\n451-[\"x\"]\n40\n6\n5",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, script string) {
		st := newStage(t, sio.Options{OnError: func(sio.Socket, string, error) {}})
		for _, name := range []string{"/", "/a", "/p/:id"} {
			ns := st.Of(name)
			ns.HandleInline("echo", func(s sio.Socket, m *sio.Msg) error {
				s.Join("r")
				return m.Ack(values(m.Args)...)
			})
			ns.HandleInline("leave", func(s sio.Socket, m *sio.Msg) error {
				s.Disconnect(sio.DisconnectOptions{Conn: m.Len() > 0})
				return nil
			})
		}
		x := &extra{t: t, peer: st.sim.Connect(0)}
		x.peer.Send(wsframe.AppendClientHandshake(nil, "h", "/socket.io/?EIO=4&transport=websocket", [16]byte{1}))
		for packet := range strings.SplitSeq(script, "\n") {
			x.send(packet)
			if err := st.ns.To("r").Emit("x"); err != nil {
				t.Fatal(err)
			}
		}
		x.peer.Close()
		st.sim.Turn()
		wantNothingHeld(t, st.Held())
		if n := st.sim.Engine().Stats().Panics; n > 0 {
			t.Errorf("%d panics", n)
		}
	})
}
