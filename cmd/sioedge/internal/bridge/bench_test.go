package bridge

import (
	"testing"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
	"github.com/sioedge/sioedge/sio"
)

// message returns a client's event, which stays valid.
func message(t testing.TB, e *edge) *sio.Msg {
	got := make(chan *sio.Msg, 1)
	ns := e.srv.Of("/free")
	ns.Handle("chat", func(_ sio.Socket, m *sio.Msg) error { got <- m; return nil })
	c := e.connect("/free", nil)
	c.wait("connect /free")
	_ = c.Emit("/free", "chat", "hello, everybody", map[string]int{"a": 1})
	return <-got
}

// An event that a process works off leaves nothing behind: the next one has its memory.
func TestEventsAreRecycled(t *testing.T) {
	e := newEdge(t, nil)
	m, k := message(t, e), &socket{x: &seat{}}
	size, buf, items := sizeOf(m), make([]byte, 0, 1<<10), make([]any, 1)
	if n := testing.AllocsPerRun(100, func() {
		e.mu.Lock()
		x := e.take(k, m, size)
		buf = wire.AppendEvent(buf[:0], 1, reply(m), x.text, x.bins)
		e.mu.Unlock()
		items[0] = x
		e.Worked(nil, items)
	}); n > 0 {
		t.Errorf("%v allocations an event", n)
	}
}

func BenchmarkEvent(b *testing.B) {
	e := newEdge(b, nil)
	a := e.attach("one", accepting)
	c := e.connect("/", nil)
	c.wait("connect /")
	a.sock(0)
	m := message(b, e)
	e.mu.Lock()
	k := e.members[0].socks[1]
	e.mu.Unlock()
	b.ReportAllocs()
	for b.Loop() {
		for room := e.event(k, m, false); room != nil; room = e.event(k, m, false) {
			<-room
		}
	}
}

func BenchmarkEmit(b *testing.B) {
	e := newEdge(b, nil)
	a := e.attach("one", accepting)
	c := e.connect("/", nil)
	c.wait("connect /")
	a.sock(0)
	e.mu.Lock()
	m := e.members[0]
	e.mu.Unlock()
	msg := &wire.Message{Kind: wire.KindEmit, Sock: 1, ID: wire.None, JSON: []byte(`["chat","hello, everybody",{"a":1}]`)}
	b.ReportAllocs()
	for b.Loop() {
		if err := e.emit(m, msg); err != nil {
			b.Fatal(err)
		}
	}
}
