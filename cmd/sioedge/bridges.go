package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/action"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/admin"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/api"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/bridge"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/config"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/health"
	"github.com/sioedge/sioedge/cmd/sioedge/internal/metrics"
	"github.com/sioedge/sioedge/loop/notice"
	"github.com/sioedge/sioedge/sio"
)

// bridges are those of the settings, by name, and the handler that their processes dial. Any
// goroutine may use them; one at a time changes them.
type bridges struct {
	// Immutable.
	srv  *sio.Server
	o    bridge.Options
	note *notice.Log
	api  *api.API // counts who has no key; set before anybody can dial

	names   map[string]bool                  // of bridges that there have been; of who changes them
	serving chan struct{}                    // closed when the server serves what it has taken over, or there is nothing
	all     atomic.Pointer[map[string]*span] // never changed, as the next
	own     map[string]config.Bridge         // their settings; of who changes them
	ending  sync.WaitGroup                   // those that there are not any more
	refused [dials]atomic.Int64
}

// A span is a bridge as it is dialled. Immutable but for dialled.
type span struct {
	*bridge.Bridge
	keys    api.Keys
	most    int           // connections of its links, those that end among them
	dialled *atomic.Int64 // that there are
}

// A refusedDial is why one was.
type refusedDial uint8

const (
	dialPage    refusedDial = iota // of a browser
	dialKey                        // no key, or a wrong one
	dialOther                      // one of another bridge
	dialUnknown                    // there is no such bridge
	dialFull                       // too many connections
	dials
)

// newBridges makes those of the settings. The error joins a fault of each that cannot be.
func newBridges(srv *sio.Server, s *config.Settings, log *slog.Logger) (*bridges, error) {
	x := &bridges{srv: srv, o: bridge.Options{Recovery: s.Recovery.Window, Version: version(), Logger: log}, note: notice.New(log, 0), names: map[string]bool{}, serving: make(chan struct{})}
	if !srv.Inherits() {
		close(x.serving)
	}
	x.all.Store(&map[string]*span{})
	return x, x.reload(s.BridgesOf())
}

// parting is how long processes have to hear that their links end.
const parting = 2 * time.Second

// end ends the links of a bridge when its clients have gone, or ctx is done, and waits until
// processes have heard it.
func (b *span) end(ctx context.Context) {
	b.Close(ctx)
	for end := time.Now().Add(parting); b.dialled.Load() > 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
}

// get returns a bridge, nil if there is none of that name.
func (x *bridges) get(name string) action.Bridge {
	if b := x.running()[name]; b != nil {
		return b.Bridge
	}
	return nil
}

// running returns them by name. The map is not changed.
func (x *bridges) running() map[string]*span { return *x.all.Load() }

// reload has those of other settings be there, those that are not in them any more too,
// until prune. If it returns an error, all is as it was.
func (x *bridges) reload(next map[string]config.Bridge) error {
	var faults []error
	all, made := maps.Clone(x.running()), []*span{}
	for _, name := range slices.Sorted(maps.Keys(next)) {
		own := next[name]
		b, err := all[name], error(nil)
		if b != nil {
			err = b.Reload(own)
			b = &span{Bridge: b.Bridge, dialled: b.dialled}
		} else {
			b = &span{dialled: new(atomic.Int64)}
			o := x.o
			o.Stays = x.names[name]
			if b.Bridge, err = bridge.New(x.srv, name, own, o); err == nil {
				x.names[name] = true
				made = append(made, b)
			}
		}
		if err != nil {
			faults = append(faults, &config.Fault{Key: "bridges." + name, Err: err})
			continue
		}
		// A process that comes back may do so before its last connection has ended.
		b.keys, b.most = api.NewKeys(own.Keys), 2*own.MaxLinks
		all[name] = b
	}
	if err := errors.Join(faults...); err != nil {
		for name, own := range x.own {
			_ = all[name].Reload(own) // it has been good
		}
		ctx, done := context.WithCancel(context.Background())
		done()
		for _, b := range made {
			b.Close(ctx) // it has nothing to tell
		}
		return err
	}
	x.own = next
	x.all.Store(&all)
	return nil
}

// prune lets those go that are not in the settings any more: processes are told, and their
// clients have to come back, within that time.
func (x *bridges) prune(within time.Duration) {
	all := maps.Clone(x.running())
	for name, b := range all {
		if _, ok := x.own[name]; ok {
			continue
		}
		delete(all, name)
		x.ending.Go(func() { // ends when its clients have gone, or the time is over
			ctx, done := context.WithTimeout(context.Background(), within)
			defer done()
			b.end(ctx)
		})
	}
	x.all.Store(&all)
}

// close ends all links, when clients have gone or ctx ends.
func (x *bridges) close(ctx context.Context) {
	for _, b := range x.running() {
		x.ending.Go(func() { b.end(ctx) }) // ends soon behind ctx
	}
	x.ending.Wait()
}

// told are the bridges, and who was not to dial them, for metrics.
func (x *bridges) told() (map[string]*bridge.Bridge, metrics.Dials) {
	all, n := map[string]*bridge.Bridge{}, [dials]int64{}
	for name, b := range x.running() {
		all[name] = b.Bridge
	}
	for i := range n {
		n[i] = x.refused[i].Load()
	}
	return all, metrics.Dials{Page: n[dialPage], Key: n[dialKey], Other: n[dialOther], Unknown: n[dialUnknown], Full: n[dialFull]}
}

// linked says which bridges have processes, for /readyz?verbose. Who sends clients here does
// so without one, too: those that are here wait for it, and no other server is better off.
func (e *edge) linked() (all []health.Check) {
	if e.bridges == nil {
		return nil
	}
	running := e.bridges.running()
	for _, name := range slices.Sorted(maps.Keys(running)) {
		c, st := health.Check{Name: "bridge " + name, OK: true}, running[name].Stats()
		if c.Reason = fmt.Sprintf("%d processes, %d sockets", st.Processes, st.Sockets); st.Links == st.Draining {
			c.Reason = fmt.Sprintf("no process is there; %d connections wait for one", st.WaitingConnections)
		}
		all = append(all, c)
	}
	return all
}

// shownBridges is what the page for operators shows of bridges.
func (e *edge) shownBridges() []admin.Bridge {
	running := e.bridges.running()
	shown := make([]admin.Bridge, 0, len(running))
	for _, name := range slices.Sorted(maps.Keys(running)) {
		st := running[name].Stats()
		shown = append(shown, admin.Bridge{
			Name: name, Processes: st.Processes, Links: st.Links, Draining: st.Draining, Sockets: st.Sockets, Events: st.Events, Emits: st.Emits + st.Replies + st.Broadcasts,
			Waiting: st.WaitingConnections, Paused: st.Paused, Taken: st.TakenDrained + st.TakenEnded, Closed: st.ClosedNoProcess + st.ClosedDeadly,
		})
	}
	return shown
}

// ServeHTTP serves a process that dials a bridge, as long as the connection lasts: GET
// /bridge?name=NAME with a key of that bridge. Without a name it is the only one.
func (x *bridges) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case <-x.serving:
	case <-r.Context().Done():
	}
	b, why, refusal := x.admit(r)
	if refusal == nil {
		defer b.dialled.Add(-1)
		if b.dialled.Add(1) <= int64(b.most) {
			b.ServeHTTP(w, r)
			return
		}
		x.note.Warn("a process is refused because too many connections of links are open", "bridge", b.Name(), "connections", b.most, "see", "bridges."+b.Name()+".max_links")
		why, refusal = dialFull, &api.Refusal{Status: http.StatusServiceUnavailable, Retry: time.Second, Detail: "too many connections of links are open: max_links"}
	}
	x.refused[why].Add(1)
	refusal.Write(w)
}

// admit finds the bridge that a request may dial. Who has a key of none learns of none.
func (x *bridges) admit(r *http.Request) (*span, refusedDial, *api.Refusal) {
	if refusal := api.RefusePage(r); refusal != nil {
		return nil, dialPage, refusal
	}
	all, opens, locked := x.running(), false, false
	for _, b := range all { // each is compared with, so that the time it takes tells nothing
		opens = b.keys.Open(r) || opens
		locked = !b.keys.None() || locked
	}
	switch {
	case len(all) == 0:
		return nil, dialUnknown, &api.Refusal{Status: http.StatusNotFound, Detail: "there is no bridge: bridges says which there are"}
	case !locked:
		return nil, dialKey, &api.Refusal{Status: http.StatusForbidden, Detail: "bridges are closed, since there is no key: bridges.NAME.keys, or one of the API (api.keys, --api-key, $SIOEDGE_API_KEY)"}
	case !opens:
		return nil, dialKey, x.api.RefuseKey(r, "a process that dials a bridge has a wrong key, or none (bridges.NAME.keys)", "bridges.NAME.keys, or of api.keys where those are empty")
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	name := query.Get("name")
	if name == "" && len(all) == 1 && err == nil {
		for name = range all {
		}
	}
	b := all[name]
	switch {
	case err != nil || name == "":
		return nil, dialUnknown, &api.Refusal{Status: http.StatusBadRequest, Detail: "which bridge is dialled is not said, and there are several: /bridge?name=NAME"}
	case b == nil:
		x.note.Warn("a process dials a bridge that there is not (bridges)", "name", fmt.Sprintf("%.64q", name), "address", r.RemoteAddr)
		return nil, dialUnknown, &api.Refusal{Status: http.StatusNotFound, Detail: fmt.Sprintf("there is no bridge %.64q: bridges says which there are", name)}
	case !b.keys.Open(r):
		x.note.Warn("a process dials a bridge with a key of another one (bridges.NAME.keys)", "name", name, "address", r.RemoteAddr)
		return nil, dialOther, &api.Refusal{Status: http.StatusForbidden, Detail: fmt.Sprintf("the key is of another bridge than %q", name)}
	}
	return b, 0, nil
}
