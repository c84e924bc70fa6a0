package sio

import (
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop/budget"
	"github.com/sioedge/sioedge/sio/internal/fifo"
	"github.com/sioedge/sioedge/sio/internal/running"
)

// A task is something to do for a socket on its goroutine.
type task struct {
	handler Handler // with msg; or
	msg     *Msg
	name    string // for reports; with
	run     func() error
	account *budget.Account // is charged with
	size    int             // bytes, until the task is done; 0: with none
	hold    bool            // inline events wait for it
	own     bool            // handler is a function that only this process has
	anew    bool            // run is begun by another process as well: the middlewares of a socket that connects
}

// sizeOfEvent is what an event takes as it waits for its handler: the message,
// its copies of the packet's parts and the lists of them, and its task, twice
// because lists grow by doubling. Name is the length of the event's.
func sizeOfEvent(name int, args, attachments [][]byte) int {
	const list = int(unsafe.Sizeof([]byte(nil)))
	n := list * (len(args) + len(attachments))
	for _, arg := range args {
		n += len(arg)
	}
	for _, b := range attachments {
		n += cap(b)
	}
	n += n / 8 // memory comes in classes of sizes
	return n + int(unsafe.Sizeof(Msg{}))*9/8 + 2*int(unsafe.Sizeof(task{})) + name
}

// taskCost is what it takes to have handlers called for a socket that comes or
// goes, about: a goroutine, and what is kept of the socket until they return. To
// look for what it had before takes the same.
const taskCost = 4 << 10

// toll charges what a client's coming or going takes if there are handlers for it.
// It is false if that does not fit: the session is gone.
func (sh *shard) toll(es eio.Session, handlers int) (account *budget.Account, ok bool) {
	if handlers == 0 {
		return nil, true
	}
	account = es.Budget()
	return account, account.Work(taskCost)
}

// An inbox holds a socket's tasks in order. Its goroutine lives while there
// are any. What waits in it is charged to the session's account, which has the
// client wait.
type inbox struct {
	s  Socket
	sh *shard

	place int // in shard.inboxes; owned by the loop

	holding atomic.Int32 // tasks with hold
	shut    atomic.Bool  // by us: the events that wait are not handled

	// Guarded by mu.
	mu      sync.Mutex
	tasks   fifo.Queue[task]
	running bool
	turn    running.Turn // while it runs
	now     string       // the name of the task that is done
	behind  bool         // the socket has left: what waits counts in Server.leftBehind
	parked  bool         // what waits, waits for Server.hold to end
}

// inbox returns a socket's inbox, made if needed.
func (sh *shard) inbox(slot uint32) *inbox {
	x := sh.ext(slot)
	if x.inbox == nil {
		x.inbox = &inbox{s: sh.socket(slot), sh: sh}
		sh.watch(x.inbox)
	}
	return x.inbox
}

// put queues a task. It is called on the loop.
func (b *inbox) put(t task) {
	if t.hold {
		b.holding.Add(1)
	}
	b.sh.tally.Backlog.Tasks++
	b.mu.Lock()
	b.tasks.Put(t)
	start := b.begins()
	b.mu.Unlock()
	if start {
		b.sh.loop.Yield()
		b.start()
	}
}

// Later has an inline handler go on in h, on the socket's goroutine, when something has
// to wait: with a copy of the event, which is valid as of [Namespace.Handle], and behind
// the socket's events that wait already. Its further events, inline ones too, wait for h.
// The acknowledgement is h's from then on, and so is the event's context. Errors of h go
// where those of handlers go; wrappers of [Namespace.UseEvent] do not see them.
//
//	ns.HandleInline("join", func(s sio.Socket, m *sio.Msg) error {
//		if room, ok := cached(m); ok {
//			s.Join(room)
//			return m.Ack()
//		}
//		return m.Later(join) // asks a database
//	})
//
// Where a handler is on the socket's goroutine already, as inline ones are that have
// waited for OnConnect, h is called at once, and Later returns its error. Otherwise the
// error is [ErrClosed]: the client has left, or the handler has returned.
func (m *Msg) Later(h Handler) error {
	s, own := m.s, m
	for own.first != nil {
		own = own.first
	}
	if s.in == nil || own.s.in == nil {
		return ErrClosed // it was an inline handler's, which has returned
	}
	if s.ref == 0 || own != &s.shard().msg {
		return h(s, m)
	}
	sh := s.shard()
	slot := sh.lookup(s.ref)
	if slot == 0 || sh.sockets.At(slot).state != connected {
		return ErrClosed
	}
	account, size := sh.session(slot).Budget(), sizeOfEvent(len(m.event), m.raw, m.buffers)
	if !account.Work(size) {
		return ErrClosed // by what waits of it
	}
	c := &Msg{s: s, event: m.event, id: own.id, wants: own.wants, ctx: m.ctx}
	c.copyArgs(m.raw, m.buffers, c.inline[:0])
	c.acked.Store(own.acked.Swap(true))
	sh.inbox(slot).put(task{msg: c, handler: h, account: account, size: size, hold: true, own: true})
	return nil
}

// start has the inbox's goroutine begin, which ends when it is empty.
func (b *inbox) start() { b.sh.srv.run(b.work) }

// run has f, which runs handlers, called on a goroutine, which ends with it.
func (srv *Server) run(f func()) {
	if srv.watch != nil {
		srv.watch.Go(f)
		return
	}
	go f()
}

func (b *inbox) work() {
	empty := false
	defer func() {
		if empty {
			return
		}
		b.start() // a handler has ended this goroutine
	}()
	for {
		t, ok := b.take()
		if empty = !ok; empty {
			return
		}
		b.do(&t)
		if w := b.sh.srv.watch; w != nil {
			w.Between()
		}
	}
}

// begins tells whether the inbox's goroutine is to start now; b.mu is held.
func (b *inbox) begins() bool {
	if b.running || len(b.tasks.Waiting()) == 0 || b.parks() {
		return false
	}
	b.running, b.turn = true, b.sh.srv.handlers.Begin()
	return true
}

// called is what a task is called in reports.
func (t *task) called() string {
	if t.msg != nil {
		return t.msg.event
	}
	return t.name
}

// take returns the next task. The inbox's goroutine ends if there is none.
func (b *inbox) take() (t task, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.parks() {
		t, ok = b.tasks.Take()
	}
	if !ok {
		b.running, b.now = false, ""
		b.sh.srv.handlers.End(b.turn)
		return task{}, false
	}
	b.now = t.called()
	if b.behind && t.run == nil {
		b.sh.srv.leftBehind.Add(-int64(t.size))
	}
	b.sh.taken.Add(1)
	return t, true
}

func (b *inbox) do(t *task) {
	defer b.done(t)
	srv := b.sh.srv
	if t.run != nil {
		if err := srv.guard(t.run); err != nil { // of handlers it has told already
			srv.fail(b.s, t.name, err)
		}
		return
	}
	// In this order: when the socket is gone, and with it the bit, shut is set.
	if b.sh.sockets.Marked(b.s.ref.Slot(), b.s.ref.Gen()) || b.shut.Load() {
		return
	}
	srv.call(t.msg.s, t.msg.event, func() error { return t.handler(t.msg.s, t.msg) })
}

// done ends what a task held.
func (b *inbox) done(t *task) {
	t.account.Done(t.size)
	if t.hold {
		b.holding.Add(-1)
	}
}

// shutUp has no event handled any more, and forgets those that wait.
func (b *inbox) shutUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget()
}

// forget is shutUp with mu held. It returns how many events it has forgotten.
func (b *inbox) forget() (events int) {
	b.shut.Store(true)
	b.tasks.Drop(func(t *task) bool {
		if t.run != nil {
			return false
		}
		if b.behind {
			b.sh.srv.leftBehind.Add(-int64(t.size))
		}
		b.done(t)
		b.sh.tally.Backlog.Tasks--
		events++
		return true
	})
	return events
}

// leaveBehind is for a socket that leaves: the events that wait are handled, as in
// Node, unless those that all who have left wait with take more than MaxLeftBehind.
// A client that stays waits for its handlers; one that comes, sends and goes again
// would not.
func (b *inbox) leaveBehind() {
	b.mu.Lock()
	defer b.mu.Unlock()
	size := int64(0)
	for _, t := range b.tasks.Waiting() {
		if t.run == nil {
			size += int64(t.size)
		}
	}
	srv := b.sh.srv
	b.behind = true
	defer b.goOn() // who has left is not taken over
	if n := srv.leftBehind.Add(size); size > 0 && n > int64(srv.o.MaxLeftBehind) {
		b.sh.tally.Drops.Unhandled += int64(b.forget())
		srv.notice.Warn("too many events wait of clients that have left: they are not handled", "flag", "--max-left-behind", "bytes", n, "bound", srv.o.MaxLeftBehind)
	}
}

// shut has no event of a socket handled any more: we are disconnecting it.
func (sh *shard) shut(slot uint32) {
	sh.sockets.Mark(slot, sh.sockets.Gen(slot))
	if x := sh.exts[slot]; x != nil && x.inbox != nil {
		x.inbox.shutUp()
	}
}

// abandon forgets the events that wait of a session that has ended because they
// were too many, or nothing was done about them for too long.
func (sh *shard) abandon(es eio.Session) {
	for slot := es.User() &^ userFlags; slot != 0; slot = sh.sockets.At(slot).next {
		if x := sh.exts[slot]; x != nil && x.inbox != nil {
			x.inbox.shutUp()
		}
	}
}

// sweepEvery is how often inboxes are looked at, to free those that have had
// nothing to do.
const sweepEvery = time.Second

func (sh *shard) watch(b *inbox) {
	b.place = len(sh.inboxes)
	sh.inboxes = append(sh.inboxes, b)
	if !sh.sweeper.Armed() {
		sh.loop.Schedule(&sh.sweeper, sweepEvery, sh.sweep)
	}
}

// unwatch has the inbox of a socket that is gone no longer looked at: clients may
// come and go much more often than that is done.
func (sh *shard) unwatch(b *inbox) {
	last := sh.inboxes[len(sh.inboxes)-1]
	sh.inboxes[b.place], last.place = last, b.place
	sh.inboxes[len(sh.inboxes)-1] = nil
	sh.inboxes = sh.inboxes[:len(sh.inboxes)-1]
}

// sweep frees idle inboxes, and with them the extension if nothing else needs
// it.
func (sh *shard) sweep() {
	keep := sh.inboxes[:0]
	for _, b := range sh.inboxes {
		if !b.idle() {
			b.place = len(keep)
			keep = append(keep, b)
			continue
		}
		slot := sh.lookup(b.s.ref)
		x := sh.exts[slot]
		x.inbox = nil
		sh.shed(slot, x)
	}
	clear(sh.inboxes[len(keep):])
	sh.inboxes = keep
	if len(keep) == 0 {
		sh.inboxes = nil
		return
	}
	sh.loop.Schedule(&sh.sweeper, sweepEvery, sh.sweep)
}

// length is how many tasks wait.
func (b *inbox) length() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.tasks.Waiting())
}

func (b *inbox) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.running && len(b.tasks.Waiting()) == 0
}
