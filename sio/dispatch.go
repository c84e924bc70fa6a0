package sio

import (
	"sync"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/sio/parser"
)

// Message is called by the Engine.IO server for each message of a client.
func (srv *Server) Message(es eio.Session, data []byte, binary bool) {
	sh := srv.shards[es.Loop().Index()]
	done, err := sh.assemble(es, data, binary)
	if err != nil {
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
	if p.Type == parser.Connect {
		sh.connect(es, p)
		return
	}
	slot := sh.find(es, p.Namespace)
	if slot == 0 {
		es.Close()
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
	case p.Type == parser.Ack:
		sh.acked(slot, p)
	default:
		es.Close()
	}
}

// event has an event's handler called: here, or on the socket's goroutine with
// a copy of the packet.
func (sh *shard) event(es eio.Session, slot uint32, p *parser.Packet) {
	in := sh.instance(slot)
	e := in.ns.table.Load().lookup(p.Event)
	if e == nil {
		return
	}
	s := sh.socket(slot)
	if !e.inline {
		m := newMsg(s, p)
		size := len(p.Data)
		for _, b := range p.Buffers {
			size += len(b)
		}
		if sh.dispatch(slot, task{msg: m, handler: e.run, size: size}) {
			es.PauseRead()
		}
		return
	}
	m := &sh.msg
	m.view(s, p)
	if err := e.call(s, m); err != nil {
		sh.srv.fail(s, string(p.Event), err)
	}
	m.drop()
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
	size    int // bytes it holds
}

// An inbox holds a socket's tasks in order. Its goroutine lives while there
// are any.
type inbox struct {
	s  Socket
	sh *shard

	mu      sync.Mutex
	tasks   []task
	size    int
	running bool
	paused  bool // the session's reading is paused because of us
}

// What may wait for a socket's handlers before reading from it pauses.
const (
	maxTasks = 1024
	maxBytes = 1 << 20
)

// dispatch queues a task for a socket. It is true when so much waits that
// reading from the client should pause; the inbox resumes it.
func (sh *shard) dispatch(slot uint32, t task) (full bool) {
	x := sh.ext(slot)
	if x.inbox == nil {
		x.inbox = &inbox{s: sh.socket(slot), sh: sh}
		sh.watch(slot)
	}
	b := x.inbox
	b.mu.Lock()
	b.tasks = append(b.tasks, t)
	b.size += t.size
	start := !b.running
	b.running = true
	full = !b.paused && (len(b.tasks) > maxTasks || b.size > maxBytes)
	b.paused = b.paused || full
	b.mu.Unlock()
	if start {
		sh.srv.handlers.Add(1)
		// ends when the inbox is empty
		go b.work()
	}
	return full
}

func (b *inbox) work() {
	defer b.sh.srv.handlers.Done()
	for {
		b.mu.Lock()
		if len(b.tasks) == 0 {
			b.running, b.tasks = false, nil
			b.mu.Unlock()
			return
		}
		tasks := b.tasks
		b.tasks, b.size = nil, 0
		resume := b.paused
		b.paused = false
		b.mu.Unlock()
		for i := range tasks {
			b.do(&tasks[i])
		}
		if resume {
			b.sh.loop.Post(loop.TaskFunc(func(*loop.Loop) {
				if slot := b.sh.lookup(b.s.ref); slot != 0 {
					b.sh.session(slot).ResumeRead()
				}
			}))
		}
	}
}

func (b *inbox) do(t *task) {
	srv := b.sh.srv
	if t.run != nil {
		srv.call(b.s, t.name, t.run)
		return
	}
	srv.call(b.s, t.msg.event, func() error { return t.handler(b.s, t.msg) })
}

// sweepEvery is how often inboxes are looked at, to free those that have had
// nothing to do.
const sweepEvery = time.Second

func (sh *shard) watch(slot uint32) {
	sh.inboxes = append(sh.inboxes, slot)
	if !sh.sweeper.Armed() {
		sh.loop.Schedule(&sh.sweeper, sweepEvery, sh.sweep)
	}
}

// sweep frees idle inboxes, and with them the extension if nothing else needs
// it.
func (sh *shard) sweep() {
	keep := sh.inboxes[:0]
	for _, slot := range sh.inboxes {
		x := sh.exts[slot]
		if x == nil || x.inbox == nil {
			continue // the socket is gone
		}
		if x.inbox.idle() {
			x.inbox = nil
			if len(x.acks) == 0 {
				delete(sh.exts, slot)
				sh.sockets.At(slot).extended = false
			}
			continue
		}
		keep = append(keep, slot)
	}
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
