package sio

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/rooms/value"
	"github.com/sioedge/sioedge/sio/internal/framing"
	"github.com/sioedge/sioedge/sio/internal/history"
	"github.com/sioedge/sioedge/sio/internal/packetlog"
	"github.com/sioedge/sioedge/sio/parser"
)

// A keeper keeps the history of a namespace's rooms. Immutable.
type keeper struct {
	ns    *Namespace
	store *history.Store
	size  int
	keep  func(event string) bool
}

// note has an event kept when it is published, if it is one of those that are.
func (k *keeper) note(b BroadcastOperator, in *instance, e rooms.Event, d *delivery) {
	if b.volatile || b.direct {
		return
	}
	names := slices.DeleteFunc(slices.Clone(b.to), k.ns.srv.isSomeonesOwn)
	if len(names) == 0 || k.keep != nil && !k.wants(e) {
		return
	}
	slices.Sort(names)
	names = slices.Compact(names)
	x := &history.Item{Message: d.Message.(*message), Except: b.target().Except, Local: b.local && !b.heard}
	if len(b.to) > 1 {
		x.Rooms = b.to
	}
	d.Sequenced = func() { k.store.Add(in.name, names, x) }
}

// wants asks Keep.
func (k *keeper) wants(e rooms.Event) (yes bool) {
	name, ok := history.Name(e.Data)
	err := k.ns.srv.guard(func() error {
		yes = ok && k.keep(name)
		return nil
	})
	if err != nil {
		k.ns.srv.notice.Warn("the function that says what is kept of rooms has panicked", "namespace", k.ns.name, "event", name, "error", err)
	}
	return yes
}

// JoinReplay is [Socket.Join], and the socket is first sent the last n events that the
// namespace keeps of each room that it was not in, in the order in which they were
// emitted, those of several rooms in one order and each once. What is emitted then
// follows: nothing is missing between the two, and nothing comes twice. Without
// [Namespace.KeepHistory], or with an n that is not positive, it is Join.
//
// It is sent to those to whom it would be if it were emitted now: not to a socket that
// was excepted by its id, as its sender is, nor to one that is in an excepted room; and of
// events to several rooms not those that it may have had by another one that it is in. Such ones
// count among the n. Nobody is sent more than half of what may be queued for a client:
// then the oldest are left out.
//
// In a middleware the rooms are joined when the socket is admitted; in a cluster, those
// of which this server does not know all when the others have been asked, a second later at
// most. With recovery, events that are replayed carry the offset of the moment of joining: who comes back
// is not sent them again, nor, if its connection broke in between, the rest of them.
func (s Socket) JoinReplay(rooms []string, n int) { s.joinReplay(rooms, n, nil) }

// joinReplay is JoinReplay; done, if not nil, is closed when that has been done, or
// will not be.
func (s Socket) joinReplay(names []string, n int, done chan struct{}) {
	k := s.in.ns.history.Load()
	if k == nil || n <= 0 || len(names) == 0 || s.gone() {
		s.Join(names...)
		if done != nil {
			close(done)
		}
		return
	}
	s.shard().loop.Admit()
	p, err := s.enter()
	if err != nil {
		if done != nil {
			close(done)
		}
		return
	}
	defer p.Leave()
	r := &replay{s: s, k: k, Wait: history.NewWait(slices.Clone(names)), n: n, mark: math.MaxUint64, done: done}
	s.srv().seq.change(s.in.name, r.cut)
}

// A replay is a socket's way into rooms whose history it is sent. Owned by the
// socket's loop but for cut.
type replay struct {
	s Socket
	k *keeper
	history.Wait
	n    int
	mark uint64 // what was added behind this place is sent, however much
	done chan struct{}

	effect uint64            // what Sequencer.change said
	tail   string            // what ends each event: the offset of the moment
	items  [][]*history.Item // by rooms
	cuts   int               // how often the rooms have been expected
	asked  bool              // other servers have been asked what they have

	begun bool
	send  []*history.Item
}

// cut finds what is to be sent: it puts the replay between all that was emitted
// before and what will be. Whoever changes memberships calls it.
func (r *replay) cut(effect uint64) {
	srv, in, sh := r.s.srv(), r.s.in, r.s.shard()
	r.effect, r.tail, r.items, r.begun = effect, srv.seq.standing(in.name), make([][]*history.Item, len(r.Rooms)), false
	r.cuts++
	wake := false
	srv.rooms.ExpectAll(sh.loop.Index(), in.id, r.Rooms, func() {
		for i, room := range r.Rooms {
			r.items[i] = r.k.store.Last(nil, in.name, room, r.n, r.mark)
		}
		if r.mark == math.MaxUint64 {
			r.mark = r.k.store.Place()
		}
		wake = sh.loop.PostQuiet(r)
	})
	if wake {
		sh.loop.Wake()
	}
}

// Run joins the rooms, and sends a step of what they had.
func (r *replay) Run(l *loop.Loop) {
	sh := r.s.shard()
	slot := sh.lookup(r.s.ref)
	if !r.begun && !r.begin(sh, slot) {
		return
	}
	if slot == 0 || sh.sockets.At(slot).state != connected {
		return
	}
	es := sh.session(slot)
	form := sh.form(es)
	step := r.send[:min(len(r.send), operatorStep)]
	if r.send = r.send[len(step):]; len(r.send) > 0 {
		l.Hold(r) // here, so that a panic below does not end it
	}
	for i, x := range step {
		if p := r.in(x.Message.(*message), form); p != nil {
			sh.tally.History.Replayed++
			sh.instances[sh.sockets.At(slot).instance].space.Out.Count(framing.Type(x.Message.(*message).json.Frames()))
			es.SendWhole(p, i == len(step)-1)
		}
		if sh.lookup(r.s.ref) == 0 {
			return // that was too much
		}
	}
}

// begin puts the socket into the rooms, unless that has to wait: then it is false.
func (r *replay) begin(sh *shard, slot uint32) bool {
	if slot != 0 && sh.sockets.At(slot).state == connecting {
		sh.waiting.Put(slot, r)
		if r.done != nil { // by a middleware, which the socket waits for
			close(r.done)
			r.done = nil
		}
		return false
	}
	if slot != 0 && r.mustAsk(sh, slot) {
		sh.waiting.Put(slot, r)
		r.ask(sh, slot)
		return false
	}
	sh.waiting.Remove(slot, r)
	r.begun = true
	sh.reviseGone(r.s, slot, rooms.Joined, r.Wanted(), r.effect)
	var joined []string
	var all []*history.Item
	for i, room := range r.Rooms {
		if slot != 0 && !r.Off[i] && !sh.in(slot, room) {
			sh.joinRoom(slot, room, r.effect)
			if sh.in(slot, room) {
				joined, all = append(joined, room), append(all, r.items[i]...)
			}
		}
	}
	r.arrive(sh)
	r.items = nil
	if len(all) > 0 {
		sh.tally.History.Replays++
		r.send = r.fitting(sh, slot, history.InOrder(all), joined)
	}
	return true
}

// arrive ends what was expected, and tells who waits.
func (r *replay) arrive(sh *shard) {
	for range r.cuts {
		for _, room := range r.Rooms {
			sh.local.Arrived(r.s.in.id, room)
		}
	}
	r.cuts = 0
	if r.done != nil {
		close(r.done)
		r.done = nil
	}
}

// fitting returns those events that the socket is sent which has joined rooms.
func (r *replay) fitting(sh *shard, slot uint32, all []*history.Item, joined []string) []*history.Item {
	all = slices.DeleteFunc(all, func(x *history.Item) bool {
		return sh.inOne(slot, x.Except) ||
			slices.ContainsFunc(x.Rooms, func(room string) bool { return !slices.Contains(joined, room) && sh.in(slot, room) })
	})
	left := sh.srv.mostReplayed() / 2
	for i, x := range slices.Backward(all) {
		if left -= int64(x.Message.(*message).Size()) + packetlog.ReplayBytes; left < 0 {
			sh.tally.History.Shortened += int64(i + 1)
			sh.srv.notice.Warn("less than was asked for is replayed to a socket that has joined rooms, since more may not be queued for a client",
				append(about(sh.socket(slot), "join"), "flag", "--queue-hard-max", "events", i+1)...)
			return all[i+1:]
		}
	}
	return all
}

// in returns a message in a form, with the offset of the moment.
func (r *replay) in(m *message, form int) *eio.Prepared {
	switch {
	case form&bareForm != 0 || m.tail == 0 && r.tail == "":
		return m.in(form)
	case r.tail == "":
		return m.in(form | bareForm)
	}
	frames := framing.WithTail(m.json.Frames(), m.tail, r.tail)
	if form&packedForm != 0 {
		frames = framing.Pack(frames)
	}
	if frames == nil {
		return nil
	}
	p := eio.PrepareFrames(frames)
	p.Plain = m.json.Plain
	return p
}

// mustAsk tells whether other servers may have what this one was not sent.
func (r *replay) mustAsk(sh *shard, slot uint32) bool {
	if in := r.s.in; r.asked || sh.srv.cluster == nil || in.ns.match != nil {
		return false
	}
	for i, room := range r.Rooms {
		if !r.Off[i] && !sh.in(slot, room) && !r.k.store.Fresh(r.s.in.name, room) {
			return true
		}
	}
	return false
}

// ask asks them, and goes on when they have answered, or should have.
func (r *replay) ask(sh *shard, slot uint32) {
	account, ok := sh.toll(sh.session(slot), 1)
	if !ok {
		return
	}
	r.Idle = false
	// ends when the others have answered, or their time is out
	go func() {
		defer account.Done(taskCost)
		r.k.fetch(context.Background(), r.s.in.name, r.Rooms)
		sh.loop.Post(loop.TaskFunc(func(*loop.Loop) {
			if r.asked = true; sh.lookup(r.s.ref) == 0 {
				r.arrive(sh)
				return
			}
			sh.srv.seq.change(r.s.in.name, r.cut)
		}))
	}()
}

// fetch asks the other servers for rooms of an instance, unless they have been.
func (k *keeper) fetch(ctx context.Context, instance string, names []string) {
	srv := k.ns.srv
	in := srv.registry.named(k.ns, instance)
	if in != nil {
		srv.registry.announce(in)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*history.Patience)
	defer cancel()
	k.store.Fetch(ctx, srv.cluster, history.Query{
		Address: k.ns.name, Instance: instance, Rooms: names,
		Occupied: func(room string) (yes bool) {
			if in != nil {
				srv.rooms.Loops(in.id, room, func(int) { yes = true })
			}
			return yes
		},
		Bad: func(err error) {
			srv.notice.Warn("another server's answer is no history of rooms", "namespace", k.ns.name, "error", err)
		},
	})
}

// tellHistory answers another server's question.
func (n *Namespace) tellHistory(m *Msg) error {
	k := n.history.Load()
	switch {
	case !m.WantsAck():
		return nil
	case k == nil:
		return m.Ack("{}")
	}
	text, err := k.store.Answer(m.raw, func(instance, room string) bool {
		in := n.srv.registry.named(n, instance)
		return in != nil && n.srv.rooms.Count(in.id, room) > 0
	})
	return errors.Join(err, m.Ack(text))
}

// occupied notes that a room of an instance has members here, or none any more.
func (n *Namespace) occupied(instance, room string, yes bool) {
	if k := n.history.Load(); k != nil {
		k.store.Occupied(instance, room, yes)
	}
}

// A PastEvent is an event that was kept of a room.
type PastEvent struct {
	Name string
	Args Args
	Time time.Time // when it came to the server that kept it, by the clock of this one
}

// History returns what is kept of a room, the oldest event first. Instance is the name of
// the namespace as clients join it, the one of its own that a literal namespace has. In
// a cluster the other servers are asked first, and waited for a second, unless this one
// has members of the room and has asked before; ctx ends that. On an event loop it is
// [ErrInline] then. It is empty without KeepHistory.
func (n *Namespace) History(ctx context.Context, instance, room string) ([]PastEvent, error) {
	k, srv := n.history.Load(), n.srv
	switch {
	case k == nil:
		return nil, nil
	case srv.waits():
		return nil, ErrInline
	case srv.cluster != nil && n.match == nil && !k.store.Fresh(instance, room):
		k.fetch(ctx, instance, []string{room})
	}
	var all []PastEvent
	for _, x := range k.store.Last(nil, instance, room, k.size, math.MaxUint64) {
		e, _ := codec{}.Event(instance, x.Message)
		var p parser.Packet
		if parser.Parse(append([]byte{'0' + byte(parser.Event)}, e.Data...), parser.Limits{MaxDepth: 1 << 20, MaxArgs: 1 << 30, MaxAttachments: 1}, &p) != nil {
			continue // it was encoded here, or checked
		}
		all = append(all, PastEvent{string(p.Event), Args{p.Args, e.Attachments}, srv.wall().Add(-time.Duration(srv.now()-x.At) * time.Millisecond)})
	}
	return all, ctx.Err()
}

// JoinReplayWait is [Socket.JoinReplay] and waits as [Socket.JoinWait] does, with the
// errors of that: when it returns nil, the socket is in the rooms, and what was kept of
// them is on its way, or was more than a client may have queued. In a middleware it
// returns before that: the rooms are joined when the socket is admitted.
func (s Socket) JoinReplayWait(ctx context.Context, rooms []string, n int) error {
	switch {
	case s.gone():
		return ErrClosed
	case s.srv().engine.OnLoop():
		return ErrInline
	}
	rooms = slices.Clone(rooms) // the caller's to use again
	done := make(chan struct{})
	s.joinReplay(rooms, n, done)
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	pending := false
	s.ask(func(sh *shard, slot uint32) {
		pending = len(sh.waiting.Of(slot)) > 0 && sh.sockets.At(slot).state == connecting
	})
	if pending {
		return nil
	}
	return s.joined(ctx, rooms)
}

// goOn has rooms joined that a socket has waited for, which has been admitted.
func (sh *shard) goOn(slot uint32) {
	for _, r := range sh.waiting.Of(slot) {
		if r.Idle {
			r.Idle = false
			sh.srv.seq.change(r.s.in.name, r.cut)
		}
	}
}

// abandonReplays forgets what a socket waits for that goes.
func (sh *shard) abandonReplays(slot uint32) {
	for _, r := range sh.waiting.Of(slot) {
		if sh.waiting.Remove(slot, r); r.Idle {
			r.arrive(sh)
		}
	}
}

func (q *logged) standing(string) string {
	b := []byte(`,"` + packetlog.BlankOffset + `"`)
	q.log.WriteLast(b[2 : len(b)-1])
	return string(b)
}

func (q *clustered) standing(namespace string) string {
	if now := q.log.Of(namespace).Now(); now.Place != 0 {
		return string(value.AppendJSONText([]byte{','}, now.String()))
	}
	return ""
}
