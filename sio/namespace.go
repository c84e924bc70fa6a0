package sio

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio/internal/ears"
	"github.com/sioedge/sioedge/sio/internal/pattern"
)

// A Handler handles an event. Its error goes to Options.OnError and never
// disconnects. Msg is valid until it returns, and longer unless the handler is
// inline.
type Handler func(s Socket, m *Msg) error

// A Middleware admits a socket to its namespace, or refuses it with an error:
// an *[Error] for a message of the client's, any other for "internal error".
type Middleware func(s Socket) error

// A Namespace is where sockets, events and rooms live: handlers are registered
// on it and broadcasts start from it. Its methods may be called from any
// goroutine; what is registered later holds for sockets that are already
// connected too.
type Namespace struct {
	srv     *Server
	name    string
	in      *instance // of a literal name; else one of the next is set
	pattern *pattern.Pattern
	match   func(name string, auth json.RawMessage) bool
	live    int // instances; guarded by registry.mu; unused by literals

	ears           ears.Queue          // of what other servers say
	lanes          [roomLanes]moveLane // of what happens in rooms
	mu             sync.Mutex          // held while registering
	added, counted bool                // clients can join it; it is among registry.curious; guarded by mu
	table          atomic.Pointer[table]
	history        atomic.Pointer[keeper] // nil: nothing is kept of rooms
}

// A table is an immutable snapshot of what is registered.
type table struct {
	use           []Middleware
	gates         []func(Socket, Inbound) Verdict
	wrap          []func(Handler) Handler
	events        map[string]*entry
	any           *entry
	connect       []func(Socket) error
	upgrade       []func(Socket)
	disconnecting []func(Socket, Reason)
	disconnect    []func(Socket, Reason)
	outgoing      []func(EmitFunc) EmitFunc
	servers       map[string]func(*Msg) error
	classes       map[string]func(Args) Class
	rooms         *roomHooks                                        // nil: none
	brief, closed bool                                              // see NeedsRequest, ServersOnly
	may           func(name string, param func(string) string) bool // see Restrict; nil: all
}

type entry struct {
	event   string  // "" of the fallback
	handler Handler // as registered
	run     Handler // with the wrappers around it
	inline  bool
}

func (t *table) lookup(event []byte) *entry {
	if e := t.events[string(event)]; e != nil {
		return e
	}
	return t.any
}

// change registers something: f edits a copy of the table.
func (n *Namespace) change(f func(t *table)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := *n.table.Load()
	events := make(map[string]*entry, len(t.events)+1)
	for k, v := range t.events {
		events[k] = v
	}
	t.events = events
	f(&t)
	n.table.Store(&t)
	n.srv.registry.count(n)
}

// wrapped returns e with t's wrappers around its handler, the first registered
// outermost.
func (t *table) wrapped(e entry) *entry {
	e.run = e.handler
	for i := len(t.wrap) - 1; i >= 0; i-- {
		e.run = t.wrap[i](e.run)
	}
	return &e
}

// Name returns the name, such as "/chat", or the pattern.
func (n *Namespace) Name() string { return n.name }

// Namespaces returns the namespaces that have been made, with those of patterns and
// functions, in the order in which a name is looked up among these.
func (srv *Server) Namespaces() []*Namespace { return slices.Clone(*srv.registry.all.Load()) }

// Instance addresses every socket in one instance of a namespace with
// parameters: its name as clients join it, such as "/campaigns/42/trends". If it is not
// live at that moment it is nobody, but for those who are away and come back: see [Recovery].
func (n *Namespace) Instance(name string) BroadcastOperator {
	return BroadcastOperator{ns: n, name: name}
}

// Use adds middlewares, which run in order for each socket that wants in. Their
// methods on the socket work: what they emit is delivered if the socket is
// admitted, the rooms they join are left if it is not.
func (n *Namespace) Use(m ...Middleware) {
	n.change(func(t *table) { t.use = append(t.use[:len(t.use):len(t.use)], m...) })
}

// UseEvent wraps the handler of every event, as Node's socket.use and onAny do; of one
// that has none, a handler that does nothing, as that of [Namespace.HandleAny] would
// be: on a goroutine. A wrapper may not call the handler, call it with other arguments
// ([Msg.With]) or another context ([Msg.WithContext]), or look at its error. So it is
// where events are traced.
func (n *Namespace) UseEvent(wrap func(Handler) Handler) {
	n.change(func(t *table) {
		t.wrap = append(t.wrap[:len(t.wrap):len(t.wrap)], wrap)
		for k, e := range t.events {
			t.events[k] = t.wrapped(*e)
		}
		if t.any == nil {
			t.any = &entry{handler: func(Socket, *Msg) error { return nil }}
		}
		t.any = t.wrapped(*t.any)
	})
}

// Handle sets the handler of an event. It runs on a goroutine of the socket's
// and may block. A second one for the same event replaces the first. It panics for
// the names that Socket.IO keeps for itself, which no client can send: connect,
// connect_error, disconnect, disconnecting, newListener and removeListener.
func (n *Namespace) Handle(event string, h Handler) { n.handle(event, h, false) }

// HandleInline sets a handler that runs on the event loop: it saves the
// hand-over and the copy of the message. It must not block, as it holds up
// thousands of other sockets meanwhile: what asks sockets of this server (Rooms,
// Sockets …) may be called, also by handlers of several loops at once, what waits
// for clients or other servers returns [ErrInline]. It must not call runtime.Goexit
// either, as a test's FailNow does: that ends the server, see [loop.ErrExited]. Msg
// and what Raw returns are views, valid until it returns. It does not wait for the
// socket's other events, but for OnConnect: what comes before that has returned
// runs behind it, on the socket's goroutine.
func (n *Namespace) HandleInline(event string, h Handler) { n.handle(event, h, true) }

func (n *Namespace) handle(event string, h Handler, inline bool) {
	if value.Reserved(event) {
		panic("sio: no client can send " + event + ": see OnConnect, OnDisconnecting and OnDisconnect")
	}
	n.change(func(t *table) { t.events[event] = t.wrapped(entry{event: event, handler: h, inline: inline}) })
}

// HandleAny sets the handler of the events that have none of their own.
func (n *Namespace) HandleAny(h Handler) {
	n.change(func(t *table) { t.any = t.wrapped(entry{handler: h}) })
}

// HandleAnyInline is HandleAny on the event loop: see [Namespace.HandleInline].
func (n *Namespace) HandleAnyInline(h Handler) {
	n.change(func(t *table) { t.any = t.wrapped(entry{handler: h, inline: true}) })
}

// OnConnect adds a function that is called when a socket has been admitted and
// its client told so, before any event of it. An error disconnects the socket.
func (n *Namespace) OnConnect(h func(Socket) error) {
	n.change(func(t *table) { t.connect = append(t.connect[:len(t.connect):len(t.connect)], h) })
}

// OnDisconnecting adds a function that is called when a socket leaves, while it
// is still in its rooms.
func (n *Namespace) OnDisconnecting(h func(Socket, Reason)) {
	n.change(func(t *table) {
		t.disconnecting = append(t.disconnecting[:len(t.disconnecting):len(t.disconnecting)], h)
	})
}

// OnDisconnect adds a function that is called when a socket has left, after
// the handlers of all its events.
func (n *Namespace) OnDisconnect(h func(Socket, Reason)) {
	n.change(func(t *table) { t.disconnect = append(t.disconnect[:len(t.disconnect):len(t.disconnect)], h) })
}

// All addresses every socket of the namespace, in all its instances.
func (n *Namespace) All() BroadcastOperator { return BroadcastOperator{ns: n, in: n.in} }

// Count is that of [Namespace.All].
func (n *Namespace) Count() int { return n.All().Count() }

// To addresses the sockets in any of the rooms, each once. A socket's id is a
// room of its own.
func (n *Namespace) To(rooms ...string) BroadcastOperator { return n.All().To(rooms...) }

// Except addresses every socket but those in the rooms.
func (n *Namespace) Except(rooms ...string) BroadcastOperator { return n.All().Except(rooms...) }

// Emit sends an event to every socket of the namespace; see [BroadcastOperator.Emit].
func (n *Namespace) Emit(event string, args ...any) error { return n.All().Emit(event, args...) }

// Typed makes a Handler of a function that takes the event's first argument as
// a T. An event without arguments gives the zero T.
func Typed[T any](h func(Socket, T) error) Handler {
	return func(s Socket, m *Msg) error {
		var v T
		if err := m.Decode(&v); err != nil {
			return err
		}
		return h(s, v)
	}
}

// TypedAck makes a Handler of a function that takes the event's first argument
// as a T and returns what the client is answered, if it wants to know: the
// result, or of an error {"error": message} with "data" if the error has any.
// See [Error] for what the client sees of an error.
func TypedAck[T, R any](h func(Socket, T) (R, error)) Handler {
	return func(s Socket, m *Msg) error {
		err := ackResult(h, s, m)
		if err == nil {
			return nil
		}
		return m.ackError(err)
	}
}

// ackError answers an error. It returns nil if that was meant for the client, who has
// it, else the error to report.
func (m *Msg) ackError(err error) error {
	e := internalError
	answer := map[string]any{}
	ackErr := m.s.srv().guard(func() error { // Data may panic as it is encoded
		e = clientError(err)
		if answer["error"] = e.Message; e.Data != nil {
			answer["data"] = e.Data
		}
		return m.Ack(answer)
	})
	if ackErr != nil {
		return errors.Join(ackErr, m.Ack(map[string]any{"error": e.Message}))
	}
	if e == err {
		return nil
	}
	return err
}

// ackResult has h called and the client answered. An error, or a panic, means
// that it was not; but a client whose handler has ended the goroutine is.
func ackResult[T, R any](h func(Socket, T) (R, error), s Socket, m *Msg) (err error) {
	returned := false
	defer func() {
		if !returned {
			_ = m.Ack(map[string]any{"error": internalError.Message})
		}
	}()
	err = ackReturned(h, s, m)
	returned = true
	return err
}

func ackReturned[T, R any](h func(Socket, T) (R, error), s Socket, m *Msg) (err error) {
	defer s.srv().recovered(&err)
	var v T
	if err := m.Decode(&v); err != nil {
		return err
	}
	r, err := h(s, v)
	if err != nil {
		return err
	}
	return m.Ack(r)
}

// On sets the handler of an event whose first argument is a T.
func On[T any](n *Namespace, event string, h func(Socket, T) error) { n.Handle(event, Typed(h)) }

// OnAck sets the handler of an event whose first argument is a T and that is
// acknowledged with an R. See [TypedAck].
func OnAck[T, R any](n *Namespace, event string, h func(Socket, T) (R, error)) {
	n.Handle(event, TypedAck(h))
}

// Ask sends an event and waits for the client's acknowledgement as an R. See
// [Socket.EmitAck].
func Ask[R any](ctx context.Context, s Socket, event string, args ...any) (R, error) {
	var r R
	a, err := s.EmitAck(ctx, event, args...)
	if err == nil {
		err = a.Decode(&r)
	}
	return r, err
}

// An Emitter is what an event can be sent to: a Socket, a Namespace, a
// BroadcastOperator.
type Emitter interface {
	Emit(event string, args ...any) error
}

// An Event is an event's name together with the type of its argument, for
// contracts that the compiler checks at both ends.
type Event[T any] string

// On sets the event's handler.
func (e Event[T]) On(n *Namespace, h func(Socket, T) error) { On(n, string(e), h) }

// Emit sends the event. The error is that of the Emitter, see [Socket.Emit] and
// [BroadcastOperator.Emit].
func (e Event[T]) Emit(to Emitter, v T) error { return to.Emit(string(e), v) }

// An EmitFunc emits an event, or what a wrapper makes of it.
type EmitFunc func(to BroadcastOperator, event string, args ...any) error

// UseEmit wraps every emit of the namespace, to one socket or to many, those
// that wait for acknowledgements included, on the goroutine that emits. A wrapper
// may pass other arguments on, emit something else, or not go on: then nothing
// is sent, and its error is that of Emit. It must not change args. Node calls
// onAnyOutgoing for each recipient; this is called once, and of what other
// servers emit it sees nothing.
func (n *Namespace) UseEmit(wrap func(next EmitFunc) EmitFunc) {
	n.change(func(t *table) { t.outgoing = append(t.outgoing[:len(t.outgoing):len(t.outgoing)], wrap) })
}

// outgoing has an event emitted through the wrappers, the first registered
// outermost.
func (n *Namespace) outgoing(to BroadcastOperator, event string, args []any, emit func(BroadcastOperator, string, []any) error) error {
	wraps := n.table.Load().outgoing
	if len(wraps) == 0 {
		return emit(to, event, args)
	}
	next := EmitFunc(func(to BroadcastOperator, event string, args ...any) error {
		if n.srv.watch != nil {
			return to.watched(event, args, emit)
		}
		return emit(to, event, args)
	})
	for i := len(wraps) - 1; i >= 0; i-- {
		next = wraps[i](next)
	}
	return next(to, event, args...)
}

// Of returns a namespace, which is made if it is new. A leading slash is added
// if it is missing; "" is "/". It panics if name cannot be one: a comma would
// end it on the wire, and with a # it would be a room's name between servers.
//
// A segment ":name" is a parameter, one of any value, and a last segment
// "*name" takes all that follows:
//
//	trends := srv.Of("/campaigns/:id/trends")
//	trends.OnConnect(func(s sio.Socket) error { return subscribe(s.Param("id")) })
//
// Such a namespace has an instance for each name that clients have joined, as
// long as they are there. Its handlers and middlewares serve all of them, its
// operators address all of them, and [Namespace.Instance] one. Rooms belong to
// an instance. For a name that several namespaces have, the first segment in
// which they differ decides: a literal goes before a parameter, and that before
// a wildcard. A literal namespace shares nothing with a pattern that has its
// name, the middlewares included.
//
// Each value of a parameter has one spelling, that of a path in an IRI (RFC 3987),
// and [Socket.Param] decodes it: a space, for one, is %20, and ä, : and @ are
// themselves. Clients that spell it otherwise are refused, as are those that
// escape a slash, and "." and ".." as a segment: so two names never mean the same,
// nor what is elsewhere.
func (srv *Server) Of(name string) *Namespace { return srv.Define(name, func(*Namespace) {}) }

// Define is [Server.Of] for a server that has clients: a new namespace is one that
// they can join when setup has returned, which registers what it does. Of one that
// is there already, setup is not called. Another one of the same name may be made
// meanwhile: that is returned.
func (srv *Server) Define(name string, setup func(n *Namespace)) *Namespace {
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	if strings.ContainsAny(name, ",#") {
		panic("sio: namespace " + name + " has a comma or a #")
	}
	p := pattern.Parse(name)
	ns, there := srv.registry.define(name, p, nil)
	if there {
		return ns
	}
	ns.srv = srv
	ns.table.Store(srv.emptyTable())
	setup(ns)
	ns, _ = srv.registry.define(name, p, ns)
	return ns
}

// define returns the namespace of a name, or adds ns; or, if that is nil, returns a
// new one that is not there yet. It panics if there is a pattern that has the same
// names.
func (r *registry) define(name string, p *pattern.Pattern, ns *Namespace) (_ *Namespace, there bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, other := range *r.all.Load() {
		switch {
		case other.name == name && other.match == nil:
			return other, true
		case p != nil && other.pattern != nil && p.Alike(other.pattern):
			panic("sio: namespaces " + name + " and " + other.name + " have the same names")
		}
	}
	if ns != nil {
		r.add(ns)
		return ns, true
	}
	ns = &Namespace{name: name, pattern: p}
	if p == nil {
		ns.in = r.newInstance(ns, name, nil)
	}
	return ns, false
}

// OfFunc returns a namespace with an instance for each name that match allows,
// given the client's auth as JSON (nil if there is none). Functions are asked
// last, in the order of registration, on the event loop: they must not block.
func (srv *Server) OfFunc(match func(name string, auth json.RawMessage) bool) *Namespace {
	r := &srv.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	ns := &Namespace{srv: srv, name: "(function)", match: match}
	ns.table.Store(srv.emptyTable())
	r.add(ns)
	return ns
}

// emptyTable is a namespace's before anything is registered. If the server is
// watched, every emit passes through its wrappers, where it is seen.
func (srv *Server) emptyTable() *table {
	if srv.watch == nil {
		return &table{}
	}
	return &table{outgoing: []func(EmitFunc) EmitFunc{func(next EmitFunc) EmitFunc { return next }}}
}
