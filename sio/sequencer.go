package sio

import (
	"cmp"
	"sync"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/budget"
	"github.com/sioedge/sioedge/rooms"
	"github.com/sioedge/sioedge/sio/internal/framing"
	"github.com/sioedge/sioedge/sio/internal/outbound"
	"github.com/sioedge/sioedge/sio/internal/packetlog"
)

// A sequencer gives everything that is emitted, and everything that may not
// overtake it or be overtaken by it, its place, and posts it to the loops in that
// order. It is chosen once, in New, and nobody else asks which one it is:
//
//   - immediate: what is emitted is posted; who has gone has gone;
//   - logged: what is emitted takes its place in a log first, and who comes back
//     gets what it has missed;
//   - clustered: the log is that of the cluster, and what is emitted is posted when
//     it is read there.
//
// Unless they say otherwise, methods may be called from any goroutine. Those that
// take a shard are called on its loop.
type sequencer interface {
	// start is called when the loops have their shards, before they run.
	start()

	// emitTo sends an event to one socket.
	emitTo(s Socket, event string, args []any, how sending) error
	// emit sends an event to whom b addresses, on all servers. In a cluster e is kept.
	emit(b BroadcastOperator, e rooms.Event)
	// deliver sends an event that another server has emitted to the sockets of this
	// one.
	deliver(b BroadcastOperator, e rooms.Event)
	// mail sends a packet to a socket that is not sent again, such as an
	// acknowledgement. Text and attachments are copied.
	mail(s Socket, text []byte, attachments [][]byte, plain bool) error

	// atOnce tells whether it is with the socket's loop when mail returns.
	atOnce() bool

	// post posts a task to a socket's loop behind what was emitted before.
	post(s Socket, t loop.Task)
	// behind calls f when what was emitted to a namespace before has been posted to
	// the loops: at once, unless a cluster keeps events. F may not block.
	behind(namespace string, f func())
	// settle waits for that, and settleAll for all namespaces. On a loop, which may
	// not wait, they do nothing.
	settle(namespace string)
	settleAll()

	// change calls f, which posts a change of memberships to loops, as behind does:
	// with nothing emitted meanwhile, so that for who comes back, too, it is behind
	// what was emitted up to effect, and before the rest. F may call revise.
	change(namespace string, f func(effect uint64))
	// changeNow is change for what another server wants, which waits for nothing.
	changeNow(f func(effect uint64))
	// changed notes that a socket has joined or left a room by such a change.
	changed(sh *shard, slot uint32, room string, joined bool, effect uint64)
	// revise does what an operator does to sockets to those, too, whose clients are
	// away, and to those that leave until every loop has called passed.
	revise(b BroadcastOperator, op rooms.Op, names []string) *revision
	// reviseGone does it to a socket that its loop has not found, as of effect.
	reviseGone(s Socket, op rooms.Op, names []string, effect uint64)
	// reviseOwn is revise for what a socket's own method has its loop do: R, which has
	// its Op and Names. If that is noted the loop calls came, which tells whether the
	// socket has left, and it was done then.
	reviseOwn(s Socket, r *packetlog.Revision, effect uint64) (noted bool)
	came(r *packetlog.Revision) (done bool)
	// announce calls tell, which tells the other servers what is done to sockets.
	announce(t rooms.Target, op rooms.Op, names []string, tell func())

	// standing returns what ends an event that has no place of its own, such as one
	// that is replayed, for who has had what was emitted until now; "" nothing. It is
	// called within change.
	standing(namespace string) string

	// recover tries to make a connecting socket the one that its client had before,
	// by what that has sent as auth. It is false if there is none; otherwise the
	// connection goes on, here or by a later task.
	recover(sh *shard, es eio.Session, slot uint32, auth []byte) bool
	// admit goes on with a socket that the middlewares have let pass.
	admit(sh *shard, es eio.Session, slot uint32)
	// giveUp is told of a connecting socket that goes, or is refused.
	giveUp(sh *shard, slot uint32)
	// remember is told of a connected socket that leaves, while it has everything.
	remember(sh *shard, slot uint32, reason Reason)
	// proven returns the place in the log up to which a socket's client has had
	// everything; 0 if that is not known.
	proven(sh *shard, slot uint32) uint64
	// freed is told of a Ref that is nobody's any more.
	freed(ref rooms.Ref)
	// holds is told that a restored socket has a private id.
	holds(ref rooms.Ref, pid string)
	// pid returns the private id that a socket's client asks for it with; "": none.
	pid(ref rooms.Ref) string

	// handedOn is told of a socket that another process has now.
	handedOn(sh *shard, slot uint32)

	// recoveries returns the counters.
	recoveries() Recoveries
	// status adds to how the adapter is.
	status(st *rooms.Status)
}

// newSequencer chooses one. The host is nil if the server is alone.
func newSequencer(srv *Server, h *host) (sequencer, error) {
	if srv.o.Recovery.Window == 0 {
		return &immediate{srv: srv}, nil
	}
	r, err := newRecovering(srv)
	if err != nil {
		return nil, err
	}
	if h != nil && h.log != nil {
		return newClustered(r, h), nil
	}
	return newLogged(r), nil
}

// A prompt is the part of a sequencer that posts what is emitted when it is
// emitted.
type prompt struct{}

func (q *prompt) mail(s Socket, text []byte, attachments [][]byte, plain bool) error {
	if s.gone() {
		return ErrClosed
	}
	buf := packets.Get()
	defer packets.Put(buf)
	buf.B = framing.Append(buf.B[:0], text, attachments)
	if !s.shard().loop.Mail(uint64(s.ref), outbound.Mail(plain, 0), buf.B, nil) {
		return ErrClosed
	}
	return nil
}

func (q *prompt) atOnce() bool               { return true }
func (q *prompt) post(s Socket, t loop.Task) { s.shard().loop.Post(t) }
func (q *prompt) behind(_ string, f func())  { f() }
func (q *prompt) standing(string) string     { return "" }
func (q *prompt) settle(string)              {}
func (q *prompt) settleAll()                 {}
func (q *prompt) freed(rooms.Ref)            {}
func (q *prompt) status(*rooms.Status)       {}

func (q *prompt) announce(_ rooms.Target, _ rooms.Op, _ []string, tell func()) { tell() }

// An immediate sequencer keeps nothing.
type immediate struct {
	prompt
	srv *Server // immutable
}

func (q *immediate) emitTo(s Socket, event string, args []any, how sending) error {
	buf := packets.Get()
	defer packets.Put(buf)
	if how.class != nil {
		return how.emit(q.srv, buf, s, event, args)
	}
	text, attachments, err := q.srv.o.Limits.AppendEvent(buf.B[:0], s.in.name, 0, false, event, args)
	buf.B = text[:0]
	if err != nil {
		return encodeError(err)
	}
	return q.mail(s, text, attachments, how.plain)
}

func (q *immediate) emit(b BroadcastOperator, e rooms.Event) {
	q.deliver(b, e)
	b.relay(e)
}

func (q *immediate) deliver(b BroadcastOperator, e rooms.Event) {
	if b.in != nil {
		q.srv.deliverTo(b, b.in, e)
		return
	}
	for _, in := range b.targets() {
		q.srv.deliverTo(b, in, e)
	}
}

func (q *immediate) change(_ string, f func(effect uint64))                 { f(0) }
func (q *immediate) start()                                                 {}
func (q *immediate) changeNow(f func(effect uint64))                        { f(0) }
func (q *immediate) revise(BroadcastOperator, rooms.Op, []string) *revision { return nil }
func (q *immediate) reviseGone(Socket, rooms.Op, []string, uint64)          {}
func (q *immediate) reviseOwn(Socket, *packetlog.Revision, uint64) bool     { return false }
func (q *immediate) came(*packetlog.Revision) bool                          { return false }
func (q *immediate) holds(rooms.Ref, string)                                {}
func (q *immediate) pid(rooms.Ref) string                                   { return "" }
func (q *immediate) recoveries() Recoveries                                 { return Recoveries{} }

func (q *immediate) changed(sh *shard, _ uint32, _ string, _ bool, _ uint64) { sh.loop.Check() }
func (q *immediate) giveUp(sh *shard, _ uint32)                              { sh.loop.Check() }
func (q *immediate) remember(sh *shard, _ uint32, _ Reason)                  { sh.loop.Check() }

func (q *immediate) handedOn(sh *shard, _ uint32) { sh.loop.Check() }

func (q *immediate) proven(sh *shard, _ uint32) uint64 {
	sh.loop.Check()
	return 0
}

func (q *immediate) recover(sh *shard, _ eio.Session, _ uint32, _ []byte) bool {
	sh.loop.Check()
	return false
}

func (q *immediate) admit(sh *shard, es eio.Session, slot uint32) {
	sh.loop.Check()
	sh.accept(es, slot, sh.instance(slot).ns.table.Load())
}

// A recovering is the part of a sequencer with which clients come back: who has
// which private id, what is done to those who are away, and the way from a CONNECT
// to a socket that is connected again. What was missed is found by the kept.
type recovering struct {
	// Immutable after start.
	srv    *Server
	kept   kept
	pids   *eio.IDs // private ids
	window time.Duration
	proof  time.Duration // see packetlog.Options
	most   int64         // Recovery.MaxBytes
	arm    func()        // has look called soon, with mu held

	// Guarded by mu. Lock order: mu, then the rooms' shards, then mailboxes.
	mu        sync.Mutex
	named     map[string]rooms.Ref // recovered sockets, whose pid is not that of their Ref
	revisions packetlog.Revisions
	counts    packetlog.Counts
	told      packetlog.Counts // what has been said of it
}

// A kept is what is kept for clients that may come back: in this server, or in a
// cluster's log.
type kept interface {
	// regain is recover when nobody has the socket any more.
	regain(sh *shard, es eio.Session, slot uint32, c comeback) bool
	// save keeps a socket that has gone from a loop.
	save(s Socket, x *socketState, loop int)
	// lane names what an instance's events are in one order with.
	lane(namespace string) string
	// reached returns the place of the last event that sockets of a namespace have
	// been given; mu is held.
	reached(namespace string) uint64
	// tend drops what need not be kept any more, and says whether more is kept; mu is
	// held.
	tend() (more bool)
}

// A search finds what a socket that comes back has missed.
type search interface {
	// step makes a step; mu is held. It is true if only finish is left.
	step() (done bool)
	// finish returns what was missed, if that is all and not more than most bytes, and
	// the rooms that the socket is in but for its own; mu is held. If it is not the
	// last, steps must be made again.
	finish(most int64) (missed []*message, names []string, ok, last bool)
	// resumed is told of the Ref that the socket has now; mu is held.
	resumed(ref rooms.Ref)
	// back is told that the socket is connected; giveUp that it has gone before.
	back()
	giveUp()
}

// A claim is a socket that is being recovered: its CONNECT has been read, its
// middlewares may be running.
type claim struct {
	state *socketState
	from  uint64 // what it has missed begins behind this place
	search
}

// A milestone is up to which place events were replayed to a recovered socket, and
// when.
type milestone struct {
	at    int64 // ms of the loop's clock
	place uint64
}

func newRecovering(srv *Server) (*recovering, error) {
	pids, err := srv.newIDs("socket.io private")
	interval := cmp.Or(srv.o.Engine.PingInterval, eio.DefaultPingInterval)
	timeout := cmp.Or(srv.o.Engine.PingTimeout, eio.DefaultPingTimeout)
	return &recovering{
		srv: srv, pids: pids, window: srv.o.Recovery.Window, proof: interval + 2*timeout + time.Second,
		most: cmp.Or(srv.o.Recovery.MaxBytes, 64<<20), named: map[string]rooms.Ref{},
	}, err
}

// start has what is kept looked after on the first loop, while there is any.
func (q *recovering) start() {
	timer, sh := new(loop.Timer), q.srv.shards[0]
	var look func()
	look = func() {
		q.mu.Lock()
		again := q.kept.tend()
		q.mu.Unlock()
		q.report()
		if again {
			sh.loop.Schedule(timer, packetlog.MarkEvery, look)
		}
	}
	q.arm = func() {
		sh.loop.Post(loop.TaskFunc(func(*loop.Loop) { sh.loop.Schedule(timer, packetlog.MarkEvery, look) }))
	}
}

// count counts something.
func (q *recovering) count(n *int64) {
	q.mu.Lock()
	*n++
	q.mu.Unlock()
}

// tell tells the loops up to where everything has been posted to them; mu is held.
func (q *recovering) tell(lane string, place uint64) {
	for _, sh := range q.srv.shards {
		sh.loop.Post(loop.TaskFunc(func(*loop.Loop) {
			p := sh.progress[lane]
			if p == nil {
				p = &packetlog.Progress{}
				sh.progress[lane] = p
			}
			enqueued, visited := sh.local.Progress()
			p.Pass(place, sh.loop.Now(), enqueued, visited)
		}))
	}
}

func (q *recovering) proven(sh *shard, slot uint32) uint64 {
	sh.loop.Check()
	had, at := sh.sockets.At(slot).start.get(), sh.session(slot).Proven()
	if m, ok := sh.resumed[slot]; ok {
		if m.at >= at {
			return had // what it missed was sent then, or later
		}
		had = max(had, m.place)
	}
	return max(had, sh.progress[q.kept.lane(sh.instance(slot).name)].Before(at))
}

// A private id alone takes nothing away from a client that is there. A client
// that comes back before we have noticed that its old connection is dead is told
// from one who has got hold of a private id by asking that connection: a pong says
// that its owner lives.
const (
	takeoverWait = time.Second // how long the owner has to answer
	takeoverLook = 50 * time.Millisecond
)

// A verdict is what became of a challenge.
type verdict uint8

const (
	itLeft verdict = iota // the socket is free
	itLives
	itIsAnother // the newcomer is somebody else, or in another namespace
)

// challenge asks whether the client of a socket is still there that the one of
// slot wants back, and then goes on with the latter. Account is charged with
// taskCost until there is an answer.
func (q *recovering) challenge(sh *shard, slot uint32, old rooms.Ref, c comeback, account *budget.Account) {
	newcomer, name, identity := sh.ref(slot), sh.instance(slot).name, q.srv.details.identity(sh.ref(slot))
	from := q.srv.shards[old.Loop()]
	from.loop.Post(loop.TaskFunc(func(*loop.Loop) {
		from.defend(old, name, identity, func(v verdict) {
			account.Done(taskCost)
			sh.loop.Post(loop.TaskFunc(func(*loop.Loop) { q.decided(sh, newcomer, v, c) }))
		})
	}))
}

// defend finds out whether a socket's client is there, and ends its session if it
// is not. Decided is called once.
func (sh *shard) defend(ref rooms.Ref, name, identity string, decided func(verdict)) {
	slot := sh.lookup(ref)
	switch {
	case slot == 0 || sh.sockets.At(slot).state == leaving:
		decided(itLeft)
		return
	case sh.instance(slot).name != name || !packetlog.Alike(sh.srv.details.identity(ref), identity):
		decided(itIsAnother)
		return
	}
	// An answer that is on its way already, from before the connection was lost,
	// says nothing.
	asked := sh.session(slot).Answered()
	sh.session(slot).Ping()
	timer, waited := new(loop.Timer), time.Duration(0)
	var look func()
	look = func() {
		slot := sh.lookup(ref)
		switch {
		case slot == 0 || sh.sockets.At(slot).state == leaving:
			decided(itLeft)
		case asked && sh.session(slot).Answered():
			decided(itLives)
		case waited >= takeoverWait:
			sh.session(slot).CloseFor(eio.CloseReplaced, "replaced by a newer connection")
			decided(itLeft)
		default:
			waited += takeoverLook
			asked = asked || sh.session(slot).Answered()
			sh.session(slot).Ping()
			sh.loop.Schedule(timer, takeoverLook, look)
		}
	}
	sh.loop.Schedule(timer, takeoverLook, look)
	waited = takeoverLook
}

// decided goes on with a connecting socket that wanted another.
func (q *recovering) decided(sh *shard, newcomer rooms.Ref, v verdict, c comeback) {
	slot := sh.lookup(newcomer)
	if slot == 0 || sh.sockets.At(slot).state != connecting {
		return
	}
	es := sh.session(slot)
	switch v {
	case itLives:
		q.count(&q.counts.Alive)
	case itIsAnother:
		q.count(&q.counts.Alien)
	default:
		if q.kept.regain(sh, es, slot, c) {
			return
		}
	}
	sh.enterNamespace(es, slot)
}
