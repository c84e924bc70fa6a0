//go:build interop

package e2e

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

const bridgedTraffic = `
bridges:
  main: { data: eager, timeout: 4s, grace: 2s, takeover: 20s }
recovery: 1m
drain: 2s
namespaces: [{ pattern: /, bridge: main }]
`

// A bridged world is two edges, processes of one application that are linked to both, and
// clients that send numbers, and check what comes of them.
type bridged struct {
	t        *testing.T
	n        int // clients
	edges    []*edge
	ports    [][2]string // of each edge: public, internal
	passages []*passage  // between each edge and the applications
	apps     []*program
	clients  *program
}

// What clients have seen.
type traffic struct {
	Sent, Effects, Room, Tick, D, Recovered, Anew int
	Disconnects                                   []int // by edge
	Reasons                                       map[string]int
	Problems                                      []string
}

// What a process of the application has.
type appStatus struct{ Sockets, Asked, Answered, Ticks, Told, Handled, Problems int }

func startBridged(t *testing.T, n, rate int) *bridged {
	w := &bridged{t: t, n: n}
	for i := range 2 {
		w.ports = append(w.ports, [2]string{freePort(t), freePort(t)})
		w.edges = append(w.edges, nil)
		w.startEdge(i)
		w.passages = append(w.passages, startPassage(t, "127.0.0.1:"+w.ports[i][1]))
	}
	w.apps = []*program{w.startApp(), w.startApp()}
	w.clients = startProgram(t, "bridge-clients.mjs", map[string]any{"urls": []string{"http://127.0.0.1:" + w.ports[0][0], "http://127.0.0.1:" + w.ports[1][0]}, "clients": n, "rate": rate})
	w.clients.ask("enter", nil, nil)
	for _, a := range w.apps {
		w.heard(a)
	}
	w.clients.ask("go", nil, nil)
	return w
}

func (w *bridged) startEdge(i int) {
	w.edges[i] = start(w.t, write(w.t, bridgedTraffic), "--listen", "127.0.0.1:"+w.ports[i][0], "--internal-listen", "127.0.0.1:"+w.ports[i][1],
		"--api-key", bridgeKey, "--loops", "1", "--accept-rate", "-1")
}

// startApp starts a process of the application.
func (w *bridged) startApp() *program {
	a := startProgram(w.t, "bridge-app.mjs", map[string]any{
		"package": bridgePackage(w.t), "key": bridgeKey, "edges": []string{w.passages[0].url(), w.passages[1].url()},
		"tick": w.n / 2, "down": w.n * 5 / 2, // so that what all are told does not grow
	})
	a.id()
	return a
}

// heard waits until all clients have heard a process: it is linked to both edges.
func (w *bridged) heard(a *program) {
	w.t.Helper()
	eventually(w.t, "that all hear "+a.id(), func() bool { return w.clients.number("heard", map[string]any{"uid": a.id()}) == w.n })
}

// moving waits until each client has sent an event, and seen what came of it.
func (w *bridged) moving() {
	w.t.Helper()
	w.clients.ask("mark", nil, nil)
	eventually(w.t, "that all clients see effects", func() bool { return w.clients.number("moved", nil) == w.n })
}

// settle has the clients stop, checks what they saw since the last time, and lets them go
// on.
func (w *bridged) settle(before traffic) (now traffic) {
	w.t.Helper()
	w.clients.ask("settle", nil, &now)
	for _, text := range now.Problems {
		w.t.Error(text)
	}
	for _, p := range append([]*program{w.clients}, w.apps...) {
		for _, text := range p.found() {
			w.t.Error(text)
		}
	}
	if now.Effects == before.Effects {
		w.t.Errorf("there was no traffic: %+v, then %+v", before, now)
	}
	w.clients.ask("go", nil, nil)
	return now
}

// steady is settle of a time in which no client may have noticed anything.
func (w *bridged) steady(before traffic) traffic {
	w.t.Helper()
	now := w.settle(before)
	if fmt.Sprint(now.Disconnects) != fmt.Sprint(before.Disconnects) {
		w.t.Errorf("clients were disconnected: %v, then %v: %v", before.Disconnects, now.Disconnects, now.Reasons)
	}
	return now
}

func (w *bridged) status(a *program) (s appStatus) {
	w.t.Helper()
	a.ask("status", nil, &s)
	return s
}

// holds waits until a process has so many sockets.
func (w *bridged) holds(a *program, n int) {
	w.t.Helper()
	eventually(w.t, fmt.Sprintf("that %s has %d sockets", a.id(), n), func() bool { return w.status(a).Sockets == n })
}

// replace puts a new process in the place of one that has ended.
func (w *bridged) replace(i int) {
	w.t.Helper()
	w.apps[i] = w.startApp()
	w.heard(w.apps[i])
}

// bridgeClients is how many clients there are: $BRIDGE_CLIENTS.
func bridgeClients() int {
	if n, err := strconv.Atoi(os.Getenv("BRIDGE_CLIENTS")); err == nil {
		return n
	}
	return 200
}

// Two edges, processes of an application that are linked to both, and numbers in both
// directions, while processes are drained, killed, stopped and started again, links are
// cut, clients lose their connections, and edges go. Of what becomes of the application no
// client sees anything, and nothing is lost, doubled or out of order; who loses the
// connection comes back to what was; who loses the edge comes back.
func TestBridgeTraffic(t *testing.T) {
	w := startBridged(t, bridgeClients(), 1500)
	now := traffic{Disconnects: []int{0, 0}}
	phase := func(name string, run func(t *testing.T)) {
		if t.Failed() {
			t.Fatal("that was before: ", name) // what comes behind it would say nothing
		}
		began := time.Now()
		run(t)
		t.Logf("%s: %v, %+v", name, time.Since(began).Round(time.Millisecond), now)
	}
	phase("nothing", func(t *testing.T) { w.calm(); now = w.steady(now) })
	phase("links are cut", func(t *testing.T) { w.cutLinks(); now = w.steady(now) })
	phase("a process is drained", func(t *testing.T) {
		w.apps[0].signal(syscall.SIGTERM)
		w.apps[0].ended()
		w.holds(w.apps[1], w.n)
		w.moving()
		w.replace(0)
		now = w.steady(now)
	})
	phase("a process is killed", func(t *testing.T) {
		w.kill(1)
		w.holds(w.apps[0], w.n)
		w.moving()
		w.replace(1)
		now = w.steady(now)
	})
	phase("a process stands still", func(t *testing.T) { w.stop(0, 1); now = w.steady(now) })
	phase("all processes are drained, and then there is one", func(t *testing.T) {
		// Until a new process is linked to both edges, what it broadcasts reaches the one.
		w.clients.ask("wide", map[string]any{"may": true}, nil)
		for _, a := range w.apps {
			a.signal(syscall.SIGTERM)
		}
		w.apps[0].ended()
		w.apps[1].ended()
		w.replace(0)
		w.holds(w.apps[0], w.n)
		w.moving()
		now = w.steady(now)
	})
	phase("the only process is killed, and then there are two", func(t *testing.T) {
		w.kill(0)
		w.apps[0], w.apps[1] = w.startApp(), w.startApp()
		w.heard(w.apps[0])
		w.heard(w.apps[1])
		w.moving()
		now = w.steady(now)
	})
	phase("clients lose their connections", func(t *testing.T) {
		cut := w.clients.number("cut", nil)
		before := now
		w.recovered(before.Recovered + cut)
		w.moving()
		if now = w.settle(before); now.Anew != before.Anew {
			t.Errorf("%d clients were not recovered", now.Anew-before.Anew)
		}
	})
	phase("an edge is drained", func(t *testing.T) {
		w.edges[1].signal(syscall.SIGTERM)
		w.edges[1].said("stopped")
		now = w.another(now)
	})
	phase("an edge is killed", func(t *testing.T) {
		w.edges[1].kill()
		now = w.another(now)
	})
}

// calm checks what the processes know of each other.
func (w *bridged) calm() {
	w.t.Helper()
	w.moving()
	for _, a := range w.apps {
		if n := a.number("everybody", nil); n != w.n {
			w.t.Errorf("a process finds %d sockets of %d", n, w.n)
		}
		if s := w.status(a); s.Sockets == 0 || s.Sockets == w.n {
			w.t.Errorf("of %d sockets a process has %d", w.n, s.Sockets)
		}
	}
}

// cutLinks cuts the links again and again: nothing is noticed, and the answers of clients
// come too.
func (w *bridged) cutLinks() {
	w.t.Helper()
	for _, p := range w.passages {
		p.cutting.Store(50_000)
	}
	eventually(w.t, "that links are cut twelve times", func() bool { return w.passages[0].cuts.Load() >= 6 && w.passages[1].cuts.Load() >= 6 })
	for _, p := range w.passages {
		p.cutting.Store(0)
		p.cut()
	}
	w.moving()
	for _, a := range w.apps {
		eventually(w.t, "all that a process asked its clients is answered, which", func() bool { s := w.status(a); return s.Asked > 0 && s.Answered > s.Asked*9/10 })
	}
}

// kill kills a process. What it said to all may end anywhere, and what it did at one edge
// for clients of the other may be done twice, or not at all.
func (w *bridged) kill(i int) {
	w.t.Helper()
	w.clients.ask("forgive", map[string]any{"uid": w.apps[i].id()}, nil)
	w.clients.ask("wide", map[string]any{"may": true}, nil)
	w.apps[i].signal(syscall.SIGKILL)
	w.apps[i].ended()
}

// stop has a process stand still until its clients are with another, and go on then.
func (w *bridged) stop(i, other int) {
	w.t.Helper()
	a := w.apps[i]
	w.clients.ask("forgive", map[string]any{"uid": a.id()}, nil)
	w.clients.ask("wide", map[string]any{"may": true}, nil)
	a.signal(syscall.SIGSTOP)
	var once sync.Once
	goOn := func() { once.Do(func() { _ = a.cmd.Process.Signal(syscall.SIGCONT) }) }
	defer goOn() // it does not end otherwise
	w.holds(w.apps[other], w.n)
	w.moving()
	goOn()
	w.holds(a, 0)
	w.moving()
}

// recovered waits until so many clients were, since the beginning.
func (w *bridged) recovered(n int) {
	w.t.Helper()
	eventually(w.t, fmt.Sprintf("that %d clients are recovered", n), func() bool {
		var now traffic
		w.clients.ask("report", nil, &now)
		for _, text := range now.Problems {
			w.t.Error(text)
		}
		return now.Recovered+now.Anew >= n
	})
}

// another starts the second edge again: its clients come back, and those of the first have
// noticed nothing.
func (w *bridged) another(before traffic) traffic {
	w.t.Helper()
	w.startEdge(1)
	w.clients.ask("connected", nil, nil)
	w.moving()
	now := w.settle(before)
	if now.Disconnects[0] != before.Disconnects[0] {
		w.t.Errorf("clients of the other edge were disconnected: %v, then %v", before.Disconnects, now.Disconnects)
	}
	if n := w.n - w.n/2; now.Anew-before.Anew < w.n-n {
		w.t.Errorf("%d of %d clients came back", now.Anew-before.Anew, w.n-n)
	}
	return now
}
