package sio

import (
	"context"

	"github.com/sioedge/sioedge/loop"
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
