package sio

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/budget"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/collect"
	"github.com/sioedge/sioedge/sio/internal/framing"
	"github.com/sioedge/sioedge/sio/parser"
)

// A pendingAck is an acknowledgement that a client owes, to who waits for it or to
// a function.
type pendingAck struct {
	// done is called once for each socket that owes it, on its loop, and must not
	// block. Nil: inquiry is.
	done    func(a Args, err error)
	inquiry *inquiry
}

// end ends the wait for a socket, on its loop.
func (p *pendingAck) end(sh *shard, a Args, err error) {
	if p.inquiry != nil {
		sh.loop.Cancel(&p.inquiry.late)
		p.inquiry.answer(sh, a, err, nil, 0)
		return
	}
	p.done(a, err)
	sh.loop.Yield()
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
	p, err := s.enter()
	if err != nil {
		return Args{}, err
	}
	var answer Args
	var failure error
	answered := make(chan struct{}) // closed when these are there
	id := s.in.acks.Add(1) - 1
	frames := framing.Of(s.in.name, e, id, true)
	pending := &pendingAck{done: func(a Args, err error) {
		answer, failure = a, err
		close(answered)
	}}
	sh := s.shard()
	s.srv().seq.behind(s.in.name, func() {
		if !sh.loop.Post(loop.TaskFunc(func(*loop.Loop) { sh.askClient(s, id, pending, frames, plain) })) {
			pending.done(Args{}, ErrClosed)
		}
	})
	p.Leave()
	if err = s.srv().wait(ctx, answered); err != nil {
		s.post(func(sh *shard, slot uint32) { sh.takeAck(slot, id, &sh.tally.Acks.Late) })
		select {
		case <-answered: // of a client that left, which is why ctx is done
		default:
			return Args{}, err
		}
	}
	return answer, failure
}

// wait waits for done, or for ctx, whose error it returns then.
func (srv *Server) wait(ctx context.Context, done <-chan struct{}) error {
	if srv.watch != nil {
		return srv.watch.Wait(ctx, done)
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// askClient sends an event to be acknowledged.
func (sh *shard) askClient(s Socket, id uint64, p *pendingAck, frames []byte, plain bool) {
	slot := sh.lookup(s.ref)
	if slot == 0 || sh.sockets.At(slot).state == leaving {
		p.end(sh, Args{}, ErrClosed)
		return
	}
	if !sh.await(slot, id, p) {
		p.end(sh, Args{}, ErrTooManyAcks)
		return
	}
	sh.send(slot, frames, 0, plain, nil)
}

// await expects an acknowledgement of a socket; it is false if too many are due.
func (sh *shard) await(slot uint32, id uint64, p *pendingAck) bool {
	x := sh.ext(slot)
	if len(x.acks) >= sh.srv.o.MaxPendingAcks {
		sh.tally.Drops.Acks++
		return false
	}
	if x.acks == nil {
		x.acks = map[uint64]*pendingAck{}
	}
	x.acks[id] = p
	return true
}

// takeAck forgets an acknowledgement, counts that in n, and returns it, nil if there is none.
func (sh *shard) takeAck(slot uint32, id uint64, n *int64) *pendingAck {
	x := sh.exts[slot]
	if x == nil {
		return nil
	}
	p, due := x.acks[id], len(x.acks)
	delete(x.acks, id)
	*n += int64(due - len(x.acks))
	sh.shed(slot, x)
	return p
}

// acked handles an acknowledgement; one that nobody waits for is ignored. One that a
// function waits for is charged until that has it; if it does not fit, the session
// ends, and the wait with it.
func (sh *shard) acked(es eio.Session, slot uint32, p *parser.Packet) {
	if t := sh.instance(slot).ns.table.Load(); len(t.gates) > 0 && !sh.passes(es, slot, p, t.gates) {
		return
	}
	x := sh.exts[slot]
	if !p.HasID || x == nil || x.acks[p.ID] == nil {
		return
	}
	var a Args
	q := x.acks[p.ID].inquiry
	if q == nil {
		a.copyArgs(p.Args, p.Buffers, nil)
		sh.takeAck(slot, p.ID, &sh.tally.Acks.Answered).end(sh, a, nil)
		return
	}
	account, size := es.Budget(), sizeOfEvent(len(p.Event), p.Args, p.Buffers)
	if account.Work(size) {
		a.copyArgs(p.Args, p.Buffers, nil)
		sh.takeAck(slot, p.ID, &sh.tally.Acks.Answered)
		sh.loop.Cancel(&q.late)
		q.answer(sh, a, nil, account, size)
	}
}

// failAcks ends the waiting for a client that has left.
func (sh *shard) failAcks(slot uint32) {
	x := sh.exts[slot]
	if x == nil {
		return
	}
	acks := x.acks
	sh.tally.Acks.Left += int64(len(acks))
	x.acks = nil
	for _, p := range acks {
		p.end(sh, Args{}, ErrClosed)
	}
}

// DefaultAckTimeout is how long EmitAckFunc and AskFunc wait unless told otherwise.
const DefaultAckTimeout = 10 * time.Second

// EmitAckFunc is [Socket.EmitAck] for who does not want to wait: it returns at once,
// and done is called with the client's answer, or with an error: [ErrClosed] when
// the client leaves, context.DeadlineExceeded after d, ErrTooManyAcks if it owes as
// many as it may ([Options].MaxPendingAcks). No goroutine exists meanwhile. Zero d
// means [DefaultAckTimeout]; with a negative one it is too late already: that is the
// error, and nothing is sent.
//
// done is called once, as a handler of the socket is: on its goroutine, one at a
// time and in order with the handlers of its events, so never before the handler
// that asks has returned, and before those of OnDisconnecting. It may block, and
// may keep its Args. A panic in it goes to Options.OnError, with the event's name. If
// EmitAckFunc returns an error, done is not called. Any goroutine may call it, and
// so may inline handlers.
func (s Socket) EmitAckFunc(d time.Duration, done func(Args, error), event string, args ...any) error {
	_, err := s.EmitAckID(d, done, event, args...)
	return err
}

// AskFunc is [Ask] for who does not want to wait: [Socket.EmitAckFunc] with the
// answer as an R, and with done told of every error, those of EmitAckFunc included,
// by a call that comes later.
func AskFunc[R any](s Socket, d time.Duration, event string, args []any, done func(R, error)) {
	answered := func(a Args, err error) {
		var r R
		if err == nil {
			err = a.Decode(&r)
		}
		done(r, err)
	}
	if err := s.EmitAckFunc(d, answered, event, args...); err != nil {
		(&inquiry{s: s, event: event, done: answered}).later(err)
	}
}

// An inquiry is an event whose acknowledgement a function is called with.
type inquiry struct {
	s     Socket
	event string
	wait  time.Duration
	done  func(Args, error)
	id    uint64      // by which the client answers
	sent  bool        // it is on its way to the loop
	over  atomic.Bool // done will be called, or will not be
	late  loop.Timer  // owned by the socket's loop
}

// emit sends the event, behind the wrappers.
func (q *inquiry) emit(b BroadcastOperator, event string, args []any) error {
	s := q.s
	switch {
	case s.gone():
		return ErrClosed
	case q.wait < 0:
		return context.DeadlineExceeded
	case q.sent:
		return s.emit(event, args, sending{b.plain, b.class}) // by a wrapper that goes on twice: there is one answer
	}
	sh := s.shard()
	sh.loop.Admit()
	p, err := s.enter()
	if err != nil {
		return err
	}
	defer p.Leave()
	e, err := s.srv().encodeEvent(event, args)
	if err != nil {
		return err
	}
	id := s.in.acks.Add(1) - 1
	frames := framing.Of(s.in.name, e, id, true)
	q.id, q.sent = id, true
	s.srv().seq.behind(s.in.name, func() {
		if !sh.loop.Post(loop.TaskFunc(func(*loop.Loop) { q.ask(sh, id, frames, b.plain) })) {
			q.later(ErrClosed)
		}
	})
	return nil
}

// ask sends the event on the socket's loop, and has the time begin.
func (q *inquiry) ask(sh *shard, id uint64, frames []byte, plain bool) {
	p := &pendingAck{inquiry: q}
	sh.askClient(q.s, id, p, frames, plain)
	slot := sh.lookup(q.s.ref)
	if x := sh.exts[slot]; slot == 0 || x == nil || x.acks[id] != p {
		return // it was refused, or sending it has ended the session
	}
	q.begin(sh, p)
}

// begin has the time begin.
func (q *inquiry) begin(sh *shard, p *pendingAck) {
	sh.loop.Schedule(&q.late, q.wait, func() {
		if slot := sh.lookup(q.s.ref); slot != 0 && sh.takeAck(slot, q.id, &sh.tally.Acks.Late) == p {
			q.answer(sh, Args{}, context.DeadlineExceeded, nil, 0)
		}
	})
}

// answer has done called in the socket's turn, or by itself if the socket has gone.
// Account is charged with size until it has returned.
func (q *inquiry) answer(sh *shard, a Args, err error, account *budget.Account, size int) {
	if q.over.Swap(true) {
		account.Done(size)
		return
	}
	b := &inbox{s: q.s, sh: sh}
	if slot := sh.lookup(q.s.ref); slot != 0 {
		b = sh.inbox(slot)
	}
	b.put(task{name: q.event, account: account, size: size, run: func() error {
		_ = sh.srv.call(q.s, q.event, func() error { q.done(a, err); return nil }) // which has told OnError
		return nil
	}})
}

// later is answer for an error that is known off the loop.
func (q *inquiry) later(err error) {
	sh := q.s.shard()
	if !sh.loop.Post(loop.TaskFunc(func(*loop.Loop) { q.answer(sh, Args{}, err, nil, 0) })) && !q.over.Swap(true) {
		// ends when done returns: there is no loop any more
		go q.s.srv().call(q.s, q.event, func() error { q.done(Args{}, err); return nil })
	}
}

// EmitAck sends an event to every socket addressed and waits for the acknowledgements of
// all, or for ctx, whose error then comes with the answers so far. A socket that leaves
// without answering is not waited for. Answers are in the order of arrival; volatile has no
// effect. If other servers did not answer, the error is a *[rooms.IncompleteError]. Of the
// answers from other servers there is the first argument.
func (b BroadcastOperator) EmitAck(ctx context.Context, event string, args ...any) (answers []Args, err error) {
	_, err = b.EmitAckEach(ctx, func(a Args) { answers = append(answers, a) }, event, args...)
	return answers, err
}

// EmitAckEach is [BroadcastOperator.EmitAck] for who takes the answers as they come: f is called
// with each, by the goroutine that called EmitAckEach, and may block; what comes meanwhile waits.
// When it returns, f is not called any more. Asked is how many clients have got the event, as far as
// servers have said so, those that did not answer or have left among them. Errors are those of EmitAck.
func (b BroadcastOperator) EmitAckEach(ctx context.Context, f func(Args), event string, args ...any) (asked int, err error) {
	return b.EmitAckSent(ctx, func() {}, f, event, args...)
}

// EmitAckSent is [BroadcastOperator.EmitAckEach] for who does more meanwhile: sent is called,
// by the caller's goroutine and before f, when what anybody emits from then on comes behind
// the event; of Socket.Self with the answer; not if the event is not sent. It waits for answers
// until ctx ends, and errors are those of EmitAck.
func (b BroadcastOperator) EmitAckSent(ctx context.Context, sent func(), f func(Args), event string, args ...any) (asked int, err error) {
	err = b.namespace().outgoing(b, event, args, func(b BroadcastOperator, event string, args []any) error {
		asked, err = b.emitAck(ctx, sent, f, event, args)
		return err
	})
	return asked, err
}

func (b BroadcastOperator) emitAck(ctx context.Context, sent func(), f func(Args), event string, args []any) (asked int, err error) {
	if b.direct && (len(b.except) == 0 && !b.narrowed || b.socket().gone()) {
		a, err := b.socket().question(ctx, event, args, b.plain)
		if err != nil {
			return 0, err
		}
		sent()
		f(a)
		return 1, nil
	}
	if b.server().engine.OnLoop() {
		return 0, ErrInline
	}
	e, err := b.server().encodeEvent(event, args)
	if err != nil {
		return 0, err
	}
	e.Plain = b.plain
	if b.server().cluster != nil {
		e = framing.Own(e) // others keep it
	}
	within, err := b.server().enter(0)
	if err != nil {
		return 0, err
	}
	c := collect.New[Args]()
	c.Expect(2) // us, until everything is posted
	p := &pendingAck{done: c.Answer}
	b.server().seq.behind(b.address(), func() {
		b.poll(c, p, e)
		c.Settle()
	})
	within.Leave()
	sent()
	var remote error
	if adapter, t := b.cluster(); adapter != nil {
		c.Expect(1)
		// ends when the other servers have answered, or with ctx
		go func() {
			defer c.Settle()
			remote = b.server().guard(func() error {
				return adapter.EmitAck(ctx, t, e, c.Elsewhere, func(v rooms.Value) { c.Add(argsOf(v)) })
			})
		}()
	}
	c.Settle()
	for over := false; !over; {
		if err = b.server().wait(ctx, c.News); err != nil {
			b.server().seq.behind(b.address(), func() { b.forget(p) })
		}
		over = err != nil || c.Over() // before the last are taken
		for _, a := range c.Take() {
			f(a)
		}
	}
	if err == nil {
		err = remote
	}
	return c.Clients(), err
}

// poll sends an event to the sockets of this server, each of which owes c an answer, as p.
func (b BroadcastOperator) poll(c *collect.Of[Args], p *pendingAck, e rooms.Event) {
	c.Begin(1) // us
	for _, in := range b.targets() {
		id := in.acks.Add(1) - 1
		m := newMessage(framing.Of(in.name, e, id, true), e.Plain)
		c.Begin(len(b.server().shards))
		ended := b.each([]*instance{in}, operatorStep, func(sh *shard, slot uint32) {
			if sh.sockets.At(slot).state == leaving || !sh.await(slot, id, p) {
				return // as if it had left without answering
			}
			c.Ask()
			sh.local.CatchUp(slot)
			if len(sh.observers) > 0 {
				sh.sawSent(slot, m.json.Frames(), 0)
			}
			if p := m.in(sh.form(sh.session(slot))); p != nil {
				sh.instances[sh.sockets.At(slot).instance].space.Out.Emitted(1, min(len(e.Attachments), 1))
				sh.session(slot).SendPrepared(p, false)
			}
		}, func(*shard) { c.Sent() })
		for range ended {
			c.Sent()
		}
	}
	c.Sent()
}
