package sio

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
	next := EmitFunc(func(to BroadcastOperator, event string, args ...any) error { return emit(to, event, args) })
	for i := len(wraps) - 1; i >= 0; i-- {
		next = wraps[i](next)
	}
	return next(to, event, args...)
}

// Rooms returns the rooms that b addresses and those that it leaves out.
func (b BroadcastOperator) Rooms() (to, except []string) { return add(nil, b.to), add(nil, b.except) }

// Socket returns the only socket that b addresses; it is false if b is a
// broadcast.
func (b BroadcastOperator) Socket() (s Socket, only bool) {
	if !b.direct {
		return Socket{}, false
	}
	return b.socket(), true
}

// Namespace returns the namespace that b's sockets are in.
func (b BroadcastOperator) Namespace() *Namespace { return b.namespace() }
