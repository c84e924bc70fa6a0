package sio

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio/internal/collect"
	"github.com/sioedge/sioedge/sio/internal/confine"
	"github.com/sioedge/sioedge/sio/internal/ears"
	"github.com/sioedge/sioedge/sio/internal/framing"
	"github.com/sioedge/sioedge/sio/internal/history"
	"github.com/sioedge/sioedge/sio/parser"
)

// A host is the server as its adapter sees it.
type host struct {
	srv     *Server
	adapter rooms.Adapter // guarded
	log     rooms.Log     // the same; nil: it keeps no events

	mu    sync.RWMutex
	known map[uint32]*known // by the ids of instances
}

// known is what the adapter is told of an instance, and of its rooms. Each Occupied
// that it is told has its Vacated, also if the instance has gone before.
type known struct {
	in    *instance
	name  string
	rooms atomic.Int32 // that it has been told

	// Guarded by host.mu, and changed with that locked for writing.
	told, gone bool
	untold     map[string]struct{} // the rooms as long as it is not told
}

// newHost returns the server as its adapter will see it.
func newHost(srv *Server, adapter rooms.Adapter) *host {
	h := &host{srv: srv, adapter: confine.Adapter(adapter, srv.adapterPanicked), known: map[uint32]*known{}}
	h.log, _ = h.adapter.(rooms.Log)
	return h
}

// join connects the server to its cluster. Namespaces may be made from now on.
func (srv *Server) join(h *host) error {
	a := h.adapter
	if err := a.Start(h); err != nil {
		return err
	}
	srv.cluster = a
	srv.relay.Join(a)
	srv.tellsOwn = a.OwnRooms()
	r := &srv.registry
	r.made, r.opened, r.dropped, r.known = h.made, h.opened, h.dropped, a.Open
	srv.rooms.Watch(h.watch)
	return nil
}

// adapterPanicked notes a panic of the adapter, and returns what its caller gets.
func (srv *Server) adapterPanicked(method string, value any) error {
	e := &PanicError{value, debug.Stack()}
	srv.notice.Warn("the adapter has panicked", "method", method, "error", e)
	return e
}

// made notes an instance that nobody has been admitted to yet: until then it is no
// other server's business, and costs Redis nothing.
func (h *host) made(in *instance) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known[in.id] = &known{in: in, name: in.name}
}

// opened tells the adapter of an instance, and of the rooms that it already has.
func (h *host) opened(in *instance) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.known[in.id]
	h.adapter.Open(k.name)
	for room := range k.untold {
		k.rooms.Add(1)
		h.adapter.Occupied(k.name, room)
	}
	k.told, k.untold = true, nil
}

// dropped tells it that an instance has gone, of which it may have been told.
func (h *host) dropped(in *instance) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.known[in.id]
	if k.told && !h.srv.hushed.Load() {
		h.adapter.Drop(k.name)
	}
	if k.gone = true; !k.told || k.rooms.Load() == 0 {
		delete(h.known, in.id)
	}
}

// watch tells it of a room, if it knows the instance. The room's shard is locked.
func (h *host) watch(ns uint32, room string, occupied bool) {
	h.mu.RLock()
	k := h.known[ns]
	if k != nil {
		k.in.ns.occupied(k.name, room, occupied)
	}
	told := k != nil && k.told
	last := told && h.tell(k, room, occupied)
	h.mu.RUnlock()
	if k == nil || told && !last {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !k.told && occupied:
		if k.untold == nil {
			k.untold = map[string]struct{}{}
		}
		k.untold[room] = struct{}{}
	case !k.told:
		delete(k.untold, room)
	case !told: // it has been told meanwhile
		last = h.tell(k, room, occupied)
	}
	if last && k.gone && k.rooms.Load() == 0 && h.known[ns] == k {
		delete(h.known, ns)
	}
}

// tell is watch for an instance that the adapter knows; last says that it may be
// forgotten. h.mu is held.
func (h *host) tell(k *known, room string, occupied bool) (last bool) {
	if occupied {
		k.rooms.Add(1)
		h.adapter.Occupied(k.name, room)
		return false
	}
	if !h.srv.hushed.Load() {
		h.adapter.Vacated(k.name, room)
	}
	return k.rooms.Add(-1) == 0 && k.gone
}

// tellOwn says that a socket's own room has, or has no more, a member, to an
// adapter that wants to know.
func (sh *shard) tellOwn(slot uint32, occupied bool) {
	if !sh.srv.tellsOwn {
		return
	}
	tell := sh.srv.cluster.Vacated
	if occupied {
		tell = sh.srv.cluster.Occupied
	}
	tell(sh.instance(slot).name, sh.id(slot))
}

// Cluster returns how the adapter is and what it did; zero without one.
func (srv *Server) Cluster() rooms.Status {
	if srv.cluster == nil {
		return rooms.Status{}
	}
	st := srv.cluster.Status()
	srv.seq.status(&st)
	return st
}

// part leaves the cluster.
func (srv *Server) part(ctx context.Context) error {
	srv.lastly.say(closedContext)
	if srv.cluster == nil || srv.parted.Swap(true) {
		return nil
	}
	return srv.cluster.Close(ctx)
}

// at returns the operator for a target of the cluster's, of this server alone.
// It is false if the server knows no such namespace.
func (h *host) at(t rooms.Target) (b BroadcastOperator, ok bool) {
	b = BroadcastOperator{to: t.Rooms, except: t.Except, local: true, heard: true}
	r := &h.srv.registry
	if in := r.called(t.Namespace); in != nil {
		if b.ns = in.ns; in.ns.pattern == nil || in.name != in.ns.name { // else all instances of the pattern are meant
			b.in = in
		}
		return b, true
	}
	b.ns = r.withPattern(t.Namespace)
	return b, b.ns != nil
}

// Node returns what the ids of this server begin with.
func (h *host) Node() string { return string(h.srv.o.Engine.Node) }

// Advertise is where other servers reach this one.
func (h *host) Advertise() string { return h.srv.o.Advertise }

// Token is what other servers derive of how this one proves who it is.
func (h *host) Token() string { return h.srv.relay.Token() }

// Deliver sends an event to the sockets of this server.
func (h *host) Deliver(t rooms.Target, e rooms.Event) {
	if b, ok := h.at(t); ok && !h.srv.overcrowded(e.Volatile) {
		b.volatile, b.plain = e.Volatile, e.Plain
		h.srv.seq.deliver(b.classed(e), e)
	}
}

// DeliverAck sends an event that the sockets of this server are to answer.
func (h *host) DeliverAck(ctx context.Context, t rooms.Target, e rooms.Event, counted func(int), answer func(rooms.Value)) {
	b, ok := h.at(t)
	if !ok {
		counted(0)
		return
	}
	c := collect.New[Args]()
	c.Each, c.Asked = func(a Args) { answer(a.value()) }, counted
	p := &pendingAck{done: c.Answer}
	b.poll(c, p, e)
	select {
	case <-c.All:
	case <-ctx.Done():
		b.forget(p)
	}
}

// Join puts sockets of this server into rooms. Like Leave and Disconnect, it does not
// wait for a loop that has much to do: whoever calls it reads a lane of the cluster,
// for all other servers, and the one that asks has waited for its own loops.
func (h *host) Join(t rooms.Target, names []string) {
	if b, ok := h.at(t); ok {
		h.srv.seq.changeNow(func(effect uint64) { b.join(names, effect) })
	}
}

// Leave takes sockets of this server out of rooms.
func (h *host) Leave(t rooms.Target, names []string) {
	if b, ok := h.at(t); ok {
		h.srv.seq.changeNow(func(effect uint64) { b.leave(names, effect) })
	}
}

// Disconnect disconnects sockets of this server.
func (h *host) Disconnect(t rooms.Target, closing bool) {
	if b, ok := h.at(t); ok {
		h.srv.seq.changeNow(func(uint64) { b.disconnect(DisconnectOptions{Conn: closing}) })
	}
}

// Members describes sockets of this server.
func (h *host) Members(t rooms.Target) []rooms.Member {
	b, ok := h.at(t)
	if !ok || slices.Contains(t.Except, foreign) {
		return nil
	}
	return b.members()
}

// Count counts sockets of this server.
func (h *host) Count(t rooms.Target) int {
	b, ok := h.at(t)
	if !ok {
		return 0
	}
	return b.Count()
}

// RoomNames returns the names of this server's rooms.
func (h *host) RoomNames(namespace string) []string {
	b, ok := h.at(rooms.Target{Namespace: namespace})
	if !ok {
		return nil
	}
	return b.roomNames()
}

// ServerSide hands over what another server said.
func (h *host) ServerSide(namespace string, e rooms.Event, answer func(rooms.Value)) {
	if b, ok := h.at(rooms.Target{Namespace: namespace}); ok {
		b.ns.heard(e, answer)
	}
}

// Load tells how much there is to do. It waits for the loops.
func (h *host) Load() (l rooms.Load) {
	for _, sh := range h.srv.shards {
		sh.loop.Ask(func() {
			l.Sessions += h.srv.eio.Count(sh.loop)
			l.Sockets += sh.sockets.Len()
		})
	}
	return l
}

// ServerSideEmit sends an event to the same namespace of the other servers,
// whose [Namespace.HandleServerSide] gets it. Alone, or with Local, a server
// sends it to nobody. It does not wait; the error is an *[EncodeError]. Node:
// serverSideEmit.
func (b BroadcastOperator) ServerSideEmit(event string, args ...any) error {
	e, err := b.server().serverEvent(event, args)
	if err != nil {
		return err
	}
	if c, t := b.cluster(); c != nil {
		c.ServerSideEmit(t.Namespace, e)
	}
	return nil
}

// ServerSideAsk is ServerSideEmit and waits for an answer of each of the other
// servers, or for ctx. If some did not answer, the error is a
// *[rooms.IncompleteError] and comes with the answers of the others. Node:
// serverSideEmitWithAck.
func (b BroadcastOperator) ServerSideAsk(ctx context.Context, event string, args ...any) ([]Args, error) {
	e, err := b.server().serverEvent(event, args)
	if err != nil {
		return nil, err
	}
	c, t := b.cluster()
	switch {
	case c == nil:
		return nil, nil
	case b.server().engine.OnLoop():
		return nil, ErrInline
	}
	values, err := c.ServerSideAsk(ctx, t.Namespace, e)
	answers := make([]Args, len(values))
	for i, v := range values {
		answers[i] = argsOf(v)
	}
	return answers, err
}

// ServerSideEmit is that of All, see [BroadcastOperator.ServerSideEmit].
func (n *Namespace) ServerSideEmit(event string, args ...any) error {
	return n.All().ServerSideEmit(event, args...)
}

// ServerSideAsk is that of All and waits like it, see [BroadcastOperator.ServerSideAsk].
func (n *Namespace) ServerSideAsk(ctx context.Context, event string, args ...any) ([]Args, error) {
	return n.All().ServerSideAsk(ctx, event, args...)
}

// HandleServerSide sets the handler of an event that other servers send with
// ServerSideEmit. Handlers run in order, one at a time for the namespace, on a
// goroutine, and may block. If [Msg.WantsAck], the first argument of Ack is
// the answer. It panics for a reserved name. Node: nsp.on.
func (n *Namespace) HandleServerSide(event string, h func(m *Msg) error) {
	if serverReserved(event) {
		panic("sio: no server can send " + event)
	}
	n.change(func(t *table) {
		t.servers = maps.Clone(t.servers)
		if t.servers == nil {
			t.servers = map[string]func(*Msg) error{}
		}
		t.servers[event] = h
	})
}

// serverEvent encodes an event between servers. Node's reserved names are no
// events there.
func (srv *Server) serverEvent(event string, args []any) (rooms.Event, error) {
	if serverReserved(event) {
		return rooms.Event{}, fmt.Errorf("sio: %w %q", value.ErrReserved, event)
	}
	e, err := srv.encodeEvent(event, args)
	return framing.Own(e), err // others keep it
}

func serverReserved(event string) bool {
	return slices.Contains([]string{"connect", "connection", "new_namespace"}, event) || value.Reserved(event)
}

// heard hands an event of another server to its handler.
func (n *Namespace) heard(e rooms.Event, answer func(rooms.Value)) {
	var list parser.Packet
	if err := parser.Parse(append([]byte{'0' + byte(parser.Event)}, e.Data...), n.srv.o.Limits, &list); err != nil {
		n.srv.notice.Warn("another server sent an event that cannot be read", "namespace", n.name, "error", err)
		return
	}
	h := n.table.Load().servers[string(list.Event)]
	if string(list.Event) == history.Question {
		h = n.tellHistory
	}
	if h == nil {
		return
	}
	m := &Msg{s: Socket{in: &instance{ns: n, name: n.name}}, event: string(list.Event), wants: answer != nil, reply: answer}
	m.raw, m.buffers = list.Args, e.Attachments
	size := len(e.Data) + ears.Overhead
	for _, a := range e.Attachments {
		size += len(a)
	}
	turn := n.srv.handlers.Begin()
	if !n.ears.Put(size, func() {
		defer n.srv.handlers.End(turn)
		n.srv.call(m.s, m.event, func() error { return h(m) })
	}) {
		n.srv.handlers.End(turn)
		n.srv.unheard.Add(1)
		n.srv.notice.Warn("events of other servers are not handled, since too much waits for the handlers", "namespace", n.name, "bytes", ears.MaxBytes)
	}
}

// valueOf is the answer that the first of args is, in memory of its own.
func (srv *Server) valueOf(args []any) (rooms.Value, error) {
	if len(args) > 0 {
		if v, ok := args[0].(value.Verbatim); ok { // several, perhaps, of which the first
			raw, buffers := v.Verbatim()
			args = []any{Args{raw[:min(len(raw), 1)], buffers}}[:min(len(raw), 1)]
		}
	}
	data, attachments, err := value.AppendArgs(nil, args[:min(len(args), 1)], srv.o.Limits.MaxAttachments)
	if err != nil {
		return rooms.Value{}, encodeError(err)
	}
	if len(args) == 0 {
		return rooms.Value{}, nil
	}
	return rooms.Value{Data: data[1 : len(data)-1], Attachments: framing.CloneAll(attachments)}, nil
}

// argsOf is an answer as arguments.
func argsOf(v rooms.Value) Args {
	if v.Data == nil {
		return Args{}
	}
	return Args{raw: [][]byte{v.Data}, buffers: v.Attachments}
}

// value is the first of the arguments, as an answer.
func (a Args) value() rooms.Value {
	if len(a.raw) == 0 {
		return rooms.Value{}
	}
	return rooms.Value{Data: a.raw[0], Attachments: a.buffers}
}
