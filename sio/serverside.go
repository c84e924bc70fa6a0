package sio

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio/parser"
)

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
	return own(e), err // others keep it
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
	if h == nil {
		return
	}
	m := &Msg{s: Socket{in: &instance{ns: n, name: n.name}}, event: string(list.Event), wants: answer != nil, reply: answer}
	m.raw, m.buffers = list.Args, e.Attachments
	size := len(e.Data) + earOverhead
	for _, a := range e.Attachments {
		size += len(a)
	}
	n.srv.handlers.Add(1)
	if !n.ears.put(size, func() {
		defer n.srv.handlers.Done()
		n.srv.call(m.s, m.event, func() error { return h(m) })
	}) {
		n.srv.handlers.Done()
		n.srv.unheard.Add(1)
		n.srv.notice.Warn("events of other servers are not handled, since too much waits for the handlers", "namespace", n.name, "bytes", maxHeard)
	}
}

const (
	maxHeard    = 16 << 20 // bytes that may wait for the handlers of a namespace
	earOverhead = 256      // bytes, of what waits beside its payload
)

// ears run what other servers said, in order, on a goroutine that exists while
// there is something.
type ears struct {
	mu      sync.Mutex
	heard   []saying
	rest    []saying // of those being run
	bytes   int
	running bool
}

// A saying is what another server said: run handles it.
type saying struct {
	size int
	run  func()
}

// put is false if too much waits already.
func (q *ears) put(size int, f func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.bytes+size > maxHeard && q.bytes > 0 {
		return false
	}
	q.bytes += size
	q.heard = append(q.heard, saying{size, f})
	if !q.running {
		q.running = true
		// ends when nothing is left
		go q.work()
	}
	return true
}

func (q *ears) work() {
	quiet := false
	defer func() {
		if !quiet { // a handler has ended this goroutine
			// ends when nothing is left
			go q.work()
		}
	}()
	for {
		q.mu.Lock()
		if len(q.rest) == 0 {
			q.rest, q.heard = q.heard, nil
		}
		quiet = len(q.rest) == 0
		q.running = !quiet
		if quiet {
			q.mu.Unlock()
			return
		}
		x := q.rest[0]
		q.rest, q.bytes = q.rest[1:], q.bytes-x.size
		q.mu.Unlock()
		x.run()
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
	return rooms.Value{Data: data[1 : len(data)-1], Attachments: cloneAll(attachments)}, nil
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

// A collection gathers the acknowledgements of a broadcast.
type collection struct {
	all   chan struct{}     // closed when nothing is due
	each  func(Args)        // gets the answers, in place of answers; nil: none
	asked func(clients int) // is told how many have been asked, once all have; nil: nobody

	mu      sync.Mutex
	due     int // what must still happen: loops, answers and whoever else is waited for
	loops   int // of these, loops that have not sent yet
	clients int // that have been asked
	answers []Args
}

func newCollection() *collection { return &collection{all: make(chan struct{})} }

func (c *collection) expect(n int) {
	c.mu.Lock()
	c.due += n
	c.mu.Unlock()
}

func (c *collection) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.due--; c.due == 0 {
		close(c.all)
	}
}

// begin says that loops are about to send.
func (c *collection) begin(loops int) {
	c.mu.Lock()
	c.due += loops
	c.loops += loops
	c.mu.Unlock()
}

// ask says that a loop asks a client.
func (c *collection) ask() {
	c.mu.Lock()
	c.due++
	c.clients++
	c.mu.Unlock()
}

// sent says that a loop has sent, or has ended.
func (c *collection) sent() {
	c.mu.Lock()
	c.loops--
	last, clients := c.loops == 0, c.clients
	c.mu.Unlock()
	if last && c.asked != nil {
		c.asked(clients)
	}
	c.settle()
}

// answer is what a pendingAck calls.
func (c *collection) answer(a Args, err error) {
	if err == nil {
		c.add(a)
	}
	c.settle()
}

func (c *collection) add(a Args) {
	if c.each != nil {
		c.each(a)
		return
	}
	c.mu.Lock()
	c.answers = append(c.answers, a)
	c.mu.Unlock()
}

func (c *collection) take() []Args {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.answers)
}
