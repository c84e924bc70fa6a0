package sio

import (
	"context"
	"slices"
	"sync"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/parser"
)

// A pendingAck is an acknowledgement that a client owes. done is called
// once for each socket that owes it, on its loop, and must not block.
type pendingAck struct {
	done func(a Args, err error)
}

// EmitAck sends an event and waits for the client's acknowledgement, for ctx,
// or for the socket to leave ([ErrClosed]). A handler may wait, unless it is
// inline; the socket's other events wait with it, but acknowledgements do not,
// unless so many events wait that the client is not read from any more. So ctx
// should have a deadline. In an inline handler the error is [ErrInline].
func (s Socket) EmitAck(ctx context.Context, event string, args ...any) (Args, error) {
	var a Args
	err := s.in.ns.outgoing(s.itself(), event, args, func(b BroadcastOperator, event string, args []any) (err error) {
		a, err = s.question(ctx, event, args, b.plain)
		return err
	})
	return a, err
}

// question is EmitAck behind the wrappers; what is plain is never compressed.
func (s Socket) question(ctx context.Context, event string, args []any, plain bool) (Args, error) {
	switch {
	case s.gone():
		return Args{}, ErrClosed
	case s.srv().engine.OnLoop():
		return Args{}, ErrInline
	}
	e, err := s.srv().encodeEvent(event, args)
	if err != nil {
		return Args{}, err
	}
	type answer struct {
		args Args
		err  error
	}
	answers := make(chan answer, 1)
	id := s.in.acks.Add(1) - 1
	frames := frame(s.in.name, e, id, true)
	pending := &pendingAck{done: func(a Args, err error) { answers <- answer{a, err} }}
	sh := s.shard()
	s.ordered(func() {
		if !sh.loop.Post(loop.TaskFunc(func(*loop.Loop) { sh.askClient(s, id, pending, frames, plain) })) {
			pending.done(Args{}, ErrClosed)
		}
	})
	select {
	case a := <-answers:
		return a.args, a.err
	case <-ctx.Done():
		s.post(func(sh *shard, slot uint32) { sh.takeAck(slot, id) })
		select {
		case a := <-answers: // of a client that left, which is why ctx is done
			return a.args, a.err
		default:
			return Args{}, ctx.Err()
		}
	}
}

// askClient sends an event to be acknowledged.
func (sh *shard) askClient(s Socket, id uint64, p *pendingAck, frames []byte, plain bool) {
	slot := sh.lookup(s.ref)
	if slot == 0 || sh.sockets.At(slot).state == leaving {
		p.done(Args{}, ErrClosed)
		return
	}
	if !sh.await(slot, id, p) {
		p.done(Args{}, ErrTooManyAcks)
		return
	}
	sh.send(slot, frames, plain)
}

// await expects an acknowledgement of a socket; it is false if too many are due.
func (sh *shard) await(slot uint32, id uint64, p *pendingAck) bool {
	x := sh.ext(slot)
	if len(x.acks) >= sh.srv.o.MaxPendingAcks {
		sh.tally.acks.Add(1)
		return false
	}
	if x.acks == nil {
		x.acks = map[uint64]*pendingAck{}
	}
	x.acks[id] = p
	return true
}

// takeAck forgets an acknowledgement and returns it, nil if there is none.
func (sh *shard) takeAck(slot uint32, id uint64) *pendingAck {
	x := sh.exts[slot]
	if x == nil {
		return nil
	}
	p := x.acks[id]
	delete(x.acks, id)
	sh.shed(slot, x)
	return p
}

// acked handles an acknowledgement; one that nobody waits for is ignored.
func (sh *shard) acked(slot uint32, p *parser.Packet) {
	if !p.HasID {
		return
	}
	if pending := sh.takeAck(slot, p.ID); pending != nil {
		var a Args
		a.copyArgs(p, nil)
		pending.done(a, nil)
		sh.loop.Yield()
	}
}

// failAcks ends the waiting for a client that has left.
func (sh *shard) failAcks(slot uint32) {
	x := sh.exts[slot]
	if x == nil {
		return
	}
	acks := x.acks
	x.acks = nil
	for _, p := range acks {
		p.done(Args{}, ErrClosed)
		sh.loop.Yield()
	}
}

// EmitAck sends an event to every socket addressed and waits for the
// acknowledgements of all, or for ctx, whose error then comes with the answers
// so far. A socket that leaves without answering is not waited for. Answers
// are in the order of arrival; volatile has no effect. If other servers did not
// answer, the error is a *[rooms.IncompleteError]. Of the answers from other
// servers there is the first argument.
func (b BroadcastOperator) EmitAck(ctx context.Context, event string, args ...any) (answers []Args, err error) {
	err = b.namespace().outgoing(b, event, args, func(b BroadcastOperator, event string, args []any) error {
		answers, err = b.emitAck(ctx, event, args)
		return err
	})
	return answers, err
}

func (b BroadcastOperator) emitAck(ctx context.Context, event string, args []any) ([]Args, error) {
	if b.direct && (len(b.except) == 0 || b.socket().gone()) {
		a, err := b.socket().question(ctx, event, args, b.plain)
		if err != nil {
			return nil, err
		}
		return []Args{a}, nil
	}
	if b.server().engine.OnLoop() {
		return nil, ErrInline
	}
	e, err := b.server().encodeEvent(event, args)
	if err != nil {
		return nil, err
	}
	e.Plain = b.plain
	if b.server().cluster != nil {
		e = own(e) // others keep it
	}
	c := newCollection()
	c.expect(2) // us, until everything is posted
	p := &pendingAck{done: c.answer}
	b.ordered(func() {
		b.poll(c, p, e)
		c.settle()
	})
	var remote error
	if adapter, t := b.cluster(); adapter != nil {
		c.expect(1)
		// ends when the other servers have answered, or with ctx
		go func() {
			defer c.settle()
			remote = b.server().guard(func() error {
				return adapter.EmitAck(ctx, t, e, func(v rooms.Value) { c.add(argsOf(v)) })
			})
		}()
	}
	c.settle()
	select {
	case <-c.all:
		return c.take(), remote
	case <-ctx.Done():
		b.ordered(func() { b.forget(p) })
		return c.take(), ctx.Err()
	}
}

// poll sends an event to the sockets of this server, each of which owes c an
// acknowledgement, as p.
func (b BroadcastOperator) poll(c *collection, p *pendingAck, e rooms.Event) {
	c.begin(1) // us
	for _, in := range b.targets() {
		id := in.acks.Add(1) - 1
		m := newMessage(frame(in.name, e, id, true), e.Plain)
		c.begin(len(b.server().shards))
		ended := b.each([]*instance{in}, func(sh *shard, slot uint32) {
			if sh.sockets.At(slot).state == leaving || !sh.await(slot, id, p) {
				return // as if it had left without answering
			}
			c.ask()
			sh.local.CatchUp(slot)
			if es := sh.session(slot); m.in(sh.form(es)) != nil {
				es.SendPrepared(m.in(sh.form(es)), false)
			}
		}, func(*shard) { c.sent() })
		for range ended {
			c.sent()
		}
	}
	c.sent()
}

// forget has every loop forget what is due.
func (b BroadcastOperator) forget(p *pendingAck) {
	for _, sh := range b.server().shards {
		sh.loop.Post(loop.TaskFunc(func(*loop.Loop) { sh.forgetAcks(p) }))
	}
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

// forgetAcks forgets an acknowledgement that several sockets owe.
func (sh *shard) forgetAcks(p *pendingAck) {
	for slot, x := range sh.exts {
		for id, q := range x.acks {
			if q == p {
				sh.takeAck(slot, id)
			}
		}
	}
}
