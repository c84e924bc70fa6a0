package sio

import (
	"context"
	"errors"
	"math/bits"
	"sync/atomic"

	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/class"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/framing"
	"github.com/sioedge/sioedge/sio/internal/history"
	"github.com/sioedge/sioedge/sio/internal/outbound"
	"github.com/sioedge/sioedge/sio/internal/packetlog"
	"github.com/sioedge/sioedge/sio/internal/quiet"
)

// delivery is a broadcast on its way to a loop.
type delivery struct {
	srv *Server
	rooms.Broadcast
}

// Run queues the broadcast in the loop's part of the rooms.
func (d *delivery) Run(l *loop.Loop) {
	d.srv.shards[l.Index()].local.Enqueue(&d.Broadcast)
	l.NeedWork()
}

// sleepers are loops that have been given something and must be woken.
type sleepers [256 / 64]uint64

func (s *sleepers) add(others sleepers) {
	for i := range others {
		s[i] |= others[i]
	}
}

// post hands a broadcast to the loops that have somebody to give it to, and
// returns those to wake when no lock is held any more.
func (srv *Server) post(d *delivery) (wake sleepers) {
	srv.rooms.Publish(&d.Broadcast, func(i int, _ *rooms.Broadcast) {
		if srv.shards[i].loop.PostQuiet(d) {
			wake[i/64] |= 1 << (i % 64)
		}
	})
	return wake
}

func (srv *Server) wake(these sleepers) {
	for w, set := range these {
		for ; set != 0; set &= set - 1 {
			srv.shards[w*64+bits.TrailingZeros64(set)].loop.Wake()
		}
	}
}

// watched emits an event and tells of it. Who it reaches is asked in the mailbox of
// each loop, behind what was done before.
func (b BroadcastOperator) watched(event string, args []any, emit func(BroadcastOperator, string, []any) error) error {
	srv := b.server()
	a, err := srv.encodeArgs(args)
	if err != nil {
		return err
	}
	e := &quiet.Emit{Namespace: b.address(), Event: event, Args: a.raw, Attachments: a.buffers,
		Direct: b.direct, Volatile: b.volatile, Plain: b.plain, Local: b.local}
	e.Rooms, e.Except = b.Rooms()
	if b.sender != 0 {
		e.Socket = b.socket().ID()
	}
	for _, sh := range srv.shards {
		sh.loop.Post(loop.TaskFunc(func(*loop.Loop) {
			for _, in := range b.targets() {
				for _, slot := range sh.matching(b, in) {
					e.Reaches(sh.id(slot))
				}
			}
		}))
	}
	srv.watch.Emitted(e)
	err = emit(b, event, args)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		e.Fail() // it was not sent; of a question it is the answer that did not come
	}
	return err
}

// Remember has further forms counted, and returns what there is: see
// history.Message.
func (m *message) Remember(total *atomic.Int64) int64 {
	m.remembered = packetlog.NewKeeping(total)
	return messageBytes + 16 + int64(m.json.Size())
}

// Forget ends Remember.
func (m *message) Forget() { m.remembered.End() }

// codec is what the store of a history knows of messages.
type codec struct{}

func (codec) Event(instance string, m history.Message) (rooms.Event, bool) {
	x := m.(*message)
	e, ok := history.EventOf(x.json.Frames(), x.tail, instance)
	e.Plain = x.json.Plain
	return e, ok
}

func (codec) Message(instance string, e rooms.Event) history.Message {
	return newMessage(framing.Of(instance, e, 0, false), e.Plain)
}

// mail sends frames to one socket. It is the way of all direct emits but the
// volatile ones.
func (sh *shard) mail(to uint64, kind uint32, frames []byte) {
	slot := sh.lookup(rooms.Ref(to))
	if slot == 0 {
		return
	}
	var k *class.Kind
	if kind&outbound.Classed != 0 {
		k, frames = outbound.CutHead(frames, sh.instance(slot).ns)
	}
	tail := int(kind >> outbound.TailShift)
	if tail > 0 && sh.srv.isOld(sh.session(slot)) {
		frames, tail = framing.WithTail(frames, tail, ""), 0
	}
	sh.send(slot, frames, tail, kind&outbound.Plain != 0, k)
}

// send gives frames, whose text ends in an offset of tail bytes, to a socket's session,
// behind the broadcasts that were emitted before.
func (sh *shard) send(slot uint32, frames []byte, tail int, plain bool, k *class.Kind) {
	r := sh.sockets.At(slot)
	if r.state == leaving {
		return
	}
	sh.instances[r.instance].space.Out.Count(framing.Type(frames))
	sh.local.CatchUp(slot)
	if len(sh.observers) > 0 {
		sh.sawSent(slot, frames, tail)
	}
	if r.is&dialect != 0 {
		sh.transmit(sh.client(r), frames, plain, k)
		return
	}
	sh.client(r).SendKind(frames, plain, k)
}

// acknowledge sends an acknowledgement, unless acked says that there was one.
func (s Socket) acknowledge(id uint64, args []any, acked *atomic.Bool) error {
	p, err := s.enter()
	if err != nil {
		return err
	}
	defer p.Leave()
	buf := packets.Get()
	defer packets.Put(buf)
	text, attachments, err := s.srv().o.Limits.AppendAck(buf.B[:0], s.in.name, id, args)
	buf.B = text[:0]
	if err != nil {
		return encodeError(err)
	}
	if acked != nil && acked.Swap(true) {
		return nil
	}
	return s.srv().seq.mail(s, text, attachments, false)
}

// nothingBefore tells whether all that was emitted until now has come to the loop, so that
// what its handler emits may go at once. On the loop.
func (sh *shard) nothingBefore() bool { return sh.prompt && !sh.loop.Posted() }

// answer is acknowledge on the socket's loop, with nothing before it: it goes to the
// connection, past the mailbox, as mail would.
func (sh *shard) answer(s Socket, id uint64, args []any, acked *atomic.Bool) error {
	sh.loop.Check()
	slot := sh.lookup(s.ref)
	if slot == 0 {
		return ErrClosed
	}
	bufs := sh.answers
	sh.answers = answerBuffers{} // a value that is encoded may acknowledge another event
	defer func() { sh.answers = bufs.kept() }()
	text, attachments, err := sh.srv.o.Limits.AppendAck(bufs.text[:0], s.in.name, id, args)
	if err != nil {
		return encodeError(err)
	}
	bufs.text = text
	if acked.Swap(true) {
		return nil
	}
	bufs.frames = framing.Append(bufs.frames[:0], text, attachments)
	sh.send(slot, bufs.frames, 0, false, nil)
	return nil
}

// answerBuffers are used for one answer after the other.
type answerBuffers struct{ text, frames []byte }

// kept returns what is used again.
func (b answerBuffers) kept() answerBuffers {
	const most = 64 << 10
	if cap(b.text) > most {
		b.text = nil
	}
	if cap(b.frames) > most {
		b.frames = nil
	}
	return b
}
