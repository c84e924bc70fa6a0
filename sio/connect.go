package sio

import (
	"slices"
	"time"

	"github.com/sioedge/sioedge/eio"
	"github.com/sioedge/sioedge/loop"
	"github.com/sioedge/sioedge/loop/budget"
	"github.com/sioedge/sioedge/loop/http1"
	"github.com/sioedge/sioedge/sio/parser"
)

// Open is called by the Engine.IO server for a new session.
func (srv *Server) Open(es eio.Session, r *http1.Request) {
	sh := srv.shards[es.Loop().Index()]
	if srv.keepsHandshake() && !sh.keepHandshake(es, newHandshake(es, r)) {
		return
	}
	sh.arrivals.add(sh, es.Ref())
	if srv.isOld(es) {
		sh.greet(es)
	}
}

// keepsHandshake tells whether anybody could ask for one.
func (srv *Server) keepsHandshake() bool {
	if !srv.o.DropHandshake || srv.o.Recovery.Identity != nil {
		return true
	}
	for _, ns := range *srv.registry.all.Load() {
		if t := ns.table.Load(); len(t.use)+len(t.connect) > 0 {
			return true
		}
	}
	return false
}

// Close is called by the Engine.IO server when a session has ended: all its
// sockets leave, in the order of joining.
func (srv *Server) Close(es eio.Session, reason Reason) {
	sh := srv.shards[es.Loop().Index()]
	if es.Overran() {
		sh.abandon(es)
	}
	for slot := es.User() &^ userFlags; slot != 0; slot = es.User() &^ userFlags {
		sh.leave(es, slot, reason)
	}
	sh.forgetAssembly(es)
	delete(sh.handshakes, es.Ref())
	delete(sh.replayed, es.Ref())
	sh.crossed.forget(es)
}

// connect handles a CONNECT packet (Socket.IO protocol 5, "Connection to a
// namespace"); query is what a client of Socket.IO 2 gave with the name.
func (sh *shard) connect(es eio.Session, p *parser.Packet, query []byte) {
	old := sh.srv.isOld(es)
	if slot := sh.find(es, p.Namespace); slot != 0 {
		if old && string(p.Namespace) == "/" {
			return // some ask for what they have been given
		}
		if !sh.replace(es, slot) {
			sh.violated(es) // by a second CONNECT; Node's server closes too
			return
		}
		if !es.Valid() {
			return // what handlers take did not fit
		}
	} else {
		sh.crossed.join(es, string(p.Namespace))
	}
	if sh.ending {
		sh.reject(es, string(p.Namespace), &Error{Message: "server is shutting down"})
		return
	}
	if sh.count(es) >= sh.srv.o.MaxNamespaces {
		sh.tally.namespaces.Add(1)
		sh.srv.notice.Warn("a connection has as many namespaces as it may have", "flag", "--max-namespaces", "max-namespaces", sh.srv.o.MaxNamespaces)
		sh.refuse(es, string(p.Namespace), &Error{Message: "too many namespaces"})
		return
	}
	in, full := sh.srv.registry.acquire(p.Namespace, p.Data)
	if in == nil {
		e := &Error{Message: "Invalid namespace"}
		if full {
			sh.tally.namespaces.Add(1)
			sh.srv.notice.Warn("there are as many live namespaces as there may be", "flag", "--max-instances", "max-instances", sh.srv.o.MaxInstances)
			e.Message = "too many namespaces"
		}
		sh.refuse(es, string(p.Namespace), e)
		return
	}
	brought, ok := sh.bring(es, len(p.Data)+len(query))
	if !ok {
		sh.srv.registry.release(in)
		return
	}
	slot, ok := sh.newSocket(es, in)
	if !ok {
		brought.account.Release(brought.size)
		sh.tally.full.Add(1)
		sh.srv.registry.release(in)
		sh.reject(es, in.name, &Error{Message: "server is full"})
		return
	}
	sh.brings(slot, brought)
	if t := in.ns.table.Load(); !sh.srv.o.DropHandshake || len(t.use)+len(t.connect) > 0 || sh.srv.o.Recovery.Identity != nil {
		sh.srv.details.put(sh.ref(slot), sh.handshakes[es.Ref()].withQuery(query), p.Data)
	}
	if old {
		sh.setID(slot, oldID(es, in.name))
	}
	if sh.srv.log != nil && !old && sh.recover(es, slot, p.Data) {
		return
	}
	sh.enterNamespace(es, slot)
}

// replace ends a socket whose client asks for its namespace once more, having
// given up before it had an answer: connect, disconnect, connect, of which the
// JavaScript client says nothing in between (socketio/socket.io#4648). It is false
// if the client has had one, since it has used the socket; or since this is its one
// namespace, and who gives that up closes the connection.
func (sh *shard) replace(es eio.Session, slot uint32) bool {
	r := sh.sockets.At(slot)
	if r.is&heard != 0 || r.state == connected && sh.count(es) == 1 {
		return false
	}
	if r.state == connected {
		sh.crossed.end(sh, es, sh.instance(slot).name) // what it sends when it has the first answer
	}
	sh.leave(es, slot, ClientDisconnect)
	return true
}

// enterNamespace has a connecting socket go through the middlewares.
func (sh *shard) enterNamespace(es eio.Session, slot uint32) {
	t := sh.instance(slot).ns.table.Load()
	if len(t.use) == 0 {
		sh.admitted(es, slot, t)
		return
	}
	s := sh.socket(slot)
	account, ok := sh.toll(es, len(t.use))
	if !ok {
		return
	}
	sh.inbox(slot).put(task{name: "connect", account: account, size: taskCost, run: func() error {
		return sh.admit(s, t.use)
	}})
}

// admitted goes on with a socket that the middlewares let pass.
func (sh *shard) admitted(es eio.Session, slot uint32, t *table) {
	if _, ok := sh.claims[slot]; ok {
		sh.resume(slot)
		return
	}
	if sh.srv.log != nil {
		sh.begin(slot)
		return
	}
	sh.accept(es, slot, t)
}

// accept makes a socket connected, tells the client, and has the connect
// handlers called: in this order, so that the client sees the answer before
// anything they emit.
func (sh *shard) accept(es eio.Session, slot uint32, t *table) {
	account, ok := sh.toll(es, len(t.connect))
	if !ok {
		return
	}
	r := sh.sockets.At(slot)
	r.state = connected
	es.SetUser(es.User() | everJoined)
	es.SetJoined(true)
	sh.srv.registry.announce(sh.instance(slot))
	sh.local.Add(slot, sh.sockets.Gen(slot), sh.instance(slot).id)
	sh.tellOwn(slot, true)
	ref, id, pid := sh.ref(slot), "", ""
	if !sh.srv.isOld(es) {
		id = sh.id(slot)
		if sh.srv.log != nil {
			pid = sh.srv.pid(ref)
		}
	}
	text := parser.AppendConnect(sh.scratch[:0], sh.instance(slot).name, id, pid)
	n := len(text)
	text = eio.AppendText(text, text)
	sh.transmit(es, text[n:], false)
	sh.scratch = text[:0]
	if len(t.connect) == 0 {
		sh.settle(slot)
		return
	}
	s := sh.socket(slot)
	sh.inbox(slot).put(task{name: "connect", account: account, size: taskCost, hold: true, run: func() error {
		welcome := false
		defer func() {
			if !welcome { // also if a handler ends the goroutine
				sh.sockets.Mark(s.ref.Slot(), s.ref.Gen())
				s.Disconnect(false)
			}
		}()
		for _, h := range t.connect {
			if sh.srv.call(s, "connect", func() error { return h(s) }) != nil {
				return nil
			}
		}
		welcome = true
		if sh.srv.o.DropHandshake {
			s.post((*shard).settle)
		}
		return nil
	}})
}

// settle forgets the request that a session began with, once its first
// namespace has seen it, if the options ask for that.
func (sh *shard) settle(slot uint32) {
	if sh.srv.o.DropHandshake {
		sh.dropHandshake(sh.sessionRef(slot))
		sh.srv.details.settle(sh.ref(slot))
		sh.giveBack(slot)
	}
}

// refuse answers a CONNECT with a CONNECT_ERROR.
func (sh *shard) refuse(es eio.Session, name string, e *Error) {
	sh.tally.refused.Add(1)
	text, _ := parser.AppendConnectError(nil, name, e.Message, e.Data) // which is JSON, if any: see refusal
	sh.transmit(es, eio.AppendText(nil, text), false)
}

// drop ends a socket that was never connected.
func (sh *shard) drop(es eio.Session, slot uint32) {
	sh.giveUp(slot)
	sh.giveBack(slot)
	ref := sh.ref(slot)
	sh.unlink(es, slot)
	sh.local.Remove(slot)
	sh.failAcks(slot)
	sh.free(slot)
	sh.srv.details.remove(ref)
}

// leave ends a socket's membership of its session. The handlers see it in its
// rooms, then without; then it is gone.
func (sh *shard) leave(es eio.Session, slot uint32, reason Reason) {
	r := sh.sockets.At(slot)
	if r.state == connecting {
		sh.drop(es, slot)
		return
	}
	t := sh.instance(slot).ns.table.Load()
	var account *budget.Account
	if reason == ClientDisconnect { // it may come and go as often as it likes
		ok := false
		if account, ok = sh.toll(es, len(t.disconnecting)+len(t.disconnect)); !ok {
			return
		}
	}
	sh.local.CatchUp(slot)
	sh.remember(slot, reason)
	sh.giveBack(slot)
	sh.tellOwn(slot, false)
	sh.unlink(es, slot)
	r.state = leaving
	sh.failAcks(slot)
	if x := sh.exts[slot]; x != nil && x.inbox != nil {
		x.inbox.leaveBehind()
	}
	s := sh.socket(slot)
	sh.srv.details.end(s.ref)
	sh.srv.handlers.Add(1) // until farewell
	if len(t.disconnecting) == 0 {
		sh.left(slot, reason, account)
		return
	}
	sh.inbox(slot).put(task{name: "disconnect", run: func() error {
		defer func() { // also if a handler ends the goroutine
			if !sh.loop.Post(loop.TaskFunc(func(*loop.Loop) { sh.left(slot, reason, account) })) {
				account.Done(taskCost)
				sh.srv.farewell(s, t.disconnect, reason) // the loop has ended, and all rooms with it
			}
		}()
		for _, h := range t.disconnecting {
			sh.srv.call(s, "disconnect", func() error { h(s, reason); return nil })
		}
		return nil
	}})
}

// left ends a socket whose disconnecting handlers have returned. To those that
// follow it is gone. Account is charged with taskCost until then, or nil.
func (sh *shard) left(slot uint32, reason Reason, account *budget.Account) {
	s, t := sh.socket(slot), sh.instance(slot).ns.table.Load()
	sh.local.Remove(slot)
	if len(t.disconnect) == 0 {
		sh.free(slot)
		sh.srv.farewell(s, nil, reason)
		account.Done(taskCost)
		return
	}
	b := sh.inbox(slot)
	sh.free(slot)
	b.put(task{name: "disconnect", account: account, size: taskCost, run: func() error {
		sh.srv.farewell(s, t.disconnect, reason)
		return nil
	}})
}

// farewell has the disconnect handlers called and forgets what was kept for the
// socket. It ends what leave began.
func (srv *Server) farewell(s Socket, handlers []func(Socket, Reason), reason Reason) {
	defer srv.handlers.Done()
	defer srv.details.remove(s.ref)
	for _, h := range handlers {
		srv.call(s, "disconnect", func() error { h(s, reason); return nil })
	}
}

// disconnect makes a socket leave from our side: its client is told. With
// closing, so are all sockets of its session, and the session ends.
func (sh *shard) disconnect(slot uint32, closing bool) {
	r := sh.sockets.At(slot)
	es := sh.session(slot)
	switch {
	case r.state == leaving:
	case r.state == connecting && !closing: // by a middleware
		name := sh.instance(slot).name
		sh.crossed.end(sh, es, name)
		sh.drop(es, slot)
		sh.reject(es, name, &Error{Message: "disconnected"})
	case !closing:
		sh.shut(slot)
		sh.crossed.end(sh, es, sh.instance(slot).name)
		sh.sayDisconnect(es, slot)
		sh.leave(es, slot, ServerDisconnect)
	default:
		for slot := es.User() &^ userFlags; slot != 0; slot = es.User() &^ userFlags {
			if sh.sockets.At(slot).state == connected {
				sh.shut(slot)
				sh.sayDisconnect(es, slot)
			}
			sh.leave(es, slot, ServerDisconnect)
		}
		es.Close()
	}
}

func (sh *shard) sayDisconnect(es eio.Session, slot uint32) {
	sh.local.CatchUp(slot)
	sh.transmit(es, eio.AppendText(nil, parser.AppendDisconnect(nil, sh.instance(slot).name)), false)
}

// arrivals are the sessions that have not joined a namespace yet, in the order
// of opening, which is that of their deadlines.
type arrivals struct {
	queue []arrival
	timer loop.Timer
}

type arrival struct {
	session uint64
	at      int64 // ms on the loop's clock
}

// waits tells whether the session is open and has joined nothing yet.
func (a arrival) waits(sh *shard) bool {
	es, ok := sh.srv.eio.Lookup(sh.loop, a.session)
	return ok && es.User()&everJoined == 0
}

func (a *arrivals) add(sh *shard, session uint64) {
	if len(a.queue) == cap(a.queue) && len(a.queue) >= 1024 {
		// Sessions that come and go at once are not to be remembered for long.
		a.queue = slices.DeleteFunc(a.queue, func(q arrival) bool { return !q.waits(sh) })
	}
	a.queue = append(a.queue, arrival{session, sh.loop.Now() + sh.srv.o.ConnectTimeout.Milliseconds()})
	if !a.timer.Armed() {
		sh.loop.Schedule(&a.timer, sh.srv.o.ConnectTimeout, func() { a.expire(sh) })
	}
}

// expire closes the sessions that are still without a namespace, and forgets
// the others.
func (a *arrivals) expire(sh *shard) {
	now, i := sh.loop.Horizon(), 0
	for ; i < len(a.queue) && a.queue[i].at <= now; i++ {
		if a.queue[i].waits(sh) {
			sh.tally.timeouts.Add(1)
			es, _ := sh.srv.eio.Lookup(sh.loop, a.queue[i].session)
			es.Close()
		}
	}
	a.queue = a.queue[i:]
	if len(a.queue) == 0 {
		a.queue = nil
		return
	}
	wait := time.Duration(max(a.queue[0].at-now, 100)) * time.Millisecond // several at once
	sh.loop.Schedule(&a.timer, wait, func() { a.expire(sh) })
}
