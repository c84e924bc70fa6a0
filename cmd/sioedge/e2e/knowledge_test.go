//go:build interop

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const known = `
log: { level: debug }
auth: webhook
api: { keys: [$KEY] }
webhook: { url: $BACKEND, secret: $HOOK, events: "connect,connected,disconnect,node" }
recovery: { window: $WINDOW }
namespaces:
  - pattern: /
`

// A knowledge is what a backend concludes from what it was told.
type knowledge struct {
	here   map[string]string // sockets and their users
	gone   map[string]string // sockets, and why
	wrong  []string
	states map[string][]string // of servers
}

// knows has the backend go through what it was told, as an application would: doubles are
// known by their ids.
func (r *rogue) knows() knowledge {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := knowledge{here: map[string]string{}, gone: map[string]string{}, states: map[string][]string{}}
	ids := map[string]string{}
	for _, x := range r.told {
		what := x.Type + " " + x.Sid + x.State
		if before, double := ids[x.ID]; double {
			if before != what {
				k.wrong = append(k.wrong, fmt.Sprintf("the id %s is of %q and of %q", x.ID, before, what))
			}
			continue
		}
		ids[x.ID] = what
		_, here := k.here[x.Sid]
		_, gone := k.gone[x.Sid]
		switch x.Type {
		case "connected":
			if here || gone && !x.Recovered {
				k.wrong = append(k.wrong, "it was told twice, with other ids, that there is "+x.Sid+" of "+x.User)
			}
			k.here[x.Sid] = x.User
			delete(k.gone, x.Sid)
		case "disconnect":
			if !here {
				k.wrong = append(k.wrong, "it was told that there is not any more, which it did not know: "+x.Sid+" of "+x.User+", "+x.Reason)
			}
			delete(k.here, x.Sid)
			k.gone[x.Sid] = x.Reason
		case "node":
			k.states[x.Node] = append(k.states[x.Node], x.State)
		}
	}
	return k
}

// A world is three servers, their clients, and a backend that is told of them.
type world struct {
	t       *testing.T
	r       *rogue
	servers []*edge
	all     []*client
	staying map[*client]bool // it is to be there in the end
}

func newWorld(t *testing.T, adapter, window string) *world {
	w := &world{t: t, r: newRogue(t, 1), staying: map[*client]bool{}}
	redis := startRedis(t)
	for range 3 {
		file := write(t, known, "$BACKEND", w.r.url(), "$HOOK", rogueSecret, "$KEY", apiKey, "$WINDOW", window)
		w.servers = append(w.servers, start(t, file, "--adapter", adapter+"://"+redis, "--internal-listen", "127.0.0.1:0"))
	}
	return w
}

// enter has clients come to each server, of which some come back when they are cut off.
func (w *world) enter() {
	x := &agents{t: w.t}
	for i, e := range w.servers {
		for k, kind := range []string{"4", "4", "3", "4", "4"} {
			o := marked(kind, fmt.Sprintf("u%d.%d", i, k))
			o.recover = k < 4
			if k == 1 {
				o.transports = []string{"polling"}
			}
			c := x.enter(kind, e.url, "/", o)
			w.all = append(w.all, c)
			w.staying[c] = true
		}
	}
}

// client is the k-th of a server.
func (w *world) client(server, k int) *client { return w.all[server*5+k] }

// move has all clients come back to a server, if they do.
func (w *world) move(to int) {
	for _, c := range w.all {
		c.op("move", map[string]any{"url": w.servers[to].url})
	}
}

// sid is what the client is now; "" if it is not connected.
func (c *client) now() (sid string) {
	c.a.t.Helper()
	_ = json.Unmarshal(c.a.must("sid", map[string]any{"c": c.name}), &sid)
	return sid
}

// agrees compares what the backend knows, what a server lists, and what clients are.
func (w *world) agrees(asked *edge) (wrong string) {
	truth := map[string]bool{}
	for c, stays := range w.staying {
		sid := c.now()
		if stays != (sid != "") {
			return fmt.Sprintf("%s is %q", c.name, sid)
		}
		if stays {
			truth[sid] = true
		}
	}
	x := &caller{w.t, []string{"--url", "http://" + asked.api, "--api-key", apiKey}}
	listed := elements(x, func(e listed) string { return e.SID }, "--all")
	k := w.r.knows()
	for what, all := range map[string][]string{"ls lists": slices.Collect(maps.Keys(listed)), "the backend knows": slices.Collect(maps.Keys(k.here))} {
		for _, sid := range all {
			if !truth[sid] {
				wrong += fmt.Sprintf("%s %s of %s, which is not there; ", what, sid, listed[sid].User+k.here[sid])
			}
		}
		if len(all) < len(truth) {
			wrong += fmt.Sprintf("%s %d of %d; ", what, len(all), len(truth))
		}
	}
	for sid, user := range k.here {
		if e, ok := listed[sid]; ok && e.User != user {
			wrong += fmt.Sprintf("%s is of %s, listed is %s; ", sid, user, e.User)
		}
	}
	return wrong
}

func (w *world) settled(when string, asked *edge) {
	w.t.Helper()
	wrong := ""
	for end := time.Now().Add(2 * patience); ; time.Sleep(200 * time.Millisecond) {
		if wrong = w.agrees(asked); wrong == "" {
			break
		}
		if time.Now().After(end) {
			w.t.Fatalf("%s: %s", when, wrong)
		}
	}
	for _, wrong := range w.r.knows().wrong {
		w.t.Errorf("%s: %s", when, wrong)
	}
}

// What a backend knows of who is there is so, whatever happens to clients, servers and
// itself.
func TestBackendKnowsWhoIsThere(t *testing.T) {
	t.Parallel()
	for adapter, window := range map[string]string{"redis+streams": "4s", "redis": "0s"} {
		t.Run(adapter, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, adapter, window)
			w.enter()
			w.settled("all are there", w.servers[0])
			if adapter == "redis+streams" {
				w.flaps()
			}
			w.leaves()
			w.restarts()
			w.kills()
			w.stops()
		})
	}
}

// flaps has clients lose their connections and come back, here and elsewhere: nobody is
// told.
func (w *world) flaps() {
	heard := len(w.r.knows().gone)
	here, elsewhere := w.client(0, 0), w.client(1, 3)
	elsewhere.op("move", map[string]any{"url": w.servers[2].url})
	for _, c := range []*client{here, elsewhere} {
		c.op("drop", nil)
		c.disconnected()
		if s := c.connected(); !s.Recovered {
			w.t.Errorf("%s is not recovered", c.name)
		}
	}
	time.Sleep(5 * time.Second) // until they could not have come back
	if k := w.r.knows(); len(k.gone) != heard {
		w.t.Errorf("flaps are told: %v", k.gone)
	}
	w.settled("some came back", w.servers[1])
}

// goes has a client go, and waits until the backend knows.
func (w *world) goes(c *client, how, reason string) {
	w.t.Helper()
	sid := c.now()
	c.op(how, nil)
	w.staying[c] = false
	eventually(w.t, "the backend hears of the end of "+c.name, func() bool { _, gone := w.r.knows().gone[sid]; return gone })
	if got := w.r.knows().gone[sid]; got != reason {
		w.t.Errorf("%s has gone by %q, want %q", c.name, got, reason)
	}
}

func (w *world) leaves() {
	w.goes(w.client(0, 3), "leave", "client namespace disconnect")
	w.goes(w.client(1, 4), "drop", "transport close") // it does not come back
	w.settled("some left", w.servers[2])
}

// restarts has the backend be away while clients come and go.
func (w *world) restarts() {
	w.r.close()
	w.staying[w.client(2, 3)] = false
	w.client(2, 3).op("leave", nil)
	w.client(1, 2).op("drop", nil) // has to be let in by it, unless it is recovered
	time.Sleep(1500 * time.Millisecond)
	w.r.open()
	w.settled("the backend was away", w.servers[0])
}

// kills ends a server without a word. Some of its clients come back elsewhere.
func (w *world) kills() {
	time.Sleep(2 * time.Second)
	var sids []string
	for k := range 5 {
		if sid := w.client(0, k).now(); sid != "" {
			sids = append(sids, sid)
		}
	}
	w.staying[w.client(0, 4)] = false // it does not come back
	w.move(1)
	w.servers[0].kill()
	w.settled("a server was killed", w.servers[1])
	k := w.r.knows()
	lost := 0
	for _, sid := range sids {
		switch _, here := k.here[sid]; {
		case here: // it was recovered
		case k.gone[sid] != "node_lost":
			w.t.Errorf("a socket of the server that was killed has gone by %q", k.gone[sid])
		default:
			lost++
		}
	}
	if lost == 0 {
		w.t.Error("nobody is lost")
	}
	if all := fmt.Sprint(k.states); strings.Count(all, "lost") != 1 {
		w.t.Errorf("of servers it was told %s", all)
	}
}

// stops ends a server as operators do.
func (w *world) stops() {
	w.staying[w.client(2, 4)] = false
	w.move(1)
	w.servers[2].signal(syscall.SIGTERM)
	<-w.servers[2].done
	w.settled("a server was stopped", w.servers[1])
	for sid, reason := range w.r.knows().gone {
		if reason == "" {
			w.t.Errorf("%s has gone for no reason", sid)
		}
	}
}
