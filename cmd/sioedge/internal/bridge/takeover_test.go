package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/ioclient"
	"github.com/sioedge/sioedge/sio"
)

// When the link of a process ends its sockets are another's, with rooms and data, and with the
// events that it has not worked off and those that came since, in order. Clients stay.
func TestTakeoverWhenALinkEnds(t *testing.T) {
	e := newEdge(t, nil)
	a := e.attach("one", accepting)
	c := e.connect("/", nil)
	c.wait("connect /")
	n := a.sock(0)
	a.send(wire.AppendJoin(nil, n, []string{"r", "s"}), wire.AppendData(nil, n, []byte(`{"x":1}`)))
	_ = c.Emit("/", "1")
	a.wait(`event 1 -1 ["1"]`)
	a.mu.Lock()
	a.deaf = true
	a.mu.Unlock()
	_ = c.Emit("/", "2")
	a.wait(`event 1 -1 ["2"]`)
	a.kill()
	eventually(t, "the end of the link", func() bool { return e.Stats().Links == 0 })
	_ = c.Emit("/", "3")
	eventually(t, "the event to be held", func() bool { return e.Stats().Held == 1 })
	b := e.attach("two", accepting)
	b.wait("connection 1 ")
	b.wait(`socket 1 of 1 in / auth  rooms [r s] data {"x":1} taken true`)
	b.wait(`event 1 -1 ["2"]`)
	b.wait(`event 1 -1 ["3"]`)
	_ = c.Emit("/", "4")
	b.wait(`event 1 -1 ["4"]`)
	b.send(wire.AppendBroadcast(nil, wire.Target{Nsp: "/", Rooms: []string{"r"}}, 0, wire.None, 0, []byte(`["here"]`), nil))
	c.wait("event here")
	st := e.Stats()
	if st.TakenEnded != 1 || st.Taken != 1 || st.Redelivered != 1 || st.WaitingConnections != 0 || st.ClosedNoProcess != 0 {
		t.Errorf("Stats = %+v", st)
	}
}

// A process that drains hands over its sockets, and answers what was under way; no client
// notices.
func TestDrain(t *testing.T) {
	e := newEdge(t, nil)
	a := e.attach("one", accepting)
	c := e.connect("/", nil)
	c.wait("connect /")
	n := a.sock(0)
	asked := make(chan ioclient.Answer, 1)
	go func() {
		r, _ := c.Ask(t.Context(), "/", "q")
		asked <- r
	}()
	a.wait(`event 1 0 ["q"]`)
	b := e.attach("two", accepting)
	a.send(wire.AppendDraining(nil))
	a.wait("drained")
	_ = c.Emit("/", "later")
	eventually(t, "the event to be held", func() bool { return e.Stats().Held == 1 })
	a.send(wire.AppendHandOver(nil, n, []byte(`"d"`)), wire.AppendHandedOver(nil))
	b.wait(`socket 1 of 1 in / auth  rooms [] data "d" taken true`)
	b.wait(`event 1 -1 ["later"]`)
	a.send(wire.AppendReply(nil, n, 0, []byte(`["late"]`), nil), wire.AppendEmit(nil, n, 0, wire.None, []byte(`["bye"]`), nil), wire.AppendDisconnect(nil, n))
	if r := <-asked; string(r.Args[0]) != `"late"` {
		t.Errorf("the client was answered %s", r.Args)
	}
	c.wait("event bye")
	a.kill()
	_ = c.Emit("/", "on")
	b.wait(`event 1 -1 ["on"]`)
	if st := e.Stats(); st.TakenDrained != 1 || st.TakenEnded != 0 || st.Unknown != 1 {
		t.Errorf("Stats = %+v", st)
	}
}

// Without a process clients wait, for a while; then they come back.
func TestNoProcess(t *testing.T) {
	e := newEdge(t, func(x *config.Bridge, _ *sio.Options) { x.Takeover = 50 * time.Millisecond })
	c := e.connect("/", nil)
	eventually(t, "a connection to be closed", func() bool { return e.Stats().ClosedNoProcess > 0 })
	a := e.attach("one", accepting)
	c.wait("connect /")
	a.kill()
	c.wait("disconnect / transport close")
	e.attach("two", accepting)
	c.wait("connect /")
}

// A socket whose process goes while it is asked about is asked about at another one, as a
// new one.
func TestAskedAgain(t *testing.T) {
	e := newEdge(t, nil)
	a := e.attach("one", nil)
	c := e.connect("/", func(o *ioclient.Options) { o.Auth = json.RawMessage(`{"a":1}`) })
	a.wait("socket 1 of 1 in / auth {\"a\":1}")
	b := e.attach("two", accepting)
	a.kill()
	if line := b.wait("socket 1 of 1 in / auth {\"a\":1}"); strings.Contains(line, "taken") {
		t.Errorf("got %s", line)
	}
	c.wait("connect /")
}

// A process that does not want a socket that it is to take over has its client come back.
func TestRefusedWhenTaken(t *testing.T) {
	e := newEdge(t, nil)
	a := e.attach("one", accepting)
	c := e.connect("/", nil)
	c.wait("connect /")
	a.kill()
	e.attach("two", func(a *app, m *wire.Message) {
		if m.Kind == wire.KindSocket && m.State != nil {
			a.put(func(dst []byte) []byte { return wire.AppendRefuse(dst, m.Sock, []byte(`{"message":"no"}`)) })
			return
		}
		accepting(a, m)
	})
	c.wait("disconnect / transport close")
	c.wait("connect /")
	if st := e.Stats(); st.RefusedTaken != 1 {
		t.Errorf("Stats = %+v", st)
	}
}

// A connection whose events end process after process is closed, and the events are
// dropped; other connections go on.
func TestDeadlyEvents(t *testing.T) {
	e := newEdge(t, nil)
	deadly := func(a *app, m *wire.Message) {
		accepting(a, m)
		if m.Kind == wire.KindEvent && strings.Contains(string(m.JSON), "die") {
			a.deaf = true
			_ = a.conn.Close()
		}
	}
	e.attach("p0", deadly)
	good := e.connect("/", nil)
	good.wait("connect /")
	bad := e.connect("/", nil)
	bad.wait("connect /")
	_ = bad.Emit("/", "die")
	for i := range e.mostDeaths {
		eventually(t, "a link to end", func() bool { return e.Stats().Ended == int64(i)+1 })
		e.attach(fmt.Sprint("p", i+1), deadly)
	}
	bad.wait("disconnect / transport close")
	bad.wait("connect /")
	last := e.attach("last", accepting)
	_ = last
	_ = good.Emit("/", "alive")
	eventually(t, "the other's event", func() bool { return e.Stats().Events >= 4 })
	good.mu.Lock()
	defer good.mu.Unlock()
	if st := e.Stats(); st.ClosedDeadly != 1 || slices.ContainsFunc(good.lines, func(l string) bool { return strings.HasPrefix(l, "disconnect") }) {
		t.Errorf("Stats = %+v, and the other client: %q", st, good.lines)
	}
}

// What does not fit while there is no process waits at the client, and comes in order.
func TestHeldEventsAreBounded(t *testing.T) {
	e := newEdge(t, func(x *config.Bridge, _ *sio.Options) { x.MaxWaiting = 4 << 10 })
	a := e.attach("one", accepting)
	c := e.connect("/", nil)
	c.wait("connect /")
	a.kill()
	eventually(t, "the end of the link", func() bool { return e.Stats().Links == 0 })
	const n = 200
	for i := range n {
		_ = c.Emit("/", "n", i, strings.Repeat("x", 100))
	}
	eventually(t, "the client to wait", func() bool { return e.Stats().Paused == 1 })
	if st := e.Stats(); st.WaitingBytes > 4<<10 {
		t.Errorf("%d bytes are held", st.WaitingBytes)
	}
	b := e.attach("two", accepting)
	for i := range n {
		b.wait(fmt.Sprintf(`event 1 -1 ["n",%d,`, i))
	}
}

// Processes are killed at any moment, and drain, while clients send numbers: each is worked
// off once and in order, and no client notices.
func TestNumbersSurviveProcesses(t *testing.T) {
	e := newEdge(t, func(x *config.Bridge, _ *sio.Options) { x.MaxWaiting = 16 << 10 })
	work := func(a *app, m *wire.Message) {
		accepting(a, m)
		if m.Kind != wire.KindEvent {
			return
		}
		var args []json.RawMessage
		_ = json.Unmarshal(m.JSON, &args)
		sock, who, number := m.Sock, string(args[1]), string(args[2])
		// The emit takes effect if, and only if, the event is worked off.
		a.put(func(dst []byte) []byte {
			return wire.AppendEmit(dst, sock, 0, wire.None, []byte(`["did",`+who+`,`+number+`]`), nil)
		})
	}
	e.mostDeaths = 1 << 30 // these die as often as chance has it
	const clients, numbers = 8, 300
	var all []*client
	first := e.attach("p0", work)
	for range clients {
		c := e.connect("/", nil)
		c.wait("open")
		c.wait("connect /")
		all = append(all, c)
	}
	var sending sync.WaitGroup
	gone := make(chan struct{}, clients*numbers) // a place for each process that has gone, and each client
	for i, c := range all {
		sending.Add(1)
		go func() {
			defer sending.Done()
			for n := range numbers {
				_ = c.Emit("/", "n", i, n)
				if n%60 == 59 {
					<-gone // so that some go while numbers are on their way
				}
				if n%10 == 9 {
					time.Sleep(time.Millisecond)
				}
			}
		}()
	}
	count := func() (n int) {
		for _, c := range all {
			c.mu.Lock()
			n += len(c.lines)
			c.mu.Unlock()
		}
		return n
	}
	running := []*app{first}
	for i := 1; count() < clients*numbers && i < 200; i++ {
		running = append(running, e.attach(fmt.Sprint("p", i), work))
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
		old := running[0]
		running = running[1:]
		if i%2 == 0 {
			old.drain()
		}
		old.kill()
		for range clients {
			gone <- struct{}{}
		}
	}
	sending.Wait()
	eventually(t, "all numbers", func() bool { return count() >= clients*numbers })
	for i, c := range all {
		c.mu.Lock()
		if len(c.lines) != numbers {
			t.Errorf("client %d has %d lines", i, len(c.lines))
		}
		for n, line := range c.lines {
			if want := fmt.Sprintf("event did [%d %d] []", i, n); line != want {
				t.Errorf("client %d: line %d is %s, want %s (of %d)", i, n, line, want, len(c.lines))
				break
			}
		}
		c.mu.Unlock()
	}
	if st := e.Stats(); st.TakenDrained == 0 || st.TakenEnded == 0 {
		t.Errorf("nothing was tested: %+v", st)
	}
}

// drain hands over all sockets, and leaves when that is done.
func (a *app) drain() {
	a.send(wire.AppendDraining(nil))
	a.wait("drained")
	a.mu.Lock()
	for _, n := range a.socks {
		a.put(func(dst []byte) []byte { return wire.AppendHandOver(dst, n, nil) })
	}
	a.put(wire.AppendHandedOver)
	a.flush()
	a.mu.Unlock()
	eventually(a.e.t, "the process to have no sockets", func() bool {
		a.e.mu.Lock()
		defer a.e.mu.Unlock()
		for _, m := range a.e.members {
			if m.s.UID() == a.uid {
				return m.load == 0
			}
		}
		return true
	})
}

// A client that comes back has its rooms, and the data that the application has sent since.
func TestRecovered(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprint("middlewares=", again), func(t *testing.T) {
			e := newEdge(t, func(_ *config.Bridge, o *sio.Options) {
				o.Recovery = sio.Recovery{Window: time.Minute, RunMiddlewares: again}
			})
			a := e.attach("one", func(a *app, m *wire.Message) {
				if m.Kind == wire.KindLeft {
					// As it does before it knows.
					a.put(func(dst []byte) []byte { return wire.AppendEmit(dst, m.Sock, 0, wire.None, []byte(`["missed"]`), nil) })
					a.put(func(dst []byte) []byte { return wire.AppendClosed(dst, m.Sock, []byte(`{"last":1}`)) })
					return
				}
				accepting(a, m)
			})
			c := e.connect("/", nil)
			c.wait("connect / false")
			a.send(wire.AppendJoin(nil, a.sock(0), []string{"r"}), wire.AppendEmit(nil, a.sock(0), 0, wire.None, []byte(`["offset"]`), nil))
			c.wait("event offset")
			for _, s := range e.srv.Of("/").All().Sockets() {
				s.CloseConn()
			}
			a.wait("left 1 forced close true")
			c.wait("connect / true")
			c.wait("event missed")
			if line := a.wait("socket 2 of 2 in / auth"); !strings.HasSuffix(line, `rooms [r] data {"last":1} taken false`) {
				t.Errorf("got %s", line)
			}
			_ = c.Emit("/", "on")
			a.wait(`event 2 -1 ["on"]`)
			c.Disconnect(context.Background())
			a.wait("left 2 ")
		})
	}
}
