package bridge

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge/wire"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/ioclient"
	"github.com/sioedge/sioedge/sio"
)

// What is said to many reaches those that are addressed, whichever process has them.
func TestToMany(t *testing.T) {
	e := newEdge(t, nil)
	a, b := e.attach("one", accepting), e.attach("two", accepting)
	var all []*client
	for range 4 {
		c := e.connect("/", nil)
		c.wait("connect /")
		all = append(all, c)
	}
	if st := e.Stats(); st.Load[0] != 2 || st.Load[1] != 2 || st.Processes != 2 {
		t.Errorf("the processes have %v sockets", st.Load)
	}
	room := func(names ...string) wire.Target { return wire.Target{Nsp: "/", Rooms: names} }
	a.send(
		wire.AppendJoin(nil, a.sock(0), []string{"a"}),
		wire.AppendJoinAll(nil, wire.Target{Nsp: "/", Except: []string{"a"}}, []string{"b", "c"}),
		wire.AppendLeaveAll(nil, room("b"), []string{"c"}),
		wire.AppendBroadcast(nil, room("b"), 0, wire.None, 0, []byte(`["to b"]`), nil),
		wire.AppendBroadcast(nil, room("c"), 0, wire.None, 0, []byte(`["to c"]`), nil),
		wire.AppendBroadcast(nil, room("b"), wire.Volatile, 7, 20_000, []byte(`["ask",{"_placeholder":true,"num":0}]`), [][]byte{{1, 2}}),
		wire.AppendDisconnectAll(nil, room("a"), false),
		wire.AppendBroadcast(nil, room(), 0, 8, 20_000, []byte(`["rest"]`), nil),
	)
	if got := a.wait("answers 7"); got != `answers 7 true 3 ["answer to ask"] ["answer to ask"] ["answer to ask"]` {
		t.Errorf("got %s", got)
	}
	if got := a.wait("answers 8"); !strings.HasPrefix(got, "answers 8 true 3 ") {
		t.Errorf("got %s", got)
	}
	a.wait("left 1 server namespace disconnect false")
	left := 0
	for _, c := range all {
		c.mu.Lock()
		got := strings.Join(c.lines, "; ")
		c.mu.Unlock()
		switch {
		case strings.HasSuffix(got, "disconnect / io server disconnect"):
			left++
		case !strings.HasSuffix(got, "event to b [] []; event ask [{\"_placeholder\":true,\"num\":0}] [0102]; event rest [] []"):
			t.Errorf("a client has got %s", got)
		}
	}
	if left != 1 {
		t.Errorf("%d clients were disconnected, want 1", left)
	}
	b.send(wire.AppendDisconnectAll(nil, room("b"), true))
	b.wait("left 1 ")
	b.wait("left 2 ")
	eventually(t, "all to have left", func() bool { return e.Stats().Sockets == 0 })
}

// A broadcast whose time is over has counted more than have answered, and one that is
// forgotten says nothing.
func TestAnswersThatDoNotCome(t *testing.T) {
	e := newEdge(t, nil)
	a := e.attach("one", accepting)
	c := e.connect("/", nil)
	c.wait("connect /")
	c.mu.Lock() // it reads, and does not answer
	a.send(wire.AppendBroadcast(nil, wire.Target{Nsp: "/"}, 0, 1, 1, []byte(`["x"]`), nil), wire.AppendBroadcast(nil, wire.Target{Nsp: "/"}, 0, 2, 0, []byte(`["y"]`), nil), wire.AppendForget(nil, 2))
	c.mu.Unlock()
	for i := range uint64(3) {
		a.send(wire.AppendBroadcast(nil, wire.Target{Nsp: "/none"}, 0, int64(10+i), 0, []byte(`["z"]`), nil))
		a.wait(fmt.Sprintf("answers %d true 0", 10+i))
	}
	eventually(t, "no request to be left", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.members[0].requests) == 0
	})
	if st := e.Stats(); st.Foreign != 3 {
		t.Errorf("Stats = %+v", st)
	}
}

// Processes of an edge know of each other, and speak to each other through it.
func TestPeersAndRelay(t *testing.T) {
	e := newEdge(t, nil)
	a := e.attach("one", nil)
	a.wait("peers")
	b := e.attach("two", nil)
	b2 := e.attach("two", nil)
	a.wait("peers two")
	b.wait("peers one")
	c := e.attach("three", nil)
	a.wait("peers two three")
	a.send(wire.AppendRelay(nil, nil, "/x", []byte("to all")), wire.AppendRelay(nil, []string{"three", "one", "none"}, "/", []byte("to three")))
	c.wait("relayed one /x to all")
	c.wait("relayed one / to three")
	b.wait("relayed one /x to all")
	if st := e.Stats(); st.Relayed != 3 || st.Links != 4 || st.Processes != 3 {
		t.Errorf("Stats = %+v", st)
	}
	b2.send(wire.AppendChange(nil, &wire.Change{Namespaces: []string{"/a"}, HasNamespaces: true}))
	b.kill()
	b2.kill()
	a.wait("peers three")
}

// Processes that have attached are known to each other before what their clients do, so that
// what a handler asks of all processes reaches all. One that says something of itself all the
// time is heard now and then.
func TestPeersAreToldAtOnce(t *testing.T) {
	e := newEdge(t, nil)
	var apps []*app
	for i := range 6 {
		apps = append(apps, e.attach(fmt.Sprint(i), accepting))
	}
	e.connect("/", nil).wait("connect /")
	for i, a := range apps {
		others := "peers 0 1 2 3 4 5"
		others = strings.Replace(others, fmt.Sprint(" ", i), "", 1)
		a.mu.Lock()
		peers := slices.Index(a.lines, others)
		came := slices.IndexFunc(a.lines, func(l string) bool { return strings.HasPrefix(l, "connection ") })
		a.mu.Unlock()
		if came >= 0 && (peers < 0 || came < peers) {
			t.Errorf("a client came to %d before others that had attached: %q", i, a.lines)
		}
	}
	a := apps[0]
	c := e.attach("changes", nil)
	began := time.Now()
	for i := range 1000 {
		c.send(wire.AppendChange(nil, &wire.Change{Namespaces: []string{"/", fmt.Sprint("/rooms/", i)}, HasNamespaces: true}))
	}
	eventually(t, "the last change to be told", func() bool {
		e.mu.Lock()
		defer e.unlock()
		last := e.members[len(e.members)-1]
		return slices.Contains(last.namespaces, "/rooms/999") && !e.peersChanged
	})
	a.send(wire.AppendRelay(nil, []string{"changes"}, "/", []byte("behind")))
	c.wait("relayed 0 / behind")
	a.mu.Lock()
	defer a.mu.Unlock()
	told := 0
	for _, l := range a.lines {
		if strings.HasPrefix(l, "peers") {
			told++
		}
	}
	if most := 1 + 6 + peersBurst + int(time.Since(began)/peersEvery) + 1; told > most {
		t.Errorf("told %d times of others, want at most %d", told, most)
	}
}

// A connection is told of once, with all its namespaces, also when it is another's, and of its
// upgrade.
func TestOneConnection(t *testing.T) {
	e := newEdge(t, nil)
	a := e.attach("one", accepting)
	c := e.connect("/", func(o *ioclient.Options) { o.Transports = []string{ioclient.Polling, ioclient.WebSocket} })
	a.wait("connection 1 polling")
	c.wait("connect /")
	a.wait("upgraded 1 websocket")
	if err := c.Of("/rooms/1"); err != nil {
		t.Fatal(err)
	}
	a.wait("socket 2 of 1 in /rooms/1 ")
	c.wait("connect /rooms/1")
	a.kill()
	b := e.attach("two", accepting)
	b.wait("connection 1 polling")
	b.wait("upgraded 1 websocket")
	b.wait("socket 1 of 1 in / ")
	b.wait("socket 2 of 1 in /rooms/1 ")
	b.send(wire.AppendDisconnect(nil, b.sock(0)))
	c.wait("disconnect / io server disconnect")
	b.send(wire.AppendClose(nil, 1))
	c.wait("disconnect /rooms/1 transport close")
	b.wait("connection 2 ")
}

// Clients of a namespace with parameters go to all processes, whichever had it first; those
// of a literal one to processes that have it.
func TestProcessesShareInstances(t *testing.T) {
	e := newEdge(t, nil)
	a := e.attach("one", accepting)
	b := e.attach("two", accepting)
	a.wait("peers two")
	a.send(wire.AppendChange(nil, &wire.Change{Namespaces: []string{"/", "/rooms/1"}, HasNamespaces: true}))
	b.send(wire.AppendChange(nil, &wire.Change{HasNamespaces: true}))
	eventually(t, "the changes", func() bool {
		e.mu.Lock()
		defer e.unlock()
		return len(e.members[0].namespaces) == 2 && len(e.members[1].namespaces) == 0
	})
	for range 4 {
		e.connect("/rooms/1", nil).wait("connect /rooms/1")
	}
	load := func() (n []int) {
		e.mu.Lock()
		defer e.unlock()
		for _, m := range e.members {
			n = append(n, m.load)
		}
		return n
	}
	if n := load(); n[0] != 2 || n[1] != 2 {
		t.Errorf("the processes have %v sockets of an instance, want 2 each", n)
	}
	for range 3 {
		e.connect("/", nil).wait("connect /")
	}
	if n := load(); n[0] != 5 || n[1] != 2 {
		t.Errorf("the processes have %v sockets, want those of the literal namespace at the one that has it", n)
	}
}

// An edge that stops says so, when its clients have gone.
func TestEdgeStops(t *testing.T) {
	e := newEdge(t, nil)
	a := e.attach("one", accepting)
	c := e.connect("/", nil)
	c.wait("connect /")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := e.srv.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	e.Close(ctx)
	a.wait("left 1 server shutting down")
	a.wait("connection ended 1 ")
	a.wait("ending draining")
}

// Other settings are told of.
func TestReload(t *testing.T) {
	e := newEdge(t, nil)
	a := e.attach("one", accepting)
	x := settings()
	_ = e.Reload(x)
	x.Window, x.Timeout, x.Grace, x.MaxMessage = 8<<20, time.Minute, time.Second, 8<<20 // a link's own
	_ = e.Reload(x)
	x.MaxData = 9
	_ = e.Reload(x)
	a.wait("settings")
	c := e.connect("/", nil)
	c.wait("connect /")
	a.send(wire.AppendData(nil, a.sock(0), []byte(`"0123456"`)), wire.AppendData(nil, a.sock(0), []byte(`"01234567"`)))
	eventually(t, "data to be refused", func() bool { return e.Stats().DataTooLarge == 1 })
	if n := strings.Count(strings.Join(a.lines, "\n"), "settings"); n != 0 {
		t.Errorf("settings came %d times more", n)
	}
}

// Hostile processes harm themselves at most: each is sent by one process, while another one's
// client goes on.
func TestHostileProcesses(t *testing.T) {
	names := make([]string, mostNames+1)
	for i := range names {
		names[i] = fmt.Sprint(i)
	}
	own := wire.Target{Nsp: "/"}
	for _, x := range []struct {
		name  string
		send  func(sock uint64) []byte
		ends  bool // the link
		count func(Stats) int64
	}{
		{"a socket that is not there", func(uint64) []byte { return wire.AppendEmit(nil, 1<<50, 0, wire.None, []byte(`["x"]`), nil) }, false, func(s Stats) int64 { return s.Unknown }},
		{"another link's numbers", func(n uint64) []byte { return wire.AppendDisconnect(nil, n+1) }, false, func(s Stats) int64 { return s.Unknown }},
		{"an answer for nobody", func(uint64) []byte { return wire.AppendReply(nil, 99, 0, []byte(`[]`), nil) }, false, func(s Stats) int64 { return s.Unknown }},
		{"data for nobody", func(uint64) []byte { return wire.AppendData(nil, 99, []byte(`1`)) }, false, func(s Stats) int64 { return s.Unknown }},
		{"closed of who is there", func(n uint64) []byte { return wire.AppendClosed(nil, n, []byte(`1`)) }, false, func(s Stats) int64 { return s.Unknown }},
		{"a connection that is not there", func(uint64) []byte { return wire.AppendClose(nil, 99) }, false, func(s Stats) int64 { return s.Unknown }},
		{"handed over without draining", func(n uint64) []byte { return wire.AppendHandOver(nil, n, nil) }, false, func(s Stats) int64 { return s.Unknown }},
		{"all handed over without draining", func(uint64) []byte { return wire.AppendHandedOver(nil) }, false, func(s Stats) int64 { return s.Unknown }},
		{"a namespace of the edge's own", func(uint64) []byte {
			return wire.AppendBroadcast(nil, wire.Target{Nsp: "/other"}, 0, wire.None, 0, []byte(`["x"]`), nil)
		}, false, func(s Stats) int64 { return s.Foreign }},
		{"no namespace", func(uint64) []byte { return wire.AppendDisconnectAll(nil, wire.Target{Nsp: "/rooms"}, true) }, false, func(s Stats) int64 { return s.Foreign }},
		{"a reserved event", func(uint64) []byte {
			return wire.AppendBroadcast(nil, own, 0, wire.None, 0, []byte(`["connect"]`), nil)
		}, false, func(s Stats) int64 { return s.Broadcasts }},
		{"an emit that is not JSON", func(n uint64) []byte { return wire.AppendEmit(nil, n, 0, wire.None, []byte(`["x"`), nil) }, true, nil},
		{"an emit without a name", func(n uint64) []byte { return wire.AppendEmit(nil, n, 0, wire.None, []byte(`[]`), nil) }, true, nil},
		{"an answer that is no list", func(n uint64) []byte { return wire.AppendReply(nil, n, 1, []byte(`{}`), nil) }, true, nil},
		{"data that is not JSON", func(n uint64) []byte { return wire.AppendData(nil, n, []byte(`{`)) }, true, nil},
		{"a refusal that is not JSON", func(n uint64) []byte { return wire.AppendRefuse(nil, n, []byte(`[`)) }, true, nil},
		{"too many rooms", func(n uint64) []byte { return wire.AppendJoin(nil, n, names) }, true, nil},
		{"one number for two broadcasts", func(uint64) []byte { return wire.AppendBroadcast(nil, own, 0, 77, 0, []byte(`["q"]`), nil) }, true, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			e := newEdge(t, func(x *config.Bridge, _ *sio.Options) { x.Takeover = time.Hour })
			good := e.attach("good", accepting)
			c := e.connect("/rooms/1", nil)
			c.wait("connect /rooms/1")
			bad := e.attach("bad", accepting)
			d := e.connect("/", nil)
			d.wait("connect /")
			d.mute.Store(true)
			message := x.send(bad.sock(0))
			bad.send(message)
			if x.ends {
				bad.send(message)
				bad.wait("ending protocol")
			} else {
				eventually(t, "it to be counted", func() bool { return x.count(e.Stats()) > 0 })
			}
			_ = c.Emit("/rooms/1", "alive")
			good.wait(`event 1 -1 ["alive"]`)
			_ = d.Emit("/", "alive")
			if !x.ends {
				bad.wait(`event 1 -1 ["alive"]`)
			} else {
				good.wait(`event 2 -1 ["alive"]`) // it has the socket now
			}
		})
	}
}

// A process that takes nothing has its clients wait, and no others; what others relay to it
// is dropped at a bound.
func TestProcessThatStandsStill(t *testing.T) {
	e := newEdge(t, func(x *config.Bridge, _ *sio.Options) { x.Window = 16 << 10 })
	still := e.attach("still", accepting)
	c := e.connect("/", nil)
	c.wait("connect /")
	still.wait("socket 1 ")
	good := e.attach("good", accepting)
	d := e.connect("/", nil)
	d.wait("connect /")
	stall := make(chan struct{})
	still.mu.Lock()
	still.stall, still.deaf = stall, true
	still.mu.Unlock()
	const n = 1000
	for i := range n {
		_ = c.Emit("/", "n", i, strings.Repeat("x", 100))
	}
	eventually(t, "its client to wait", func() bool { return e.Stats().Paused == 1 })
	big := []byte(strings.Repeat("r", 1<<20))
	for e.Stats().RelaysDropped == 0 {
		good.send(wire.AppendRelay(nil, nil, "/", big))
	}
	_ = d.Emit("/", "alive")
	good.wait(`event 1 -1 ["alive"]`)
	still.mu.Lock()
	still.deaf = false
	still.flush()
	still.mu.Unlock()
	close(stall)
	_ = d.Emit("/", "awake")
	good.wait(`event 1 -1 ["awake"]`)
	for i := range n {
		still.wait(fmt.Sprintf(`event 1 -1 ["n",%d,`, i))
	}
}

// As many links as there may be are served.
func TestMaxLinks(t *testing.T) {
	e := newEdge(t, func(x *config.Bridge, _ *sio.Options) { x.MaxLinks = 1 })
	a := e.attach("one", accepting)
	res, err := e.link.Client().Get(e.link.URL + "/bridge")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != 503 || e.Stats().TooManyLinks != 1 {
		t.Errorf("a second link is answered %s", res.Status)
	}
	a.kill()
	eventually(t, "the end of the link", func() bool { return e.Stats().Links == 0 })
	e.attach("two", accepting)
}

// Nothing is left of clients that came and went.
func TestNothingIsLeft(t *testing.T) {
	e := newEdge(t, nil)
	a := e.attach("one", accepting)
	goroutines := runtime.NumGoroutine()
	for round := range 20 {
		var all []*client
		for range 50 {
			all = append(all, e.connect("/", nil))
		}
		for i, c := range all {
			if (i+round)%3 > 0 { // the others leave while they come
				c.wait("connect /")
				_ = c.Emit("/", "x")
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			c.Close(ctx)
			cancel()
		}
	}
	eventually(t, "nothing to be left", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		m := e.members[0]
		return m.load == 0 && m.left == 0 && m.pending == 0 && len(m.conns) == 0 && len(m.socks) == 0 && len(e.waiting) == 0
	})
	eventually(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines+5 })
	a.kill()
}
