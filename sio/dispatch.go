package sio

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio/parser"
)

// Message is called by the Engine.IO server for each message of a client.
func (srv *Server) Message(es eio.Session, data []byte, binary bool) {
	sh := srv.shards[es.Loop().Index()]
	done, err := sh.assemble(es, data, binary)
	if done && err == nil && len(sh.packet.Event) > srv.o.MaxEventName && sh.packet.Type == parser.Event {
		err = errEventName
	}
	if err != nil {
		sh.tally.badPackets.Add(1)
		srv.o.Logger.Debug("bad packet", "session", es.ID(), "error", err)
		es.Close()
		return
	}
	if done {
		sh.handle(es, &sh.packet)
	}
}

// assemble parses a message into sh.packet. Only sessions that wait for
// attachments have an assembler of their own.
func (sh *shard) assemble(es eio.Session, data []byte, binary bool) (done bool, err error) {
	if !sh.srv.speaks(es, binary) {
		return false, errParser
	}
	if packed(es) {
		return true, sh.unpack(data)
	}
	asm := &sh.asm
	own := sh.assemblers[es.Ref()]
	if own != nil {
		asm = own
	}
	if binary {
		done, err = asm.Binary(data, &sh.packet)
	} else {
		done, err = asm.Text(data, sh.srv.o.Limits, &sh.packet)
	}
	switch {
	case own == nil && !asm.Idle():
		moved := sh.asm
		sh.assemblers[es.Ref()] = &moved
		sh.asm.Reset()
	case own != nil && asm.Idle():
		delete(sh.assemblers, es.Ref())
	}
	return done, err
}

// handle acts on a packet. What a client may not send in its state ends the
// session (Socket.IO protocol 5; Node's server does the same).
func (sh *shard) handle(es eio.Session, p *parser.Packet) {
	var query []byte
	if sh.srv.isOld(es) {
		query = cutQuery(p)
	}
	if p.Type == parser.Connect {
		sh.connect(es, p, query)
		return
	}
	slot := sh.find(es, p.Namespace)
	if slot == 0 {
		sh.violated(es)
		return
	}
	state := sh.sockets.At(slot).state
	switch {
	case p.Type == parser.Disconnect && state == connecting:
		sh.drop(es, slot)
	case p.Type == parser.Disconnect:
		sh.leave(es, slot, ClientDisconnect)
	case p.Type == parser.Event && state == connected:
		sh.event(es, slot, p)
	case p.Type == parser.Ack && state == connected:
		sh.acked(slot, p)
	default:
		sh.violated(es)
	}
}

// event has an event's handler called: here, or on the socket's goroutine with
// a copy of the packet.
func (sh *shard) event(es eio.Session, slot uint32, p *parser.Packet) {
	in := sh.instance(slot)
	e := in.ns.table.Load().lookup(p.Event)
	if e == nil || sh.sockets.Marked(slot, sh.sockets.Gen(slot)) {
		return
	}
	s := sh.socket(slot)
	if !e.inline || sh.held(slot) {
		size := len(p.Data)
		for _, b := range p.Buffers {
			size += len(b)
		}
		if sh.inbox(slot).put(task{msg: newMsg(s, p), handler: e.run, size: size, hold: e.inline}) {
			es.PauseRead()
		}
		return
	}
	m := &sh.msg
	m.view(s, p, e.event)
	if err := e.call(s, m); err != nil {
		sh.srv.fail(s, e.event, err)
	}
	sh.loop.Yield() // it may have woken somebody
	m.drop()
}

// held tells whether inline events of a socket have to wait for its connect
// handlers, or for one that waited for them.
func (sh *shard) held(slot uint32) bool {
	x := sh.exts[slot]
	return x != nil && x.inbox != nil && x.inbox.holding.Load() > 0
}

// call runs the handler; a panic is an error.
func (e *entry) call(s Socket, m *Msg) (err error) {
	defer recovered(&err)
	return e.run(s, m)
}

// A task is something to do for a socket on its goroutine.
type task struct {
	handler Handler // with msg; or
	msg     *Msg
	name    string // for reports; with
	run     func() error
	size    int  // bytes it holds
	hold    bool // inline events wait for it
}

// An inbox holds a socket's tasks in order. Its goroutine lives while there
// are any.
type inbox struct {
	s       Socket
	sh      *shard
	session uint64

	holding atomic.Int32 // tasks with hold
	shut    atomic.Bool  // by us: the events that wait are not handled

	// Guarded by mu.
	mu      sync.Mutex
	tasks   []task
	size    int
	running bool
	paused  bool // the session's reading is paused because of us; ended on the loop alone
}

// What may wait for a socket's handlers before reading from it pauses.
const (
	maxTasks = 1024
	maxBytes = 1 << 20
)

// inbox returns a socket's inbox, made if needed.
func (sh *shard) inbox(slot uint32) *inbox {
	x := sh.ext(slot)
	if x.inbox == nil {
		x.inbox = &inbox{s: sh.socket(slot), sh: sh, session: sh.sessionRef(slot)}
		sh.watch(x.inbox)
	}
	return x.inbox
}

// put queues a task. It is true when so much waits that reading from the client
// should pause, which the inbox ends. It is called on the loop.
func (b *inbox) put(t task) (full bool) {
	if t.hold {
		b.holding.Add(1)
	}
	b.mu.Lock()
	b.tasks = append(b.tasks, t)
	b.size += t.size
	start := !b.running
	b.running = true
	full = b.full()
	b.paused = b.paused || full
	b.mu.Unlock()
	if start {
		b.sh.loop.Yield()
		b.sh.srv.handlers.Add(1)
		// ends when the inbox is empty
		go b.work()
	}
	return full
}

// full is called with b.mu held.
func (b *inbox) full() bool { return len(b.tasks) > maxTasks || b.size > maxBytes }

func (b *inbox) work() {
	defer b.sh.srv.handlers.Done()
	for {
		tasks, paused := b.take()
		if paused {
			b.sh.loop.Post(loop.TaskFunc(b.resume))
		}
		if len(tasks) == 0 {
			return
		}
		for i := range tasks {
			b.do(&tasks[i])
			if tasks[i].hold {
				b.holding.Add(-1)
			}
		}
	}
}

// take empties the inbox. Its goroutine ends if nothing was in it.
func (b *inbox) take() (tasks []task, paused bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	tasks, b.tasks, b.size = b.tasks, nil, 0
	b.running = len(tasks) > 0
	return tasks, b.paused
}

// resume has the session's client read from again, unless the inbox has filled
// up meanwhile: then the next take leads here once more. The session goes on
// even if the socket has left it.
func (b *inbox) resume(l *loop.Loop) {
	b.mu.Lock()
	resume := b.paused && !b.full()
	b.paused = b.paused && !resume
	b.mu.Unlock()
	if !resume {
		return
	}
	if es, ok := b.sh.srv.eio.Lookup(l, b.session); ok {
		es.ResumeRead()
	}
}

func (b *inbox) do(t *task) {
	srv := b.sh.srv
	if t.run != nil {
		srv.call(b.s, t.name, t.run)
		return
	}
	// In this order: when the socket is gone, and with it the bit, shut is set.
	if b.sh.sockets.Marked(b.s.ref.Slot(), b.s.ref.Gen()) || b.shut.Load() {
		return
	}
	srv.call(b.s, t.msg.event, func() error { return t.handler(b.s, t.msg) })
}

// shut has no event of a socket handled any more: we are disconnecting it.
func (sh *shard) shut(slot uint32) {
	sh.sockets.Mark(slot, sh.sockets.Gen(slot))
	if x := sh.exts[slot]; x != nil && x.inbox != nil {
		x.inbox.shut.Store(true)
	}
}

// sweepEvery is how often inboxes are looked at, to free those that have had
// nothing to do.
const sweepEvery = time.Second

func (sh *shard) watch(b *inbox) {
	sh.inboxes = append(sh.inboxes, b)
	if !sh.sweeper.Armed() {
		sh.loop.Schedule(&sh.sweeper, sweepEvery, sh.sweep)
	}
}

// sweep frees idle inboxes, and with them the extension if nothing else needs
// it.
func (sh *shard) sweep() {
	keep := sh.inboxes[:0]
	for _, b := range sh.inboxes {
		slot := sh.lookup(b.s.ref)
		switch {
		case slot == 0: // the socket is gone, and the inbox with it
		case !b.idle():
			keep = append(keep, b)
		default:
			x := sh.exts[slot]
			x.inbox = nil
			sh.shed(slot, x)
		}
	}
	clear(sh.inboxes[len(keep):])
	sh.inboxes = keep
	if len(keep) == 0 {
		sh.inboxes = nil
		return
	}
	sh.loop.Schedule(&sh.sweeper, sweepEvery, sh.sweep)
}

func (b *inbox) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.running
}
