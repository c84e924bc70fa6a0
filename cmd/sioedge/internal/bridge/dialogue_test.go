package bridge

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/ioclient"
)

// A client is told of, accepted, sends and is sent events with answers both ways, and leaves.
func TestDialogue(t *testing.T) {
	e := newEdge(t, nil)
	a := e.attach("one", accepting)
	c := e.connect("/?x=1", func(o *ioclient.Options) { o.Auth = json.RawMessage(`{"token":"t"}`) })
	a.wait(`connection 1 websocket 4 /socket.io/?`)
	a.wait(`socket 1 of 1 in / auth {"token":"t"}`)
	c.wait("connect /")
	_ = c.Emit("/", "hé\"", 1, []byte{7})
	a.wait("event 1 -1 [\"hé\\\"\",1,{\"_placeholder\":true,\"num\":0}] [07]")
	asked := make(chan ioclient.Answer, 1)
	go func() {
		r, _ := c.Ask(t.Context(), "/", "q")
		asked <- r
	}()
	a.wait(`event 1 0 ["q"] []`)
	a.send(wire.AppendReply(nil, 1, 0, []byte(`["yes",{"_placeholder":true,"num":0}]`), [][]byte{{9}}))
	if r := <-asked; string(r.Args[0]) != `"yes"` || len(r.Attachments) != 1 {
		t.Errorf("the client was answered %s %x", r.Args, r.Attachments)
	}
	a.send(wire.AppendEmit(nil, 1, 0, wire.None, []byte(`["a",1]`), nil), wire.AppendEmit(nil, 1, wire.Uncompressed, 5, []byte(`["b"]`), nil))
	c.wait("event a [1]")
	a.wait(`answer 1 5 ["answer to b"]`)
	c.Disconnect(context.Background())
	a.wait("left 1 ")
	a.wait("connection ended 1 ")
	eventually(t, "nothing to be left", func() bool { return e.Stats().Sockets == 0 })
}

// A process refuses a client with a message and data.
func TestRefuse(t *testing.T) {
	e := newEdge(t, nil)
	a := e.attach("one", func(a *app, m *wire.Message) {
		if m.Kind == wire.KindSocket {
			a.put(func(dst []byte) []byte {
				return wire.AppendRefuse(dst, m.Sock, []byte(`{"message":"no","data":{"code":7}}`))
			})
		}
	})
	c := e.connect("/", nil)
	c.wait(`connect_error / no {"code":7}`)
	c.Disconnect(context.Background())
	a.wait("connection ended 1")
	if st := e.Stats(); st.Refused != 1 || st.Sockets != 0 {
		t.Errorf("Stats = %+v", st)
	}
}

// What follows the acceptance of a socket reaches it behind that: joins, broadcasts and
// emits, in their order.
func TestNoGapBehindAcceptance(t *testing.T) {
	e := newEdge(t, nil)
	e.attach("one", func(a *app, m *wire.Message) {
		if m.Kind == wire.KindSocket {
			a.put(func(dst []byte) []byte { return wire.AppendAccept(dst, m.Sock) })
			a.put(func(dst []byte) []byte { return wire.AppendEmit(dst, m.Sock, 0, wire.None, []byte(`["1"]`), nil) })
			a.put(func(dst []byte) []byte { return wire.AppendJoin(dst, m.Sock, []string{"r"}) })
			a.put(func(dst []byte) []byte {
				return wire.AppendBroadcast(dst, wire.Target{Nsp: string(m.Nsp), Rooms: []string{"r"}}, 0, wire.None, 0, []byte(`["2"]`), nil)
			})
			a.put(func(dst []byte) []byte { return wire.AppendEmit(dst, m.Sock, 0, wire.None, []byte(`["3"]`), nil) })
			a.put(func(dst []byte) []byte {
				return wire.AppendJoinAll(dst, wire.Target{Nsp: string(m.Nsp)}, []string{"s"})
			})
			a.put(func(dst []byte) []byte {
				return wire.AppendBroadcast(dst, wire.Target{Nsp: string(m.Nsp), Rooms: []string{"s"}}, 0, int64(m.Sock), 1000, []byte(`["4"]`), nil)
			})
			a.put(func(dst []byte) []byte { return wire.AppendEmit(dst, m.Sock, 0, wire.None, []byte(`["5"]`), nil) })
		}
	})
	for range 20 {
		c := e.connect("/rooms/7", nil)
		c.wait("event 5")
		c.mu.Lock()
		got := ""
		for _, l := range c.lines {
			switch l[:5] {
			case "event":
				got += l[6:7]
			case "conne":
				got += "c"
			}
		}
		c.mu.Unlock()
		if got != "c1234" {
			t.Fatalf("the client has got %s, want to be connected and 1234 before 5", got)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		c.Close(ctx)
		cancel()
	}
}
