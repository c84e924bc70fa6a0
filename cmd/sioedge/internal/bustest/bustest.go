// Package bustest joins servers within a test: adapters without a network, whose
// servers can be cut off from the others and connected again.
package bustest

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/sioedge/sioedge/rooms"
)

// A Bus joins the servers that have its adapters. What one says the others have heard
// when the method returns, unless one of the two is cut off: then it is lost.
type Bus struct {
	mu    sync.Mutex
	stops []*Adapter
}

// An Adapter is one server's end of a Bus, for sio.Options.Adapter.
type Adapter struct {
	bus *Bus

	// Guarded by bus.mu.
	host  rooms.Host
	open  map[string]int // namespaces
	cut   bool
	ended bool
	mute  bool
}

// New returns a Bus without servers.
func New() *Bus { return &Bus{} }

// Adapter returns one for a server that is to be joined.
func (b *Bus) Adapter() *Adapter {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := &Adapter{bus: b, open: map[string]int{}}
	b.stops = append(b.stops, a)
	return a
}

// Cut cuts the server off from all others, or connects it again.
func (a *Adapter) Cut(off bool) {
	a.bus.mu.Lock()
	defer a.bus.mu.Unlock()
	a.cut = off
}

// Mute has the server not answer what others ask, and be there all the same, or answer
// again.
func (a *Adapter) Mute(on bool) {
	a.bus.mu.Lock()
	defer a.bus.mu.Unlock()
	a.mute = on
}

// others returns the servers that hear this one.
func (a *Adapter) others() (all []rooms.Host) {
	a.bus.mu.Lock()
	defer a.bus.mu.Unlock()
	for _, o := range a.bus.stops {
		if o != a && o.host != nil && !o.ended && !o.cut && !a.cut && !a.ended {
			all = append(all, o.host)
		}
	}
	return all
}

// Start joins the server to the bus.
func (a *Adapter) Start(h rooms.Host) error {
	a.bus.mu.Lock()
	defer a.bus.mu.Unlock()
	a.host = h
	return nil
}

// Close takes the server off the bus.
func (a *Adapter) Close(context.Context) error {
	a.bus.mu.Lock()
	defer a.bus.mu.Unlock()
	a.ended = true
	return nil
}

// Open notes that the server has a namespace: those that have one are asked.
func (a *Adapter) Open(ns string) { a.opened(ns, 1) }

// Drop notes that it has it no more.
func (a *Adapter) Drop(ns string) { a.opened(ns, -1) }

func (a *Adapter) opened(ns string, n int) {
	a.bus.mu.Lock()
	defer a.bus.mu.Unlock()
	a.open[ns] += n
}

// Occupied does nothing.
func (a *Adapter) Occupied(string, string) {}

// Vacated does nothing.
func (a *Adapter) Vacated(string, string) {}

// OwnRooms is false.
func (a *Adapter) OwnRooms() bool { return false }

// Await does not wait.
func (a *Adapter) Await(context.Context, string, []string) error { return nil }

// Emit delivers an event to the others.
func (a *Adapter) Emit(t rooms.Target, e rooms.Event) {
	for _, h := range a.others() {
		h.Deliver(t, e)
	}
}

// Join is done by the others.
func (a *Adapter) Join(t rooms.Target, names []string) {
	for _, h := range a.others() {
		h.Join(t, names)
	}
}

// Leave is done by the others.
func (a *Adapter) Leave(t rooms.Target, names []string) {
	for _, h := range a.others() {
		h.Leave(t, names)
	}
}

// Disconnect is done by the others.
func (a *Adapter) Disconnect(t rooms.Target, closing bool) {
	for _, h := range a.others() {
		h.Disconnect(t, closing)
	}
}

// ServerSideEmit hands an event to the others.
func (a *Adapter) ServerSideEmit(ns string, e rooms.Event) {
	for _, h := range a.others() {
		h.ServerSide(ns, e, nil)
	}
}

// EmitAck has the others ask their sockets, one server after the other.
func (a *Adapter) EmitAck(ctx context.Context, t rooms.Target, e rooms.Event, asked func(int), answer func(rooms.Value)) error {
	for _, h := range a.others() {
		h.DeliverAck(ctx, t, e, asked, answer)
	}
	return ctx.Err()
}

// Members are those of the others.
func (a *Adapter) Members(_ context.Context, t rooms.Target) (all []rooms.Member, err error) {
	for _, h := range a.others() {
		all = append(all, h.Members(t)...)
	}
	return all, nil
}

// RoomNames are those of the others.
func (a *Adapter) RoomNames(_ context.Context, ns string) (all []string, err error) {
	for _, h := range a.others() {
		all = append(all, h.RoomNames(ns)...)
	}
	return all, nil
}

// ServerSideAsk asks the others and waits, for ctx at most.
func (a *Adapter) ServerSideAsk(ctx context.Context, ns string, e rooms.Event) (all []rooms.Value, err error) {
	type said struct {
		node string
		v    rooms.Value
	}
	asked, silent := a.having(ns)
	answers := make(chan said, len(asked))
	for _, h := range asked {
		h.ServerSide(ns, e, func(v rooms.Value) { answers <- said{h.Node(), v} })
	}
	for len(asked)+len(silent) > 0 {
		select {
		case x := <-answers:
			all = append(all, x.v)
			asked = slices.DeleteFunc(asked, func(h rooms.Host) bool { return h.Node() == x.node })
		case <-ctx.Done():
			e := &rooms.IncompleteError{Cause: ctx.Err()}
			for _, h := range append(asked, silent...) {
				e.Missing = append(e.Missing, h.Node())
			}
			return all, e
		}
	}
	return all, nil
}

// having returns the servers that hear this one and have a namespace: those that answer,
// and those that do not.
func (a *Adapter) having(ns string) (answering, silent []rooms.Host) {
	others := a.others()
	a.bus.mu.Lock()
	defer a.bus.mu.Unlock()
	for _, o := range a.bus.stops {
		switch {
		case !slices.Contains(others, o.host) || o.open[ns] <= 0:
		case o.mute:
			silent = append(silent, o.host)
		default:
			answering = append(answering, o.host)
		}
	}
	return answering, silent
}

// Peer knows the servers that can be heard.
func (a *Adapter) Peer(node string) (rooms.Peer, bool) {
	for _, h := range a.others() {
		if h.Node() == node {
			return rooms.Peer{Node: node, Addr: h.Advertise(), Token: h.Token()}, true
		}
	}
	return rooms.Peer{}, false
}

// Seek returns at once.
func (a *Adapter) Seek(context.Context, string) {}

// Status is up unless the server is cut off.
func (a *Adapter) Status() rooms.Status {
	a.bus.mu.Lock()
	st := rooms.Status{Up: !a.cut && !a.ended}
	a.bus.mu.Unlock()
	if !st.Up {
		st.Reason = "cut off"
	}
	for _, h := range a.others() {
		st.Peers = append(st.Peers, rooms.Peer{Node: h.Node()})
	}
	slices.SortFunc(st.Peers, func(x, y rooms.Peer) int { return strings.Compare(x.Node, y.Node) })
	return st
}
