package bridge

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/ioclient"
	"github.com/sioedge/sioedge/sio"
)

// What a client has said before it left reaches the next process, and then that it left:
// events that came while there was none, and those that a process has not worked off.
func TestLastWords(t *testing.T) {
	e := newEdge(t, nil)
	a := e.attach("one", accepting)
	c := e.connect("/", nil)
	c.wait("connect /")
	d := e.connect("/", nil)
	d.wait("connect /")
	a.mu.Lock()
	a.deaf = true
	a.mu.Unlock()
	a.send(wire.AppendJoin(nil, a.sock(0), []string{"r"}))
	_ = d.Emit("/", "seen")
	a.wait(`event 2 -1 ["seen"]`)
	d.Disconnect(t.Context())
	a.wait("left 2 ")
	a.kill()
	eventually(t, "the end of the link", func() bool { return e.Stats().Links == 0 })
	_ = c.Emit("/", "held")
	eventually(t, "the event to be held", func() bool { return e.Stats().Held == 1 })
	c.Disconnect(t.Context())
	eventually(t, "the socket to have left", func() bool { return e.srv.Of("/").Count() == 0 })
	b := e.attach("two", accepting)
	one, two := b.wait("socket 1 "), b.wait("socket 2 ")
	if one > two {
		t.Errorf("got %s, %s", one, two)
	}
	b.wait("left 1 ")
	b.wait("left 2 ")
	b.wait("connection ended 1 ")
	b.wait("connection ended 2 ")
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, want := range []string{`["seen"]`, `["held"]`} {
		if !slices.ContainsFunc(b.lines, func(l string) bool { return len(l) > 10 && l[len("event 1 -1 "):] == want+" []" }) {
			t.Errorf("%s has not come: %q", want, b.lines)
		}
	}
}

// A process that drains, and hands nothing over, has the time for which clients may wait.
func TestDrainThatDoesNotEnd(t *testing.T) {
	e := newEdge(t, func(x *config.Bridge, _ *sio.Options) { x.Takeover = 300 * time.Millisecond })
	a := e.attach("one", accepting)
	c := e.connect("/", nil)
	c.wait("connect /")
	b := e.attach("two", accepting)
	a.send(wire.AppendDraining(nil))
	a.wait("drained")
	_ = c.Emit("/", "x")
	b.wait("socket 1 ")
	b.wait(`event 1 -1 ["x"]`)
	if err := c.Of("/rooms/1"); err != nil {
		t.Fatal(err)
	}
	b.wait("socket 2 of 1 in /rooms/1")
}

// A namespace that is joined while its connection's process drains is the next one's.
func TestJoinedWhileDraining(t *testing.T) {
	e := newEdge(t, nil)
	a := e.attach("one", accepting)
	c := e.connect("/", nil)
	c.wait("connect /")
	a.send(wire.AppendDraining(nil))
	a.wait("drained")
	if err := c.Of("/rooms/1"); err != nil {
		t.Fatal(err)
	}
	b := e.attach("two", accepting)
	eventually(t, "the namespace to be asked for", func() bool {
		n := int64(0)
		for _, ns := range e.srv.Stats().Namespaces {
			n += ns.Sockets
		}
		return n == 2
	})
	a.send(wire.AppendHandOver(nil, a.sock(0), nil))
	b.wait("socket 1 of 1 in / auth  rooms []")
	b.wait("socket 2 of 1 in /rooms/1 auth ")
	c.wait("connect /rooms/1")
	a.kill()
	_ = c.Emit("/", "x")
	b.wait(`event 1 -1 ["x"]`)
}

// A bridge that ends before its clients has them come back, also those without a process.
func TestBridgeEndsBeforeItsClients(t *testing.T) {
	for _, gone := range []bool{false, true} {
		e := newEdge(t, nil)
		a := e.attach("one", accepting)
		c := e.connect("/", nil)
		c.wait("connect /")
		if gone {
			a.kill()
			eventually(t, "the end of the link", func() bool { return e.Stats().Links == 0 })
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		e.Close(ctx)
		if !gone {
			a.wait("ending draining")
		}
		c.wait("disconnect / transport close")
		if st := e.Stats(); st.ClosedStopped != 1 {
			t.Errorf("Stats = %+v", st)
		}
	}
}

// The head of a request is told as Node has it.
func TestHandshake(t *testing.T) {
	e := newEdge(t, nil)
	got := make(chan wire.Handshake, 1)
	e.attach("one", func(_ *app, m *wire.Message) {
		if m.Kind == wire.KindConnection {
			got <- *m.Handshake
		}
	})
	e.connect("/?a=b", func(o *ioclient.Options) {
		o.Header = http.Header{"X-Two": {"1", "2"}, "Cookie": {"a=1", "b=2"}, "User-Agent": {"x", "y"}, "X-Latin": {"caf\xe9"}}
		o.Auth = json.RawMessage(`{}`)
	})
	h := <-got
	fields := map[string]string{}
	for _, f := range h.Headers {
		fields[f.Name] = f.Value
	}
	for name, want := range map[string]string{"x-two": "1, 2", "cookie": "a=1; b=2", "user-agent": "x", "host": e.addr, "x-latin": "café"} {
		if fields[name] != want {
			t.Errorf("%s is %q, want %q", name, fields[name], want)
		}
	}
	if h.Address != "127.0.0.1" || h.Port == 0 || h.Protocol != 4 || h.Transport != "websocket" || h.Secure || h.ID == "" || h.Issued == 0 {
		t.Errorf("got %+v", h)
	}
}
